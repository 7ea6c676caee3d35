"""What the trials share: how one is started, what judges images, and how figures are stored, in a
file that is never half written."""
import argparse
import base64
import io
import json
import os
import platform
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ganbook import data as sets
from ganbook.data import latents
from ganbook.metrics import frechet, frechet_floor, yardstick
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator
from ganbook.penalties import r1, r2
from ganbook.plots import tile
from ganbook.train import sample

results = Path(__file__).resolve().parent.parent/'results'


# How a trial is started

def options(doc, name, target='a target of the stored figures is missed', device=True):
    "The parser of a trial, with the options that all have."
    p = argparse.ArgumentParser(
        f'python -m trials.{name}', description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('--check', action='store_true', help=f'exit with 1 if {target}')
    if device:
        best = 'cuda' if torch.cuda.is_available() else 'cpu'
        p.add_argument('--device', default=best, choices=['cpu', 'cuda'])
    p.add_argument('--out', type=Path, default=results/f'bench_{name}.json')
    return p

def arm_options(doc, name, arms, steps, data=('digits', 'mnist'), seeds=5, first=False):
    """The parser of a trial that trains `arms`; `steps` and
    `seeds` say what a run has where nothing is asked for."""
    p = options(doc, name)
    if data: p.add_argument('--data', choices=data, help=f'default: {data[0]} on the CPU, {data[1]} on a GPU')
    known = '; '.join(arms).replace('%', '%%')
    p.add_argument(
        '--only', nargs='*', metavar='ARM',
        help=f'arms to train: {known} (default: all; none trains none)',
    )
    p.add_argument('--steps', type=int, help=f'steps of a run (default {steps})')
    p.add_argument(
        '--seeds', type=int, default=seeds if isinstance(seeds, int) else None,
        help=f'seeds of an arm (default {seeds})'.replace('%', '%%'),
    )
    if first: p.add_argument('--first', type=int, default=0, help='the first seed (default 0)')
    return p

def parsed(p):
    "The options, and one thread; --data is that of the device where nothing is asked for."
    a = p.parse_args()
    torch.set_num_threads(getattr(a, 'threads', 1))
    if hasattr(a, 'data'): a.data = a.data or ('mnist' if a.device == 'cuda' else 'digits')
    return a

def chosen(p, a, arms):
    "The arms of --only; one that does not exist is an error of one sentence."
    names = [c for c in (list(arms) if a.only is None else a.only) if c != 'none']
    if unknown := ', '.join(sorted(set(names) - {*arms})):
        p.error(f"there is no arm called {unknown}: take some of {'; '.join(arms)}, or none.")
    return names

def verdict(faults, check, word='MISSED'):
    "Say which targets are missed; the exit status."
    for f in faults: print(f'{word}  {f}')
    return 1 if faults and check else 0

def failing(*targets):
    "The texts of those (is it met, text) that are not."
    return [text for met, text in targets if not met]

def wanting(rows, arms, kind, least=5, key='distance'):
    "Arms and seeds that stored rows lack, in words."
    faults = [f'{kind}: no arm called {a}' for a in arms if a not in rows]
    few = {a: len(r[key]) for a, r in rows.items() if len(r[key]) < least}
    return faults + [f'{kind}, {a}: {n} seeds, at least {least}' for a, n in few.items()]

def mean(values): return sum(values)/len(values)

def lists_of(rows):
    "Rows with the same measures, one a seed, as a list for each measure."
    return {name: [row[name] for row in rows] for name in rows[0]}

def each(values, form):
    "Numbers in a row."
    return ' '.join(f'{v:{form}}' for v in values)


# Data, players and what judges them

def as_drawn(x):
    "Images of bytes as a network sees them, in [-1,1]."
    return x.float()/127.5 - 1

def mnist32(train=True):
    "MNIST with a black border of 2, so that it halves evenly."
    d = sets.mnist(train)
    return replace(d, name='mnist 32x32', x=F.pad(d.x, (2, 2, 2, 2)))

def real_images(name):
    "What is trained on, and what is measured against."
    if name == 'digits': return sets.digits(), sets.digits()
    return mnist32(), mnist32(train=False)

def point_pair(hidden, slope=.2):
    "(G, D) for points of the plane, with these hidden layers; `slope` is that of G's bends below zero."
    return MLPGenerator((2,), 2, hidden, nn.Identity, slope), MLPDiscriminator((2,), hidden)

def both(gamma): return [partial(r1, gamma=gamma), partial(r2, gamma=gamma)]

def fixed_latents(n, G, lead=(), device='cpu'):
    "The same latents (n,Z) each time, for every member of `lead`."
    return latents(n, G.latent_dim, torch.Generator().manual_seed(9)).to(device).expand(*lead, -1, -1)

class Judge:
    """Holds samples against real images in [-1,1], which are looked at once. A distance is the squared
    Fréchet distance in the features of a yardstick, in units of half of the images against the rest.
    `eye` stands in for the yardstick called `name`."""
    def __init__(self, name, x, device='cpu', n=None, eye=None):
        self.eye, self.device = (eye or yardstick(name)).to(device), device
        self.real = self.eye.features(x)
        self.n = n or len(x)
        self.floor = frechet_floor(self.real).item()
    def samples(self, G, lead=(), *y):
        "From the same latents each time, with labels `y` if there are any."
        return sample(G, fixed_latents(self.n, G, lead, self.device), *y).nan_to_num()
    def frechet(self, x): return frechet(self.real, self.eye.features(x))
    def distance(self, G, lead=()):
        "Of samples, one a member."
        return self.frechet(self.samples(G, lead))/self.floor
    def kinds(self, x, least=.02):
        "How many digits make up at least this share of the images (...,N,C,H,W) each."
        shares = F.one_hot(self.eye.probs(x).argmax(-1), 10).double().mean(-2)
        return (shares >= least).sum(-1)
    def confident(self, x):
        "Share of the images whose digit the yardstick names with a probability above .9."
        return (self.eye.probs(x).amax(-1) > .9).double().mean(-1)


# Time

def clock(device):
    """Seconds: the processor time of this process, or, where a GPU
    works beside it, the time on the wall with all work done."""
    if torch.device(device).type == 'cpu': return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()

def timed(f, device):
    start = clock(device)
    f()
    return clock(device) - start

def spread(values):
    "Median, quartiles and minimum."
    low, middle, high = statistics.quantiles(values, n=4)
    return dict(median=middle, low=low, high=high, min=min(values))


# What is stored

def png(images):
    "Rows of images (R,N,C,H,W) as the text of a PNG without gaps; colours are those of a palette of 256."
    file, grid = io.BytesIO(), Image.fromarray(tile(images.flatten(0, 1), images.shape[1], pad=0))
    if grid.mode == 'RGB': grid = grid.quantize(256, kmeans=3, dither=Image.Dither.NONE)
    grid.save(file, 'PNG', optimize=True)
    return base64.b64encode(file.getvalue()).decode()

def rounded(x):
    "Four significant digits are more than a clock can mean."
    if isinstance(x, dict): return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [rounded(v) for v in x]
    return float(f'{x:.4g}') if isinstance(x, float) else x

def machine(device='cpu', with_clock=False)->dict:
    "Where and with what a figure was measured, and by which clock."
    on_gpu = str(device).startswith('cuda')
    return dict(
        device=torch.cuda.get_device_name() if on_gpu else f'{platform.machine()}, {os.cpu_count()} cores',
        threads=torch.get_num_threads(),
        versions=dict(python=platform.python_version(), torch=torch.__version__),
    ) | (dict(clock='wall' if on_gpu else 'process') if with_clock else {})

def _dated(entry, before)->dict:
    """An entry with today's date; where it has rows, a row that is as it
    was `before` keeps its own, and the entry says from when to when."""
    today, rows = time.strftime('%Y-%m-%d'), entry.get('rows')
    if not isinstance(rows, dict): return entry | dict(date=today)
    as_before = before['rows'] if isinstance(before.get('rows'), dict) else {}
    kept = before.get('dates', {})
    dates = {
        name: kept.get(name, before.get('date', today)) if as_before.get(name) == row else today
        for name, row in rows.items()
    }
    first, last = min(dates.values(), default=today), max(dates.values(), default=today)
    return entry | dict(dates=dates, date=first if first == last else f'{first} to {last}')

def stored(path)->dict:
    "What the JSON file `path` holds, kind -> entry; nothing if there is none."
    path = Path(path)
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}

def store(path, kind, entry):
    """Put `entry` under `kind`, with its date, in the JSON
    file `path` and leave the other entries as they are."""
    path, old = Path(path), stored(path)
    part = path.with_suffix('.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    new = old | {kind: _dated(entry, old.get(kind, {}))}
    part.write_text(json.dumps(new, indent=1, sort_keys=True) + '\n', encoding='utf-8')
    part.replace(path)

def stored_rows(path, kind): return stored(path).get(kind, {}).get('rows', {})

def keep(path, kind, about, rows):
    "Store rows, and what is said `about` them, beside those of this kind that stand there."
    store(path, kind, rounded(about | dict(rows=stored_rows(path, kind) | rows)))

def run_arms(names, try_arm, line, path, kind, about):
    """Train the arms one by one and store each row as it is there: `try_arm(name)` makes
    it, `line(name, row)` says it in one line; what is said `about` them stands beside."""
    for name in names:
        row = try_arm(name)
        print(line(name, row), flush=True)
        keep(path, kind, about, {name: row})
