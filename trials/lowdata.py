"""Low data: what augmentation is worth when D can learn its training set by heart, with and without
penalties, and what leaks.

usage: python bench/lowdata.py [--check] [--data digits|mnist] [--only ARM ...] [--steps N] [--seeds K]
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
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import numpy as np
import torch
from common import clock, machine, options, parsed, rounded, store, stored, verdict
from ganbook import data as sets
from ganbook.augment import ADA, Augment, Overfitting, cutout, quarter_turns, translation
from ganbook.callbacks import every, record
from ganbook.data import latents, split, subset
from ganbook.metrics import critic_gap, frechet, frechet_floor, memorisation, nearest, yardstick
from ganbook.recipes import build, find
from ganbook.train import evaluating, fit, sample

plain = replace(
    find('dcgan'), name='plain', width=16, noise=0., decay_from=None, batch_size=32, n_steps=3_000
)
stable = replace(find('stable'), width=16, batch_size=32, n_steps=1_000)
moved, hidden = (translation,), (translation, cutout)

def arm(recipe, share, ops=(), p=1., ada=None, n_steps=None, n_seeds=None):
    "`ada` holds the settings of ADA."
    return dict(
        recipe=replace(recipe, n_steps=n_steps or recipe.n_steps), share=share, ops=ops, p=p, ada=ada,
        n_seeds=n_seeds or (5 if share == .1 else 3),
    )
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


def centre_variance(x):
    """Variance over images of the place of their centre of mass,
    rows and columns added, in squares of a pixel at 8x8 (...,)."""
    ink = (x + 1)/2 + 1e-6
    def at(d):
        return (
            (torch.arange(x.shape[d], device=x.device)*8/x.shape[d]).view((-1, 1) if d == -2 else (1, -1))
            *ink
        ).sum((-3, -2, -1))/ink.sum((-3, -2, -1))
    return at(-2).var(-1) + at(-1).var(-1)

def windows(x):
    "Share of images with an all but black window of half their sides (...,)."
    half = x.shape[-1]//2
    dark = (x + 1).unfold(-2, half, 1).unfold(-2, half, 1).amax((-2, -1)) < .15*2
    return dark.any(-1).any(-1).any(-1).double().mean(-1)

def turned(x, upright):
    """Share of images (...,N,C,H,W) that are nearer to a turned
    image of `upright` (M,C,H,W) than to any as it is (...,)."""
    def f(t): return t.flatten(-3)
    d = torch.stack([nearest(f(x.rot90(-k, (-2, -1))), f(upright)) for k in range(4)])
    return (d.argmin(0) > 0).double().mean(-1)

def statistics(x, upright):
    return dict(translation=centre_variance(x).double(), cutout=windows(x), quarter_turns=turned(x, upright))


class Judge:
    "Holds samples against the held-out half, once looked at."
    def __init__(self, name, train, held_out, device):
        self.eye, self.device = yardstick('mnist' if name == 'mnist' else 'digits').to(device), device
        self.train, self.held_out = (d.x.to(device).float()/127.5 - 1 for d in (train, held_out))
        both = torch.cat([self.train, self.held_out])
        self.floor = frechet_floor(self.eye.features(both)).item()
        self.real = self.eye.features(self.held_out)
        rng = torch.Generator(device).manual_seed(5)
        self.before = statistics(self.held_out, self.train)
        self.after = {
            op.__name__: statistics(op(self.held_out, rng), self.train)[op.__name__]
            for op in (translation, cutout, quarter_turns)
        }
    def samples(self, s):
        z = (
            latents(len(self.held_out), s.G.latent_dim, torch.Generator().manual_seed(9))
            .to(self.device)
            .expand(*s.members, -1, -1)
        )
        return sample(s.best, z).nan_to_num()
    def distance(self, s): return frechet(self.real, self.eye.features(self.samples(s)))/self.floor
    def own(self, data):
        "Distance of the training images themselves, where copying them would end."
        return (
            frechet(self.real, self.eye.features(data.x.to(self.device).float()/127.5 - 1))/self.floor
        ).item()
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
        x = self.samples(s)
        def f(t): return t.flatten(-3)
        near = torch.stack([memorisation(f(one), f(train), f(self.held_out)) for one in x])
        seen = self.gap(s, train, augment) if augment else self.gap(s, train)
        return dict(distance=self.distance(s), gap=self.gap(s, train), gap_seen=seen, near=near) | self.leak(
            x
        )

def try_arm(a, data, judge, n_steps, n_seeds, first, device):
    "All measures of one arm, one a seed."
    n = round(len(data)*a['share'])
    data = subset(data, n, seed=0)
    s, args = build(replace(a['recipe'], n_steps=n_steps), data, first, device, n_seeds)
    train = data.x.to(device).float()/127.5 - 1
    augment = Augment(a['ops'], a['p'], s.rng) if a['ops'] else None
    look = record(
        lambda s: (
            judge.distance(s), judge.gap(s, train), augment.p.clone() if augment else torch.zeros(n_seeds),
        )
    )
    callbacks = [every(max(1, n_steps//n_looks), look, last=True)]
    if a['ada']:
        s.extra['augment'] = augment
        callbacks.insert(
            0,
            ADA(
                augment,
                Overfitting(
                    train[:90], judge.held_out[:90],
                    latents(90, s.G.latent_dim, torch.Generator().manual_seed(8)),
                ),
                **a['ada'],
            ),
        )
    start = clock(device)
    fit(s, **args | dict(augment=augment, callbacks=callbacks))
    curves = {
        k: torch.stack([v[i] for v in look.values], -1).tolist()
        for i, k in enumerate(('distances', 'gaps', 'p'))
    }
    return (
        {k: v.tolist() for k, v in judge.end(s, train, augment).items()}
        | curves
        | dict(n_train=n, steps=look.steps, seconds=clock(device) - start)
    )


def cut(without, with_, floor=0.):
    "By which share a measure fell, (mean over the seeds without - with)/(without - floor)."
    a, b = np.mean(without) - floor, np.mean(with_) - floor
    return 1 - b/a

def missed(kept, kind):
    "The targets that are not met, in words."
    entry, faults = kept.get(kind), []
    if entry is None: return [f'there is no {kind}']
    rows = entry['rows']
    faults += [f'{kind}: no arm called {a}' for a in arms if a not in rows]
    faults += [
        f"{kind}, {a}: {len(r['distance'])} seeds, at least {arms[a]['n_seeds']}"
        for a, r in rows.items()
        if a in arms and len(r['distance']) < arms[a]['n_seeds']
    ]
    if faults or kind != 'cpu digits': return faults
    before, after = rows['10 %, plain'], rows[best]
    if (c := cut(before['distance'], after['distance'], 1.)) < .35:
        faults.append(f'10 %, plain: the distance above its floor falls by {c:.0%}, at least 35 %')
    if (c := cut(before['gap'], after['gap'])) < .5:
        faults.append(f"10 %, plain: the critic's gap falls by {c:.0%}, at least 50 %")
    for name in ('translation', 'cutout'):
        if abs(v := np.mean(after[f'leak_{name}'])) > .15:
            faults.append(f'{best}: {v:.2f} of {name} has leaked, at most .15')
    always, half = (np.mean(rows[f'leak: quarter turns, p={p}']['leak_quarter_turns']) for p in ('1', '.5'))
    if not always > .4 > .15 > half:
        faults.append(
            f'quarter turns leak {always:.2f} with p=1 (above .4) and {half:.2f} with p=.5 (below .15)'
        )
    return faults

def main():
    p = options(
        __doc__, 'lowdata', arms, f'{plain.n_steps:,} plain, {stable.n_steps} stable; on a GPU 20,000',
        seeds='5 at 10 %, else 3', first=True,
    )
    a, chosen = parsed(p, arms)
    device, kind = torch.device(a.device), f'{a.device} {a.data}'
    train, held_out = (
        split(sets.digits(), .5, seed=0) if a.data == 'digits' else (sets.mnist(), sets.mnist(train=False))
    )
    judge = Judge(a.data, train, held_out, device)
    own = {
        f'{share:.0%}': judge.own(subset(train, round(len(train)*share), seed=0))
        for share in (.1, .2, 1.)
    }
    about = machine(a.device) | dict(
        floor=judge.floor, n_held_out=len(held_out), order=list(arms), training_set_itself=own
    )
    for name in chosen:
        n_steps = a.steps or (20_000 if a.device == 'cuda' else arms[name]['recipe'].n_steps)
        row = try_arm(
            arms[name], train.to(device), judge, n_steps, a.seeds or arms[name]['n_seeds'], a.first, device
        )
        print(
            f"{name:45}", ' '.join(f'{d:6.2f}' for d in row['distance']), '  gap',
            ' '.join(f'{d:5.2f}' for d in row['gap']), f"  {row['seconds']:.0f} s", flush=True,
        )
        old = stored(a.out).get(kind, {}).get('rows', {})
        store(a.out, kind, rounded(about | dict(rows=old | {name: row | dict(n_steps=n_steps)})))
    return verdict(missed(stored(a.out), kind), a.check)


if __name__ == '__main__': sys.exit(main())
