"""The trainer over many inputs: a hand-written loop as reference, members,
resuming in a new process, interruptions, refusals, checkpoints."""
import copy
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from ganbook import data as sets
from ganbook.checkpoints import load, read, read_settings, save
from ganbook.data import Data, draw, latents
from ganbook.ensemble import members
from ganbook.losses import hinge, non_saturating, relativistic, wasserstein
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import evaluating
from ganbook.penalties import spectral_norm
from ganbook.train import (
    Log, Stop, TrainState, adam, average, d_step, fit, g_step, linear_decay, new_state, sample, set_lr,
)

torch.set_num_threads(1)
ring = sets.ring(n=2000)


@pytest.fixture(scope='module')
def digits(): return sets.digits()


# Networks and helpers

def pair(seed=0, width=16, shape=(2,)):
    "A small pair of plain networks; the same seed gives the same weights."
    torch.manual_seed(seed)
    return MLPGenerator(shape, latent_dim=3, hidden=(width, width), out=nn.Identity), MLPDiscriminator(
        shape, hidden=(width, width)
    )

def norm_pair(seed=0):
    "A pair with BatchNorm and dropout, so that buffers and the global random state count too."
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    G.latent_dim = 3
    D = nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.LeakyReLU(.2), nn.Dropout(.2), nn.Linear(16, 1),
        nn.Flatten(0),
    )
    return G, D

def state(seed=0, make=pair, **options):
    return new_state(*make(seed), **dict(dict(lr=1e-3, seed=seed), **options))

def r1(D, real, fake, real_logits, fake_logits, gamma=1.):
    "Half `gamma` times the mean squared gradient of the logits at real samples."
    grad, = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma/2*grad.flatten(real_logits.ndim).square().sum(-1).mean(-1)

def gradient_penalty(D, real, fake, real_logits, fake_logits):
    "Calls `D` at points of its own, drawn from the global random state."
    x = torch.lerp(fake, real, torch.rand(len(real), 1)).detach().requires_grad_()
    grad, = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return (grad.norm(dim=1) - 1).square().mean()

def everything(s):
    "All that a checkpoint must bring back, as one nested value."
    rng, rows = s.rng if s.members else [s.rng], s.log.rows()
    parts = dict(G=s.G, D=s.D, opt_G=s.opt_G, opt_D=s.opt_D, G_ema=s.G_ema, **s.extra)
    return dict(step=s.step, columns=s.log.columns, rows=rows, rng=[g.get_state() for g in rng],
        **{k: copy.deepcopy(p.state_dict()) for k, p in parts.items() if p is not None})

def same(a, b):
    "Equal to the last bit?"
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a == b

def first_difference(a, b): return next((k for k in a if not same(a[k], b[k])), None)

def one_sentence(error, *parts):
    "Is the message of `error` one clear sentence that holds `parts`?"
    text = str(error.value)
    assert text.endswith('.') and '\n' not in text and len(text) < 300, text
    for part in parts: assert part in text, text


# The loop against one written by hand

def reference(
    s,
    data,
    n_steps,
    loss,
    penalties=(),
    batch_size=64,
    n_critic=1,
    schedule=None,
    augment=None,
    ema_halflife=200.,
):
    "The same training, written out once more without any helper of the library but the draws."
    change = augment or (lambda x: x)
    rates = [[group['lr'] for group in opt.param_groups] for opt in (s.opt_G, s.opt_D)]
    for step in range(n_steps):
        for opt, first in zip((s.opt_G, s.opt_D), rates):
            for group, lr in zip(opt.param_groups, first):
                group['lr'] = lr*(schedule(step/n_steps) if schedule else 1.)
        for _ in range(n_critic):
            real = draw(data, batch_size, s.rng)
            given = real
            fake = s.G(latents(batch_size, s.G.latent_dim, s.rng)).detach()
            real, fake = change(real).clone().requires_grad_(), change(fake).clone().requires_grad_()
            real_logits, fake_logits = s.D(real), s.D(fake)
            total = loss.discriminator(real_logits, fake_logits)
            for p in penalties: total = total + p(s.D, real, fake, real_logits, fake_logits)
            s.D.zero_grad()
            total.backward()
            s.opt_D.step()
        real_logits = s.D(change(given)) if loss.relativistic else None
        s.G.zero_grad()
        loss.generator(real_logits, s.D(change(s.G(latents(batch_size, s.G.latent_dim, s.rng))))).backward()
        s.opt_G.step()
        if s.G_ema is not None:
            keep = .5**(1/ema_halflife)
            for a, b in zip(s.G_ema.parameters(), s.G.parameters()):
                a.data.copy_(keep*a + (1 - keep)*b.detach())
            for a, b in zip(s.G_ema.buffers(), s.G.buffers()):
                a.copy_(keep*a + (1 - keep)*b if a.is_floating_point() else b)
    return s

@pytest.mark.parametrize(
    'options',
    [
        dict(loss=non_saturating), dict(loss=hinge, n_critic=3),
        dict(loss=wasserstein, n_critic=2, penalties=[gradient_penalty]),
        dict(loss=relativistic, penalties=[r1]), dict(loss=non_saturating, schedule=linear_decay(.5)),
        dict(loss=non_saturating, batch_size=7),
        dict(loss=relativistic, augment=lambda x: x.flip(-1)*1.1, penalties=[r1, r1]),
        dict(loss=non_saturating, ema_halflife=3.),
    ],
    ids=lambda o: ' '.join(k for k in o if k != 'loss') or 'plain',
)
@pytest.mark.parametrize('make', [pair, norm_pair])
def test_fit_is_the_loop_one_would_write_by_hand(options, make):
    a, b = (state(make=make, ema='ema_halflife' in options) for _ in range(2))
    torch.manual_seed(5)
    fit(a, ring, 20, **options)
    torch.manual_seed(5)
    reference(b, ring, 20, **options)
    for part in ('G', 'D', 'G_ema') if a.G_ema is not None else ('G', 'D'):
        for (name, p), q in zip(
            getattr(a, part).state_dict().items(), getattr(b, part).state_dict().values()
        ):
            torch.testing.assert_close(
                p, q, rtol=1e-4, atol=1e-5, msg=lambda m, n=f'{part}.{name}': f'{n}: {m}'
            )
    assert not same(a.G.state_dict(), state(make=make).G.state_dict())  # and it has moved

def test_images_go_through_the_same_loop(digits):
    a = state(make=lambda seed: pair(seed, shape=(1, 8, 8)))
    b = state(make=lambda seed: pair(seed, shape=(1, 8, 8)))
    fit(a, digits, 10, non_saturating)
    reference(b, digits, 10, non_saturating)
    torch.testing.assert_close(a.G.state_dict(), b.G.state_dict(), rtol=1e-4, atol=1e-5)
    assert sample(a.G, torch.randn(5, 3)).shape == (5, 1, 8, 8)

