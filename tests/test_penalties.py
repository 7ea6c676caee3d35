"""Penalties against loops written by hand and finite differences, members against
GANs alone, spectral norms against SVD and PyTorch's, and what a step costs."""
import copy
import gc
import warnings
from functools import partial
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from ganbook import data as sets
from ganbook import penalties
from ganbook.checkpoints import load, save
from ganbook.data import draw
from ganbook.ensemble import MemberAdam, Stacked, member, members
from ganbook.losses import hinge, non_saturating, relativistic, wasserstein
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import evaluating
from ganbook.penalties import (
    SpectralNorm, clip_weights, dragan, grad_sq, lipschitz, r1, r2, spectral_norm, wgan_gp,
)
from ganbook.train import adam, d_step, fit, new_state

torch.set_num_threads(1)
ring = sets.ring(n=2000)
all_four = [r1, r2, wgan_gp, dragan]
names = [p.__name__ for p in all_four]

# Helpers

def close(a, b, eps=1e-5):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=eps, atol=eps)

def smooth(seed=0, d=3, width=8):
    "A network in float64 whose slope changes smoothly, for finite differences."
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(d, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1), nn.Flatten(0)
    ).double()

def points(seed, n=6, d=3):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]

def given(p, D, real, fake, **more): return p(D, real, fake, D(real), D(fake), **more)

def state(i=0, prepare=lambda D: D, width=16, **options):
    torch.manual_seed(i)
    hidden = (width, width)
    return new_state(
        MLPGenerator((2,), 2, hidden, nn.Identity), prepare(MLPDiscriminator((2,), hidden)), lr=1e-3, seed=i,
        **options,
    )

def slopes_by_differences(D, x, h=1e-6):
    "Squared slope at each sample, from two evaluations a coordinate and sample."
    out = torch.zeros(len(x), dtype=x.dtype)
    for i in range(len(x)):
        for j in range(x[i].numel()):
            e = torch.zeros_like(x[i]).flatten()
            e[j] = h
            e = e.view_as(x[i])
            out[i] += ((D((x[i] + e)[None]) - D((x[i] - e)[None])).squeeze()/(2*h))**2
    return out.detach()

@pytest.fixture(autouse=True)
def no_warnings():
    "A penalty warns of coupled batches only; elsewhere any warning is a fault."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield

# Values

@pytest.mark.parametrize('w', [(3., 4.), (0., 1.), (-.5, 0.)])
@pytest.mark.parametrize('gamma', [0., .1, 2., 10.])
def test_linear_critics_have_exact_penalties(w, gamma):
    w = torch.tensor(w)
    D, size = lambda x: x @ w, w.norm().item()
    real, fake = (torch.randn(7, 2).requires_grad_() for _ in range(2))
    close(given(r1, D, real, fake, gamma=gamma), gamma/2*size**2)
    close(given(r2, D, real, fake, gamma=gamma), gamma/2*size**2)
    close(given(wgan_gp, D, real, fake, weight=gamma), gamma*(size - 1)**2)
    close(given(dragan, D, real, fake, weight=gamma), gamma*(size - 1)**2)

def test_the_default_weights_are_the_papers():
    w = torch.tensor([3., 4.])
    real, fake = (torch.randn(7, 2).requires_grad_() for _ in range(2))
    for p, want in zip(all_four, (12.5, 12.5, 160., 160.)): close(given(p, lambda x: x @ w, real, fake), want)

@pytest.mark.parametrize('seed', range(3))
def test_slopes_against_finite_differences(seed):
    D, (real, fake) = smooth(seed), points(seed)
    close(grad_sq(D(real), real).detach(), slopes_by_differences(D, real.detach()), 1e-6)
    close(
        given(r1, D, real, fake, gamma=3.).detach(), 1.5*slopes_by_differences(D, real.detach()).mean(), 1e-6,
    )
    close(
        given(r2, D, real, fake, gamma=.3).detach(), .15*slopes_by_differences(D, fake.detach()).mean(), 1e-6,
    )

def test_slopes_of_an_image_critic_against_finite_differences():
    torch.manual_seed(0)
    D = DCGANDiscriminator((1, 8, 8), 4, norm=None, act=nn.Tanh, init=None).double()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    close(grad_sq(D(x), x).detach(), slopes_by_differences(D, x.detach()), 1e-6)

