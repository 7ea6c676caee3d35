"""Metrics against closed forms, against oracles (torchmetrics,
scipy, a direct definition), and on broken input."""
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ganbook import data as sets
from ganbook import metrics
from ganbook.downloads import mnist
from ganbook.metrics import (
    Yardstick, birthday, critic_gap, fid, frechet, frechet_bias, frechet_floor, frechet_gaussians,
    inception_score, kid, kl_uniform, memorisation, mode_coverage, moments, nearest, neighbours, prdc,
    yardstick,
)

root = Path(__file__).resolve().parent.parent

def normal(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

def near(a, b, rel=0., abs=1e-9):
    np.testing.assert_allclose(np.asarray(a, dtype=float), np.asarray(b, dtype=float), rtol=rel, atol=abs)

def pixels(d): return d.x.float()/127.5 - 1

@pytest.fixture(scope='module')
def digits(): return sets.split(sets.digits(), test=1/3, seed=0)


# Closed forms

@pytest.mark.parametrize('m,s,want', [(0., 1., 0.), (3., 1., 9.), (3., 5., 25.), (0., 0., 1.)])
def test_frechet_of_numbers(m, s, want):
    near(frechet_gaussians(torch.zeros(1), torch.eye(1), torch.tensor([m]), torch.tensor([[s*s]])), want)

def test_frechet_of_commuting_covariances():
    Q = torch.linalg.qr(normal(6, 6).double())[0]
    l, n = torch.arange(6.).double(), torch.arange(6.).double().flip(0)**2
    got = frechet_gaussians(torch.zeros(6), Q*l @ Q.T, torch.ones(6), Q*n @ Q.T)
    near(got, 6 + (l.sqrt() - n.sqrt()).square().sum(), rel=1e-9)

@pytest.mark.parametrize(
    'd,n,want', [(8, 1000, .052), (64, 1000, 2.208), (64, 10_000, .2208), (256, 10_000, 3.3408)]
)
def test_bias_formula(d, n, want):
    near(frechet_bias(torch.eye(d), n), want, rel=1e-4)
    near(frechet_bias(torch.eye(d), n), 2*d/n + d*(d + 1)/2/n)
    near(frechet_bias(torch.eye(d), n, math.inf), d/n + d*(d + 1)/4/n)

@pytest.mark.parametrize('d', [8, 64])
def test_bias_of_samples(d):
    x = normal(2, 400 if d == 8 else 16, 1000, d)
    near(frechet(*x).mean(), 2*d/1000 + d*(d + 1)/2000, rel=.02)

def test_bias_scales_with_the_covariance_and_leaves_empty_directions_out():
    near(frechet_bias(3*torch.eye(5), 100), 3*frechet_bias(torch.eye(5), 100))
    near(frechet_bias(torch.diag(torch.tensor([1., 1., 0., 0.])), 100), frechet_bias(torch.eye(2), 100))
    l = torch.tensor([4., 1., .25])
    x = normal(2, 64, 1000, 3)*l.sqrt()
    near(frechet(*x).mean(), frechet_bias(l.diag(), 1000), rel=.1)

def test_the_floor_of_normal_features():
    near(frechet_floor(normal(2000, 32), n=8), frechet_bias(torch.eye(32), 1000), rel=.1)

@pytest.mark.parametrize(
    'change,want',
    [(lambda x: x, 0.), (lambda x: 1.5*x, .29297), (lambda x: x + 1.5*torch.eye(16)[0], .52106)],
    ids=['same', 'scale', 'shift'],
)
def test_kid_has_its_exact_value(change, want):
    x = normal(2, 12, 1000, 16)
    value, error = kid(x[0], change(x[1]))
    mean, se = value.mean(), value.std()/12**.5
    assert abs(mean - want) < 4*se
    assert se < .02
    assert .5 < error.mean()/value.std() < 2  # the jackknife's error is the spread that one sees

def test_kid_error_holds_for_large_differences():
    x = normal(2, 40, 400, 8)
    value, error = kid(x[0], x[1] + 1.)
    assert .75 < error.mean()/value.std() < 1.35

def perfect_coverage(N, M, k): return 1 - math.prod((N - 1 - j)/(N + M - 1 - j) for j in range(k))

@pytest.mark.parametrize('N,M,k', [(1000, 1000, 5), (1000, 1000, 3), (1000, 400, 5)])
def test_density_and_coverage_of_one_distribution(N, M, k):
    got = prdc(normal(16, N, 4), normal(16, M, 4, seed=1), k)
    near(got['density'].mean(), 1., abs=.03)
    near(got['coverage'].mean(), perfect_coverage(N, M, k), abs=.006)

def test_coverage_numbers():
    near(
        [
            perfect_coverage(10_000, 10_000, 5), perfect_coverage(1000, 1000, 5),
            perfect_coverage(10_000, 10_000, 3),
        ],
        [.96877, .96898, .87504],
        abs=1e-5,
    )

def test_ring_of_a_perfect_sampler():
    d = sets.ring(n=100_000)
    got = mode_coverage(d.x, d.modes, d.std)
    near(got['hq'], .98889, abs=.0015)
    assert got['modes'] == 8

@pytest.mark.parametrize(
    'M,n,want', [(8, 2500, .0014), (25, 2500, .0048), (25, 10_000, .0012), (1000, 26_000, .0193)]
)
def test_kl_floor(M, n, want):
    counts = torch.stack(
        [
            torch.multinomial(
                torch.ones(M), n, replacement=True, generator=torch.Generator().manual_seed(i)
            ).bincount(minlength=M)
            for i in range(60)
        ]
    )
    assert abs(kl_uniform(counts).mean() - want) < max(.03*want, 4*kl_uniform(counts).std()/60**.5 + 5e-5)

def test_kl_of_lost_modes():
    near(
        kl_uniform(torch.tensor([[10, 10, 0, 0], [40, 0, 0, 0], [1, 1, 1, 1]])),
        [math.log(2), math.log(4), 0.],
    )
    assert kl_uniform(torch.zeros(4)).isnan()

def test_mode_coverage_by_hand():
    modes = torch.tensor([[0., 0.], [10., 0.], [20., 0.]])
    x = torch.cat(
        [
            modes[:1].expand(30, 2), modes[1:2].expand(19, 2) + torch.tensor([0., .29]),
            torch.tensor([[10., .31]]),
        ]
    )
    got = mode_coverage(x, modes, std=.1)
    assert got['modes'] == 1  # 19 good points are one too few
    near(got['hq'], 49/50)
    near(got['kl'], kl_uniform(torch.tensor([30, 20, 0])))
    near(got['rkl'], kl_uniform(torch.tensor([30, 19, 0])))
    assert mode_coverage(x, modes, std=.1, at_least=19)['modes'] == 2

def test_no_good_sample_is_no_evenness():
    got = mode_coverage(torch.full((50, 2), 5.), torch.zeros(1, 2), .1)
    assert (got['modes'], got['hq']) == (0, 0) and got['rkl'].isnan() and got['kl'] == 0

def test_inception_score_limits():
    near(
        [
            inception_score(torch.eye(10)), inception_score(torch.full((7, 10), .1)),
            inception_score(torch.eye(10)[:3]),
        ],
        [10., 1., 3.],
    )

def test_birthday_finds_the_support():
    base = normal(500, 16)
    x = base[torch.randint(500, (40, 300), generator=torch.Generator().manual_seed(2))]
    got = birthday(x, within=1e-3)
    near(got['pairs'].mean(), 300*299/2/500, rel=.1)
    near((300*299/2/got['pairs'].mean()), 500, rel=.1)
    assert birthday(base, within=1e-3)['support'] == math.inf

def test_half_chance_of_a_birthday():
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(1000, (2000, 37, 1), generator=rng).double()
    assert .44 < (birthday(x, within=0)['pairs'] > 0).double().mean() < .53  # 1.18 sqrt(1000) = 37

def test_critic_gap_by_hand():
    near(critic_gap(torch.tensor([4., 6.]), torch.tensor([1., 3.])), 3/2**.5)


# Oracles

def low_rank(n, d, rank, seed=0):
    return normal(n, rank, seed=seed) @ normal(rank, d, seed=7)/rank**.5 + .1*normal(
        n, d, seed=seed + 50
    )

@pytest.mark.parametrize('n,m,d', [(1000, 800, 20), (500, 700, 64), (3000, 2000, 128)])
def test_frechet_equals_torchmetrics(n, m, d):
    from torchmetrics.image.fid import FrechetInceptionDistance
    class Same(torch.nn.Module):
        num_features = d
        def forward(self, x): return x
    oracle = FrechetInceptionDistance(feature=Same(), normalize=True, input_img_size=(d,)).set_dtype(
        torch.float64
    )
    real, fake = low_rank(n, d, 5), 1.2*low_rank(m, d, 5, 1) + .3
    oracle.update(real.double(), real=True)
    oracle.update(fake.double(), real=False)
    near(frechet(real, fake), oracle.compute().item(), rel=1e-3)

def test_frechet_equals_scipy():
    (m1, C1), (m2, C2) = moments(low_rank(400, 12, 5)), moments(2*low_rank(300, 12, 4, 1))
    want = (m1 - m2).square().sum() + C1.trace() + C2.trace() - 2*np.trace(sqrtm((C1 @ C2).numpy()).real)
    near(frechet_gaussians(m1, C1, m2, C2), want, rel=1e-6)

def test_kid_equals_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance
    class Same(torch.nn.Module):
        num_features = 16
        def forward(self, x): return x
    real, fake = normal(300, 16), 1.3*normal(300, 16, seed=1)
    oracle = KernelInceptionDistance(feature=Same(), subsets=1, subset_size=300, normalize=True).set_dtype(
        torch.float64
    )
    oracle.update(real.double(), real=True)
    oracle.update(fake.double(), real=False)
    near(kid(real, fake)[0], oracle.compute()[0].item(), rel=1e-5)

def test_inception_score_equals_torchmetrics():
    from torchmetrics.image.inception import InceptionScore
    class Same(torch.nn.Module):
        def forward(self, x): return x
    logits = 3*normal(500, 10)
    oracle = InceptionScore(feature=Same(), splits=1)
    oracle.update(logits)
    near(inception_score(logits.softmax(-1)), oracle.compute()[0].item(), rel=1e-4)

def direct_prdc(real, fake, k):
    "The definitions, written down: every distance by differences, no chunks."
    def d(a, b): return (a[:, None].double() - b[None].double()).square().sum(-1).sqrt()
    r, s = (d(x, x).sort(1).values[:, k] for x in (real, fake))
    D = d(real, fake)
    def mean(b): return b.double().mean().item()
    return dict(precision=mean((D <= r[:, None]).any(0)), recall=mean((D <= s[None]).any(1)),
        density=((D <= r[:, None]).sum(0).double()/k).mean().item(), coverage=mean((D <= r[:, None]).any(1)))

@pytest.mark.parametrize('d,k,scale', [(2, 5, 1.), (8, 3, .7), (32, 5, 1.2)])
def test_prdc_equals_the_direct_definition(d, k, scale):
    real, fake = normal(1000, d), scale*normal(1000, d, seed=1) + .2
    got, want = prdc(real, fake, k), direct_prdc(real, fake, k)
    assert list(got) == list(want)
    near([v.item() for v in got.values()], [*want.values()], abs=1e-12)

@pytest.mark.parametrize('n,m', [(300, 200), (120, 500)])
def test_prdc_of_unequal_sizes(n, m):
    real, fake = normal(n, 3), normal(m, 3, seed=1)
    near([v.item() for v in prdc(real, fake).values()], [*direct_prdc(real, fake, 5).values()], abs=1e-12)

def test_neighbours_equal_the_direct_definition():
    # far from the origin, where squares cancel
    query = normal(200, 5) + 100
    base = normal(300, 5, seed=1) + 100
    D = (query[:, None].double() - base[None].double()).square().sum(-1).sqrt()
    distance, index = neighbours(query, base)
    near(distance, D.min(1).values, abs=1e-12)
    assert torch.equal(index, D.argmin(1))


# Precision, chunks, members

def test_moments_far_from_zero():
    x = normal(5000, 4).double() + 1e6
    near(moments(x)[1], torch.cov(x.T), rel=1e-6, abs=1e-9)

def test_gram_blocks():
    x = normal(50, 13).double()
    near(metrics._gram(x, block=4), x.T @ x, abs=1e-12)

@pytest.mark.parametrize('n', [2, 5, 20])
def test_singular_covariances(n):
    x, shift = normal(n, 40), torch.full((40,), .5)
    near(frechet(x, x), 0, abs=1e-6)
    near(frechet(x, x + shift), 10, rel=1e-5)
    assert frechet(x, normal(n, 40, seed=1)).isfinite()
    near(frechet(torch.ones(5, 3), torch.zeros(6, 3)), 3)

def everything(real, fake):
    "Every figure of two sets of samples, under a name each."
    logits, train = fake[..., 0], real + .1
    out = dict(
        frechet=frechet(real, fake), floor=frechet_floor(real), mean=moments(real)[0], cov=moments(real)[1],
        bias=frechet_bias(moments(fake)[1], 100), nearest=nearest(fake, real),
        memory=memorisation(fake, train, real), IS=inception_score(fake.softmax(-1)),
        gap=critic_gap(real[..., 0], logits), gaussians=frechet_gaussians(*moments(real), *moments(fake)),
    )
    out.update(zip(('kid', 'kid_error'), kid(real, fake)))
    out.update(prdc(real, fake), **birthday(fake, 1.))
    return out | {f'modes_{k}': v for k, v in mode_coverage(fake, torch.eye(4)[:3]*2, .4).items()}

def test_members_equal_one_at_a_time():
    real, fake = normal(3, 2, 90, 4), normal(3, 2, 70, 4, seed=1)
    together = everything(real, fake)
    for i in range(3):
        for j in range(2):
            for name, v in everything(real[i, j], fake[i, j]).items(): near(together[name][i, j], v, abs=1e-9)

def test_leading_sizes_broadcast():
    real, fake = normal(90, 4), normal(3, 70, 4, seed=1)
    for a, b, pick in ((real, fake, lambda i: (real, fake[i])), (fake, real, lambda i: (fake[i], real))):
        for f in (
            frechet, lambda *p: torch.stack([*prdc(*p).values()], -1), lambda *p: torch.stack(kid(*p), -1),
            nearest,
        ):
            for i in range(3): near(f(a, b)[i], f(*pick(i)), abs=1e-9)

@pytest.mark.parametrize('budget', [1, 500, 5000])
def test_chunks_change_nothing(monkeypatch, budget):
    real, fake = normal(90, 4), normal(70, 4, seed=1)
    whole = everything(real, fake)
    monkeypatch.setattr(metrics, '_budget', budget)
    for name, v in everything(real, fake).items():
        # its blocks follow the budget where that is tiny
        if name != 'kid_error' or budget > 100: near(v, whole[name], abs=1e-9)

def test_results_are_float64_and_inputs_may_be_either():
    real, fake = normal(90, 4), normal(70, 4, seed=1)
    for (name, a), b in zip(
        everything(real, fake).items(), everything(real.double(), fake.double()).values()
    ):
        assert a.dtype == b.dtype == torch.float64, name
        near(a, b, rel=1e-4, abs=1e-4)

def test_half_precision_is_widened():
    x = normal(200, 8)
    near(frechet(x.half(), x.half()*2), frechet(x, x*2), rel=.01)

def test_inputs_are_left_alone():
    for dtype in (torch.float32, torch.float64):  # float64 is not copied by a cast
        real, fake = normal(90, 4).to(dtype), normal(70, 4, seed=1).to(dtype)
        before = real.clone(), fake.clone()
        everything(real, fake)
        assert torch.equal(real, before[0]) and torch.equal(fake, before[1])

def test_looking_does_not_touch_the_global_random_state():
    before = torch.random.get_rng_state()
    everything(normal(90, 4), normal(70, 4))
    assert torch.equal(before, torch.random.get_rng_state())

@pytest.mark.parametrize(
    'n,m,members', [(50_000, 50_000, 1), (50_000, 50_000, 8), (10_000, 60_000, 1), (1, 50_000, 1)]
)
def test_no_block_is_larger_than_the_budget(n, m, members):
    assert (
        metrics._rows(n, members*m)*members*m <= max(metrics._budget, members*m)
        and metrics._budget*8 == 2**27
    )

def test_blocks_of_distances_stay_small():
    x, seen = normal(9000, 2), 0
    for part, d in metrics._sq_distances(x, x):
        assert d.numel() <= metrics._budget and d.shape[-2] == part.stop - part.start
        seen += d.shape[-2]
    assert seen == 9000

def test_memory_is_bounded():
    """8,000 by 8,000 distances fill 0.48 GiB; with blocks
    of 16 MiB, prdc, nearest and kid must stay far below."""
    code = (
        "import torch, resource; torch.set_num_threads(1); from ganbook import metrics; metrics._budget = "
        "2**21\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20\n"
        "x, y = torch.randn(2, 8_000, 4); start = peak(); [f(x, y) for f in "
        "(metrics.kid, metrics.nearest, metrics.prdc)]; print(peak() - start)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH=str(root)),
    )
    assert not done.returncode, done.stderr
    assert float(done.stdout) < .2

def test_the_stored_benchmark_keeps_its_promise():
    """10,000 against 60,000 features of 2,048 dimensions, and
    50,000 by 50,000 samples, as trials/fid.py measured them."""
    stored = json.loads((root/'results'/'bench_fid.json').read_text())
    entry = stored['10000x60000x2048']
    assert (
        entry['ganbook']['seconds'] < 60
        and entry['ganbook']['peak_gib'] < 4
        and entry['relative_difference'] < 1e-3
    )
    assert all(stored['50000x50000x64'][name]['peak_gib'] < 4 for name in ('kid', 'nearest', 'prdc'))


# What each is blind to

def test_a_copying_generator_is_praised_and_caught():
    train, held_out = normal(1000, 8), normal(500, 8, seed=1)
    copies = train[torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:500]]
    assert frechet(train, copies) < frechet(train, held_out)
    assert prdc(train, copies)['precision'] == 1
    assert memorisation(copies, train, held_out) == 0
    near(memorisation(normal(500, 8, seed=2), train, held_out), 1, abs=.15)

