"Two folders of images held against each other, from the command line."
import pytest
import torch
from ganbook.causes import draw_causes
from ganbook.cli import main
from ganbook.drawing import draw_faces
from ganbook.folders import between
from ganbook.plots import save_png

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp('folders')
    x = draw_faces(draw_causes(200, seed=5), 16)
    sets = dict(real=x[:100], other=x[100:150], grey=x[150:].float().mean(1, keepdim=True).byte(), few=x[:10])
    for name, images in sets.items():
        for i, image in enumerate(images):
            save_png(image[None], folder/name/f'{i:03}.png', n_cols=1, scale=1)
    return folder

def test_a_folder_is_measured(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    assert main('distance real other --size 16 --features faces --device cpu'.split()) == 0
    out = capsys.readouterr().out
    assert '50 images of other against as many of real' in out and "yardstick 'faces'" in out
    assert 'precision' in out and 'measure' in out and 'other' in out
    assert 'No distance: it needs at least 96 samples' in out  # said, and not left blank

def test_the_same_images_are_copies_and_others_are_not(home):
    real, other = str(home/'real'), str(home/'other')
    _, same = between(real, real, size=16)
    _, fair = between(real, other, size=16)
    assert same.found['copies'] == 1 and same.found['nearest'] == 0
    assert fair.found['copies'] < .2 and fair.found['nearest'] > .5

def test_the_choice_of_images_follows_the_seed(home):
    pair = str(home/'real'), str(home/'other')
    a, b, c = (str(between(*pair, size=16, n=30, seed=seed)[1].found) for seed in (0, 0, 1))
    assert a == b != c

def test_colours_are_left_out_where_asked(home):
    n, m = between(str(home/'real'), str(home/'grey'), size=16, grey=True)
    assert n == 50 and torch.tensor(m.found['precision']).isfinite()

@pytest.mark.parametrize(
    'words,part',
    [
        ('real ring', 'ring holds points'), ('real few --size 16', 'at least 40 real images and 20 others'),
        ('real digits', 'read both at one --size'), ('real nowhere', 'nowhere'),
        ('real other --size 3', 'size'), ('real other --n 0', 'n is 0'),
        ('real other --n 5 --size 16', '--n is 5'),
        ('real other --features eyes --size 16', 'eyes'), ('real other --seed -1', 'seed'),
        ('digits other --size 16', '--size is for a folder of images'),
    ],
)
def test_wrong_words_are_one_sentence(words, part, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    assert main(['distance', *words.split()]) == 2
    *warned, last = capsys.readouterr().err.splitlines()  # a warning may stand above: images were enlarged
    assert part in last and 'Traceback' not in ''.join(warned)