@pytest.mark.parametrize('seed', range(3))
def test_gradient_penalties_against_loops_by_hand(seed):
    D, (real, fake) = smooth(seed), points(seed)
    t = torch.rand(6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    between = torch.stack([(1 - a)*x + a*y for a, x, y in zip(t, real.detach(), fake.detach())])
    want = 10*(slopes_by_differences(D, between).sqrt() - 1).square().mean()
    close(given(wgan_gp, D, real, fake, rng=torch.Generator().manual_seed(5)).detach(), want, 1e-6)
    noise = torch.rand(6, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    moved = real.detach() + .5*real.detach().std()*noise
    want = 10*(slopes_by_differences(D, moved).sqrt() - 1).square().mean()
    close(given(dragan, D, real, fake, rng=torch.Generator().manual_seed(5)).detach(), want, 1e-6)

@pytest.mark.parametrize('p', all_four, ids=names)
def test_the_gradient_reaches_the_weights(p):
    "Against differences of the penalty itself, weight by weight."
    D, (real, fake) = smooth(), points(1)
    def value():
        more = {} if p in (r1, r2) else dict(rng=torch.Generator().manual_seed(2))
        return given(p, D, real, fake, **more)
    value().backward()
    for q in D.parameters():
        got = torch.zeros_like(q) if q.grad is None else q.grad
        for i in range(0, q.numel(), 5):
            at, h = q.data.view(-1), 1e-5
            old = at[i].item()
            at[i] = old + h
            high = value().item()
            at[i] = old - h
            low = value().item()
            at[i] = old
            close(got.view(-1)[i].item(), (high - low)/(2*h), 1e-5)

@pytest.mark.parametrize('p', [wgan_gp, dragan])
def test_a_flat_critic_has_finite_gradients(p):
    D = MLPDiscriminator((2,), (8,))
    for q in D.parameters(): nn.init.zeros_(q)
    real, fake = (torch.randn(5, 2).requires_grad_() for _ in range(2))
    value = given(p, D, real, fake)
    value.backward()
    close(value.detach(), 10., 1e-4)
    assert all(q.grad is None or q.grad.isfinite().all() for q in D.parameters())

def test_numbers_on_a_line_need_no_axis():
    x = torch.randn(9, requires_grad=True)
    close(grad_sq(2*x, x).detach(), torch.full((9,), 4.))
    close(given(r1, lambda x: 2*x, x, x).detach(), 2.)

@pytest.mark.parametrize('lead', [(), (3,), (2, 3)])
@pytest.mark.parametrize('p', all_four, ids=names)
def test_leading_sizes_are_kept(p, lead):
    w = torch.randn(*lead, 4, 1)
    def D(x): return (x @ w).squeeze(-1)
    real, fake = (torch.randn(*lead, 5, 4).requires_grad_() for _ in range(2))
    assert given(p, D, real, fake).shape == lead
    assert lipschitz(D, real).shape == lead
    assert grad_sq(D(real), real).shape == (*lead, 5)

def test_lipschitz_finds_the_steepest_and_leaves_no_trace():
    D = MLPDiscriminator((2,), (8,)).requires_grad_(False)
    x = torch.randn(50, 2)
    with torch.no_grad(): found = lipschitz(D, x)
    assert not x.requires_grad and not found.requires_grad
    close(found**2, grad_sq(D(y := x.clone().requires_grad_()), y).max().detach())

# Members

def stacked(prepare=lambda D: D, k=3):
    nets = [prepare(MLPDiscriminator((2,), (8, 8))) for _ in range(k)]
    return nets, Stacked(copy.deepcopy(nets))

@pytest.mark.parametrize('p', all_four, ids=names)
@pytest.mark.parametrize('weights', [2., (0., 1., 10.)], ids=['one weight', 'a weight each'])
def test_members_equal_one_by_one(p, weights):
    torch.manual_seed(0)
    nets, D = stacked()
    real, fake = (torch.randn(3, 6, 2).requires_grad_() for _ in range(2))
    name = 'gamma' if p in (r1, r2) else 'weight'
    def more(i=None):
        w = weights if isinstance(weights, float) else torch.tensor(weights) if i is None else weights[i]
        if p in (r1, r2): return {name: w}
        rngs = [torch.Generator().manual_seed(k) for k in range(3)]
        return {name: w, 'rng': rngs if i is None else rngs[i]}
    got = given(p, D, real, fake, **more())
    alone = [
        given(p, net, real[i].detach().requires_grad_(), fake[i].detach().requires_grad_(), **more(i))
        for i, net in enumerate(nets)
    ]
    close(got.detach(), torch.stack(alone).detach(), 1e-4)
    got.sum().backward()
    for i, net in enumerate(nets):
        alone[i].backward()
        for q, r in zip(D.net.parameters(), net.parameters()):
            close(
                torch.zeros(()) if q.grad is None else q.grad[i],
                torch.zeros(()) if r.grad is None else r.grad, 1e-4,
            )

@pytest.mark.parametrize('prepare', [lambda D: D, spectral_norm], ids=['plain', 'spectral norm'])
@pytest.mark.parametrize(
    'loss,make',
    [
        (relativistic, lambda rng: [r1, r2]), (wasserstein, lambda rng: [partial(wgan_gp, rng=rng)]),
        (hinge, lambda rng: [partial(dragan, rng=rng)]),
    ],
    ids=['R1 and R2', 'WGAN-GP', 'DRAGAN'],
)
def test_runs_of_members_equal_runs_alone(loss, make, prepare):
    many = members(partial(state, prepare=prepare), 3)
    fit(many, ring, 4, loss, make(many.rng), batch_size=16)  # few steps: a game enlarges rounding
    alone = state(1, prepare)
    fit(alone, ring, 4, loss, make(alone.rng), batch_size=16)
    taken = member(many, 1)
    for a, b in zip(taken.D.state_dict().values(), alone.D.state_dict().values()): close(a, b, 2e-3)

def test_random_points_come_from_the_generator_given():
    D, (real, fake) = smooth(), points(0)
    for p in (wgan_gp, dragan):
        a, b, c = (given(p, D, real, fake, rng=torch.Generator().manual_seed(s)).item() for s in (1, 1, 2))
        assert a == b != c
        torch.manual_seed(3)
        a = given(p, D, real, fake).item()
        torch.manual_seed(3)
        assert a == given(p, D, real, fake).item()

# In a step

def test_forwards_are_counted():
    "R1 and R2 reuse the logits; WGAN-GP and DRAGAN call D once more each."
    for pens, want in (
        ([], 2), ([r1], 2), ([r2], 2), ([r1, r2], 2), ([wgan_gp], 3), ([wgan_gp, dragan, r1, r2], 4),
    ):
        s, calls = state(), []
        s.D.register_forward_hook(lambda *_: calls.append(1))
        d_step(s, draw(ring, 8, s.rng), non_saturating, pens)
        assert len(calls) == want, (pens, len(calls))

class Labelled(nn.Module):
    "A critic that looks up its slope by the label."
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1., 3.]))
    def forward(self, x, y): return self.w[y]*x.sum(-1)

