"""Does a recipe carry to data that it was not tuned on?

usage: python -m trials.carry [--check] [--only SET ...] [--steps N] [--seeds K]
[--device cpu|cuda] [--out FILE]

`points` was tuned on the ring of 8 modes and the grid of 25. Here it trains, as it is, on the first six sets
of points below, which were written down before the first run: other numbers of modes, other spreads of a
mode, modes that lie anywhere. 10,000 samples of the average of G are judged as in trials.modes.

Of the grid of 49 modes it lost some in every run. From two further runs of it came the rule that the number
of steps grows with the square of the number of modes. The grid of 36 was not seen before that, and trains
with the steps of the recipe and with those of the rule; the grid of 49 with these as well. Its steps alone
left one run without a mode; from one more run came `both by rule`: these steps, and penalties that fall as
the number of modes grows: modes nearer to each other want a steeper D, whose squared slope they penalise.

`stable` was tuned on the 8x8 digits. It trains, as it is but narrower (width 16, 1,500 steps), on MNIST's
digits of 28 pixels, and on drawn faces of 16. 2,500 samples are judged as in trials.sights. Beside the
faces stand the same measures of the recipe `pictures`, which was tuned on them, in results/bench_sights.json.

Seeds train one by one. --check exits with 1 if a set of points loses a mode, a grid with both by the rule,
or a distance of `stable` is more than three times that of a recipe that was tuned. """
from dataclasses import replace

import torch
from ganbook import data as sets
from ganbook.data import Data, to_units
from ganbook.downloads import mnist_small
from ganbook.metrics import mode_coverage
from ganbook.recipes import build, find
from ganbook.train import fit, sample
from trials import sights
from trials.common import (
    arm_options, chosen, clock, each, failing, fixed_latents, lists_of, machine, parsed, results,
    run_arms, stored, verdict,
)


def dozen():
    "Twelve modes that lie anywhere in a square, not nearer to each other than .5."
    rng = torch.Generator().manual_seed(12)
    centres = torch.empty(0, 2)
    while len(centres) < 12:
        new = torch.rand(1, 2, generator=rng)*4 - 2
        if (centres - new).norm(dim=-1).gt(.5).all(): centres = torch.cat([centres, new])
    return sets.mixture(centres, .05, name='a dozen anywhere')

def unequal():
    "Eight modes on a circle, of which one is seven times as common as another."
    ring = sets.ring(1)
    return sets.mixture(ring.modes, .03, weights=torch.linspace(1, 7, 8), name='unequal ring')

points = {  # name -> () -> data
    'ring of 5, radius 3': lambda: sets.ring(modes=5, radius=3., std=.05),
    'ring of 16': lambda: sets.ring(modes=16),
    'ring of 8, wide modes': lambda: sets.ring(std=.08),
    'ring of 8, unequal modes': unequal,
    'grid of 49': lambda: sets.grid(side=7),
    'a dozen anywhere': dozen,
    'grid of 36': lambda: sets.grid(side=6),
    'grid of 36, steps by rule': lambda: sets.grid(side=6),
    'grid of 49, steps by rule': lambda: sets.grid(side=7),
    'grid of 36, both by rule': lambda: sets.grid(side=6),
    'grid of 49, both by rule': lambda: sets.grid(side=7),
}
images = {  # name -> (kind of trials.sights, () -> data)
    'MNIST, 28 pixels': ('mnist', mnist_small),
    'faces, 16 pixels': ('faces', lambda: sets.faces(size=16)),
}
narrow = replace(find('stable'), width=16, n_steps=1_500)


def by_rule(name, data: Data):
    """The recipe `points`, tuned on 25 modes. By the rule its steps grow with the square of
    the number of modes; where both are by the rule, its penalties fall with that number."""
    usual, times = find('points'), len(data.modes)/25
    if name.endswith('by rule'): usual = replace(usual, n_steps=round(usual.n_steps*times**2))
    return replace(usual, r1=usual.r1/times, r2=usual.r2/times) if name.endswith('both by rule') else usual

def on_points(recipe, data: Data, n_seeds, device):
    "Modes found, and the share of good samples."
    rows = []
    for seed in range(n_seeds):
        start = clock(device)
        s, a = build(recipe, data, seed, device)
        fit(s, **a)
        x = to_units(data, sample(s.best, fixed_latents(10_000, s.best, device=device))).cpu()
        found = mode_coverage(x.nan_to_num(1e6, 1e6, -1e6), data.modes.cpu(), data.std)
        row = {k: found[k].item() for k in ('modes', 'hq', 'rkl')}
        rows.append(row | dict(seconds=clock(device) - start))
    return lists_of(rows) | dict(of=len(data.modes), n_steps=recipe.n_steps, gamma=recipe.r1)

def on_images(kind, data, n_steps, n_seeds, device):
    "What trials.sights measures."
    judge, recipe = sights.Judge(kind, data, device), replace(narrow, n_steps=n_steps)
    rows = [sights.one(recipe, data, judge, seed, device)[0] for seed in range(n_seeds)]
    lists = lists_of(rows)
    return {k: lists[k] for k in ('distance', 'kinds', 'sure', 'seconds')} | dict(n_steps=n_steps)

def try_set(name, n_steps, n_seeds, device):
    if name in points:
        data = points[name]().to(device)
        recipe = by_rule(name, data)
        return on_points(replace(recipe, n_steps=n_steps or recipe.n_steps), data, n_seeds, device)
    kind, data = images[name]
    return on_images(kind, data().to(device), n_steps or narrow.n_steps, n_seeds, device)

def line(name, row):
    if 'of' in row:
        told = ', '.join(f'{m:.0f} modes, good {hq:.2f}' for m, hq in zip(row['modes'], row['hq']))
        return f"{name:26} of {row['of']}: {told}"
    return f"{name:26} distance {each(row['distance'], '.1f')}   kinds {each(row['kinds'], 'd')}"

def tuned(kind):
    "Distances of the recipe that was tuned, if they are stored."
    rows = stored(results/'bench_sights.json').get(kind, {}).get('rows', {})
    return rows.get('whole', {}).get('distance', [])

def missed(rows):
    "The targets that are not met, in words."
    faults = [f'{name} is missing' for name in (*points, *images) if name not in rows]
    best = [name for name in points if name.endswith('both by rule') or not name.startswith('grid')]
    lost = [name for name in best if name in rows and min(rows[name]['modes']) < rows[name]['of']]
    faults += [f'{name}: a mode is lost' for name in lost]
    own = tuned('cpu faces')
    if not own or 'faces, 16 pixels' not in rows: return faults
    worst, most = max(rows['faces, 16 pixels']['distance']), 3*max(own)
    return faults + failing((worst <= most, f'faces: a distance of {worst:.1f}, at most {most:.1f}'))

def main():
    usual = '6,500 of points or by the rule, 1,500 of images'
    p = arm_options(__doc__, 'carry', points | images, usual, data=(), seeds=3)
    a = parsed(p)
    device = torch.device(a.device)
    def tried(name): return try_set(name, a.steps, a.seeds, device)
    run_arms(chosen(p, a, points | images), tried, line, a.out, a.device, machine(a.device, with_clock=True))
    return verdict(missed(stored(a.out).get(a.device, {}).get('rows', {})), a.check)


if __name__ == '__main__': raise SystemExit(main())
