"""Chapters in notebook services: the cell that installs the package, the buttons, and what the package brings
along; all of it follows settings.ini.
"""
import ast
import importlib.resources
import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tools')]
import cloud  # noqa: E402
import pages  # noqa: E402

moved = {'user = ganbook': 'user = someone', 'branch = main': 'branch = autumn', 'version = ': 'version = 9.'}


def settings(folder: Path, changes: dict):
    "A copy of settings.ini with some of its text changed, as cloud.py reads it."
    text = (root/'settings.ini').read_text(encoding='utf-8')
    for old, new in changes.items():
        assert text.count(f'\n{old}') == 1
        text = text.replace(f'\n{old}', f'\n{new}')
    (folder/'settings.ini').write_text(text, encoding='utf-8')
    return cloud.settings(folder/'settings.ini')


def test_addresses_follow_the_settings(tmp_path):
    cfg = settings(tmp_path, moved)
    shown_at = cloud.blob(cfg)
    assert shown_at == 'https://github.com/someone/ganbook/blob/autumn'
    assert cloud.buttons(shown_at, 'nbs/01_game.ipynb') == {
        'Colab': 'https://colab.research.google.com/github/someone/ganbook/blob/autumn/nbs/01_game.ipynb',
        'Kaggle': (
            'https://www.kaggle.com/kernels/welcome?src='
            'https://github.com/someone/ganbook/blob/autumn/nbs/01_game.ipynb'
        ),
    }
    text = cloud.setup_cell(cfg)
    assert 'https://github.com/someone/ganbook/archive/refs/heads/autumn.zip' in text and 'ganbook 9.' in text


def test_a_page_has_its_buttons_and_a_repository_elsewhere_has_none(tmp_path):
    def shown(shown_at):
        chapter = pages.Chapter('01_game', [dict(cell_type='markdown', metadata={}, source='# X\n\n> So')])
        return json.loads(pages.chapter_page(chapter, {}, shown_at))['cells'][0]['source']
    here = cloud.blob(settings(tmp_path, moved))
    for address in cloud.buttons(here, 'nbs/01_game.ipynb').values(): assert f']({address})' in shown(here)
    assert 'Run in' not in shown('https://example.org/ganbook/blob/main')


def test_the_cell_is_written_once(tmp_path):
    title, old = dict(cell_type='markdown', source='# X'), dict(cell_type='code', source='1', outputs=[])
    nb = cloud.with_setup(dict(cells=[title, old], metadata={}), 'a\nb')
    again = cloud.with_setup(nb, 'c')
    assert [''.join(c['source']) for c in nb['cells']] == ['# X', 'a\nb', '1']
    assert [''.join(c['source']) for c in again['cells']] == ['# X', 'c', '1']


def test_where_the_package_is_there_nothing_happens(monkeypatch):
    "No pip, no import, and no time: at most a few milliseconds."
    cell = compile(cloud.setup_cell(cloud.settings()), 'cell', 'exec')
    assert importlib.util.find_spec('ganbook').origin
    def refuse(*args, **options): raise AssertionError('the cell started a program')
    monkeypatch.setattr(subprocess, 'run', refuse)
    taken, names = [], {}
    for _ in range(5):
        start = time.perf_counter()
        exec(cell, names)
        taken.append(time.perf_counter() - start)
    assert min(taken) < .005 and set(names) == {'__builtins__', 'importlib'}


def missing(monkeypatch, spec=None): monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)


def test_pip_that_fails_is_told_in_a_sentence(monkeypatch):
    missing(monkeypatch)
    monkeypatch.setattr(subprocess, 'run', lambda *a, **o: subprocess.CompletedProcess(a, 1))
    said = r'ganbook \S+ cannot be fetched from https://.*: give this notebook'
    with pytest.raises(RuntimeError, match=said):
        exec(cloud.setup_cell(cloud.settings()), {})


def test_a_folder_that_is_called_like_the_package_is_none(monkeypatch, tmp_path):
    "As a checkout's is, seen from the folder it lies in."
    (tmp_path/'ganbook').mkdir()
    code = 'import importlib.util, sys; sys.path[:] = [""] + [p for p in sys.path if p not in sys.argv]'
    code += '; print(getattr(importlib.util.find_spec("ganbook"), "origin", "none"))'
    done = subprocess.run(
        [sys.executable, '-S', '-c', code, str(root)], cwd=tmp_path, capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'},
    )
    assert done.stdout.strip() == 'None', done.stderr


