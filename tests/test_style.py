"""Styles: what a modulated convolution computes, which grids a style reaches, noise that comes with the
latents, members and meta, mixing and truncation at their ends, and wrong input."""
import copy
import json
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from ganbook.causes import draw_causes, options
from ganbook.data import Data, faces, latents
from ganbook.drawing import draw_faces
from ganbook.ensemble import Stacked, member, members
from ganbook.losses import non_saturating
from ganbook.models.dcgan import DCGANDiscriminator
from ganbook.models.resnet import resize_nearest
from ganbook.models.style import (
    ModulatedConv, StyleGenerator, demodulation, followed, mean_style, mix, mixing_table, painted, pairs,
    style_view, styles_of,
)
from ganbook.nets import multiply_adds
from ganbook.penalties import r1
from ganbook.plots import to_png
from ganbook.readers import face_reader
from ganbook.recipes import build, find, networks
from ganbook.train import fit, new_state, sample
from trials import style as bench
from trials.common import results


@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)


def small(shape=(3, 16, 16), n=5, width=2, **more): return StyleGenerator(shape, n, width, **more)

def awake(G):
    "With noise that is heard."
    with torch.no_grad():
        for stage in G.synthesis.stages: stage.strength.fill_(.5)
    return G.eval()


# One layer

@pytest.mark.parametrize('kernel,n_in,n_out', [(1, 1, 1), (3, 4, 2), (5, 2, 3)])
def test_modulation_is_a_convolution_with_weights_of_each_image(kernel, n_in, n_out):
    layer = ModulatedConv(n_in, n_out, 3, kernel).double()
    x, w = torch.randn(4, n_in, 6, 7).double(), torch.randn(4, 3).double()
    own = layer.conv.weight*layer.scales(w)[:, None, :, None, None]
    own = own*(own.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    for i in range(4):
        want = F.conv2d(x[i:i + 1], own[i], padding=kernel//2)
        torch.testing.assert_close(layer(x, w)[i:i + 1], want)

def test_demodulation_brings_variance_1_and_is_left_out_on_request():
    layer, x = ModulatedConv(64, 64, 8, 1), torch.randn(200, 64, 8, 8)
    w = 3*torch.randn(200, 8)
    assert layer(x, w).var((1, 2, 3)).sub(1).abs().max() < .15
    layer.demodulate = False
    scale = layer.scales(w).square().mean(1)
    assert torch.corrcoef(torch.stack([layer(x, w).var((1, 2, 3)), scale]))[0, 1] > .8

def test_a_channel_that_is_turned_off_is_not_heard():
    factors = demodulation(torch.tensor([3., 4.]).view(1, 2, 1, 1), torch.tensor([[0., 2.], [0., 0.]]))
    assert factors[0].item() == pytest.approx(1/8) and factors[1].isfinite().all()


# The generator

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 15, 22), (2, 8, 40)])
@pytest.mark.parametrize('more', [{}, dict(n_layers=0), dict(smallest=1), dict(resample=resize_nearest)])
def test_any_size(shape, more):
    G = small(shape, **more)
    assert G.latent_dim == 5 + sum(h*w for h, w in G.grids) and G.grids[-1] == shape[1:]
    z = torch.randn(2, 3, G.latent_dim)
    for mode in (G.train(), G.eval()):
        assert mode(z).shape == (2, 3, *shape) and mode(z).abs().max() <= 1
    torch.testing.assert_close(G(z)[1, 2], G(z[1, 2:])[0])

def test_the_same_latents_repeat_and_noise_is_part_of_them():
    G = awake(small())
    z = torch.randn(4, G.latent_dim)
    torch.manual_seed(1)
    first = sample(G, z)
    torch.manual_seed(2)
    assert torch.equal(first, sample(G, z))
    other = torch.cat([z[:, :5], torch.randn(4, G.latent_dim - 5)], 1)
    assert torch.equal(G.to_w(z), G.to_w(other)) and (sample(G, other) - first).abs().max() > 1e-3
    with torch.no_grad():
        for stage in G.synthesis.stages: stage.strength.zero_()
    assert torch.equal(sample(G, other), sample(G, z))

def test_only_the_direction_of_a_latent_counts():
    G = small()
    torch.testing.assert_close(G.to_w(torch.ones(1, 5)), G.to_w(torch.full((1, 5), 7.)))
    assert G.to_w(torch.zeros(1, 5)).isfinite().all()

