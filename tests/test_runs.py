"Runs on disk: those of today, and those that an earlier version left."
import json
from dataclasses import asdict
from pathlib import Path
import numpy as np
import pytest
from ganbook.cli import main
from ganbook.data import ring
from ganbook.recipes import build, from_settings
from ganbook.files import Files
from ganbook.runs import Run, Wish, repeated, trained
from ganbook.checkpoints import save
from ganbook.train import fit

# as the version wrote it that had one module for the whole command line
old_run = """{
 "format": "ganbook run",
 "settings": {
  "recipe": {
   "name": "points",
   "source": "chapter 13: the objective of Huang et al. 2024, tuned on the ring and the grid",
   "kind": "points",
   "networks": "mlp",
   "latent_dim": 2,
   "hidden": [128, 128, 128],
   "slope_G": 0.0,
   "out": "identity",
   "width": 64,
   "smallest": 4,
   "up": "transposed",
   "norm_G": "batch",
   "norm_D": "batch",
   "init": "normal",
   "spectral": false,
   "pack": 1,
   "minibatch_std": false,
   "loss": "relativistic",
   "real_label": 1.0,
   "noise": 0.0,
   "lr": 0.002,
   "betas": [0.0, 0.9],
   "batch_size": 16,
   "n_critic": 1,
   "n_steps": 3,
   "decay_from": 0.5,
   "ema_halflife": 100.0,
   "r1": 0.05,
   "r2": 0.05,
   "gp": 0.0,
   "clip": null
  },
  "source": {"name": "ring", "size": null, "grey": false},
  "data": {
   "name": "ring",
   "n": 100000,
   "shape": [2],
   "images": false,
   "scale": 0.7071774883294858,
   "low": -1.0,
   "fingerprint": null
  },
  "seed": 0
 },
 "options": {"every": 10, "keep": 2, "log_interval": 100, "threads": null},
 "n_steps": 3,
 "step": 3,
 "seconds": 1.95,
 "status": "finished",
 "threads": 1,
 "versions": {"ganbook": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu", "numpy": "2.4.6"},
 "device": "cpu",
 "started": "2026-11-29T10:22:24+0000",
 "last_100": {
  "loss_D": 0.65,
  "real_logit": 0.17,
  "fake_logit": 0.07,
  "penalty": 0.0004,
  "loss_G": 0.78
 },
 "error": null
}
"""
old_log = """step,loss_D,real_logit,fake_logit,penalty,loss_G
1,0.683582,0.0894164,0.0694908,0.000266552,0.764986
2,0.634598,0.198475,0.076339,0.000552714,0.831896
3,0.60,0.21,0.08,0.0006,0.84
"""


@pytest.fixture
def old(here):
    "The folder of an old run after three steps."
    folder = here/'old'
    (folder/'checkpoints').mkdir(parents=True)
    (folder/'.lock').touch()
    (folder/'run.json').write_text(old_run)
    (folder/'log.csv').write_text(old_log)
    settings = json.loads(old_run)['settings']
    s, arguments = build(from_settings(settings['recipe']), ring(), settings['seed'], 'cpu')
    fit(s, **arguments)
    save(s, folder/'checkpoints'/'step_00000003.pt', settings)
    return folder


def test_info_reads_an_old_run(old, capsys):
    assert main(['info', 'old']) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    want = dict(recipe='points', data='ring', samples='100000', seed='0', status='finished', step='3 of 3',
        seconds='1.95', loss_D='0.65', checkpoints='step_00000003.pt', ganbook='0.1.0')
    assert {k: said[k] for k in want} == want


def test_an_old_run_goes_on(old, capsys):
    assert main(['resume', 'old', '--n-steps', '5', '--quiet']) == 0
    assert 'steps 3 to 5' in capsys.readouterr().out
    before, now = json.loads(old_run), json.loads((old/'run.json').read_text())
    assert now['settings'] == before['settings'] and now['options'] == before['options']
    assert (now['step'], now['n_steps'], now['status']) == (5, 5, 'finished')
    assert list(now) == list(before) and now['started'] == before['started'] and now['seconds'] > 1.95
    assert len((old/'log.csv').read_text().splitlines()) == 6


def test_an_old_run_is_drawn_from_examined_and_repeated(old, capsys):
    assert main(['sample', 'old', '--n', '7', '--out', 'a.npy']) == 0
    assert np.load('a.npy').shape == (7, 2)
    assert main(['doctor', 'old']) == 0 and Path('old/doctor.png').is_file()
    assert main(['train', '--config', 'old', '--quiet', '--out', 'again']) == 0
    was = json.loads(old_run)['settings']
    now = json.loads(Path('again/run.json').read_text())['settings']
    added = now['recipe'].keys() - was['recipe'].keys()  # fields that recipes have since got
    default = json.loads(json.dumps(asdict(from_settings(was['recipe']))))
    assert {name: now['recipe'].pop(name) for name in added} == {name: default[name] for name in added}
    assert now == was


def test_what_is_written_is_read_again(old):
    run = Run.read(old)
    text = json.loads(old_run)
    assert run.plain() == text and list(run.plain()) == list(text)
    run.write()
    assert json.loads((old/'run.json').read_text()) == text and Run.read(old) == run
    assert asdict(run.recipe) == asdict(from_settings(text['settings']['recipe']))


def test_a_run_json_of_before_the_options(old):
    text = json.loads(old_run)
    del text['options'], text['status'], text['threads']
    (old/'run.json').write_text(json.dumps(text))
    run = Run.read(old)
    assert run.options is None and run.status is None and run.plain().keys() - {'status'} == text.keys()
    assert Run.resume(Wish(out=old))[0].options == dict(every=1000, keep=3, log_interval=100, threads=None)
    assert repeated(Wish(config=old)).data == 'ring'


def test_names_of_files_are_those_on_disk(old):
    files = Files(old)
    there = {p.name for p in old.iterdir()}
    assert {p.name for p in (files.run, files.log, files.lock, files.checkpoints)} == there
    assert Files.of_checkpoint(old/'checkpoints'/'step_00000003.pt').folder == old
    assert trained(old/'checkpoints'/'step_00000003.pt', 'cpu').folder == trained(old, 'cpu').folder == old


def test_networks_are_built_once(tmp_path, monkeypatch):
    from ganbook import recipes
    monkeypatch.chdir(tmp_path)
    made = []
    def counted(*args, build=recipes.pairs['mlp']):
        pair = build(*args)
        if next(pair[0].parameters()).device.type != 'meta': made.append(pair)
        return pair
    monkeypatch.setitem(recipes.pairs, 'mlp', counted)
    assert main(['train', 'points', '--n-steps', '2', '--quiet', '--device', 'cpu']) == 0
    assert len(made) == 1
