"""Write the README's table of claims from results/.

usage: python bench/readme.py [--check]     --check changes nothing and exits 1 if the README is behind results/
"""
import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
begin, end = '<!-- claims: written by bench/readme.py -->', '<!-- end of claims -->'
signs = {'<=': '≤', '>=': '≥', '==': '='}


def row(chapter: str, c: dict) -> str:
    "One claim as a line of the table."
    measured = f"{c['value']:.4g}" + (f" [{c['interval'][0]:.3g}, {c['interval'][1]:.3g}]" if c['interval'] else '')
    target = f"{c['target']:.4g} ± {c['tol']:g}" if c['op'] == '~' else f"{signs.get(c['op'], c['op'])} {c['target']:.4g}"
    return f"| {chapter[:2]} | {c['claim'].replace('|', '&#124;')} | {measured} | {target} | {c['scale']}, {c['device']} |"


def table() -> str:
    "All claims of all chapters, in reading order."
    head = ['| ch. | claim | measured [95 % interval] | target | scale, device |', '|---|---|---|---|---|']
    files = sorted(f for f in (root/'results').glob('*.json') if re.match(r'\d\d_|a\d_', f.name))
    rows = [row(f.stem, c) for f in files for c in json.loads(f.read_text(encoding='utf-8'))]
    return '\n'.join(head + rows)


def main(check: bool) -> int:
    readme = root/'README.md'
    old = readme.read_text(encoding='utf-8')
    if begin not in old or end not in old: raise SystemExit(f'README.md has lost the lines {begin!r} and {end!r} that hold the table.')
    new = old[:old.index(begin) + len(begin)] + '\n' + table() + '\n' + old[old.index(end):]
    if check: return int(new != old)
    readme.write_text(new, encoding='utf-8')
    return 0


if __name__ == '__main__': sys.exit(main('--check' in sys.argv[1:]))
