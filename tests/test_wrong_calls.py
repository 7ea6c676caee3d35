"""Wrong calls of the whole package and of the command line: each gets one clear sentence of ours, none a
traceback from inside torch.

A row is a name, a call, and words that the sentence must hold. Files that were
tampered with, full disks and kills while saving come after the table. """
import errno
import os
import pickle
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from ganbook import (
    augment, callbacks, data, diversity, doctor, dynamics, ensemble, faults, games, interpret, losses,
    metrics, nets, optim, penalties, plots, recipes, scale, tasks,
)
from ganbook.checkpoints import load, read, read_settings, save
from ganbook.cli import main
from ganbook.downloads import read_idx
from ganbook.images import folder
from ganbook.models import conditional as cond
from ganbook.models import dcgan, mlp, resnet
from ganbook.train import adam, average, fit, linear_decay, new_state, sample

torch.set_num_threads(1)
package = Path(data.__file__).resolve().parent


# What a call may be given

points = data.ring(200)
moons = data.two_moons(200)
digits = data.digits()
few = data.subset(digits, 20)
z = torch.randn(7, 3)
x = torch.randn(7, 2)
images = torch.rand(6, 1, 8, 8)*2 - 1
bytes_, nan = torch.randint(0, 255, (6, 1, 8, 8), dtype=torch.uint8), torch.tensor([[0., torch.nan]]*4)

def pair(shape=(2,), width=8):
    return mlp.MLPGenerator(shape, 3, (width,), nn.Identity), mlp.MLPDiscriminator(shape, (width,))
def G(): return pair()[0]
def D(): return pair()[1]
def state(**options): return new_state(*pair(), **options)
def image_state(): return new_state(*pair((1, 8, 8)))
def conv_G(**options): return dcgan.DCGANGenerator((1, 8, 8), 3, 4, **options)
def conv_D(**options): return dcgan.DCGANDiscriminator((1, 8, 8), 4, **options)
def several(k=2): return ensemble.members(lambda i: state(seed=i), k)
def train(s=None, d=points, n=2, loss=losses.hinge, **options):
    return fit(s or state(), d, n, loss, **options)
def judge(**options): return cond.Judge(D(), dict(classes=2), **options)
def logits(*shape): return torch.zeros(*shape)
def tasked(*pairs, D=None, **options):
    return fit(
        new_state(G(), D or judge()), moons, 2, losses.hinge, update=tasks.with_tasks(*pairs), **options
    )

class Column(nn.Module):
    "A D that gives (B,1)."
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)
    def forward(self, x): return self.net(x)

def run(*fs):
    "A callback at work."
    return train(n=3, callbacks=list(fs))

