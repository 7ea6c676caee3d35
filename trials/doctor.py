"""Does the doctor name what was broken, and does it leave sound runs alone?

usage: python -m trials.doctor [--check] [--only NAME ...] [--seeds N] [--first-seed S] [--every K]
[--cache FILE] [--out FILE]

Each fault is given in four doses, from harmless to fatal, to the sound setup of chapter w11 on the
ring and on the digits. A dose has failed if the distance of its samples from the data is at least
twice that of the sound runs (Frechet in the features of the yardstick for digits, the energy
distance for points); a failure counts as found if its disease is named first or second, whatever its
grade. Against false alarms stand all recipes of the book on the digits or the ring, in narrow
networks, at 100, 200, 400 and 800 steps, and at the end of a run of 400 whose rates have fallen as
the recipe has it; each is examined with labels and without. A finding above 'note' is a false alarm.

What was measured in a run, its vitals, goes into the cache as soon as the run is over: a bench that was
stopped goes on where it was (its arms are shuffled, so that a part is a fair part), and after a change of a
threshold the verdicts are computed anew from the same runs. Remove the cache after a change of what is
measured. The thresholds were set with seed 0 in view; what is found at the others is stored as `unseen`.
--check exits with 1 if fewer than 95 % of the failures are found, or more than 2 % of the looks at sound
runs raise an alarm.
"""
import copy
import json
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from ganbook import data as sets
from ganbook import losses
from ganbook.data import Data, draw, latents, subset
from ganbook.doctor import diseases
from ganbook.drills import Setup, drills, practise, several_of_G, sound, with_norm
from ganbook.faults import severities
from ganbook.losses import GANLoss
from ganbook.metrics import frechet, yardstick
from ganbook.recipes import build, recipes, takes_sources
from ganbook.train import d_step, fit, sample
from ganbook.objectives import levels
from ganbook.vitals import Vitals, unlike, vitals
from trials.common import machine, mean, options, parsed, results, rounded, store

n_steps = 400                    # of a run with a fault
moments = (100, 200, 400, 800)   # steps at which a recipe is examined
shown_vitals = (
    'unlike', 'gap', 'auc', 'logit_spread', 'spread', 'kinds_effective', 'copies', 'mode_harm', 'recall',
    'coverage', 'lead', 'behind', 'far',
)


@dataclass(frozen=True)
class Dose:
    "A setup with a fault, and how its samples are made comparable with those of the sound one."
    label: str               # the dose in words
    setup: Setup             # what is trained
    back: object = None      # samples as drawn -> samples in the range of the sound data; None: they are
    truth: Data = None       # what they are held against; None: the sound data


# the faults

def sigmoid_end(s):
    "D gets a sigmoid behind its last layer."
    s.D.net.append(torch.nn.Sigmoid())

def young_average(s, halflife, steps):
    "An average with this half-life: that of a G which went straight from its first weights to its last."
    s.G_ema = s.first
    w = .5**(steps/halflife)
    with torch.no_grad():
        for a, b in zip(s.G_ema.parameters(), s.G.parameters()): a.lerp_(b, 1 - w)

def keep_first(s):
    s.first = copy.deepcopy(s.G).requires_grad_(False).eval()

def forget(s, player, layers):
    "The optimiser of a player loses its first tensors of weights; half of them is one layer."
    net = getattr(s, player)
    group = getattr(s, f'opt_{player}').param_groups[0]
    lost = {id(p) for p in [*net.parameters()][:layers]}
    kept = [p for p in group['params'] if id(p) not in lost]
    group['params'] = kept or [torch.nn.Parameter(torch.zeros(1))]

def flipped(loss, share):
    "D is told the opposite for a share of its loss."
    def discriminator(r, f): return (1 - share)*loss.discriminator(r, f) + share*loss.discriminator(f, r)
    return replace(loss, discriminator=discriminator)

