"""Averages of the generator's weights: how far they lag, what they hide, and what becomes of BatchNorm.

usage: python -m trials.averaging [--check] [--only plain|decay|r1r2] [--steps N] [--every N] [--seeds K]
[--out FILE]

DCGANs of width 16 learn the 8x8 digits (BatchNorm in G, none in D, batches of 64, Adam at 2e-3
with decays 0 and .99), the seeds side by side as members. Three arms: plain, decay (the
learning rates fall to 0 over the second half), and r1r2 (R1 and R2 with gamma 1). In each run a
callback keeps averages of G side by side: one for each half-life, and the uniform mean of all
generators of the second half. So all averages of an arm come from the same run, and are paired.

Every so many steps the last iterate and each average are judged with the same latents: the
squared Frechet distance between the 1,797 digits and 600 samples in the features of the digits'
yardstick, in units of half of the digits against the other half. (With 600 samples a perfect
generator scores 1: the bias goes with 1/1797 + 1/600, which is 2/898 within a thousandth.) At
the end each average is judged with four versions of BatchNorm's running statistics: averaged as
the weights are, copied from G, recalibrated with batches of latents, and stale (those of a
network that has not been trained, which is what is left if only the parameters are averaged).

Stored is one number a seed, in results/bench_averaging.json. --check exits with 1 if the file then lacks
an arm, an average or a seed, or if a target is missed: the average with half-life 20 is nearer than the
last iterate of the plain run, from the middle on, and wobbles less; with half-life 50, averaged statistics
beat stale ones, and recalibrated ones beat averaged. All by the 95 % interval over the seeds. """
import copy
import math
import time
import numpy as np
import torch
from torch import nn
from ganbook import data as sets
from ganbook.data import latents
from ganbook.ensemble import members
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.scale import interval
from ganbook.train import average, fit, linear_decay, new_state
from trials.common import (
    Judge, as_drawn, both, failing, machine, options, parsed, rounded, store, stored, verdict,
)

arms = {'plain': {}, 'decay': dict(schedule=linear_decay(.5)), 'r1r2': dict(penalties=both(1.))}
halflives = [20, 50, 100, 200, 500, 1000, 2000]
names = [str(h) for h in halflives] + ['uniform']
norms = ['averaged', 'copied', 'recalibrated', 'stale']
key = 'cpu digits'


# Averages, side by side

def mean_halflife(k):
    """The half-life with which the `k`-th of all generators
    must be mixed in, for the average to be their plain mean."""
    return math.log(.5)/math.log1p(-1/k) if k > 1 else 1e-9  # the first replaces what was there

class Averages:
    """A callback that keeps an average of G for each half-life,
    and the mean of all generators after step `start`."""
    def __init__(self, G, start):
        self.nets, self.start = {name: copy.deepcopy(G).requires_grad_(False) for name in names}, start
    def __call__(self, s):
        for name in names[:-1]: average(self.nets[name], s.G, float(name))
        if s.step > self.start: average(self.nets['uniform'], s.G, mean_halflife(s.step - self.start))

def batchnorms(net): return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

def with_buffers(net, other):
    "A copy of `net` with the running statistics of `other`."
    new = copy.deepcopy(net)
    for a, b in zip(new.buffers(), other.buffers()): a.copy_(b)
    return new

@torch.no_grad()
def recalibrated(net, z, batch=64):
    """A copy of `net` whose running statistics are the plain
    mean over batches of `z` (...,N,Z); right for members too."""
    new = copy.deepcopy(net)
    for i, part in enumerate(z.split(batch, -2)):
        for m in batchnorms(new): m.train().momentum = 1/(i + 1)
        new(part)
    for m, old in zip(batchnorms(new), batchnorms(net)): m.momentum, m.training = old.momentum, old.training
    return new


# One arm

def state(seed):
    torch.manual_seed(seed)
    G = DCGANGenerator((1, 8, 8), 64, 16, smallest=2)
    D = DCGANDiscriminator((1, 8, 8), 16, norm=None, smallest=2)
    return new_state(G, D, 2e-3, (0., .99), seed=seed)

