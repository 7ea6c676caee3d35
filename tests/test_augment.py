"""Augmentation: every operation against a loop over images, gradients,
members, waiting, resuming, and the stored figures of its benchmark."""
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
import pytest
import torch
from fastcore.test import test_fail as fails
from torch.utils._python_dispatch import TorchDispatchMode
from ganbook import data as sets
from ganbook.augment import (
    ADA, Augment, LeakDetector, Overfitting, brightness, contrast, cutout, diffaugment, flip, quarter_turns,
    r_t, r_v, saturation, translation,
)
from ganbook.callbacks import checkpoint
from ganbook.checkpoints import load, save
from ganbook.data import latents
from ganbook.ensemble import member, members
from ganbook.losses import non_saturating, relativistic
from ganbook.metrics import critic_gap
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import r1, r2
from ganbook.train import fit, new_state

root = Path(__file__).resolve().parent.parent
ops = dict(
    brightness=brightness, saturation=saturation, contrast=contrast, translation=translation, cutout=cutout,
    flip=flip, quarter_turns=quarter_turns,
)
every_op = pytest.mark.parametrize('op', ops.values(), ids=ops)

def gen(seed=0): return torch.Generator().manual_seed(seed)
def images(*shape, seed=1): return torch.rand(*shape, generator=gen(seed))*2 - 1
def pair(i=0):
    "A small GAN on digits."
    torch.manual_seed(i)
    return new_state(
        MLPGenerator((1, 8, 8), 8, (16,)), MLPDiscriminator((1, 8, 8), (16,)), 1e-3, (0., .99), seed=i
    )


# Each operation

@every_op
@pytest.mark.parametrize(
    'shape', [(5, 1, 8, 8), (5, 3, 9, 9), (2, 5, 3, 8, 8), (2, 3, 4, 1, 10, 10), (1, 1, 1, 1), (0, 3, 8, 8)]
)
def test_shape_stays_and_draws_are_anew(op, shape):
    x, rng = images(*shape), gen()
    a, b = op(x, rng), op(x, rng)
    assert a.shape == x.shape and a.dtype == x.dtype
    assert torch.equal(a, op(x, gen()))
    if x.shape[-1] > 1 and x.numel() and not (op is saturation and shape[-3] == 1):
        assert not torch.equal(a, b)

@pytest.mark.parametrize(
    'op',
    [
        partial(brightness, strength=0.), partial(saturation, strength=0.), partial(contrast, strength=0.),
        partial(translation, share=0.), partial(cutout, share=0.),
    ],
)
def test_without_strength_nothing_changes(op):
    x = images(7, 3, 8, 8)
    assert torch.equal(op(x, gen()), x)

@pytest.mark.parametrize('shape,share', [((8, 8), 1/8), ((8, 12), 1/4), ((9, 7), 1/3), ((4, 4), 1.)])
def test_translation_against_slices(shape, share):
    (H, W), x = shape, images(350 if share < 1 else 30, 1, *shape)
    m, n = int(H*share + .5), int(W*share + .5)
    out, shifts = translation(x, gen(), share, fill=-7.), []
    for image, got in zip(x, out):
        found = []
        for dy in range(-m, m + 1):
            for dz in range(-n, n + 1):
                want = torch.full_like(image, -7.)
                want[:, max(dy, 0):H + min(dy, 0), max(dz, 0):W + min(dz, 0)] = image[
                    :, max(-dy, 0):H + min(-dy, 0), max(-dz, 0):W + min(-dz, 0)
                ]
                if torch.equal(want, got): found.append((dy, dz))
        assert found
        shifts.append(found[0])
    if share < 1:  # with shifts of a whole side, many look alike
        counts = torch.tensor(
            [shifts.count((a, b)) for a in range(-m, m + 1) for b in range(-n, n + 1)]
        ).float()
        assert counts.min() > 0 and ((counts - counts.mean()).square()/counts.mean()).sum() < 2.2*len(counts)

