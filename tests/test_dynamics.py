"""`ganbook.dynamics` against the closed forms and the published numbers of the Dirac-GAN, through the
library's own losses and penalties.

Mescheder et al. (2018) let positive logits mean fake: their psi is minus
ours. `theirs` turns their points and vectors into ours and back. """
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ganbook.dynamics import (
    Game, alternate, bilinear, consensus, dirac, eigenvalues, jacobian, largest_step, lq, simultaneous,
    spectral_radius, trajectory,
)
from ganbook.losses import GANLoss, hinge, least_squares, minimax, non_saturating, relativistic, wasserstein
from ganbook.penalties import r1, r2, wgan_gp

point = partial(torch.tensor, dtype=torch.float64)
origin, start = point([0., 0.]), point([1., -1.])  # their start is (1, 1)
sigma, both = torch.sigmoid, (simultaneous, alternate)
zero_sum = GANLoss(
    relativistic.discriminator, lambda real, fake: -relativistic.discriminator(real, fake), relativistic=True
)
somewhere = 2*torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def theirs(x): return x*point([1., -1.])
def R1(gamma): return [partial(r1, gamma=gamma)]
def R12(gamma): return [partial(r1, gamma=gamma), partial(r2, gamma=gamma)]
# lambda/2 = .35: the library's penalty has no half
def gp(weight=.35): return dirac(wasserstein, [partial(wgan_gp, weight=weight)])
def close(a, b, tol=1e-6): np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=tol)
def pair(real, root):
    return sorted([real - root, real + root], key=lambda z: (complex(z).real, complex(z).imag))
def sqrt(x): return complex(x)**.5
def end(step, n_steps, x=start): return trajectory(step, x, n_steps)[..., -1, :].norm(dim=-1).item()


def close_eigenvalues(game, want, at=origin, tol=1e-6):
    "A double root is found to about the square root of the precision."
    close(eigenvalues(game.v, at), [complex(z) for z in want], tol)


# The table: fields

# Mescheder's f', with f(t) = -log(1 + exp(-t))
def f1(t): return sigma(-t)

FIELDS = {  # game, (v_theta, v_psi) of the table at their (theta, psi)
    'minimax': (dirac(minimax), lambda th, ps: (-ps*f1(ps*th), th*f1(ps*th))),
    'non-saturating': (dirac(non_saturating), lambda th, ps: (-ps*f1(-ps*th), th*f1(ps*th))),
    'relativistic, zero sum': (dirac(zero_sum), lambda th, ps: (-ps*f1(ps*th), th*f1(ps*th))),
    'relativistic, as in the library': (dirac(relativistic), lambda th, ps: (-ps*f1(-ps*th), th*f1(ps*th))),
    'WGAN': (dirac(wasserstein), lambda th, ps: (-ps, th)),
    'WGAN-GP': (gp(), lambda th, ps: (-ps, th - .7*(ps.abs() - 1)*ps.sign())),
    'R1': (dirac(minimax, R1(.3)), lambda th, ps: (-ps*f1(ps*th), th*f1(ps*th) - .3*ps)),
    'R2': (dirac(minimax, [partial(r2, gamma=.3)]), lambda th, ps: (-ps*f1(ps*th), th*f1(ps*th) - .3*ps)),
    'R1 and R2': (dirac(minimax, R12(.3)), lambda th, ps: (-ps*f1(ps*th), th*f1(ps*th) - .6*ps)),
    'NS and R1': (dirac(non_saturating, R1(.3)), lambda th, ps: (-ps*f1(-ps*th), th*f1(ps*th) - .3*ps)),
}

@pytest.mark.parametrize('game, field', FIELDS.values(), ids=FIELDS)
def test_fields_of_the_table(game, field):
    close(theirs(game.v(theirs(somewhere))), torch.stack(field(*somewhere.T), -1), 1e-7)


def test_softplus_turns_linear_at_20_and_costs_no_more_than_that():
    """PyTorch's softplus is linear above 20, so fields are
    exact to 1e-8 at large logits and to rounding elsewhere."""
    near = somewhere[somewhere.prod(-1).abs() < 19]
    close(theirs(dirac(minimax).v(theirs(near))), torch.stack(FIELDS['minimax'][1](*near.T), -1), 1e-13)