calls = {  # name: (call, words of the sentence)
    # scale
    'seed below 0': (lambda: scale.seed_everything(-1), 'seed is -1'),
    'interval of one value': (lambda: scale.interval([1.]), 'at least 2'),
    'interval of level 95': (lambda: scale.interval([1., 2.], 95), 'level'),
    'claim with =>': (lambda: scale.claim('x', 1, '=>', 2), "comparison is '=>'"),
    'claim about without tol': (lambda: scale.claim('x', 1, '~', 2), 'tol is None'),
    # games, dynamics
    'density of std 0': (lambda: games.normal_pdf(x, 0, 0), 'above 0'),
    'density of mass 2': (
        lambda: games.expectation(torch.ones(5)*2, torch.ones(5), torch.linspace(0, 1, 5)),
        'mass on this grid',
    ),
    'game at a wrong point': (lambda: dynamics.dirac(losses.minimax).v(torch.zeros(3)), 'points (...,2)'),
    'game at whole numbers': (lambda: dynamics.dirac(losses.minimax).v(torch.tensor([1, 1])), 'floats'),
    'bilinear of a vector': (lambda: dynamics.bilinear(torch.ones(3)), 'matrix'),
    'dirac, negative noise': (lambda: dynamics.dirac(losses.minimax, noise=-1.), 'noise is -1'),
    'step size 0': (lambda: dynamics.simultaneous(dynamics.dirac(losses.minimax), 0.), 'h is 0'),
    'alternate, n_critic 0': (
        lambda: dynamics.alternate(dynamics.dirac(losses.minimax), .1, 0), 'n_critic is 0',
    ),
    'clip below 0': (
        lambda: dynamics.simultaneous(dynamics.dirac(losses.minimax), .1, clip=-1), 'clip is -1',
    ),
    'consensus, gamma below 0': (
        lambda: dynamics.consensus(dynamics.dirac(losses.minimax), -1.), 'gamma is -1',
    ),
    # losses
    'relativistic without real': (lambda: losses.relativistic.generator(None, logits(3)), 'real logits'),
    'relativistic, two sizes': (
        lambda: losses.relativistic.discriminator(logits(3), logits(4)), 'as many real logits as fake',
    ),
    'smooth a hinge': (lambda: losses.smooth(losses.hinge), 'fits no labels'),
    'smooth to 1.5': (lambda: losses.smooth(losses.minimax, 1.5), '1.5'),
    # data
    'data of a list': (lambda: data.Data('x', [[1., 2.]]), 'a tensor'),
    'data in float64': (lambda: data.Data('x', torch.zeros(3, 2, dtype=torch.float64)), 'float64'),
    'data without samples': (lambda: data.Data('x', torch.zeros(0, 2)), 'give at least one'),
    'data of float images': (lambda: data.Data('x', images), 'uint8 (N,C,H,W)'),
    'data with NaN': (lambda: data.Data('x', nan), 'NaN'),
    'data, labels of a list': (lambda: data.Data('x', x, [0]*7), 'labels'),
    'data, a label too few': (
        lambda: data.Data('x', x, torch.zeros(6, dtype=torch.long)), 'an int64 number',
    ),
    'data, float labels': (lambda: data.Data('x', x, torch.zeros(7)), 'float32'),
    'data, scale 0': (lambda: data.Data('x', x, scale=0.), 'scale is 0'),
    'ring of n 1e4': (lambda: data.ring(1e4), 'n'),
    'ring of n 0': (lambda: data.ring(0), 'n is 0'),
    'ring of 0 modes': (lambda: data.ring(10, modes=0), 'modes is 0'),
    'ring of 2.5 modes': (lambda: data.ring(10, modes=2.5), 'modes is 2.5'),
    'grid of side 0': (lambda: data.grid(10, side=0), 'side is 0'),
    'mixture, weights too few': (lambda: data.mixture([[0., 0.], [1., 1.]], .1, [1.], 10), 'weights'),
    'mixture, std below 0': (lambda: data.mixture([[0., 0.]], -.1, n=10), 'std is -0.1'),
    'spiral of n -1': (lambda: data.spiral(-1), 'n is -1'),
    'moons of n 1e3': (lambda: data.two_moons(1e3), 'n is 1000.0'),
    'draw from a tensor': (lambda: data.draw(x, 5), 'Tensor'),
    'draw -1': (lambda: data.draw(points, -1), '-1'),
    'draw 2.5': (lambda: data.draw(points, 2.5), '2.5'),
    'draw with a seed as rng': (lambda: data.draw(points, 5, 1), 'torch.Generator'),
    'draw labels there are not': (lambda: data.draw(data.spiral(9), 5, labels=True), 'has no labels'),
    'latents -1': (lambda: data.latents(-1, 3), '-1'),
    'latents of 2.5': (lambda: data.latents(4, 2.5), '2.5'),
    'latents with a seed as rng': (lambda: data.latents(4, 3, 0), 'torch.Generator'),
    'subset of all and one more': (lambda: data.subset(points, 201), '201'),
    'split, all to test': (lambda: data.split(points, 1.), 'test is 1.0'),
    'stacked points': (lambda: data.stacked(points), 'cannot be stacked'),
    'stacked 0': (lambda: data.stacked(digits, 0), 'count is 0'),
    'idx file that is not there': (lambda: read_idx('nowhere.gz'), 'nowhere.gz'),
    'folder that is not there': (lambda: folder('nowhere'), 'is not there'),
    'folder, 2 channels': (lambda: folder('.', channels=2), 'channels is 2'),
    'folder, size by name': (lambda: folder('.', '64'), "size is '64'"),
    # models.mlp
    'mlp of no shape': (lambda: mlp.MLPGenerator(()), 'shape'),
    'mlp of shape 0': (lambda: mlp.MLPDiscriminator((0,)), 'shape'),
    'mlp, latent_dim 0': (lambda: mlp.MLPGenerator((2,), 0), 'sizes'),
    'mlp, hidden a number': (lambda: mlp.MLPGenerator((2,), hidden=64), 'hidden'),
    'mlp D, hidden a number': (lambda: mlp.MLPDiscriminator((2,), hidden=64), 'hidden'),
    'mlp, hidden 2.5': (lambda: mlp.MLPDiscriminator((2,), (2.5,)), '2.5'),
    'mlp, out with brackets': (lambda: mlp.MLPGenerator((2,), out=nn.Tanh()), 'nn.Tanh'),
    'mlp G, long latents': (lambda: G()(torch.zeros(4, 5)), '(...,B,3)'),
    'mlp D, images for points': (lambda: D()(images), '(...,B,2)'),
    'mlp D, bytes': (lambda: pair((1, 8, 8))[1](bytes_), 'uint8'),
    'mlp D, float64': (lambda: D()(x.double()), 'float64'),
    'mlp G, whole latents': (lambda: G()(torch.zeros(4, 3, dtype=torch.long)), 'int64'),
    # models.dcgan
    'dcgan of points': (lambda: dcgan.DCGANGenerator((2,)), 'shape of an image'),
    'dcgan of 4x4': (lambda: dcgan.DCGANGenerator((1, 4, 4)), 'from 8 to 256'),
    'dcgan of no channels': (lambda: dcgan.DCGANDiscriminator((0, 8, 8)), 'channels'),
    'dcgan, width 0': (lambda: dcgan.DCGANGenerator((1, 8, 8), width=0), 'width is 0'),
    'dcgan, latent_dim -3': (lambda: dcgan.DCGANGenerator((1, 8, 8), -3), 'latent_dim is -3'),
    'dcgan, smallest 9': (lambda: conv_D(smallest=9), 'smallest is 9'),
    'dcgan, norm by name': (lambda: conv_G(norm='batch'), 'norm'),
    'dcgan, out with brackets': (lambda: conv_G(out=nn.Tanh()), 'nn.Tanh'),
    'dcgan, act with brackets': (lambda: conv_D(act=nn.ReLU()), 'act'),
    'dcgan G, short latents': (lambda: conv_G()(torch.zeros(4, 2)), '(...,B,3)'),
    'dcgan D, bytes': (lambda: conv_D()(bytes_), 'uint8'),
    'dcgan D, three channels': (lambda: conv_D()(torch.zeros(4, 3, 8, 8)), '(...,B,1,8,8)'),
    'dcgan D, float64': (lambda: conv_D()(images.double()), 'float64'),
    'checkerboard of odd sides': (lambda: dcgan.checkerboard(torch.zeros(2, 1, 7, 8)), 'even sides'),
    'trace, another shape': (lambda: nets.trace(conv_D(), (1, 9, 9)), 'do not fit'),
    # models.resnet
    'resnet of 300x300': (lambda: resnet.ResNetGenerator((3, 300, 300)), 'from 8 to 256'),
    'resnet, width .5': (lambda: resnet.ResNetDiscriminator((1, 8, 8), .5), 'width is 0.5'),
    'resnet, no blocks': (lambda: resnet.ResNetGenerator((1, 8, 8), n_blocks=0), 'n_blocks is 0'),
    'resnet, attend 2': (lambda: resnet.ResNetGenerator((1, 8, 8), attend=2), 'attend is 2'),
    'resnet, resample by name': (
        lambda: resnet.ResNetDiscriminator((1, 8, 8), resample='nearest'), 'resample',
    ),
    'resnet, out with brackets': (lambda: resnet.ResNetGenerator((1, 8, 8), out=nn.Tanh()), 'nn.Tanh'),
    'resized to a third': (
        lambda: resnet.resized(torch.zeros(1, 1, 9, 9), (3, 3)), '9 pixels cannot become 3',
    ),
    'matched width of cost 0': (
        lambda: resnet.matched_width(lambda w: nn.Linear(1, round(w)), 0, nets.n_params),
        'give a larger target',
    ),
    # models.conditional
    'embedding of all latents': (lambda: cond.EmbeddedGenerator(G(), 2, 3), 'n_embed is 3'),
    'no classes': (lambda: cond.EmbeddedGenerator(G(), 0, 1), 'n_classes is 0'),
    'conditional G without labels': (
        lambda: cond.EmbeddedGenerator(G(), 2, 1)(torch.zeros(4, 2)), 'labels=True',
    ),
    'a label outside': (
        lambda: cond.EmbeddedGenerator(G(), 2, 1)(torch.zeros(4, 2), torch.full((4,), 2)), '0 to 1',
    ),
    'labels as floats': (
        lambda: cond.EmbeddedGenerator(G(), 2, 1)(torch.zeros(4, 2), torch.zeros(4)), 'float32',
    ),
    'a label too few': (
        lambda: cond.EmbeddedGenerator(G(), 2, 1)(torch.zeros(4, 2), torch.zeros(3, dtype=torch.long)),
        '(3,)',
    ),
    'conditional norm without norm': (lambda: cond.NormedGenerator(G(), 2), 'no BatchNorm'),
    'judge of a plain module': (lambda: cond.Judge(Column()), 'to be asked more'),
    'answers of a plain D': (lambda: cond.answers(D(), x), 'logits alone'),
    'tasks without weight': (lambda: tasks.with_tasks(tasks.classify()), 'give a Task and its weight'),
    'two tasks of one name': (
        lambda: tasks.with_tasks((tasks.classify(), 1.), (tasks.classify(), 1.)), 'one name',
    ),
    'task without its head': (
        lambda: tasked((tasks.classify('kinds'), 1.), labels=True), "no head called 'kinds'",
    ),
    'task without labels': (lambda: tasked((tasks.classify(), 1.)), 'labels=True'),
    'task of a plain D': (lambda: tasked((tasks.classify(), 1.), D=D(), labels=True), 'Judge'),
    'agreement of two sizes': (
        lambda: tasks.agreement(torch.zeros(4, 2), torch.zeros(3)), 'one label a sample',
    ),
    'nats of a class too high': (lambda: tasks.nats(torch.zeros(4, 2), torch.full((4,), 2)), '2 answers'),
    'code of one value': (lambda: cond.code(z, 1), 'n is 1'),
    'turned oblong images': (lambda: tasks.turned(torch.zeros(4, 1, 8, 9)), 'square'),
    'taught without images': (
        lambda: tasks.taught(images[:0], torch.zeros(0, dtype=torch.long)), 'at least one',
    ),
    # train
    'state, G without latent_dim': (lambda: new_state(nn.Linear(3, 2), D()), 'no attribute latent_dim'),
    'state, players swapped': (lambda: new_state(D(), G()), 'latent_dim'),
    'state, D not made': (lambda: new_state(G(), mlp.MLPDiscriminator), 'D'),
    'state, no D': (lambda: new_state(G(), None), 'D'),
    'state, lr below 0': (lambda: state(lr=-1e-3), 'lr is -0.001'),
    'state, lr NaN': (lambda: state(lr=float('nan')), 'lr is nan'),
    'state, beta 1.5': (lambda: state(betas=(.5, 1.5)), 'betas'),
    'state, one beta': (lambda: state(betas=(.5,)), 'betas'),
    'state, one number for betas': (lambda: state(betas=.5), 'betas'),
    'adam of a module': (lambda: adam(nn.Sequential(nn.Linear(1, 1))), 'parameters()'),
    'adam of nothing': (lambda: adam(nn.ReLU().parameters()), 'parameters'),
    'fit a network': (lambda: fit(G(), points, 2, losses.hinge), 'TrainState'),
    'fit, schedule a number': (lambda: train(schedule=.5), 'schedule'),
    'fit, augment by name': (lambda: train(augment='flip'), 'augment'),
    'fit, no update': (lambda: train(update=None), 'update'),
    'fit, a callback that is none': (lambda: train(callbacks=[None]), 'callbacks'),
    'fit, a penalty that is a number': (lambda: train(penalties=[1.]), 'penalties'),
    'fit, data a path': (lambda: train(d='digits'), 'Data'),
    'fit, D gives (B,1)': (lambda: train(new_state(G(), Column())), 'one logit a sample'),
    'fit, penalty below 0': (lambda: train(penalties=[partial(penalties.r1, gamma=-1.)]), 'gamma is -1'),
    'fit, batch of one and BatchNorm': (
        lambda: train(
            new_state(G(), nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Flatten(0))),
            batch_size=1,
        ),
        'batch_size',
    ),
    'fit, generators too many': (lambda: train(replace_rng(several(), 3)), 'members'),
    'fit, images for points': (lambda: train(d=few), 'makes samples of shape'),
    'fit, labels there are not': (lambda: train(d=data.spiral(50), labels=True), 'has no labels'),
    'late decay': (lambda: linear_decay(2), 'start is 2'),
    'average, half-life 0': (lambda: average(G(), G(), 0), 'halflife is 0'),
    'sample of one latent': (lambda: sample(G(), torch.zeros(3)), '(...,N,Z)'),
    'sample, batch 0': (lambda: sample(G(), z, batch=0), 'batch is 0'),
    'sample, long latents': (lambda: sample(G(), torch.zeros(4, 5)), '(...,B,3)'),
    'save settings with a tensor': (lambda: save(state(), 'x.pt', dict(a=x)), 'plain values'),
    'read what is not there': (lambda: read('nowhere.pt'), 'nowhere.pt'),
    # penalties
    'r1 on logits (B,1)': (lambda: penalties.r1(None, x, x, logits(7, 1), logits(7, 1)), '(7, 1)'),
    'r1 without requires_grad': (lambda: penalties.r1(None, x, x, D()(x), D()(x)), 'requires_grad_'),
    'r2, gamma below 0': (lambda: penalties.r2(None, x, x, logits(7), logits(7), -2.), 'gamma is -2'),
    'wgan_gp, two sizes': (lambda: penalties.wgan_gp(D(), x, x[:5], logits(7), logits(5)), 'as many'),
    'wgan_gp, weight below 0': (
        lambda: penalties.wgan_gp(D(), x, x, logits(7), logits(7), -1), 'weight is -1',
    ),
    'dragan, generators too many': (
        lambda: penalties.dragan(
            D(), x[None], x[None], logits(1, 7), logits(1, 7), rng=[torch.Generator()]*3
        ),
        'generators is 3',
    ),
    'clip to 0': (lambda: penalties.clip_weights(state().opt_D, 0), 'c is 0'),
    'clip a network': (lambda: penalties.clip_weights(D()), 'optimiser'),
    'lipschitz on bytes': (lambda: penalties.lipschitz(pair((1, 8, 8))[1], bytes_), 'uint8'),
    'spectral norm of a ReLU': (
        lambda: penalties.SpectralNorm(nn.ReLU()), 'no linear or convolutional layer',
    ),
    'spectral norm, no power': (lambda: penalties.spectral_norm(D(), 0), 'n_power is 0'),
    # ensemble
    'no members': (lambda: ensemble.members(lambda i: state(seed=i), 0), 'k is 0'),
    'members that are networks': (lambda: ensemble.members(lambda i: G(), 2), 'TrainState'),
    'members of two widths': (
        lambda: ensemble.members(lambda i: new_state(*pair(width=8 + i), seed=i), 2), 'not built like',
    ),
    'members, one generator': (lambda: shared(), 'share one random generator'),
    'members, one with average': (
        lambda: ensemble.members(lambda i: state(ema=i == 0, seed=i), 2), 'average',
    ),
    'members, two betas': (
        lambda: ensemble.members(lambda i: state(betas=(.1*i, .9), seed=i), 2), 'betas',
    ),
    'member 2 of 2': (lambda: ensemble.member(several(), 2), 'i is 2'),
    'member of one GAN': (lambda: ensemble.member(state(), 0), 'no members'),
    'stacked nothing': (lambda: ensemble.Stacked([]), 'at least one'),
    'stacked, three batches': (lambda: ensemble.Stacked([G(), G()])(torch.zeros(3, 4, 3)), '2 members'),
    'member rates too many': (lambda: ensemble.MemberAdam(several().G.parameters(), [1e-3]*3), '3'),
    # optim
    'multipliers of a short path': (lambda: optim.multipliers(torch.zeros(2, 2)), 'T above 3'),
    'cosine decay from 1': (lambda: optim.cosine_decay(1.), 'start is 1'),
    'warm up until 0': (lambda: optim.warm_up(0.), 'until is 0'),
    'lookahead of 0 steps': (lambda: train(update=partial(optim.lookahead, k=0)), 'k is 0'),
    'consensus, weight below 0': (
        lambda: train(update=partial(optim.by_consensus, weight=-1.)), 'weight is -1',
    ),
    # augment
    'brightness of bytes': (lambda: augment.brightness(bytes_), 'uint8'),
    'flip points': (lambda: augment.flip(x), '(7, 2)'),
    'translation by twice the side': (lambda: augment.translation(images, share=2.), 'share is 2'),
    'quarter turns of oblong images': (lambda: augment.quarter_turns(torch.zeros(2, 1, 4, 6)), 'square'),
    'augment by name': (lambda: augment.Augment(['flip']), 'functions'),
    'augment, one function': (lambda: augment.Augment(augment.flip), 'list'),
    'augment, p 2': (lambda: augment.Augment([augment.flip], 2.), 'p is 2'),
    'augment, generators too many': (
        lambda: augment.flip(images[None], [torch.Generator()]*2), 'generators is 2',
    ),
    'ada every 0': (lambda: augment.ADA(augment.Augment([augment.flip]), lambda s: 0, every=0), 'every is 0'),
    # metrics
    'frechet of a list': (lambda: metrics.frechet([1, 2], x), 'a tensor'),
    'frechet of bytes': (lambda: metrics.frechet(bytes_.flatten(1), bytes_.flatten(1)), 'uint8'),
    'frechet of one image': (lambda: metrics.frechet(x[:1], x), 'at least 2'),
    'frechet with NaN': (lambda: metrics.frechet(nan, nan), 'NaN'),
    'frechet of two widths': (lambda: metrics.frechet(x, torch.zeros(7, 3)), 'same features'),
    'frechet of other members': (
        lambda: metrics.frechet(x.expand(2, 7, 2), x.expand(3, 7, 2)), 'same members',
    ),
    'gaussians that do not match': (
        lambda: metrics.frechet_gaussians(torch.zeros(3), torch.eye(2), torch.zeros(3), torch.eye(2)),
        '(2, 2)',
    ),
    'kid of few': (lambda: metrics.kid(x, x), 'at least 40'),
    'prdc, k 0': (lambda: metrics.prdc(x, x, 0), 'k is 0'),
    'counts below 0': (lambda: metrics.kl_uniform(torch.tensor([1, -1])), 'below 0'),
    'coverage, std 0': (lambda: metrics.mode_coverage(x, points.modes, 0.), 'std is 0'),
    'coverage in space': (
        lambda: metrics.mode_coverage(torch.zeros(5, 3), points.modes, .1), 'same features',
    ),
    'score of logits': (lambda: metrics.inception_score(torch.tensor([[2., -1.]])), 'give probabilities'),
    'memorisation of the training set': (lambda: metrics.memorisation(x, x, x), 'in the training set'),
    'birthday within -1': (lambda: metrics.birthday(x, -1.), 'within is -1'),
    'yardstick by another name': (lambda: metrics.yardstick('cifar'), "yardstick is 'cifar'"),
    'yardstick of 4x4': (lambda: metrics.Yardstick((1, 4, 4)), 'at least 8'),
    'features of bytes': (lambda: metrics.yardstick('digits').features(bytes_), 'floating-point'),
    'features of 0..255': (lambda: metrics.yardstick('digits').features(bytes_.float()), '[-1,1]'),
    'features of MNIST by digits': (
        lambda: metrics.yardstick('digits').features(torch.zeros(2, 1, 28, 28)), '(...,N,1,8,8)',
    ),
    'features of nothing': (lambda: metrics.yardstick('digits').features(images[:0]), 'at least one'),
    # doctor
    'diagnose a network': (lambda: doctor.diagnose(G()), 'cannot be examined'),
    'diagnose members': (lambda: doctor.diagnose(several()), 'members is (2,)'),
    'diagnose with a tensor': (lambda: doctor.diagnose(state(), x), 'Data'),
    'diagnose with other data': (lambda: doctor.diagnose(state(), few), 'do not fit'),
    'unknown severity': (lambda: faults.Finding('x', 'bad', '', '', ''), "severity called 'bad'"),
    # recipes
    'unknown recipe': (lambda: recipes.find('dcgam'), "no recipe called 'dcgam'"),
    'recipe for other data': (lambda: recipes.build('points', digits), 'makes points'),
    'recipe, lr 0': (lambda: recipes.build(replace(recipes.points, lr=0.), points), 'lr is 0'),
    'recipe, batch 0': (
        lambda: recipes.build(replace(recipes.points, batch_size=0), points), 'batch_size is 0',
    ),
    'recipe, unknown loss': (
        lambda: recipes.build(replace(recipes.points, loss='huber'), points), "no loss called 'huber'",
    ),
    'recipe, unknown end': (
        lambda: recipes.networks(replace(recipes.points, out='relu'), (2,)), "no end of G called 'relu'",
    ),
    'recipe for tiny images': (lambda: recipes.networks('dcgan', (1, 4, 4)), 'from 8 to 256'),
    'recipe, no members': (lambda: recipes.build('points', points, device='cpu', k=0), 'k is 0'),
    'recipe on an abacus': (lambda: recipes.build('points', points, device='abacus'), 'abacus'),
    'settings of another version': (
        lambda: recipes.from_settings(dict(name='x', source='', kind='points', magic=1)), 'magic',
    ),
    'settings that are damaged': (
        lambda: recipes.from_settings(dict(name='x', source='', kind='points', lr='fast')), 'damaged',
    ),
    # callbacks
    'every 0': (lambda: callbacks.every(0, print), 'n is 0'),
    'every 2.5': (lambda: callbacks.every(2.5, print), '2.5'),
    'every step nothing': (lambda: callbacks.every(1, None), 'function'),
    'checkpoint, keep 0': (lambda: callbacks.checkpoint('.', keep=0), 'keep is 0'),
    'tensorboard every 0': (lambda: callbacks.tensorboard('.', 0), 'log_interval is 0'),
    'preview every 0': (lambda: callbacks.preview('x.png', z, points, 0), 'n is 0'),
    'stop on NaN every 0': (lambda: callbacks.stop_on_nan(0), 'every'),
    'stop on NaN': (
        lambda: train(state(lr=1e30), n=60, loss=losses.wasserstein, callbacks=[callbacks.stop_on_nan(5)]),
        'became',
    ),
    'time limit below 0': (lambda: callbacks.time_limit(-1.), 'limit_s is -1'),
    'samples of members': (lambda: callbacks.save_samples(few, images[None], 'x.png'), 'member'),
    # diversity
    'pack of 0': (lambda: diversity.packed_shape((2,), 0), 'm is 0'),
    'packed D without shape': (lambda: diversity.Packed(Column()), 'no attribute shape'),
    'packed D of another size': (
        lambda: diversity.Packed(mlp.MLPDiscriminator((3,), (4,)), 2), 'no pack of 2',
    ),
    'packed D, images': (lambda: diversity.Packed(mlp.MLPDiscriminator((4,), (4,)), 2)(images), 'do not fit'),
    'minibatch std of groups of 0': (lambda: diversity.MinibatchStd(0), 'group is 0'),
    'minibatch std of members': (lambda: diversity.MinibatchStd()(torch.zeros(2, 3, 4)), 'batch first'),
    'minibatch discrimination of 5 features': (
        lambda: diversity.MinibatchDiscrimination(4)(torch.zeros(3, 5)), '(B,4)',
    ),
    'minibatch std into a plain module': (lambda: diversity.with_minibatch_std(Column()), 'nn.Sequential'),
    # interpret
    'path between two lengths': (lambda: interpret.lerp(z, x, .5), 'one length'),
    'circle of one number': (lambda: interpret.slerp(z[:, :1], z[:, :1], .5), 'take lerp'),
    'means without a class': (
        lambda: interpret.attribute_means(z, torch.zeros(7, dtype=torch.long), 2),
        'classes that none has',
    ),
    'direction of another length': (lambda: interpret.traverse(z, torch.zeros(2), [1.]), 'direction'),
    'unknown layer': (lambda: interpret.activations(G(), 'net.9', z), "called 'net.9'"),
    'too many components': (lambda: interpret.principal_directions(G(), 'net.0', z, 99), 'k is 99'),
    'factorise a vector': (lambda: interpret.factorise(torch.zeros(3), 1), 'weights'),
    'dissect a linear layer': (lambda: interpret.dissect(G(), 'net.0', z, lambda x: x > 0), 'no maps'),
    'ablate unit 99': (lambda: ablate(), 'units is [99]'),
    'saliency of NaN': (lambda: interpret.saliency(D(), nan), 'NaN'),
    'occlusion by a large patch': (lambda: interpret.occlusion(conv_D(), images, 9), 'size is 9'),
    'invert other images': (lambda: interpret.invert(G(), images, pool=8), 'this G makes'),
    'view, too many amounts': (
        lambda: interpret.latent_view(conv_G(), torch.zeros(1, 3), [1., 2.]), 'amounts',
    ),
    # plots
    'grid of no images': (lambda: plots.tile(images[:0]), 'at least one image'),
    'grid of two channels': (lambda: plots.tile(torch.zeros(4, 2, 8, 8)), 'choose 1 channel'),
    'grid of members': (lambda: plots.tile(images[None]), 'choose one member'),
    'grid of no columns': (lambda: plots.tile(images, n_cols=0), 'n_cols is 0'),
    'grid from 1 up': (lambda: plots.tile(images, low=1.), 'low is 1'),
    'film of no frames': (lambda: plots.film_strip([], []), 'at least one'),
    'png at half size': (lambda: plots.save_png(images, 'x.png', scale=.5), 'scale is 0.5'),
    'scatter in space': (lambda: plots.scatter(torch.zeros(4, 3)), 'points of the plane'),
    'field of a column': (lambda: plots.field(Column(), n=4), 'one logit a point'),
    'curves of no column': (lambda: plots.curves(dict(a=[1.]), ['b']), "no column called 'b'"),
    'animation of nothing': (lambda: plots.animation([]), 'at least one frame'),
    'animation as avi': (lambda: plots.animation([np.zeros((4, 4), np.uint8)], format='avi'), "'avi'"),
}

