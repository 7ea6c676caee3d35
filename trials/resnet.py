"""Quality for a budget: residual networks and their parts against the DCGAN, at equal multiply-adds for one
sample.

usage: python -m trials.resnet [--check] [--data faces|digits|mnist] [--only ARM ...] [--tune] [--steps N]
[--seeds K] [--device cpu|cuda] [--out FILE]

faces are 5,000 drawn faces of 16 pixels, by the recipe `pictures`, 800 steps; digits are those of 8x8
pixels, by the recipe `stable`, 400 steps; mnist are MNIST's at 32x32 pixels, by `stable`, 20,000 steps on a
GPU. All in batches of 32, half of what `stable` has, which buys twice the steps. All arms of a set have the
recipe's objective, Adam, schedule and average of G. They differ in the two networks:

  DCGAN        those of the recipe: BatchNorm in G, none in D
  no BatchNorm the same without it; on faces alone
  ResNet       one residual block a grid, no normalisation, `resize_bilinear` between the grids
  nearest      the same with `resize_nearest`
  binomial     the same with `resize_binomial`
  attention    the same with self-attention at 8x8 pixels, in G; where images are larger in D too
  skips        the same with an image read off every grid

The width of each residual network is chosen so that its multiply-adds for one sample come nearest to
the DCGAN's, G and D each; the stored `over_dcgan` says how near. With --tune the learning rate is chosen
from RATES first, by the distance at seeds 100 and 101, in a third of the steps, which is few: 266 on faces,
133 on digits; for a number of steps of your own in as many as are reported. The residual arms share that of
the ResNet; that of the DCGAN is the recipe's, which was tuned when the recipe was made. Seeds 0 to 4 are
reported. They train side by side, but on faces one after the other, which is faster there. Runs of another
length (--steps 2000, say) are stored under a name of their own, such as `cpu digits, 2000 steps`. To keep
within 20 minutes of one core, `skips` is the only variant of the ResNet on faces.

Measures of faces, as in trials/sights.py: 2,500 samples of the averaged G against faces that nobody was
trained on, in the features of the reader of faces: the squared Frechet distance in units of half against
half, the kinds found, the share of samples that is surely read. Of digits, as in trials/stable.py: 1,797
samples against the 1,797 digits, in the features of their yardstick: the distance, coverage, the share of
samples of confidence above .9. Of both the checkerboard of chapter 9 and the seconds a step of one seed;
`tiles` is a PNG of what the first two seeds draw from the same twelve latents, a row each. --check exits
with 1 if a target of the stored figures is missed.
"""
import math
from dataclasses import replace
from functools import cache, partial

import torch
from ganbook.data import faces
from ganbook.ensemble import members
from ganbook.models.dcgan import checkerboard
from ganbook.models.resnet import (
    ResNetDiscriminator, ResNetGenerator, SkipImages, resize_binomial, matched_width, resize_nearest,
)
from ganbook.nets import multiply_adds, n_params
from ganbook.recipes import build, find, networks
from ganbook.train import fit, new_state, sample
from trials import sights
from trials.common import (
    arm_options, chosen, clock, each, failing, fixed_latents, lists_of, machine, mean, parsed, real_images,
    rounded, run_arms, store, stored, verdict, wanting,
)
from trials.stable import Judge

stable = replace(find('stable'), batch_size=32)
bases = dict(faces=find('pictures'), digits=stable, mnist=stable)  # --data -> recipe
plain = {'DCGAN': {}, 'no BatchNorm': dict(norm_G='none')}  # DCGANs -> what changes in the recipe
arms = {  # the residual ones -> what G and D get beside the width
    'ResNet': ({}, {}),
    'nearest': (dict(resample=resize_nearest), dict(resample=resize_nearest)),
    'binomial': (dict(resample=resize_binomial), dict(resample=resize_binomial)),
    'attention': (dict(attend=8), dict(attend=8)),
    'skips': (dict(head=SkipImages), {}),
}
arms_of = dict(  # --data -> the arms that it has
    faces=['DCGAN', 'no BatchNorm', 'ResNet', 'skips'], digits=['DCGAN', *arms], mnist=['DCGAN', *arms],
)
RATES = dict(faces=(7.5e-4, 1.5e-3, 3e-3, 6e-3), digits=(1.5e-3, 3e-3, 6e-3), mnist=(1.5e-3, 3e-3, 6e-3))


# Networks

@cache
def widths(arm, base, shape):
    "Of G and D of a residual arm, so that they cost what the DCGAN of the recipe costs."
    costs = partial(multiply_adds, shape=(base.latent_dim,)), partial(multiply_adds, shape=shape)
    with torch.random.fork_rng([]):
        return [
            matched_width(make, cost(net), cost)
            for make, net, cost in zip(makers(arm, base, shape), networks(base, shape), costs)
        ]

