"""The seventeen tips of 'How to train a GAN?' (Chintala, Denton, Arjovsky and Mathieu 2016), each as a change
to one bench.

    python -m trials.ganhacks [--check] [--only ARM ...] [--steps N] [--seeds K] [--out FILE]

The bench: a DCGAN of width 8 on the 8x8 digits, two layers of stride 2 in each network, batches of
32, Adam at 1e-3 (.5, .999) for both players. It keeps the tips that every DCGAN keeps: inputs in
[-1,1] and a tanh, the non-saturating loss, normal latents, BatchNorm on batches of one kind, a leaky
ReLU in D. An arm takes one of them away, or adds another. The seeds train side by side as members.

The score is the squared Fréchet distance between the 1,797 digits and 1,000 samples in the features
of the digits' yardstick, at half time and at the end. A run fails if fewer than 8 of the 10 digits
make up 2 % of its samples each. After the first tenth of a run, what tip 10 tells us to look at is
noted as well, and what ganbook.doctor says. Where optimisers or architectures are compared, each
gets the best of a few learning rates, chosen on seeds from 100 on, at half the length.

Stored is one number a seed, in results/bench_ganhacks.json, after every arm; a second call
goes on where the first stopped, and arms that are named by --only are trained again. Appendix
a3 draws intervals and verdicts from the file. --check exits with 1 if it is not whole. """
import copy
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import nn
from ganbook import data as sets
from ganbook.data import latents
from ganbook.doctor import diagnose, diseases
from ganbook.ensemble import members
from ganbook.faults import too_early, unequal_rates
from ganbook.losses import GANLoss, bce, minimax, non_saturating, smooth
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator, normal_init
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import frozen
from ganbook.train import TrainState, adam, alternating, d_step, fit, g_step, new_state
from trials.common import (
    Judge, as_drawn, each, machine, mean, options, parsed, rounded, store, stored, verdict,
)

shape = (1, 8, 8)
latent_dim = 100
width = 8
batch_size = 32
lr = 1e-3
betas = (.5, .999)
least_digits, least_share = 8, .02
leaky = partial(nn.LeakyReLU, .2)


# What an arm may change

@dataclass
class Run:
    """What an iteration may want to know beside the state: its length,
    and random numbers other than those of batches and latents."""
    n_steps: int
    rngs: list = field(default_factory=list)

def normal(run, like):
    "Standard normal numbers of the shape of a batch (K,B,...)."
    return latents(like.shape[1], like[0, 0].numel(), run.rngs).view(like.shape)

def uniform(run, like): return .5 + .5*torch.erf(normal(run, like)/2**.5)

def plain(run): return alternating

@dataclass(frozen=True)
class Arm:
    "One change of the bench."
    G: dict = field(default_factory=dict)  # options of DCGANGenerator
    D: dict = field(default_factory=dict)  # and of DCGANDiscriminator
    pair: Callable = None                  # (G, D) -> (G, D), or () -> (G, D) if nothing is left of the DCGAN
    low: float = -1.                       # black
    loss: GANLoss = non_saturating
    update: Callable = plain               # Run -> one iteration, as `fit` takes it
    n_critic: int = 1
    labels: bool = False
    sgd: str = ''                          # the players that have plain SGD in place of Adam
    rates: tuple = ()                      # learning rates to choose from, for SGD or, without it, for Adam
    also: dict = field(default_factory=dict)  # name of another row -> what to do to the trained G for it


# Networks

class Uniform(nn.Module):
    "Normal numbers to uniform ones in [-1,1]."
    def forward(self, z): return torch.erf(z/2**.5)

class Noise(nn.Module):
    "Adds normal noise, in training and after it."
    def __init__(self, std=.2):
        super().__init__()
        self.std = std
    def forward(self, x): return x + self.std*torch.randn_like(x)

class Dropout(nn.Module):
    "Sets half of the numbers to 0, also after training unless `always` is switched off."
    always = True
    def forward(self, x): return F.dropout(x, .5, self.always or self.training)

def always_off(G):
    for m in G.modules():
        if isinstance(m, Dropout): m.always = False

def pooled(pool, n_in, n_out, large, small, bias):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=bias), pool(2))

def instance(n): return nn.InstanceNorm2d(n, affine=True)

def with_uniform(G, D):
    G.net = nn.Sequential(Uniform(), *G.net)
    return G, D

