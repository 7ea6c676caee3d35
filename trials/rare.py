"""Chapter 27's bias: what share of generated faces wears glasses, when few of the training faces do.

usage: python -m trials.rare [--check] [--only ARM ...] [--steps N] [--seeds K] [--first I] [--out FILE]

5,000 drawn faces of 16x16 pixels, of which 5 % wear glasses; in arms that end in `none` it is nobody, so that
whatever the reader counts there is its error on faces of that generator; in `half` it is 50 %. `plain`
is the recipe `pictures` without its penalty: the non-saturating loss alone. `R1` is the recipe,
`relativistic` has the relativistic loss with R1 and R2 of the same weight, `Wasserstein` the loss of a
critic with a gradient penalty and two of its steps for one of G. `style` has the generator of chapter 23 in
place of the DCGAN's.

Of 2,000 samples, read by the faces' reader: `share` is the share that more likely wears glasses than not,
`sure` the share that does so with a probability above .9, `unclear` the share with a probability between .1
and .9. There is a number for each psi: latents are multiplied by psi, or, with styles, styles are drawn in
towards their mean. `distance` is the squared Fréchet distance to as many real faces with the same share, in
the reader's features, in units of half of these against the rest, at psi 1.

`of_real` is what the reader finds among real faces that it has not seen: among those with glasses, among
those without, and in the training sets.
"""
from dataclasses import replace

import torch
from ganbook.bias import faces_with
from ganbook.data import latents
from ganbook.metrics import frechet, frechet_floor
from ganbook.models.style import StyleGenerator, painted, styles_of
from ganbook.readers import face_reader
from ganbook.recipes import build, find
from ganbook.train import fit, sample
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, lists_of, machine, parsed, run_arms, stored, verdict, wanting,
)

size, n_train, n_judged = 16, 5_000, 2_000
rare = .05
psis = 1., .7, .5, .3
base = find('pictures')
recipes = {
    'plain': replace(base, r1=0.),
    'R1': base,
    'relativistic': replace(base, loss='relativistic', r2=base.r1),
    'Wasserstein': replace(base, loss='wasserstein', r1=0., gp=10., n_critic=2, betas=(0., .9), lr=1e-3),
    'style': find('style'),
}
arms = (
    {name: (r, rare) for name, r in recipes.items()}
    | {f'{name}, none': (r, 0.) for name, r in recipes.items()}
    | {'R1, half': (base, .5)}
)


class Judge:
    "Counts glasses."
    def __init__(self): self.eye = face_reader()
    def counted(self, x):
        "Shares of images that wear glasses, that surely do, and of which it is unclear."
        p = self.eye.read_causes(x)['glasses'][..., 1]
        found = dict(share=p > .5, sure=p > .9, unclear=(p - .5).abs() < .4)
        return {name: v.double().mean().item() for name, v in found.items()}
    def distance(self, x, share):
        "To real faces of which the same share wears glasses."
        real = self.eye.features(as_drawn(faces_with(share, 2*len(x), size, seed=1).x))
        return (frechet(real, self.eye.features(x))/frechet_floor(real)).item()
    def of_real(self):
        "What it finds among faces whose glasses are known."
        sets = dict(**{'with glasses': 1., 'without': 0., 'training set': rare, 'training set, half': .5})
        seeds = {'with glasses': 2, 'without': 2}
        return {
            name: self.counted(as_drawn(faces_with(share, n_train, size, seed=seeds.get(name, 0)).x))
            for name, share in sets.items()
        }


def truncated(G, psi, seed):
    "Samples of a generator, drawn in towards the middle."
    z = latents(n_judged, G.latent_dim, torch.Generator().manual_seed(9 + seed))
    if isinstance(G, StyleGenerator): return painted(G, styles_of(G, z, psi), z)
    return sample(G, psi*z)

def try_seed(recipe, share, data, judge, seed):
    "What one run draws."
    start = clock('cpu')
    s, a = build(recipe, data, seed, 'cpu')
    G = fit(s, **a).best
    seconds = clock('cpu') - start
    row = lists_of([judge.counted(truncated(G, psi, seed)) for psi in psis])
    row |= dict(distance=judge.distance(truncated(G, 1., seed), share), seconds=seconds)
    print(f"   seed {seed}: shares {each(row['share'], '.3f')}, unclear {each(row['unclear'], '.3f')}, "
        f"distance {row['distance']:.1f}, {seconds:.0f} s", flush=True)
    return row

def line(name, row):
    return f"{name:14} share at psi 1 {each([s[0] for s in row['share']], '.3f')}"


# Targets

def missed(kept):
    "The targets that are not met, in words."
    if 'faces' not in kept: return ['there are no faces']
    return wanting(kept['faces']['rows'], arms, 'faces')

def main():
    p = arm_options(__doc__, 'rare', arms, '500', data=(), first=True)
    a = parsed(p)
    names, n_steps = chosen(p, a, arms), a.steps or 500
    if names:
        judge = Judge()
        about = machine() | dict(
            n_steps=n_steps, n_seeds=a.seeds, n_samples=n_judged, psis=psis, rare=rare, order=list(arms),
            of_real=judge.of_real(),
        )
        def trial(name):
            recipe, share = arms[name]
            data = faces_with(share, n_train, size)
            short = replace(recipe, n_steps=n_steps)
            return lists_of([try_seed(short, share, data, judge, a.first + k) for k in range(a.seeds)])
        run_arms(names, trial, line, a.out, 'faces', about)
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': raise SystemExit(main())
