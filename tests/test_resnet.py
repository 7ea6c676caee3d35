"Residual networks: any size, members, filters, attention, counts, and the stored benchmark."
import base64
import io
import json
import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganbook.data import digits, faces
from ganbook.ensemble import Stacked, member, members
from ganbook.losses import relativistic
from ganbook.models.dcgan import DCGANGenerator, pyramid
from ganbook.models.resnet import (
    LastImage, ResidualBlock, ResNetDiscriminator, ResNetGenerator, SelfAttention, SkipImages,
    resize_bilinear, resize_binomial, matched_width, resize_nearest, resized,
)
from ganbook.nets import multiply_adds, n_params, trace
from ganbook.penalties import r1, r2
from ganbook.train import fit, new_state
from trials import resnet as bench

root = Path(__file__).resolve().parent.parent

shapes = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 9, 31), (4, 8, 65), (1, 45, 17)]
filters = [resize_nearest, resize_bilinear, resize_binomial]


# The pair

@pytest.mark.parametrize('shape', shapes, ids=str)
@pytest.mark.parametrize('head', [LastImage, SkipImages])
def test_any_size(shape, head):
    G, D = ResNetGenerator(shape, 8, 4.4, head=head, attend=8), ResNetDiscriminator(shape, 4.4, attend=8)
    x = G(torch.randn(2, 3, 8))
    assert x.shape == (2, 3, *shape) and x.abs().max() <= 1
    assert D(x).shape == (2, 3) and D(x[0, 0][None]).shape == (1,)

@pytest.mark.parametrize('smallest', [1, 2, 3, 4])
def test_smallest_and_many_blocks(smallest):
    G = ResNetGenerator((1, 12, 8), 8, 2, n_blocks=3, smallest=smallest)
    D = ResNetDiscriminator((1, 12, 8), 2, n_blocks=3, smallest=smallest)
    assert D(G(torch.randn(2, 8))).shape == (2,)
    assert sum(isinstance(m, ResidualBlock) for m in G.modules()) == 3*len(pyramid((1, 12, 8), smallest))

def test_empty_batch_labels_and_double():
    G = ResNetGenerator((1, 8, 8), 8, 4, attend=8).double()
    D = ResNetDiscriminator((1, 8, 8), 4, attend=8).double()
    assert D(G(torch.randn(0, 8, dtype=torch.float64))).shape == (0,)
    z = torch.randn(3, 8, dtype=torch.float64)
    assert torch.equal(G(z, torch.zeros(3)), G(z)) and G(z).dtype == torch.float64
    assert D(torch.full((2, 1, 8, 8), math.nan, dtype=torch.float64)).isnan().all()  # what is broken is seen

def test_a_sample_does_not_see_its_batch():
    D, x = ResNetDiscriminator((1, 8, 8), 4, attend=8), torch.randn(5, 1, 8, 8)
    for m in D.modules():
        if isinstance(m, (ResidualBlock, SelfAttention)): wake(m)
    assert torch.allclose(D(x)[2:3], D(x[2:3]), atol=1e-5)

def test_the_last_function_and_other_filters():
    assert ResNetGenerator((1, 8, 8), 8, 4, out=nn.Sigmoid)(torch.randn(4, 8)).min() >= 0
    def up(x, size): return F.interpolate(x, size)  # noqa: E731
    assert ResNetGenerator((1, 9, 8), 8, 4, resample=up)(torch.randn(4, 8)).shape == (4, 1, 9, 8)