def test_gradients_reach_all_weights():
    G = awake(small()).train()
    G(torch.randn(6, G.latent_dim)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in G.parameters())

def test_slow_layers_move_less():
    def moved(slow):
        torch.manual_seed(0)
        G = small(slow=slow)
        before = G.to_w(torch.ones(1, 5)).detach()
        with torch.no_grad():
            for layer in G.mapping: layer.weight += .01
        return (G.to_w(torch.ones(1, 5)) - before).abs().max().item()
    assert moved(.1) < .2*moved(1.)

def test_neighbours_are_mixed_in_training_alone():
    G = small().train()
    z = torch.randn(8, G.latent_dim)
    alone = torch.cat([G(row) for row in z.split(1)])
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(G(z), alone)]
    assert same == [True, False]*4
    for mode in (G.eval(), small(crossing=False).train()):
        alone = torch.cat([mode(row) for row in z.split(1)])
        torch.testing.assert_close(mode(z), alone)

def test_members_equal_alone():
    Gs = [awake(small()) for _ in range(2)]
    z = torch.randn(2, 4, Gs[0].latent_dim)
    for mode in ('eval', 'train'):
        stacked = Stacked([getattr(G, mode)() for G in Gs])
        torch.testing.assert_close(stacked(z), torch.stack([G(x) for G, x in zip(Gs, z)]))

def test_members_train_as_alone():
    data = Data('noise', torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8))
    def make(i=0):
        torch.manual_seed(i)
        return new_state(small((1, 8, 8)), DCGANDiscriminator((1, 8, 8), 2, norm=None), ema=True, seed=i)
    how = dict(loss=non_saturating, penalties=[partial(r1, gamma=.1)], batch_size=4)
    both = fit(members(make, 2), data, 2, **how)
    for i in range(2):
        alone = fit(make(i), data, 2, **how)
        for p, q in zip(alone.best.parameters(), member(both, i).best.parameters()):
            torch.testing.assert_close(p, q, atol=1e-4, rtol=0.)

def test_it_costs_what_it_says_and_can_be_copied():
    G = small()
    G(torch.randn(2, G.latent_dim))
    assert multiply_adds(G, (G.latent_dim,)) > 1000
    z = torch.randn(2, G.latent_dim)
    assert torch.equal(copy.deepcopy(G)(z), G(z))


# In recipes

def test_a_recipe_by_name():
    G, D = networks('style', (3, 16, 16))
    assert isinstance(G, StyleGenerator) and pairs['style'] and D(torch.zeros(2, 3, 16, 16)).shape == (2,)
    s, arguments = build('style', faces(40, 16), device='cpu')
    fit(s, **arguments | dict(n_steps=1, batch_size=4, ema_halflife=1.))
    assert s.step == 1


# Mixing and truncation

def test_mixing_swaps_what_it_says():
    G = awake(small())
    a, b = torch.randn(2, 3, G.latent_dim)
    n = len(G.grids)
    torch.testing.assert_close(mix(G, a, b, n), sample(G, a))
    with_noise_of_a = torch.cat([b[:, :5], a[:, 5:]], 1)
    torch.testing.assert_close(mix(G, a, b, 0), sample(G, with_noise_of_a))
    w = torch.cat([styles_of(G, a)[:, :2], styles_of(G, b)[:, 2:]], 1)
    assert torch.equal(mix(G, a, b, 2), painted(G, w, a))
    assert not torch.equal(mix(G, a, b, 1), mix(G, a, b, 2))

def test_truncation_draws_in():
    G = awake(small())
    z = torch.randn(3, G.latent_dim)
    mean = mean_style(G)
    assert torch.equal(mean, mean_style(G)) and mean.shape == (5,)
    torch.testing.assert_close(styles_of(G, z, 0.), mean.expand(3, 3, 5))
    torch.testing.assert_close(styles_of(G, z)[:, 0], G.to_w(z))
    half = (styles_of(G, z)[:, 0] - mean)*.5
    torch.testing.assert_close(styles_of(G, z, .5)[:, 2] - mean, half)
    assert torch.equal(painted(G, styles_of(G, z), z), sample(G, z)) and G.training is False

def test_whose_causes_are_found_again():
    eye = face_reader()
    one, two = draw_causes(60, 1), draw_causes(60, 2)
    third = draw_causes(60, **two.columns() | dict(skin=one.skin, smile=one.smile))
    found = followed(*(eye.read_causes(draw_faces(c, 16)/127.5 - 1) for c in (one, two, third)))
    assert set(found) == {*options, *bench.measured, 'y', 'height'}
    assert found['skin'][0] > .95 > .05 > found['skin'][1] and found['hair_style'][1] > .95
    assert found['smile'][0] > .9 and found['tilt'][1] > .9
    assert found['skin'][2] == (one.skin != two.skin).sum().item()

