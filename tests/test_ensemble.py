"""Members against GANs trained alone: networks, penalties, averages,
optimisers, checkpoints, refusals, and the recorded step."""
import copy
import numpy as np
import pytest
import torch
from torch import nn
from ganbook import data as sets
from ganbook.checkpoints import load, save
from ganbook.data import latents
from ganbook.ensemble import MemberAdam, Stacked, member, members
from ganbook.losses import hinge, least_squares, non_saturating, relativistic, wasserstein
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import evaluating
from ganbook.train import adam, fit, linear_decay, new_state, sample, set_lr

torch.set_num_threads(1)
ring = sets.ring(n=2000)
rates = [1e-3, 3e-4, 6e-4]

@pytest.fixture(scope='module')
def digits(): return sets.digits()

# What is trained, and helpers

def r1(D, real, fake, real_logits, fake_logits, gamma=1.):
    grad, = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma/2*grad.flatten(real_logits.ndim).square().sum(-1).mean(-1)

def gradient_penalty(D, real, fake, real_logits, fake_logits):
    "Calls `D` at points of its own, without random numbers, so that members and single GANs see the same."
    x = torch.lerp(fake, real, .3).detach().requires_grad_()
    grad, = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return (grad.flatten(real_logits.ndim).square().sum(-1).add(1e-12).sqrt() - 1).square().mean(-1)

class Double(nn.Module):
    "A network in float64 between samples in float32: rounding then has no time to grow."
    def __init__(self, net):
        super().__init__()
        self.net = net.double()
        if hasattr(net, 'latent_dim'): self.latent_dim = net.latent_dim
    def forward(self, x): return self.net(x.double()).float()

def points(seed, width=16):
    torch.manual_seed(seed)
    return MLPGenerator((2,), 3, (width, width), nn.Identity), MLPDiscriminator((2,), (width, width))

def norms(seed):
    """BatchNorm in both networks, so the general path. What it cancels is left
    out: Adam follows the rounding errors of a bias that has no gradient."""
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(3, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    G.latent_dim = 3
    D = nn.Sequential(
        nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.LeakyReLU(.2),
        nn.Linear(16, 1), nn.Flatten(0),
    )
    return Double(G), Double(D)

def images(seed):
    torch.manual_seed(seed)
    return Double(DCGANGenerator((1, 8, 8), 10, 8)), Double(
        DCGANDiscriminator((1, 8, 8), 8, norm=nn.BatchNorm2d)
    )

def state(i, make=points, device='cpu', **options):
    G, D = (m.to(device) for m in make(i))
    return new_state(G, D, **dict(dict(lr=rates[i % 3], lr_D=rates[(i + 1) % 3], seed=10 + i), **options))

def run(s, data=ring, n=100, loss=non_saturating, **options):
    return fit(s, data, n, loss, **dict(dict(batch_size=16), **options))

def near(a, b, rtol=1e-3, atol=1e-4):
    """Are two plain states equal, to float tolerance: weights,
    averages, buffers, moments, random numbers and log?"""
    assert (a.step, a.members, b.members) == (b.step, (), ())
    for name in ('G', 'D', 'G_ema'):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None) and type(x) is type(y)
        if x is not None:
            torch.testing.assert_close(
                x.state_dict(), y.state_dict(), rtol=rtol, atol=atol, msg=lambda m, n=name: f'{n}: {m}'
            )
    for x, y in ((a.opt_G, b.opt_G), (a.opt_D, b.opt_D)):
        assert type(x) is type(y) is torch.optim.Adam and x.param_groups[0]['initial_lr'] == pytest.approx(
            y.param_groups[0]['initial_lr']
        )
        torch.testing.assert_close(
            [*x.state_dict()['state'].values()], [*y.state_dict()['state'].values()], rtol=10*rtol, atol=atol,
        )
    assert torch.equal(a.rng.get_state(), b.rng.get_state())
    assert a.log.columns == b.log.columns
    torch.testing.assert_close(a.log.rows(), b.log.rows(), rtol=10*rtol, atol=10*atol)


# A member is the GAN trained alone

variants = dict(
    plain=dict(), schedule=dict(schedule=linear_decay(.3)), r1=dict(penalties=[r1]),
    own=dict(penalties=[gradient_penalty], n_critic=2),
    both=dict(loss=relativistic, penalties=[r1, gradient_penalty], schedule=linear_decay(0.)),
    hinge=dict(loss=hinge), squares=dict(loss=least_squares),
    wasserstein=dict(loss=wasserstein, n_critic=3, penalties=[gradient_penalty]),
)

