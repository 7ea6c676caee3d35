"""Optimisers for games: rates from `fit` itself, formulas of Adam by hand,
checkpoints, members, options, and the benchmark with its stored file."""
import copy
import json
import math
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from ganbook.checkpoints import load, save
from ganbook.data import Data, ring
from ganbook.ensemble import MemberAdam, member, members
from ganbook.losses import minimax, non_saturating, relativistic, wasserstein
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.optim import (
    at_once, by_consensus, clip_gradients, cosine_decay, extragradient, lookahead, multipliers, optimistic,
    past_extragradient, warm_up,
)
from ganbook.penalties import clip_weights, r1, r2
from ganbook.train import TrainState, adam, alternating, d_step, fit, g_step, linear_decay, new_state
from trials import optim as bench

torch.set_num_threads(1)
root = Path(__file__).resolve().parent.parent

updates = {
    'at_once': at_once, 'extragradient': extragradient, 'past_extragradient': past_extragradient,
    'optimistic': optimistic, 'optimistic alternating': partial(optimistic, inner=alternating),
    'lookahead': partial(lookahead, k=3), 'by_consensus': partial(by_consensus, weight=.1),
    'lookahead of extragradient': partial(lookahead, k=3, inner=extragradient),
    'lookahead of lookahead': partial(lookahead, k=4, inner=partial(lookahead, k=2)),
    'lookahead of optimistic': partial(lookahead, k=3, inner=optimistic),
}
every_update = pytest.mark.parametrize('update', updates.values(), ids=updates)
points = ring(n=2_000)

def pair(seed=0, width=8):
    torch.manual_seed(seed)
    return MLPGenerator((2,), 2, (width, width), nn.Identity), MLPDiscriminator((2,), (width, width))

def state(seed=0, lr=3e-3, **options): return new_state(*pair(seed), lr, (.5, .9), seed=seed, **options)

def weights(s): return torch.cat([p.detach().flatten() for m in (s.G, s.D) for p in m.parameters()])

def run(update, n=7, s=None, loss=non_saturating, **options):
    s = s or state()
    return fit(s, points, n, loss, batch_size=16, update=update, **options)


# Rates, through `fit`

def test_the_stored_figures_keep_their_targets():
    stored = json.loads((root/'results'/'bench_optim.json').read_text(encoding='utf-8'))
    assert bench.missed(stored) == []

@pytest.mark.parametrize('name', bench.laws)
def test_rates_are_those_of_the_formulas(name):
    update, memory, law = bench.laws[name]
    for eta in (.2, .5):
        assert multipliers(bench.play(update, eta, 20), memory)[0].abs().item() == pytest.approx(
            law(eta), abs=1e-6
        )

def test_the_rate_of_lookahead():
    eta, k, alpha, want = bench.pulls[0]
    path = bench.play(partial(lookahead, k=k, alpha=alpha, inner=at_once), eta, 8*k)[::k]
    assert multipliers(path)[0].abs().item() == pytest.approx(want, abs=1e-5)

@pytest.mark.parametrize('eta,stable', [(.57, True), (.577, True), (.578, False), (.585, False)])
@pytest.mark.parametrize('update', [optimistic, past_extragradient])
def test_optimism_is_stable_below_one_over_root_three(update, eta, stable):
    assert (multipliers(bench.play(update, eta, 40), 2)[0].abs() < 1).item() == stable

def test_the_path_itself_shrinks_or_grows():
    for eta, stable in ((.57, True), (.585, False)):
        size = bench.play(optimistic, eta, 200).norm(dim=-1)
        assert (size[-1] < .9*size[100]).item() == stable and (size[-1] > size[100]).item() != stable

@pytest.mark.parametrize('eta', [.1, .4])
def test_optimistic_steps_visit_the_points_that_past_extragradient_looks_at(eta):
    z, w = bench.play(past_extragradient, eta, 20), bench.play(optimistic, eta, 20)
    assert torch.allclose(2*z[1:] - z[:-1], w[1:], atol=1e-6)  # z plus its last move

def test_lookahead_pulls_both_players():
    fast = bench.play(at_once, .3, 6)
    slow = bench.play(partial(lookahead, k=6, alpha=.25, inner=at_once), .3, 12)
    assert torch.allclose(slow[:6], fast[:6]) and torch.allclose(
        slow[6], .75*fast[0] + .25*fast[6], atol=1e-7
    )
    assert torch.allclose(
        bench.play(partial(lookahead, k=4, alpha=1., inner=at_once), .3, 12), bench.play(at_once, .3, 12)
    )

