"Drawn faces: causes within their spans, pictures that repeat, masks that divide a picture."
import time
from dataclasses import replace
import pytest
import torch
import torch.nn.functional as F
from ganbook import drawing
from ganbook.causes import draw_causes, kind, kind_causes, n_kinds, options, spans
from ganbook.data import Data, draw, faces, fingerprint, split, subset
from ganbook.drawing import draw_faces, parts

few = draw_causes(24, seed=3)

def all_of(causes, name, value):
    "The same faces with one cause at one value."
    v = getattr(causes, name)
    return replace(causes, **{name: torch.full_like(v, value)})

def masks(causes, *names, size=64, seam=1):
    "The pixels (n,size,size) that belong to some parts, and `seam` more to each side."
    own = draw_faces(causes, size, 'parts')[:, [parts.index(p) for p in names]].amax(1, keepdim=True)
    return F.max_pool2d(own.float(), 2*seam + 1, 1, seam)[:, 0].bool()

def changed(a, b, size): return (draw_faces(a, size) != draw_faces(b, size)).any(1)


# Causes

def test_causes_repeat_and_stay_within_their_spans():
    a, b, other = draw_causes(5000, 1), draw_causes(5000, 1), draw_causes(5000, 2)
    for name, v in a.columns().items():
        assert torch.equal(v, getattr(b, name))
        assert not torch.equal(v, getattr(other, name))
        low, high = (0, len(options[name]) - 1) if name in options else spans.get(name, (0, 1))
        assert v.min() >= low and v.max() <= high

@pytest.mark.parametrize('name', options)
def test_choices_are_as_common_as_they_should_be(name):
    n = 20_000
    share = draw_causes(n, 5)
    share = getattr(share, name).bincount(minlength=len(options[name]))/n
    want = torch.tensor([.7, .3]) if name == 'beard' else torch.full_like(share, 1/len(share))
    assert (share - want).abs().max() < .015  # more than four standard deviations

def test_causes_are_independent():
    causes = draw_causes(20_000, 6)
    columns = torch.stack([v.float() for name, v in causes.columns().items() if name != 'shirt'])
    apart = columns.corrcoef() - torch.eye(len(columns))
    assert apart.abs().max() < .035  # five standard deviations

@pytest.mark.parametrize('fixed', [dict(glasses=1), dict(smile=.5), dict(hair_style='bun'), dict(x=-.1)])
def test_what_is_fixed_leaves_the_rest(fixed):
    plain, own = draw_causes(50, 4), draw_causes(50, 4, **fixed)
    for name, v in plain.columns().items():
        assert torch.equal(v, getattr(own, name)) == (name not in fixed)

def test_one_value_a_face_may_be_fixed():
    glasses, shirt = torch.arange(6) % 2, torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    causes = draw_causes(6, glasses=glasses, shirt=shirt)
    assert torch.equal(causes.glasses, glasses) and torch.equal(causes.shirt, shirt)
    assert torch.equal(draw_causes(4, shirt=shirt[0]).shirt, shirt[:1].expand(4, 3))

@pytest.mark.parametrize(
    'wrong,part',
    [
        (lambda: draw_causes(3, hat=1), "no cause called 'hat': take one of background, skin"),
        (lambda: draw_causes(3, skin=5), 'skin reaches from 5 to 5: it must lie between 0 and 4'),
        (lambda: draw_causes(3, skin=1.5), 'one whole number for all faces'),
        (lambda: draw_causes(3, smile=2.), 'smile reaches from 2 to 2: it must lie between -1 and 1'),
        (lambda: draw_causes(3, smile=float('nan')), 'it must lie between -1 and 1'),
        (lambda: draw_causes(3, smile=torch.zeros(2)), 'a tensor of shape (3,)'),
        (lambda: draw_causes(3, smile='broad'), "smile is 'broad': take a number"),
        (lambda: draw_causes(3, hair_style='bald'), "'bald': take short or long or curly or bun"),
        (lambda: draw_causes(3, shirt=7.), 'shirt reaches from 7 to 7'),
        (lambda: draw_causes(3, gaze=[None]), 'gaze is [None]: give one number'),
        (lambda: draw_causes(0), 'n is 0'), (lambda: draw_causes(2.5), 'n is 2.5'),
        (lambda: draw_causes(True), 'n is True'),
        (lambda: replace(few, skin=few.skin.float()), 'give a tensor int64 of shape (24,)'),
        (lambda: replace(few, smile=few.smile[:5]), 'give a tensor float32 of shape (24,)'),
        (lambda: draw_faces(few, 15), 'size is 15: it must be a whole number from 16 to 128'),
        (lambda: draw_faces(few, 129), 'from 16 to 128'), (lambda: draw_faces(few, 32.), 'from 16 to 128'),
        (lambda: draw_faces(few, 32, 'oil'), "no style called 'oil': take one of colour, outline, parts"),
    ],
)
def test_wrong_calls_get_one_sentence(wrong, part):
    with pytest.raises(ValueError) as e: wrong()
    assert part in str(e.value) and '\n' not in str(e.value)

