"""The trainer on a GPU: the recorded loop equals the plain one,
nothing waits, checkpoints travel. Skipped where there is no CUDA."""
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
import pytest
import torch
from torch import nn
from ganbook import data as sets
from ganbook.capture import Captured
from ganbook.checkpoints import load, save
from ganbook.data import draw, latents
from ganbook.losses import hinge, non_saturating, relativistic
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.recipes import build, find
from ganbook.train import Stop, TrainState, adam, fit, g_step, d_step, linear_decay, new_state, sample

pytestmark = pytest.mark.gpu
ring = sets.ring(n=5000)

def r1(D, real, fake, real_logits, fake_logits, gamma=1.):
    grad, = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma/2*grad.flatten(real_logits.ndim).square().sum(-1).mean(-1)

def gradient_penalty(D, real, fake, real_logits, fake_logits):
    x = (
        torch.lerp(fake, real, torch.rand(len(real), *[1]*(real.ndim - 1), device=real.device))
        .detach()
        .requires_grad_()
    )
    grad, = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return (grad.flatten(1).norm(dim=1) - 1).square().mean()

def points(seed=0, device='cuda'):
    torch.manual_seed(seed)
    G = MLPGenerator((2,), latent_dim=3, hidden=(64, 64), out=nn.Identity)
    D = MLPDiscriminator((2,), hidden=(64, 64))
    return G.to(device), D.to(device)

class Conv(nn.Module):
    "A small convolutional generator with BatchNorm, latents to (1,8,8)."
    latent_dim = 3
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(3, 16*16)
        self.net = nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh())
    def forward(self, z): return self.net(self.dense(z).view(-1, 16, 4, 4))

def images(seed=0, device='cuda'):
    torch.manual_seed(seed)
    D = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(.2), nn.Flatten(), nn.Linear(16*16, 1), nn.Flatten(0)
    )
    return Conv().to(device), D.to(device)

def state(seed=0, make=points, device='cuda', **options):
    s = new_state(*make(seed, device), **dict(dict(lr=1e-3, seed=seed), **options))
    torch.manual_seed(100 + seed)  # what a penalty or an augmentation draws
    return s

def near(a, b, rtol=1e-3, atol=1e-4):
    "Are two states equal to tolerance, weights, averages, buffers, optimisers and log?"
    for name in ('G', 'D', 'G_ema'):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            torch.testing.assert_close(
                x.state_dict(), y.state_dict(), rtol=rtol, atol=atol, msg=lambda m, n=name: f'{n}: {m}'
            )
    torch.testing.assert_close(a.log.rows(), b.log.rows(), rtol=rtol, atol=10*atol)
    for x, y in ((a.opt_G, b.opt_G), (a.opt_D, b.opt_D)):
        for p, q in zip(x.state.values(), y.state.values()):
            assert float(p.get('step', 0)) == float(q.get('step', 0))

def stop_at(step):
    def stop(s):
        if s.step == step: raise Stop
    return stop


# The recorded loop against the plain one

@pytest.mark.parametrize('ema', [False, True], ids=['', 'average'])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(penalties=[r1]),
        dict(penalties=[gradient_penalty]),
        dict(schedule=linear_decay(.2)),
        dict(n_critic=2),
        dict(
            loss=relativistic, penalties=[r1], n_critic=2, schedule=linear_decay(0.),
            augment=lambda x: x + .05*torch.randn_like(x),
        ),
    ],
    ids=['plain', 'R1', 'own points', 'schedule', 'n_critic', 'all'],
)
def test_recorded_equals_plain(options, ema):
    runs = [
        fit(
            state(ema=ema), ring, 30, **dict(dict(loss=non_saturating), **options), ema_halflife=10.,
            capture=capture,
        )
        for capture in (True, False)
    ]
    near(*runs)
    assert len(runs[0].log) == 30 and runs[0].step == 30
    moved = torch.cat([(p - q).flatten() for p, q in zip(runs[0].G.parameters(), points()[0].parameters())])
    assert moved.abs().max() > 1e-3
    # the same random numbers were used up
    assert torch.equal(runs[0].rng.get_state(), runs[1].rng.get_state())

def test_recorded_equals_plain_for_images_with_batchnorm():
    digits = sets.digits()
    a, b = (
        fit(state(make=images, ema=True), digits, 30, hinge, batch_size=32, capture=capture)
        for capture in (True, False)
    )
    near(a, b, rtol=1e-2, atol=1e-3)
    assert int(a.G.net[0].num_batches_tracked) == 60

