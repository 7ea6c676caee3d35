"""The scoreboard of chapter 15: the plain DCGAN, each cure added alone, all of them together, and what one
minute of `stable` comes to.

usage: python -m trials.stable [--check] [--data digits|mnist] [--away] [--only ARM ...] [--minute]
[--steps N] [--seeds K] [--device cpu|cuda] [--out FILE]

The plain arm is a DCGAN of width 32 on the digits: BatchNorm in both networks, non-saturating loss, Adam
1e-3 with decays .5 and .999, batches of 64. Every other arm changes what its name says and nothing else.
Penalties and spectral norm do not go with BatchNorm in D, so they take its place: `no BatchNorm in D`
(and PyTorch's initial weights, since the paper's small ones starve such a D) shows what that alone does,
and the arms below it add one thing each. The last arm is the recipe `stable`. Seeds train side by side.

At 12 moments of a run, 1,797 samples are held against the 1,797 digits in the features of the
digits' yardstick: the squared Frechet distance in units of half against half, coverage, the
share of samples whose class the yardstick names with confidence above .9, the number of digits
that make up at least 2 % each. A run fails if a digit is missing at its end. `end_over_best`
is the distance at the end over the smallest of all moments: 1 for a run that never gets worse.
Samples come from the average of G where one is kept; the last iterate is judged beside it.

--away goes the other way: from the recipe `stable`, one thing is taken away at a time, 1000 steps a run,
five seeds. The average of G does not touch training, so that the last iterate of `whole` is the arm without
it. `plain with stable's settings` has everything of stable that is not its objective: rate, Adam's decays,
falling rate and average.

--minute trains `stable` for 60 seconds of the clock on two cores, as `ganbook train` would, with 3 seeds; it
wants a machine that does nothing else, drops a run that took a fifth more or less, and adds the others to
those that are stored (the first six had one thread). On a GPU the data are MNIST with a border, 32x32, the
arms plain and stable, 50,000 steps, 5 seeds. --check exits with 1 if a target of the stored figures is
missed.
"""
import os
import time
from dataclasses import replace

import torch
from ganbook.callbacks import every, record
from ganbook.metrics import prdc
from ganbook.recipes import build, find
from ganbook.train import fit
from trials import common
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, machine, parsed, real_images, rounded,
    run_arms, store, stored, stored_rows, verdict, wanting,
)
from trials.dcgan import step_s

stable = find('stable')
plain = replace(
    find('dcgan_textbook'), name='plain', latent_dim=stable.latent_dim, width=stable.width,
    smallest=stable.smallest, lr=1e-3, batch_size=64,
)
free = replace(plain, norm_D='none', init='pytorch')  # the paper's small weights starve a D without BatchNorm
arms = {  # name -> recipe
    'plain': plain,
    'average of G': replace(plain, ema_halflife=stable.ema_halflife),
    'decay of the rates': replace(plain, decay_from=.5),
    'learning rate 3e-3': replace(plain, lr=3e-3),
    'relativistic loss': replace(plain, loss='relativistic'),
    'label smoothing, .9': replace(plain, real_label=.9),
    'noise of .3': replace(plain, noise=.3),
    'minibatch std': replace(plain, minibatch_std=True),
    'packing, 2': replace(plain, pack=2),
    'no BatchNorm in D': free,
    '... but spectral norm': replace(free, spectral=True),
    '... but R1': replace(free, r1=stable.r1),
    '... but R1 + R2': replace(free, r1=stable.r1, r2=stable.r2),
    '... but R1 + R2, relativistic': replace(free, r1=stable.r1, r2=stable.r2, loss='relativistic'),
    'all together: stable': stable,
}
settings = {k: getattr(stable, k) for k in ('lr', 'betas', 'decay_from', 'ema_halflife')}
away = {  # what is taken away from stable -> recipe, the most telling first
    'whole': stable,
    "Adam's decays .5, .999": replace(stable, betas=(.5, .999)),
    'no R1 and R2': replace(stable, r1=0., r2=0.),
    "plain with stable's settings": replace(plain, **settings),
    'BatchNorm in D for R1 and R2': replace(stable, r1=0., r2=0., norm_D='batch'),
    'no decay of the rates': replace(stable, decay_from=None),
    'non-saturating loss': replace(stable, loss='non_saturating'),
    'learning rate 1e-3': replace(stable, lr=1e-3),
    'only R1': replace(stable, r2=0.),
}
n_looks = 12


class Judge(common.Judge):
    "Measures samples against real images."
    def __init__(self, name, real, device):
        x = as_drawn(real.x.to(device))
        super().__init__(name, x, device)
        self.sure = self.confident(x).item()
    def __call__(self, G, lead):
        "All measures, one a member."
        x = self.samples(G, lead)
        f = self.eye.features(x)
        coverage = [prdc(self.real[:5000], one[:5000])['coverage'] for one in f.view(-1, *f.shape[-2:])]
        return dict(
            distance=self.frechet(x)/self.floor, coverage=torch.stack(coverage).view(lead),
            confident=self.confident(x), digits=self.kinds(x),
        )
    @property
    def about(self): return dict(floor=self.floor, n_samples=self.n, real_confident=self.sure)

