"""What each part of the DCGAN is there for: the pair of chapter 9 on drawn faces of 16x16 pixels, whole,
and with one part taken away or exchanged at a time.

usage: python -m trials.dcgan [--check] [--only ARM ...] [--steps N] [--seeds K]
[--device cpu|cuda] [--out FILE]

An arm is a few changes of `whole`, the recipe that chapter 9 trains in front of the reader, for as
many steps; the chapter holds its own arms against the stored ones. All arms of a seed see the same
batches. The seeds are those that GANBOOK_SEED=0, 1, ... gives the chapter, so that the run of the
chapter is the first of them.

Of the averaged generator: the squared Frechet distance of 1,000 samples from 1,000 faces that were not
trained on, in the features of the reader of faces and in units of half of these faces against the other
half; the kinds of faces that are surely read among the samples; and the power in the finest alternation
of pixels (`checkerboard`), beside that of the faces.

--check exits with 1 if a target of the stored figures is missed: the whole stays below a distance, and
the parts in `needed` make it worse when they go, by the 95 % interval of the ratio, seed by seed.
"""
from dataclasses import replace

import torch
from ganbook.data import faces, latents
from ganbook.models.dcgan import checkerboard
from ganbook.readers import face_reader, kinds_found
from ganbook.recipes import build, find
from ganbook.scale import interval
from ganbook.train import fit, sample
from trials import common
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, lists_of, machine, parsed, run_arms,
    stored, verdict, wanting,
)

whole = replace(find('dcgan'), width=16, smallest=4, batch_size=32, noise=.1, n_steps=400)
parts = {
    'whole': {},
    'upsampled': dict(up='upsampled'),
    'no BatchNorm': dict(norm_G='none'),
    'no BatchNorm, larger start': dict(norm_G='none', init='pytorch'),
    'larger start': dict(init='pytorch'),
    'BatchNorm in D too': dict(norm_D='batch'),
    'momentum .9': dict(betas=(.9, .99)),
    'no convolutions': dict(networks='mlp', hidden=(256, 256)),
}
size = 16
n_train = 3_000
n_judged = 1_000


class Judge(common.Judge):
    "Holds as many samples as there are real faces against these, in the features of the reader."
    def __init__(self, device, n=n_judged):
        x = as_drawn(faces(n, size, seed=1).x.to(device))
        super().__init__('faces', x, device, eye=face_reader())
        self.checkerboard = checkerboard(x).item()
    def __call__(self, G, seed):
        rng = torch.Generator(self.device).manual_seed(7 + seed)
        x = sample(G, latents(self.n, G.latent_dim, rng, self.device))
        return dict(
            distance=self.frechet(x).item()/self.floor,
            kinds=kinds_found(self.eye.probs(x)), checkerboard=checkerboard(x).item(),
        )


def step_s(recipe, data, device, n=100, now=None):
    """Seconds a step by the clock `now`, of a copy that is
    thrown away; the first steps set up, record and warm."""
    s, a = build(recipe, data, device=device)
    times, now = [], now or (lambda: clock(device))
    def look(s):
        if s.step in (20, 20 + n): times.append(now())
    fit(s, **a | dict(n_steps=20 + n, callbacks=[look]))
    return (times[1] - times[0])/n

def run(arm, data, seed, n_steps, device):
    "Train one GAN."
    s, a = build(replace(whole, n_steps=n_steps, **parts[arm]), data, seed, device)
    return fit(s, **a)

def try_arm(arm, data, judge, n_steps, seeds, device):
    "Its measures, one a seed."
    start, rows = clock(device), []
    for seed in seeds: rows.append(judge(run(arm, data, seed, n_steps, device).best, seed))
    return lists_of(rows) | dict(seconds=clock(device) - start)

def line(name, row):
    return f"{name:24} distance {each(row['distance'], '6.1f')}   kinds {each(row['kinds'], '4d')}"

def over_whole(rows, name):
    "Distance of an arm over that of the whole, seed by seed."
    return [a/b for a, b in zip(rows[name]['distance'], rows['whole']['distance'])]

needed = {'no BatchNorm': 1.8, 'momentum .9': 4., 'no convolutions': 1.3}

def missed(rows, kind='cpu faces'):
    "The targets that are not met, in words."
    if faults := wanting(rows, parts, kind): return faults
    worst = max(rows['whole']['distance'])
    faults = failing((worst <= 25, f'whole: distance {worst:.1f}, at most 25'))
    for name, least in needed.items():
        low = interval(over_whole(rows, name))[0]
        text = f'{name}: {low:.2f} times the distance of the whole, at least {least}'
        faults += failing((low >= least, text))
    return faults

def main():
    p = arm_options(__doc__, 'dcgan', parts, whole.n_steps, data=None)
    a = parsed(p)
    names, device = chosen(p, a, parts), torch.device(a.device)
    kind, n_steps = f'{a.device} faces', a.steps or whole.n_steps
    data, judge = faces(n_train, size).to(device), Judge(device)
    seeds = [1000*k for k in range(a.seeds)]
    about = machine(device, with_clock=True) | dict(
        n_steps=n_steps, floor=judge.floor, real_checkerboard=judge.checkerboard, parts=parts,
    )
    run_arms(
        names, lambda arm: try_arm(arm, data, judge, n_steps, seeds, device), line, a.out, kind, about,
    )
    return verdict(missed(stored(a.out).get(kind, {}).get('rows', {}), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
