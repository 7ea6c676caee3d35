"""Low data: what augmentation is worth when D can learn its training set by heart, with and without
penalties, and what leaks.

usage: python -m trials.lowdata [--check] [--data digits|mnist] [--only ARM ...] [--steps N] [--seeds K]
[--first SEED] [--device cpu|cuda] [--out FILE]

Half of the images is held out and judges every arm. The other half is the training set of `100 %`;
`20 %` and `10 %` are fixed parts of it (of the 1,797 digits: 898 held out, 899, 180 and 90 to train
on). The networks are DCGANs of width 16 with BatchNorm in G alone. `plain` is the recipe dcgan
without its noise: non-saturating loss, no penalty. `stable` is the recipe stable: relativistic loss,
R1 and R2. Operations are those of Zhao et al. 2020, on real and fake in both steps, black where an
image ends; p=1 unless the arm says otherwise. ADA moves p by r_v on the held-out half of the training
set, which is a loan: it looks at 90 held-out images that no other arm sees. Seeds train side by side.

Stored for each seed: `distance`, the squared Frechet distance of as many samples as there are held-out
images to these, in the yardstick's features and units of half against half of the data; `gap`, how
much more real D finds its training images, in standard deviations of the held-out ones (`gap_seen`:
the same after augmentation); `near`, the median distance to the nearest training image over that of
held-out images, 1 if nothing is copied; and three leaks. A leak is a statistic of generated images, 0
where it is that of the held-out ones, 1 where it is that of these after the operation: the variance of
the centre of mass for translation, the share of images with a black window for cutout, and for quarter
turns the share of images whose nearest training image is a turned one. All of it at the end; distance
and gap at every look too. --check exits with 1 if a target of the stored figures is missed. """
from dataclasses import replace

import numpy as np
import torch
from ganbook import data as sets
from ganbook.augment import ADA, Augment, Overfitting, cutout, quarter_turns, translation
from ganbook.callbacks import every, record
from ganbook.data import latents, split, subset
from ganbook.metrics import critic_gap, memorisation, nearest
from ganbook.recipes import build, find
from ganbook.nets import evaluating
from ganbook.train import fit
from trials import common
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, machine, parsed, run_arms, stored, verdict,
)

plain = replace(
    find('dcgan'), name='plain', width=16, noise=0., decay_from=None, batch_size=32, n_steps=3_000
)
stable = replace(find('stable'), width=16, batch_size=32, n_steps=1_000)
moved, hidden = (translation,), (translation, cutout)

def arm(recipe, share, ops=(), p=1., ada=None, n_steps=None, n_seeds=None):
    "`ada` holds the settings of ADA."
    recipe, n_seeds = replace(recipe, n_steps=n_steps or recipe.n_steps), n_seeds or (5 if share == .1 else 3)
    return dict(recipe=recipe, share=share, ops=ops, p=p, ada=ada, n_seeds=n_seeds)
best = '10 %, plain, translation and cutout'
arms = {
    '10 %, plain': arm(plain, .1),
    best: arm(plain, .1, hidden),
    '10 %, stable': arm(stable, .1),
    '10 %, stable, translation': arm(stable, .1, moved),
    '10 %, plain, translation': arm(plain, .1, moved),
    '10 %, plain, ADA': arm(plain, .1, hidden, 0., dict(target=.2, every=10, rise=500)),
    'leak: quarter turns, p=1': arm(plain, 1., (quarter_turns,), n_steps=1_000, n_seeds=5),
    'leak: quarter turns, p=.5': arm(plain, 1., (quarter_turns,), .5, n_steps=1_000, n_seeds=5),
    '20 %, plain': arm(plain, .2),
    '20 %, plain, translation and cutout': arm(plain, .2, hidden),
    '100 %, plain': arm(plain, 1.),
    '100 %, plain, translation and cutout': arm(plain, 1., hidden),
}
n_looks = 10


# Statistics that show a leak