def test_lookahead_within_lookahead():
    update = partial(lookahead, k=6, alpha=.4, inner=partial(lookahead, k=3, alpha=.5, inner=at_once))
    got = multipliers(bench.play(update, .3, 30)[::6])[0].abs().item()
    assert got == pytest.approx(abs(.6 + .4*(.5 + .5*(1 + .3j)**3)**2), abs=1e-6)

@pytest.mark.parametrize('memory', [1, 2])
def test_multipliers_are_the_eigenvalues(memory):
    g = torch.Generator().manual_seed(memory)
    M = .5*torch.randn(2, 2*memory, generator=g, dtype=torch.float64)
    x = list(torch.randn(memory, 2, generator=g, dtype=torch.float64))
    for _ in range(20): x.append(M @ torch.cat(x[:-memory - 1:-1]))
    companion = torch.cat([M, torch.eye(2*memory, dtype=torch.float64)[:-2]])
    want = torch.linalg.eigvals(companion).abs().sort(descending=True)[0]
    assert torch.allclose(multipliers(torch.stack(x), memory).abs(), want, atol=1e-5)

@pytest.mark.parametrize(
    'path,memory',
    [
        (torch.zeros(3, 2), 1), (torch.zeros(40, 2), 1), (torch.ones(40, 2), 1),
        (torch.randn(40, 2)*float('nan'), 1), (torch.randn(6, 2), 2), (torch.randn(40), 1),
        (torch.randn(40, 2), 0),
    ],
)
def test_a_path_that_tells_nothing_is_refused(path, memory):
    with pytest.raises(ValueError, match='points'): multipliers(path, memory)


# What a step does, by hand

def test_both_move_from_one_point():
    "The gradient of D from a d_step alone, that of G from a g_step against the D of before."
    s, t = state(), state()
    run(at_once, 1, s)
    was = copy.deepcopy(t.D.state_dict())
    batch = []
    fit(
        t, points, 1, non_saturating, batch_size=16,
        update=lambda s, b, loss, penalties, **o: [batch.append(b()), d_step(s, batch[0][0], loss)][1],
    )
    assert all(torch.equal(a, b) for a, b in zip(s.D.parameters(), t.D.parameters()))
    t.D.load_state_dict(was)
    g_step(t, batch[0][0], non_saturating)
    assert all(torch.equal(a, b) for a, b in zip(s.G.parameters(), t.G.parameters()))

def adam_by_hand(gradients, lr, b1, b2, eps=1e-8):
    "Bias-corrected directions of Adam, times the rate."
    m = v = 0.
    for t, g in enumerate(gradients, 1):
        m, v = b1*m + (1 - b1)*g, b2*v + (1 - b2)*g*g
        yield lr*(m/(1 - b1**t))/((v/(1 - b2**t))**.5 + eps)

class Slope(nn.Module):
    "A player that is one number, in a game of its own: its gradient at x is x."
    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(1., dtype=torch.float64))

def alone(wrap=None, n=6, lr=.01, b1=.5, b2=.9):
    "The path of one number under the optimiser that `optimistic` makes of Adam."
    from ganbook.optim import _Optimistic
    p, path = Slope(), []
    inner = adam([p.at], lr, (b1, b2))
    opt = _Optimistic(inner)
    for _ in range(n):
        path.append(p.at.item())
        p.at.grad = p.at.detach().clone()
        opt.step()
    return path + [p.at.item()]

@pytest.mark.parametrize('b1', [0., .5, .9])
def test_optimistic_adam_corrects_both_terms(b1):
    lr = .01
    b2 = .9
    path = alone(b1=b1)
    u = list(adam_by_hand(path[:-1], lr, b1, b2))
    for t in range(1, len(u)): assert path[t + 1] == pytest.approx(path[t] - 2*u[t] + u[t - 1], abs=1e-9)
    assert path[1] == pytest.approx(1 - 2*u[0], abs=1e-9)  # before the first step the move was 0
    # the second term as in a repository
    uncorrected = [x*(1 - b1**(t + 1))/(1 - b2**(t + 1))**.5 for t, x in enumerate(u)]
    assert abs(path[2] - (path[1] - 2*u[1] + uncorrected[0])) > 1e-3

def test_extra_adam_updates_its_moments_at_both_points():
    s = run(extragradient, 1)
    assert all(v['step'] == 2 for v in s.opt_G.state.values()) and all(
        v['step'] == 2 for v in s.opt_D.state.values()
    )
    assert all(v['step'] == 1 for v in run(past_extragradient, 1).opt_G.state.values())

