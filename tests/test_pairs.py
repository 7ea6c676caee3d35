"Translation from the command line: two folders whose images belong together by name, or outlines of faces."
import json
import shutil
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
from ganbook.data import Data, faces, to_units
from ganbook.drawing import draw_faces
from ganbook.images import decoded
from ganbook.models.translation import apart
from ganbook.nets import multiply_adds
from ganbook.pairs import (
    answer_error, as_drawn, face_pairs, folder_pairs, held_out, n_held, other_error, paired_files, save_rows,
    translated,
)
from ganbook.plots import save_png
from ganbook.recipes import build, find, networks, source_shape, takes_sources, wants_labels
from ganbook.runs import Run, trained, untrained
from ganbook.sources import mirrored, parts_of, stand_in
from ganbook.train import fit
from ganbook.vitals import vitals

torch.set_num_threads(1)
short = ['--size', '16', '--batch-size', '4', '--quiet']


def write_pairs(root, n=60, size=16, styles=('outline', 'colour')):
    "Outlines in A, grey, and their faces in B; or faces, and what they look like in outline."
    causes = draw_causes(n)
    for side, style in zip('AB', styles):
        for i, image in enumerate(draw_faces(causes, size, style)):
            save_png(image[None], root/side/f'{i:02}.png', 1, scale=1)
    return root


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "What a user does: 60 pairs in two folders, 200 steps at 16 pixels."
    home = tmp_path_factory.mktemp('pairs')
    write_pairs(home/'drawn', styles=('colour', 'outline'))
    with working_in(home):
        words = ['--n-steps', '200', '--every', '100', '--metric-every', '100', '--out', 'run']
        ok('train', 'pix2pix', '--data', 'drawn', *short, *words)
        ok('train', 'mlp', '--n-steps', '1', '--quiet', '--out', 'plain')
    return home

@pytest.fixture
def few(here):
    "A folder with 10 pairs, in the folder to work in."
    return write_pairs(here/'few', 10)


# Reading and holding out

def test_names_decide_the_order_and_the_partners(few):
    (few/'A'/'03.png').rename(few/'A'/'03.jpeg')  # the ending may differ, and decides nothing
    files = paired_files(few)
    assert len(files) == 10 and all(a.stem == b.stem for a, b in files)
    assert [a.stem for a, _ in files] != sorted(a.stem for a, _ in files)
    d = folder_pairs(few, 16)
    i = [int(a.stem) for a, _ in files]
    assert torch.equal(d.x, draw_faces(draw_causes(10), 16)[i])
    assert torch.equal(d.y, draw_faces(draw_causes(10), 16, 'outline')[i].expand(-1, 3, -1, -1))
    write_pairs(few, 12)
    (few/'A'/'03.jpeg').unlink()
    more = [a.stem for a, _ in paired_files(few)]
    assert [name for name in more if name < '10'] == [a.stem for a, _ in files]  # the old keep their order

def test_subfolders_are_part_of_a_name(tmp_path):
    for side in 'AB':
        for name in ('x/1', 'y/1'): save_png(faces(1, 16).x, tmp_path/side/f'{name}.png', 1, scale=1)
    assert {a.relative_to('A').as_posix() for a, _ in paired_files(tmp_path)} == {'x/1.png', 'y/1.png'}

@pytest.mark.parametrize('mode', ['L', '1', 'RGBA', 'P', 'I;16'])
def test_sources_of_any_mode_and_size_are_read_alike(few, mode):
    for p in (few/'A').iterdir():
        img = Image.open(p).resize((40, 40))
        if mode == 'I;16': img = Image.fromarray(np.asarray(img).astype(np.uint16)*257)
        else: img = img.convert(mode)
        img.save(p)
    with pytest.warns(UserWarning) if mode == 'I;16' else open(few/'A'/'00.png', 'rb'):
        d = folder_pairs(few, 16)
    assert d.x.shape == d.y.shape == (10, 3, 16, 16) and d.y.float().std() > 20
    assert folder_pairs(few, (16, 8), 1).y.shape == (10, 1, 16, 8)

def test_a_pair_of_two_proportions_is_told(few):
    Image.open(few/'A'/'07.png').resize((32, 16)).save(few/'A'/'07.png')
    with pytest.warns(UserWarning, match='1 of 10 pairs have images of different prop.* A/07.png'):
        folder_pairs(few, 16)