def centre_variance(x):
    """Variance over images of the place of their centre of mass,
    rows and columns added, in squares of a pixel at 8x8 (...,)."""
    ink = (x + 1)/2 + 1e-6
    def at(d):
        place = torch.arange(x.shape[d], device=x.device)*8/x.shape[d]
        place = place.view((-1, 1) if d == -2 else (1, -1))
        return (place*ink).sum((-3, -2, -1))/ink.sum((-3, -2, -1))
    return at(-2).var(-1) + at(-1).var(-1)

def windows(x):
    "Share of images with an all but black window of half their sides (...,)."
    half = x.shape[-1]//2
    dark = (x + 1).unfold(-2, half, 1).unfold(-2, half, 1).amax((-2, -1)) < .15*2
    return dark.any(-1).any(-1).any(-1).double().mean(-1)

def flat(x): return x.flatten(-3)

def turned(x, upright):
    """Share of images (...,N,C,H,W) that are nearer to a turned
    image of `upright` (M,C,H,W) than to any as it is (...,)."""
    d = torch.stack([nearest(flat(x.rot90(-k, (-2, -1))), flat(upright)) for k in range(4)])
    return (d.argmin(0) > 0).double().mean(-1)

def statistics(x, upright):
    return dict(translation=centre_variance(x).double(), cutout=windows(x), quarter_turns=turned(x, upright))


class Judge(common.Judge):
    "Holds samples against the held-out half; the unit is half against half of all images."
    def __init__(self, name, train, held_out, device):
        self.train, self.held_out = (as_drawn(d.x.to(device)) for d in (train, held_out))
        super().__init__(name, torch.cat([self.train, self.held_out]), device, len(held_out))
        self.real = self.eye.features(self.held_out)
        rng = torch.Generator(device).manual_seed(5)
        self.before = statistics(self.held_out, self.train)
        self.after = {
            op.__name__: statistics(op(self.held_out, rng), self.train)[op.__name__]
            for op in (translation, cutout, quarter_turns)
        }
    def own(self, data):
        "Distance of the training images themselves, where copying them would end."
        return (self.frechet(as_drawn(data.x.to(self.device)))/self.floor).item()
    def gap(self, s, train, change=lambda x: x):
        with evaluating(s.D):
            a, b = (s.D(change(x.expand(*s.members, *x.shape))) for x in (train, self.held_out))
        return critic_gap(a, b)
    def leak(self, x):
        return {
            f'leak_{k}': (v - self.before[k])/(self.after[k] - self.before[k])
            for k, v in statistics(x, self.train).items()
        }
    def end(self, s, train, augment):
        x = self.samples(s.best, s.members)
        near = torch.stack([memorisation(flat(one), flat(train), flat(self.held_out)) for one in x])
        seen = self.gap(s, train, augment) if augment else self.gap(s, train)
        found = dict(distance=self.frechet(x)/self.floor, gap=self.gap(s, train), gap_seen=seen, near=near)
        return found | self.leak(x)

def with_ada(s, augment, train, judge, settings):
    "The callback that moves p by how much D overfits; it goes into checkpoints with the state."
    s.extra['augment'] = augment
    z = latents(90, s.G.latent_dim, torch.Generator().manual_seed(8))
    return ADA(augment, Overfitting(train[:90], judge.held_out[:90], z), **settings)