def turned(loss, share):
    "The loss of G has the other sign in a share."
    return replace(loss, generator=lambda r, f: (1 - 2*share)*loss.generator(r, f))

def towards_fake(loss, share):
    "G wants label 0 in a share of its loss."
    def generator(r, f): return (1 - share)*loss.generator(r, f) + share*loss.label_loss(f, 0).mean(-1)
    return replace(loss, generator=generator)

def half_detached(s, batch, loss, penalties=(), n_critic=1, share=1., **options):
    "An iteration in which G sees the gradient of the rest of the batch only."
    real, y = batch()
    log = d_step(s, real, loss, penalties, y, **options)
    fake = s.G(latents(len(real), s.G.latent_dim, s.rng))
    k = round(share*len(fake))
    loss_G = loss.generator(None, s.D(torch.cat([fake[:k].detach(), fake[k:]])))
    s.opt_G.zero_grad()
    loss_G.backward()
    s.opt_G.step()
    return log | dict(loss_G=loss_G.detach())

def stale(s, share):
    "Running statistics of the average that lie this share of the way back to their start."
    s.G_ema = copy.deepcopy(s.G).eval()
    for m in s.G_ema.modules():
        if isinstance(m, torch.nn.BatchNorm1d):
            m.running_mean.mul_(1 - share)
            m.running_var.lerp_(torch.ones_like(m.running_var), share)

def darker(data, share):
    "Images whose values fill a share of the range; points whose second column is so much smaller."
    if data.is_image: return replace(data, x=(data.x.float()*share).round().to(torch.uint8))
    scale = data.scale/math.sqrt(2)*math.sqrt(1 + share**2)
    return replace(data, x=data.x*torch.tensor([1., share]), scale=scale)

def brighter(data, share):
    "Undo `darker`, on samples as drawn."
    if data.is_image: return lambda x: (x + 1)/share - 1
    return lambda x: x*torch.tensor([1., 1/share])*math.sqrt(1 + share**2)/math.sqrt(2)

def dark(b, share):
    return Dose(f'{share:.0%}', replace(b, data=darker(b.data, share)), brighter(b.data, share))

def other_range(b, size):
    "Images in [-size,1]; points `20/size` times too far out, from 1 on."
    d, k = b.data, {.75: 3., .5: 10., 0.: 30., -.5: 100.}[size]
    if d.is_image:
        setup = replace(b, data=replace(d, low=-size))
        return Dose(f'images in [{-size:g},1]', setup, lambda x: 2*(x + size)/(1 + size) - 1)
    return Dose(f'points {k:g} times too large', replace(b, data=replace(d, scale=d.scale/k)), lambda x: x/k)

def clipped(b, c):
    "The last layer of G reaches a share of the data's range."
    top = 1. if b.data.is_image else b.data.x.abs().max().item()/b.data.scale
    return replace(b, out=partial(torch.nn.Hardtanh, -c*top, c*top))

def kinds_seen(b, share):
    "The data lie sorted by kind, and only a share is ever read."
    seen = b.data.y < round(share*(int(b.data.y.max()) + 1))
    return replace(b, data=replace(b.data, x=b.data.x[seen], y=b.data.y[seen]), shown=b.data)

def few_samples(b, n):
    "So many training samples; the modes of points are made ten times wider, so that they differ."
    d = b.data
    if not d.is_image: d = replace(d, x=d.modes[d.y] + 10*(d.x - d.modes[d.y]), std=10*d.std)
    return Dose(f'{n} samples', replace(b, data=subset(d, n), n_steps=800, gamma=.1), truth=d)

def naive(b, lr_D, n_critic):
    "The losses as the formulas have them."
    loss = GANLoss(
        lambda r, f: -r.sigmoid().log().mean(-1) - (1 - f.sigmoid()).log().mean(-1),
        lambda r, f: -f.sigmoid().log().mean(-1),
    )
    return replace(
        b, loss=loss, gamma=0., n_critic=n_critic, lr=2e-3, lr_D=lr_D, betas=(.9, .999), decay=False
    )