def after_each(layer, G, D):
    "One more layer after every bend of G."
    layers = []
    for m in G.net: layers += [m, layer()] if isinstance(m, nn.ReLU) else [m]
    G.net = nn.Sequential(*layers)
    return G, D

def fully_connected(): return MLPGenerator(shape, latent_dim, (64, 64)), MLPDiscriminator(shape, (64, 64))

class Discriminating(nn.Module):
    """D with minibatch discrimination (Salimans et al. 2016): how close
    each sample is to the others, in 16 ways, beside its features."""
    def __init__(self, D, n=16, c=8):
        super().__init__()
        f = D.net[-1].in_features
        self.body = D.net[:-1]
        self.ways = nn.Sequential(nn.Linear(f, n*c, bias=False), nn.Unflatten(1, (n, c)))
        self.head = nn.Linear(f + n, 1)
        normal_init(self.ways), normal_init(self.head)
    def forward(self, x, *y):
        h = self.body(x)
        m = self.ways(h)
        near = torch.exp(-(m[:, None] - m).abs().sum(-1)).sum(1) - 1
        return self.head(torch.cat([h, near], -1)).squeeze(-1)

def one_hot(): return nn.Embedding.from_pretrained(torch.eye(10))

class LabelledG(nn.Module):
    "A DCGAN whose latents have a code of the label beside them."
    def __init__(self, code):
        super().__init__()
        self.code = code
        self.latent_dim = latent_dim
        self.shape = shape
        self.inner = DCGANGenerator(shape, latent_dim + code.embedding_dim, width, smallest=2)
    def forward(self, z, y): return self.inner(torch.cat([z, self.code(y)], -1))

class LabelledD(nn.Module):
    """A DCGAN that sees the label as further channels of the image: a
    channel a number of the code, or one made of them by `spread`."""
    def __init__(self, code, spread=None):
        super().__init__()
        self.code, self.spread = code, spread
        channels = 1 + (1 if spread else code.embedding_dim)
        self.inner = DCGANDiscriminator((channels, *shape[1:]), width, smallest=2)
    def forward(self, x, y):
        c = self.code(y)
        if self.spread: c = self.spread(c).unflatten(-1, shape)
        else: c = c[:, :, None, None].expand(-1, -1, *shape[1:])
        return self.inner(torch.cat([x, c], -3))

class ClassifyingD(nn.Module):
    """D with a second head that names the digit (Odena et al. 2017).
    Given one-hot labels it returns the logit and log p(label), (B,2)."""
    def __init__(self, D):
        super().__init__()
        self.body = D.net[:-1]
        self.head = D.net[-1]
        self.classes = nn.Linear(D.net[-1].in_features, 10)
        normal_init(self.classes)
    def forward(self, x, y):
        h = self.body(x)
        logits = self.head(h).squeeze(-1)
        if not y.is_floating_point(): return logits
        return torch.stack([logits, (self.classes(h).log_softmax(-1)*y).sum(-1)], -1)

def labelled(G, D): return LabelledG(one_hot()), LabelledD(one_hot())
def embedded(G, D):
    return LabelledG(nn.Embedding(10, 4)), LabelledD(nn.Embedding(10, 4), nn.Linear(4, math.prod(shape)))
def classified(G, D): return LabelledG(one_hot()), ClassifyingD(D)


# Members without vmap

@cache
def taps(turned, size, kernel, stride, padding):
    "Which input pixel each tap of a kernel carries to which output pixel, (taps,H',W',pixels in)."
    pixels = torch.eye(math.prod(size)).view(-1, 1, *size)
    each = torch.eye(math.prod(kernel)).view(-1, 1, *kernel)
    if turned: out = F.conv_transpose2d(pixels, each.transpose(0, 1), None, stride, padding)
    else: out = F.conv2d(pixels, each, None, stride, padding)
    return out.permute(1, 2, 3, 0).contiguous()

