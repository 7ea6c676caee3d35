"The command `ganbook`: what it leaves, what it says, and what survives a kill."
import importlib.util
import inspect
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
import numpy as np
import pytest
import torch
from fastcore.docments import docments
from PIL import Image
from ganbook import __version__, cli, export, launch, shelf
from ganbook.callbacks import latest
from ganbook.checkpoints import read
from ganbook.cli import main
from ganbook.scale import check, exercises, solved

# a shell in the background has it ignored
listen = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)'
command = [sys.executable, '-c', f'{listen}; import sys; from ganbook.cli import main; sys.exit(main())']
env = dict(
    os.environ, OMP_NUM_THREADS='1', MPLBACKEND='agg', GANBOOK_DEVICE='cpu',
    PYTHONPATH=str(Path(__file__).parents[1]),
)
short = ['--n-steps', '120', '--every', '40', '--keep', '2', '--batch-size', '32']


def start(*words, cwd):
    return subprocess.Popen(
        [*command, *words], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def done(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out.splitlines(), err


def wait_for(folder, step, process, timeout=60):
    "Until a checkpoint of at least `step` is there."
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        if any(int(p.stem[5:]) >= step for p in Path(folder).glob('checkpoints/step_*.pt')): return
        time.sleep(.005)
    raise AssertionError(f'no checkpoint in time: {process.communicate()}')


def tensors(x, name=''):
    "Every tensor and number of a checkpoint by its place."
    if isinstance(x, dict): return {k: v for n, y in x.items() for k, v in tensors(y, f'{name}.{n}').items()}
    if isinstance(x, (list, tuple)): return tensors(dict(enumerate(x)), name)
    return {name: x}


def same_checkpoint(a, b):
    a, b = tensors(read(a)), tensors(read(b))
    assert a.keys() == b.keys()
    for k, v in a.items():
        assert torch.equal(v, b[k]) if isinstance(v, torch.Tensor) else v == b[k], k
    return True


def run_json(folder): return json.loads((Path(folder)/'run.json').read_text())


@pytest.fixture(scope='module')
def home(tmp_path_factory): return tmp_path_factory.mktemp('home')


@pytest.fixture(scope='module')
def whole(home):
    "A run that nobody interrupted."
    out = io.StringIO()
    err = io.StringIO()
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as m, redirect_stdout(out), redirect_stderr(err):
        m.setenv('GANBOOK_DEVICE', 'cpu'), m.chdir(home)
        assert main(['train', 'points', *short, '--out', 'whole']) == 0
    assert os.getcwd() == before
    return home/'whole', out.getvalue().splitlines(), err.getvalue()


# what a run leaves

def test_the_last_line_is_the_path_of_the_samples(whole, home):
    folder, out, err = whole
    assert out[-1] == 'whole/samples.png' and (home/out[-1]).is_file()
    assert '120/120' in err and 'points/s' in err and 'loss_D' in err


def test_all_files_are_there_and_whole(whole):
    folder = whole[0]
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith(('events', '.')))
    assert names == ['checkpoints', 'curves.png', 'log.csv', 'run.json', 'samples.png']
    assert len(list(folder.glob('events.out.tfevents*'))) == 1 and not list(folder.rglob('*.part'))
    assert sorted(p.name for p in (folder/'checkpoints').iterdir()) == [
        'step_00000080.pt', 'step_00000120.pt',
    ]
    for name in ('samples.png', 'curves.png'): Image.open(folder/name).load()
    table = np.genfromtxt(folder/'log.csv', delimiter=',', names=True)
    assert table.dtype.names == ('step', 'loss_D', 'real_logit', 'fake_logit', 'penalty', 'loss_G') and table[
        'step'
    ].tolist() == list(range(1, 121))


def test_run_json_has_every_setting_and_version(whole):
    run = run_json(whole[0])
    assert run['status'] == 'finished' and run['step'] == 120 and run['seconds'] > 0 and run['error'] is None
    assert (
        set(run['versions']) == {'ganbook', 'python', 'torch', 'numpy'}
        and run['device'] == 'cpu'
        and run['threads'] == 1
    )
    assert (
        run['settings']['recipe']['n_steps'] == 120
        and run['settings']['seed'] == 0
        and run['settings']['source']['name'] == 'ring'
    )
    assert read(latest(whole[0]/'checkpoints'))['settings'] == run['settings']


# stopping and going on

def test_killed_in_mid_run_and_resumed_to_the_same_bits(whole, home, monkeypatch, capsys):
    process = start('train', 'points', *short, '--out', 'killed', cwd=home)
    wait_for(home/'killed', 40, process)
    process.kill()
    process.communicate()
    left = run_json(home/'killed')
    assert process.returncode == -signal.SIGKILL and left['status'] == 'running'
    reached = int(latest(home/'killed'/'checkpoints').stem[5:])
    assert 40 <= reached < 120
    for p in (home/'killed').rglob('*'):
        if p.suffix == '.pt': read(p)
        if p.suffix == '.png': Image.open(p).load()
    monkeypatch.chdir(home)
    monkeypatch.setenv('GANBOOK_DEVICE', 'cpu')
    assert main(['train', 'points', '--resume', '--out', 'killed', '--every', '40', '--keep', '2']) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == 'killed/samples.png' and f'steps {reached} to 120' in out[0]
    for step in ('step_00000080.pt', 'step_00000120.pt'):
        assert same_checkpoint(home/'killed'/'checkpoints'/step, whole[0]/'checkpoints'/step)
    assert (home/'killed'/'log.csv').read_bytes() == (whole[0]/'log.csv').read_bytes()
    assert (home/'killed'/'samples.png').read_bytes() == (whole[0]/'samples.png').read_bytes()
    assert not list((home/'killed').rglob('*.part'))


def stopped_and_gone_on(folder, code, err, whole):
    run = run_json(folder)
    assert code == 130 and run['status'] == 'interrupted' and 40 <= run['step'] < 120
    assert f'stopped at step {run["step"]} of 120' in err and 'Traceback' not in err
    assert int(latest(folder/'checkpoints').stem[5:]) == run['step']
    words = err.split('go on with: ganbook ')[1].split()
    assert words == ['resume', folder.name]
    assert main([*words, '--quiet', '--every', '40']) == 0
    assert same_checkpoint(latest(folder/'checkpoints'), whole[0]/'checkpoints'/'step_00000120.pt')
    assert run_json(folder)['status'] == 'finished' and run_json(folder)['seconds'] > run['seconds']


def test_ctrl_c_saves_and_says_how_to_go_on(whole, here):
    process = start('train', 'points', *short, '--out', 'a', cwd=here)
    wait_for(here/'a', 40, process)
    process.send_signal(signal.SIGINT)
    code, out, err = done(process)
    stopped_and_gone_on(here/'a', code, err, whole)


@pytest.mark.parametrize('kind', [name for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name)])
def test_sigterm_and_a_lost_connection_stop_a_run_as_ctrl_c_does(kind, here, capsys):
    kind = getattr(signal, kind)
    # nohup ignores SIGHUP
    heard = {
        k: signal.signal(k, h)
        for k, h in ((signal.SIGINT, signal.default_int_handler), (kind, signal.SIG_DFL))
    }
    def stop():
        while not list(here.glob('a/checkpoints/step_*.pt')): time.sleep(.005)
        os.kill(os.getpid(), kind)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(kind)
    threading.Thread(target=stop, daemon=True).start()
    assert (
        main(
            [
                'train', 'points', '--n-steps', '5000', '--every', '5', '--batch-size', '8', '--out', 'a',
                '--quiet',
            ]
        )
        == 130
    )
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(kind))
    for k, h in heard.items(): signal.signal(k, h)
    run = run_json('a')
    assert (
        run['status'] == 'interrupted'
        and 5 <= run['step'] < 5000
        and int(latest('a/checkpoints').stem[5:]) == run['step']
    )
    assert f'stopped at step {run["step"]} of 5,000' in capsys.readouterr().err