@pytest.mark.parametrize(
    'make,error,words',
    [
        (lambda: ResNetGenerator((1, 7, 8)), ValueError, 'it must be a whole number from 8 to 256'),
        (lambda: ResNetDiscriminator((8, 8)), ValueError, 'not the shape of an image'),
        (lambda: ResNetGenerator((1, 8, 8), 0), ValueError, 'latent_dim is 0'),
        (lambda: ResNetGenerator((1, 8, 8), width=.5), ValueError, 'width is 0.5'),
        (lambda: ResNetGenerator((1, 8, 8), width=math.nan), ValueError, 'width is nan'),
        (lambda: ResNetDiscriminator((1, 8, 8), width='wide'), ValueError, "width is 'wide'"),
        (lambda: ResNetGenerator((1, 8, 8), width=math.inf), ValueError, 'width is inf'),
        (lambda: ResNetDiscriminator((1, 8, 8), n_blocks=0), ValueError, 'n_blocks is 0'),
        (
            lambda: ResNetDiscriminator((1, 8, 8), attend=3), ValueError,
            'attend is 3: the grids are 8x8, 4x4, give at least 4',
        ),
        (lambda: ResNetGenerator((1, 8, 8), attend='8'), ValueError, "attend is '8'"),
        (
            lambda: ResNetGenerator((1, 8, 8), resample='bilinear'), TypeError,
            "resample is 'bilinear': give a function",
        ),
        (lambda: ResNetGenerator((1, 8, 8), smallest=5), ValueError, 'smallest is 5'),
        (lambda: ResNetGenerator((1, 8, 8), 8, 4)(torch.randn(2, 9)), ValueError, 'give (...,B,8)'),
        (
            lambda: ResNetDiscriminator((1, 8, 8), 4)(torch.randn(2, 3, 8, 8)), ValueError,
            'give (...,B,1,8,8)',
        ),
        (
            lambda: ResNetDiscriminator((1, 8, 8), 4)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), TypeError,
            'floating-point',
        ),
    ],
)
def test_one_clear_sentence(make, error, words):
    with pytest.raises(error) as e: make()
    assert words in str(e.value)


# How it starts

def wake(m):
    "Give what starts at zero something to say."
    if isinstance(m, ResidualBlock): nn.init.normal_(m.second.weight, std=.1)
    else: nn.init.ones_(m.gate)

@pytest.mark.parametrize('n_blocks', [1, 32])
def test_the_signal_keeps_its_size_through_depth(n_blocks):
    torch.manual_seed(0)
    G = ResNetGenerator((1, 16, 16), 64, 16, n_blocks, resize_nearest)
    h = G.first(torch.randn(8, 64))
    with torch.no_grad(): sizes = [(h := stage(h)).square().mean().item() for stage in G.stages]
    assert all(.5 < v < 2 for v in sizes), sizes

@pytest.mark.parametrize('n_blocks', [1, 32])
def test_the_gradient_reaches_the_input_at_any_depth(n_blocks):
    torch.manual_seed(0)
    D, x = ResNetDiscriminator((1, 16, 16), 8, n_blocks), torch.randn(4, 1, 16, 16, requires_grad=True)
    D(x).sum().backward()
    assert 1e-3 < x.grad.square().sum((1, 2, 3)).mean() < 10

def test_a_block_starts_as_nothing_and_its_first_convolution_small():
    x = torch.randn(2, 32, 5, 7)
    assert torch.equal(ResidualBlock(32)(x), x)
    a, b = (ResidualBlock(32, n).first.weight.std().item() for n in (1, 16))
    assert a == pytest.approx(math.sqrt(2/1.04/(9*32)), rel=.05) and a/b == pytest.approx(4, rel=.1)

def test_no_normalisation():
    nets = ResNetGenerator((1, 32, 32), 8, 4, attend=16), ResNetDiscriminator((1, 32, 32), 4, attend=16)
    assert not [m for net in nets for m in net.modules() if 'Norm' in type(m).__name__] and not [
        b for net in nets for b in net.buffers()
    ]


# Filters