@pytest.mark.parametrize('loss', [non_saturating, hinge, wasserstein, relativistic])
def test_log_has_one_row_a_step(loss):
    s = fit(state(), ring, 12, loss, penalties=[r1])
    assert s.log.columns == ('loss_D', 'real_logit', 'fake_logit', 'penalty', 'loss_G')
    table = s.log.table()
    assert tuple(table) == s.log.columns
    assert all(v.shape == (12,) and np.isfinite(v).all() for v in table.values()) and len(s.log) == 12
    assert s.log.last() == {k: v[-1] for k, v in table.items()}

@pytest.mark.parametrize('block', [1, 3, 12, 100])
def test_blocks_of_the_log_change_nothing(block):
    a, b = state(), state()
    b.log = Log(block)
    fit(a, ring, 12, hinge)
    fit(b, ring, 12, hinge, callbacks=[lambda s: s.log.last()])
    assert same(a.log.rows(), b.log.rows())

@pytest.mark.parametrize('n_critic', [1, 2, 5])
def test_n_critic_counts_updates_of_D(n_critic):
    s = fit(state(), ring, 4, non_saturating, n_critic=n_critic)
    def steps(opt): return {int(v['step']) for v in opt.state.values()}
    assert steps(s.opt_D) == {4*n_critic} and steps(s.opt_G) == {4} and len(s.log) == 4


# Penalties, augmentation, buffers, schedule, average: closed forms

class LinearD(nn.Module):
    "D(x) = w x, whose gradient is w everywhere."
    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))
    def forward(self, x): return x @ self.w

class Offset(nn.Module):
    "G(z) = z + b."
    latent_dim = 2
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(2))
    def forward(self, z): return z + self.b

def linear_state(w=(3., 4.), lr=.1):
    G, D = Offset(), LinearD(w)
    return TrainState(G, D, torch.optim.SGD(G.parameters(), lr), torch.optim.SGD(D.parameters(), lr))

@pytest.mark.parametrize('gamma', [0., 1., 10.])
def test_r1_on_a_linear_critic(gamma):
    s, real = linear_state(), draw(ring, 16, torch.Generator().manual_seed(1))
    z = latents(16, 2, torch.Generator().manual_seed(0))  # what the state's own generator will give
    out = d_step(s, real, wasserstein, [lambda *a: r1(*a, gamma=gamma)])
    w = torch.tensor([3., 4.])
    torch.testing.assert_close(out['penalty'], torch.tensor(gamma/2*25.))  # |w|² = 25
    torch.testing.assert_close(out['loss_D'], (z @ w).mean() - (real @ w).mean())
    torch.testing.assert_close(s.D.w.data, w - .1*(z.mean(0) - real.mean(0) + gamma*w))

def test_penalties_add_up_and_the_loss_is_logged_without_them():
    one, two = (d_step(linear_state(), torch.ones(4, 2), wasserstein, [r1]*n) for n in (1, 2))
    torch.testing.assert_close(two['penalty'], 2*one['penalty'])
    torch.testing.assert_close(two['loss_D'], one['loss_D'])
    assert 'penalty' not in d_step(linear_state(), torch.ones(4, 2), wasserstein)

def test_without_penalties_samples_ask_for_no_gradient():
    seen, s = [], linear_state()
    forward = s.D.forward
    s.D.forward = lambda x: seen.append(x.requires_grad) or forward(x)
    d_step(s, torch.ones(4, 2), wasserstein)
    d_step(s, torch.ones(4, 2), wasserstein, [r1])
    assert seen == [False, False, True, True]

@pytest.mark.parametrize('loss,in_g', [(non_saturating, 1), (relativistic, 2)])
def test_augment_sees_real_and_fake_in_both_steps(loss, in_g):
    calls, s = [], state()
    def shift(x):
        calls.append(x.detach().mean().item())
        return x + 100.
    seen, forward = [], s.D.forward
    s.D.forward = lambda x: seen.append(x.detach().min().item()) or forward(x)
    real = draw(ring, 32, s.rng)
    d_step(s, real, loss, augment=shift)
    assert len(calls) == 2 and calls[0] == pytest.approx(real.mean().item())
    g_step(s, real, loss, augment=shift)
    assert len(calls) == 2 + in_g and min(seen) > 50  # D saw nothing else

def test_the_gradient_of_G_runs_through_augment():
    s = linear_state()
    g_step(s, torch.ones(4, 2), wasserstein, augment=lambda x: x*torch.tensor([2., 0.]))
    torch.testing.assert_close(s.G.b.data, .1*torch.tensor([2*3., 0.]))  # L_G = -w·(2 x₀, 0): dL/db = (-6, 0)

def test_each_step_moves_its_own_player_only():
    s, real = state(make=norm_pair), draw(ring, 32)
    for step, moves, stays in ((d_step, 'D', 'G'), (g_step, 'G', 'D')):
        before = {k: [p.clone() for p in getattr(s, k).parameters()] for k in 'GD'}
        step(s, real, relativistic)
        assert same(before[stays], [p.detach() for p in getattr(s, stays).parameters()])
        assert not same(before[moves], [p.detach() for p in getattr(s, moves).parameters()])
    assert all(p.requires_grad for p in s.D.parameters())

def test_parameters_frozen_by_the_user_stay_frozen():
    s = state()
    first = next(s.D.parameters()).requires_grad_(False)
    before = first.clone()
    fit(s, ring, 3, non_saturating)
    assert not first.requires_grad and torch.equal(first, before)

def test_batchnorm_buffers():
    s = state(make=norm_pair, ema=True)
    def counts(m): return int(m[1].num_batches_tracked)
    fit(s, ring, 5, non_saturating, n_critic=2)
    # one pass in each step of either player; the check counts none
    assert counts(s.G) == 5*(2 + 1) and counts(s.G_ema) == counts(s.G)
    assert counts(s.D) == 5*(2*2 + 1)
    before = copy.deepcopy(s.G.state_dict())
    x = sample(s.G, torch.randn(9, 3))
    assert same(before, s.G.state_dict()) and s.G.training and x.shape == (9, 2) and not x.requires_grad
    assert not s.G_ema.training and all(not p.requires_grad for p in s.G_ema.parameters())

def test_evaluating_puts_every_mode_back():
    G, _ = norm_pair()
    G[1].eval()
    with pytest.raises(ZeroDivisionError), evaluating(G):
        assert not any(m.training for m in G.modules()) and not torch.is_grad_enabled()
        _ = 1/0
    assert [m.training for m in G.modules()] == [True, True, False, True, True] and torch.is_grad_enabled()

