"""A planted share, and a counter that errs: the smallest input, wrong input, and the figures of
trials/rare.py."""
import json
from pathlib import Path
import numpy as np
import pytest
import torch
from ganbook.bias import corrected, corrected_interval, count_view, faces_with

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

# How sure a corrected share is

def test_an_interval_holds_the_true_share_as_often_as_it_says():
    rng, true, hits, false, n = np.random.default_rng(0), .05, .9, .07, 2_000
    inside = 0
    for _ in range(1_000):
        read, h, f = (rng.binomial(n, q)/n for q in (hits*true + false*(1 - true), hits, false))
        low, high = corrected_interval(read, h, f, n)
        inside += low < true < high
    assert .93 <= inside/1_000 <= .97

@pytest.mark.parametrize('change', [dict(n=400), dict(hits=.8), dict(false=.1)])
def test_fewer_images_or_a_worse_counter_make_it_wider(change):
    given = dict(read=.3, hits=.9, false=.05, n=800)
    wide, narrow = (np.diff(corrected_interval(**given | more)).item() for more in (change, {}))
    assert wide > 1.02*narrow

def test_a_perfect_counter_of_nothing_is_sure():
    assert corrected_interval(0., 1., 0., 1) == (0., 0.)

@pytest.mark.parametrize(
    'what,says',
    [
        ((0., 0., 0., 1), '0 of 1 counted; corrected: below'),
        ((1., 0., 0., 10), '10 of 10 counted; corrected: above'),
        ((.05, .07, .2, 1_000), 'cannot be told'),
    ],
)
def test_the_view_says_what_follows(what, says): assert says in count_view(*what).axes[0].get_title()

def test_the_view_draws_the_share_the_counts_and_what_was_planted():
    ax = count_view(.025, .07, .2, 1_500, planted=.1).axes[0]
    counted, corrected_at = (line.lines[0].get_xdata()[0] for line in ax.containers)
    assert counted == pytest.approx(.8*.025 + .07*.975) and corrected_at == pytest.approx(.025)
    assert any(list(line.get_xdata()) == [.1, .1] for line in ax.lines)

@pytest.mark.parametrize(
    'what,part',
    [
        ((-.1, 0., 0., 9), 'share is -0.1'), ((.1, 2., 0., 9), 'false is 2'),
        ((.1, 0., 1.1, 9), 'missed is 1.1'),
        ((.1, 0., 0., 0), 'n is 0'), ((.1, 0., 0., 9, 5), 'planted is 5'),
        ((.1, .5, .5, 9), 'cannot be corrected'),
    ],
)
def test_what_the_view_refuses(what, part):
    with pytest.raises(ValueError, match=part): count_view(*what)
