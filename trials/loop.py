"""How fast is `fit`, beside the leanest loop one could write by hand and beside the loop of the textbooks?

usage: python bench/loop.py [--check] [--repeats N] [--seconds S] [--threads N] [--device cpu|cuda] [--out
FILE]

All loops of a row train the same networks with the same batch, in turns within one run, so that
whatever else the machine does falls on all of them. On the CPU the clock is this process's own
processor time (with one thread: what the wall clock would show on a quiet machine), on a GPU it is
the wall clock with the device waited for. The turns of the other loops are taken within one long run
of `fit`, by a callback. The ratio is the median over pairs of turns that are neighbours in time.

--check exits with 1 if a target is missed: fit over minimal at most 1.05 for images and 1.10 for points on
the CPU; on a GPU
at least 15 times the images a second of the textbook's loop, and 8 times with the DCGAN, which is measured
there alone. Results go to results/bench_loop.json, one entry a kind of device.
"""
import argparse
import copy
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from common import clock, machine, results, rounded, store
from ganbook import data as sets
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import Stop, fit, new_state


# What is trained

@dataclass
class Case:
    name: str
    data: sets.Data
    make: object  # () -> (G, D) on the CPU
    batch: int
    most: float   # target: fit over minimal, on the CPU
    textbook: bool = False
    gain: float = 15.   # target: images a second over the textbook's loop, on a GPU
    gpu: bool = False   # too large to be measured on a CPU unless it is asked for by name

def images():
    """MNIST where GANBOOK_DATA has it, else random bytes of its
    shape: the time of a step does not depend on what is drawn."""
    if os.environ.get('GANBOOK_DATA'): return sets.mnist()
    rng = torch.Generator().manual_seed(0)
    return sets.Data(
        'random bytes', torch.randint(256, (60_000, 1, 28, 28), generator=rng, dtype=torch.uint8)
    )

def image_pair(): return MLPGenerator((1, 28, 28)), MLPDiscriminator((1, 28, 28))

def point_pair(hidden):
    return lambda: (
        MLPGenerator((2,), latent_dim=2, hidden=hidden, out=nn.Identity),
        MLPDiscriminator((2,), hidden=hidden),
    )

def padded(data): return replace(data, x=F.pad(data.x, (2, 2, 2, 2)))  # 32x32

def dcgan_pair(): return DCGANGenerator((1, 32, 32)), DCGANDiscriminator((1, 32, 32))

def cases():
    yield Case('images, 1024-1024-784, batch 64', images(), image_pair, 64, 1.05, textbook=True)
    yield Case(
        'images 32x32, DCGAN, batch 64', padded(images()), dcgan_pair, 64, 1.05, textbook=True, gain=8.,
        gpu=True,
    )
    for hidden in ((64, 64), (128, 128, 128)):
        for batch in (64, 256):
            yield Case(
                f'points, {len(hidden)}x{hidden[0]}, batch {batch}', sets.ring(), point_pair(hidden), batch,
                1.10,
            )


# Three loops

class Fit:
    "The library's loop: averaging, callbacks, schedule and log are there to be used, and a log is kept."
    def __init__(self, case, device, seed=0):
        torch.manual_seed(seed)
        self.case, self.data = case, case.data.to(device)
        self.s = new_state(*(m.to(device) for m in case.make()), lr=2e-4, seed=seed)
    def run(self, n, callbacks=()):
        fit(
            self.s, self.data, self.s.step + n, non_saturating, batch_size=self.case.batch,
            callbacks=callbacks,
        )
    @property
    def nets(self): return self.s.G, self.s.D

class Minimal:
    "The leanest loop with the same arithmetic: no log, no options, no state; D frozen by hand in G's step."
    def __init__(self, case, device, seed=0):
        torch.manual_seed(seed)
        self.case = case
        self.data = case.data.to(device)
        self.device = torch.device(device)
        self.nets = tuple(m.to(device) for m in case.make())
        self.opts = [
            torch.optim.Adam(m.parameters(), lr=2e-4, betas=(.5, .999), fused=True) for m in self.nets
        ]
        self.rng = torch.Generator(device).manual_seed(seed)
    def run(self, n):
        (G, D), (opt_G, opt_D) = self.nets, self.opts
        x = self.data.x
        B = self.case.batch
        Z = G.latent_dim
        rng = self.rng
        device = self.device
        params = list(D.parameters())
        is_image = self.data.is_image
        scale = self.data.scale
        for _ in range(n):
            real = x.index_select(0, torch.randint(len(x), (B,), generator=rng, device=device))
            real = real.float().mul_(2/255).sub_(1) if is_image else real.div_(scale)
            with torch.no_grad(): fake = G(torch.randn(B, Z, generator=rng, device=device))
            loss = F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()
            opt_D.zero_grad()
            loss.backward()
            opt_D.step()
            for p in params: p.requires_grad_(False)
            loss = F.softplus(-D(G(torch.randn(B, Z, generator=rng, device=device)))).mean()
            opt_G.zero_grad()
            loss.backward()
            opt_G.step()
            for p in params: p.requires_grad_(True)