@pytest.mark.parametrize(
    'make_opt', [adam, lambda ps, lr: torch.optim.SGD(ps, lr), lambda ps, lr: torch.optim.RMSprop(ps, lr)],
    ids=['adam', 'SGD', 'RMSprop'],
)
def test_schedule_scales_every_rate_from_its_first_value(make_opt):
    G, D = pair()
    s = TrainState(G, D, make_opt(G.parameters(), lr=.2), make_opt(D.parameters(), lr=.1))
    s.opt_D.add_param_group(dict(params=[nn.Parameter(torch.zeros(1))], lr=.03))
    seen, steps = [], []
    def look(s): seen.append([float(g['lr']) for opt in (s.opt_G, s.opt_D) for g in opt.param_groups])
    def schedule(progress): return steps.append(progress) or 1 - progress/2
    fit(s, ring, 8, non_saturating, schedule=schedule, callbacks=[look])
    assert list(dict.fromkeys(steps)) == [i/8 for i in range(8)]
    np.testing.assert_allclose(seen, [[f*.2, f*.1, f*.03] for f in (1 - i/16 for i in range(8))], rtol=1e-6)

def test_a_rate_in_a_tensor_is_set_in_place_and_not_read():
    "Reading a tensor makes the host wait for a GPU: once to learn the first rate, never again."
    class Watched(torch.Tensor):
        read = 0
        def __float__(self):
            Watched.read += 1
            return super().__float__()
    rate = torch.tensor(.2).as_subclass(Watched)
    opt = SimpleNamespace(param_groups=[dict(lr=rate)])
    for factor in (1., .5, .25): set_lr(opt, factor)
    assert (
        opt.param_groups[0]['lr'] is rate
        and rate.item() == pytest.approx(.05)
        and opt.param_groups[0]['initial_lr'] == pytest.approx(.2)
    )
    assert Watched.read == 1

def test_penalties_that_can_be_read_only_once_are_not_lost():
    s = state()
    try: fit(s, ring, 5, hinge, penalties=iter([r1]))
    except TypeError as e: assert 'penalties' in str(e)
    else: assert (s.log.table()['penalty'] > 0).all()

def test_a_second_fit_without_schedule_has_the_first_rates_again():
    s = fit(state(), ring, 8, non_saturating, schedule=linear_decay(0.))
    fit(s, ring, 9, non_saturating)
    assert s.opt_G.param_groups[0]['lr'] == 1e-3

@pytest.mark.parametrize(
    'start,points',
    [(0., {0: 1, .5: .5, 1: 0}), (.5, {.25: 1, .5: 1, .75: .5, 1: 0}), (.9, {.9: 1, .95: .5})],
)
def test_linear_decay(start, points):
    for progress, factor in points.items(): assert linear_decay(start)(progress) == pytest.approx(factor)

@pytest.mark.parametrize('halflife', [1., 5., 200.])
def test_average_follows_its_half_life(halflife):
    s, seen = state(ema=True), []
    first = [p.clone() for p in s.G.parameters()]
    fit(
        s, ring, 10, non_saturating, ema_halflife=halflife,
        callbacks=[lambda s: seen.append([p.detach().clone() for p in s.G.parameters()])],
    )
    keep = .5**(1/halflife)
    for i, p in enumerate(s.G_ema.parameters()):
        want = first[i]*keep**10 + sum((1 - keep)*keep**(9 - t)*seen[t][i] for t in range(10))
        torch.testing.assert_close(p, want, rtol=1e-4, atol=1e-6)

def test_average_of_one_step_keeps_half_at_half_life_one():
    slow, fast = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    fast.running_mean.fill_(4.), fast.num_batches_tracked.fill_(7)
    average(slow, fast, 1.)
    assert slow.running_mean.item() == 2. and slow.num_batches_tracked.item() == 7

def every_linear(wrap):
    "A generator of points with `wrap` round each linear layer."
    torch.manual_seed(0)
    G = MLPGenerator((2,), 2, (64, 64), out=nn.Identity)
    for m in list(G.modules()):
        if isinstance(m, nn.Linear): wrap(m)
    return G

spectral = dict(
    ours=lambda: spectral_norm(every_linear(lambda m: m)),
    torchs=lambda: every_linear(nn.utils.parametrizations.spectral_norm),
    torchs_old=lambda: every_linear(nn.utils.spectral_norm),
)

@pytest.mark.parametrize('kind', spectral)
def test_an_average_with_spectral_norm_stays_at_the_radius_of_its_generator(kind):
    G = spectral[kind]()
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
    radii = []
    def look(s):
        if s.step % 50 == 0: radii.append([sample(net, z).norm(dim=1).mean().item() for net in (s.G, s.best)])
    s = fit(
        new_state(G, MLPDiscriminator((2,), hidden=(64, 64)), lr=1e-3, ema=True), ring, 300, hinge,
        callbacks=[look],
    )
    for mine, its in zip(s.G_ema.buffers(), s.G.buffers()): assert torch.equal(mine, its)
    # averaged vectors of length 1 gave 3 to 10,000 times
    assert max(best for _, best in radii) < 2*max(now for now, _ in radii)

def test_what_is_averaged_and_what_is_copied():
    def net():
        net = nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.BatchNorm1d(2))
        net.register_buffer('table', torch.zeros(3))
        return net
    slow, fast = net(), net()
    for b in fast.buffers(): b.fill_(4)
    average(slow, fast, 1.)
    got = {name: b.flatten()[0].item() for name, b in slow.named_buffers()}
    want = {'running_mean': 2., 'running_var': 2.5, 'num_batches_tracked': 4, 'table': 4.}
    assert got == {name: want[name.rpartition('.')[2]] for name in got}

def test_a_generator_that_cannot_be_copied_is_told():
    G = spectral['torchs_old']()
    G(torch.randn(3, 2))
    with pytest.raises(ValueError, match='make the state first'):
        new_state(G, MLPDiscriminator((2,)), ema=True)
    new_state(G, MLPDiscriminator((2,)))  # without an average nothing is copied

def test_a_target_that_is_reached_is_told_once():
    s = fit(state(), ring, 3, non_saturating)
    with pytest.warns(UserWarning, match='the state is at step 3 and n_steps is 3: nothing to do') as told:
        fit(s, ring, 3, non_saturating)
    assert len(told) == 1 and s.step == 3
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert fit(s, ring, 5, non_saturating).step == 5

@pytest.mark.parametrize(
    'make',
    [
        lambda: state(), lambda: members(lambda i: state(seed=i), 2),
        lambda: members(lambda i: new_state(*norm_pair(i)), 2),
    ],
    ids=['one', 'stacked', 'vmap'],
)
def test_a_batch_too_large_for_the_memory_is_refused_before_it_is_drawn(monkeypatch, make):
    monkeypatch.setattr('ganbook.preflight.host_memory', lambda: 2**30)
    s = make()
    with pytest.raises(ValueError, match='batch_size is 10000000: a step would need about .* GiB'):
        fit(s, ring, 1, non_saturating, batch_size=10_000_000)
    assert s.step == 0 and not any(m._forward_hooks for net in (s.G, s.D) for m in net.modules())
    fit(s, ring, 1, non_saturating, batch_size=1000)

class OnePixel(nn.Module):
    "Convolutions whose BatchNorm2d sees images of `side` x `side`."
    latent_dim = 2
    def __init__(self, side):
        super().__init__()
        self.net = nn.Sequential(
            nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, 3, side), nn.BatchNorm2d(3),
            nn.Upsample(size=(8, 8)), nn.Conv2d(3, 1, 1),
        )
    def forward(self, z): return self.net(z)