class LabelledG(nn.Module):
    latent_dim = 2
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2))
    def forward(self, z, y): return z + self.shift

@pytest.mark.parametrize('p', all_four, ids=names)
def test_labels_reach_the_critic(p):
    s, y = new_state(LabelledG(), Labelled(), lr=0.), torch.tensor([0, 1, 1, 0])
    log = d_step(s, torch.randn(4, 2), wasserstein, [p], (y,))
    squares = 2*torch.tensor([1., 9.])
    want = squares.mean()/2 if p in (r1, r2) else 10*(squares.sqrt() - 1).square().mean()
    close(log['penalty'], want)

class LabelledNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    def forward(self, x, y): return self.net(x)[:, 0]*y

def test_with_labels_the_network_is_looked_at_once():
    "The critic that a penalty gets is then a new function at each step; the network behind it is the same."
    s, y = new_state(LabelledG(), LabelledNorm()), torch.ones(6)
    with pytest.warns(UserWarning, match='LabelledNorm.*BatchNorm1d') as caught:
        for _ in range(4): d_step(s, torch.randn(6, 2), hinge, [r1, wgan_gp], (y,))
    assert len(caught) == 1

class Counted(TorchDispatchMode):
    "Adds up the floating-point operations of matrix products and convolutions, forward and backward."
    def __init__(self):
        super().__init__()
        self.n = 0
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        out = f(*args, **(kwargs or {}))
        count = flop_registry.get(f._overloadpacket)
        if count: self.n += count(*args, **(kwargs or {}), out_val=out)
        return out

def operations(make, data, batch, pens):
    "Floating-point operations of one step of D, past the looks for coupled batches."
    s = make()
    for _ in range(10): d_step(s, draw(data, batch, s.rng), non_saturating, pens)
    with Counted() as counted: d_step(s, draw(data, batch, s.rng), non_saturating, pens)
    return counted.n

def mlp_pair():
    return new_state(MLPGenerator((2,), 2, (128,)*3, nn.Identity), MLPDiscriminator((2,), (128,)*3))
def dcgan_pair():
    return new_state(
        DCGANGenerator((1, 8, 8), 64, 16, smallest=2),
        DCGANDiscriminator((1, 8, 8), 16, norm=None, smallest=2),
    )

