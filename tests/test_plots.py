"Plots: many shapes, several threads, files, films, and that looking changes nothing."
import io
import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from ganbook import plots


@pytest.fixture
def ax(): return Figure(figsize=(3, 3), dpi=50).subplots()


@pytest.fixture(autouse=True)
def no_stray_figures():
    "Given axes, nothing may reach pyplot; figures that a test asks for are closed."
    plt.close('all')
    yield
    plt.close('all')


# ---- images

@pytest.mark.parametrize('n', [1, 7, 8, 9, 20])
@pytest.mark.parametrize('c', [1, 3])
@pytest.mark.parametrize('pad', [0, 1, 3])
def test_tile_puts_each_image_where_it_belongs(n, c, pad):
    h = 4
    w = 6
    cols = min(8, n)
    x = np.random.default_rng(0).integers(0, 256, (n, c, h, w), dtype=np.uint8)
    grid = plots.tile(x, pad=pad)
    rows = math.ceil(n/8)
    assert grid.dtype == np.uint8
    assert grid.shape[:2] == (rows*(h + pad) - pad, cols*(w + pad) - pad)
    assert grid.shape[2:] == (() if c == 1 else (3,))
    for i in range(n):
        r, k = i//8*(h + pad), i % 8*(w + pad)
        part = grid[r:r + h, k:k + w]
        assert np.array_equal(part, x[i, 0] if c == 1 else x[i].transpose(1, 2, 0))


def test_tile_takes_tensors_arrays_and_three_sizes():
    x = torch.rand(5, 1, 4, 4)*2 - 1
    grid = plots.tile(x)
    assert np.array_equal(grid, plots.tile(x.numpy())) and np.array_equal(grid, plots.tile(x[:, 0]))
    assert np.array_equal(grid, plots.tile(x.double()))
    assert np.array_equal(plots.tile((x + 1)/2, low=0.), grid)
    assert plots.tile(x.requires_grad_()).shape == grid.shape
    assert plots.tile(x.bfloat16()).shape == grid.shape


def test_tile_fills_the_last_row_with_white():
    grid = plots.tile(-torch.ones(3, 1, 2, 2), n_cols=2, pad=0)
    assert (grid[2:, 2:] == 255).all() and grid[:2].max() == 0 and grid[2:, :2].max() == 0


def test_uint8_is_not_touched_and_floats_are_clipped():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert np.array_equal(plots.tile(x), x[0, 0].numpy())
    wild = torch.tensor([-9., 9., math.inf, -math.inf, math.nan]).view(1, 1, 1, 5)
    assert plots.tile(wild).tolist() == [[0, 255, 255, 0, 128]]


@pytest.mark.parametrize(
    'shape, says',
    [
        ((4, 4), r'at least one image, \(N,C,H,W\)'), ((2, 4, 1, 8, 8), 'choose one member'),
        ((0, 1, 8, 8), 'at least one image'), ((4, 2, 8, 8), 'choose 1 channel'),
        ((4, 4, 8, 8), 'choose 1 channel'),
    ],
)
def test_tile_says_what_is_wrong(shape, says):
    with pytest.raises(ValueError, match=says): plots.tile(torch.zeros(shape))


def test_tile_refuses_an_empty_range_and_no_columns():
    with pytest.raises(ValueError, match='images lie in .low,1.'): plots.tile(torch.zeros(1, 1, 2, 2), low=1.)
    with pytest.raises(ValueError, match='n_cols is 0: it must be at least 1'):
        plots.tile(torch.zeros(1, 1, 2, 2), n_cols=0)


def test_image_grid_and_film_strip_draw_on_given_axes(ax):
    assert plots.image_grid(torch.zeros(4, 1, 8, 8), ax, title='step 3') is ax and ax.get_title() == 'step 3'
    frames = [torch.zeros(5, 3, 8, 8)]*3
    strip = plots.film_strip(frames, (0, 10, 20_000), ax=Figure().subplots())
    assert strip.images[0].get_array().shape == (3*9 - 1, 5*9 - 1, 3)
    assert [t.get_text() for t in strip.get_yticklabels()] == ['0', '10', '20,000']
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match='steps is 2'): plots.film_strip(frames, (0, 1))
    with pytest.raises(ValueError, match='at least one'): plots.film_strip([], [])
    with pytest.raises(ValueError, match='same latents'): plots.film_strip([frames[0], frames[0][:2]], (0, 1))