def test_extra_adam_by_hand():
    """D alone moves: theta stays, as its rate is 0; the loss of
    D is linear, so only Adam's memory makes a difference."""
    G, D = bench.Point(2.), bench.Point(0., slope=True)
    s = TrainState(G, D, torch.optim.SGD(G.parameters(), 0.), adam(D.parameters(), .01, (.5, .9)))
    fit(s, Data('origin', torch.zeros(1, 1)), 1, wasserstein, batch_size=1, update=extragradient)
    _, second = adam_by_hand([2., 2.], .01, .5, .9)
    assert D.at.item() == pytest.approx(-second, abs=1e-9)

def test_consensus_has_the_true_gradient_not_the_one_with_the_wrong_factor():
    """The Dirac-GAN at (1,-1), minimax: R = |v|^2/2 has slope
    -.03342 in theta; a published formula gives +.01945."""
    def theta(weight):
        G, D = bench.Point(1.), bench.Point(-1., slope=True)
        s = TrainState(G, D, *(torch.optim.SGD(m.parameters(), 1.) for m in (G, D)))
        fit(
            s, Data('origin', torch.zeros(1, 1)), 1, minimax, batch_size=1,
            update=partial(by_consensus, weight=weight),
        )
        return G.at.item()
    slope = theta(0.) - theta(1.)
    assert slope == pytest.approx(-.0334247, abs=1e-6) and abs(slope - .0194524) > .05

def test_consensus_without_weight_is_at_once_on_one_batch_of_latents():
    s, t = state(), state()
    fixed = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    fake = [x.G.register_forward_pre_hook(lambda m, a: (fixed,) if len(a[0]) == 16 else None) for x in (s, t)]
    run(partial(by_consensus, weight=0.), 1, s), run(at_once, 1, t)
    for h in fake: h.remove()
    assert torch.allclose(weights(s), weights(t), atol=1e-6)

def test_gradients_of_consensus_lie_in_memory_as_the_parameters_do():
    "Fused Adam goes through memory; a transposed gradient would reach the wrong weights."
    s = run(partial(by_consensus, weight=.1), 1, members(state, 2))
    assert all(p.grad.stride() == p.stride() for m in (s.G, s.D) for p in m.parameters())


# Everything `fit` offers

@every_update
def test_a_resumed_run_is_the_same_to_the_bit(update, tmp_path):
    whole = run(update, 10)
    for cut in (4, 6):
        save(run(update, cut), tmp_path/'c.pt')
        again = run(update, 10, load(state(), tmp_path/'c.pt'))
        assert torch.equal(weights(whole), weights(again)) and torch.equal(whole.log.rows(), again.log.rows())

@every_update
def test_members_train_as_if_alone(update):
    s = members(lambda i: state(i, lr=(2e-3, 5e-3)[i]), 2)
    run(update, 6, s, relativistic, penalties=[partial(r1, gamma=.1), partial(r2, gamma=.1)])
    for i in range(2):
        one = run(
            update, 6, state(i, lr=(2e-3, 5e-3)[i]), relativistic,
            penalties=[partial(r1, gamma=.1), partial(r2, gamma=.1)],
        )
        assert torch.allclose(weights(member(s, i)), weights(one), atol=2e-5)

@every_update
def test_options_are_passed_on(update):
    seen = []
    def augment(x):
        seen.append(x.shape)
        return x
    s = run(update, 4, n_critic=3, augment=augment, penalties=[r1], schedule=linear_decay(.5))
    assert (
        seen
        and {'loss_D', 'loss_G', 'real_logit', 'fake_logit', 'penalty'} <= set(s.log.columns)
        and s.log.rows().isfinite().all()
    )
    assert torch.isfinite(weights(run(update, 3, amp=True))).all()

@every_update
def test_the_optimisers_are_put_back(update):
    s = state()
    own, needs = (s.opt_G, s.opt_D), [p.requires_grad for p in s.D.parameters()]
    def broken(x): raise RuntimeError('no')
    with pytest.raises(RuntimeError, match='no'): run(update, 3, s, augment=broken)
    assert (s.opt_G, s.opt_D) == own and [p.requires_grad for p in s.D.parameters()] == needs

@pytest.mark.parametrize('update', [extragradient, optimistic, partial(lookahead, k=2), by_consensus])
def test_a_dcgan_with_batchnorm(update):
    "It trains, and its statistics stay finite."
    torch.manual_seed(0)
    G = DCGANGenerator((1, 8, 8), 8, 4, smallest=2)
    D = DCGANDiscriminator((1, 8, 8), 4, norm=None, smallest=2)
    images = Data('noise', torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8))
    s = fit(new_state(G, D, 1e-3, ema=True), images, 3, non_saturating, [r1], batch_size=8, update=update)
    assert (
        all(b.isfinite().all() for b in s.G.buffers())
        and s.G.training
        and any(b.abs().sum() > 0 for b in s.G.buffers())
    )

