"""Several processes as one: equal to one process with the whole batch,
and what happens when one is interrupted, stopped, hung or killed."""
import contextlib
import copy
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import ganbook.augment
from ganbook import data as sets
from ganbook import losses, nets, train
from ganbook.augment import ADA, Augment, flip, quarter_turns
from ganbook.callbacks import checkpoint, every, latest
from ganbook.checkpoints import load, read, save
from ganbook.data import draw, latents
from ganbook.losses import GANLoss, relativistic
from ganbook.optim import at_once, by_consensus, extragradient, lookahead, optimistic, past_extragradient
from ganbook.parallel import Lost, Team, _check_means, _heard, _normalised, in_parallel, join, process_seed
from ganbook.penalties import dragan, r1, r2
from ganbook.recipes import build
from ganbook.train import Stop, fit, new_state

torch.set_num_threads(1)
root = Path(__file__).resolve().parent.parent


# What every process builds, and how a team of processes is started:
# real ones, forked from a server that has imported this file

class Net(nn.Sequential):
    latent_dim = 3

def plain():
    return Net(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2)), nn.Sequential(
        nn.Linear(2, 16), nn.LeakyReLU(.2), nn.Linear(16, 1), nn.Flatten(0)
    )

def normed():
    """BatchNorm in both: in D too, where R1 differentiates
    it twice; images, so that it has places to sum over."""
    G = Net(
        nn.Linear(3, 4*4*4, bias=False), nn.Unflatten(1, (4, 4, 4)), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh(),
    )
    D = nn.Sequential(
        nn.Conv2d(1, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4, momentum=None), nn.LeakyReLU(.2),
        nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0),
    )
    return G, D

def state(make, seed=0):
    torch.manual_seed(seed)
    return new_state(*make(), lr=1e-3, ema=True, seed=7)