def test_what_is_no_table_is_refused():
    with pytest.raises(TypeError, match='give the table that draw_causes makes'): draw_faces(few.columns())
    with pytest.raises(TypeError, match=r'take causes\[3:4\]'): few[3]

def test_kinds_number_all_combinations():
    n, k = n_kinds, torch.arange(n_kinds)
    columns, rest = {}, k
    for name in reversed(kind_causes):
        columns[name] = rest % len(options[name])
        rest = rest // len(options[name])
    assert n == 1200 and torch.equal(kind(columns), k)
    assert torch.equal(kind(draw_causes(n, **columns)), k)


# Pictures

@pytest.mark.parametrize('size', [16, 17, 32, 50, 64, 128])
@pytest.mark.parametrize('style,channels', [('colour', 3), ('outline', 1), ('parts', len(parts))])
def test_shapes_and_repetition(size, style, channels):
    a, b = draw_faces(few[:6], size, style), draw_faces(few[:6], size, style)
    assert a.dtype == torch.uint8 and a.shape == (6, channels, size, size)
    assert torch.equal(a, b) and a.float().std() > 0

def test_the_company_does_not_matter():
    "A face is the same alone and among others, but for rounding."
    among = draw_faces(few, 32).int()
    alone = torch.cat([draw_faces(few[i:i + 1], 32) for i in range(len(few))]).int()
    assert (among - alone).abs().max() <= 1
    turned = draw_faces(few[torch.arange(len(few)).flip(0)], 32).flip(0).int()
    assert (among - turned).abs().max() <= 1

@pytest.mark.parametrize('size', [16, 32, 64])
def test_every_pixel_belongs_to_one_part(size):
    m = draw_faces(draw_causes(200, 8), size, 'parts')
    assert m.unique().tolist() == [0, 1] and m.sum(1).unique().tolist() == [1]
    there = dict(zip(parts, m.flatten(2).sum(2).T))
    for name in ('background', 'shirt', 'hair', 'skin', 'mouth'): assert there[name].min() > 0, name
    assert size == 16 or there['eyes'].min() > 0  # an eye all but closed is narrower than a pixel of 16

@pytest.mark.parametrize('name', ['glasses', 'beard'])
def test_a_part_is_there_when_its_cause_is(name):
    for value in (0, 1):
        m = draw_faces(all_of(few, name, value), 32, 'parts')[:, parts.index(name)].flatten(1).any(1)
        assert m.unique().tolist() == [bool(value)]

@pytest.mark.parametrize(
    'name,values,own',
    [
        ('glasses', (0, 1), ['glasses']), ('smile', (-1., 1.), ['mouth']),
        ('eyes', (.3, 1.), ['eyes']), ('gaze', (-1., 1.), ['eyes']),
        ('beard', (0, 1), ['beard']), ('background', (0, 4), ['background']),
        ('hair_style', (0, 1), ['hair']), ('hair_style', (2, 3), ['hair']),
        ('hair_colour', (0, 3), ['hair', 'beard', 'brows']), ('skin', (0, 4), ['skin', 'nose']),
        ('shirt', (.2, .8), ['shirt']),
    ],
)
def test_one_cause_changes_its_own_parts(name, values, own):
    """Nothing else changes but a seam of one pixel. Large parts also show, faintly,
    through the edges of what lies on them, and in gaps narrower than a pixel."""
    plain = all_of(few, 'glasses', 0) if name in ('eyes', 'gaze', 'skin') else few
    a, b = (all_of(plain, name, v) for v in values)
    by = (draw_faces(a, 64).int() - draw_faces(b, 64).int()).abs().amax(1)
    beyond = by[~(masks(a, *own) | masks(b, *own))]
    small_part = name in ('glasses', 'smile', 'eyes', 'gaze')
    assert (beyond > 0).sum() <= (0 if small_part else .05)*(by > 0).sum()
    assert (beyond > 32).sum() <= .003*(by > 0).sum()
    assert (by > 8).flatten(1).any(1).all()