def replace_rng(s, k): return replace(s, rng=[torch.Generator() for _ in range(k)])
def shared():
    rng = torch.Generator()
    return ensemble.members(lambda i: replace(state(), rng=rng), 2)
def ablate():
    with interpret.ablated(G(), 'net.0', [99]) as net: return sample(net, z)

def tell(e):
    "One sentence of at most 250 characters that says what is wrong and what to do, raised by a line of ours."
    text, frames = str(e.value), [f.path for f in e.traceback]
    assert Path(frames[-1]).resolve().is_relative_to(package), f'raised in {frames[-1]}: {text}'
    assert '\n' not in text and text.endswith('.') and 20 < len(text) <= 250, text
    assert re.search(r': |must|give|take|use|needs', text), f'does not say what to do: {text}'

@pytest.mark.parametrize('name', calls)
def test_a_wrong_call_gets_one_clear_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = calls[name]
    with pytest.raises((ValueError, TypeError, FileNotFoundError, FloatingPointError)) as e: call()
    tell(e)
    assert words in str(e.value), str(e.value)

def test_there_are_enough_of_them(): assert len(calls) >= 200


# Values that are only sometimes wrong: what is like a row of the table, and right

rights = {
    'betas of whole numbers': lambda: train(state(betas=(0, .9))),
    'device by name': lambda: recipes.build('points', points, device='cpu'),
    'numbers of NumPy': lambda: data.draw(data.ring(np.int64(9)), np.int64(3)),
    'no samples': lambda: data.draw(points, 0),
    'a learning rate of 0': lambda: train(state(lr=0.)),
    'an image, alone': lambda: data.draw(data.subset(digits, 1), 3),
    'a point, alone': lambda: train(d=data.subset(points, 1)),
    'a batch of one': lambda: train(batch_size=1),
    'conv nets on a batch of one': lambda: train(new_state(conv_G(), conv_D()), few, batch_size=1),
    'no normalisation': lambda: (conv_G(norm=None), conv_D(norm=None)),
    'a layer from a partial': lambda: conv_D(act=partial(nn.LeakyReLU, .1)),
    'members': lambda: train(several()),
    'a direction for each latent': lambda: interpret.traverse(z, torch.ones(7, 3), [1.]),
    'time is up at once': lambda: run(callbacks.time_limit(0.)),
    'gaussians of members': lambda: metrics.frechet_gaussians(
        torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3), torch.zeros(3), torch.eye(3)
    ),
}

