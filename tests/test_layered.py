"""Generators that paint in layers: who knows what, any size, wrong input, and the figures of
trials/layers.py; and the reader of parts."""
import json
import math
from dataclasses import replace
from pathlib import Path
import pytest
import torch
from ganbook.data import faces
from ganbook.drawing import draw_faces, parts
from ganbook.models.dcgan import DCGANGenerator
from ganbook.models.layered import LayeredGenerator, layer_view, n_layers, n_own, separate_nets
from ganbook.readers import part_reader
from ganbook.recipes import build, networks
from ganbook.runs import existing, trained
from ganbook.train import fit, sample
from ganbook.wishes import with_networks
from torch import nn

root = Path(__file__).resolve().parent.parent
recipe = with_networks('pictures32', 'layered')

def masks_for(shape, k=3, latent_dim=6):
    return DCGANGenerator((k, *shape[1:]), latent_dim, 4, norm=None, out=nn.Identity, init=None)


# The generator

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 32, 32), (2, 9, 31), (4, 8, 65)], ids=str)
@pytest.mark.parametrize('k', [1, 3])
def test_any_size(shape, k):
    G = LayeredGenerator(shape, masks_for(shape, k), n_own=2)
    assert G.latent_dim == 6 + 2*k
    x = G(torch.randn(2, 3, G.latent_dim))
    assert x.shape == (2, 3, *shape) and x.abs().max() <= 1
    assert G(torch.randn(0, G.latent_dim)).shape == (0, *shape)

def test_one_layer_is_one_colour():
    G = LayeredGenerator((3, 8, 8), masks_for((3, 8, 8), 1))
    x = G(torch.randn(5, G.latent_dim))
    assert x.flatten(2).std(-1).max() < 1e-6 and x.flatten(2).mean(-1).std() > 0

