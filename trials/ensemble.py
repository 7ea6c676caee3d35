"""How much a GAN costs when K of them are trained side by side, against one after the other.

    python -m trials.ensemble [--check] [--repeats N] [--device cpu|cuda] [--only NAME] [--out FILE]

Members and single GANs take turns, so that whatever else the machine does falls on both; the
single GANs are taken round the seeds of the members. A turn is a call of `fit` that starts the
clock after its first steps, when a GPU has recorded its graph. The clock is that of trials/loop.py:
processor time on the CPU, the wall clock on a GPU. The gain is K times the time of a step of a
single GAN over the time of a step of all K; stored is its median and quartiles over turns.

--check exits with 1 if 32 ring GANs (3x64, batch 64) gain less than 3 times on the CPU in one thread, or 15
times on a GPU.
"""
import time
from functools import partial

import torch
from ganbook import data as sets
from ganbook.ensemble import member, members
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.train import fit, new_state
from trials.common import clock, machine, options, parsed, point_pair, rounded, spread, store, verdict

least = dict(cpu=3., cuda=15.)
judged = 'ring, 3x64, batch 64, 32 members'

def points(device, seed):
    torch.manual_seed(seed)
    G, D = point_pair((64,)*3)
    return new_state(G.to(device), D.to(device), lr=1e-3, seed=seed)

def images(device, seed):
    torch.manual_seed(seed)
    G, D = DCGANGenerator((1, 8, 8), 100, 8), DCGANDiscriminator((1, 8, 8), 8)
    return new_state(G.to(device), D.to(device), seed=seed)

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
    pairs = zip(member(s, k - 1).G.parameters(), alone.G.parameters())
    gap = max((p - q).abs().max().item() for p, q in pairs)
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

def line(name, row):
    gain = row['gain']
    return (
        f"{name:50} {row['members']['median']:8.3f} ms a step of all, {row['one']['median']:6.3f} of one: "
        f"{gain['median']:6.2f} times ({gain['low']:.2f}-{gain['high']:.2f})"
    )

def missed(rows, device):
    gain = rows[judged]['gain']['median'] if judged in rows else least[device]
    return [f'{judged}: {gain:.2f} times, at least {least[device]:g}']*(gain < least[device])

def main():
    p = options(__doc__, 'ensemble', 'the target is missed')
    p.add_argument('--repeats', type=int, default=33, help='turns of either (default 33)')
    p.add_argument('--steps', type=int, help='steps of a single GAN in a turn (default 160, on a GPU 3200)')
    p.add_argument('--only', default='', help='cases whose name contains this')
    a = parsed(p)
    if a.repeats < 2: p.error('--repeats must be at least 2: quartiles want more than one value.')
    start, rows = time.perf_counter(), {}
    n = a.steps or (160 if a.device == 'cpu' else 3200)
    wanted = [c for c in cases() if a.only in c[0]]
    if not wanted:
        p.error(f'no case is called {a.only!r}: the names are ' + '; '.join(c[0] for c in cases()) + '.')
    for name, data, make, k in wanted:
        rows[name] = measure(data(), partial(make, a.device), k, a.repeats, n)
        print(line(name, rows[name]), flush=True)
    faults = missed(rows, a.device)
    if not a.only:
        about = dict(
            unit='ms a step', repeats=a.repeats, judged=judged, least=least[a.device], targets_missed=faults,
            seconds=round(time.perf_counter() - start, 1), rows=rounded(rows),
        )
        store(a.out, a.device, machine(a.device, with_clock=True) | about)
    return verdict(faults, a.check)


if __name__ == '__main__': raise SystemExit(main())