# what each fault changes, in four doses

def four(words, values, make, **fixed):
    """Sound setup -> four doses. `make(b, value)` gives a Dose, a Setup or the fields of one that change;
    `words` names them, one by one or as a pattern for the value; the `fixed` fields change in all."""
    def of(b):
        b = replace(b, **fixed)
        made = [make(b, v) for v in values]
        told = words if isinstance(words, list) else [
            words.format(*(v if isinstance(v, tuple) else (v,))) for v in values
        ]
        made = [replace(b, **m) if isinstance(m, dict) else m for m in made]
        return [m if isinstance(m, Dose) else Dose(w, m) for w, m in zip(told, made)]
    return of

def fields(*names):
    "A `make` that sets these fields to the value, or each to its part of it."
    def make(b, value): return dict(zip(names, value if isinstance(value, tuple) else (value,)*len(names)))
    return make

def of_loss(change):
    def make(b, share): return dict(loss=change(b.loss, share))
    return four('{:.0%}', (.1, .3, .7, 1.), make)

def called(field, f, argument):
    "A `make` that has `f` called with the value, as the field of a setup."
    return lambda b, value: {field: partial(f, **{argument: value})}

critics = ((1, 1e-3), (2, 2e-3), (5, 5e-3), (8, 2e-2))
collapse = ('mode collapse, total', 'mode collapse, partial', 'oscillation')
fast, heavy = dict(betas=(.5, .9), decay=False), dict(betas=(.9, .999), lr=2e-3)
times = (4, 20, 100, 1000)
unlabelled = four(
    '{} steps at {:g}', critics,
    lambda b, v: dict(n_critic=v[0], lr_D=v[1], data=replace(b.data, y=None)), gamma=0., decay=False,
)
four_losses = (losses.wasserstein, losses.least_squares, losses.hinge, losses.non_saturating)
norm_in_D = partial(with_norm, player='D')
faults = {  # name: (the names that are right, sound setup -> four doses)
    'D far too strong': (('D wins',), four(
        '{} steps at {:g}', critics, fields('n_critic', 'lr_D'), loss=losses.minimax, gamma=0., decay=False,
    )),
    'D too strong, no labels': (('D wins',), unlabelled),
    'several steps of G for one of D': (collapse, four(
        '{} steps', (2, 4, 10, 25), called('update', several_of_G, 'k'), gamma=0., **fast,
    )),
    'momentum .9, slow D': (collapse, four(
        'rate/{}', (1, 2, 4, 10), lambda b, k: dict(lr_D=2e-3/k), gamma=0., **heavy,
    )),
    'loader never shuffles': (('mode collapse, partial', 'mode collapse, total'), four(
        '{:.0%} of the kinds', (.9, .7, .4, .2), kinds_seen,
    )),
    'Wasserstein, no constraint': (('oscillation', 'divergence'), four(
        'rate {:g}', (3e-4, 1e-3, 3e-3, 1e-2), fields('lr', 'lr_D'), loss=losses.wasserstein, gamma=0.,
        **fast,
    )),
    'learning rate too large': (('divergence', 'oscillation', 'samples far from the data'), four(
        'rate {:g}', (3e-3, .03, .3, 3.), fields('lr', 'lr_D'), loss=losses.wasserstein, gamma=0.,
        decay=False,
    )),
    'log of a sigmoid': (('divergence', 'D wins'), four(
        ['.001, 1 step', '.005, 2 steps', '.02, 5 steps', '.05, 8 steps'],
        ((1e-3, 1), (5e-3, 2), (.02, 5), (.05, 8)), lambda b, v: naive(b, *v),
    )),
    'data in another range': (('ranges do not match',), four('', (.75, .5, 0., -.5), other_range)),
    'dark data, unequal columns': (('ranges do not match',), four('', (.5, .2, .05, .02), dark)),
    'wrong end of G': (('ranges do not match',), four('{:.0%} of the range', (.97, .8, .5, .2), clipped)),
    'labels swapped in D': (('labels or losses swapped',), of_loss(flipped)),
    'sign swapped in G': (('labels or losses swapped',), of_loss(turned)),
    'label 0 in G': (('labels or losses swapped',), of_loss(towards_fake)),
    'optimiser of an old D': (('D does not learn',), four(
        '{} of 6 tensors', (1, 2, 4, 6), called('before', partial(forget, player='D'), 'layers'),
    )),
    'optimiser of an old G': (('G does not learn',), four(
        '{} of 6 tensors', (1, 2, 4, 6), called('before', partial(forget, player='G'), 'layers'),
    )),
    'learning rate 0 in D': (('D does not learn', 'learning rates out of balance'), four(
        'rate {:g}', (1e-4, 1e-5, 1e-6, 0.), fields('lr_D'),
    )),
    'fakes without gradient': (('G does not learn',), four(
        '{:.0%} of the batch', (.5, .9, .97, 1.), called('update', half_detached, 'share'),
    )),
    'BatchNorm in D': (('BatchNorm in D mixes real and fake',), four(
        ['penalty 1', 'penalty .1', 'no penalty', 'no penalty, rate .004'],
        ((1., 1e-3), (.1, 1e-3), (0., 1e-3), (0., 4e-3)), fields('gamma', 'lr_D'), before=norm_in_D,
    )),
    'average without buffers': (('BatchNorm statistics at evaluation',), four(
        '{:.0%} back', (.1, .3, .6, 1.), called('after', stale, 'share'),
        before=partial(with_norm, player='G'),
    )),
    'average too young': (('average behind G',), four(
        'half-life {}', (50, 400, 1500, 10000),
        lambda b, h: dict(after=partial(young_average, halflife=h, steps=b.n_steps)), before=keep_first,
    )),
    'penalty too large': (('penalty too large',), four(
        'gamma {:g}', (10., 100., 1e3, 1e4), fields('gamma'),
    )),
    'few training samples': (('memorisation', 'few real samples'), four('', (300, 100, 30, 10), few_samples)),
    'D slower': (('learning rates out of balance',), four(
        '{} times', times, lambda b, k: dict(lr_D=1e-3/k),
    )),
    'G slower': (('learning rates out of balance',), four('{} times', times, lambda b, k: dict(lr=1e-3/k))),
    'stopped early': (('too few steps',), four('{} steps', (200, 100, 50, 15), fields('n_steps'))),
    'sigmoid at the end of D': (('D ends in a sigmoid',), four(
        ['Wasserstein', 'least squares', 'hinge', 'cross-entropy'], four_losses, fields('loss'),
        before=sigmoid_end,
    )),
}


