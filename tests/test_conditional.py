"""Conditional pairs, tasks and their measures: many inputs,
members, the loop, and the figures of trials/tasks.py."""
import copy
import json
import math
from pathlib import Path
import pytest
import torch
from torch import nn
from ganbook.checkpoints import load, save
from ganbook.data import Data, digits, faces, latents, subset
from ganbook.ensemble import Stacked, member, members
from ganbook.losses import non_saturating, relativistic
from ganbook.models.conditional import (
    CodedGenerator, ConditionalBatchNorm, EmbeddedGenerator, Judge, NormedGenerator, answers, code,
)
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import r1, r2, wgan_gp
from ganbook.tasks import (
    Round, Task, _step_with_tasks, agreement, classify, counted, inform, mutual_information, nats, rotate,
    taught, turned, with_tasks,
)
from ganbook.train import alternating, d_step, fit, g_step, new_state, sample

root = Path(__file__).resolve().parent.parent
points = Data('points', torch.randn(64, 2, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3)
small = subset(digits(), 64)

def generators(shape, K):
    yield EmbeddedGenerator(MLPGenerator(shape, 9, (16,)), K, 4)
    yield CodedGenerator(EmbeddedGenerator(MLPGenerator(shape, 9, (16,)), K, 4), K)
    if len(shape) == 3:
        yield EmbeddedGenerator(DCGANGenerator(shape, 9, 4), K, 4)
        yield NormedGenerator(DCGANGenerator(shape, 5, 4), K)

def bodies(shape):
    yield MLPDiscriminator(shape, (16, 12))
    if len(shape) == 3: yield DCGANDiscriminator(shape, 4, norm=None)

def pair(seed=0, heads=None, K=3, shape=(2,), **how):
    torch.manual_seed(seed)
    G = (
        EmbeddedGenerator(MLPGenerator(shape, 9, (16,), nn.Identity if len(shape) == 1 else nn.Tanh), K, 4)
        if K
        else MLPGenerator(shape, 5, (16,))
    )
    return new_state(
        G, Judge(MLPDiscriminator(shape, (16,)), heads, **dict(n_classes=K) | how), 1e-3, seed=seed
    )

every_task = classify(), inform(3), rotate()


# Networks

@pytest.mark.parametrize('shape', [(2,), (1, 8, 8), (3, 9, 14), (1, 28, 28)])
def test_pairs_of_any_shape_take_any_leading_sizes(shape):
    for G in generators(shape, 4):
        z, y = torch.randn(2, 5, G.latent_dim), torch.randint(4, (2, 5))
        x = G.eval()(z, y)
        assert x.shape == (2, 5, *shape) and torch.allclose(x[1], G(z[1], y[1]), atol=1e-5)
    for D in bodies(shape):
        J = Judge(D, dict(a=3, b=2), n_classes=4)
        said = answers(J, x, y)
        assert J(x, y).shape == (2, 5) and torch.equal(said['logits'], J(x, y))
        assert (
            said['a'].shape == (2, 5, 3)
            and said['b'].shape == (2, 5, 2)
            and said['features'].shape[:2] == (2, 5)
        )

@pytest.mark.parametrize('shape', [(2,), (1, 8, 8)])
def test_a_judge_without_questions_is_the_discriminator_it_was_made_of(shape):
    for D in bodies(shape):
        x = torch.randn(6, *shape)
        assert torch.allclose(Judge(D)(x), D(x), atol=1e-6)
        # labels are taken and ignored, as D does
        assert torch.allclose(Judge(D)(x, torch.zeros(6, dtype=torch.long)), D(x), atol=1e-6)

def test_projection_is_a_product_of_the_features_with_a_vector_of_the_class():
    J, x = Judge(MLPDiscriminator((2,), (16,)), n_classes=3), torch.randn(7, 2)
    features = answers(J, x, torch.zeros(7, dtype=torch.long))['features']
    for c in range(3):
        y = torch.full((7,), c)
        assert torch.allclose(J(x, y), J.logit(features)[:, 0] + features @ J.classes[c], atol=1e-6)

def test_the_logit_of_a_classifier_is_the_logsumexp_of_its_answers():
    J, x = Judge(MLPDiscriminator((2,), (16,)), dict(classes=5), logit_from='classes'), torch.randn(7, 2)
    assert torch.allclose(J(x), answers(J, x)['classes'].logsumexp(-1)) and J.logit is None

def test_conditional_batchnorm_begins_as_batchnorm_and_then_differs_by_class():
    for norm, x in ((nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4)), (nn.BatchNorm1d(3), torch.randn(8, 3))):
        y, mine = torch.arange(8) % 2, ConditionalBatchNorm(copy.deepcopy(norm), 2)
        assert torch.allclose(mine(x, y), norm(x), atol=1e-6)
        assert torch.allclose(mine.norm.running_var, norm.running_var)
        with torch.no_grad():
            mine.gain[1] *= 3
            mine.shift[1] += 1
        mine.eval()
        norm.eval()
        assert torch.allclose(mine(x, y)[y == 0], norm(x)[y == 0], atol=1e-6)
        assert torch.allclose(mine(x, y)[y == 1], 3*norm(x)[y == 1] + 1, atol=1e-5)

