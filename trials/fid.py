"""How long the Fréchet distance takes at the size that papers use, and how much memory.

usage: python -m trials.fid [N_FAKE N_REAL N_FEATURES]     10000 60000 2048 without numbers
       python -m trials.fid --pairs [N N_FEATURES]         prdc, nearest and kid on N by N samples;
                                                           50000 64 without numbers

A fresh process makes the features in float32, notes its resident memory,
measures `ganbook.metrics.frechet`, and reports the seconds and its peak. Then
torchmetrics does the same sum, and results/bench_fid.json keeps both. """
import json
import os
import resource
import subprocess
import sys
import time

import torch

from trials.common import machine, results, rounded, store

limit_s, limit_gib = 60., 4.


def features(n: int, dim: int, seed: int) -> torch.Tensor:
    "Float32 features (n,dim) that look like Inception's: correlated, and cut at zero."
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(64, dim, generator=torch.Generator().manual_seed(0))/8
    x = torch.empty(n, dim)
    for part in x.split(2000):  # no second array of this size
        shared = torch.randn(len(part), 64, generator=rng) @ mix
        own = torch.randn(len(part), dim, generator=rng)
        part.copy_(shared.add_(own, alpha=.5).add_(.3).relu_())
    return x


def by_torchmetrics(real: torch.Tensor, fake: torch.Tensor) -> float:
    "The oracle: torchmetrics' own update, over batches as it is used, and its own distance."
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Same(torch.nn.Module):
        num_features = real.shape[1]
        def forward(self, x): return x
    fid = FrechetInceptionDistance(feature=Same(), normalize=True, input_img_size=(real.shape[1],))
    fid = fid.set_dtype(torch.float64)
    for x, is_real in ((real, True), (fake, False)):
        for part in x.split(1000): fid.update(part.double(), real=is_real)
    return fid.compute().item()


def values(found):
    "What a metric returned, as plain numbers; of a distance for each sample their mean."
    if isinstance(found, dict): return {k: v.item() for k, v in found.items()}
    if isinstance(found, tuple): return [v.item() for v in found]
    return found.mean().item()


def measure(which: str, n_fake: int, n_real: int, dim: int) -> dict:
    "In this process: seconds, value, and peak resident memory with and without the features themselves."
    from ganbook import metrics
    fake, real = features(n_fake, dim, 1), features(n_real, dim, 2)
    fake[:, :dim//2] *= 1.1
    def peak_gib(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20
    before = peak_gib()
    start = time.perf_counter()
    used = time.process_time()
    if which == 'torchmetrics': value = by_torchmetrics(real, fake)
    else: value = values(getattr(metrics, which)(real, fake))
    return dict(
        value=value, seconds=time.perf_counter() - start, cpu_seconds=time.process_time() - used,
        peak_gib=peak_gib(), before_gib=before, features_gib=(fake.nbytes + real.nbytes)/2**30,
        machine=machine(),
    )


def fresh(which: str, sizes: list) -> dict:
    "`measure` in a process of its own."
    command = [sys.executable, '-m', 'trials.fid', '--measure', which, *map(str, sizes)]
    env = dict(os.environ, PYTHONPATH=str(results.parent))
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def line(name: str, d: dict) -> str:
    seconds = f"{d['seconds']:6.1f} s ({d['cpu_seconds']:.1f} s of processor time)"
    return f"{name} {seconds}  peak {d['peak_gib']:.2f} GiB"


def main(sizes: list):
    ours, oracle = (fresh(which, sizes) for which in ('frechet', 'torchmetrics'))
    entry = dict(
        n_fake=sizes[0], n_real=sizes[1], features=sizes[2], ganbook=ours, torchmetrics=oracle,
        limit_s=limit_s, limit_gib=limit_gib, relative_difference=abs(ours['value']/oracle['value'] - 1),
        device=machine()['device'],
    )
    for name, d in (('ganbook', ours), ('torchmetrics', oracle)):
        told = line(f"{name:12} {d['value']:.6f} ", d)
        print(f"{told}, of which {d['features_gib']:.2f} GiB are features")
    store(results/'bench_fid.json', 'x'.join(map(str, sizes)), rounded(entry))
    if sizes == [10_000, 60_000, 2048] and not (ours['seconds'] < limit_s and ours['peak_gib'] < limit_gib):
        raise SystemExit(f'slower or larger than allowed: at most {limit_s:.0f} s and {limit_gib:.0f} GiB')


def pairs(n: int = 50_000, dim: int = 64):
    "Time and memory of everything that looks at all pairs of samples."
    found = {}
    for which in ('nearest', 'prdc', 'kid'):
        found[which] = d = fresh(which, [n, n, dim])
        print(line(f'{which:8}', d), flush=True)
    entry = found | dict(device=machine()['device'])
    store(results/'bench_fid.json', f'{n}x{n}x{dim}', rounded(entry))
    if any(d['peak_gib'] >= limit_gib for d in found.values()):
        raise SystemExit(f'larger than allowed: at most {limit_gib:.0f} GiB')


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: print(json.dumps(measure(sys.argv[2], *map(int, sys.argv[3:]))))
    elif sys.argv[1:2] == ['--pairs']: pairs(*map(int, sys.argv[2:]))
    else: main([int(a) for a in sys.argv[1:]] or [10_000, 60_000, 2048])