def test_a_pair_with_a_damaged_image_is_left_out_and_told(few):
    for side, name in (('A', '02'), ('B', '05'), ('B', '02')):
        path = few/side/f'{name}.png'
        path.write_bytes(path.read_bytes()[:60])
    with pytest.warns(UserWarning, match='2 of 10 pairs were left out.*A/02.png.*B/02.png.*B/05.png'):
        d = folder_pairs(few, 16)
    i = [int(a.stem) for a, _ in paired_files(few) if a.stem not in ('02', '05')]
    assert torch.equal(d.x, draw_faces(draw_causes(10), 16)[i])
    assert torch.equal(d.y[:, :1], draw_faces(draw_causes(10), 16, 'outline')[i])

def test_pairs_on_the_disk_are_those_in_memory(few, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    a, b = folder_pairs(few, 16), folder_pairs(few, 16, max_bytes=0)
    assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)

def test_how_many_are_held_out():
    assert [n_held(n) for n in (1, 4, 5, 24, 40, 60, 80, 81, 1000)] == [0, 0, 1, 4, 8, 8, 8, 8, 100]
    d = face_pairs(9, 16)
    rest, held = held_out(d, 2)
    assert torch.equal(torch.cat([rest.y, held.y]), d.y) and len(held) == 2
    assert rest.x.data_ptr() == d.x.data_ptr() and held_out(d, 0)[1] is None
    with pytest.raises(ValueError, match='from 0 to 8'): held_out(d, 9)

def test_mirroring_is_of_both_and_of_pairs_to_train_on():
    d = face_pairs(10, 16)
    both = mirrored(d)
    assert torch.equal(both.y[10:], d.y.flip(-1)) and torch.equal(both.x[10:], d.x.flip(-1))
    rest, held = parts_of(dict(data=dict(held_out=2), source=dict(mirror=True)), d)
    assert len(rest) == 16 and torch.equal(held.x, d.x[8:])
    assert torch.equal(rest.y[8:], d.y[:8].flip(-1))
    labels = mirrored(replace(faces(4, 16), causes=None))
    assert torch.equal(labels.y[:4], labels.y[4:])

def test_rows_of_a_picture(tmp_path):
    d = face_pairs(11, 16)
    save_rows(dict(source=d.y, truth=d.x), tmp_path/'a.png')
    picture = np.asarray(Image.open(tmp_path/'a.png'))
    scale = round(600/(8*17 - 1))
    left = picture.shape[1] - scale*(8*17 - 1)
    assert picture.shape[0] == scale*(4*17 - 1) and left > 20  # two blocks of two rows, named
    def at(row, column):
        y, x = (scale*17*k for k in (row, column))
        return picture[y:y + 16*scale:scale, left + x:left + x + 16*scale:scale].transpose(2, 0, 1)
    assert (at(0, 3) == d.y[3].numpy()).all() and (at(1, 3) == d.x[3].numpy()).all()
    assert (at(3, 2) == d.x[10].numpy()).all() and (at(2, 3) == 255).all()


# In recipes

def test_the_recipe_builds_the_translator_of_chapter_22():
    r = replace(find('pix2pix'), width=4, n_steps=3, batch_size=4)
    s, a = build(r, face_pairs(8, 16), device='cpu')
    assert (s.G.source, s.G.shape, s.D.source, a['labels']) == ((1, 16, 16), (3, 16, 16), (1, 16, 16), True)
    fit(s, **a)
    assert {'truth_G', 'penalty'} <= {*s.log.columns} and takes_sources(r) and wants_labels(r)
    assert 'copies' not in vitals(s, a['data'], a['loss'], labels=True)
    assert multiply_adds(s.G, (8,), s.G.source) > 1000
    assert networks('pix2pix', (3, 16, 16))[0].source == (3, 16, 16)
    assert source_shape('stable', face_pairs(8, 16)) is None

@pytest.mark.parametrize('change,data,words', [
    (dict(), faces(8, 16), 'translates images, and faces has no sources: take faces, or a folder'),
    (dict(augment='flip'), face_pairs(8, 16), 'it would change the answers and not their sources'),
    (dict(pack=2), face_pairs(8, 16), 'D answers for a sample'),
    (dict(tasks=(('colour', 1.),)), face_pairs(8, 16), "no task called 'colour'"),
])
def test_what_cannot_be_is_refused(change, data, words):
    with pytest.raises(ValueError, match=words): build(replace(find('pix2pix'), **change), data, device='cpu')

