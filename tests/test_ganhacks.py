"""The trial of the seventeen tips: its arms and their
parts, its file, and the verdicts that appendix a3 draws."""
import copy
import inspect
import ast
import json
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from torch import nn
from ganbook.losses import bce, non_saturating
from ganbook.train import fit
from trials import ganhacks as bench

root = Path(__file__).resolve().parent.parent
torch.set_num_threads(1)
stored = root/'results'/'bench_ganhacks.json'

@pytest.fixture
def tiny(monkeypatch):
    "Networks of width 4 and batches of 8."
    monkeypatch.setattr(bench, 'width', 4)
    monkeypatch.setattr(bench, 'batch_size', 8)

def begun(name, seeds=(0, 1), n_steps=3):
    arm = bench.arms[name]
    return bench.begin(arm, seeds, n_steps, arm.rates[0] if arm.rates else None)


# Arms

@pytest.mark.parametrize('name', bench.arms)
def test_each_arm_trains_two_seeds(tiny, name):
    s, train = begun(name)
    before = [p.detach().clone() for p in (*s.G.parameters(), *s.D.parameters())]
    train(3)
    assert s.step == 3 and s.log.rows().shape[2] == 2 and s.log.rows().isfinite().all()
    after = [*s.G.parameters(), *s.D.parameters()]
    assert all(p.isfinite().all() for p in after)
    moved = [(a != b).flatten(1).any(1) for a, b in zip(after, before) if a.requires_grad]
    assert torch.stack(moved).any(0).all(), 'a member stood still'
    assert any(not torch.equal(a[0], a[1]) for a in after), 'the seeds are one'

@pytest.mark.parametrize('name', [bench.base, 'labels from ranges', 'replay of old fakes', 'noise in G'])
def test_a_run_repeats(tiny, name):
    rows = []
    for _ in range(2):
        s, train = begun(name)
        rows.append((train(3), s.log.rows())[1])
    assert torch.equal(*rows)

def test_arms_differ_from_the_bench(tiny):
    "No arm is the bench by mistake: after three steps its curves differ."
    logs = {}
    for name in bench.arms:
        s, train = begun(name)
        train(3)
        logs[name] = s.log.rows()
    same = [name for name in bench.arms if name != bench.base and torch.equal(logs[name], logs[bench.base])]
    assert set(same) <= {'D rests while ahead'}, same  # in three steps no D may yet be ahead

@pytest.mark.parametrize('name', ['dropout in G', 'labels to both', 'fully connected'])
def test_rows_of_an_arm(tiny, name):
    arm = replace(bench.arms[name], rates=bench.arms[name].rates[:2])
    rows = bench.try_arm(arm, bench.Bench(), 4, 2)
    assert set(rows) == {'', *arm.also}
    for row in rows.values():
        assert (
            all(len(row[key]) == 2 for key in ('half', 'end', 'digits_half', 'digits_end'))
            and min(row['end']) > 0
        )
    early = rows['']['early']
    assert (
        {len(v) for v in early.values()} == {2}
        and min(early['norm']) > 0
        and len(rows['']['rates']) == len(arm.rates)
    )

@pytest.mark.parametrize(
    'name',
    [bench.base, 'instance norm', 'no normalisation', 'max-pooling in D', 'uniform z', 'no tanh at the end'],
)
def test_side_by_side_is_what_the_members_do(tiny, name):
    "Values, gradients and running statistics, in both modes."
    s, _ = begun(name)
    for part, like in (('G', torch.randn(2, 6, 100)), ('D', torch.rand(2, 6, 1, 8, 8))):
        side, both = getattr(s, part), []
        assert type(side) is bench.Side
        stacked = copy.deepcopy(side.stacked)
        for net, own in ((side, side.stacked), (stacked, stacked)):
            x = like.clone().requires_grad_()
            out = net(x)
            out.square().sum().backward()
            net.eval()
            both.append([out, x.grad, net(x), *(p.grad for p in own.parameters()), *own.buffers()])
        for a, b in zip(*both): assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)

def test_sgd_for_members_is_sgd_for_each(tiny, monkeypatch):
    "The optimiser steps all seeds at once; each must move as if it were alone."
    def trained(seeds):
        s, train = bench.begin(bench.arms['SGD for both'], seeds, 4, .1)
        return train(4).D
    both = trained([0, 1])
    for i in range(2):
        one = trained([i])
        for a, b in zip(one.parameters(), both.parameters()):
            assert torch.allclose(a[0], b[i], rtol=1e-3, atol=1e-5)