def test_batch_norm_of_one_value_is_refused_and_of_more_is_not(digits):
    def one(side):
        return fit(
            new_state(OnePixel(side), MLPDiscriminator((1, 8, 8))), digits, 1, non_saturating, batch_size=1
        )
    with pytest.raises(ValueError, match='BatchNorm2d here sees one value a channel and sample'): one(1)
    assert one(2).step == 1

@pytest.mark.parametrize('batch', [1, 3, 10, 1000])
def test_sample_in_pieces(batch):
    G, _ = norm_pair()
    z = torch.randn(10, 3)
    with evaluating(G): want = G(z)
    torch.testing.assert_close(sample(G, z, batch=batch), want)
    many = pair()[0]
    assert sample(many, torch.randn(4, 10, 3), batch=batch).shape == (4, 10, 2)


# Labels

class Toy(nn.Module):
    "Concatenates a one-hot label to its input."
    def __init__(self, n_in, n_out, n_classes=2):
        super().__init__()
        self.latent_dim = n_in
        self.n_classes = n_classes
        self.asked = []
        self.net = nn.Sequential(nn.Linear(n_in + n_classes, 32), nn.LeakyReLU(.2), nn.Linear(32, n_out))
    def forward(self, x, y):
        self.asked.append(y)
        out = self.net(torch.cat([x, F.one_hot(y, self.n_classes).float()], -1))
        return out.squeeze(-1) if out.shape[-1] == 1 else out

def test_labels_reach_both_networks_and_are_learned():
    torch.manual_seed(0)
    y = torch.arange(1000) % 2
    data = Data('two sides', torch.stack([2.*y - 1, torch.zeros(1000)], 1) + .1*torch.randn(1000, 2), y)
    s = new_state(Toy(2, 2), Toy(2, 1), lr=3e-3, seed=0)
    fit(s, data, 400, non_saturating, penalties=[r1, gradient_penalty], labels=True)
    mean = [sample(s.G, torch.randn(500, 2), torch.full((500,), k))[:, 0].mean().item() for k in (0, 1)]
    assert mean[0] < -.5 and mean[1] > .5, mean
    s.G.asked.clear(), s.D.asked.clear()
    fit(s, data, 401, non_saturating, penalties=[r1, gradient_penalty], labels=True)
    # the check before the loop asks about two samples
    asked = [y for y in s.G.asked if len(y) == 64], [y for y in s.D.asked if len(y) == 64]
    # fake in each step; real and fake, the penalty's own points, fake
    assert len(asked[0]) == 2 and len(asked[1]) == 4
    assert all(torch.equal(y, asked[0][0]) for y in asked[0] + asked[1]), 'one batch of labels in a step'

def test_real_samples_come_with_their_own_labels():
    data = Data('numbered', torch.arange(50.)[:, None].repeat(1, 2), torch.arange(50))
    x, y = draw(data, 200, torch.Generator().manual_seed(0), labels=True)
    assert torch.equal(x[:, 0].long(), y)


# Members

class Bank(nn.Module):
    "K two-layer networks side by side, from the weights of K networks alone."
    def __init__(self, singles, squeeze):
        super().__init__()
        def stack(i, name):
            return nn.Parameter(torch.stack([getattr(m.net[i], name).detach() for m in singles]))
        self.w1, self.b1, self.w2, self.b2 = (stack(i, name) for i in (0, 2) for name in ('weight', 'bias'))
        self.latent_dim, self.squeeze = self.w1.shape[-1], squeeze
    def forward(self, x):
        x = F.leaky_relu(torch.einsum('kbi,koi->kbo', x, self.w1) + self.b1[:, None], .2)
        x = torch.einsum('kbi,koi->kbo', x, self.w2) + self.b2[:, None]
        return x.squeeze(-1) if self.squeeze else x

def single(seed):
    torch.manual_seed(seed)
    return MLPGenerator((2,), 3, (16,), nn.Identity), MLPDiscriminator((2,), (16,))

def member_state(make_opt, seeds=(3, 4, 5)):
    pairs = [single(seed) for seed in seeds]
    G, D = (Bank([p[i] for p in pairs], squeeze=i == 1) for i in (0, 1))
    return TrainState(
        G, D, make_opt(G.parameters()), make_opt(D.parameters()),
        rng=[torch.Generator().manual_seed(k) for k in seeds], G_ema=copy.deepcopy(G).requires_grad_(False),
    )

opts = dict(sgd=lambda ps: torch.optim.SGD(ps, .05), adam=lambda ps: adam(ps, 1e-3))

@pytest.mark.parametrize(
    'loss,options',
    [
        (non_saturating, {}), (relativistic, dict(penalties=[r1])),
        (hinge, dict(n_critic=2, schedule=linear_decay(.5))),
    ],
    ids=['plain', 'relativistic R1', 'n_critic'],
)
@pytest.mark.parametrize('opt', opts)
def test_a_member_is_the_gan_trained_alone(opt, loss, options):
    s = fit(member_state(opts[opt]), ring, 20, loss, batch_size=32, **options)
    table = s.log.table()
    assert all(v.shape == (20, 3) for v in table.values()) and s.members == (3,)
    assert all(v.shape == (3,) for v in s.log.last().values())
    for i, seed in enumerate((3, 4, 5)):
        G, D = single(seed)
        alone = TrainState(
            G, D, opts[opt](G.parameters()), opts[opt](D.parameters()),
            rng=torch.Generator().manual_seed(seed),
        )
        fit(alone, ring, 20, loss, batch_size=32, **options)
        for name, (a, b) in dict(G=(s.G, G), D=(s.D, D)).items():
            for p, q in zip(a.parameters(), b.parameters()):
                torch.testing.assert_close(p[i], q, rtol=1e-3, atol=5e-5, msg=lambda m, n=name: f'{n}: {m}')
        for column, v in alone.log.table().items():
            np.testing.assert_allclose(table[column][:, i], v, rtol=1e-3, atol=1e-4)

def test_members_differ_and_do_not_touch():
    s = fit(member_state(opts['adam']), ring, 5, hinge)
    assert not torch.allclose(s.G.w1[0], s.G.w1[1])
    t = member_state(opts['adam'])
    with torch.no_grad(): t.G.w1[2] += 1.  # another third member: the first two must not notice
    fit(t, ring, 5, hinge)
    torch.testing.assert_close(s.G.w1[:2], t.G.w1[:2])
    assert not torch.allclose(s.G.w1[2], t.G.w1[2])

def test_members_are_saved_and_resumed(tmp_path):
    whole = fit(member_state(opts['adam']), ring, 20, hinge, schedule=linear_decay(.5))
    save(
        fit(member_state(opts['adam']), ring, 20, hinge, schedule=linear_decay(.5), callbacks=[stop_at(9)]),
        tmp_path/'k.pt',
    )
    rest = fit(
        load(member_state(opts['adam'], seeds=(7, 8, 9)), tmp_path/'k.pt'), ring, 20, hinge,
        schedule=linear_decay(.5),
    )
    assert first_difference(everything(whole), everything(rest)) is None


