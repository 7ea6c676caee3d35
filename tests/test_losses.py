"Losses: literal numbers, closed forms, precisions, members, shapes, smoothing."
import copy
import math
import pickle
import pytest
import torch
import torch.nn.functional as F
from ganbook.losses import (
    GANLoss, bce, hinge, least_squares, minimax, non_saturating, relativistic, smooth, wasserstein,
)

LOSSES = dict(minimax=minimax, non_saturating=non_saturating, least_squares=least_squares, hinge=hinge,
    wasserstein=wasserstein, relativistic=relativistic)
ALL = dict(
    LOSSES, smooth_minimax=smooth(minimax), smooth_non_saturating=smooth(non_saturating, .8),
    smooth_least_squares=smooth(least_squares),
)
REAL, FAKE = (1.3, 2.9, 8.4, 6.3), (4.8, 1.2, -3.5, 5.9)
# (D, G) on those eight logits, worked out with Python's math, independently of torch (see `by_hand`)
NUMBERS = dict(
    minimax=(3.1251488, -3.0509911), non_saturating=(3.1251488, .9509911), least_squares=(19.76125, 7.3425),
    hinge=(3.725, -2.1), wasserstein=(-2.625, -2.1), relativistic=(1.0526396, 3.6776396),
)

named = pytest.mark.parametrize('name', LOSSES)
every = pytest.mark.parametrize('loss', ALL.values(), ids=ALL)
both = pytest.mark.parametrize('who', ['discriminator', 'generator'])


def logits(dtype=torch.float64): return torch.tensor(REAL, dtype=dtype), torch.tensor(FAKE, dtype=dtype)

def by_hand(name, real, fake):
    "The two objectives from the formulas with probabilities, one Python float at a time."
    def sig(l): return 1/(1 + math.exp(-l))
    log = math.log
    def mean(x): return math.fsum(x)/len(x)
    log_D = mean([-log(sig(l)) for l in real]) + mean([-log(1 - sig(l)) for l in fake])
    pairs = list(zip(real, fake))
    return {
        'minimax': lambda: (log_D, mean([log(1 - sig(l)) for l in fake])),
        'non_saturating': lambda: (log_D, mean([-log(sig(l)) for l in fake])),
        'least_squares': lambda: (
            mean([(l - 1)**2 for l in real])/2 + mean([l**2 for l in fake])/2,
            mean([(l - 1)**2 for l in fake])/2,
        ),
        'hinge': lambda: (
            mean([max(0, 1 - l) for l in real]) + mean([max(0, 1 + l) for l in fake]), -mean(fake),
        ),
        'wasserstein': lambda: (mean(fake) - mean(real), -mean(fake)),
        'relativistic': lambda: (
            mean([-log(sig(a - b)) for a, b in pairs]), mean([-log(sig(b - a)) for a, b in pairs]),
        ),
    }[name]()


@named
def test_literal_numbers(name):
    loss, (d, g) = LOSSES[name], NUMBERS[name]
    got_d, got_g = (f(*logits()).item() for f in (loss.discriminator, loss.generator))
    assert abs(got_d - d) < 1e-7 and abs(got_g - g) < 1e-7
    # the other side of the tolerance: what a likely slip would give is far outside it
    swapped = loss.discriminator(*reversed(logits())).item()
    assert abs(swapped - d) > 1e-2, 'real and fake swapped in D'
    assert abs(got_d/2 - d) > 1e-2, 'one mean in place of two'
    assert abs(-got_g - g) > 1e-2, 'the sign of G'


@named
@pytest.mark.parametrize('seed', range(5))
def test_equals_the_formula_with_probabilities(name, seed):
    rng = torch.Generator().manual_seed(seed)
    real, fake = 3*torch.randn(2, 7, generator=rng, dtype=torch.float64)
    d, g = by_hand(name, real.tolist(), fake.tolist())
    assert LOSSES[name].discriminator(real, fake).item() == pytest.approx(d, abs=1e-9)
    assert LOSSES[name].generator(real, fake).item() == pytest.approx(g, abs=1e-9)