@pytest.mark.parametrize('k', range(3))
def test_a_colour_knows_its_own_numbers_and_masks_know_none(k):
    G = LayeredGenerator((3, 16, 16), masks_for((3, 16, 16)))
    z = torch.randn(4, G.latent_dim)
    other = z.clone()
    other[:, G.own(k)] += 1
    assert torch.equal(G.masks(other), G.masks(z))
    moved = (G.colours(other) - G.colours(z)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [i == k for i in range(3)]
    other = z.clone()
    other[:, :G.n_shared] += 1
    assert torch.equal(G.colours(other), G.colours(z)) and not torch.equal(G.masks(other), G.masks(z))

def test_masks_share_out_each_pixel_and_sharpness_makes_them_harder():
    soft, hard = (LayeredGenerator((3, 8, 8), masks_for((3, 8, 8)), sharpness=a) for a in (.1, 50.))
    hard.load_state_dict(soft.state_dict())
    z = torch.randn(9, soft.latent_dim)
    for G in (soft, hard): torch.testing.assert_close(G.masks(z).sum(1), torch.ones(9, 8, 8))
    assert soft.masks(z).amax(1).mean() < hard.masks(z).amax(1).mean()

def test_separate_nets_count():
    net = separate_nets(2, 3, 5, n_hidden=7)
    assert net(torch.randn(4, 6, 1)).shape == (4, 10, 1)
    assert sum(p.numel() for p in net.parameters()) == 2*(3*7 + 7 + 7*7 + 7 + 7*5 + 5)

@pytest.mark.parametrize(
    'make,part',
    [
        (lambda: LayeredGenerator((3, 8, 8), masks_for((3, 8, 8)), n_own=0), 'n_own is 0'),
        (lambda: LayeredGenerator((3, 8, 8), masks_for((3, 8, 8)), sharpness=0.), 'sharpness is 0'),
        (lambda: LayeredGenerator((3, 8), masks_for((3, 8, 8))), 'not the shape of an image'),
        (lambda: LayeredGenerator((3, 8, 8), masks_for((3, 16, 16))), 'masks'),
        (lambda: LayeredGenerator((3, 8, 8), masks_for((3, 8, 8))).own(3), 'layer is 3'),
        (lambda: LayeredGenerator((3, 8, 8), masks_for((3, 8, 8)))(torch.randn(2, 6)), 'latents'),
        (lambda: networks(replace(recipe, latent_dim=32), (3, 32, 32)), 'latent_dim is 32'),
    ],
)
def test_what_is_refused(make, part):
    with pytest.raises(ValueError, match=part): make()


# As a recipe

@pytest.mark.parametrize('k', [None, 2])
def test_it_trains(k):
    short = replace(recipe, n_steps=2, width=4, batch_size=4)
    s, a = build(short, faces(20, 32), device='cpu', k=k)
    before = [p.clone() for p in s.G.parameters()] if k is None else None
    fit(s, **a)
    if k is None: assert all(not torch.equal(p, q) for p, q in zip(s.G.parameters(), before))
    x = sample(s.best, torch.randn(*([k] if k else []), 3, recipe.latent_dim))
    assert x.isfinite().all() and x.shape[-3:] == (3, 32, 32)

def test_the_numbers_fit_the_pair():
    G, D = networks(recipe, (3, 24, 24))
    assert (G.n_layers, G.n_own, G.latent_dim) == (n_layers, n_own, recipe.latent_dim)
    assert D(G(torch.randn(2, G.latent_dim))).shape == (2,)

def test_the_view_of_a_layer():
    G = trained(existing('@layers'), 'cpu').G.train()
    fig = layer_view(G, 1, 2, 3)
    assert [ax.get_title() for ax in fig.axes] == ['face 1', 'mask 2', 'recoloured'] and G.training
    again = layer_view(G.eval(), 1, 2, 3)
    for a, b in zip(fig.axes, again.axes): assert (a.images[0].get_array() == b.images[0].get_array()).all()
    for layer in (-1, 8):
        with pytest.raises(ValueError, match=f'layer is {layer}'): layer_view(G, layer=layer)


# The reader of parts

def test_the_card_of_the_reader_of_parts_is_true():
    reader = part_reader()
    data = faces(300, 32, seed=8)
    read = reader.masks(data.x.float()/127.5 - 1)
    true = draw_faces(data.causes, 32, 'parts').bool()
    iou = (read & true).sum((0, 2, 3))/(read | true).sum((0, 2, 3))
    for name, v in zip(parts, iou.tolist()):
        assert math.isclose(v, reader.card['iou'][name], abs_tol=.04), name
    assert min(reader.card['iou'].values()) > .8 and not reader.training
    assert reader.masks(torch.zeros(0, 3, 32, 32)).shape == (0, 10, 32, 32)

@pytest.mark.parametrize('shape', [(3, 32, 32), (1, 1, 32, 32), (1, 3, 16, 16)], ids=str)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r'\(N,3,32,32\)'): part_reader().masks(torch.zeros(shape))

def test_bytes_are_refused():
    with pytest.raises(TypeError, match='floating-point'):
        part_reader().masks(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))

def test_the_parts_are_trained_by_a_script():
    from tools.yardstick import overlap, part_recipe, train_part_reader
    net = train_part_reader(part_recipe, 2)
    assert list(overlap(net, dict(n=4, seed=0))) == list(parts)


# The trial

def test_the_stored_figures_reach_their_targets():
    from trials.layers import missed
    stored = json.loads((root/'results/bench_layers.json').read_text(encoding='utf-8'))
    assert stored
    for kind, entry in stored.items(): assert missed(entry['rows'], kind) == []

def test_missed_targets_are_found():
    from trials.layers import arms, longer, missed
    def row(v): return dict(distance=[3.]*5, iou=[dict(hair=v, background=.9)]*5)
    rows = {arm: row(.7) for arm in arms}
    assert missed(rows, 'cpu faces') == []
    assert len(missed(rows | {longer: row(.5) | dict(distance=[9.]*5)}, '')) == 2
    assert missed({}, 'x')[0] == 'x: no arm called layers'

def test_the_control_sees_the_whole_latent():
    from trials import layers as trial
    G, _ = trial.from_all(trial.layers, (3, 32, 32), (3, 32, 32), nn.Tanh)
    z = torch.randn(2, G.latent_dim)
    other = z.clone()
    other[:, -1] += 1
    assert not torch.equal(G.masks(z), G.masks(other)) and G(z).shape == (2, 3, 32, 32)
    assert not torch.equal(G.colours(z), G.colours(other))