@pytest.mark.parametrize('name', rights)
def test_what_is_right_is_not_refused(name): rights[name]()


# The command line

@pytest.fixture
def here(tmp_path, monkeypatch):
    "A folder to work in, with things that are no runs and no data."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GANBOOK_DEVICE', 'cpu')
    for name in ('empty', 'photos', 'broken', 'notes'): (tmp_path/name).mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (50, 64, 64), dtype=np.uint8)
    for i, pixels in enumerate(grey): Image.fromarray(pixels).save(tmp_path/'photos'/f'{i}.png')
    for name in ('file.txt', 'broken/a.png', 'notes/a.txt'): (tmp_path/name).write_text('mine')
    return tmp_path

def refused(line, capsys):
    "The one line that the command says about a mistake."
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and err.startswith('ganbook') and 'Traceback' not in err, err
    return err

lines = {  # words of the command: part of the sentence
    'Train points': "there is no command 'Train' (did you mean train?)",
    '--data ring': "there is no command 'ring'",
    'train points points': "'points' is one word too many",
    'train --out': 'expected one argument',
    'train points --epochs 3': 'there is no --epochs here',
    'train points --lr -1': 'lr is -1',
    'train points --lr inf': 'lr is inf',
    'train points --lr fast': 'invalid float value',
    'train points --n-steps -5': '--n-steps is -5',
    'train points --n-steps 2.5': 'invalid int value',
    'train points --batch-size x': 'invalid int value',
    'train points --every -1': '--every is -1',
    'train points --keep -1': '--keep is -1',
    'train points --log-interval 0': '--log-interval is 0',
    'train points --threads -1': '--threads is -1',
    'train pac --batch-size 1': 'batch_size is 1: it must be at least 2',
    'train points --data ring --grey': 'is for a folder of images',
    'train dcgan --data photos --size 4': 'from 8 to 256',
    'train stable --data photos --size 2000': 'from 4 to 1024',
    'train stable --data broken': 'none of the 1 images could be decoded',
    'train stable --data notes': 'holds no image',
    'train stable --data file.txt': 'is a file',
    'train points --data photos': 'makes points, but photos holds images',
    'train points --device cuda:99': 'is not to be had here',
    'train points --resume --out empty': 'holds no run',
    'train points --resume --out file.txt': 'holds no run',
    'sample empty': 'holds no checkpoint',
    'sample empty --seed -1': '--seed is -1',
    'sample empty --n x': 'invalid int value',
    'sample empty --n -3': '--n is -3',
    'sample empty --device tpu': "'tpu': it is not to be had",
    'sample a b': "'b' is one word too many",
    'sample empty --out x': 'neither a .png nor a .npy',
    'info a b': "'b' is one word too many",
    'info file.txt': 'holds no run',
    'doctor empty': 'holds no run',
    'doctor file.txt': 'holds no run',
    'doctor empty --n 5': 'there is no --n here',
    'doctor empty --device tpu': "'tpu': it is not to be had",
}

