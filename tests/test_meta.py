"""A GPU, imitated on torch's `meta` device: shapes and devices without numbers.

Every recipe, update, penalty, augmentation, task and callback runs for six steps, alone and as members.
A tensor that was left on the CPU raises there as it would on a GPU; so does everything that would make
the host wait for the device: `.item()`, `bool()` of a tensor, `.cpu()`, indexing by a mask; so does a
copy from the host to the device in the loop. What is read once, before the loop, may be read. """
from dataclasses import replace
from functools import partial
import pytest
import torch
from torch.overrides import TorchFunctionMode
from ganbook import data as sets
from ganbook import recipes
from ganbook.augment import ADA, Augment, Overfitting, diffaugment, flip, quarter_turns
from ganbook.callbacks import every, log_csv, stop_on_nan, time_limit
from ganbook.data import latents
from ganbook.diversity import with_minibatch_std
from ganbook.ensemble import members
from ganbook.losses import hinge, relativistic
from ganbook.models.conditional import CodedGenerator, EmbeddedGenerator, Judge, NormedGenerator
from ganbook.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.models.resnet import ResNetDiscriminator, ResNetGenerator
from ganbook.models.translation import PatchDiscriminator, UNet, to_truth
from ganbook.optim import at_once, by_consensus, extragradient, lookahead, optimistic, past_extragradient
from ganbook.pairs import face_pairs
from ganbook.penalties import clip_weights, dragan, r1, r2, wgan_gp
from ganbook.tasks import classify, inform, rotate, with_tasks
from ganbook.train import alternating, fit, new_state
from ganbook.unpaired import face_unpaired

n_steps = 6
meta = torch.device('meta')
real_generator = torch.Generator
copies = {torch.Tensor.to, torch.Tensor.cuda}
reads = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.item}


class GeneratorOnDevice(type):
    "Stands in for torch.Generator: what it makes counts as living on the device."
    def __instancecheck__(cls, x): return isinstance(x, real_generator)
    def __call__(cls, device=None): return real_generator()

class Generator(metaclass=GeneratorOnDevice): pass


