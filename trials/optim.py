"""Optimisers for games: their rates on the bilinear game, and what they do for a GAN on the ring and for a
DCGAN on 8x8 digits.

usage: python bench/optim.py [--check] [--game bilinear|ring|long|digits|none] [--only ARM ...] [--steps N]
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

long: the ring once more, as chapter 13 trains it (`plain` of bench/modes.py): three layers of 128, batches
of 256, 6,500 steps at the rate .002 that falls to 0 over the second half, the non-saturating loss alone,
five seeds side by side. Judged half way, when the rate has not begun to fall (measures ending in `_half`),
and at the end; each time the last iterate of G and its average. The arms are alternating, optimistic and
extragradient unless --only names others. In the arm consensus the weight is .1 in every game.

`twice the steps` is the alternating arm trained on, to as many gradients as
extragradient. --check exits with 1 if a target of the stored figures is missed. """
import math
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
sys.path.insert(0, str(root/'bench'))

import torch
from torch import nn
import modes
from common import clock, machine, options, parsed, rounded, store, stored, verdict
from dcgan import real_images
from stable import Judge
from ganbook.callbacks import every, record
from ganbook.data import Data, latents, ring, to_units
from ganbook.ensemble import members
from ganbook.losses import non_saturating, relativistic, wasserstein
from ganbook.metrics import mode_coverage
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.optim import (
    at_once, by_consensus, extragradient, lookahead, multipliers, optimistic, past_extragradient,
)
from ganbook.penalties import r1, r2
from ganbook.recipes import find, networks
from ganbook.train import TrainState, alternating, fit, linear_decay, new_state, sample


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
    fit(s, Data('origin', torch.zeros(1, 1)), n_steps, wasserstein, batch_size=1, update=update,
        callbacks=[lambda s: path.append(torch.cat([s.G.at, s.D.at]).detach())])
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
    rows = {
        name: [(eta, multipliers(play(update, eta, 30), memory)[0].abs().item(), law(eta)) for eta in etas]
        for name, (update, memory, law) in laws.items()
    }
    def look(eta, k, alpha):
        return (
            multipliers(play(partial(lookahead, k=k, alpha=alpha, inner=at_once), eta, 8*k)[::k])[0]
            .abs()
            .item()
        )
    return rows | {'lookahead': [(eta, k, alpha, look(eta, k, alpha), want) for eta, k, alpha, want in pulls]}


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

def both(gamma): return [partial(r1, gamma=gamma), partial(r2, gamma=gamma)]

def pair(game, seed):
    "Networks of a seed, the same in every arm."
    if game == 'digits': return networks(replace(find('stable'), width=16), (1, 8, 8), seed)
    torch.manual_seed(seed)
    return MLPGenerator((2,), 2, (64, 64, 64), nn.Identity), MLPDiscriminator((2,), (64, 64, 64))