def test_new_axes_are_six_and_a_half_inch_wide():
    for draw in (
        lambda: plots.image_grid(torch.zeros(16, 1, 8, 8)), lambda: plots.scatter(torch.zeros(3, 2)),
        lambda: plots.curves(dict(loss_D=np.zeros(9))),
        lambda: plots.film_strip([torch.zeros(8, 1, 8, 8)], [0]),
    ):
        assert draw().figure.get_size_inches()[0] == 6.5


@pytest.mark.parametrize('n, size', [(64, 8), (64, 28), (1, 8), (16, 64)])
def test_save_png_is_large_enough_and_exact(tmp_path, n, size):
    x = torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8)
    path = plots.save_png(x, tmp_path/'a'/'b.png')
    saved, grid = np.asarray(Image.open(path)), plots.tile(x)
    scale = saved.shape[0]//grid.shape[0]
    assert 400 <= saved.shape[1] <= 800 and np.array_equal(saved[::scale, ::scale], grid)
    assert [p.name for p in path.parent.iterdir()] == ['b.png']


def test_save_png_replaces_and_never_leaves_half_a_file(tmp_path, monkeypatch):
    path = plots.save_png(torch.zeros(1, 1, 4, 4), tmp_path/'x.png', scale=1)
    before = path.read_bytes()
    def killed(self, *a, **k): raise KeyboardInterrupt
    monkeypatch.setattr(Image.Image, 'save', killed)
    with pytest.raises(KeyboardInterrupt): plots.save_png(torch.ones(1, 1, 4, 4), path, scale=1)
    assert path.read_bytes() == before
    monkeypatch.undo()
    plots.save_png(torch.ones(1, 3, 4, 4), path, scale=2)
    assert Image.open(path).size == (8, 8)
    for bad in (0, -1, 1.5):
        with pytest.raises(ValueError, match='whole number'):
            plots.save_png(torch.ones(1, 1, 4, 4), path, scale=bad)


# ---- points

def test_scatter_keeps_numbers_and_colours(ax):
    plots.scatter(torch.rand(10, 2), torch.rand(4, 2), ax, lim=3.)
    assert [len(c.get_offsets()) for c in ax.collections] == [10, 4]
    assert [matplotlib.colors.to_hex(c.get_facecolor()[0]) for c in ax.collections] == [
        plots.REAL, plots.FAKE,
    ]
    assert ax.get_xlim() == (-3, 3) and ax.get_legend() is not None
    assert plots.scatter(ax=Figure().subplots()).get_legend() is None


@pytest.mark.parametrize('shape', [(5,), (5, 3), (2, 5, 2)])
def test_points_must_lie_in_the_plane(shape):
    with pytest.raises(ValueError, match='points of the plane'): plots.scatter(torch.zeros(shape))
    with pytest.raises(ValueError, match='vectors'): plots.arrows(torch.zeros(5, 2), torch.zeros(shape))
    assert not plt.get_fignums()  # no empty figure is left behind


def test_field_is_the_right_way_round(ax):
    "D(x) = 9 x₀ is dark on the left and light on the right, and its evens are the line x₀ = 0."
    plots.field(lambda x: 9*x[:, 0], ax, lim=1.)
    lines = [p for c in ax.collections for p in c.get_paths() if c.get_linestyle()[0][1]]
    assert len(lines) == 1 and np.abs(lines[0].vertices[:, 0]).max() < 1e-6
    png = np.asarray(Image.open(io.BytesIO(plots.to_png(ax.figure))).convert('L')).astype(int)
    box = ax.get_window_extent()
    y = int(png.shape[0] - (box.y0 + box.y1)/2)
    assert png[y, int(box.x0) + 5] < 110 < 240 < png[y, int(box.x1) - 5]


