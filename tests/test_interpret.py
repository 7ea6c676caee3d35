"""Looking inside: each method finds what was planted, leaves the
networks as they were, and says what is wrong with bad input."""
import copy
import math
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from ganbook import interpret
from ganbook.data import digits, split
from ganbook.interpret import (
    Directions, ablated, activations, attribute_means, class_directions, dissect, factorise, invert,
    latent_view, lerp, occlusion, principal_directions, saliency, slerp, traverse,
)
from ganbook.metrics import yardstick
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.plots import to_png
from ganbook.recipes import build, find
from ganbook.train import fit, sample


@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)


def basis(n, k): return torch.linalg.qr(torch.randn(n, k))[0].T  # k orthogonal units as rows
def linear(A, shape):
    G = nn.Sequential(nn.Linear(A.shape[1], A.shape[0], bias=False), nn.Unflatten(1, shape))
    G.latent_dim, G[0].weight.data = A.shape[1], A
    return G
def planted(values, n=36, Z=7, shape=(1, 6, 6)):
    "A linear G, and the directions in which its images vary with the standard deviations `values`."
    V = basis(Z, len(values))
    return linear(basis(n, len(values)).T @ torch.diag(torch.tensor(values)) @ V, shape), V
def white(n, Z):
    "Latents whose sample mean is 0 and sample covariance 1, to the last digit."
    z = torch.randn(n, Z)
    return torch.linalg.qr(z - z.mean(0))[0]*math.sqrt(n)
def cosines(a, b): return F.cosine_similarity(a, b).abs()


# paths

@pytest.mark.parametrize('path', [lerp, slerp])
@pytest.mark.parametrize('shape', [(2,), (7,), (3, 4), (2, 3, 5)])
def test_paths_have_their_ends_and_shapes(path, shape):
    a, b = torch.randn(2, *shape)
    way = path(a, b, [0., .3, 1.])
    assert way.shape == (3, *shape) and path(a, b, .3).shape == shape
    torch.testing.assert_close(way[0], a)
    torch.testing.assert_close(way[2], b)
    torch.testing.assert_close(way[1], path(a, b, .3))
    torch.testing.assert_close(path(a, b, .3), path(b, a, .7), atol=1e-5, rtol=1e-4)

def test_slerp_turns_evenly_and_its_length_is_linear():
    a, b = torch.randn(2, 50, 9, dtype=torch.float64)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    way = slerp(a, b, t)
    torch.testing.assert_close(way.norm(dim=-1), lerp(a.norm(dim=-1), b.norm(dim=-1), t))
    turned = F.cosine_similarity(way, a.expand_as(way), dim=-1).clamp(-1, 1).acos()
    torch.testing.assert_close(turned[1:], t[1:, None]*turned[-1], atol=1e-6, rtol=1e-6)

def test_slerp_is_the_published_formula_for_equal_lengths():
    a, b = F.normalize(torch.randn(2, 20, 6, dtype=torch.float64), dim=-1)
    theta = (a*b).sum(-1, keepdim=True).acos()
    torch.testing.assert_close(
        slerp(a, b, .2), (torch.sin(.8*theta)*a + torch.sin(.2*theta)*b)/torch.sin(theta)
    )

