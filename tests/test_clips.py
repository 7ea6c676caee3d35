"""Clips: what is planted is planted exactly and found again, networks of
odd sizes, gradients that reach all weights, and wrong input."""
import base64
import io
import json
import math
import sys
from functools import partial

import pytest
import torch
from PIL import Image
from ganbook.causes import draw_causes, options, spans
from ganbook.data import draw, latents
from ganbook.drawing import draw_faces
from ganbook.losses import non_saturating
from ganbook.models.clips import (
    ClipDiscriminator, FourierMotion, MovingGenerator, clip_changes, clip_pair, clip_view, draw_clips,
    from_planted, identity_kept, in_frames, motions, moving_causes, planted_path, read_clips,
)
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator, upsampled
from ganbook.models.mlp import MLPGenerator
from ganbook.penalties import r1
from ganbook.plots import to_png
from ganbook.readers import face_reader
from ganbook.train import fit, new_state, sample
from trials import clips as bench
from trials.common import results


@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)


def moving(T=8, shape=(3, 16, 16), n_in=5, n_out=3, **more):
    return MovingGenerator(DCGANGenerator(shape, 9, 4, up=upsampled, **more), FourierMotion(n_in, n_out, T))
def judges(T=8, shape=(3, 16, 16)):
    c, *sides = shape
    return ClipDiscriminator(
        DCGANDiscriminator((T*c, *sides), 4, norm=None), DCGANDiscriminator(shape, 4, norm=None)
    )


# What is planted

@pytest.mark.parametrize('T', [2, 3, 8, 11])
def test_a_path_is_one_turn_of_a_cosine(T):
    phase = torch.rand(6, dtype=torch.float64)
    path = planted_path(phase, T)
    assert path.shape == (6, T) and path.dtype == torch.float64
    want = [[math.cos(2*math.pi*(p + t/T)) for t in range(T)] for p in phase.tolist()]
    torch.testing.assert_close(path, torch.tensor(want, dtype=torch.float64))
    torch.testing.assert_close(path, planted_path(phase + 1, T))

@pytest.mark.parametrize('k', range(len(motions)))
def test_one_cause_moves_over_its_span_and_all_others_rest(k):
    causes = draw_causes(5, seed=1)
    moved = moving_causes(causes, torch.full((5,), k), torch.zeros(5), 8)
    assert len(moved) == 40
    for name, v in moved.columns().items():
        rows = v.unflatten(0, (5, 8))
        if name == [*motions.values()][k]:
            low, high = spans[name]
            want = low + (planted_path(torch.zeros(5), 8) + 1)/2*(high - low)
            torch.testing.assert_close(rows, want)
            assert rows[:, 0].allclose(torch.tensor(high)) and rows[:, 4].allclose(torch.tensor(low))
        else: assert (rows == getattr(causes, name)[:, None]).all()

def test_a_frame_is_the_drawing_of_its_causes():
    d = draw_clips(6, 3, 16, seed=4)
    rest = in_frames(d.x, 3)
    assert d.x.dtype == torch.uint8 and rest.shape == (6, 3, 3, 16, 16) and d.classes == tuple(motions)
    rng = torch.Generator().manual_seed(4 + 2**20)
    motion, phase = torch.randint(3, (6,), generator=rng), torch.rand(6, generator=rng)
    frames = draw_faces(moving_causes(d.causes, motion, phase, 3), 16)
    assert (rest.flatten(0, 1) == frames).all() and (d.y == motion).all()

def test_the_same_seed_gives_the_same_clips_and_another_others():
    a, b, c = (draw_clips(20, 4, seed=s) for s in (0, 0, 1))
    assert (a.x == b.x).all() and (a.y == b.y).all() and (a.x != c.x).any() and (a.y != c.y).any()

def test_motions_do_not_depend_on_the_face():
    d = draw_clips(1000, 2)
    counts = torch.stack([d.y[d.causes.background == k].bincount(minlength=3) for k in range(5)]).double()
    want = counts.sum(1, keepdim=True)*counts.sum(0)/counts.sum()
    assert ((counts - want).square()/want).sum() < 26.1  # chi-square of 8 degrees, one in a thousand

def test_fixed_causes_and_other_sizes():
    d = draw_clips(3, 5, 20, skin='dark', smile=torch.tensor([-1., 0., 1.]))
    assert d.shape == (15, 20, 20) and (d.causes.skin == options['skin'].index('dark')).all()
    assert draw(d, 4, torch.Generator().manual_seed(0)).shape == (4, 15, 20, 20)


# The ruler

def planted(motion, phase, T=8, rest=.3):
    paths = torch.full((len(motion), 3, T), rest)
    paths[torch.arange(len(motion)), motion] = planted_path(phase, T)
    return paths

