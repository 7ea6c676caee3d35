"Callbacks: watching must not change a run, and files must be whole."
import io
import warnings
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from ganbook import callbacks as cb
from ganbook.checkpoints import load, read_settings
from ganbook.data import Data, digits, latents, ring
from ganbook.losses import non_saturating
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import Log, Stop, alternating, fit, new_state

data = ring(n=2_000)


def state(seed=0, shape=(2,), out=nn.Identity, ema=False):
    "A small pair whose generator has Dropout and BatchNorm."
    torch.manual_seed(seed)
    G = MLPGenerator(shape, latent_dim=2, hidden=(16,), out=out)
    G.net.insert(1, nn.Dropout(.2))
    G.net.insert(2, nn.BatchNorm1d(16))
    return new_state(G, MLPDiscriminator(shape, hidden=(16,)), lr=1e-3, seed=seed, ema=ema)


def run(callbacks=(), n_steps=30, s=None, **kwargs):
    return fit(s or state(), data, n_steps, non_saturating, batch_size=16, callbacks=callbacks, **kwargs)


def numbers(s):
    parts = [
        *s.G.state_dict().values(), *s.D.state_dict().values(),
        *(s.G_ema.state_dict().values() if s.G_ema else []),
    ]
    return torch.cat([p.detach().flatten().float() for p in parts])


def same(a, b):
    return (
        torch.equal(numbers(a), numbers(b))
        and torch.equal(a.log.rows(), b.log.rows())
        and torch.equal(a.rng.get_state(), b.rng.get_state())
    )


def fake_log(values, members=()):
    log = Log()
    for v in values: log.append(dict(loss_D=torch.full(members, float(v)), loss_G=torch.full(members, 2.*v)))
    return log


class Terminal(io.StringIO):
    def isatty(self): return True


# looking

def test_every_callback_at_once_leaves_the_run_as_it_was(tmp_path):
    def nosy(s):
        torch.randn(7)
        torch.randn(3, generator=s.rng)
        s.G.eval()
        s.D.eval()
        s.G(torch.randn(4, 2))
    watch = [
        cb.stop_on_nan(5), cb.progress(16, every_s=0., file=io.StringIO()), cb.tensorboard(tmp_path/'tb', 7),
        cb.checkpoint(tmp_path/'ckpt', every=8, keep=2),
        cb.preview(tmp_path/'pictures', torch.randn(20, 2), data, every=9),
        cb.log_csv(tmp_path/'log.csv', every=4), cb.every(3, nosy), cb.every(4, cb.record(nosy)),
        cb.time_limit(600.),
    ]
    torch.manual_seed(0)
    plain = run(s=state(ema=True))
    torch.manual_seed(0)
    watched = run(watch, s=state(ema=True))
    assert same(plain, watched)


def test_an_unwrapped_look_does_change_the_run():
    assert not torch.equal(numbers(run()), numbers(run([lambda s: torch.randn(1)])))


@pytest.mark.parametrize(
    'n, last, want',
    [
        (1, False, list(range(1, 8))), (3, False, [3, 6]), (3, True, [3, 6, 7]), (7, True, [7]),
        (9, False, []), (9, True, [7]),
    ],
)
def test_every_looks_at_the_right_steps(n, last, want):
    seen = cb.record(lambda s: s.step)
    run([cb.every(n, seen, last=last)], n_steps=7)
    assert seen.steps == seen.values == want


def test_every_closes_what_it_wraps_and_forks_there_too():
    class Holds:
        closed = 0
        def __call__(self, s): pass
        def close(self, s):
            self.closed += 1
            torch.randn(1)
            torch.randn(1, generator=s.rng)
    held, s = Holds(), state()
    torch.manual_seed(1)
    before = torch.get_rng_state(), s.rng.get_state()
    cb.every(2, held).close(s)
    assert (
        held.closed == 1
        and torch.equal(before[0], torch.get_rng_state())
        and torch.equal(before[1], s.rng.get_state())
    )
    run([cb.every(2, held)], n_steps=3)
    assert held.closed == 2