@pytest.mark.parametrize('make,batch', [(mlp_pair, 256), (dcgan_pair, 64)], ids=['points', 'images'])
def test_r1_and_r2_cost_at_most_twice_a_plain_step(make, batch):
    """In operations, which are the same on every machine;
    seconds depend on the processor and on what else it does."""
    data = ring if make is mlp_pair else sets.digits()
    plain, both = (operations(make, data, batch, pens) for pens in ([], [r1, r2]))
    assert 1.5 < both/plain <= 2., both/plain

# Coupled batches

def coupled(norm): return DCGANDiscriminator((1, 16, 16), 4, norm=norm)
def roll(x): return torch.cat([x, x.roll(1, -2)], -1).sum(-1)
def images(*lead): return torch.randn(*lead, 6, 1, 16, 16).requires_grad_()

@pytest.mark.parametrize('p', all_four, ids=names)
def test_batchnorm_warns_once_and_is_named(p):
    D, other = coupled(nn.BatchNorm2d), coupled(nn.BatchNorm2d)
    with pytest.warns(UserWarning) as caught:
        for _ in range(12): given(p, D, images(), images())
    assert len(caught) == 1
    text = str(caught[0].message)
    assert (
        'DCGANDiscriminator' in text
        and 'BatchNorm2d' in text
        and 'build D without it' in text
        and '\n' not in text
    )
    # another critic, another warning
    with pytest.warns(UserWarning) as caught: given(p, other, images(), images())
    assert len(caught) == 1

def test_all_penalties_of_a_step_share_one_warning():
    s = new_state(DCGANGenerator((1, 16, 16), 8, 4), coupled(nn.BatchNorm2d))
    with pytest.warns(UserWarning) as caught:
        for _ in range(10): d_step(s, images().detach(), hinge, all_four)
    assert len(caught) == 1

def test_members_that_couple_warn_once():
    nets = [
        nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0))
        for _ in range(3)
    ]
    D, x = Stacked(nets), torch.randn(3, 6, 2).requires_grad_()
    with pytest.warns(UserWarning, match='BatchNorm1d') as caught:
        for _ in range(3): given(r1, D, x, x)
    assert len(caught) == 1

def test_functions_and_methods_that_couple_warn_once():
    class Pair:
        def judge(self, x): return roll(x)
    pair = Pair()
    def packed(x): return roll(x)
    x = torch.randn(6, 2).requires_grad_()
    for get in (lambda: packed, lambda: pair.judge):
        with pytest.warns(UserWarning, match='judges each alone') as caught:
            for _ in range(12): given(r2, get(), x, x)
        assert len(caught) == 1

class Late(nn.Module):
    "Minibatch statistics whose weight is 0 at first."
    def __init__(self):
        super().__init__()
        self.w, self.mix = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(()))
    def forward(self, x): return x @ self.w + self.mix*x.std(0).sum()

def test_coupling_that_begins_after_the_first_step_is_seen():
    D, x = Late(), torch.randn(6, 2).requires_grad_()
    with pytest.warns(UserWarning, match='Late') as caught:
        given(r1, D, x, x), given(r2, D, x, x)
        nn.init.ones_(D.mix)
        for _ in range(3): given(r1, D, x, x)
    assert len(caught) == 1

@pytest.mark.parametrize(
    'norm',
    [None, lambda n: nn.GroupNorm(2, n), lambda n: nn.InstanceNorm2d(n), lambda n: nn.GroupNorm(1, n)],
    ids=['none', 'group', 'instance', 'layer'],
)
@pytest.mark.parametrize('p', all_four, ids=names)
def test_critics_that_judge_each_alone_do_not_warn(p, norm):
    D = coupled(norm)
    for _ in range(3): given(p, D, images(), images())
    E = Stacked([coupled(norm) for _ in range(2)])
    given(p, E, images(2), images(2))

def test_layernorm_and_spectral_norm_do_not_warn():
    for D in (
        nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0)),
        spectral_norm(MLPDiscriminator((2,), (8,))),
    ):
        x = torch.randn(6, 2).requires_grad_()
        for p in all_four: given(p, D, x, x)

@pytest.mark.parametrize('p', all_four, ids=names)
def test_batchnorm_in_evaluation_mode_does_not_warn(p):
    given(p, coupled(nn.BatchNorm2d).eval(), images(), images())

def test_evaluation_mode_first_does_not_silence_training_mode():
    D = coupled(nn.BatchNorm2d).eval()
    given(r1, D, images(), images())
    with pytest.warns(UserWarning, match='BatchNorm2d'): given(r1, D.train(), images(), images())