@pytest.mark.parametrize('k', [None, 3], ids=['one', 'members'])
@pytest.mark.parametrize('name', ['stable', 'r3', 'r1', 'wgan', 'wgan_gp', 'sngan_hinge', 'pac'])
def test_recorded_recipes_equal_plain_ones(name, k):
    "Penalties, clipping, spectral norm and packing inside a recorded step."
    runs = []
    for capture in (True, False):
        torch.manual_seed(100)
        s, a = build(
            replace(find(name), width=8, n_steps=20, batch_size=16), sets.digits(), device='cuda', k=k
        )
        runs.append(fit(s, **a, capture=capture))
    near(*runs, rtol=1e-2, atol=1e-3)
    assert name != 'wgan' or max(p.abs().max().item() for p in runs[0].D.parameters()) <= .01

def test_each_step_of_the_record_is_another_step():
    "The log's rows differ, batches differ from step to step, and the record was used."
    used = []
    replay = torch.cuda.CUDAGraph.replay
    torch.cuda.CUDAGraph.replay = lambda self: used.append(1) or replay(self)
    try: s = fit(state(), ring, 30, non_saturating)
    finally: torch.cuda.CUDAGraph.replay = replay
    assert len(used) == 27  # all but the three plain ones
    assert len({row.tobytes() for row in s.log.rows().numpy()}) == 30

def test_a_schedule_reaches_the_record():
    rates = []
    s = fit(
        state(), ring, 12, non_saturating, schedule=lambda p: 1. - p,
        callbacks=[lambda s: rates.append(s.opt_G.param_groups[0]['lr'].item())],
    )
    torch.testing.assert_close(torch.tensor(rates), torch.tensor([1e-3*(1 - i/12) for i in range(12)]))
    still = fit(state(), ring, 12, non_saturating, schedule=lambda p: 1. if p < .5 else 0.)
    half = fit(
        state(), ring, 12, non_saturating, schedule=lambda p: 1. if p < .5 else 0., callbacks=[stop_at(6)]
    )
    # rate 0 over the second half: nothing moves
    torch.testing.assert_close(still.D.state_dict(), half.D.state_dict())
    assert s.step == 12

@pytest.mark.parametrize(
    'make_opt',
    [
        lambda ps: torch.optim.SGD(ps, .05), lambda ps: torch.optim.Adam(ps, 1e-3),
        lambda ps: torch.optim.RMSprop(ps, 1e-3), lambda ps: torch.optim.Adam(ps, 1e-3, capturable=True),
    ],
    ids=['SGD', 'Adam', 'RMSprop', 'Adam capturable'],
)
def test_an_optimiser_with_a_plain_number_as_rate_follows_the_schedule_too(make_opt):
    "A recorded step would keep the number of the moment it was recorded."
    def run(**options):
        G, D = points()
        s = TrainState(
            G, D, make_opt(G.parameters()), make_opt(D.parameters()),
            rng=torch.Generator('cuda').manual_seed(0),
        )
        return fit(s, ring, 20, non_saturating, schedule=linear_decay(0.), **options)
    near(run(), run(capture=False))

def test_members_are_recorded_too():
    class Bank(nn.Module):
        def __init__(self, sizes, squeeze):
            super().__init__()
            self.w = nn.ParameterList([nn.Parameter(torch.randn(3, i, o)/i**.5) for i, o in sizes])
            self.latent_dim = sizes[0][0]
            self.squeeze = squeeze
        def forward(self, x):
            for i, w in enumerate(self.w): x = torch.bmm(x if i == 0 else nn.functional.leaky_relu(x, .2), w)
            return x.squeeze(-1) if self.squeeze else x
    def run(**options):
        torch.manual_seed(0)
        G, D = Bank([(2, 32), (32, 2)], False).cuda(), Bank([(2, 32), (32, 1)], True).cuda()
        s = TrainState(
            G, D, adam(G.parameters(), 1e-3), adam(D.parameters(), 1e-3),
            rng=[torch.Generator('cuda').manual_seed(k) for k in range(3)],
        )
        return fit(s, ring, 30, non_saturating, **options)
    a, b = run(), run(capture=False)
    near(a, b)
    assert a.log.table()['loss_D'].shape == (30, 3)

def test_callbacks_see_each_step_and_do_not_change_the_run():
    seen = []
    def look(s):
        seen.append(
            (s.step, s.log.last()['loss_D'], sample(s.best, torch.zeros(4, 3, device='cuda')).sum().item())
        )
    a, b = fit(state(ema=True), ring, 30, hinge, callbacks=[look]), fit(state(ema=True), ring, 30, hinge)
    near(a, b)
    assert [i for i, *_ in seen] == list(range(1, 31)) and len({v for _, v, _ in seen}) == 30
    torch.testing.assert_close(
        torch.tensor([v for _, v, _ in seen]), torch.from_numpy(a.log.table()['loss_D'])
    )

