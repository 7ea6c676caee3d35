"""`ganbook.games` against scipy, closed forms and its own identities, on many inputs."""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from scipy.spatial.distance import jensenshannon

from ganbook import games
from ganbook.games import (
    expectation, generator_losses, jsd, kl, normal_pdf, optimal_discriminator, optimal_logit, value,
    value_on_grid,
)

x = torch.linspace(-15, 15, 3001, dtype=torch.float64)
bells = [(0., 1.), (1., 1.), (-3., .5), (2., 2.), (.3, .4), (4., 1.5)]
pairs = [(a, b) for a in bells for b in bells]


def pdf(bell): return normal_pdf(x, *bell)


def close(a, b, tol=1e-6): np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=tol)


@pytest.mark.parametrize('mean, std', bells)
def test_normal_pdf_is_that_of_scipy(mean, std):
    close(normal_pdf(x, mean, std), stats.norm.pdf(x.numpy(), mean, std), 1e-12)


@pytest.mark.parametrize('std', [0., -1., torch.tensor([[1.], [0.]])])
def test_normal_pdf_wants_a_positive_width(std):
    with pytest.raises(ValueError, match='must be above 0'): normal_pdf(x, 0., std)


def test_moments():
    for mean, std in bells:
        p = pdf((mean, std))
        close(expectation(p, x, x), mean)
        close(expectation(p, (x - mean)**2, x), std**2)


def test_expectation_ignores_f_where_there_is_no_mass():
    p = ((x > 0) & (x < 2)).double()/2
    for bad in (math.inf, -math.inf, math.nan): close(expectation(p, torch.where(p > 0, 3., bad), x), 3., .03)


@pytest.mark.parametrize(
    'grid', [torch.linspace(0, 15, 1501), torch.linspace(-15, 15, 9), torch.linspace(20, 30, 1000)]
)
def test_expectation_refuses_a_grid_that_misses_the_density(grid):
    with pytest.raises(ValueError, match='take a wider or a finer grid'):
        expectation(normal_pdf(grid, .2, .3), grid, grid)


# so narrow a second bell is rounded to 0 on the grid
@pytest.mark.parametrize('a, b', [(a, b) for a, b in pairs if b[1] > .4 or a == b])
def test_kl_of_two_bells_has_a_closed_form(a, b):
    (m, s), (n, t) = a, b
    close(kl(pdf(a), pdf(b), x), math.log(t/s) + (s*s + (m - n)**2)/(2*t*t) - .5, 1e-6)


@pytest.mark.parametrize('a, b', pairs)
def test_jsd_is_symmetric_bounded_and_that_of_scipy(a, b):
    p, q = pdf(a), pdf(b)
    d = jsd(p, q, x)
    close(d, jsd(q, p, x), 1e-12)
    assert -1e-12 <= d <= math.log(2)
    # scipy gives its root, and sums instead of integrating
    close(d, jensenshannon(p.numpy(), q.numpy())**2, 1e-6)


@pytest.mark.parametrize('a, b', pairs)
def test_value_of_the_best_discriminator_is_twice_the_jsd_less_log_4(a, b):
    p, q = pdf(a), pdf(b)
    close(value_on_grid(optimal_logit(p, q), p, q, x), 2*jsd(p, q, x) - math.log(4), 1e-9)


@pytest.mark.parametrize(
    'm, v, j',
    [
        (.5, -1.32567176, .0303113), (1., -1.1634514, .11142148), (2., -.71263272, .33683082),
        (4., -.12085397, .63272019),
    ],
)
def test_value_and_jsd_by_adaptive_quadrature(m, v, j):
    f = stats.norm.pdf
    def integrand(t): return f(t)*np.log(f(t)/(f(t) + f(t, m))) + f(t, m)*np.log(f(t, m)/(f(t) + f(t, m)))
    exact = integrate.quad(integrand, -15, 15, points=[0, m], epsabs=1e-10)[0]
    p, q = pdf((0., 1.)), pdf((m, 1.))
    close(value_on_grid(optimal_logit(p, q), p, q, x), exact, 1e-8)
    close([exact, jsd(p, q, x)], [v, j], 1e-6)


def test_boxes_part_at_a_distance_of_one():
    t = torch.arange(-1, 6, .001, dtype=torch.float64) + .0005
    def box(left): return ((t > left) & (t < left + 1)).double()
    for m in (0., .1, .25, .5, .9, 1., 1.1, 3., 4.5):
        close(jsd(box(0.), box(m), t), min(m, 1.)*math.log(2), 1e-9)
        assert kl(box(0.), box(m), t) == (math.inf if m else 0.)
    close(value_on_grid(optimal_logit(box(0.), box(2.)), box(0.), box(2.), t), 0.)


def test_best_discriminator_and_its_logit():
    for m in (.5, 1., 2., 4.):
        p, q = pdf((0., 1.)), pdf((m, 1.))
        close(optimal_logit(p, q), m*m/2 - m*x, 1e-9)
        close(optimal_discriminator(p, q), optimal_logit(p, q).sigmoid(), 1e-12)
        close(optimal_discriminator(p, q) + optimal_discriminator(q, p), torch.ones_like(x), 1e-12)
    p, q = torch.tensor([1., 0., 0., 2.]), torch.tensor([0., 1., 0., 2.])
    d = optimal_discriminator(p, q)
    assert d[0] == 1 and d[1] == 0 and d[2].isnan() and d[3] == .5


def test_no_other_discriminator_has_a_larger_value():
    torch.manual_seed(0)
    for a, b in pairs:
        p, q = pdf(a), pdf(b)
        best = value_on_grid(optimal_logit(p, q), p, q, x)
        others = optimal_logit(p, q).clamp(-50, 50) + torch.randn(20, 1)*torch.sin(torch.rand(20, 1)*3*x)
        assert (value_on_grid(others, p, q, x) <= best + 1e-12).all()


