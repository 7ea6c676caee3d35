"""A planted share, and a counter that errs: the smallest input, wrong input, and the figures of
trials/rare.py."""
import json
from pathlib import Path
import numpy as np
import pytest
import torch
from ganbook.bias import corrected, faces_with

root = Path(__file__).resolve().parent.parent

@pytest.mark.parametrize('share,count', [(0., 0), (.25, 2), (.3, 2), (1., 8)])
def test_a_share_is_planted(share, count):
    data = faces_with(share, 8)
    assert data.causes.glasses.tolist() == [1]*count + [0]*(8 - count)

def test_all_else_stays_and_other_causes_may_be_rare():
    few, many = faces_with(.1, 20, seed=3), faces_with(.5, 20, seed=3)
    assert torch.equal(few.causes.skin, many.causes.skin) and few.causes.skin.unique().numel() > 1
    assert faces_with(.1, 20, cause='beard').causes.beard.sum() == 2

@pytest.mark.parametrize(
    'make,part',
    [
        (lambda: faces_with(1.5), 'share is 1.5'), (lambda: faces_with(float('nan')), 'share is nan'),
        (lambda: faces_with(.5, cause='skin'), "no cause with a share called 'skin'"),
        (lambda: corrected(.5, .2, .4), 'cannot be corrected'),
        (lambda: corrected(.5, 1.2, 0.), 'hits is 1.2'),
    ],
)
def test_what_is_refused(make, part):
    with pytest.raises(ValueError, match=part): make()

def test_a_corrected_share_is_the_true_one():
    true = np.array([0., .05, 1.])
    np.testing.assert_allclose(corrected(.8*true + .1*(1 - true), .8, .1), true, atol=1e-12)
    assert corrected(.05, 1., 0.) == .05

def test_the_stored_figures_are_whole():
    from trials.rare import missed
    assert missed(json.loads((root/'results/bench_rare.json').read_text(encoding='utf-8'))) == []

def test_missing_figures_are_found():
    from trials.rare import arms, missed
    assert missed({}) == ['there are no faces']
    rows = {arm: dict(distance=[1.]*5) for arm in arms}
    assert missed(dict(faces=dict(rows=rows))) == []
    del rows['plain']
    assert missed(dict(faces=dict(rows=rows))) == ['faces: no arm called plain']