class Samples(Dataset):
    "Sample by sample to float and normalised, as transforms do."
    def __init__(self, data): self.data = data
    def __len__(self): return len(self.data)
    def __getitem__(self, i):
        x = self.data.x[i].to(torch.float32).div(255)
        return x.sub(torch.tensor([.5]).view(-1, 1, 1)).div(torch.tensor([.5]).view(-1, 1, 1))

class Textbook:
    """As it is commonly written: a DataLoader, labels of ones
    and zeros, one z for both players, losses read each step."""
    def __init__(self, case, device, seed=0):
        torch.manual_seed(seed)
        self.case, self.device = case, torch.device(device)
        self.nets = tuple(m.to(device) for m in case.make())
        self.opts = [torch.optim.Adam(m.parameters(), lr=2e-4, betas=(.5, .999)) for m in self.nets]
        self.loader = DataLoader(Samples(case.data), case.batch, shuffle=True, drop_last=True)
        self.batches = iter(())
    def next(self):
        try: return next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            return next(self.batches)
    def run(self, n):
        (G, D), (opt_G, opt_D), device, losses = self.nets, self.opts, self.device, []
        bce, B = nn.BCEWithLogitsLoss(), self.case.batch
        for _ in range(n):
            real = self.next().to(device)
            valid, fake_label = torch.ones(B, device=device), torch.zeros(B, device=device)
            opt_G.zero_grad()
            fake = G(torch.randn(B, G.latent_dim, device=device))
            loss_G = bce(D(fake), valid)
            loss_G.backward()
            opt_G.step()
            opt_D.zero_grad()
            loss_D = (bce(D(real), valid) + bce(D(fake.detach()), fake_label))/2
            loss_D.backward()
            opt_D.step()
            losses.append((loss_D.item(), loss_G.item()))

def same_arithmetic(case, device):
    "The two loops that are compared must do the same: equal weights after a few steps."
    a, b = Fit(case, device), Minimal(case, device)
    a.run(2), b.run(2)
    gap = max(
        (p - q).abs().max().item()
        for x, y in zip(a.nets, b.nets)
        for p, q in zip(x.parameters(), y.parameters())
    )
    if gap > 1e-3:
        raise SystemExit(
            f'{case.name}: fit and the minimal loop end {gap:.2g} apart: they do not do the same.'
        )


# Measuring

def timed(f, device):
    start = clock(device)
    f()
    return clock(device) - start

def per_turn(loop, seconds, device):
    "A number of steps that takes about `seconds`."
    n = 4
    loop.run(10)
    while (took := timed(lambda: loop.run(n), device)) < seconds: n *= 2
    return max(2, round(n*seconds/took))

class Turns:
    "A callback: every `n` steps of fit, note how long they took, and give each other loop a turn of its own."
    def __init__(self, others, steps, repeats, device):
        self.others = others
        self.steps = steps
        self.repeats = repeats
        self.device = device
        # the first ten steps set up, record and warm
        self.n = 10
        self.times = {k: [] for k in steps}
        self.begun = None
    def __call__(self, s):
        self.n -= 1
        if self.n: return
        if self.begun is not None:
            self.times['fit'].append((clock(self.device) - self.begun)/self.steps['fit'])
        if len(self.times['fit']) == self.repeats: raise Stop
        for k, loop in self.others.items():
            self.times[k].append(timed(lambda: loop.run(self.steps[k]), self.device)/self.steps[k])
        self.n, self.begun = self.steps['fit'], clock(self.device)

def spread(values):
    "Median, quartiles and minimum."
    low, middle, high = statistics.quantiles(values, n=4)
    return dict(median=middle, low=low, high=high, min=min(values))

