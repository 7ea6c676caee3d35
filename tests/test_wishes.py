"What a user may ask of a run: mirrored images, augmentation, other networks, sizes, a start."
import json
import shutil
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from commands import ok, wrong
from ganbook.callbacks import latest
from ganbook.checkpoints import read
from ganbook.recipes import pairs
from ganbook.runs import Run

torch.set_num_threads(1)
short = ['--n-steps', '2', '--batch-size', '4', '--quiet']


@pytest.fixture
def photos(here):
    "A folder of 24 images, wider than high, in the folder to work in."
    rng = np.random.default_rng(0)
    (here/'photos').mkdir()
    for i in range(24):
        pixels = rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(here/'photos'/f'{i:02}.png')
    return here/'photos'


def test_mirror_doubles_the_images(photos, capsys):
    ok('train', 'mlp', '--data', 'photos', '--size', '8', '--mirror', *short, '--out', 'a')
    run = Run.read('a')
    x = run.data().x
    assert run.about['n'] == len(x) == 48 and run.source['mirror'] is True
    assert torch.equal(x[24:], x[:24].flip(-1)) and not torch.equal(x[24:], x[:24])
    ok('train', '--config', 'a', '--quiet', '--out', 'b')
    assert Run.read('b').settings == Run.read('a').settings
    assert Path('b/log.csv').read_bytes() == Path('a/log.csv').read_bytes()
    ok('resume', 'a', '--n-steps', '3', '--quiet')
    assert 'changed' not in capsys.readouterr().err
    ok('train', 'mlp', '--data', 'photos', '--size', '8', *short, '--out', 'plain')
    assert 'mirror' not in Run.read('plain').source
    wrong(capsys, 'the run has mirror False, not True', 'train', '--resume', '--mirror', '--out', 'plain')
    wrong(capsys, '--mirror is for a folder of images', 'train', '--mirror')


@pytest.mark.parametrize('size,shape', [('16x8', [3, 16, 8]), ('8x24', [3, 8, 24]), ('9x9', [3, 9, 9])])
def test_height_and_width(photos, size, shape):
    ok('train', '--data', 'photos', '--size', size, *short, '--out', 'a')
    assert Run.read('a').about['shape'] == shape
    ok('train', '--config', 'a', '--quiet', '--out', 'b')
    ok('train', '--resume', '--size', size, '--n-steps', '3', '--quiet', '--out', 'a')
    assert Run.read('b').settings == Run.read('a').settings
    ok('sample', 'a', '--n', '3', '--out', 'x.npy')
    assert np.load('x.npy').shape == (3, *shape)
    ok('doctor', 'a')


@pytest.mark.parametrize('words,said', [
    (['--size', '48x'], "'48x' is no size: give 64, or height x width such as 48x32"),
    (['--size', 'big'], "'big' is no size"), (['--size', '8x8x8'], 'is no size'),
    (['--size', '7x16'], 'from 8 to 256'), (['--size', '16x2000'], 'from 4 to 1024'),
    (['--data', 'faces', '--size', '16x32'], 'faces are square'),
    (['--data', 'digits', '--size', '16x32'], '--size is for a folder of images'),
    (['--augment', 'blur'], "no augmentation called 'blur': take one of color"),
    (['--augment', 'flip', '--data', 'ring'], 'ring holds points'),
    (['--networks', 'unet'], "no pair of networks called 'unet': take one of mlp, dcgan, resnet"),
    (['--networks', 'resnet', '--data', 'ring'], '(C,H,W)'),
    (['--from', 'nowhere'], 'nowhere is not there: give the folder of a run'),
    (['--from', 'photos'], 'a checkpoint in photos is not there: give a run that has trained'),
    (['--from', '@faces'], 'holds a generator alone'),
])
def test_what_cannot_be_is_one_sentence(words, said, photos, capsys):
    data = [] if '--data' in words else ['--data', 'photos']
    wrong(capsys, said, 'train', *data, *words, '--n-steps', '2')


@pytest.mark.parametrize('name', ['color', 'diffaugment', 'flip', 'ada'])
def test_augmentations_by_name(name, photos):
    ok('train', 'mlp', '--data', 'photos', '--size', '8', '--augment', name, *short, '--out', 'a')
    assert Run.read('a').recipe.augment == name
    ok('train', '--config', 'a', '--quiet', '--out', 'b')
    assert Run.read('b').settings == Run.read('a').settings
    ok('resume', 'a', '--n-steps', '3', '--quiet')


def test_ada_holds_images_back_and_keeps_how_far_it_has_come(photos):
    words = ['train', 'mlp', '--data', 'photos', '--size', '8', '--augment', 'ada', '--batch-size', '4',
        '--n-steps', '60', '--every', '30', '--quiet']
    ok(*words, '--out', 'whole')
    p = [read(f'whole/checkpoints/step_000000{n}.pt')['parts']['extra.augment']['p'] for n in (30, 60)]
    assert all(0 <= v <= 1 for v in p) and p[0] != p[1]
    shutil.copytree('whole', 'part')
    Path('part/checkpoints/step_00000060.pt').unlink()
    ok('resume', 'part', '--quiet')
    a, b = (read(latest(f'{name}/checkpoints'))['parts'] for name in ('whole', 'part'))
    assert all(torch.equal(v, b['G'][k]) for k, v in a['G'].items())
    assert torch.equal(a['extra.augment']['p'], b['extra.augment']['p'])


@pytest.fixture
def pets(photos):
    "The same images in two subfolders, six of them cats."
    for i, p in enumerate(sorted(photos.iterdir())):
        to = photos/('cat' if i % 4 == 0 else 'dog')
        to.mkdir(exist_ok=True)
        p.rename(to/p.name)
    return photos