@pytest.mark.parametrize('T', [3, 8, 13])
def test_what_was_planted_is_found(T):
    motion, phase = torch.randint(3, (50,)), torch.rand(50)
    off, which, turns = from_planted(planted(motion, phase, T))
    assert off.max() < 1e-5 and (which == motion).all()
    torch.testing.assert_close(turns, phase, atol=1e-5, rtol=0)

@pytest.mark.parametrize('scale', [0., .25, .5, 2.])
def test_a_round_of_another_size_is_off_by_the_difference(scale):
    paths = planted(torch.zeros(4, dtype=torch.long), torch.rand(4), rest=0.)*scale
    torch.testing.assert_close(from_planted(paths)[0], torch.full((4,), abs(1 - scale)/6**.5))

def test_a_second_cause_that_moves_counts_and_where_it_rests_does_not():
    paths = planted(torch.tensor([1, 1]), torch.tensor([.2, .2]))
    paths[0, 0] += 5.
    paths[1, 2] += torch.tensor([1., -1.]*4)
    torch.testing.assert_close(from_planted(paths)[0], torch.tensor([0., 3**-.5]), atol=1e-5, rtol=0)

def test_it_is_the_best_of_all_phases():
    paths = torch.randn(20, 3, 8)
    rest = (paths - paths.mean(-1, keepdim=True)).square().sum(-1)
    tried = [
        rest.sum(1, keepdim=True) - rest
        + (paths - planted_path(torch.tensor([p]), 8)).square().sum(-1)
        for p in torch.linspace(0, 1, 400).tolist()
    ]
    best = (torch.stack(tried).amin((0, 2))/24).sqrt()
    torch.testing.assert_close(from_planted(paths)[0], best, atol=1e-3, rtol=0)

def test_identity_is_kept_only_where_all_frames_agree():
    seen = torch.tensor([[[1, 1, 1], [2, 2, 2]], [[1, 1, 2], [2, 2, 2]], [[1, 1, 1], [3, 2, 2]]])
    assert identity_kept(seen).tolist() == [True, False, False]

def test_the_reader_reads_frame_by_frame_in_order():
    d = draw_clips(40, 4, seed=3)
    reader, x = face_reader(), d.x.float()/127.5 - 1
    paths, seen = read_clips(reader, x, 4)
    assert paths.shape == seen.shape == (40, 3, 4)
    one = reader.read_causes(x[7, 6:9][None])  # frame 2 of clip 7
    torch.testing.assert_close(paths[7, 0, 2], one['x'][0]*10, atol=1e-4, rtol=1e-4)
    assert seen[7, 1, 2] == one['skin'].argmax() == d.causes.skin[7] and identity_kept(seen).all()


# Networks

@pytest.mark.parametrize('T,shape', [(2, (3, 16, 16)), (5, (1, 9, 13)), (8, (3, 16, 16)), (3, (4, 8, 8))])
def test_shapes(T, shape):
    G, D = moving(T, shape), judges(T, shape)
    z = torch.randn(2, 3, G.latent_dim)
    x = G(z)
    assert G.shape == D.shape == (T*shape[0], *shape[1:]) and x.shape == (2, 3, *G.shape)
    assert D(x).shape == (2, 3) and D.n_frames == T and in_frames(x, T).shape == (2, 3, T, *shape)
    G.eval()
    torch.testing.assert_close(G(z)[1], G(z[1]), atol=1e-5, rtol=1e-4)

@pytest.mark.parametrize('T,shape', [(2, (3, 8, 8)), (5, (1, 9, 13)), (8, (3, 16, 16))])
@pytest.mark.parametrize('moves', [False, True])
def test_a_convolutional_pair_has_the_shapes_of_clips(T, shape, moves):
    motion = FourierMotion(5, 3, T) if moves else None
    G, D = clip_pair(shape, T, motion, latent_dim=9, width=4)
    z = torch.randn(2, 3, 9)
    assert G.latent_dim == 9 and G.shape == D.shape == (T*shape[0], *shape[1:])
    assert isinstance(G, MovingGenerator) == moves and D(G(z)).shape == (2, 3)
    D(G(z)).sum().backward()
    for net in (G, D): assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())

def test_the_rest_of_a_moving_pairs_latent_stays():
    G, _ = clip_pair((3, 16, 16), 8, FourierMotion(5, 3, 8), latent_dim=9, width=4)
    assert (G.n_content, G.G.latent_dim) == (4, 7)

def test_labels_are_taken_and_ignored():
    G, D = moving().eval(), judges()
    z, y = torch.randn(3, G.latent_dim), torch.zeros(3, dtype=torch.long)
    assert (G(z, y) == G(z)).all() and (D(G(z), y) == D(G(z))).all()

