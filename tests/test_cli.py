"The command `ganbook`: what it leaves, what it says, and what survives a kill."
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from ganbook.callbacks import latest
from ganbook.cli import main
from ganbook.train import read

command = [sys.executable, '-c', 'import sys; from ganbook.cli import main; sys.exit(main())']
env = dict(os.environ, OMP_NUM_THREADS='1', MPLBACKEND='agg', GANBOOK_DEVICE='cpu', PYTHONPATH=str(Path(__file__).parents[1]))
short = ['--n-steps', '400', '--every', '50', '--keep', '2', '--batch-size', '32']


def start(*words, cwd):
    return subprocess.Popen([*command, *words], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


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
    code, out, err = done(start('train', 'points', *short, '--out', 'whole', cwd=home))
    assert code == 0, err
    return home/'whole', out, err


@pytest.fixture
def here(tmp_path, monkeypatch):
    "An empty folder to work in."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GANBOOK_DEVICE', 'cpu')
    return tmp_path


# what a run leaves

def test_the_last_line_is_the_path_of_the_samples(whole, home):
    folder, out, err = whole
    assert out[-1] == 'whole/samples.png' and (home/out[-1]).is_file()
    assert '400/400' in err and 'points/s' in err and 'loss_D' in err


def test_all_files_are_there_and_whole(whole):
    folder = whole[0]
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith(('events', '.')))
    assert names == ['checkpoints', 'curves.png', 'log.csv', 'run.json', 'samples.png']
    assert len(list(folder.glob('events.out.tfevents*'))) == 1 and not list(folder.rglob('*.part'))
    assert sorted(p.name for p in (folder/'checkpoints').iterdir()) == ['step_00000350.pt', 'step_00000400.pt']
    for name in ('samples.png', 'curves.png'): Image.open(folder/name).load()
    table = np.genfromtxt(folder/'log.csv', delimiter=',', names=True)
    assert table.dtype.names == ('step', 'loss_D', 'real_logit', 'fake_logit', 'penalty', 'loss_G') and table['step'].tolist() == list(range(1, 401))


def test_run_json_has_every_setting_and_version(whole):
    run = run_json(whole[0])
    assert run['status'] == 'finished' and run['step'] == 400 and run['seconds'] > 0 and run['error'] is None
    assert set(run['versions']) == {'ganbook', 'python', 'torch', 'numpy'} and run['device'] == 'cpu' and run['threads'] == 1
    assert run['settings']['recipe']['n_steps'] == 400 and run['settings']['seed'] == 0 and run['settings']['source']['name'] == 'ring'
    assert read(latest(whole[0]/'checkpoints'))['settings'] == run['settings']


# stopping and going on

def test_killed_in_mid_run_and_resumed_to_the_same_bits(whole, home):
    process = start('train', 'points', *short, '--out', 'killed', cwd=home)
    wait_for(home/'killed', 100, process)
    process.kill()
    process.communicate()
    left = run_json(home/'killed')
    assert process.returncode == -signal.SIGKILL and left['status'] == 'running'
    reached = int(latest(home/'killed'/'checkpoints').stem[5:])
    assert 100 <= reached < 400
    for p in (home/'killed').rglob('*'):
        if p.suffix == '.pt': read(p)
        if p.suffix == '.png': Image.open(p).load()
    code, out, err = done(start('train', 'points', '--resume', '--out', 'killed', '--every', '50', '--keep', '2', cwd=home))
    assert code == 0 and out[-1] == 'killed/samples.png' and f'steps {reached} to 400' in out[0], err
    for step in ('step_00000350.pt', 'step_00000400.pt'): assert same_checkpoint(home/'killed'/'checkpoints'/step, whole[0]/'checkpoints'/step)
    assert (home/'killed'/'log.csv').read_bytes() == (whole[0]/'log.csv').read_bytes()
    assert (home/'killed'/'samples.png').read_bytes() == (whole[0]/'samples.png').read_bytes()
    assert not list((home/'killed').rglob('*.part'))


