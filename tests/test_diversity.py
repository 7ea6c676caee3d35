"""Discriminators that judge samples together: each against a hand loop,
alone and as members, in training, on disk, and with bad input."""
import json
import math
import sys
import warnings
from functools import partial
from pathlib import Path
import pytest
import torch
from torch import nn
from ganbook import data as sets
from ganbook.checkpoints import load, save
from ganbook.diversity import (
    MinibatchDiscrimination, MinibatchStd, Packed, packed_shape, with_layer, with_minibatch_std,
)
from ganbook.ensemble import Stacked, member, members
from ganbook.losses import non_saturating, relativistic
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.nets import n_params
from ganbook.penalties import r1, r2, spectral_norm
from ganbook.train import fit, new_state
from trials import stacked as bench

root = Path(__file__).resolve().parent.parent
digits = sets.digits()

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

def mlp(shape=(2,)): return MLPDiscriminator(shape, (16,))
def dcgan(shape=(1, 8, 8)): return DCGANDiscriminator(shape, 4, norm=None)


# Packed

def packed_by_hand(D, x, m):
    "Logits (B,) of samples (B,*S), pack by pack."
    return torch.stack(
        [D(torch.cat([x[(i + j) % len(x)] for j in range(m)])[None])[0] for i in range(len(x))]
    )

@pytest.mark.parametrize('m', [1, 2, 3, 4])
@pytest.mark.parametrize('n', [1, 2, 5, 8])
@pytest.mark.parametrize(
    'make,shape', [(mlp, (2,)), (dcgan, (1, 8, 8)), (mlp, (3, 4, 5)), (dcgan, (3, 9, 8))]
)
def test_packs_are_those_of_a_hand_loop(make, shape, n, m):
    D, x = Packed(make(packed_shape(shape, m)), m), torch.randn(n, *shape)
    assert D.shape == shape
    torch.testing.assert_close(D(x), packed_by_hand(D.D, x, m), atol=1e-5, rtol=1e-5)

def test_packs_of_one_are_the_plain_discriminator():
    D, x = dcgan(), torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(Packed(D, 1)(x), D(x))

@pytest.mark.parametrize('make,shape', [(mlp, (2,)), (dcgan, (1, 8, 8))])
def test_leading_sizes_do_not_mix(make, shape):
    D, x = Packed(make(packed_shape(shape, 3)), 3), torch.randn(2, 4, 5, *shape)
    logits = D(x)
    assert logits.shape == (2, 4, 5)
    torch.testing.assert_close(logits[1, 2], D(x[1, 2]), atol=1e-5, rtol=1e-5)

def test_labels_go_through():
    class Labelled(nn.Module):
        shape = (4,)
        def forward(self, x, y): return x.sum(-1) + 100*y
    x, y = torch.randn(5, 2), torch.arange(5)
    torch.testing.assert_close(Packed(Labelled(), 2)(x, y), (x + x.roll(-1, 0)).sum(1) + 100*y)

def test_the_mean_over_overlapping_packs_is_that_over_disjoint_ones():
    D, x = Packed(mlp((4,)), 2), torch.randn(200_000, 2)
    with torch.no_grad(): overlapping, disjoint = D(x).mean(), D.D(x.view(-1, 4)).mean()
    assert abs(overlapping - disjoint) < .01

@pytest.mark.parametrize(
    'shape,m,want', [((2,), 3, (6,)), ((3, 8, 9), 2, (6, 8, 9)), ((1, 8, 8), 1, (1, 8, 8))]
)
def test_packed_shape(shape, m, want):
    assert packed_shape(shape, m) == want


# Minibatch standard deviation