# The same run again: repeats, callbacks, a new process

def stop_at(step):
    def stop(s):
        if s.step == step: raise Stop
    return stop

variants = dict(
    plain=dict(),
    buffers=dict(
        make=norm_pair, ema=True,
        fit=dict(n_critic=2, schedule=linear_decay(.3), penalties=[gradient_penalty], ema_halflife=10.),
    ),
    relativistic=dict(
        ema=True, fit=dict(loss=relativistic, penalties=[r1], augment=lambda x: x + .1*torch.randn_like(x))
    ),
)

def begin(name, seed=0):
    "The state of a variant, and the global random numbers that belong to it."
    s = state(seed, **{k: v for k, v in variants[name].items() if k != 'fit'})
    torch.manual_seed(100 + seed)
    return s

def go_on(name, s, n_steps=60, **more):
    options = dict(dict(loss=non_saturating), **variants[name].get('fit', {}))
    return fit(s, ring, n_steps, **options, **more)

def second_half(folder):
    "In a new process: fill states of another seed from the files and train to the end."
    for name in variants:
        s = load(begin(name, seed=9), f'{folder}/{name}.pt')
        assert s.step == 25
        torch.save(everything(go_on(name, s)), f'{folder}/{name}.end')

@pytest.fixture(scope='module')
def halves(tmp_path_factory):
    "Run the first 25 steps of each variant here and the rest in one new process."
    folder = tmp_path_factory.mktemp('halves')
    for name in variants:
        save(
            go_on(name, begin(name), callbacks=[stop_at(25)]), folder/f'{name}.pt', settings=dict(name=name)
        )
    begun = f'import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_train'
    code = f'{begun}; test_train.second_half({str(folder)!r})'
    subprocess.run([sys.executable, '-c', code], check=True, cwd=Path(__file__).parent.parent, timeout=120)
    return folder

@pytest.mark.parametrize('name', variants)
def test_resumed_in_a_new_process_bit_for_bit(name, halves):
    whole, rest = everything(go_on(name, begin(name))), torch.load(halves/f'{name}.end', weights_only=True)
    assert len(rest['rows']) == 60
    assert first_difference(whole, rest) is None
    # a wrong seed would have shown
    assert not same(whole['G'], everything(go_on(name, begin(name, seed=9)))['G'])

def test_without_the_random_state_the_rest_differs(halves):
    s = load(begin('plain'), halves/'plain.pt')
    s.rng.manual_seed(77)
    assert not same(everything(go_on('plain', s))['G'], everything(go_on('plain', begin('plain')))['G'])

@pytest.mark.parametrize('name', variants)
def test_looking_does_not_change_the_run(name, tmp_path):
    seen = []
    def look(s):
        seen.append((s.step, sample(s.best, torch.zeros(4, 3)).mean().item(), s.log.last(), s.log.table()))
        if s.step % 10 == 0: save(s, tmp_path/'look.pt')
    a, b = go_on(name, begin(name)), go_on(name, begin(name), callbacks=[look, look])
    assert first_difference(everything(a), everything(b)) is None
    assert [step for step, *_ in seen] == [i for i in range(1, 61) for _ in range(2)]

def test_n_steps_is_the_target():
    s = go_on('plain', begin('plain'), 20)
    before = everything(s)
    assert go_on('plain', s, 20) is s and first_difference(before, everything(s)) is None
    assert go_on('plain', s, 10).step == 20
    assert (
        first_difference(everything(go_on('plain', s, 60)), everything(go_on('plain', begin('plain'))))
        is None
    )
    assert s.n_steps == 60

@pytest.mark.parametrize(
    'settings', [None, {}, dict(recipe='ring', lr=2e-4, sizes=[1, 2], deep=dict(a=None, b=True))]
)
def test_settings_come_back(settings, tmp_path):
    save(state(), tmp_path/'s.pt', settings=settings)
    assert read_settings(tmp_path/'s.pt') == (settings or {})
    assert not list(tmp_path.glob('*.part'))

def test_settings_that_are_not_plain_are_refused(tmp_path):
    for bad in (dict(a=torch.zeros(1)), dict(a=len), dict(a={1, 2})):
        with pytest.raises(TypeError) as e: save(state(), tmp_path/'s.pt', settings=bad)
        one_sentence(e, 'settings must be plain values')
    assert not list(tmp_path.iterdir())

def test_a_checkpoint_of_step_0(tmp_path):
    save(state(), tmp_path/'s.pt')
    s = fit(load(state(seed=3), tmp_path/'s.pt'), ring, 5, hinge)
    assert first_difference(everything(s), everything(fit(state(), ring, 5, hinge))) is None

def test_numbers_of_numpy_do_not_spoil_a_checkpoint(tmp_path):
    "A np.float64 is a float to json and to the optimiser, but a pickle of it is more than a plain value."
    s = fit(state(lr=np.float64(1e-3)), ring, 5, hinge, schedule=lambda p: .5*(1 + np.cos(np.pi*p)))
    save(s, tmp_path/'s.pt', settings=dict(lr=np.float64(.5), name=np.str_('a')))
    assert load(state(), tmp_path/'s.pt').step == 5 and read_settings(tmp_path/'s.pt') == dict(
        lr=.5, name='a'
    )

def test_the_log_is_there_as_soon_as_it_is_loaded(tmp_path):
    a = fit(state(), ring, 7, hinge)
    save(a, tmp_path/'s.pt')
    b = load(state(), tmp_path/'s.pt')
    assert b.log.columns == a.log.columns and len(b.log) == 7 and b.log.last() == a.log.last()
    assert {k: v.tolist() for k, v in b.log.table().items()} == {
        k: v.tolist() for k, v in a.log.table().items()
    }

def test_extra_parts_are_saved_and_resumed(tmp_path):
    a, b = state(), state()
    a.extra['head'], b.extra['head'] = nn.Linear(2, 2), nn.Linear(2, 2)
    save(a, tmp_path/'s.pt')
    assert same(load(b, tmp_path/'s.pt').extra['head'].state_dict(), a.extra['head'].state_dict())

@pytest.mark.parametrize('first,then', [([], [r1]), ([r1], [])], ids=['added', 'dropped'])
def test_other_penalties_in_a_second_fit(first, then):
    "Either one clear sentence, or a column that says which steps had none; never a silent loss."
    s = fit(state(), ring, 5, hinge, penalties=first)
    try: fit(s, ring, 9, hinge, penalties=then)
    except ValueError as e: assert str(e).endswith('.') and 'penalt' in str(e)
    else:
        column = s.log.table()['penalty']
        assert column.shape == (9,) and np.isfinite(column[5:] if then else column[:5]).all()
        assert np.isnan(column[:5] if then else column[5:]).all()


# Ends: Stop, errors, Ctrl-C

