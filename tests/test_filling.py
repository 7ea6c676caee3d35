"""Holes, small pictures and answers of a generator: the smallest input, wrong input, and the figures of
trials/filling.py."""
import json
from functools import partial
from itertools import combinations
from pathlib import Path
import pytest
import torch
from torch import nn
from ganbook.filling import among, completions, covered, filling_view, hole, pasted, pooled
from ganbook.interpret import invert
from ganbook.plots import to_png
from ganbook.train import sample

root = Path(__file__).resolve().parent.parent

@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)

class Images(nn.Module):
    "A small generator of images that any of them can be reached with."
    def __init__(self, shape=(1, 4, 4)):
        super().__init__()
        self.latent_dim, self.shape = 8, shape
        self.net = nn.Linear(8, torch.Size(shape).numel())
    def forward(self, z): return self.net(z).unflatten(1, self.shape).tanh()


# The hole

def test_a_hole_is_where_it_was_asked_for():
    where = hole(5, top=1, left=2, height=2, width=3)
    assert where.nonzero().tolist() == [[i, j] for i in (1, 2) for j in (2, 3, 4)]
    assert hole(2, 1, 1, 1, 1).sum() == 1 and hole(2, 0, 0, 1, 2).sum() == 2

@pytest.mark.parametrize(
    'asked,part',
    [
        ((1, 0, 0, 1, 1), 'size is 1'), ((4, 0, 0, 0, 1), 'height is 0'), ((4, 0, 0, 1, 5), 'left is 0'),
        ((4, 3, 0, 2, 1), 'top is 3: it must be a whole number from 0 to 2'),
        ((4, 0, -1, 1, 1), 'left is -1'),
        ((4, 0, 0, 4, 4), 'leave something to see'), ((4, .5, 0, 1, 1), 'top is 0.5'),
    ],
)
def test_holes_that_are_refused(asked, part):
    with pytest.raises(ValueError, match=part): hole(*asked)

def test_covered_and_pasted_keep_what_is_known():
    x, made, where = torch.rand(2, 3, 4, 4), torch.rand(5, 2, 3, 4, 4), hole(4, 1, 1, 2, 2)
    c, p = covered(x, where), pasted(x, made, where)
    assert p.shape == made.shape and torch.equal(c[..., ~where], x[..., ~where])
    assert (c[..., where] == 0).all() and torch.equal(p[..., where], made[..., where])
    assert all(torch.equal(one[..., ~where], x[..., ~where]) for one in p)
    assert torch.equal(pasted(c, x, where), x)

@pytest.mark.parametrize('where', [torch.zeros(4, 5, dtype=torch.bool), torch.zeros(4, 4), torch.zeros(4)])
@pytest.mark.parametrize('f', [covered, lambda x, where: pasted(x, x, where)])
def test_other_holes_are_refused(f, where):
    with pytest.raises(ValueError, match=r'give a bool of shape \(4, 4\)'): f(torch.zeros(1, 1, 4, 4), where)


# Small pictures

def test_pooled_is_the_mean_of_squares():
    x = torch.rand(2, 3, 4, 8)
    assert torch.equal(pooled(x, 1), x) and pooled(x).shape == (2, 3, 1, 2)
    torch.testing.assert_close(pooled(x, 2)[1, 2, 1, 3], x[1, 2, 2:4, 6:8].mean())

@pytest.mark.parametrize(
    'x,k,part', [((1, 1, 4, 6), 4, 'divides'), ((1, 1, 4, 4), 0, 'k is 0'), ((1, 4, 4), 2, 'images')]
)
def test_what_cannot_be_pooled_is_refused(x, k, part):
    with pytest.raises(ValueError, match=part): pooled(torch.zeros(x), k)


# Answers

def test_answers_agree_with_what_is_known_and_differ_elsewhere():
    G, where = Images(), hole(4, 1, 1, 2, 2)
    truth = sample(G, torch.randn(3, 8))
    through = partial(covered, where=where)
    found = completions(G, through(truth), through, n=4, n_steps=150, pool=10)
    assert found.shape == (4, 3, 1, 4, 4)
    assert (through(found) - through(truth)).abs().mean() < .1
    alone = completions(G, through(truth), through, n=2, n_steps=150, pool=10, seed=2)
    torch.testing.assert_close(alone, found[2:])

def test_what_is_hidden_changes_nothing():
    G, where = Images(), hole(4, 0, 0, 1, 1)
    x = sample(G, torch.randn(1, 8))
    other = x.clone()
    other[..., 0, 0] = 1.
    through = partial(covered, where=where)
    a, b = (completions(G, through(t), through, n=1, n_steps=3, pool=3) for t in (x, other))
    assert torch.equal(a, b)

def test_inversion_through_everything_is_inversion():
    G = Images()
    x = torch.rand(2, 1, 4, 4)
    plain, same = invert(G, x, 5, pool=9), invert(G, x, 5, pool=9, through=nn.Identity())
    assert all(torch.equal(a, b) for a, b in zip(plain, same))

@pytest.mark.parametrize(
    'known,through,more,part',
    [
        (torch.zeros(1, 1, 2, 2), nn.Identity(), {}, r'makes \(N,1,4,4\)'),
        (torch.zeros(1, 1, 4, 4), pooled, {}, r'makes \(N,1,1,1\)'),
        (torch.zeros(1, 1, 1, 1), pooled, dict(n=0), 'n is 0'),
        (torch.zeros(1, 1, 1, 1), pooled, dict(pool=0), 'take at least 1, at most the pool'),
        (torch.zeros(1, 1, 4, 4), 'grey', {}, 'through'),
    ],
)
def test_questions_that_are_refused(known, through, more, part):
    with pytest.raises((ValueError, TypeError), match=part): completions(Images(), known, through, **more)


# How often the truth is among them

def test_among_counts_all_choices():
    right = torch.rand(5, 7) < .3
    for k, share in enumerate(among(right), 1):
        of_choices = [right[list(chosen)].any(0).double().mean() for chosen in combinations(range(5), k)]
        torch.testing.assert_close(share, torch.stack(of_choices).mean())

def test_among_of_one_answer():
    assert among(torch.tensor([[True, False]])).tolist() == [.5]

@pytest.mark.parametrize(
    'right', [torch.zeros(0, 3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool), torch.zeros(2, 2)]
)
def test_among_refuses(right):
    with pytest.raises(ValueError, match=r'give a bool \(n,N\)'): among(right)


# The view

def test_the_view_has_a_panel_for_each_answer():
    G, where = Images((3, 4, 4)), hole(4, 1, 1, 2, 2)
    fig = filling_view(G, torch.rand(2, 3, 4, 4), where, n=3, n_steps=2)
    assert [ax.get_title() for ax in fig.axes] == ['known', 'answer 1', 'answer 2', 'answer 3', 'truth']
    assert len(to_png(fig)) > 500


# The figures of trials/filling.py

def test_the_stored_figures_are_whole():
    from trials.filling import missed
    assert missed(json.loads((root/'results/bench_filling.json').read_text(encoding='utf-8'))) == []

def test_missing_figures_are_found():
    from trials.filling import kinds, missed
    assert missed({}) == ['there is no hole', 'there is no enlarged']
    rows = {arm: dict(distance=[1.]*5) for arm in kinds['hole']}
    assert missed(dict(hole=dict(rows=rows))) == ['there is no enlarged']
    rows['L1'] = dict(distance=[1.]*4)
    assert 'hole, L1: 4 seeds, at least 5' in missed(dict(hole=dict(rows=rows)))
