"""Optimisers for games: their rates on the bilinear game, and what they do for a GAN on the ring and for a
DCGAN on 8x8 digits.

usage: python -m trials.optim [--check] [--game bilinear|ring|long|digits|none] [--only ARM ...] [--steps N]
[--seeds K] [--first SEED] [--device cpu|cuda] [--out FILE]

bilinear: G is one number theta, D the slope psi, the loss Wasserstein's, and `fit` trains
them with plain gradient steps (SGD) of size eta. The rate is read off the path and held
against the formula; the optimistic method must converge at eta .57 and not at .585.

ring: three layers of 64, two latents, batches of 128, 1,000 steps, Adam with decays 0 and .9. Each arm
is trained with two learning rates and five seeds of each, all 10 side by side, for two objectives: the
non-saturating loss alone (`plain`), and the relativistic loss with R1 and R2 (`penalised`), the latter
with the arms `few` alone. 10,000 samples are judged as in chapter 13, of the last iterate of G and of
its running average: modes with at least 20 good samples, the share of good samples, KL of all samples'
shares of the modes (by the nearest) to equal ones. digits: a DCGAN of width 16, 250 steps of 64, one
learning rate and five seeds, the arms `few`, with and without the same penalties (no BatchNorm in D in
either case); the squared Frechet distance of 1,797 samples in units of half against half.

long: the ring once more, as chapter 13 trains it (`plain` of trials/modes.py): three layers of 128, batches
of 256, 6,500 steps at the rate .002 that falls to 0 over the second half, the non-saturating loss alone,
five seeds side by side. Judged half way, when the rate has not begun to fall (measures ending in `_half`),
and at the end; each time the last iterate of G and its average. The arms are alternating, optimistic and
extragradient unless --only names others. In the arm consensus the weight is .1 in every game.

`twice the steps` is the alternating arm trained on, to as many gradients as
extragradient. --check exits with 1 if a target of the stored figures is missed. """
import math
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from ganbook.callbacks import every, record
from ganbook.data import Data, digits, ring
from ganbook.ensemble import members
from ganbook.losses import non_saturating, relativistic, wasserstein
from ganbook.optim import (
    at_once, by_consensus, extragradient, lookahead, multipliers, optimistic, past_extragradient,
)
from ganbook.recipes import find, networks
from ganbook.train import TrainState, alternating, fit, linear_decay, new_state
from trials import modes
from trials.common import (
    Judge, arm_options, as_drawn, both, chosen, clock, each, failing, keep, machine, mean, parsed,
    point_pair, run_arms, store, stored, verdict, wanting,
)


# The bilinear game, played by `fit`

class Point(nn.Module):
    "G: one number, whatever the latents. D: one slope."
    latent_dim = 1
    def __init__(self, at, slope=False):
        super().__init__()
        self.at, self.slope = nn.Parameter(torch.tensor([at], dtype=torch.float64)), slope
    def forward(self, x, *y): return (self.at*x).sum(-1) if self.slope else self.at.expand(*x.shape[:-1], 1)

def play(update, eta, n_steps):
    "The path (n_steps+1,2) of (theta,psi) from (1,0)."
    G, D = Point(1.), Point(0., slope=True)
    s = TrainState(G, D, *(torch.optim.SGD(m.parameters(), eta) for m in (G, D)))
    path = [torch.cat([G.at, D.at]).detach()]
    def note(s): path.append(torch.cat([s.G.at, s.D.at]).detach())
    origin = Data('origin', torch.zeros(1, 1))
    fit(s, origin, n_steps, wasserstein, batch_size=1, update=update, callbacks=[note])
    return torch.stack(path)

def optimistic_rate(eta): return max(abs((1 + 2j*eta + q*((1 + 2j*eta)**2 - 4j*eta)**.5)/2) for q in (1, -1))

etas = (.1, .3, .5, .57, .585, .6)
laws = {  # name -> (update, points that a step looks back on, eta -> rate)
    'at once': (at_once, 1, lambda eta: math.sqrt(1 + eta**2)),
    'alternating': (alternating, 1, lambda eta: 1.),
    'extragradient': (extragradient, 1, lambda eta: math.sqrt(1 - eta**2 + eta**4)),
    'past extragradient': (past_extragradient, 2, optimistic_rate),
    'optimistic': (optimistic, 2, optimistic_rate),
    'consensus': (by_consensus, 1, lambda eta: math.hypot(1 - eta, eta)),
}
pulls = ((.3, 6, .5, .74476), (.2, 15, .3, .31244), (.1, 31, .5, .08796))  # eta, k, alpha, rate a pull

