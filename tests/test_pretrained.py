"Generators that come with the package: they open by name, draw, and say what they are."
from pathlib import Path

import numpy as np
import pytest
import torch
from ganbook.causes import options
from ganbook.cli import main
from ganbook.pretrained import card, home, locate, names, packed, read_generator
from ganbook.readers import face_reader
from ganbook.runs import existing, trained

root = Path(__file__).resolve().parent.parent


def test_the_files_are_small_and_go_into_the_package():
    files = sorted(home().iterdir())
    assert [p.stem for p in files] == names() and max(p.stat().st_size for p in files) <= 7e5
    asked_for = 'faces32', 'looks', 'digits'
    assert sum(p.stat().st_size for p in files if p.stem in asked_for) <= 3e6
    assert 'recursive-include ganbook/generators *.safetensors' in (root/'MANIFEST.in').read_text()
    assert "'generators/*.safetensors'" in (root/'setup.py').read_text()


@pytest.mark.parametrize('name', names())
def test_a_card_says_what_it_is(name):
    told = card(name)
    assert {'draws', 'data', 'recipe', 'trained', 'limits', 'licence', 'anew', 'distance'} <= set(told)
    _, about = read_generator(locate(name))
    assert about['settings']['recipe']['name'] in told['recipe'] and f"{about['step']:,}" in told['recipe']


@pytest.mark.parametrize('name', names())
def test_the_samples_are_whole_pictures(name):
    what = trained(existing(f'@{name}'), 'cpu')
    x = what.draw(64)
    assert x.shape == (64, *what.settings['data']['shape']) and x.isfinite().all() and x.abs().max() <= 1
    assert (x[0] - x[1]).abs().mean() > .01 and torch.equal(x, what.draw(64))


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['sample', '@faces', '--n', '4']) == 0
    path = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert path == Path('runs/@faces/samples-4-0.png') and path.stat().st_size > 1000
    assert main(['info', '@faces']) == 0
    assert 'drawn faces' in capsys.readouterr().out
    for words in (['sample', '@face'], ['info', '@face']):
        assert main(words) == 2
        assert "there is no generator called 'face': take one of digits, faces" in capsys.readouterr().err


def test_one_that_takes_orders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = 'sample', '@looks', '--n', '40', '--out', 'a.npy', '--class'
    assert main([*words, 'blond with glasses']) == 0
    read = face_reader().likely_causes(torch.from_numpy(np.load('a.npy')).float()/127.5 - 1)
    blond = read.hair_colour == options['hair_colour'].index('blond')
    assert read.glasses.sum() >= 36 and blond.sum() >= 36
    capsys.readouterr()
    assert main([*words, 'bald']) == 2
    told = capsys.readouterr().err
    assert "there is no class of runs/@looks called 'bald': take one of black, black with" in told


def test_an_exported_file_draws_as_its_run_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main('train mlp --n-steps 2 --batch-size 4 --quiet --out a'.split()) == 0
    assert main('export a --format safetensors'.split()) == 0
    file = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert trained(file, 'cpu').folder == Path('a')
    assert torch.equal(trained(file, 'cpu').draw(9), trained(Path('a'), 'cpu').draw(9))
    file.write_bytes(file.read_bytes()[:2000])
    assert main(['sample', str(file)]) == 2
    assert 'cannot be read as safetensors' in capsys.readouterr().err


def test_weights_of_another_network_are_one_sentence(tmp_path, monkeypatch, capsys):
    weights, about = read_generator(locate('faces'))
    name, first = next((n, w) for n, w in weights.items() if w.ndim > 1)
    file = tmp_path/'other.safetensors'
    file.write_bytes(packed(weights | {name: first[:1]}, about))
    monkeypatch.chdir(tmp_path)
    assert main(['sample', str(file)]) == 2
    said = capsys.readouterr().err
    assert 'are not those of the network that it names: export it again' in said and said.count('\n') == 1