def test_no_cause_is_without_effect():
    for name in few.columns():
        if name == 'shirt': values = .2, .8
        elif name in options: values = 0, len(options[name]) - 1
        else: values = spans[name]
        moved = changed(*(all_of(few, name, x) for x in values), size=16)
        assert moved.flatten(1).any(1).all(), name

def test_all_kinds_look_different():
    "With all else equal no two of the 1,200 kinds share a picture; far more than rounding lies between them."
    k = torch.arange(n_kinds)
    columns, rest = {}, k
    for name in reversed(kind_causes):
        columns[name] = rest % len(options[name])
        rest = rest // len(options[name])
    middle = {name: (a + b)/2 for name, (a, b) in spans.items()}
    x = draw_faces(draw_causes(len(k), **columns, **middle, beard=0, shirt=.5), 16).flatten(1).float()
    d = torch.cdist(x, x) + torch.eye(len(x))*1e6
    assert d.min() > 100  # of 768 values, each between 0 and 255

@pytest.mark.parametrize('style', range(4))
def test_a_mirrored_face_is_none(style):
    "Light and parting change sides: the mirrored face is far from every upright face of the mirrored causes."
    causes = all_of(draw_causes(16, 9), 'hair_style', style)
    mirrored = replace(causes, x=-causes.x, tilt=-causes.tilt, gaze=-causes.gaze)
    a, b = draw_faces(causes, 32).flip(-1).float(), draw_faces(mirrored, 32).float()
    assert (a - b).abs().flatten(1).mean(1).min() > 4
    hair = draw_faces(causes, 32, 'parts')[:, parts.index('hair')]
    other = draw_faces(mirrored, 32, 'parts')[:, parts.index('hair')].flip(-1)
    assert (hair != other).flatten(1).sum(1).min() >= 8

def test_light_comes_from_the_left():
    causes = draw_causes(50, 2, tilt=0., x=0., hair_style='bun', beard=0, glasses=0)
    x, skin = draw_faces(causes, 64).float().mean(1), draw_faces(causes, 64, 'parts')[:, parts.index('skin')]
    def mean(part): return (x[..., part]*skin[..., part]).sum((1, 2))/skin[..., part].sum((1, 2))
    assert (mean(slice(0, 32)) > mean(slice(32, 64))).all()

@pytest.mark.parametrize('skin', range(5))
@pytest.mark.parametrize('background', range(5))
def test_skin_stands_out_from_the_background(skin, background):
    a, b = drawing.colours['skin'][skin], drawing.colours['background'][background]
    assert (a - b).norm() > .25

def test_hair_stands_out_from_skin_and_background():
    others = torch.cat([drawing.colours[n] for n in ('skin', 'background')])
    assert torch.cdist(drawing.colours['hair_colour'], others).min() > .15

def test_sizes_show_the_same_face():
    big = F.avg_pool2d(draw_faces(few, 64).float(), 2)
    assert (big - draw_faces(few, 32).float()).abs().mean() < 2.5

def test_outlines_are_dark_lines_on_white():
    x = draw_faces(few, 64, 'outline')
    assert (x > 200).float().mean() > .6 and (x < 100).flatten(1).float().mean(1).min() > .02

@pytest.mark.slow
def test_five_thousand_take_seconds():
    t = time.process_time()
    draw_faces(draw_causes(5000))
    assert time.process_time() - t < 30  # 4 on a quiet core


# As data

def test_data_of_faces_repeat():
    a, b, other = faces(64, 16), faces(64, 16), faces(64, 16, seed=1)
    assert fingerprint(a) == fingerprint(b) != fingerprint(other)
    assert torch.equal(a.y, kind(a.causes)) and a.shape == (3, 16, 16) and a.name == 'faces'
    assert torch.equal(a.x, draw_faces(a.causes, 16))

def test_causes_go_with_their_images():
    d = faces(60, 16)
    for part in (subset(d, 20), *split(d, .25), d.to('cpu'), replace(d, low=0.)):
        assert torch.equal(part.x, draw_faces(part.causes, 16)) and torch.equal(part.y, kind(part.causes))
    meta = d.to('meta')
    assert meta.causes.smile.device.type == 'meta' and len(meta.causes) == 60
    x, y = draw(d, 10, torch.Generator().manual_seed(0), labels=True)
    assert x.shape == (10, 3, 16, 16) and y.shape == (10,)

def test_causes_that_do_not_belong_are_refused():
    d = faces(10, 16)
    with pytest.raises(ValueError, match='give one row a sample'): Data('few', d.x[:5], causes=d.causes)
    with pytest.raises(TypeError, match='give the table'): Data('dict', d.x, causes=d.causes.columns())
