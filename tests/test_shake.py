"The imitation of other machines: what it changes, what it leaves alone, and that it sees what breaks."
import json
import os
import subprocess
import sys
from pathlib import Path
import pytest
import torch
from torch import nn
from torch.nn import init

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from tools import shake  # noqa: E402


@pytest.fixture
def initialisers():
    "torch's own initialisers again at the end."
    names = [n for n in dir(init) if n.endswith('_') and not n.startswith('_')]
    before = {n: getattr(init, n) for n in names}
    yield
    for n, f in before.items(): setattr(init, n, f)

def layer(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(30, 40)

def test_weights_move_by_a_millionth_and_nothing_else_does(initialisers):
    plain, drawn = layer(), torch.rand(3)
    shake.shake_weights(1e-6)
    shaken, again = layer(), layer()
    torch.manual_seed(0)
    nn.Linear(30, 40)
    assert torch.equal(drawn, torch.rand(3))  # the global random numbers are where they were
    change = (shaken.weight/plain.weight - 1).abs()
    assert 0 < change.max() < 1e-5 and change.median() > 1e-7
    assert torch.equal(shaken.weight, again.weight)  # equal networks stay equal

def notebook(folder, *cells):
    path = folder/'made_up.ipynb'
    made = [dict(cell_type='code', source=c, metadata={}, outputs=[], execution_count=None) for c in cells]
    path.write_text(json.dumps(dict(cells=made, metadata={}, nbformat=4, nbformat_minor=5)))
    return path

def broken(path, **env):
    out = path.with_suffix('.json')
    subprocess.run(
        [sys.executable, root/'tools'/'shake.py', '--one', path, out], check=True, env=os.environ | env,
        timeout=120,
    )
    return json.loads(out.read_text())

def test_every_cell_runs_also_after_one_has_failed(tmp_path):
    found = broken(
        notebook(tmp_path, 'x = 1', 'assert x == 2', 'y = 3', 'raise ValueError("no")', 'assert y == 3')
    )
    assert [(i, error.split(':')[0]) for i, _, error in found] == [(1, 'AssertionError'), (3, 'ValueError')]

def test_the_setting_reaches_the_notebook(tmp_path):
    path = notebook(
        tmp_path,
        'import torch\ntorch.manual_seed(0)\nraise ValueError(torch.nn.Linear(2, 2).weight.tolist())',
    )
    torch.manual_seed(0)
    here = nn.Linear(2, 2).weight.tolist()
    plain, shaken = (broken(path, **env)[0][2] for env in ({}, dict(GANBOOK_SHAKE_WEIGHTS='1e-2')))
    assert plain == f'ValueError: {here}' != shaken

def test_an_unknown_chapter_is_one_sentence():
    with pytest.raises(SystemExit, match='no chapter is called 99_nothing'): shake.chosen(['99_nothing'])

def test_solutions_come_along():
    assert {p.parent.name for p in shake.chosen(['01_game'])} == {'nbs', 'solutions'}

def test_the_table_names_what_broke():
    good, bad = (shake.Job(what, 'avx2', {}) for what in ('01_game', '02_losses'))
    bad.broken = [(7, 'assert close', 'AssertionError: 1 is not 2\nmore')]
    text = shake.table([good, bad])
    assert (
        '| 02_losses | avx2 | 7: assert close | AssertionError: 1 is not 2 |' in text
        and 'avx2: 1 of 2 broken' in text
    )