@pytest.mark.parametrize(
    'name,d,g',
    [
        ('minimax', 2*math.log(2), -math.log(2)), ('non_saturating', 2*math.log(2), math.log(2)),
        ('least_squares', .5, .5), ('hinge', 2., 0.), ('wasserstein', 0., 0.),
        ('relativistic', math.log(2), math.log(2)),
    ],
)
def test_at_logit_zero(name, d, g):
    zero = torch.zeros(6, dtype=torch.float64)
    assert LOSSES[name].discriminator(zero, zero).item() == pytest.approx(d, abs=1e-12)
    assert LOSSES[name].generator(zero, zero).item() == pytest.approx(g, abs=1e-12)


@pytest.mark.parametrize('y', [0., .1, .5, .9, 1.])
def test_bce_equals_torch(y):
    l = torch.linspace(-60, 60, 241, dtype=torch.float64)
    torch.testing.assert_close(
        bce(l, y), F.binary_cross_entropy_with_logits(l, torch.full_like(l, y), reduction='none'), rtol=1e-8,
        atol=1e-13,
    )


def test_bce_keeps_small_losses():
    """The loss of a right and very sure D is small, not zero:
    `softplus(l) - y l` would give 0 from logit 37 on in float64."""
    assert bce(torch.tensor(60., dtype=torch.float64), 1.).item() == pytest.approx(math.exp(-60), rel=1e-6)
    assert bce(torch.tensor([40.]), torch.tensor([1.])).item() == pytest.approx(math.exp(-40), rel=1e-5)