class Side(nn.Module):
    """The DCGANs of `stacked` with the members' channels side by side, (B,K*C,H,W). It computes
    what `stacked` does, from the same weights, in two thirds of the time: images of 8x8 are so
    small that a strided convolution is quickest as one product with a matrix made of its kernel."""
    def __init__(self, stacked):
        super().__init__()
        self.stacked = stacked
        self.k = stacked.k
        self.is_G = isinstance(stacked.net, DCGANGenerator)
        if self.is_G: self.latent_dim = stacked.latent_dim
    def member(self, i): return self.stacked.member(i)
    def forward(self, x, *y):
        h = self.layer(self.stacked.net.net, x.transpose(0, 1).flatten(1, 2))
        return h.unflatten(1, (self.k, -1) if self.is_G else (self.k,)).transpose(0, 1)
    def layer(self, m, h):
        def flat(t): return None if t is None else t.flatten(0, 1)
        if isinstance(m, nn.Sequential):
            for part in m: h = self.layer(part, h)
            return h
        if isinstance(m, nn.Linear): return self.product(h, m.weight.mT, m.bias)
        if isinstance(m, nn.Unflatten): return h.view(len(h), -1, *m.unflattened_size[1:])
        if isinstance(m, nn.Conv2d) and m.stride == (1, 1):
            return F.conv2d(h, flat(m.weight), flat(m.bias), m.stride, m.padding, groups=self.k)
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)): return self.strided(m, h)
        if isinstance(m, nn.InstanceNorm2d):
            return F.instance_norm(h, weight=flat(m.weight), bias=flat(m.bias), eps=m.eps)
        if not isinstance(m, nn.BatchNorm2d): return m(h)
        if m.training: m.num_batches_tracked += 1
        return F.batch_norm(
            h, flat(m.running_mean), flat(m.running_var), flat(m.weight), flat(m.bias), m.training,
            m.momentum, m.eps,
        )
    def product(self, h, weight, bias=None):
        y = h.view(len(h), self.k, -1).transpose(0, 1) @ weight
        return (y if bias is None else y + bias[:, None]).transpose(0, 1).flatten(1)
    def strided(self, m, h):
        turned = isinstance(m, nn.ConvTranspose2d)
        t = taps(turned, tuple(h.shape[2:]), m.kernel_size, m.stride, m.padding)
        # (K,.,.,pixels out,pixels in)
        whole = (m.weight.flatten(3) @ t.flatten(1)).unflatten(-1, (-1, t.shape[-1]))
        # (K,channels in,pixels in,channels out,pixels out)
        whole = whole.permute(0, 1, 4, 2, 3) if turned else whole.permute(0, 2, 4, 1, 3)
        y = self.product(h, whole.flatten(3).flatten(1, 2)).reshape(len(h), -1, *t.shape[1:3])
        return y if m.bias is None else y + m.bias.flatten()[:, None, None]


# Iterations

def fakes(s, like, y=()): return s.G(latents(like.shape[1], s.G.latent_dim, s.rng), *y)

def descend(opt, loss):
    opt.zero_grad()
    loss.sum().backward()
    opt.step()

def noted(loss_D, loss_G, real, fake):
    return dict(
        loss_D=loss_D.detach(), real_logit=real.detach().mean(-1), fake_logit=fake.detach().mean(-1),
        loss_G=loss_G.detach(),
    )

def weights(opt): return (p for group in opt.param_groups for p in group['params'])

def mixed(run):
    """Real and fake samples share a batch, and so the statistics
    of the BatchNorm in D, in the step of either player."""
    def judged(s, real, fake): return s.D(torch.cat([real, fake], 1)).chunk(2, 1)
    def update(s, batch, loss, penalties=(), **_):
        real, _ = batch()
        with torch.no_grad(): fake = fakes(s, real)
        r, f = judged(s, real, fake)
        loss_D = loss.discriminator(r, f)
        descend(s.opt_D, loss_D)
        with frozen(weights(s.opt_D)): loss_G = loss.generator(None, judged(s, real, fakes(s, real))[1])
        descend(s.opt_G, loss_G)
        return noted(loss_D, loss_G, r, f)
    return update

def random_labels(run, real=(.7, 1.2), fake=(0., .3)):
    "Each label is drawn anew from a range."
    def drawn(logits, span): return bce(logits, span[0] + (span[1] - span[0])*uniform(run, logits)).mean(-1)
    def update(s, batch, loss, penalties=(), **options):
        loss = replace(loss, discriminator=lambda r, f: drawn(r, real) + drawn(f, fake))
        return alternating(s, batch, loss, penalties, **options)
    return update

def flipped_labels(run, share=.05):
    "In the step of D a few labels are the wrong way round."
    def some(logits, label):
        return bce(logits, (label - (uniform(run, logits) < share).float()).abs()).mean(-1)
    def update(s, batch, loss, penalties=(), **options):
        loss = replace(loss, discriminator=lambda r, f: some(r, 1.) + some(f, 0.))
        return alternating(s, batch, loss, penalties, **options)
    return update