def test_one_sample_cannot_be_coupled():
    x = torch.randn(1, 2).requires_grad_()
    given(r1, roll, x, x)

def test_looks_end_and_keep_no_critic_alive():
    D, x = MLPDiscriminator((2,), (4,)), torch.randn(4, 2).requires_grad_()
    for _ in range(20): given(r1, D, x, x)
    assert penalties._n_looks[D] == 8
    before = len(penalties._n_looks)
    del D
    gc.collect()
    assert len(penalties._n_looks) < before

# A device that cannot be read: torch's `meta` device, on
# which shapes go through but `.item()` and `bool()` raise

meta = torch.device('meta')

def on_meta(D): return D.to(meta)

@pytest.fixture
def no_autocast(monkeypatch):
    "PyTorch has no autocast for `meta`; spectral norms switch it off for their device."
    autocast = torch.autocast
    monkeypatch.setattr(torch, 'autocast', lambda kind, *args, **options: autocast('cpu', *args, **options))

@pytest.mark.parametrize('lead', [(), (3,)], ids=['one', 'members'])
@pytest.mark.parametrize('prepare', [lambda D: D, spectral_norm], ids=['plain', 'spectral norm'])
@pytest.mark.parametrize('p', all_four, ids=names)
def test_penalties_read_nothing_from_the_device(p, prepare, lead, no_autocast):
    D = prepare(MLPDiscriminator((2,), (8, 8)))
    D = on_meta(Stacked([copy.deepcopy(D) for _ in range(*lead)]) if lead else D)
    name = 'gamma' if p in (r1, r2) else 'weight'
    for weight in (2., torch.ones(lead, device=meta)):
        real, fake = (torch.empty(*lead, 6, 2, device=meta).requires_grad_() for _ in range(2))
        value = given(p, D, real, fake, **{name: weight})
        assert value.is_meta and value.shape == lead
        value.sum().backward()
        assert all(q.grad is None or q.grad.shape == q.shape for q in D.parameters())

@pytest.mark.parametrize('p', all_four, ids=names)
def test_on_a_device_batchnorm_is_known_by_its_class(p):
    D = on_meta(coupled(nn.BatchNorm2d))
    def x(): return images().detach().to(meta).requires_grad_()
    with pytest.warns(UserWarning, match='through BatchNorm2d') as caught:
        for _ in range(3): given(p, D, x(), x())
    assert len(caught) == 1
    given(p, on_meta(coupled(nn.BatchNorm2d)).eval(), x(), x())
    given(p, on_meta(coupled(lambda n: nn.GroupNorm(2, n))), x(), x())
    free = coupled(lambda n: nn.BatchNorm2d(n, track_running_stats=False))
    with pytest.warns(UserWarning, match='BatchNorm2d'): given(p, on_meta(free).eval(), x(), x())

def test_spectral_norm_clipping_and_slopes_read_nothing_either(no_autocast):
    D = spectral_norm(on_meta(MLPDiscriminator((2,), (8, 8))))
    x = torch.empty(6, 2, device=meta)
    assert D(x).is_meta and lipschitz(D, x).is_meta
    opt = torch.optim.SGD(D.parameters(), lr=.1)
    clip_weights(opt, .05)
    D(x).sum().backward()
    opt.step()
    assert all(q.is_meta for q in D.parameters())

# Bad input

def test_bad_input_is_named_in_one_sentence():
    x, D = torch.randn(6, 2), MLPDiscriminator((2,), (4,))
    y = x.clone().requires_grad_()
    cases = [
        (lambda: given(r1, D, x, x), 'requires_grad_'), (lambda: r1(D, y, y, D(x), D(x)), 'requires_grad_'),
        (lambda: grad_sq(D(x).detach(), y), 'requires_grad_'),
        (lambda: grad_sq(D(y)[:3], y), 'one logit a sample'),
        (lambda: r2(D, y, y, D(y), D(y)[:, None]), 'one logit a sample'),
        (lambda: given(r1, D, y, y, gamma=-1.), 'gamma is -1'),
        (lambda: given(r2, D, y, y, gamma=float('nan')), 'gamma is nan'),
        (lambda: given(wgan_gp, D, y, y, weight=-2), 'weight is -2'),
        (lambda: given(dragan, D, y, y, weight=-.1), 'weight is -0.1'),
        (lambda: wgan_gp(D, y, y[:3], D(y), D(y[:3])), 'as many of each'),
        (lambda: given(wgan_gp, D, y, y, rng=[torch.Generator()]), 'generators is 1'),
        (lambda: clip_weights(adam(D.parameters()), 0.), 'above 0'),
        (lambda: clip_weights(adam(D.parameters()), float('nan')), 'above 0'),
        (lambda: SpectralNorm(nn.Linear(2, 2), 0), 'n_power is 0'),
        (lambda: SpectralNorm(Stacked([nn.Linear(2, 2)]*2).net), 'before they are stacked'),
    ]
    for call, part in cases:
        with pytest.raises(ValueError, match=part) as e: call()
        assert '\n' not in str(e.value)
    with pytest.raises(TypeError, match='BatchNorm1d: this is no linear'): SpectralNorm(nn.BatchNorm1d(3))
    zero = nn.Linear(3, 3)
    nn.init.zeros_(zero.weight)
    with pytest.raises(ValueError, match='all of it is 0'): SpectralNorm(zero)

