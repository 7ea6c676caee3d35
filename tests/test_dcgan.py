"DCGAN: every size, closed checks of its arithmetic, members, and messages."
import copy
import math
import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from ganbook.checkpoints import load, save
from ganbook.data import Data, digits
from ganbook.losses import non_saturating
from ganbook.models.dcgan import (
    DCGANDiscriminator, DCGANGenerator, checkerboard, conv_size, normal_init, pyramid, strided, transposed,
    transposed_size, upsampled,
)
from ganbook.models.mlp import MLPGenerator
from ganbook.nets import evaluating, multiply_adds, n_params, trace
from ganbook.recipes import build, networks, recipes
from ganbook.train import fit, linear_decay, new_state, sample

shapes = [
    (1, 8, 8), (3, 8, 8), (1, 9, 9), (1, 15, 15), (2, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 256),
    (1, 256, 8), (4, 31, 17), (1, 33, 100), (5, 127, 129), (1, 255, 9), (3, 128, 128), (1, 256, 256),
]
def pair(shape, width=2, **k): return (DCGANGenerator(shape, 6, width, **k), DCGANDiscriminator(shape, width))


# Sizes

@pytest.mark.parametrize('up', [transposed, upsampled])
@pytest.mark.parametrize('shape', shapes, ids=str)
def test_every_shape(shape, up):
    G, D = pair(shape, up=up)
    x = G(torch.randn(2, 6))
    assert x.shape == (2, *shape) and D(x).shape == (2,)
    assert trace(G, (6,))[-1].shape == shape and trace(D, shape)[-1].shape == (1,)

@pytest.mark.parametrize('norm', [nn.BatchNorm2d, None])
@pytest.mark.parametrize('up', [transposed, upsampled])
@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 15, 9), (3, 32, 32)], ids=str)
def test_a_further_layer_at_full_size(shape, up, norm):
    G, plain = (DCGANGenerator(shape, 6, 2, up, norm, fine=n) for n in (5, 0))
    assert G(torch.randn(3, 2, 6)).shape == (3, 2, *shape)
    assert trace(G, (6,))[-2].shape == shape and trace(G, (6,))[-3].shape == (5, *shape[1:])
    *grow, to_colours, end = G.net
    assert to_colours.weight.shape == (shape[0], 5, 3, 3) and to_colours.bias is not None
    assert len(G.net) - len(plain.net) == (3 if norm else 2)

@pytest.mark.parametrize('fine', [-1, 1.5, True, 'many', None])
def test_channels_of_a_further_layer_are_a_whole_number(fine):
    with pytest.raises(ValueError, match='fine is .*whole number'): DCGANGenerator((1, 8, 8), fine=fine)

def test_only_pictures32_and_64_have_a_further_layer():
    assert [name for name, r in recipes.items() if r.fine] == ['pictures32', 'pictures64']