@named
@pytest.mark.parametrize(
    'who,by', [('discriminator', 'real'), ('discriminator', 'fake'), ('generator', 'fake')]
)
def test_gradients_equal_closed_forms(name, who, by):
    real, fake = (x.requires_grad_() for x in logits())
    x = dict(real=real, fake=fake)[by]
    got, = torch.autograd.grad(getattr(LOSSES[name], who)(real, fake), x)
    a = real.detach()
    b = fake.detach()
    n = 4
    s = torch.sigmoid
    log_D = dict(real=-s(-a), fake=s(b))
    want = {
        'minimax': dict(log_D, G=-s(b)),
        'non_saturating': dict(log_D, G=-s(-b)),
        'least_squares': dict(real=a - 1, fake=b, G=b - 1),
        'hinge': dict(real=-(a < 1).double(), fake=(b > -1).double(), G=-torch.ones(n).double()),
        'wasserstein': dict(
            real=-torch.ones(n).double(), fake=torch.ones(n).double(), G=-torch.ones(n).double()
        ),
        'relativistic': dict(real=-s(b - a), fake=s(b - a), G=-s(a - b)),
    }[name]['G' if who == 'generator' else by]/n
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@named
@both
def test_gradcheck(name, who):
    rng = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(2, 5, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(getattr(LOSSES[name], who), (real, fake))


def test_saturation():
    "At logit -3 minimax pulls with .04743 and non-saturating with .95257: a ratio of e^3."
    def pull(loss, l):
        l = torch.tensor([l], dtype=torch.float64, requires_grad=True)
        return -torch.autograd.grad(loss.generator(None, l), l)[0].item()
    assert pull(minimax, -3.) == pytest.approx(.04743, abs=5e-6)
    assert pull(non_saturating, -3.) == pytest.approx(.95257, abs=5e-6)
    for l in (-8., -3., 0., 2.):
        assert pull(non_saturating, l)/pull(minimax, l) == pytest.approx(math.exp(-l), rel=1e-9)
        assert pull(non_saturating, l) + pull(minimax, l) == pytest.approx(1., abs=1e-12)


@every
@both
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_finite_at_large_logits(loss, who, dtype):
    for sign in (1, -1):
        real = torch.tensor([50., -50., 30., 0.], dtype=dtype, requires_grad=True)
        fake = (sign*torch.tensor([50., -50., -30., 0.], dtype=dtype)).requires_grad_()
        value = getattr(loss, who)(real, fake)
        assert value.dtype == dtype and value.isfinite()
        for g in torch.autograd.grad(value, (real, fake), allow_unused=True):
            assert g is None or g.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_naive_form_is_not_finite_there(dtype):
    "What the losses avoid: sigmoid and log give an infinite value and a NaN gradient for a fake at logit 50."
    l = torch.tensor([50.], dtype=dtype, requires_grad=True)
    value = -torch.log(1 - torch.sigmoid(l)).mean()
    assert value.isinf() and torch.autograd.grad(value, l)[0].isnan().all()
    on_logits = minimax.discriminator(l, l)
    assert on_logits.item() == pytest.approx(50.) and torch.autograd.grad(on_logits, l)[
        0
    ].item() == pytest.approx(1.)


@every
@both
@pytest.mark.parametrize('lead', [(3,), (2, 3), (1,)], ids=str)
def test_members_equal_a_loop(loss, who, lead):
    rng = torch.Generator().manual_seed(2)
    real, fake = 2*torch.randn(2, *lead, 9, generator=rng)
    f = getattr(loss, who)
    got = f(real, fake)
    assert got.shape == lead
    want = torch.stack([f(a, b) for a, b in zip(real.reshape(-1, 9), fake.reshape(-1, 9))]).reshape(lead)
    torch.testing.assert_close(got, want)


@named
def test_a_member_hears_only_of_itself(name):
    real, fake = torch.randn(3, 8), torch.randn(3, 8, requires_grad=True)
    grad, = torch.autograd.grad(LOSSES[name].discriminator(real, fake)[1], fake)
    assert grad[[0, 2]].abs().max() == 0 and grad[1].abs().max() > 0


@every
@both
def test_vmap(loss, who):
    real, fake = torch.randn(4, 6), torch.randn(4, 6)
    f = getattr(loss, who)
    torch.testing.assert_close(torch.func.vmap(f)(real, fake), f(real, fake))


@pytest.mark.parametrize('name', [n for n in LOSSES if n != 'relativistic'])
def test_generator_needs_no_real_logits(name):
    real, fake = logits()
    loss = LOSSES[name]
    assert not loss.relativistic
    assert loss.generator(None, fake) == loss.generator(real, fake)
    assert loss.discriminator(real[:2], fake).shape == ()  # batches of two sizes: each has its own mean


def test_minimax_is_zero_sum_up_to_the_real_term():
    real, fake = logits()
    assert (minimax.discriminator(real, fake) + minimax.generator(real, fake)).item() == pytest.approx(
        F.softplus(-real).mean().item(), abs=1e-12
    )


def test_relativistic_reads_real_logits():
    real, fake = logits()
    assert relativistic.relativistic
    assert relativistic.generator(real + 1, fake) != relativistic.generator(real, fake)
    torch.testing.assert_close(
        relativistic.discriminator(real + 7, fake + 7), relativistic.discriminator(real, fake)
    )
    torch.testing.assert_close(relativistic.generator(real, fake), relativistic.discriminator(fake, real))


def test_the_log_density_ratio_is_the_best_relativistic_D():
    """Two places; over all 16 pairs of 4 real samples (3 at A) and 4
    fakes (1 at A) the gradient vanishes at log p/q, and not beside it."""
    place_r, place_f = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 1])
    for stretch, zero in (1., True), (1.2, False):
        x = (stretch*torch.tensor([math.log(3), -math.log(3)], dtype=torch.float64)).requires_grad_()
        value = relativistic.discriminator(x[place_r.repeat_interleave(4)], x[place_f.repeat(4)])
        assert (torch.autograd.grad(value, x)[0].abs().max() < 1e-9) == zero