def measure(case, device, repeats, seconds):
    "Milliseconds a step of every loop of a case, in turns."
    same_arithmetic(case, device)
    others = dict(minimal=Minimal(case, device)) | (
        dict(textbook=Textbook(case, device)) if case.textbook else {}
    )
    steps = {k: per_turn(loop, seconds, device) for k, loop in others.items()}
    steps['fit'] = steps['minimal']
    turns = Turns(others, steps, repeats, device)
    Fit(case, device).run(10**9, callbacks=[turns])
    times = {k: [1e3*t for t in v] for k, v in turns.times.items()}
    def over(a, b):
        return spread([x/y for x, y in zip(times[a], times[b])]) | dict(
            of_minima=min(times[a])/min(times[b])
        )
    row = {k: spread(v) for k, v in times.items()} | dict(fit_over_minimal=over('fit', 'minimal'))
    if case.textbook:
        row['images_per_s'] = {k: 1e3*case.batch/row[k]['median'] for k in steps}
        row['textbook_over_fit'] = over('textbook', 'fit')
    return row | dict(batch=case.batch, data=case.data.name, repeats=repeats, steps_a_turn=steps)

def missed(rows, cases, kind):
    "The targets that are not met, in words."
    faults = []
    for case in cases:
        name, row = case.name, rows[case.name]
        ratio = row['fit_over_minimal']['median']
        if kind == 'cpu' and ratio > case.most:
            faults.append(f'{name}: fit takes {ratio:.3f} times the minimal loop, at most {case.most}')
        gain = row.get('textbook_over_fit', {}).get('median')
        if kind == 'cuda' and gain is not None and gain < case.gain:
            faults.append(
                f"{name}: {gain:.1f} times the textbook loop's images a second, at least {case.gain:g}"
            )
    return faults

def table(rows):
    print(
        f"{'':34}{'fit':>9}{'minimal':>9}{'textbook':>10}{'fit/min':>9} "
        f"{'quartiles':^13}{'textbook/fit':>13}   (ms a step, medians)"
    )
    for name, row in rows.items():
        r = row['fit_over_minimal']
        is_timed = 'textbook' in row
        textbook = f"{row['textbook']['median']:10.3f}" if is_timed else f"{'-':>10}"
        gain = f"{row['textbook_over_fit']['median']:13.2f}" if is_timed else f"{'-':>13}"
        times = f"{row['fit']['median']:9.3f}{row['minimal']['median']:9.3f}{textbook}{r['median']:9.3f}"
        print(f"{name:34}{times} {r['low']:6.3f}-{r['high']:<6.3f}{gain}")
    for name, row in rows.items():
        if 'images_per_s' in row:
            print(
                f"{name}: images a second "
                + ', '.join(f'{k} {v:,.0f}' for k, v in row['images_per_s'].items())
            )

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='exit with 1 if a target is missed')
    p.add_argument('--repeats', type=int, default=201, help='turns of every loop (default 201)')
    p.add_argument('--seconds', type=float, default=.03, help='of one turn, about (default 0.03)')
    p.add_argument('--threads', type=int, default=1, help='of the processor (default 1)')
    p.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda']
    )
    p.add_argument('--only', default='', help='cases whose name contains this')
    p.add_argument('--out', type=Path, default=results/'bench_loop.json')
    a = p.parse_args()
    if a.repeats < 2: p.error('--repeats must be at least 2: quartiles want more than one value.')
    torch.set_num_threads(a.threads)
    chosen = [c for c in cases() if a.only in c.name and (a.only or a.device == 'cuda' or not c.gpu)]
    if not chosen:
        p.error(f'no case is called {a.only!r}: the names are ' + '; '.join(c.name for c in cases()) + '.')
    start, rows = time.perf_counter(), {}
    for case in chosen: rows[case.name] = rounded(measure(case, torch.device(a.device), a.repeats, a.seconds))
    table(rows)
    faults = missed(rows, chosen, a.device)
    if not a.only:
        store(
            a.out,
            a.device,
            machine(a.device)
            | dict(
                clock='wall' if a.device == 'cuda' else 'process', unit='ms a step',
                seconds=round(time.perf_counter() - start, 1), targets_missed=faults,
                rows=copy.deepcopy(rows),
            ),
        )
    for f in faults: print('MISSED ', f)
    return 1 if faults and a.check else 0


if __name__ == '__main__': sys.exit(main())