@pytest.mark.parametrize('n', [1, 2, 5, 8, 13])
@pytest.mark.parametrize('k', [0, 1, 2, 3])
def test_a_constant_stays(n, k):
    for size in ((2*n, 3), (2*n - 1, 3), ((n + 1)//2, 3), (n, 6), (n, 2)):
        assert torch.allclose(resized(torch.full((2, 1, n, 3), 1.5), size, k), torch.full((2, 1, *size), 1.5))

@pytest.mark.parametrize('k', [0, 1, 2, 4])
def test_the_taps_are_binomial(k):
    spike = F.one_hot(torch.tensor(10), 21).double().view(1, 1, 21, 1)
    taps = resized(spike, (42, 1), k).flatten()*4**k
    want = torch.tensor([math.comb(2*k + 1, j) for j in range(2*k + 2)], dtype=torch.float64)
    assert torch.allclose(taps[20 - k:22 + k], want) and taps.sum() == pytest.approx(want.sum().item())

@pytest.mark.parametrize('f', filters)
def test_up_is_the_transpose_of_down_away_from_the_edge(f):
    torch.manual_seed(0)
    x, y = torch.randn(1, 1, 24, 24).double(), torch.zeros(1, 1, 12, 12).double()
    y[..., 3:9, 3:9] = torch.randn(6, 6).double()
    assert torch.allclose(4*(f(x, (12, 12))*y).sum(), (x*f(y, (24, 24))).sum())

def test_bilinear_is_interpolation():
    x = torch.randn(2, 3, 7, 4)
    assert torch.allclose(
        resize_bilinear(x, (14, 8)), F.interpolate(x, scale_factor=2, mode='bilinear'), atol=1e-6
    )
    assert torch.allclose(resize_nearest(x[:, :, :6], (3, 2)), F.avg_pool2d(x[:, :, :6], 2), atol=1e-6)

def test_an_axis_that_stays_is_not_blurred():
    x = torch.randn(1, 1, 6, 5)
    assert torch.equal(resize_binomial(x, (6, 5)), x)
    rows = torch.randn(1, 1, 1, 5).expand(1, 1, 6, 5)
    assert torch.allclose(resize_binomial(rows, (12, 5)), rows.repeat(1, 1, 2, 1), atol=1e-6)

@pytest.mark.parametrize('size', [(5, 9), (8, 5), (24, 8), (0, 8)])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match='an axis is doubled, halved'):
        resize_nearest(torch.randn(1, 1, 8, 8), size)


# Attention

def test_attention_by_hand():
    torch.manual_seed(0)
    a, x = SelfAttention(24, n_keys=5), torch.randn(3, 24, 3, 4)
    wake(a)
    q, k, v = (m(x).flatten(2).double() for m in (a.query, a.key, a.value))
    logits = torch.stack(
        [torch.stack([(q[:, :, p]*k[:, :, j]).sum(1) for j in range(12)], -1) for p in range(12)], 1
    )/math.sqrt(5)
    w = logits.exp()/logits.exp().sum(-1, keepdim=True)
    assert torch.allclose(a.weights(x).double(), w, atol=1e-5)
    seen = torch.einsum('bpj,bvj->bvp', w, v).view(3, 12, 3, 4).float()
    assert torch.allclose(a(x), x + a.back(seen), atol=1e-5)

def test_attention_does_not_know_places():
    a = SelfAttention(8)
    x = torch.randn(2, 8, 4, 4)
    order = torch.randperm(16)
    wake(a)
    shuffled = x.flatten(2)[..., order].view_as(x)
    assert torch.allclose(a(shuffled), a(x).flatten(2)[..., order].view_as(x), atol=1e-5)

def test_the_gate_learns_first():
    a, x = SelfAttention(8), torch.randn(2, 8, 4, 4)
    (a(x)*torch.randn_like(x)).sum().backward()
    assert torch.equal(a(x), x) and a.gate.grad.abs() > 0 and a.back.weight.grad.abs().max() == 0


# Heads

def test_skips_add_what_every_grid_says():
    torch.manual_seed(0)
    G, z = ResNetGenerator((3, 16, 16), 8, 4, head=SkipImages, out=nn.Identity), torch.randn(2, 8)
    h, features = G.first(z), []
    for stage in G.stages: features.append(h := stage(h))
    images = [read(f) for read, f in zip(G.head.reads, features)]
    assert torch.allclose(
        G(z), images[2] + resize_bilinear(images[1] + resize_bilinear(images[0], (8, 8)), (16, 16)), atol=1e-6
    )
    assert [i.shape[-1] for i in images] == [4, 8, 16]

def test_skips_give_every_grid_a_gradient():
    G = ResNetGenerator((1, 32, 32), 8, 4, head=SkipImages)
    G(torch.randn(4, 8)).square().sum().backward()
    assert all(r.weight.grad.abs().max() > 0 for r in G.head.reads)


# Counts

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 16, 24)], ids=str)
def test_counts_agree_with_hooks_where_there_is_no_attention(shape):
    for net, s in (
        (ResNetGenerator(shape, 8, 4), (8,)), (ResNetDiscriminator(shape, 4), shape),
        (DCGANGenerator(shape, 8, 4), (8,)),
    ):
        assert multiply_adds(net, s) == sum(layer.n_macs for layer in trace(net, s)) > 0

