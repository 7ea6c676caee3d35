"""Few images: what `ganbook train --augment` is worth on a folder of 200 images, and on one of 2,000.

usage: python -m trials.fewimages [--check] [--only ARM ...] [--steps N] [--seeds K] [--first SEED]
[--device cpu|cuda] [--out FILE]

The images are drawn faces of 16x16 pixels, and each seed has images of its own. The recipe is `stable`,
which the command takes for a folder, at width 16 and batch 32, for 1,000 steps or for its own 3,000. The arms
of a seed differ in --augment alone: `off`; `diffaugment`, five operations on all that D sees; and `ada`, the
same operations as often as the overfitting of D asks for, which holds a tenth of the images out.

Stored for each seed: `distance`, the squared Frechet distance of 2,500 samples from 2,500 faces that nobody
was trained on, in the features of the reader of faces and in units of half of these faces against the other
half; `near`, the median distance of a sample to the nearest training image over that of the unseen faces, 1
if nothing is copied; `gap`, how much more real D finds its training images, in standard deviations of the
unseen ones; `p`, the probability that ADA ended at. The distance also at five moments.

--check exits with 1 if a target of the stored figures is missed: with 200 images and 1,000 steps ADA brings
the samples nearer at two seeds of five at most, and narrows the gap of D. The other arms have no target. """
from dataclasses import replace

import torch
from ganbook.callbacks import every, record
from ganbook.data import faces
from ganbook.metrics import critic_gap, memorisation
from ganbook.nets import evaluating
from ganbook.readers import face_reader
from ganbook.recipes import build, find
from ganbook.scale import interval
from ganbook.train import fit
from trials import common
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, lists_of, machine, parsed, run_arms, stored, verdict,
    wanting,
)

base = replace(find('stable'), width=16, batch_size=32)

def name_of(n, way, n_steps=1_000): return f'{n:,} images, {n_steps:,} steps, {way}'

arms = {
    name_of(n, way, n_steps): (n, replace(base, augment=way.replace('off', ''), n_steps=n_steps))
    for n, n_steps in ((200, 1_000), (2_000, 1_000), (200, 3_000))
    for way in ('off', 'ada', 'diffaugment')
    if way != 'diffaugment' or n_steps == 1_000
}
needed = [name for name in arms if name.startswith(name_of(200, ''))]  # for the targets
size = 16
n_judged = 2_500
n_looks = 5


def folder(n, seed):
    "The images of a seed; those that judge have seed 1."
    return faces(n, size, seed=100 + seed)


class Judge(common.Judge):
    "Holds samples against faces that nobody was trained on."
    def __init__(self, device):
        self.unseen = as_drawn(faces(n_judged, size, seed=1).x.to(device))
        super().__init__('faces', self.unseen, device, eye=face_reader())
    def near(self, s, train):
        "How near samples lie to the training images."
        samples, train, unseen = (x.flatten(1) for x in (self.samples(s.best), train, self.unseen))
        return memorisation(samples, train, unseen).item()
    def gap(self, s, train):
        "How much more real D finds the training images than unseen ones."
        with evaluating(s.D): return critic_gap(s.D(train), s.D(self.unseen)).item()


def one(recipe, n, seed, judge):
    "A run, and what was measured of it."
    data = folder(n, seed).to(judge.device)
    s, a = build(recipe, data, seed, judge.device)
    look = record(lambda s: judge.distance(s.best).item())
    watch = every(max(1, recipe.n_steps//n_looks), look, last=True)
    start = clock(judge.device)
    fit(s, **a | dict(callbacks=[*a.get('callbacks', ()), watch]))
    seconds, train = clock(judge.device) - start, as_drawn(data.x)
    policy = s.extra.get('augment')
    return dict(
        distance=look.values[-1], distances=look.values, near=judge.near(s, train), gap=judge.gap(s, train),
        p=policy.p.item() if policy else float(bool(recipe.augment)), steps=look.steps, seconds=seconds,
    )

def line(name, row):
    return (
        f"{name:37} distance {each(row['distance'], '6.2f')}   near {each(row['near'], '.2f')}   "
        f"gap {each(row['gap'], '.1f')}   p {each(row['p'], '.2f')}   {sum(row['seconds']):.0f} s"
    )


# Targets

def over_off(rows, n, way, n_steps=1_000, key='distance'):
    "A measure of an arm over that of the same images without augmentation, seed by seed."
    ours, off = (rows[name_of(n, name, n_steps)][key] for name in (way, 'off'))
    return [a/b for a, b in zip(ours, off, strict=True)]

def missed(rows, kind):
    "The targets that are not met, in words."
    if faults := wanting(rows, needed, kind): return faults
    nearer = sum(ratio < 1 for ratio in over_off(rows, 200, 'ada'))
    gap = interval(over_off(rows, 200, 'ada', key='gap'))[1]
    return failing(
        (nearer <= 2, f'{kind}, 200 images: ADA is nearer at {nearer} seeds of 5: it may be worth a default'),
        (gap < .9, f'{kind}, 200 images: the gap of D under ADA is up to {gap:.2f} of the other, below .9'),
    )

def main():
    p = arm_options(__doc__, 'fewimages', arms, 'as the arm says', data=(), first=True)
    a = parsed(p)
    device = torch.device(a.device)
    judge, kind = Judge(device), f'{a.device} faces'
    about = machine(a.device, with_clock=True) | dict(
        size=size, n_judged=n_judged, floor=judge.floor, recipe=base.name, width=base.width,
        batch_size=base.batch_size,
    )
    def trial(name):
        n, r = arms[name]
        r = replace(r, n_steps=a.steps or r.n_steps)
        return lists_of([one(r, n, seed, judge) for seed in range(a.first, a.first + a.seeds)])
    run_arms(chosen(p, a, arms), trial, line, a.out, kind, about)
    return verdict(missed(stored(a.out).get(kind, {}).get('rows', {}), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