def test_wrapping_leaves_the_networks_alone():
    G, D = DCGANGenerator((1, 8, 8), 5, 4), DCGANDiscriminator((1, 8, 8), 4, norm=None)
    before = [p.clone() for p in (*G.parameters(), *D.parameters())]
    s = new_state(NormedGenerator(G, 10), Judge(D, n_classes=10), 1e-2)
    fit(s, small, 2, non_saturating, labels=True, batch_size=8)
    assert all(torch.equal(a, b) for a, b in zip(before, (*G.parameters(), *D.parameters())))

@pytest.mark.parametrize('arm', range(4))
def test_stacked_networks_are_each_alone(arm):
    Gs = [list(generators((1, 8, 8), 3))[arm] for _ in range(2)]
    Ds = [Judge(list(bodies((1, 8, 8)))[arm > 1], dict(a=4), n_classes=3) for _ in range(2)]
    G = Stacked(copy.deepcopy(Gs))
    D = Stacked(Ds)
    y = torch.randint(3, (2, 6))
    z = torch.randn(2, 6, Gs[0].latent_dim)
    x = G(z, y)
    assert torch.allclose(x, torch.stack([g(a, b) for g, a, b in zip(Gs, z, y)]), atol=1e-4)
    both = answers(D, x, y)
    for i, d in enumerate(Ds):
        for name, v in answers(d, x[i], y[i]).items(): assert torch.allclose(both[name][i], v, atol=1e-4)

@pytest.mark.parametrize(
    'wrong,match',
    [
        (lambda: EmbeddedGenerator(MLPGenerator((2,), 4), 3, 4), 'room for 1 to 3'),
        (lambda: EmbeddedGenerator(MLPGenerator((2,), 9), 0, 4), 'n_classes is 0'),
        (lambda: NormedGenerator(MLPGenerator((2,), 4), 3), 'no BatchNorm'),
        (lambda: NormedGenerator(DCGANGenerator((1, 8, 8), 4, 4, norm=None), 3), 'no BatchNorm'),
        (lambda: Judge(MLPDiscriminator((2,)), dict(a=0)), 'head a is 0'),
        (lambda: Judge(MLPDiscriminator((2,)), dict(a=3), logit_from='b'), 'names in heads'),
        (lambda: Judge(nn.Linear(2, 1)), 'Linear'),
        (lambda: Judge(MLPDiscriminator((2,)), dict(logits=2)), 'another name'),
        (lambda: Judge(MLPDiscriminator((2,)), n_classes=3)(torch.randn(4, 2)), 'labels=True'),
        (
            lambda: Judge(MLPDiscriminator((2,)), n_classes=3)(torch.randn(4, 2), torch.full((4,), 3)),
            '0 to 2',
        ),
        (
            lambda: Judge(MLPDiscriminator((2,)), n_classes=3)(torch.randn(4, 2), torch.full((4,), -1)),
            '0 to 2',
        ),
        (
            lambda: Judge(MLPDiscriminator((2,)), n_classes=3)(
                torch.randn(4, 2), torch.zeros(3, dtype=torch.long)
            ),
            'one label a sample',
        ),
        (
            lambda: Judge(MLPDiscriminator((2,)), n_classes=3)(
                torch.randn(4, 3), torch.zeros(4, dtype=torch.long)
            ),
            'do not fit',
        ),
        (lambda: next(generators((2,), 3))(torch.randn(4, 5)), 'labels=True'),
        (
            lambda: next(generators((2,), 3))(torch.randn(4, 6), torch.zeros(4, dtype=torch.long)),
            'do not fit',
        ),
        (lambda: next(generators((2,), 3))(torch.randn(4, 5), torch.full((4,), 7)), '0 to 2'),
    ],
)
def test_networks_refuse_in_one_sentence(wrong, match):
    with pytest.raises((ValueError, TypeError), match=match): wrong()