class Closing:
    "A callback that can be closed, and that raises what it is told to at a step."
    def __init__(self, at=0, error=None): self.at, self.error, self.closed = at, error, []
    def __call__(self, s):
        if s.step == self.at and self.error: raise self.error
    def close(self, s): self.closed.append(s.step)

@pytest.mark.parametrize(
    'error,ends', [(None, 9), (Stop(), 4), (RuntimeError('oops'), 4), (KeyboardInterrupt(), 4)], ids=repr
)
def test_callbacks_are_closed_whatever_happens(error, ends):
    s, calls = state(), [Closing(), Closing(4, error), Closing()]
    try: fit(s, ring, 9, hinge, callbacks=calls)
    except (RuntimeError, KeyboardInterrupt) as e: assert e is error
    else: assert error is None or isinstance(error, Stop)
    assert s.step == len(s.log) == ends and [c.closed for c in calls] == [[ends]]*3

@pytest.mark.parametrize('where', ['callback', 'middle of a step'])
def test_ctrl_c_waits_for_the_end_of_the_step(where):
    s, handler = state(), signal.getsignal(signal.SIGINT)
    closing = Closing()
    def in_callback(s):
        if where == 'callback' and s.step == 7: signal.raise_signal(signal.SIGINT)
    def in_step(x):
        if where != 'callback' and s.step == 6:
            signal.raise_signal(signal.SIGINT) if not done else None
            done.append(1)
        return x
    done = []
    with pytest.raises(KeyboardInterrupt):
        fit(s, ring, 20, hinge, augment=in_step, callbacks=[in_callback, closing])
    assert signal.getsignal(signal.SIGINT) is handler
    assert s.step == 7 and closing.closed == [7]
    # nothing is half done
    assert first_difference(everything(s), everything(fit(state(), ring, 7, hinge))) is None
    assert (
        first_difference(everything(fit(s, ring, 20, hinge)), everything(fit(state(), ring, 20, hinge)))
        is None
    )

def test_a_second_ctrl_c_does_not_wait():
    s = state()
    def twice(x):
        for _ in range(2): signal.raise_signal(signal.SIGINT)
        return x
    with pytest.raises(KeyboardInterrupt): fit(s, ring, 20, hinge, augment=twice)
    assert s.step == 0

def test_a_second_ctrl_c_does_not_cut_the_closing_short():
    closed = []
    class Slow:
        def __call__(self, s): signal.raise_signal(signal.SIGINT)
        def close(self, s):
            signal.raise_signal(signal.SIGINT)
            closed.append(s.step)
    with pytest.raises(KeyboardInterrupt): fit(state(), ring, 20, hinge, callbacks=[Slow(), Slow()])
    assert closed == [1, 1]

def test_ctrl_c_while_closing_a_finished_run_is_not_lost():
    class Late:
        def __call__(self, s): pass
        def close(self, s): signal.raise_signal(signal.SIGINT)
    s = state()
    with pytest.raises(KeyboardInterrupt): fit(s, ring, 3, hinge, callbacks=[Late()])
    assert s.step == 3

def test_ctrl_c_is_not_lost_when_a_callback_stops_the_run():
    def both(s):
        signal.raise_signal(signal.SIGINT)
        raise Stop
    with pytest.raises(KeyboardInterrupt): fit(state(), ring, 20, hinge, callbacks=[both])

def test_fit_runs_in_a_thread():
    s = state()
    thread = threading.Thread(target=fit, args=(s, ring, 7, hinge))
    thread.start()
    thread.join(30)
    assert first_difference(everything(s), everything(fit(state(), ring, 7, hinge))) is None


# Wrong values and shapes

class Wrong(nn.Module):
    "Gives tensors of the shape it is told to."
    latent_dim = 3
    def __init__(self, *shape):
        super().__init__()
        self.shape, self.w = shape, nn.Parameter(torch.zeros(1))
    def forward(self, x, *y): return self.w + torch.zeros(len(x), *self.shape)

def with_net(G=None, D=None, **options):
    plain = pair()
    return new_state(G or plain[0], D or plain[1], **options)

def no_latent():
    G = pair()[0]
    G.latent_dim = 5
    return G

moons = sets.two_moons(100)
refused = {
    'n_steps 0': (lambda: fit(state(), ring, 0, hinge), 'n_steps is 0'),
    'n_steps fraction': (lambda: fit(state(), ring, 2.5, hinge), 'n_steps is 2.5'),
    'n_steps text': (lambda: fit(state(), ring, '10', hinge), "n_steps is '10'"),
    'batch_size 0': (lambda: fit(state(), ring, 5, hinge, batch_size=0), 'batch_size is 0'),
    'batch_size negative': (lambda: fit(state(), ring, 5, hinge, batch_size=-3), 'batch_size is -3'),
    'n_critic 0': (lambda: fit(state(), ring, 5, hinge, n_critic=0), 'n_critic is 0'),
    'half-life 0': (lambda: fit(state(ema=True), ring, 5, hinge, ema_halflife=0), 'ema_halflife is 0'),
    'half-life negative': (
        lambda: fit(state(ema=True), ring, 5, hinge, ema_halflife=-1.), 'ema_halflife is -1',
    ),
    'no labels': (lambda: fit(state(), sets.spiral(50), 5, hinge, labels=True), 'spiral has no labels'),
    'G for another shape': (
        lambda: fit(state(), sets.digits(), 5, hinge),
        'makes samples of shape (2,), but those of digits have (1, 8, 8)',
    ),
    'G of a batch alone': (lambda: fit(with_net(G=Wrong()), ring, 5, hinge), 'makes samples of shape'),
    'D with two logits': (lambda: fit(with_net(D=Wrong(2)), ring, 5, hinge), 'one logit a sample'),
    'D with (B,1)': (lambda: fit(with_net(D=Wrong(1)), ring, 5, hinge), 'one logit a sample'),
    'D for another shape': (lambda: fit(with_net(D=pair(shape=(1, 8, 8))[1]), ring, 5, hinge), 'do not fit'),
    'G and labels': (
        lambda: fit(with_net(G=Wrong(3)), moons, 5, hinge, labels=True), 'makes samples of shape (3,)',
    ),
    'D and labels': (lambda: fit(with_net(D=Wrong(1)), moons, 5, hinge, labels=True), 'one logit a sample'),
    'latent_dim': (lambda: fit(with_net(G=no_latent()), ring, 5, hinge), 'latent'),
    'loss by name': (lambda: fit(state(), ring, 5, 'hinge'), 'loss'),
    'loss a function': (lambda: fit(state(), ring, 5, hinge.generator), 'loss'),
    'penalty not in a list': (lambda: fit(state(), ring, 5, hinge, penalties=r1), 'penalties'),
    'callback not in a list': (lambda: fit(state(), ring, 5, hinge, callbacks=print), 'callbacks'),
    'data a tensor': (lambda: fit(state(), torch.zeros(5, 2), 5, hinge), 'Data'),
    'capture without a GPU': (lambda: fit(state(), ring, 5, hinge, capture=True), 'leave capture out'),
    'no latent_dim': (lambda: new_state(nn.Linear(3, 2), pair()[1]), 'has no attribute latent_dim'),
    'late decay': (lambda: linear_decay(1.), 'start is 1.0'),
    'early decay': (lambda: linear_decay(-.1), 'start is -0.1'),
}

