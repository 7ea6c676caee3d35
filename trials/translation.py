"""Chapter 22's translations: an outline to a face, in pairs, and glasses put on, without pairs.

usage: python -m trials.translation [--check] [--only ARM ...] [--steps N] [--seeds K] [--out FILE]

Faces are 16x16 and drawn by chapter w28, so that the right answer to every source is known. 4,000 are
trained on; what is measured is of 1,000 others, drawn from other causes. Adam with decays 0 and .99, rates
that are constant for half of a run and then fall to 0, batches of 16, non-saturating loss, R1 with gamma 1,
and an average of G. Seeds are trained one after the other.

paired: `L1` learns from the difference to the true face alone, `GAN` from D alone, `GAN + L1` from both, with
a weight of 10 on the difference. Measured: `error`, the mean absolute difference to the true face, colours
going from -1 to 1; `sharpness` over that of true faces; `distance`, the Fréchet distance in the features of
the faces' reader to 1,000 faces that are in no other set, over that of the 1,000 true answers; `spread`, the
standard deviation of a pixel over 16 latents, over that over 16 true faces with the same outline and other
colours.

unpaired: faces without glasses become faces with glasses and back, and nobody says which belong together. A
generator is `local` (four convolutions of 3x3 at full size) or `global` (two fully connected layers); it
learns from D alone (`GAN`), also from the cycle loss, weight 10 (`cycle`), or from the identity loss too,
weight 5 (`cycle + identity`). Measured of the way to glasses: `glasses`, the share of faces that the reader
sees with glasses; `kept`, the mean share of the five other choices of a face that are read as they were, and
of these `colours` (background, skin, hair) and `shapes` (style of hair, beard); `error` to the same face
drawn with glasses; `back`, the mean absolute difference of the source and what comes back. `chance` is
`kept` between faces that have nothing to do with each other.
"""
import time
from dataclasses import replace
from functools import partial

import torch
from ganbook.causes import draw_causes
from ganbook.data import Data, latents
from ganbook.drawing import draw_faces
from ganbook.losses import non_saturating
from ganbook.metrics import frechet
from ganbook.models.translation import (
    BothJudges, BothWays, PatchDiscriminator, Translator, UNet, apart, cycle, global_net, identity, local_net,
    sharpness, to_truth,
)
from ganbook.penalties import r1
from ganbook.readers import face_reader
from ganbook.tasks import with_tasks
from ganbook.train import fit, linear_decay, new_state, sample
from trials.common import (
    arm_options, as_drawn, chosen, each, lists_of, machine, mean, parsed, run_arms, stored, verdict,
    wanting,
)

size = 16
shape, line = (3, size, size), (1, size, size)
settings = dict(
    loss=non_saturating, penalties=[partial(r1, gamma=1.)], batch_size=16, schedule=linear_decay(),
    labels=True,
)
# G learns nothing from this game: D looks on
looking_on = replace(non_saturating, generator=lambda real_logits, fake_logits: 0*fake_logits.mean(-1))
coloured = ('background', 'skin', 'hair_colour', 'shirt')  # what an outline does not tell


# In pairs

paired = {  # name -> (loss, weight of the L1 term)
    'L1': (looking_on, 10.),
    'GAN': (non_saturating, 0.),
    'GAN + L1': (non_saturating, 10.),
}

class Outlines:
    "Outlines with their faces, and measures of the faces that a G makes of other outlines."
    def __init__(self, n=4_000, n_test=1_000):
        causes, self.causes = draw_causes(n, 0), draw_causes(n_test, 1)
        self.data = Data('outlines', draw_faces(causes, size), draw_faces(causes, size, 'outline'))
        self.truth = as_drawn(draw_faces(self.causes, size))
        self.lines = as_drawn(draw_faces(self.causes, size, 'outline'))
        self.reader = face_reader()
        self.others = self.reader.features(as_drawn(draw_faces(draw_causes(n_test, 2), size)))
        self.floor = self.distance(self.truth)
        self.free = torch.stack([self.recoloured(seed) for seed in range(16)]).std(0).mean().item()
    def distance(self, x): return frechet(self.others, self.reader.features(x)).item()
    def recoloured(self, seed):
        "The first 100 of the held-out faces in other colours."
        kept = {name: v for name, v in self.causes[:100].columns().items() if name not in coloured}
        return as_drawn(draw_faces(draw_causes(100, 100 + seed, **kept), size))
    def __call__(self, G, rng):
        def answers(n): return sample(G, latents(n, G.latent_dim, rng), self.lines[:n])
        x = answers(len(self.truth))
        return dict(
            error=apart(x, self.truth).item(), sharpness=(sharpness(x)/sharpness(self.truth)).item(),
            distance=self.distance(x)/self.floor,
            spread=torch.stack([answers(100) for _ in range(16)]).std(0).mean().item()/self.free,
        )

def translator(seed):
    "The pair of networks of every paired arm."
    torch.manual_seed(seed)
    return UNet(shape, line, width=8), PatchDiscriminator(shape, line, width=16, n_layers=2)