def std_by_hand(x, group):
    "The appended number of each sample (B,)."
    n = max(1, len(x)//min(group or len(x), len(x)))
    return torch.stack(
        [
            torch.stack([f.var(correction=0).add(1e-8).sqrt() for f in x[i % n::n].flatten(1).T]).mean()
            for i in range(len(x))
        ]
    )

@pytest.mark.parametrize('group', [None, 1, 2, 3, 4, 8, 100])
@pytest.mark.parametrize('shape', [(6, 5), (8, 3), (7, 2, 3, 4), (1, 4), (12, 3, 2, 2)])
def test_std_is_that_of_a_hand_loop(group, shape):
    x = torch.randn(shape)
    out, want = MinibatchStd(group)(x), std_by_hand(x, group)
    assert out.shape == (shape[0], shape[1] + 1, *shape[2:])
    torch.testing.assert_close(out[:, :-1], x)
    torch.testing.assert_close(
        out[:, -1], want.view(-1, *[1]*(x.ndim - 2)).expand(out[:, -1].shape), atol=1e-5, rtol=1e-4
    )

def test_groups_that_divide_are_those_of_the_authors():
    x = torch.randn(12, 3, 4, 4)
    y = x.reshape(4, 3, 3, 4, 4)  # their reshape: group of 4, 3 groups
    s = (y - y.mean(0)).square().mean(0).add(1e-8).sqrt().mean((1, 2, 3)).repeat(4)
    torch.testing.assert_close(MinibatchStd(4)(x)[:, 3, 0, 0], s)

def test_a_collapsed_batch_shows():
    x = torch.randn(1, 6)
    assert MinibatchStd()(x.expand(8, 6))[:, -1].max() < 1e-3 < MinibatchStd()(torch.randn(8, 6))[:, -1].min()

@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_std_keeps_the_precision(dtype):
    out = MinibatchStd(2)(torch.randn(4, 3, dtype=dtype))
    assert out.dtype == dtype and out.isfinite().all()


# Minibatch discrimination

@pytest.mark.parametrize('n', [1, 2, 7])
def test_discrimination_is_that_of_a_hand_loop(n):
    layer, x = MinibatchDiscrimination(5, 3, 2), torch.randn(n, 5)
    out, M = layer(x), (x @ layer.T).detach().view(n, 3, 2)
    want = torch.tensor(
        [
            [sum(math.exp(-(M[i, b] - M[j, b]).abs().sum()) for j in range(n) if j != i) for b in range(3)]
            for i in range(n)
        ],
        dtype=torch.float32,
    )
    torch.testing.assert_close(out[:, :5], x)
    torch.testing.assert_close(out[:, 5:], want.view(n, 3), atol=1e-5, rtol=1e-4)

def test_features_of_variance_one_lie_about_one_apart():
    layer = MinibatchDiscrimination(400, 20, 5)
    M = (torch.randn(100, 400) @ layer.T.detach()).view(100, 20, 5)
    assert .7 < (M[:50] - M[50:]).abs().sum(-1).mean() < 1.6


# In a network

layers = dict(
    packed=lambda D, shape: Packed(D(packed_shape(shape, 2)), 2),
    std=lambda D, shape: with_minibatch_std(D(shape)),
    grouped=lambda D, shape: with_minibatch_std(D(shape), 3),
    discrimination=lambda D, shape: (
        lambda net: with_layer(net, MinibatchDiscrimination(net.net[-1].in_features, 4, 2))
    )(D(shape)),
    packed_std=lambda D, shape: Packed(with_minibatch_std(D(packed_shape(shape, 2))), 2),
)
kinds = pytest.mark.parametrize('kind', layers)
nets = pytest.mark.parametrize('D,shape', [(mlp, (2,)), (dcgan, (1, 8, 8))], ids=['mlp', 'dcgan'])

@kinds
@nets
def test_gradients_flow_to_every_weight_and_sample(kind, D, shape):
    net, x = layers[kind](D, shape), torch.randn(6, *shape, requires_grad=True)
    (net(x)**2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())
    assert x.grad.flatten(1).any(1).all()

@kinds
@nets
def test_members_are_the_networks_one_by_one(kind, D, shape):
    alone = [layers[kind](D, shape) for _ in range(3)]
    stacked, x = Stacked(alone), torch.randn(3, 7, *shape)
    torch.testing.assert_close(
        stacked(x), torch.stack([net(a) for net, a in zip(alone, x)]), atol=1e-5, rtol=1e-4
    )
    for i in range(3):
        torch.testing.assert_close(stacked.member(i)(x[i]), alone[i](x[i]), atol=1e-5, rtol=1e-4)

@kinds
@nets
def test_one_logit_depends_on_other_samples(kind, D, shape):
    net, x = layers[kind](D, shape), torch.randn(6, *shape, requires_grad=True)
    grad, = torch.autograd.grad(net(x)[0], x)
    assert grad[1:].any()

@nets
def test_the_weights_that_were_there_stay(D, shape):
    net = D(shape)
    last = net.net[-1]
    assert with_layer(net, MinibatchStd()) is net
    new = net.net[-1]
    torch.testing.assert_close(new.weight[:, :-1], last.weight)
    assert new.in_features == last.in_features + 1 and (new.bias is None) == (last.bias is None)
    if last.bias is not None: torch.testing.assert_close(new.bias, last.bias)

def test_new_weights_are_as_wide_as_the_old_ones():
    net = MLPDiscriminator((2,), (400,))
    old = net.net[-1].weight.detach().square().mean().sqrt()
    with_layer(net, MinibatchDiscrimination(400, 300, 1))
    assert .8 < net.net[-1].weight[:, 400:].square().mean().sqrt()/old < 1.25

def test_a_layer_follows_its_network_to_another_precision():
    assert with_minibatch_std(mlp().double())(torch.randn(4, 2, dtype=torch.float64)).dtype == torch.float64

def test_repr_tells_the_settings():
    assert (
        'm=2' in repr(Packed(mlp((4,)), 2))
        and 'group=4' in repr(MinibatchStd(4))
        and 'n_in=5, n_out=3, dim=2' in repr(MinibatchDiscrimination(5, 3, 2))
    )

def test_networks_that_differ_in_a_group_do_not_stack():
    with pytest.raises(ValueError, match='not built like'):
        Stacked([with_minibatch_std(mlp(), g) for g in (2, 4)])


# In training

def state(kind, data, seed=0):
    torch.manual_seed(seed)
    if data is digits:
        return new_state(DCGANGenerator((1, 8, 8), 10, 4), layers[kind](dcgan, (1, 8, 8)), seed=seed)
    return new_state(MLPGenerator((2,), 2, (16,), nn.Identity), layers[kind](mlp, (2,)), seed=seed)

ring = sets.ring(1000)
both_sets = pytest.mark.parametrize('data', [ring, digits], ids=['ring', 'digits'])

@kinds
@both_sets
@pytest.mark.parametrize('loss', [non_saturating, relativistic], ids=['ns', 'relativistic'])
def test_fit_trains_it(kind, data, loss):
    s = state(kind, data)
    before = [p.clone() for p in s.D.parameters()]
    fit(s, data, 5, loss, batch_size=7)
    assert all(torch.isfinite(torch.tensor(v)) for v in s.log.last().values())
    assert all(not torch.equal(p, q) for p, q in zip(before, s.D.parameters()) if p.ndim > 1)

@kinds
@both_sets
def test_members_train_as_alone(kind, data):
    s = members(lambda i: state(kind, data, i), 2)
    fit(s, data, 3, non_saturating, batch_size=6)
    alone = fit(state(kind, data, 1), data, 3, non_saturating, batch_size=6)
    for p, q in zip(member(s, 1).D.parameters(), alone.D.parameters()):
        torch.testing.assert_close(p, q, atol=2e-4, rtol=1e-3)

@kinds
def test_a_checkpoint_goes_on_as_if_nothing_had_been(kind, tmp_path):
    s = fit(state(kind, ring), ring, 3, non_saturating)
    save(s, tmp_path/'a.pt')
    fit(s, ring, 6, non_saturating)
    t = fit(load(state(kind, ring, 5), tmp_path/'a.pt'), ring, 6, non_saturating)
    for p, q in zip(s.D.parameters(), t.D.parameters()): assert torch.equal(p, q)

def test_a_checkpoint_of_a_plain_network_is_refused(tmp_path):
    save(new_state(MLPGenerator((2,), 2, (16,), nn.Identity), mlp()), tmp_path/'a.pt')
    with pytest.raises(ValueError, match='does not fit'): load(state('std', ring), tmp_path/'a.pt')

@kinds
def test_penalties_warn_once(kind):
    s = state(kind, ring)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter('always')
        fit(s, ring, 3, non_saturating, [partial(r1, gamma=1.), partial(r2, gamma=1.)])
    assert len([w for w in heard if 'depends on the other samples' in str(w.message)]) == 1


# Bad input

@pytest.mark.parametrize(
    'make,error,words',
    [
        (lambda: Packed(nn.Linear(4, 1), 2), TypeError, 'no attribute shape'),
        (lambda: Packed(mlp((3,)), 2), ValueError, 'no pack of 2'),
        (lambda: Packed(mlp((4,)), 0), ValueError, 'm is 0'),
        (lambda: Packed(mlp((4,)), 2.), ValueError, 'm is 2.0'),
        (lambda: packed_shape((2,), -1), ValueError, 'm is -1'),
        (lambda: Packed(mlp((4,)), 2)(torch.randn(3, 4)), ValueError, r'give \(...,B,2\)'),
        (lambda: Packed(mlp((4,)), 2)(torch.randn(2)), ValueError, 'do not fit'),
        (lambda: Packed(mlp((2, 8, 8)), 2)(torch.randn(3, 2, 8, 8)), ValueError, 'do not fit'),
        (lambda: MinibatchStd(0), ValueError, 'group is 0'),
        (lambda: MinibatchStd(True), ValueError, 'group is True'),
        (lambda: MinibatchStd()(torch.randn(2, 3, 4)), ValueError, r'\(B,F\)'),
        (lambda: MinibatchStd()(torch.randn(3)), ValueError, r'\(B,F\)'),
        (lambda: MinibatchDiscrimination(5, 0, 2), ValueError, 'n_out is 0'),
        (lambda: MinibatchDiscrimination('5'), ValueError, 'n_in'),
        (lambda: MinibatchDiscrimination(5, 3, 0), ValueError, 'dim is 0'),
        (lambda: MinibatchDiscrimination(5, 3, 2)(torch.randn(4, 6)), ValueError, r'give \(B,5\)'),
        (lambda: MinibatchDiscrimination(5)(torch.randn(4, 5, 1)), ValueError, r'give \(B,5\)'),
        (lambda: with_minibatch_std(nn.Linear(2, 1)), TypeError, 'ending in an nn.Linear'),
        (lambda: with_minibatch_std(Packed(mlp((4,)), 2)), TypeError, 'before packing'),
        (lambda: with_minibatch_std(spectral_norm(mlp())), TypeError, 'spectral norm'),
        (lambda: with_layer(mlp(), MinibatchDiscrimination(17)), ValueError, 'reads 16'),
    ],
)
def test_bad_input_is_one_clear_sentence(make, error, words):
    with pytest.raises(error, match=words) as e: make()
    assert '\n' not in str(e.value) and str(e.value).endswith('.')

def test_a_packed_discriminator_of_other_samples_is_refused_by_fit():
    s = new_state(MLPGenerator((2,), 2, (16,), nn.Identity), Packed(mlp((6,)), 2))
    with pytest.raises(ValueError, match='do not fit'): fit(s, ring, 1, non_saturating)


# The benchmark

def run(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['stacked.py', *map(str, args)])
    return bench.main()

def test_a_short_run_is_stored(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, 'n_samples', 500)
    out = tmp_path/'a.json'
    options = ['--data', 'digits', '--device', 'cpu', '--steps', 2, '--seeds', 2, '--out', out]
    assert run(monkeypatch, *options, '--only', 'r3', 'plain', 'ns') == 0
    entry = json.loads(out.read_text())['cpu digits']
    assert (
        set(entry['rows']) == {'r3', 'plain', 'ns'}
        and len(entry['rows']['r3']) == 2
        and entry['n_samples'] == 500
    )
    row = entry['rows']['plain'][0]
    assert row['n_steps'] == 2 and 1 <= row['modes'] <= 500 and row['kl'] > 0 and 0 <= row['confident'] <= 1
    # the first seed is followed
    assert [c[0] for c in row['curve']] == [1, 2] and entry['rows']['plain'][1]['curve'] == []
    assert any('r3, seed 0: modes' in f for f in entry['targets_missed'])
    run(monkeypatch, *options, '--only', 'narrow')  # adds an arm, keeps the others
    assert set(json.loads(out.read_text())['cpu digits']['rows']) == {'r3', 'plain', 'ns', 'narrow'}
    assert run(monkeypatch, *options, '--only', 'none', '--check') == 1
    said = capsys.readouterr().out
    assert 'LACKING  plain: 2 seeds' in said and 'MISSED   r3, seed 0' in said

def test_a_wrong_arm_is_refused(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, '--only', 'best', '--data', 'digits', '--out', tmp_path/'a.json')
    assert 'no arm best' in capsys.readouterr().err

def test_the_counter_counts_real_modes():
    data, count = bench.images('digits'), bench.Counter('digits', torch.device('cpu'))
    x = data.x[:1000].float()/127.5 - 1
    assert (count.read(x)[0] == data.y[:1000]).float().mean() > .95
    one = count(x[:1].expand(50, -1, -1, -1))
    assert one['modes'] == 1 and abs(one['kl'] - math.log(1000)) < 1e-6

@pytest.mark.parametrize('name', ['r3', 'crippled'])
def test_the_arms_for_a_gpu_run(monkeypatch, name):
    "On random images of MNIST's size, for 2 steps."
    monkeypatch.setattr(bench, 'n_samples', 10)
    arm = bench.arms['mnist'][name]
    data = sets.stacked(
        sets.Data('noise', torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8), torch.arange(50) % 10),
        n=100,
    )
    r = bench.run(arm, data, lambda x: dict(modes=len(x), kl=0., confident=0.), 0, 2, n_looks=2, n_look=3)
    assert r['n_steps'] == 2 and r['curve'] == [(1, 3), (2, 3)] and r['modes'] == 10

