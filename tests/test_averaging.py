"""Averages: closed forms over many half-lives and speeds, members,
BatchNorm's statistics, and the benchmark with its stored file."""
import copy
import json
import math
from pathlib import Path
import numpy as np
import pytest
import torch
from torch import nn
from ganbook.data import latents, ring
from ganbook.ensemble import Stacked, member, members
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import average, fit, new_state, sample
from trials import averaging as bench
from trials.common import results

torch.set_num_threads(1)

class Weights(nn.Module):
    "A module that is nothing but its weights."
    def __init__(self, at):
        super().__init__()
        self.at = nn.Parameter(torch.as_tensor(at, dtype=torch.float64).clone())

def follow(path, halflife):
    "Where the average stands after each step of a path (T,...); it starts at the first point."
    ema = Weights(path[0])
    now = Weights(path[0])
    stands = []
    for k, at in enumerate(path, 1):
        now.at.data = at
        average(ema, now, halflife(k) if callable(halflife) else halflife)
        stands.append(ema.at.detach().clone())
    return torch.stack(stands)


# Closed forms

@pytest.mark.parametrize('halflife', [.5, 1., 5., 20., 100.])
def test_an_average_of_a_rotation_turns_with_it_on_a_smaller_circle(halflife):
    omega = torch.tensor([.003, .05, .2, 1., 2., math.pi], dtype=torch.float64)  # all speeds at once
    b, angle = .5**(1/halflife), torch.arange(int(60*halflife) + 20).double()[:, None]*omega
    got = follow(torch.stack([angle.cos(), angle.sin()], -1), halflife)[-1]
    want = (
        (1 - b)
        /(1 - b*torch.polar(torch.ones_like(omega), -omega))
        *torch.polar(torch.ones_like(omega), angle[-1])
    )
    assert torch.allclose(torch.view_as_complex(got), want, atol=1e-9)
    assert torch.allclose(got.norm(dim=-1), (1 - b)/(1 - 2*b*omega.cos() + b*b).sqrt(), atol=1e-9)

@pytest.mark.parametrize('halflife', [1., 10., 100.])
def test_an_average_lags_behind_a_drift(halflife):
    path, b = torch.arange(int(60*halflife)).double()[:, None]*.3, .5**(1/halflife)
    assert (path[-1] - follow(path, halflife)[-1]).item() == pytest.approx(.3*b/(1 - b), abs=1e-8)

@pytest.mark.parametrize('halflife', [3., 50., 200.])
@pytest.mark.parametrize('n', [1, 7, 200])
def test_the_share_of_each_step(halflife, n):
    "Each unit path has a 1 at one step; what the average holds at the end is that step's share."
    shares = follow(torch.eye(n + 1).double(), halflife)[-1]
    assert shares.sum().item() == pytest.approx(1.) and shares[0].item() == pytest.approx(.5**(n/halflife))
    if n > 1: assert (shares[2:]/shares[1:-1]).tolist() == pytest.approx([2**(1/halflife)]*(n - 1))

def test_a_long_average_counts_as_a_mean_of_so_many():
    b = .5**(1/30)
    shares = (1 - b)*b**np.arange(3000)
    assert (
        1/np.square(shares).sum()
        == pytest.approx((1 + b)/(1 - b))
        == pytest.approx(2*30/math.log(2), rel=1e-3)
    )

@pytest.mark.parametrize('n', [1, 2, 3, 50, 700])
def test_a_growing_halflife_makes_the_plain_mean(n):
    path = torch.randn(n, 3, generator=torch.Generator().manual_seed(n)).double()
    assert torch.allclose(follow(path, bench.mean_halflife)[-1], path.mean(0), atol=1e-9)

@pytest.mark.parametrize('eta', [.01, .2, 1., 1.9])
def test_the_alternating_game_stays_on_its_ellipse_and_its_mean_telescopes(eta):
    path = [(1., -.5)]
    for _ in range(3000):
        theta = path[-1][0] - eta*path[-1][1]
        path.append((theta, path[-1][1] + eta*theta))
    theta, psi = np.array(path).T
    assert np.allclose(theta**2 + psi**2 - eta*theta*psi, 1.25 + .5*eta)
    assert psi[:-1].mean() == pytest.approx((theta[0] - theta[-1])/(eta*3000), abs=1e-12)
    assert theta[1:].mean() == pytest.approx((psi[-1] - psi[0])/(eta*3000), abs=1e-12)
    M = np.array([[1, -eta], [eta, 1 - eta**2]])
    assert np.allclose(np.angle(np.linalg.eigvals(M)).max(), math.acos(1 - eta**2/2)) and np.allclose(
        np.abs(np.linalg.eigvals(M)), 1
    )


# Members