def test_field_leaves_the_discriminator_as_it_was(ax):
    D = nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1), nn.Flatten(0)
    ).double()
    before = {k: v.clone() for k, v in D.state_dict().items()}
    state = torch.get_rng_state()
    plots.field(D, ax, n=10)
    assert D.training and all(m.training for m in D.modules())
    assert all(torch.equal(v, before[k]) for k, v in D.state_dict().items()) and torch.equal(
        torch.get_rng_state(), state
    )
    assert all(p.grad is None for p in D.parameters())
    plots.field(D.eval(), ax, n=10)
    assert not D.training


@pytest.mark.parametrize('value', [0., 1e9, -1e9, math.nan, math.inf])
def test_field_draws_flat_and_broken_discriminators(ax, value):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        plots.field(lambda x: torch.full((len(x),), value), ax, n=8)
        plots.to_png(ax.figure)


def test_field_wants_one_logit_a_point(ax):
    for D in (lambda x: x, lambda x: x[None, :, 0], lambda x: x[:, :1]):
        with pytest.raises(ValueError, match='one logit a point'): plots.field(D, ax)


def test_arrows_are_true_to_scale_or_as_long_as_asked(ax):
    x, v = torch.zeros(3, 2), torch.tensor([[3., 4.], [0., 1.], [0., 0.]])
    plots.arrows(x, v, ax)
    q = ax.collections[-1]
    assert q.U.tolist() == [3, 0, 0] and q.V.tolist() == [4, 1, 0] and q.scale == 1
    plots.arrows(x, v, ax, longest=.5)
    q = ax.collections[-1]
    assert np.allclose(np.hypot(q.U, q.V), [.5, .1, 0])
    plots.arrows(x, 0*v, ax, longest=.5)
    plots.arrows(x[:0], v[:0], ax, longest=.5)


# ---- curves

