"""Ring and grid: which loss and which penalties find all modes, and how well.

usage: python bench/modes.py [--check] [--game ring|grid|none] [--only ARM ...] [--steps N] [--seeds K]
[--device cpu|cuda] [--out FILE]

The 2-D sets of PacGAN (Lin et al. 2018): 8 modes on a circle of radius 1 with standard deviation .01,
and 25 on a 5x5 grid of gap 2 with .05. Every arm has the same networks (three layers of 128, two
latents, ReLUs in G and leaky ReLUs in D), the same optimiser (Adam without momentum, its rate falling
to 0 over the second half), the same average of G and the same 6,500 steps of 256 samples: about a
minute on one core. What differs is the loss, the penalties, and in two arms the bends of G. Points are
drawn at unit overall spread. Gamma and Adam's numbers were tuned on other seeds, and serve both sets.

10,000 samples of the average, in the data's own units, are judged by `mode_coverage`: within 3 standard
deviations of a mode (the
ball rule, whose ceiling is .98889), at least 20 samples for a mode to count. Five seeds an arm. Those of r3
train one by one, so that
the seconds are those of one run, those of the other arms side by side. A GPU trains 10 times as long with 16
seeds side by side.
--check exits with 1 if a target of the stored figures is missed.
"""
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import torch
from torch import nn
from common import clock, machine, options, parsed, rounded, store, stored, verdict
from ganbook import data as sets
from ganbook.data import latents, to_units
from ganbook.ensemble import members
from ganbook.losses import non_saturating, relativistic
from ganbook.metrics import mode_coverage
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import r1, r2
from ganbook.train import fit, linear_decay, new_state, sample


class Lazy:
    "A penalty at every `n`-th step alone, `n` times as strong."
    def __init__(self, penalty, n): self.penalty, self.n, self.calls = penalty, n, 0
    def __call__(self, D, real, fake, real_logits, fake_logits):
        self.calls += 1
        if self.calls % self.n: return torch.zeros(real_logits.shape[:-1], device=real_logits.device)
        return self.n*self.penalty(D, real, fake, real_logits, fake_logits)

# tuned on seeds from 100 up, the same for both sets
gamma = .05
lr = 2e-3
betas = (0., .9)
def both(): return [partial(r1, gamma=gamma), partial(r2, gamma=gamma)]

@dataclass(frozen=True)
class Arm:
    "What may differ from one arm to another."
    penalties:object=list # () -> the penalties, made anew for each run
    loss:object=relativistic
    slope:float=0.        # of the bends of G below zero: 0 is a ReLU

arms = {
    'plain, leaky G': Arm(loss=non_saturating, slope=.2),
    'plain': Arm(loss=non_saturating),
    'relativistic, no penalty': Arm(),
    'R1 + R2, not relativistic': Arm(both, loss=non_saturating),
    'R1 alone': Arm(lambda: both()[:1]),
    'r3, leaky G': Arm(both, slope=.2),
    'r3': Arm(both),
    'r3, lazy 8': Arm(lambda: [Lazy(p, 8) for p in both()]),
}
on_ring = ('plain, leaky G', 'plain', 'r3, leaky G', 'r3')  # the others on the grid alone

def state(seed, device, slope):
    torch.manual_seed(seed)
    G, D = MLPGenerator((2,), 2, (128, 128, 128), nn.Identity, slope), MLPDiscriminator((2,), (128, 128, 128))
    return new_state(G.to(device), D.to(device), lr, betas, ema=True, seed=seed)

def judge(s, data, device):
    "Modes, share of good samples and divergences, one each a member."
    z = latents(10_000, 2, torch.Generator().manual_seed(9)).to(device).expand(*s.members, -1, -1)
    x = to_units(data, sample(s.best, z)).cpu().nan_to_num(1e6, 1e6, -1e6)
    return {name: v.tolist() for name, v in mode_coverage(x, data.modes, data.std).items()}