def test_ada_with_classes_resumes_to_the_bit(pets):
    words = ['train', '--data', 'photos', '--classes', '--size', '8x16', '--augment', 'ada', '--n-steps', '8',
        '--batch-size', '4', '--every', '4', '--quiet']
    ok(*words, '--out', 'whole')
    assert Run.read('whole').about['classes'] == dict(cat=6, dog=18)
    parts = [read(f'whole/checkpoints/step_0000000{n}.pt')['parts'] for n in (4, 8)]
    assert all(0 <= p['extra.augment']['p'] <= 1 for p in parts)
    shutil.copytree('whole', 'part')
    Path('part/checkpoints/step_00000008.pt').unlink()
    ok('resume', 'part', '--quiet')
    again = read(latest('part/checkpoints'))['parts']
    assert all(torch.equal(v, again['G'][k]) for k, v in parts[1]['G'].items())
    assert torch.equal(parts[1]['extra.augment']['p'], again['extra.augment']['p'])
    ok('sample', 'whole', '--n', '2', '--class', 'cat', '--out', 'x.npy')
    assert np.load('x.npy').shape == (2, 3, 8, 16)


@pytest.mark.parametrize('size,words', [('32', ''), ('24x32', '--augment ada'), ('32x24', '--networks mlp')])
def test_classes_at_larger_sizes(size, words, pets):
    ok('train', '--data', 'photos', '--classes', '--size', size, *words.split(), *short, '--out', 'a')
    ok('sample', 'a', '--n', '2', '--class', 'dog', '--out', 'x.npy')
    sides = [int(n) for n in size.split('x')]
    assert np.load('x.npy').shape == (2, 3, sides[0], sides[-1])


def test_ada_wants_five_images_of_each_class(pets, capsys):
    for p in sorted((pets/'cat').iterdir())[:2]: p.rename(pets/'dog'/p.name)
    words = ['train', '--data', 'photos', '--size', '8', '--augment', 'ada', '--n-steps', '2']
    wrong(capsys, 'it holds a tenth of the data out, give each class 5 images', *words, '--classes')
    ok(*words, '--batch-size', '4', '--quiet', '--out', 'a')  # classes are not asked for


@pytest.mark.parametrize('recipe', ['mlp', 'stable', 'pictures'])
@pytest.mark.parametrize('name', sorted(pairs))
def test_networks_by_name(recipe, name, photos):
    ok('train', recipe, '--data', 'photos', '--size', '8', '--networks', name, *short, '--out', 'a')
    assert Run.read('a').recipe.networks == name
    ok('sample', 'a', '--n', '2', '--out', 'x.npy')
    ok('train', '--config', 'a', '--quiet', '--n-steps', '1', '--out', 'b')
    assert Run.read('b').recipe.networks == name


def test_a_run_begins_with_the_weights_of_another(photos, capsys):
    words = ['train', 'mlp', '--data', 'photos', '--size', '8', *short]
    ok(*words, '--out', 'old')
    ok(*words, '--seed', '5', '--from', 'old', '--out', 'new')
    old, new = (read(p)['parts'] for p in (latest('old/checkpoints'), 'new/checkpoints/step_00000000.pt'))
    for name in ('G', 'D', 'G_ema'): assert all(torch.equal(v, new[name][k]) for k, v in old[name].items())
    assert new['opt_G']['state'] == {} and Run.read('new').step == 2
    first = str(Path('old/checkpoints/step_00000002.pt').resolve())
    assert json.loads(Path('new/run.json').read_text())['settings']['begun_with'] == first
    ok('train', '--config', 'new', '--quiet', '--out', 'again')
    assert Path('again/log.csv').read_bytes() == Path('new/log.csv').read_bytes()
    for p in Path('new/checkpoints').glob('*2.pt'): p.unlink()  # killed before it saved again
    ok('resume', 'new', '--quiet')
    assert Path('new/log.csv').read_bytes() == Path('again/log.csv').read_bytes()
    capsys.readouterr()
    ok('info', 'new')
    assert first in capsys.readouterr().out
    wrong(capsys, 'do not fit', 'train', 'mlp', '--data', 'photos', '--size', '9', '--from', 'old')
    wrong(capsys, 'do not fit', 'train', '--data', 'photos', '--size', '8', '--from', 'old')
    wrong(capsys, 'the run has from None', 'train', '--resume', '--out', 'old', '--from', 'new')
    shutil.rmtree('old')
    wrong(capsys, 'is not there', 'train', '--config', 'new', '--out', 'once more')


def test_the_data_are_shown_as_they_become(photos, capsys):
    from ganbook.plots import enlarged
    ok('train', 'mlp', '--data', 'photos', '--size', '8', '--mirror', *short, '--out', 'a')
    run = Run.read('a')
    shown = Image.open('a/data.png')
    assert np.array_equal(np.asarray(shown.convert('RGB')), np.asarray(enlarged(run.data().x[:64])))
    assert 'near copies' not in capsys.readouterr().err
    ok('train', 'points', *short, '--out', 'b')
    assert not Path('b/data.png').exists()


def test_near_copies_are_told_and_kept(photos, capsys):
    with Image.open(photos/'03.png') as image:
        image.resize((48, 32), Image.Resampling.BICUBIC).save(photos/'copy.png')
    shutil.copy(photos/'05.png', photos/'again.png')
    ok('train', 'mlp', '--data', 'photos', '--size', '8', *short, '--out', 'a')
    err = capsys.readouterr().err
    assert '2 of 26 images are near copies of others, such as ' in err and Run.read('a').about['n'] == 26