def test_stacked_networks_refuse_a_class_that_they_do_not_know():
    D = Stacked([Judge(MLPDiscriminator((2,), (8,)), n_classes=3) for _ in range(2)])
    with pytest.raises(ValueError, match='0 to 2'): D(torch.randn(2, 4, 2), torch.full((2, 4), 3))
    with pytest.raises(TypeError, match='int64'): D(torch.randn(2, 4, 2), torch.zeros(2, 4))

def test_a_discriminator_without_questions_answers_none():
    with pytest.raises(TypeError, match='Judge'): answers(MLPDiscriminator((2,)), torch.randn(3, 2))
    J = Judge(MLPDiscriminator((2,), (8,)))
    with pytest.raises(ValueError): answers(J, torch.randn(3, 5))
    assert not J.tells and isinstance(J(torch.randn(3, 2)), torch.Tensor)


# Attributes

sizes = 2, 4, 3

def attributes(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(n, shape, generator=rng) for n in sizes], -1)

def attributed():
    torch.manual_seed(0)
    yield EmbeddedGenerator(MLPGenerator((1, 8, 8), 9, (16,)), sizes, 4)
    yield EmbeddedGenerator(DCGANGenerator((1, 8, 8), 9, 4), sizes, 4)
    yield NormedGenerator(DCGANGenerator((1, 8, 8), 5, 4), sizes)

def test_networks_take_rows_of_attributes_with_any_leading_sizes():
    y = attributes(2, 5)
    for G in attributed():
        z = torch.randn(2, 5, G.latent_dim)
        x = G.eval()(z, y)
        assert x.shape == (2, 5, 1, 8, 8) and torch.allclose(x[1], G(z[1], y[1]), atol=1e-5)
    for D in bodies((1, 8, 8)):
        J = Judge(D, n_classes=sizes)
        assert J(x, y).shape == (2, 5) and torch.allclose(J(x, y)[1], J(x[1], y[1]), atol=1e-5)

def test_an_attribute_adds_a_row_of_its_own_to_the_others():
    J, x, y = Judge(MLPDiscriminator((2,), (16,)), n_classes=sizes), torch.randn(7, 2), attributes(7)
    h = answers(J, x, y)['features']
    rows = J.classes[y[:, 0]] + J.classes[2 + y[:, 1]] + J.classes[6 + y[:, 2]]
    assert J.classes.shape == (9, 16)
    assert torch.allclose(J(x, y), J.logit(h)[:, 0] + (rows*h).sum(1), atol=1e-5)
    G = EmbeddedGenerator(MLPGenerator((2,), 9, (16,)), sizes, 4)
    z = torch.randn(7, 5)
    rows = G.vectors[y[:, 0]] + G.vectors[2 + y[:, 1]] + G.vectors[6 + y[:, 2]]
    assert torch.allclose(G(z, y), G.G(torch.cat([rows, z], 1)), atol=1e-5)

def test_a_class_is_one_attribute_in_a_row_of_its_own():
    y, z = torch.arange(6) % 3, torch.randn(6, 5)
    for n in (3, (3,)):
        torch.manual_seed(0)
        J = Judge(MLPDiscriminator((2,), (16,)), n_classes=n)
        G = EmbeddedGenerator(MLPGenerator((2,), 9, (16,), nn.Identity), n, 4)
        told = y if n == 3 else y[:, None]
        if n == 3: x, logits = G(z, told), J(z[:, :2], told)
    assert torch.equal(x, G(z, told)) and torch.equal(logits, J(z[:, :2], told))