@pytest.mark.parametrize('dim', [2, 3, 64])
def test_opposite_equal_and_zero_ends(dim):
    a = torch.randn(5, dim)
    torch.testing.assert_close(
        slerp(a, -a, torch.linspace(0, 1, 5)).norm(dim=-1), a.norm(dim=-1).expand(5, 5)
    )
    torch.testing.assert_close(slerp(a, -a, 1.), -a, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(slerp(a, a, .4), a)
    torch.testing.assert_close(slerp(a, 3*a, .5), 2*a)
    torch.testing.assert_close(slerp(0*a, a, .3), .3*a)
    torch.testing.assert_close(slerp(a, 0*a, .3), .7*a)
    assert not slerp(0*a, 0*a, .5).any()

def test_slerp_in_a_batch_is_slerp_of_each():
    a, b = torch.randn(2, 6, 8)
    a[0], b[1], b[2] = 0, 0, -a[2]
    torch.testing.assert_close(
        slerp(a, b, [.1, .6]), torch.stack([slerp(x, y, [.1, .6]) for x, y in zip(a, b)], 1)
    )

@pytest.mark.parametrize('path', [lerp, slerp])
@pytest.mark.parametrize(
    'a,b,part',
    [
        (torch.ones(3), torch.ones(4), 'one length'), (torch.ones(0, 3), torch.ones(0, 3), 'empty'),
        (torch.tensor([math.nan, 1]), torch.ones(2), 'NaN'),
        (torch.ones(2), torch.tensor([math.inf, 1]), 'infinite'),
        (torch.ones(3).long(), torch.ones(3), 'floating-point'), ([1., 2.], torch.ones(2), 'a tensor'),
        (torch.tensor(1.), torch.ones(1), 'empty'),
    ],
)
def test_paths_refuse(path, a, b, part):
    with pytest.raises((ValueError, TypeError), match=part): path(a, b, .5)

def test_a_circle_needs_two_numbers():
    with pytest.raises(ValueError, match='take lerp'): slerp(torch.ones(1), -torch.ones(1), .5)


# arithmetic

def test_means_of_classes():
    z, labels = torch.randn(300, 5), torch.randint(4, (300,))
    means = attribute_means(z, labels, 4)
    for c in range(4): torch.testing.assert_close(means[c], z[labels == c].mean(0))

@pytest.mark.parametrize(
    'labels,k,part',
    [
        (torch.zeros(9).long(), 2, 'classes that none has'), (torch.zeros(8).long(), 1, 'one label a latent'),
        (torch.ones(9).long(), 1, 'from 0 to 0'), (torch.zeros(9), 1, 'int64'),
        (torch.full((9,), -1), 2, 'from 0 to 1'),
    ],
)
def test_means_refuse(labels, k, part):
    with pytest.raises(ValueError, match=part): attribute_means(torch.randn(9, 3), labels, k)

def test_traverse():
    z, v = torch.randn(4, 6), torch.randn(6)
    assert traverse(z, v, [-1, 0, 2]).shape == (3, 4, 6) and traverse(z[0], v, 1.).shape == (1, 6)
    torch.testing.assert_close(traverse(z, v, torch.tensor([-1, 0, 2]))[2], z + 2*v)
    torch.testing.assert_close(traverse(z, z, [-1.])[0], 0*z)  # a direction for each latent


# principal directions and factors

@pytest.mark.parametrize('values', [(5., 3., 2., 1.), (4., 1.), (1.,)])
def test_principal_directions_of_a_linear_G(values):
    G, V = planted(values)
    z = white(400, 7)
    found = principal_directions(G, '1', z, len(values))
    assert cosines(found.vectors, V).min() > 1 - 1e-5
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(len(values)), atol=1e-4, rtol=0)
    variances = torch.tensor(values).square()
    torch.testing.assert_close(found.share, variances/variances.sum(), atol=1e-5, rtol=1e-4)
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()

def test_principal_directions_with_a_finite_sample():
    G, V = planted((5., 3., 2., 1.))
    assert cosines(principal_directions(G, '0', torch.randn(5000, 7), 4).vectors, V).min() > .99

def test_a_component_that_z_does_not_drive_linearly_is_short():
    class Even(nn.Module):
        latent_dim = 1
        def __init__(self):
            super().__init__()
            self.net = nn.Identity()
        def forward(self, z): return self.net(z.square())
    assert principal_directions(Even(), 'net', torch.randn(5000, 1), 1).vectors.abs() < .1

@pytest.mark.parametrize('k', [0, -1, 5, 100])
def test_k_beyond_the_rank_is_refused(k):
    G, _ = planted((5., 3., 2., 1.))
    with pytest.raises(ValueError, match='from 1 to 4'): principal_directions(G, '1', torch.randn(100, 7), k)

def test_few_latents_and_dead_layers_are_refused():
    G, _ = planted((5., 3., 2., 1.))
    with pytest.raises(ValueError, match='from 1 to 2'): principal_directions(G, '1', torch.randn(3, 7), 3)
    G[0].weight.data.zero_()
    with pytest.raises(ValueError, match='vary along 0 directions'):
        principal_directions(G, '1', torch.randn(30, 7), 1)