def test_distances_are_blind_to_shape_and_balls_are_not():
    angle = torch.rand(3000, generator=torch.Generator().manual_seed(0))*2*math.pi
    ring = torch.stack([angle.cos(), angle.sin()], 1) + .05*normal(3000, 2)
    blob = ring.std(0)*normal(3000, 2, seed=3)
    value, error = kid(ring, blob)
    assert frechet(ring, blob) < .01 and abs(value) < 4*error and prdc(ring, blob)['precision'] < .4

def test_inception_score_is_blind_to_repeats(digits):
    train, held_out = digits
    y = yardstick('digits')
    repeated = pixels(train)[:100].repeat(6, 1, 1, 1)
    means = torch.stack([pixels(train)[train.y == c].mean(0) for c in range(10)]).repeat(
        60, 1, 1, 1
    ) + .1*normal(600, 1, 8, 8)
    real = inception_score(y.probs(pixels(held_out)))
    for cheat in (repeated, means): assert inception_score(y.probs(cheat)) > .9*real
    f = y.features(pixels(train))
    for cheat in (repeated, means): assert prdc(f, y.features(cheat))['recall'] < .3
    assert frechet(f, y.features(means)) > 5*frechet(f, y.features(pixels(held_out)))


# Broken input: one clear sentence

nan = torch.tensor([[0., math.nan], [1., 1.], [2., 2.]])
ok = normal(100, 2)
@pytest.mark.parametrize(
    'call,error,part',
    [
        (lambda: frechet(nan, ok), ValueError, 'real holds NaN'),
        (lambda: frechet(ok, nan), ValueError, 'fake holds NaN'),
        (lambda: frechet(ok, ok/0), ValueError, 'fake holds NaN or infinite'),
        (lambda: frechet(ok[:1], ok), ValueError, 'at least 2'),
        (lambda: frechet(ok, normal(9, 3)), ValueError, 'fake is float32 of shape (9, 3): measure both'),
        (lambda: frechet(ok[0], ok), ValueError, 'one row a sample'),
        (lambda: frechet(ok.numpy(), ok), TypeError, 'real is a ndarray'),
        (lambda: frechet(ok.to(torch.uint8), ok), TypeError, 'floating-point'),
        (lambda: frechet(ok[:, :0], ok), ValueError, 'one row a sample'),
        (lambda: moments(ok[:1]), ValueError, 'at least 2'),
        (lambda: frechet_floor(ok[:3]), ValueError, 'at least 4'),
        (lambda: frechet_floor(ok, n=0), ValueError, 'at least 1'),
        (lambda: kid(ok[:39], ok), ValueError, 'at least 40'), (lambda: kid(ok, nan), ValueError, '40'),
        (lambda: kid(ok, ok, n_blocks=1), ValueError, 'n_blocks'),
        (lambda: frechet_bias(torch.eye(3), 0), ValueError, 'at least 1'),
        (lambda: frechet_bias(torch.ones(3), 10), ValueError, '(...,F,F)'),
        (lambda: prdc(ok[:5], ok), ValueError, 'at least 6'),
        (lambda: prdc(ok, ok, k=0), ValueError, 'k is 0'),
        (lambda: prdc(ok, ok, k=2.5), ValueError, 'k is 2.5'),
        (lambda: nearest(ok, nan), ValueError, 'base holds NaN'),
        (lambda: nearest(normal(3, 3), ok), ValueError, 'query is float32 of shape (3, 3)'),
        (lambda: nearest(ok[:0], ok), ValueError, 'query is float32 of shape (0, 2)'),
        (lambda: memorisation(ok, ok, ok), ValueError, 'lie in the training set'),
        (lambda: mode_coverage(nan, ok, .1), ValueError, 'x holds NaN'),
        (lambda: mode_coverage(ok, ok, 0.), ValueError, 'std is 0'),
        (lambda: mode_coverage(ok, normal(3, 5), .1), ValueError, 'modes is float32 of shape (3, 5)'),
        (lambda: mode_coverage(ok, None, .1), TypeError, 'modes is None'),
        (lambda: kl_uniform(torch.tensor([1., -1.])), ValueError, 'counts'),
        (lambda: inception_score(ok), ValueError, 'give probabilities'),
        (lambda: inception_score(nan), ValueError, 'NaN'),
        (lambda: birthday(ok, -1.), ValueError, 'within is -1'),
        (lambda: birthday(ok[:1], 1.), ValueError, 'at least 2'),
        (lambda: critic_gap(ok[:, 1], ok[:1, 0]), ValueError, 'at least 2'),
        (lambda: critic_gap(nan[0], ok[:, 0]), ValueError, 'train_logits holds NaN'),
        (lambda: critic_gap(torch.tensor(1.), ok[:, 0]), ValueError, 'train_logits'),
    ],
)
def test_broken_input(call, error, part):
    with pytest.raises(error) as e: call()
    assert part in str(e.value) and '\n' not in str(e.value) and len(str(e.value)) < 250