class Labelled(nn.Module):
    "A linear player that reads labels."
    def __init__(self, n_in, n_out=None):
        super().__init__()
        self.latent_dim = n_in
        self.net = nn.Linear(n_in, n_out or 1)
        self.of_y = nn.Embedding(8, n_out or 1)
        self.n_out = n_out
    def forward(self, x, y):
        out = self.net(x) + self.of_y(y)
        return out if self.n_out else out[..., 0]

@every_update
def test_labels_reach_both(update):
    s = new_state(Labelled(2, 2), Labelled(2), 1e-2)
    before = [e.weight.detach().clone() for e in (s.G.of_y, s.D.of_y)]
    fit(s, points, 3, non_saturating, [r1], batch_size=16, labels=True, update=update)
    assert all((e.weight - b).abs().max() > 0 for e, b in zip((s.G.of_y, s.D.of_y), before))

@every_update
def test_a_parameter_that_no_loss_reads_does_no_harm(update):
    s = state()
    s.G.spare = nn.Parameter(torch.ones(2))
    s.opt_G.add_param_group(dict(params=[s.G.spare]))
    run(update, 5, s)
    assert torch.equal(s.G.spare, torch.ones(2))

@pytest.mark.parametrize('update', [at_once, extragradient, past_extragradient, partial(lookahead, k=2)])
def test_clipped_weights_stay_clipped(update):
    s = state(lr=.05)
    clip_weights(s.opt_D, .1)
    run(update, 6, s, wasserstein)
    assert max(p.abs().max() for p in s.D.parameters()) <= .1


# Clipped gradients

def stepped(x, opt, *gradients):
    "The last gradient as Adam got it."
    for g in gradients:
        x.grad = g.clone()
        opt.step()
    return x.grad

def clipped(*size, most=2.):
    x = nn.Parameter(torch.zeros(size))
    opt = adam([x], .1, (0., .99))
    return x, opt, clip_gradients(opt, most)

def test_a_gradient_is_at_most_so_many_times_its_usual_norm():
    first = torch.tensor([3., 4.])  # of norm 5, which is then the usual one
    for factor, kept in ((1.5, 1.5), (2., 2.), (10., 3.), (1e6, 3.)):
        x, opt, _ = clipped(2, most=3.)
        got = stepped(x, opt, first, first, factor*first)
        assert torch.allclose(got, min(factor, kept)*first, rtol=1e-4)

def test_the_usual_norm_is_the_root_of_adams_own_mean():
    a, b = torch.tensor([1., 0.]), torch.tensor([0., 2.])
    x, opt, _ = clipped(2)
    got = stepped(x, opt, a, b, torch.tensor([0., 100.]))
    usual = math.sqrt((.99*.01*1 + .01*4)/(1 - .99**2))
    assert got[0] == 0 and math.isclose(got[1].item(), 2*usual, rel_tol=1e-4)

def test_a_tensor_without_a_history_is_left_alone():
    x, opt, _ = clipped(2)
    assert stepped(x, opt, torch.ones(2)).tolist() == [1, 1]
    x, opt, _ = clipped(2)
    assert stepped(x, opt, torch.zeros(2), torch.zeros(2), torch.ones(2)).tolist() == [1, 1]
    assert stepped(x, opt, torch.zeros(2)).tolist() == [0, 0]

def test_every_member_has_a_usual_norm_of_its_own():
    torch.manual_seed(0)
    gradients = torch.randn(5, 3, 4)*torch.tensor([1., 1., 1., 1., 20.]).view(5, 1, 1)
    gradients[:, 1] = gradients[0, 1]  # which never grows
    together = nn.Parameter(torch.zeros(3, 4))
    opt = MemberAdam([together], [.1, .1, .1], (0., .99))
    clip_gradients(opt)
    got = stepped(together, opt, *gradients)
    assert torch.allclose(got[1], gradients[-1, 1])
    for i in range(3):
        x, one, _ = clipped(4)
        assert torch.allclose(stepped(x, one, *gradients[:, i]), got[i], rtol=1e-4)
        assert torch.allclose(x, together[i], rtol=1e-4)

def test_a_handle_ends_the_clipping():
    x, opt, handle = clipped(2)
    handle.remove()
    assert stepped(x, opt, torch.ones(2), 9*torch.ones(2)).tolist() == [9, 9]

