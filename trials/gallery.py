"""What longer runs draw where a chapter trains for seconds: pictures for chapters 6, 9, 22, 23, 25 and w41.

usage: python -m trials.gallery [--check] [--only PICTURE ...] [--steps N] [--seed K] [--out FILE]

Everything is one seed, on one core, by the settings of trials.dcgan, trials.translation, trials.style and
trials.filling, with more steps. What is trained is also trained for as few steps as the chapter has at quick
scale, by the same settings, and both are measured, so that a picture comes with what the time was good for.

first        chapter 6: what the usual first GAN on MNIST, the recipe `mlp_textbook` with layers of 1024 and
             1024, draws after few steps and after many of one training, and digits of `mnist_small`
wide         chapter 6: the same with the settings of that chapter: a tanh, Adam without momentum, rates that
             fall over the second half, an average of G
parts        chapter 9: each row is the DCGAN with one part taken away or exchanged, each column a latent
pairs        chapter 22: outlines, the answers of L1 alone and of the GAN with L1, the truth
glasses      chapter 22: faces without glasses, the answers of local networks with the cycle and the identity
             loss, the same faces drawn with glasses
mixing       chapter 23: coarse grids of the face on the left, the finest grid of the face on top
truncation   chapter 23: each row is a latent, each column a psi; of the same run as `mixing`
filling      chapter 25: a hole over the eyes, answers by searches in the generator @faces32, which comes with
             the package, and the truth; nothing is trained
ways         chapter w41: faces of 32 pixels without glasses, what the recipe `cyclegan` makes of them, what
             comes back, and the same faces drawn with glasses

Stored of each: `tiles`, a PNG as text, without gaps, of colours in a palette of 256; `names` of its rows,
and `columns`; `n_steps`, `seed`, `quick_steps`; `seconds` of processor time, one a training. `sure` is the
share of 1,000 samples whose kind the reader of faces names with a probability above .9, `sure_quick` the
same after the few steps. `distance` and `distance_quick` are the Frechet distances of trials.dcgan and
trials.translation; `checkerboard` is that of chapter 9; `glasses`, `kept` and `error` of the picture glasses
are of trials.translation, those of ways of chapter w41. Of first and wide, `sure` and `distance` are the
shares and the distances of the yardstick `mnist`, and `kinds` are the digits that make up at least 2 %. Of
filling, `error` is the mean absolute difference to the truth in the hole, and `error_samples` that of random
faces of the same generator.

--check exits with 1 if a picture is missing, if all files together are larger than 95 kB, or if the long
training is no better than the short one; of first it need not be, but wide must draw more digits. """
import base64
import time
from dataclasses import replace
from functools import partial
from operator import lt

import torch
from ganbook import need
from ganbook.causes import draw_causes
from ganbook.data import faces, subset
from ganbook.downloads import mnist_small
from ganbook.drawing import draw_faces
from ganbook.filling import completions, covered, hole, pasted
from ganbook.models.dcgan import checkerboard
from ganbook.models.style import mix, painted, styles_of
from ganbook.readers import face_reader
from ganbook.recipes import build, find
from ganbook.runs import existing, trained
from ganbook.train import fit, sample
from ganbook.unpaired import face_unpaired, there_and_back, with_glasses
from trials import common, dcgan, filling, style, translation
from trials.common import (
    as_drawn, chosen, failing, fixed_latents, lists_of, machine, mean, options, parsed, png, rounded, store,
    stored, verdict,
)

n_columns = 10
n_judged = 1_000
most_kB = 95


def pictured(rows, columns, **measured):
    "An entry: rows of images (N,C,H,W) by their names, what each column is, and what was measured."
    return dict(names=list(rows), columns=columns, tiles=png(torch.stack(list(rows.values())))) | measured

def surely(x):
    "Share of faces whose kind is surely read."
    return (face_reader().probs(x).amax(-1) > .9).double().mean().item()

def timed(f):
    "What `f` gives, and its seconds."
    start = time.process_time()
    made = f()
    return made, time.process_time() - start