def stopped_and_gone_on(folder, code, err, whole):
    run = run_json(folder)
    assert code == 130 and run['status'] == 'interrupted' and 50 <= run['step'] < 400
    assert f'stopped at step {run["step"]} of 400' in err and 'Traceback' not in err
    assert int(latest(folder/'checkpoints').stem[5:]) == run['step']
    words = err.split('go on with: ganbook ')[1].split()
    assert main([*words, '--quiet', '--every', '50']) == 0
    assert same_checkpoint(latest(folder/'checkpoints'), whole[0]/'checkpoints'/'step_00000400.pt')
    assert run_json(folder)['status'] == 'finished' and run_json(folder)['seconds'] > run['seconds']


def test_ctrl_c_saves_and_says_how_to_go_on(whole, here):
    process = start('train', 'points', *short, '--out', 'a', cwd=here)
    wait_for(here/'a', 50, process)
    process.send_signal(signal.SIGINT)
    code, out, err = done(process)
    stopped_and_gone_on(here/'a', code, err, whole)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_both_signals_stop_a_run(whole, here, number, capsys):
    def stop():
        while not list(here.glob('a/checkpoints/step_*.pt')): time.sleep(.005)
        os.kill(os.getpid(), number)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop, daemon=True).start()
    code = main(['train', 'points', *short, '--out', 'a', '--quiet'])
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    stopped_and_gone_on(here/'a', code, capsys.readouterr().err, whole)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    newest = here/'copy'/'checkpoints'/'step_00000400.pt'
    newest.write_bytes(newest.read_bytes()[:5000])
    assert main(['train', 'points', '--resume', '--out', 'copy', '--every', '50']) == 0
    out, err = capsys.readouterr()
    assert 'step_00000400.pt is damaged' in err and 'steps 350 to 400' in out and 'Warning' not in err
    assert same_checkpoint(newest, whole[0]/'checkpoints'/'step_00000400.pt')


def test_a_finished_run_says_so_and_can_be_prolonged(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    assert main(['train', 'points', '--resume', '--out', 'copy']) == 0
    out, _ = capsys.readouterr()
    assert 'has done its 400 steps' in out and out.splitlines()[-1] == 'copy/samples.png'
    assert same_checkpoint(latest('copy/checkpoints'), whole[0]/'checkpoints'/'step_00000400.pt')
    assert main(['train', 'points', '--resume', '--out', 'copy', '--n-steps', '420']) == 0
    assert latest('copy/checkpoints').name == 'step_00000420.pt' and run_json('copy')['n_steps'] == 420
    assert len(Path('copy/log.csv').read_text().splitlines()) == 421


def test_a_second_run_overwrites_nothing(here, capsys):
    for want in ('points-ring', 'points-ring-2', 'points-ring-3'):
        assert main(['train', 'points', '--n-steps', '3', '--quiet']) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == f'runs/{want}/samples.png' and err == ''
    assert main(['train', 'points', '--n-steps', '5', '--resume', '--quiet']) == 0
    assert [run_json(f'runs/points-ring{end}')['step'] for end in ('', '-2', '-3')] == [3, 3, 5]


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
    for i in range(12): Image.fromarray(rng.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)).save(here/'My photos'/f'{i}.png')
    (here/'My photos'/'broken.jpg').write_bytes(b'\xff\xd8 not a picture')
    return here/'My photos'


@pytest.mark.parametrize('grey', [False, True])
def test_a_folder_of_images_one_of_them_broken(photos, capsys, grey):
    words = ['train', 'mlp', '--data', 'My photos', '--size', '12', '--n-steps', '5', '--batch-size', '4', '--lr', '1e-4', *(['--grey'] if grey else [])]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == 'runs/mlp-My_photos/samples.png' and 'broken.jpg' in err and 'Warning' not in err
    settings = run_json('runs/mlp-My_photos')['settings']
    assert settings['data']['shape'] == [1 if grey else 3, 12, 12] and settings['data']['n'] == 12
    assert (settings['recipe']['batch_size'], settings['recipe']['lr']) == (4, 1e-4)
    shutil.rmtree(photos)  # drawing needs no data
    assert main(['sample', 'runs/mlp-My_photos', '--n', '5', '--out', 'a.npy']) == 0
    assert np.load('a.npy').shape == (5, 1 if grey else 3, 12, 12)