@pytest.mark.parametrize(
    'make,name',
    [(points, name) for name in variants] + [(norms, name) for name in variants if name != 'wasserstein'],
)
def test_a_member_is_the_gan_trained_alone(make, name):
    "For ten steps, and thirty where networks compute in float64, as a game enlarges rounding."
    n = 10 if make is points else 30
    s = run(members(lambda i: state(i, make, ema=True), 3), n=n, **variants[name])
    assert s.members == (3,) and s.log.rows().shape == (n, len(s.log.columns), 3)
    for i in range(3): near(member(s, i), run(state(i, make, ema=True), n=n, **variants[name]))

@pytest.mark.parametrize('name', ['schedule', 'both'])
def test_a_dcgan_with_batchnorm_too(digits, name):
    s = run(members(lambda i: state(i, images, ema=True), 2), digits, n=30, **variants[name])
    for i in range(2):
        alone = run(state(i, images, ema=True), digits, n=30, **variants[name])
        near(member(s, i), alone, rtol=1e-3, atol=1e-4)
        moved = (alone.G.net.net[0].weight - images(i)[0].net.net[0].weight).abs().max()
        # it learned, and kept statistics
        assert moved > .003 and alone.G.net.net[2].num_batches_tracked == 30*2

@pytest.mark.parametrize('make', [points, norms])
def test_a_member_goes_on_alone(make, tmp_path):
    s = run(members(lambda i: state(i, make, ema=True), 3), n=5)
    one = member(s, 1)
    near(run(one, n=10), run(run(state(1, make, ema=True), n=5), n=10))
    assert s.step == 5
    save(one, tmp_path/'one.pt')
    near(load(state(1, make, ema=True), tmp_path/'one.pt'), one, 0, 0)

def test_a_member_shares_nothing_with_the_run():
    s = run(members(state, 3), n=10)
    before = copy.deepcopy(s.G.state_dict())
    run(member(s, 0), n=20)
    torch.testing.assert_close(s.G.state_dict(), before, rtol=0, atol=0)
    assert len(s.log) == 10

def test_a_weight_for_each_member():
    gamma = [0., .5, 5.]
    s = run(members(state, 3), n=10, penalties=[lambda *a: r1(*a, gamma=torch.tensor(gamma))])
    for i, g in enumerate(gamma):
        near(member(s, i), run(state(i), n=10, penalties=[lambda *a, g=g: r1(*a, gamma=g)]))

def test_noise_from_each_members_own_random_numbers():
    def noisy(s): return lambda x: x + .1*latents(x.shape[-2], 2, s.rng)
    s = members(state, 3)
    run(s, n=10, augment=noisy(s))
    for i in range(3):
        alone = state(i)
        near(member(s, i), run(alone, n=10, augment=noisy(alone)))

def test_members_do_not_touch():
    a, b = members(state, 3), members(state, 3)
    with torch.no_grad(): b.G.net.net[0].weight[2] += 1.
    for s in (a, b): run(s, n=10)
    torch.testing.assert_close(a.G.net.net[0].weight[:2], b.G.net.net[0].weight[:2], rtol=0, atol=0)
    assert not torch.allclose(a.G.net.net[0].weight[2], b.G.net.net[0].weight[2])

def test_one_member(): near(member(run(members(state, 1), n=10), 0), run(state(0), n=10))

def test_make_is_asked_once_for_each():
    asked = []
    members(lambda i: asked.append(i) or state(i), 3)
    assert asked == [0, 1, 2]


# Stacked networks

def nets(make=points, part=0): return [make(i)[part] for i in range(3)]

@pytest.mark.parametrize(
    'make,part,shape',
    [
        (points, 0, (3,)), (points, 1, (2,)), (norms, 0, (3,)), (norms, 1, (2,)), (images, 0, (10,)),
        (images, 1, (1, 8, 8)),
    ],
)
def test_a_stacked_network_is_its_networks(make, part, shape):
    many, x = nets(make, part), torch.randn(3, 7, *shape)
    stacked = Stacked(many)
    for mode in (True, False):
        for m in (stacked, *many): m.train(mode)
        torch.testing.assert_close(
            stacked(x), torch.stack([net(a) for net, a in zip(many, x)]), rtol=1e-4, atol=1e-5
        )
    for i, net in enumerate(many):
        torch.testing.assert_close(stacked.member(i).state_dict(), net.state_dict(), rtol=1e-4, atol=1e-6)