# Yardsticks

@pytest.mark.parametrize('name', ['digits', 'mnist'])
def test_cards_describe_the_files(name):
    folder = root/'ganbook'/'yardsticks'
    card, raw = json.loads((folder/f'{name}.json').read_text()), (folder/f'{name}.safetensors').read_bytes()
    assert card['sha256'] == hashlib.sha256(raw).hexdigest() and len(raw) <= 1_000_000
    y = yardstick(name)
    assert y.card == card and y.shape == tuple(card['network']['shape']) and not y.training
    assert sum(p.numel() for p in y.parameters()) == card['parameters'] <= 250_000
    assert card['accuracy'] == 1 - card['errors']/card['held_out'] >= {'digits': .975, 'mnist': .993}[name]

def test_only_the_cards_and_weights_lie_in_the_folder():
    assert sorted(p.name for p in (root/'ganbook'/'yardsticks').iterdir()) == [
        f'{n}.{e}' for n in ('digits', 'faces', 'mnist', 'parts') for e in ('json', 'safetensors')
    ]
    assert 'recursive-include ganbook/yardsticks *.json *.safetensors' in (root/'MANIFEST.in').read_text()

def card_sum(d):
    return hashlib.sha256(
        d.x.contiguous().numpy().tobytes() + d.y.to(torch.uint8).numpy().tobytes()
    ).hexdigest()

