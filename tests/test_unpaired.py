"Translation both ways from the command line: two folders of images without pairs, or drawn faces."
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands import ok, stopped, working_in, wrong
from ganbook.callbacks import latest
from ganbook.causes import draw_causes
from ganbook.checkpoints import read
from ganbook.data import Data, to_units
from ganbook.drawing import draw_faces
from ganbook.models.translation import BothWays, apart
from ganbook.pairs import as_drawn, face_pairs, n_held
from ganbook.plots import save_png
from ganbook.recipes import build, find, goes_both_ways, networks, takes_sources, wants_labels
from ganbook.runs import Run, trained
from ganbook.sources import parts_of
from ganbook.train import fit
from ganbook.unpaired import (
    both_kinds, cycle_error, distinct, energy, face_unpaired, folder_unpaired, in_rows, one_way,
    save_both_ways, share_left, strangers_error, there_and_back, unpaired_files, with_glasses,
)

torch.set_num_threads(1)
short = ['--size', '16', '--batch-size', '4', '--quiet']


class Same(torch.nn.Module):
    "Leaves images as they are."
    latent_dim, shape = 1, (3, 16, 16)
    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
    def forward(self, z, y): return y

def write_kinds(root, n=40, m=30, size=16):
    "Faces without glasses in A, and others with them in B; no name is in both."
    for side, k, seed, glasses in (('A', n, 0, 'without'), ('B', m, 1, 'with')):
        for i, image in enumerate(draw_faces(draw_causes(k, seed, glasses=glasses), size)):
            save_png(image[None], root/side/f'{side.lower()}{i:02}.png', 1, scale=1)
    return root


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "What a user does: 40 and 30 images in two folders, 20 steps at 16 pixels."
    home = tmp_path_factory.mktemp('kinds')
    write_kinds(home/'drawn')
    with working_in(home):
        words = ['--n-steps', '20', '--metric-every', '10', '--out', 'run']
        ok('train', 'cyclegan', '--data', 'drawn', *short, *words)
        ok('train', 'mlp', '--n-steps', '1', '--quiet', '--out', 'plain')
    return home

@pytest.fixture
def few(here):
    "A folder with 12 and 10 images, in the folder to work in."
    return write_kinds(here/'few', 12, 10)


# Reading and holding out

def test_names_decide_the_order_and_nothing_else(few):
    a, b = unpaired_files(few)
    assert (len(a), len(b)) == (12, 10) and [f.name for f in a] != sorted(f.name for f in a)
    d = folder_unpaired(few, 16)
    i, j = ([int(f.stem[1:]) for f in files] for files in (a, b))
    kinds = both_kinds(d)
    assert d.shape == (6, 16, 16) and len(d) == 12 and d.x is d.y
    assert torch.equal(kinds[0], draw_faces(draw_causes(12, 0, glasses='without'), 16)[i])
    assert torch.equal(kinds[1], draw_faces(draw_causes(10, 1, glasses='with'), 16)[j])
    (few/'B'/'a00.bmp').write_bytes((few/'B'/'b00.png').read_bytes())
    (few/'B'/'a00.png').write_bytes((few/'B'/'b00.png').read_bytes())
    assert len(unpaired_files(few)[1]) == 12  # two of one name are no fault here

@pytest.mark.parametrize('n,m', [(5, 5), (12, 5), (5, 41), (40, 30), (30, 40), (100, 7)])
def test_what_is_held_out_is_never_trained_on(n, m):
    a, b = (torch.arange(k, dtype=torch.uint8)[:, None, None, None].expand(k, 1, 4, 4) for k in (n, m))
    x = in_rows(a, b + 100)
    k = n_held(max(n, m))
    rest, held = (part[:, :, 0, 0].long() for part in (x[:-k], x[-k:]))
    for side, size, first in ((0, n, 0), (1, m, 100)):
        seen, kept = ({*part[:, side].tolist()} for part in (rest, held))
        assert not seen & kept and seen | kept == {*range(first, first + size)}
        assert len(kept) == n_held(size)

