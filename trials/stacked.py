"""A thousand modes: three digits as the channels of one image, and which GAN draws all of them.

usage: python -m trials.stacked [--check] [--data digits|mnist] [--only ARM ...] [--steps N] [--seeds K]
[--device cpu|cuda] [--out FILE]

A classifier reads each channel of 26,000 generated images, from the averaged generator where
there is one. Its three digits name the mode, one of 1,000. Reported for each seed: modes found
(at least one sample), KL(shares of the modes || uniform) in nats, and the share of all channels
to whose class the classifier gives a probability above .9. The same for real images, as the
bound. For MNIST the classifier is the yardstick of chapter 7. For the digits there are two: a
fully connected one (64-256-128-10, trained on all digits), for which the targets were set, and
the yardstick, a stricter judge, whose figures are stored as yardstick_modes and so on.

digits: the 8x8 digits of scikit-learn, fully connected networks, 7,000 steps of 64. Arms: r3
(relativistic loss, R1, R2, averaging), plain (non-saturating), ns (non-saturating, R1, R2,
averaging), settings (ns without R1 and R2: rate, decays, falling rate and averaging of r3),
narrow (plain, D with 16 hidden units), and relu (r3 with ReLUs in G, which chapter 13 finds so
good for points). Targets: each seed of r3 finds 1,000 modes with a KL of at most .045 and a
confident share of at least .78; each seed of plain finds at most 900, with a KL of at least .8.

mnist, for a GPU: 128,000 fixed triples of MNIST's training digits. Arm r3 is a DCGAN
without BatchNorm in D: 1,000 modes and a KL of at most .045 for each seed, a seed in
less than 30 minutes. Arm crippled has the small networks of Metz et al. (2017) as
PacGAN ran them, D with 585 parameters: at least 800 modes and a KL of at most 1.2.

Results go to results/bench_stacked.json, one entry a kind of device and data set; --only replaces these arms
and keeps the others. --check exits with 1 if the entry then lacks an arm or a seed, or misses a target. On
the CPU it looks at the digits alone, and with --only none it runs nothing.
"""
from dataclasses import dataclass
from functools import partial

import torch
from sklearn.neural_network import MLPClassifier
from torch import nn
from ganbook import data as sets
from ganbook.callbacks import every
from ganbook.data import draw, latents
from ganbook.downloads import mnist
from ganbook.losses import non_saturating, relativistic
from ganbook.metrics import kl_uniform, yardstick
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import n_params
from ganbook.train import fit, linear_decay, new_state, sample
from trials.common import as_drawn, both, clock, machine, options, parsed, rounded, store, stored, verdict

n_samples, sure = 26_000, .9


# Which mode is it?

def digit_classifier(device):
    """A fully connected classifier of the digits, 64-256-128-10, fitted
    to all of them; and its accuracy on a third that it has not seen."""
    d = sets.digits()
    x, y = as_drawn(d.x).flatten(1).numpy(), d.y.numpy()
    third = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).numpy() < len(y)//3
    make = partial(MLPClassifier, (256, 128), random_state=0, max_iter=300)
    accuracy, fitted = make().fit(x[~third], y[~third]).score(x[third], y[third]), make().fit(x, y)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10),
        nn.Softmax(1),
    ).to(device)
    with torch.no_grad():
        for layer, W, c in zip(net[1::2], fitted.coefs_, fitted.intercepts_):
            layer.weight.copy_(torch.from_numpy(W.T))
            layer.bias.copy_(torch.from_numpy(c))
    return torch.no_grad()(net), accuracy

class Counter:
    "Reads the digits of images (N,C,H,W) in [-1,1] and counts them."
    def __init__(self, name, device):
        self.judges, self.accuracy = {'': yardstick(name).to(device).probs}, None
        if name == 'digits':
            net, self.accuracy = digit_classifier(device)
            self.judges = {'': net, 'yardstick_': self.judges['']}
    def read(self, x, judge=''):
        "Mode (N,), and the probability of each channel's digit (N,C)."
        p, digit = self.judges[judge](x.flatten(0, 1)[:, None]).max(-1)
        place = 10**torch.arange(x.shape[1] - 1, -1, -1, device=digit.device)
        return (digit.view(-1, x.shape[1])*place).sum(1), p.view(-1, x.shape[1])
    def __call__(self, x):
        found = {}
        for judge in self.judges:
            mode, p = self.read(x, judge)
            counts = mode.bincount(minlength=10**x.shape[1])
            found |= {
                f'{judge}modes': (counts > 0).sum().item(), f'{judge}kl': kl_uniform(counts).item(),
                f'{judge}confident': (p > sure).double().mean().item(),
            }
        return found