@pytest.mark.parametrize('most', [1., .5, 0., -1., math.nan])
def test_a_bound_that_lets_no_gradient_grow_is_refused(most):
    with pytest.raises(ValueError, match='most is'): clipped(2, most=most)

@pytest.mark.parametrize('opt', [None, torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.)])
def test_only_adam_remembers_gradients(opt):
    with pytest.raises(TypeError, match='give Adam, such as state.opt_D'): clip_gradients(opt)

@every_update
def test_clipping_lives_with_every_update_and_goes_on_after_a_checkpoint(update, tmp_path):
    def clipping(seed=0):
        s = state(seed)
        for opt in (s.opt_G, s.opt_D): clip_gradients(opt, 1.1)
        return s
    a = run(update, 6, clipping())
    save(a, tmp_path/'a.pt')
    run(update, 12, a)
    b = run(update, 12, load(clipping(1), tmp_path/'a.pt'))
    assert torch.equal(weights(a), weights(b)) and weights(a).isfinite().all()
    assert not torch.equal(weights(a), weights(run(update, 12)))

def test_extragradient_costs_two_gradients_the_others_one():
    def calls(update):
        s, n = state(), []
        s.D.register_forward_hook(lambda *_: n.append(1))
        update(s, lambda: (torch.zeros(16, 2), ()), non_saturating)
        return len(n)
    assert [calls(u) for u in (alternating, at_once, optimistic, past_extragradient, extragradient)] == [
        3, 3, 3, 3, 6,
    ]

@pytest.mark.parametrize(
    'update,words',
    [
        (partial(lookahead, k=0), 'k is 0'), (partial(lookahead, k=2.5), 'k is 2.5'),
        (partial(lookahead, alpha=0.), 'alpha is 0'), (partial(lookahead, alpha=1.5), 'alpha is 1.5'),
        (partial(by_consensus, weight=-1.), 'weight is -1'),
        (partial(by_consensus, weight=math.nan), 'weight is nan'),
    ],
)
def test_settings_that_cannot_be_are_refused(update, words):
    with pytest.raises(ValueError, match=words): run(update, 1)

def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError): run(partial(at_once, k=3), 1)


# Schedules

def test_cosine_decay():
    f = cosine_decay(.2)
    assert [f(x) for x in (0., .2)] == [1., 1.] and f(.6) == pytest.approx(.5) and f(1.) == pytest.approx(0.)
    values = [f(i/100) for i in range(101)]
    assert values == sorted(values, reverse=True)
    for bad in (-.1, 1., math.nan):
        with pytest.raises(ValueError, match='start is'): cosine_decay(bad)

def test_warm_up():
    f = warm_up(.1)
    assert [f(0.), f(.05), f(.1), f(.7)] == [0., .5, 1., 1.]
    g = warm_up(.5, linear_decay(.5))
    assert g(.25) == .5 and g(.75) == pytest.approx(.5) and g(1.) == pytest.approx(0.)
    for bad in (0., 1., math.nan):
        with pytest.raises(ValueError, match='until is'): warm_up(bad)


# The benchmark

def test_missed_targets_are_seen():
    stored = json.loads((root/'results'/'bench_optim.json').read_text(encoding='utf-8'))
    wrong = copy.deepcopy(stored)
    wrong['bilinear']['rows']['at once'][0][1] += .002
    assert any('at once at eta' in f for f in bench.missed(wrong))
    wrong = copy.deepcopy(stored)
    wrong['bilinear']['rows']['optimistic'][3][1] = 1.01
    assert any('below 1' in f for f in bench.missed(wrong))
    wrong = copy.deepcopy(stored)
    del wrong['ring plain']['rows']['optimistic']
    assert any('no arm called optimistic' in f for f in bench.missed(wrong))

def test_a_tiny_run(tmp_path, monkeypatch):
    out = tmp_path/'out.json'
    words = [
        '--game', 'ring', '--objective', 'plain', '--only', 'optimistic', 'lookahead, k 5', '--steps', '3',
        '--seeds', '2', '--device', 'cpu', '--out', str(out),
    ]
    monkeypatch.setattr(sys, 'argv', ['optim.py', *words])
    assert bench.main() == 0
    assert set(json.loads(out.read_text())['ring plain']['rows']) == {'optimistic', 'lookahead, k 5'}
    monkeypatch.setattr(sys, 'argv', ['optim.py', '--game', 'none', '--check', '--out', str(out)])
    assert bench.main() == 1  # there are no rates in it

def test_an_unknown_arm_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['optim.py', '--only', 'hope'])
    with pytest.raises(SystemExit): bench.main()
    assert 'there is no arm called hope' in capsys.readouterr().err