def test_images_of_any_shape_are_read_as_for_other_recipes(few):
    Image.open(few/'A'/'a03.png').resize((40, 20)).save(few/'A'/'a03.png')
    Image.open(few/'B'/'b03.png').convert('L').save(few/'B'/'b03.png')
    with pytest.warns(UserWarning, match='1 of 12 images lose more than half'):
        assert folder_unpaired(few, (16, 8)).shape == (6, 16, 8)
    assert folder_unpaired(few, 16, 1).shape == (2, 16, 16)

def test_energy_and_what_is_left():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    assert energy(x, x) == 0 and energy(x[:100], x[100:]) < .1 < energy(x, x + 1)
    left, of_real = share_left(x[:50] + 2, x[50:100], x[100:])
    assert 0 <= left < .1 and 0 <= of_real < .1
    assert np.isnan(share_left(x[:2], x[:2], torch.cat([x[:2], x[:2]]))[0])


# The recipe

def test_the_recipe_builds_the_networks_of_chapter_22():
    r = replace(find('cyclegan'), width=4, n_steps=3, batch_size=4)
    s, a = build(r, face_unpaired(8, 16), device='cpu')
    assert (s.G.shape, s.G.source, s.D.shape, a['labels']) == (*[(6, 16, 16)]*3, True)
    fit(s, **a)
    assert {'cycle_G', 'identity_G', 'penalty'} <= {*s.log.columns}
    assert goes_both_ways(r) and takes_sources(r) and wants_labels(r) and not goes_both_ways('pix2pix')
    assert networks('cyclegan', (2, 16, 16))[0].to_b.shape == (1, 16, 16)

@pytest.mark.parametrize('change,data,words', [
    (dict(), face_pairs(8, 16), 'give two images as one'),
    (dict(augment='flip'), face_unpaired(8, 16), 'it would change the answers and not their sources'),
    (dict(tasks=(('truth', 1.),)), face_unpaired(8, 16), "no task called 'truth'"),
])
def test_what_cannot_be_is_refused(change, data, words):
    r = replace(find('cyclegan'), **change)
    with pytest.raises(ValueError, match=words): build(r, data, device='cpu')

def test_pairs_have_no_way_back():
    with pytest.raises(ValueError, match="no task called 'cycle'"):
        build(replace(find('pix2pix'), tasks=(('cycle', 1.),)), face_pairs(8, 16), device='cpu')

class Never(Same):
    def forward(self, z, y): raise AssertionError('the other way was asked')

@pytest.mark.parametrize('back', [False, True])
def test_one_way_asks_one_network_and_is_the_beginning_of_both(back):
    x = draw_faces(draw_causes(2), 16)
    own = networks('cyclegan', (6, 16, 16))[0].to_a
    alone = BothWays(own, Never()) if back else BothWays(Never(), own)
    there = one_way(alone, x, back=back)
    assert there.shape == (2, 3, 16, 16) and not torch.equal(there, as_drawn(x))
    both = BothWays(own, Same()) if back else BothWays(Same(), own)
    assert torch.equal(there, there_and_back(both, x, back=back)[0])
    with pytest.raises(AssertionError, match='other way'): there_and_back(alone, x, back=back)
    with pytest.raises(ValueError, match='3,16,16'): one_way(alone, x[:, :1], back=back)


# A run

def test_the_picture_shows_both_ways_of_images_that_were_held_out(at_home, tmp_path):
    run = Run.read('run')
    assert (run.about['n'], run.about['held_out'], run.about['source_shape']) == (40, 8, [6, 16, 16])
    _, held = parts_of(run.settings, run.data())
    assert [len(x) for x in both_kinds(held)] == [8, 6]
    made = save_both_ways(tmp_path/'rows.png', trained(at_home/'run', 'cpu').G, held)
    assert made.read_bytes() == (at_home/'run'/'samples.png').read_bytes()
    assert (at_home/'run'/'data.png').is_file() and (at_home/'run'/'curves.png').is_file()
    picture = np.asarray(Image.open(made))
    scale = round(600/(8*17 - 1))
    left = picture.shape[1] - scale*(8*17 - 1)
    y, x = 3*17*scale, left + 2*17*scale  # the fourth row is of B
    third = picture[y:y + 16*scale:scale, x:x + 16*scale:scale].transpose(2, 0, 1)
    assert (third == held.x[2, 3:].numpy()).all()