def test_only_the_name_of_a_folder_is_needed(here, capsys):
    rng = np.random.default_rng(0)
    (here/'photos').mkdir()
    for i in range(40): Image.fromarray(rng.integers(0, 255, (30 + i, 90 - i, 3), dtype=np.uint8)).save(here/'photos'/f'{i}.jpg')
    assert main(['train', '--data', 'photos', '--n-steps', '2', '--quiet']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'runs/stable-photos/samples.png'
    settings = run_json('runs/stable-photos')['settings']
    assert settings['recipe']['name'] == 'stable' and settings['data']['shape'] == [3, 64, 64]
    assert Image.open('runs/stable-photos/samples.png').mode == 'RGB'
    assert main(['train', '--data', 'photos', '--resume', '--n-steps', '3', '--quiet']) == 0
    assert run_json('runs/stable-photos')['step'] == 3


def test_the_recipe_follows_the_data_and_the_run(here, capsys):
    assert main(['train', '--data', 'ring', '--n-steps', '2', '--quiet']) == 0 and Path('runs/points-ring').is_dir()
    assert main(['train', '--n-steps', '2', '--quiet']) == 0 and Path('runs/stable-digits').is_dir()
    assert main(['train', 'wgan', '--n-steps', '1', '--batch-size', '4', '--quiet', '--out', 'w']) == 0
    assert main(['train', '--resume', '--out', 'w', '--n-steps', '2', '--quiet']) == 0
    assert run_json('w')['settings']['recipe']['name'] == 'wgan' and run_json('w')['step'] == 2
    assert main(['train', '--resume', '--out', 'nowhere']) == 2


def test_the_first_pictures_come_early(here, monkeypatch):
    seen = []
    monkeypatch.setattr('ganbook.callbacks.save_samples', lambda data, x, path, n_cols=8: seen.append(path))
    assert main(['train', '--data', 'ring', '--n-steps', '210', '--batch-size', '4', '--quiet']) == 0
    assert len(seen) == 2  # after 200 steps, and at the end


def test_data_that_changed_are_another_run(photos, capsys):
    assert main(['train', 'mlp', '--data', 'My photos', '--size', '8', '--n-steps', '3', '--quiet']) == 0
    (photos/'0.png').unlink()
    assert main(['train', 'mlp', '--data', 'My photos', '--resume', '--n-steps', '5', '--quiet']) == 2
    assert 'has changed since the run began, from 12 to 11 samples' in capsys.readouterr().err


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
    for word in ('recipe         points', 'status         finished', '400 of 400', 'loss_D', 'step_00000400.pt', 'torch'): assert word in out
    assert main(['info']) == 0
    out = capsys.readouterr().out
    for word in ('ganbook', 'torch', 'device', 'recipe mlp', 'cache'): assert word in out


def test_doctor_prints_its_findings_and_draws_a_page(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    before = {p: p.read_bytes() for p in Path('copy').rglob('*') if p.is_file()}
    assert main(['doctor', 'copy']) == 0
    out, err = capsys.readouterr()
    assert err == '' and out.splitlines()[-1] == 'copy/doctor.png' and 'ALARM: divergence' not in out
    page = Image.open('copy/doctor.png')
    page.load()
    assert page.width == 800 and page.height > 500
    assert {p: p.read_bytes() for p in before} == before and not list(here.rglob('*.part'))
    assert main(['doctor', 'copy', '--device', 'cpu']) == 0 and capsys.readouterr().out == out


def test_doctor_of_a_short_run_says_that_it_is_too_early(here, capsys):
    assert main(['train', 'mlp', '--n-steps', '20', '--quiet', '--out', 'a']) == 0
    capsys.readouterr()
    assert main(['doctor', 'a']) == 0
    assert capsys.readouterr().out.startswith('1. NOTE: too few steps')


def test_doctor_finds_nan_from_the_log_alone_and_an_alarm_is_no_error(here, capsys):
    assert main(['train', 'points', '--lr', '1e30', '--n-steps', '60', '--every', '5', '--quiet', '--out', 'nan']) == 2
    assert not latest('nan/checkpoints')
    capsys.readouterr()
    assert main(['doctor', 'nan']) == 0
    out, err = capsys.readouterr()
    assert out.startswith('1. ALARM: divergence') and 'at step 1' in out and err == '' and Path('nan/doctor.png').is_file()


def test_doctor_reads_on_where_the_checkpoints_end(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    lines = Path('copy/log.csv').read_text().splitlines()
    Path('copy/log.csv').write_text('\n'.join([*lines, '401,nan,nan,nan,nan,nan']) + '\n')
    assert main(['doctor', 'copy']) == 0
    assert 'came at step 401' in capsys.readouterr().out


@pytest.mark.parametrize('content', ['', 'step\n1\n', 'step,loss_D\n1,2\n2', 'step,loss_D\n1,oops\n', '\0\xff\n'])
def test_doctor_refuses_a_damaged_log_in_one_sentence(content, whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    Path('copy/log.csv').write_text(content)
    assert main(['doctor', 'copy']) == 2
    out, err = capsys.readouterr()
    assert out == '' and 'log.csv is' in err and 'remove it' in err and err.count('\n') == 1
    Path('copy/log.csv').unlink()
    assert main(['doctor', 'copy']) == 0


def test_doctor_does_without_images_that_are_gone(photos, here, capsys):
    assert main(['train', 'mlp', '--data', str(photos), '--size', '8', '--grey', '--n-steps', '3', '--quiet', '--out', 'run']) == 0
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
    assert out == '' and 'neither a checkpoint nor a log' in err and err.count('\n') == 1


def test_help_is_quick_and_lists_everything():
    code = 'import sys; from ganbook.cli import main; main(["--help"]); assert "torch" not in sys.modules'
    out = subprocess.run([sys.executable, '-c', code], env=env, text=True, capture_output=True, check=True).stdout
    for word in ('train', 'sample', 'info', 'doctor', 'runs/stable-digits'): assert word in out


def test_help_of_a_command_lists_options_recipes_and_data(capsys):
    assert main(['train', '--help']) == 0
    out = ' '.join(capsys.readouterr().out.split())
    for word in ('--n-steps', '--batch-size', 'mlp_textbook', 'two_moons', '(default: 1000)', 'learning rate'): assert word in out
    assert main([]) == 0 and main(['--version']) == 0 and main(['sample', '--help']) == 0


# mistakes

wrong = {
    'fly': 'invalid choice',
    'train dcgam': "no recipe called 'dcgam': take one of stable",
    'train mlp --data nowhere': 'no data set or folder called',
    'train mlp --data empty': 'holds no image',
    'train mlp --data file.txt': 'is a file',
    'train mlp --data empty --size 2': 'from 4 to 1024',
    'train mlp --data ring': 'makes images, but ring holds points',
    'train points --data digits': 'makes points, but digits holds images',
    'train mlp --size 16': 'are for a folder of images',
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
    'train points --device abacus': "device 'abacus' is not to be had here",
    'train points --out full': 'is not empty',
    'train points --out file.txt/run': 'could not be used',
    'train points --out file.txt': 'file.txt is a file: name a folder',
    'train points --batch-size 10000000000': 'at most 1,000,000',
    'train points --threads 100000': 'at most',
    'train points --n-steps 100000000000000000000': 'at most 1,000,000,000',
    'train mlp --data full --size 0': 'size 0 is out of range',
    'sample empty --n 99999999999': 'at most 10,000,000',
    'train points --steps 5': 'unrecognized arguments',
    'train points --resume': 'no run runs/points-ring to resume',
    'train points --resume --out nowhere': 'holds no run',
    'train points --resume --out notours': 'not written by ganbook',
    'sample': 'required: run',
    'sample nowhere': 'there is no run at nowhere',
    'sample full': 'holds no checkpoint',
    'sample file.txt': 'is damaged or no checkpoint',
    'sample full --n 0': '--n is 0',
    'train points --seed 4294967296': '--seed is 4294967296',
    'sample full --out a.jpg': 'neither a .png nor a .npy',
    'info nowhere': 'holds no run',
    'doctor': 'required: run',
    'doctor nowhere': 'holds no run',
    'doctor full': 'holds no run',
    'doctor notours': 'not written by ganbook',
}


@pytest.mark.parametrize('line', wrong)
def test_a_mistake_is_one_sentence_and_leaves_nothing(line, here, capsys):
    (here/'empty').mkdir(); (here/'full').mkdir(); (here/'notours').mkdir()
    for name in ('file.txt', 'full/mine.txt'): (here/name).write_text('mine')
    (here/'notours'/'run.json').write_text('{"a": 1')
    before = sorted(here.rglob('*'))
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == '' and wrong[line] in err and err.count('\n') == 1 and err.startswith('ganbook')
    assert sorted(here.rglob('*')) == before


def test_a_resumed_run_keeps_its_settings(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    before = (here/'copy'/'run.json').read_bytes()
    for words, said in {'--seed 3': 'seed 0, not 3', '--batch-size 7': 'batch_size 32, not 7', '--lr 1': f"lr {run_json('copy')['settings']['recipe']['lr']}, not 1.0", '--data grid': 'data ring, not grid',
            '--n-steps 100': 'raised, not lowered'}.items():
        assert main(['train', 'points', '--resume', '--out', 'copy', *words.split()]) == 2
        assert said in capsys.readouterr().err
    assert main(['train', 'mlp', '--resume', '--out', 'copy']) == 2
    assert 'the run has recipe points, not mlp' in capsys.readouterr().err
    assert (here/'copy'/'run.json').read_bytes() == before


def test_a_checkpoint_that_does_not_fit(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    run = run_json('copy')
    run['settings']['recipe']['hidden'] = [16]
    Path('copy/run.json').write_text(json.dumps(run))
    assert main(['train', 'points', '--resume', '--out', 'copy', '--n-steps', '500']) == 2
    assert 'does not fit' in capsys.readouterr().err


def test_nan_is_a_sentence_and_the_log_stays(here, capsys):
    assert main(['train', 'points', '--lr', '1e30', '--n-steps', '60', '--every', '5', '--quiet', '--out', 'nan']) == 2
    out, err = capsys.readouterr()
    assert 'at step' in err and err.count('\n') <= 2 and 'Traceback' not in err
    run = run_json('nan')
    assert run['status'] == 'failed' and 'became' in run['error']
    assert len(Path('nan/log.csv').read_text().splitlines()) == run['step'] + 1


def test_a_mistake_in_the_real_command(home):
    code, out, err = done(start('info', 'nowhere', cwd=home))
    assert code == 2 and out == [] and err.count('\n') == 1 and 'Traceback' not in err


def test_an_error_of_ours_shows_itself(here, monkeypatch):
    def broken(*_, **__): raise ZeroDivisionError
    monkeypatch.setattr('ganbook.train.fit', broken)
    with pytest.raises(ZeroDivisionError): main(['train', 'points', '--n-steps', '3', '--quiet'])


def test_the_textbook_and_the_images_run_too(here, capsys):
    for recipe in ('mlp', 'mlp_textbook'):
        assert main(['train', recipe, '--n-steps', '2', '--quiet']) == 0
        path = Path(capsys.readouterr().out.splitlines()[-1])
        assert path == Path(f'runs/{recipe}-digits/samples.png') and Image.open(path).mode == 'L'


def test_a_run_stopped_before_its_first_step_can_be_begun_again(here, capsys, monkeypatch):
    def no(*_, **__): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr('ganbook.recipes.build', no)
        assert main(['train', 'points', '--out', 'd', '--n-steps', '3', '--quiet']) == 130
    assert main(['train', 'points', '--out', 'd', '--resume', '--quiet']) == 0
    (here/'e').mkdir(); (here/'e'/'.lock').touch()  # all that a run leaves that was killed earlier still
    assert main(['train', 'points', '--out', 'e', '--n-steps', '3', '--quiet']) == 0


def test_no_readable_checkpoint_is_said_and_nothing_is_lost(whole, here, capsys):
    shutil.copytree(whole[0], here/'copy')
    for p in Path('copy/checkpoints').iterdir(): p.write_bytes(p.read_bytes()[:1000])
    before = {p: p.read_bytes() for p in Path('copy').rglob('*') if p.is_file() and p.name != '.lock'}
    assert main(['train', 'points', '--out', 'copy', '--resume', '--quiet']) == 2
    assert 'can be read' in capsys.readouterr().err
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize('spoil', [lambda r: dict(format=r['format']), lambda r: r | dict(settings=[]), lambda r: r | dict(n_steps='x'),
    lambda r: r | dict(settings=r['settings'] | dict(seed='zero')), lambda r: r | dict(settings=r['settings'] | dict(recipe=r['settings']['recipe'] | dict(batch_size='64')))])
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
    monkeypatch.setattr('ganbook.train.os.fsync', full)
    assert main(['train', 'points', '--out', 'd', '--n-steps', '3', '--quiet']) == 2
    err = capsys.readouterr().err
    assert 'step_00000003.pt could not be used: No space left on device.' in err and not list(Path('d').rglob('*.part'))
