"""The whole ladder side by side: from the loop of the textbooks to ours, rung by rung, and how far the
hardware is still away.

usage: python -m trials.speed [--check] [--repeats N] [--seconds S] [--threads N] [--device cpu|cuda]
[--only NAME] [--out FILE]

Each rung takes turns with the textbook's loop (trials/loops.py), so that whatever else the
machine does falls on both; a gain is the median over pairs of turns. Images a second are
those of the textbook loop over all turns, times the gain. The first rungs build on each
other. From `recorded` (or, without a GPU, `our loop`) on, each rung adds to the full
loop only what its name says. On the CPU the clock is this process's processor time.

The limit of a step is what its operators would take, one after the other, at the measured
ceilings of the device: each the larger of its arithmetic over the speed of a large matrix product
and its traffic over the speed of a large copy. The share of the roofline is that limit over the
time of a step. Operators that find their numbers in a cache can beat the ceiling of the copy.

--check exits with 1 if a target is missed. They hold for kind cuda, for the best rung over the textbook's
loop: 20 times the images a second for the MLP of 1024 units at batch 64, 10 for the DCGAN on 32x32 at batch
64, 3 for the DCGAN on 64x64 at batches 128 and 1024. The CPU has no targets, takes smaller batches and says
what it leaves out. Results go to results/bench_speed.json, one entry a kind of device.
"""
import gc
import statistics
import time
from functools import cache, partial

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ganbook import data as sets
from ganbook.data import draw
from ganbook.losses import non_saturating
from ganbook.train import d_step, g_step
from trials.common import machine, options, parsed, results, rounded, spread, store, timed, verdict
from trials.loops import (
    Case, Fused, NoWaiting, OnDevice, Ours, Textbook, Turns, dcgan_pair, image_pair, small_pair,
)


# What is trained

@cache
def noise(shape, n=10_000):
    return sets.Data('random bytes', torch.randint(256, (n, *shape), dtype=torch.uint8))

def cases(kind):
    "The batches of a GPU, or those that a CPU core can do in a few minutes; a batch of 0 is left out."
    small, medium, large, huge = dict(cuda=(64, 64, 128, 1024), cpu=(64, 8, 4, 0))[kind]
    yield Case('small MLP', noise((1, 8, 8)), small_pair, 64, 0.)
    yield Case('MLP', noise((1, 28, 28)), image_pair, small, 20.)
    yield Case('DCGAN 32', noise((1, 32, 32)), dcgan_pair((1, 32, 32)), medium, 10.)
    yield Case('DCGAN 64', noise((3, 64, 64)), dcgan_pair((3, 64, 64)), large, 3.)
    yield Case('DCGAN 64, batch 1024', noise((3, 64, 64)), dcgan_pair((3, 64, 64)), huge, 3.)


# The rungs

def slow_half(peak):
    "Does this device compute bfloat16 without instructions for it?"
    return peak['bfloat16'] < peak['float32']/2

def rungs(kind, case, slow):
    """Name -> what makes the loop; on a GPU all that follows `recorded`
    is recorded too. Where bfloat16 is slow, one case shows it."""
    yield 'data on the device', OnDevice
    yield 'no waiting', NoWaiting
    yield 'fused optimiser', Fused
    yield 'our loop', partial(Ours, capture=False)
    images = 'DCGAN' in case.name
    half = not (slow and images)
    if kind == 'cuda': yield 'recorded', partial(Ours, capture=True)
    if half: yield 'bfloat16', partial(Ours, amp=True)
    if images: yield 'channels last', partial(Ours, channels_last=True)
    if images and half: yield 'bfloat16, channels last', partial(Ours, amp=True, channels_last=True)
    if kind == 'cuda' or case.name != 'DCGAN 64': yield 'compiled', partial(Ours, compiled=True)
    if kind == 'cuda': yield 'all of these', partial(Ours, compiled=True, amp=True, channels_last=images)

def absent(kind, slow):
    "What the ladder leaves out on a kind of device, and why."
    half = ['bfloat16 for the DCGANs: this device has no instructions for it, see the MLP']*slow
    if kind == 'cuda': return half
    return half + [
        'recorded: a CUDA graph wants a GPU', 'DCGAN 64, batch 1024: too large for a processor',
        'compiled, for the DCGAN 64: it takes a minute to compile',
        'the batches of the DCGANs are smaller than on a GPU',
    ]


# What the device could do

def best_s(f, device, repeats=7):
    f()
    return min(timed(f, device) for _ in range(repeats))

def ceilings(device):
    """Arithmetic and traffic that the device reaches when it does
    nothing else: operations a second by precision, bytes a second."""
    n, size = (8192, 2**30) if device.type == 'cuda' else (1024, 2**28)
    def product(dtype, n=n):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        return 2*n**3/best_s(lambda: a @ b, device)
    x = torch.zeros(size, dtype=torch.uint8, device=device)
    y = torch.empty(size, dtype=torch.uint8, device=device)
    out = dict(
        float32=product(torch.float32), bfloat16=product(torch.bfloat16, n if device.type == 'cuda' else 256),
        bytes_per_s=2*size/best_s(lambda: y.copy_(x), device),
    )
    if device.type == 'cuda':
        before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, True
        out['tf32'] = product(torch.float32)  # what convolutions use unless told otherwise
        torch.backends.cuda.matmul.allow_tf32 = before
    return out

