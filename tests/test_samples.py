"Samples as files: a picture, an array, a folder of pictures, a film."
import numpy as np
import pytest
from PIL import Image
from ganbook.cli import main
from ganbook.pretrained import locate
from ganbook.runs import trained
from ganbook.samples import write_film

def test_the_command_line_writes_each_kind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main('sample @faces --n 3 --out a.npy'.split()) == 0
    assert main('sample @faces --n 3 --each --out one'.split()) == 0
    assert main('sample @faces --n 2 --film'.split()) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == 'runs/@faces/film-2-0.webp'
    x = np.load('a.npy')
    for i in range(3): assert (np.asarray(Image.open(f'one/{i:05}.png')) == x[i].transpose(1, 2, 0)).all()
    with Image.open(last) as film: assert film.n_frames == 24

def test_a_film_begins_at_the_first_sample_and_ends_before_it(tmp_path):
    what = trained(locate('faces'), 'cpu')
    write_film(what, tmp_path/'a.webp', 3, seed=4)
    first = what.draw(3, seed=4)[0]
    with Image.open(tmp_path/'a.webp') as film:
        frames = [np.asarray((film.seek(i), film.convert('RGB'))[1]).astype(float) for i in (0, 1, 35)]
    large = ((first + 1)*127.5).repeat_interleave(10, 1).repeat_interleave(10, 2).permute(1, 2, 0).numpy()
    apart = [np.abs(frame - large).mean() for frame in frames]
    assert apart[0] < 12  # what the compression of a film changes
    assert apart[0] < apart[1] and apart[0] < apart[2] < np.abs(frames[0] - 127).mean()

def test_the_class_of_a_film_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main('train conditional --n-steps 2 --quiet --batch-size 4 --out a'.split()) == 0
    assert main('sample a --film'.split()) == 2
    assert 'say with --class which one the film is of' in capsys.readouterr().err
    assert main('sample a --film --class 3 --n 2'.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'a/film-2-0-class-3.webp'

@pytest.mark.parametrize(
    'words,part',
    [
        ('--each --film', 'choose one of --each and --film'),
        ('--film --out a.gif', 'a.gif is no .webp file'),
        ('--each --out a.png', 'a.png is no name of a folder'),
        ('--each --out full', 'full has files in it'),
        ('--film --n 1', 'n is 1: it must be at least 2'),
        ('--film --n 5000', 'at most'),
        ('--out a.webp', 'neither a .png nor a .npy'),
    ],
)
def test_wrong_words_are_told(words, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'a.txt').write_text('mine')
    assert main(['sample', '@faces', *words.split()]) == 2
    assert part in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['full']

def test_points_are_no_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main('train points --n-steps 2 --quiet --batch-size 4 --out a'.split()) == 0
    for kind in ('--each', '--film'):
        assert main(['sample', 'a', kind]) == 2
        assert 'a draws points: choose a .png or a .npy file' in capsys.readouterr().err
    assert not list((tmp_path/'a').glob('*64-0'))