def test_other_recipes_have_no_such_task():
    with pytest.raises(ValueError, match="no task called 'truth'"):
        build(replace(find('mlp'), tasks=(('truth', 1.),)), faces(8, 16), device='cpu')


# A run

def test_answers_are_nearer_to_the_truth_than_those_of_an_untrained_net(at_home):
    run = Run.read('run')
    assert (run.about['n'], run.about['held_out'], run.about['source_shape']) == (60, 8, [3, 16, 16])
    _, held = parts_of(run.settings, run.data())
    what = trained(at_home/'run', 'cpu')
    before, after = answer_error(untrained(run.settings), held), answer_error(what.G, held)
    assert after < .5*before and after < .8*other_error(held)
    by_hand = apart(translated(what.G, held.y), as_drawn(held.x)).item()
    assert after == pytest.approx(by_hand, rel=1e-5)

def test_the_picture_has_sources_answers_and_truths_of_held_out_pairs(at_home, tmp_path):
    run = Run.read('run')
    _, held = parts_of(run.settings, run.data())
    answer = to_units(held, translated(trained(at_home/'run', 'cpu').G, held.y))
    assert len(held) == 8
    rows = save_rows(dict(source=held.y, answer=answer, truth=held.x), tmp_path/'rows.png')
    assert rows.read_bytes() == (at_home/'run'/'samples.png').read_bytes()
    names = {a.stem for a, _ in paired_files('drawn')[-8:]}
    assert len(names) == 8 and (at_home/'run'/'data.png').is_file()

def test_the_error_is_measured_as_the_run_goes_on(at_home):
    lines = (at_home/'run'/'metric.csv').read_text().splitlines()
    run = Run.read('run')
    _, held = parts_of(run.settings, run.data())
    assert [line.split(',')[0] for line in lines] == ['step', '100', '200']
    error = answer_error(trained(at_home/'run', 'cpu').G, held)
    assert float(lines[-1].split(',')[1]) == pytest.approx(error, rel=1e-4)
    ok('sample', 'run', '--checkpoint', 'best', '--out', 'best.png')

def test_what_a_run_says(at_home, capsys):
    ok('info', 'run')
    out = capsys.readouterr().out
    assert 'held_out       8' in out and 'pairs          True' in out
    ok('resume', 'run')
    assert '8 more pairs are held out, for samples.png' in capsys.readouterr().out

def test_evaluate_gives_the_error_on_held_out_pairs(at_home, capsys):
    ok('evaluate', 'run')
    out = capsys.readouterr().out
    assert 'The error is that of all 8 pairs that were held out.' in out
    found = json.loads((at_home/'run'/'evaluation.json').read_text())
    _, held = parts_of(Run.read('run').settings, Run.read('run').data())
    error = answer_error(trained(at_home/'run', 'cpu').G, held)
    assert found['measures']['error'] == pytest.approx(error)
    assert found['of_real']['error'] == pytest.approx(other_error(held))
    assert found['measures']['error'] < found['of_real']['error'] and found['measures']['distance'] is None

def test_sample_answers_held_out_pairs_an_image_or_a_folder(at_home, capsys):
    ok('sample', 'run', '--n', '3')
    assert capsys.readouterr().out.splitlines()[-1] == 'run/answers-held-out-0.png'
    ok('sample', 'run', '--source', 'drawn/A/07.png')
    assert capsys.readouterr().out.splitlines()[-1] == 'run/answers-07-0.png'
    ok('sample', 'run', '--source', 'drawn/A', '--each', '--out', 'turned')
    assert sorted(p.name for p in (at_home/'turned').iterdir()) == [f'{i:02}.png' for i in range(60)]
    ok('sample', 'run', '--source', 'drawn/A', '--n', '5', '--out', 'a.npy')
    ok('sample', 'run', '--source', 'drawn/A/02.png', '--out', 'two.npy')
    assert np.load('a.npy').shape == (5, 3, 16, 16) and (np.load('two.npy').shape == (1, 3, 16, 16))
    one = np.asarray(Image.open('turned/02.png'))
    want = to_units(faces(1, 16), translated(trained(at_home/'run', 'cpu').G, faces(60, 16).x))
    assert np.abs(one.astype(int) - want[2].permute(1, 2, 0).numpy().astype(int)).max() <= 1

