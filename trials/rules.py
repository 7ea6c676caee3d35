"""Learning rates as a map, and each rule of DCGAN on trial.

    python bench/rules.py [--check] [--only map|rules] [--rule NAME ...] [--seeds K] [--device cpu|cuda]
    [--out FILE]

The map: pairs of 2x64 layers on the ring, one for each pair of learning rates and each seed, trained
side by side as members, without a penalty and with R1. A run is healthy if all 8 modes hold at least 20
of 2,500 samples within 3 standard deviations of their centre, and at least a quarter of all samples do.

The rules: DCGANs of width 8 on the digits at 16x16, with one rule changed at a time, the seeds side
by side as members. The full DCGAN trains with Adam at 1e-3, which suits the few steps; the paper's
2e-4 is a row of its own. The score is the squared Fréchet distance between 1,797 digits and 2,000
samples in the features of the digits' yardstick (images averaged down to 8x8 for it), at half time
and at the end. A run fails if fewer than 3 of the 10 digits make up 2 % of its samples each.

Stored is one number a seed, in results/bench_rules.json; chapter 10 draws intervals and
verdicts from them. A GPU trains longer, with 16 seeds, and stores its figures beside those
of the CPU. --check exits with 1 if the file then lacks a cell, a rule or a seed. """
import argparse
import copy
import json
import math
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import torch
import torch.nn.functional as F
from torch import nn
from common import machine, results, rounded, store
from ganbook import data as sets
from ganbook.data import latents, to_units
from ganbook.ensemble import members
from ganbook.losses import non_saturating
from ganbook.metrics import frechet, frechet_floor, mode_coverage, yardstick
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator, normal_init, upsampled
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import average, fit, linear_decay, new_state, sample


# The map

rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
least_modes, least_hq = 8, .25

def r1(D, real, fake, real_logits, fake_logits, gamma=.1):
    "R1 (Mescheder et al. 2018), for members as for one."
    grad, = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma/2*grad.square().sum(-1).mean(-1)

def point_state(lr_G, lr_D, seed, device):
    torch.manual_seed(seed)
    G, D = MLPGenerator((2,), 2, (64, 64), nn.Identity), MLPDiscriminator((2,), (64, 64))
    return new_state(G.to(device), D.to(device), lr_G, (0., .9), lr_D, ema=True, seed=seed)

