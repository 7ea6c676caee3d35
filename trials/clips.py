"""Two generators of clips, of drawn faces in which one cause makes a known round: eight frames as channels,
or a latent that moves.

usage: python -m trials.clips [--who CAST] [--check] [--only ARM ...] [--film] [--steps N]
[--seeds K] [--first SEED] [--device cpu|cuda] [--out FILE]

  frames as channels  makes all 24 channels at once
  moving latent       makes single frames; 16 latents become some that swing, 48 stay

Both are trained against the same discriminator, a judge of changes and a judge of frames whose logits are
added: non-saturating loss, R1, Adam with decays 0 and .99, an average of G, rates that fall to 0 over the
second half. Settings are in `casts`.

  person   one person, fully connected networks. Each arm has its own weight of R1, from single short runs
           with .003 and .02; with .003 frames as channels stayed grey on one seed of five
  people   another person in each clip, convolutions in all networks; rate, decays, initial weights and way to
           grow as in the recipe `pictures`, with half its batch and two thirds of its channels. Weights of R1
           from single runs of 400 to 600 steps: .005, .05 and .2 for frames as channels (with .005,
           white and grey instead of faces), .005, .02 and .2 for the moving latent (with .2, cleaner faces
           that move less). The runs with .005 had a gain of 8. 24 instead of 8 latents that swing were no
           better after 300 steps
  longer   the same people and networks for 1,500 steps; stored with three seeds
  connected   the same people for 600 steps, networks and settings of the one person

Each seed makes 150 clips, which the reader of drawn faces (chapter w29) reads frame by frame. Stored are,
one a seed: `planted`, the share of clips as near to a planted motion as 98 % of real ones of anybody;
`sways`, `tilts` and `blinks`, the share of all clips that are planted and make this motion; `kept`, the share
in which wall, skin and hair colour are read the same in all frames; and `off`, the median distance from
the planted. `swing` is the median of how far the cause that moves most swings, 1 where it makes a full
round. `looks` counts wall, skin and hair colour together, of 150 that there are, in first frames. `tiles` is
a PNG of four clips of the first seed, a row each. Of real clips the same is stored, and `kept` of those with
frames in random order (`shuffled`) and of those with frames of different clips (`cut_together`).

--film also writes eight clips each, real and of both generators at the first seed: nbs/images/clips.webp of
the person, people.webp of people (stored: of those trained longer), connected.webp of the last.
--check exits with 1 if a target of the stored figures is missed. That of connected is a comparison: the
moving latent shows at least 10 looks more than frames as channels, seed by seed.
"""
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from ganbook.data import latents
from ganbook.losses import non_saturating
from ganbook.models.clips import (
    ClipDiscriminator, FourierMotion, MovingGenerator, clip_pair, draw_clips, from_planted, identity_kept,
    in_frames, motions, read_clips,
)
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import r1
from ganbook.plots import animation, enlarged
from ganbook.readers import face_reader
from ganbook.scale import interval
from ganbook.train import fit, linear_decay, new_state, sample
from trials.common import (
    arm_options, as_drawn, chosen, clock, each, failing, lists_of, machine, parsed, png, results, run_arms,
    stored, verdict, wanting,
)

T, side = 8, 16
arms = 'frames as channels', 'moving latent'

def person_pair(arm, hidden=128, hidden_frame=64):
    "Fully connected G and D."
    whole, frame = (3*T, side, side), (3, side, side)
    if arm == 'moving latent':
        G = MovingGenerator(MLPGenerator(frame, 56, [hidden]*2), FourierMotion(16, 8, T))
    else:
        G = MLPGenerator(whole, 64, [hidden]*2)
    return G, ClipDiscriminator(MLPDiscriminator(whole, [hidden]), MLPDiscriminator(frame, [hidden_frame]))

def people_pair(arm, width=32, n_moving=8):
    "G and D with convolutions."
    motion = FourierMotion(16, n_moving, T) if arm == 'moving latent' else None
    return clip_pair((3, side, side), T, motion, width=width)

