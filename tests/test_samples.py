"Samples as files: a picture, an array, a folder of pictures, a film."
import sys
from pathlib import Path
import numpy as np
import pytest
import torch
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

@pytest.fixture
def program(here, monkeypatch):
    "Put a program called ffmpeg on a PATH of its own, which runs these lines of Python."
    monkeypatch.setenv('PATH', str(here/'bin'))
    (here/'bin').mkdir()
    def put(*lines):
        file = here/'bin'/'ffmpeg'
        file.write_text('\n'.join([f'#!{sys.executable} -S', 'import sys', *lines]))
        file.chmod(0o755)
    return put

def test_ffmpeg_gets_the_frames_of_a_film(program, capsys):
    "A program that takes the place of ffmpeg writes down its words and its input."
    program(
        "open('words', 'w').write('\\n'.join(sys.argv[1:]))", "pixels = sys.stdin.buffer.read()",
        "open('pixels', 'wb').write(pixels)", "open(sys.argv[-1], 'wb').write(b'a film')",
    )
    assert main('sample @faces --n 2 --film --seed 4 --out a.MP4'.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'a.MP4' and Path('a.MP4').read_bytes() == b'a film'
    words = Path('words').read_text().splitlines()
    what = trained(locate('faces'), 'cpu')
    side = 256//what.G.shape[-1]*what.G.shape[-1]
    given, wanted = words[:words.index('-i')], words[words.index('-i'):]
    assert given[given.index('-s') + 1] == f'{side}x{side}' and given[given.index('-r') + 1] == '12'
    assert 'rgb24' in given and 'yuv420p' in wanted and wanted[-2] == 'mp4'
    frames = np.frombuffer(Path('pixels').read_bytes(), np.uint8).reshape(24, side, side, 3)
    first = ((what.draw(2, seed=4)[0] + 1)*127.5).round().byte().permute(1, 2, 0).numpy()
    k = side//what.G.shape[-1]
    assert np.abs(frames[0, k//2::k, k//2::k].astype(int) - first).max() <= 1

@pytest.mark.parametrize('shape', [(1, 1, 9, 9), (1, 3, 300, 201)])
def test_the_sides_of_a_film_are_even(shape):
    from ganbook.samples import _even, _film_frames
    frame, = _film_frames(torch.randint(0, 256, shape, dtype=torch.uint8))
    even, (h, w) = _even(frame), frame.shape[:2]
    assert even.shape == (h + h % 2, w + w % 2, 3)
    assert (even[:h, :w] == frame.reshape(h, w, -1)).all() and (even[-1] == even[h - 1]).all()

def test_an_mp4_that_cannot_be_written_is_one_sentence(program, capsys):
    words = 'sample @faces --n 2 --film --out a.mp4'.split()
    assert main(words) == 2
    assert 'a.mp4 needs the program ffmpeg: install it, or name a .webp file' in capsys.readouterr().err
    program("sys.stderr.write('Unknown encoder libx264\\nmore')", 'sys.exit(3)')
    assert main(words) == 2
    err = capsys.readouterr().err
    assert 'ffmpeg could not write an .mp4 (Unknown encoder libx264): name a .webp file' in err
    assert err.count('\n') == 1
    program('sys.exit(3)')
    assert main(words) == 2 and '(exit code 3)' in capsys.readouterr().err
    assert [p.name for p in Path().iterdir()] == ['bin']

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
        ('--film --out a.gif', 'a.gif is neither a .webp nor an .mp4 file'),
        ('--out a.mp4', 'neither a .png nor a .npy'),
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


def test_latents_from_a_file(here, capsys):
    "Those that a seed gives, read from a file, give the same samples; what is none is one sentence."
    from ganbook.data import latents
    assert main(['train', 'mlp', '--n-steps', '1', '--batch-size', '4', '--quiet', '--out', 'run']) == 0
    z = latents(6, 64, torch.Generator().manual_seed(3)).numpy()
    np.save('z.npy', z)
    assert main(['sample', 'run', '--n', '6', '--seed', '3', '--out', 'a.npy']) == 0
    assert main(['sample', 'run', '--latent', 'z.npy', '--out', 'b.npy']) == 0
    assert (np.load('a.npy') == np.load('b.npy')).all()
    assert main(['sample', 'run', '--latent', 'z.npy']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'run/samples-6-z.png'
    assert main(['sample', 'run', '--latent', 'z.npy', '--each', '--out', 'each']) == 0
    assert len(list((here/'each').iterdir())) == 6
    np.save('wide.npy', z[:, :9])
    np.save('words.npy', np.array([['a'] * 64]))
    np.save('nan.npy', z*np.nan)
    (here/'no.npy').write_bytes(b'nothing')
    wrong = dict(wide='of shape (6, 9): run takes latents (n,64)', words='run takes latents (n,64)',
        nan='holds NaN', no='holds no array of numbers', nowhere='is not there: give a .npy')
    for name, said in wrong.items():
        capsys.readouterr()
        assert main(['sample', 'run', '--latent', f'{name}.npy', '--out', 'c.npy']) == 2
        err = capsys.readouterr().err
        assert said in err and err.count('\n') == 1 and not (here/'c.npy').exists()
    assert main(['sample', 'run', '--latent', 'z.npy', '--n', '6']) == 2
    assert 'choose one of --n and --latent' in capsys.readouterr().err