def trained_in_pairs(arm, outlines, n_steps, seed):
    "The translator of a paired arm after its training."
    loss, weight = paired[arm]
    s = new_state(*translator(seed), lr=2e-3, betas=(0., .99), ema=True, seed=seed)
    how = settings | dict(loss=loss, update=with_tasks((to_truth(), weight)))
    return fit(s, outlines.data, n_steps, ema_halflife=50., **how).best

def try_paired(arm, outlines, n_steps, seed):
    "What one seed of an arm measures at its end."
    return outlines(trained_in_pairs(arm, outlines, n_steps, seed), torch.Generator().manual_seed(9))


# Without pairs

nets = dict(
    local=lambda: local_net(shape, 16, 4),
    **{'global': lambda: global_net(shape, 256)},
)
terms = {  # beside the game -> (loss, weight); the weights of Zhu et al. 2017
    'GAN': (),
    'cycle': ((cycle, 10.),),
    'cycle + identity': ((cycle, 10.), (identity, 5.)),
}
unpaired = {f'{net}, {beside}': (net, beside) for net in nets for beside in terms}

colours, shapes = ('background', 'skin', 'hair_colour'), ('hair_style', 'beard')  # choices beside glasses

class Glasses:
    "Faces without glasses and other faces with them, and measures of a G that is to put them on."
    def __init__(self, n=4_000, n_test=500):
        without, with_them = draw_causes(n, 0, glasses='without'), draw_causes(n, 1, glasses='with')
        both = torch.cat([draw_faces(without, size), draw_faces(with_them, size)], 1)
        self.data = Data('glasses', both, both)
        self.causes = draw_causes(n_test, 2, glasses='without')
        self.bare = as_drawn(draw_faces(self.causes, size))
        self.right = as_drawn(draw_faces(draw_causes(n_test, 2, glasses='with'), size))
        self.reader = face_reader()
        self.chance = self.share_kept(self.right.roll(1, 0))
    def share_kept(self, x, choices=colours + shapes):
        read = self.reader.likely_causes(x).columns()
        known = self.causes.columns()
        return mean([(read[k] == known[k]).double().mean().item() for k in choices])
    def __call__(self, G):
        z = torch.zeros(len(self.bare), G.latent_dim)
        x = sample(G.to_b, z, self.bare)
        read = self.reader.likely_causes(x)
        return dict(
            glasses=read.glasses.double().mean().item(), kept=self.share_kept(x),
            colours=self.share_kept(x, colours), shapes=self.share_kept(x, shapes),
            error=apart(x, self.right).item(), back=apart(sample(G.to_a, z, x), self.bare).item(),
        )

def trained_without(arm, glasses, n_steps, seed):
    "Both translators of an unpaired arm after their training."
    net, beside = unpaired[arm]
    torch.manual_seed(seed)
    G = BothWays(*(Translator(nets[net](), shape) for _ in range(2)))
    D = BothJudges(*(PatchDiscriminator(shape, None, 16, 2) for _ in range(2)))
    s = new_state(G, D, lr=2e-3, betas=(0., .99), ema=True, seed=seed)
    update = with_tasks(*((loss(s.G), weight) for loss, weight in terms[beside]))
    return fit(s, glasses.data, n_steps, ema_halflife=50., update=update, **settings).best

def try_unpaired(arm, glasses, n_steps, seed):
    "What one seed of an arm measures at its end."
    return glasses(trained_without(arm, glasses, n_steps, seed))


# Targets

def missed(kept):
    "The targets that are not met, in words."
    faults = []
    for kind, arms, key in (('paired', paired, 'error'), ('unpaired', unpaired, 'kept')):
        if kind not in kept: faults.append(f'there is no {kind}')
        else: faults += wanting(kept[kind]['rows'], arms, kind, key=key)
    return faults

def run(kind, arms, names, try_one, world, about, n_steps, a):
    "Train the arms of one kind and store their rows."
    def try_arm(name):
        start = time.process_time()
        found = [try_one(name, world, n_steps, seed) for seed in range(a.seeds)]
        return lists_of(found) | dict(seconds=time.process_time() - start)
    def told(name, row):
        return f'{name:24}' + '  '.join(f'{k} {each(v, ".3f")}' for k, v in row.items() if k != 'seconds')
    about = machine() | about | dict(n_steps=n_steps, n_seeds=a.seeds, order=list(arms))
    run_arms(names, try_arm, told, a.out, kind, about)

def main():
    p = arm_options(__doc__, 'translation', paired | unpaired, '300 in pairs, 400 without', data=())
    a = parsed(p)
    names = chosen(p, a, paired | unpaired)
    if in_pairs := [n for n in names if n in paired]:
        world = Outlines()
        about = dict(floor=world.floor, free=world.free)
        run('paired', paired, in_pairs, try_paired, world, about, a.steps or 300, a)
    if others := [n for n in names if n in unpaired]:
        world = Glasses()
        run('unpaired', unpaired, others, try_unpaired, world, dict(chance=world.chance), a.steps or 400, a)
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': raise SystemExit(main())