def test_attributes_in_batchnorm_begin_as_batchnorm_and_add_up():
    norm, x, y = nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4), attributes(8)
    with torch.no_grad(): norm.weight.copy_(torch.tensor([.5, 1., 2.]))
    mine = ConditionalBatchNorm(copy.deepcopy(norm), sizes)
    assert torch.allclose(mine(x, y), norm(x), atol=1e-6)
    with torch.no_grad():
        mine.shift[1] += 1  # attribute 0 is 1
        mine.shift[2 + 3] += 10  # attribute 1 is 3
    added = (mine.eval()(x, y) - mine(x, torch.zeros_like(y)))[:, 0, 0, 0]
    assert torch.allclose(added, (y[:, 0] == 1) + 10.*(y[:, 1] == 3), atol=1e-4)

@pytest.mark.parametrize(
    'y,match',
    [
        (attributes(5) + torch.tensor([2, 0, 0]), 'attribute 0 of [GD] takes the labels 0 to 1'),
        (attributes(5) + torch.tensor([0, 4, 0]), 'attribute 1 of [GD] takes the labels 0 to 3'),
        (-1 - attributes(5), 'takes the labels'),
        (attributes(5)[:, :2], 'a row of 3 attributes a sample'),
        (attributes(5)[:, 0], 'a row of 3 attributes a sample'),
        (attributes(4), 'a row of 3 attributes a sample'),
        (attributes(5).float(), 'int64'),
    ],
)
def test_attributes_that_do_not_fit_are_refused_in_one_sentence(y, match):
    G = EmbeddedGenerator(MLPGenerator((2,), 9, (16,)), sizes, 4)
    D = Judge(MLPDiscriminator((2,), (16,)), n_classes=sizes)
    for call in (lambda: G(torch.randn(5, 5), y), lambda: D(torch.randn(5, 2), y)):
        with pytest.raises((ValueError, TypeError), match=match): call()

@pytest.mark.parametrize('n', [(), (2, 0), (2, 1.5), (2, None)])
def test_sizes_of_attributes_are_whole_numbers(n):
    for make in (
        lambda: EmbeddedGenerator(MLPGenerator((2,), 9), n, 4),
        lambda: Judge(MLPDiscriminator((2,)), n_classes=n),
        lambda: ConditionalBatchNorm(nn.BatchNorm2d(3), n),
    ):
        with pytest.raises(ValueError, match='n_classes is'): make()

def faces_with_attributes(n):
    d = faces(n, size=16)
    return Data('faces', d.x, torch.stack([d.causes.glasses, d.causes.hair_colour], 1))

def asked(i):
    torch.manual_seed(i)
    G = NormedGenerator(DCGANGenerator((3, 16, 16), 6, 4), (2, 6))
    D = Judge(DCGANDiscriminator((3, 16, 16), 4, norm=None), n_classes=(2, 6))
    return new_state(G, D, ema=True, seed=i)

def test_faces_are_trained_and_drawn_by_attributes_alone_and_as_members(tmp_path):
    d = faces_with_attributes(32)
    one = fit(asked(1), d, 2, relativistic, [r1], batch_size=8, labels=True)
    both = fit(members(asked, 2), d, 2, relativistic, [r1], batch_size=8, labels=True)
    z, y = torch.randn(7, 6), d.y[:7]
    x = sample(one.best, z, y, batch=3)
    assert torch.allclose(x, sample(one.best, z, y), atol=1e-5)
    together = sample(both.best, z.expand(2, -1, -1), y.expand(2, -1, -1), batch=3)
    assert together.shape == (2, 7, 3, 16, 16) and torch.allclose(together[1], x, atol=1e-3)
    save(one, tmp_path/'one.pt')
    assert torch.equal(sample(load(asked(0), tmp_path/'one.pt').best, z, y, batch=3), x)