def noisy_inputs(run, std=.3):
    "Whatever D sees has noise on it, less and less, none at the end."
    def update(s, batch, loss, penalties=(), **options):
        now = std*max(0., 1 - s.step/run.n_steps)
        noise = dict(augment=lambda x: x + now*normal(run, x))
        return alternating(s, batch, loss, penalties, **options | noise)
    return update

def replay(run, every=10, most=50):
    "Half of the fakes that D learns from are old: one of 50 batches kept from the past."
    pool, pick = [], random.Random(0)
    def update(s, batch, loss, penalties=(), **_):
        real, _ = batch()
        with torch.no_grad(): fake = fakes(s, real)
        if s.step % every == 0:
            if len(pool) == most: pool.pop(pick.randrange(most))
            pool.append(fake)
        half = real.shape[1]//2
        r, f = s.D(real), s.D(torch.cat([fake[:, half:], pick.choice(pool)[:, :half]], 1))
        loss_D = loss.discriminator(r, f)
        descend(s.opt_D, loss_D)
        return noted(loss_D, g_step(s, real, loss)['loss_G'], r, f)
    return update

def kept(opt):
    "Copies of all that a step of Adam changes, each beside the original."
    tensors = [t for p in weights(opt) for t in (p, *(v for v in opt.state.get(p, {}).values() if v.ndim))]
    return [(t, t.detach().clone()) for t in tensors]

@torch.no_grad()
def undo(pairs, where):
    "Put the copies back for the members that `where` (K,) names."
    for t, old in pairs: t.copy_(torch.where(where.view(-1, *[1]*(t.ndim - 1)), old, t))

def resting(run, least_D=1., least_G=0.):
    "A player rests, member by member, while its loss is below a bar."
    def update(s, batch, loss, penalties=(), **_):
        real, _ = batch()
        before_D = kept(s.opt_D)
        log = d_step(s, real, loss)
        undo(before_D, log['loss_D'] < least_D)
        before_G = kept(s.opt_G)
        log |= g_step(s, real, loss)
        undo(before_G, log['loss_G'] < least_G)
        return log
    return update

def classifying(run):
    "D names the digit of real and fake samples, and G wants its own to be named rightly (Odena et al. 2017)."
    def update(s, batch, loss, penalties=(), **_):
        real, (y,) = batch()
        code = F.one_hot(y, 10).float()
        with torch.no_grad(): fake = fakes(s, real, (y,))
        r, f = s.D(real, code), s.D(fake, code)
        loss_D = loss.discriminator(r[..., 0], f[..., 0])
        descend(s.opt_D, loss_D - r[..., 1].mean(-1) - f[..., 1].mean(-1))
        with frozen(weights(s.opt_D)): g = s.D(fakes(s, real, (y,)), code)
        loss_G = loss.generator(None, g[..., 0])
        descend(s.opt_G, loss_G - g[..., 1].mean(-1))
        return noted(loss_D, loss_G, r[..., 0], f[..., 0])
    return update


# Arms, tips and questions

base, tuned = 'the bench', 'Adam at its best rate'
arms = {
    base: Arm(),
    tuned: Arm(rates=(5e-4, 1e-3, 2e-3, 4e-3)),
    'data in [0,1]': Arm(low=0.),
    'minimax loss': Arm(loss=minimax),
    'uniform z': Arm(pair=with_uniform),
    'mixed batches': Arm(update=mixed),
    'no normalisation': Arm(G=dict(norm=None), D=dict(norm=None)),
    'ReLU in D': Arm(D=dict(act=nn.ReLU)),
    'label .9 for real': Arm(loss=smooth(non_saturating)),
    '5 % of labels flipped': Arm(update=flipped_labels),
    'noise on inputs': Arm(update=noisy_inputs),
    'dropout in G': Arm(pair=partial(after_each, Dropout), also={'dropout off at test': always_off}),
    'labels to both': Arm(pair=labelled, labels=True),
    'auxiliary classifier': Arm(pair=classified, update=classifying, labels=True),
    'two steps of D': Arm(n_critic=2),
    'minibatch discrimination': Arm(pair=lambda G, D: (G, Discriminating(D))),
    'replay of old fakes': Arm(update=replay),
    'SGD for D': Arm(sgd='D', rates=(.003, .01, .03, .1)),
    'no tanh at the end': Arm(G=dict(out=nn.Identity)),
    'D rests while ahead': Arm(update=resting),
    'fully connected': Arm(pair=fully_connected, rates=(1e-3, 3e-3, 1e-2)),
    'embedded labels': Arm(pair=embedded, labels=True),
    'leaky ReLU in G': Arm(G=dict(act=leaky)),
    'instance norm': Arm(G=dict(norm=instance), D=dict(norm=instance)),
    'labels from ranges': Arm(update=random_labels),
    'average pooling in D': Arm(D=dict(down=partial(pooled, nn.AvgPool2d))),
    'max-pooling in D': Arm(D=dict(down=partial(pooled, nn.MaxPool2d))),
    'either rests while ahead': Arm(update=partial(resting, least_G=.7)),
    'SGD for both': Arm(sgd='GD', rates=(.01, .03, .1, .3)),
    'noise in G': Arm(pair=partial(after_each, Noise)),
    'noise, two steps of D': Arm(update=noisy_inputs, n_critic=2),
}