@pytest.mark.parametrize('n,Z', [(36, 7), (7, 7), (3, 7), (200, 64)])
def test_factors_are_right_singular_vectors(n, Z):
    A = torch.randn(n, Z)
    found, k = factorise(A, Z), min(n, Z)
    U, S, Vh = torch.linalg.svd(A.double())
    assert cosines(found.vectors[:k].double(), Vh[:k]).min() > 1 - 1e-4
    torch.testing.assert_close(
        found.share[:k].double(), (S.square()/S.square().sum())[:k], atol=1e-6, rtol=1e-4
    )
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(Z), atol=1e-5, rtol=0)

def test_factors_of_a_planted_G_and_of_a_transposed_convolution():
    G, V = planted((5., 3., 2., 1.))
    assert (
        isinstance(factorise(G[0].weight, 4), Directions)
        and cosines(factorise(G[0].weight, 4).vectors, V).min() > 1 - 1e-5
    )
    conv = nn.ConvTranspose2d(7, 5, 4)
    first = factorise(conv.weight.flatten(1).mT, 3).vectors
    def power(v): return F.conv_transpose2d(v[:, :, None, None], conv.weight).square().sum((1, 2, 3))
    assert (
        power(first).min() > power(F.normalize(torch.randn(200, 7), dim=1)).quantile(.6)
        and power(first)[0] >= power(F.normalize(torch.randn(200, 7), dim=1)).max()
    )
    with pytest.raises(ValueError, match=r'flatten\(1\).mT'): factorise(conv.weight, 3)

@pytest.mark.parametrize(
    'weight,k,part',
    [
        (torch.randn(9, 4), 5, 'from 1 to 4'), (torch.randn(9, 4), 0, 'from 1 to 4'),
        (torch.full((2, 2), math.nan), 1, 'NaN'), ([[1.]], 1, 'tensor'),
    ],
)
def test_factors_refuse(weight, k, part):
    with pytest.raises((ValueError, TypeError), match=part): factorise(weight, k)


# class directions

def test_directions_of_a_linear_classifier():
    G, _ = planted((5., 3., 2., 1.))
    W = torch.randn(3, 36)
    for n in (1, 8):
        torch.testing.assert_close(
            class_directions(G, lambda x: x.flatten(1) @ W.T, torch.randn(n, 7)), W @ G[0].weight.detach(),
            atol=1e-4, rtol=1e-4,
        )

def test_directions_are_the_mean_of_each_latents_own():
    G = DCGANGenerator((1, 8, 8), 6, 4)
    y = yardstick('digits')
    z = torch.randn(5, 6)
    torch.testing.assert_close(
        class_directions(G, y, z),
        torch.stack([class_directions(G, y, z[i:i + 1]) for i in range(5)]).mean(0), atol=1e-5, rtol=1e-3,
    )

@pytest.mark.parametrize(
    'classify', [lambda x: x.mean(), lambda x: x.flatten(1).sum(1), lambda x: x.flatten(1)[:2]]
)
def test_a_classifier_must_give_logits(classify):
    with pytest.raises(ValueError, match=r'\(N,K\)'):
        class_directions(planted((1.,))[0], classify, torch.randn(4, 7))


# units

def square_G(n_units=3):
    "Each unit draws one pixel-wide square of its own; the image is their sum on black."
    patterns = torch.zeros(n_units, 8, 8)
    for u in range(n_units): patterns[u, 2*u:2*u + 2, :2] = 1
    G = nn.Sequential(
        nn.Linear(n_units, 64*n_units, bias=False), nn.Unflatten(1, (n_units, 8, 8)), nn.ReLU(),
        nn.Conv2d(n_units, 1, 1),
    )
    G.latent_dim = n_units
    G[0].weight.data = torch.block_diag(*patterns.flatten(1)).T.reshape(64*n_units, n_units).contiguous()
    G[3].weight.data, G[3].bias.data = torch.ones(1, n_units, 1, 1), torch.tensor([-1.])
    return G