def test_sources_that_agree_leave_nothing_to_follow():
    read = face_reader().read_causes(draw_faces(draw_causes(4), 16)/127.5 - 1)
    assert set(followed(read, read, read).values()) == {(0., 0., 0)}

def test_pictures():
    G = small()
    a, b = latents(2, G.latent_dim), latents(3, G.latent_dim)
    assert mixing_table(G, a, b, 1).images[0].get_array().shape[:2] == (3*17 - 1, 4*17 - 1)
    first = to_png(style_view(G))
    assert first == to_png(style_view(G))
    for other in (dict(coarse=5), dict(fine=5), dict(from_grid=0), dict(psi=.2)):
        assert to_png(style_view(G, **other)) != first


# Wrong input

wrong = {
    'kernel': (lambda G, z: ModulatedConv(2, 2, 2, 4), 'kernel is 4'),
    'no channels': (lambda G, z: ModulatedConv(0, 2, 2), 'n_in is 0'),
    'points': (lambda G, z: small((2,)), 'take the MLP pair'),
    'width': (lambda G, z: small(width=.5), 'width is 0.5'),
    'latents': (lambda G, z: small(n=0), 'latent_dim is 0'),
    'layers': (lambda G, z: small(n_layers=-1), 'n_layers is -1'),
    'slow': (lambda G, z: small(slow=0.), 'slow is 0'),
    'no noise': (lambda G, z: G(z[:, :5]), '(...,B,341)'),
    'sizes of latents': (lambda G, z: G.to_w(z[:, :7]), '(...,5) without noise'),
    'one style': (lambda G, z: G.from_w(G.to_w(z), z[:, 5:]), '(B,3,5)'),
    'noise': (lambda G, z: G.from_w(styles_of(G, z), z), '(...,B,336)'),
    'grid': (lambda G, z: mix(G, z, z, 4), 'from_grid is 4'),
    'two sizes': (lambda G, z: mix(G, z, z[:1], 1), 'two batches of one shape'),
    'shape': (lambda G, z: styles_of(G, z[0]), '(N,Z)'),
    'filter': (lambda G, z: networks(replace(find('style'), up='transposed'), (3, 16, 16)), 'filter'),
}

@pytest.mark.parametrize('call,part', wrong.values(), ids=wrong)
def test_wrong_input(call, part):
    G = small()
    with pytest.raises(ValueError) as e: call(G, torch.randn(2, G.latent_dim))
    assert part in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize(
    'call', [lambda G: small(out=torch.nn.Tanh()), lambda G: G(torch.zeros(2, 341).long())]
)
def test_wrong_types(call):
    with pytest.raises(TypeError): call(small())


# The trial

def test_the_trial_runs_and_misses_its_targets(tmp_path, monkeypatch, capsys):
    tiny = ['--steps', '1', '--seeds', '2', '--samples', '40', '--out', str(tmp_path/'b.json')]
    monkeypatch.setattr(sys, 'argv', ['style', *tiny, '--only', 'style'])
    assert bench.main() == 0
    assert 'no arm called DCGAN' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['style', '--only', 'none', '--check', *tiny])
    assert bench.main() == 1

def test_the_stored_figures_keep_their_targets():
    entry = json.loads((results/'bench_style.json').read_text(encoding='utf-8'))['cpu faces']
    assert bench.missed(entry) == []

def test_missed_targets_are_seen():
    entry = json.loads((results/'bench_style.json').read_text(encoding='utf-8'))['cpu faces']
    rows = entry['rows']
    few = {name: row | dict(distance=row['distance'][:4]) for name, row in rows.items()}
    assert len(bench.missed(entry | dict(rows=few))) == len(bench.arms)
    upside_down = rows['style'] | dict(
        truncation=[{what: v[::-1] for what, v in t.items()} for t in rows['style']['truncation']],
        mixed=[{name: {cause: v[::-1] for cause, v in m.items()} for name, m in s.items()}
            for s in rows['style']['mixed']],
    )
    said = ' '.join(bench.missed(entry | dict(rows=rows | dict(style=upside_down))))
    assert 'hair style' in said and 'precision' in said and 'recall' in said