# Clipped weights

@pytest.mark.parametrize(
    'make',
    [
        lambda p: torch.optim.SGD(p, lr=1.), lambda p: torch.optim.RMSprop(p, lr=.1),
        lambda p: adam(p, lr=.1),
    ],
    ids=['SGD', 'RMSprop', 'Adam'],
)
def test_weights_stay_clipped(make):
    D = MLPDiscriminator((2,), (8, 8))
    opt = make(D.parameters())
    handle = clip_weights(opt, .03)
    def largest(): return max(p.abs().max().item() for p in D.parameters())
    assert largest() <= .03 + 1e-9  # at once
    for _ in range(3):
        opt.zero_grad()
        D(torch.randn(8, 2)).sum().backward()
        opt.step()
        assert .029 < largest() <= .03 + 1e-9
    handle.remove()
    opt.zero_grad()
    D(torch.randn(8, 2)).sum().backward()
    opt.step()
    assert largest() > .03

def test_clipping_works_for_members_and_equals_one_alone():
    many, alone = members(state, 3), state(2)
    assert isinstance(many.opt_D, MemberAdam)
    for s in (many, alone):
        clip_weights(s.opt_D, .05)
        fit(s, ring, 15, wasserstein, batch_size=16)
    for a, b in zip(member(many, 2).D.parameters(), alone.D.parameters()): close(a, b, 1e-4)
    assert max(p.abs().max().item() for p in many.D.parameters()) <= .05 + 1e-9
    assert max(p.abs().max().item() for p in many.G.parameters()) > .05  # the other player is left alone

def test_clipping_goes_on_after_save_and_load(tmp_path):
    a = state()
    clip_weights(a.opt_D, .05)
    fit(a, ring, 5, wasserstein, batch_size=16)
    save(a, tmp_path/'a.pt')
    fit(a, ring, 10, wasserstein, batch_size=16)
    b = state(1)
    clip_weights(b.opt_D, .05)
    load(b, tmp_path/'a.pt')
    fit(b, ring, 10, wasserstein, batch_size=16)
    for p, q in zip(a.D.parameters(), b.D.parameters()): assert torch.equal(p, q)

# Spectral norm

layers = {
    'linear': (lambda: nn.Linear(6, 4), (5, 6)), 'wide linear': (lambda: nn.Linear(3, 9, bias=False), (5, 3)),
    'conv': (lambda: nn.Conv2d(3, 5, 3, 2, 1), (2, 3, 8, 8)),
    'transposed': (lambda: nn.ConvTranspose2d(3, 5, 4, 2, 1), (2, 3, 4, 4)),
    'conv1d': (lambda: nn.Conv1d(3, 4, 3), (2, 3, 9)),
    'circular': (lambda: nn.Conv2d(2, 4, 3, 1, 1, padding_mode='circular'), (2, 2, 6, 6)),
}
cases = pytest.mark.parametrize('make,shape', layers.values(), ids=layers)

@cases
def test_spectral_norm_against_svd(make, shape):
    torch.manual_seed(0)
    layer = SpectralNorm(make(), 300)
    x = torch.randn(shape)
    out = layer(x)
    sigma = torch.linalg.matrix_norm(layer.matrix().detach(), 2)
    close(layer.u @ layer.matrix().detach() @ layer.v, sigma, 1e-4)
    plain = copy.deepcopy(layer.layer)
    with torch.no_grad(): plain.weight /= sigma
    close(out.detach(), plain(x).detach(), 1e-4)

def trained(layer, x, n_steps=5):
    "The same layer after a few steps of gradient descent on the square of what it gives."
    opt = torch.optim.SGD(layer.parameters(), lr=.05)
    for _ in range(n_steps):
        opt.zero_grad()
        layer(x).square().mean().backward()
        opt.step()
    return layer