def check_card(name, train, test):
    y = yardstick(name)
    assert (card_sum(train), card_sum(test)) == (y.card['train_sha256'], y.card['test_sha256'])
    wrong = (y.probs(pixels(test)).argmax(-1) != test.y).sum().item()
    assert abs(wrong - y.card['errors']) <= 1  # another processor may tip one image over

def test_the_digits_card_is_true(digits): check_card('digits', *digits)

def test_the_mnist_card_is_true():
    if not os.environ.get('GANBOOK_DATA'): pytest.skip('wants GANBOOK_DATA with MNIST in it')
    check_card('mnist', mnist(), mnist(train=False))

@pytest.mark.parametrize('name,side', [('digits', 8), ('mnist', 28)])
def test_features_do_not_depend_on_the_batch(name, side):
    y, x = yardstick(name), normal(7, 1, side, side).clamp(-1, 1)
    alone = torch.cat([y.features(x[i:i + 1]) for i in range(7)])
    near(alone, y.features(x), abs=1e-4)
    y.train()
    near(alone, y.features(x), abs=1e-4)
    assert y.training and not alone.requires_grad
    near(y.features(x.view(1, 7, 1, side, side).expand(3, -1, -1, -1, -1))[2], alone, abs=1e-4)
    near(y.probs(x).sum(-1), torch.ones(7), abs=1e-5)

