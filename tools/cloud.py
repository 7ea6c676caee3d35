"""What lets a chapter run in a notebook service such as Colab or Kaggle: its first code cell, and the
addresses of its buttons. Both follow settings.ini.

usage: python tools/cloud.py [--check]     writes the cell into every notebook; --check changes nothing and
                                           exits 1 if one lacks it or has another

Where the package is there already, the cell finds it and does nothing else.
"""
import json
import sys
from configparser import ConfigParser, SectionProxy
from pathlib import Path

root = Path(__file__).resolve().parent.parent
github = 'https://github.com/'
services = {  # name -> what stands before the part of an address that follows github.com/
    'Colab': 'https://colab.research.google.com/github/',
    'Kaggle': f'https://www.kaggle.com/kernels/welcome?src={github}',
}
cell_id = 'c10ud000'

setup = '''\
#| hide
# In a notebook service such as Colab, ganbook is installed here. Where it is there already, nothing happens.
import importlib.util
if getattr(importlib.util.find_spec('{name}'), 'origin', None) is None:
    import subprocess
    import sys
    address = '{address}'
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', f'{name}[mnist] @ {{address}}'])
    if done.returncode:
        raise RuntimeError(f'{name} {version} cannot be fetched from {{address}}: give this notebook '
            'access to the internet in its settings, and run this cell again.')
    importlib.invalidate_caches()
    from {name}.shelf import lay_out_pictures
    lay_out_pictures()'''


def settings(path: Path = root/'settings.ini') -> SectionProxy:
    ini = ConfigParser(delimiters=['='], comment_prefixes=['#'])
    ini.read(path, encoding='utf-8')
    return ini['DEFAULT']


def blob(cfg: SectionProxy) -> str:
    "Where single files of the repository are shown."
    return f"{cfg['git_url']}/blob/{cfg['branch']}"


def setup_cell(cfg: SectionProxy) -> str:
    "The first code cell of every notebook."
    address = f"{cfg['git_url']}/archive/refs/heads/{cfg['branch']}.zip"
    return setup.format(name=cfg['lib_name'], address=address, version=cfg['version'])


def buttons(shown_at: str, notebook: str) -> dict:
    """Service -> the address that opens `notebook`, a path in a repository whose files are `shown_at`.

    The services fetch from GitHub alone, so a repository elsewhere has no buttons.
    """
    if not shown_at.startswith(github): return {}
    return {name: f'{start}{shown_at.removeprefix(github)}/{notebook}' for name, start in services.items()}


def is_setup(cell: dict) -> bool: return cell.get('id') == cell_id


def place(cells: list) -> int:
    "Of the setup cell: before all other code."
    return next(i for i, c in enumerate(cells) if c['cell_type'] == 'code')


def with_setup(nb: dict, text: str) -> dict:
    "The notebook with its setup cell, once."
    cells = [c for c in nb['cells'] if not is_setup(c)]
    cell = dict(
        cell_type='code', execution_count=None, id=cell_id, metadata={}, outputs=[],
        source=text.splitlines(keepends=True),
    )
    cells.insert(place(cells), cell)
    return nb | dict(cells=cells)


def main(check: bool) -> int:
    text = setup_cell(settings())
    behind = False
    for path in [*(root/'nbs').glob('*.ipynb'), *(root/'nbs'/'solutions').glob('*.ipynb')]:
        old = path.read_text(encoding='utf-8')
        nb = with_setup(json.loads(old), text)
        new = json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n'
        if new == old: continue
        behind = True
        if not check: path.write_text(new, encoding='utf-8')
    return int(check and behind)


if __name__ == '__main__': sys.exit(main('--check' in sys.argv[1:]))