def bright_in_square(u):
    return lambda x: (
        (x[:, 0] > -1 + 1e-6)
        & (
            torch.zeros(8, 8).index_put(
                (torch.tensor([2*u, 2*u, 2*u + 1, 2*u + 1]), torch.tensor([0, 1, 0, 1])), torch.tensor(1.),
            )
            > 0
        )
    )

@pytest.mark.parametrize('u', range(3))
def test_the_unit_of_a_square_is_found_and_its_ablation_removes_exactly_that(u):
    G, z = square_G(), torch.randn(300, 3)
    iou = dissect(G, '2', z, bright_in_square(u))
    assert iou[u] > .99 and iou[[v for v in range(3) if v != u]].max() == 0
    before = sample(G, z)
    with ablated(G, '2', [u]): after = sample(G, z)
    expected = before.clone()
    expected[:, :, 2*u:2*u + 2, :2] = -1
    assert torch.equal(after, expected) and torch.equal(sample(G, z), before)

def test_chance_agreement():
    class Noise(nn.Module):
        latent_dim = 1
        def __init__(self):
            super().__init__()
            self.maps = nn.Identity()
        def forward(self, z): return self.maps(torch.randn(len(z), 4, 8, 8))[:, :1]
    for p in (.1, .5):
        iou = dissect(Noise(), 'maps', torch.randn(900, 1), lambda x: torch.rand(len(x), 8, 8) < p)
        torch.testing.assert_close(iou, torch.full((4,), p/(2 - p)), atol=.02, rtol=0)
    with pytest.raises(ValueError, match='nowhere'):
        dissect(Noise(), 'maps', torch.randn(9, 1), lambda x: torch.ones(len(x), 8, 8).bool())
    assert dissect(Noise(), 'maps', torch.randn(9, 1), lambda x: x[:, 0] > 0, share=.01).shape == (4,)

def test_maps_are_scaled_to_the_image():
    G = DCGANGenerator((1, 8, 8), 6, 4, smallest=2)
    for layer, units in (('net.3', 8), ('net.6', 4)):
        assert dissect(G, layer, torch.randn(50, 6), lambda x: x[:, 0] > x.median()).shape == (units,)

@pytest.mark.parametrize(
    'concept,part',
    [
        (lambda x: x[:, 0], 'bools'), (lambda x: x > 0, 'bools'), (lambda x: x[:3, 0] > 0, 'bools'),
        (lambda x: x[:, 0] > 9, 'nowhere'),
    ],
)
def test_dissect_refuses_concepts(concept, part):
    with pytest.raises(ValueError, match=part): dissect(square_G(), '2', torch.randn(9, 3), concept)

def test_dissect_wants_maps():
    with pytest.raises(ValueError, match='convolutional'):
        dissect(MLPGenerator((1, 8, 8), 3, (16,)), 'net.0', torch.randn(9, 3), lambda x: x[:, 0] > 0)

def test_ablation_of_features_and_other_values():
    G, z = MLPGenerator((1, 8, 8), 3, (16,)), torch.randn(9, 3)
    with ablated(G, 'net.1', range(16)): out = sample(G, z)
    torch.testing.assert_close(out, G.net[2].bias.detach().tanh().view(1, 1, 8, 8).expand(9, 1, 8, 8))
    with ablated(G, 'net.1', [3], value=2.): assert (activations(G, 'net.1', z)[:, 3] == 2).all()
    with ablated(G, 'net.1', []): assert torch.equal(sample(G, z), sample(G, z))

def test_ablations_nest_and_end_even_after_an_error():
    G, z = square_G(), torch.rand(5, 3)
    before = sample(G, z)
    with ablated(G, '2', [0]), ablated(G, '2', [1]): assert sample(G, z)[:, :, :4].max() == -1
    for wrong in ([3], [-1]):
        with pytest.raises(ValueError, match='units are 0 to 2'):
            with ablated(G, '2', wrong): sample(G, z)
    assert torch.equal(sample(G, z), before) and not any(m._forward_hooks for m in G.modules())


# what D looks at