def compared(few, many, **measures):
    "Measures of samples after few and many steps."
    late = {name: measure(many) for name, measure in measures.items()}
    return late | {f'{name}_quick': measure(few) for name, measure in measures.items()}

def tried(train, quick, n_steps, samples, distance):
    """What is drawn after many steps, and what was measured; `train` takes
    a number of steps, and `samples` draws from what it gives."""
    early, (late, seconds) = train(quick), timed(partial(train, n_steps))
    few, many = samples(early), samples(late)
    found = compared(few, many, sure=surely, distance=distance) | dict(seconds=seconds)
    print('  ', rounded(found), flush=True)
    return many, found

def all_tried(trains, quick, n_steps, samples, distance):
    "By their names what was drawn, and a list of each measure."
    made = {name: tried(train, quick, n_steps, samples, distance) for name, train in trains.items()}
    found = lists_of([row for _, row in made.values()])
    return {name: x for name, (x, _) in made.items()}, found | dict(quick_steps=quick)

def first_of(rows): return {name: x[:n_columns] for name, x in rows.items()}

def how_far(judge, x): return (judge.frechet(x)/judge.floor).item()


# Chapter 6

firsts = dict(
    first=find('mlp_textbook'),
    wide=replace(find('mlp_textbook'), out='tanh', betas=(0., .9), decay_from=.5, ema_halflife=200.),
)

def digits_pictured(name, n_steps, seed, quick=3_000):
    "What a first GAN draws at step `quick` and at the end of the same training."
    need.at_least(quick + 1, steps=n_steps)
    data, seen = mnist_small(), []
    judge = common.Judge('mnist', as_drawn(data.x))
    s, arguments = build(replace(firsts[name], n_steps=n_steps), data, seed, 'cpu')
    low = arguments['data'].low
    def look(s):
        if s.step not in (quick, n_steps): return
        x = sample(s.best, fixed_latents(n_judged, s.best))
        seen.append((x - low)*2/(1 - low) - 1)
    _, seconds = timed(lambda: fit(s, **arguments | dict(callbacks=[look])))
    few, many = seen
    found = compared(few, many, sure=lambda x: judge.confident(x).item(),
        distance=partial(how_far, judge), kinds=lambda x: judge.kinds(x).item())
    rows = {f'{quick:,} steps': few, f'{n_steps:,} steps': many, 'real': as_drawn(subset(data, n_columns).x)}
    about = dict(quick_steps=quick, seconds=[seconds])
    return pictured(first_of(rows), 'a latent, the same for both', **about | found)


# Chapter 9

def parts_pictured(n_steps, seed, quick=320):
    "A row for each part that is taken away."
    data, judge = faces(dcgan.n_train, dcgan.size), dcgan.Judge('cpu')
    def samples(s): return sample(s.best, fixed_latents(n_judged, s.best))
    trains = {arm: partial(dcgan.run, arm, data, seed, device='cpu') for arm in dcgan.parts}
    rows, found = all_tried(trains, quick, n_steps, samples, partial(how_far, judge))
    found['checkerboard'] = [checkerboard(x).item() for x in rows.values()]
    found['real_checkerboard'] = judge.checkerboard
    return pictured(first_of(rows), 'a latent, the same for all', **found)


# Chapter 22

def pairs_pictured(n_steps, seed, quick=200, arms=('L1', 'GAN + L1')):
    "Outlines, answers, truth."
    world = translation.Outlines()
    def samples(G): return sample(G, fixed_latents(len(world.lines), G), world.lines)
    def distance(x): return world.distance(x)/world.floor
    trains = {arm: partial(translation.trained_in_pairs, arm, world, seed=seed) for arm in arms}
    rows, found = all_tried(trains, quick, n_steps, samples, distance)
    rows = dict(outline=world.lines.expand(-1, 3, -1, -1)) | rows | dict(truth=world.truth)
    return pictured(first_of(rows), 'an outline that no network has seen', arms=arms, **found)

