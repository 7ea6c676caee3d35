"""Learning rates as a map, and each rule of DCGAN on trial.

    python -m trials.rules [--check] [--only map|rules] [--rule NAME ...] [--seeds K]
    [--device cpu|cuda] [--out FILE]

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
import copy
import math
import time
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from ganbook import data as sets
from ganbook.data import to_units
from ganbook.ensemble import members
from ganbook.losses import non_saturating
from ganbook.metrics import mode_coverage
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator, normal_init, upsampled
from ganbook.penalties import r1
from ganbook.train import average, fit, linear_decay, new_state, sample
from trials import common
from trials.common import (
    as_drawn, fixed_latents, machine, options, parsed, point_pair, rounded, store, stored, verdict,
)


# The map

rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
least_modes, least_hq = 8, .25

def point_state(lr_G, lr_D, seed, device):
    torch.manual_seed(seed)
    G, D = point_pair((64, 64))
    return new_state(G.to(device), D.to(device), lr_G, (0., .9), lr_D, ema=True, seed=seed)

def row(lr_D, penalties, n_steps, n_seeds, device):
    "Modes and share of good samples (rates of G, seeds) at one learning rate of D."
    ring, k = sets.ring(), len(rates)*n_seeds
    s = members(lambda i: point_state(rates[i//n_seeds], lr_D, i % n_seeds, device), k)
    fit(s, ring, n_steps, non_saturating, penalties, schedule=linear_decay(.5))
    x = to_units(ring, sample(s.best, fixed_latents(2500, s.best, (k,), device))).cpu()
    found = mode_coverage(x.nan_to_num(99., 99., -99.), ring.modes, ring.std)
    return {name: found[name].view(len(rates), n_seeds).tolist() for name in ('modes', 'hq')}

def draw_map(out, n_steps, n_seeds, device):
    "Rows by learning rate of D, one map without a penalty and one with R1."
    maps, start = dict(plain=[], r1=[]), time.perf_counter()
    for name, penalties in (('plain', []), ('r1', [partial(r1, gamma=.1)])):
        for lr_D in rates:
            cells = row(lr_D, penalties, n_steps, n_seeds, device)
            maps[name].append(cells)
            healthy = [
                sum(m >= least_modes and q >= least_hq for m, q in zip(*cell))
                for cell in zip(cells['modes'], cells['hq'])
            ]
            took = f'({time.perf_counter() - start:.0f} s)'
            print(f'{name:6} D {lr_D:7.0e}:', *(f'{h}/{n_seeds}' for h in healthy), took, flush=True)
    store(
        out, key('map', device),
        machine(device) | dict(
            rates=rates, n_seeds=n_seeds, n_steps=n_steps, gamma=.1, least_modes=least_modes,
            least_hq=least_hq, seconds=round(time.perf_counter() - start, 1), maps=rounded(maps),
        ),
    )


# The rules

def key(kind, device): return kind if device == 'cpu' else f'{kind} {device}'

class Judge(common.Judge):
    "The digits at 16x16, and how far samples are from them, averaged down to 8x8."
    def __init__(self, device):
        small = sets.digits()
        x = F.interpolate(small.x.float(), scale_factor=2, mode='bilinear').round().to(torch.uint8)
        self.data = replace(small, x=x, name='digits at 16x16')
        super().__init__('digits', self.down(as_drawn(x).to(device)), device, n=2000)
    def down(self, x): return F.avg_pool2d(x.flatten(0, -4), 2).unflatten(0, x.shape[:-3])
    def score(self, G, k, low):
        "Fréchet distance and number of digits drawn, one each a member."
        x = self.down((self.samples(G, (k,)) - low)*2/(1 - low) - 1)
        return self.frechet(x).tolist(), self.kinds(x).tolist()

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

def rows_of(rule): return (rule, *averages) if rule == 'all rules kept' else (rule,)

def try_rule(name, judge, n_steps, n_seeds, device):
    "Row -> distances at half time and at the end, and digits; one run, its seeds side by side."
    how = dict(rules[name])
    low = how.pop('low', -1.)
    s = members(lambda i: image_state(i, device, **how), n_seeds)
    kept = {row: copy.deepcopy(s.G) for row in rows_of(name)[1:]}
    def keep(s):
        for row, net in kept.items(): average(net, s.G, averages[row])
    rows = {row: {} for row in rows_of(name)}
    for when, n in (('half', n_steps//2), ('end', n_steps)):
        data = replace(judge.data, low=low)
        fit(s, data, n, non_saturating, batch_size=32, callbacks=[keep] if kept else [])
        for row, net in ({name: s.G} | kept).items():
            rows[row][when], rows[row]['digits'] = judge.score(net, n_seeds, low)
    return rows

def try_rules(out, n_steps, n_seeds, device, only=()):
    "All rules, each stored as it ends; with `only`, those are run again and the other rows stay as stored."
    judge, start = Judge(device), time.perf_counter()
    old = stored(out)[key('rules', device)] if only else dict(rows={}, seconds=0.)
    rows = old['rows']
    order = [name for rule in rules for name in rows_of(rule)]
    for name in only or rules:
        found = try_rule(name, judge, n_steps, n_seeds, device)
        took = time.perf_counter() - start
        rows |= found
        for row, r in found.items():
            print(f'{row:34}', *(f'{v:6.1f}' for v in r['end']), f'({took:.0f} s)', flush=True)
        about = dict(
            n_seeds=n_seeds, n_steps=n_steps, width=8, lr=1e-3, batch_size=32, floor=rounded(judge.floor),
            order=[name for name in order if name in rows], least_digits=3,
            seconds=old['seconds'] or round(took, 1), rows=rounded(rows),
        )
        store(out, key('rules', device), machine(device) | about)


def lacking(path, device):
    "What the stored file lacks, in words."
    kept, faults = stored(path), []
    table, board = (kept.get(key(kind, device)) for kind in ('map', 'rules'))
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
    p = options(__doc__, 'rules', 'the stored file is not whole in the end')
    p.add_argument('--only', choices=['map', 'rules', 'none'], help='one of the two, or none')
    p.add_argument(
        '--rule', nargs='*', default=(), choices=list(rules),
        help='run these again and keep the stored rows of the others',
    )
    steps = 'default 2500 for the map, 400 for the rules; on a GPU 10 times that'
    p.add_argument('--steps', type=int, help=f'steps of a run ({steps})')
    seeds = 'default 5 and 6; on a GPU 16'
    p.add_argument('--seeds', type=int, help=f'seeds in each cell and for each rule ({seeds})')
    a, more = parsed(p), 1
    if a.device == 'cuda': a.seeds, more = a.seeds or 16, 10
    if a.only in (None, 'rules'): try_rules(a.out, a.steps or 400*more, a.seeds or 6, a.device, a.rule)
    if a.only in (None, 'map'): draw_map(a.out, a.steps or 2500*more, a.seeds or 5, a.device)
    return verdict(lacking(a.out, a.device), a.check, 'LACKING')


if __name__ == '__main__': raise SystemExit(main())