def run(arm, n_steps, every, n_seeds, start):
    """Distances of the last iterate and of all averages over the run
    (evaluations,seeds), and with four kinds of statistics at its end."""
    data = sets.digits()
    judge, s = Judge('digits', as_drawn(data.x), n=600), members(state, n_seeds)
    def distances(net): return judge.distance(net, (n_seeds,)).tolist()
    untrained = copy.deepcopy(s.G)
    kept = Averages(s.G, n_steps//2)
    rows = {name: [] for name in ('last', *names)}
    def look(s):
        if s.step % every: return
        for name, net in (('last', s.G), *kept.nets.items()):
            empty = name == 'uniform' and s.step <= kept.start
            rows[name].append([None]*n_seeds if empty else distances(net))
        means = (f'{name} {np.mean(v[-1]):.2f} ' for name, v in rows.items() if v[-1][0] is not None)
        print(f'{arm:6} {s.step:5}', *means, f'({time.perf_counter() - start:.0f} s)', flush=True)
    fit(s, data, n_steps, non_saturating, callbacks=[kept, look], **arms[arm])
    return rows, {name: ends(net, s.G, untrained, distances) for name, net in kept.nets.items()}, judge.floor

def ends(net, G, untrained, distances):
    """Distance of an average with each kind of running statistics; of each
    BatchNorm, how many times too large the averaged variances are."""
    fresh = latents(64*50, 64, torch.Generator().manual_seed(10)).expand(net.k, -1, -1)
    kinds = dict(
        averaged=net, copied=with_buffers(net, G), recalibrated=recalibrated(net, fresh),
        stale=with_buffers(net, untrained),
    )
    pairs = zip(batchnorms(net), batchnorms(kinds['recalibrated']))
    # geometric means over channels
    ratios = [(a.running_var/b.running_var).log().mean(-1).exp().tolist() for a, b in pairs]
    return {name: distances(kinds[name]) for name in norms} | dict(inflation=ratios)

def measure(out, which, n_steps, every, n_seeds):
    "Run the arms and store each as it ends, beside arms of the same size that are stored already."
    old = stored(out).get(key, {})
    size = dict(n_steps=n_steps, every=every, n_seeds=n_seeds, halflives=halflives)
    done = old if all(old.get(k) == v for k, v in size.items()) else {}
    rows, ended, seconds = (dict(done.get(name, {})) for name in ('rows', 'norms', 'seconds'))
    for arm in which:
        start = time.perf_counter()
        rows[arm], ended[arm], floor = run(arm, n_steps, every, n_seeds, start)
        seconds[arm] = time.perf_counter() - start
        setting = dict(
            floor=floor, n_samples=600, width=16, lr=2e-3, betas=[0., .99], batch_size=64, gamma=1.,
            steps=list(range(every, n_steps + 1, every)),
        )
        store(out, key, rounded(machine() | size | setting | dict(seconds=seconds, rows=rows, norms=ended)))


# Is the file whole, and does it say what the chapter says?

def late(entry, arm, name):
    "log distance from the middle of the run on (evaluations,seeds)."
    steps = np.array(entry['steps'])
    return np.log(np.array(entry['rows'][arm][name], dtype=float)[steps > entry['n_steps']/2])

def wobble(entry, arm, name):
    "Standard deviation of the change of log distance from one evaluation to the next, one number a seed."
    return np.diff(late(entry, arm, name), axis=0).std(0)

def lacking(path):
    "What the stored file lacks, in words."
    e = stored(path).get(key)
    if e is None: return [f'no {key} in {path}']
    faults = [f"{e['n_seeds']} seeds, at least 5"]*(e['n_seeds'] < 5)
    faults += [f'no arm {arm}' for arm in arms if arm not in e['rows'] or arm not in e['norms']]
    if faults: return faults
    for arm in arms:
        faults += [fault for name in ('last', *names) for fault in unsound(e, arm, name)]
        faults += [
            f'{arm}, {name}: {norm} statistics lack seeds' for name in names for norm in norms
            if len(e['norms'][arm].get(name, {}).get(norm, [])) != e['n_seeds']
        ]
    return faults or missed(e)

def unsound(e, arm, name):
    "What is wrong with the distances of an average."
    shape, second_half = (len(e['steps']), e['n_seeds']), np.array(e['steps']) > e['n_steps']/2
    rows = np.array(e['rows'][arm].get(name, []), dtype=float)
    if rows.shape != shape: return [f'{arm}, {name}: distances of shape {rows.shape}, not {shape}']
    return [] if np.isfinite(rows[second_half]).all() else [f'{arm}, {name}: a distance is not finite']

def missed(e):
    "Targets that the stored numbers do not reach."
    ends = {norm: np.log(e['norms']['plain']['50'][norm]) for norm in norms}
    targets = {
        'the average of half-life 20 is nearer than the last iterate':
            (late(e, 'plain', '20') - late(e, 'plain', 'last')).mean(0),
        'it wobbles less': wobble(e, 'plain', '20') - wobble(e, 'plain', 'last'),
        'averaged statistics beat stale ones': ends['averaged'] - ends['stale'],
        'recalibrated ones beat averaged': ends['recalibrated'] - ends['averaged'],
    }
    found = {text: interval(v) for text, v in targets.items()}
    return failing(*((v[1] < 0, f'{text}: not shown, {v}') for text, v in found.items()))

def main():
    p = options(
        __doc__, 'averaging', 'the stored file is not whole in the end, or misses a target', device=False
    )
    p.add_argument('--only', choices=[*arms, 'none'], help='one of the arms, or none')
    p.add_argument('--steps', type=int, default=1600, help='of a run (default 1600)')
    p.add_argument('--every', type=int, default=100, help='steps between evaluations (default 100)')
    p.add_argument('--seeds', type=int, default=5, help='members of a run (default 5)')
    a = parsed(p)
    if min(a.steps, a.every, a.seeds) < 1 or a.steps < 2*a.every:
        p.error('--seeds must be at least 1, and --steps at least twice --every.')
    which = [] if a.only == 'none' else [a.only] if a.only else list(arms)
    measure(a.out, which, a.steps, a.every, a.seeds)
    return verdict(lacking(a.out), a.check, 'LACKING')


if __name__ == '__main__': raise SystemExit(main())