def glasses_pictured(n_steps, seed, quick=200, arm='local, cycle + identity'):
    "Faces without glasses, the answers, and the same faces with glasses."
    world = translation.Glasses()
    train = partial(translation.trained_without, arm, world, seed=seed)
    early, (G, seconds) = train(quick), timed(partial(train, n_steps))
    found = world(G) | {f'{key}_quick': value for key, value in world(early).items()}
    x = sample(G.to_b, torch.zeros(len(world.bare), G.latent_dim), world.bare)
    rows = first_of({'without': world.bare, 'answer': x, 'with': world.right})
    about = dict(arm=arm, quick_steps=quick, seconds=[seconds])
    return pictured(rows, 'a face that no network has seen', **about | found)


# Chapter 23

def with_styles(n_steps, seed):
    "The generator of the recipe after its training."
    s, arguments = style.with_styles(faces(5_000, style.size), seed, 'cpu')
    return fit(s, **arguments | dict(n_steps=n_steps, ema_halflife=min(100., n_steps/20))).best

def mixing_of(G, n_rows=3, n_columns=8, from_grid=2):
    "Rows of faces: above the sources of the finest grid, left those of the others."
    z = fixed_latents(n_rows + n_columns, G)
    a, b = z[:n_rows], z[n_rows:]
    rows = {'fine from': torch.cat([torch.ones(1, *G.shape), sample(G, b)])}
    for i, row in enumerate(a.split(1)):
        mixed = mix(G, row.expand(len(b), -1), b, from_grid)
        rows[f'coarse {i + 1}'] = torch.cat([sample(G, row), mixed])
    return pictured(rows, 'the face on top gives the finest grid', from_grid=from_grid)

def truncated_of(G, n=3):
    "Each latent at all psi."
    z = fixed_latents(n, G)
    steps = torch.stack([painted(G, styles_of(G, z, psi), z) for psi in style.psis], 1)
    rows = {f'latent {i + 1}': row for i, row in enumerate(steps)}
    return pictured(rows, [f'{psi:g}' for psi in style.psis], psis=style.psis)

def styles_pictured(n_steps, seed, quick=240):
    "Both pictures of one run."
    judge, train = dcgan.Judge('cpu'), partial(with_styles, seed=seed)
    early, (G, seconds) = train(quick), timed(partial(train, n_steps))
    few, many = (sample(net, fixed_latents(n_judged, net)) for net in (early, G))
    found = compared(few, many, sure=surely, distance=partial(how_far, judge))
    found |= dict(seconds=[seconds], quick_steps=quick)
    return dict(mixing=mixing_of(G) | found, truncation=truncated_of(G) | found)


# Chapter 25

class Covered:
    "Faces with a hole over the eyes."
    def __init__(self, n, seed, size=32):
        self.where = hole(size, 9, 4, 12, 24)
        self.truth = as_drawn(draw_faces(draw_causes(n, 100 + seed), size))
    def through(self, x): return covered(x, self.where)
    def off(self, x): return filling.off(x, self.truth, self.where).mean().item()

def filling_pictured(n_steps, seed, n_faces=6, n_answers=4):
    "What is known, several answers, and the truth."
    G, world = trained(existing('@faces32'), 'cpu').G, Covered(n_faces, seed)
    known = world.through(world.truth)
    found, seconds = timed(lambda: completions(G, known, world.through, n_answers, n_steps, seed=seed))
    answers = pasted(world.truth, found, world.where)
    rows = dict(known=known) | {f'answer {i + 1}': x for i, x in enumerate(answers)}
    errors = dict(error=world.off(found), error_samples=world.off(sample(G, fixed_latents(n_faces, G))))
    told = 'a face that the generator was not trained on'
    return pictured(rows | dict(truth=world.truth), told, seconds=[seconds], **errors)


# Chapter w41

def both_ways(data, n_steps, seed):
    "The generators of the recipe after its training."
    s, arguments = build(replace(find('cyclegan'), n_steps=n_steps), data, seed, 'cpu')
    return fit(s, **arguments).best

