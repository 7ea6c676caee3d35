"""Chapter 25's fillings: a hole over the eyes, and small pictures enlarged, by inversion and by translators.

usage: python -m trials.filling [--check] [--only ARM ...] [--steps N] [--seeds K] [--out FILE]

Faces are 24x24 and drawn by chapter w28, so that the truth is known. `search` searches the latents of the
generator @faces, which comes with the package; it was trained once, so a seed of this arm is one of the
starts. The translators are U-Nets of chapter 22, trained on 2,000 faces with this one hole: `L1` learns from
the difference to the true face alone, `GAN + L1` from D as well, with a weight of 10 on the difference; a
seed is one of weights and batches. Adam with decays 0 and .99, rates that are constant for half of a run and
then fall to 0, batches of 16, non-saturating loss, R1 with gamma 1, and an average of G. Every seed is judged
on 100 faces of its own.

Controls: `redrawn` is the truth with glasses, eyes and gaze drawn anew, of which nothing is seen outside of
the hole: a perfect answer; `mean` is the mean face; `samples` are random samples of @faces; `squares` is the
small picture as it is.

hole: the answer is put into the hole, the rest stays as it is known. `error` is the mean absolute difference
to the truth in the hole, colours going from -1 to 1; `distance` the Fréchet distance in the features of the
faces' reader to 100 other faces, over that of one half of those 200 faces against the other; `sure` the share
whose kind the reader names with a probability above .9. Of 16 answers to each of 16 faces: `one`, the share
of answers that wear glasses as the truth does; `among`, the share of faces with such an answer among the 16;
`nearest`, the error of the nearest of them. `moved` is the error with a hole over the mouth.

enlarged: the picture is known as the means of squares of 4x4 pixels. `search` keeps the best fitting of 4
searches. `error`, `distance` and `sure` as above, of the whole picture, and `fits`, the mean absolute
difference of those means.
"""
import time
from dataclasses import replace
from functools import partial

import torch
from ganbook.causes import draw_causes
from ganbook.data import Data, latents
from ganbook.drawing import draw_faces
from ganbook.filling import among, completions, covered, hole, pasted, pooled
from ganbook.interpret import invert
from ganbook.losses import non_saturating
from ganbook.metrics import frechet, frechet_floor
from ganbook.models.translation import PatchDiscriminator, UNet, apart, to_truth
from ganbook.penalties import r1
from ganbook.readers import face_reader
from ganbook.runs import existing, trained
from ganbook.tasks import with_tasks
from ganbook.train import fit, linear_decay, new_state, sample
from trials.common import (
    arm_options, as_drawn, chosen, each, lists_of, machine, parsed, run_arms, stored, verdict, wanting,
)

size = 24
shape = 3, size, size
eyes, mouth = hole(size, 7, 3, 9, 18), hole(size, 15, 6, 6, 12)
settings = dict(
    penalties=[partial(r1, gamma=1.)], batch_size=16, schedule=linear_decay(), labels=True,
)
# G learns nothing from this game: D looks on
looking_on = replace(non_saturating, generator=lambda real_logits, fake_logits: 0*fake_logits.mean(-1))
losses = {  # name of a translator -> (loss, weight of the L1 term)
    'L1': (looking_on, 10.),
    'GAN + L1': (non_saturating, 10.),
}
kinds = {
    'hole': ('search', *losses, 'redrawn', 'mean', 'samples'),
    'enlarged': ('search', 'L1', 'GAN + L1', 'squares'),
}
n_faces, n_several, n_answers = 100, 16, 16
n_search = 50  # steps of a search


class World:
    "What is trained on, and faces of its own for each seed."
    def __init__(self):
        self.G = trained(existing('@faces'), 'cpu').G
        self.reader = face_reader()
        self.known = draw_faces(draw_causes(2_000, 0), size)
        self.mean = as_drawn(self.known).mean(0)
    def faces(self, seed):
        "The causes of the faces of a seed, the faces, and features of as many others."
        causes = draw_causes(n_faces, 100 + 2*seed)
        others = as_drawn(draw_faces(draw_causes(n_faces, 101 + 2*seed), size))
        return causes, as_drawn(draw_faces(causes, size)), self.reader.features(others)
    def realism(self, x, truth, others):
        floor = frechet_floor(torch.cat([others, self.reader.features(truth)]))
        sure = (self.reader.probs(x).amax(-1) > .9).double().mean()
        return dict(distance=(frechet(others, self.reader.features(x))/floor).item(), sure=sure.item())
    def glasses(self, x): return self.reader.read_causes(x)['glasses'].argmax(-1)

def translator(world, name, source, n_steps, seed):
    "A U-Net after its training on faces of which `source` is known."
    torch.manual_seed(seed)
    D = PatchDiscriminator(shape, shape, width=16, n_layers=2)
    s = new_state(UNet(shape, width=8), D, lr=2e-3, betas=(0., .99), ema=True, seed=seed)
    seen = ((source(as_drawn(world.known)) + 1)*127.5).round().byte()
    data = Data(name, world.known, seen)
    loss, weight = losses[name]
    update = with_tasks((to_truth(), weight))
    return fit(s, data, n_steps, loss, update=update, ema_halflife=10., **settings).best