@pytest.mark.parametrize('what', refused)
def test_wrong_values_get_one_clear_sentence(what):
    call, part = refused[what]
    with pytest.raises((ValueError, TypeError)) as e: call()
    one_sentence(e, part)

@pytest.mark.parametrize('wrong', [dict(n_steps=0), dict(batch_size=0)])
def test_a_refusal_leaves_the_state_untouched(wrong, digits):
    s = state(make=norm_pair, ema=True)
    before = everything(s)
    with pytest.raises(ValueError): fit(s, ring, **dict(dict(n_steps=5, loss=hinge), **wrong))
    with pytest.raises(ValueError): fit(s, digits, 5, hinge)
    assert first_difference(before, everything(s)) is None and s.n_steps == 0


# Checkpoints that must not load

class Touch:
    "A pickle that makes a file when it is loaded."
    def __init__(self, path): self.path = path
    def __reduce__(self): return open, (str(self.path), 'w')

@pytest.fixture
def kept(tmp_path):
    "A good checkpoint of a state that has trained for 5 steps."
    save(fit(state(ema=True), ring, 5, hinge), tmp_path/'kept.pt')
    return tmp_path/'kept.pt'

def other(**changes):
    "A state like that of `kept`, with other parts."
    s = fit(state(seed=4, ema=True), ring, 3, hinge)
    for name, value in changes.items(): setattr(s, name, value(s) if callable(value) else value)
    return s

def sgd(s): return torch.optim.SGD(s.G.parameters(), .1)
def two_groups(s):
    a, *rest = s.D.parameters()
    return torch.optim.Adam([dict(params=[a]), dict(params=rest)], 1e-3)

class Stubborn:
    "A part that takes half of what it is given, and then refuses it."
    def __init__(self, a): self.a, self.kept = a, a
    def state_dict(self): return dict(a=self.a)
    def load_state_dict(self, d):
        self.a = d['a']
        if self.a != self.kept: raise ValueError('this part does not like it')

misfits = {
    'wider': (
        lambda: fit(state(make=lambda seed: pair(seed, width=8), ema=True), ring, 3, hinge), 'here it is',
    ),
    'other layers': (lambda: fit(state(make=norm_pair, ema=True), ring, 3, hinge), 'does not fit'),
    'no average here': (lambda: other(G_ema=None), 'it has G_ema'),
    'other optimiser': (lambda: other(opt_G=sgd), 'its opt_G is Adam, here it is SGD'),
    'other groups': (lambda: other(opt_D=two_groups), 'opt_D'),
    'extra here': (lambda: other(extra=dict(head=nn.Linear(1, 1))), 'it lacks extra.head'),
    'members here': (lambda: other(rng=[torch.Generator(), torch.Generator()]), 'member'),
}

@pytest.mark.parametrize('what', misfits)
def test_a_checkpoint_that_does_not_fit(what, kept):
    make, part = misfits[what]
    s = make()
    before = everything(s)
    with pytest.raises(ValueError) as e: load(s, kept)
    one_sentence(e, 'kept.pt does not fit', part)
    assert first_difference(before, everything(s)) is None, 'the state was touched'

@pytest.mark.parametrize(
    'what,change,part',
    [
        ('average there', dict(G_ema=None), 'it lacks G_ema'),
        ('extra there', dict(extra=dict(head=nn.Linear(1, 1))), 'it has extra.head'),
    ],
)
def test_a_checkpoint_with_other_parts(what, change, part, tmp_path):
    save(other(**change), tmp_path/'s.pt')
    with pytest.raises(ValueError) as e: load(other(), tmp_path/'s.pt')
    one_sentence(e, part)

def test_a_part_that_refuses_leaves_the_rest_untouched(tmp_path):
    save(other(extra=dict(part=Stubborn(1))), tmp_path/'s.pt')
    s = state(seed=1, ema=True)
    s.extra['part'] = Stubborn(2)
    before = everything(s)
    with pytest.raises(ValueError): load(s, tmp_path/'s.pt')
    assert first_difference(before, everything(s)) is None, 'the state was touched'

@pytest.mark.parametrize('share', [0., .001, .3, .7, .99, .9999])
def test_a_truncated_file(share, kept):
    raw = kept.read_bytes()
    kept.write_bytes(raw[:int(share*len(raw))])
    s = other()
    before = everything(s)
    with pytest.raises(ValueError) as e: load(s, kept)
    one_sentence(e, 'damaged or no checkpoint')
    assert first_difference(before, everything(s)) is None

def test_a_flipped_bit_is_refused_or_harmless(kept):
    """Anywhere in the file, its directory at the end included: one
    clear sentence, or the very same content (padding, dates)."""
    raw = kept.read_bytes()
    want = read(kept)
    harmless = 0
    rng = random.Random(0)
    places = rng.sample(range(len(raw)), 150) + rng.sample(
        range(raw.rindex(b'PK\x01\x02') - 1500, len(raw)), 150
    )
    for i in places:
        broken = bytearray(raw)
        broken[i] ^= 1 << rng.randrange(8)
        kept.write_bytes(broken)
        try:
            got = read(kept)
        except Exception as e:
            assert isinstance(e, ValueError) and str(e).endswith('train again.'), (
                f'byte {i}: {type(e).__name__}: {e}'
            )
        else:
            harmless += 1
            assert same(want, got), f'byte {i}: loaded, but with another content'
    assert harmless < len(places)/2

@pytest.mark.parametrize('how', ['pickle', 'torch', 'inside', 'old torch'])
def test_code_from_a_stranger_is_refused_and_not_run(how, kept, tmp_path):
    trap = tmp_path/'ran'
    content = dict(read(kept), settings=Touch(trap))
    if how == 'pickle': kept.write_bytes(pickle.dumps(Touch(trap)))
    elif how == 'torch': torch.save(Touch(trap), kept)
    elif how == 'inside': torch.save(content, kept)
    else: torch.save(content, kept, _use_new_zipfile_serialization=False)
    s = other()
    before = everything(s)
    with pytest.raises(ValueError) as e: load(s, kept)
    one_sentence(e, 'kept.pt')
    assert not trap.exists() and first_difference(before, everything(s)) is None
    with open(tmp_path/'check', 'wb') as f: pickle.dump(Touch(trap), f)
    pickle.loads((tmp_path/'check').read_bytes()).close()
    assert trap.exists()  # the trap does work