def row(lr_D, penalties, n_steps, n_seeds, device):
    "Modes and share of good samples (rates of G, seeds) at one learning rate of D."
    ring, k = sets.ring(), len(rates)*n_seeds
    s = members(lambda i: point_state(rates[i//n_seeds], lr_D, i % n_seeds, device), k)
    fit(s, ring, n_steps, non_saturating, penalties, schedule=linear_decay(.5))
    x = to_units(
        ring, sample(s.best, latents(2500, 2, torch.Generator().manual_seed(9)).to(device).expand(k, -1, -1))
    ).cpu()
    found = mode_coverage(x.nan_to_num(99., 99., -99.), ring.modes, ring.std)
    return {name: found[name].view(len(rates), n_seeds).tolist() for name in ('modes', 'hq')}

def draw_map(out, n_steps, n_seeds, device, start):
    "Rows by learning rate of D, one map without a penalty and one with R1."
    maps = dict(plain=[], r1=[])
    for name, penalties in (('plain', []), ('r1', [r1])):
        for lr_D in rates:
            maps[name].append(row(lr_D, penalties, n_steps, n_seeds, device))
            healthy = [
                [m >= least_modes and q >= least_hq for m, q in zip(*cell)]
                for cell in zip(maps[name][-1]['modes'], maps[name][-1]['hq'])
            ]
            print(
                f'{name:6} D {lr_D:7.0e}:', *(f'{sum(h)}/{n_seeds}' for h in healthy),
                f'({time.perf_counter() - start:.0f} s)', flush=True,
            )
    store(
        out,
        key('map', device),
        machine(device)
        | dict(
            rates=rates, n_seeds=n_seeds, n_steps=n_steps, gamma=.1, least_modes=least_modes,
            least_hq=least_hq, seconds=round(time.perf_counter() - start, 1), maps=rounded(maps),
        ),
    )


# The rules

def key(kind, device): return kind if device == 'cpu' else f'{kind} {device}'

class Sixteen:
    "The digits at 16x16, and how far samples are from them."
    def __init__(self):
        small = sets.digits()
        x = F.interpolate(small.x.float(), scale_factor=2, mode='bilinear').round().to(torch.uint8)
        self.data, self.yardstick = replace(small, x=x, name='digits at 16x16'), yardstick('digits')
        self.real = self.yardstick.features(self.down(x.float()/127.5 - 1))
        self.floor = frechet_floor(self.real).item()
    def down(self, x): return F.avg_pool2d(x.flatten(0, -4), 2).unflatten(0, x.shape[:-3])
    def score(self, G, k, low):
        "Fréchet distance and number of digits drawn, one each a member."
        x = (
            sample(
                G,
                latents(2000, G.latent_dim, torch.Generator().manual_seed(9))
                .to(next(G.parameters()))
                .expand(k, -1, -1),
            )
            .cpu()
            .nan_to_num()
        )
        x = self.down((x - low)*2/(1 - low) - 1)
        kinds = F.one_hot(self.yardstick.probs(x).argmax(-1), 10).float().mean(-2)
        return frechet(self.real, self.yardstick.features(x)).tolist(), (kinds >= .02).sum(-1).tolist()

def pooled(n_in, n_out, large, small, bias):
    "Convolve at full size, then average down."
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=bias), nn.AdaptiveAvgPool2d(small))

def with_hidden(G, D):
    "One more fully connected layer at the inner end of both."
    n = D.net[-1].in_features
    G.net = nn.Sequential(nn.Linear(G.latent_dim, G.latent_dim), nn.ReLU(), *G.net)
    D.net = nn.Sequential(*D.net[:-1], nn.Linear(n, n), nn.LeakyReLU(.2), nn.Linear(n, 1, bias=False))

def with_norm_at_ends(G, D):
    "BatchNorm after the last layer of G and the first of D too."
    G.net = nn.Sequential(*G.net[:-1], nn.BatchNorm2d(G.shape[0]), G.net[-1])
    D.net = nn.Sequential(D.net[0], nn.BatchNorm2d(D.net[0].out_channels), *D.net[1:])

# name -> what differs from the full DCGAN: options of G, of D, of Adam, or a change of the built pair
rules = {
    'all rules kept': {},
    'D: pooling, not strides': dict(D=dict(down=pooled)),
    'G: upsampling, not transposed': dict(G=dict(up=upsampled)),
    'no BatchNorm in G': dict(G=dict(norm=None)),
    'no BatchNorm in D': dict(D=dict(norm=None)),
    'no BatchNorm at all': dict(G=dict(norm=None), D=dict(norm=None)),
    'BatchNorm at the ends too': dict(change=with_norm_at_ends),
    'hidden linear layers': dict(change=with_hidden),
    'G: leaky ReLU, not ReLU': dict(G=dict(act=partial(nn.LeakyReLU, .2))),
    'G: tanh, not ReLU': dict(G=dict(act=nn.Tanh)),
    'D: ReLU, not leaky': dict(D=dict(act=nn.ReLU)),
    'G ends in sigmoid, data in [0,1]': dict(G=dict(out=nn.Sigmoid), low=0.),
    "PyTorch's initial weights": dict(G=dict(init=None), D=dict(init=None)),
    'Adam: b1 .9, not .5': dict(betas=(.9, .999)),
    'Adam: b1 0, not .5': dict(betas=(0., .999)),
    'learning rate 2e-4, not 1e-3': dict(lr=2e-4),
    'learning rate 3e-3, not 1e-3': dict(lr=3e-3),
}
# a twentieth and a half of the run on a CPU; both of the full DCGAN
averages = {f'average of G, half-life {h}': float(h) for h in (20, 200)}

def image_state(seed, device, G=None, D=None, lr=1e-3, betas=(.5, .999), change=None):
    torch.manual_seed(seed)
    pair = DCGANGenerator((1, 16, 16), 100, 8, **(G or {})), DCGANDiscriminator((1, 16, 16), 8, **(D or {}))
    if change:
        change(*pair)
        for net in pair: normal_init(net)
    return new_state(*(net.to(device) for net in pair), lr, betas, seed=seed)

def follow(s, name):
    """The networks to judge by the name of their row, and a
    callback that keeps the averages of the full DCGAN."""
    kept = {row: copy.deepcopy(s.G) for row in averages} if name == 'all rules kept' else {}
    def keep(s):
        for row, net in kept.items(): average(net, s.G, averages[row])
    return {name: s.G, **kept}, [keep] if kept else []

def try_rules(out, n_steps, n_seeds, device, start, only=()):
    """One run a rule, its seeds side by side; with `only`, those
    rules are run again and the other rows stay as stored."""
    digits = Sixteen()
    old = (
        json.loads(out.read_text(encoding='utf-8'))[key('rules', device)]
        if only
        else dict(rows={}, seconds=0.)
    )
    rows = old['rows']
    order = [name for rule in rules for name in (rule, *(averages if rule == 'all rules kept' else ()))]
    for name in only or rules:
        how, low = dict(rules[name]), rules[name].get('low', -1.)
        how.pop('low', None)
        s = members(lambda i: image_state(i, device, **how), n_seeds)
        nets, callbacks = follow(s, name)
        for row in nets: rows[row] = dict(half=[], end=[])
        for when, n in (('half', n_steps//2), ('end', n_steps)):
            fit(s, replace(digits.data, low=low), n, non_saturating, batch_size=32, callbacks=callbacks)
            for row, net in nets.items():
                rows[row][when], rows[row]['digits'] = digits.score(net, n_seeds, low)
        for row in nets:
            print(
                f"{row:34}", *(f'{v:6.1f}' for v in rows[row]['end']),
                f'({time.perf_counter() - start:.0f} s)', flush=True,
            )
        store(
            out,
            key('rules', device),
            machine(device)
            | dict(
                n_seeds=n_seeds, n_steps=n_steps, width=8, lr=1e-3, batch_size=32,
                floor=rounded(digits.floor), order=[name for name in order if name in rows], least_digits=3,
                seconds=old['seconds'] or round(time.perf_counter() - start, 1), rows=rounded(rows),
            ),
        )


def lacking(path, device):
    "What the stored file lacks, in words."
    stored, faults = json.loads(Path(path).read_text(encoding='utf-8')) if Path(path).exists() else {}, []
    table, board = (stored.get(key(kind, device)) for kind in ('map', 'rules'))
    for kind, entry in (('map', table), ('rules', board)):
        if entry is None: faults.append(f'no {kind} in {path}')
        elif entry['n_seeds'] < 5: faults.append(f"{kind}: {entry['n_seeds']} seeds, at least 5")
    cells = [len(cell) for rows in table['maps'].values() for r in rows for cell in r['hq']] if table else []
    if table and cells != [table['n_seeds']]*2*len(rates)**2: faults.append('the maps are not whole')
    if not board: return faults
    faults += [f'no rule called {name}' for name in (*rules, *averages) if name not in board['rows']]
    values = [v for row in board['rows'].values() for v in (*row['half'], *row['end'])]
    return faults + ['a distance is not finite']*(not all(map(math.isfinite, values)))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        '--check', action='store_true', help='exit with 1 if the stored file is not whole in the end'
    )
    p.add_argument('--only', choices=['map', 'rules', 'none'], help='one of the two, or none')
    p.add_argument(
        '--rule', nargs='*', default=(), choices=list(rules),
        help='run these again and keep the stored rows of the others',
    )
    p.add_argument(
        '--steps', type=int,
        help='steps of a run (default 2500 for the map, 400 for the rules; on a GPU 10 times that)',
    )
    p.add_argument(
        '--seeds', type=int, help='seeds in each cell and for each rule (default 5 and 6; on a GPU 16)'
    )
    p.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda']
    )
    p.add_argument('--out', type=Path, default=results/'bench_rules.json')
    a, more = p.parse_args(), 1
    if a.device == 'cuda': a.seeds, more = a.seeds or 16, 10
    torch.set_num_threads(1)
    if a.only in (None, 'rules'):
        try_rules(a.out, a.steps or 400*more, a.seeds or 6, a.device, time.perf_counter(), a.rule)
    if a.only in (None, 'map'):
        draw_map(a.out, a.steps or 2500*more, a.seeds or 5, a.device, time.perf_counter())
    faults = lacking(a.out, a.device)
    for f in faults: print('LACKING ', f)
    return 1 if faults and a.check else 0


if __name__ == '__main__': sys.exit(main())
