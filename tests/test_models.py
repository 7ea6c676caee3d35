"Model pairs: shapes, members, ranges, gradients and messages."
import math

import pytest
import torch
from torch import nn

from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import n_params

shapes = [(2,), (1,), (1, 8, 8), (1, 28, 28), (3, 5, 9), (3, 2, 2, 2)]


def small(shape, **k):
    return MLPGenerator(shape, latent_dim=6, hidden=(12, 10), **k), MLPDiscriminator(shape, hidden=(10, 12))


@pytest.mark.parametrize('shape', shapes)
@pytest.mark.parametrize('lead', [(), (4,), (3, 4), (2, 3, 4)])
def test_leading_sizes_are_kept(shape, lead):
    G, D = small(shape)
    z = torch.randn(*lead, 6)
    x = G(z)
    assert x.shape == (*lead, *shape) and D(x).shape == lead
    one = G(z.reshape(-1, 6))
    assert torch.allclose(one.view(x.shape), x, atol=1e-6)
    assert torch.allclose(D(one).view(lead), D(x), atol=1e-6)


@pytest.mark.parametrize('out, low, high', [(nn.Tanh, -1, 1), (nn.Sigmoid, 0, 1)])
def test_range_of_the_output(out, low, high):
    x = small((1, 8, 8), out=out)[0](100*torch.randn(50, 6))
    assert x.min() >= low and x.max() <= high and x.max() - x.min() > .5


def test_points_know_no_bounds():
    G = small((2,), out=nn.Identity)[0]
    assert G(1e3*torch.randn(50, 6)).abs().max() > 5


def test_textbook_parameter_counts():
    assert n_params(MLPGenerator((1, 28, 28))) == 1_956_624
    assert n_params(MLPDiscriminator((1, 28, 28))) == 1_854_465
    assert n_params(MLPGenerator((2,), 2, (128, 128), nn.Identity)) == 17_154
    assert n_params(nn.Tanh()) == 0


@pytest.mark.parametrize('hidden', [(), (7,), (7, 7, 7, 7)])
def test_any_depth(hidden):
    G, D = MLPGenerator((2,), 3, hidden), MLPDiscriminator((2,), hidden)
    assert D(G(torch.randn(5, 3))).shape == (5,)
    assert sum(isinstance(m, nn.LeakyReLU) for m in G.modules()) == len(hidden)
    assert sum(isinstance(m, nn.Linear) for m in D.modules()) == len(hidden) + 1


def test_slope():
    net = MLPDiscriminator((1,), (1,), slope=.5)
    with torch.no_grad():
        for p in net.parameters(): p.fill_(1.)
    # -3+1 = -2 -> -1 -> +1; 4 -> +1
    assert torch.allclose(net(torch.tensor([[-3.], [3.]])), torch.tensor([0., 5.]))


def test_one_sample_does_not_depend_on_its_batch():
    G, D = small((1, 8, 8))
    z = torch.randn(9, 6)
    assert torch.allclose(G(z)[3:4], G(z[3:4]), atol=1e-6) and torch.allclose(
        D(G(z))[3:4], D(G(z[3:4])), atol=1e-6
    )


def test_labels_are_taken_and_ignored():
    G, D = small((2,))
    z, y = torch.randn(4, 6), torch.arange(4)
    assert torch.equal(G(z, y), G(z)) and torch.equal(D(G(z), y), D(G(z)))


def test_gradient_reaches_every_parameter_of_both():
    G, D = small((1, 8, 8))
    D(G(torch.randn(64, 6))).mean().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0
        for m in (G, D)
        for p in m.parameters()
    )


def test_the_pair_can_be_stacked_into_members():
    from torch.func import functional_call, stack_module_state, vmap
    Gs = [small((2,))[0] for _ in range(3)]
    params, buffers = stack_module_state(Gs)
    z = torch.randn(3, 5, 6)
    x = vmap(lambda p, b, z: functional_call(Gs[0], (p, b), (z,)))(params, buffers, z)
    assert torch.allclose(x, torch.stack([G(z[k]) for k, G in enumerate(Gs)]), atol=1e-6)


def test_a_saved_pair_comes_back(tmp_path):
    G, _ = small((1, 8, 8))
    torch.save(G.state_dict(), tmp_path/'G.pt')
    H, _ = small((1, 8, 8))
    H.load_state_dict(torch.load(tmp_path/'G.pt', weights_only=True))
    z = torch.randn(3, 6)
    assert torch.equal(G(z), H(z))


@pytest.mark.parametrize('shape', [(), (0,), (1, -8, 8), (1, 8.5, 8), 0])
@pytest.mark.parametrize('model', [MLPGenerator, MLPDiscriminator])
def test_a_shape_that_no_sample_has(model, shape):
    with pytest.raises(ValueError, match='give sizes of at least 1'): model(shape)


def test_wrong_inputs_get_a_sentence():
    G, D = small((1, 8, 8))
    for z in (torch.randn(4, 5), torch.randn(6, 4), torch.tensor(1.)):
        with pytest.raises(ValueError, match=r'give \(\.\.\.,B,6\)'): G(z)
    for x in (torch.randn(4, 3, 8, 8), torch.randn(4, 64), torch.randn(8, 8), torch.tensor(1.)):
        with pytest.raises(ValueError, match=r'give \(\.\.\.,B,1,8,8\)'): D(x)


@pytest.mark.parametrize('slope', [0., .2, 1.])
def test_pytorchs_start_shrinks_the_mean_square_as_derived(slope):
    torch.manual_seed(0)
    net = MLPGenerator((1,), 1024, (1024, 1024), slope=slope).net
    with torch.no_grad():
        x = torch.randn(500, 1024)
        for layer in net[:2]: y = x = layer(x)
        for layer in net[2:4]: x = layer(x)
    assert math.isclose(x.square().mean()/y.square().mean(), (1 + slope**2)/2/3, rel_tol=.1)