def test_a_run_is_measured_while_it_trains(at_home):
    lines = (at_home/'run'/'metric.csv').read_text().splitlines()
    assert [line.split(',')[0] for line in lines] == ['step', '10', '20']
    assert all(float(line.split(',')[1]) > 0 for line in lines[1:])
    ok('sample', 'run', '--checkpoint', 'best', '--out', 'best.png')

def test_training_brings_back_what_went(at_home, tmp_path):
    run = Run.read('run')
    _, held = parts_of(run.settings, run.data())
    s, a = build(replace(run.recipe, n_steps=100, batch_size=4, width=8), run.data(), device='cpu')
    before = cycle_error(s.G, held)
    fit(s, **a)
    assert cycle_error(s.best, held) < .75*before and cycle_error(s.best, held) < strangers_error(held)

def test_what_a_run_says(at_home, capsys):
    ok('info', 'run')
    out = capsys.readouterr().out
    assert 'recipe         cyclegan' in out and 'unpaired       True' in out and 'held_out       8' in out
    ok('resume', 'run')
    assert '8 more images of A and 6 of B are held out, for samples.png' in capsys.readouterr().out

def test_sample_goes_either_way(at_home, capsys):
    ok('sample', 'run', '--n', '3')
    assert capsys.readouterr().out.splitlines()[-1] == 'run/answers-held-out-0.png'
    ok('sample', 'run', '--back')
    assert capsys.readouterr().out.splitlines()[-1] == 'run/answers-held-out-back-0.png'
    ok('sample', 'run', '--source', 'drawn/A/a07.png')
    assert capsys.readouterr().out.splitlines()[-1] == 'run/answers-a07-0.png'
    ok('sample', 'run', '--source', 'drawn/B', '--back', '--each', '--out', 'bare')
    assert sorted(p.name for p in (at_home/'bare').iterdir()) == [f'b{i:02}.png' for i in range(30)]
    ok('sample', 'run', '--source', 'drawn/A', '--out', 'there.npy')
    ok('sample', 'run', '--source', 'drawn/A', '--out', 'back.npy', '--back')
    G = trained(at_home/'run', 'cpu').G
    bare = draw_faces(draw_causes(40, 0, glasses='without'), 16)
    data, z = Data('', bare), torch.zeros(40, 1)
    with torch.no_grad(): to_b, to_a = (to_units(data, way(z, as_drawn(bare))) for way in (G.to_b, G.to_a))
    for name, x in (('there', to_b), ('back', to_a)):
        assert np.abs(np.load(f'{name}.npy').astype(int) - x.numpy()).max() <= 1
    assert not torch.equal(to_a, to_b)

def test_evaluate_measures_the_way_back_and_how_near_answers_are(at_home, capsys):
    ok('evaluate', 'run')
    out = capsys.readouterr().out
    assert 'back is of the 8 images of A and 6 of B that were held out' in out
    found = json.loads((at_home/'run'/'evaluation.json').read_text())
    _, held = parts_of(Run.read('run').settings, Run.read('run').data())
    assert found['n'] == 15 and 'error' not in found['measures']
    assert found['measures']['back'] == pytest.approx(cycle_error(trained(at_home/'run', 'cpu').G, held))
    assert found['measures']['left'] > found['of_real']['left'] > 0
    assert found['measures'].keys() == found['of_real'].keys()

def test_other_commands_take_such_a_run(at_home, capsys):
    ok('doctor', 'run')
    assert (at_home/'run'/'doctor.png').is_file() and 'memorisation' not in capsys.readouterr().out
    ok('export', 'run', '--format', 'safetensors', '--out', 'files')
    out = capsys.readouterr().out
    assert '(B,6,16,16), source images' in out and 'of x the first what B became' in out
    ok('sample', 'files/step_00000020.safetensors', '--source', 'drawn/B/b01.png', '--back', '--out', 'x.npy')
    ok('sample', 'run', '--source', 'drawn/B/b01.png', '--back', '--out', 'own.npy')
    assert np.abs(np.load('x.npy').astype(int) - np.load('own.npy')).max() <= 1
    ok('compare', 'run', 'plain', '--out', 'both.png')
    ok('train', 'cyclegan', '--data', 'drawn', *short, '--n-steps', '1', '--from', 'run', '--out', 'second')
    assert Run.read('second').settings['begun_with'].endswith('step_00000020.pt')
    ok('train', '--config', 'run', '--n-steps', '1', '--quiet', '--mirror', '--out', 'again')
    assert Run.read('again').source == Run.read('run').source | dict(mirror=True)

