"The samples are measured as a run goes on, and its best state survives what comes after."
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from commands import ok, working_in
from ganbook import launch
from ganbook.best import KeepBest, read_curve, write_curve
from ganbook.checkpoints import read, read_settings
from ganbook.cli import main
from ganbook.data import ring
from ganbook.files import Files
from ganbook.recipes import build
from ganbook.runs import Run, chosen
from ganbook.train import fit

torch.set_num_threads(1)
words = ['train', 'points', '--n-steps', '60', '--batch-size', '16', '--every', '30', '--metric-every', '10',
    '--quiet']


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "A run that nobody interrupted."
    home = tmp_path_factory.mktemp('best')
    with working_in(home): ok(*words, '--out', 'whole')
    return home/'whole'


def test_best_is_the_best_of_the_curve(whole, here, capsys):
    files = Files(whole)
    curve = read_curve(files.metric)
    assert list(curve) == [10, 20, 30, 40, 50, 60] and all(0 < d < 9 for d in curve.values())
    best = read_settings(files.best)['best']
    assert best['step'] == min(curve, key=curve.get) == read(files.best)['step']
    assert abs(best['distance'] - min(curve.values())) < 1e-8
    assert Run.read(whole).options['metric_every'] == 10
    assert Image.open(files.curves).height > 0 and len(list(whole.glob('events.out*'))) == 1
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    points = EventAccumulator(str(whole)).Reload().Scalars('distance')
    assert [p.step for p in points] == list(curve)
    assert main(['info', str(whole)]) == 0 and 'best.pt' in capsys.readouterr().out


def test_looking_changes_nothing(whole, here):
    assert main([w for w in words if w not in ('--metric-every', '10')] + ['--out', 'plain']) == 0
    assert Path('plain/log.csv').read_bytes() == (whole/'log.csv').read_bytes()
    assert not Files('plain').best.exists() and not Files('plain').metric.exists()
    assert 'metric_every' not in Run.read('plain').options


def test_a_checkpoint_by_its_name(whole, here, capsys):
    best = read(Files(whole).best)['step']
    drawn = {}
    for name in ('best', '30', '60'):
        assert main(['sample', str(whole), '--checkpoint', name, '--n', '5', '--out', 'a.npy']) == 0
        drawn[name] = np.load('a.npy')
    assert (drawn['30'] != drawn['60']).any() and best % 10 == 0
    assert main(['evaluate', str(whole), '--checkpoint', 'best', '--n', '100']) == 0
    assert json.loads((whole/'evaluation.json').read_text())['step'] == best
    assert chosen(str(whole)) == whole and chosen(str(whole), 'best') == Files(whole).best
    capsys.readouterr()
    for command in ('sample', 'evaluate'):
        assert main([command, str(whole), '--checkpoint', '31']) == 2
        assert 'has no checkpoint called 31: take one of 30, 60, best' in capsys.readouterr().err
        assert main([command, str(Files(whole).best), '--checkpoint', 'best']) == 2
        assert 'give the folder of a run, or leave --checkpoint out' in capsys.readouterr().err
    assert main(['train', 'points', '--metric-every', '0']) == 2
    assert '--metric-every is 0: it must be at least 1' in capsys.readouterr().err


def test_what_collapses_later_leaves_its_best(here, monkeypatch):
    def broken(s, **a):
        def spoil(s):
            if s.step == 25:
                for p in s.G.parameters(): p.data.mul_(0)  # one point for every latent
                if s.G_ema is not None: s.G_ema.load_state_dict(s.G.state_dict())
            if s.step > 25:
                for group in s.opt_G.param_groups: group['initial_lr'] = 0.
        return fit(s, **a | dict(callbacks=[spoil, *a['callbacks']]))
    monkeypatch.setattr(launch, 'fit', broken)
    assert main([*words, '--out', 'a']) == 0
    curve = read_curve(Files('a').metric)
    best = read_settings(Files('a').best)['best']
    assert best['step'] in (10, 20) and curve[60] > best['distance'] == pytest.approx(min(curve.values()))
    G = read(Files('a').best)['parts']['G']
    assert any(v.abs().max() > 0 for v in G.values() if v.is_floating_point())


