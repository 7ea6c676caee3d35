"""The playground without a browser: settings and their text, matches
move by move, what is measured and shown, and what a page may ask for."""
import json
import math
import random
import threading
from dataclasses import fields, replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from ganbook import playground as pg
from ganbook import scenes
from ganbook.data import draw, latents
from ganbook.playground import (
    Playground, Setting, change, choices, dab, from_drawing, from_text, move, new_match, play, ranges,
    restart, to_drawing, to_text,
)
from ganbook.scenes import columns, divergences, judged, look, picture, pushes, shares

tiny = dict(width_G=4, width_D=4, depth_G=1, depth_D=1, batch_size=8)
def weights(m): return [p.clone() for net in (m.state.G, m.state.D) for p in net.parameters()]
def same(a, b): return all(map(torch.equal, a, b))


# Settings

def some_setting(rng):
    "A random setting: any words, numbers anywhere in their ranges."
    def number(kind, low, high):
        return (
            rng.randint(low, high)
            if kind is int
            else math.exp(rng.uniform(math.log(max(low, 1e-6)), math.log(high)))
        )
    values = {
        f.name: rng.choice(choices[f.name]) if f.name in choices else number(f.type, *ranges[f.name])
        for f in fields(Setting)
        if f.name != 'drawing'
    }
    places = [(rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5)) for _ in range(rng.randint(1, 100))]
    return Setting(**values, drawing=to_drawing(places) if values['data'] == 'drawn' else '')


@pytest.mark.parametrize('seed', range(20))
def test_text_returns_the_setting(seed):
    s = some_setting(random.Random(seed))
    text = to_text(s)
    assert from_text(text) == s and from_text(f'  {text}\n') == s
    # the letters that an address leaves as they are
    assert all(c.isascii() and (c.isalnum() or c in '-._~') for c in text)


def test_a_damaged_text_is_refused_in_a_sentence():
    "Cut, swapped or overwritten letters give another setting or a ValueError, nothing else."
    rng = random.Random(0)
    text = to_text(
        Setting(data='drawn', lr_D=1e-5, penalty='r1_r2', gamma=.3, drawing=to_drawing([(0, 0), (1, 1)]))
    )
    refused = 0
    for _ in range(500):
        letters = list(text)
        for _ in range(rng.randint(1, 3)):
            letters[rng.randrange(len(letters))] = rng.choice('abz019~-._=é /{')
        broken = ''.join(letters)[:rng.randint(1, len(letters))]
        try:
            assert isinstance(from_text(broken), Setting)
        except ValueError as e:
            refused += 1
            assert len(str(e)) > 30 and ('\n' not in str(e))
    assert refused > 400


@pytest.mark.parametrize(
    'text, words',
    [
        ('', 'begins with v1'), ('v2~data-grid', 'begins with v1'), (None, 'begins with v1'),
        ('v1~', "no setting called ''"), ('v1~lr_D', "lr_D is ''"), ('v1~lr_D-nan', 'number from 1e-06'),
        ('v1~lr_D-1_0', 'number'), ('v1~lr_D-٣', 'number'), ('v1~lr_D-inf', 'number'),
        ('v1~depth_G-2.5', 'whole number from 1 to 6'), ('v1~data-Ring', 'take one of ring'),
        ('v1~seed-1~seed-2', 'name each thing once'), ('v1~data-drawn', 'nothing has been drawn yet'),
        ('v1~drawing-AA', 'damaged'), ('v1~drawing-' + 'AAAA'*100, 'damaged'),
        ('v1~__class__-1', "no setting called '__class__'"),
    ],
)
def test_what_is_wrong_with_a_text(text, words):
    with pytest.raises(ValueError, match=words): from_text(text)


@pytest.mark.parametrize('name', [f.name for f in fields(Setting)])
def test_every_field_is_checked(name):
    """Neither another type, nor a number just outside of its
    range, nor an unknown word passes; the ends of a range do."""
    for bad in (None, [], 'no such word', True, math.nan, math.inf, -1, 1e9, {}):
        with pytest.raises(ValueError, match=name if name != 'drawing' else 'drawing'): Setting(**{name: bad})
    if name in ranges:
        low, high = ranges[name]
        assert getattr(Setting(**{name: low}), name) == low and getattr(Setting(**{name: high}), name) == high
        for bad in (low - .5, high + .5):
            with pytest.raises(ValueError, match=name): Setting(**{name: bad})


