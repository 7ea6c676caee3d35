"""How much a GAN costs when K of them are trained side by side, against one after the other.

    python bench/ensemble.py [--check] [--repeats N] [--device cpu|cuda] [--only NAME] [--out FILE]

Members and single GANs take turns, so that whatever else the machine does falls on both; the
single GANs are taken round the seeds of the members. A turn is a call of `fit` that starts the
clock after its first steps, when a GPU has recorded its graph. The clock is that of bench/loop.py:
processor time on the CPU, the wall clock on a GPU. The gain is K times the time of a step of a
single GAN over the time of a step of all K; stored is its median and quartiles over turns.

--check exits with 1 if 32 ring GANs (3x64, batch 64) gain less than 3 times on the CPU in one thread, or 15
times on a GPU.
"""
import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import torch
from torch import nn
from common import clock, machine, results, rounded, store
from loop import spread
from ganbook import data as sets
from ganbook.ensemble import member, members
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import fit, new_state

least = dict(cpu=3., cuda=15.)
judged = 'ring, 3x64, batch 64, 32 members'

def points(device, seed):
    torch.manual_seed(seed)
    G, D = MLPGenerator((2,), 2, (64,)*3, nn.Identity), MLPDiscriminator((2,), (64,)*3)
    return new_state(G.to(device), D.to(device), lr=1e-3, seed=seed)

def images(device, seed):
    torch.manual_seed(seed)
    return new_state(
        DCGANGenerator((1, 8, 8), 100, 8).to(device), DCGANDiscriminator((1, 8, 8), 8).to(device), seed=seed
    )

def cases():
    "Name -> data, maker of a state, K."
    for k in (1, 2, 4, 8, 16, 32): yield f'ring, 3x64, batch 64, {k} members', sets.ring, points, k
    yield 'digits 8x8, DCGAN of width 8, batch 64, 8 members', sets.digits, images, 8

def a_step(s, data, n):
    "Seconds that a step takes, over `n` steps after the first few."
    begun, first = [], s.step + (10 if s.device.type == 'cuda' else 2)
    def look(s):
        if s.step == first: begun.append(clock(s.device))
    fit(s, data, first + n, non_saturating, callbacks=[look])
    return (clock(s.device) - begun[0])/n

def same(make, data, k):
    "The members must be the GANs that they are compared with: equal weights after a few steps."
    s, alone = fit(members(make, k), data, 5, non_saturating), fit(make(k - 1), data, 5, non_saturating)
    gap = max(
        (p - q).abs().max().item() for p, q in zip(member(s, k - 1).G.parameters(), alone.G.parameters())
    )
    if gap > 1e-3:
        raise SystemExit(f'a member and the GAN trained alone end {gap:.2g} apart: they do not do the same.')

def measure(data, make, k, repeats, n):
    "Milliseconds a step of all members and of one GAN, and the gain."
    same(make, data, k)
    s = members(make, k)
    alone = [make(i) for i in range(k)]
    times = []
    for i in range(repeats): times.append((a_step(s, data, max(4, n//k)), a_step(alone[i % k], data, n)))
    return dict(
        members=spread([1e3*a for a, _ in times]), one=spread([1e3*b for _, b in times]),
        gain=spread([k*b/a for a, b in times]), k=k,
    )

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='exit with 1 if the target is missed')
    p.add_argument('--repeats', type=int, default=33, help='turns of either (default 33)')
    p.add_argument('--steps', type=int, help='steps of a single GAN in a turn (default 160, on a GPU 3200)')
    p.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda']
    )
    p.add_argument('--only', default='', help='cases whose name contains this')
    p.add_argument('--out', type=Path, default=results/'bench_ensemble.json')
    a = p.parse_args()
    if a.repeats < 2: p.error('--repeats must be at least 2: quartiles want more than one value.')
    torch.set_num_threads(1)
    start = time.perf_counter()
    rows = {}
    n = a.steps or (160 if a.device == 'cpu' else 3200)
    chosen = [c for c in cases() if a.only in c[0]]
    if not chosen:
        p.error(f'no case is called {a.only!r}: the names are ' + '; '.join(c[0] for c in cases()) + '.')
    for name, data, make, k in chosen:
        rows[name] = row = measure(data(), partial(make, a.device), k, a.repeats, n)
        print(
            f"{name:50} {row['members']['median']:8.3f} ms a step of all, {row['one']['median']:6.3f} of "
            f"one: {row['gain']['median']:6.2f} times ({row['gain']['low']:.2f}-{row['gain']['high']:.2f})",
            flush=True,
        )
    gain = rows.get(judged, {}).get('gain', {}).get('median')
    faults = (
        [f'{judged}: {gain:.2f} times, at least {least[a.device]:g}']
        if gain is not None and gain < least[a.device]
        else []
    )
    if not a.only:
        store(
            a.out,
            a.device,
            machine(a.device)
            | dict(
                clock='wall' if a.device == 'cuda' else 'process', unit='ms a step', repeats=a.repeats,
                judged=judged, least=least[a.device], targets_missed=faults,
                seconds=round(time.perf_counter() - start, 1), rows=rounded(rows),
            ),
        )
    for f in faults: print('MISSED ', f)
    return 1 if faults and a.check else 0


if __name__ == '__main__': sys.exit(main())