@dataclass
class Cast:
    "Who is in the clips, and how they are learned."
    pair: Callable       # the name of an arm to (G, D)
    sizes: dict          # of its networks
    fixed: dict          # causes that all clips share
    gamma: dict          # of R1, for each arm
    lr: float
    n_steps: int
    n_clips: int         # to train on
    film: str            # file in nbs/images
    batch_size: int = 16
    ema_halflife: float = 50.
    def state(self, arm, seed, device='cpu'):
        "A fresh pair."
        torch.manual_seed(seed)
        G, D = self.pair(arm, **self.sizes)
        return new_state(G.to(device), D.to(device), self.lr, (0., .99), ema=True, seed=seed)
    def train(self, arm, data, seed, n_steps, device):
        "The training that both arms get."
        penalties = [partial(r1, gamma=self.gamma[arm])]
        return fit(
            self.state(arm, seed, device), data, n_steps, non_saturating, penalties, self.batch_size,
            schedule=linear_decay(.5), ema_halflife=self.ema_halflife,
        )
    def settings(self):
        "What is stored of them."
        kept = 'gamma', 'lr', 'batch_size', 'ema_halflife'
        return self.sizes | {name: getattr(self, name) for name in kept}

person = dict(
    background='rose', skin='brown', hair_colour='blond', hair_style='short', glasses='without',
    beard='without', smile=0., eyes=.8, gaze=0., tilt=0., x=0., y=0., width=.52, height=.6, shirt=.5,
)
casts = dict(
    person=Cast(
        person_pair, dict(hidden=128, hidden_frame=64), person,
        {'frames as channels': .02, 'moving latent': .003}, 2e-3, 1_000, 1_000, 'clips.webp',
    ),
    people=Cast(
        people_pair, dict(width=32, n_moving=8), {},
        {'frames as channels': .2, 'moving latent': .02}, 3e-3, 600, 2_000, 'people.webp',
    ),
)
casts['longer'] = replace(casts['people'], n_steps=1_500)
casts['connected'] = replace(casts['person'], fixed={}, n_steps=600, n_clips=2_000, film='connected.webp')


class Judge:
    "Reads clips, and knows how near real ones are to the planted motions."
    def __init__(self, n, fixed, device='cpu'):
        self.reader, self.n, self.device = face_reader().to(device), n, device
        real = as_drawn(draw_clips(n, T, side, seed=1).x.to(device))
        self.near = from_planted(read_clips(self.reader, real, T)[0])[0].quantile(.98).item()
        real = as_drawn(draw_clips(n, T, side, seed=2, **fixed).x.to(device))
        self.of_real = self.measures(real) | self.of_forged(real) | dict(tiles=png(in_frames(real[:4], T)))
    def measures(self, x):
        "Of clips in [-1,1]."
        paths, seen = read_clips(self.reader, x, T)
        off, motion, _ = from_planted(paths)
        near = off <= self.near
        shares = {name: (near & (motion == k)).double().mean() for k, name in enumerate(motions)}
        swings = paths.std(-1, correction=0).amax(-1)*2**.5  # a cosine has a deviation of 1/sqrt(2)
        found = dict(
            planted=near.double().mean(), kept=identity_kept(seen).double().mean(), off=off.median(),
            swing=swings.median(),
        )
        looks = len(seen[:, :, 0].unique(dim=0))
        return {name: float(v) for name, v in (found | shares).items()} | dict(looks=looks)
    def of_forged(self, real):
        "How often real frames in random order, and frames of different clips, are read as one person."
        rng = torch.Generator().manual_seed(4)
        frames, every = in_frames(real, T), torch.arange(len(real))[:, None]
        order = torch.rand(len(real), T, generator=rng).argsort(1)
        others = torch.rand(T, len(real), generator=rng).argsort(1).T
        forged = dict(shuffled=frames[every, order], cut_together=frames[others, torch.arange(T)])
        return {name: self.measures(x.flatten(1, 2))['kept'] for name, x in forged.items()}


def drawn(G, n, device):
    "Clips of the same latents each time."
    return sample(G, latents(n, G.latent_dim, torch.Generator().manual_seed(9)).to(device))