def made(s, n, seed=1000):
    "Samples of the generator to show, from latents that are the same each time."
    return sample(s.best, latents(n, s.G.latent_dim, torch.Generator(s.device).manual_seed(seed), s.device))


# The networks

def mlp_pair(shape, hidden_D=(256, 256), slope=.2):
    "Three layers each; `slope` is that of G's activations below zero."
    return MLPGenerator(shape, 64, (256, 256), slope=slope), MLPDiscriminator(shape, hidden_D)

def dcgan_pair(shape):
    "Grids of 2, 4, 7, 14 and 28 pixels, as PacGAN has them; no BatchNorm in D."
    return DCGANGenerator(shape, 100, 64, smallest=2), DCGANDiscriminator(shape, 64, norm=None, smallest=2)

class Net(nn.Module):
    "Layers in a row, as a player."
    def __init__(self, shape, latent_dim, *layers):
        super().__init__()
        self.shape = shape
        self.latent_dim = latent_dim
        self.net = nn.Sequential(*layers)
    def forward(self, x, *y): return self.net(x)

def crippled_pair(shape):
    """Those of PacGAN's second protocol; D has GroupNorm over all channels where
    theirs has BatchNorm, with as many parameters and no mixing of samples."""
    def up(a, b, extra): return [nn.ConvTranspose2d(a, b, 3, 2, 1, extra), nn.BatchNorm2d(b), nn.ReLU()]
    def down(a, b): return [nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(1, b), nn.LeakyReLU(.3)]
    G = Net(
        shape, 256, nn.Linear(256, 1024), nn.Unflatten(1, (64, 4, 4)), nn.BatchNorm2d(64), nn.ReLU(),
        *up(64, 32, 0), *up(32, 16, 1), *up(16, 8, 1), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh(),
    )
    D = Net(
        shape, None, *down(3, 2), *down(2, 4), *down(4, 8), nn.Flatten(), nn.Linear(128, 1), nn.Flatten(0)
    )
    assert (n_params(G), n_params(D)) == (287_875, 585)
    return G, D


# The arms

@dataclass(frozen=True)
class Arm:
    "How one GAN is built and trained."
    pair:object=mlp_pair     # shape -> (G, D)
    loss:object=non_saturating
    penalties:tuple=()
    lr:float=2e-4
    betas:tuple=(.5, .999)
    schedule:object=None
    halflife:float=None      # of the average of G, in steps; None keeps no average
    batch_size:int=64
    n_steps:int=7_000

regular = dict(penalties=both(.05), lr=3e-3, betas=(0., .99), schedule=linear_decay(.5), halflife=250.)
gpu = dict(loss=relativistic, schedule=linear_decay(.5), halflife=1000.)
arms = dict(
    digits=dict(
        r3=Arm(loss=relativistic, **regular), plain=Arm(), settings=Arm(**regular | dict(penalties=())),
        ns=Arm(**regular), narrow=Arm(partial(mlp_pair, hidden_D=(16, 16))),
        relu=Arm(partial(mlp_pair, slope=0.), loss=relativistic, **regular),
    ),
    mnist=dict(
        r3=Arm(dcgan_pair, penalties=both(1.), lr=2e-4, betas=(0., .99), n_steps=60_000, **gpu),
        crippled=Arm(
            crippled_pair, penalties=both(.1), lr=5e-4, betas=(0., .99), batch_size=128, n_steps=400_000,
            **gpu,
        ),
    ),
)

def images(name): return sets.stacked(sets.digits() if name == 'digits' else mnist())