def test_sources_of_one_stem_keep_their_endings(at_home, tmp_path):
    for name in ('a.png', 'a.bmp', 'b.png'): Image.new('L', (20, 30)).save(tmp_path/name)
    ok('sample', 'run', '--source', str(tmp_path), '--each', '--out', str(tmp_path.parent/'answers'))
    found = sorted(p.name for p in (tmp_path.parent/'answers').iterdir())
    assert found == ['a.bmp.png', 'a.png.png', 'b.png.png']

def test_other_commands_take_such_a_run(at_home, capsys):
    ok('doctor', 'run')
    assert (at_home/'run'/'doctor.png').is_file() and 'memorisation' not in capsys.readouterr().out
    ok('export', 'run', '--format', 'safetensors', '--out', 'files')
    ok('export', 'run', '--format', 'torch', '--out', 'files')
    assert 'and y, float32 (B,3,16,16), source images, black at -1' in capsys.readouterr().out
    ok('sample', 'files/step_00000200.safetensors', '--source', 'drawn/A/01.png', '--out', 'exported.npy')
    ok('sample', 'run', '--source', 'drawn/A/01.png', '--out', 'own.npy')
    assert np.abs(np.load('exported.npy').astype(int) - np.load('own.npy')).max() <= 1
    ok('compare', 'run', 'plain', '--out', 'both.png')
    ok('train', 'pix2pix', '--data', 'drawn', *short, '--n-steps', '1', '--from', 'run', '--out', 'second')
    ok('train', '--config', 'run', '--n-steps', '1', '--quiet', '--out', 'again')
    assert Run.read('again').source == Run.read('run').source and Run.read('again').recipe.tasks
    assert Run.read('second').settings['begun_with'].endswith('step_00000200.pt')
    state = stand_in(Run.read('run').settings)
    assert state.y.shape == (1, 3, 16, 16)

@pytest.mark.parametrize('words,said', [
    (['sample', 'run', '--film'], 'run answers sources: leave --film out'),
    (['sample', 'run', '--latent', 'z.npy'], 'run answers sources: leave --latent out'),
    (['sample', 'run', '--class', '1'], 'run draws no classes: leave --class out'),
    (['sample', 'run', '--source', 'nowhere'], 'nowhere is not there: give an image, or a folder of images'),
    (['sample', 'run', '--source', 'run/run.json'], 'no source could be decoded, run.json (not an image)'),
    (['sample', 'run', '--source', 'drawn/A', '--each', '--out', 'drawn/A/out'], 'lies inside'),
    (['sample', 'plain', '--source', 'drawn/A'], 'plain makes images from latents alone: leave --source out'),
    (['train', '--resume', '--mirror', '--out', 'run'], 'the run has mirror False, not True'),
    (['train', 'mlp', '--from', 'run', '--out', 'x'], 'do not fit'),
    (['train', 'pix2pix', '--data', 'drawn', '--try', 'gamma'], 'the recipe pix2pix gives answers'),
    (['train', 'pix2pix', '--data', 'drawn', '--classes'], 'is told a source and no class: leave --classes'),
    (['train', 'pix2pix', '--data', 'drawn', '--networks', 'mlp'], 'needs networks that take sources'),
    (['train', 'pix2pix', '--data', 'drawn', '--size', '16', '--augment', 'flip'], 'leave it out'),
    (['train', '--networks', 'unet'], "no pair of networks called 'unet'"),
    (['train', 'pix2pix', '--data', 'digits'], 'digits has no pairs of a source and what it should become'),
    (['train', 'pix2pix', '--data', 'ring'], 'ring has no pairs'),
    (['train', 'pix2pix', '--data', 'drawn', '--out', 'drawn/run'], 'lies inside'),
    (['train', 'pix2pix', '--data', 'drawn', '--size', '4'], 'from 8 to 256'),
    (['bench', 'pix2pix'], "a tutorial's loop has none"),
])
def test_one_sentence(at_home, capsys, words, said): wrong(capsys, said, *words)

