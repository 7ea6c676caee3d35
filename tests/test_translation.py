"""Translators and their judges: shapes, members, the loop, what the tasks see, and the figures of
trials/translation.py."""
import copy
import json
from dataclasses import replace
from pathlib import Path
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from ganbook.causes import draw_causes
from ganbook.data import Data, draw, fingerprint, split, subset
from ganbook.drawing import draw_faces
from ganbook.ensemble import member, members
from ganbook.losses import non_saturating, relativistic
from ganbook.models.translation import (
    BothJudges, BothWays, PatchDiscriminator, Translator, UNet, apart, cycle, global_net, identity, local_net,
    sharpness, to_truth, translation_view,
)
from ganbook.penalties import r1
from ganbook.recipes import build
from ganbook.tasks import Task, with_tasks
from ganbook.train import fit, new_state, sample
from ganbook.vitals import vitals

root = Path(__file__).resolve().parent.parent

@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)

def outlines(n=24, size=16):
    causes = draw_causes(n)
    return Data('outlines', draw_faces(causes, size), draw_faces(causes, size, 'outline'))

def pair(size=16, **options):
    G = UNet((3, size, size), (1, size, size), latent_dim=3, width=2, **options)
    return G, PatchDiscriminator((3, size, size), (1, size, size), width=2)

def two_ways(make=lambda: local_net((3, 16, 16), 2, 2)):
    return BothWays(*(Translator(make(), (3, 16, 16)) for _ in range(2)))

def two_judges(): return BothJudges(*(PatchDiscriminator((3, 16, 16), None, 2) for _ in range(2)))

def both_kinds(n=12):
    x = torch.cat([draw_faces(draw_causes(n, k, glasses=k), 16) for k in (0, 1)], 1)
    return Data('glasses', x, x)


# Source images as the labels of a set

def test_sources_are_drawn_with_their_images_and_in_one_range():
    d = outlines()
    same = Data('same', d.x, d.x, low=0.)
    x, y = draw(same, 7, torch.Generator().manual_seed(1), labels=True)
    assert torch.equal(x, y) and 0 <= x.min() and .5 < x.max() <= 1 and y.dtype == torch.float32
    x, y = draw(d, 7, [torch.Generator().manual_seed(k) for k in range(2)], labels=True)
    assert x.shape == (2, 7, 3, 16, 16) and y.shape == (2, 7, 1, 16, 16) and y.min() >= -1
    alone = draw(d, 7, torch.Generator().manual_seed(1), labels=True)
    assert torch.equal(x[1], alone[0]) and torch.equal(y[1], alone[1])

def test_points_may_have_a_source_too():
    d = Data('points', 3*torch.randn(5, 2), torch.full((5, 1, 4, 4), 255, dtype=torch.uint8), scale=3.)
    x, y = draw(d, 4, labels=True)
    assert x.abs().max() < 5 and torch.equal(y, torch.ones(4, 1, 4, 4))

def test_a_part_of_a_set_keeps_its_sources():
    d = outlines()
    d = Data('same', d.x, d.x)
    for part in (subset(d, 5), *split(d, .25)): assert torch.equal(part.x, part.y)
    other = replace(d, y=d.y.roll(1, 0))
    assert fingerprint(d) != fingerprint(other) and len(d.to('cpu').y) == len(d)

@pytest.mark.parametrize(
    'y',
    [
        torch.zeros(3, 1, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 1, 8, 8, dtype=torch.int64),
    ],
)
def test_sources_that_are_refused(y):
    with pytest.raises(ValueError, match=r'a source image, uint8 \(N,C,H,W\)'):
        Data('bad', torch.zeros(3, 1, 8, 8, dtype=torch.uint8), y)

def test_a_recipe_of_classes_wants_classes():
    with pytest.raises(ValueError, match='wants classes'): build('conditional', outlines(), device='cpu')

def test_many_samples_are_made_a_part_at_a_time():
    d, (G, _) = outlines(9), pair()
    z, y = torch.randn(9, 3), draw(d, 9, labels=True)[1]
    assert torch.allclose(sample(G, z, y, batch=2), sample(G, z, y), atol=1e-6)
    assert torch.allclose(sample(G, z[None], y[None], batch=4)[0], sample(G, z, y), atol=1e-6)

