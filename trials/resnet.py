"""Quality for a budget: residual networks and their parts against the DCGAN, at equal multiply-adds for one
sample.

usage: python -m trials.resnet [--check] [--data digits|mnist] [--only ARM ...] [--tune] [--steps N]
[--seeds K] [--device cpu|cuda] [--out FILE]

All arms are trained as the recipe `stable` says: relativistic pairing, R1 and R2 with
gamma 1, Adam with decays 0 and .99, an average of G, rates that fall to 0 over the second
half; but in batches of 32, which buys twice the steps. They differ in the two networks:

  DCGAN        those of `stable`: width 32, BatchNorm in G, none in D
  ResNet       one residual block a grid, no normalisation, `resize_bilinear` between the grids
  nearest      the same with `resize_nearest`
  binomial     the same with `resize_binomial`
  attention    the same with self-attention at 8x8 pixels in G (on a GPU in both)
  skips        the same with an image read off every grid

The width of each network is chosen so that its multiply-adds for one sample come nearest to the
DCGAN's, G and D each; the stored `budget` says how near. The learning rate of the residual arms was
chosen from RATES on seeds 100 and 101 with --tune, by the distance of the ResNet arm: for the 400 steps
in a third of them, for any other number of steps in as many as are reported. That of the DCGAN is the
recipe's, tuned in chapter 15. Seeds 0 to 4 are reported, and train side by side. Runs of another length
(--steps 2000, say) are stored under a name of their own, such as `cpu digits, 2000 steps`.

Measures, as in trials/stable.py: 1,797 samples of the averaged G against the 1,797 digits, in the features
of the digits' yardstick: the squared Frechet distance in units of half against half, coverage, the share of
samples of confidence above .9, the checkerboard of chapter 9, and the seconds a step of one seed. --data
mnist trains at 32x32 pixels, 20,000 steps, on a GPU, against the DCGAN of `stable` there. --check exits with
1 if a target of the stored figures is missed.
"""
import math
from dataclasses import replace
from functools import cache, partial

import torch
from ganbook.callbacks import every, record
from ganbook.ensemble import members
from ganbook.models.dcgan import checkerboard
from ganbook.models.resnet import (
    ResNetDiscriminator, ResNetGenerator, SkipImages, resize_binomial, matched_width, resize_nearest,
)
from ganbook.nets import multiply_adds, n_params
from ganbook.recipes import build, find, networks
from ganbook.train import fit, new_state
from trials.common import (
    arm_options, chosen, clock, each, failing, machine, parsed, real_images, rounded, run_arms, store,
    stored, verdict, wanting,
)
from trials.stable import Judge

stable = find('stable')
arms = {  # name -> what G and D get beside the width; None: the DCGAN of `stable`
    'DCGAN': None,
    'ResNet': ({}, {}),
    'nearest': (dict(resample=resize_nearest), dict(resample=resize_nearest)),
    'binomial': (dict(resample=resize_binomial), dict(resample=resize_binomial)),
    'attention': (dict(attend=8), {}),
    'skips': (dict(head=SkipImages), {}),
}
RATES = (1.5e-3, 3e-3, 6e-3)
n_looks = 1
batch_size = 32  # half of the recipe's: twice the steps for the same time


@cache
def widths(arm, shape):
    "Of G and D of a residual arm, so that they cost what the DCGAN of `stable` costs."
    costs = partial(multiply_adds, shape=(stable.latent_dim,)), partial(multiply_adds, shape=shape)
    with torch.random.fork_rng([]):
        return [
            matched_width(make, cost(net), cost)
            for make, net, cost in zip(makers(arm, shape), networks(stable, shape), costs)
        ]

def makers(arm, shape):
    "width -> network, for G and D."
    for_G, for_D = arms[arm]
    return (lambda w: ResNetGenerator(shape, stable.latent_dim, w, **for_G)), (
        lambda w: ResNetDiscriminator(shape, w, **for_D)
    )