def test_many_images_go_in_parts():
    y, x = yardstick('digits'), normal(1203, 1, 8, 8).clamp(-1, 1)
    near(y.features(x)[1000:], y.features(x[1000:]), abs=1e-4)

def test_a_border_of_two_is_cut():
    y, x = yardstick('mnist'), normal(3, 1, 28, 28).clamp(-1, 1)
    near(y.features(torch.nn.functional.pad(x, (2,)*4, value=-1.)), y.features(x), abs=1e-5)

def test_gradients_pass_through_a_yardstick():
    x = normal(2, 1, 8, 8).requires_grad_()
    yardstick('digits')(x).sum().backward()
    assert x.grad.abs().sum() > 0

@pytest.mark.parametrize(
    'x,error,part',
    [
        (torch.zeros(3, 1, 9, 8), ValueError, '(...,N,1,8,8)'),
        (torch.zeros(1, 8, 8), ValueError, '(...,N,1,8,8)'),
        (torch.zeros(3, 3, 8, 8), ValueError, '(3, 3, 8, 8)'),
        (torch.zeros(3, 1, 8, 8, dtype=torch.uint8), TypeError, 'floating-point'),
        (torch.full((3, 1, 8, 8), 200.), ValueError, 'in [-1,1]'),
        (torch.full((3, 1, 8, 8), math.nan), ValueError, 'in [-1,1]'),
        (torch.zeros(0, 1, 8, 8), ValueError, 'least one'), (np.zeros((3, 1, 8, 8)), TypeError, 'a tensor'),
    ],
)
def test_a_yardstick_refuses(x, error, part):
    with pytest.raises(error) as e: yardstick('digits').features(x)
    assert part in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 16, 12), (1, 28, 28)])
