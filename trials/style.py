"""Chapter 23's styles: which grid decides which cause, and what truncation gains and loses.

usage: python -m trials.style [--check] [--only ARM ...] [--steps N] [--seeds K] [--first I] [--samples N]

5,000 drawn faces of 16 pixels. The recipe `style`: a generator with styles, the discriminator of chapter 9,
R1, an average of G. The arm `DCGAN` has the same settings, discriminator and steps, and a DCGAN generator
whose width is chosen so that an image costs as many multiply-adds.

Measured at the end, with a row of numbers one a seed. `distance`: squared Fréchet distance in the features of
the faces' reader, in units of half of the real faces against the rest. `mixed`: two latents a and b for each
face, noise of a. Of the pairs whose sources differ in a cause (both surely read; of a number, by at least a
quarter of its span), the share that shows what a shows, and the share that shows what b shows:

  from 1, from 2   the grids 8x8 and 16x16, or 16x16 alone, have the style of b
  only 0, 1, 2     one grid alone has it
  noise            all styles are of a, the noise is of b
  strangers        a face of a third latent: agreement by chance
  halves           in place of `from 2` for the DCGAN: the second half of the latent is of b

`truncation`: for each psi the different kinds that are surely read (of 1,200), the entropy of the causes of a
kind in bits, the share whose kind is surely read (and the mean share of single causes), precision, recall,
and the distance. A DCGAN has no styles, its latents are multiplied by psi.
"""
import math

import torch
from ganbook.data import faces, latents
from ganbook.causes import kind_causes
from ganbook.metrics import frechet, prdc
from ganbook.models.dcgan import DCGANGenerator, upsampled
from ganbook.models.resnet import matched_width
from ganbook.models.style import StyleGenerator, followed, painted, styles_of
from ganbook.nets import multiply_adds
from ganbook.readers import face_reader, kinds_found
from ganbook.recipes import build, find
from ganbook.scale import interval
from ganbook.train import fit, new_state, sample
from trials.common import (
    Judge, arm_options, as_drawn, chosen, clock, each, failing, lists_of, machine, mean, parsed, run_arms,
    stored, verdict, wanting,
)

size, recipe = 16, find('style')
psis = 0., .2, .4, .6, .8, 1., 1.2
measured = (*kind_causes, 'beard', 'smile', 'eyes', 'gaze', 'tilt', 'x', 'width', 'shirt')


# Two arms

def with_styles(data, seed, device):
    "What the recipe builds."
    return build(recipe, data, seed, device)

def as_dear():
    "The width of a DCGAN whose images cost what those of the recipe cost."
    G = StyleGenerator((3, size, size), recipe.latent_dim, recipe.width)
    def make(width): return DCGANGenerator((3, size, size), 64, round(width), upsampled, init=None)
    def cost(G): return multiply_adds(G, (G.latent_dim,))
    return round(matched_width(make, cost(G), cost))

def without(data, seed, device):
    "The same, but for its generator."
    s, arguments = build(recipe, data, seed, device)
    torch.manual_seed(seed)
    G = DCGANGenerator((3, size, size), 64, as_dear(), upsampled, init=None).to(s.device)
    return new_state(G, s.D, recipe.lr, recipe.betas, ema=True, seed=seed), arguments

arms = {'style': with_styles, 'DCGAN': without}


# What is measured

def swapped(G, a, b, grids):
    "Images of `a` in which these grids have the styles of `b`."
    w, other = styles_of(G, a).clone(), styles_of(G, b)
    for g in grids: w[:, g] = other[:, g]
    return painted(G, w, a)

def mixtures(G, a, b, c):
    "Name -> images that are mixed of the latents `a` and `b`; `c` belongs to strangers."
    strangers = dict(strangers=sample(G, c))
    if not isinstance(G, StyleGenerator):
        k = a.shape[1]//2
        return strangers | dict(halves=sample(G, torch.cat([a[:, :k], b[:, k:]], 1)))
    n = len(G.grids)
    made = {f'from {g}': swapped(G, a, b, range(g, n)) for g in range(1, n)}
    made |= {f'only {g}': swapped(G, a, b, [g]) for g in range(n)}
    return strangers | made | dict(noise=painted(G, styles_of(G, a), b))

def truncated(G, z, psi):
    "Images, drawn in towards the middle."
    if isinstance(G, StyleGenerator): return painted(G, styles_of(G, z, psi), z)
    return sample(G, psi*z)