def test_attention_by_hand_count():
    n, P = 16, 63
    a = SelfAttention(n)
    assert multiply_adds(a, (n, 7, 9)) == P*n*(2 + 2 + 8 + 8) + P*P*(2 + 8)

def test_discriminator_by_hand_count():
    D = ResNetDiscriminator((2, 8, 8), 4, n_blocks=3)  # grids 8x8 of 4 channels, 4x4 of 8
    assert multiply_adds(D, (2, 8, 8)) == 64*2*4 + 3*2*64*9*4*4 + 16*4*8 + 3*2*16*9*8*8 + 16*8
    assert n_params(D) == (2*4 + 4) + 6*(9*16 + 4) + (4*8 + 8) + 6*(9*64 + 8) + 16*8 + 1

def test_counting_leaves_the_network_and_the_random_numbers_alone():
    D = ResNetDiscriminator((1, 8, 8), 4).train()
    before, rng = [p.clone() for p in D.parameters()], torch.get_rng_state()
    multiply_adds(D, (1, 8, 8))
    assert (
        torch.equal(torch.get_rng_state(), rng)
        and D.training
        and all(torch.equal(a, b) for a, b in zip(before, D.parameters()))
    )

def test_the_matched_width_is_the_nearest(target=30_000):
    cost, make = partial(multiply_adds, shape=(1, 8, 8)), partial(ResNetDiscriminator, (1, 8, 8))
    w = matched_width(make, target, cost)
    miss = abs(cost(make(w)) - target)
    assert all(miss <= abs(cost(make(v)) - target) for v in (w*.97, w*1.03, w + .5, max(1, w - .5)))

def test_matched_width_says_what_cannot_be():
    cost = partial(multiply_adds, shape=(1, 8, 8))
    for target in (3, math.inf, math.nan):
        with pytest.raises(ValueError, match='give a larger target'):
            matched_width(partial(ResNetDiscriminator, (1, 8, 8)), target, cost)
    with pytest.raises(ValueError, match='must grow with the width'):
        matched_width(lambda w: w, 10, lambda net: min(net, 5))


# Members and training

@pytest.mark.parametrize('more', [dict(), dict(attend=8)])
def test_members_are_what_each_is_alone(more):
    nets = [
        (ResNetGenerator((1, 8, 8), 8, 4, head=SkipImages, **more), ResNetDiscriminator((1, 8, 8), 4, **more))
        for _ in range(3)
    ]
    for pair in nets:
        for m in (m for net in pair for m in net.modules() if isinstance(m, (ResidualBlock, SelfAttention))):
            wake(m)
    G, D = (Stacked([pair[i] for pair in nets]) for i in (0, 1))
    z = torch.randn(3, 5, 8)
    x = G(z)
    assert torch.allclose(x, torch.stack([g(z[i]) for i, (g, _) in enumerate(nets)]), atol=1e-5)
    assert torch.allclose(D(x), torch.stack([d(x[i]) for i, (_, d) in enumerate(nets)]), atol=1e-5)