def zipped(folder: Path) -> Path:
    "The files of the repository that make the package, as GitHub packs a branch."
    to = folder/'user'/'ganbook'/'archive'/'refs'/'heads'/'main.zip'
    to.parent.mkdir(parents=True)
    names = 'settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE constraints.txt'.split()
    parts = ('ganbook', 'results', 'nbs/images')
    paths = [root/n for n in names] + [p for part in parts for p in (root/part).rglob('*') if p.is_file()]
    with zipfile.ZipFile(to, 'w') as z:
        for p in paths:
            if '__pycache__' not in p.parts: z.write(p, f'ganbook-main/{p.relative_to(root)}')
    return to


use = '''
import importlib.util, json, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == 'ganbook' else find_spec(name)
exec(open('cell.py').read())
import ganbook
from ganbook.scale import read_bench, results
print(json.dumps([ganbook.__file__, str(results()), read_bench('modes', 'ring')['bench']]))
'''


builds = importlib.util.find_spec('setuptools') is not None

@pytest.mark.skipif(not builds, reason='wants setuptools, to build the package')
def test_the_cell_installs_what_chapters_look_up(tmp_path):
    "The cell itself, in a folder far from the checkout; stored results and pictures are found there."
    zipped(tmp_path)
    cfg = settings(tmp_path, {
        'git_url = https://github.com/%(user)s/%(repo)s': f'git_url = {tmp_path.as_uri()}/user/ganbook',
    })
    work, site = tmp_path/'work', tmp_path/'site'
    work.mkdir()
    (work/'cell.py').write_text(cloud.setup_cell(cfg), encoding='utf-8')
    env = os.environ | dict(
        PIP_TARGET=str(site), PYTHONPATH=str(site), PIP_NO_INDEX='1', PIP_NO_DEPS='1',
        PIP_NO_BUILD_ISOLATION='0',  # a switch to turn off
    )
    env.pop('GANBOOK_RESULTS', None)
    done = subprocess.run([sys.executable, '-c', use], cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    module, results, bench = json.loads(done.stdout.splitlines()[-1])
    assert Path(module).is_relative_to(site) and Path(results) == site/'ganbook'/'book'/'results'
    assert bench == 'modes'
    pictures = {p.name: p.read_bytes() for p in (work/'images').iterdir()}
    assert pictures == {p.name: p.read_bytes() for p in (root/'nbs'/'images').iterdir()}


def test_pictures_that_are_there_stay(tmp_path):
    from ganbook.shelf import lay_out_pictures
    (tmp_path/'images').mkdir()
    (tmp_path/'images'/'gan.svg').write_text('mine')
    assert len(lay_out_pictures(tmp_path)) == len(list((root/'nbs'/'images').iterdir()))
    assert (tmp_path/'images'/'gan.svg').read_text() == 'mine'


def test_a_package_without_its_pictures_says_so(tmp_path, monkeypatch):
    from ganbook import shelf
    monkeypatch.setattr(importlib.resources, 'files', lambda name: tmp_path/'a'/'b')
    with pytest.raises(FileNotFoundError, match='is not there: install ganbook anew'):
        shelf.lay_out_pictures(tmp_path)


def test_what_chapters_import_is_installed_with_the_package():
    """In a service only what the package requires is there, scipy by way of scikit-learn
    and traitlets by way of ipywidgets; the README names what wants more."""
    required = {r.split('>')[0].split('=')[0] for r in cloud.settings()['requirements'].split()}
    names = {'pillow': 'PIL', 'scikit-learn': 'sklearn'}
    comes_along = {'ganbook', 'IPython', 'scipy', 'traitlets'}
    known = {names.get(r, r) for r in required} | comes_along | sys.stdlib_module_names
    faults = []
    for path in sorted((root/'nbs').glob('*.ipynb')):
        for c in json.loads(path.read_text(encoding='utf-8'))['cells']:
            if c['cell_type'] != 'code': continue
            for n in ast.walk(ast.parse(''.join(c['source']))):
                found = [a.name for a in n.names] if isinstance(n, ast.Import) else (
                    [n.module] if isinstance(n, ast.ImportFrom) else []
                )
                faults += [f'{path.stem} {m}' for m in found if m.split('.')[0] not in known]
    # w2 wants a checkout; the others ask within a function, and say what to install
    assert faults == [
        'w02_speed trials.loops', 'w02_speed trials.speed', 'w06_export onnxruntime',
        'w07_command_line jupyterlab.labapp', 'w27_inception torchmetrics.image.fid',
    ]