def filler(world, arm, source, n_steps, seed):
    """A function of what is known of faces, by `through`, and how many
    answers are wanted, that gives them (n,N,*S)."""
    rng = torch.Generator().manual_seed(seed)
    if arm == 'squares':
        def fill(known, n, through): return spread_out(known)[None]
    elif arm == 'mean':
        def fill(known, n, through): return world.mean.expand(n, len(known), *shape)
    elif arm == 'samples':
        def fill(known, n, through):
            z = latents(n*len(known), world.G.latent_dim, rng)
            return sample(world.G, z).unflatten(0, (n, -1))
    elif arm == 'search':
        def fill(known, n, through): return completions(world.G, known, through, n, n_search, seed=100*seed)
    else:
        G = translator(world, arm, source, n_steps, seed)
        def fill(known, n, through):
            z = latents(n*len(known), G.latent_dim, rng)
            return sample(G, z, known.repeat(n, 1, 1, 1)).unflatten(0, (n, -1))
    return fill

def redrawn(causes, n, seed):
    "The same faces, with what hides in the hole drawn anew."
    kept = {k: v for k, v in causes.columns().items() if k not in ('glasses', 'eyes', 'gaze')}
    drawn = [draw_faces(draw_causes(len(causes), 1000*seed + i, **kept), size) for i in range(n)]
    return as_drawn(torch.stack(drawn))

def off(x, truth, where): return (x - truth)[..., where].abs().mean((-2, -1))

def try_hole(world, arm, n_steps, seed):
    "What one seed of an arm measures of faces with a hole."
    causes, truth, others = world.faces(seed)
    few = truth[:n_several]
    over_eyes, over_mouth = (partial(covered, where=where) for where in (eyes, mouth))
    if arm == 'redrawn':
        def fill(known, n, through): return redrawn(causes[:len(known)], n, seed)
    else: fill = filler(world, arm, over_eyes, n_steps, seed)
    x = pasted(truth, fill(over_eyes(truth), 1, over_eyes)[0], eyes)
    several = pasted(few, fill(over_eyes(few), n_answers, over_eyes), eyes)
    right = world.glasses(several.flatten(0, 1)).unflatten(0, (n_answers, -1)) == causes.glasses[:n_several]
    row = dict(
        error=off(x, truth, eyes).mean().item(), one=right.double().mean().item(),
        among=among(right)[-1].item(), nearest=off(several, few, eyes).amin(0).mean().item(),
    ) | world.realism(x, truth, others)
    if arm == 'redrawn': return row  # its mouths are the true ones
    elsewhere = fill(over_mouth(few), 1, over_mouth)[0]
    return row | dict(moved=off(elsewhere, few, mouth).mean().item())

def spread_out(small): return small.repeat_interleave(4, -1).repeat_interleave(4, -2)

def try_enlarged(world, arm, n_steps, seed):
    "What one seed of an arm measures of faces that were made small."
    _, truth, others = world.faces(seed)
    small = pooled(truth, 4)
    if arm == 'search':
        x = invert(world.G, small, n_search, restarts=4, seed=100*seed, through=pooled).image
    else:
        fill = filler(world, arm, lambda x: spread_out(pooled(x, 4)), n_steps, seed)
        x = fill(spread_out(small) if arm in losses else small, 1, pooled)[0]
    fits = apart(pooled(x, 4), small).item()
    return dict(error=apart(x, truth).item(), fits=fits) | world.realism(x, truth, others)


# Targets

def missed(kept):
    "The targets that are not met, in words."
    faults = []
    for kind, arms in kinds.items():
        if kind not in kept: faults.append(f'there is no {kind}')
        else: faults += wanting(kept[kind]['rows'], arms, kind)
    return faults

def main():
    p = arm_options(__doc__, 'filling', {a: 0 for arms in kinds.values() for a in arms}, '200', data=())
    a = parsed(p)
    names = chosen(p, a, {n for arms in kinds.values() for n in arms})
    world = World()
    n_steps = a.steps or 200
    def told(name, row):
        return f'{name:12}' + '  '.join(f'{k} {each(v, ".3f")}' for k, v in row.items() if k != 'seconds')
    for kind, try_one in (('hole', try_hole), ('enlarged', try_enlarged)):
        def try_arm(name):
            start = time.process_time()
            found = [try_one(world, name, n_steps, seed) for seed in range(a.seeds)]
            return lists_of(found) | dict(seconds=time.process_time() - start)
        about = machine() | dict(n_steps=n_steps, n_seeds=a.seeds, order=list(kinds[kind]))
        run_arms([n for n in kinds[kind] if n in names], try_arm, told, a.out, kind, about)
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': raise SystemExit(main())