@cases
def test_spectral_norm_against_pytorchs(make, shape):
    "Converged, as PyTorch's goes on from v to u where ours, like the paper, goes on from u to v."
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    ours = trained(SpectralNorm(copy.deepcopy(layer), 500), x)
    theirs = trained(parametrizations.spectral_norm(copy.deepcopy(layer), n_power_iterations=500), x)
    raw = theirs.parametrizations.weight.original
    for a, b in [
        (ours.layer.weight, raw), (ours.layer.weight.grad, raw.grad), (ours(x), theirs(x)),
        (ours.eval()(x), theirs.eval()(x)),
    ]:
        close(a.detach(), b.detach(), 1e-4)

@pytest.mark.parametrize('n_power', [1, 3])
def test_spectral_norm_against_pytorchs_step_by_step(n_power):
    """Of a linear layer PyTorch's can be told to take the transpose: then
    its u is our v, and all must be equal before it has converged."""
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 9), torch.randn(5, 6)
    ours = SpectralNorm(copy.deepcopy(layer), n_power)
    theirs = parametrizations.spectral_norm(copy.deepcopy(layer), n_power_iterations=n_power, dim=1)
    raw = theirs.parametrizations.weight
    for a in (ours.u, ours.v): nn.init.normal_(a).div_(a.norm())
    raw[0]._u.copy_(ours.v)
    raw[0]._v.copy_(ours.u)
    trained(ours, x), trained(theirs, x)
    for a, b in [
        (ours.layer.weight, raw.original), (ours.layer.weight.grad, raw.original.grad), (ours.u, raw[0]._v),
        (ours.v, raw[0]._u),
    ]:
        close(a.detach(), b.detach())

@cases
def test_evaluation_mode_changes_nothing(make, shape):
    """A vector far from the singular one stays where it is;
    in training mode it moves by far more than rounding."""
    torch.manual_seed(0)
    layer, x = SpectralNorm(make()).eval(), torch.randn(shape)
    layer.u.copy_(F.normalize(torch.randn(layer.u.shape), dim=0))
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    a, b = layer(x), layer(x)
    assert torch.equal(a, b) and all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
    layer.train()(x)
    assert (layer.u - before['u']).norm() > .1

def test_a_new_layer_is_close_to_its_norm_before_any_training():
    torch.manual_seed(0)
    for _ in range(20):
        layer = SpectralNorm(nn.Linear(64, 32)).eval()
        share = layer.sigma()/torch.linalg.matrix_norm(layer.matrix(), 2)
        assert .9 < share <= 1 + 1e-5

def test_spectral_norm_wraps_everything_once():
    D = spectral_norm(DCGANDiscriminator((1, 16, 16), 4, norm=None))
    wrapped = [m for m in D.modules() if isinstance(m, SpectralNorm)]
    assert len(wrapped) == 3 and all(isinstance(m.layer, (nn.Linear, nn.Conv2d)) for m in wrapped)
    # twice is once
    assert spectral_norm(D) is D and len([m for m in D.modules() if isinstance(m, SpectralNorm)]) == 3
    assert isinstance(spectral_norm(nn.Linear(2, 2), 4), SpectralNorm)
    norm = nn.BatchNorm1d(3)
    assert spectral_norm(norm) is norm
    assert D(torch.randn(2, 1, 16, 16)).shape == (2,)
    assert isinstance(D.net[-1].layer, nn.Linear)

def test_a_layer_used_in_two_places_is_wrapped_in_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = nn.Linear(3, 3)
    net = spectral_norm(Twice())
    assert isinstance(net.a, SpectralNorm) and isinstance(net.b, SpectralNorm) and net.a.layer is net.b.layer

def test_spectral_norm_survives_copies_and_state_dicts():
    torch.manual_seed(0)
    D, x = spectral_norm(MLPDiscriminator((2,), (8, 8))), torch.randn(5, 2)
    for _ in range(3): D(x)
    twin, other = copy.deepcopy(D), spectral_norm(MLPDiscriminator((2,), (8, 8)))
    other.load_state_dict(D.state_dict())
    for E in (twin, other):
        assert torch.equal(D.eval()(x), E.eval()(x))
        for m in (D, E): m.train()
    D(x), twin(x), other(x)
    for k, v in D.state_dict().items():
        assert torch.equal(v, twin.state_dict()[k]) and torch.equal(v, other.state_dict()[k])
    with torch.no_grad():
        for t in D.state_dict().values(): t.fill_(7.)
    for E in (twin, other):  # a copy shares nothing
        assert not any((t == 7.).any() for t in E.state_dict().values())

