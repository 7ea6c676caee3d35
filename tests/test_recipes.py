"Recipes: each trains on the data it is for, alone and side by side, and does what its fields say."
import json
import warnings
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from ganbook.checkpoints import load, save
from ganbook.data import Data, digits, latents, ring, to_units
from ganbook.diversity import Packed
from ganbook.metrics import mode_coverage
from ganbook.penalties import SpectralNorm
from ganbook.pairs import face_pairs
from ganbook.recipes import build, find, from_settings, goes_both_ways, networks, recipes, takes_sources
from ganbook.train import fit, sample
from ganbook.unpaired import face_unpaired

torch.set_num_threads(1)
small = dict(width=4, hidden=(16, 16), batch_size=8, latent_dim=8)
published = {'lsgan', 'wgan', 'wgan_gp', 'sngan_hinge', 'r1', 'r3', 'pac'}


def colour(shape=(3, 20, 33), n=12):
    return Data('noise', torch.randint(0, 256, (n, *shape), dtype=torch.uint8))
def data_for(r):
    if takes_sources(r): return (face_unpaired if goes_both_ways(r) else face_pairs)(40, 16)
    return ring(200) if r.kind == 'points' else digits()


@pytest.fixture(autouse=True)
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


def test_the_recipes_of_the_book_are_there():
    assert {'stable', 'mlp', 'dcgan', 'points'} | published <= set(recipes) and list(recipes)[0] == 'stable'
    assert all(r.name == name and len(r.source) > 20 for name, r in recipes.items())


@pytest.mark.parametrize('k', [None, 2])
@pytest.mark.parametrize('name', recipes)
def test_each_trains_alone_and_side_by_side(name, k):
    r = replace(find(name), **small, n_steps=3)
    if r.classes: r = replace(r, latent_dim=20)  # 16 of them are the vector of the class
    s, a = build(r, data_for(r), k=k)
    fit(s, **a)
    assert s.step == 3 and all(torch.as_tensor(v).isfinite().all() for v in s.log.last().values())
    assert ('penalty' in s.log.columns) == bool(r.r1 or r.r2 or r.gp)


@pytest.mark.parametrize('name', ['wgan_gp', 'stable', 'sngan_hinge', 'pac', 'wgan'])
def test_a_member_is_the_run_of_its_seed(name):
    r = replace(find(name), **small, n_steps=3, ema_halflife=None)
    many, a = build(r, digits(), k=2)
    fit(many, **a)
    alone, a = build(r, digits(), seed=1)
    fit(alone, **a)
    for c, v in alone.log.last().items(): assert v == pytest.approx(many.log.last()[c][1], abs=2e-3)


def test_a_dcgan_on_a_processor_is_laid_out_channels_last():
    def last(name, data): return build(replace(find(name), **small), data, device='cpu')[1]['channels_last']
    assert last('stable', digits()) and last('dcgan_textbook', digits())
    assert not last('mlp', digits()) and not last('points', ring(100))


@pytest.mark.parametrize('shape', [(3, 20, 33), (1, 8, 8), (3, 64, 64), (4, 9, 17)])
def test_stable_takes_images_of_any_size(shape):
    s, a = build(replace(find('stable'), **small, n_steps=2), colour(shape))
    fit(s, **a)
    assert s.G(torch.randn(2, 8)).shape == (2, *shape)


def test_penalties_are_those_of_the_fields():
    def kinds(**more):
        return [
            (p.func.__name__, p.keywords.get('gamma', p.keywords.get('weight')))
            for p in build(replace(find('dcgan'), **more), digits())[1]['penalties']
        ]
    assert (
        kinds() == []
        and kinds(r1=2., r2=.5) == [('r1', 2.), ('r2', .5)]
        and kinds(gp=10.) == [('wgan_gp', 10.)]
    )


def test_clipped_weights_stay_in_their_box():
    s, a = build(replace(find('wgan'), **small, n_steps=5), digits())
    assert max(p.abs().max() for p in s.D.parameters()) <= .01
    fit(s, **a)
    assert max(p.abs().max() for p in s.D.parameters()) <= .01 < max(p.abs().max() for p in s.G.parameters())