@pytest.mark.parametrize(
    's, theta, psi', [(.7, 1., -1.), (.7, -2., .5), (2**.5, .3, 1.5), (2., 2., 2.), (2., -1., -2.)],
)
def test_instance_noise_is_the_expected_value_over_the_noise(s, theta, psi):
    def sig(t): return 1/(1 + np.exp(-t))
    def mean(f):
        return integrate.quad(
            lambda e: stats.norm.pdf(e)*f(s*e), -12, 12, epsabs=1e-12, epsrel=1e-12, limit=200
        )[0]
    v_theta = mean(lambda e: psi*sig(psi*(theta + e)))
    v_psi = mean(lambda e: e*sig(-psi*e) - (theta + e)*sig(psi*(theta + e)))
    close(dirac(minimax, noise=s).v(point([theta, psi])), [v_theta, v_psi], 1e-7)
    e, w = np.polynomial.hermite_e.hermegauss(160)  # a relativistic D meets two noises at once
    pairs, w = (e[:, None], e), np.outer(w, w)/w.sum()**2
    slope = (w*sig(psi*(theta + s*pairs[1] - s*pairs[0]))).sum()
    close(dirac(zero_sum, noise=s).v(point([theta, psi]))[0], psi*slope, 1e-6)


def test_quadrature_has_converged():
    x = somewhere.clamp(-2, 2)
    close(dirac(minimax, noise=2.).v(x), dirac(minimax, noise=2., n_nodes=256).v(x), 1e-6)
    close(dirac(relativistic, noise=.7).v(x[:20]), dirac(relativistic, noise=.7, n_nodes=128).v(x[:20]), 1e-8)
    close(
        dirac(non_saturating, R12(.3), noise=1.).v(x),
        dirac(non_saturating, R12(.3), noise=1., n_nodes=200).v(x), 1e-7,
    )


def test_no_noise_and_very_little_noise_agree():
    close(dirac(minimax, R1(.3), noise=1e-6).v(somewhere), dirac(minimax, R1(.3)).v(somewhere), 1e-7)


# The table: eigenvalues

i = 1j

@pytest.mark.parametrize(
    'loss', [minimax, non_saturating, relativistic, zero_sum],
    ids=['minimax', 'NS', 'RpGAN', 'RpGAN zero sum'],
)
def test_without_a_regulariser_nothing_decays(loss):
    close_eigenvalues(dirac(loss), [-.5*i, .5*i], tol=1e-12)


def test_wgan(): close_eigenvalues(dirac(wasserstein), [-i, i], tol=1e-12)
# both hinges are open at logit 0
def test_hinge_is_half_way_to_wgan(): close_eigenvalues(dirac(hinge), [-i, i], tol=1e-12)
def test_least_squares_with_labels_1_and_0_does_not_even_turn():
    close_eigenvalues(dirac(least_squares), [0, 0])


@pytest.mark.parametrize('loss', [minimax, non_saturating], ids=['minimax', 'NS'])
@pytest.mark.parametrize(
    'penalties', [R1, lambda g: [partial(r2, gamma=g)], lambda g: R12(g/2)], ids=['R1', 'R2', 'both']
)
@pytest.mark.parametrize('gamma', [0., .1, .3, .9, 1., 2., 10.])
def test_r1_and_r2(loss, penalties, gamma):
    close_eigenvalues(dirac(loss, penalties(gamma)), pair(-gamma/2, sqrt(gamma**2/4 - .25)))


@pytest.mark.parametrize(
    'gamma, want', [(.3, [-.15 - .47697*i, -.15 + .47697*i]), (1., [-.5, -.5]), (2., [-1.86603, -.13397])],
)
def test_r1_numbers(gamma, want):
    close_eigenvalues(dirac(minimax, R1(gamma)), want, tol=5e-6)
    close_eigenvalues(dirac(minimax, R12(gamma/2)), want, tol=5e-6)


@pytest.mark.parametrize('s', [.1, .7, 1., 2**.5, 2., 3.])
def test_instance_noise(s):
    close_eigenvalues(dirac(minimax, noise=s), pair(-s**2/4, sqrt(s**4/16 - .25)))
    close_eigenvalues(dirac(minimax, R1(s**2/2)), pair(-s**2/4, sqrt(s**4/16 - .25)))  # it acts like R1