def test_spectral_norm_resumes_bit_for_bit(tmp_path):
    whole = fit(state(prepare=spectral_norm), ring, 12, hinge, [r1], batch_size=16)
    half = fit(state(prepare=spectral_norm), ring, 6, hinge, [r1], batch_size=16)
    save(half, tmp_path/'half.pt')
    again = state(5, prepare=spectral_norm)
    load(again, tmp_path/'half.pt')
    fit(again, ring, 12, hinge, [r1], batch_size=16)
    for a, b in zip(whole.D.state_dict().values(), again.D.state_dict().values()): assert torch.equal(a, b)

@pytest.mark.parametrize(
    'make', [lambda: MLPDiscriminator((2,), (8, 8)), lambda: DCGANDiscriminator((1, 8, 8), 4, norm=None)],
    ids=['points', 'images'],
)
def test_spectral_norm_of_members(make):
    torch.manual_seed(0)
    nets = [spectral_norm(make()) for _ in range(3)]
    D, x = Stacked(copy.deepcopy(nets)), torch.randn(3, 5, *nets[0].shape)
    for training in (True, True, False):
        D.train(training)
        for net in nets: net.train(training)
        close(D(x).detach(), torch.stack([net(a) for net, a in zip(nets, x)]).detach())
    for i, net in enumerate(nets):
        for a, b in zip(D.member(i).state_dict().values(), net.state_dict().values()): close(a, b)

def test_pytorchs_wrapper_cannot_be_stacked():
    with pytest.raises(ValueError):
        Stacked([parametrizations.spectral_norm(nn.Linear(2, 2)) for _ in range(2)])

def test_spectral_norm_bounds_the_slope():
    torch.manual_seed(0)
    D = spectral_norm(MLPDiscriminator((2,), (16, 16)), n_power=200)
    for m in D.modules():
        if isinstance(m, nn.Linear): nn.init.normal_(m.weight, std=3.)
    D(torch.randn(2, 2))
    with evaluating(D): assert lipschitz(D, 3*torch.randn(2000, 2)) <= 1 + 1e-4

def test_spectral_norm_has_second_derivatives():
    torch.manual_seed(0)
    D = (
        nn.Sequential(SpectralNorm(nn.Linear(3, 4)), nn.Tanh(), SpectralNorm(nn.Linear(4, 1)), nn.Flatten(0))
        .double()
        .eval()
    )
    x = torch.randn(4, 3, dtype=torch.float64)
    def value(w):
        y = x.clone().requires_grad_()
        return grad_sq(torch.func.functional_call(D, {'0.layer.weight': w}, (y,)), y).sum()
    assert torch.autograd.gradcheck(value, (D[0].layer.weight.detach().clone().requires_grad_(),))

def test_the_estimate_is_not_rounded_under_autocast():
    torch.manual_seed(0)
    layer = SpectralNorm(nn.Linear(64, 64)).eval()
    with torch.autocast('cpu', torch.bfloat16):
        assert layer.sigma().dtype == torch.float32
        assert (layer.u @ layer.matrix() @ layer.v).dtype == torch.bfloat16  # what it would be
        assert layer(torch.randn(3, 64)).dtype == torch.bfloat16
    exact = layer.sigma()
    with torch.autocast('cpu', torch.bfloat16): assert torch.equal(layer.sigma(), exact)

@pytest.mark.parametrize('kernel,stride,padding', [(3, 1, 1), (4, 2, 1), (4, 4, 0), (5, 1, 2)])
def test_a_convolution_stretches_at_most_root_r_times_its_reshaped_norm(kernel, stride, padding):
    "r is how many windows read a pixel."
    torch.manual_seed(0)
    r = (-(-kernel//stride))**2
    for init in (nn.init.ones_, nn.init.normal_):
        conv = nn.Conv2d(2, 3, kernel, stride, padding, bias=False)
        init(conv.weight)
        M = conv(torch.eye(2*64).view(-1, 2, 8, 8)).flatten(1).detach()
        assert torch.linalg.matrix_norm(M, 2) <= r**.5*torch.linalg.matrix_norm(
            conv.weight.detach().flatten(1), 2
        )*(1 + 1e-5)

def test_spectral_norm_layers_train():
    s = fit(state(prepare=spectral_norm), ring, 30, hinge, batch_size=32)
    assert all(p.isfinite().all() for p in s.D.parameters())
    close(F.normalize(s.D.net[0].u, dim=0), s.D.net[0].u, 1e-5)