def dcgan(seed, ema=True):
    torch.manual_seed(seed)
    G = DCGANGenerator((1, 8, 8), 6, 4, smallest=2)
    D = DCGANDiscriminator((1, 8, 8), 4, norm=None, smallest=2)
    return new_state(G, D, 1e-3, (0., .9), ema=ema, seed=seed)

def mlp(seed):
    torch.manual_seed(seed)
    return new_state(
        MLPGenerator((2,), 2, (8,), nn.Identity), MLPDiscriminator((2,), (8,)), ema=True, seed=seed
    )

@pytest.mark.parametrize('make,data', [(dcgan, bench.sets.digits()), (mlp, ring(500))], ids=['dcgan', 'mlp'])
def test_members_are_averaged_as_if_each_were_alone(make, data):
    # few steps: a game enlarges rounding
    s = fit(members(make, 3), data, 3, non_saturating, batch_size=8, ema_halflife=3.)
    alone = fit(make(1), data, 3, non_saturating, batch_size=8, ema_halflife=3.)
    for (name, a), b in zip(member(s, 1).G_ema.state_dict().items(), alone.G_ema.state_dict().values()):
        assert torch.allclose(a.double(), b.double(), atol=2e-3), name

def test_one_average_of_members_is_the_average_of_each():
    slow, fast = ([dcgan(i + k).G for i in range(3)] for k in (0, 10))
    with torch.no_grad():
        for G in fast: G(torch.randn(16, 6))  # running statistics and counters move
    stacked = Stacked(slow)
    average(stacked, Stacked(fast), 4.)
    for i, (a, b) in enumerate(zip(slow, fast)):
        average(a, b, 4.)
        for (name, t), want in zip(stacked.member(i).state_dict().items(), a.state_dict().values()):
            assert torch.allclose(t, want), name
        counters = [t for name, t in a.named_buffers() if name.endswith('num_batches_tracked')]
        assert counters and all(t == 1 for t in counters)  # counted, not averaged

def test_averages_side_by_side_are_those_of_single_runs():
    digits, kept = bench.sets.digits(), bench.Averages(dcgan(0, False).G, start=4)
    seen = []
    s = fit(
        dcgan(0, False),
        digits,
        8,
        non_saturating,
        batch_size=8,
        callbacks=[
            kept, lambda s: seen.append(torch.cat([p.detach().flatten() for p in s.G.parameters()]).clone()),
        ],
    )
    for h in (20., 500.):
        alone = fit(dcgan(0), digits, 8, non_saturating, batch_size=8, ema_halflife=h)
        for a, b in zip(kept.nets[f'{h:g}'].state_dict().values(), alone.G_ema.state_dict().values()):
            assert torch.equal(a, b)
        # averaging changes no run
        for a, b in zip(s.G.state_dict().values(), alone.G.state_dict().values()): assert torch.equal(a, b)
    mean = torch.cat([p.detach().flatten() for p in kept.nets['uniform'].parameters()])
    assert torch.allclose(mean, torch.stack(seen[4:]).mean(0), atol=1e-6)


# BatchNorm