# one run

def quality(G, dose, base, seed=0, labels=False):
    """Distance of samples from the data: Frechet in the yardstick's
    features for digits, the energy distance for points."""
    n, truth = 2000, dose.truth or base
    y = draw(base, n, torch.Generator().manual_seed(seed + 2), labels=True)[1:] if labels else ()
    x = sample(G, latents(n, G.latent_dim, torch.Generator().manual_seed(seed)), *y)
    x = dose.back(x) if dose.back else x
    if not x.isfinite().all(): return math.inf
    real = draw(truth, n, torch.Generator().manual_seed(seed + 1))
    if not base.is_image: return unlike(x, real)
    eye = yardstick('digits')
    return frechet(eye.features(real), eye.features(x.clamp(-1, 1))).item()

def bases(): return sets.ring(5000), sets.digits()

def arms_of(seed):
    """(key, function without arguments that trains and gives the rows) of
    every arm of a seed, the sound setups first and the rest shuffled."""
    alone = {name: r for name, r in recipes.items() if not takes_sources(r)}
    mixed = [(f'recipe/{name}/{seed}', partial(recipe_rows, name, r, seed)) for name, r in alone.items()]
    mixed += [
        (f'{name}/{base.name}/{k}/{seed}', partial(dose_rows, name, base, k, seed))
        for name in faults
        for base in bases()
        for k in range(4)
    ]
    random.Random(seed).shuffle(mixed)
    for base in bases(): yield f'sound/{base.name}/{seed}', partial(dose_rows, 'sound', base, None, seed)
    yield from mixed