def test_the_random_state_comes_back_even_if_the_look_fails():
    s, before = state(), torch.get_rng_state()
    def fails(s):
        torch.randn(5)
        s.G.eval()
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError): cb.every(1, fails)(s)
    assert torch.equal(before, torch.get_rng_state()) and s.G.training


def test_members_have_each_their_own_generator():
    s = state()
    s.rng = [torch.Generator().manual_seed(i) for i in range(3)]
    before = [g.get_state() for g in s.rng]
    with cb.unmoved(s): latents(4, 2, s.rng)
    assert all(torch.equal(a, g.get_state()) for a, g in zip(before, s.rng))


@pytest.mark.parametrize('n', [0, -1, 2.5, '3'])
def test_every_refuses_what_is_no_number_of_steps(n):
    with pytest.raises(ValueError, match='a whole number of at least 1'): cb.every(n, print)


# the progress bar

def test_a_file_gets_few_lines():
    out = io.StringIO()
    run([cb.progress(16, file=out)], n_steps=60)
    lines = out.getvalue().splitlines()
    assert len(lines) <= 3 and '60/60' in lines[-1] and 'img/s' in lines[-1] and 'loss_G' in lines[-1]


def test_a_terminal_gets_a_bar_on_one_line():
    out = Terminal()
    run([cb.progress(16, every_s=0., file=out)], n_steps=5)
    assert '5/5' in out.getvalue() and '100%' in out.getvalue() and out.getvalue().count('\n') == 1


@pytest.mark.parametrize('out', [io.StringIO, Terminal])
def test_a_resumed_run_starts_its_bar_where_it_stopped(out):
    out, s = out(), run(n_steps=20)
    run([cb.progress(16, every_s=0., file=out)], n_steps=25, s=s)
    assert '21/25' in out.getvalue() and '25/25' in out.getvalue() and ' 1/25' not in out.getvalue()


def test_one_bar_serves_two_runs():
    out = io.StringIO()
    bar = cb.progress(every_s=0., file=out)
    s = run([bar], n_steps=3)
    run([bar], n_steps=5, s=s)
    assert '3/3' in out.getvalue() and '5/5' in out.getvalue()


def test_the_bar_goes_to_stderr_and_survives_a_stop(capsys):
    def stop(s):
        if s.step == 2: raise Stop
    run([cb.progress(every_s=0.), stop], n_steps=9)
    out, err = capsys.readouterr()
    assert out == '' and '2/9' in err


def test_the_log_is_read_only_now_and_then():
    s, reads = state(), []
    s.log = Log()
    last = s.log.last
    s.log.last = lambda: reads.append(1) or last()
    run([cb.progress(file=Terminal())], n_steps=40, s=s)
    assert 1 <= len(reads) < 20


def test_members_are_shown_by_their_mean():
    s = state()
    s.log = fake_log([1.], (4,))
    s.step = 1
    s.n_steps = 1
    out = io.StringIO()
    cb.progress(file=out)(s)
    assert 'loss_D 1.000' in out.getvalue() and 'loss_G 2.000' in out.getvalue()


# tables and TensorBoard

def test_csv_of_members(tmp_path):
    cb.write_csv(fake_log([1, 2], (2,)), tmp_path/'a'/'log.csv')
    assert (
        tmp_path/'a'/'log.csv'
    ).read_text() == 'step,loss_D.0,loss_D.1,loss_G.0,loss_G.1\n1,1,1,2,2\n2,2,2,4,4\n'


def test_csv_is_written_at_the_end_and_not_after_an_error(tmp_path):
    def fail(s):
        if s.step == 6: raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError): run([cb.log_csv(tmp_path/'log.csv', every=4), fail])
    assert len((tmp_path/'log.csv').read_text().splitlines()) == 5
    run([cb.log_csv(tmp_path/'log.csv', every=4)], n_steps=6)
    assert len((tmp_path/'log.csv').read_text().splitlines()) == 7