@pytest.mark.parametrize(
    's, want',
    [
        (.7, [-.1225 - .48476*i, -.1225 + .48476*i]), (2**.5, [-.5, -.5]), (2., [-1.86603, -.13397]),
    ],
)
def test_instance_noise_numbers(s, want):
    close_eigenvalues(dirac(minimax, noise=s), want, tol=5e-6)


def test_the_critical_noise_is_the_root_of_two():
    def turning(s): return eigenvalues(dirac(minimax, noise=s).v, origin).imag.abs().max() > 1e-6
    assert turning(1.41) and not turning(1.42)


@pytest.mark.parametrize('gamma', [0., .5, 1., 4.])
@pytest.mark.parametrize('loss', [minimax, non_saturating], ids=['minimax', 'NS'])
def test_consensus(loss, gamma):
    close_eigenvalues(consensus(dirac(loss), gamma), [-gamma/4 - .5*i, -gamma/4 + .5*i], tol=1e-9)


def test_wgan_gp_has_no_derivative_at_the_solution():
    "The field jumps by 2 lambda there."
    left, right = (gp().v(point([0., psi]))[1] for psi in (-1e-4, 1e-4))
    close(right - left, 2*.7, 1e-3)


# Consensus: the gradient that a known implementation has wrong

def test_the_wrong_factor_in_the_gradient_of_consensus():
    """GAN_stability, notebooks/diracgan/gans.py, GAN_Consensus, has
    .5 in front of the f' f'' term; at (1, 1) the sign flips."""
    gan, s = dirac(minimax), f1(point(1.))                   # f'(1)
    f2 = -s*(1 - s)                                          # f''(1)
    slope = (gan.v(start) - consensus(gan, 1.).v(start))[0]  # of R = |v|²/2 in theta
    close(slope, -.03342, 5e-6)
    close(slope, s**2 + 2*s*f2, 1e-9)
    close(s**2 + .5*2*s*f2, .01945, 5e-6)
    x = start.clone().requires_grad_()
    true, = torch.autograd.grad(gan.v(x).square().sum()/2, x)
    close(gan.v(start) - consensus(gan, 1.).v(start), true.detach(), 1e-12)


@pytest.mark.parametrize('gamma', [0., 1., 10.])
def test_consensus_of_the_bilinear_game(gamma): close(consensus(bilinear(point([[2.]])), gamma).v(somewhere),
    somewhere.flip(-1)*point([-2., 2.]) - 4*gamma*somewhere, 1e-12)


# Discrete maps

def test_simultaneous_steps_lengthen_exactly():
    path = trajectory(simultaneous(dirac(minimax), .2), start, 300)
    r2_, t = path.square().sum(-1), path.prod(-1)
    close(r2_[1:]/r2_[:-1], 1 + .04*sigma(t[:-1])**2, 1e-12)


@pytest.mark.parametrize('h', [.01, .2, 1., 3.])
def test_spectral_radii_without_a_regulariser(h):
    close(spectral_radius(simultaneous(dirac(minimax), h), origin), math.sqrt(1 + h*h/4), 1e-12)
    close(spectral_radius(alternate(dirac(minimax), h), origin), 1., 1e-12)
    close(torch.linalg.det(jacobian(alternate(dirac(minimax), h), origin)), 1., 1e-12)


def test_spectral_radius_number():
    close(spectral_radius(simultaneous(dirac(minimax), .2), origin), 1.004988, 5e-7)


@pytest.mark.parametrize('h', [4., 4.1, 6.])
def test_alternating_steps_end_where_h_times_a_half_is_two(h):
    assert spectral_radius(alternate(dirac(minimax), 3.99), origin) < 1 + 1e-6
    assert h == 4. or spectral_radius(alternate(dirac(minimax), h), origin) > 1.1


@pytest.mark.parametrize('gamma, want', [(.3, 1.2), (1., 4.), (2., 1.0718)])
def test_largest_step(gamma, want):
    game = dirac(minimax, R1(gamma))
    h = largest_step(eigenvalues(game.v, origin)).item()
    close(h, want, 5e-5)
    assert (
        spectral_radius(simultaneous(game, h - 1e-3), origin)
        < 1
        < spectral_radius(simultaneous(game, h + 1e-3), origin)
    )