@pytest.mark.parametrize('spoil,said', [
    (lambda p: shutil.rmtree(p/'B'), 'few has no subfolder B: put the sources into A'),
    (lambda p: shutil.rmtree(p/'A'), 'few has no subfolder A: put the sources into A'),
    (lambda p: [q.unlink() for q in (p/'A').iterdir()], 'few/A holds no image'),
    (lambda p: (p/'A'/'03.png').unlink(), 'few/B/03.png has no partner of that name in'),
    (lambda p: [q.rename(q.with_name('in' + q.name)) for q in [*(p/'A').iterdir()]],
        'has no partner of that name in'),
    (lambda p: shutil.copy(p/'A'/'03.png', p/'A'/'03.bmp'), 'have one name: rename or remove one of them'),
    (lambda p: [q.write_bytes(b'none') for q in (p/'B').iterdir()], 'no pair could be decoded'),
    (lambda p: shutil.rmtree(p), 'is not there'),
])
def test_wrong_folders_are_one_sentence(few, capsys, spoil, said):
    spoil(few)
    wrong(capsys, said, 'train', 'pix2pix', '--data', 'few', *short)
    assert not Path('runs').exists()

def test_a_damaged_pair_is_told_and_the_others_are_trained_on(few, capsys):
    (few/'B'/'04.png').write_bytes((few/'B'/'04.png').read_bytes()[:60])
    ok('train', 'pix2pix', '--data', 'few', *short, '--n-steps', '2', '--mirror', '--out', 'a')
    assert '1 of 10 pairs were left out' in capsys.readouterr().err
    run = Run.read('a')
    assert (run.about['n'], run.about['held_out'], run.source['mirror']) == (9, 1, True)
    wrong(capsys, 'a holds fewer than 4 pairs out: train with 20 pairs or more', 'evaluate', 'a')

def test_pairs_too_few_to_hold_any_out(few, capsys):
    for i in range(3, 10): [(few/side/f'{i:02}.png').unlink() for side in 'AB']
    words = ['--n-steps', '2', '--metric-every', '1', '--out', 'a']
    ok('train', 'pix2pix', '--data', 'few', *short, *words)
    assert 'no pair is held out of so few: samples.png shows pairs of training' in capsys.readouterr().out
    ok('sample', 'a')
    assert 'a holds no pair out: these are of training' in capsys.readouterr().err

def test_pairs_that_moved_are_found_again(few, capsys):
    ok('train', 'pix2pix', '--data', 'few', *short, '--n-steps', '2', '--grey', '--out', 'a')
    few.rename('moved')
    wrong(capsys, 'the images of a are gone: say with --source what to translate', 'sample', 'a')
    ok('doctor', 'a')
    wrong(capsys, 'say with --data where it is now', 'resume', 'a', '--n-steps', '3')
    ok('sample', 'a', '--source', 'moved/A/01.png')
    ok('resume', 'a', '--n-steps', '3', '--data', 'moved', '--quiet')
    ok('sample', 'a')
    assert trained(Path('a'), 'cpu').G.shape == (1, 16, 16)

def test_a_resumed_run_has_the_same_bits(few):
    words = ['train', 'pix2pix', '--data', 'few', *short, '--n-steps', '6']
    ok(*words, '--out', 'whole')
    stopped(3, *words, '--out', 'parts')
    assert Run.read('parts').step == 3
    ok('resume', 'parts', '--quiet')
    a, b = (read(latest(f'{name}/checkpoints'))['parts']['G'] for name in ('whole', 'parts'))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert Path('whole/samples.png').read_bytes() == Path('parts/samples.png').read_bytes()

def test_faces_have_outlines(here):
    ok('train', 'pix2pix', *short, '--n-steps', '1')
    run = Run.read('runs/pix2pix-faces')
    assert run.source['name'] == 'faces' and run.about['source_shape'] == [1, 16, 16]
    assert run.about['held_out'] == 400
    ok('train', 'pix2pix', '--resume', '--n-steps', '2', '--quiet')
    assert Run.read('runs/pix2pix-faces').step == 2

def test_the_recipe_style_trains(here):
    ok('train', 'style', '--data', 'faces', *short, '--n-steps', '20')
    assert Run.read('runs/style-faces').status == 'finished'
    ok('sample', 'runs/style-faces', '--n', '4', '--out', 'x.npy')
    assert np.load('x.npy').shape == (4, 3, 16, 16)


# Wrong calls

def test_wrong_calls(few):
    with pytest.raises(ValueError, match='3 .colour. or 1 .grey.'): decoded(few, ['A/00.png'], 16, 2)
    with pytest.raises(ValueError, match='from 4 to 1024'): folder_pairs(few, 2)
    with pytest.raises(ValueError, match='whole number'): face_pairs(0, 16)
    with pytest.raises(FileNotFoundError, match='give a folder that holds A'): paired_files(few/'A'/'00.png')
    assert isinstance(folder_pairs(few, 16), Data)