@pytest.mark.parametrize(
    'content,part',
    [
        (dict(a=1), 'is not a checkpoint of ganbook'), ([1, 2], 'is not a checkpoint of ganbook'),
        (torch.zeros(3), 'is not a checkpoint of ganbook'),
        (dict(format='ganbook', version=99), 'has version 99'), (dict(format='ganbook'), 'version'),
        (dict(format='ganbook', version=1), ''),
    ],
    ids=repr,
)
def test_files_of_others(content, part, tmp_path):
    torch.save(content, tmp_path/'s.pt')
    with pytest.raises(ValueError) as e: load(other(), tmp_path/'s.pt')
    one_sentence(e, part, 's.pt')

@pytest.mark.parametrize('make', [lambda p: None, lambda p: p.mkdir()], ids=['missing', 'a folder'])
def test_no_file(make, tmp_path):
    make(tmp_path/'s.pt')
    with pytest.raises(FileNotFoundError) as e: load(state(), tmp_path/'s.pt')
    one_sentence(e, 'is not there: check the path')

@pytest.mark.parametrize(
    'raw', [b'', b'hello', b'PK\x03\x04' + bytes(100), bytes(5000)],
    ids=['empty', 'text', 'zip head', 'zeros'],
)
def test_no_checkpoint_at_all(raw, tmp_path):
    (tmp_path/'s.pt').write_bytes(raw)
    with pytest.raises(ValueError) as e: load(state(), tmp_path/'s.pt')
    one_sentence(e, 'damaged or no checkpoint')


# Saving under bad conditions

def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(OSError, match='file'): save(state(), tmp_path/'file'/'s.pt')
    assert [p.name for p in tmp_path.iterdir()] == ['file']

@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path/'shut').mkdir(mode=0o500)
    with pytest.raises(PermissionError, match='shut'): save(state(), tmp_path/'shut'/'s.pt')

@pytest.mark.parametrize('function', ['fsync', 'replace'])
def test_a_full_disk_leaves_the_old_file_and_no_other(function, kept, monkeypatch):
    def full(*args): raise OSError(28, 'No space left on device')
    raw = kept.read_bytes()
    with monkeypatch.context() as m, pytest.raises(OSError, match='No space'):
        m.setattr(f'ganbook.files.os.{function}', full)
        save(other(), kept)
    assert kept.read_bytes() == raw and [p.name for p in kept.parent.iterdir()] == ['kept.pt']

def killed(work, after_s):
    """Fork, let the child do `work`, end it after `after_s`
    seconds by the signal that cannot be caught; its way out."""
    child = os.fork()
    if child == 0:
        try: work()
        finally: os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]

def test_kill_9_in_the_middle_of_saving_leaves_a_whole_file(kept):
    big = new_state(*pair(width=300), ema=True)
    want = {}
    for step in (1, 2):
        big.step = step
        save(big, kept)
        want[step] = everything(big)
    def work():
        while True:
            for big.step in (1, 2): save(big, kept)
    cut_short = 0
    for i in range(12):
        assert killed(work, .05 + .011*i) == signal.SIGKILL
        content = read(kept)
        assert same(content['parts']['G'], want[content['step']]['G'])
        parts = list(kept.parent.glob('*.part'))
        cut_short += bool(parts)
        for p in parts: p.unlink()
    assert cut_short, 'no child was killed while it wrote'

@pytest.mark.parametrize('function', ['fsync', 'replace'])
def test_kill_9_just_before_the_rename_leaves_the_old_file(function, kept, monkeypatch):
    raw = kept.read_bytes()
    s = other()
    def work():
        monkeypatch.setattr(f'ganbook.files.os.{function}', lambda *a: time.sleep(60))
        save(s, kept)
    assert killed(work, .3) == signal.SIGKILL
    assert kept.read_bytes() == raw and load(other(), kept).step == 5

def test_bfloat16_leaves_weights_and_log_in_full_precision():
    s = fit(state(ema=True), ring, 6, relativistic, penalties=[r1], amp=True)
    assert {p.dtype for m in (s.G, s.D, s.G_ema) for p in m.parameters()} == {torch.float32}
    assert s.log.rows().dtype == torch.float32 and s.log.rows().isfinite().all()

class Conv(nn.Module):
    "A small generator with a convolution."
    latent_dim = 3
    def __init__(self):
        super().__init__()
        self.dense, self.conv = nn.Linear(3, 4*64), nn.Conv2d(4, 1, 3, padding=1)
    def forward(self, z): return self.conv(self.dense(z).view(-1, 4, 8, 8)).tanh()

def conv_pair(seed=0):
    torch.manual_seed(seed)
    G = Conv()
    D = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.LeakyReLU(.2), nn.Conv2d(4, 4, 3),
        nn.Flatten(), nn.Linear(4*16, 1), nn.Flatten(0),
    )
    return G, D

def test_channels_last_changes_the_layout_and_not_the_result(digits):
    def run(last): return fit(state(make=conv_pair), digits, 5, hinge, channels_last=last)
    a, b = run(False), run(True)
    torch.testing.assert_close(a.G.state_dict(), b.G.state_dict(), rtol=1e-3, atol=1e-4)
    assert b.D[2].weight.is_contiguous(memory_format=torch.channels_last)

def test_a_run_goes_on_in_another_layout(digits):
    "Adam's fused step takes weights and memory in the order in which they lie: both must be laid out alike."
    def run(last):
        s = fit(state(make=conv_pair), digits, 4, hinge)
        return fit(s, digits, 8, hinge, channels_last=last)
    torch.testing.assert_close(*(run(last).D.state_dict() for last in (False, True)), rtol=1e-3, atol=1e-4)

def test_memory_that_was_kept_in_another_layout_is_laid_out(digits):
    def run(last): return fit(state(make=conv_pair), digits, 4, hinge, channels_last=last)
    plain, other = run(False), run(True)
    other.opt_D.load_state_dict(copy.deepcopy(plain.opt_D.state_dict()))
    def apart(): return [p.stride() != known['exp_avg'].stride() for p, known in other.opt_D.state.items()]
    assert any(apart())
    for s in (plain, other): fit(s, digits, 8, hinge)
    assert not any(apart())
    torch.testing.assert_close(plain.D.state_dict(), other.D.state_dict(), rtol=1e-3, atol=1e-4)

def test_members_keep_their_layout(digits):
    "Their weights have a dimension more."
    runs = [
        fit(members(lambda i: state(i, make=conv_pair), 2), digits, 3, hinge, channels_last=last)
        for last in (False, True)
    ]
    torch.testing.assert_close(*(s.D.state_dict() for s in runs), rtol=0, atol=0)

def test_a_step_of_D_gives_the_images_no_gradient(digits):
    "What a penalty looks at requires a gradient while it looks; none is left with the images, nor made."
    seen = []
    def penalty(D, real, fake, real_logits, fake_logits):
        seen.extend((real, fake))
        return r1(D, real, fake, real_logits, fake_logits)
    s = state(make=conv_pair)
    before = [p.clone() for p in s.D.parameters()]
    d_step(s, draw(digits, 8, s.rng), hinge, [penalty])
    assert [x.requires_grad for x in seen] == [True, True]
    assert [x.grad for x in seen] == [None, None]
    assert any((p != q).any() for p, q in zip(s.D.parameters(), before))
