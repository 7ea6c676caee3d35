"""Execute chapters and keep their outputs: figures and text go into the notebook, claims into results/.

usage: python tools/render.py [NAME ...]     names without folder and ending, e.g. 01_game; none means all,
                                             solutions last

The scale is what GANBOOK_SCALE says; where it is not set, full on a machine with a GPU and quick elsewhere.
A notebook is replaced only when it ran to its end: one that fails is left as it was, and so are its claims.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from base64 import b64decode, b64encode
from pathlib import Path

root = Path(__file__).resolve().parent.parent
drop = ('application/vnd.jupyter.widget-view+json',)


def small_png(data: str) -> str:
    "The same picture with a palette of at most 256 colours, if that is smaller (base64 in, base64 out)."
    from PIL import Image
    raw = b64decode(data)
    img, out = Image.open(BytesIO(raw)).convert('RGB'), BytesIO()
    img.quantize(256, dither=Image.Dither.NONE).save(out, 'PNG', optimize=True)
    best = out.getvalue() if len(out.getvalue()) < len(raw) else raw
    return b64encode(best).decode()


def tidy(nb: dict) -> dict:
    "Drop stderr, widget views and what only a front end can show; shrink the pictures."
    for cell in nb['cells']:
        if cell['cell_type'] != 'code': continue
        keep = []
        for o in cell.get('outputs', []):
            data = o.get('data', {})
            if o.get('name') == 'stderr' or any(k in data for k in drop): continue
            if 'image/png' in data:
                data['image/png'] = small_png(''.join(data['image/png']))
                data.pop('text/plain', None)  # <Figure ...>, with an address that changes
            keep.append(o)
        cell['outputs'] = keep
    nb['metadata'].pop('widgets', None)
    return nb


def execute(src: str, dst: str):
    "Run one notebook in this process, as a reader's kernel would, and stop at the first error."
    os.chdir(Path(src).parent)  # a chapter runs in its own folder
    from execnb.shell import CaptureShell
    CaptureShell(path=str(Path(src).parent), mpl_format='png').execute(src, dst, exc_stop=True)


def render(nb: Path) -> bool:
    "Execute `nb` in a process of its own; on success store its outputs and its claims."
    with tempfile.TemporaryDirectory() as tmp:
        out, ledger = Path(tmp)/nb.name, Path(tmp)/(nb.stem + '.json')
        env = dict(os.environ, GANBOOK_LEDGER=str(ledger), PYTHONPATH=str(root), MPLBACKEND='agg')
        t = time.perf_counter()
        done = subprocess.run([sys.executable, __file__, '--execute', str(nb), str(out)], env=env)
        if done.returncode or not out.exists():
            print(
                f'FAILED  {nb.relative_to(root)}: the error is above; '
                'the notebook and its claims are left as they were',
                file=sys.stderr,
            )
            return False
        text = json.dumps(
            tidy(json.loads(out.read_text(encoding='utf-8'))), indent=1, ensure_ascii=False, sort_keys=True
        )
        nb.write_text(text + '\n', encoding='utf-8')
        subprocess.run(['nbdev_clean', '--fname', str(nb)], check=True, cwd=root)
        kept = root/'results'/(nb.stem + '.json')
        if nb.parent.name != 'solutions':
            if ledger.exists(): kept.write_text(ledger.read_text(encoding='utf-8'), encoding='utf-8')
            else: kept.unlink(missing_ok=True)
        print(
            f'{time.perf_counter() - t:6.1f} s  {nb.stat().st_size//1024:4d} kB  {nb.relative_to(root)}',
            flush=True,
        )
    return True


def main(names: list) -> int:
    os.environ.setdefault('GANBOOK_SCALE', '')
    if not os.environ['GANBOOK_SCALE']:
        import torch
        os.environ['GANBOOK_SCALE'] = 'full' if torch.cuda.is_available() else 'quick'
    chapters = sorted((root/'nbs').glob('*.ipynb')) + sorted((root/'nbs'/'solutions').glob('*.ipynb'))
    unknown = [n for n in names if not any(c.stem == n for c in chapters)]
    if unknown:
        raise SystemExit(
            f"no chapter is called {', '.join(unknown)}: the names are "
            f"those in nbs/ without .ipynb, such as {chapters[0].stem}."
        )
    todo = [c for c in chapters if not names or c.stem in names]
    return 0 if all([render(c) for c in todo]) else 1


if __name__ == '__main__':
    if sys.argv[1:2] == ['--execute']: execute(*sys.argv[2:])
    else: sys.exit(main(sys.argv[1:]))