def test_largest_step_closed_forms():
    close(
        largest_step(torch.tensor([[-1. + 0j, -4.], [2., -1.], [1j, -1j], [0., 0.]])), [.5, 0., 0., 0.], 1e-6,
    )
    lam = torch.tensor([-.15 + .47697j])
    close(largest_step(lam), 2*.15/(.15**2 + .47697**2), 1e-5)


@pytest.mark.parametrize('gamma, at_once, in_turn', [(.3, .974679, .969536), (1., .9, .927016)])
def test_spectral_radii_with_r1(gamma, at_once, in_turn):
    game = dirac(minimax, R1(gamma))
    close(spectral_radius(simultaneous(game, .2), origin), at_once, 1e-6)
    close(spectral_radius(alternate(game, .2), origin), in_turn, 1e-6)


@pytest.mark.parametrize('n_critic', [1, 2, 3, 5])
@pytest.mark.parametrize('gamma', [0., .3, 1.])
def test_alternating_matrix_by_hand(gamma, n_critic):
    D, G = np.array([[1, 0], [-.1, 1 - .2*gamma]]), np.array([[1, .1], [0, 1]])
    close(
        jacobian(alternate(dirac(minimax, R1(gamma)), .2, n_critic), origin),
        G @ np.linalg.matrix_power(D, n_critic), 1e-12,
    )


FINAL = {  # step, number of steps, final radius as printed, its precision
    'minimax, 300': (simultaneous(dirac(minimax), .2), 300, 2.65766, 5e-6),
    'minimax, 500': (simultaneous(dirac(minimax), .2), 500, 3.09695, 5e-6),
    'NS': (simultaneous(dirac(non_saturating), .2), 500, .64021, 5e-6),
    'R1, .3': (simultaneous(dirac(minimax, R1(.3)), .2), 500, 2.64e-6, 5e-9),
    'R1, 1': (simultaneous(dirac(minimax, R1(1.)), .2), 500, 9.5e-22, 5e-23),
    'consensus': (simultaneous(consensus(dirac(minimax), 1.), .2), 500, 2.58e-10, 5e-13)}

@pytest.mark.parametrize('step, n_steps, want, tol', FINAL.values(), ids=FINAL)
def test_final_radii(step, n_steps, want, tol): close(end(step, n_steps), want, tol)


def swapped(game):
    "The same game with the players' names exchanged, so that the other one moves first."
    return Game(lambda a, b: game.loss_D(b, a), lambda a, b: game.loss_G(b, a), game.m, game.n)


def test_final_radius_of_alternating_steps():
    "1.42102 is for G first; `alternate`, like `fit`, lets D move first."
    close(end(alternate(swapped(dirac(minimax)), .2), 500, start.flip(-1)), 1.42102, 5e-6)
    close(end(alternate(dirac(minimax), .2), 500), 1.41260, 5e-6)


def test_alternating_minimax_is_bounded_for_hundreds_of_steps_only():
    """Its linear part neither grows nor shrinks, but the ring
    widens slowly; the loop is that of the library, by hand."""
    def by_hand(n_steps):
        theta, psi = 1., -1.
        for _ in range(n_steps):
            psi -= .2*theta/(1 + math.exp(-psi*theta))
            theta += .2*psi/(1 + math.exp(-psi*theta))
        return math.hypot(theta, psi)
    close(by_hand(500), end(alternate(dirac(minimax), .2), 500), 1e-9)
    assert by_hand(2000) < 1.5 and by_hand(200_000) > 1.8


# The non-saturating loss

def test_non_saturating_field_points_inwards():
    t = somewhere.prod(-1)
    inwards = (somewhere*dirac(non_saturating).v(somewhere)).sum(-1)
    close(inwards, -t*torch.tanh(t/2), 1e-7)
    assert (inwards <= 0).all()


def ns_by_hand(x, h):
    "The simultaneous step, in numpy, for the long runs; held equal to the library's below."
    theta, psi = x
    s = 1/(1 + np.exp(theta*psi))  # sigma(-t)
    return np.stack([theta + h*psi*s, psi - h*theta*(1 - s)])