def test_one_state_can_be_trained_in_several_goes():
    whole, parts = fit(state(ema=True), ring, 30, hinge), state(ema=True)
    for n in (2, 8, 9, 30): fit(parts, ring, n, hinge)
    near(whole, parts)

def test_many_records_leave_no_memory_behind():
    used = []
    for _ in range(6):
        fit(state(), ring, 10, hinge)
        torch.cuda.synchronize()
        used.append(torch.cuda.memory_allocated())
    assert used[-1] <= used[1] + 2**20

def test_capture_wants_everything_on_the_gpu():
    with pytest.raises(ValueError, match='leave capture out'):
        fit(state(device='cpu'), ring, 5, hinge, capture=True)


# Nothing waits

@pytest.fixture
def no_waiting():
    "Let any synchronisation with the host raise an error between two calls."
    def switch(mode): torch.cuda.set_sync_debug_mode(mode)
    yield switch
    torch.cuda.set_sync_debug_mode('default')

@pytest.mark.parametrize(
    'options',
    [
        dict(), dict(penalties=[r1, gradient_penalty]), dict(n_critic=2, schedule=linear_decay(.2)),
        dict(loss=relativistic, ema_halflife=5.),
    ],
    ids=['plain', 'penalties', 'n_critic, schedule', 'relativistic, average'],
)
@pytest.mark.parametrize('make,data', [(points, 'ring'), (images, 'digits')], ids=['points', 'images'])
def test_the_plain_loop_never_waits(make, data, options, no_waiting):
    data = dict(ring=ring, digits=sets.digits())[data].to('cuda')
    s = state(make=make, ema='ema_halflife' in options)
    options = dict(dict(loss=non_saturating, batch_size=32), **options)
    fit(s, data, 3, **options, capture=False)  # first calls set libraries up
    torch.cuda.synchronize()
    no_waiting('error')
    fit(s, data, 10, **options, capture=False)
    no_waiting('default')
    assert len(s.log) == 10 and s.log.rows().isfinite().all()

def test_replays_never_wait(no_waiting):
    s = state(ema=True)
    # from the first replay on; the log is read at the end
    def watch(s): no_waiting('error' if 5 <= s.step < 15 else 'default')
    fit(s, ring.to('cuda'), 20, non_saturating, schedule=linear_decay(.2), callbacks=[watch])
    assert s.log.rows().isfinite().all()

def test_the_watch_does_see_a_wait(no_waiting):
    x = torch.ones(3, device='cuda')
    no_waiting('error')
    with pytest.raises(RuntimeError): x.sum().item()

def test_data_are_drawn_on_the_device():
    where, data = [], ring.to('cuda')
    s = state()
    def look(x):
        where.append((x.device.type, x.dtype))
        return x
    fit(s, ring, 4, hinge, augment=look, capture=False)  # data on the host are moved once
    assert set(where) == {('cuda', torch.float32)}
    x, y = draw(sets.digits().to('cuda'), 16, torch.Generator('cuda').manual_seed(0), labels=True)
    assert x.is_cuda and y.is_cuda and x.shape == (16, 1, 8, 8) and -1 <= x.min() and x.max() <= 1
    assert torch.equal(
        draw(data, 8, torch.Generator('cuda').manual_seed(3)),
        draw(data, 8, torch.Generator('cuda').manual_seed(3)),
    )
    assert latents(5, 3, torch.Generator('cuda')).is_cuda

def test_steps_give_tensors_on_the_device():
    s, real = state(), draw(ring.to('cuda'), 16)
    log = d_step(s, real, hinge, [r1]) | g_step(s, real, hinge)
    assert all(v.is_cuda and v.shape == () and not v.requires_grad for v in log.values())


# Checkpoints

@pytest.mark.parametrize('capture', [True, False], ids=['recorded', 'plain'])
@pytest.mark.parametrize('make,data', [(points, 'ring'), (images, 'digits')], ids=['points', 'images'])
def test_resume(make, data, capture, tmp_path):
    data = dict(ring=ring, digits=sets.digits())[data]
    options = dict(
        loss=non_saturating, penalties=[r1, gradient_penalty], schedule=linear_decay(.5), n_critic=2,
        capture=capture,
    )
    whole = fit(state(make=make, ema=True), data, 60, **options)
    save(fit(state(make=make, ema=True), data, 60, **options, callbacks=[stop_at(25)]), tmp_path/'s.pt')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        rest = load(state(seed=9, make=make, ema=True), tmp_path/'s.pt')
    fit(rest, data, 60, **options)
    near(whole, rest, rtol=1e-2, atol=1e-3)
    assert torch.equal(whole.rng.get_state(), rest.rng.get_state()) and len(rest.log) == 60