def test_a_run_on_sources_is_examined():
    s = fit(new_state(*pair()), outlines(), 2, non_saturating, labels=True, batch_size=4)
    v = vitals(s, outlines(), non_saturating, labels=True)
    assert v['fake_finite'] == 1 and 'kinds' not in v


# Networks

@pytest.mark.parametrize('size', [(8, 8), (15, 22), (16, 16), (33, 9)])
@pytest.mark.parametrize('lead', [(), (4,), (2, 3)])
def test_shapes(size, lead):
    G, D = UNet((3, *size), (1, *size), 5, 2), PatchDiscriminator((3, *size), (1, *size), 2)
    z, y = torch.randn(*lead, 5), torch.randn(*lead, 1, *size)
    if not lead: z, y = z[None], y[None]
    x = G(z, y)
    assert x.shape == (*y.shape[:-3], 3, *size) and x.abs().max() <= 1
    assert D(x, y).shape == y.shape[:-3] and torch.isfinite(D(x, y)).all()

@pytest.mark.parametrize('options', [dict(), dict(norm=None), dict(norm=nn.InstanceNorm2d), dict(smallest=1)])
def test_gradients_reach_all_weights(options):
    G, D = pair(**options)
    y = torch.randn(4, 1, 16, 16)
    D(G(torch.randn(4, 3), y), y).square().sum().backward()
    for name, p in [*G.named_parameters(), *D.named_parameters()]:
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
        if not options and not name.endswith('.0.bias'): assert p.grad.abs().max() > 0, name

def test_the_smallest_image_has_one_grid():
    G = UNet((1, 8, 8), smallest=4, width=2)
    assert len(G.down) == len(G.up) == 1
    assert G(torch.randn(2, 8), torch.randn(2, 1, 8, 8)).shape == (2, 1, 8, 8)

def test_skips_carry_the_source_past_the_smallest_grid():
    "With the smallest grid silenced, the answer still depends on the source."
    G, _ = pair(norm=None)
    y = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        for p in G.up[0].parameters(): p.zero_()
        z = torch.randn(1, 3).expand(2, 3)
        a, b = G(z, y)
        assert (a - b).abs().max() > 1e-4
        assert torch.equal(G(z + 1, y), G(z, y))  # and the latent, which enters there, is cut off