@pytest.mark.parametrize('words,said', [
    (['sample', 'run', '--film'], 'run answers sources: leave --film out'),
    (['sample', 'run', '--latent', 'z.npy'], 'run answers sources: leave --latent out'),
    (['sample', 'run', '--class', '1'], 'run draws no classes: leave --class out'),
    (['sample', 'run', '--back', '--source', 'nowhere'], 'nowhere is not there: give an image, or a folder'),
    (['sample', 'plain', '--back'], 'plain makes images from latents alone: leave --back out'),
    (['train', 'cyclegan', '--data', 'drawn', '--try', 'gamma'], 'the recipe cyclegan gives answers'),
    (['train', 'cyclegan', '--data', 'drawn', '--classes'], 'is told a source and no class: leave --classes'),
    (['train', 'cyclegan', '--data', 'drawn', '--networks', 'mlp'], 'needs networks that take sources'),
    (['train', 'cyclegan', '--data', 'drawn', '--size', '16', '--augment', 'flip'], 'leave it out'),
    (['train', '--networks', 'local'], "no pair of networks called 'local'"),
    (['train', 'cyclegan', '--data', 'digits'], 'digits has no images of two kinds: take faces, or a folder'),
    (['train', 'cyclegan', '--data', 'drawn', '--out', 'drawn/run'], 'lies inside'),
    (['train', 'cyclegan', '--data', 'drawn', '--size', '4'], 'from 8 to 256'),
    (['train', 'pix2pix', '--data', 'drawn'], 'or train cyclegan, which needs no pairs'),
    (['train', 'pix2pix', '--data', 'drawn', '--from', 'run'], 'or train cyclegan, which needs no pairs'),
    (['bench', 'cyclegan'], "a tutorial's loop has none"),
])
def test_one_sentence(at_home, capsys, words, said): wrong(capsys, said, *words)

@pytest.mark.parametrize('spoil,said', [
    (lambda p: shutil.rmtree(p/'B'), 'few has no subfolder B: put images of one kind into A'),
    (lambda p: [(p/side).rename(p/f'train{side}') for side in 'AB'],
        'few has no subfolder A and no B (but trainA, trainB)'),
    (lambda p: [q.unlink() for q in (p/'A').iterdir()], 'few/A holds no image'),
    (lambda p: [q.unlink() for q in [*(p/'A').iterdir()][4:]],
        'few/A has 4 images that can be read: give 5 or more'),
    (lambda p: [q.write_bytes(b'none') for q in (p/'B').iterdir()], 'few/B has 0 images that can be read'),
    (lambda p: shutil.rmtree(p), 'is not there'),
])
def test_wrong_folders_are_one_sentence(few, capsys, spoil, said):
    spoil(few)
    wrong(capsys, said, 'train', 'cyclegan', '--data', 'few', *short)
    assert not Path('runs').exists()

def test_other_folders_and_damaged_images_are_told(few, capsys):
    (few/'C').mkdir()
    (few/'B'/'b04.png').write_bytes((few/'B'/'b04.png').read_bytes()[:60])
    ok('train', 'cyclegan', '--data', 'few', *short, '--n-steps', '1', '--grey', '--out', 'a')
    err = capsys.readouterr().err
    assert 'only A and B are read, and C left out' in err and '1 of 10 images in' in err and 'b04.png' in err
    assert trained(Path('a'), 'cpu').G.shape == (2, 16, 16)
    wrong(capsys, 'fewer than 4 images of a kind are held out: train with 20', 'evaluate', 'a')

