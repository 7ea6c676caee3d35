"""The benchmark of chapter w2: what it counts and calls missed, and a
tiny run of it; and chapter w2's loops do the same as each other."""
import json
import sys
from pathlib import Path

import pytest
import torch
from trials import speed
from trials.loops import Textbook

root = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)

@pytest.fixture(scope='module')
def case(): return speed.Case('small MLP', speed.noise((1, 8, 8), 100), speed.small_pair, 16, 0.)


# What is counted

def test_operations_and_bytes_of_a_product():
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    with speed.Counting() as c: a @ b
    assert c.rows == [(2*8*16*4, 4*(8*16 + 16*4 + 8*4))]

def test_views_and_empty_memory_cost_nothing_and_what_is_written_counts():
    a = torch.randn(8, 8)
    with speed.Counting() as c: a.t(), a.view(64), a[1], torch.empty(5), a.detach()
    assert c.rows == []
    with speed.Counting() as c: a.add_(1.)
    assert c.rows == [(0, 2*4*64)]  # read and written

def test_the_backward_is_counted_too():
    w = torch.randn(16, 4, requires_grad=True)
    with speed.Counting() as c: (torch.randn(8, 16) @ w).sum().backward()
    assert sum(work for work, _ in c.rows) == 2*2*8*16*4  # nobody asks for the gradient of what goes in

def test_a_step_of_networks_is_what_paper_says(case):
    from ganbook.nets import trace
    G, D = case.make()
    g, d = (
        [row.n_macs for row in trace(m, s) if row.n_macs] for m, s in ((G, (G.latent_dim,)), (D, (1, 8, 8)))
    )
    rows = speed.counted(case, torch.device('cpu'))
    assert sum(work for work, _ in rows) == 2*case.batch*(4*sum(g) + 8*sum(d) - g[0] - 2*d[0])

def test_the_limit_of_a_step_is_that_of_its_operators():
    assert speed.limit_s([(100, 1), (1, 50)], 10., 5.) == 100/10 + 50/5

def test_fewer_launches_with_every_rung(case):
    n = {
        make: speed.n_launches(make(case, 'cpu'), 'cpu')
        for make in (Textbook, speed.OnDevice, speed.NoWaiting, speed.Fused)
    }
    assert n[Textbook] > n[speed.OnDevice] > n[speed.NoWaiting] > n[speed.Fused] > 50


# The rungs do the same

def test_the_first_rungs_end_at_the_same_weights(case):
    ends = []
    for make in (speed.OnDevice, speed.NoWaiting, speed.Fused):
        rung = make(case, 'cpu')
        torch.manual_seed(1)
        rung.run(3)
        ends.append(torch.cat([p.detach().flatten() for m in rung.nets for p in m.parameters()]))
    torch.testing.assert_close(ends[0], ends[1])
    torch.testing.assert_close(ends[0], ends[2], rtol=1e-3, atol=1e-5)

def test_every_rung_of_a_processor_runs(case):
    for name, make in speed.rungs('cpu', case, slow=False):
        if name == 'compiled': continue  # wants a C++ compiler
        rung = make(case, 'cpu')
        rung.run(2)
        assert all(p.isfinite().all() for m in rung.nets for p in m.parameters()), name

def test_a_gpu_has_more_rungs_and_larger_batches(case):
    few, many = ([n for n, _ in speed.rungs(kind, case, False)] for kind in ('cpu', 'cuda'))
    assert {*many} - {*few} == {'recorded', 'all of these'}
    assert [c.batch for c in speed.cases('cuda')] == [64, 64, 64, 128, 1024] and [
        c.gain for c in speed.cases('cuda')
    ] == [0., 20., 10., 3., 3.]
    assert 'bfloat16' not in [n for n, _ in speed.rungs('cpu', speed.Case('DCGAN 32', *[None]*4), slow=True)]
    assert speed.absent('cuda', False) == [] and any(
        'CUDA graph' in line for line in speed.absent('cpu', False)
    )


