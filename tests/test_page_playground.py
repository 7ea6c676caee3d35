"""The playground of the page, which needs no kernel: its numbers beside those of the library, and its page in a
browser, opened from disk."""
import json
import math
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tests')]
import bundle  # noqa: E402

from ganbook import losses, penalties, train  # noqa: E402
from ganbook.doctor import diseases  # noqa: E402
from ganbook.models.mlp import MLPDiscriminator, MLPGenerator  # noqa: E402
from ganbook.vitals import Vitals, log_vitals  # noqa: E402

folder = root/'docs'/'playground'
needs_node = pytest.mark.skipif(
    shutil.which('node') is None, reason='no node: install it (Debian: apt install nodejs)'
)


def in_node(module, code, given, tmp_path):
    "What `code` makes of `given`, with all names of the module and of what it imports; both are plain data."
    run = tmp_path/'run.js'
    ask = f"const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n{code}\n"
    run.write_text(f"'use strict';\n{bundle.joined(folder/module)}{ask}", encoding='utf-8')
    done = subprocess.run(['node', str(run)], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


# The same match twice: once by the library, in float64, once by the script

n_steps, batch_size, width = 50, 8, 8
choices = dict(none=(), r1=('r1',), r2=('r2',), wgan_gp=('wgan_gp',), dragan=('dragan',), r1_r2=('r1', 'r2'))
optimisers = dict(
    adam=partial(train.adam, betas=(0., .99)), momentum=partial(train.adam, betas=(.5, .999)),
    rmsprop=torch.optim.RMSprop, sgd=torch.optim.SGD,
)
script = '''
const both = given.cases.map(setting => {
  const m = newMatch({...defaults, ...setting});
  m.G.weights.set(given.G);
  m.D.weights.set(given.D);
  return given.batches.map(({real, z, random}) =>
    ({...d_step(m, real, z[0], random), ...g_step(m, real, z[1])}));
});
console.log(JSON.stringify(both));
'''

def numbers():
    "Weights of a pair of networks, and 50 batches with their latents and uniform numbers."
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        G = MLPGenerator((2,), 2, (width, width), nn.Identity).double()
        D = MLPDiscriminator((2,), (width, width)).double()
    def normal(): return torch.randn(batch_size, 2, generator=rng, dtype=torch.float64)
    batches = [
        dict(real=normal(), z=[normal(), normal()],
             random=torch.rand(batch_size, 2, generator=rng, dtype=torch.float64))
        for _ in range(n_steps)
    ]
    return G.state_dict(), D.state_dict(), batches

def in_python(case, G_weights, D_weights, batches, monkeypatch):
    "Both losses of every step, by d_step and g_step of chapter 5."
    G = MLPGenerator((2,), 2, (width, width), nn.Identity).double()
    D = MLPDiscriminator((2,), (width, width)).double()
    G.load_state_dict(G_weights)
    D.load_state_dict(D_weights)
    make = optimisers['momentum' if case.get('beta1') else case['optimiser']]
    s = train.TrainState(G, D, make(G.parameters(), case['lr_G']), make(D.parameters(), case['lr_D']))
    weighed = [penalties.by_name[name](case['gamma']) for name in choices[case['penalty']]]
    z = iter([z for b in batches for z in b['z']])
    t = iter([b['random'] for b in batches])
    monkeypatch.setattr(train, 'latents', lambda *_: next(z))
    monkeypatch.setattr(penalties, '_uniform', lambda shape, *_: next(t).view(-1)[:math.prod(shape)].view(shape))
    rows = []
    for b in batches:
        loss = losses.by_name[case['loss']]
        row = train.d_step(s, b['real'], loss, weighed) | train.g_step(s, b['real'], loss)
        rows.append({name: x.item() for name, x in row.items()})
    return rows

def flat(x):
    "A tensor, or all tensors of a state, as one list in their order."
    return torch.cat([t.flatten() for t in x.values()]).tolist() if isinstance(x, dict) else x.flatten().tolist()

def cases():
    "Every loss with every penalty, and every optimiser."
    usual = dict(loss='non_saturating', penalty='none', gamma=.5, lr_G=1e-3, lr_D=2e-3, optimiser='adam',
                 width_D=width, width_G=width, batch_size=batch_size)
    pairs = [usual | dict(loss=loss, penalty=p) for loss in losses.by_name for p in choices]
    other = [dict(optimiser='sgd', lr_D=.05, lr_G=.05), dict(optimiser='rmsprop'), dict(beta1=.5, beta2=.999)]
    return pairs + [usual | dict(penalty='r1_r2') | o for o in other]

@needs_node
def test_fifty_steps_are_those_of_the_library(monkeypatch, tmp_path):
    "Given the same weights, batches and latents, losses, logits and penalties agree to 1e-5."
    G, D, batches = numbers()
    given = dict(
        G=flat(G), D=flat(D), cases=cases(),
        batches=[
            dict(real=flat(b['real']), z=[flat(z) for z in b['z']], random=flat(b['random'])) for b in batches
        ],
    )
    both = in_node('game.js', script, given, tmp_path)
    for case, rows in zip(cases(), both):
        wanted = in_python(case, G, D, batches, monkeypatch)
        for step, (row, want) in enumerate(zip(rows, wanted)):
            off = {name: (row[name], x) for name, x in want.items() if abs(row[name] - x) > 1e-5}
            assert not off, (case, step, off)
        assert abs(wanted[-1]['loss_D'] - wanted[0]['loss_D']) > 1e-4, f'nothing was learned: {case}'