def test_the_direct_path_equals_the_general_one():
    s, x = Stacked(nets(part=1)), torch.randn(3, 7, 2)
    assert s.direct and not Stacked(nets(norms)).direct
    fast = s(x)
    s.direct = False
    torch.testing.assert_close(fast, s(x))

@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('lead', [(), (4,), (5, 4)])
def test_linear_layers_with_any_sizes_between(bias, lead):
    many = [nn.Sequential(nn.Linear(2, 5, bias=bias)) for _ in range(3)]
    x = torch.randn(3, *lead, 6, 2)
    torch.testing.assert_close(Stacked(many)(x), torch.stack([n(a) for n, a in zip(many, x)]))

def test_a_shared_weight_stays_shared():
    def tied(i):
        net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        net[2].weight = net[0].weight
        return net
    many = [tied(i) for i in range(3)]
    s, x = Stacked(many), torch.randn(3, 4, 3)
    assert len([*s.parameters()]) == 3 and s.net[2].weight is s.net[0].weight
    assert s.member(1)[2].weight is not s.net[0].weight
    for s.direct in (True, False):
        torch.testing.assert_close(s(x), torch.stack([n(a) for n, a in zip(many, x)]))

def test_dropout_differs_between_members():
    s = Stacked([nn.Sequential(nn.Linear(2, 50), nn.Dropout(.5)) for _ in range(2)])
    with torch.no_grad():
        for p in s.parameters(): p.copy_(torch.ones_like(p))
    out = s(torch.ones(2, 4, 2)) > 0
    assert not torch.equal(out[0], out[1])

def test_it_copies_moves_and_keeps_modes_and_frozen_parameters():
    many = nets()
    for n in many: n.net[0].weight.requires_grad_(False)
    s = Stacked(many)
    assert [p.requires_grad for p in s.parameters()] == [p.requires_grad for p in many[0].parameters()]
    t = copy.deepcopy(s).double()
    assert (
        t(torch.randn(3, 4, 3, dtype=torch.float64)).dtype == torch.float64
        and next(s.parameters()).dtype == torch.float32
    )
    with evaluating(s): assert not s.net.net.training
    assert s.net.net.training and s.latent_dim == 3 and s.shape == (2,)
    assert sample(s, torch.randn(3, 25, 3), batch=10).shape == (3, 25, 2)


# The optimiser

@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('betas', [(.5, .999), (0., .9)])
def test_member_adam_is_adam(betas, dtype):
    torch.manual_seed(0)
    start = [torch.randn(3, *shape, dtype=dtype) for shape in ((4, 5), (5,), ())]
    params = [nn.Parameter(t.clone()) for t in start]
    opt, alone = MemberAdam(params, rates, betas), []
    for i in range(3):
        ps = [nn.Parameter(t[i].clone()) for t in start]
        alone.append((ps, adam(ps, rates[i], betas)))
    for step in range(50):
        for p in params: p.grad = torch.randn_like(p)*(step + 1)
        for i, (ps, o) in enumerate(alone):
            for p, q in zip(ps, params): p.grad = q.grad[i].clone()
            set_lr(o, 1 - step/100), o.step()
        set_lr(opt, 1 - step/100), opt.step()
    for i, (ps, _) in enumerate(alone):
        for p, q, t in zip(ps, params, start):
            torch.testing.assert_close(p, q[i], rtol=1e-5, atol=1e-6)
            assert not torch.equal(p, t[i])

def test_a_parameter_without_gradient_rests():
    p, q = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))
    opt = MemberAdam([p, q], [.1, .1])
    p.grad = torch.ones(2, 3)
    opt.step()
    assert torch.equal(q, torch.ones(2, 3)) and q not in opt.state and not torch.equal(p, q)

def test_a_rate_of_zero_keeps_a_member():
    s = members(lambda i: state(i, lr=[0., 1e-3][i], lr_D=1e-3), 2)
    start = s.G.net.net[0].weight.detach().clone()
    run(s, n=5)
    assert torch.equal(start[0], s.G.net.net[0].weight[0]) and not torch.equal(
        start[1], s.G.net.net[0].weight[1]
    )

@pytest.mark.parametrize('make', [points, norms])
def test_saved_and_resumed_bit_for_bit(make, tmp_path):
    options = dict(schedule=linear_decay(.2))
    def begin(shift):
        return members(lambda i: state(i + shift, make, ema=True, lr=rates[i], lr_D=rates[i]), 3)
    whole = run(begin(0), n=40, **options)
    def keep(s):
        if s.step == 17: save(s, tmp_path/'k.pt')
    run(begin(0), n=40, callbacks=[keep], **options)
    rest = run(load(begin(5), tmp_path/'k.pt'), n=40, **options)
    for i in range(3): near(member(whole, i), member(rest, i), 0, 0)
    with pytest.raises(ValueError, match='does not fit'):
        load(members(lambda i: state(i, make, ema=True), 2), tmp_path/'k.pt')
    with pytest.raises(ValueError, match='does not fit'): load(state(0, make, ema=True), tmp_path/'k.pt')