def test_a_yardstick_of_any_shape(shape):
    y = Yardstick(shape, width=4, n_features=5, n_classes=3)
    assert y.features(torch.zeros(2, 6, *shape)).shape == (2, 6, 5) and y.probs(
        torch.zeros(6, *shape)
    ).shape == (6, 3)

@pytest.mark.parametrize('shape', [(1, 7, 8), (8, 8), (1, 28)])
def test_too_small_a_shape_is_refused(shape):
    with pytest.raises(ValueError, match='at least 8'): Yardstick(shape)

def test_unknown_and_damaged_yardsticks(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match='digits, mnist'): yardstick('cats')
    with pytest.raises(ValueError, match='digits, mnist'): yardstick('../yardsticks/digits')
    shutil.copytree(root/'ganbook'/'yardsticks', tmp_path/'yardsticks')
    monkeypatch.setattr(metrics, 'files', lambda name: tmp_path)
    yardstick('digits')
    weights = tmp_path/'yardsticks'/'digits.safetensors'
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(ValueError, match='install the package again'): yardstick('digits')

def test_fid_takes_images(digits):
    a, b = map(pixels, digits)
    y = yardstick('digits')
    near(fid(a, b), frechet(y.features(a), y.features(b)))
    assert fid(a, torch.stack([b, -b])).shape == (2,)

