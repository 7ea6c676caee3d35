"""How fast is `fit`, beside the leanest loop one could write by hand and beside the loop of the textbooks?

usage: python -m trials.loop [--check] [--repeats N] [--seconds S] [--threads N] [--device cpu|cuda]
[--out FILE]

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
import os
import time
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from ganbook import data as sets
from trials.common import machine, options, parsed, point_pair, rounded, spread, store, timed, verdict
from trials.loops import Case, Minimal, Ours, Textbook, Turns, dcgan_pair, image_pair


# What is trained

def images():
    """MNIST where GANBOOK_DATA has it, else random bytes of its
    shape: the time of a step does not depend on what is drawn."""
    if os.environ.get('GANBOOK_DATA'): return sets.mnist()
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(256, (60_000, 1, 28, 28), generator=rng, dtype=torch.uint8)
    return sets.Data('random bytes', x)

def padded(data): return replace(data, x=F.pad(data.x, (2, 2, 2, 2)))  # 32x32

def cases():
    yield Case('images, 1024-1024-784, batch 64', images(), image_pair, 64, gain=15.)
    yield Case(
        'images 32x32, DCGAN, batch 64', padded(images()), dcgan_pair((1, 32, 32)), 64, gain=8., gpu=True
    )
    for hidden in ((64, 64), (128, 128, 128)):
        for batch in (64, 256):
            name = f'points, {len(hidden)}x{hidden[0]}, batch {batch}'
            yield Case(name, sets.ring(), partial(point_pair, hidden), batch, most=1.10, textbook=False)


# Measuring

def same_arithmetic(case, device):
    "The two loops that are compared must do the same: equal weights after a few steps."
    a, b = Ours(case, device), Minimal(case, device)
    for loop in (a, b): loop.run(2)
    pairs = [(p, q) for x, y in zip(a.nets, b.nets) for p, q in zip(x.parameters(), y.parameters())]
    gap = max((p - q).abs().max().item() for p, q in pairs)
    if gap > 1e-3:
        raise SystemExit(
            f'{case.name}: fit and the minimal loop end {gap:.2g} apart: they do not do the same.'
        )

def per_turn(loop, seconds, device):
    "A number of steps that takes about `seconds`."
    n = 4
    loop.run(10)
    while (took := timed(lambda: loop.run(n), device)) < seconds: n *= 2
    return max(2, round(n*seconds/took))

def measure(case, device, repeats, seconds):
    "Milliseconds a step of every loop of a case, in turns."
    same_arithmetic(case, device)
    others = dict(minimal=Minimal(case, device))
    if case.textbook: others['textbook'] = Textbook(case, device)
    steps = {k: per_turn(loop, seconds, device) for k, loop in others.items()}
    steps['fit'] = steps['minimal']
    turns = Turns(others, steps, repeats, device)
    Ours(case, device).run(10**9, callbacks=[turns])
    times = {k: [1e3*t for t in v] for k, v in turns.times.items()}
    def over(a, b):
        ratios = spread([x/y for x, y in zip(times[a], times[b])])
        return ratios | dict(of_minima=min(times[a])/min(times[b]))
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
            speeds = ', '.join(f'{k} {v:,.0f}' for k, v in row['images_per_s'].items())
            print(f'{name}: images a second {speeds}')

def main():
    p = options(__doc__, 'loop', 'a target is missed')
    p.add_argument('--repeats', type=int, default=201, help='turns of every loop (default 201)')
    p.add_argument('--seconds', type=float, default=.03, help='of one turn, about (default 0.03)')
    p.add_argument('--threads', type=int, default=1, help='of the processor (default 1)')
    p.add_argument('--only', default='', help='cases whose name contains this')
    a = parsed(p)
    if a.repeats < 2: p.error('--repeats must be at least 2: quartiles want more than one value.')
    wanted = [c for c in cases() if a.only in c.name and (a.only or a.device == 'cuda' or not c.gpu)]
    if not wanted:
        p.error(f'no case is called {a.only!r}: the names are ' + '; '.join(c.name for c in cases()) + '.')
    start, rows = time.perf_counter(), {}
    for case in wanted: rows[case.name] = rounded(measure(case, torch.device(a.device), a.repeats, a.seconds))
    table(rows)
    faults = missed(rows, wanted, a.device)
    if not a.only:
        about = dict(unit='ms a step', seconds=round(time.perf_counter() - start, 1), targets_missed=faults)
        store(a.out, a.device, machine(a.device, with_clock=True) | about | dict(rows=rows))
    return verdict(faults, a.check)


if __name__ == '__main__': raise SystemExit(main())
