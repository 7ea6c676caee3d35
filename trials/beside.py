"""Chapter 26's comparison: a GAN beside a VAE and a small diffusion model, at equal cost of training.

usage: python -m trials.beside [--check] [--kind ring|faces] [--only ARM ...] [--steps N] [--seeds K]
[--first I] [--out FILE]

`GAN` is the recipe `points` on the ring, and `pictures` on 5,000 faces of 16x16 pixels, for --steps steps.
`VAE` is the same pair of networks, D with another last layer as the encoder. `diffusion` guesses velocities
on straight paths from noise (flow matching) with one network that has about as many numbers as the pair.
Both have one arm that trains for as many multiply-adds as the GAN, counted by running a step (double
gradients of penalties too), and one that trains for as much processor time, measured before. Learning
rates, batches, and the beta and latents of the VAE were chosen with seed 100, which is none of the trial's.

ring: of 2,500 samples `good`, the share within three standard deviations of a mode; `modes`, those with at
least 20 good samples; `kl`, nats from equal shares to those of the modes; `width`, the root mean square
distance of good samples from their mode, over that of the data.

faces: of 1,000 samples `distance`, the squared Fréchet distance in the features of the faces' reader, in
units of half of 2,000 real faces against the rest; `sure`, the share whose kind the reader names with a
probability above .9; `sure_causes`, that share of single causes; `kinds`, different kinds that are surely
read; `precision` and `recall`. `tiles` is a PNG of what the first two seeds draw from the same latents, a
row each.

`ms` are milliseconds of processor time for a sample, in batches of 100; `seconds` those of training.
`by_steps` has, for one diffusion arm, the same measures for other numbers of steps of its sampler.
"""
import statistics
from dataclasses import replace
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from ganbook import data as sets
from ganbook.data import to_units
from ganbook.metrics import mode_coverage, neighbours
from ganbook.models.others import Flow, ImageVelocity, PointVelocity, VAE, descend, flow_loss, vae_loss
from ganbook.nets import n_params
from ganbook.recipes import build, find, networks
from ganbook.train import fit, sample
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, fixed_latents, lists_of, machine, mean, parsed, png,
    run_arms, stored, verdict, wanting,
)
from trials.sights import drawn
from trials.style import Faces

size = 16
recipes = dict(
    ring=replace(find('points'), n_steps=2_500, ema_halflife=100.),
    faces=replace(find('pictures'), n_steps=800),
)
arms = 'GAN', 'VAE', 'VAE, time', 'diffusion', 'diffusion, time'
by_steps = 'diffusion'  # the arm that is looked at with other numbers of steps
n_euler = 16
all_euler = 1, 2, 4, 8, 16, 32
told = dict(
    ring=('good', 'modes', 'kl', 'width'),
    faces=('distance', 'sure', 'sure_causes', 'kinds', 'precision', 'recall'),
)
settings = dict(  # what was tuned, for `descend`
    ring={'VAE': dict(batch_size=256, lr=2e-3), 'diffusion': dict(batch_size=256, lr=4e-3)},
    faces={'VAE': dict(batch_size=32, lr=4e-3), 'diffusion': dict(batch_size=32, lr=2e-3)},
)
latent_dims, betas = dict(ring=2, faces=32), dict(ring=.03, faces=1.)  # of the VAE


# The three of them

class World:
    "What is imitated, by whom, and who judges."
    def __init__(self, kind):
        self.kind, self.recipe = kind, recipes[kind]
        self.data = sets.ring() if kind == 'ring' else sets.faces(size=size)
        self.n_judged = 2_500 if kind == 'ring' else 1_000
        self.judge = None if kind == 'ring' else Faces(self.n_judged)

    def started(self, method, seed):
        "A VAE or the network of a diffusion model, untrained, and its loss."
        if method == 'VAE':
            recipe = replace(self.recipe, latent_dim=latent_dims[self.kind])
            net = VAE(*networks(recipe, self.data.shape, seed))
            return net, partial(vae_loss, beta=betas[self.kind])
        torch.manual_seed(seed)
        net = PointVelocity() if self.kind == 'ring' else ImageVelocity(self.data.shape)
        return net, flow_loss

    def trained(self, method, n_steps, seed):
        "A generator, or what takes its place, after its training."
        if method == 'GAN':
            s, a = build(replace(self.recipe, n_steps=n_steps), self.data, seed, 'cpu')
            return fit(s, **a).best
        net = descend(
            *self.started(method, seed), self.data, n_steps, seed=seed, **settings[self.kind][method]
        )
        return net.G if method == 'VAE' else Flow(net, self.data.shape, n_euler)

    def size_of(self, method):
        "Numbers that a method learns."
        if method != 'GAN': return n_params(self.started(method, 0)[0])
        return sum(map(n_params, networks(self.recipe, self.data.shape)))

    def measures(self, G):
        "What the samples of a generator are like."
        return self.seen(sample(G, fixed_latents(self.n_judged, G)))

    def of_real(self):
        "The same of as many real samples."
        if self.kind == 'ring': return self.seen(sets.ring(self.n_judged, seed=2).x/self.data.scale)
        return self.seen(as_drawn(sets.faces(self.n_judged, size, seed=2).x))

    def seen(self, x):
        "What samples are like, in the range of the data as drawn."
        if self.kind == 'faces':
            found = self.judge.spread(x)
            return {name: found[name] for name in told['faces']}
        x = to_units(self.data, x)
        found = {k: v.item() for k, v in mode_coverage(x, self.data.modes, self.data.std).items()}
        off, _ = neighbours(x, self.data.modes)
        off = off[off <= 3*self.data.std]
        width = (off.square().mean()/2).sqrt().item()/self.data.std if len(off) else 0.
        return dict(good=found['hq'], modes=found['modes'], kl=found['kl'], width=width)