@both
@pytest.mark.parametrize('a,b', [((4,), (3,)), ((4,), (1,)), ((2, 4), (4,)), ((4,), (4, 1))], ids=str)
def test_relativistic_refuses_shapes_that_do_not_match(who, a, b):
    with pytest.raises(ValueError, match='as many real logits as fake ones'):
        getattr(relativistic, who)(torch.zeros(a), torch.zeros(b))


def test_relativistic_generator_refuses_none():
    with pytest.raises(ValueError, match='pass it the real logits too'):
        relativistic.generator(None, torch.zeros(3))


@pytest.mark.parametrize('name', ['minimax', 'non_saturating', 'least_squares'])
def test_smooth_with_label_one_is_the_plain_loss(name):
    loss = LOSSES[name]
    soft = smooth(loss, 1.)
    torch.testing.assert_close(soft.discriminator(*logits()), loss.discriminator(*logits()))
    assert soft.generator is loss.generator and soft.relativistic == loss.relativistic
    assert smooth(loss, .9).discriminator(*logits()) != loss.discriminator(*logits())


def test_smooth_literal_numbers():
    """One real sample at logit 2, one fake at -1: .9 softplus(-2)
    + .1 softplus(2) + softplus(-1); halves for least squares."""
    real, fake = torch.tensor([2.], dtype=torch.float64), torch.tensor([-1.], dtype=torch.float64)
    assert smooth(minimax).discriminator(real, fake).item() == pytest.approx(.6401897, abs=1e-6)
    # smoothing added .1 times the logit
    assert minimax.discriminator(real, fake).item() == pytest.approx(.4401897, abs=1e-6)
    assert smooth(least_squares).discriminator(real, fake).item() == pytest.approx((1.1**2 + 1)/2, abs=1e-9)


@pytest.mark.parametrize('r', [.6, .9, .99])
@pytest.mark.parametrize('real_a', [1, 2, 3])
def test_smooth_moves_the_optimum_of_D(r, real_a):
    "Two places; `real_a` of 4 real samples and 1 of 4 fakes lie at A. The best D there is r p/(p+q)."
    p, q = torch.tensor([real_a, 4 - real_a])/4, torch.tensor([1, 3])/4
    best = r*p/(p + q)
    place_r, place_f = [0]*real_a + [1]*(4 - real_a), [0, 1, 1, 1]
    for loss, x in (
        (smooth(minimax, r), torch.logit(best)), (smooth(non_saturating, r), torch.logit(best)),
        (smooth(least_squares, r), best),
    ):
        x = x.double().requires_grad_()
        grad, = torch.autograd.grad(loss.discriminator(x[place_r], x[place_f]), x)
        assert grad.abs().max() < 1e-6
    x = torch.logit(best).double().requires_grad_()
    assert torch.autograd.grad(minimax.discriminator(x[place_r], x[place_f]), x)[0].abs().max() > 1e-3


@pytest.mark.parametrize('name', ['hinge', 'wasserstein', 'relativistic'])
def test_smooth_refuses_a_loss_without_labels(name):
    with pytest.raises(ValueError, match='fits no labels, so it has none to smooth, take minimax'):
        smooth(LOSSES[name])


@pytest.mark.parametrize('real', [0., -.1, 1.1, float('nan')])
def test_smooth_refuses_labels_out_of_range(real):
    with pytest.raises(ValueError, match='must lie in'): smooth(minimax, real)


def test_a_new_loss_without_labels_cannot_be_smoothed_and_one_with_labels_can():
    plain = GANLoss(lambda real, fake: fake.mean(-1), lambda real, fake: -fake.mean(-1))
    with pytest.raises(ValueError): smooth(plain)
    absolute = GANLoss(
        plain.discriminator, plain.generator, label_loss=lambda logits, label: (logits - label).abs()
    )
    assert smooth(absolute, .5).discriminator(torch.ones(2), torch.ones(2)).item() == pytest.approx(.5 + 1.)


@every
def test_frozen_and_picklable(loss):
    with pytest.raises(AttributeError): loss.relativistic = True
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin.discriminator(*logits()) == loss.discriminator(*logits())