class Counting(TorchDispatchMode):
    "Within, notes operations and bytes of every operator that does work; a multiply-add is two operations."
    def __init__(self):
        super().__init__()
        self.rows = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out, op = func(*args, **kwargs), func._overloadpacket
        if func.is_view or func.namespace != 'aten': return out
        written = out
        if func._schema.is_mutable:
            about = zip(args, func._schema.arguments)
            written = [a for a, told in about if told.alias_info and told.alias_info.is_write]
        moved = sum(t.nbytes for t in tree_leaves((args, kwargs, written)) if isinstance(t, torch.Tensor))
        work = flop_registry[op](*args, **kwargs, out_val=out) if op in flop_registry else 0
        if op not in (torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten.empty_strided):
            self.rows.append((work, moved))
        return out

def counted(case, device, amp=False):
    "(operations, bytes) of each operator of one step."
    ours = Ours(case, device)
    real = draw(ours.data, case.batch, ours.s.rng)
    d_step(ours.s, real, non_saturating, amp=amp)  # first calls make what the optimisers keep
    with Counting() as c:
        d_step(ours.s, draw(ours.data, case.batch, ours.s.rng), non_saturating, amp=amp)
        g_step(ours.s, real, non_saturating, amp=amp)
    return c.rows

def limit_s(rows, arithmetic, traffic):
    return sum(max(work/arithmetic, moved/traffic) for work, moved in rows)

def n_launches(loop, kind):
    "Kernels of one step on a GPU; on the CPU, operators that call no other."
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA]*(kind == 'cuda')
    def of(n):
        with profile(activities=activities) as p: loop.run(n)
        if kind == 'cuda': return sum(e.device_type == torch.autograd.DeviceType.CUDA for e in p.events())
        return sum(e.name.startswith('aten::') and not e.cpu_children for e in p.events())
    loop.run(2)
    # what a call does once, such as trying the networks on two samples, is not of a step
    return round((of(3) - of(1))/2)


# Measuring

def steps_a_turn(textbook, seconds, device):
    textbook.run(1)
    return max(1, round(seconds/timed(lambda: textbook.run(1), device)))

def in_turns(rung, textbook, steps, repeats, device):
    "Seconds a step of both: (rung's, textbook's)."
    if isinstance(rung, Ours):
        each = dict(textbook=steps, fit=steps*(8 if device.type == 'cuda' else 1))
        turns = Turns(dict(textbook=textbook), each, repeats, device)
        if device.type == 'cpu': turns.n = 2
        rung.run(10**9, callbacks=[turns])
        return turns.times['fit'], turns.times['textbook']
    rung.run(2)
    def turn(loop): return timed(lambda: loop.run(steps), device)/steps
    return tuple(zip(*[(turn(rung), turn(textbook)) for _ in range(repeats)]))

def limits_s(case, device, peak):
    "By precision: (operations, bytes) of each operator of a step, and seconds that they would take in all."
    precisions = ('float32',) if slow_half(peak) else ('float32', 'bfloat16')
    counts = {p: counted(case, device, amp=p == 'bfloat16') for p in precisions}
    full = 'tf32' if device.type == 'cuda' and 'DCGAN' in case.name else 'float32'
    speed = dict(float32=peak[full], bfloat16=peak['bfloat16'])
    return counts, {p: limit_s(rows, speed[p], peak['bytes_per_s']) for p, rows in counts.items()}

def climb(case, device, peak, textbook, steps, repeats, wanted):
    "(rows by rung, why a rung failed, seconds a step of the textbook's loop in all turns)"
    rows, failed, times = {}, {}, []
    for name, make in rungs(device.type, case, slow_half(peak)):
        if wanted and wanted not in name: continue
        try: t, other = in_turns(make(case, device), textbook, steps, repeats, device)
        except Exception as e:
            # a compiler may be missing; nothing else may fail
            if 'compiled' not in name and name != 'all of these': raise
            failed[name] = f'{type(e).__name__}: {str(e).splitlines()[0]:.200}'
            continue
        times += other
        over = spread([b/a for a, b in zip(t, other)])
        rows[name] = dict(ms=spread([1e3*v for v in t]), over_textbook=over)
        print(
            f"{case.name}, {name}: {rows[name]['ms']['median']:.3f} ms a step, "
            f"{over['median']:.2f} times the textbook's",
            flush=True,
        )
        torch._dynamo.reset()
        gc.collect()
        if device.type == 'cuda': torch.cuda.empty_cache()
    return rows, failed, times