@pytest.mark.parametrize('there,here', [('cuda', 'cpu'), ('cpu', 'cuda')])
def test_a_checkpoint_travels_between_devices_with_a_warning(there, here, tmp_path):
    a = fit(state(ema=True, device=there), ring, 10, hinge, schedule=linear_decay(.5))
    save(a, tmp_path/'s.pt')
    b = state(seed=9, ema=True, device=here)
    with pytest.warns(UserWarning, match='other random numbers'): load(b, tmp_path/'s.pt')
    for x, y in ((a.G, b.G), (a.D, b.D), (a.G_ema, b.G_ema)):
        torch.testing.assert_close(
            {k: v.cpu() for k, v in x.state_dict().items()}, {k: v.cpu() for k, v in y.state_dict().items()},
            rtol=0, atol=0,
        )
    for opt in (b.opt_G, b.opt_D):
        assert all(v.device.type == here for state in opt.state.values() for v in state.values())
        group, = opt.param_groups
        assert isinstance(group['lr'], torch.Tensor) == group['capturable'] == (here == 'cuda')
    fit(b, ring, 20, hinge, schedule=linear_decay(.5))  # and it goes on
    assert b.step == len(b.log) == 20 and b.log.rows().isfinite().all()

def test_a_file_of_the_gpu_can_be_read_without_one(tmp_path):
    save(fit(state(), ring, 5, hinge), tmp_path/'s.pt')
    from ganbook.checkpoints import read
    content = read(tmp_path/'s.pt')
    assert (
        all(not v.is_cuda for v in content['parts']['G'].values()) and content['random']['device'] == 'cuda'
    )


# Precision and layout

@pytest.mark.parametrize('capture', [True, False], ids=['recorded', 'plain'])
@pytest.mark.parametrize(
    'options', [dict(amp=True), dict(channels_last=True), dict(amp=True, channels_last=True, penalties=[r1])],
    ids=['amp', 'channels last', 'both'],
)
def test_amp_and_channels_last(options, capture):
    digits = sets.digits()
    s = fit(state(make=images, ema=True), digits, 30, non_saturating, capture=capture, **options)
    assert s.log.rows().isfinite().all() and s.log.rows().dtype == torch.float32
    assert {p.dtype for m in (s.G, s.D, s.G_ema) for p in m.parameters()} == {torch.float32}
    if options.get('channels_last'): assert s.D[0].weight.is_contiguous(memory_format=torch.channels_last)
    plain = fit(
        state(make=images, ema=True), digits, 1, non_saturating, capture=False,
        penalties=options.get('penalties', ()),
    )
    torch.testing.assert_close(s.log.rows()[0], plain.log.rows()[0], rtol=.1, atol=.1)

def test_recorded_equals_plain_in_bfloat16():
    near(
        *(fit(state(), ring, 30, non_saturating, amp=True, capture=capture) for capture in (True, False)),
        rtol=.05, atol=.02,
    )

def test_captured_runs_plainly_first():
    n, s = [], state()
    row = torch.zeros(1, device='cuda')
    def iteration():
        n.append(torch.cuda.is_current_stream_capturing())
        return row.add_(1)
    run = Captured(s, iteration, n_plain=2)
    values = [run().item() for _ in range(5)]
    assert n == [False, False, True] and values == [1, 2, 3, 4, 5]

reads = """
import torch
from ganbook.data import ring
from ganbook.losses import hinge
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.train import fit, new_state
def reads(D, real, fake, real_logits, fake_logits):
    return real_logits.square().mean()*float(real_logits.detach().mean() > -100)
s = new_state(MLPGenerator((2,), 3, (16,)).cuda(), MLPDiscriminator((2,), (16,)).cuda())
if fit(s, ring(500), 3, hinge, penalties=[reads], capture=False).step == 3: print('plain')
try: fit(s, ring(500), 10, hinge, penalties=[reads], capture=True)
except (RuntimeError, ValueError): print('told')
"""

def test_a_penalty_that_reads_on_the_host_runs_plainly_but_is_no_matter_for_a_record():
    "In a process of its own: a record that breaks off may leave the device in a bad state."
    done = subprocess.run(
        [sys.executable, '-c', reads], capture_output=True, text=True, cwd=Path(__file__).parent.parent,
        timeout=120,
    )
    assert done.stdout.split() == ['plain', 'told'], done.stderr