def ways_pictured(n_steps, seed, quick=300, n=8):
    "Faces without glasses, the answers, what comes back, and the same faces with glasses."
    data = face_unpaired()
    train = partial(both_ways, data, seed=seed)
    early, (G, seconds) = train(quick), timed(partial(train, n_steps))
    (found, *_), (found_early, *_) = with_glasses(G, data), with_glasses(early, data)
    bare, right = (draw_faces(draw_causes(n, 2, glasses=which), 32) for which in ('without', 'with'))
    answer, again = there_and_back(G, bare)
    rows = {'without': as_drawn(bare), 'answer': answer, 'back again': again, 'with': as_drawn(right)}
    measured = found | {f'{key}_quick': value for key, value in found_early.items()}
    about = dict(quick_steps=quick, seconds=[seconds])
    return pictured(rows, 'a face that no network has seen', **about | measured)


# All

def alone(name, draw): return lambda n_steps, seed: {name: draw(n_steps, seed)}

pictures = {  # name -> (what draws it, steps); the two of chapter 23 are of one run
    'first': (alone('first', partial(digits_pictured, 'first')), 7_500),
    'wide': (alone('wide', partial(digits_pictured, 'wide')), 5_000),
    'parts': (alone('parts', parts_pictured), 2_400),
    'pairs': (alone('pairs', pairs_pictured), 2_000),
    'glasses': (alone('glasses', glasses_pictured), 2_000),
    'styles': (styles_pictured, 5_000),
    'filling': (alone('filling', filling_pictured), 300),
    'ways': (alone('ways', ways_pictured), find('cyclegan').n_steps),
}
names = 'first', 'wide', 'parts', 'pairs', 'glasses', 'mixing', 'truncation', 'filling', 'ways'

def better(kept):
    "(Is the long training better, in words) for each picture."
    first, wide, parts, pairs, glasses, mixing, _, filled, ways = (kept[name] for name in names)
    return (
        (wide['distance'] < wide['distance_quick'], 'wide: nearer at the end'),
        (wide['kinds'] > first['kinds'], 'wide: more digits than first'),
        (parts['distance'][0] < parts['distance_quick'][0], 'parts: the whole is nearer at the end'),
        (all(map(lt, pairs['distance'], pairs['distance_quick'])), 'pairs: both are nearer at the end'),
        (glasses['glasses'] > glasses['glasses_quick'], 'glasses: more answers wear them'),
        (mixing['sure'] > mixing['sure_quick'], 'mixing: more samples surely read'),
        (filled['error'] < filled['error_samples'], 'filling: nearer than the eyes of strangers'),
        (ways['glasses'] > ways['glasses_quick'], 'ways: more answers wear glasses'),
    )

def missed(kept):
    "The targets that are not met, in words."
    if lacking := [f'there is no {name}' for name in names if name not in kept]: return lacking
    kB = sum(len(base64.b64decode(kept[name]['tiles'])) for name in names)/1e3
    return failing((kB <= most_kB, f'{kB:.0f} kB of pictures, at most {most_kB}'), *better(kept))

def drawn(name, n_steps, seed):
    "Entries of the trial by their names, and how they come about."
    draw, usual = pictures[name]
    about = machine() | dict(n_steps=n_steps or usual, seed=seed)
    return {kind: about | entry for kind, entry in draw(n_steps or usual, seed).items()}

def arguments():
    p, known = options(__doc__, 'gallery', device=False), ', '.join(pictures)
    p.add_argument('--only', nargs='*', metavar='PICTURE', help=f'{known}, or none (default: all)')
    p.add_argument('--steps', type=int, help='of a training or a search (default: those of the picture)')
    p.add_argument('--seed', type=int, default=0, help='default: 0')
    return p

def main():
    p = arguments()
    a = parsed(p)
    for name in chosen(p, a, pictures):
        for kind, entry in drawn(name, a.steps, a.seed).items():
            store(a.out, kind, rounded(entry))
            print(kind, f"{len(entry['tiles'])/1e3:.1f} kB, {mean(entry['seconds']):.0f} s each", flush=True)
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': raise SystemExit(main())