# Targets

def board(gain):
    return {
        c.name: dict(
            rungs=dict(
                textbook=dict(over_textbook=dict(median=1.)), recorded=dict(over_textbook=dict(median=gain))
            )
        )
        for c in speed.cases('cuda')
    }

@pytest.mark.parametrize(
    'gain,names',
    [
        (25., []), (15., ['MLP']), (5., ['MLP', 'DCGAN 32']),
        (2., ['MLP', 'DCGAN 32', 'DCGAN 64', 'DCGAN 64, batch 1024']),
    ],
)
def test_missed_targets_are_seen(gain, names):
    assert [f.split(':')[0] for f in speed.missed(board(gain), list(speed.cases('cuda')), 'cuda')] == names
    assert speed.missed(board(gain), list(speed.cases('cuda')), 'cpu') == []  # a processor has none

@pytest.mark.parametrize('kind', json.loads((root/'results'/'bench_speed.json').read_text(encoding='utf-8')))
def test_what_is_stored_is_whole(kind):
    entry = json.loads((root/'results'/'bench_speed.json').read_text(encoding='utf-8'))[kind]
    assert entry['targets_missed'] == [] and set(entry['order']) == set(entry['rows']) == {
        c.name for c in speed.cases(kind) if c.batch
    }
    for row in entry['rows'].values():
        assert (
            row['order'][0] == 'textbook'
            and set(row['order']) == set(row['rungs'])
            and row['launches']['textbook'] > row['launches']['fused optimiser']
        )
        assert all(
            r['over_textbook']['low'] <= r['over_textbook']['median'] <= r['over_textbook']['high']
            and 0 < r['share'] < 2
            for r in row['rungs'].values()
        )


# A run

def test_a_tiny_run(tmp_path, monkeypatch, capsys):
    words = [
        '--device', 'cpu', '--only', 'small MLP', '--rung', 'loop', '--repeats', '2', '--seconds', '.01',
        '--check', '--out', str(tmp_path/'o.json'),
    ]
    monkeypatch.setattr(sys, 'argv', ['speed.py', *words])
    assert speed.main() == 0
    out = capsys.readouterr().out
    assert 'left out: recorded: a CUDA graph wants a GPU' in out and 'x textbook' in out
    row = json.loads((tmp_path/'o.json').read_text())['cpu']['rows']['small MLP']
    assert row['order'] == ['textbook', 'our loop'] and row['rungs']['our loop']['images_per_s'] > 0

def test_wrong_words_are_refused(capsys, monkeypatch):
    for words, part in (
        (['--only', 'x'], 'the names are small MLP, MLP'), (['--repeats', '1'], 'at least 2'),
    ):
        monkeypatch.setattr(sys, 'argv', ['speed.py', '--device', 'cpu', *words])
        with pytest.raises(SystemExit): speed.main()
        assert part in capsys.readouterr().err


# On a GPU

@pytest.mark.gpu
def test_every_rung_of_a_gpu_runs(case):
    for name, make in speed.rungs('cuda', case, slow=False):
        if name in ('compiled', 'all of these'): continue  # a minute each
        rung = make(case, torch.device('cuda'))
        rung.run(8)
        assert all(p.isfinite().all() for m in rung.nets for p in m.parameters()), name

@pytest.mark.gpu
def test_data_that_stay_with_the_host_are_drawn_by_the_plain_loop(case, monkeypatch):
    from ganbook.capture import Captured
    from ganbook.losses import non_saturating
    from ganbook.train import fit, new_state
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device=None: (1, 1))  # nothing fits
    monkeypatch.setattr(Captured, 'record', lambda self: 1/0)
    s = fit(new_state(*(m.cuda() for m in case.make())), case.data, 6, non_saturating)
    assert s.step == 6 and s.log.rows().isfinite().all()
    with pytest.raises(ValueError, match='leave capture out'):
        fit(s, case.data, 9, non_saturating, capture=True)