@pytest.mark.parametrize('n_layers,side', [(1, 8), (2, 18)])
def test_a_patch_is_as_wide_as_is_said(n_layers, side):
    D = PatchDiscriminator((1, 64, 64), None, 4, n_layers)
    x = torch.randn(1, 1, 64, 64, requires_grad=True)
    maps = D.patches(x)
    middle = maps.shape[-1]//2
    seen = torch.autograd.grad(maps[0, middle, middle], x)[0][0, 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == side

def test_one_logit_a_sample_is_the_mean_of_its_patches():
    _, D = pair()
    x, y = torch.randn(2, 3, 3, 16, 16), torch.randn(2, 3, 1, 16, 16)
    assert D.patches(x, y).shape == (2, 3, 8, 8)
    assert torch.allclose(D(x, y), D.patches(x, y).mean((-2, -1)))
    alone = PatchDiscriminator((3, 16, 16), None, 2)
    assert torch.equal(alone(x), alone(x, y))  # it has no source, and ignores labels

def test_both_ways_are_the_two_of_one_alone():
    G, D = two_ways(), two_judges()
    a, b = torch.randn(2, 5, 3, 16, 16)
    z = torch.randn(5, 1)
    there, back = G(z, torch.cat([a, b], 1)).chunk(2, 1)
    assert torch.equal(there, G.to_a(z, b)) and torch.equal(back, G.to_b(z, a))
    assert torch.allclose(D(torch.cat([a, b], 1)), D.of_a(a) + D.of_b(b))

def test_local_and_global_nets_depend_on_what_they_say():
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    for net, n in ((local_net((3, 16, 16), 4, 3), 7**2), (global_net((3, 16, 16), 8), 16**2)):
        seen = torch.autograd.grad(net(x)[0, 0, 8, 8], x)[0].abs().sum(1) > 0
        assert seen.sum() == n


# Tasks

def test_a_task_sees_the_batch_and_what_G_made_in_either_step():
    seen = []
    def look(r):
        seen.append((r.real is None, r.plain, r.y, r.fake))
        return r.plain[1].mean()*0
    s = new_state(*pair())
    fit(
        s, outlines(), 1, non_saturating, labels=True, batch_size=4, augment=lambda x: x + 1,
        update=with_tasks((Task('look', look, look), 1.)),
    )
    (_, of_D, y, fake_D), (absent, of_G, y_G, fake_G) = seen
    assert absent and torch.equal(of_D[0], of_G[0]) and torch.equal(y, y_G)
    for (real, made), fake in ((of_D, fake_D), (of_G, fake_G)):
        assert real.abs().max() <= 1 and torch.allclose(made + 1, fake)  # before any augmentation

def test_l1_alone_comes_nearer_to_the_truth():
    d, s = outlines(), new_state(*pair(), lr=1e-2)
    mute = replace(non_saturating, generator=lambda r, f: 0*f.mean(-1))
    fit(s, d, 40, mute, labels=True, batch_size=8, update=with_tasks((to_truth(), 1.)))
    log = s.log.table()
    assert log['truth_G'][-5:].mean() < .9*log['truth_G'][:5].mean() and 'truth_D' not in log

def test_l1_by_hand():
    a, b = torch.zeros(2, 3, 1, 4, 4), torch.ones(2, 3, 1, 4, 4)
    b[1] = .5
    assert apart(a, b).tolist() == [1., .5] and apart(a[0], b[0]) == 1

def test_sharpness_by_hand():
    stripes = torch.tensor([0., 1.]).repeat(2)[None, None, None].expand(1, 1, 4, 4)
    assert sharpness(stripes) == .5 and sharpness(torch.ones(2, 5, 3, 4, 4)).tolist() == [0., 0.]

def test_the_way_there_and_back_is_zero_for_copies():
    class Copy(nn.Module):
        def __init__(self):
            super().__init__()
            self.shape, self.latent_dim = (3, 16, 16), 1
            self.one = nn.Parameter(torch.ones(()))
        def forward(self, z, *y): return self.one*y[0]
    G = BothWays(Copy(), Copy())
    values = {}
    def kept(task):
        def f(r):
            values[task.name] = task.generator(r)
            return values[task.name]
        return (replace(task, generator=f), 1.)
    s = new_state(G, two_judges(), lr=0.)
    fit(s, both_kinds(), 1, non_saturating, labels=True, batch_size=4,
        update=with_tasks(kept(cycle(G)), kept(identity(G))))
    assert {k: v.item() for k, v in values.items()} == dict(cycle=0., identity=0.)

@pytest.mark.parametrize('loss', [non_saturating, relativistic])
def test_cycle_and_identity_train(loss):
    s = new_state(two_ways(), two_judges(), lr=1e-2, ema=True)
    before = copy.deepcopy(s.G.state_dict())
    tasks = with_tasks((cycle(s.G), 10.), (identity(s.G), 5.))
    fit(s, both_kinds(), 30, loss, [r1], labels=True, batch_size=4, update=tasks)
    log = s.log.table()
    assert log['cycle_G'][-1] < log['cycle_G'][0] and log['identity_G'][-1] < log['identity_G'][0]
    for name, p in s.G.state_dict().items(): assert not torch.equal(p, before[name]), name

def test_a_member_is_the_translator_trained_alone():
    def make(i):
        torch.manual_seed(i)
        return new_state(*pair(), lr=1e-3, betas=(0., .99), seed=i)
    how = dict(
        n_steps=3, loss=non_saturating, penalties=[r1], labels=True, batch_size=4,
        update=with_tasks((to_truth(), 1.)),
    )
    both, alone = fit(members(make, 2), outlines(), **how), fit(make(1), outlines(), **how)
    one = member(both, 1)
    for p, q in zip(
        (*one.G.parameters(), *one.D.parameters()), (*alone.G.parameters(), *alone.D.parameters())
    ):
        assert torch.allclose(p, q, atol=1e-4)

def test_members_go_there_and_back():
    def make(i):
        torch.manual_seed(i)
        return new_state(two_ways(), two_judges(), seed=i)
    s = members(make, 2)
    fit(s, both_kinds(), 2, non_saturating, labels=True, batch_size=4, update=with_tasks((cycle(s.G), 1.)))
    assert s.log.table()['cycle_G'].shape == (2, 2)


# Wrong calls

x3, y1, z3 = torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16), torch.zeros(2, 3)
wrong = {
    'no source for G': (lambda: pair()[0](z3), 'call fit with labels=True'),
    'a class for G': (lambda: pair()[0](z3, torch.zeros(2, dtype=torch.int64)), 'wants source images'),
    'no source for D': (lambda: pair()[1](x3), 'D wants source images'),
    'another number of sources': (lambda: pair()[0](z3, y1[:1]), 'one source a sample'),
    'another source': (lambda: pair()[0](z3, x3), r'give \(...,B,1,16,16\)'),
    'another image': (lambda: pair()[1](y1, y1), r'give \(...,B,3,16,16\)'),
    'other latents': (lambda: pair()[0](z3[:, :2], y1), r'give \(...,B,3\)'),
    'two sizes': (lambda: UNet((3, 16, 16), (1, 8, 8)), 'one height and width'),
    'two sizes for D': (lambda: PatchDiscriminator((3, 16, 16), (1, 8, 8)), 'one height and width'),
    'too many halvings': (lambda: PatchDiscriminator((3, 16, 16), n_layers=5), 'n_layers is 5'),
    'a layer for a maker': (lambda: UNet((3, 16, 16), out=nn.Tanh()), 'without brackets'),
    'no latents': (lambda: UNet((3, 16, 16), latent_dim=0), 'latent_dim is 0'),
    'a tiny image': (lambda: UNet((3, 4, 4)), 'height is 4'),
    'two shapes': (lambda: apart(x3, y1), 'one shape'),
    'unequal ways': (
        lambda: BothWays(Translator(nn.Identity(), (3, 16, 16)), Translator(nn.Identity(), (1, 16, 16))),
        'one shape and latent_dim',
    ),
    'unequal judges': (
        lambda: BothJudges(PatchDiscriminator((3, 16, 16)), PatchDiscriminator((1, 16, 16))), 'one shape',
    ),
    'half a pair': (lambda: two_ways()(z3[:, :1], x3), r'give \(...,B,6,16,16\)'),
    'half a pair to judge': (lambda: two_judges()(x3), r'give \(...,B,6,16,16\)'),
    'fit without labels': (
        lambda: fit(new_state(*pair()), outlines(4), 1, non_saturating), 'call fit with labels=True',
    ),
    'no sources': (
        lambda: fit(new_state(*pair()), replace(outlines(4), y=None), 1, non_saturating, labels=True),
        'outlines has no labels',
    ),
    'a view of two lengths': (lambda: translation_view(pair()[0], y1, x3[:1]), 'one truth a source'),
}

