"""Write what the installed package knows of the book: ganbook/book/claims.json and
ganbook/book/exercises.json.

usage: python tools/index.py [--check]     --check changes nothing and exits 1 if the files are behind
                                           results/ and nbs/

The claims are those of results/, chapter by chapter. An exercise's check values are the numbers in bold after
the words "Check number"; where none is bold, all numbers there that stand outside of code and formulas. A
value counts as right to the digits that are printed, a whole number exactly; "to within 0.1" widens that. """
import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
book = root/'ganbook'/'book'
number = re.compile(r'(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.\d+)?(?:e-?\d+)?(?![\w])')


def rounded(x, digits: int = 6):
    "Six significant digits say all that a claim prints."
    if isinstance(x, list): return [rounded(v, digits) for v in x]
    return float(f'{x:.{digits}g}') if isinstance(x, float) else x


def reading_order(path: Path) -> tuple:
    "A key to sort by: chapters, then the workshop (w), then the appendices (a)."
    return path.stem.startswith('a'), path.stem


def claims() -> list:
    "All claims in reading order."
    keep = 'claim value interval op target tol source scale device mean_only stored'.split()
    found = [f for f in (root/'results').glob('*.json') if re.match(r'\d\d_|w\d\d_|a\d_', f.name)]
    files = sorted(found, key=reading_order)
    return [
        dict(chapter=f.stem) | {k: rounded(c.get(k)) for k in keep}
        for f in files
        for c in json.loads(f.read_text(encoding='utf-8'))
    ]


def tolerance(text: str) -> float:
    """How far a value may be from a printed number: half of its last digit;
    for a whole number what float arithmetic needs, and never one."""
    mantissa, _, power = text.partition('e')
    digits, value = len(mantissa.partition('.')[2]), abs(float(text.replace(',', '')))
    return (
        min(.4, 1e-5*max(1., value))
        if '.' not in text and not power
        else .501*10**(int(power or 0) - digits)
    )


def values(check: str) -> list:
    "(value, tolerance) of each check number in the sentence."
    within = re.search(r'to within (\S*\d)', check)
    text = check.replace(within[0], '') if within else check
    bold = re.findall(r'\*\*(.+?)\*\*', text)
    found = number.findall(' '.join(bold) if bold else re.sub(r'`[^`]*`|\$[^$]*\$', ' ', text))
    return [(float(t.replace(',', '')), float(within[1]) if within else tolerance(t)) for t in found]


def beginning(task: str, least: int = 60) -> str:
    "The first sentence of a task; more of them where that says little."
    first, *rest = re.split(r'(?<=[.?])\s+(?=[A-Z`$*])', task)
    while rest and len(first) < least: first += ' ' + rest.pop(0)
    return first


def entry(chapter: str, title: str, text: str) -> dict:
    "One exercise from the text of its cell."
    name = re.match(r'### Exercise (\S+)', text)[1]
    task = ' '.join(text.partition('\n')[2].partition('```')[0].split())
    check = ' '.join(re.search(r'Check numbers?:?.*', text, re.S)[0].split())
    found = values(check)
    return dict(
        exercise=name, chapter=chapter, title=title, task=beginning(task), check=check.replace('**', ''),
        values=[v for v, _ in found], tolerances=[float(f'{t:.4g}') for _, t in found],
    )


def exercises() -> list:
    "All exercises in reading order."
    found = []
    for f in sorted((root/'nbs').glob('*.ipynb'), key=reading_order):
        texts = [
            ''.join(c['source'])
            for c in json.loads(f.read_text(encoding='utf-8'))['cells']
            if c['cell_type'] == 'markdown'
        ]
        title = texts[0].partition('\n')[0].removeprefix('# ')
        found += [entry(f.stem, title, t) for t in texts if t.startswith('### Exercise ')]
    return found


def lines(rows: list) -> str:
    return '[\n' + ',\n'.join(json.dumps(r, ensure_ascii=False) for r in rows) + '\n]\n'


def main(check: bool) -> int:
    new = {book/'claims.json': lines(claims()), book/'exercises.json': lines(exercises())}
    if check:
        return int(any(not p.exists() or p.read_text(encoding='utf-8') != text for p, text in new.items()))
    book.mkdir(exist_ok=True)
    for path, text in new.items(): path.write_text(text, encoding='utf-8')
    return 0


if __name__ == '__main__': sys.exit(main('--check' in sys.argv[1:]))