def test_saliency_of_a_linear_D_is_its_weights():
    w = torch.randn(1, 6, 6)
    torch.testing.assert_close(
        saliency(lambda x: (x*w).sum((1, 2, 3)), torch.randn(4, 1, 6, 6)), w.expand(4, 1, 6, 6)
    )
    D = MLPDiscriminator((1, 6, 6), (8,))
    x, e = torch.randn(3, 1, 6, 6).double(), 1e-6
    D = D.double()
    bumped = x.clone()
    bumped[:, 0, 2, 3] += e
    torch.testing.assert_close(
        saliency(D, x)[:, 0, 2, 3], ((D(bumped) - D(x))/e).detach(), atol=1e-5, rtol=1e-4
    )

@pytest.mark.parametrize('i,j', [(0, 0), (2, 5), (6, 6)])
def test_occlusion_finds_the_only_patch(i, j):
    def D(x): return x[:, 0, i:i + 2, j:j + 2].mean((1, 2))
    worth = occlusion(D, torch.ones(3, 1, 8, 8))
    assert worth.shape == (3, 7, 7) and divmod(worth[0].argmax().item(), 7) == (i, j)
    torch.testing.assert_close(worth[:, i, j], torch.full((3,), 2.))
    far = [(a, b) for a in range(7) for b in range(7) if max(abs(a - i), abs(b - j)) > 1]
    assert all(not worth[:, a, b].any() for a, b in far)

def test_occlusion_of_a_linear_D_and_other_strides():
    w, x = torch.randn(2, 6, 9), torch.randn(4, 2, 6, 9)
    def D(x): return (x*w).sum((1, 2, 3))
    drops = occlusion(D, x, size=3, stride=2, fill=.5)
    assert drops.shape == (4, 2, 4)
    torch.testing.assert_close(
        drops[:, 1, 2], ((x - .5)*w)[:, :, 2:5, 4:7].sum((1, 2, 3)), atol=1e-4, rtol=1e-4
    )

@pytest.mark.parametrize('size,stride', [(0, 1), (9, 1), (2, 0)])
def test_occlusion_refuses_patches(size, stride):
    with pytest.raises(ValueError, match='1 to 8 pixels'):
        occlusion(lambda x: x.sum((1, 2, 3)), torch.ones(1, 1, 8, 8), size, stride)

def test_occlusion_wants_images():
    with pytest.raises(ValueError, match='give images .N,C,H,W.'):
        occlusion(lambda x: x.sum(1), torch.ones(3, 5))


# inversion

def test_latents_of_a_linear_G_come_back():
    G, _ = planted((5., 4., 3., 3.), Z=4)
    z = torch.randn(6, 4)
    found = invert(G, sample(G, z), prior=0.)
    torch.testing.assert_close(found.z, z, atol=2e-2, rtol=0)
    assert found.error.max() < 1e-4 and torch.equal(found.image, sample(G, found.z))

@pytest.mark.parametrize('weight', [.1, 1., 5.])
def test_the_prior_shrinks_as_ridge_regression_does(weight):
    G, _ = planted((5., 4., 3., 3.), Z=4)
    A, x = G[0].weight.detach(), torch.randn(5, 1, 6, 6)
    ridge = torch.linalg.solve(A.T @ A/36 + weight*torch.eye(4)/4, A.T @ x.flatten(1).T/36).T
    torch.testing.assert_close(invert(G, x, prior=weight).z, ridge, atol=1e-2, rtol=0)

def test_images_do_not_influence_each_other_and_restarts_help():
    G, x = MLPGenerator((1, 8, 8), 5, (32,)), torch.randn(4, 1, 8, 8).tanh()
    for p in G.parameters(): p.data *= 3
    all_at_once, alone = invert(G, x, n_steps=30), invert(G, x[2:3], n_steps=30)
    torch.testing.assert_close(all_at_once.z[2:3], alone.z, atol=1e-4, rtol=1e-3)
    errors = [invert(G, x, n_steps=30, restarts=n).error for n in (1, 4, 16)]
    assert (errors[1] <= errors[0] + 1e-6).all() and (errors[2] <= errors[1] + 1e-6).all()
    assert torch.equal(invert(G, x, n_steps=5, seed=3).z, invert(G, x, n_steps=5, seed=3).z)