@pytest.mark.parametrize('window', [1, 2, 3, 10, 1000])
@pytest.mark.parametrize('shape', [(50,), (50, 3), (1,)])
def test_smooth_is_the_mean_of_the_window(window, shape):
    y = np.random.default_rng(0).normal(size=shape)
    y[shape[0]//2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        slow = np.array(
            [np.nanmean(y[max(0, i - (window - 1)//2):i + window//2 + 1], 0) for i in range(len(y))]
        )
    assert np.allclose(plots._smooth(y, window), slow, equal_nan=True)


def test_curves_draw_runs_and_members(ax):
    rng = np.random.default_rng(0)
    one = dict(loss_D=rng.normal(size=200), loss_G=torch.randn(200))
    five = dict(loss_D=rng.normal(size=(200, 5)), penalty=np.ones((200, 5)))
    assert len(plots.curves(one, ax=ax, cannot_tell=True).lines) == 2*2 + 2
    assert ax.get_ylabel() == 'loss (nats)' and ax.get_xlabel() == 'step'
    ax = plots.curves(five, ax=Figure().subplots())
    assert len(ax.lines) == 1 + 5 and ax.get_ylabel() == 'loss'
    mean, member = ax.lines[0].get_ydata(), np.stack([l.get_ydata() for l in ax.lines[1:]])
    assert np.allclose(mean, member.mean(0))
    assert plots.curves(five, ['penalty'], ax=Figure().subplots()).get_ylabel() == 'value'
    for table, columns, says in (
        (one, ['x'], "no column called 'x'"), ({}, None, 'has none'), (dict(a=[1]), None, 'has a'),
    ):
        with pytest.raises(ValueError, match=says): plots.curves(table, columns)


def test_curves_survive_a_run_that_blew_up(ax):
    y = np.r_[np.zeros(50), np.full(50, np.nan)]
    plots.curves(dict(loss_D=y, loss_G=np.full(100, np.inf)), ax=ax)
    plots.to_png(ax.figure)


# ---- films and threads

def frames(n=12, size=40):
    x = np.zeros((n, size, size, 3), np.uint8)
    for i in range(n): x[i, :, i*3:i*3 + 3, i % 3] = 255
    return list(x)


@pytest.mark.parametrize('format', ['gif', 'webp'])
def test_animation_plays_for_ever_with_its_times(format):
    film = plots.animation(frames(), fps=20, hold_s=2., format=format)
    bundle = film._repr_mimebundle_()[0]
    assert set(bundle) == {f'image/{format}'} and isinstance(bundle[f'image/{format}'], str)
    back, times = Image.open(io.BytesIO(film.data)), []
    for i in range(back.n_frames):
        back.seek(i)
        back.load()
        times.append(back.info['duration'])
    assert back.n_frames == 12 and back.size == (40, 40) and back.info['loop'] == 0
    assert times == [50]*11 + [2000]


def test_a_gif_keeps_the_few_colours_it_was_given():
    x = frames()
    back = Image.open(io.BytesIO(plots.animation(x, n_colors=8).data))
    for i, frame in enumerate(x):
        back.seek(i)
        assert np.abs(np.asarray(back.convert('RGB')).astype(int) - frame).max() <= 8


def test_animation_of_figures_bytes_and_arrays():
    fig = Figure(figsize=(1, 1), dpi=40)
    fig.subplots()
    film = plots.animation(
        [fig, plots.to_png(fig), np.zeros((40, 40), np.uint8), torch.zeros(40, 40, 3, dtype=torch.uint8)]
    )
    assert Image.open(io.BytesIO(film.data)).size == (40, 40)


def test_forty_frames_fit_a_notebook():
    rng, out = np.random.default_rng(0), []
    x = rng.normal(size=(250, 2))
    for i in range(40):
        fig = Figure(figsize=(4, 4), dpi=68)
        ax = plots.field(lambda p, i=i: 3*(p[:, 0]*math.cos(i/9) + p[:, 1].sin()), fig.subplots(), n=40)
        plots.scatter(x, x + .1*rng.normal(size=x.shape), ax, lim=2.)
        out.append(plots.to_png(fig))
    assert len(plots.animation(out, n_colors=24).data) < 400_000
    assert len(plots.animation(out, format='webp').data) < 250_000


def test_animation_says_what_is_wrong():
    for bad, says in (
        ([], 'at least one'), ([np.zeros((4, 4))], 'give uint8'),
        ([np.zeros((4, 4, 4), np.uint8)], 'give uint8'),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], 'all of one size'),
    ):
        with pytest.raises(ValueError, match=says): plots.animation(bad)
    with pytest.raises(ValueError, match='format is .mp4.: choose'): plots.animation(frames(), format='mp4')


def test_figures_of_our_own_draw_the_same_in_threads():
    x = torch.rand(200, 2)
    def draw(i):
        fig = Figure(figsize=(2, 2), dpi=40)
        ax = plots.field(lambda p: p[:, 0]*(i - 3), fig.subplots(), n=12)
        plots.arrows(x[:5], x[5:10], plots.scatter(x[i*20:i*20 + 20], ax=ax, lim=1.))
        return plots.to_png(fig)
    with ThreadPoolExecutor(4) as pool: parallel = list(pool.map(draw, range(8)))
    assert parallel == [draw(i) for i in range(8)]
    assert not plt.get_fignums()


def test_style_sets_the_look_and_nothing_else():
    with matplotlib.rc_context():
        plots.style()
        assert matplotlib.rcParams['figure.dpi'] == 150 and matplotlib.rcParams['figure.figsize'] == [
            6.5, 3.2,
        ]
        backend = matplotlib.get_backend()
        plots.style()
        assert matplotlib.get_backend() == backend


def test_an_enlarged_grid_is_a_png():
    "Each pixel becomes a square; without padding nothing stands between the images."
    x = torch.tensor([0., 1.]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    picture = plots.enlarged(x, low=0., scale=3, pad=0)
    assert picture.size == (12, 6)
    assert np.asarray(picture).tolist() == [[0]*6 + [255]*6]*6
    read = Image.open(io.BytesIO(plots.to_png(picture)))
    assert (np.asarray(read) == np.asarray(picture)).all()