def test_every_size_from_8_to_256_is_halved_and_doubled_back():
    for n in range(8, 257):
        x = torch.zeros(1, 1, n, 8)
        half = -(-n//2)
        down, up, again = (
            f(1, 1, *sizes, False)
            for f, sizes in (
                (strided, ((n, 8), (half, 4))), (transposed, ((half, 4), (n, 8))),
                (upsampled, ((half, 4), (n, 8))),
            )
        )
        assert down(x).shape == (1, 1, half, 4) and up(down(x)).shape == again(down(x)).shape == x.shape
        assert conv_size(n, 4, 2, 1 + n % 2) == half and transposed_size(half, 4, 2, 1 + n % 2, n % 2) == n

@pytest.mark.parametrize('smallest', [1, 2, 3, 4])
def test_the_pyramid_stops_in_time(smallest):
    for h in range(8, 257):
        grids = pyramid((1, h, 8 + (7*h) % 249), smallest)
        assert all(smallest <= n < 2*smallest for n in grids[-1])
        assert len(grids) >= 2 and all(
            b in (a, -(-a//2)) for g, s in zip(grids, grids[1:]) for a, b in zip(g, s)
        )
        assert grids == sorted(grids, key=math.prod, reverse=True) and len(set(grids)) == len(grids)

@pytest.mark.parametrize('smallest', [1, 2, 3])
def test_a_smaller_first_grid(smallest):
    G = DCGANGenerator((1, 11, 8), 6, 2, smallest=smallest)
    D = DCGANDiscriminator((1, 11, 8), 2, smallest=smallest)
    assert D(G(torch.randn(4, 6))).shape == (4,)

@pytest.mark.parametrize('n', range(1, 9))
def test_the_formulas_agree_with_pytorch(n):
    for kernel in range(1, 7):
        for stride in range(1, 4):
            for padding in range(0, (kernel + 1)//2):
                for extra in range(stride):
                    w = torch.ones(1, 1, kernel)
                    if (size := transposed_size(n, kernel, stride, padding, extra)) < 1: continue
                    assert (
                        F.conv_transpose1d(
                            torch.ones(1, 1, n), w, stride=stride, padding=padding, output_padding=extra
                        ).shape[-1]
                        == size
                    )
                    assert conv_size(size, kernel, stride, padding) == n
                    assert F.conv1d(torch.ones(1, 1, size), w, stride=stride, padding=padding).shape[-1] == n

@pytest.mark.parametrize('large', [(8, 8), (9, 12), (13, 7)])
def test_growing_is_the_transpose_of_shrinking(large):
    small = tuple(-(-n//2) for n in large)
    down, up = strided(3, 5, large, small, False).double(), transposed(5, 3, small, large, False).double()
    up.weight.data = down.weight.data
    x, y = torch.randn(2, 3, *large, dtype=torch.float64), torch.randn(2, 5, *small, dtype=torch.float64)
    assert torch.allclose((down(x)*y).sum(), (x*up(y)).sum())


# Counts

@pytest.mark.parametrize('shape, z, width, params, mega_macs', [
    ((3, 64, 64), 100, 64, (3_576_704, 2_765_568), (104.6, 103.8)),  # the PyTorch example
    # as published with biases, less these
    ((3, 32, 32), 128, 64, (1_187_907 - 4_291, 663_745 - 449), (18.1, 17.6)),
    ((1, 32, 32), 128, 32, (429_089 - 2_145, 167_009 - 225), (4.6, 4.3)),
    ((1, 32, 32), 128, 16, (173_585 - 1_073, 42_545 - 113), (1.2, 1.1))])
def test_published_counts(shape, z, width, params, mega_macs):
    G, D = DCGANGenerator(shape, z, width), DCGANDiscriminator(shape, width)
    assert (n_params(G), n_params(D)) == params
    assert (round(multiply_adds(G, (z,))/1e6, 1), round(multiply_adds(D, shape)/1e6, 1)) == mega_macs

def test_biases_only_where_nothing_normalises():
    for norm in (None, nn.BatchNorm2d):
        for m in (
            DCGANGenerator((3, 32, 32), 6, 4, norm=norm), DCGANDiscriminator((3, 32, 32), 4, norm=norm),
        ):
            assert all(
                (l.bias is None) == (norm is not None)
                for l in m.modules()
                if isinstance(l, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
            )

def test_no_batchnorm_at_the_image():
    for m in pair((3, 32, 32)):
        norms = [l.num_features for l in m.modules() if isinstance(l, nn.BatchNorm2d)]
        assert norms == ([8, 4, 2] if isinstance(m, DCGANGenerator) else [4, 8])

def test_costs_are_counted_without_touching_the_network():
    G = DCGANGenerator((1, 8, 8), 6, 4)
    before = copy.deepcopy(G.state_dict())
    assert multiply_adds(G, (6,)) == 6*4*16 + 16*4*16 and G.training
    assert all(torch.equal(v, before[k]) for k, v in G.state_dict().items()) and not any(
        m._forward_hooks for m in G.modules()
    )
    assert multiply_adds(MLPGenerator((2,), 3, (5, 7)), (3,)) == 3*5 + 5*7 + 7*2
    assert multiply_adds(nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)) == 25*6*2*9
    assert sum(l.n_params for l in trace(G, (6,))) == n_params(G)

def test_the_largest_pair_is_followed_in_no_time():
    start = time.process_time()
    assert multiply_adds(DCGANDiscriminator((3, 256, 256), 16), (3, 256, 256)) > 1e8
    assert time.process_time() - start < 20


# Starts

def test_normal_start():
    torch.manual_seed(0)
    for m in (
        DCGANGenerator((3, 64, 64), width=32), DCGANDiscriminator((3, 64, 64), 32),
        DCGANGenerator((3, 32, 32), width=32, norm=None),
    ):
        for l in m.modules():
            if isinstance(l, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                assert abs(l.weight.std() - .02) < .003 and abs(l.weight.mean()) < .003
                assert l.bias is None or not l.bias.any()
            elif isinstance(l, nn.BatchNorm2d):
                assert abs(l.weight.mean() - 1) < .02 and .01 < l.weight.std() < .03 and not l.bias.any()

@pytest.mark.parametrize(
    'norm', [partial(nn.GroupNorm, 1), partial(nn.InstanceNorm2d, affine=True), nn.InstanceNorm2d]
)
def test_gains_of_other_normalisations_start_around_1(norm):
    G = DCGANGenerator((1, 16, 16), 6, 4, norm=norm)
    gains = [
        l.weight
        for l in G.modules()
        if isinstance(l, (nn.GroupNorm, nn.InstanceNorm2d)) and l.weight is not None
    ]
    assert all((g - 1).abs().max() < .2 for g in gains) and G(torch.randn(3, 6)).shape == (3, 1, 16, 16)

def test_a_start_of_ones_own_and_pytorchs():
    torch.manual_seed(0)
    a = DCGANGenerator((1, 8, 8), 6, 4, init=None)
    torch.manual_seed(0)
    b = nn.Linear(6, 64, bias=False)
    assert torch.equal(a.net[0].weight, b.weight)
    c = DCGANDiscriminator((1, 8, 8), 4, init=partial(normal_init, std=0.))
    assert not any(p.any() for p in c.parameters())


# Behaviour

@pytest.mark.parametrize('lead', [(), (4,), (3, 4), (2, 3, 4), (0,)])
def test_leading_sizes_are_kept(lead):
    G, D = (m.eval() for m in pair((2, 9, 8)))
    z = torch.randn(*lead, 6)
    x = G(z)
    assert x.shape == (*lead, 2, 9, 8) and D(x).shape == lead
    assert torch.allclose(G(z.reshape(math.prod(lead), 6)).view(x.shape), x, atol=1e-6)

@pytest.mark.parametrize('out, low', [(nn.Tanh, -1), (nn.Sigmoid, 0)])
def test_range(out, low):
    x = DCGANGenerator((1, 8, 8), 6, 4, out=out, init=None)(100*torch.randn(99, 6))
    assert low <= x.min() and x.max() <= 1

def test_labels_are_ignored_and_gradients_reach_everything():
    G, D = pair((1, 16, 16), 4)
    z, y = torch.randn(16, 6), torch.arange(16)
    with evaluating(G, D): assert torch.equal(D(G(z, y), y), D(G(z)))
    D(G(z)).square().mean().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() and p.grad.any()
        for m in (G, D)
        for p in m.parameters()
    )

@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('up', [transposed, upsampled])
def test_members_stack_under_vmap(training, up):
    Gs = [DCGANGenerator((1, 9, 8), 6, 4, up).train(training) for _ in range(3)]
    Ds = [DCGANDiscriminator((1, 9, 8), 4).train(training) for _ in range(3)]
    alone = [copy.deepcopy(m) for m in Gs + Ds]
    def both(g, d, z):
        x = functional_call(Gs[0], g, (z,))
        return x, functional_call(Ds[0], d, (x,))
    z = torch.randn(3, 5, 6)
    g, d = stack_module_state(Gs), stack_module_state(Ds)
    x, logits = vmap(both)(g, d, z)
    for k in range(3):
        assert torch.allclose(x[k], want := alone[k](z[k]), atol=1e-5)
        assert torch.allclose(logits[k], alone[3 + k](want), atol=1e-5)
        for name, buffer in alone[k].named_buffers(): assert torch.allclose(g[1][name][k], buffer, atol=1e-6)

def test_channels_last_gives_the_same():
    G, D = (m.eval() for m in pair((3, 16, 24), 4))
    z = torch.randn(5, 6)
    want = D(G(z))
    for m in (G, D): m.to(memory_format=torch.channels_last)
    assert torch.allclose(D(G(z).contiguous(memory_format=torch.channels_last)), want, atol=1e-5)

def test_bfloat16_under_autocast():
    G, D = pair((1, 8, 8), 4)
    with torch.autocast('cpu', torch.bfloat16): logits = D(G(torch.randn(4, 6)))
    assert logits.shape == (4,) and logits.isfinite().all()

def test_double_all_through():
    G, D = (m.double() for m in pair((1, 8, 8), 4))
    assert D(G(torch.randn(4, 6, dtype=torch.float64))).dtype == torch.float64

@pytest.mark.parametrize('options', [{}, dict(channels_last=True), dict(amp=True), dict(n_critic=2)])
def test_it_trains(options):
    torch.manual_seed(0)
    s = new_state(*pair((1, 8, 8), 8), ema=True)
    fit(s, digits(), 3, non_saturating, batch_size=8, schedule=linear_decay(), **options)
    assert s.step == 3 and all(p.isfinite().all() for p in s.best.parameters())

def test_resumed_is_the_same_to_the_last_bit(tmp_path):
    def start():
        torch.manual_seed(0)
        return new_state(*pair((1, 8, 8), 4), ema=True)
    go = partial(fit, data=digits(), loss=non_saturating, batch_size=8)
    whole, half = start(), start()
    go(whole, n_steps=8)
    go(half, n_steps=4)
    save(half, tmp_path/'half.pt')
    again = start()
    load(again, tmp_path/'half.pt')
    go(again, n_steps=8)
    for a, b in ((whole.G, again.G), (whole.D, again.D), (whole.G_ema, again.G_ema)):
        assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())

def test_the_averages_of_batchnorm_are_averaged_too():
    s = new_state(*pair((1, 8, 8), 4), ema=True)
    fit(s, digits(), 5, non_saturating, batch_size=8)
    mean = next(b for n, b in s.G_ema.named_buffers() if n.endswith('running_mean'))
    assert mean.any() and not torch.equal(
        mean, next(b for n, b in s.G.named_buffers() if n.endswith('running_mean'))
    )
    assert sample(s.best, torch.randn(4, 6)).isfinite().all()


# Messages

@pytest.mark.parametrize('model', [DCGANGenerator, DCGANDiscriminator])
@pytest.mark.parametrize(
    'shape, words',
    [
        ((1, 7, 8), 'from 8 to 256'), ((1, 8, 257), 'from 8 to 256'), ((0, 8, 8), 'channels is 0'),
        ((-1, 8, 8), 'channels is -1'), ((2,), 'take the MLP pair'), (8, 'take the MLP pair'),
        ((8, 8), 'three whole numbers'), ((1, 8., 8), 'height is 8.0'),
        ((1, 1, 8, 8), 'three whole numbers'), (None, 'three whole numbers'), ('abc', 'three whole numbers'),
    ],
)
def test_wrong_shapes(model, shape, words):
    with pytest.raises(ValueError, match=words): model(shape)

@pytest.mark.parametrize(
    'name, value',
    [
        ('width', 0), ('width', -3), ('width', 2.5), ('latent_dim', 0), ('latent_dim', 1.5), ('smallest', 0),
        ('smallest', 5),
    ],
)
def test_wrong_numbers(name, value):
    with pytest.raises(ValueError, match=f'{name} is {value}'): DCGANGenerator((1, 8, 8), **{name: value})
    if name != 'latent_dim':
        with pytest.raises(ValueError, match=f'{name} is {value}'):
            DCGANDiscriminator((1, 8, 8), **{name: value})

def test_wrong_inputs():
    G, D = pair((3, 8, 8))
    for z in (torch.randn(4, 5), torch.randn(6, 4), torch.tensor(1.), torch.randn(4, 6, 1, 1)):
        with pytest.raises(ValueError, match=r'do not fit, give \(\.\.\.,B,6\)'): G(z)
    for x in (torch.randn(4, 1, 8, 8), torch.randn(4, 192), torch.randn(4, 3, 8, 9), torch.tensor(1.)):
        with pytest.raises(ValueError, match=r'give \(\.\.\.,B,3,8,8\)'): D(x)
    for x in (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, 3, 8, 8, dtype=torch.long)):
        with pytest.raises(TypeError, match='give floating-point numbers'): D(x)
    with pytest.raises(TypeError, match='of one precision with the weights'):
        D(torch.zeros(4, 3, 8, 8, dtype=torch.float64))
    with pytest.raises(TypeError, match='of one precision with the weights'):
        G(torch.zeros(4, 6, dtype=torch.float64))
    with pytest.raises(TypeError, match='give floating-point numbers'): G(torch.zeros(4, 6, dtype=torch.long))

def test_networks_and_data_that_do_not_fit_each_other():
    with pytest.raises(ValueError, match='build it for that shape'):
        fit(new_state(*pair((1, 16, 16))), digits(), 1, non_saturating)


# The finest alternation

def test_checkerboard_of_known_waves():
    i = torch.arange(12)
    for h, w in ((0, 6), (6, 0), (6, 6), (6, 3)):
        x = torch.cos(2*math.pi*(h*i[:, None] + w*i)/12)[None, None]
        assert math.isclose(checkerboard(x).item(), (12*12 - 1)/(12 + 12 - 1), rel_tol=1e-5)
    assert checkerboard(torch.cos(2*math.pi*(2*i[:, None] + 5*i)/12)[None, None]) < 1e-9

def test_checkerboard_ignores_brightness_and_contrast_and_keeps_members():
    x = torch.rand(3, 7, 2, 8, 10)
    a = checkerboard(x)
    assert (
        a.shape == (3,) and a.dtype == torch.float64 and torch.allclose(a, checkerboard(5*x - 2), rtol=1e-4)
    )
    assert torch.allclose(a[1], checkerboard(x[1])) and .7 < a.mean() < 1.3

@pytest.mark.parametrize('shape', [(4, 1, 9, 8), (4, 1, 8, 7), (8, 8)])
def test_checkerboard_wants_even_images(shape):
    with pytest.raises(ValueError, match='even sides'): checkerboard(torch.zeros(shape))


# Recipes

@pytest.mark.parametrize('name', [n for n, r in recipes.items() if r.networks == 'dcgan'])
@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 28, 45)])
def test_recipes_train(name, shape):
    data = Data('noise', torch.randint(256, (50, *shape), dtype=torch.uint8))
    s, a = build(name, data, device='cpu')
    fit(s, **a | dict(n_steps=2, batch_size=4))
    assert sample(s.best, torch.randn(3, s.G.latent_dim)).shape == (3, *shape)
    assert all(
        torch.equal(p, q)
        for p, q in zip(networks(name, shape)[0].parameters(), networks(name, shape)[0].parameters())
    )