def test_a_damaged_newest_checkpoint_costs_only_its_steps(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    newest = here/'copy'/'checkpoints'/'step_00000120.pt'
    newest.write_bytes(newest.read_bytes()[:5000])
    assert main(['train', 'points', '--resume', '--out', 'copy', '--every', '40']) == 0
    out, err = capsys.readouterr()
    assert 'step_00000120.pt is damaged' in err and 'steps 80 to 120' in out and 'Warning' not in err
    assert same_checkpoint(newest, whole[0]/'checkpoints'/'step_00000120.pt')


def test_a_finished_run_says_so_and_can_be_prolonged(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    assert main(['train', 'points', '--resume', '--out', 'copy']) == 0
    out, _ = capsys.readouterr()
    assert 'has done its 120 steps' in out and out.splitlines()[-1] == 'copy/samples.png'
    assert same_checkpoint(latest('copy/checkpoints'), whole[0]/'checkpoints'/'step_00000120.pt')
    assert main(['train', 'points', '--resume', '--out', 'copy', '--n-steps', '130']) == 0
    assert latest('copy/checkpoints').name == 'step_00000130.pt' and run_json('copy')['n_steps'] == 130
    assert len(Path('copy/log.csv').read_text().splitlines()) == 131


def test_a_second_run_overwrites_nothing(here, capsys):
    for want in ('points-ring', 'points-ring-2'):
        assert main(['train', 'points', '--n-steps', '3', '--quiet']) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == f'runs/{want}/samples.png' and err == ''
    assert main(['train', 'points', '--n-steps', '5', '--resume', '--quiet']) == 0
    assert [run_json(f'runs/points-ring{end}')['step'] for end in ('', '-2')] == [3, 5]


def test_two_processes_do_not_share_a_folder(here, capsys):
    fcntl = pytest.importorskip('fcntl')
    assert main(['train', 'points', '--n-steps', '3', '--quiet', '--out', 'a']) == 0
    with open('a/.lock', 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert main(['train', 'points', '--n-steps', '5', '--quiet', '--out', 'a', '--resume']) == 2
    assert 'another process is training in a' in capsys.readouterr().err


def test_a_run_killed_before_its_first_checkpoint_begins_again(here, capsys):
    assert main(['train', 'points', '--n-steps', '3', '--quiet', '--out', 'a', '--seed', '4']) == 0
    first = Path('a/log.csv').read_bytes()
    shutil.rmtree('a/checkpoints')
    assert main(['train', 'points', '--quiet', '--out', 'a', '--resume']) == 0
    assert Path('a/log.csv').read_bytes() == first and 'steps 0 to 3' in capsys.readouterr().out


# own images

@pytest.fixture
def photos(here):
    rng = np.random.default_rng(0)
    (here/'My photos').mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)).save(
            here/'My photos'/f'{i}.png'
        )
    (here/'My photos'/'broken.jpg').write_bytes(b'\xff\xd8 not a picture')
    return here/'My photos'


@pytest.mark.parametrize('grey', [False, True])
def test_a_folder_of_images_one_of_them_broken(photos, capsys, grey):
    words = [
        'train', 'mlp', '--data', 'My photos', '--size', '12', '--n-steps', '5', '--batch-size', '4', '--lr',
        '1e-4', *(['--grey'] if grey else []),
    ]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert (
        out.splitlines()[-1] == 'runs/mlp-My_photos/samples.png'
        and 'broken.jpg' in err
        and 'Warning' not in err
    )
    settings = run_json('runs/mlp-My_photos')['settings']
    assert settings['data']['shape'] == [1 if grey else 3, 12, 12] and settings['data']['n'] == 12
    assert (settings['recipe']['batch_size'], settings['recipe']['lr']) == (4, 1e-4)
    shutil.rmtree(photos)  # drawing needs no data
    assert main(['sample', 'runs/mlp-My_photos', '--n', '5', '--out', 'a.npy']) == 0
    assert np.load('a.npy').shape == (5, 1 if grey else 3, 12, 12)


def test_only_the_name_of_a_folder_is_needed(here, capsys):
    rng = np.random.default_rng(0)
    (here/'photos').mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (30 + i, 90 - i, 3), dtype=np.uint8)).save(
            here/'photos'/f'{i}.jpg'
        )
    assert main(['train', '--data', 'photos', '--n-steps', '1', '--batch-size', '2', '--quiet']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'runs/pictures64-photos/samples.png'
    settings = run_json('runs/pictures64-photos')['settings']
    assert settings['recipe']['name'] == 'pictures64' and settings['data']['shape'] == [3, 64, 64]
    assert Image.open('runs/pictures64-photos/samples.png').mode == 'RGB'


def test_the_recipe_follows_the_data_and_the_run(here, capsys):
    assert (
        main(['train', '--data', 'ring', '--n-steps', '2', '--quiet']) == 0
        and Path('runs/points-ring').is_dir()
    )
    assert (
        main(['train', '--n-steps', '1', '--batch-size', '8', '--quiet']) == 0
        and Path('runs/stable-digits').is_dir()
    )
    assert main(['train', 'mlp', '--n-steps', '1', '--batch-size', '4', '--quiet', '--out', 'w']) == 0
    assert main(['train', '--resume', '--out', 'w', '--n-steps', '2', '--quiet']) == 0
    assert run_json('w')['settings']['recipe']['name'] == 'mlp' and run_json('w')['step'] == 2
    assert main(['train', '--resume', '--out', 'nowhere']) == 2


def test_the_first_pictures_come_early(here, monkeypatch):
    seen = []
    monkeypatch.setattr('ganbook.callbacks.save_samples', lambda data, x, path, *_: seen.append(path))
    assert max(launch.early) <= 500
    monkeypatch.setattr(launch, 'early', (20, 500))
    assert main(['train', '--data', 'ring', '--n-steps', '25', '--batch-size', '4', '--quiet']) == 0
    assert len(seen) == 2  # after 20 steps, and at the end


def test_images_that_changed_are_told_and_the_run_goes_on(photos, capsys):
    assert (
        main(
            [
                'train', 'mlp', '--data', 'My photos', '--size', '8', '--n-steps', '3', '--quiet', '--out',
                'run',
            ]
        )
        == 0
    )
    began = run_json('run')['settings']['data']
    for change, said, step in (
        (lambda: (photos/'0.png').unlink(), '12 samples then, 11 now', 4),
        (lambda: shutil.copy(photos/'2.png', photos/'1.png'), 'as many samples, but not the same', 5),
    ):
        change()
        capsys.readouterr()
        assert main(['evaluate', 'run']) == 2  # too few, but that is said after
        assert main(['doctor', 'run']) == 0
        assert main(['resume', 'run', '--n-steps', str(step), '--quiet']) == 0
        err = capsys.readouterr().err
        assert err.count(f'has changed since the run began ({said})') == 3
        assert main(['resume', 'run', '--n-steps', str(step), '--quiet']) == 0
        assert 'has changed' not in capsys.readouterr().err  # said once, and written down
    run = run_json('run')
    assert run['settings']['data']['n'] == 11 and [e['n'] for e in run['earlier_data']] == [12, 11]
    assert (
        run['earlier_data'][0]['fingerprint'] == began['fingerprint']
        and run['earlier_data'][0]['until_step'] == 3
    )


def test_images_that_moved_are_found_again(photos, capsys):
    assert (
        main(
            [
                'train', 'mlp', '--data', 'My photos', '--size', '8', '--n-steps', '3', '--quiet', '--out',
                'run',
            ]
        )
        == 0
    )
    photos.rename('moved')
    capsys.readouterr()
    for words in (['resume', 'run', '--n-steps', '4'], ['evaluate', 'run']):
        assert main(words) == 2
        assert (
            'is not there: say with --data where it is now'
            in capsys.readouterr().err
        )
    assert (
        main(['resume', 'run', '--n-steps', '4', '--data', 'digits']) == 2
        and 'the run has data' in capsys.readouterr().err
    )
    assert (
        main(['resume', 'run', '--n-steps', '4', '--data', 'nowhere']) == 2
        and 'nowhere is no folder' in capsys.readouterr().err
    )
    assert main(['doctor', 'run', '--data', 'moved']) == 0
    assert main(['resume', 'run', '--n-steps', '4', '--quiet', '--data', 'moved']) == 0
    assert main(['resume', 'run', '--n-steps', '5', '--quiet']) == 0  # now it knows
    assert 'changed' not in capsys.readouterr().err
    assert run_json('run')['settings']['source']['name'] == str(Path('moved').resolve())


def test_a_run_of_before_the_fingerprint_still_opens(photos, capsys):
    assert (
        main(
            [
                'train', 'mlp', '--data', 'My photos', '--size', '8', '--n-steps', '3', '--quiet', '--out',
                'run',
            ]
        )
        == 0
    )
    run = run_json('run')
    del run['settings']['data']['fingerprint'], run['options']
    Path('run/run.json').write_text(json.dumps(run))
    capsys.readouterr()
    assert main(['resume', 'run', '--n-steps', '4', '--quiet']) == 0
    assert 'changed' not in capsys.readouterr().err and run_json('run')['options']['keep'] == 3


@pytest.mark.parametrize(
    'words',
    [['--data', '.'], ['--data', '.', '--out', 'run'], ['--data', '.', '--out', '../My photos/a/run']],
)
def test_a_run_among_its_own_images_is_refused(words, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    before = sorted(photos.rglob('*'))
    assert main(['train', 'mlp', '--size', '8', '--n-steps', '3', '--quiet', *words]) == 2
    err = capsys.readouterr().err
    assert (
        'would be read as data' in err
        and '--out' in err
        and err.count('\n') == 1
        and sorted(photos.rglob('*')) == before
    )
    assert (
        main(['train', 'mlp', '--size', '8', '--n-steps', '3', '--quiet', '--data', '.', '--out', '../run'])
        == 0
    )
    assert main(['sample', '../run', '--out', 'drawn.png']) == 2 and not Path('drawn.png').exists()


def test_a_run_that_lies_among_its_images_can_still_be_opened(photos, capsys):
    assert (
        main(
            [
                'train', 'mlp', '--data', 'My photos', '--size', '8', '--n-steps', '3', '--quiet', '--out',
                'run',
            ]
        )
        == 0
    )
    shutil.move('run', photos/'run')  # as runs of before lay
    assert main(['resume', 'My photos/run', '--n-steps', '4', '--quiet']) == 0
    assert main(['doctor', 'My photos/run']) == 0 and main(['evaluate', 'My photos/run']) in (0, 2)


def test_a_folder_called_like_a_set_is_told(here, capsys):
    (here/'digits').mkdir()
    assert main(['train', 'mlp', '--data', 'digits', '--n-steps', '1', '--quiet', '--out', 'run']) == 0
    assert 'the folder here is meant by --data ./digits' in capsys.readouterr().err
    assert (
        main(['train', 'mlp', '--data', './digits', '--n-steps', '1', '--out', 'run2']) == 2
        and 'holds no image' in capsys.readouterr().err
    )


def test_an_archive_is_one_sentence(here, capsys):
    (here/'z.zip').write_bytes(b'PK')
    assert main(['train', '--data', 'z.zip']) == 2
    err = capsys.readouterr().err
    assert 'z.zip is' in err and err.count('\n') == 1 and not Path('runs').exists()


# what a run keeps, and repeats

def test_a_resumed_run_keeps_its_options(here, capsys):
    words = ['train', 'points', '--n-steps', '8', '--batch-size', '4', '--quiet', '--out', 'a']
    assert main([*words, '--every', '1', '--keep', '20', '--log-interval', '2', '--threads', '1']) == 0
    assert main(['resume', 'a', '--n-steps', '10', '--quiet']) == 0
    assert len(list(Path('a/checkpoints').iterdir())) == 10
    assert run_json('a')['options'] == dict(every=1, keep=20, log_interval=2, threads=1)
    assert main(['resume', 'a', '--n-steps', '11', '--quiet', '--keep', '2']) == 2
    assert 'keeps 20 checkpoints: that can be raised, not lowered' in capsys.readouterr().err
    assert main(['resume', 'a', '--n-steps', '11', '--quiet', '--keep', '30', '--every', '5']) == 0
    assert run_json('a')['options']['keep'] == 30 and run_json('a')['options']['every'] == 5
    old = run_json('a')
    del old['options']  # a run of before deletes none of those that are there
    Path('a/run.json').write_text(json.dumps(old))
    assert main(['resume', 'a', '--n-steps', '12', '--quiet']) == 0
    assert len(list(Path('a/checkpoints').iterdir())) == 11


def test_an_edited_run_json_is_refused_and_begins_another(here, capsys):
    assert (
        main(
            ['train', 'points', '--n-steps', '3', '--batch-size', '4', '--quiet', '--out', 'a', '--seed', '5']
        )
        == 0
    )
    run = run_json('a')
    run['settings']['recipe']['lr'] = .01
    Path('a/run.json').write_text(json.dumps(run))
    before = Path('a/log.csv').read_bytes()
    assert main(['resume', 'a', '--n-steps', '5', '--quiet']) == 2
    err = capsys.readouterr().err
    assert (
        'says recipe.lr 0.01, but the run was trained with 0.002' in err
        and 'ganbook train --config a/run.json' in err
    )
    assert Path('a/log.csv').read_bytes() == before
    assert main(['train', '--config', 'a/run.json', '--quiet', '--out', 'b']) == 0
    assert (
        run_json('b')['settings']['recipe']['lr'] == .01
        and run_json('b')['settings']['seed'] == 5
        and Path('b/log.csv').read_bytes() != before
    )


def test_config_repeats_a_run(whole, here, capsys):
    assert main(['train', '--config', str(whole[0]/'run.json'), '--quiet', '--out', 'again']) == 0
    assert Path('again/log.csv').read_bytes() == (whole[0]/'log.csv').read_bytes()
    first, again = run_json(whole[0]), run_json('again')
    assert (again['settings'], again['options']) == (first['settings'], first['options'])
    assert (
        main(
            ['train', '--config', str(whole[0]), '--quiet', '--out', 'other', '--seed', '1', '--n-steps', '2']
        )
        == 0
    )
    assert run_json('other')['settings']['seed'] == 1 and run_json('other')['n_steps'] == 2
    for words, said in (
        (['mlp'], 'has another recipe, points'), (['--resume'], 'leave one of the two out'),
    ):
        assert main(['train', *words, '--config', str(whole[0])]) == 2 and said in capsys.readouterr().err
    assert main(['train', '--config', 'nowhere.json']) == 2 and 'is not there' in capsys.readouterr().err


def test_info_tells_a_killed_run_from_one_that_goes_on(whole, here, capsys):
    fcntl = pytest.importorskip('fcntl')
    shutil.copytree(whole[0], here/'a')
    Path('a/run.json').write_text(json.dumps(run_json('a') | dict(status='running')))
    assert main(['info', 'a']) == 0 and 'killed: no process is training in it' in capsys.readouterr().out
    with open('a/.lock', 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert main(['info', 'a']) == 0 and 'status         running' in capsys.readouterr().out


# drawing and asking

def test_sample(whole, home, here, capsys):
    files = []
    for words in (['--seed', '1'], ['--seed', '1'], ['--seed', '2']):
        assert main(['sample', str(whole[0]), '--n', '100', '--out', f'{len(files)}.npy', *words]) == 0
        files.append(np.load(capsys.readouterr().out.splitlines()[-1]))
    assert files[0].shape == (100, 2) and (files[0] == files[1]).all() and (files[0] != files[2]).any()
    checkpoint = str(latest(whole[0]/'checkpoints'))
    assert main(['sample', checkpoint, '--n', '9', '--out', 'deep/a.png']) == 0
    assert Image.open('deep/a.png').size == (600, 600)
    assert main(['sample', str(whole[0])]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(whole[0]/'samples-64-0.png')


def test_info(whole, here, capsys):
    assert main(['info', str(whole[0])]) == 0
    out = capsys.readouterr().out
    for word in (
        'recipe         points', 'status         finished', '120 of 120', 'loss_D', 'step_00000120.pt',
        'torch',
    ):
        assert word in out
    assert main(['info']) == 0
    out = capsys.readouterr().out
    for word in ('ganbook', 'torch', 'device', 'recipe mlp', 'cache'): assert word in out


def test_doctor_prints_its_findings_and_draws_a_page(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    before = {p: p.read_bytes() for p in Path('copy').rglob('*') if p.is_file()}
    assert main(['doctor', 'copy', '--device', 'cpu']) == 0
    out, err = capsys.readouterr()
    assert err == '' and out.splitlines()[-1] == 'copy/doctor.png' and 'ALARM: divergence' not in out
    page = Image.open('copy/doctor.png')
    page.load()
    assert page.width == 800 and page.height > 500
    assert {p: p.read_bytes() for p in before} == before and not list(here.rglob('*.part'))


def test_doctor_of_a_short_run_says_that_it_is_too_early(here, capsys):
    assert main(['train', 'mlp', '--n-steps', '20', '--quiet', '--out', 'a']) == 0
    capsys.readouterr()
    assert main(['doctor', 'a']) == 0
    assert capsys.readouterr().out.startswith('1. NOTE: too few steps')


def test_doctor_finds_nan_from_the_log_alone_and_an_alarm_is_no_error(here, capsys):
    assert (
        main(
            ['train', 'points', '--lr', '1e30', '--n-steps', '60', '--every', '5', '--quiet', '--out', 'nan']
        )
        == 2
    )
    assert not latest('nan/checkpoints')
    capsys.readouterr()
    assert main(['doctor', 'nan']) == 0
    out, err = capsys.readouterr()
    assert (
        out.startswith('1. ALARM: divergence')
        and 'at step 1' in out
        and err == ''
        and Path('nan/doctor.png').is_file()
    )


def test_doctor_reads_on_where_the_checkpoints_end(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    lines = Path('copy/log.csv').read_text().splitlines()
    Path('copy/log.csv').write_text('\n'.join([*lines, '121,nan,nan,nan,nan,nan']) + '\n')
    assert main(['doctor', 'copy']) == 0
    assert 'came at step 121' in capsys.readouterr().out


@pytest.mark.parametrize(
    'content', ['', 'step\n1\n', 'step,loss_D\n1,2\n2', 'step,loss_D\n1,oops\n', '\0\xff\n']
)
def test_doctor_refuses_a_damaged_log_in_one_sentence(content, whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    Path('copy/log.csv').write_text(content)
    assert main(['doctor', 'copy']) == 2
    out, err = capsys.readouterr()
    assert out == '' and 'log.csv is' in err and 'remove it' in err and err.count('\n') == 1
    if content: return
    Path('copy/log.csv').unlink()
    assert main(['doctor', 'copy']) == 0


def test_doctor_does_without_images_that_are_gone(photos, here, capsys):
    assert (
        main(
            [
                'train', 'mlp', '--data', str(photos), '--size', '8', '--grey', '--n-steps', '3', '--quiet',
                '--out', 'run',
            ]
        )
        == 0
    )
    shutil.move(photos, here/'elsewhere')
    capsys.readouterr()
    assert main(['doctor', 'run']) == 0
    assert 'its data are gone' in capsys.readouterr().out


def test_a_size_that_the_networks_refuse_leaves_no_folder(photos, here, capsys):
    assert main(['train', 'dcgan', '--data', str(photos), '--size', '7', '--out', 'run']) == 2
    assert 'from 8 to 256' in capsys.readouterr().err and not Path('run').exists()


def test_doctor_wants_a_checkpoint_or_a_log(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    shutil.rmtree('copy/checkpoints'), Path('copy/log.csv').unlink()
    assert main(['doctor', 'copy']) == 2
    out, err = capsys.readouterr()
    assert out == '' and 'a checkpoint or a log in copy is not there' in err and err.count('\n') == 1


def test_help_is_quick_and_lists_everything():
    code = 'import sys; from ganbook.cli import main; main(["--help"]); assert "torch" not in sys.modules'
    out = subprocess.run(
        [sys.executable, '-c', code], env=env, text=True, capture_output=True, check=True
    ).stdout
    for word in ('train', 'sample', 'info', 'doctor', 'runs/stable-digits'): assert word in out


def test_help_of_a_command_lists_options_recipes_and_data(capsys):
    assert main(['train', '--help']) == 0
    out = ' '.join(capsys.readouterr().out.split())
    for word in (
        '--n-steps', '--batch-size', 'mlp_textbook', 'two_moons', '(default: 1000)', 'learning rate',
    ):
        assert word in out
    assert main([]) == 0 and main(['--version']) == 0 and main(['sample', '--help']) == 0


# measuring and comparing

def test_evaluate_measures_points_against_themselves(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    assert main(['evaluate', 'copy', '--n', '400']) == 0
    out, err = capsys.readouterr()
    assert (
        err == ''
        and out.splitlines()[-1] == 'copy/evaluation.json'
        and '400 samples' in out
        and 'step 120' in out
    )
    first = json.loads(Path('copy/evaluation.json').read_text())
    assert (
        list(first['measures'])
        == list(first['of_real'])
        == ['modes', 'hq', 'rkl', 'js', 'precision', 'recall', 'density', 'coverage']
    )
    # too few steps to be good
    assert first['of_real']['modes'] <= 8 and first['of_real']['hq'] > .95 > first['measures']['hq']
    # a checkpoint by its name; and the same again
    assert main(['evaluate', str(latest('copy/checkpoints')), '--n', '400']) == 0
    assert json.loads(Path('copy/evaluation.json').read_text()) == first
    assert main(['evaluate', 'copy', '--n', '400', '--features', 'pixels']) == 2
    assert 'leave --features out' in capsys.readouterr().err


def test_evaluate_says_which_features_it_takes(here, capsys):
    rng = np.random.default_rng(0)
    (here/'photos').mkdir()
    for i in range(24):
        Image.fromarray(rng.integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(here/'photos'/f'{i}.png')
    for words, said in (
        (['--data', 'digits'], "yardstick 'digits'"),
        (['--data', 'photos', '--size', '12'], 'pixels averaged down to 8x8'),
    ):
        assert (
            main(
                [
                    'train', 'mlp', *words, '--n-steps', '1', '--batch-size', '4', '--quiet', '--out',
                    words[1] + '1',
                ]
            )
            == 0
        )
        assert main(['evaluate', words[1] + '1', '--n', '60']) == 0
        assert said in capsys.readouterr().out
        found = json.loads(Path(words[1] + '1/evaluation.json').read_text())
        assert {'distance', 'coverage', 'nearest', 'copies'} <= found['measures'].keys() and (
            'classes' in found['measures']
        ) == (words[1] == 'digits')
        assert found['n'] == (60 if words[1] == 'digits' else 12)
        if words[1] == 'photos':
            assert (
                found['measures']['distance'] is None
                and found['measures']['precision'] is None
                and len(found['notes']) == 2
            )
    (here/'photos'/'0.png').unlink()
    assert main(['evaluate', 'photos1']) == 0 and 'has changed since the run began' in capsys.readouterr().err


@pytest.fixture
def two(whole, here):
    "The same run twice, one of them said to have another learning rate."
    for name in ('a', 'b'):
        shutil.copytree(whole[0], here/'runs'/name)
        about = dict(
            format='ganbook evaluation', step=120, n=5000, features='f',
            measures=dict(modes=7, hq=.5 if name == 'a' else None),
        )
        (here/'runs'/name/'evaluation.json').write_text(json.dumps(about))
    run = run_json('runs/b')
    run['settings']['recipe']['lr'] = 5.
    Path('runs/b/run.json').write_text(json.dumps(run))
    return here/'runs'


def test_compare_says_what_differs_and_draws_it(two, capsys):
    for words, path in ((['runs'], 'runs/comparison.png'), (['runs/a', 'runs/b'], 'runs/comparison-2.png')):
        assert main(['compare', *words]) == 0
        out, err = capsys.readouterr()
        lines = [' '.join(line.split()) for line in out.splitlines()]
        assert lines[-1] == path and Image.open(path).size == (600, 520) and err == ''
        assert 'recipe.lr 0.002 5' in lines and not any('batch_size' in line for line in lines)
        assert 'modes 7 7' in lines and 'hq 0.5 -' in lines and 'step 120 120' in lines


def test_compare_measures_what_is_stale_and_bears_what_is_missing(two, capsys):
    old = json.loads((two/'a'/'evaluation.json').read_text())
    (two/'a'/'evaluation.json').write_text(json.dumps(old | dict(step=3)))
    shutil.rmtree(two/'b'/'checkpoints')
    assert main(['compare', 'runs/a', 'runs/b']) == 0
    out = capsys.readouterr().out
    assert (
        'measuring runs/a at step 120' in out
        and 'do not hold' not in out
        and Path('runs/comparison.png').is_file()
    )
    assert json.loads((two/'a'/'evaluation.json').read_text())['step'] == 120


def test_compare_warns_about_different_data(two, capsys):
    run = run_json('runs/b')
    run['settings']['source']['name'] = 'grid'
    run['settings']['recipe']['source'] = 'a book '*99
    Path('runs/b/run.json').write_text(json.dumps(run))
    assert main(['compare', 'runs']) == 0
    out = capsys.readouterr().out
    assert 'do not hold their measures against each other' in out and 'book' not in out and 'grid' in out


# taking it elsewhere

def test_export_writes_files_that_draw_the_same(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    assert main(['export', 'copy']) == 0
    out, err = capsys.readouterr()
    files = [f'copy/export/step_00000120.{end}' for end in ('safetensors', 'pt2', 'onnx')]
    assert out.splitlines()[-3:] == files and 'float32 (B,2)' in out and err == ''
    z = torch.randn(5, 2)
    with torch.no_grad(): drawn = torch.export.load(files[1]).module()(z)
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(files[2], providers=['CPUExecutionProvider'])
    assert np.allclose(session.run(None, {'z': z.numpy()})[0], drawn.numpy(), atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map['ganbook'])['latent_dim'] == 2


def test_export_without_onnx_says_what_to_install(whole, here, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec',
        lambda name, *more: None if name.startswith('onnx') else find(name, *more),
    )
    assert main(['export', str(whole[0]), '--format', 'onnx', '--out', 'e']) == 2
    out, err = capsys.readouterr()
    assert (
        out == ''
        and 'pip install onnx onnxscript onnxruntime' in err
        and err.count('\n') == 1
        and not Path('e').exists()
    )
    monkeypatch.setattr(export, 'forms', {k: v for k, v in export.forms.items() if k != 'torch'})
    assert main(['export', str(whole[0]), '--out', 'e']) == 0
    out, err = capsys.readouterr()
    assert (
        out.splitlines()[-1] == 'e/step_00000120.safetensors'
        and 'left out onnx' in err
        and len(list(Path('e').iterdir())) == 1
    )


def test_what_draws_something_else_is_not_kept(whole, here, capsys, monkeypatch):
    def off(raw, z, settings): return torch.zeros(len(z), 2)
    def cannot(G, z, about): raise RuntimeError('no such operator\nand more')
    for make, attempt, said in (
        (lambda *_: b'', off, 'does not draw what the generator draws'),
        (cannot, off, 'cannot be exported as torch: no such operator'),
    ):
        monkeypatch.setitem(export.forms, 'torch', (make, attempt, '.pt2'))
        assert main(['export', str(whole[0]), '--format', 'torch', '--out', 'e']) == 2
        err = capsys.readouterr().err
        assert said in err and err.count('\n') == 1 and not Path('e').exists()


def test_nan_is_neither_measured_nor_exported(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    path = latest('copy/checkpoints')
    content = torch.load(path, weights_only=True)
    for v in content['parts']['G_ema'].values(): v.fill_(float('nan'))
    torch.save(content, path)
    for words in (['evaluate', 'copy'], ['export', 'copy', '--format', 'torch']):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert 'draws NaN' in err and err.count('\n') == 1


def test_bench_times_both_loops(here, capsys):
    assert main(['bench', 'points', '--batch-size', '4', '--seconds', '1']) == 0
    title, head, ours, theirs, last = capsys.readouterr().out.splitlines()
    assert 'recipe points, batch 4, on cpu with 1 thread' in title and head.split()[:5] == [
        'ms', 'a', 'step:', '25', '%',
    ]
    low, middle, high, per_s = (float(x.replace(',', '')) for x in ours.split()[-4:])
    assert (
        0 < low <= middle <= high
        and abs(per_s*middle/4000 - 1) < .05
        and theirs.startswith("a tutorial's loop")
        and 'times as long' in last
    )
    assert not list(here.iterdir())


# the book, from a terminal

def test_claims_hold_and_those_that_fail_come_first(capsys, monkeypatch):
    assert main(['claims', '--json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert (
        all(c['holds'] for c in rows)
        and {'claim', 'value', 'interval', 'target', 'source', 'scale', 'device'} <= rows[0].keys()
    )
    n_stored = sum(bool(c.get('stored')) for c in rows)
    counts = f'{len(rows) - n_stored} are measured when a chapter runs, {n_stored} compare stored figures.'
    assert (
        main(['claims', '--failing']) == 0
        and capsys.readouterr().out == f'0 of {len(rows)} claims fail; {counts}\n'
    )
    bench = dict(date='2001-02-03', device='abacus', steps=1234)
    monkeypatch.setattr(
        shelf, 'book', lambda name: [rows[0] | dict(stored=None), rows[1] | dict(stored=bench)]
    )
    assert main(['claims', '--stored']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'stored 2001-02-03, abacus, 1,234 steps' in lines[1] and len(lines) == 3
    assert lines[-1] == '0 of 2 claims fail; 1 are measured when a chapter runs, 1 compare stored figures.'
    monkeypatch.setattr(shelf, 'book', lambda name: rows[:3] + [rows[3] | dict(op='>', value=1., target=2.)])
    assert main(['claims']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines[1:5]] == ['✗', '✓', '✓', '✓'] and lines[-1].startswith(
        '1 of 4 claims fail'
    )
    assert main(['claims', '--failing', '--chapter', rows[3]['chapter']]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.setenv('GANBOOK_HOME', str(tmp_path/'reader'))
    return tmp_path/'reader'


def test_every_exercise_can_be_checked(reader, capsys):
    for e in exercises():
        values = e['values']
        assert values, f"exercise {e['exercise']} has no check number"
        for wrong in (values[0] + 1.5*max(e['tolerances'][0], .7), float('nan')):
            with pytest.raises(AssertionError, match='does not agree'):
                check(e['exercise'], [wrong, *values[1:]])
        with pytest.raises(AssertionError, match='check number'): check(e['exercise'], [*values, 1])
        check(e['exercise'], values if len(values) > 1 else values[0])
    assert list(solved()) == [e['exercise'] for e in exercises()]
    assert capsys.readouterr().out.count('✓') == len(exercises())
    assert main(['exercises']) == 0
    assert f'solved: {len(exercises())} of {len(exercises())}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'value', [2.653, np.float32(2.653), torch.tensor(2.6532), [2.653], np.array([[2.653]]), 2.653 + 0j]
)
def test_a_value_may_have_any_shape(value, reader):
    check('w30.1', value)


@pytest.mark.parametrize(
    'exercise,value,error,part',
    [
        ('w30.1', '2.653', TypeError, "value is '2.653'"), ('w30.1', None, TypeError, 'value is None'),
        ('w30.1', [], AssertionError, 'you gave 0'), ('w30.1', 2.66, AssertionError, '2.66 does not agree'),
        ('9.9', 1, ValueError, 'the chapter has 9.1'), ('x', 1, ValueError, 'they go from 0.1'),
        ('10.1', 569537, AssertionError, 'agree'),
    ],
)
def test_what_check_refuses(exercise, value, error, part, reader):
    with pytest.raises(error, match=part): check(exercise, value)
    assert not reader.exists()


def test_progress_survives_and_is_told(reader, capsys):
    check('9.1', 1_183_616)
    (reader/'exercises.json').write_text(json.dumps({'9.1': '2001-01-01'}))
    check('9.1', 1_183_616), check('9.2', 2.25)
    assert (
        solved()['9.1'] == '2001-01-01'
        and list(solved()) == ['9.1', '9.2']
        and len(list(reader.iterdir())) == 1
    )
    assert main(['exercises', '09_dcgan', '--numbers']) == 0
    out = capsys.readouterr().out
    assert 'solved: 2 of 3' in out and '·  9.3' in out and '24,688' in out
    (reader/'exercises.json').write_text('{')
    assert main(['exercises']) == 2 and 'is damaged: remove it' in capsys.readouterr().err


def test_progress_as_json(reader, capsys):
    "Nothing solved, then one exercise; a chapter alone; and one that an older edition had."
    def report(*words):
        assert main(['exercises', '--report', *words]) == 0
        return json.loads(capsys.readouterr().out)
    every = report()
    assert (every['solved'], every['exercises'], every['unknown']) == (0, len(exercises()), [])
    assert every['ganbook'] == __version__ and not any(any(c['days'].values()) for c in every['chapters'])
    reader.mkdir()
    (reader/'exercises.json').write_text(json.dumps({'9.1': '2001-01-01', '0.99': '2001-01-02'}))
    (chapter,) = report('9')['chapters']
    assert chapter['days'] == {'9.1': '2001-01-01', '9.2': None, '9.3': None}
    assert (chapter['chapter'], chapter['solved'], chapter['exercises']) == ('9', 1, 3)
    assert (report()['solved'], report()['unknown']) == (1, ['0.99'])


@pytest.mark.parametrize(
    'words,kept,part',
    [
        (['--report', '--numbers'], '{}', 'choose one of --numbers and --report'),
        (['--report', '99'], '{}', "nothing of a chapter '99': take one of 0, 1"),
        (['--report'], '[1, 2]', 'is damaged: remove it'), (['--report'], '{', 'is damaged: remove it'),
    ],
)
def test_a_report_that_cannot_be_made(words, kept, part, reader, capsys):
    reader.mkdir()
    (reader/'exercises.json').write_text(kept)
    assert main(['exercises', *words]) == 2
    told = capsys.readouterr()
    assert part in told.err and not told.out and (reader/'exercises.json').read_text() == kept


def test_a_home_that_cannot_be_written_is_a_warning(reader, capsys):
    reader.write_text('a file')
    with pytest.warns(UserWarning, match='GANBOOK_HOME'): check('9.2', 2.25)
    assert '✓ exercise 9.2' in capsys.readouterr().out


def test_lab_opens_a_chapter(monkeypatch, capsys, here):
    called = []
    # the real one is slow to import
    monkeypatch.setitem(sys.modules, 'jupyterlab.labapp', types.SimpleNamespace(main=called.append))
    for words, stem in (([], '00_faces'), (['9'], '09_dcgan'), (['a2', '--no-browser'], 'a2_callbacks')):
        assert main(['lab', *words]) == 0
        assert (
            Path(called[-1][0]).stem == stem
            and Path(called[-1][0]).is_file()
            and ('--no-browser' in called[-1]) == ('--no-browser' in words)
        )
    monkeypatch.setattr(shelf, '__file__', str(here/'site-packages'/'ganbook'/'shelf.py'))
    assert main(['lab']) == 2 and 'git clone https://' in capsys.readouterr().err
    monkeypatch.undo()
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec',
        lambda name, *more: None if name == 'jupyterlab' else find(name, *more),
    )
    assert main(['lab']) == 2 and 'pip install jupyterlab' in capsys.readouterr().err


@pytest.mark.parametrize('f', cli._commands, ids=lambda f: f.__name__)
def test_every_option_is_explained(f, capsys):
    said = docments(f)
    assert all(said[name] for name in said if name != 'return') and f.__doc__.endswith('.')
    assert main([f.__name__.removeprefix('cmd_'), '--help']) == 0
    out = ' '.join(capsys.readouterr().out.split())
    for name, p in inspect.signature(f).parameters.items():
        if p.kind is not p.KEYWORD_ONLY or p.annotation is bool: continue
        assert f"--{name.rstrip('_').replace('_', '-')} {p.annotation.__name__.upper()}" in out
        assert 'default' in said[name] or 'only' in said[name] or f'(default: {p.default})' in out, name


# mistakes

wrong = {
    'fly': "there is no command 'fly'",
    'trian': 'did you mean train?',
    'train --sed 1': 'ganbook train: there is no --sed here (did you mean --seed?); ganbook train --help',
    'resume full --every-step 5': 'ganbook resume: there is no --every-step here',
    'train mlp --data images --seed -1': '--seed is -1',
    'train mlp --data images --out full': 'is not empty',
    'train dcgan --data images --size 7': 'from 8 to 256',
    'train dcgan --data images --size 2': 'from 8 to 256',
    'train dcgan --data images --size 300': 'from 8 to 256',
    'train mlp --data images --size 2': 'from 4 to 1024',
    'train --config nowhere': 'is not there',
    'sample full --seed -1': '--seed is -1',
    'train dcgam': "no recipe called 'dcgam': take one of stable",
    'train mlp --data nowhere': 'nowhere is not there: take one of digits',
    'train mlp --data empty': 'holds no image',
    'train mlp --data file.txt': 'is a file',
    'train mlp --data empty --size 2': 'from 4 to 1024',
    'train mlp --data ring': 'makes images, but ring holds points',
    'train points --data digits': 'makes points, but digits holds images',
    'train mlp --size 16': 'is for a folder of images',
    'train points --n-steps 0': '--n-steps is 0',
    'train points --n-steps 1e3': 'invalid int value',
    'train points --batch-size -4': '--batch-size is -4',
    'train points --lr 0': 'lr is 0',
    'train points --lr nan': 'lr is nan',
    'train points --every 0': '--every is 0',
    'train points --keep 0': '--keep is 0',
    'train points --threads 0': '--threads is 0',
    'train points --seed x': 'invalid int value',
    'train points --seed -1': 'seed',
    'train points --device abacus': "device is 'abacus': it is not to be had here",
    'train points --out full': 'is not empty',
    'train points --out file.txt/run': 'file.txt is a file: name another folder',
    'train points --out file.txt/a/run': 'file.txt is a file: name another folder',
    'train points --out file.txt': 'file.txt is a file: name another folder',
    'train points --batch-size 10000000000': 'at most 1,000,000',
    'train points --threads 100000': 'at most',
    'train points --n-steps 100000000000000000000': 'at most 1,000,000,000',
    'train mlp --data full --size 0': 'size is 0: give a whole number from 4',
    'sample empty --n 99999999999': 'at most 10,000,000',
    'train points --steps 5': 'there is no --steps here',
    'train points --resume': 'runs/points-ring is not there: leave --resume out',
    'train points --resume --out nowhere': 'holds no run',
    'train points --resume --out notours': 'not written by ganbook',
    'sample': 'required: run',
    'sample nowhere': 'nowhere is not there: give the folder of a run',
    'sample full': 'holds no checkpoint',
    'sample file.txt': 'is damaged or no checkpoint',
    'sample full --n 0': '--n is 0',
    'train points --seed 4294967296': '--seed is 4294967296',
    'sample full --out a.jpg': 'neither a .png nor a .npy',
    'resume': 'required: run',
    'resume nowhere': 'holds no run',
    'resume full --n-steps 0': '--n-steps is 0',
    'evaluate nowhere': 'nowhere is not there: give the folder of a run',
    'evaluate full': 'holds no checkpoint',
    'evaluate full --n 3': '--n is 3: it must be at least 20',
    'evaluate full --n 2000000': 'at most 1,000,000',
    'evaluate file.txt': 'is damaged or no checkpoint',
    'compare full': 'name from 2 to 8 runs',
    'compare full nowhere': 'holds no run',
    'compare full empty --out a.jpg': 'is no .png file',
    'export full': 'holds no checkpoint',
    'export full --format gif': "no format called 'gif': take one of all, safetensors, torch, onnx",
    'bench fly': "no recipe called 'fly'",
    'bench --seconds 0': '--seconds is 0',
    'bench points --data digits': 'makes points, but digits holds images',
    'claims --chapter 99': "nothing of a chapter '99'",
    'exercises 99': "nothing of a chapter '99'",
    'lab 99': "no chapter '99'",
    'info nowhere': 'holds no run',
    'doctor': 'required: run',
    'doctor nowhere': 'holds no run',
    'doctor full': 'holds no run',
    'doctor notours': 'not written by ganbook',
}


@pytest.mark.parametrize('line', wrong)
def test_a_mistake_is_one_sentence_and_leaves_nothing(line, here, capsys):
    (here/'empty').mkdir()
    (here/'full').mkdir()
    (here/'notours').mkdir()
    for name in ('file.txt', 'full/mine.txt'): (here/name).write_text('mine')
    (here/'notours'/'run.json').write_text('{"a": 1')
    (here/'images').mkdir()
    Image.new('RGB', (9, 9)).save(here/'images'/'a.png')
    before = sorted(here.rglob('*'))
    with pytest.MonkeyPatch.context() as m:
        if 'images' in line: m.setattr('ganbook.images._decode_all', None)  # told before anything is decoded
        assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == '' and wrong[line] in err and err.count('\n') == 1 and err.startswith('ganbook')
    assert sorted(here.rglob('*')) == before


def test_a_resumed_run_keeps_its_settings(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    before = (here/'copy'/'run.json').read_bytes()
    for words, said in {
        '--seed 3': 'seed 0, not 3', '--batch-size 7': 'batch_size 32, not 7',
        '--lr 1': f"lr {run_json('copy')['settings']['recipe']['lr']}, not 1.0",
        '--data grid': 'data ring, not grid', '--n-steps 100': 'raised, not lowered',
    }.items():
        assert main(['train', 'points', '--resume', '--out', 'copy', *words.split()]) == 2
        assert said in capsys.readouterr().err
    assert main(['train', 'mlp', '--resume', '--out', 'copy']) == 2
    assert 'the run has recipe points, not mlp' in capsys.readouterr().err
    assert (here/'copy'/'run.json').read_bytes() == before


def test_nan_is_a_sentence_and_the_log_stays(here, capsys):
    assert (
        main(
            ['train', 'points', '--lr', '1e30', '--n-steps', '60', '--every', '5', '--quiet', '--out', 'nan']
        )
        == 2
    )
    out, err = capsys.readouterr()
    assert 'at step' in err and err.count('\n') <= 2 and 'Traceback' not in err
    run = run_json('nan')
    assert run['status'] == 'failed' and 'became' in run['error']
    assert len(Path('nan/log.csv').read_text().splitlines()) == run['step'] + 1


def test_a_terminal_without_our_letters(home):
    run = subprocess.run(
        [*command, 'claims', '--chapter', '1'], cwd=home, env=env | dict(PYTHONIOENCODING='cp1252'),
        capture_output=True,
    )
    assert run.returncode == 0 and run.stderr == b'' and len(run.stdout) > 500


@pytest.mark.parametrize('encoding', ['cp1252', 'gbk', 'cp437', 'cp932', 'ascii'])
def test_an_encoding_without_our_letters(encoding, monkeypatch):
    for words in (['train', '--help'], ['claims', '--chapter', '1']):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(raw, encoding))
        try: code = main(words)
        except SystemExit as e: code = e.code
        sys.stdout.flush()
        assert not code and len(raw.getvalue()) > 500


def test_head_may_stop_reading(home):
    for words in (['claims', '--json'], ['train', '--help']):
        process = subprocess.Popen(
            [*command, *words], cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.close()
        assert process.stderr.read() == b'' and process.wait(60) == 0


def test_a_tilde_is_the_home_folder(here, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(here/'me')), monkeypatch.setenv('USERPROFILE', str(here/'me'))
    assert main(['train', 'points', '--n-steps', '1', '--quiet', '--out=~/x']) == 0
    assert (here/'me'/'x'/'run.json').is_file() and not (here/'~').exists()
    for words in (
        ['info', '~/x'], ['resume', '~/x', '--n-steps', '2', '--quiet'],
        ['sample', '~/x', '--out', '~/a.npy'], ['compare', '~/x', '~/x', '--out', '~/c.png'],
    ):
        assert main(words) == (2 if words[0] == 'compare' else 0)
    assert (here/'me'/'a.npy').is_file() and not (here/'~').exists()


def test_inception_without_its_weights_is_one_sentence(whole, here, monkeypatch, capsys):
    assert main(['train', 'mlp', '--n-steps', '1', '--batch-size', '4', '--quiet', '--out', 'a']) == 0
    def gone(name): raise ImportError("use 'digits' or 'mnist'")
    monkeypatch.setattr('ganbook.evaluate.yardstick', gone)
    capsys.readouterr()
    assert main(['evaluate', 'a', '--features', 'inception']) == 2
    err = capsys.readouterr().err
    assert 'leave --features out' in err and 'digits' not in err and err.count('\n') == 1


def test_every_option_that_the_doctor_names_is_there():
    import re
    text = ''.join(
        Path(cli.__file__).with_name(name).read_text(encoding='utf-8') for name in ('doctor.py', 'faults.py')
    )
    said = set(re.findall(r'(?<![\w-])--[a-z][a-z0-9-]*', text))
    there = {
        '--' + name.replace('_', '-') for f in cli._commands for name in inspect.signature(f).parameters
    }
    assert {'--n-steps', '--lr'} <= said <= there


def test_a_mistake_in_the_real_command(home):
    code, out, err = done(start('info', 'nowhere', cwd=home))
    assert code == 2 and out == [] and err.count('\n') == 1 and 'Traceback' not in err


def test_an_error_of_ours_shows_itself(here, monkeypatch):
    def broken(*_, **__): raise ZeroDivisionError
    monkeypatch.setattr('ganbook.launch.fit', broken)
    with pytest.raises(ZeroDivisionError): main(['train', 'points', '--n-steps', '3', '--quiet'])


def test_the_textbook_runs_too(here, capsys):
    assert main(['train', 'mlp_textbook', '--n-steps', '2', '--quiet']) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path == Path('runs/mlp_textbook-digits/samples.png') and Image.open(path).mode == 'L'


def test_a_run_stopped_before_its_first_step_can_be_begun_again(here, capsys, monkeypatch):
    def no(*_, **__): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr('ganbook.runs.build', no)
        assert main(['train', 'points', '--out', 'd', '--n-steps', '3', '--quiet']) == 130
    assert main(['train', 'points', '--out', 'd', '--resume', '--quiet']) == 0
    (here/'e').mkdir()
    (here/'e'/'.lock').touch()  # all that a run leaves that was killed earlier still
    assert main(['train', 'points', '--out', 'e', '--n-steps', '3', '--quiet']) == 0


def test_no_readable_checkpoint_is_said_and_nothing_is_lost(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    for p in Path('copy/checkpoints').iterdir(): p.write_bytes(p.read_bytes()[:1000])
    before = {p: p.read_bytes() for p in Path('copy').rglob('*') if p.is_file() and p.name != '.lock'}
    assert main(['train', 'points', '--out', 'copy', '--resume', '--quiet']) == 2
    assert 'can be read' in capsys.readouterr().err
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize(
    'spoil',
    [
        lambda r: dict(format=r['format']),
        lambda r: r | dict(settings=[]),
        lambda r: r | dict(n_steps='x'),
        lambda r: r | dict(settings=r['settings'] | dict(seed='zero')),
        lambda r: (
            r | dict(settings=r['settings'] | dict(recipe=r['settings']['recipe'] | dict(batch_size='64')))
        ),
    ],
)
def test_a_run_json_that_is_valid_json_but_wrong(spoil, whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    Path('copy/run.json').write_text(json.dumps(spoil(run_json('copy'))))
    for words in (['train', 'points', '--out', 'copy', '--resume', '--quiet'], ['info', 'copy']):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.count('\n') == 1 and 'damaged' in err


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='wants /proc to tell which file is written')
def test_a_full_disk_names_the_file(here, capsys, monkeypatch):
    def full(fd, sync=os.fsync):
        if 'step_' in os.readlink(f'/proc/self/fd/{fd}'): raise OSError(28, 'No space left on device')
        sync(fd)
    monkeypatch.setattr('ganbook.files.os.fsync', full)
    assert main(['train', 'points', '--out', 'd', '--n-steps', '3', '--quiet']) == 2
    err = capsys.readouterr().err
    assert 'step_00000003.pt could not be used: No space left on device.' in err and not list(
        Path('d').rglob('*.part')
    )


def test_two_processes_train_one_run(tmp_path, monkeypatch):
    "torchrun starts two; they keep one folder and say each thing once, and one process goes on with the run."
    torchrun = [
        sys.executable, '-m', 'torch.distributed.run', '--standalone', '--no-python', '--nproc-per-node', '2',
        *command,
    ]
    run = subprocess.run(
        [*torchrun, 'train', 'mlp', '--n-steps', '6', '--every', '3', '--quiet', '--out', 'two'],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count('2 processes') == 1 and run.stdout.splitlines()[-1] == 'two/samples.png'
    assert (run_json(tmp_path/'two')['status'], run_json(tmp_path/'two')['step']) == ('finished', 6)
    monkeypatch.chdir(tmp_path)
    assert main(['resume', 'two', '--n-steps', '8', '--quiet', '--device', 'cpu']) == 0
    assert run_json('two')['step'] == 8