def try_arm(a, data, judge, n_steps, n_seeds, first, device):
    "All measures of one arm, one a seed."
    n = round(len(data)*a['share'])
    data = subset(data, n, seed=0)
    s, args = build(replace(a['recipe'], n_steps=n_steps), data, first, device, n_seeds)
    train = as_drawn(data.x.to(device))
    augment = Augment(a['ops'], a['p'], s.rng) if a['ops'] else None
    def measures(s):
        p = augment.p.clone() if augment else torch.zeros(n_seeds)
        return judge.distance(s.best, s.members), judge.gap(s, train), p
    look = record(measures)
    callbacks = [with_ada(s, augment, train, judge, a['ada'])] if a['ada'] else []
    callbacks.append(every(max(1, n_steps//n_looks), look, last=True))
    start = clock(device)
    fit(s, **args | dict(augment=augment, callbacks=callbacks))
    row = {k: v.tolist() for k, v in judge.end(s, train, augment).items()}
    for i, k in enumerate(('distances', 'gaps', 'p')):
        row[k] = torch.stack([v[i] for v in look.values], -1).tolist()
    return row | dict(n_train=n, n_steps=n_steps, steps=look.steps, seconds=clock(device) - start)

def line(name, row):
    distances, gaps = each(row['distance'], '6.2f'), each(row['gap'], '5.2f')
    return f"{name:45} {distances}   gap {gaps}   {row['seconds']:.0f} s"


# Targets

def cut(without, with_, floor=0.):
    "By which share a measure fell, (mean over the seeds without - with)/(without - floor)."
    a, b = np.mean(without) - floor, np.mean(with_) - floor
    return 1 - b/a

def missed(kept, kind):
    "The targets that are not met, in words."
    if kind not in kept: return [f'there is no {kind}']
    rows = kept[kind]['rows']
    faults = [f'{kind}: no arm called {a}' for a in arms if a not in rows]
    few = {a: len(r['distance']) for a, r in rows.items() if a in arms}
    least = {a: arms[a]['n_seeds'] for a in few}
    faults += [f'{kind}, {a}: {n} seeds, at least {least[a]}' for a, n in few.items() if n < least[a]]
    if faults or kind != 'cpu digits': return faults
    before, after = rows['10 %, plain'], rows[best]
    nearer, smaller = cut(before['distance'], after['distance'], 1.), cut(before['gap'], after['gap'])
    leaks = {name: np.mean(after[f'leak_{name}']) for name in ('translation', 'cutout')}
    always, half = (np.mean(rows[f'leak: quarter turns, p={p}']['leak_quarter_turns']) for p in ('1', '.5'))
    return failing(
        (nearer >= .35, f'10 %, plain: the distance above its floor falls by {nearer:.0%}, at least 35 %'),
        (smaller >= .5, f"10 %, plain: the critic's gap falls by {smaller:.0%}, at least 50 %"),
        *(
            (abs(v) <= .15, f'{best}: {v:.2f} of {name} has leaked, at most .15')
            for name, v in leaks.items()
        ),
        (
            always > .4 > .15 > half,
            f'quarter turns leak {always:.2f} with p=1 (above .4) and {half:.2f} with p=.5 (below .15)',
        ),
    )

def main():
    steps = f'{plain.n_steps:,} plain, {stable.n_steps} stable; on a GPU 20,000'
    p = arm_options(__doc__, 'lowdata', arms, steps, seeds='5 at 10 %, else 3', first=True)
    a = parsed(p)
    names = chosen(p, a, arms)
    device = torch.device(a.device)
    digits = a.data == 'digits'
    train, held_out = split(sets.digits(), .5, seed=0) if digits else (sets.mnist(), sets.mnist(train=False))
    judge = Judge(a.data, train, held_out, device)
    parts = {share: subset(train, round(len(train)*share), seed=0) for share in (.1, .2, 1.)}
    about = machine(a.device) | dict(
        floor=judge.floor, n_held_out=len(held_out), order=list(arms),
        training_set_itself={f'{share:.0%}': judge.own(part) for share, part in parts.items()},
    )
    data = train.to(device)
    def trial(name):
        n_steps = a.steps or (20_000 if a.device == 'cuda' else arms[name]['recipe'].n_steps)
        return try_arm(arms[name], data, judge, n_steps, a.seeds or arms[name]['n_seeds'], a.first, device)
    kind = f'{a.device} {a.data}'
    run_arms(names, trial, line, a.out, kind, about)
    return verdict(missed(stored(a.out), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