def measure(case, device, peak, repeats, seconds, wanted=''):
    "The ladder of one case."
    textbook = Textbook(case, device)
    steps = steps_a_turn(textbook, seconds, device)
    counts, limits = limits_s(case, device, peak)
    rows, failed, times = climb(case, device, peak, textbook, steps, repeats, wanted)
    rows = dict(textbook=dict(ms=spread([1e3*v for v in times]), over_textbook=spread([1., 1.]))) | rows
    # what all turns together say of the textbook's loop, times the gain in neighbouring turns
    for name, r in rows.items():
        is_half = 'bfloat16' in limits and (name == 'all of these' or 'bfloat16' in name)
        per_s = r['over_textbook']['median']/statistics.median(times)
        r.update(images_per_s=case.batch*per_s, share=limits['bfloat16' if is_half else 'float32']*per_s)
    def total(k): return {p: sum(row[k] for row in r) for p, r in counts.items()}
    kinds = {'textbook': Textbook, 'fused optimiser': Fused, 'our loop': partial(Ours, capture=False)}
    launches = {name: n_launches(make(case, device), device.type) for name, make in kinds.items()}
    return dict(
        order=list(rows), batch=case.batch, shape=list(case.data.shape), steps_a_turn=steps, repeats=repeats,
        failed=failed, rungs=rows, limit_ms={p: 1e3*v for p, v in limits.items()}, operations=total(0),
        bytes=total(1), launches=launches,
    )

def best(row):
    "(name, gain) of the fastest rung over the textbook's loop."
    gains = {name: r['over_textbook']['median'] for name, r in row['rungs'].items()}
    name = max(gains, key=gains.get)
    return name, gains[name]

def missed(rows, chosen, kind):
    "The targets that are not met, in words."
    if kind != 'cuda': return []
    return [
        f"{c.name}: the best rung, {name}, makes {gain:.1f} times "
        f"the textbook loop's images a second, at least {c.gain:g}"
        for c in chosen
        for name, gain in [best(rows[c.name])]
        if gain < c.gain
    ]

def table(rows, peak):
    def said(k, v): return f"{k} {v/1e9:,.0f} {'GB/s' if k == 'bytes_per_s' else 'GFLOP/s'}"
    print('\nceilings: ' + ', '.join(said(k, v) for k, v in peak.items()))
    for name, row in rows.items():
        launches = ', '.join(f'{k} {v:,}' for k, v in row['launches'].items())
        print(
            f"\n{name}, batch {row['batch']}: {row['operations']['float32']/1e9:.2f} GFLOP and "
            f"{row['bytes']['float32']/1e6:.0f} MB a step; launches a step: {launches}"
        )
        print(
            f"{'':26}{'ms a step':>10}{'images/s':>11}{'x textbook':>12} "
            f" {'quartiles':^13}{'of the roofline':>16}"
        )
        for rung, r in row['rungs'].items():
            g = r['over_textbook']
            print(
                f"{rung:26}{r['ms']['median']:10.3f}{r['images_per_s']:11,.0f}{g['median']:12.2f} "
                f" {g['low']:5.2f} - {g['high']:<5.2f}{r['share']:16.0%}"
            )
        for rung, why in row['failed'].items(): print(f'{rung:26} left out: {why}')

def main():
    p = options(__doc__, 'speed', 'a target is missed')
    p.add_argument('--repeats', type=int, help='turns of every rung (default 15, on a CPU 9)')
    p.add_argument('--seconds', type=float, help='of one turn of the textbook loop, about (default 0.1)')
    p.add_argument('--threads', type=int, default=1, help='of the processor (default 1)')
    p.add_argument('--only', default='', help='the one case of this name')
    p.add_argument('--rung', default='', help='rungs whose name contains this')
    a = parsed(p)
    start, device = time.perf_counter(), torch.device(a.device)
    repeats, seconds = a.repeats or dict(cuda=15, cpu=9)[a.device], a.seconds or .1
    if repeats < 2: p.error('--repeats must be at least 2: quartiles want more than one value.')
    known = [c for c in cases(a.device) if c.batch]
    wanted = [c for c in known if a.only in ('', c.name)]
    if not wanted: p.error(f"no case is called {a.only!r}: the names are {', '.join(c.name for c in known)}.")
    peak, begun = ceilings(device), time.process_time()
    rows = {c.name: measure(c, device, peak, repeats, seconds, a.rung) for c in wanted}
    table(rows, peak)
    left_out = absent(a.device, slow_half(peak))
    for line in left_out: print('left out:', line)
    faults = missed(rows, wanted, a.device)
    if not (a.only or a.rung) or a.out != results/'bench_speed.json':
        about = dict(
            ceilings=peak, order=list(rows), rows=rows, left_out=left_out, targets_missed=faults,
            seconds=round(time.perf_counter() - start, 1), cpu_seconds=round(time.process_time() - begun, 1),
        )
        store(a.out, a.device, rounded(machine(a.device, with_clock=True) | about))
    return verdict(faults, a.check)


if __name__ == '__main__': raise SystemExit(main())