H = np.array([.01, .02, .05, .1, .2, .4])
MEANS = [.1436, .2000, .3162, .4471, .6317, .8905]

def test_non_saturating_by_hand_is_the_library():
    path = trajectory(simultaneous(dirac(non_saturating), torch.tensor(H)), start, 200)  # (6,201,2)
    x = np.array([[1.]*6, [-1.]*6])
    for t in range(200):
        close(path[:, t].T, x, 1e-12)
        x = ns_by_hand(x, H)


def test_limit_cycle_has_the_radius_root_2h():
    """The measured means are over the second half of 200,000
    steps from (1,1); at h = .01 that is still on its way in."""
    x, total = np.array([[1.]*6, [-1.]*6]), np.zeros(6)
    for t in range(200_000):
        if t >= 100_000: total += np.hypot(*x)
        x = ns_by_hand(x, H)
    close(total/100_000, MEANS, 6e-5)
    close(total/100_000/np.sqrt(2*H), 1., .02)


def test_limit_cycle_attracts_from_both_sides():
    h, scale = point([.2, .3, .4]), point([.5, .9, 1.1, 1.5])
    begin = (scale[:, None]*(2*h).sqrt())[..., None]*point([1., 0.])  # (4,3,2)
    r = trajectory(simultaneous(dirac(non_saturating), h), begin, 1500).norm(dim=-1)
    close(r[..., -500:].mean(-1)/(2*h).sqrt(), 1., .01)


# WGAN, clipped and with a gradient penalty

def test_clipped_wgan_stays_in_a_band():
    r = trajectory(simultaneous(dirac(wasserstein), .2, clip=1.), start, 1000).norm(dim=-1)
    close([r[5:].min(), r[5:].max()], [1., 1.27], 5e-3)
    assert r[5:].min() > 1 - 1e-9


@pytest.mark.parametrize('step', both, ids=['at once', 'in turn'])
def test_clipping_bounds_psi_and_nothing_else(step):
    path = trajectory(step(dirac(wasserstein), .2, clip=.5), point([2., 0.]), 100)
    close(path[:, 1].abs().max(), .5, 1e-12)
    assert path[:, 0].abs().max() > 1


def gp_by_hand(theta, psi, h, n_critic):
    "An alternating step of WGAN-GP, lambda .7, in our signs."
    for _ in range(n_critic):
        psi = psi - h*(theta + .7*(abs(psi) - 1)*math.copysign(1, psi)) if psi else psi - h*theta
    return theta + h*psi, psi


@pytest.mark.parametrize('n_critic', [1, 5])
def test_wgan_gp_by_hand_is_the_library(n_critic):
    path, x = trajectory(alternate(gp(), .2, n_critic), start, 60), (1., -1.)
    for p in path:
        close(p, x, 1e-9)
        x = gp_by_hand(*x, .2, n_critic)


@pytest.mark.parametrize('h, n_steps, largest, mean',
    [(.2, 5000, 1.286, .8387), (.02, 50_000, 1.322, .8504), (.002, 200_000, 1.326, .8533)])