@pytest.mark.parametrize('line', lines)
def test_a_wrong_command_is_one_line_and_leaves_nothing(line, here, capsys):
    before = sorted(here.rglob('*'))
    assert lines[line] in refused(line, capsys)
    assert sorted(here.rglob('*')) == before

@pytest.mark.parametrize(
    'name,value,line,part',
    [
        ('GANBOOK_DATA', 'nowhere', 'train mlp --data mnist', 'GANBOOK_DATA'),
        ('GANBOOK_DEVICE', 'tpu', 'train points', 'tpu'),
    ],
)
def test_a_wrong_environment_is_named(name, value, line, part, here, capsys, monkeypatch):
    monkeypatch.setenv(name, value)
    assert part in refused(line, capsys)

def test_a_damaged_data_file_is_named(here, capsys, monkeypatch):
    monkeypatch.setenv('GANBOOK_DATA', str(here))
    (here/'mnist').mkdir()
    for kind in ('images-idx3', 'labels-idx1'):
        (here/'mnist'/f'train-{kind}-ubyte').write_bytes(b'\0\0\x08\x01\0\0\0\x09')
    assert 'train-images-idx3-ubyte has the wrong' in refused('train mlp --data mnist', capsys)


# A checkpoint that would run code

class Trap:
    "A pickle that makes a file when it is loaded."
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)