@pytest.mark.parametrize('shape,share', [((8, 8), .5), ((7, 10), .5), ((9, 9), 1/3), ((8, 8), 1.)])
def test_cutout_blanks_one_window(shape, share):
    (H, W), x = shape, images(800, 2, *shape)
    out = cutout(x, gen(), share, fill=9.)
    gone = out == 9.
    assert torch.equal(gone[:, 0], gone[:, 1]) and torch.equal(out[~gone], x[~gone])
    for k, n in ((-2, H), (-1, W)):
        m, along = int(n*share + .5), gone[:, 0].any(-1 if k == -2 else -2)  # (B,n)
        assert along.sum(-1).max() == m and along.sum(-1).min() >= m//2
        seen = (along[:, 1:] != along[:, :-1]).sum(-1)
        assert seen.max() <= 2  # one run of pixels
        first = {tuple(row.tolist()) for row in along}
        assert len(first) >= min(n, 3) or m == n
    # a rectangle
    assert torch.equal(gone[:, 0], gone[:, 0].any(-1)[:, :, None] & gone[:, 0].any(-2)[:, None])

def test_colour_by_hand():
    x = images(2000, 3, 4, 4)
    shift = brightness(x, gen()) - x
    assert shift.flatten(1).std(1).max() < 1e-6 and -.5 <= shift.min() < -.49 and .49 < shift.max() <= .5
    grey, s = x.mean(1, keepdim=True), saturation(x, gen())
    factor = ((s - grey)/(x - grey))[:, 0, 0, 0]
    assert (
        (s.mean(1) - x.mean(1)).abs().max() < 1e-6
        and -1e-3 <= factor.min() < .02
        and 1.98 < factor.max() <= 2.001
    )
    mean, c = x.mean((1, 2, 3), keepdim=True), contrast(x, gen())
    factor = ((c - mean).flatten(1).std(1)/(x - mean).flatten(1).std(1))
    assert (
        (c.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs().max() < 1e-6
        and .499 < factor.min() < .51
        and 1.49 < factor.max() < 1.501
    )

def test_flips_and_turns():
    x = images(400, 1, 6, 6)
    mirrored = (flip(x, gen()) == x.flip(-1)).flatten(1).all(1)
    assert 150 < mirrored.sum() < 250
    out = quarter_turns(x, gen())
    which = torch.stack([(out == x.rot90(k, (-2, -1))).flatten(1).all(1) for k in range(4)])
    assert (which.sum(0) == 1).all() and which.sum(1).min() > 70

@every_op
def test_gradients_of_both_orders(op):
    x = images(2, 2, 4, 4).double().requires_grad_()
    def f(x): return op(x, gen())
    assert torch.autograd.gradcheck(f, x) and torch.autograd.gradgradcheck(f, x)

class NoWaiting(TorchDispatchMode):
    "Raises where a value is asked for, or where a shape hangs on values."
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in (
            '_local_scalar_dense', 'nonzero', 'masked_select', 'is_nonzero',
        ), func
        return func(*args, **(kwargs or {}))

def test_nothing_waits_for_the_device():
    augment, x = Augment([*ops.values()], .5, gen()), images(4, 3, 8, 8)
    step = ADA(augment, lambda s: torch.tensor(1.), every=1)
    with NoWaiting():
        augment(x)
        step(type('S', (), dict(step=1)))
    with pytest.raises(AssertionError), NoWaiting(): augment(x).sum().item()


# Together

def test_p_is_a_share_of_the_images():
    x = images(4000, 1, 8, 8)
    assert torch.equal(Augment(diffaugment, 0., gen())(x), x)
    for p in (.25, .8):
        same = (Augment([brightness], p, gen())(x) == x).flatten(1).all(1).double().mean()
        assert abs(same - (1 - p)) < .03
    assert not (Augment([brightness], 1., gen())(x) == x).flatten(1).all(1).any()

def test_p_may_change_in_place_and_differ_by_member():
    x, rng = images(3, 500, 1, 8, 8), [gen(i) for i in range(3)]
    augment = Augment([brightness], torch.tensor([0., .5, 1.]), rng)
    def same(): return (augment(x) == x).flatten(2).all(2).double().mean(1)
    assert same()[0] == 1 and .4 < same()[1] < .6 and same()[2] == 0
    augment.p.zero_()
    assert same().min() == 1

def test_each_member_draws_from_its_own():
    x = images(3, 6, 3, 8, 8)
    together = Augment(diffaugment, .7, [gen(i) for i in range(3)])(x)
    for i in range(3): assert torch.equal(together[i], Augment(diffaugment, .7, gen(i))(x[i]))

def test_a_member_trains_as_if_alone():
    digits = sets.digits()
    s = members(pair, 2)
    fit(s, digits, 3, non_saturating, batch_size=8, augment=Augment(diffaugment, .6, s.rng))
    alone = pair(1)
    fit(alone, digits, 3, non_saturating, batch_size=8, augment=Augment(diffaugment, .6, alone.rng))
    for a, b in zip(member(s, 1).G.parameters(), alone.G.parameters()): assert torch.allclose(a, b, atol=1e-5)

@pytest.mark.parametrize('loss', [non_saturating, relativistic])
def test_real_and_fake_are_changed_in_both_steps(loss):
    seen, s = [], pair()
    def augment(x):
        seen.append((x.requires_grad, x.shape))
        return x
    fit(s, sets.digits(), 2, loss, [r1, r2], batch_size=16, augment=augment)
    assert len(seen) == 2*(2 + 1 + loss.relativistic) and all(shape == (16, 1, 8, 8) for _, shape in seen)
    assert sum(grad for grad, _ in seen) == 2  # the fakes of the G step

def test_the_gradient_reaches_G_through_every_operation():
    s = pair()
    before = [p.clone() for p in s.G.parameters()]
    fit(s, sets.digits(), 1, non_saturating, batch_size=16, augment=Augment(diffaugment, 1., s.rng))
    assert all((a != b).any() for a, b in zip(before, s.G.parameters()))


# Overfitting and ADA

def test_signals_by_hand():
    assert r_t(torch.tensor([1., 2., -3., 5.])) == .5
    assert r_v(torch.tensor([3., 5.]), torch.tensor([2., 2.]), torch.tensor([0., 0.])) == .5
    assert r_v(torch.ones(2, 3), torch.zeros(2, 4), -torch.ones(2, 5)).tolist() == [.5, .5]

def test_overfitting_leaves_the_networks_as_they_are():
    s = pair()
    s.D.append(torch.nn.Dropout()) if isinstance(s.D, torch.nn.Sequential) else None
    s.G.train()
    s.D.train()
    x = images(40, 1, 8, 8)
    signal = Overfitting(x[:20], x[20:], latents(20, 8, gen()))
    assert signal(s).shape == () and torch.equal(signal(s), signal(s)) and s.G.training and s.D.training
    assert Overfitting(x[:20], x[20:], latents(20, 8, gen()))(members(pair, 3)).shape == (3,)

@pytest.mark.parametrize('k', [None, 2])
def test_overfitting_tells_the_networks_the_class(k):
    "D knows its classes: where the labels are others, the signal is another."
    from ganbook.recipes import build, find
    data = sets.digits()
    r = replace(find('conditional'), hidden=(16,), latent_dim=20, batch_size=8, n_steps=3)
    s, _ = build(r, data, k=k)
    x, y = sets.draw(data, 40, gen(), labels=True)
    def signal(*y): return Overfitting(x[:20], x[20:], latents(20, s.G.latent_dim, gen()), y)(s)
    told = signal(y[:20], y[20:], y[:20])
    assert told.shape == (() if k is None else (k,)) and told.isfinite().all()
    assert not torch.equal(told, signal(y[:20], (y[20:] + 1) % 10, y[:20]))
    fails(lambda: signal(), contains='wants classes')

def test_ada_follows_the_signal():
    augment, values = Augment([brightness], 0.), iter([.9, .9, .9, .1, float('nan'), .6])
    step = ADA(augment, lambda s: torch.tensor(next(values)), target=.6, every=2, rise=20)
    s = type('S', (), {})
    path = []
    for s.step in range(1, 13):
        step(s)
        if s.step % 2 == 0: path.append(round(augment.p.item(), 4))
    assert path == [.1, .2, .3, .2, .2, .2]

def test_ada_stays_within_bounds_member_by_member():
    augment, s = Augment([brightness], .5, [gen(), gen()]), type('S', (), dict(step=1))
    step = ADA(augment, lambda s: torch.tensor([1., -1.]), every=1, rise=4, top=.9)
    for _ in range(9): step(s)
    assert augment.p.tolist() == pytest.approx([.9, 0.])

def test_ada_needs_one_p_a_member():
    step = ADA(Augment([flip], .5), lambda s: torch.zeros(3), every=1)
    fails(lambda: step(type('S', (), dict(step=1))), contains='rng=s.rng')

def run(n, s=None):
    "A run under ADA, from the start or from a state that was loaded into `s`."
    digits = sets.subset(sets.digits(), 60)
    x = digits.x.float()/127.5 - 1
    s = s or pair()
    augment = s.extra.setdefault('augment', Augment([translation, cutout], 0., s.rng))
    ada = ADA(augment, Overfitting(x[:30], x[30:], latents(30, 8, gen(3))), target=-1e9, every=2, rise=20)
    return fit(s, digits, n, non_saturating, batch_size=16, augment=augment, callbacks=[ada])

def test_a_run_under_ada_resumes_to_the_bit(tmp_path):
    whole = run(12)
    half = run(7)
    save(half, tmp_path/'half.pt')
    again = pair()
    again.extra['augment'] = Augment([translation, cutout], 0., again.rng)
    load(again, tmp_path/'half.pt')
    assert again.extra['augment'].p == half.extra['augment'].p > 0
    run(12, again)
    assert torch.equal(again.extra['augment'].p, whole.extra['augment'].p)
    for a, b in zip(again.G.parameters(), whole.G.parameters()): assert torch.equal(a, b)

def test_a_checkpoint_holds_p(tmp_path):
    s = pair()
    s.extra['augment'] = Augment([brightness], .3, s.rng)
    fit(s, sets.digits(), 2, non_saturating, batch_size=8, callbacks=[checkpoint(tmp_path, every=2)])
    other = pair()
    fails(lambda: load(other, next(tmp_path.glob('*.pt'))), contains='extra.augment')


# What cannot work

@every_op
def test_wrong_batches(op):
    fails(lambda: op(torch.zeros(8, 8)), contains='(...,B,C,H,W)')
    fails(lambda: op(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), contains='floating-point')
    fails(lambda: op(torch.zeros(2, 1, 8, 8), [gen(), gen()]), contains='generators is 2')
    fails(lambda: op(torch.zeros(3, 2, 1, 8, 8), [gen(), gen()]), contains='generators is 2')

def test_wrong_arguments():
    x = torch.zeros(2, 1, 8, 6)
    fails(lambda: quarter_turns(x), contains='square')
    for share in (-.1, 1.1, float('nan')):
        fails(lambda: translation(x, share=share), contains='share')
        fails(lambda: cutout(x, share=share), contains='share')
    fails(lambda: Augment([brightness], 1.5), contains='p is 1.5')
    fails(lambda: Augment([brightness], float('nan')), contains='p is nan')
    fails(lambda: Augment(['color']), contains='functions')
    for wrong in (dict(every=0), dict(every=10, rise=5), dict(top=0.), dict(top=1.1)):
        fails(lambda: ADA(Augment([flip]), r_t, **wrong), contains=f'{list(wrong)[0]} is')

def test_nan_stays_where_it_is():
    x = images(4, 1, 8, 8)
    x[2, 0, 3, 3] = float('nan')
    out = Augment(diffaugment, 1., gen())(x)
    assert out[[0, 1, 3]].isfinite().all()

@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_recorded_steps_see_p_change():
    "On a GPU an iteration is recorded once; ADA moves p between replays, and the record must read it anew."
    digits, ends = sets.digits().to('cuda'), []
    for capture in (False, True):
        torch.manual_seed(0)
        s = new_state(MLPGenerator((1, 8, 8), 8, (16,)).cuda(), MLPDiscriminator((1, 8, 8), (16,)).cuda())
        augment = Augment(diffaugment, 0., s.rng)
        fit(
            s, digits, 20, non_saturating, batch_size=16, augment=augment, capture=capture,
            callbacks=[ADA(augment, lambda s: torch.tensor(1.), every=1, rise=20)],
        )
        ends.append(torch.cat([p.detach().flatten() for p in s.G.parameters()]))
        assert augment.p == pytest.approx(1.)
    assert torch.allclose(*ends, atol=1e-5)


# The leak detector

def mirror(x): return x.flip(-1)
turned_by = [partial(torch.rot90, k=k, dims=(-2, -1)) for k in (1, 2, 3)]

def lit(n=50, seed=2):
    "Images (n,1,6,6) with their light from the left."
    return torch.linspace(.5, -.5, 6) + .1*images(n, 1, 6, 6, seed=seed)

@pytest.mark.parametrize('changes', [[mirror], turned_by], ids=['mirror', 'turns'])
@pytest.mark.parametrize('n', [0, 5, 20])
def test_a_leak_detector_counts_what_is_changed(changes, n):
    detector, x = LeakDetector(lit(), changes), lit(20, seed=3)
    assert (detector.false, detector.hits) == (0., 1.)
    some = torch.cat([changes[-1](x[:n]), x[n:]])
    assert detector.counted(some) == detector.share(some) == pytest.approx(n/20)
    probs = detector.probs(some)
    assert probs.shape == (20, 1 + len(changes)) and torch.allclose(probs.sum(-1), torch.ones(20))

def test_a_leak_detector_names_the_change_that_leads_back():
    x = lit(8, seed=3)
    found = LeakDetector(lit(), turned_by).probs(x.rot90(1, (-2, -1))).argmax(-1)
    assert (found == 3).all()  # a turn by 270 degrees undoes one by 90

def test_a_leak_detector_that_errs_is_corrected():
    real = lit(2_000)
    real[::4] = real[::4].flip(-1)  # every fourth image has its light on the other side
    detector, x = LeakDetector(real, [mirror]), real[1_600:]
    assert .2 < detector.false < .3 and detector.hits == pytest.approx(1 - detector.false)
    assert detector.share(x) == pytest.approx(0., abs=1e-9)
    assert detector.share(mirror(x)) == pytest.approx(1.)
    assert detector.counted(x) == detector.false

def test_a_leak_detector_is_the_same_again_and_takes_a_network():
    a, b = (LeakDetector(lit(), [mirror], seed=1).probs(lit(5)) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a, LeakDetector(lit(), [mirror], seed=2).probs(lit(5)))
    torch.manual_seed(0)
    layers = torch.nn.Flatten(), torch.nn.Linear(36, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    net = torch.nn.Sequential(*layers)
    assert LeakDetector(lit(), [mirror], net).share(mirror(lit(9, seed=3))) == pytest.approx(1.)

@pytest.mark.parametrize('real,changes,words', [
    (lit(9), [mirror], 'give 10 or more floating-point images'), (lit(20)[:, 0], [mirror], '(N,C,H,W)'),
    (lit(20).byte(), [mirror], 'floating-point images'),
    (lit(20)[..., :4, :], turned_by, 'changes that keep it'),
    (lit(20), [], 'give a list of functions'), (lit(20), mirror, 'give a list of functions'),
    (lit(20), ['flip'], 'give a list of functions'),
])
def test_what_is_no_set_of_images_or_changes_is_refused(real, changes, words):
    fails(lambda: LeakDetector(real, changes), contains=words)

def test_images_that_show_no_change_cannot_be_judged():
    detector = LeakDetector(torch.zeros(10, 1, 6, 6), [mirror])
    fails(lambda: detector.share(lit()), contains='a reader that sees nothing cannot be corrected')
    fails(lambda: detector.share(images(5, 1, 8, 8)), contains='give images of shape (1, 6, 6)')


# The benchmark

stored = root/'results'/'bench_lowdata.json'

@pytest.mark.skipif(not stored.exists(), reason='trials/lowdata.py has not been run')
def test_stored_figures_meet_the_targets():
    from trials import lowdata
    assert lowdata.missed(json.loads(stored.read_text()), 'cpu digits') == []

def test_leak_statistics_are_0_for_real_and_1_for_augmented_images():
    from trials import lowdata
    train, held_out = sets.split(sets.digits(), .5, seed=0)
    judge = lowdata.Judge('digits', train, held_out, torch.device('cpu'))
    x = judge.held_out
    assert all(abs(v) < 1e-6 for v in judge.leak(x).values())
    for name, op in (('translation', translation), ('cutout', cutout), ('quarter_turns', quarter_turns)):
        assert .8 < judge.leak(op(x, gen(4)))[f'leak_{name}'] < 1.2
        half = Augment([op], .5, gen(4))(x)
        assert .35 < judge.leak(half)[f'leak_{name}'] < .65

def test_gap_of_a_judge_that_remembers():
    assert critic_gap(torch.ones(10), torch.tensor([0., 1., -1.])) == pytest.approx(1.)