def images():
    return sets.Data(
        'noise',
        torch.randint(256, (300, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8),
    )
def points(): return sets.ring(500)
settings = dict(plain=dict(make=plain, data=points), normed=dict(make=normed, data=images))
options = dict(loss=relativistic, penalties=[r1, r2], batch_size=16, ema_halflife=5.)

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def worker(rank, size, port, body, folder, words):
    "One process of a team; what it prints goes into a file."
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    # started in the background, tests inherit a SIGINT that is ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    with open(folder/f'out{rank}.txt', 'w', buffering=1) as f, contextlib.redirect_stdout(f):
        body(rank, folder, *words)

def start(folder, body, *words, size=2):
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(
        ['ganbook.callbacks', 'ganbook.parallel', 'ganbook.recipes', 'torch._dynamo', 'pytest']
    )
    port = free_port()
    team = [context.Process(target=worker, args=(r, size, port, body, folder, words)) for r in range(size)]
    for p in team: p.start()
    return team

def finish(folder, team, seconds=60):
    "[(exit code, what it printed)], and nothing left running."
    for p in team: p.join(seconds)
    codes = [p.exitcode for p in team]
    for p in team: p.kill()
    return [(c, (folder/f'out{r}.txt').read_text()) for r, c in enumerate(codes)]

def run(folder, body, *words):
    done = finish(folder, start(folder, body, *words))
    assert [c for c, _ in done] == [0, 0], done
    return [out for _, out in done]

def parts(path): return read(path)['parts']

def gap(a, b):
    "The largest difference of two nested states."
    if isinstance(a, torch.Tensor): return (a.double() - b.double()).abs().max().item() if a.numel() else 0.
    if isinstance(a, dict): return max([0., *(gap(a[k], b[k]) for k in a)])
    if isinstance(a, (list, tuple)): return max([0., *map(gap, a, b)])
    return 0. if a == b else float('inf')


# Equal to one process with the whole batch

class Union:
    "Draws as the processes do, and lays their batches end to end."
    def __init__(self, s, size): self.rngs, self.s = [s.rng, *(torch.Generator() for _ in range(size - 1))], s
    def seed(self, s):
        for rank, g in enumerate(self.rngs[1:], 1): g.manual_seed(process_seed(7, rank, s.step))
    def draw(self, data, n, rng): return torch.cat([draw(data, n//len(self.rngs), g) for g in self.rngs])
    def latents(self, n, latent_dim, rng, device):
        return torch.cat([latents(n//len(self.rngs), latent_dim, g) for g in self.rngs])

def whole_batch(name, n_steps, monkeypatch, s=None, size=2):
    "One process, `size` times the batch, the same random numbers."
    s = s or state(settings[name]['make'])
    union = Union(s, size)
    union.seed(s)
    monkeypatch.setattr(train, 'draw', union.draw), monkeypatch.setattr(train, 'latents', union.latents)
    return fit(
        s, settings[name]['data'](), n_steps, **options | dict(batch_size=size*options['batch_size']),
        callbacks=[union.seed],
    )

def both(rank, folder):
    with join('cpu', timeout_s=30) as team:
        for name in settings:
            # process 1 begins elsewhere, and is brought to where process 0 is
            s = state(settings[name]['make'], seed=rank)
            with in_parallel(team, s, dict(options, data=settings[name]['data']())) as a:
                fit(s, n_steps=20, **a)
            save(s, folder/f'{name}{rank}.pt')
            assert (
                all('forward' not in vars(m) for m in s.G.modules()) and not s.opt_G._optimizer_step_pre_hooks
            )
        s, a = build('points', points(), seed=rank, device='cpu', k=2)
        with in_parallel(team, s, a | dict(batch_size=8, n_steps=3)) as a: fit(s, **a)
        save(s, folder/f'members{rank}.pt')
        assert team.first(lambda: os.getpid()) == team.most(team.first(lambda: os.getpid()))

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('both')
    run(folder, both)
    return folder

@pytest.mark.parametrize('name', settings)
@pytest.mark.filterwarnings('ignore:the logit that')  # D with BatchNorm is coupled, which is the point here
def test_two_processes_equal_one_with_twice_the_batch(name, trained, monkeypatch, tmp_path):
    save(whole_batch(name, 20, monkeypatch), tmp_path/'one.pt')
    one = parts(tmp_path/'one.pt')
    two = parts(trained/f'{name}0.pt')
    other = parts(trained/f'{name}1.pt')
    for part in ('G', 'D', 'G_ema'): assert gap(one[part], two[part]) <= 1e-5, part
    # both processes hold the same, to the bit: weights, averages, statistics, optimisers
    assert gap(two, other) == 0
    begun = state(settings[name]['make'])
    assert gap(dict(begun.D.named_parameters()), two['D']) > 1e-3  # and it went somewhere
    monkeypatch.undo()
    alone = fit(begun, settings[name]['data'](), 20, **options)
    assert gap(alone.G.state_dict(), two['G']) > 1e-4  # the second process had a batch of its own

def test_members_are_trained_together_too(trained):
    a, b = (read(trained/f'members{r}.pt') for r in (0, 1))
    assert (
        gap(a['parts'], b['parts']) == 0
        and a['log']['rows'].shape[2] == 2
        and (a['log']['rows'] != b['log']['rows']).any(1).all()
    )

def test_the_processes_draw_apart(trained):
    rows = [read(trained/f'plain{r}.pt')['log']['rows'] for r in (0, 1)]
    assert (rows[0] != rows[1]).any(1).all()

@pytest.mark.parametrize('shape', [(6, 3), (6, 3, 5), (6, 3, 4, 4)])
@pytest.mark.parametrize(
    'options', [dict(), dict(affine=False), dict(momentum=None), dict(track_running_stats=False)],
    ids=lambda o: next(iter(o), 'plain'),
)
def test_norms_alone_are_those_of_pytorch(shape, options):
    class Alone(Team):
        def total(self, x): return x
    a = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3, **options).double()
    b = copy.deepcopy(a)
    for k in range(3):
        x = torch.randn(shape, dtype=torch.float64) + k
        torch.testing.assert_close(_normalised(b, Alone('cpu'), x), a(x))
    torch.testing.assert_close(a.state_dict(), b.state_dict())
    a.eval(), b.eval()
    torch.testing.assert_close(_normalised(b, Alone('cpu'), x), a(x))
    assert _normalised(copy.deepcopy(b).float().train(), Alone('cpu'), x.bfloat16()).dtype == torch.bfloat16


# Callbacks that change the run

def small_images():
    "A pair for images of 8x8 without BatchNorm."
    G = Net(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())
    return G, nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.LeakyReLU(.2), nn.Linear(16, 1), nn.Flatten(0)
    )

def with_ada(wrap=None, more=()):
    "(state, arguments, probabilities step by step): ADA by what D says of the batch that this process drew."
    s = state(small_images)
    augment = Augment([flip, quarter_turns], .5, s.rng)
    ada = ADA(augment, lambda s: s.log._waiting[-1]['real_logit'].sign(), target=0., every=2, rise=20)
    return (
        s, dict(options, data=images(), augment=augment, callbacks=[*more, wrap(ada) if wrap else ada]),
        augment,
    )

def adapts(rank, folder):
    with join('cpu', timeout_s=30) as team:
        for name, wrap in (('ada', None), ('every', partial(every, 1))):
            s, a, augment = with_ada(wrap)
            p = []
            def watch(s): p.append(augment.p.item())
            watch.changes_run = True  # only to be called in every process
            a['callbacks'].append(watch)
            with in_parallel(team, s, a) as b: fit(s, n_steps=16, **b)
            save(s, folder/f'{name}{rank}.pt')
            torch.save(p, folder/f'{name}_p{rank}.pt')
            assert 'mean' not in vars(a['callbacks'][0]) and not hasattr(watch, 'mean')

def test_ada_in_two_processes_is_ada_in_one_with_twice_the_batch(tmp_path, monkeypatch):
    run(tmp_path, adapts)
    s, a, augment = with_ada()
    union, p = Union(s, 2), []
    union.seed(s)
    monkeypatch.setattr(train, 'draw', union.draw), monkeypatch.setattr(train, 'latents', union.latents)
    alone = ganbook.augment._per_image
    monkeypatch.setattr(
        ganbook.augment, '_per_image',
        lambda x, rng, *args: torch.cat([alone(half, g, *args) for half, g in zip(x.chunk(2), union.rngs)]),
    )
    a['callbacks'] += [union.seed, lambda s: p.append(augment.p.item())]
    fit(s, n_steps=16, **a | dict(batch_size=2*options['batch_size']))
    save(s, tmp_path/'one.pt')
    one = parts(tmp_path/'one.pt')
    assert len(set(p)) > 2, p  # it moved
    for name in ('ada', 'every'):
        two, other = (parts(tmp_path/f'{name}{r}.pt') for r in (0, 1))
        assert gap(two, other) == 0
        for part in ('G', 'D', 'G_ema'): assert gap(one[part], two[part]) <= 1e-5, part
        for r in (0, 1): assert torch.load(tmp_path/f'{name}_p{r}.pt') == pytest.approx(p, abs=1e-6)

def ends_while_adapting(rank, folder):
    with join('cpu', timeout_s=10) as team:
        def no_memory(s):
            if rank == 1 and s.step == 4: raise torch.OutOfMemoryError('out of memory, as a test')
            return torch.zeros(())
        for stop_at, signal_of in ((4, None), (None, no_memory)):
            s, a, augment = with_ada(more=[at(stop_at, stop)])
            if signal_of: a['callbacks'][-1].signal = signal_of
            try:
                with in_parallel(team, s, a) as b: fit(s, n_steps=10, **b)
                print('stop', s.step)
            except Exception as e: print(type(e).__name__, e)

def test_a_run_that_ends_while_a_mean_is_taken_ends_everywhere(tmp_path):
    lead, other = (out.splitlines() for out in run(tmp_path, ends_while_adapting))
    assert lead[0] == other[0] == 'stop 4'
    assert other[1] == 'OutOfMemoryError out of memory, as a test'
    assert (
        lead[1]
        == 'Lost another process has ended with an error, which it tells itself: process 0 of 2 ended after '
           'step 4; no checkpoint was written.'
    )

def unlike(rank, folder):
    with join('cpu', timeout_s=10) as team:
        s, a, _ = with_ada()
        try:
            with in_parallel(team, s, a if team.leads else a | dict(callbacks=[])): pass
        except ValueError as e: print(e)

def test_ada_in_one_process_alone_is_refused(tmp_path):
    for out in run(tmp_path, unlike): assert 'give each the same networks, callbacks and checkpoint' in out


# Checkpoints: written by process 0, read by any number

def resumes(rank, folder):
    with join('cpu', timeout_s=30) as team:
        for begin, name in ((0, 'whole'), (1, 'rest')):
            s, where = state(plain), folder/f'{name}'
            if begin: load(s, folder/'whole/step_00000006.pt')
            look = [checkpoint(where, every=6)] if team.leads else None
            with in_parallel(team, s, dict(options, data=points(), callbacks=look)) as a:
                fit(s, n_steps=14, **a)
            save(s, folder/f'{name}{rank}.pt')

def test_a_checkpoint_of_process_0_brings_all_back_bit_by_bit_and_one_process_reads_it(tmp_path, monkeypatch):
    run(tmp_path, resumes)
    assert sorted(p.name for p in (tmp_path/'whole').iterdir()) == [f'step_{n:08d}.pt' for n in (6, 12, 14)]
    for r in (0, 1): assert gap(parts(tmp_path/f'whole{r}.pt'), parts(tmp_path/f'rest{r}.pt')) == 0
    # one process goes on, with the whole batch
    s = whole_batch('plain', 14, monkeypatch, load(state(plain, 5), tmp_path/'whole/step_00000006.pt'))
    assert s.step == 14 and gap(s.G.state_dict(), parts(tmp_path/'whole0.pt')['G']) <= 1e-5


# Ends

def handlers(): return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
def at(step, f): return lambda s: f() if s.step == step else None
def stop(): raise Stop

def ends(rank, folder):
    with join('cpu', timeout_s=30) as team:
        calls = []
        closed = []
        before = handlers()
        class look:
            def __call__(self, s): calls.append(s.step)
            def close(self, s): closed.append(s.step)
        def go(*more):
            s = state(plain)
            with in_parallel(team, s, dict(options, data=points(), callbacks=[look(), *more])) as a:
                fit(s, n_steps=40, **a)
            return s
        s = go(at(5, stop))
        print('stop', s.step, calls, closed)
        def interrupt(): return os.kill(os.getpid(), signal.SIGINT)
        def late(x):  # in process 1, which has no callbacks: during its third step
            late.n += 1
            if rank == 1 and late.n == 7: interrupt()
            return x
        late.n = 0
        s = state(plain)
        try:
            with in_parallel(team, s, dict(options, data=points(), augment=late)) as a:
                fit(s, n_steps=40, **a)
        except KeyboardInterrupt: print('interrupt', s.step, handlers() == before)
        try: go(at(4, lambda: 1/0))
        except Exception as e: print('error', type(e).__name__, e)

def test_stop_errors_and_ctrl_c_end_all(tmp_path):
    "A callback of process 0 stops; a callback of process 0 fails; process 1 alone gets Ctrl-C."
    lead, other = (out.splitlines() for out in run(tmp_path, ends))
    assert lead[0] == 'stop 5 [1, 2, 3, 4, 5] [5]' and other[0] == 'stop 5 [] []'
    assert lead[2].startswith('error ZeroDivisionError')
    assert (
        other[2]
        == 'error Lost another process has ended with an error, which it tells itself: process 1 of 2 ended '
           'after step 4; no checkpoint was written.'
    )
    assert lead[1] == other[1] == 'interrupt 2 True'

def lose(rank, folder, how, timeout_s):
    with join('cpu', timeout_s=timeout_s) as team:
        s, before = state(plain), handlers()
        def look(x):
            if rank == 1 and s.step == 12: how()
            return x
        try:
            with in_parallel(
                team, s,
                dict(options, data=points(), augment=look, callbacks=[checkpoint(folder/'ck', every=5)]),
                folder/'ck',
            ) as a:
                fit(s, n_steps=400, **a)
        except Lost as e:
            print(e)
            assert handlers() == before
            sys.exit(3)

def kill(): os.kill(os.getpid(), signal.SIGKILL)
def hang(): time.sleep(30)

@pytest.mark.parametrize('how,timeout_s', [(kill, 60), (hang, 2)])
def test_a_lost_worker_ends_the_run_in_one_sentence_and_leaves_a_checkpoint(how, timeout_s, tmp_path):
    team, begun = start(tmp_path, lose, how, timeout_s), time.monotonic()
    team[0].join(50)
    took = time.monotonic() - begun
    team[1].kill()
    (code, out), _ = finish(tmp_path, team)
    assert took < 25 and code == 3
    assert (
        out
        == "another process is gone, or has not answered in time: process 0 of 2 ended after step 12; go "
           f"on from {tmp_path/'ck'/'step_00000010.pt'}.\n"
    )
    s = load(state(plain, 5), latest(tmp_path/'ck'))
    assert s.step == 10 and not list((tmp_path/'ck').glob('*.part'))
    assert fit(s, points(), 12, **options).step == 12  # one process goes on alone

def fragile(rank, folder):
    """Trains to step 15, from the newest checkpoint; in a
    run that begins at 0, process 1 is killed on the way."""
    with join('cpu', timeout_s=30) as team:
        s = state(plain)
        if latest(folder/'ck'): load(s, latest(folder/'ck'))
        begun = s.step
        def look(x):
            if rank == 1 and begun == 0 and s.step == 7: kill()
            return x
        a = dict(options, data=points(), augment=look, callbacks=[checkpoint(folder/'ck', every=5)])
        with in_parallel(team, s, a, folder/'ck') as a: fit(s, n_steps=15, **a)
        print('ended', begun, s.step)

def test_torchrun_starts_and_ends_a_team_and_two_new_processes_resume(tmp_path):
    "A worker is killed, and the run ends with a sentence and an exit code."
    (tmp_path/'w.py').write_text(
        "import os, sys; from pathlib import Path; from test_parallel import "
        "fragile; fragile(int(os.environ['RANK']), Path(sys.argv[1]))\n"
    )
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--master-port',
        str(free_port()), str(tmp_path/'w.py'), str(tmp_path),
    ]
    env = dict(os.environ, PYTHONPATH=f"{root}{os.pathsep}{root/'tests'}", OMP_NUM_THREADS='1')
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=env)
    assert (
        done.returncode != 0
        and f"process 0 of 2 ended after step 7; go on from {tmp_path/'ck'/'step_00000005.pt'}."
        in done.stderr
    ), done.stderr
    assert run(tmp_path, fragile) == ['ended 5 15\n']*2


def broken(rank, folder):
    "Process 1 fails in the middle of its third step."
    with join('cpu', timeout_s=10) as team:
        s = state(plain)
        def look(x):
            if rank == 1 and s.step == 2: raise torch.OutOfMemoryError('no memory left')
            return x
        with in_parallel(team, s, dict(options, data=points(), augment=look)) as a: fit(s, n_steps=9, **a)

def told(rank, folder, body):
    try: body(rank, folder)
    except Exception as e: print(type(e).__name__, str(e).splitlines()[0])

def test_an_error_in_a_step_keeps_its_name(tmp_path):
    lead, other = run(tmp_path, told, broken)
    assert other == 'OutOfMemoryError no memory left\n'
    assert lead.startswith('Lost another process is gone')

def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        for k, v in dict(
            RANK='0', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(taken.getsockname()[1])
        ).items():
            monkeypatch.setenv(k, v)
        with pytest.raises(RuntimeError, match='(?i)address already in use') as found:
            with join('cpu', timeout_s=2): pass
    assert not isinstance(found.value, Lost)

def test_only_a_lost_connection_is_called_one():
    for error in (
        RuntimeError('Connection closed by peer [127.0.0.1]:1'),
        RuntimeError('Timed out waiting 2000ms for recv operation'),
    ):
        with pytest.raises(Lost), _heard(): raise error
    for error in (torch.OutOfMemoryError('timeout'), RuntimeError('a shape is wrong'), ZeroDivisionError()):
        with pytest.raises(type(error)) as found, _heard(): raise error
        assert found.value is error


# Against DistributedDataParallel

def two_passes(D, x, y):
    """A loss of D with two passes, one of them differentiated twice,
    then a pass through a frozen D: the gradients of D and of y."""
    x = x.requires_grad_()
    real = D(x)
    slope, = torch.autograd.grad(real.sum(), x, create_graph=True)
    (relativistic.discriminator(real, D(y)) + slope.square().sum(-1).mean()).backward()
    grads = [p.grad.clone() for p in D.parameters()]
    with nets.frozen(D.parameters()): into, = torch.autograd.grad(D(y.requires_grad_()).mean(), y)
    return [*grads, into]

def with_ddp(rank, folder):
    with join('cpu', timeout_s=10):
        _, D = (torch.manual_seed(0), plain())[1]
        x, y = torch.randn(2, 2, 8, 2, generator=torch.Generator().manual_seed(1))[:, rank]
        torch.save(
            two_passes(nn.parallel.DistributedDataParallel(D, broadcast_buffers=False), x, y),
            folder/f'ddp{rank}.pt',
        )

def test_distributed_data_parallel_gives_the_same_gradients(tmp_path):
    run(tmp_path, with_ddp)
    _, D = (torch.manual_seed(0), plain())[1]
    whole = two_passes(D, *torch.randn(2, 2, 8, 2, generator=torch.Generator().manual_seed(1)).flatten(1, 2))
    for r in (0, 1): assert gap(torch.load(tmp_path/f'ddp{r}.pt')[:-1], whole[:-1]) <= 1e-6


# Refusals

def test_alone_nothing_changes():
    with join('cpu') as team:
        s, a = state(plain), dict(options, data=points())
        with in_parallel(team, s, a) as b: assert b is a
    assert not s.opt_G._optimizer_step_pre_hooks and (team.rank, team.size, team.leads, team.device.type) == (
        0, 1, True, 'cpu',
    )
    # the command line tells an OSError in one line
    assert team.first(lambda: 3) == 3 and issubclass(Lost, OSError)

def test_what_cannot_be_is_said(monkeypatch):
    with pytest.raises(ValueError, match='leave it out'):
        with in_parallel(Team(torch.device('cpu'), 0, 2), state(plain), dict(capture=True)): pass
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ValueError, match='choose cpu'):
        with join('mps'): pass
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='one process a GPU'):
            with join('cuda'): pass
    monkeypatch.delenv('MASTER_ADDR', raising=False)
    with pytest.raises(ValueError, match='torchrun'):
        with join('cpu'): pass

def ragan(real_logits, fake_logits):
    return nn.functional.softplus(fake_logits.mean(-1, keepdim=True) - real_logits).mean(-1)

@pytest.mark.parametrize(
    'wrong,words',
    [
        (dict(update=by_consensus), "'by_consensus'.: leave out what takes its whole batch"),
        (dict(update=partial(by_consensus, weight=2.)), 'by_consensus'),
        (dict(update=partial(lookahead, inner=partial(by_consensus, weight=2.))), 'by_consensus'),
        (dict(penalties=[r1, partial(dragan, weight=1.)]), 'dragan'),
        (dict(loss=GANLoss(ragan, ragan, True)), 'no mean over the samples'),
    ],
)
def test_what_is_no_mean_over_the_batch_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        with in_parallel(Team(torch.device('cpu'), 0, 2), state(plain), dict(options, data=points()) | wrong):
            pass

def test_every_other_loss_is_a_mean_over_the_batch():
    for loss in (x for x in vars(losses).values() if isinstance(x, GANLoss)): _check_means(dict(loss=loss))

updates = dict(
    at_once=at_once, extragradient=extragradient, past_extragradient=past_extragradient,
    optimistic=optimistic, lookahead=partial(lookahead, k=2),
)

def updated(rank, folder):
    with join('cpu', timeout_s=30) as team:
        for name, update in updates.items():
            s = state(plain)
            with in_parallel(team, s, dict(options, data=points(), update=update)) as a:
                fit(s, n_steps=5, **a)
            if team.leads: save(s, folder/f'{name}.pt')

def test_every_other_update_is_that_of_the_whole_batch(tmp_path, monkeypatch):
    run(tmp_path, updated)
    for name, update in updates.items():
        monkeypatch.setitem(options, 'update', update)
        s = whole_batch('plain', 5, monkeypatch)
        monkeypatch.undo()
        assert gap(s.D.state_dict(), parts(tmp_path/f'{name}.pt')['D']) <= 1e-5, name

def test_members_with_batchnorm_are_refused():
    s = state(normed)
    s.rng = [s.rng, torch.Generator()]
    from ganbook.parallel import _norms_over
    with pytest.raises(ValueError, match='members with BatchNorm'):
        with _norms_over(Team(torch.device('cpu'), 0, 2), s): pass

def different(rank, folder):
    with join('cpu', timeout_s=30) as team:
        s = state(plain)
        s.step = rank
        try:
            with in_parallel(team, s, dict(options, data=points())): pass
        except ValueError as e: print(e)
        try: team.first(lambda: int('x'))
        except ValueError as e: print('first', e)

def test_processes_that_differ_are_told(tmp_path):
    for out in run(tmp_path, different):
        first, second = out.splitlines()
        assert first.endswith('give each the same networks, callbacks and checkpoint.') and second.startswith(
            'first invalid literal'
        ), out

def test_seeds_of_processes_differ():
    seeds = {
        process_seed(seed, rank, step) for seed in range(5) for rank in range(1, 9) for step in range(50)
    }
    assert len(seeds) == 2000 and all(0 <= s < 2**63 for s in seeds)