def state(i, **more):
    torch.manual_seed(i)
    return new_state(
        ResNetGenerator((1, 8, 8), 8, 4, attend=8), ResNetDiscriminator((1, 8, 8), 4, attend=8), 2e-3,
        (0., .99), ema=True, seed=i,
    )

def test_members_train_as_each_does_alone():
    run = dict(data=digits(), n_steps=1, loss=relativistic, penalties=[r1, r2], batch_size=8)
    s = members(state, 2)
    fit(s, **run)
    for i in range(2):
        alone = state(i)
        fit(alone, **run)
        for p, q in zip(member(s, i).G.parameters(), alone.G.parameters()):
            assert torch.allclose(p, q, atol=2e-4)

def test_all_parts_learn():
    s = state(0)
    before = [p.clone() for net in (s.G, s.D) for p in net.parameters()]
    fit(s, digits(), 3, relativistic, penalties=[r1, r2], batch_size=16)
    after = [p for net in (s.G, s.D) for p in net.parameters()]
    names = [n for net in (s.G, s.D) for n, _ in net.named_parameters()]
    # a relativistic loss does not see all biases of D
    still = {n for n, a, b in zip(names, before, after) if torch.equal(a, b) and not n.endswith('bias')}
    assert all(p.isfinite().all() for p in after) and not still


# The benchmark

stored = (
    json.loads((root/'results'/'bench_resnet.json').read_text(encoding='utf-8'))
    if (root/'results'/'bench_resnet.json').exists()
    else {}
)

@pytest.mark.parametrize('kind', ['cpu digits', 'cpu faces'])
def test_stored_figures_keep_their_targets(kind): assert bench.missed(stored, kind) == []

def test_stored_arms_are_what_the_benchmark_builds():
    "Costs and parameters are counted again; the rate of the residual arms is the best of those tried."
    for arm, data, shape in (
        ('DCGAN', 'digits', (1, 8, 8)), ('attention', 'digits', (1, 8, 8)), ('ResNet', 'faces', (3, 16, 16)),
    ):
        row = stored[f'cpu {data}']['rows'][arm]
        now = bench.budget(arm, bench.bases[data], shape)
        assert (now['multiply_adds'], now['params']) == (row['multiply_adds'], row['params']), arm
    for kind, data in (('cpu digits', 'digits'), ('cpu faces', 'faces')):
        for arm, row in stored[kind]['rows'].items():
            best = bench.best_rate(stored, kind, bench.bases[data], arm)
            assert row['lr'] == (bench.bases[data].lr if arm == 'DCGAN' else best), (kind, arm)
            assert row['lr'] in bench.RATES[data]

row = dict(distance=[1.]*5, over_dcgan=[1., 1.], seconds=100.)
def good(**changes): return {'cpu digits': dict(rows=dict.fromkeys(bench.arms_of['digits'], row) | changes)}

@pytest.mark.parametrize(
    'change,words',
    [
        (dict(distance=[1.]*4), '4 seeds'), (dict(over_dcgan=[1., 1.06]), 'D costs 1.060'),
        (dict(over_dcgan=[.9, 1.]), 'G costs 0.900'),
    ],
)
def test_missed_targets_are_seen(change, words):
    assert bench.missed(good(), 'cpu digits') == []
    assert any(words in f for f in bench.missed(good(skips=row | change), 'cpu digits'))
    assert bench.missed({}, 'cpu digits') == ['there is no cpu digits']