def test_gradients_of_both_players_are_clipped():
    r = replace(find('dcgan'), **small, n_steps=5)
    def trained(r, k=None):
        s, a = build(r, digits(), k=k)
        hooks = [len(opt._optimizer_step_pre_hooks) for opt in (s.opt_G, s.opt_D)]
        return hooks, torch.cat([p.flatten() for p in fit(s, **a).G.parameters()])
    (none, plain), (each, tight) = trained(r), trained(replace(r, clip_grad=1.01))
    assert none == [0, 0] and each == [1, 1] and not torch.equal(plain, tight)
    assert trained(replace(r, clip_grad=1.01), 2)[0] == [1, 1]


def test_spectral_norm_and_packing_wrap_the_discriminator():
    _, D = networks(replace(find('sngan_hinge'), **small), (1, 8, 8))
    assert any(isinstance(m, SpectralNorm) for m in D.modules()) and not any(
        isinstance(m, nn.BatchNorm2d) for m in D.modules()
    )
    _, D = networks(replace(find('pac'), **small, pack=3), (1, 8, 8))
    assert isinstance(D, Packed) and D.shape == (1, 8, 8) and D(torch.zeros(5, 1, 8, 8)).shape == (5,)
    _, D = networks(replace(find('points'), **small, pack=2), (2,))
    assert D(torch.randn(6, 2)).shape == (6,)


def test_minibatch_std_is_read():
    s, a = build(replace(find('dcgan'), **small, minibatch_std=True, n_steps=3), digits())
    fit(s, **a)
    x = torch.randn(8, 1, 8, 8)
    together, apart = s.D(x), torch.cat([s.D(one) for one in x.split(1)])
    assert (together - apart).abs().max() > 1e-6


def test_an_average_is_never_longer_than_a_twentieth_of_the_run():
    def halflife(n): return build(replace(find('stable'), n_steps=n), digits())[1]['ema_halflife']
    assert halflife(200) == 10 and halflife(100_000) == find('stable').ema_halflife


def test_checkpoints_of_recipes_with_everything_resume(tmp_path):
    r = replace(find('stable'), **small, n_steps=6, spectral=True, gp=1.)
    whole, a = build(r, digits())
    fit(whole, **a)
    s, a = build(r, digits())
    fit(
        s, **a | dict(n_steps=6, callbacks=[lambda s: save(s, tmp_path/'half.pt') if s.step == 3 else None])
    )
    s, a = build(r, digits())
    load(s, tmp_path/'half.pt')
    fit(s, **a)
    for p, q in zip(whole.G.parameters(), s.G.parameters()): assert torch.equal(p, q)


def test_stored_recipes_come_back_and_old_ones_too():
    for r in recipes.values(): assert from_settings(json.loads(json.dumps(asdict(r)))) == r
    old = {
        k: v
        for k, v in asdict(find('dcgan')).items()
        if k not in ('r1', 'r2', 'gp', 'clip', 'clip_grad', 'spectral', 'pack', 'minibatch_std')
    }
    assert from_settings(old) == find('dcgan')
    with pytest.raises(ValueError, match='spectral .*damaged'):
        from_settings(asdict(find('dcgan')) | dict(spectral='yes'))


@pytest.mark.parametrize(
    'change,words',
    [
        (dict(r1=-1.), 'r1 is -1'), (dict(gp=-1.), 'gp is -1'), (dict(clip=0.), 'clip is 0'),
        (dict(clip_grad=1.), 'clip_grad is 1'),
        (dict(pack=0), 'pack is 0'), (dict(pack=4, batch_size=3), 'batch_size is 3: it must be at least 4'),
        (dict(loss='rel'), 'no loss called'), (dict(r1=float('nan')), 'r1 is nan'),
    ],
)
def test_numbers_that_cannot_be_are_refused(change, words):
    with pytest.raises(ValueError, match=words): build(replace(find('stable'), **change), digits())


def test_points_find_the_ring_in_a_short_run():
    data = ring()
    s, a = build(replace(find('points'), n_steps=400), data)
    fit(s, **a)
    assert s.log.last()['penalty'] > 0 and all(
        type(m) is not torch.nn.LeakyReLU or m.negative_slope == 0 for m in s.G.modules()
    )
    found = mode_coverage(
        to_units(data, sample(s.best, latents(5_000, 2, torch.Generator().manual_seed(9)))), data.modes,
        data.std,
    )
    assert found['modes'] == 8 and found['hq'] > .1