# Refusals

class Asks(nn.Module):
    "Decides from a value, which no run side by side can."
    latent_dim = 3
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
    def forward(self, z):
        x = self.net(z)
        return x if x.sum() > 0 else -x

def sgd(i):
    s = state(i)
    s.opt_D = torch.optim.SGD(s.D.parameters(), .1)
    return s

def shared(i, rng=torch.Generator()):  # noqa: B008
    s = state(i)
    s.rng = rng
    return s

@pytest.mark.parametrize(
    'make,error,words',
    [
        (
            lambda i: state(i, lambda seed: points(seed, 16 + i)), ValueError,
            'G: network 1 is not built like network 0',
        ),
        (lambda i: state(i, [points, norms][i]), ValueError, 'not built like'),
        (lambda i: state(i, betas=(.1*i, .9)), ValueError, 'betas'),
        (lambda i: state(i, ema=i > 0), ValueError, 'average'),
        (lambda i: run(state(i), n=2), ValueError, 'step is 2'),
        (lambda i: points(i), TypeError, 'TrainState'),
        (lambda i: members(state, 2), ValueError, 'one GAN'),
        (sgd, TypeError, 'Adam'),
        (shared, ValueError, 'random generator'),
    ],
)
def test_states_that_cannot_be_stacked(make, error, words):
    with pytest.raises(error, match=words): members(make, 2)

@pytest.mark.parametrize('k', [0, -1, 1.5, None])
def test_a_number_of_members_that_cannot_be(k):
    with pytest.raises(ValueError, match='at least 1'): members(state, k)

@pytest.mark.parametrize('i', [-1, 3, 100])
def test_a_member_that_is_not_there(i):
    with pytest.raises(ValueError, match='i is '): member(members(state, 3), i)

def test_what_is_no_run_of_members():
    with pytest.raises(TypeError, match='no members'): member(state(0), 0)

def test_inputs_without_members():
    with pytest.raises(ValueError, match='leading size 3'): Stacked(nets())(torch.randn(7, 3))

def test_a_network_that_cannot_run_side_by_side():
    s = members(lambda i: new_state(Asks(), points(i)[1], seed=i), 2)
    with pytest.raises(ValueError, match='cannot run side by side'): run(s, n=2)

def test_an_error_of_the_network_itself_is_left_alone():
    with pytest.raises(RuntimeError, match='size'): Stacked(nets(norms))(torch.randn(3, 7, 99))


# The benchmark's file

def test_the_stored_trials_are_whole():
    from trials.common import results
    from trials.rules import lacking
    assert lacking(results/'bench_rules.json', 'cpu') == []
    assert lacking(results/'nothing.json', 'cpu') != []


# On a GPU

@pytest.mark.gpu
@pytest.mark.parametrize('name', ['plain', 'both', 'own'])
@pytest.mark.parametrize('make', [points, norms])
def test_recorded_equals_plain(make, name):
    def begin(): return members(lambda i: state(i, make, 'cuda', ema=True), 3)
    a, b = (run(begin(), n=40, capture=capture, **variants[name]) for capture in (True, False))
    for i in range(3): near(member(a, i), member(b, i))

@pytest.mark.gpu
def test_a_recorded_member_is_the_gan_recorded_alone(digits):
    s = run(members(lambda i: state(i, images, 'cuda', ema=True), 3), digits, n=40, schedule=linear_decay(.3))
    for i in range(3):
        near(member(s, i), run(state(i, images, 'cuda', ema=True), digits, n=40, schedule=linear_decay(.3)))

@pytest.mark.gpu
def test_a_checkpoint_from_the_cpu_goes_on_recorded(tmp_path):
    save(run(members(lambda i: state(i, norms), 3), n=10), tmp_path/'k.pt')
    with pytest.warns(UserWarning, match='is from cpu'):
        s = load(members(lambda i: state(i, norms, 'cuda'), 3), tmp_path/'k.pt')
    run(s, n=30, capture=True, schedule=linear_decay(0.))
    assert s.opt_G.param_groups[0]['initial_lr'].is_cuda and np.isfinite(s.log.rows().numpy()).all()