def rates():
    "name -> [eta, measured, formula]; of lookahead with k and alpha before them."
    def rate(path, memory=1): return multipliers(path, memory)[0].abs().item()
    rows = {
        name: [(eta, rate(play(update, eta, 30), memory), law(eta)) for eta in etas]
        for name, (update, memory, law) in laws.items()
    }
    rows['lookahead'] = []
    for eta, k, alpha, want in pulls:
        update = partial(lookahead, k=k, alpha=alpha, inner=at_once)
        rows['lookahead'].append((eta, k, alpha, rate(play(update, eta, 8*k)[::k]), want))
    return rows


# The arms of the two GANs

objectives = {'plain': (non_saturating, False), 'penalised': (relativistic, True)}
twice = 'alternating, twice the steps'  # the arm `alternating`, trained on
arms = {  # name -> arguments of `fit`, and `lr_D`, the rate of D over that of G
    'alternating': {},
    'alternating, rates decay': dict(schedule=linear_decay(.5)),
    'alternating, D four times as fast': dict(lr_D=4.),
    'at once': dict(update=at_once),
    'optimistic': dict(update=optimistic),
    'past extragradient': dict(update=past_extragradient),
    'extragradient': dict(update=extragradient),
    'lookahead, k 5': dict(update=partial(lookahead, k=5)),
    'consensus': dict(update=partial(by_consensus, weight=.1)),
}
few = ('alternating', 'at once', 'optimistic', 'extragradient', 'lookahead, k 5')
adam_rates = dict(ring=(1e-3, 4e-3), digits=(2e-3,))

def pair(game, seed):
    "Networks of a seed, the same in every arm."
    if game == 'digits': return networks(replace(find('stable'), width=16), (1, 8, 8), seed)
    torch.manual_seed(seed)
    return point_pair((64, 64, 64))