class Faces(Judge):
    "Holds faces against the real ones, and reads their causes."
    def __init__(self, n, device='cpu'):
        super().__init__('faces', as_drawn(faces(2*n, size, seed=1).x).to(device), device, n, face_reader())
    def latents(self, G, seed):
        return latents(self.n, G.latent_dim, torch.Generator().manual_seed(seed)).to(self.device)
    def mixed(self, G):
        "Mixture -> cause -> (share that follows a, share that follows b)."
        a, b, c = (self.latents(G, seed) for seed in (10, 11, 12))
        read = [self.eye.read_causes(sample(G, z)) for z in (a, b)]
        found = {name: followed(*read, self.eye.read_causes(x)) for name, x in mixtures(G, a, b, c).items()}
        return {name: {c: rows[c][:2] for c in measured} for name, rows in found.items()}
    def spread(self, x):
        "Of images: how many kinds, how evenly the causes are spread, how sure they are, and how near."
        features, probs, read = self.eye.features(x), self.eye.probs(x), self.eye.read_causes(x)
        shares = [read[name].mean(0) for name in kind_causes]
        causes = torch.stack([read[name].amax(-1) for name in kind_causes])
        balls = prdc(self.real[:self.n], features)
        return dict(
            kinds=kinds_found(probs),
            entropy=-sum(torch.special.xlogy(p, p).sum().item() for p in shares)/math.log(2),
            sure=(probs.amax(-1) > .9).double().mean().item(),
            sure_causes=(causes > .9).double().mean().item(), precision=balls['precision'].item(),
            recall=balls['recall'].item(), distance=frechet(self.real, features).item()/self.floor,
        )
    def truncation(self, G):
        "Measure -> one value a psi."
        z = self.latents(G, 9)
        return lists_of([self.spread(truncated(G, z, psi)) for psi in psis])

def try_seed(arm, data, judge, n_steps, seed, device):
    "What one seed measures at its end."
    s, arguments = arms[arm](data, seed, device)
    start = clock(device)
    fit(s, **arguments | dict(n_steps=n_steps, ema_halflife=min(100., n_steps/20)))
    seconds = clock(device) - start
    cut = judge.truncation(s.best)
    told = {name: values[psis.index(1.)] for name, values in cut.items()}
    print(f'   seed {seed}: {seconds:.0f} s,', ', '.join(f'{k} {v:.3g}' for k, v in told.items()), flush=True)
    row = dict(seconds=seconds, distance=told['distance'], truncation=cut, mixed=judge.mixed(s.best))
    stages = s.best.synthesis.stages if arm == 'style' else ()
    return row | dict(strength=[float(stage.strength) for stage in stages])

def try_arm(arm, data, judge, n_steps, seeds, device):
    "The measures of the end, one a seed."
    return lists_of([try_seed(arm, data, judge, n_steps, seed, device) for seed in seeds])

def line(name, row):
    return f"{name:8} distance {each(row['distance'], '6.2f')}   {mean(row['seconds']):.0f} s each"


def follows(row, mixture, cause, which=1):
    "One a seed: the share that shows what source `which` shows."
    return [m[mixture][cause][which] for m in row['mixed']]

def missed(entry):
    "The targets that are not met, in words."
    rows = entry['rows']
    if faults := wanting(rows, arms, 'style'): return faults
    style = rows['style']
    shape = interval(follows(style, 'from 2', 'hair_style', 0))[0]
    def change(what): return [t[what][psis.index(.6)] - t[what][psis.index(1.)] for t in style['truncation']]
    more, less = interval(change('precision'))[0], interval(change('recall'))[1]
    return failing(
        (shape > .5, f'hair style follows the two coarse grids in {shape:.2f}, at least .5'),
        (more > 0, f'truncation to .6 changes the precision by {more:.3f}, should raise it'),
        (less < 0, f'truncation to .6 changes the recall by {less:.3f}, should lower it'),
    )

def main():
    p = arm_options(__doc__, 'style', arms, '1000', data=(), first=True)
    p.add_argument('--samples', type=int, default=1_000, help='of a generator that are judged (default 1000)')
    a = parsed(p)
    names, kind, n_steps = chosen(p, a, arms), f'{a.device} faces', a.steps or 1_000
    if names:
        data, judge = faces(5_000, size), Faces(a.samples, a.device)
        about = machine(a.device) | dict(
            n_steps=n_steps, n_seeds=a.seeds, n_samples=judge.n, psis=psis, causes=measured,
            width=recipe.width, width_DCGAN=as_dear(),
            of_real=judge.spread(as_drawn(faces(judge.n, size, seed=2).x.to(a.device))),
        )
        seeds, device = range(a.first, a.first + a.seeds), torch.device(a.device)
        def trial(name): return try_arm(name, data, judge, n_steps, seeds, device)
        run_arms(names, trial, line, a.out, kind, about)
    kept = stored(a.out)
    return verdict(missed(kept[kind]) if kind in kept else [f'there is no {kind}'], a.check)


if __name__ == '__main__': raise SystemExit(main())