def try_arm(recipe, data, judge, n_steps, n_seeds, device):
    "Distances at every look and the measures of the end, one a seed."
    s, a = build(replace(recipe, n_steps=n_steps), data, device=device, k=n_seeds)
    gap, start = max(1, n_steps//n_looks), clock(device)
    look = record(lambda s: (judge.distance(s.best, s.members), judge.distance(s.G, s.members)))
    fit(s, **a | dict(callbacks=[every(gap, look, last=True)]))
    best, last = ([v[i] for v in look.values] for i in (0, 1))
    shown, raw = torch.stack(best, -1), torch.stack(last, -1)  # (K,looks)
    end = {k: v.tolist() for k, v in judge(s.best, s.members).items()}
    return end | dict(
        steps=look.steps, distances=shown.tolist(), last_iterate=raw.tolist(),
        end_over_best=(shown[:, -1]/shown.amin(-1)).tolist(),
        last_end_over_best=(raw[:, -1]/raw.amin(-1)).tolist(), failed=[d < 10 for d in end['digits']],
        seconds=clock(device) - start,
    )

def line(name, row):
    return (
        f"{name:28} {each(row['distance'], '6.2f')}   end/best {each(row['end_over_best'], '4.2f')}   "
        f"failed {sum(row['failed'])}/{len(row['failed'])}  {row['seconds']:.0f} s"
    )

def one_minute(data, judge, seconds, n_seeds, device):
    "`stable` for a given time on the clock, with two threads where there are two cores."
    rows, n_threads = [], min(2, os.cpu_count())
    now = time.perf_counter if device.type == 'cpu' else lambda: clock(device)
    torch.set_num_threads(n_threads)
    for seed in range(n_seeds):
        n_steps = max(1, round(seconds/step_s(stable, data, device, now=now)))
        s, a = build(replace(stable, n_steps=n_steps), data, seed, device)
        start = now()
        fit(s, **a)
        took = now() - start
        row = dict(seed=seed, n_steps=n_steps, threads=n_threads, seconds=took)
        row |= {k: v.item() for k, v in judge(s.best, ()).items()}
        print(f"stable, seed {seed}:", ', '.join(f'{k} {v:.3g}' for k, v in row.items()), flush=True)
        if abs(took/seconds - 1) <= .2: rows.append(row)
        else: print(f'   not kept: it took {took:.0f} s, because the machine did something else as well')
    return rows


# Targets

gpu_arms = ('plain', 'all together: stable')

def missed_minutes(rows):
    "Targets that the runs of a minute do not reach."
    return failing(
        (len(rows) >= 3, 'one minute of stable: at least 3 seeds'),
        *((
            r['distance'] <= 1.3,
            f"one minute of stable, seed {r['seed']}: distance {r['distance']:.2f}, at most 1.3",
        ) for r in rows),
        *((
            r['confident'] >= .75,
            f"one minute of stable, seed {r['seed']}: confident {r['confident']:.2f}, at least .75",
        ) for r in rows),
    )

def missed(kept, kind):
    "The targets that are not met, in words."
    if kind not in kept: return [f'there is no {kind}']
    rows = kept[kind]['rows']
    table = away if kind.endswith('away') else arms if kind == 'cpu digits' else gpu_arms
    faults = wanting(rows, table, kind)
    if kind == 'cuda mnist':
        ends = rows.get('all together: stable', {}).get('last_end_over_best', [])
        faults += failing(*(
            (v <= 1.3, f'seed {i}: the last iterate ends at {v:.2f} times its best, at most 1.3')
            for i, v in enumerate(ends)
        ))
    if kind == 'cpu digits': faults += missed_minutes(kept.get('cpu minute', {}).get('rows', []))
    return faults

def main():
    p = arm_options(__doc__, 'stable', arms | away, '1500; with --away 1000; on a GPU 50,000')
    p.add_argument(
        '--away', action='store_true',
        help='take one thing at a time away from stable, rather than add it to plain',
    )
    p.add_argument('--minute', action='store_true', help='train stable for --seconds as well')
    p.add_argument('--seconds', type=float, default=60., help='of --minute (default 60)')
    a = parsed(p)
    names, table = chosen(p, a, arms | away), away if a.away else arms
    device, kind = torch.device(a.device), f'{a.device} {a.data}' + ' away'*a.away
    n_steps = a.steps or (50_000 if a.device == 'cuda' else 1_000 if a.away else 1_500)
    if a.only is None: names = gpu_arms if a.data == 'mnist' and not a.away else list(table)
    if strangers := ', '.join(c for c in names if c not in table):
        where = 'with' if a.away else 'without'
        p.error(f"there is no arm called {strangers} {where} --away: take some of {'; '.join(table)}.")
    data, real = real_images(a.data)
    data, judge = data.to(device), Judge(a.data, real, device)
    about = machine(a.device) | judge.about
    run_arms(
        names, lambda name: try_arm(table[name], data, judge, n_steps, a.seeds, device), line, a.out, kind,
        about | dict(n_steps=n_steps, n_seeds=a.seeds, order=list(table)),
    )
    # a minute does not hold the same number of steps twice, so earlier runs are kept beside the new ones
    if a.minute:
        minute = f'{a.device} minute'
        rows = (stored_rows(a.out, minute) or []) + one_minute(data, judge, a.seconds, 3, device)
        store(a.out, minute, rounded(about | dict(rows=rows)))
    return verdict(missed(stored(a.out), kind), a.check)


if __name__ == '__main__': raise SystemExit(main())