def side_by_side(game, seeds, device, lr_D):
    "A state of rates x seeds members, the seeds of the first rate first."
    rates, beta2 = adam_rates[game], .99 if game == 'digits' else .9
    def make(i):
        seed, lr = seeds[i % len(seeds)], rates[i//len(seeds)]
        return new_state(
            *(m.to(device) for m in pair(game, seed)), lr, (0., beta2), lr*lr_D, ema=True, seed=seed
        )
    return members(make, len(rates)*len(seeds)), rates

def judge_ring(data):
    "(G, leading sizes) -> the measures of chapter 13, one a member."
    def judge(G, lead):
        z = latents(10_000, 2, torch.Generator().manual_seed(9)).to(data.x.device).expand(*lead, -1, -1)
        x = to_units(data, sample(G, z)).nan_to_num(1e6, 1e6, -1e6).cpu()
        return mode_coverage(x, data.modes.cpu(), data.std)
    return judge

def judge_digits(device):
    "(G, leading sizes) -> the distance of chapter 15, one a member."
    eye = Judge('digits', real_images('digits')[1], device)
    return lambda G, lead: dict(distance=eye.distance(G, lead))

def try_arm(game, data, judge, objective, name, n_steps, seeds, device):
    """name -> measure -> rates x seeds, of the last iterate and (with
    `_ema`) of the average; the alternating arm is trained on for another."""
    (loss, penalised), options = objectives[objective], dict(arms[name])
    s, rates = side_by_side(game, seeds, device, options.pop('lr_D', 1.))
    rows, spent = {}, 0.
    if 'lookahead' in name: options['capture'] = False
    penalties = both(1. if game == 'digits' else .03) if penalised else []
    for arm, n in [(name, n_steps)] + [(twice, 2*n_steps)]*(name == 'alternating'):
        start = clock(device)
        fit(
            s, data, n, loss, penalties, batch_size=64 if game == 'digits' else 128, ema_halflife=50.,
            **options,
        )
        spent += clock(device) - start
        rows[arm] = dict(n_steps=n, rates=rates, seeds=seeds, seconds=spent)
        for end, G in (('', s.G), ('_ema', s.G_ema)):
            rows[arm] |= {
                k + end: v.double().view(len(rates), -1).tolist()
                for k, v in judge(G, s.members).items()
                if k in ('modes', 'hq', 'kl', 'distance')
            }
    return rows


long_arms = ('alternating', 'optimistic', 'extragradient')

def measures(s, judge, when=''):
    "name -> one a seed, of the last iterate and (with `_ema`) of the average."
    found = {}
    for end, G in (('', s.G), ('_ema', s.G_ema)):
        found |= {
            k + end + when: v.double().tolist()
            for k, v in judge(G, s.members).items()
            if k in ('modes', 'hq', 'kl')
        }
    return found

def try_long(name, data, judge, n_steps, seeds, device):
    "name -> measures of an arm under the conditions of chapter 13, half way and at the end."
    options = dict(arms[name])
    lr_D = options.pop('lr_D', 1.)
    if lr_D != 1.: raise SystemExit(f'{name}: the long ring has one rate for both players.')
    schedule = options.pop('schedule', linear_decay(.5))
    s = members(lambda i: modes.state(seeds[i], device, 0.), len(seeds))
    half, start = record(lambda s: measures(s, judge, '_half')), clock(device)
    fit(s, data, n_steps, non_saturating, batch_size=256, schedule=schedule, ema_halflife=100.,
        capture=False if 'lookahead' in name else None, callbacks=[every(n_steps//2, half)], **options)
    return (
        half.values[0]
        | measures(s, judge)
        | dict(n_steps=n_steps, seeds=seeds, seconds=clock(device) - start)
    )


def missed(kept):
    "The targets that are not met, in words."
    if 'bilinear' not in kept: return ['there is no bilinear']
    rows = kept['bilinear']['rows']
    faults = [f'no rates of {name}' for name in (*laws, 'lookahead') if name not in rows]
    faults += [
        f'{name} at eta {r[0]}: rate {r[-2]:.5f}, within 1e-3 of {r[-1]:.5f}'
        for name, found in rows.items()
        for r in found
        if not abs(r[-2] - r[-1]) <= 1e-3
    ]
    at = {eta: rate for eta, rate, _ in rows.get('optimistic', [])}
    faults += [
        f'optimistic at eta {eta}: rate {at.get(eta, math.nan):.5f}, {words} 1'
        for eta, ok, words in ((.57, at.get(.57, 2) < 1, 'below'), (.585, at.get(.585, 0) > 1, 'above'))
        if not ok
    ]
    for game in ('ring', 'digits'):
        for objective in objectives:
            kind = f'{game} {objective}'
            found = kept.get(kind, dict(rows={}))['rows']
            wanted = (twice, *(arms if (game, objective) == ('ring', 'plain') else few))
            faults += [f'{kind}: no arm called {a}' for a in wanted if a not in found]
            faults += [
                f"{kind}, {a}: {len(r['seeds'])} seeds, at least 5"
                for a, r in found.items()
                if len(r['seeds']) < 5
            ]
    found = kept.get('ring long', dict(rows={}))['rows']
    faults += [f'ring long: no arm called {a}' for a in long_arms if a not in found]
    faults += [
        f"ring long, {a}: {len(r['seeds'])} seeds, at least 5"
        for a, r in found.items()
        if len(r['seeds']) < 5
    ]
    return faults

def run_long(a, chosen, device):
    "Train and store the arms of the long ring."
    data = ring().to(device)
    judge = judge_ring(data)
    seeds = [a.first + i for i in range(a.seeds)]
    kind = 'ring long' + ('' if a.device == 'cpu' else ' cuda')
    for name in long_arms if a.only is None else chosen:
        row = try_long(name, data, judge, a.steps or 6_500, seeds, device)
        print(
            f'ring long {name:34}',
            ' | '.join(
                f'{k} ' + ' '.join(f'{v:.4g}' for v in row[k])
                for k in ('hq_half', 'hq_ema_half', 'hq', 'hq_ema', 'kl')
            ),
            f"{row['seconds']:.0f} s",
            flush=True,
        )
        old = stored(a.out).get(kind, {}).get('rows', {})
        store(
            a.out,
            kind,
            machine(a.device)
            | dict(lr=modes.lr, batch_size=256, n_steps=a.steps or 6_500, rows=old | rounded({name: row})),
        )

def main():
    p = options(__doc__, 'optim', arms, 'ring 1000, long 6500, digits 250', data=None, first=True)
    p.add_argument(
        '--game', choices=['bilinear', 'ring', 'long', 'digits', 'none'],
        help='one of the four, or none (default: all)',
    )
    p.add_argument('--objective', choices=list(objectives), help='one of the two (default: both)')
    a, chosen = parsed(p, arms)
    device = torch.device(a.device)
    if a.game in (None, 'bilinear'):
        store(
            a.out,
            'bilinear',
            machine()
            | dict(
                rows={
                    name: [[float(f'{x:.8g}') for x in r] for r in found] for name, found in rates().items()
                }
            ),
        )
    if a.game in (None, 'long'): run_long(a, chosen, device)
    for game in dict(bilinear=[], none=[], long=[]).get(a.game, [a.game] if a.game else ['ring', 'digits']):
        data = (ring() if game == 'ring' else real_images('digits')[0]).to(device)
        judge = judge_ring(data) if game == 'ring' else judge_digits(device)
        n_steps = a.steps or (1_000 if game == 'ring' else 250)
        for objective in [a.objective] if a.objective else objectives:
            for name in chosen if a.only is not None or (game, objective) == ('ring', 'plain') else few:
                rows = try_arm(
                    game, data, judge, objective, name, n_steps, [a.first + i for i in range(a.seeds)], device
                )
                kind = f'{game} {objective}' + ('' if a.device == 'cpu' else ' cuda')
                for arm, row in rows.items():
                    what = ('modes', 'hq', 'kl') if game == 'ring' else ('distance',)
                    print(
                        f'{game} {objective} {arm:34}',
                        ' | '.join(
                            ' '.join(f'{sum(v)/len(v):.3g}' for v in row[w + end])
                            for end in ('', '_ema')
                            for w in what
                        ),
                        f"{row['seconds']:.0f} s",
                        flush=True,
                    )
                old = stored(a.out).get(kind, {}).get('rows', {})
                store(a.out, kind, machine(a.device) | dict(rows=old | rounded(rows)))
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': sys.exit(main())