def scalars(folder, column='loss_D'):
    events = EventAccumulator(str(folder)).Reload()
    return [e.step for e in events.Scalars(column)], [e.value for e in events.Scalars(column)]


def test_tensorboard_writes_every_column_as_means(tmp_path):
    s = run([cb.tensorboard(tmp_path, 10)])
    table = s.log.table()
    assert set(EventAccumulator(str(tmp_path)).Reload().Tags()['scalars']) == set(table)
    for c in table:
        steps, values = scalars(tmp_path, c)
        assert steps == [10, 20, 30]
        np.testing.assert_allclose(values, table[c].reshape(3, 10).mean(1), rtol=1e-5)


def test_tensorboard_after_a_crash_repeats_no_step(tmp_path):
    def crash(s):
        if s.step == 28: raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        run([cb.checkpoint(tmp_path/'ckpt', every=15), cb.tensorboard(tmp_path, 10), crash])
    assert scalars(tmp_path)[0][:2] == [10, 20]
    s = load(state(5), cb.latest(tmp_path/'ckpt'))
    assert s.step == 15
    run([cb.tensorboard(tmp_path, 10)], s=s)
    steps, values = scalars(tmp_path)
    assert steps == [10, 20, 30]
    np.testing.assert_allclose(values, s.log.table()['loss_D'].reshape(3, 10).mean(1), rtol=1e-5)


def test_tensorboard_of_a_run_shorter_than_an_interval_and_of_members(tmp_path):
    run([cb.tensorboard(tmp_path/'short', 100)], n_steps=4)
    assert scalars(tmp_path/'short')[0] == [4]
    s, f = state(), cb.tensorboard(tmp_path/'members', 2)
    s.log, s.step = fake_log([1, 3], (3,)), 2
    f(s)
    f.close(s)
    assert scalars(tmp_path/'members', 'loss_G/2') == ([2], [4.])


# checkpoints

@pytest.mark.parametrize(
    'keep, want', [(1, [30]), (2, [24, 30]), (3, [18, 24, 30]), (9, [6, 12, 18, 24, 30])]
)
def test_the_newest_are_kept(tmp_path, keep, want):
    run([cb.checkpoint(tmp_path, every=6, keep=keep, settings=dict(a=1))])
    assert sorted(p.name for p in tmp_path.iterdir()) == [f'step_{n:08d}.pt' for n in want]
    assert read_settings(cb.latest(tmp_path)) == dict(a=1)


def test_the_last_step_is_saved_once(tmp_path):
    run([cb.checkpoint(tmp_path, every=20, keep=5)])
    assert sorted(int(p.stem[5:]) for p in tmp_path.iterdir()) == [20, 30]


def test_no_old_file_goes_before_the_new_one_is_whole(tmp_path, monkeypatch):
    s = run([cb.checkpoint(tmp_path, every=10, keep=1)])
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(cb, 'save', full)
    with pytest.raises(OSError): run([cb.checkpoint(tmp_path, every=10, keep=1)], n_steps=40, s=s)
    assert [p.name for p in tmp_path.iterdir()] == ['step_00000030.pt']


def test_files_of_others_and_of_later_steps_stay(tmp_path):
    for name in ('best.pt', 'step_x.pt', 'notes.txt'): (tmp_path/name).write_text('mine')
    run([cb.checkpoint(tmp_path, every=5, keep=1)])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'best.pt', 'notes.txt', 'step_00000030.pt', 'step_x.pt',
    ]


def test_a_folder_with_a_later_state_is_refused(tmp_path):
    run([cb.checkpoint(tmp_path, every=10)])
    with pytest.raises(ValueError, match='is ahead of this run'):
        run([cb.checkpoint(tmp_path, every=10)], n_steps=5)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    (tmp_path/'step_00000005.pt.123.part').write_bytes(b'half')
    run([cb.checkpoint(tmp_path, every=10)], n_steps=10)
    assert [p.name for p in tmp_path.iterdir()] == ['step_00000010.pt']