# What it costs

class Counter(TorchDispatchMode):
    "Counts multiply-adds of convolutions and matrix products, in gradients of gradients too."
    n = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count: self.n += count(*args, **(kwargs or {}), out_val=out)//2
        return out

def macs_a_step(world, method):
    "Multiply-adds of a step of training, counted as it runs."
    with Counter() as counter: world.trained(method, 1, 0)
    return counter.n

def seconds_a_step(world, method, n=40):
    "Processor time of a step: a longer run less a shorter one, the least of three."
    def run(k):
        start = clock('cpu')
        world.trained(method, k, 0)
        return clock('cpu') - start
    run(2)
    return min(run(n + 5) - run(5) for _ in range(3))/n

def ms_a_sample(G, n=100):
    "Milliseconds of processor time, median of five batches."
    z, times = fixed_latents(n, G), []
    for _ in range(6):
        start = clock('cpu')
        sample(G, z)
        times.append(clock('cpu') - start)
    return 1e3*statistics.median(times[1:])/n

def costs(world):
    "Method -> numbers learned, multiply-adds and seconds of a step."
    return {
        m: dict(n_params=world.size_of(m), macs=macs_a_step(world, m), step_s=seconds_a_step(world, m))
        for m in ('GAN', 'VAE', 'diffusion')
    }

def n_steps_of(arm, cost, n_steps):
    "Steps of an arm that cost as much as `n_steps` of the GAN."
    method, _, by = arm.partition(', ')
    what = 'step_s' if by else 'macs'
    return max(1, round(n_steps*cost['GAN'][what]/cost[method][what]))


# A trial

def one(world, arm, n_steps, seed):
    "A run: what was measured of it, and a few samples."
    start = clock('cpu')
    G = world.trained(arm.partition(',')[0], n_steps, seed)
    row = dict(seconds=clock('cpu') - start) | world.measures(G) | dict(ms=ms_a_sample(G))
    print(f'   seed {seed}:', ', '.join(f'{k} {v:.3g}' for k, v in row.items()), flush=True)
    if arm == by_steps:
        looked = {n: world.measures(Flow(G.net, G.shape, n)) for n in all_euler if n != n_euler}
        looked[n_euler] = {name: row[name] for name in told[world.kind]}
        row['by_steps'] = lists_of([looked[n] for n in all_euler])
    return row, drawn(G, 'cpu')

def try_arm(world, arm, n_steps, seeds):
    "All seeds of an arm: a list for each thing measured."
    rows, pictures = zip(*(one(world, arm, n_steps, seed) for seed in seeds))
    row = lists_of(rows) | dict(n_steps=n_steps)
    return row | dict(tiles=png(torch.stack(pictures[:2]))) if world.kind == 'faces' else row

def line(kind):
    def say(name, row):
        return f'{name:16} ' + '  '.join(f"{k} {each(row[k], '.3f')}" for k in told[kind])
    return say


# Targets

def missed(kept):
    "The targets that are not met, in words."
    faults = []
    for kind in recipes:
        if kind not in kept: faults.append(f'there is no {kind}')
        else: faults += wanting(kept[kind]['rows'], arms, kind, key='ms')
    if faults: return faults
    few = min(mean(row['modes']) for row in kept['ring']['rows'].values())
    return failing((few >= 7, f'ring: {few:.1f} modes on average, at least 7'))

def main():
    p = arm_options(__doc__, 'beside', arms, 'those of the recipe here', data=(), first=True)
    p.add_argument('--kind', choices=list(recipes), default='ring', help='default: ring')
    a = parsed(p)
    names = chosen(p, a, arms)
    if names:
        world = World(a.kind)
        n_steps, cost = a.steps or world.recipe.n_steps, costs(world)
        about = machine() | dict(
            n_steps=n_steps, n_seeds=a.seeds, costs=cost, n_euler=n_euler, all_euler=all_euler,
            settings=settings[a.kind], beta=betas[a.kind], latent_dim=latent_dims[a.kind],
            recipe=world.recipe.name, order=arms, of_real=world.of_real(),
        )
        seeds = range(a.first, a.first + a.seeds)
        def trial(arm): return try_arm(world, arm, n_steps_of(arm, cost, n_steps), seeds)
        run_arms(names, trial, line(a.kind), a.out, a.kind, about)
    return verdict(missed(stored(a.out)), a.check)


if __name__ == '__main__': raise SystemExit(main())