def test_zero_steps_give_the_nearest_of_the_pool():
    G, x = MLPGenerator((3,), 2, (8,)), torch.randn(4, 3)
    found = invert(G, x, n_steps=0, pool=50)
    pool = sample(G, torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(
        found.error, torch.cdist(x, pool).square().min(1).values/3, atol=1e-5, rtol=1e-4
    )

@pytest.mark.parametrize(
    'x,more,part',
    [
        (torch.zeros(2, 1, 9, 9), {}, r'makes \(N,1,6,6\)'), (torch.zeros(0, 1, 6, 6), {}, 'at least one'),
        (torch.full((1, 1, 6, 6), math.nan), {}, 'NaN'),
        (torch.zeros(1, 1, 6, 6).byte(), {}, 'floating-point'),
        (torch.zeros(1, 1, 6, 6), dict(restarts=0), 'take at least 1, at most the pool'),
        (torch.zeros(1, 1, 6, 6), dict(restarts=9, pool=8), 'at most the pool'),
        (torch.zeros(1, 1, 6, 6), dict(n_steps=-1), 'n_steps is -1'),
    ],
)
def test_inversion_refuses(x, more, part):
    with pytest.raises((ValueError, TypeError), match=part): invert(planted((2., 1.))[0], x, **more)

@pytest.fixture(scope='module')
def trained():
    "A short run on two thirds of the digits, and the other third."
    from dataclasses import replace
    torch.manual_seed(0)
    train, held_out = split(digits(), test=1/3, seed=0)
    s, arguments = build(replace(find('mlp'), hidden=(64, 64), n_steps=150), train, device='cpu')
    return fit(s, **arguments), held_out.x.float()/127.5 - 1

def test_all_images_of_a_trained_G_are_inverted(trained):
    s, held_out = trained
    own = invert(s.best, sample(s.best, torch.randn(20, 64)))
    assert (own.error < .01).all()
    noise = invert(s.best, torch.rand(10, 1, 8, 8)*2 - 1, n_steps=60)
    real = invert(s.best, held_out[:10], n_steps=60)
    assert noise.error.min() > real.error.median() > own.error.median()


# the networks are left as they were

def contents(m):
    return (
        [t.clone() for t in m.state_dict().values()], [p.requires_grad for p in m.parameters()],
        [k.training for k in m.modules()], [p.grad for p in m.parameters()],
        sum(len(k._forward_hooks) for k in m.modules()),
    )

@pytest.mark.parametrize('training', [True, False])
def test_networks_and_random_numbers_are_left_as_they_were(training):
    G = DCGANGenerator((1, 8, 8), 6, 4)
    D = DCGANDiscriminator((1, 8, 8), 4)
    y = yardstick('digits')
    for m in (G, D): m.train(training)
    G.net[0].weight.requires_grad_(False)
    D.net[0].eval()
    z, x = torch.randn(40, 6), torch.randn(3, 1, 8, 8)
    before, state = [contents(copy.deepcopy(m)) for m in (G, D, y)], torch.get_rng_state()
    principal_directions(G, 'net.3', z, 3)
    factorise(G.net[0].weight, 3)
    class_directions(G, y, z)
    dissect(G, 'net.3', z, lambda x: x[:, 0] > x.median())
    saliency(D, x)
    occlusion(D, x)
    invert(G, x, n_steps=3)
    latent_view(G, z[:2], [1., 2.])
    with ablated(G, 'net.3', [0]): sample(G, z)
    for (a, *rest_a), (b, *rest_b) in zip(before, [contents(m) for m in (G, D, y)]):
        assert all(map(torch.equal, a, b)) and rest_a == rest_b
    assert torch.equal(torch.get_rng_state(), state) and z.grad is None and not x.requires_grad

def test_they_work_inside_no_grad_and_give_no_graph():
    G, D = MLPGenerator((1, 8, 8), 3, (16,)), MLPDiscriminator((1, 8, 8), (16,))
    with torch.no_grad():
        found = [
            *invert(G, torch.zeros(2, 1, 8, 8), n_steps=2), saliency(D, torch.zeros(2, 1, 8, 8)),
            class_directions(G, yardstick('digits'), torch.randn(2, 3)),
        ]
    found += [
        *principal_directions(G, 'net.1', torch.randn(50, 3), 2), *factorise(G.net[0].weight, 2),
        occlusion(D, torch.zeros(2, 1, 8, 8)), activations(G, 'net.0', torch.randn(2, 3)),
    ]
    assert not any(t.requires_grad for t in found)

def test_double_precision():
    G = MLPGenerator((1, 8, 8), 3, (16,)).double()
    assert invert(G, torch.zeros(2, 1, 8, 8), n_steps=2).z.dtype == torch.float64
    assert principal_directions(G, 'net.1', torch.randn(50, 3), 2).vectors.dtype == torch.float64


# one clear sentence

@pytest.mark.parametrize(
    'use',
    [
        lambda G, layer: activations(G, layer, torch.randn(4, 3)),
        lambda G, layer: principal_directions(G, layer, torch.randn(9, 3), 1),
        lambda G, layer: dissect(G, layer, torch.randn(4, 3), lambda x: x[:, 0] > 0),
        lambda G, layer: ablated(G, layer, [0]).__enter__(),
    ],
)
@pytest.mark.parametrize('layer', ['net.9', '', 'tanh'])
def test_a_layer_that_is_not_there(use, layer):
    with pytest.raises(ValueError, match='take one of net, net.0, net.1'):
        use(MLPGenerator((1, 8, 8), 3, (16,)), layer)

def test_a_layer_that_is_used_twice_or_never():
    class Odd(nn.Module):
        latent_dim = 3
        def __init__(self):
            super().__init__()
            self.twice, self.never = nn.ReLU(), nn.ReLU()
        def forward(self, z): return self.twice(self.twice(z))
    for layer, rows in (('twice', 8), ('never', 0)):
        with pytest.raises(ValueError, match=f'rows is {rows}: choose a layer'):
            activations(Odd(), layer, torch.randn(4, 3))

@pytest.mark.parametrize(
    'z,part',
    [
        (torch.randn(4, 5), r'\(N,3\)'), (torch.randn(3), r'\(N,3\)'), (torch.randn(2, 4, 3), r'\(N,3\)'),
        (torch.randn(0, 3), 'at least one'), (torch.full((2, 3), math.nan), 'NaN'),
        (torch.ones(2, 3).long(), 'floating-point'), ([[1., 2., 3.]], 'tensor'),
    ],
)
def test_latents_that_do_not_fit(z, part):
    G = MLPGenerator((1, 8, 8), 3, (16,))
    for use in (
        lambda: activations(G, 'net.0', z), lambda: class_directions(G, yardstick('digits'), z),
        lambda: latent_view(G, z, [0.]),
    ):
        with pytest.raises((ValueError, TypeError), match=part): use()

@pytest.mark.parametrize(
    'x,part',
    [
        (torch.zeros(2, 1, 9, 9), r'\(N,1,8,8\)'), (torch.zeros(1, 8, 8), r'\(N,1,8,8\)'),
        (torch.zeros(0, 1, 8, 8), 'at least one'), (torch.full((1, 1, 8, 8), math.inf), 'infinite'),
    ],
)
def test_images_that_do_not_fit(x, part):
    D = DCGANDiscriminator((1, 8, 8), 4)
    for use in (saliency, occlusion):
        with pytest.raises(ValueError, match=part): use(D, x)


# the explorer

def test_latent_view():
    G, v = DCGANGenerator((3, 8, 8), 6, 4), basis(6, 4)
    views = [
        to_png(latent_view(G, v, amounts, seed))
        for amounts, seed in (([0., 0.], 0), ([0.], 0), ([0., 3.], 0), ([0., 0.], 1))
    ]
    assert isinstance(latent_view(G, v, []), Figure) and views[0] == views[1] and len({*views}) == 3
    for amounts in ([0.]*5, [[0.]], 1.):
        with pytest.raises(ValueError, match='give one amount a direction'): latent_view(G, v, amounts)

def test_all_that_is_exported_is_documented():
    assert set(interpret.__all__) >= {
        'lerp', 'slerp', 'attribute_means', 'traverse', 'activations', 'Directions', 'principal_directions',
        'factorise', 'class_directions', 'dissect', 'ablated', 'saliency', 'occlusion', 'Inversion', 'invert',
        'latent_view',
    }
    assert all(getattr(interpret, name).__doc__ for name in interpret.__all__)