@pytest.mark.parametrize('name', wrong)
def test_wrong_calls_are_told_in_one_sentence(name):
    call, words = wrong[name]
    with pytest.raises((ValueError, TypeError), match=words) as told: call()
    assert str(told.value).count('\n') == 0

def test_the_view_has_a_row_for_everything():
    fig = translation_view(pair()[0], torch.zeros(4, 1, 16, 16), torch.zeros(4, 3, 16, 16), (0, 1))
    assert isinstance(fig, Figure) and len(fig.axes) == 4
    assert len(translation_view(pair()[0], torch.zeros(1, 1, 16, 16)).axes) == 2


# The figures of trials/translation.py

def test_stored_translations_keep_their_targets():
    from trials.translation import missed
    assert missed(json.loads((root/'results/bench_translation.json').read_text(encoding='utf-8'))) == []

def test_missing_arms_are_seen():
    from trials.translation import missed, paired, unpaired
    kept = {
        kind: dict(rows={a: {key: [1.]*5} for a in arms})
        for kind, arms, key in (('paired', paired, 'error'), ('unpaired', unpaired, 'kept'))
    }
    assert missed(kept) == []
    kept['paired']['rows'].popitem()
    kept['unpaired']['rows']['local, cycle']['kept'] = [1.]*4
    assert len(missed(kept)) == 2 and missed({}) == ['there is no paired', 'there is no unpaired']