def test_numbers_that_are_none_are_never_best(here):
    files = Files(here/'a')
    s, arguments = build('points', ring(100), 0, 'cpu')
    values = iter([2., math.inf, math.nan, 1., 3.])
    keep = KeepBest(lambda s: next(values), 1, files)
    fit(s, **arguments | dict(n_steps=5, batch_size=4, callbacks=[keep]))
    assert read_settings(files.best)['best'] == dict(step=4, distance=1.)
    curve = read_curve(files.metric)
    assert curve[2] == math.inf and math.isnan(curve[3]) and len(curve) == 5


def test_resumed_it_keeps_its_curve_and_its_best(whole, here):
    assert main([*[w if w != '60' else '30' for w in words], '--out', 'a']) == 0
    first = read_curve(Files('a').metric)
    kept = read_settings(Files('a').best)['best']
    write_curve(first | {40: .001}, Files('a').metric)  # of a time that the run has not reached
    assert main(['resume', 'a', '--n-steps', '45', '--quiet']) == 0
    curve = read_curve(Files('a').metric)
    assert {k: curve[k] for k in first} == first and list(curve) == [10, 20, 30, 40, 45]
    assert curve[40] > .001
    best = read_settings(Files('a').best)['best']
    assert best['distance'] <= kept['distance'] and best['step'] == min(curve, key=curve.get)
    assert main(['resume', 'a', '--n-steps', '50', '--metric-every', '5', '--quiet']) == 0
    assert 50 in read_curve(Files('a').metric) and Run.read('a').options['metric_every'] == 5
    assert main(['train', '--config', 'a', '--n-steps', '5', '--quiet', '--out', 'b']) == 0
    assert list(read_curve(Files('b').metric)) == [5]


def test_a_damaged_best_or_curve_is_said(whole, here, capsys):
    import shutil
    shutil.copytree(whole, 'a')
    Files('a').best.write_bytes(b'half')
    assert main(['resume', 'a', '--n-steps', '70', '--quiet']) == 0
    assert 'best.pt is damaged' in capsys.readouterr().err
    assert read_settings(Files('a').best)['best']['step'] == 70
    Files('a').metric.write_text('step,distance\nx\n')
    assert main(['resume', 'a', '--n-steps', '80', '--quiet']) == 2
    assert 'metric.csv is damaged: remove it' in capsys.readouterr().err


def test_killed_it_loses_neither_best_nor_curve(whole, here):
    "Killed between best.pt and the table, a run ends with the curve and the best of an unbroken one."
    listen = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)'
    slow = 'import time, ganbook.best; ganbook.best.write_curve = lambda *a: time.sleep(60)'
    run = 'import sys; from ganbook.cli import main; sys.exit(main())'
    env = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1]), OMP_NUM_THREADS='1')
    code = [sys.executable, '-c', f'{listen}; {slow}; {run}']
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process = subprocess.Popen([*code, *words, '--out', 'a'], env=env, **quiet)
    end = time.monotonic() + 120
    while not Files('a').best.exists() and process.poll() is None and time.monotonic() < end: time.sleep(.01)
    process.kill()  # best.pt is there, its line in the table is not
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = read_settings(Files('a').best)['best']
    assert kept['step'] not in read_curve(Files('a').metric)
    assert main(['resume', 'a', '--quiet']) == 0
    assert read_curve(Files('a').metric) == read_curve(Files(whole).metric)
    assert read_settings(Files('a').best) == read_settings(Files(whole).best)
    assert Path('a/log.csv').read_bytes() == (whole/'log.csv').read_bytes()


def test_images_and_classes_are_measured(here):
    short = ['--n-steps', '4', '--batch-size', '4', '--metric-every', '2', '--quiet']
    assert main(['train', '--classes', *short, '--out', 'a']) == 0
    assert list(read_curve(Files('a').metric)) == [2, 4]