def test_gradients_reach_all_weights_of_both():
    G, D = moving(), judges()
    D(G(torch.randn(6, G.latent_dim))).sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None and p.grad.isfinite().all(), name
    reached = [p.grad.abs().sum() > 0 for name, p in G.named_parameters() if not name.startswith('G.net.0')]
    assert all(reached) and G.motion.frequency.grad.abs().min() > 0
    assert all(p.grad.abs().sum() > 0 for p in D.parameters())

def test_frames_are_those_of_the_one_generator():
    G = moving().eval()
    z = torch.randn(4, G.latent_dim)
    path = G.motion(z[:, G.n_content:])
    frames = in_frames(G(z), 8)
    for t in range(8):
        want = G.G(torch.cat([z[:, :G.n_content], path[:, t]], 1))
        torch.testing.assert_close(frames[:, t], want, atol=1e-5, rtol=1e-4)

def test_the_motion_is_a_sum_of_swings():
    m = FourierMotion(4, 3, 8)
    with torch.no_grad(): m.frequency.copy_(torch.tensor([0., 1., 9.]))
    path = m(torch.randn(5, 4))
    torch.testing.assert_close(path[:, :1, 0].expand(-1, 8), path[:, :, 0])
    torch.testing.assert_close(path[:, 0, 1], -path[:, 4, 1], atol=1e-5, rtol=0)
    a, b = (FourierMotion(1, 1, 8) for _ in range(2))  # frequencies 1 and 9 look the same at 8 moments
    b.load_state_dict(a.state_dict())
    with torch.no_grad(): a.frequency.fill_(1.), b.frequency.fill_(9.)
    z = torch.randn(5, 1)
    torch.testing.assert_close(a(z), b(z), atol=1e-4, rtol=0)

def test_D_is_the_sum_of_its_judges_and_one_of_them_is_blind_to_order():
    D, x = judges(), torch.rand(5, 24, 16, 16)*2 - 1
    frames = in_frames(x, 8)
    torch.testing.assert_close(D(x), D.clip(clip_changes(x, 8)) + D.frame(frames).mean(1))
    order = torch.randperm(8)
    torch.testing.assert_close(D.frame(frames).mean(1), D.frame(frames[:, order]).mean(1))
    shuffled = clip_changes(frames[:, order].flatten(1, 2), 8)
    assert (D.clip(clip_changes(x, 8)) - D.clip(shuffled)).abs().max() > 1e-6

@pytest.mark.parametrize('T', [2, 3, 8])
def test_changes_are_what_the_mean_leaves(T):
    x = torch.randn(2, 4, T*3, 8, 8)
    left = in_frames(clip_changes(x, T, 2.), T)
    assert left.shape == (2, 4, T, 3, 8, 8)
    torch.testing.assert_close(left.mean(2), torch.zeros(2, 4, 3, 8, 8), atol=1e-6, rtol=0)
    first, second = in_frames(x, T)[:, :, :2].unbind(2)
    torch.testing.assert_close(left[:, :, 0] - left[:, :, 1], 2*(first - second))
    still = torch.randn(2, 1, 3, 8, 8).expand(-1, T, -1, -1, -1).flatten(1, 2)
    assert clip_changes(still, T).abs().max() < 1e-5

def test_fit_trains_it_and_repeats():
    d = draw_clips(20, 4)
    def run():
        torch.manual_seed(1)
        s = new_state(moving(4), judges(4), ema=True, seed=2)
        return fit(s, d, 2, non_saturating, [partial(r1, gamma=.5)], batch_size=4)
    a, b = run(), run()
    assert a.log.rows().isfinite().all() and (a.log.rows() == b.log.rows()).all()
    assert sample(a.best, latents(3, a.best.latent_dim)).shape == (3, 12, 16, 16)

def test_the_view_holds_one_half_of_the_latent_still():
    G = moving()
    def picture(**seeds): return clip_view(G, **seeds).axes[0].images[0].get_array()
    assert (picture() == picture(who=0, what=0)).all() and len(to_png(clip_view(G))) > 500
    assert (picture() != picture(who=1)).any() and (picture() != picture(what=1)).any()


# Wrong input