def test_value_of_samples_approaches_value_on_the_grid():
    torch.manual_seed(1)
    for logits in (lambda t: 1 - t, lambda t: 3*torch.sin(t), lambda t: -t**2/4):
        real, fake = torch.randn(4, 400_000), 1 + torch.randn(4, 400_000)
        got = value(logits(real), logits(fake))
        exact = value_on_grid(logits(x), pdf((0., 1.)), pdf((1., 1.)), x)
        assert got.shape == (4,)
        close(got, exact.expand(4), .02)


@pytest.mark.parametrize('size', [100., 1e4, 1e30])
def test_value_stays_finite_for_logits_of_any_size(size):
    right = value(torch.full((5,), size), torch.full((5,), -size))
    wrong = value(torch.full((5,), -size), torch.full((5,), size))
    assert -1e-30 < right <= 0 and wrong.isfinite()
    close(wrong/size, -2.)


def test_leading_sizes_are_kept():
    mean = torch.tensor([[0.], [1.], [2.]], dtype=torch.float64)
    p, q = pdf((0., 1.)), normal_pdf(x, mean)
    assert q.shape == (3, len(x))
    for f in (jsd, kl): close(f(p, q, x), [f(p, row, x) for row in q], 1e-12)
    close(kl(q, p, x), [kl(row, p, x) for row in q], 1e-12)
    close(
        value_on_grid(optimal_logit(p, q), p, q, x),
        [value_on_grid(optimal_logit(p, row), p, row, x) for row in q], 1e-12,
    )
    for k, loss in enumerate(generator_losses(optimal_logit(p, q), q, x)):
        close(loss, [generator_losses(optimal_logit(p, row), row, x)[k] for row in q], 1e-12)
    assert value(torch.zeros(2, 3, 8), torch.zeros(2, 3, 5)).shape == (2, 3)


@pytest.mark.parametrize('m, s', [(.5, 1.), (1., 1.), (2., 1.), (4., 1.), (-1., .7), (3., 1.8)])
def test_generator_gradients_are_those_of_divergences(m, s):
    """At a fixed best D: minimax has the gradient of 2 JSD,
    non-saturating that of KL(q||p) - 2 JSD, in mean and width."""
    theta = torch.tensor([m, s], dtype=torch.float64, requires_grad=True)
    p, q = pdf((0., 1.)), normal_pdf(x, theta[0], theta[1])
    minimax, non_saturating = generator_losses(optimal_logit(p, q), q, x)
    def grad(f): return torch.autograd.grad(f, theta, retain_graph=True)[0]
    close(grad(minimax), grad(2*jsd(p, q, x)), 1e-8)
    close(grad(non_saturating), grad(kl(q, p, x) - 2*jsd(p, q, x)), 1e-8)
    close((minimax + non_saturating).detach(), kl(q, p, x).detach(), 1e-9)
    close(grad(minimax + non_saturating), [m, s - 1/s], 1e-6)


def test_the_two_gradients_at_a_distance_of_one():
    m = torch.tensor(1., dtype=torch.float64, requires_grad=True)
    q = normal_pdf(x, m)
    close(
        [
            torch.autograd.grad(loss, m, retain_graph=True)[0]
            for loss in generator_losses(optimal_logit(pdf((0., 1.)), q), q, x)
        ],
        [.397973, .602027],
        1e-6,
    )


def test_generator_losses_hold_the_discriminator():
    logits = torch.zeros_like(x, requires_grad=True)
    m = torch.tensor(1., dtype=torch.float64, requires_grad=True)
    for loss in generator_losses(logits, normal_pdf(x, m), x):
        assert torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True) == (None,)


def test_narrow_bells_far_apart_have_finite_gradients():
    "Most of the grid is rounded to 0 here, where a careless logarithm would give NaN."
    theta = torch.tensor([6., .2], dtype=torch.float64, requires_grad=True)
    p, q = normal_pdf(x, -6., .2), normal_pdf(x, theta[0], theta[1])
    for f in (*generator_losses(optimal_logit(p, q).clamp(-700, 700), q, x), jsd(p, q, x)):
        g, = torch.autograd.grad(f, theta, retain_graph=True)
        assert g.isfinite().all()
    close(jsd(p, q, x).detach(), math.log(2), 1e-9)


def test_accuracy_of_the_best_discriminator():
    torch.manual_seed(0)
    for m in (.5, 1., 2., 4.):
        real, fake = torch.randn(1_000_000), m + torch.randn(1_000_000)
        right = ((m*m/2 - m*real > 0).double().mean() + (m*m/2 - m*fake < 0).double().mean())/2
        close(right, stats.norm.cdf(m/2), 2e-3)
    close(stats.norm.cdf(.5), .691462, 1e-6)


def test_single_precision_is_good_to_five_digits():
    y = x.float()
    p, q = normal_pdf(y), normal_pdf(y, 1.)
    close(jsd(p, q, y), .11142148, 1e-5)
    # the line 1/2 - x, in another form
    close(value_on_grid(F.softplus(y) - F.softplus(-y) - 2*y + .5, p, q, y), -1.1634514, 1e-5)
    assert jsd(p, q, y).dtype == torch.float32


def test_the_module_exports_what_the_chapter_explains():
    assert set(games.__all__) == {
        'normal_pdf', 'expectation', 'value', 'value_on_grid', 'optimal_discriminator', 'optimal_logit', 'kl',
        'jsd', 'generator_losses',
    }