def test_wgan_gp_never_settles(h, n_steps, largest, mean):
    """|theta| in the second half: up to 1.29 to 1.33, mean .84
    to .85, whatever the step; .73 with five steps of D."""
    def distances(n_critic):
        x, out = (1., -1.), []
        for _ in range(n_steps):
            x = gp_by_hand(*x, h, n_critic)
            out.append(abs(x[0]))
        return np.array(out[n_steps//2:])
    d = distances(1)
    close([d.max(), d.mean()], [largest, mean], 2e-3)
    assert 1.28 < d.max() < 1.335 and .835 < d.mean() < .855
    close(distances(5).max(), .73, .011)


# The LQ-GAN

def test_lq_gan_converges_without_a_regulariser():
    at = point([1., 0.])
    close(jacobian(lq(minimax).v, at), theirs(theirs(point([[0., -1.], [1., -1.5]])).T).T, 1e-9)
    close_eigenvalues(lq(minimax), [-.75 - .66144*i, -.75 + .66144*i], at, 5e-6)
    close_eigenvalues(lq(minimax), pair(-.75, sqrt(.75**2 - 1)), at, 1e-9)
    close_eigenvalues(lq(minimax, R1(.1)), [-.95 - .31225*i, -.95 + .31225*i], at, 5e-6)
    close_eigenvalues(lq(minimax, R1(.1)), pair(-.95, sqrt(.95**2 - 1)), at, 1e-9)
    close_eigenvalues(lq(non_saturating), pair(-.75, sqrt(.75**2 - 1)), at, 1e-9)
    x = trajectory(simultaneous(lq(minimax), .2), point([1.5, .2]), 150)[-1]
    close(x, [1., 0.], 1e-6)


def test_lq_gan_with_r2_at_other_points_is_the_integral():
    "R2 at a, w: gamma/2 E (2 w a z)² = 2 gamma w² a²."
    x = point([[1.3, .2], [.5, -.1]])
    close(
        lq(minimax, [partial(r2, gamma=.1)]).v(x) - lq(minimax).v(x),
        torch.stack([torch.zeros(2), -4*.1*x[:, 1]*x[:, 0]**2], -1), 1e-9,
    )


# Bilinear games

@pytest.mark.parametrize('shape', [(1, 1), (3, 3), (2, 5)])
def test_bilinear_spectral_radii_follow_the_singular_values(shape):
    A = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    s = torch.linalg.svdvals(A)
    at, h = torch.zeros(sum(shape), dtype=torch.float64), .1
    close(spectral_radius(simultaneous(bilinear(A), h), at), (1 + (h*s.max())**2).sqrt(), 1e-9)
    close(spectral_radius(alternate(bilinear(A), h), at), 1., 1e-6)
    game, x = bilinear(A), torch.randn(7, sum(shape), dtype=torch.float64)
    n = shape[0]
    close(game.v(x), torch.cat((-x[:, n:] @ A.T, x[:, :n] @ A), -1), 1e-12)
    close((x*game.v(x)).sum(-1), torch.zeros(7), 1e-9)  # always at a right angle to the way home


# Members, leading sizes, precisions, gradients

GAMES = {
    'minimax': dirac(minimax), 'R1 and R2': dirac(non_saturating, R12(.3)), 'WGAN-GP': gp(),
    'noise': dirac(minimax, R1(.3), noise=.5), 'consensus': consensus(dirac(minimax), 1.),
    'LQ': lq(minimax, R1(.1)), 'bilinear': bilinear(point([[1.]])),
}
games = pytest.mark.parametrize('game', GAMES.values(), ids=GAMES)

@games
def test_leading_sizes_are_kept_and_points_do_not_meet(game):
    grid = somewhere[:24].view(2, 3, 4, 2)/2
    for f in (game.v, simultaneous(game, .2), alternate(game, .2, 2)):
        out = f(grid)
        assert out.shape == grid.shape
        close(out.view(-1, 2), torch.stack([f(x) for x in grid.view(-1, 2)]), 1e-12)
    assert jacobian(game.v, grid).shape == (2, 3, 4, 2, 2) and eigenvalues(game.v, grid).shape == (2, 3, 4, 2)
    close(jacobian(game.v, grid)[1, 2, 3], jacobian(game.v, grid[1, 2, 3]), 1e-10)
    assert trajectory(simultaneous(game, .2), grid, 5).shape == (2, 3, 4, 6, 2)


@games
def test_jacobians_are_those_of_finite_differences(game):
    for f in (game.v, alternate(game, .2)):
        x, eps = point([.9, -.4]), 1e-6
        J = torch.stack([(f(x + d) - f(x - d))/(2*eps) for d in eps*torch.eye(2, dtype=torch.float64)], -1)
        close(jacobian(f, x), J, 1e-6)


@games
def test_a_field_leaves_its_point_alone(game):
    x = start.clone()
    for grads in (True, False):
        with torch.set_grad_enabled(grads): out = game.v(x)
        assert not out.requires_grad and not x.requires_grad and x.grad is None
    assert torch.equal(x, start)
    x.requires_grad_()
    assert game.v(x).requires_grad


def test_gammas_noises_and_steps_differ_by_member():
    K = point([.3, 1., 2.])
    at = torch.zeros(3, 2, dtype=torch.float64)
    for make in (
        lambda g: dirac(minimax, R1(g)), lambda s: dirac(minimax, noise=s),
        lambda g: consensus(dirac(minimax), g), lambda g: dirac(minimax, R12(g), noise=.5),
    ):
        many = make(K)
        for k, g in enumerate(K.tolist()):
            close(eigenvalues(many.v, at)[k], eigenvalues(make(g).v, origin), 1e-6)
    for step in both:
        paths = trajectory(step(dirac(minimax, R1(.3)), K), start, 20)
        for k, h in enumerate(K.tolist()):
            close(paths[k], trajectory(step(dirac(minimax, R1(.3)), h), start, 20), 1e-12)


def test_single_precision_stays_close():
    x = start.float()
    for name in ('minimax', 'R1 and R2', 'noise'): close(GAMES[name].v(x), GAMES[name].v(start), 1e-5)
    assert GAMES['bilinear'].v(x).dtype == torch.float32


def test_eigenvalues_are_sorted():
    def f(x): return x @ torch.block_diag(point([[3.]]), point([[0., 1.], [-1., 0.]]), point([[-2.]]))
    close(eigenvalues(f, torch.zeros(4, dtype=torch.float64)), [-2, -i, i, 3], 1e-12)


def test_trajectory_of_no_steps():
    assert torch.equal(trajectory(simultaneous(dirac(minimax), .2), start, 0), start[None])


@pytest.mark.parametrize('step', both, ids=['at once', 'in turn'])
def test_the_solution_stays_where_it_is(step):
    for name in ('minimax', 'R1 and R2', 'noise', 'consensus'):
        game = GAMES[name]
        close(trajectory(step(game, .2), origin, 10), torch.zeros(11, 2), 1e-12)
    close(trajectory(step(GAMES['LQ'], .2), point([1., 0.]), 10)[-1], [1., 0.], 1e-12)


def test_penalties_do_not_warn():
    "The Dirac critic judges each sample on its own."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for game in GAMES.values(): game.v(start)


# Bad input, one sentence each

@pytest.mark.parametrize(
    'bad', [torch.zeros(3), torch.zeros(2, 1), torch.zeros(()), torch.tensor([1, -1]), [1., -1.], 1.]
)
def test_points_must_fit(bad):
    with pytest.raises(ValueError, match=r'points \(...,2\) of floats'): dirac(minimax).v(bad)


@pytest.mark.parametrize('step', both, ids=['at once', 'in turn'])
@pytest.mark.parametrize('h', [0., -.2, math.nan, point([.1, 0.])])
def test_step_sizes_are_above_0(step, h):
    with pytest.raises(ValueError, match=r'must lie in \(0,inf\]'): step(dirac(minimax), h)


@pytest.mark.parametrize('clip', [0., -1., math.nan])
def test_clips_are_above_0(clip):
    with pytest.raises(ValueError, match='clip is .*must lie in'):
        simultaneous(dirac(minimax), .2, clip=clip)


@pytest.mark.parametrize('n_critic', [0, -1, 1.5])
def test_n_critic_is_a_count(n_critic):
    with pytest.raises(ValueError, match='whole number of at least 1'):
        alternate(dirac(minimax), .2, n_critic)


@pytest.mark.parametrize('gamma', [-.1, math.nan, point([1., -1.])])
def test_consensus_weights_are_not_negative(gamma):
    with pytest.raises(ValueError, match='gamma is .*must lie in'): consensus(dirac(minimax), gamma)


@pytest.mark.parametrize('noise', [-.1, math.nan, point([1., -1.])])
def test_noise_is_not_negative(noise):
    with pytest.raises(ValueError, match='noise is .*must lie in'): dirac(minimax, noise=noise)


@pytest.mark.parametrize('A', [torch.zeros(3), torch.zeros(()), torch.zeros(1, 2, 3)])
def test_bilinear_wants_a_matrix(A):
    with pytest.raises(ValueError, match='give a matrix'): bilinear(A)


@pytest.mark.parametrize(
    'game', [dirac(minimax, R1(torch.ones(3))), dirac(minimax, noise=[1., 1., 1.])], ids=['gamma', 'noise']
)
def test_members_need_as_many_points(game):
    with pytest.raises(ValueError, match='leading sizes.*one member a'): game.v(start)
    assert game.v(start.expand(3, 2)).shape == (3, 2)
