"""Two generators of clips, of drawn faces in which one cause makes a known round: eight frames as channels,
or a latent that moves.

usage: python -m trials.clips [--check] [--only ARM ...] [--film] [--steps N] [--seeds K] [--first SEED]
[--device cpu|cuda] [--out FILE]

Both are fully connected, learn clips of one person, and are trained as `settings` says against the same
discriminator, a judge of changes and a judge of frames whose logits are added: non-saturating loss, R1, Adam
with decays 0 and .99, an average of G, rates that fall to 0 over the second half. Each arm has its own weight
of R1, from single short runs with .003 and .02; with .003 frames as channels stayed grey on one seed of five.

  frames as channels  makes all 24 channels at once
  moving latent       makes single frames; 16 latents become 8 that swing, 48 stay

Each seed makes 150 clips, which the reader of drawn faces (chapter w29) reads frame by frame. Stored are,
one a seed: `planted`, the share of clips as near to a planted motion as 98 % of real ones of anybody;
`sways`, `tilts` and `blinks`, the share of all clips that are planted and make this motion; `kept`, the share
in which wall, skin and hair colour are read the same in all frames; and `off`, the median distance from
the planted.

--film also writes nbs/images/clips.webp, eight clips each: real, and of both generators at the first seed.
--check exits with 1 if a target of the stored figures is missed.
"""
from functools import partial

import numpy as np
import torch
from ganbook.data import latents
from ganbook.losses import non_saturating
from ganbook.models.clips import (
    ClipDiscriminator, FourierMotion, MovingGenerator, draw_clips, from_planted, identity_kept, in_frames,
    motions, read_clips,
)
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import r1
from ganbook.plots import animation, enlarged
from ganbook.readers import face_reader
from ganbook.scale import interval
from ganbook.train import fit, linear_decay, new_state, sample
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, lists_of, machine, parsed, results, run_arms, stored,
    verdict, wanting,
)

T, side = 8, 16
gamma = {'frames as channels': .02, 'moving latent': .003}  # of R1
settings = dict(lr=2e-3, batch_size=16, gamma=gamma, hidden=128, hidden_frame=64)
person = dict(
    background='rose', skin='brown', hair_colour='blond', hair_style='short', glasses='without',
    beard='without', smile=0., eyes=.8, gaze=0., tilt=0., x=0., y=0., width=.52, height=.6, shirt=.5,
)


def channels():
    "All frames at once."
    return MLPGenerator((3*T, side, side), 64, [settings['hidden']]*2)

def moving():
    "One frame at a time."
    frame = MLPGenerator((3, side, side), 56, [settings['hidden']]*2)
    return MovingGenerator(frame, FourierMotion(16, 8, T))

arms = {'frames as channels': channels, 'moving latent': moving}

def state(arm, seed, device='cpu'):
    "A fresh pair."
    torch.manual_seed(seed)
    G = arms[arm]()
    clip = MLPDiscriminator((3*T, side, side), [settings['hidden']])
    frame = MLPDiscriminator((3, side, side), [settings['hidden_frame']])
    D = ClipDiscriminator(clip, frame)
    return new_state(G.to(device), D.to(device), settings['lr'], (0., .99), ema=True, seed=seed)

def train(s, arm, data, n_steps):
    "The training that both arms get."
    return fit(
        s, data, n_steps, non_saturating, [partial(r1, gamma=gamma[arm])], settings['batch_size'],
        schedule=linear_decay(.5), ema_halflife=50.,
    )

class Judge:
    "Reads clips, and knows how near real ones are to the planted motions."
    def __init__(self, n, device='cpu'):
        self.reader, self.n, self.device = face_reader().to(device), n, device
        real = as_drawn(draw_clips(n, T, side, seed=1).x.to(device))
        self.near = from_planted(read_clips(self.reader, real, T)[0])[0].quantile(.98).item()
        self.of_real = self.measures(as_drawn(draw_clips(n, T, side, seed=2, **person).x.to(device)))
    def measures(self, x):
        "Of clips in [-1,1]."
        paths, seen = read_clips(self.reader, x, T)
        off, motion, _ = from_planted(paths)
        near = off <= self.near
        shares = {name: (near & (motion == k)).double().mean() for k, name in enumerate(motions)}
        found = dict(planted=near.double().mean(), kept=identity_kept(seen).double().mean(), off=off.median())
        return {name: float(v) for name, v in (found | shares).items()}