def damaged(path, how):
    whole = path.read_bytes()
    if how == 'empty': path.write_bytes(b'')
    if how == 'cut': path.write_bytes(whole[:len(whole)*2//3])
    if how == 'bit':
        path.write_bytes(
            whole[:len(whole)//2] + bytes([whole[len(whole)//2] ^ 255]) + whole[len(whole)//2 + 1:]
        )
    if how == 'text': path.write_text('hello')
    if how == 'other': torch.save(dict(a=1), path)


@pytest.mark.parametrize('how', ['empty', 'cut', 'bit', 'text', 'other'])
def test_a_damaged_file_is_named_and_skipped(tmp_path, how):
    run([cb.checkpoint(tmp_path, every=10)])
    damaged(tmp_path/'step_00000030.pt', how)
    with pytest.warns(UserWarning, match='step_00000030.pt'):
        assert cb.latest(tmp_path).name == 'step_00000020.pt'


def test_no_checkpoint_at_all(tmp_path):
    assert cb.latest(tmp_path) is None and cb.latest(tmp_path/'nowhere') is None
    (tmp_path/'step_00000001.pt').write_text('x')
    with pytest.warns(UserWarning, match='step_00000001'): assert cb.latest(tmp_path) is None


@pytest.mark.parametrize('how', ['cut', None])
def test_going_on_is_bit_exact(tmp_path, how):
    torch.manual_seed(0)
    whole = run(s=state(ema=True))
    def stop(s):
        if s.step == 17: raise Stop
    torch.manual_seed(0)
    run([cb.checkpoint(tmp_path, every=5), stop], s=state(ema=True))
    assert int(cb.latest(tmp_path).stem[5:]) == 17
    if how: damaged(tmp_path/'step_00000017.pt', how)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        resumed = run([cb.checkpoint(tmp_path, every=5)], s=load(state(9, ema=True), cb.latest(tmp_path)))
    assert same(whole, resumed)


def test_ctrl_c_saves_and_another_error_does_not(tmp_path):
    def at_13(error):
        def f(s):
            if s.step == 13: raise error
        return f
    for error, last in ((KeyboardInterrupt, 13), (ZeroDivisionError, 10)):
        with pytest.raises(error): run([cb.checkpoint(tmp_path/error.__name__, every=5), at_13(error)])
        assert int(cb.latest(tmp_path/error.__name__).stem[5:]) == last


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    def spoil(s):
        if s.step == 12: next(s.D.parameters()).data[0, 0] = float('inf')
    with pytest.warns(UserWarning, match='no checkpoint at step 15'):
        run([spoil, cb.checkpoint(tmp_path, every=5, keep=9)], n_steps=15)
    assert int(cb.latest(tmp_path).stem[5:]) == 10


@pytest.mark.parametrize('bad', [dict(every=0), dict(keep=0), dict(keep=-1)])
def test_checkpoint_refuses_what_cannot_be(tmp_path, bad):
    with pytest.raises(ValueError, match='at least 1'): cb.checkpoint(tmp_path, **bad)


# pictures

def test_preview_draws_the_same_latents(tmp_path):
    images = digits()
    s = state(shape=images.shape, out=nn.Tanh, ema=True)
    fit(
        s,
        images,
        12,
        non_saturating,
        callbacks=[
            cb.preview(tmp_path, torch.randn(16, 2), images, every=5),
            cb.preview(tmp_path/'now.png', torch.zeros(4, 2), images),
        ],
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'now.png', *(f'step_{n:08d}.png' for n in (5, 10, 12)),
    ]
    now = np.asarray(Image.open(tmp_path/'now.png'))
    k = now.shape[0]  # one row of four pictures of k pixels, with a gap of k/8
    assert k % 8 == 0 and (now[:, :k] == now[:, k*9//8:][:, :k]).all()


def test_pictures_of_points_do_not_touch_the_global_random_state(tmp_path):
    x, before = torch.randn(50, 2), torch.get_rng_state()
    cb.save_samples(data, x, tmp_path/'a.png')
    assert torch.equal(before, torch.get_rng_state()) and Image.open(tmp_path/'a.png').size == (600, 600)
    assert [p.name for p in tmp_path.iterdir()] == ['a.png']


def test_pictures_know_the_range_of_the_data(tmp_path):
    for low in (-1., 0.):
        d = Data('x', torch.zeros(2, 1, 4, 4, dtype=torch.uint8), low=low)
        cb.save_samples(d, torch.full((1, 1, 4, 4), low), tmp_path/'a.png')
        assert np.asarray(Image.open(tmp_path/'a.png')).max() == 0


# ending early

@pytest.mark.parametrize(
    'column, bad', [('loss_D', float('nan')), ('loss_G', float('inf')), ('fake_logit', float('-inf'))]
)
@pytest.mark.parametrize('at, every, found', [(1, 1, 1), (7, 5, 10), (13, 10, 20), (29, 100, 30)])
def test_nan_is_found_and_placed(column, bad, at, every, found):
    def spoilt(s, *args, **kwargs):
        return alternating(s, *args, **kwargs) | ({column: torch.tensor(bad)} if s.step == at - 1 else {})
    s = state()
    with pytest.raises(FloatingPointError, match=f'{column} became {bad} at step {at}: '):
        run([cb.stop_on_nan(every)], s=s, update=spoilt)
    assert s.step == found


def test_nan_in_one_member():
    s = state()
    s.log, s.step = fake_log([1], (2,)), 3
    for bad in (float('nan'), 2.): s.log.append(dict(loss_D=torch.ones(2), loss_G=torch.tensor([1., bad])))
    with pytest.raises(FloatingPointError, match='loss_G became nan at step 2'): cb.stop_on_nan(3)(s)


def test_a_healthy_run_is_left_alone():
    assert run([cb.stop_on_nan(1)]).step == 30


def test_time_limit():
    assert run([cb.time_limit(0.)]).step == 1
    assert run([cb.time_limit(1e9)]).step == 30


def test_whole_file_on_success_and_failure(tmp_path):
    with cb.whole_file(tmp_path/'deep'/'a.txt') as part: part.write_text('new')
    with pytest.raises(KeyboardInterrupt), cb.whole_file(tmp_path/'deep'/'a.txt') as part:
        part.write_text('ha')
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in (tmp_path/'deep').iterdir()] == [('a.txt', 'new')]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='wants a CUDA device')
@pytest.mark.parametrize('capture', [None, False])
def test_looking_leaves_a_run_on_the_gpu_as_it_was(capture):
    """Also where the iteration is replayed from a CUDA graph,
    whose random numbers come from the same generators."""
    def nosy(s):
        torch.randn(7, device='cuda')
        torch.randn(3, generator=s.rng, device='cuda')
    def go(callbacks):
        torch.manual_seed(0)
        s = state()
        s = new_state(s.G.cuda(), s.D.cuda())
        return fit(s, data, 20, non_saturating, batch_size=16, callbacks=callbacks, capture=capture)
    a, b = go([]), go([cb.every(3, nosy)])
    assert torch.allclose(numbers(a), numbers(b), atol=1e-5) and torch.equal(
        a.rng.get_state(), b.rng.get_state()
    )




def test_real_images_stand_beside_generated_ones(tmp_path):
    d = Data('x', torch.full((5, 1, 4, 4), 255, dtype=torch.uint8))
    black = torch.full((8, 1, 4, 4), -1.)
    picture = np.asarray(Image.open(cb.save_samples(d, black, tmp_path/'a.png', n_cols=4, real=True)))
    alone = np.asarray(Image.open(cb.save_samples(d, black, tmp_path/'b.png', n_cols=4)))
    h, w = alone.shape
    assert (picture[-h:, :w] == alone).all()
    assert picture.shape[1] > w and (picture[-h:, w:] == 255).all()  # the real ones are white
    assert (picture[:-h] < 128).any()  # captions