def test_best_rate_takes_the_smallest(tiny, monkeypatch):
    seen, scores = [], iter([[9., 9.], [2., 4.], [3., 3.]])
    judge = type('Judge', (), dict(score=lambda self, *a: (next(scores), None)))()
    monkeypatch.setattr(
        bench,
        'begin',
        lambda arm, seeds, n, rate: (seen.append((seeds, n)), (type('S', (), dict(G=None)), lambda n: None))[
            1
        ],
    )
    rate, means = bench.best_rate(replace(bench.arms['SGD for D'], rates=(1., 2., 3.)), judge, 10, 2)
    assert rate == 2. and list(means) == [1., 2., 3.] and seen == [([100, 101], 5)]*3


# Their parts

def test_uniform_and_normal_numbers():
    run = bench.Run(1, [torch.Generator().manual_seed(i) for i in range(3)])
    x = bench.normal(run, torch.empty(3, 5000, 2, 2))
    assert (
        x.shape == (3, 5000, 2, 2)
        and abs(x.mean()) < .02
        and abs(x.std() - 1) < .02
        and not torch.equal(x[0], x[1])
    )
    u = bench.uniform(run, torch.empty(3, 5000))
    assert u.shape == (3, 5000) and 0 <= u.min() < .01 and .99 < u.max() <= 1 and abs(u.mean() - .5) < .02
    z = bench.Uniform()(torch.randn(20_000))
    assert z.abs().max() <= 1 and abs(z.std() - 3**-.5) < .02

class Spy:
    "Stands in for `alternating`: notes the loss that it is given."
    def __init__(self, monkeypatch): monkeypatch.setattr(bench, 'alternating', self)
    def __call__(self, s, batch, loss, penalties=(), **options):
        self.loss, self.options = loss, options
        return {}

def test_labels_lie_in_their_ranges(monkeypatch):
    spy, run = Spy(monkeypatch), bench.Run(1, [torch.Generator().manual_seed(0)])
    bench.random_labels(run)(None, None, non_saturating)
    # there the loss of a logit l with label y is (1 - y) l, and that of -l is y l
    big = torch.full((1, 20_000), 50.)
    real = spy.loss.discriminator(big, big*0) - bce(torch.tensor(0.), 0)
    fake = spy.loss.discriminator(big*0, -big) - bce(torch.tensor(0.), 1)
    assert abs(real.item() - 50*(1 - .95)) < .2 and abs(fake.item() - 50*.15) < .2

def test_one_label_in_twenty_is_flipped(monkeypatch):
    spy, run = Spy(monkeypatch), bench.Run(1, [torch.Generator().manual_seed(0)])
    bench.flipped_labels(run)(None, None, non_saturating)
    big = torch.full((1, 40_000), 50.)
    assert abs(spy.loss.discriminator(big, -big).item()/100 - .05) < .005

def test_noise_decays_to_nothing(monkeypatch):
    spy, run = Spy(monkeypatch), bench.Run(100, [torch.Generator().manual_seed(0)])
    stds = []
    for step in (0, 50, 100):
        bench.noisy_inputs(run)(type('S', (), dict(step=step)), None, non_saturating)
        stds.append(spy.options['augment'](torch.zeros(1, 1000, 1, 8, 8)).std().item())
    assert stds[2] == 0 and abs(stds[0] - .3) < .01 and abs(stds[1] - .15) < .01

def test_a_mixed_batch_is_judged_in_company(tiny):
    "With BatchNorm the logit of a real sample depends on the fakes beside it; apart, it does not."
    s, _ = begun(bench.base)
    real, fakes = torch.rand(2, 8, 1, 8, 8), [torch.rand(2, 8, 1, 8, 8)*2 - 1 for _ in range(2)]
    together = [s.D(torch.cat([real, f], 1))[:, :8] for f in fakes]
    assert not torch.allclose(*together, atol=1e-4)
    assert 'torch.cat([real, fake], 1)' in inspect.getsource(bench.mixed)

def test_a_resting_member_stands_still(tiny):
    s, train = begun(bench.base)
    train(2)
    before, names = bench.kept(s.opt_D), [n for n, _ in s.D.named_parameters()]
    assert len(before) == 3*len(names)  # weights and two moments each
    old = [o.clone() for _, o in before]
    train(3)
    bench.undo(before, torch.tensor([True, False]))
    for (t, _), o in zip(before, old): assert torch.equal(t[0], o[0])
    assert any(not torch.equal(t[1], o[1]) for (t, _), o in zip(before, old))