def linear_gaussian(seed=0, n_in=3, n_out=4):
    """Normal latents through a linear layer: the mean of unit i is
    its bias, its variance the squared length of its weights."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out)).double().eval()
    net.latent_dim = n_in
    return net

@pytest.mark.parametrize('seed', range(3))
def test_recalibrated_statistics_are_those_of_the_population(seed):
    net, z = linear_gaussian(seed), latents(100_000, 3, torch.Generator().manual_seed(seed)).double()
    new = bench.recalibrated(net, z, 500)
    assert torch.allclose(new[1].running_mean, net[0].bias, atol=.02)
    assert torch.allclose(new[1].running_var, net[0].weight.square().sum(1), rtol=.03)
    # the given one is untouched
    assert net[1].running_var.eq(1).all() and new[1].momentum == .1 and not new[1].training

def test_recalibrated_is_the_plain_mean_over_batches():
    net, z = linear_gaussian(), torch.randn(6*50, 3).double()
    new, parts = bench.recalibrated(net, z, 50), net[0](z).detach().split(50)
    assert torch.allclose(new[1].running_mean, torch.stack([p.mean(0) for p in parts]).mean(0))
    assert torch.allclose(new[1].running_var, torch.stack([p.var(0) for p in parts]).mean(0))
    net[1].reset_running_stats()
    net[1].momentum = None
    net.train()
    with torch.no_grad(): [net(p) for p in z.split(50)]  # PyTorch's own way
    assert torch.allclose(new[1].running_var, net[1].running_var)

def test_members_are_recalibrated_each_with_its_own():
    nets, z = [linear_gaussian(i) for i in range(3)], torch.randn(3, 200, 3).double()
    stacked = bench.recalibrated(Stacked(nets), z, 50)
    for i, net in enumerate(nets):
        alone = bench.recalibrated(net, z[i], 50)
        assert torch.allclose(stacked.member(i)[1].running_var, alone[1].running_var)
        assert torch.allclose(stacked.member(i)[1].running_mean, alone[1].running_mean)

@pytest.mark.parametrize('halflife', [2., 20., 300.])
def test_averaged_variances_are_too_large_by_the_motion_that_is_averaged_out(halflife):
    rng = torch.Generator().manual_seed(1)
    w = torch.randn(200, 5, generator=rng).double()
    mean, square = follow(w, halflife), follow(w.square().sum(1, keepdim=True), halflife)
    shares = follow(torch.eye(200).double(), halflife)[-1]
    spread = (shares[:, None]*(w - mean[-1]).square()).sum()
    assert square[-1].item() == pytest.approx((mean[-1].square().sum() + spread).item())
    assert square[-1] >= mean[-1].square().sum()

def test_buffers_of_another():
    a, b = dcgan(0).G, dcgan(1).G
    with torch.no_grad(): b(torch.randn(16, 6))
    new = bench.with_buffers(a, b)
    assert all(torch.equal(x, y) for x, y in zip(new.buffers(), b.buffers()))
    assert all(torch.equal(x, y) for x, y in zip(new.parameters(), a.parameters()))
    z = torch.randn(4, 6)
    assert not torch.allclose(sample(new, z), sample(a, z))


# The benchmark

def entry(path): return json.loads(Path(path).read_text())[bench.key]

def measure(*args):
    "As the benchmark does, with two half-lives in place of seven."
    with pytest.MonkeyPatch.context() as m:
        m.setattr(bench, 'halflives', [20, 100])
        m.setattr(bench, 'names', ['20', '100', 'uniform'])
        bench.measure(*args)

@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    out = tmp_path_factory.mktemp('averaging')/'bench.json'
    measure(out, ['plain'], 4, 2, 2)
    return out

def test_a_tiny_run_stores_one_number_a_seed(tiny):
    e = entry(tiny)
    assert e['steps'] == [2, 4] and set(e['rows']['plain']) == {'last', '20', '100', 'uniform'}
    assert (
        np.array(e['rows']['plain']['last']).shape == (2, 2) and np.isfinite(e['rows']['plain']['last']).all()
    )
    assert (
        e['rows']['plain']['uniform'][0] == [None, None]
        and np.isfinite(e['rows']['plain']['uniform'][1]).all()
    )
    assert {len(v) for v in e['norms']['plain']['100'].values()} == {2}
    assert any('seeds' in f for f in bench.lacking(tiny)) and any(
        'no arm r1r2' in f for f in bench.lacking(tiny)
    )

def test_arms_of_one_size_are_kept_together(tiny, tmp_path):
    out = tmp_path/'bench.json'
    out.write_text(tiny.read_text())
    measure(out, ['r1r2'], 4, 2, 2)
    assert (
        set(entry(out)['rows']) == {'plain', 'r1r2'}
        and entry(out)['rows']['plain'] == entry(tiny)['rows']['plain']
    )
    measure(out, [], 6, 3, 2)
    assert set(entry(out)['rows']) == {'plain', 'r1r2'}  # nothing was run, so nothing is lost
    measure(out, ['decay'], 4, 4, 2)
    assert set(entry(out)['rows']) == {'decay'}

def test_the_stored_file_is_whole_and_keeps_its_promise():
    assert bench.lacking(results/'bench_averaging.json') == []
    assert bench.lacking(results/'nothing.json') != []

def spoilt(change, tmp_path):
    e = copy.deepcopy(entry(results/'bench_averaging.json'))
    change(e)
    (tmp_path/'bench.json').write_text(json.dumps({bench.key: e}))
    return bench.lacking(tmp_path/'bench.json')

@pytest.mark.parametrize('change,part', [
    (lambda e: e['rows'].pop('decay'), 'no arm decay'),
    (lambda e: e['rows']['plain'].pop('200'), 'plain, 200'),
    (lambda e: e['rows']['plain']['last'].pop(), 'plain, last'),
    (lambda e: e['rows']['r1r2']['50'].__setitem__(-1, [math.nan]*e['n_seeds']), 'not finite'),
    (lambda e: e['norms']['plain']['100']['stale'].pop(), 'stale'),
    (lambda e: e['rows']['plain'].update({'20': e['rows']['plain']['last']}), 'not shown')],
    ids=['arm', 'average', 'evaluation', 'nan', 'seed', 'target'])
def test_a_spoilt_file_is_found_out(change, part, tmp_path):
    faults = spoilt(change, tmp_path)
    assert any(part in f for f in faults), faults