def test_inception_says_what_it_needs(monkeypatch):
    import torchmetrics.image.fid as module
    def missing(*args, **options): raise ModuleNotFoundError('torch-fidelity is not installed')
    monkeypatch.setattr(module, 'NoTrainInceptionV3', missing)
    with pytest.raises(ImportError, match='pip install torchmetrics torch-fidelity'): yardstick('inception')
    def offline(*args, **options): raise OSError('no network')
    monkeypatch.setattr(module, 'NoTrainInceptionV3', offline)
    with pytest.raises(ImportError, match='needs a network, once'):
        fid(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), feature='inception')

def test_inception_gets_bytes_and_gives_features(monkeypatch):
    import torchmetrics.image.fid as module
    class Net(torch.nn.Module):
        def __init__(self, name, features, antialias):
            super().__init__()
            # the resize of published figures
            assert (name, features, antialias) == ('inception-v3-compat', ['2048'], False)
            self.fc = torch.nn.Linear(2048, 1008)
        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3 and (x.min(), x.max()) == (0, 255)
            return x.float().flatten(1).mean(1, keepdim=True).expand(-1, 2048)
    monkeypatch.setattr(module, 'NoTrainInceptionV3', Net)
    x = torch.linspace(-1, 1, 10).view(2, 5, 1, 1, 1).expand(2, 5, 3, 8, 8).clone()
    x[..., 0, 0], x[..., 0, 1] = -1., 1.
    y = yardstick('inception')
    assert y.features(x.view(10, 3, 8, 8)).shape == (10, 2048) and y.features(x[None]).shape == (
        1, 2, 5, 2048,
    )
    assert y.probs(x).shape == (2, 5, 1008)
    with pytest.raises(ValueError, match='3'): y.features(torch.zeros(2, 1, 8, 8))