def dose_rows(name, base, k, seed):
    setup = sound(base, n_steps=n_steps)
    dose = Dose('sound', setup) if name == 'sound' else faults[name][1](setup)[k]
    s, shown = practise(dose.setup, seed)
    about = dict(fault=name, data=base.name, dose=k, label=dose.label, seed=seed)
    return [about | dict(distance=quality(s.best, dose, base), vitals=vitals(s, shown))]

def recipe_rows(name, r, seed):
    "A recipe with its own length, up to the last moment; and shortened, at its end."
    base = bases()[r.kind == 'images']
    narrow = dict(hidden=tuple(min(256, w) for w in r.hidden))
    if r.networks == 'dcgan': narrow = dict(width=16, smallest=2)
    rows = []
    def look(s, a, moment):
        data, labels = a['data'], a['labels']
        back = (lambda x: 2*x - 1) if data.low == 0 and data.is_image else None
        about = dict(recipe=name, data=base.name, moment=moment, seed=seed)
        distance = quality(s.best, Dose('', None, back), base, labels=labels)
        rows.append(about | dict(distance=distance, vitals=vitals(s, data, a['loss'], labels)))
    s, a = build(replace(r, **narrow), base, seed, 'cpu')
    schedule, whole = a['schedule'], a['n_steps']
    for moment in moments:
        # the schedule of the whole run
        own = schedule and (lambda progress, m=moment: schedule(progress*m/whole))
        fit(s, **(a | dict(n_steps=moment, schedule=own)))
        look(s, a, str(moment))
    s, a = build(replace(r, **narrow, n_steps=n_steps), base, seed, 'cpu')
    fit(s, **a)
    look(s, a, 'end')
    return rows


# the cache

def read_cache(path):
    "Key -> rows of what has been run."
    lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else []
    return {e['key']: e['rows'] for e in map(json.loads, lines)}

def is_wanted(key, only): return not only or any(o in key for o in only)

def run(keys, cache, seeds, only, every):
    "Train what the cache lacks, and add it there after each arm."
    cache.parent.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for i, (key, f) in enumerate(arms_of(seed)):
            if key in keys or i % every or not is_wanted(key, only): continue
            start = time.process_time()
            keys[key] = f()
            with cache.open('a', encoding='utf-8') as out:
                out.write(json.dumps(dict(key=key, rows=keys[key])) + '\n')
            print(f'{key:50} {time.process_time() - start:5.1f} s', flush=True)


# verdicts

def findings(v, labels=True):
    "What the doctor says of stored vitals, in its order."
    v = Vitals(v) if labels else Vitals({k: x for k, x in v.items() if 'kinds' not in k})
    found = [f for f in (d(v) for d in diseases) if f is not None]
    return sorted(found, key=lambda f: (severities.index(f.severity), -f.certainty))

def judged_dose(row, normal):
    "A row with its verdict."
    found = findings(row['vitals'])
    names = [f.name for f in found]
    right = faults[row['fault']][0]
    place = next((i + 1 for i, n in enumerate(names) if n in right), None)
    times = row['distance']/normal[row['data']]
    return {k: row[k] for k in ('fault', 'data', 'dose', 'label', 'seed')} | dict(
        times=times, failed=not times < 2, named=names[:3], place=place,
        grade=found[place - 1].severity if place else None,
    )