def test_who_is_ahead_rests(tiny):
    "With a bar that every loss is below, nobody moves; with one that none is below, all is as in the bench."
    for bars, still in (((99., 99.), True), ((-99., -99.), False)):
        s, _ = begun(bench.base)
        before = [p.detach().clone() for p in (*s.G.parameters(), *s.D.parameters())]
        fit(s, bench.sets.digits(), 2, non_saturating, batch_size=8, update=bench.resting(None, *bars))
        assert all(torch.equal(a, b) for a, b in zip((*s.G.parameters(), *s.D.parameters()), before)) == still
    plain, train = begun(bench.base)
    train(2)
    assert torch.equal(plain.log.rows(), s.log.rows()[:, [s.log.columns.index(c) for c in plain.log.columns]])

def test_the_pool_of_old_fakes_is_bounded(tiny):
    update = bench.replay(None, every=1, most=3)
    s, _ = begun(bench.base)
    fit(s, bench.sets.digits(), 6, non_saturating, batch_size=8, update=update)
    pool = inspect.getclosurevars(update).nonlocals['pool']
    assert len(pool) == 3 and pool[0].shape == (2, 8, 1, 8, 8) and not pool[0].requires_grad

def test_labels_reach_both_players(tiny):
    for name in ('labels to both', 'embedded labels'):
        s, _ = begun(name)
        z, x = torch.randn(2, 8, 100), torch.rand(2, 8, 1, 8, 8)
        y = [torch.full((2, 8), k) for k in (1, 2)]
        assert not torch.allclose(s.G(z, y[0]), s.G(z, y[1])) and not torch.allclose(
            s.D(x, y[0]), s.D(x, y[1])
        )

def test_the_classifying_head_gives_log_probabilities(tiny):
    s, _ = begun('auxiliary classifier')
    D, x = s.D.member(0), torch.rand(8, 1, 8, 8)
    D.eval()
    p = torch.stack([D(x, torch.eye(10)[k].expand(8, -1))[:, 1] for k in range(10)]).exp()
    assert torch.allclose(p.sum(0), torch.ones(8), atol=1e-5)
    assert torch.equal(D(x, torch.zeros(8, dtype=torch.long)), D(x, torch.eye(10)[0].expand(8, -1))[:, 0])

def test_minibatch_discrimination_sees_a_collapse(tiny):
    D = bench.Discriminating(bench.DCGANDiscriminator(bench.shape, 4, smallest=2)).eval()
    def near(x): return (lambda m: torch.exp(-(m[:, None] - m).abs().sum(-1)).sum(1) - 1)(D.ways(D.body(x)))
    one, many = torch.rand(1, 1, 8, 8).expand(8, -1, -1, -1), torch.rand(8, 1, 8, 8)*2 - 1
    assert torch.allclose(near(one), torch.full((8, 16), 7.), atol=1e-3) and near(many).mean() < 7

def test_dropout_stays_on_until_it_is_switched_off():
    G, z = nn.Sequential(nn.ReLU(), bench.Dropout()).eval(), torch.ones(1, 1000)
    assert set(G(z).unique().tolist()) == {0., 2.}
    bench.always_off(G)
    assert torch.equal(G(z), z)

def test_layers_follow_each_bend_of_G():
    G, _ = bench.after_each(bench.Noise, bench.DCGANGenerator(bench.shape, 100, 4, smallest=2), None)
    kinds = [type(m) for m in G.net]
    assert kinds.count(bench.Noise) == 2 and all(
        kinds[i - 1] is nn.ReLU for i, k in enumerate(kinds) if k is bench.Noise
    )


# Tips and questions

def test_each_tip_has_an_arm_or_a_reason():
    assert list(bench.tips) == list(range(1, 18))
    with_arm = {q.tip for q in bench.questions}
    assert with_arm | set(bench.elsewhere) == set(bench.tips) and not with_arm & set(bench.elsewhere)
    assert (
        len(bench.elsewhere) <= 2
        and all(len(text.split()) > 5 for text in bench.elsewhere.values())
        and set(bench.left_out) <= set(bench.tips)
    )

def test_questions_ask_of_rows_that_are_trained():
    rows = {r for name in bench.arms for r in bench.rows_of(name)}
    asked = {r for q in bench.questions for r in (q.follows, q.breaks)}
    assert asked == rows and all(q.follows != q.breaks for q in bench.questions)
    assert len({q.text for q in bench.questions}) == len(bench.questions)