def poison(path, trap, how):
    "Write the trap in place of a checkpoint, alone or within a good one."
    if how == 'alone': path.write_bytes(pickle.dumps(Trap(trap)))
    else: torch.save(read(path) | dict(settings=Trap(trap)), path)

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A run of the command line, with two checkpoints."
    folder = tmp_path_factory.mktemp('home')/'run'
    words = '--n-steps 20 --every 10 --keep 2 --batch-size 8 --quiet --seed 1 --device cpu --out'.split()
    assert main(['train', 'points', *words, str(folder)]) == 0
    return folder

@pytest.mark.parametrize('how', ['alone', 'within'])
def test_no_function_of_ours_runs_code_from_a_checkpoint(how, home, tmp_path):
    path, trap = tmp_path/'x.pt', tmp_path/'ran'
    shutil.copy(callbacks.latest(home/'checkpoints'), path)
    poison(path, trap, how)
    for f in (read, read_settings, partial(load, state())):
        with pytest.raises(ValueError) as e: f(path)
        tell(e)
        assert 'could run code' in str(e.value) or 'damaged' in str(e.value)
    assert not trap.exists()
    if how == 'alone': pickle.loads(path.read_bytes())
    else: torch.load(path, weights_only=False)
    assert trap.exists(), 'the trap does not work'