def test_images_that_moved_are_found_again(few, capsys):
    ok('train', 'cyclegan', '--data', 'few', *short, '--n-steps', '1', '--out', 'a')
    few.rename('moved')
    wrong(capsys, 'the images of a are gone: say with --source what to translate', 'sample', 'a')
    ok('doctor', 'a')
    wrong(capsys, 'say with --data where it is now', 'resume', 'a', '--n-steps', '2')
    ok('sample', 'a', '--source', 'moved/B/b01.png', '--back')
    ok('resume', 'a', '--n-steps', '2', '--data', 'moved', '--quiet')
    ok('sample', 'a')

def test_a_resumed_run_has_the_same_bits(few):
    words = ['train', 'cyclegan', '--data', 'few', *short, '--n-steps', '6']
    ok(*words, '--out', 'whole')
    stopped(3, *words, '--out', 'parts')
    assert Run.read('parts').step == 3
    ok('resume', 'parts', '--quiet')
    a, b = (read(latest(f'{name}/checkpoints'))['parts']['G'] for name in ('whole', 'parts'))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert Path('whole/samples.png').read_bytes() == Path('parts/samples.png').read_bytes()

program = "import sys; from ganbook.cli import main; sys.exit(main(sys.argv[1:]))"

def begun(words, step):
    "A process that trains, once it has saved this step."
    child = subprocess.Popen([sys.executable, '-c', program, *words], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    end = time.monotonic() + 120
    while not Path(f'run/checkpoints/step_{step:08}.pt').is_file():
        assert child.poll() is None and time.monotonic() < end
        time.sleep(.05)
    return child

@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT], ids=['killed', 'interrupted'])
def test_an_end_in_mid_training_leaves_a_usable_run(few, how):
    words = ['--data', 'few', *short, '--n-steps', '100000', '--every', '5', '--out', 'run']
    child = begun(['train', 'cyclegan', *words], 5)
    os.kill(child.pid, how)
    _, err = child.communicate(timeout=60)
    assert child.returncode in (-signal.SIGKILL, 130)
    if how == signal.SIGINT: assert 'which is saved; go on with: ganbook resume run' in err
    assert Run.read('run').state_now.startswith(('killed', 'interrupted'))
    ok('sample', 'run', '--source', 'few/A/a01.png', '--out', 'x.npy')
    step = read(latest('run/checkpoints'))['step']
    assert step >= 5 and np.load('x.npy').shape == (1, 3, 16, 16)


# Drawn faces

def test_faces_are_measured_against_their_counterparts(here, capsys):
    ok('train', 'cyclegan', *short, '--n-steps', '1')
    run = Run.read('runs/cyclegan-faces')
    assert (run.about['n'], run.about['held_out'], run.source['name']) == (4000, 400, 'faces')
    ok('doctor', 'runs/cyclegan-faces')
    ok('evaluate', 'runs/cyclegan-faces', '--n', '200')
    assert 'error, glasses and kept are of 500 new faces' in capsys.readouterr().out
    found = json.loads(Path('runs/cyclegan-faces/evaluation.json').read_text())
    assert found['of_real']['glasses'] > .9 and 0 <= found['measures']['glasses'] <= 1
    assert found['measures']['error'] > 0

def test_the_counterpart_is_the_same_face_with_glasses():
    made, real, said = with_glasses(BothWays(Same(), Same()), face_unpaired(8, 16), n=60)
    bare, right = (draw_faces(draw_causes(60, 2, glasses=g), 16) for g in ('without', 'with'))
    assert made['error'] == pytest.approx(apart(as_drawn(bare), as_drawn(right)).item(), rel=1e-4)
    assert made['glasses'] < .1 and real['glasses'] > .9 and made['kept'] > .9
    assert f"{made['error']:.3f}" in said[0]


# Wrong calls

def test_wrong_calls(few):
    with pytest.raises(ValueError, match='from 4 to 1024'): folder_unpaired(few, 2)
    with pytest.raises(ValueError, match='at least 5'): face_unpaired(4, 16)
    with pytest.raises(FileNotFoundError, match='give a folder that holds A'):
        unpaired_files(few/'A'/'a00.png')
    x = draw_faces(draw_causes(3), 16)
    assert torch.equal(distinct(torch.cat([x, x])), x)
    G = networks('cyclegan', (6, 16, 16))[0]
    with pytest.raises(ValueError, match='3,16,16'): there_and_back(G, x[:, :1])