tips = {
    1: 'Normalise the inputs', 2: 'A modified loss', 3: 'A spherical z', 4: 'BatchNorm',
    5: 'Avoid sparse gradients', 6: 'Soft and noisy labels', 7: 'DCGAN or hybrids',
    8: 'Tricks from reinforcement learning', 9: 'Adam', 10: 'Track failures early',
    11: 'No balancing by losses', 12: 'Use labels', 13: 'Noise on inputs, decaying',
    14: 'Train D more (not sure)', 15: 'Batch discrimination (not sure)', 16: 'Discrete variables',
    17: 'Dropout in G, always',
}

@dataclass(frozen=True)
class Question:
    "What following a tip does: the row that follows it beside the one that does not."
    tip: int
    text: str       # what is done, in a few words
    follows: str    # a row that keeps the tip
    breaks: str     # and one that is the same but for it

questions = [
    Question(1, 'data in [-1,1], not [0,1]', base, 'data in [0,1]'),
    Question(1, 'tanh at the end, not linear', base, 'no tanh at the end'),
    Question(2, 'non-saturating, not minimax', base, 'minimax loss'),
    Question(3, 'normal z, not uniform', base, 'uniform z'),
    Question(4, 'batches of one kind, not mixed', base, 'mixed batches'),
    Question(4, 'BatchNorm, not none', base, 'no normalisation'),
    Question(4, 'instance norm, not none', 'instance norm', 'no normalisation'),
    Question(5, 'leaky ReLU in D, not ReLU', base, 'ReLU in D'),
    Question(5, 'leaky ReLU in G, not ReLU', 'leaky ReLU in G', base),
    Question(5, 'average pooling, not maximal', 'average pooling in D', 'max-pooling in D'),
    Question(6, 'label .9 for real, not 1', 'label .9 for real', base),
    Question(6, 'labels from ranges', 'labels from ranges', base),
    Question(6, '5 % of labels flipped', '5 % of labels flipped', base),
    Question(7, 'DCGAN, not fully connected', tuned, 'fully connected'),
    Question(8, 'replay of old fakes', 'replay of old fakes', base),
    Question(9, 'Adam, not SGD, for both', tuned, 'SGD for both'),
    Question(9, 'SGD, not Adam, for D', 'SGD for D', tuned),
    Question(11, 'no rests for D', base, 'D rests while ahead'),
    Question(11, 'no rests for either', base, 'either rests while ahead'),
    Question(12, 'D also names the digit', 'auxiliary classifier', base),
    Question(12, 'labels given to both', 'labels to both', base),
    Question(13, 'noise on inputs, decaying', 'noise on inputs', base),
    Question(13, 'noise in the layers of G', 'noise in G', base),
    Question(14, 'two steps of D', 'two steps of D', base),
    Question(14, 'two steps of D, with noise', 'noise, two steps of D', 'noise on inputs'),
    Question(15, 'minibatch discrimination', 'minibatch discrimination', base),
    Question(16, 'embedded labels, not one-hot', 'embedded labels', 'labels to both'),
    Question(17, 'dropout in G', 'dropout in G', base),
    Question(17, 'dropout on at test too', 'dropout in G', 'dropout off at test'),
]
elsewhere = {
    10: 'no change of the bench: asked of all runs, whether what shows after a tenth of them foretells the '
        'end'
}
left_out = {
    3: 'interpolation along great circles, which trains nothing', 5: 'pixel shuffle',
    7: 'hybrids with KL or VAE, meant for when no DCGAN is stable',
    8: 'swapping in old checkpoints, and the tricks of DDPG',
}