def run(arm, data, count, seed, n_steps, n_looks=0, n_look=2_000):
    "Train one seed; its figures at the end, and the modes among fewer samples on the way."
    torch.manual_seed(seed)
    device, averaged = data.x.device, arm.halflife is not None
    G, D = (net.to(device) for net in arm.pair(data.shape))
    s = new_state(G, D, arm.lr, arm.betas, ema=averaged, seed=seed)
    curve = []
    def look(s): curve.append((s.step, count(made(s, n_look))['modes']))
    start = clock(device)
    fit(
        s, data, n_steps, arm.loss, arm.penalties, arm.batch_size, schedule=arm.schedule,
        ema_halflife=arm.halflife or 1., callbacks=[every(max(1, n_steps//n_looks), look)] if n_looks else [],
    )
    row = dict(seed=seed, n_steps=n_steps, seconds=clock(device) - start) | count(made(s, n_samples))
    return row | dict(curve=curve, n_look=n_look)


# Targets

def lacking(entry, name, n_seeds=3):
    "Arms and seeds that the stored entry lacks, in words."
    rows = entry.get('rows', {})
    return [
        f'{arm}: {len(rows.get(arm, []))} seeds, at least {n_seeds}'
        for arm in arms[name]
        if len(rows.get(arm, [])) < n_seeds
    ]

at_most, at_least = (lambda v, t: v > t, 'at most'), (lambda v, t: v < t, 'at least')
targets = dict(
    digits=dict(
        r3=[('modes', at_least, 1000), ('kl', at_most, .045), ('confident', at_least, .78)],
        plain=[('modes', at_most, 900), ('kl', at_least, .8)],
    ),
    mnist=dict(
        r3=[('modes', at_least, 1000), ('kl', at_most, .045), ('seconds', at_most, 1800)],
        crippled=[('modes', at_least, 800), ('kl', at_most, 1.2)],
    ),
)

def missed(rows, name):
    "The targets that are not met, in words."
    return [
        f"{arm}, seed {r['seed']}: {what} {r[what]:.4g}, {words} {target}"
        for arm, wanted in targets[name].items()
        for r in rows.get(arm, [])
        for what, (wrong, words), target in wanted
        if wrong(r[what], target)
    ]

def line(start, r):
    return f"{start} {r['modes']:5} modes   KL {r['kl']:.4f}   confident {r['confident']:.3f}"

def train(names, a, kind):
    "Train the arms, and store the entry after each, with the other arms as they are."
    device, rows = torch.device(a.device), dict(stored(a.out).get(kind, {}).get('rows', {}))
    data, count = images(a.data).to(device), Counter(a.data, device)
    real = count(draw(data, n_samples, torch.Generator(device).manual_seed(0)))
    print(line(f"{'real':9} {'':30}", real), flush=True)
    for name in names:
        arm, rows[name] = arms[a.data][name], []
        for seed in range(a.seeds):
            # the first seed is followed
            r = run(arm, data, count, seed, a.steps or arm.n_steps, n_looks=0 if seed else 14)
            rows[name].append(rounded(r))
            told = f"{name:9} seed {seed}, {r['n_steps']:7,} steps, {r['seconds']:5.0f} s  "
            print(line(told, r), flush=True)
        entry = machine(a.device, with_clock=True) | dict(
            n_samples=n_samples, sure=sure, classifier_accuracy=count.accuracy, real=rounded(real), rows=rows,
            targets_missed=missed(rows, a.data),
        )
        store(a.out, kind, entry)

def main():
    p = options(__doc__, 'stacked', 'the stored entry is not whole or misses a target')
    p.add_argument('--data', choices=[*arms], help='default: digits on the CPU, mnist on a GPU')
    p.add_argument('--only', nargs='+', metavar='ARM', help='these arms; none runs nothing')
    p.add_argument('--steps', type=int, help='of every arm (default: its own)')
    p.add_argument('--seeds', type=int, default=3, help='runs of an arm (default 3)')
    a = parsed(p)
    names, known = [] if a.only == ['none'] else a.only or [*arms[a.data]], ', '.join(arms[a.data])
    for name in names:
        if name not in arms[a.data]:
            p.error(f'there is no arm {name} for {a.data}: choose from {known}, or none.')
    if a.seeds < 1 or (a.steps is not None and a.steps < 1):
        p.error('--seeds and --steps must be at least 1.')
    kind = f'{a.device} {a.data}'
    if names: train(names, a, kind)
    entry = stored(a.out).get(kind, {})
    whole = verdict(lacking(entry, a.data), a.check, 'LACKING')
    return verdict(missed(entry.get('rows', {}), a.data), a.check, 'MISSED ') or whole


if __name__ == '__main__': raise SystemExit(main())