def makers(arm, base, shape):
    "width -> network, for G and D."
    for_G, for_D = arms[arm]
    if shape[-1] == 8: for_D = {k: v for k, v in for_D.items() if k != 'attend'}  # too small for it in D
    return (lambda w: ResNetGenerator(shape, base.latent_dim, w, **for_G)), (
        lambda w: ResNetDiscriminator(shape, w, **for_D)
    )

def pair(arm, base, shape, seed=0):
    "(G,D) of an arm, at the cost of the DCGAN of the recipe."
    if arm in plain: return networks(replace(base, **plain[arm]), shape, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return tuple(make(w) for make, w in zip(makers(arm, base, shape), widths(arm, base, tuple(shape))))

def budget(arm, base, shape):
    "Parameters and multiply-adds of an arm, and the latter over those of the DCGAN."
    def count(nets): return [multiply_adds(net, s) for net, s in zip(nets, ((base.latent_dim,), shape))]
    nets, ours = pair(arm, base, shape), count(networks(base, shape))
    return dict(
        params=[n_params(net) for net in nets], multiply_adds=count(nets),
        over_dcgan=[a/b for a, b in zip(count(nets), ours)],
    )


# Training

class FaceJudge(sights.Judge):
    "Measures faces against faces that nobody was trained on, one value a member."
    def __init__(self, data, device): super().__init__('faces', data, device, sights.n_judged)
    def __call__(self, G, lead):
        x = self.samples(G, lead)
        seen = lists_of([self.seen(one) for one in x])
        return {k: torch.tensor(v) for k, v in seen.items()} | dict(distance=self.frechet(x)/self.floor)
    @property
    def about(self): return dict(floor=self.floor, n_samples=self.n, of_real=self.of_real)

def sets_of(name, device):
    "What is trained on, what is held against, and what measures."
    if name == 'faces':
        data = faces(size=16).to(device)
        return data, faces(seed=1, size=16), FaceJudge(data, device)
    data, real = real_images(name)
    return data.to(device), real, Judge(name, real, device)

def trained(arm, base, data, seeds, rates, device):
    "The state after training, one member a pair of seed and rate, and the seconds a step of one."
    def one(i):
        G, D = (net.to(device) for net in pair(arm, base, data.shape, seeds[i]))
        return new_state(G, D, rates[i], base.betas, ema=True, seed=seeds[i])
    s = members(one, len(seeds))
    _, a = build(base, data, device=device)
    start = clock(device)
    fit(s, **a)
    return s, (clock(device) - start)/base.n_steps/len(seeds)

def in_groups(members, data):
    "Those that train side by side: all, but of faces each alone."
    return [members] if data.shape[-1] == 8 or data.x.is_cuda else [[m] for m in members]

def rates_of(arm, kind):
    "Under which name the rates tried for an arm are stored; the residual arms share those of the ResNet."
    return f'{kind} rates' + (f', {arm}' if arm in plain else '')

def best_rate(kept, kind, base, arm):
    "The rate that the stored tuning found best, the recipe's where there is none."
    tried = kept.get(rates_of(arm, kind))
    return min(zip(map(math.prod, tried['distance']), tried['rates']))[1] if tried else base.lr

def measured(arm, base, data, judge, seeds, rate, device):
    "The measures of the end and what they cost, one a seed, and a few samples."
    s, step_s = trained(arm, base, data, seeds, [rate]*len(seeds), device)
    end = {k: v.tolist() for k, v in judge(s.best, s.members).items() if k != 'digits'}
    end |= dict(checkerboard=checkerboard(judge.samples(s.best, s.members)).tolist())
    few = sample(s.best, fixed_latents(sights.n_columns, s.best, s.members, device))
    return end | dict(step_s=[step_s]*len(seeds)), few

def try_arm(arm, base, data, judge, n_seeds, device, rate):
    "All seeds of an arm: a list for each thing measured, and what it cost."
    groups = in_groups(list(range(n_seeds)), data)
    rows, pictures = zip(*(measured(arm, base, data, judge, g, rate, device) for g in groups))
    row = {k: sum(v, []) for k, v in lists_of(rows).items()}
    step_s = mean(row['step_s'])
    return row | budget(arm, base, data.shape) | dict(
        lr=rate, step_s=step_s, seconds=step_s*base.n_steps*n_seeds,
        tiles=sights.png(torch.cat(pictures)[:2].cpu()),
    )

def line(name, row):
    times = f"{row['step_s']*1e3:.0f} ms a step  {row['seconds']:.0f} s"
    return f"{name:10} {each(row['distance'], '6.2f')}   {times}"

def tune(arm, base, data, judge, rates, device):
    "Distance at each rate, on seeds that are not reported."
    tries = [(seed, rate) for rate in rates for seed in (100, 101)]
    found = []
    for g in in_groups(tries, data):
        s, _ = trained(arm, base, data, *zip(*g), device)
        found += judge.distance(s.best, s.members).tolist()
    pairs = [found[i:i + 2] for i in range(0, len(found), 2)]
    print(f'{arm}:', *(f"rate {rate} {each(d, '.1f')} " for rate, d in zip(rates, pairs)), flush=True)
    return dict(rates=list(rates), n_steps=base.n_steps, distance=pairs)


# What is stored

def usual_steps(a): return 20_000 if a.device == 'cuda' else 800 if a.data == 'faces' else 400

def kind_of(a, n_steps):
    "Under which name the runs are stored."
    return f'{a.device} {a.data}' + (f', {n_steps} steps' if n_steps != usual_steps(a) else '')

def missed_of_faces(kept, kind):
    "Targets that the conclusion about faces does not reach."
    rows, tried = kept[kind]['rows'], kept.get(f'{kind} rates', dict(rates=[math.nan]))['rates']
    ours, theirs = (rows[arm]['distance'] for arm in ('ResNet', 'DCGAN'))
    rate, spent = rows['ResNet']['lr'], sum(r['seconds'] for r in rows.values())
    return failing(
        (min(ours) > 1.5*max(theirs), f'{kind}: every ResNet at least 1.5 times as far as any DCGAN'),
        (max(theirs) <= 30, f'{kind}: a DCGAN at a distance of {max(theirs):.1f}, at most 30'),
        (
            min(tried) < rate < max(tried),
            f'{kind}: the rate of the ResNet lies between others that were tried',
        ),
        (spent <= 1200, f'{kind}: {spent:.0f} s of training, at most 1200'),
    )

def missed(kept, kind):
    "The targets that are not met, in words."
    if kind not in kept: return [f'there is no {kind}']
    rows, data = kept[kind]['rows'], kind.split()[1].rstrip(',')
    faults = wanting(rows, ('DCGAN', 'ResNet') if kind.endswith('steps') else arms_of[data], kind)
    for a, r in rows.items():
        faults += failing(
            *(
                (
                    abs(x - 1) <= .05,
                    f"{kind}, {a}: {name} costs {x:.3f} times the DCGAN's multiply-adds, at most 5 % apart",
                )
                for name, x in zip('GD', r.get('over_dcgan', ()))
            ),
            (
                kind != 'cpu digits' or r.get('seconds', 0) <= 300,
                f"{kind}, {a}: {r.get('seconds', 0):.0f} s, at most 300",
            ),
        )
    return faults + (missed_of_faces(kept, kind) if kind == 'cpu faces' and not faults else [])

def options():
    p = arm_options(
        __doc__, 'resnet', (*plain, *arms), '800 on faces, 400 on digits; on a GPU 20,000',
        data=('digits', 'mnist', 'faces'),
    )
    p.add_argument('--tune', action='store_true', help='choose the rates of these arms first')
    return p

def main():
    p = options()
    a = parsed(p)
    names, n_steps = chosen(p, a, arms_of[a.data]), a.steps or usual_steps(a)
    device, kind = torch.device(a.device), kind_of(a, n_steps)
    if not names: return verdict(missed(stored(a.out), kind), a.check)
    base = replace(bases[a.data], n_steps=n_steps)
    data, real, judge = sets_of(a.data, device)
    short = base if kind.endswith('steps') else replace(base, n_steps=n_steps//3)
    for arm in dict.fromkeys('ResNet' if name in arms else name for name in names) if a.tune else ():
        if arm == 'DCGAN': continue
        found = tune(arm, short, data, judge, RATES[a.data], device)
        store(a.out, rates_of(arm, kind), rounded(machine(a.device) | found))
    def trial(name):
        rate = best_rate(stored(a.out), kind, base, name)
        return try_arm(name, base, data, judge, a.seeds, device, rate)
    about = machine(a.device) | judge.about | dict(
        n_steps=n_steps, batch_size=base.batch_size, n_seeds=a.seeds, recipe=base.name,
        order=arms_of[a.data], real_checkerboard=checkerboard(real.x.double()/127.5 - 1).item(),
    )
    run_arms(names, trial, line, a.out, kind, about)
    return verdict(missed(stored(a.out), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