def drawn(G, n, device):
    "Clips of the same latents each time."
    return sample(G, latents(n, G.latent_dim, torch.Generator().manual_seed(9)).to(device))

def try_arm(arm, data, judge, n_steps, seeds, device, shown):
    "The measures of the end, one a seed; `shown` gets a few clips of the first."
    rows, start = [], clock(device)
    for seed in seeds:
        untrained = judge.measures(drawn(state(arm, seed, device).G, judge.n, device))
        s = train(state(arm, seed, device), arm, data, n_steps)
        row = judge.measures(drawn(s.best, judge.n, device))
        rows.append(row | dict(untrained=untrained['planted']))
        shown.setdefault(arm, drawn(s.best, 8, device).cpu())
        print(f'   seed {seed}:', ', '.join(f'{k} {v:.3g}' for k, v in rows[-1].items()), flush=True)
    return lists_of(rows) | dict(seconds=clock(device) - start)

def line(name, row):
    return (
        f"{name:20} planted {each(row['planted'], '5.2f')}   kept {each(row['kept'], '5.2f')}"
        f"   {row['seconds']:.0f} s"
    )

def film(shown, path):
    "Rows of clips that play together: real above, then each generator."
    rows = torch.cat([in_frames(x[:8], T) for x in shown.values()])  # (3*8,T,3,S,S)
    pictures = [np.asarray(enlarged(rows[:, t], 8, scale=5)) for t in range(T)]
    path.write_bytes(animation(pictures, fps=8, hold_s=1/8, format='webp', quality=70).data)
    print(f'{path.stat().st_size/1e3:.0f} kB  {path.name}')


def missed(entry):
    "The targets that are not met, in words."
    rows = entry['rows']
    faults = wanting(rows, arms, 'clips', key='planted')
    if faults: return faults
    real = entry['of_real']
    return failing(
        (real['planted'] >= .9, f"real clips: {real['planted']:.2f} planted, at least .9"),
        (real['kept'] >= .98, f"real clips: {real['kept']:.2f} keep their face, at least .98"),
        *(
            (max(r['untrained']) == 0, f'{name}: an untrained generator makes a planted motion')
            for name, r in rows.items()
        ),
        (
            interval(rows['moving latent']['planted'])[0] > .1,
            f"moving latent: planted {interval(rows['moving latent']['planted'])}, above .1",
        ),
    )

def main():
    p = arm_options(__doc__, 'clips', arms, '1000', data=(), first=True)
    p.add_argument('--film', action='store_true', help='write nbs/images/clips.webp as well')
    p.add_argument('--samples', type=int, default=150, help='of a generator that are judged (default 150)')
    p.add_argument('--clips', type=int, default=1_000, help='to train on (default 1000)')
    a = parsed(p)
    names, kind, n_steps = chosen(p, a, arms), f'{a.device} person', a.steps or 1_000
    if names:
        data, judge = draw_clips(a.clips, T, side, **person).to(a.device), Judge(a.samples, a.device)
        shown = {}
        about = machine(a.device) | settings | dict(
            n_steps=n_steps, n_seeds=a.seeds, n_clips=a.clips, n_samples=judge.n, near=judge.near,
            of_real=judge.of_real, order=list(arms),
        )
        seeds = range(a.first, a.first + a.seeds)
        def trial(name): return try_arm(name, data, judge, n_steps, seeds, torch.device(a.device), shown)
        run_arms(names, trial, line, a.out, kind, about)
        if a.film:
            real = as_drawn(draw_clips(8, T, side, seed=3, **person).x)
            film(dict(real=real) | shown, results.parent/'nbs'/'images'/'clips.webp')
    kept = stored(a.out)
    return verdict(missed(kept[kind]) if kind in kept else [f'there is no {kind}'], a.check)


if __name__ == '__main__': raise SystemExit(main())