# Training and scores

class Bench(Judge):
    "The digits, and how far samples are from them."
    def __init__(self):
        self.data = sets.digits()
        super().__init__('digits', as_drawn(self.data.x), n=1000)
    def score(self, G, k, arm):
        "Fréchet distance and number of digits drawn, one each a member."
        y = ((torch.arange(self.n) % 10).expand(k, -1),) if arm.labels else ()
        x = self.samples(G, (k,), *y).clamp(arm.low, 1)
        x = (x - arm.low)*2/(1 - arm.low) - 1
        return self.frechet(x).tolist(), self.kinds(x, least_share).tolist()

def build(arm, seed, rate=None):
    "One GAN of an arm at step 0, with Adam."
    torch.manual_seed(seed)
    G = DCGANGenerator(shape, latent_dim, width, smallest=2, **arm.G)
    D = DCGANDiscriminator(shape, width, smallest=2, **arm.D)
    if arm.pair is fully_connected: G, D = arm.pair()
    elif arm.pair: G, D = arm.pair(G, D)
    return new_state(G, D, rate if rate and not arm.sgd else lr, betas, seed=seed)

def begin(arm, seeds, n_steps, rate=None):
    "(state of as many members as seeds, function that trains it up to a step)."
    s = members(lambda i: build(arm, seeds[i], rate), len(seeds))
    run = Run(n_steps, [torch.Generator().manual_seed(1000 + i) for i in seeds])
    for name in 'GD':
        if type(getattr(s, name).net) in (DCGANGenerator, DCGANDiscriminator):
            setattr(s, name, Side(getattr(s, name)))
    for name in arm.sgd: setattr(s, f'opt_{name}', torch.optim.SGD(getattr(s, name).parameters(), rate))
    torch.manual_seed(seeds[0])
    update, data = arm.update(run), replace(sets.digits(), low=arm.low)
    def train(n, callbacks=()):
        return fit(
            s, data, n, arm.loss, batch_size=batch_size, n_critic=arm.n_critic, labels=arm.labels,
            update=update, callbacks=callbacks,
        )
    return s, train