def test_drawings():
    x = np.random.default_rng(0).uniform(-2.5, 2.5, (100, 2))
    assert np.abs(np.array(from_drawing(to_drawing(x))) - x).max() <= 2.5/255 + 1e-9
    assert to_drawing(from_drawing(to_drawing(x))) == to_drawing(x) and from_drawing(
        ''
    ) == [] == from_drawing(to_drawing([]))
    for bad in ([(0, math.nan)], [(2.6, 0)], np.zeros((101, 2)), np.zeros((2, 3)), np.zeros(4)):
        with pytest.raises(ValueError, match='at most 100 places'): to_drawing(bad)
    for bad in ('A', 'AA', '!!!!', 'AAAAé', 'AA AA', 'AAAA\n'):
        with pytest.raises(ValueError, match='damaged'): from_drawing(bad)


# Matches

@pytest.mark.parametrize(
    'name, word', [(name, word) for name in choices for word in choices[name] if word != 'drawn']
)
def test_every_word_trains(name, word):
    m = play(new_match(Setting(**tiny | {name: word})), 5)
    a = look(m)
    assert all(np.isfinite(x).all() for n, x in a.items() if n != 'history') and len(m.history) == 1
    assert np.isfinite(a['history'][0, :7]).all() and np.isfinite(a['history'][0, 7]) == (
        m.data.modes is not None
    )
    assert all(math.isfinite(x) for x in m.state.log.last().values()) and (
        'penalty' in m.state.log.columns
    ) == (m.setting.penalty != 'none')
    # all of the data is in sight
    assert m.real.abs().max() < 3 and (m.real.abs() <= scenes.lim).float().mean() > .99


@pytest.mark.parametrize('noise, latent_dim', [(n, d) for n in choices['noise'] for d in (1, 2)])
def test_lattice_holds_equal_shares(noise, latent_dim):
    "Each cell between knots holds the same share of latents, and the uniform generator sees uniform numbers."
    knots = scenes._lattice(latent_dim)
    z = latents(50_000, latent_dim, torch.Generator().manual_seed(0))
    if latent_dim == 1:
        counts = torch.histc(
            torch.bucketize(z[:, 0].contiguous(), knots[0, :, 0].contiguous()).float(), 170, -.5, 169.5
        )[1:-1]
    else:
        counts = torch.stack(
            [((z[:, 0] > a) & (z[:, 0] < b)).sum() for a, b in zip(knots[:-1, 0, 0], knots[1:, 0, 0])]
        ).float()
    assert (counts/counts.mean() - 1).abs().max() < (.3 if latent_dim == 1 else .06)
    G = new_match(Setting(noise=noise, latent_dim=latent_dim, **tiny)).state.G
    assert G(z).shape == (50_000, 2)
    if noise == 'uniform':
        seen = []
        G.G.net.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        G(z)
        assert seen[0].abs().max() <= 1 and abs(seen[0].var().item() - 1/3) < .01