def try_arm(data, name, n_steps, seeds, device):
    "One number a seed for each measure."
    arm = arms[name]
    more = dict(
        batch_size=256, schedule=linear_decay(.5), ema_halflife=100.,
        capture=False if 'lazy' in name else None,
    )
    found, start = dict(modes=[], hq=[], rkl=[], kl=[]), clock(device)
    for group in [[i] for i in seeds] if device.type == 'cpu' and name == 'r3' else [seeds]:
        s = (
            members(lambda i: state(group[i], device, arm.slope), len(group))
            if len(group) > 1
            else state(group[0], device, arm.slope)
        )
        fit(s, data, n_steps, arm.loss, arm.penalties(), **more)
        one = judge(s, data.to('cpu'), device)
        for k, v in found.items(): v += one[k] if len(group) > 1 else [one[k]]
    return found | dict(n_steps=n_steps, seconds=(clock(device) - start)/len(seeds))


def missed(entry, name, device):
    "The targets that are not met, in words."
    rows, faults = entry['rows'], []
    def need(text, value, ok): faults.extend([] if ok else [f'{name}: {text} is {value:.4g}'])
    if 'r3' not in rows: return [f'{name}: there is no r3']
    r, mean = rows['r3'], lambda v: sum(v)/len(v)
    need('fewest modes of r3', min(r['modes']), min(r['modes']) == (8 if name == 'ring' else 25))
    if device == 'cpu':
        if len(r['hq']) < 5: faults.append(f"{name}: {len(r['hq'])} seeds, at least 5")
        if name == 'ring':
            need('worst HQ', min(r['hq']), min(r['hq']) >= .85)
            need('worst rKL', max(r['rkl']), max(r['rkl']) <= .005)
        else:
            need('mean HQ', mean(r['hq']), mean(r['hq']) >= .70)
            need('worst rKL', max(r['rkl']), max(r['rkl']) <= .03)
        return faults + [f'{name}: no arm called {a}' for a in tried(name) if a not in rows]
    if name == 'grid':
        need('HQ', mean(r['hq']), mean(r['hq']) >= .96)
        need('worst rKL', max(r['rkl']), max(r['rkl']) <= .01)
    return faults

def tried(name): return list(on_ring if name == 'ring' else arms)

def key(name, device): return name if device == 'cpu' else f'{name} {device}'

def main():
    p = options(
        __doc__, 'modes', arms, '6500; on a GPU 65,000', data=None, seeds='5; on a GPU 16', first=True
    )
    p.add_argument(
        '--game', choices=['ring', 'grid', 'none'],
        help=f"one of the two, or none (default: both; on the ring the arms {', '.join(on_ring)})",
    )
    a, chosen = parsed(p, arms)
    device, many = torch.device(a.device), a.device == 'cuda'
    n_steps = a.steps or (65_000 if many else 6_500)
    seeds = [a.first + i for i in range(a.seeds or (16 if many else 5))]
    for name in dict(none=[]).get(a.game, [a.game] if a.game else ['ring', 'grid']):
        data = getattr(sets, name)().to(device)
        for arm in tried(name) if a.only is None else chosen:
            row = try_arm(data, arm, n_steps, seeds, device)
            print(
                f"{name} {arm:26}",
                ' '.join(f"{m:.0f}:{q:.3f}:{k:.4f}" for m, q, k in zip(row['modes'], row['hq'], row['rkl'])),
                f"{row['seconds']:.0f} s a run", flush=True,
            )
            old = stored(a.out).get(key(name, a.device), {}).get('rows', {})
            store(
                a.out,
                key(name, a.device),
                machine(a.device)
                | dict(
                    n_steps=n_steps, gamma=gamma, lr=lr, betas=betas, batch_size=256, n_samples=10_000,
                    at_least=20, order=tried(name), rows=old | {arm: rounded(row)},
                ),
            )
    kept = stored(a.out)
    return verdict(
        [
            f
            for name in ('ring', 'grid')
            for f in (
                missed(kept[key(name, a.device)], name, a.device)
                if key(name, a.device) in kept
                else [f'no {name} in {a.out}']
            )
        ],
        a.check,
    )


if __name__ == '__main__': sys.exit(main())