@pytest.mark.parametrize('how', ['alone', 'within'])
def test_no_command_runs_code_from_a_checkpoint(how, home, here, capsys):
    capsys.readouterr()
    shutil.copytree(home, here/'run')
    files, trap = sorted(Path('run/checkpoints').glob('*.pt')), here/'ran'
    for path in files: poison(path, trap, how)
    assert main(['sample', str(files[0])]) == 2 and main(['sample', 'run']) == 2
    assert main('train points --resume --out run --n-steps 30 --quiet'.split()) == 2
    assert 'can be read' in capsys.readouterr().err.splitlines()[-1]
    assert main(['doctor', 'run']) == 0  # from the log alone
    assert 'not all could be examined' in capsys.readouterr().out and not trap.exists()

def test_a_poisoned_newest_checkpoint_costs_only_its_steps(home, here, capsys):
    shutil.copytree(home, here/'run')
    trap, newest = here/'ran', callbacks.latest('run/checkpoints')
    poison(newest, trap, 'within')
    assert main('train points --resume --out run --n-steps 30 --quiet'.split()) == 0
    assert not trap.exists() and 'steps 10 to 30' in capsys.readouterr().out


# A full disk, and a kill, in the middle of saving

@pytest.fixture
def kept(tmp_path):
    "A checkpoint, of 40 to 64 kB, of a state at step 2."
    s = train(new_state(*pair(width=300)))
    save(s, tmp_path/'kept.pt')
    assert 40_000 < (tmp_path/'kept.pt').stat().st_size < 60_000
    return tmp_path/'kept.pt', s