@pytest.mark.parametrize('n_critic, n_generator', [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_move_by_move(n_critic, n_generator):
    "The turns come in their order; each changes its player alone; an iteration is a whole turn of both."
    m = new_match(Setting(n_critic=n_critic, n_generator=n_generator, **tiny))
    for turn in range(2):
        for player in 'D'*n_critic + 'G'*n_generator:
            assert m.state.step == turn
            G, D = ([p.clone() for p in net.parameters()] for net in (m.state.G, m.state.D))
            assert move(m) == player
            assert same(G, m.state.G.parameters()) == (player == 'D') and same(D, m.state.D.parameters()) == (
                player == 'G'
            )
    assert m.state.step == 2 == len(m.state.log) and set(m.state.log.columns) == {
        'loss_D', 'loss_G', 'real_logit', 'fake_logit',
    }


def test_play_finishes_an_iteration_that_is_under_way():
    m, other = (new_match(Setting(**tiny)) for _ in range(2))
    move(m)
    play(m)
    play(m, 2)
    play(other, 3)
    assert m.state.step == 3 and same(weights(m), weights(other))
    for bad in (0, -1, 1.5, '2', None):
        with pytest.raises(ValueError, match='whole number'): play(m, bad)


def test_history_is_thinned():
    m = play(new_match(Setting(**tiny)), 1_100)
    steps = [row[0] for row in m.history]
    assert m.stride == 10 and len(steps) <= 200 and steps == list(range(10, 1_101, 10))
    assert look(m)['history'].shape == (110, len(columns))


def test_a_seed_is_a_match():
    a, b, c = (play(new_match(Setting(seed=s, penalty='wgan_gp', **tiny)), 10) for s in (1, 1, 2))
    assert same(weights(a), weights(b)) and not same(weights(a), weights(c))
    state = torch.get_rng_state()
    play(new_match(), 1)
    assert torch.equal(state, torch.get_rng_state())  # the reader's own random numbers are left alone


kept = dict(
    data='moons', loss='hinge', penalty='r2', gamma=.7, lr_G=.02, lr_D=.03, optimiser='sgd', n_critic=2,
    n_generator=2, batch_size=16,
)
built = dict(noise='uniform', latent_dim=1, width_G=5, depth_G=2, width_D=6, depth_D=2, seed=3)

@pytest.mark.parametrize('name', [*kept, *built])
def test_change(name):
    """Every field can be changed in the middle of an iteration; it keeps
    the weights or begins anew; the match goes on as the setting says."""
    m = play(new_match(Setting(penalty='r1', **tiny)), 6)
    move(m)
    before, new = weights(m), (kept | built)[name]
    assert change(m, **{name: new}) is m and getattr(m.setting, name) == new and m.done == 0
    assert (
        len(m.state.log) == 0
        and (name in kept) == (m.state.step == 6)
        and (len(m.history) == 1) == (name in kept)
    )
    if name in kept: assert same(before, weights(m))
    s = m.setting
    assert [opt.param_groups[0]['lr'] for opt in (m.state.opt_G, m.state.opt_D)] == [s.lr_G, s.lr_D]
    assert type(m.state.opt_D).__name__ == dict(sgd='SGD').get(s.optimiser, 'Adam')
    assert [move(m) for _ in range(s.n_critic + s.n_generator)] == ['D']*s.n_critic + [
        'G'
    ]*s.n_generator and len(m.batch) == s.batch_size
    assert len(m.state.log) == 1 and look(m)['fake'].shape == (400, 2)


def test_what_cannot_be_changed_changes_nothing():
    m = play(new_match(Setting(**tiny)), 3)
    before, log = weights(m), m.state.log
    for bad in (dict(loss='best'), dict(lr_G=.5, width_G=0), dict(data='drawn'), dict(colour=1)):
        with pytest.raises(ValueError): change(m, **bad)
    change(m)
    change(m, loss=m.setting.loss)  # nothing new
    assert (
        same(before, weights(m)) and m.state.log is log and m.state.step == 3 and m.setting == Setting(**tiny)
    )
    assert restart(m).state.step == 0 and same(weights(m), weights(new_match(Setting(**tiny))))


def test_data_by_hand():
    m = dab(new_match(Setting(**tiny)), [(-2.5, -2.5), (0, 0), (0, .05), (1, 1)])
    assert len(from_drawing(m.setting.drawing)) == 3 and m.data.scale == 1 and m.data.modes is None
    near = torch.cdist(m.data.x, torch.tensor([[-2.5, -2.5], [0, 0], [1, 1]])).amin(1)
    assert near.max() < .4 and abs(near.square().mean().item() - 2*.06**2) < 1e-3
    dab(m, [(2, 2)])
    assert len(from_drawing(m.setting.drawing)) == 4
    dab(m, [(2, 2)], fresh=True)
    assert len(from_drawing(m.setting.drawing)) == 1
    change(m, data='ring')
    assert to_text(m.setting) == to_text(Setting(**tiny)) and m.setting.drawing  # kept, but not shared
    dab(m, [(1, 0), (-1, 0)])
    assert len(from_drawing(m.setting.drawing)) == 2
    with pytest.raises(ValueError, match='at most 100 places'):
        dab(m, [(x/10, y/10) for x in range(20) for y in range(20)])
    with pytest.raises(ValueError, match='nothing has been drawn'):
        dab(change(m, data='ring'), [], fresh=True)


# What is measured and shown

def test_divergences_against_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 5, 20):
        p, q = (rng.dirichlet(np.full(n*n, .3)) for _ in range(2))
        kl, js = divergences(*(torch.tensor(x).view(n, n) for x in (p, q)))
        assert js == pytest.approx(jensenshannon(p, q)**2, rel=1e-9)
        assert kl == pytest.approx(entropy(p, .99*q + .01/n**2), rel=1e-9)


def test_shares():
    x = torch.rand(1000, 2)*8 - 4
    want, *_ = np.histogram2d(*x.clamp(-2.49, 2.49).double().T.numpy(), bins=20, range=[[-2.5, 2.5]]*2)
    assert np.allclose(shares(x).numpy(), want/1000) and shares(x).sum().item() == pytest.approx(1)
    assert shares(torch.tensor([[math.inf, -math.inf]]))[19, 0] == 1
    for bad in (torch.zeros(0, 2), torch.zeros(3, 3), torch.zeros(2)):
        with pytest.raises(ValueError, match='point of the plane'): shares(bad)
    with pytest.raises(ValueError, match='NaN'): shares(torch.tensor([[math.nan, 0.]]))


@pytest.mark.parametrize('loss', choices['loss'])
def test_pushes_lower_the_loss(loss):
    "A small step along its push lowers the loss of G, by as much as a gradient says."
    m = new_match(Setting(loss=loss, seed=2))
    x = draw(m.data, 50, torch.Generator().manual_seed(0))
    v = pushes(m, x)
    real_logits = m.state.D(m.real[:50]) if m.loss.relativistic else None
    with torch.no_grad():
        change_ = m.loss.generator(real_logits, m.state.D(x + 1e-3*v)) - m.loss.generator(
            real_logits, m.state.D(x)
        )
    assert change_.item() == pytest.approx(-1e-3*v.square().sum(1).mean().item(), rel=.05)
    assert all(p.grad is None and p.requires_grad for p in m.state.D.parameters())


def test_field_lies_as_a_picture_does():
    "Row 0 is the top, column 0 the left; the middle between the two kinds is grey, whatever the loss."
    m = new_match()
    class Up(torch.nn.Module):
        def forward(self, x): return 3*x[..., 1] + x[..., 0]
    m.state.D = Up()
    f = look(m)['field']
    assert f[0].min() > .5 > f[-1].max() and (f[:, -1] > f[:, 0]).all()
    logits = torch.tensor([-1., .5, 3.])
    def at(loss):
        return judged(
            change(m, loss=loss), logits, torch.tensor([2., 4.]), torch.tensor([-1., -3.])
        ).tolist()
    assert (
        at('hinge') == logits.tolist()
        and at('least_squares') == [-6, 0, 10]
        and at('wasserstein') == at('relativistic') == [-1.5, 0, 2.5]
    )


def test_numbers_that_are_none():
    "A diverged match can still be shown, told of in JSON, diagnosed, and brought back by a restart."
    p = Playground(Setting(**tiny))
    for w in p.match.state.G.parameters(): w.data.fill_(math.nan)
    p.do('play', n=120)
    assert np.isnan(look(p.match)['fake']).all() and np.isnan(look(p.match)['history'][-1, 5:]).all()
    json.dumps([p.about, p.setting, p.verdict, p.options], allow_nan=False)
    assert p.verdict[0]['name'] == 'divergence' and p.about['frames'][0]['values']['loss_G'] is None
    picture(p.match)
    p.do('restart')
    assert np.isfinite(look(p.match)['fake']).all() and p.verdict is None


@pytest.mark.parametrize('s', [Setting(latent_dim=1), Setting(data='moons'), Setting(loss='wasserstein')])
def test_picture(s):
    m = new_match(replace(s, **tiny))
    for layers in (('field', 'real', 'fake', 'arrows'), ('warp', 'density'), ()):
        fig = picture(m, layers)
        fig.canvas.draw()
        assert len(fig.axes) == 6
        play(m, 6)
    with pytest.raises(ValueError, match="no layer called 'colour'"): picture(m, ('field', 'colour'))


def test_a_match_wants_a_setting():
    for bad in (None, 'ring', 3):
        with pytest.raises(TypeError, match='a match is played by a Setting'): new_match(bad)


# The widget

def test_a_message_is_answered():
    p = Playground('v1~width_G-4~width_D-4')
    def ask(seq, **message): return pg._on_message(p, dict(message, id='page', seq=seq), [])
    ask(1, do='play', n=3, repeat=2)
    assert [f['step'] for f in p.about['frames']] == [3, 6] and (
        p.about['id'], p.about['seq'], p.about['error'],
    ) == ('page', 1, '')
    per = [4*sum(math.prod(size) for _, size in f['sizes']) for f in p.about['frames']]
    assert len(p.frame) == sum(per) and len(p.real) == 4*math.prod(p.about['real_size'])
    n = p.about['n']
    for k, (message, words) in enumerate(
        [
            (dict(do='fly'), "called 'fly'"), (dict(do='change', changes=dict(lr_D=-1)), 'lr_D is -1'),
            (dict(do='text', text='x'), 'a setting begins with v1'), (dict(do='play', n=0), 'whole number'),
            (dict(do='draw', places=[[9, 9]]), 'within'),
        ],
        2,
    ):
        ask(k, **message)
        assert words in p.about['error'] and p.about['seq'] == k and p.match.state.step == 6
    assert p.about['n'] == n + 5
    # a fault of the script: told to the page, and not kept from the log
    with pytest.raises(TypeError): ask(9, do='play', speed=3)
    assert p.about['seq'] == 9 and 'speed' in p.about['error']
    ask(10, do='text', text='v1~data-grid~width_G-4')
    assert (
        p.setting['data'] == 'grid'
        and p.text == 'v1~data-grid~width_G-4'
        and p.about['modes'] == 25
        and p.about['error'] == ''
    )


def test_the_doctor_comes_at_100():
    p = Playground(Setting(**tiny))
    p.do('play', n=99)
    assert p.verdict is None
    p.do('play')
    assert isinstance(p.verdict, list)
    p.do('change', changes=dict(loss='hinge'))
    assert p.verdict is None


def test_two_at_once_do_not_mix():
    "The page's thread and a cell's may both act: their steps add up."
    p = Playground(Setting(**tiny))
    threads = [threading.Thread(target=lambda: [p.do('play') for _ in range(20)]) for _ in range(2)]
    n = torch.get_num_threads()
    for t in threads: t.start()
    for t in threads: t.join()
    assert p.match.state.step == 40 == len(p.match.state.log) and torch.get_num_threads() == n


def test_menus_offer_what_is_allowed():
    p = Playground()
    assert set(p.options) == {f.name for f in fields(Setting)} - {'drawing'}
    for name, options in p.options.items():
        assert getattr(Setting(), name) in options
        for o in options:
            if o != 'drawn': assert getattr(Setting(**{name: o}), name) == o


def test_files_of_the_page():
    "Script and style come with the package, and ask for nothing from elsewhere."
    for name in ('playground.js', 'playground.css'):
        text = (files('ganbook')/'static'/name).read_text(encoding='utf-8')
        assert (
            1_000 < len(text) < 30_000
            and 'http' not in text
            and 'import(' not in text
            and '\nimport ' not in text
        )
    assert (
        'recursive-include ganbook/static *.js *.css' in (files('ganbook')/'..'/'MANIFEST.in').read_text()
        if (files('ganbook')/'..'/'MANIFEST.in').is_file()
        else True
    )
