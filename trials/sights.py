"""Before, between and after, in pictures and in seconds: the textbook's DCGAN,
the cure without its penalties, and the cure.

usage: python -m trials.sights [--check] [--only ARM ...] [--steps N] [--seeds K] [--device cpu|cuda]
[--out FILE] [--data mnist|faces|faces32|faces32_long|faces32_fast|faces64]

mnist is `mnist_small`, 5,000 digits of 28x28 pixels, by the recipe `stable` of width 16, 1,500 steps.
faces are 5,000 drawn faces of 16 pixels, by the recipe `pictures`, 3,000 steps. faces32 are as many of 32
pixels, by the recipe `pictures32`, 5,500 steps: five minutes of one core. faces32_long are the same faces,
15,000 steps, which two quiet cores make in about ten minutes, with the settings of `slower`, four at once;
`slower rate` takes the rate alone and its later fall, and `as it is` leaves the recipe as it is. The textbook
and `as it is` have three seeds there.
faces64 are faces of 64 pixels, by the recipe `pictures64`, 3,500 steps: ten minutes of one core,
two seeds, without the arm between; no target is set there for the time.

Three arms: `textbook` is the DCGAN of Radford et al. 2016 with the width, the smallest grid and the
latents of the recipe, and as many steps as take the processor time that the recipe takes; `no penalties`
is the recipe without R1 and R2; `whole` is the recipe. Seeds train one after the other.

faces32_fast asks what the clipping does: 1,500 steps at the recipe's rate, which does not fall; `not clipped`
leaves the gradients as they come.

At 12 moments 2,500 samples are held against real images that nobody was trained on (of mnist_small,
which has no others, against itself) in the features of the yardstick; a distance is the squared Frechet
distance in units of half of the real images against the other half. Seconds are those of training alone.
At the end also: the share of the samples that is surely read, and the digits that make up at least 2 %, or
the kinds of face found; of faces32 among 12,000 samples. `rarest_wall` is the share of faces whose wall has
the colour that is least common. `tiles` is a PNG of what the first two seeds draw from the same twelve
latents, a row each.

--check exits with 1 if a target of the stored figures is missed. """
import math
from dataclasses import dataclass, field, replace

import torch
from ganbook.callbacks import every
from ganbook.causes import options
from ganbook.data import faces, subset
from ganbook.downloads import mnist_small
from ganbook.readers import face_reader, kinds_found
from ganbook.recipes import build, find
from ganbook.train import fit, sample
from trials import common
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, fixed_latents, lists_of, machine, mean, parsed, png,
    run_arms, stored, verdict, wanting,
)
from trials.dcgan import step_s

n_judged = 2_500
slower_rate = dict(lr=3e-3, decay_from=.5)
slower = slower_rate | dict(betas=(0., .95), clip_grad=None)
bases = dict(  # --data -> (recipe, pixels of a face, samples read at the end)
    mnist=(replace(find('stable'), width=16, n_steps=1_500), None, n_judged),
    faces=(replace(find('pictures'), n_steps=3_000), 16, n_judged),
    faces32=(replace(find('pictures32'), n_steps=5_500), 32, 12_000),
    faces32_long=(replace(find('pictures32'), n_steps=15_000, **slower), 32, 12_000),
    faces32_fast=(replace(find('pictures32'), n_steps=1_500, decay_from=None), 32, n_judged),
    faces64=(find('pictures64'), 64, n_judged),
)
fewest = dict(faces32_long=3, faces64=2)  # seeds, of runs that take ten minutes; of others 5
names = 'textbook', 'no penalties', 'whole'
not_clipped = 'not clipped'  # of a fast run
as_it_is, at_slower = 'as it is', 'slower rate'  # of a long run
arms_of = dict(  # of the others: `names`
    faces32_long=(*names, as_it_is, at_slower), faces32_fast=(not_clipped, 'whole'),
    faces64=('textbook', 'whole'),
)
n_looks = 12
n_columns = 12  # of the picture


def textbook(base):
    "The DCGAN of the paper, as large as `base`."
    same = dict(latent_dim=base.latent_dim, width=base.width, smallest=base.smallest)
    return replace(find('dcgan_textbook'), name='textbook', **same)

def arm(name, base, data, device):
    "The recipe of an arm; the textbook gets the time that the whole recipe takes."
    if name == 'whole': return base
    if name == 'no penalties': return replace(base, name=name, r1=0., r2=0.)
    if name == not_clipped: return replace(base, name=name, clip_grad=None)
    if name in (as_it_is, at_slower):
        rate = slower_rate if name == at_slower else {}
        return replace(find(base.name), name=name, n_steps=base.n_steps, **rate)
    plain = textbook(base)
    ratio = step_s(base, data, device)/step_s(plain, data, device)
    return replace(plain, n_steps=max(1, round(base.n_steps*ratio)))


def rarest_wall(probs):
    "The share of faces whose wall has the colour that is least common, from probabilities of kinds (N,1200)."
    n = len(options['background'])  # the first of the causes that make a kind
    walls = probs.unflatten(-1, (n, -1)).sum(-1).argmax(-1)
    return walls.bincount(minlength=n).min().item()/len(probs)