def test_the_crippled_pair_has_the_published_size():
    G, D = bench.crippled_pair((3, 28, 28))
    assert (n_params(G), n_params(D)) == (287_875, 585)
    assert G(torch.randn(2, 256)).shape == (2, 3, 28, 28) and D(torch.randn(2, 3, 28, 28)).shape == (2,)

def test_targets_are_compared_both_ways():
    good = dict(seed=0, modes=1000, kl=.04, confident=.8, seconds=1.)
    assert bench.missed(dict(r3=[good]), 'digits') == [] and bench.missed(dict(r3=[good]), 'mnist') == []
    assert len(bench.missed(dict(r3=[good | dict(modes=999, kl=.1, confident=.7)]), 'digits')) == 3
    assert (
        len(bench.missed(dict(plain=[good]), 'digits')) == 2
        and len(bench.missed(dict(crippled=[good | dict(modes=10)]), 'mnist')) == 1
    )
    assert bench.lacking({}, 'digits') and not bench.lacking(
        dict(rows={arm: [good]*3 for arm in bench.arms['digits']}), 'digits'
    )

@pytest.mark.skipif(not (root/'results'/'bench_stacked.json').exists(), reason='not run yet')
def test_the_stored_entry_is_whole():
    entry = json.loads((root/'results'/'bench_stacked.json').read_text())['cpu digits']
    assert (
        bench.lacking(entry, 'digits') == []
        and entry['targets_missed'] == bench.missed(entry['rows'], 'digits')
        and entry['n_samples'] == 26_000
    )