@pytest.mark.parametrize(
    'change,words',
    [
        (dict(distance=[90.]*4 + [29.]), 'every ResNet at least 1.5 times as far'),
        (dict(lr=6e-3), 'lies between others'), (dict(seconds=1e4), 'at most 1200'),
        (dict(distance=[90.]*4), '4 seeds'), (dict(over_dcgan=[1., 1.1]), 'D costs 1.100'),
    ],
)
def test_missed_targets_of_faces_are_seen(change, words):
    rows = stored['cpu faces']['rows']
    changed = dict(rows=rows | dict(ResNet=rows['ResNet'] | change))
    faults = bench.missed(stored | {'cpu faces': changed}, 'cpu faces')
    assert len(faults) == 1 and words in faults[0]

def test_an_unknown_arm_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['resnet.py', '--only', 'VGG'])
    with pytest.raises(SystemExit) as e: bench.main()
    assert e.value.code == 2 and 'there is no arm called VGG' in capsys.readouterr().err

class Stub(bench.Judge):
    "A judge that does not look."
    def __init__(self, *_): self.floor, self.n, self.sure, self.device = 1., 3, 1., torch.device('cpu')
    def distance(self, G, lead): return torch.ones(lead)
    def __call__(self, G, lead): return dict(distance=torch.ones(lead), digits=torch.ones(lead))

def test_a_tiny_run(monkeypatch, tmp_path):
    out = tmp_path/'out.json'
    monkeypatch.setattr(bench, 'Judge', Stub)
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'resnet.py', '--only', 'skips', '--steps', '2', '--seeds', '2', '--device', 'cpu', '--out',
            str(out),
        ],
    )
    assert bench.main() == 0
    # runs of another length have a name of their own
    assert set(json.loads(out.read_text())['cpu digits, 2 steps']['rows']) == {'skips'}
    monkeypatch.setattr(
        sys, 'argv', ['resnet.py', '--only', 'none', '--check', '--device', 'cpu', '--out', str(out)]
    )
    assert bench.main() == 1  # arms are missing

def test_a_tiny_run_on_faces_chooses_the_rates_first(monkeypatch, tmp_path):
    out = tmp_path/'out.json'
    monkeypatch.setattr(bench, 'FaceJudge', Stub)
    monkeypatch.setattr(bench, 'faces', lambda seed=0, size=16: faces(40, size, seed))
    monkeypatch.setitem(bench.RATES, 'faces', (1e-4, 1e-3))
    monkeypatch.setattr(bench, 'widths', lambda *_: (2., 2.))
    monkeypatch.setitem(bench.bases, 'faces', replace(bench.bases['faces'], width=4, batch_size=4))
    words = '--data faces --tune --only DCGAN ResNet --steps 1 --seeds 2 --device cpu --out'.split()
    monkeypatch.setattr(sys, 'argv', ['resnet.py', *words, str(out)])
    assert bench.main() == 0
    kept = json.loads(out.read_text())
    rows, tried = kept['cpu faces, 1 steps']['rows'], kept['cpu faces, 1 steps rates']
    assert [len(d) for d in tried['distance']] == [2, 2]  # two seeds a rate
    # all are equally far, and the first will do
    assert (rows['DCGAN']['lr'], rows['ResNet']['lr']) == (bench.bases['faces'].lr, 1e-4)
    for row in rows.values():
        assert len(row['distance']) == len(row['checkerboard']) == 2
        assert plt.imread(io.BytesIO(base64.b64decode(row['tiles']))).shape[:2] == (2*16, 12*16)

def test_faces_are_held_against_others_member_by_member(monkeypatch):
    monkeypatch.setattr(bench.sights, 'faces', lambda n, seed, size: faces(60, size, seed))
    monkeypatch.setattr(bench.sights, 'n_judged', 30)
    G = DCGANGenerator((3, 16, 16), 8, 8)
    judge = bench.FaceJudge(faces(10, 16), torch.device('cpu'))
    said = judge(Stacked([G, G]), (2,))
    assert set(said) == {'distance', 'kinds', 'sure', 'rarest_wall'}
    assert all(v.shape == (2,) for v in said.values())
    assert torch.equal(*said['distance']) and said['distance'][0] > 3  # nothing has been learned
    assert judge.about['of_real']['kinds'] > 5