class Device(TorchFunctionMode):
    """The imitated GPU: draws by a generator land on it, and
    in the loop nothing may pass between it and the host."""
    def __init__(self):
        super().__init__()
        self.in_loop = False

    def __torch_function__(self, f, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.in_loop and kwargs.get('generator') is not None: kwargs = kwargs | dict(device=meta)
        of_device = bool(args) and isinstance(args[0], torch.Tensor) and args[0].is_meta
        if f in reads and of_device and not self.in_loop: return self.read_early(f, args[0])
        out = f(*args, **kwargs)
        if self.in_loop and f in copies and not of_device and isinstance(out, torch.Tensor) and out.is_meta:
            raise RuntimeError('a tensor was copied from the host to the device inside the loop')
        return out

    def read_early(self, f, x):
        "Zeros for what is read before the loop, where waiting costs nothing."
        return f(torch.zeros(x.shape, dtype=x.dtype))

    def begin(self, progress):
        "A schedule: it is called at the start of every iteration, and so knows that the loop has begun."
        self.in_loop = True
        return 1.


@pytest.fixture
def gpu(monkeypatch):
    "The imitated device, with what `meta` itself cannot do taken out: fused Adam, autocast, generators."
    device = Device()
    make_adam = torch.optim.Adam.__init__
    autocast = torch.autocast
    def slow_adam(self, params, **options):
        make_adam(self, params, **options | dict(fused=False, capturable=False))
    monkeypatch.setattr(torch, 'Generator', Generator)
    monkeypatch.setattr(torch.optim.Adam, '__init__', slow_adam)
    monkeypatch.setattr(torch, 'autocast', lambda kind, *args, **options: autocast('cpu', *args, **options))
    monkeypatch.setattr(recipes, 'best_device', lambda name: meta)
    with device: yield device


def on_device(data): return replace(data, x=data.x.to(meta), y=None if data.y is None else data.y.to(meta))

few_digits = sets.subset(sets.digits(), 40)
few_pairs, few_kinds = face_pairs(40, 16), face_unpaired(40, 16)

def digits(): return on_device(few_digits)

def run(gpu, s, data, loss=hinge, **options):
    "Six steps; the state must have come to their end."
    options.setdefault('capture', None)
    fit(s, data, n_steps, loss, batch_size=8, schedule=gpu.begin, **options)
    assert s.step == n_steps and len(s.log) == n_steps and gpu.in_loop
    assert all(p.is_meta for p in s.G.parameters())
    return s

def pair(shape=(1, 8, 8)):
    G, D = MLPGenerator(shape, 8, (16,)), MLPDiscriminator(shape, (16,))
    return G.to(meta), D.to(meta)

def state(k=None, make=pair, **options):
    "One GAN on the device, or K as members."
    def one(i=0): return new_state(*make(), lr=1e-3, seed=i, **options)
    return one() if k is None else members(one, k)

one_or_three = pytest.mark.parametrize('k', [None, 3], ids=['one', 'members'])


@one_or_three
@pytest.mark.parametrize('name', list(recipes.recipes))
def test_recipes(gpu, name, k):
    r = recipes.find(name)
    small = replace(
        r, batch_size=8, n_steps=n_steps, n_critic=min(r.n_critic, 2),
        **dict(hidden=(16, 16)) if r.networks == 'mlp' else dict(width=4),
    )
    data = on_device(sets.ring(n=100)) if r.kind == 'points' else digits()
    if recipes.takes_sources(r): data = on_device(few_kinds if recipes.goes_both_ways(r) else few_pairs)
    s, arguments = recipes.build(small, data, k=k)
    run(
        gpu, s, **{key: v for key, v in arguments.items() if key not in ('n_steps', 'batch_size', 'schedule')}
    )

@one_or_three
@pytest.mark.parametrize(
    'update',
    [
        alternating, at_once, extragradient, past_extragradient, optimistic, partial(lookahead, k=3),
        partial(by_consensus, weight=.1),
    ],
    ids=[
        'alternating', 'at_once', 'extragradient', 'past_extragradient', 'optimistic', 'lookahead',
        'consensus',
    ],
)
def test_updates(gpu, update, k):
    run(gpu, state(k, ema=True), digits(), update=update)

@one_or_three
@pytest.mark.parametrize(
    'penalty', [r1, r2, wgan_gp, dragan, None], ids=['r1', 'r2', 'wgan_gp', 'dragan', 'clipping']
)
def test_penalties(gpu, penalty, k):
    s = state(k)
    if penalty is None: clip_weights(s.opt_D, .01)
    drawn = partial(penalty, rng=s.rng) if penalty in (wgan_gp, dragan) else penalty
    run(gpu, s, digits(), loss=relativistic, penalties=[drawn] if penalty else [], n_critic=2)

@one_or_three
@pytest.mark.parametrize('op', [*diffaugment, flip, quarter_turns], ids=lambda f: f.__name__)
def test_augmentations(gpu, op, k):
    s = state(k)
    run(gpu, s, digits(), augment=Augment([op], .5, s.rng).to(meta))

@one_or_three
def test_augmentation_that_adapts(gpu, k):
    s, data = state(k), digits()
    augment = Augment([flip], .5, s.rng).to(meta)
    signal = Overfitting(
        torch.zeros(6, 1, 8, 8, device=meta), torch.zeros(6, 1, 8, 8, device=meta), latents(6, 8).to(meta)
    )
    run(gpu, s, data, augment=augment, callbacks=[ADA(augment, signal, every=2, rise=10)])

def dcgan(shape=(1, 16, 16)):
    return DCGANGenerator(shape, 8, 4).to(meta), DCGANDiscriminator(shape, 4).to(meta)
def spread(shape=(1, 8, 8)):
    return MLPGenerator(shape, 8, (16,)).to(meta), with_minibatch_std(MLPDiscriminator(shape, (16,))).to(meta)
def resnet(shape=(1, 8, 8)):
    return ResNetGenerator(shape, 8, 4).to(meta), ResNetDiscriminator(shape, 4).to(meta)

@pytest.mark.parametrize('make', [resnet, spread], ids=['residual', 'minibatch spread'])
def test_networks(gpu, make): run(gpu, state(make=make, ema=True), digits())

def test_convolutions_at_another_size(gpu):
    data = sets.Data('grey', torch.zeros(20, 1, 16, 16, dtype=torch.uint8, device=meta))
    run(gpu, state(make=dcgan, ema=True), data, channels_last=True)

def embedded():
    return EmbeddedGenerator(MLPGenerator((1, 8, 8), 8 + 4, (16,)), 10, 4).to(meta), Judge(
        MLPDiscriminator((1, 8, 8), (16,)), dict(classes=10), n_classes=10
    ).to(meta)
def normed():
    return NormedGenerator(DCGANGenerator((1, 8, 8), 8, 4, smallest=2), 10).to(meta), Judge(
        MLPDiscriminator((1, 8, 8), (16,)), n_classes=10
    ).to(meta)
def coded():
    return CodedGenerator(MLPGenerator((1, 8, 8), 8 + 10, (16,)), 10).to(meta), Judge(
        MLPDiscriminator((1, 8, 8), (16,)), dict(codes=10)
    ).to(meta)
def turning():
    return MLPGenerator((1, 8, 8), 8, (16,)).to(meta), Judge(
        MLPDiscriminator((1, 8, 8), (16,)), dict(rotation=4)
    ).to(meta)

@pytest.mark.parametrize(
    'make,task,labels',
    [
        (embedded, classify(), True), (normed, None, True), (coded, inform(10), False),
        (turning, rotate(), False),
    ],
    ids=['classes', 'conditional BatchNorm', 'codes', 'rotation'],
)
def test_tasks(gpu, make, task, labels):
    update = with_tasks((task, 1.)) if task else alternating
    run(gpu, state(make=make, ema=True), digits(), update=update, labels=labels)

def test_a_translation(gpu):
    pairs = sets.Data('pairs', *torch.zeros(2, 20, 1, 8, 8, dtype=torch.uint8))
    def make():
        D = PatchDiscriminator((1, 8, 8), (1, 8, 8), 2)
        return UNet((1, 8, 8), latent_dim=4, width=2).to(meta), D.to(meta)
    run(gpu, state(make=make, ema=True), on_device(pairs), update=with_tasks((to_truth(), 1.)), labels=True)

def test_half_precision(gpu): run(gpu, state(ema=True), digits(), amp=True)

def test_callbacks_that_are_not_due_do_not_read(gpu, tmp_path):
    watch = [
        every(100, lambda s: s.log.last()), stop_on_nan(100), time_limit(60.),
        log_csv(tmp_path/'log.csv', 100),
    ]
    def look(s):
        for f in watch if s.step < n_steps else []: f(s)  # at the end of a run they may read
    run(gpu, state(), digits(), callbacks=[look])


# The imitation itself can fail

def broken(gpu, **options): return lambda: run(gpu, state(), digits(), **options)

def reading(s, batch, loss, *args, **options):
    log = alternating(s, batch, loss, *args, **options)
    log['loss_D'].item()
    return log

def asking(s, batch, loss, *args, **options):
    log = alternating(s, batch, loss, *args, **options)
    return log if log['loss_D'] > 0 else log

@pytest.mark.parametrize(
    'options,part',
    [
        (dict(update=reading), 'item'), (dict(update=asking), 'meta'),
        (dict(augment=lambda x: x + torch.ones(1, 8, 8)), 'cpu'),
        (dict(augment=lambda x: x*torch.full((1, 8, 8), .5).to(x.device)), 'from the host'),
        (dict(callbacks=[lambda s: s.log.last()]), 'item'),
        (dict(callbacks=[lambda s: s.log.rows()]), 'meta'),
    ],
    ids=['item', 'bool', 'stray tensor', 'copy', 'log read', 'log rows'],
)
def test_a_fault_is_seen(gpu, options, part):
    with pytest.raises((RuntimeError, NotImplementedError), match=part): broken(gpu, **options)()
