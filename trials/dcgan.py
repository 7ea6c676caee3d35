"""What one minute buys: the DCGAN of chapter 9 beside the fully connected GAN of chapter 6, under the metrics
of chapter 7.

usage: python -m trials.dcgan [--check] [--data digits|mnist] [--seconds S] [--seeds N]
[--device cpu|cuda] [--out FILE]

Every run gets the same time: the speed of a recipe is taken on a copy that is thrown away,
and the number of steps is what `--seconds` (default 60) buy, so that its decay of the
rates ends with the run. On the CPU the clock is this process's own processor time on one
thread, on a GPU the wall clock. Three recipes: dcgan, the same with upsampling, and mlp.

Of the averaged generator: the smallest share of a class among as many samples as there are real
images, the Frechet distance in the features of the yardstick in units of half the real images
against the other half, and the power in the finest alternation of pixels (`checkerboard`), beside
that of the real images. The data are the digits on the CPU and MNIST with a border, 32x32, on a GPU.

--check exits with 1 if a target is missed. Digits: every class at least 4 % and the distance at most 4, for
each seed of
dcgan. MNIST: the distance of dcgan at most a third of that of mlp. Results go to results/bench_dcgan.json,
one entry a kind
of device and data set.
"""
from dataclasses import replace

import torch
from ganbook.data import latents
from ganbook.models.dcgan import checkerboard
from ganbook.recipes import build, find
from ganbook.train import fit, sample
from trials import common
from trials.common import (
    as_drawn, clock, failing, machine, mean, options, parsed, real_images, rounded, store, verdict,
)

variants = {
    'dcgan': find('dcgan'), 'dcgan, upsampled': replace(find('dcgan'), up='upsampled'), 'mlp': find('mlp'),
}


class Judge(common.Judge):
    "Measures as many samples as there are real images, other ones for each seed."
    def __call__(self, G, seed):
        rng = torch.Generator(self.device).manual_seed(1000 + seed)
        x = sample(G, latents(self.n, G.latent_dim, rng, self.device))
        shares = self.eye.probs(x).argmax(-1).bincount(minlength=10).double()/self.n
        return dict(
            smallest_share=shares.min().item(), distance=self.frechet(x).item()/self.floor,
            checkerboard=checkerboard(x).item(),
        )


# Training against the clock

def step_s(recipe, data, device, n=100, now=None):
    """Seconds a step by the clock `now`, of a copy that is
    thrown away; the first steps set up, record and warm."""
    s, a = build(recipe, data, device=device)
    times, now = [], now or (lambda: clock(device))
    def look(s):
        if s.step in (20, 20 + n): times.append(now())
    fit(s, **a | dict(n_steps=20 + n, callbacks=[look]))
    return (times[1] - times[0])/n

def run(recipe, data, seed, seconds, device, judge):
    "One run of `seconds`, and what it came to."
    n_steps = max(1, round(seconds/step_s(recipe, data, device)))
    s, a = build(recipe, data, seed, device)
    start = clock(device)
    fit(s, **a | dict(n_steps=n_steps))
    return dict(seed=seed, n_steps=n_steps, seconds=clock(device) - start) | judge(s.best, seed)

def line(name, r):
    return (
        f"{name:18} {r['n_steps']:7,} steps in {r['seconds']:5.1f} s   smallest class "
        f"{r['smallest_share']:6.1%}   distance {r['distance']:6.2f}   checkerboard {r['checkerboard']:.4f}"
    )

def missed(name, rows):
    "The targets that are not met, in words."
    if name == 'mnist':
        ours, theirs = (mean([r['distance'] for r in rows[k]]) for k in ('dcgan', 'mlp'))
        return failing((ours <= theirs/3, f'dcgan {ours:.1f}, mlp {theirs:.1f}: at most a third'))
    return [fault for r in rows['dcgan'] for fault in failing(
        (
            r['smallest_share'] >= .04,
            f"seed {r['seed']}: a class has {r['smallest_share']:.1%} of the samples, at least 4 %",
        ),
        (r['distance'] <= 4, f"seed {r['seed']}: distance {r['distance']:.2f}, at most 4"),
    )]

def main():
    p = options(__doc__, 'dcgan', 'a target is missed')
    p.add_argument('--data', choices=['digits', 'mnist'], help='default: digits on the CPU, mnist on a GPU')
    p.add_argument('--seconds', type=float, default=60., help='of a run (default 60)')
    p.add_argument('--seeds', type=int, default=3, help='runs of a recipe (default 3)')
    a = parsed(p)
    if a.seeds < 2 or not a.seconds > 0:
        p.error('--seeds must be at least 2, for an interval, and --seconds above 0.')
    device, rows = torch.device(a.device), {}
    data, real = real_images(a.data)
    x = as_drawn(real.x.to(device))
    data, judge = data.to(device), Judge(a.data, x, device)
    for name, recipe in variants.items():
        rows[name] = []
        for seed in range(a.seeds):
            rows[name].append(run(recipe, data, seed, a.seconds, device, judge))
            print(line(name, rows[name][-1]), flush=True)
    faults = missed(a.data, rows)
    about = machine(device, with_clock=True) | dict(
        seconds=a.seconds, n_samples=judge.n, floor=judge.floor, real_checkerboard=checkerboard(x).item(),
        targets_missed=faults, rows=rows,
    )
    store(a.out, f'{a.device} {a.data}', rounded(about))
    return verdict(faults, a.check)


if __name__ == '__main__': raise SystemExit(main())