def try_arm(arm, cast, data, judge, n_steps, seeds, device, shown):
    "The measures of the end, one a seed; `shown` gets a few clips of the first."
    rows, start = [], clock(device)
    for seed in seeds:
        untrained = judge.measures(drawn(cast.state(arm, seed, device).G, judge.n, device))
        s = cast.train(arm, data, seed, n_steps, device)
        row = judge.measures(drawn(s.best, judge.n, device))
        rows.append(row | dict(untrained=untrained['planted']))
        shown.setdefault(arm, drawn(s.best, 8, device).cpu())
        print(f'   seed {seed}:', ', '.join(f'{k} {v:.3g}' for k, v in rows[-1].items()), flush=True)
    tiles = png(in_frames(shown[arm][:4], T))
    return lists_of(rows) | dict(seconds=clock(device) - start, tiles=tiles)

def line(name, row):
    return (
        f"{name:20} planted {each(row['planted'], '5.2f')}   kept {each(row['kept'], '5.2f')}"
        f"   looks {each(row['looks'], 'd')}   {row['seconds']:.0f} s"
    )

def film(shown, path):
    "Rows of clips that play together: real above, then each generator."
    rows = torch.cat([in_frames(x[:8], T) for x in shown.values()])  # (3*8,T,3,S,S)
    pictures = [np.asarray(enlarged(rows[:, t], 8, scale=5)) for t in range(T)]
    path.write_bytes(animation(pictures, fps=8, hold_s=1/8, format='webp', quality=70).data)
    print(f'{path.stat().st_size/1e3:.0f} kB  {path.name}')


aims = dict(  # what the moving latent must reach, also at the worse end of its interval
    person=('planted', .1), people=('looks', 60), longer=('looks', 30),
    connected=('more looks', 10),  # than frames as channels of the same seed
)

def measured(rows, measure):
    "Of the moving latent, one a seed."
    plain, moving = (rows[arm] for arm in arms)
    if measure != 'more looks': return moving[measure]
    return [a - b for a, b in zip(moving['looks'], plain['looks'])]

def missed(entry, who='person'):
    "The targets that are not met, in words."
    rows = entry['rows']
    faults = wanting(rows, arms, 'clips', key='planted', least=3 if who == 'longer' else 5)
    if faults: return faults
    real = entry['of_real']
    measure, aim = aims[who]
    reached = interval(measured(rows, measure))
    return failing(
        (real['planted'] >= .9, f"real clips: {real['planted']:.2f} planted, at least .9"),
        (real['kept'] >= .98, f"real clips: {real['kept']:.2f} keep their face, at least .98"),
        *(
            (max(r['untrained']) == 0, f'{name}: an untrained generator makes a planted motion')
            for name, r in rows.items()
        ),
        (reached[0] > aim, f"moving latent: {measure} {reached}, above {aim}"),
    )

def main():
    p = arm_options(__doc__, 'clips', arms, '1000, or as above', data=(), first=True)
    p.add_argument('--who', choices=casts, default='person', help='in the clips (default person)')
    p.add_argument('--film', action='store_true', help='write the film in nbs/images as well')
    p.add_argument('--samples', type=int, default=150, help='of a generator that are judged (default 150)')
    p.add_argument('--clips', type=int, help='to train on (default 1000 of the person, else 2000)')
    a = parsed(p)
    cast, names, kind = casts[a.who], chosen(p, a, arms), f'{a.device} {a.who}'
    if names:
        n_steps, n_clips = a.steps or cast.n_steps, a.clips or cast.n_clips
        data = draw_clips(n_clips, T, side, **cast.fixed).to(a.device)
        judge, shown = Judge(a.samples, cast.fixed, a.device), {}
        about = machine(a.device) | cast.settings() | dict(
            n_steps=n_steps, n_seeds=a.seeds, n_clips=n_clips, n_samples=judge.n, near=judge.near,
            of_real=judge.of_real, order=list(arms),
        )
        seeds = range(a.first, a.first + a.seeds)
        device = torch.device(a.device)
        def trial(name): return try_arm(name, cast, data, judge, n_steps, seeds, device, shown)
        run_arms(names, trial, line, a.out, kind, about)
        if a.film:
            real = as_drawn(draw_clips(8, T, side, seed=3, **cast.fixed).x)
            film(dict(real=real) | shown, results.parent/'nbs'/'images'/cast.film)
    kept = stored(a.out)
    return verdict(missed(kept[kind], a.who) if kind in kept else [f'there is no {kind}'], a.check)


if __name__ == '__main__': raise SystemExit(main())