def judged_look(row, labels):
    "A look at a sound run with its verdict."
    found = findings(row['vitals'], labels)
    return {k: row[k] for k in ('recipe', 'data', 'moment', 'seed', 'distance')} | dict(
        labels=labels, above_note=[f.name for f in found if f.severity != 'note'],
        notes=[f.name for f in found if f.severity == 'note'],
    )

def looks(rows):
    "Sound runs: recipes with labels and without, and the sound setups."
    for r in rows:
        if r.get('fault') == 'sound': r = r | dict(recipe='sound', moment='end')
        if 'recipe' in r: yield from (judged_look(r, labels) for labels in (True, False))

def normal_distances(rows):
    "Data -> mean distance of the sound setups."
    sound = [r for r in rows if r.get('fault') == 'sound']
    return {d: mean([r['distance'] for r in sound if r['data'] == d]) for d in {r['data'] for r in sound}}

def share(n, of): return n/max(of, 1)
def named(r): return r['place'] in (1, 2)
def above_note(rows): return sum(r['grade'] in ('alarm', 'warning') for r in rows)
def by_dose(rows): return [[r for r in rows if r['dose'] == k] for k in range(4)]

def fault_summary(name, doses):
    "How often a fault made a run fail, and how often it was then found."
    mine = [r for r in doses if r['fault'] == name]
    failed = [r for r in mine if r['failed']]
    return dict(
        right=list(faults[name][0]), failures=len(failed), found=sum(map(named, failed)),
        above_note=above_note(failed),
        by_dose=[
            dict(
                runs=len(d), failures=sum(r['failed'] for r in d),
                found=sum(r['failed'] and named(r) for r in d), named=sum(map(named, d)),
            )
            for d in by_dose(mine)
        ],
        named_first=dict(Counter((r['named'] or ['nothing'])[0] for r in failed)),
    )

def sensitivity(doses):
    "What was found of the failures."
    failed = [r for r in doses if r['failed']]
    found = sum(map(named, failed))
    return dict(
        runs=len(doses), failures=len(failed), found=found, share_found=share(found, len(failed)),
        first=sum(r['place'] == 1 for r in failed), above_note=above_note(failed),
        said_something=sum(bool(r['named']) for r in failed),
        by_dose=[dict(failures=len(d), found=sum(map(named, d))) for d in by_dose(failed)],
        by_fault={name: fault_summary(name, doses) for name in faults},
        missed=[r for r in failed if not named(r)],
    )

def false_alarms(seen):
    "What was said of sound runs."
    alarms = [r for r in seen if r['above_note']]
    groups = {m: [r for r in seen if r['moment'] == m] for m in (*map(str, moments), 'end')}
    return dict(
        recipes=sorted({r['recipe'] for r in seen if r['recipe'] != 'sound'}), looks=len(seen),
        healthy=len(seen), false_alarms=len(alarms), share_false=share(len(alarms), len(seen)),
        with_note=sum(bool(r['notes']) for r in seen), alarms=alarms,
        by_moment={m: [sum(bool(r['above_note']) for r in x), len(x)] for m, x in groups.items() if x},
    )

def summary(rows):
    "Sensitivity by dose and by fault, false alarms by recipe and moment."
    normal = normal_distances(rows)
    broken = [r for r in rows if r.get('fault') not in (None, 'sound') and r['data'] in normal]
    doses = [judged_dose(r, normal) for r in broken]
    return dict(normal=normal) | sensitivity(doses) | false_alarms(list(looks(rows)))

def derived(row, name):
    "A vital, or a number that a disease computes from several."
    v = Vitals(row['vitals'])
    if name == 'lead': return v['loss_D']/levels.get(v['form_D'], math.nan)
    if name == 'behind': return v['unlike'] - v['raw_unlike']
    return v[name]