def whole(path, s):
    "Is the old checkpoint there, does it load, and is there nothing else?"
    fresh = load(new_state(*pair(width=300)), path)
    assert fresh.step == 2 and all(torch.equal(a, b) for a, b in zip(fresh.G.parameters(), s.G.parameters()))
    assert [p.name for p in path.parent.iterdir()] == [path.name]

def half(self, raw, write=Path.write_bytes):
    "What a disk does that becomes full."
    write(self, raw[:len(raw)//2])
    raise OSError(errno.ENOSPC, 'No space left on device', str(self))

def test_a_disk_that_fills_up_half_way_leaves_the_old_checkpoint(kept, monkeypatch):
    path, s = kept
    with monkeypatch.context() as m, pytest.raises(OSError, match='No space left') as e:
        m.setattr(Path, 'write_bytes', half)
        save(train(new_state(*pair(width=300)), n=3), path)
    assert e.value.errno == errno.ENOSPC and e.value.filename == str(path)
    whole(path, s)

@pytest.fixture
def small_disk(tmp_path):
    "A file system of 64 kB."
    disk = tmp_path/'disk'
    disk.mkdir()
    try:
        done = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(disk)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip('there is no mount command')
    if done.returncode: pytest.skip(f'a small file system cannot be mounted here: {done.stderr.strip()[:80]}')
    yield disk
    subprocess.run(['umount', str(disk)], check=True)

def test_a_disk_that_is_really_full(kept, small_disk):
    s, path = kept[1], small_disk/'kept.pt'
    save(s, path)
    for write in (
        lambda: save(train(new_state(*pair(width=300)), n=3), path),
        lambda: plots.save_png(torch.rand(64, 3, 64, 64), small_disk/'x.png', scale=1),
    ):
        with pytest.raises(OSError) as e: write()
        assert e.value.errno == errno.ENOSPC
        whole(path, s)

def test_kill_9_half_way_leaves_the_old_checkpoint(kept):
    path = kept[0].rename(kept[0].with_name('step_00000002.pt'))
    newer, (ready, said) = train(new_state(*pair(width=300)), n=3), os.pipe()
    def half_and_wait(self, raw, write=Path.write_bytes):
        write(self, raw[:len(raw)//2])
        os.write(said, b'half')
        time.sleep(60)
    child = os.fork()
    if child == 0:
        try:
            Path.write_bytes = half_and_wait
            save(newer, path)
        finally:
            os._exit(0)
    os.close(said)
    assert os.read(ready, 4) == b'half'
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    os.close(ready)
    left = list(path.parent.glob('*.part'))
    assert len(left) == 1 and 0 < left[0].stat().st_size < path.stat().st_size
    assert callbacks.latest(path.parent) == path  # the half is not taken for a checkpoint,
    fit(
        load(new_state(*pair(width=300)), path), points, 3, losses.hinge,
        callbacks=[callbacks.checkpoint(path.parent, every=10)],
    )
    # and the next run clears it away
    assert not list(path.parent.glob('*.part')) and callbacks.latest(path.parent).name == 'step_00000003.pt'