# The file

def test_the_stored_file_is_whole():
    assert bench.lacking(stored) == []
    entry = json.loads(stored.read_text(encoding='utf-8'))['arms']
    assert entry['n_seeds'] >= 5 and entry['n_steps'] >= 1000 and len(entry['rows']) >= len(bench.arms)

def test_what_is_lacking_is_found(tmp_path):
    whole = json.loads(stored.read_text(encoding='utf-8'))
    path = tmp_path/'x.json'
    assert 'no arms' in bench.lacking(path)[0]
    def spoilt(change):
        entry = json.loads(json.dumps(whole))
        change(entry['arms'])
        path.write_text(json.dumps(entry))
        return ' '.join(bench.lacking(path))
    assert spoilt(lambda e: None) == ''
    assert 'uniform z' in spoilt(lambda e: e['rows'].pop('uniform z'))
    assert 'distances' in spoilt(lambda e: e['rows']['uniform z']['end'].pop())
    assert 'not finite' in spoilt(lambda e: e['rows']['uniform z']['half'].__setitem__(0, float('nan')))
    assert 'questions' in spoilt(lambda e: e['questions'].pop())
    assert 'at least 5' in spoilt(lambda e: e.update(n_seeds=3))

def test_a_stopped_trial_goes_on(tmp_path, monkeypatch):
    "Arms that are stored with the same settings are not trained again; with others, all are."
    done, row = [], lambda *a: {'': dict(half=[1., 2.], end=[1., 2.], digits_half=[1, 2], digits_end=[1, 2])}
    monkeypatch.setattr(bench, 'arms', {name: bench.arms[name] for name in (bench.base, 'uniform z')})
    monkeypatch.setattr(bench, 'try_arm', lambda arm, *a: (done.append(arm), row())[1])
    path, (first, second) = tmp_path/'x.json', bench.arms.values()
    for again, want in (((10, 2), [first, second]), ((10, 2), []), ((20, 2), [first, second])):
        done.clear()
        bench.work(path, *again)
        assert done == want
    bench.work(path, 20, 2, ['uniform z'])
    assert done == [first, second, second] and set(json.loads(path.read_text())['arms']['rows']) == set(
        bench.arms
    )


# The verdicts of the appendix

@pytest.fixture(scope='module')
def appendix():
    "What the cells of appendix a3 define that hold `judge` and the verdicts."
    cells = json.loads((root/'nbs'/'a3_ganhacks.ipynb').read_text(encoding='utf-8'))['cells']
    texts = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    space = dict(np=np, n_questions=30, interval=__import__('ganbook.scale', fromlist=['interval']).interval)
    holds = next(t for t in texts if 'def judge(' in t and 'def of_tip(' in t)
    functions = [n for n in ast.parse(holds).body if isinstance(n, ast.FunctionDef)]
    exec(compile(ast.Module(functions, []), 'a3_ganhacks', 'exec'), space)
    return space

def test_a_verdict_needs_the_corrected_interval(appendix):
    judge, d = appendix['judge'], np.array([.1, .2, .3, .2, .1, .3])
    assert judge(-1 - d) == 'holds' and judge(1 + d) == 'hurts' and judge(d - .2) == 'no effect shown'
    near = np.array([-.4, -.1, -.3, -.05, -.25, -.02])  # below 0 for a single question, not among thirty
    assert judge(near, .95) == 'holds' and judge(near) == 'no effect shown'

@pytest.mark.parametrize(
    'half,end,want',
    [
        (-1, -1, 'holds'), (1, 1, 'hurts'), (1, -1, 'depends'), (-1, 1, 'depends'), (0, -1, 'holds'),
        (1, 0, 'no effect shown'),
    ],
)
def test_half_time_may_contradict(appendix, half, end, want):
    noise = np.array([-.2, .2, -.1, .1, .15, -.15])
    assert appendix['both_times'](half + noise, end + noise) == want

@pytest.mark.parametrize(
    'verdicts,want',
    [
        (['holds', 'holds'], 'holds'), (['holds', 'no effect shown'], 'holds'),
        (['hurts', 'no effect shown'], 'hurts'), (['holds', 'hurts'], 'depends'),
        (['depends', 'holds'], 'depends'), (['no effect shown'], 'no effect shown'),
    ],
)
def test_the_questions_of_a_tip_vote(appendix, verdicts, want):
    assert appendix['of_tip'](verdicts) == want
