"A weight of R1 and R2 is tried before a run begins: the choice, what is written down, and what is refused."
import json
import math
from dataclasses import replace

import pytest
import torch

from ganbook import tuning
from ganbook.cli import main
from ganbook.data import digits, ring
from ganbook.recipes import find
from ganbook.runs import Wish

small = replace(find('stable'), width=4)


def test_the_nearest_is_taken(monkeypatch):
    far = iter([3., 2., 4., 1., math.inf])
    monkeypatch.setattr(tuning, '_short_run', lambda *_: None)
    monkeypatch.setattr(tuning, 'distance_from', lambda *_: next(far))
    said = []
    found = tuning.tuned(Wish(recipe=small, data='digits'), 'gamma', say=said.append)
    assert found.recipe.r1 == found.recipe.r2 == 5. and said[-1] == 'taken: gamma 5'

def test_a_trial_changes_nothing_but_the_weight():
    tried = tuning.try_gammas(small, digits(), lambda x: x.flatten(1), n_steps=1, n=200, device='cpu')
    assert [r.r1 for r in tried] == pytest.approx([.04, .2, 1., 5., 25.])
    assert {replace(r, r1=0., r2=0.) for r in tried} == {replace(small, r1=0., r2=0.)}
    assert all(map(math.isfinite, tried.values()))

def test_points_are_tried_too():
    r = replace(find('points'), hidden=(8,))
    tried = tuning.try_gammas(r, ring(), n_steps=1, n=100, device='cpu')
    assert len(tried) == 5 and all(0 <= d <= 2 for d in tried.values())

def test_labels_go_with_the_samples():
    r = replace(find('conditional'), hidden=(8,))
    tried = tuning.try_gammas(r, digits(), lambda x: x.flatten(1), n_steps=1, n=100, device='cpu')
    assert len(tried) == 5

def test_the_random_numbers_of_the_program_are_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    tuning.try_gammas(small, digits(), lambda x: x.flatten(1), n_steps=1, n=50, device='cpu')
    assert torch.equal(before, torch.get_rng_state())

def test_the_command_line_writes_down_what_was_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    def far(data, fake, real, see): return fake.float().abs().mean().item()
    monkeypatch.setattr(tuning, 'distance_from', far)
    try_all = tuning.try_gammas
    def two_steps(recipe, data, see, n_steps, **options): return try_all(recipe, data, see, 2, **options)
    monkeypatch.setattr(tuning, 'try_gammas', two_steps)
    words = 'train points --n-steps 2 --quiet --try gamma --device cpu'
    assert main(words.split()) in (0, None)
    out = capsys.readouterr().out
    taken = float(out.split('taken: gamma ')[1].split()[0])
    recipe = json.loads((tmp_path/'runs/points-ring/run.json').read_text())['settings']['recipe']
    assert recipe['r1'] == recipe['r2'] == pytest.approx(taken)

@pytest.mark.parametrize(
    'words,part',
    [
        ('train mlp --try gamma', 'has neither R1 nor R2'),
        ('train stable --try width', "no setting to try called 'width'"),
        ('train points --resume --try gamma', '--try is for a run that begins'),
    ],
)
def test_what_is_refused(words, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split())
    assert part in capsys.readouterr().err
    assert not (tmp_path/'runs').exists()

def test_only_nan_is_an_error(monkeypatch):
    monkeypatch.setattr(tuning, '_short_run', lambda *_: None)
    monkeypatch.setattr(tuning, 'distance_from', lambda *_: math.inf)
    with pytest.raises(ValueError, match='every weight ends in NaN'):
        tuning.tuned(Wish(recipe=small, data='digits'), 'gamma', say=lambda _: None)