def pair(arm, shape, seed=0):
    "(G,D) of an arm, at the cost of the DCGAN of `stable`."
    if arms[arm] is None: return networks(stable, shape, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return tuple(make(w) for make, w in zip(makers(arm, shape), widths(arm, tuple(shape))))

def budget(arm, shape):
    "Parameters and multiply-adds of an arm, and the latter over those of the DCGAN."
    def count(nets): return [multiply_adds(net, s) for net, s in zip(nets, ((stable.latent_dim,), shape))]
    nets, ours = pair(arm, shape), count(networks(stable, shape))
    return dict(
        params=[n_params(net) for net in nets], multiply_adds=count(nets),
        over_dcgan=[a/b for a, b in zip(count(nets), ours)],
    )

def state(arm, data, seeds, rates, device):
    "One member a pair of seed and rate."
    def one(i):
        G, D = (net.to(device) for net in pair(arm, data.shape, seeds[i]))
        return new_state(G, D, rates[i], stable.betas, ema=True, seed=seeds[i])
    return members(one, len(seeds))

def train(s, data, n_steps, callbacks=()):
    "Seconds a step of one member."
    _, a = build(replace(stable, n_steps=n_steps), data, device=s.device)
    start = clock(s.device)
    fit(s, **a | dict(callbacks=callbacks, batch_size=batch_size))
    return (clock(s.device) - start)/n_steps/s.members[0]

def best_rate(kept, kind):
    "Of the residual arms: the rate that the stored tuning found best, the recipe's where there is none."
    tried = kept.get(f'{kind} rates')
    return min(zip(map(math.prod, tried['distance']), tried['rates']))[1] if tried else stable.lr

def try_arm(arm, data, judge, n_steps, n_seeds, device, rate):
    "The measures of the end and what they cost, one a seed."
    seeds, rates = list(range(n_seeds)), [rate]*n_seeds
    s = state(arm, data, seeds, rates, device)
    begin = clock(device)
    look = record(lambda s: (judge.distance(s.best, s.members), clock(device)))
    train(s, data, n_steps, [every(max(1, n_steps//n_looks), look, last=True)])
    whole = clock(device) - begin
    step_s = train(state(arm, data, seeds, rates, device), data, max(2, n_steps//50))  # without looks
    end = {k: v.tolist() for k, v in judge(s.best, s.members).items() if k != 'digits'}
    return end | budget(arm, data.shape) | dict(
        steps=look.steps, distances=[d.tolist() for d, _ in look.values], lr=rate, step_s=step_s,
        checkerboard=checkerboard(judge.samples(s.best, s.members)).tolist(), seconds=whole,
    )

def line(name, row):
    times = f"{row['step_s']*1e3:.0f} ms a step  {row['seconds']:.0f} s"
    return f"{name:10} {each(row['distance'], '6.2f')}   {times}"

def tune(data, judge, n_steps, device):
    "Distance of the ResNet at each rate, on seeds that are not reported."
    seeds, rates = [100, 101]*len(RATES), [r for r in RATES for _ in range(2)]
    s = state('ResNet', data, seeds, rates, device)
    train(s, data, n_steps)
    d = judge.distance(s.best, s.members).tolist()
    return dict(rates=list(RATES), n_steps=n_steps, distance=[d[2*i:2*i + 2] for i in range(len(RATES))])


def kind_of(a, n_steps):
    "Under which name the runs are stored."
    usual = 20_000 if a.device == 'cuda' else 400
    return f'{a.device} {a.data}' + (f', {n_steps} steps' if n_steps != usual else '')

def missed(kept, kind):
    "The targets that are not met, in words."
    if kind not in kept: return [f'there is no {kind}']
    rows = kept[kind]['rows']
    faults = wanting(rows, ('DCGAN', 'ResNet') if kind.endswith('steps') else arms, kind)
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
    return faults

def main():
    p = arm_options(__doc__, 'resnet', arms, '400; on a GPU 20,000')
    p.add_argument('--tune', action='store_true', help='try the rates as well')
    a = parsed(p)
    names = chosen(p, a, arms)
    # digits are too small for it in D
    if a.data == 'mnist': arms['attention'] = (dict(attend=8), dict(attend=8))
    device, n_steps = torch.device(a.device), a.steps or (20_000 if a.device == 'cuda' else 400)
    kind = kind_of(a, n_steps)
    if not names and not a.tune: return verdict(missed(stored(a.out), kind), a.check)
    data, real = real_images(a.data)
    data, judge = data.to(device), Judge(a.data, real, device)
    if a.tune:
        found = tune(data, judge, n_steps if kind.endswith('steps') else n_steps//3, device)
        store(a.out, f'{kind} rates', rounded(machine(a.device) | found))
    def trial(name):
        rate = stable.lr if arms[name] is None else best_rate(stored(a.out), kind)
        return try_arm(name, data, judge, n_steps, a.seeds, device, rate)
    about = machine(a.device) | judge.about | dict(
        n_steps=n_steps, batch_size=batch_size, n_seeds=a.seeds, order=list(arms),
        real_checkerboard=checkerboard(real.x.double()/127.5 - 1).item(),
    )
    run_arms(names, trial, line, a.out, kind, about)
    return verdict(missed(stored(a.out), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