# The script that trains the yardsticks

def test_shifted_images_stay_themselves():
    from tools.yardstick import shifted
    x = torch.full((50, 1, 8, 8), -1.)
    x[:, 0, 3, 4] = 1.
    out = shifted(x, 1, torch.Generator().manual_seed(0))
    assert out.shape == x.shape and ((out == 1).sum((1, 2, 3)) == 1).all()
    where = (out == 1).nonzero()[:, 2:]
    assert where.min(0).values.tolist() == [2, 3] and where.max(0).values.tolist() == [4, 5]


def test_birthday_with_one_sample_far_off():
    "A copy is at exactly 0, whatever else is in the set and whichever member it belongs to."
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    far = torch.cat([x, torch.full((1, 3), 1e7)])
    assert metrics.birthday(far, 0.)['pairs'] == 0
    assert metrics.birthday(torch.cat([far, x[:5]]), 0.)['pairs'] == 5
    assert metrics.birthday(torch.stack([x, x*1e7]), 0.)['pairs'].tolist() == [0., 0.]


@pytest.mark.parametrize('f', [metrics.frechet, metrics.kid, metrics.prdc, metrics.nearest])
def test_members_that_do_not_match(f):
    with pytest.raises(ValueError, match='the same members'): f(torch.randn(2, 50, 3), torch.randn(3, 50, 3))