def side_by_side(game, seeds, device, lr_D):
    "A state of rates x seeds members, the seeds of the first rate first."
    rates, betas = adam_rates[game], (0., .99 if game == 'digits' else .9)
    def make(i):
        seed, lr = seeds[i % len(seeds)], rates[i//len(seeds)]
        G, D = (m.to(device) for m in pair(game, seed))
        return new_state(G, D, lr, betas, lr*lr_D, ema=True, seed=seed)
    return members(make, len(rates)*len(seeds)), rates

def judge_of(game, data):
    "(G, leading sizes) -> the measures of chapter 13 or the distance of chapter 15, one a member."
    if game != 'digits': return partial(modes.judge, data=data)
    eye = Judge('digits', as_drawn(data.x), data.x.device)
    return lambda G, lead: dict(distance=eye.distance(G, lead))

def measures(s, judge, shape=(-1,), when=''):
    "name -> values, of the last iterate and (with `_ema`) of the average."
    return {
        k + end + when: v.double().view(shape).tolist()
        for end, G in (('', s.G), ('_ema', s.G_ema))
        for k, v in judge(G, s.members).items()
        if k in ('modes', 'hq', 'kl', 'distance')
    }

def try_arm(game, data, judge, objective, name, n_steps, seeds, device):
    """name -> measure -> rates x seeds, of the last iterate and (with
    `_ema`) of the average; the alternating arm is trained on for another."""
    (loss, penalised), options = objectives[objective], dict(arms[name])
    s, rates = side_by_side(game, seeds, device, options.pop('lr_D', 1.))
    rows, spent = {}, 0.
    if 'lookahead' in name: options['capture'] = False
    options['batch_size'] = 64 if game == 'digits' else 128
    penalties = both(1. if game == 'digits' else .03) if penalised else []
    for arm, n in [(name, n_steps)] + [(twice, 2*n_steps)]*(name == 'alternating'):
        start = clock(device)
        fit(s, data, n, loss, penalties, ema_halflife=50., **options)
        spent += clock(device) - start
        rows[arm] = dict(n_steps=n, rates=rates, seeds=seeds, seconds=spent)
        rows[arm] |= measures(s, judge, (len(rates), -1))
    return rows


long_arms = ('alternating', 'optimistic', 'extragradient')

def try_long(name, data, judge, n_steps, seeds, device):
    "name -> measures of an arm under the conditions of chapter 13, half way and at the end."
    options = dict(arms[name])
    if options.pop('lr_D', 1.) != 1.:
        raise SystemExit(f'{name}: the long ring has one rate for both players.')
    options = dict(schedule=linear_decay(.5), capture=False if 'lookahead' in name else None) | options
    s = members(lambda i: modes.state(seeds[i], device, 0.), len(seeds))
    half, start = record(lambda s: measures(s, judge, when='_half')), clock(device)
    fit(
        s, data, n_steps, non_saturating, batch_size=256, ema_halflife=100.,
        callbacks=[every(n_steps//2, half)], **options,
    )
    took = dict(n_steps=n_steps, seeds=seeds, seconds=clock(device) - start)
    return half.values[0] | measures(s, judge) | took


# Targets

def missed_rates(rows):
    "Rates of the bilinear game that are not those of the formulas."
    faults = [f'no rates of {name}' for name in (*laws, 'lookahead') if name not in rows]
    faults += failing(*(
        (abs(r[-2] - r[-1]) <= 1e-3, f'{name} at eta {r[0]}: rate {r[-2]:.5f}, within 1e-3 of {r[-1]:.5f}')
        for name, found in rows.items()
        for r in found
    ))
    at = {eta: rate for eta, rate, _ in rows.get('optimistic', [])}
    low, high = (at.get(eta, math.nan) for eta in (.57, .585))
    return faults + failing(
        (low < 1, f'optimistic at eta 0.57: rate {low:.5f}, below 1'),
        (high > 1, f'optimistic at eta 0.585: rate {high:.5f}, above 1'),
    )

def missed(kept):
    "The targets that are not met, in words."
    if 'bilinear' not in kept: return ['there is no bilinear']
    faults = missed_rates(kept['bilinear']['rows'])
    wanted = {
        f'{game} {objective}': (twice, *(arms if (game, objective) == ('ring', 'plain') else few))
        for game in ('ring', 'digits')
        for objective in objectives
    }
    for kind, names in (wanted | {'ring long': long_arms}).items():
        faults += wanting(kept.get(kind, dict(rows={}))['rows'], names, kind, key='seeds')
    return faults


# A run

def run_bilinear(out):
    found = {name: [[float(f'{x:.8g}') for x in r] for r in rows] for name, rows in rates().items()}
    store(out, 'bilinear', machine() | dict(rows=found))

def run_long(a, names, device):
    "Train and store the arms of the long ring."
    data, n_steps = ring().to(device), a.steps or 6_500
    judge, seeds = judge_of('ring', data), [a.first + i for i in range(a.seeds)]
    def line(name, row):
        shown = ('hq_half', 'hq_ema_half', 'hq', 'hq_ema', 'kl')
        told = ' | '.join(f"{k} {each(row[k], '.4g')}" for k in shown)
        return f"ring long {name:34} {told} {row['seconds']:.0f} s"
    run_arms(
        long_arms if a.only is None else names,
        lambda name: try_long(name, data, judge, n_steps, seeds, device), line,
        a.out, 'ring long' + ' cuda'*(a.device == 'cuda'),
        machine(a.device) | dict(lr=modes.lr, batch_size=256, n_steps=n_steps),
    )

def line(title, game, arm, row):
    what = ('modes', 'hq', 'kl') if game == 'ring' else ('distance',)
    told = ' | '.join(each(map(mean, row[w + end]), '.3g') for end in ('', '_ema') for w in what)
    return f"{title} {arm:34} {told} {row['seconds']:.0f} s"

def run_game(game, objective, a, names, device):
    "Train and store the arms of the ring or the digits under one objective."
    data = (ring() if game == 'ring' else digits()).to(device)
    judge, seeds = judge_of(game, data), [a.first + i for i in range(a.seeds)]
    n_steps = a.steps or (1_000 if game == 'ring' else 250)
    title = f'{game} {objective}'
    for name in names if a.only is not None or title == 'ring plain' else few:
        rows = try_arm(game, data, judge, objective, name, n_steps, seeds, device)
        for arm, row in rows.items(): print(line(title, game, arm, row), flush=True)
        keep(a.out, title + ' cuda'*(a.device == 'cuda'), machine(a.device), rows)

def main():
    p = arm_options(__doc__, 'optim', arms, 'ring 1000, long 6500, digits 250', data=None, first=True)
    games = ['bilinear', 'ring', 'long', 'digits', 'none']
    p.add_argument('--game', choices=games, help='one of the four, or none (default: all)')
    p.add_argument('--objective', choices=list(objectives), help='one of the two (default: both)')
    a = parsed(p)
    names, device = chosen(p, a, arms), torch.device(a.device)
    if a.game in (None, 'bilinear'): run_bilinear(a.out)
    if a.game in (None, 'long'): run_long(a, names, device)
    for game in ('ring', 'digits'):
        if a.game not in (None, game): continue
        for objective in [a.objective] if a.objective else objectives:
            run_game(game, objective, a, names, device)
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': raise SystemExit(main())