def test_data_hold_attributes_and_refuse_what_are_none():
    d = faces_with_attributes(6)
    assert subset(d, 3).y.shape == (3, 2)
    for y in (torch.zeros(5, 2, dtype=torch.long), torch.zeros(6, 2), torch.zeros(6, 2, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match='an int64 number'): Data('bad', d.x, y)


# The loop

@pytest.mark.parametrize(
    'loss,penalties', [(non_saturating, [wgan_gp]), (relativistic, []), (relativistic, [r1, r2])]
)
def test_without_tasks_nothing_changes(loss, penalties):
    runs = []
    for update in (alternating, with_tasks(), with_tasks((classify(), 0.))):
        torch.manual_seed(1)
        runs.append(
            fit(
                pair(heads=dict(classes=3)), points, 2, loss, penalties, batch_size=8, labels=True,
                update=update, n_critic=2,
            )
        )
    for other in runs[1:]:
        for p, q in zip(
            (*runs[0].G.parameters(), *runs[0].D.logit.parameters()),
            (*other.G.parameters(), *other.D.logit.parameters()),
        ):
            assert torch.equal(p, q)
        assert set(runs[0].log.columns) <= set(other.log.columns)
        for name, v in runs[0].log.table().items(): assert (v == other.log.table()[name]).all()

def test_the_log_has_the_loss_and_each_task_apart():
    D_heads = dict(classes=10, codes=3, rotation=4)
    s = fit(
        pair(heads=D_heads, K=10, shape=(1, 8, 8)), small, 2, relativistic, batch_size=8, labels=True,
        update=with_tasks(*((t, .5) for t in every_task)),
    )
    table = s.log.table()
    assert {f'{n}_{p}' for n in D_heads for p in 'DG'} < set(table)
    assert (
        abs(table['codes_D'][0] - math.log(3)) < .5
        and abs(table['rotation_D'][0] - math.log(4)) < .5
        and table['loss_D'][0] < 1.5
    )

def test_each_side_learns_what_its_task_says_and_the_other_does_not_move():
    s = pair(heads=dict(classes=3))
    seen = []
    task = Task(
        't', lambda r: seen.append(r) or r.of_real['classes'].sum(-1).mean(-1),
        lambda r: seen.append(r) or r.fake.sum(-1).mean(-1),
    )
    head = s.D.heads['classes'].weight.clone()
    fit(s, points, 1, non_saturating, labels=True, batch_size=8, update=with_tasks((task, 1.)))
    assert not torch.equal(head, s.D.heads['classes'].weight)
    d, g = seen
    assert (
        d.real.shape == d.fake.shape == (8, 2)
        and d.z.shape == (8, 5)
        and d.y.shape == (8,)
        and not d.fake.requires_grad
    )
    assert (
        g.real is None
        and g.of_real is None
        and g.fake.requires_grad
        and set(g.of_fake) == {'logits', 'features', 'classes'}
    )
    assert (
        all(p.requires_grad for p in s.D.parameters())
        and not s.D.tells
        and not s.D._forward_hooks
        and not s.G._forward_hooks
    )

def test_what_is_asked_in_the_step_of_G_gives_D_no_gradient():
    s = pair(heads=dict(rotation=4), K=10, shape=(1, 8, 8))
    fit(s, small, 1, non_saturating, labels=True, batch_size=8, update=with_tasks((rotate(), 1.)))
    kept = [p.grad.clone() for p in s.D.parameters() if p.grad is not None]
    _step_with_tasks(
        g_step, 'generator', ((rotate(), 1.),), s, torch.zeros(8, 1, 8, 8), non_saturating,
        (torch.zeros(8, dtype=torch.long),),
    )
    assert all(
        torch.equal(a, p.grad) for a, p in zip(kept, (p for p in s.D.parameters() if p.grad is not None))
    )

def test_members_are_the_gans_trained_alone():
    heads = dict(classes=10, codes=3, rotation=4)
    how = dict(
        penalties=[r1, r2], batch_size=8, labels=True, update=with_tasks(*((t, .5) for t in every_task))
    )
    def make(i): return pair(i, heads, 10, (1, 8, 8))
    both = fit(members(make, 2), small, 3, relativistic, **how)
    alone = fit(make(1), small, 3, relativistic, **how)
    one = member(both, 1)
    for p, q in zip(
        (*one.G.parameters(), *one.D.parameters()), (*alone.G.parameters(), *alone.D.parameters())
    ):
        assert torch.allclose(p, q, atol=1e-4)
    for name, v in alone.log.table().items(): assert abs(one.log.table()[name] - v).max() < 1e-3

def test_classify_names_fakes_in_the_loss_of_D_only_where_asked_to():
    of_real = torch.randn(2, 6, 3)
    of_fake = torch.randn(2, 6, 3)
    y = torch.randint(3, (2, 6))
    y[0, :2] = -1
    r = Round(
        None, torch.zeros(2, 6, 2), dict(classes=of_real), torch.zeros(2, 6, 2), dict(classes=of_fake),
        torch.zeros(2, 6, 5), y,
    )
    each = {
        name: nn.functional.cross_entropy(x.flatten(0, 1), y.flatten(), ignore_index=-1, reduction='none')
        .view(2, 6)
        .sum(1)
        /(y >= 0).sum(1)
        for name, x in (('real', of_real), ('fake', of_fake))
    }
    for task, loss_D, loss_G in (
        (classify(), each['real'], each['fake']),
        (classify(fakes=True), each['real'] + each['fake'], each['fake']),
        (classify(generated=False), each['real'], None),
        (classify(generated=False, fakes=True), each['real'] + each['fake'], None),
    ):
        assert torch.allclose(task.discriminator(r), loss_D, atol=1e-6)
        assert (
            task.generator is None if loss_G is None else torch.allclose(task.generator(r), loss_G, atol=1e-6)
        )

def test_fakes_named_as_asked_teach_the_head_of_D_but_not_G_in_the_step_of_D():
    heads, y = {}, torch.arange(8) % 3
    for fakes in (False, True):
        s = pair(heads=dict(classes=3))
        before = [p.clone() for p in s.G.parameters()]
        _step_with_tasks(
            d_step, 'discriminator', ((classify(fakes=fakes), 1.),), s, points.x[:8], non_saturating, (y,)
        )
        assert all(torch.equal(a, b) for a, b in zip(before, s.G.parameters()))
        heads[fakes] = s.D.heads['classes'].weight.clone()
    assert not torch.equal(heads[False], heads[True])

def test_a_task_may_ask_about_images_and_labels_of_its_own():
    x = torch.randn(5, 2)
    y = torch.arange(5) % 3
    said = []
    task = Task('t', lambda r: nats(said.append(r.ask(x, y)) or said[-1]['classes'], y))
    fit(
        pair(heads=dict(classes=3)), points, 1, non_saturating, labels=True, batch_size=8,
        update=with_tasks((task, 1.)),
    )
    assert said[0]['logits'].shape == (5,) and said[0]['classes'].shape == (5, 3)
    task = Task('t', lambda r: nats(r.ask(x)['classes'], y))
    with pytest.raises(ValueError, match='one label a sample'):
        fit(
            pair(heads=dict(classes=3)), points, 1, non_saturating, labels=True, batch_size=8,
            update=with_tasks((task, 1.)),
        )

def test_a_weight_for_each_member():
    def make(i): return pair(0, dict(classes=3))
    s = members(make, 2)
    s.rng[1].set_state(s.rng[0].get_state())
    fit(
        s, points, 3, non_saturating, labels=True, batch_size=8,
        update=with_tasks((classify(), torch.tensor([0., 1.]))),
    )
    alone = fit(make(0), points, 3, non_saturating, labels=True, batch_size=8)
    for p, q, start in zip(s.G.parameters(), alone.G.parameters(), make(0).G.parameters()):
        assert torch.allclose(p[0], q, atol=1e-5) and not torch.equal(p[1], start)
    assert (s.D.net.heads['classes'].weight[0] == make(0).D.heads['classes'].weight).all()
    assert (s.D.net.heads['classes'].weight[1] != make(0).D.heads['classes'].weight).any()

def test_a_checkpoint_goes_on_bit_for_bit(tmp_path):
    how = dict(batch_size=8, labels=True, update=with_tasks((classify(), 1.), (inform(3), 1.)))
    heads = dict(classes=3, codes=3)
    straight = fit(pair(heads=heads), points, 6, non_saturating, **how)
    first = fit(pair(heads=heads), points, 3, non_saturating, **how)
    save(first, tmp_path/'run.pt')
    second = load(pair(5, heads), tmp_path/'run.pt')
    fit(second, points, 6, non_saturating, **how)
    assert all(
        torch.equal(a, b) for a, b in zip(straight.D.state_dict().values(), second.D.state_dict().values())
    )

def test_bfloat16_and_augmentation_go_through():
    s = fit(
        pair(heads=dict(classes=3)), points, 2, non_saturating, labels=True, batch_size=8, amp=True,
        augment=lambda x: x + 1, update=with_tasks((classify(), 1.)),
    )
    assert all(torch.isfinite(torch.as_tensor(v)).all() for v in s.log.table().values())

@pytest.mark.parametrize(
    'wrong,match',
    [
        (lambda: with_tasks(classify()), 'a Task and its weight'),
        (lambda: with_tasks((lambda r: 0, 1.)), 'a Task and its weight'),
        (lambda: with_tasks((classify(), 1.), (classify(), 2.)), 'one name'),
        (
            lambda: fit(pair(), points, 1, non_saturating, labels=True, update=with_tasks((classify(), 1.))),
            "no head called 'classes'",
        ),
        (lambda: fit(pair(), points, 1, non_saturating), 'labels=True'),
        (
            lambda: fit(
                pair(K=None, heads=dict(classes=3)), Data('p', points.x), 1, non_saturating, labels=True
            ),
            'no labels',
        ),
        (
            lambda: fit(
                pair(K=None, heads=dict(classes=3)), points, 1, non_saturating,
                update=with_tasks((classify(), 1.)),
            ),
            'needs labels',
        ),
        (
            lambda: fit(
                pair(K=None, heads=dict(classes=2)), points, 1, non_saturating, labels=True,
                update=with_tasks((classify(), 1.)),
            ),
            '2 answers',
        ),
        (lambda: fit(pair(K=2), points, 1, non_saturating, labels=True), '0 to 1'),
        (
            lambda: fit(
                pair(heads=dict(rotation=4)), points, 1, non_saturating, labels=True,
                update=with_tasks((rotate(), 1.)),
            ),
            'square',
        ),
        (
            lambda: fit(
                pair(heads=dict(codes=9)), points, 1, non_saturating, labels=True,
                update=with_tasks((inform(9), 1.)),
            ),
            'n is 9',
        ),
        (
            lambda: fit(
                new_state(MLPGenerator((2,), 4), MLPDiscriminator((2,))), points, 1, non_saturating,
                update=with_tasks((inform(3), 1.)),
            ),
            'Judge',
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(wrong, match):
    with pytest.raises((ValueError, TypeError), match=match): wrong()


# Tasks and measures

def test_nats_leaves_unknown_answers_out():
    guesses, y = torch.randn(3, 8, 5), torch.randint(5, (3, 8))
    each = nn.functional.cross_entropy(guesses.flatten(0, 1), y.flatten(), reduction='none').view(3, 8)
    assert torch.allclose(nats(guesses, y), each.mean(-1), atol=1e-6)
    y[0, 2:] = -1
    y[1] = -1
    assert torch.allclose(
        nats(guesses, y), torch.stack([each[0, :2].mean(), torch.tensor(0.), each[2].mean()]), atol=1e-6
    )
    assert nats(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)) == 0
    with pytest.raises(ValueError, match='largest_label is 5'): nats(guesses, torch.full((3, 8), 5))
    with pytest.raises(ValueError, match='one label a sample'): nats(guesses, y[0])

def test_a_coded_generator_draws_its_class_itself():
    inner = EmbeddedGenerator(MLPGenerator((2,), 9, (16,)), 3, 4)
    G, z = CodedGenerator(inner, 3), torch.randn(2, 6, 5)
    assert (
        G.latent_dim == 5
        and torch.equal(G(z), inner(z, code(z, 3)))
        and torch.equal(G(z, torch.zeros(2, 6)), G(z))
    )
    with pytest.raises(ValueError, match='n is 9'): CodedGenerator(inner, 9)(z)
    with pytest.raises(ValueError, match='0 to 2'): CodedGenerator(inner, 5)(torch.randn(500, 5))

def test_codes_are_equally_frequent():
    c = code(latents(50_000, 12, torch.Generator().manual_seed(0)), 7)
    assert (c.bincount(minlength=7)/len(c) - 1/7).abs().max() < .01
    for n in (1, 13):
        with pytest.raises(ValueError, match='n is'): code(torch.randn(2, 12), n)

@pytest.mark.parametrize('n', [4, 5, 9])
def test_turned_images_turn_back(n):
    x = torch.randn(2, n, 2, 3, 3)
    out, quarters = turned(x)
    assert out.shape == x.shape and quarters.shape == (2, n)
    order = torch.cat([torch.arange(i, n, 4) for i in range(4)])
    for row, qs, whole in zip(out, quarters, x):
        for a, q, i in zip(row, qs, order): assert torch.equal(a.rot90(-int(q), (-2, -1)), whole[i])

def test_turning_wants_square_images_and_takes_any_number():
    for n in (0, 1, 3): assert turned(torch.randn(2, n, 1, 3, 3))[0].shape == (2, n, 1, 3, 3)
    with pytest.raises(ValueError, match='square'): turned(torch.randn(4, 1, 3, 4))

def test_agreement_and_counts():
    probs = torch.eye(3)[torch.tensor([[0, 1, 2, 2], [1, 1, 1, 1]])]
    assert agreement(probs, torch.tensor([[0, 1, 2, 0], [0, 0, 0, 1]])).tolist() == [.75, .25]
    table = counted(torch.tensor([[0, 0, 1], [2, 2, 2]]), torch.tensor([[1, 1, 0], [0, 1, 1]]), 3, 2)
    assert table.tolist() == [[[0, 2], [1, 0], [0, 0]], [[0, 0], [0, 0], [1, 2]]]
    with pytest.raises(ValueError, match='0 to 1'): counted(torch.tensor([2]), torch.tensor([0]), 2, 2)
    with pytest.raises(ValueError, match='one label a sample'):
        agreement(probs, torch.zeros(4, dtype=torch.long))

def test_mutual_information_of_known_tables():
    assert abs(mutual_information(torch.eye(10)) - math.log(10)) < 1e-12
    assert mutual_information(torch.ones(4, 6)).abs() < 1e-12
    two = mutual_information(torch.stack([torch.eye(2), torch.tensor([[1., 1.], [0., 2.]])]))
    assert (
        abs(two[0] - math.log(2)) < 1e-12
        and abs(two[1] - (.25*math.log(2) + .25*math.log(2/3) + .5*math.log(4/3))) < 1e-12
    )
    a, b = torch.randint(10, (2, 20_000), generator=torch.Generator().manual_seed(0))
    assert abs(mutual_information(counted(a, b)) - 81/40_000) < .002  # the bias that its docstring names

def test_a_classifier_knows_what_it_was_shown():
    x, y = small.x.float()/127.5 - 1, small.y
    net = taught(x, y, n_steps=40)
    assert not net.training and agreement(net(x), y) > .9
    again = taught(x, y, n_steps=40)
    assert torch.equal(net(x), again(x))
    with pytest.raises(ValueError, match='each image its label'): taught(x, y[:3])
    with pytest.raises(ValueError, match='at least one'): taught(x[:0], y[:0])


# The figures of trials/tasks.py

stored = (
    json.loads((root/'results/bench_tasks.json').read_text())
    if (root/'results/bench_tasks.json').exists()
    else {}
)

def test_the_stored_figures_meet_the_targets():
    from trials.tasks import missed
    assert missed(stored, 'cpu digits') == []

@pytest.mark.parametrize(
    'arm,what,value',
    [
        ('embedding', 'agreement', .9), ('conditional BN', 'score', .5), ('InfoGAN', 'code_information', .3),
        ('no task', 'code_information', .5), ('few labels', 'accuracy', .1),
    ],
)
def test_a_worse_figure_would_be_noticed(arm, what, value):
    from trials.tasks import missed
    worse = copy.deepcopy(stored)
    worse['cpu digits']['rows'][arm][what] = [value]*5
    assert missed(worse, 'cpu digits')

def test_every_arm_has_its_five_seeds():
    entry = stored['cpu digits']
    from trials.tasks import arms
    for arm in arms:
        assert all(len(v) == 5 for v in entry['rows'][arm].values() if isinstance(v, list))
    assert entry['n_train'] == 1_197 and entry['n_test'] == 600