wrong = {
    'one frame': (lambda: draw_clips(3, 1), 'n_frames is 1'),
    'no clips': (lambda: draw_clips(0), 'n is 0'),
    'small': (lambda: draw_clips(3, 4, 8), 'size is 8'),
    'half a phase': (lambda: planted_path(torch.tensor(1)), 'floating-point'),
    'a phase too many': (
        lambda: moving_causes(draw_causes(3), torch.zeros(3).long(), torch.zeros(4)), 'one phase a face'
    ),
    'a motion by number 3': (
        lambda: moving_causes(draw_causes(2), torch.tensor([0, 3]), torch.zeros(2)), 'it must lie in [0,2]'
    ),
    'motions as floats': (lambda: moving_causes(draw_causes(2), torch.zeros(2), torch.zeros(2)), 'int64'),
    'frames that do not divide': (lambda: in_frames(torch.zeros(2, 24, 8, 8), 7), 'of 7 frames'),
    'no clip': (lambda: in_frames(torch.zeros(24, 8, 8), 8), 'of 8 frames'),
    'two causes': (lambda: from_planted(torch.zeros(4, 2, 8)), '(N,3,T)'),
    'whole numbers': (lambda: from_planted(torch.zeros(4, 3, 8).long()), 'floating-point'),
    'no motion': (lambda: FourierMotion(0), 'n_in is 0'),
    'all of it moves': (lambda: moving(n_out=9), 'at most 8'),
    'latents too short': (lambda: moving()(torch.zeros(2, 4)), 'latents'),
    'judges of other sides': (
        lambda: ClipDiscriminator(DCGANDiscriminator((24, 16, 16), 4), DCGANDiscriminator((3, 8, 8), 4)),
        'one after another',
    ),
    'judges of other channels': (
        lambda: ClipDiscriminator(DCGANDiscriminator((24, 16, 16), 4), DCGANDiscriminator((5, 16, 16), 4)),
        'one after another',
    ),
    'a gain of zero': (
        lambda: ClipDiscriminator(judges().clip, judges().frame, 0.), 'gain is 0',
    ),
    'a pair of one frame': (lambda: clip_pair((3, 16, 16), 1), 'n_frames is 1'),
    'a pair for points': (lambda: clip_pair((2,)), '(C,H,W)'),
    'a motion of other frames': (lambda: clip_pair((3, 8, 8), 4, FourierMotion()), 'give one of 4 frames'),
    'no latent that stays': (
        lambda: clip_pair((3, 8, 8), 8, FourierMotion(9), latent_dim=9), 'latent_dim_beside_the_motion is 0'
    ),
    'a G of points': (lambda: MovingGenerator(MLPGenerator((2,), 9, (4,)), FourierMotion(2, 2)), '(C,H,W)'),
}

@pytest.mark.parametrize('call,words', wrong.values(), ids=wrong)
def test_wrong_input_is_told_in_a_sentence(call, words):
    with pytest.raises((ValueError, TypeError)) as e: call()
    told = str(e.value)
    assert words in told and told.endswith('.') and '\n' not in told


# The trial

@pytest.mark.parametrize('who', bench.casts)
def test_the_stored_figures_keep_their_targets(who):
    entry = json.loads((results/'bench_clips.json').read_text(encoding='utf-8'))[f'cpu {who}']
    assert bench.missed(entry, who) == []

@pytest.mark.parametrize('who', bench.casts)
def test_missed_targets_are_seen(who):
    good = dict(planted=[.5]*5, kept=[.9]*5, untrained=[0.]*5, looks=[90]*5)
    def faults(of_real=.97, others=20, **changed):
        rows = {a: good | changed for a in bench.arms}
        rows['frames as channels'] |= dict(looks=[others]*5)
        return bench.missed(dict(of_real=dict(planted=of_real, kept=1.), rows=rows), who)
    assert faults() == []
    assert any('untrained' in f for f in faults(untrained=[.1]*5))
    assert any('real clips' in f for f in faults(of_real=.5))
    assert any('2 seeds' in f for f in faults(planted=[.5]*2))
    assert any('above' in f for f in faults(planted=[0.]*5, looks=[0]*5))
    as_many = faults(others=85)  # nearly as many looks in frames as channels
    assert as_many == [] if who != 'connected' else 'more looks' in as_many[0]

@pytest.mark.parametrize('who', bench.casts)
def test_a_tiny_run_is_stored(tmp_path, monkeypatch, who):
    out = tmp_path/'out.json'
    size = ['--steps', '1', '--seeds', '2', '--clips', '20', '--samples', '16']
    end = ['--device', 'cpu', '--out', str(out), '--who', who]
    monkeypatch.setattr(sys, 'argv', ['clips', *size, *end])
    assert bench.main() == 0
    entry = json.loads(out.read_text())[f'cpu {who}']
    assert set(entry['rows']) == set(bench.arms)
    assert all(len(r['planted']) == 2 for r in entry['rows'].values())
    for row in (entry['of_real'], *entry['rows'].values()):
        picture = Image.open(io.BytesIO(base64.b64decode(row['tiles'])))
        assert picture.size == (bench.T*bench.side, 4*bench.side)
    assert entry['of_real']['shuffled'] == 1. and (who == 'person' or entry['of_real']['cut_together'] < .1)
    monkeypatch.setattr(sys, 'argv', ['clips', '--only', 'none', '--check', *end])
    assert bench.main() == 1  # two seeds are too few
