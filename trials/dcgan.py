"""What one minute buys: the DCGAN of chapter 9 beside the fully connected GAN of chapter 6, under the metrics
of chapter 7.

usage: python bench/dcgan.py [--check] [--data digits|mnist] [--seconds S] [--seeds N] [--device cpu|cuda]
[--out FILE]

Every run gets the same time: the speed of a recipe is taken on a copy that is thrown away,
and the number of steps is what `--seconds` (default 60) buy, so that its decay of the
rates ends with the run. On the CPU the clock is this process's own processor time on one
thread, on a GPU the wall clock. Three recipes: dcgan, the same with upsampling, and mlp.

Of the averaged generator: the smallest share of a class among as many samples as there are real
images, the Frechet distance in the features of the yardstick in units of half the real images
against the other half, and the power in the finest alternation of pixels (`checkerboard`), beside
that of the real images. The data are the digits on the CPU and MNIST with a border, 32x32, on a GPU.

--check exits with 1 if a target is missed. Digits: every class at least 4 % and the distance at most 4, for
each seed of
dcgan. MNIST: the distance of dcgan at most a third of that of mlp. Results go to results/bench_dcgan.json,
one entry a kind
of device and data set.
"""
import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import torch
import torch.nn.functional as F
from common import clock, machine, results, rounded, store
from ganbook import data as sets
from ganbook.data import latents
from ganbook.metrics import frechet, frechet_floor, yardstick
from ganbook.models.dcgan import checkerboard
from ganbook.recipes import build, find
from ganbook.train import fit, sample

variants = {
    'dcgan': find('dcgan'), 'dcgan, upsampled': replace(find('dcgan'), up='upsampled'), 'mlp': find('mlp'),
}


def mnist32(train=True):
    "MNIST with a black border of 2, so that it halves evenly."
    d = sets.mnist(train)
    return replace(d, name='mnist 32x32', x=F.pad(d.x, (2, 2, 2, 2)))

def real_images(name):
    "What is trained on, and what is measured against."
    if name == 'digits': return sets.digits(), sets.digits()
    return mnist32(), mnist32(train=False)


class Judge:
    "Measures samples against real images, once looked at."
    def __init__(self, name, real, device):
        self.eye = yardstick(name).to(device)
        x = draw_all(real).to(device)
        self.features = self.eye.features(x)
        self.n = len(x)
        self.checkerboard = checkerboard(x).item()
        self.floor = frechet_floor(self.features).item()
    def __call__(self, G, device, seed):
        x = sample(G, latents(self.n, G.latent_dim, torch.Generator(device).manual_seed(1000 + seed), device))
        shares = self.eye.probs(x).argmax(-1).bincount(minlength=10).double()/self.n
        return dict(
            smallest_share=shares.min().item(),
            distance=frechet(self.features, self.eye.features(x)).item()/self.floor,
            checkerboard=checkerboard(x).item(),
        )

def draw_all(d): return d.x.float()/127.5 - 1


# Training against the clock

def step_s(recipe, data, device, n=100, now=None):
    """Seconds a step by the clock `now`, of a copy that is
    thrown away; the first steps set up, record and warm."""
    s, a = build(recipe, data, device=device)
    times, now = [], now or (lambda: clock(device))
    fit(
        s,
        **a
        | dict(n_steps=20 + n, callbacks=[lambda s: times.append(now()) if s.step in (20, 20 + n) else None]),
    )
    return (times[1] - times[0])/n

def run(recipe, data, seed, seconds, device, judge):
    "One run of `seconds`, and what it came to."
    n_steps = max(1, round(seconds/step_s(recipe, data, device)))
    s, a = build(recipe, data, seed, device)
    start = clock(device)
    fit(s, **a | dict(n_steps=n_steps))
    return dict(seed=seed, n_steps=n_steps, seconds=clock(device) - start) | judge(s.best, device, seed)

def missed(name, rows):
    "The targets that are not met, in words."
    faults = []
    for r in rows['dcgan'] if name == 'digits' else []:
        if r['smallest_share'] < .04:
            faults.append(
                f"seed {r['seed']}: a class has {r['smallest_share']:.1%} of the samples, at least 4 %"
            )
        if r['distance'] > 4: faults.append(f"seed {r['seed']}: distance {r['distance']:.2f}, at most 4")
    def mean(k): return sum(r['distance'] for r in rows[k])/len(rows[k])
    if name == 'mnist' and mean('dcgan') > mean('mlp')/3:
        faults.append(f"dcgan {mean('dcgan'):.1f}, mlp {mean('mlp'):.1f}: at most a third")
    return faults

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='exit with 1 if a target is missed')
    p.add_argument('--data', choices=['digits', 'mnist'], help='default: digits on the CPU, mnist on a GPU')
    p.add_argument('--seconds', type=float, default=60., help='of a run (default 60)')
    p.add_argument('--seeds', type=int, default=3, help='runs of a recipe (default 3)')
    p.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda']
    )
    p.add_argument('--out', type=Path, default=results/'bench_dcgan.json')
    a = p.parse_args()
    if a.seeds < 2 or not a.seconds > 0:
        p.error('--seeds must be at least 2, for an interval, and --seconds above 0.')
    torch.set_num_threads(1)
    a.data = a.data or ('mnist' if a.device == 'cuda' else 'digits')
    device, rows = torch.device(a.device), {}
    data, real = real_images(a.data)
    data, judge = data.to(device), Judge(a.data, real, device)
    for name, recipe in variants.items():
        rows[name] = [run(recipe, data, seed, a.seconds, device, judge) for seed in range(a.seeds)]
        for r in rows[name]:
            print(
                f"{name:18} {r['n_steps']:7,} steps in {r['seconds']:5.1f} s "
                f"  smallest class {r['smallest_share']:6.1%}   distance "
                f"{r['distance']:6.2f}   checkerboard {r['checkerboard']:.4f}",
                flush=True,
            )
    faults = missed(a.data, rows)
    store(
        a.out,
        f'{a.device} {a.data}',
        rounded(
            machine(a.device)
            | dict(
                clock='wall' if a.device == 'cuda' else 'process', seconds=a.seconds, n_samples=judge.n,
                floor=judge.floor, real_checkerboard=judge.checkerboard, targets_missed=faults, rows=rows,
            )
        ),
    )
    for f in faults: print('MISSED ', f)
    return 1 if faults and a.check else 0


if __name__ == '__main__': sys.exit(main())