def strips(rows):
    "Vital -> its values in sound runs (all looks from 400 steps on) and in every fault's failures."
    normal = normal_distances(rows)
    sound = [r for r in rows if r.get('fault') == 'sound' or r.get('moment') in ('400', '800', 'end')]
    failed = [r for r in rows if not r['distance'] < 2*normal.get(r['data'], math.inf)]
    groups = {f: [r for r in failed if r.get('fault') == f] for f in faults}
    def values(rows, name):
        found = (derived(r, name) for r in rows)
        return [v for v in found if isinstance(v, float) and math.isfinite(v)]
    return {
        name: dict(sound=values(sound, name))
        | {f: found for f, group in groups.items() if (found := values(group, name))}
        for name in shown_vitals
    }

def unseen(rows):
    "The totals over the seeds that were not in view when thresholds were set: all but 0."
    s = summary([r for r in rows if r['seed'] > 0])
    return {k: s[k] for k in ('failures', 'found', 'share_found', 'looks', 'false_alarms', 'share_false')}

def report(s):
    "Sensitivity by dose, and the totals."
    def told(name, f):
        return f'{name:34}' + ''.join(f"{d['found']:>4}/{d['failures']:<3}" for d in f['by_dose'])
    print(f"{'found of failures, by dose':34}" + ''.join(f'{k:>8}' for k in range(1, 5)))
    for name, f in s['by_fault'].items(): print(told(name, f), f['named_first'])
    print(told('all', s))
    print(
        f"{s['found']} of {s['failures']} failures named first or second "
        f"({s['share_found']:.1%}), {s['first']} first, {s['above_note']} above a note"
    )
    print(
        f"{s['false_alarms']} of {s['looks']} looks at sound runs raised an alarm "
        f"({s['share_false']:.1%}); {s['with_note']} brought a note; by moment {s['by_moment']}"
    )

def main():
    p = options(__doc__, 'doctor', 'a target is missed', device=False)
    p.add_argument(
        '--only', nargs='*', default=[], help='arms whose key contains one of these; nothing is stored then'
    )
    p.add_argument('--seeds', type=int, default=3, help='seeds of every arm (default 3)')
    p.add_argument(
        '--first-seed', type=int, default=0,
        help='the first of them (default 0); nothing is stored if it is another',
    )
    p.add_argument('--every', type=int, default=1, help='only every so many arms; nothing is stored then')
    p.add_argument('--cache', type=Path, default=results.parent/'runs'/'doctor.jsonl')
    p.add_argument('--train', type=int, default=1, help='0: judge what the cache has, and train nothing')
    a = parsed(p)
    if a.seeds < 1 or a.every < 1: p.error('--seeds and --every must be at least 1.')
    start, clock = time.perf_counter(), time.process_time()
    seeds = range(a.first_seed, a.first_seed + a.seeds)
    done = read_cache(a.cache)
    if a.train: run(done, a.cache, seeds, a.only, a.every)
    rows = [r for key, x in done.items() if is_wanted(key, a.only) for r in x if r['seed'] in seeds]
    if not rows:
        p.error(
            f"no arm's key contains {' or '.join(a.only)}: keys are recipe/NAME/SEED, "
            f"sound/DATA/SEED and FAULT/DATA/DOSE/SEED; the faults are {'; '.join(faults)}."
        )
    s = summary(rows)
    report(s)
    if not a.only and a.first_seed == 0 and a.every == 1:
        keys = [key for seed in seeds for key, _ in arms_of(seed)]
        about = dict(
            seeds=[*seeds], arms=len(keys), arms_done=sum(key in done for key in keys), n_steps=n_steps,
            drills=len(drills), moments=[*moments, 'end'], seconds=round(time.perf_counter() - start, 1),
            processor_seconds=round(time.process_time() - clock, 1),
        )
        found = rounded(s | dict(unseen=unseen(rows), strips=strips(rows)))
        store(a.out, 'cpu', machine() | about | found)
    return 1 if a.check and (s['share_found'] < .95 or s['share_false'] > .02) else 0


if __name__ == '__main__': raise SystemExit(main())