def best_rate(arm, bench, n_steps, n_seeds=3):
    "(the rate with the smallest mean log distance at half the length, all of those means)."
    means, half = {}, max(1, n_steps//2)
    for rate in arm.rates:
        s, train = begin(arm, [100 + i for i in range(n_seeds)], half, rate)
        train(half)
        means[rate] = mean([*map(math.log, bench.score(s.G, n_seeds, arm)[0])])
    return min(means, key=means.get), means

def norms(net):
    "Norm of the gradient of each member."
    return sum(p.grad.square().flatten(1).sum(1) for p in net.parameters() if p.grad is not None).sqrt()

def alone(s, i):
    "Member `i` for the doctor: networks, rates and curves, with optimisers that have not stepped."
    G = s.G.member(i)
    D = s.D.member(i)
    log = type(s.log)(s.log.block)
    log.columns, log._host = s.log.columns, [s.log.rows()[..., i].clone()]
    opts = [adam(net.parameters(), lr, betas) for net in (G, D)]
    # a fresh Adam says that it never had a gradient: this one had
    for opt, old in zip(opts, (s.opt_G, s.opt_D)):
        for p, q in zip(opt.param_groups[0]['params'], weights(old)):
            opt.state[p] = dict(step=torch.tensor(0.), exp_avg=q.grad[i] if q.grad is not None else q[i]*0)
    return TrainState(G, D, *opts, step=s.step, n_steps=s.n_steps, log=log)

# SGD and Adam have rates that cannot be compared
asked = tuple(d for d in diseases if d not in (unequal_rates, too_early))

def early_signs(s, arm, largest):
    "What tip 10 looks at, and the alarms of the doctor, one each a member."
    t, data, quarter = s.log.table(), replace(sets.digits(), low=arm.low), max(1, len(s.log)//4)
    loss_D, fall_G = t['loss_D'][-quarter:], t['loss_G'][:quarter].mean(0) - t['loss_G'][-quarter:].mean(0)
    alarms = [
        [f.name for f in diagnose(alone(s, i), data, arm.loss, arm.labels, asked) if f.severity == 'alarm']
        for i in range(s.G.k)
    ]
    return dict(
        alarms=alarms, loss_D=loss_D.mean(0).tolist(), swing_D=loss_D.std(0).tolist(),
        fall_G=fall_G.tolist(), norm=largest.tolist(),
    )

def try_arm(arm, bench, n_steps, n_seeds):
    "The rows that one run of an arm gives, by name ('' for its own)."
    rate, means = best_rate(arm, bench, n_steps) if arm.rates else (None, {})
    s, train = begin(arm, range(n_seeds), n_steps, rate)
    largest, k = torch.zeros(n_seeds), n_seeds
    def look(s): largest.copy_(torch.maximum(largest, torch.maximum(norms(s.G), norms(s.D))))
    train(max(1, n_steps//10), [look])
    row = dict(early=early_signs(s, arm, largest), rates={f'{r:g}': m for r, m in means.items()})
    rows = {'': row} | {name: {} for name in arm.also}
    for when, n in (('half', max(1, n_steps//2)), ('end', n_steps)):
        train(n)
        for name, change in {'': lambda G: None, **arm.also}.items():
            G = copy.deepcopy(s.G)
            change(G)
            rows[name] |= dict(zip((when, f'digits_{when}'), bench.score(G, k, arm)))
    return rows


# The file

def rows_of(name): return (name, *arms[name].also)

def settings(n_steps, n_seeds):
    return dict(
        n_steps=n_steps, n_seeds=n_seeds, width=width, lr=lr, betas=list(betas), batch_size=batch_size,
        least_digits=least_digits,
    )

def about_tips():
    "What the appendix says of the tips and asks of the rows."
    def numbered(texts): return {str(n): text for n, text in texts.items()}
    return dict(
        base=base, tips=numbered(tips), questions=[vars(q) for q in questions],
        elsewhere=numbered(elsewhere), left_out=numbered(left_out),
    )

def work(path, n_steps, n_seeds, only=()):
    "Train every arm that the file lacks, and store after each."
    bench = Bench()
    start = time.perf_counter()
    how = settings(n_steps, n_seeds)
    old = stored(path).get('arms', {})
    rows = old.get('rows', {}) if all(old.get(key) == v for key, v in how.items()) else {}
    for name in only or arms:
        if not only and all(r in rows for r in rows_of(name)): continue
        t = time.process_time()
        made = {r or name: row for r, row in try_arm(arms[name], bench, n_steps, n_seeds).items()}
        made[name]['cpu_s'] = round(time.process_time() - t, 1)
        rows |= rounded(made)
        took = f'({time.perf_counter() - start:.0f} s)'
        for r in made:
            print(f"{r:26} {each(rows[r]['end'], '6.1f')} {rows[r]['digits_end']} {took}", flush=True)
        store(path, 'arms', machine() | how | about_tips() | dict(floor=rounded(bench.floor), rows=rows))

def lacking(path):
    "What the stored file lacks, in words."
    entry = stored(path).get('arms')
    if not entry: return [f'no arms in {path}']
    rows, k = entry['rows'], entry['n_seeds']
    both_times = {name: (row['half'], row['end']) for name, row in rows.items()}
    return (
        [f'{k} seeds, at least 5']*(k < 5)
        + [f'no row called {r}' for name in arms for r in rows_of(name) if r not in rows]
        + [f'{r} has not {k} distances' for r, found in both_times.items() for v in found if len(v) != k]
        + [
            f'{r} has a distance that is not finite'
            for r, (half, end) in both_times.items() if not all(map(math.isfinite, (*half, *end)))
        ]
        + ['its questions are not those of this script']*(entry['questions'] != [vars(q) for q in questions])
    )

def main():
    p = options(__doc__, 'ganhacks', 'the stored file is not whole in the end', device=False)
    p.add_argument(
        '--only', nargs='+', choices=[*arms, 'none'],
        help='these arms, trained again; none: only look at the file',
    )
    p.add_argument('--steps', type=int, default=1000, help='steps of a run')
    p.add_argument('--seeds', type=int, default=6, help='seeds of each arm')
    a = parsed(p)
    if a.only != ['none']: work(a.out, a.steps, a.seeds, a.only or ())
    return verdict(lacking(a.out), a.check, 'LACKING')


if __name__ == '__main__': raise SystemExit(main())