class Judge(common.Judge):
    "Measures samples against real images that nobody was trained on, where there are such."
    def __init__(self, kind, data, device, n_seen=n_judged):
        self.of_faces = kind.startswith('faces')
        unseen = faces(max(5_000, n_seen), seed=1, size=data.shape[-1]) if self.of_faces else data
        eye = face_reader() if self.of_faces else None
        super().__init__('mnist', as_drawn(unseen.x[:5_000].to(device)), device, n_judged, eye)
        self.n_seen = n_seen
        self.of_real = self.seen(as_drawn(subset(unseen, n_seen).x.to(device)))
    def seen(self, x):
        "What the yardstick reads."
        probs = self.eye.probs(x)
        kinds = kinds_found(probs) if self.of_faces else self.kinds(x).item()
        read = dict(kinds=kinds, sure=(probs.amax(-1) > .9).double().mean().item())
        return read | dict(rarest_wall=rarest_wall(probs)) if self.of_faces else read


@dataclass
class Watch:
    "A callback: distances at some moments, and the seconds of training until each."
    judge: Judge
    start: float
    spent: float = 0.
    steps: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    distances: list = field(default_factory=list)
    def __call__(self, s):
        now = clock(self.judge.device)
        self.steps.append(s.step)
        self.seconds.append(now - self.start - self.spent)
        self.distances.append(self.judge.distance(s.best).item())
        self.spent += clock(self.judge.device) - now


def drawn(G, device):
    "What a generator draws from the same few latents."
    return sample(G, fixed_latents(n_columns, G, device=device))

def one(recipe, data, judge, seed, device):
    "A run: what was measured of it, and a few samples."
    s, a = build(recipe, data, seed, device)
    watch = Watch(judge, clock(device))
    fit(s, **a | dict(callbacks=[every(max(1, recipe.n_steps//n_looks), watch, last=True)]))
    end = judge.seen(sample(s.best, fixed_latents(judge.n_seen, s.best, device=device)).nan_to_num())
    curve = dict(steps=watch.steps, times=watch.seconds, distances=watch.distances)
    return end | curve | dict(distance=watch.distances[-1], seconds=watch.seconds[-1]), drawn(s.best, device)

def try_arm(recipe, data, judge, n_seeds, device):
    "All seeds of an arm: a list for each thing measured."
    rows, pictures = zip(*(one(recipe, data, judge, seed, device) for seed in range(n_seeds)))
    return lists_of(rows) | dict(n_steps=recipe.n_steps, tiles=png(torch.stack(pictures[:2])))

def line(name, row):
    return (
        f"{name:14} distance {each(row['distance'], '6.1f')}   kinds {each(row['kinds'], 'd')}   "
        f"surely read {mean(row['sure']):.2f}   {mean(row['seconds']):.0f} s a run"
    )


# Targets

def until(row, i, target):
    "Seconds of training of seed `i` until its distance is `target` or less; infinite if it never is."
    pairs = zip(row['times'][i], row['distances'][i])
    return next((seconds for seconds, distance in pairs if distance <= target), math.inf)

def shares_of_time(rows):
    """Seed by seed: the time in which the whole recipe is as
    good as the textbook ever is, over that of a textbook's run."""
    plain, whole = rows['textbook'], rows['whole']
    best = [min(d) for d in plain['distances']]
    return [until(whole, i, d)/plain['seconds'][i] for i, d in enumerate(best)]

def stumbles(row):
    "Seed by seed: the most that a distance rose over the best one before it, as a ratio."
    return [max(d/min(seed[:i + 1]) for i, d in enumerate(seed)) for seed in row['distances']]

def missed(entry, kind):
    "The targets that are not met, in words."
    rows, least = entry['rows'], fewest.get(kind.split()[-1], 5)
    if kind.endswith('fast'):
        if faults := wanting(rows, (not_clipped, 'whole'), kind): return faults
        return failing((max(stumbles(rows['whole'])) <= 1.5, f'{kind}: no distance rises by half'))
    if faults := wanting(rows, ('textbook', 'whole'), kind, least): return faults
    whole, plain = rows['whole'], rows['textbook']
    nearer = max(whole['distance']) < min(plain['distance'])
    targets = [(nearer, f'{kind}: nearer than the textbook at every seed')]
    if not kind.endswith('faces64'):
        share = max(shares_of_time(rows))
        targets.append((share <= .2, f'{kind}: a fifth of the time for what the textbook reaches'))
    if kind.endswith('mnist'):
        targets.append((min(whole['kinds']) == 10, f'{kind}: ten digits at every seed'))
        targets.append((max(whole['distance']) <= 15, f'{kind}: a distance of at most 15 at every seed'))
    return failing(*targets)

def main():
    known = *names, not_clipped, as_it_is, at_slower
    p = arm_options(__doc__, 'sights', known, 'those of the recipe', data=())
    p.add_argument('--data', choices=list(bases), default='mnist', help='default: mnist')
    a = parsed(p)
    device = torch.device(a.device)
    base, size, n_seen = bases[a.data]
    if a.steps: base = replace(base, n_steps=a.steps)
    data = (mnist_small() if size is None else faces(size=size)).to(device)
    judge, kind = Judge(a.data, data, device, n_seen), f'{a.device} {a.data}'
    about = machine(a.device, with_clock=True) | dict(
        n_steps=base.n_steps, n_seeds=a.seeds, size=data.shape[-1], n_samples=n_judged,
        n_seen=n_seen, of_real=judge.of_real, recipe=base.name, width=base.width, lr=base.lr,
    )
    def trained(name): return try_arm(arm(name, base, data, device), data, judge, a.seeds, device)
    arms = arms_of.get(a.data, names)
    run_arms(chosen(p, a, arms), trained, line, a.out, kind, about)
    entry = stored(a.out).get(kind)
    return verdict(missed(entry, kind) if entry else [f'there is no {kind}'], a.check)


if __name__ == '__main__': raise SystemExit(main())
