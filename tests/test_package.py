"""What setup.py says of the package, from settings.ini and the README; and the oldest versions that may be
used with it.
"""
import re
import runpy
import shutil
import sys
from pathlib import Path
import pytest
import setuptools

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root/'tools'))
from oldest import oldest  # noqa: E402


def said(folder: Path, monkeypatch, changes: dict) -> dict:
    "The arguments of `setup` in a copy of the files that it reads, with changes to settings.ini."
    for name in ('setup.py', 'settings.ini', 'README.md'): shutil.copy(root/name, folder/name)
    text = (folder/'settings.ini').read_text(encoding='utf-8')
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder/'settings.ini').write_text(text, encoding='utf-8')
    told = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **given: told.update(given))
    runpy.run_path(str(folder/'setup.py'))
    return told


def links(text: str) -> list:
    "Of pictures and of words, outside of code."
    plain = re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.S)
    return re.findall(r'(!?)\[[^\]]*\]\(([^)\s]+)\)', plain)


def test_the_description_leads_to_the_repository_that_settings_name(tmp_path, monkeypatch):
    moved = {'user = ganbook': 'user = someone', 'branch = main': 'branch = autumn'}
    told = said(tmp_path, monkeypatch, moved)
    text = told['long_description']
    assert not [to for _, to in links(text) if not re.match(r'https://|#', to)]
    assert '](https://github.com/someone/ganbook/blob/autumn/nbs/00_faces.ipynb)' in text
    pictures = [to for picture, to in links(text) if picture]
    start = 'https://github.com/someone/ganbook/raw/autumn/'
    assert len(pictures) > 1 and all(to.startswith(start) for to in pictures)
    assert all((root/to.removeprefix(start)).is_file() for to in pictures)
    assert told['long_description_content_type'] == 'text/markdown'


def test_code_of_the_readme_stays(tmp_path, monkeypatch):
    def code(text): return re.findall(r'```.*?```', text, re.S)
    told = said(tmp_path, monkeypatch, {})
    assert code(told['long_description']) == code((root/'README.md').read_text(encoding='utf-8'))


def test_the_version_is_that_of_the_settings(tmp_path, monkeypatch):
    from ganbook import __version__
    assert said(tmp_path, monkeypatch, {})['version'] == __version__
    assert said(tmp_path, monkeypatch, {'version = ': 'version = 9.'})['version'] == f'9.{__version__}'


def test_the_oldest_versions():
    given = 'torch>=2.6 fastcore>=1.7,<2 nbdev==2.4.14'
    assert oldest(given, []) == ['torch==2.6', 'fastcore==1.7', 'nbdev==2.4.14']
    assert oldest(given, ['fastcore']) == ['fastcore==1.7']
    with pytest.raises(SystemExit, match='jax is not required: take one of torch, fastcore, nbdev'):
        oldest(given, ['jax'])
