"""A planted share, a counter that errs, and latents that are cut: the smallest input, wrong input, and the
figures of trials/rare.py."""
import json
from pathlib import Path
import numpy as np
import pytest
import torch
from ganbook.bias import corrected, cut_latents, faces_with

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
        (lambda: cut_latents(0, 2), 'n is 0'), (lambda: cut_latents(2, 2, -1.), 'bound is -1'),
    ],
)
def test_what_is_refused(make, part):
    with pytest.raises(ValueError, match=part): make()

def test_a_corrected_share_is_the_true_one():
    true = np.array([0., .05, 1.])
    np.testing.assert_allclose(corrected(.8*true + .1*(1 - true), .8, .1), true, atol=1e-12)
    assert corrected(.05, 1., 0.) == .05

def test_latents_are_cut_and_otherwise_normal():
    rng = torch.Generator().manual_seed(0)
    near, all_of_them = cut_latents(5_000, 4, .5, rng), cut_latents(5_000, 4, 8., rng)
    assert near.abs().max() <= .5 and near.dtype == torch.float32 and near.shape == (5_000, 4)
    assert abs(all_of_them.std() - 1) < .03 and abs(near.mean()) < .01
    assert torch.equal(cut_latents(3, 2, 1., torch.Generator().manual_seed(1)),
        cut_latents(3, 2, 1., torch.Generator().manual_seed(1)))

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
