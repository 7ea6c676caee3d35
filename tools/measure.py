"""How dense is the code, and how soon does a chapter show a picture? One column for each checkout, side by
side.

usage: python tools/measure.py [CHECKOUT ...]      none means this one

Tokens and guards are counted over function bodies without docstrings and comments. A guard is a `raise`
with the `if` above it, or a call to `need`. A picture is a stored image or a drawing in the prose. """
import argparse
import ast
import io
import json
import sys
import tokenize
from collections import Counter
from pathlib import Path
from statistics import median

root = Path(__file__).resolve().parent.parent
width = 110
layout = {
    tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT,
}


def is_docstring(node) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def rows_of(nodes) -> set:
    "Numbers of the lines on which these statements stand."
    return {row for node in nodes for row in range(node.lineno, node.end_lineno + 1)}


class Module:
    "A parsed file, its tokens by line."
    def __init__(self, path: Path):
        self.path = path
        self.text = path.read_text(encoding='utf-8')
        self.tree = ast.parse(self.text)
        self.tokens = {}
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in layout: self.tokens.setdefault(token.start[0], []).append(token.string)

    @property
    def functions(self) -> list:
        return [n for n in ast.walk(self.tree) if isinstance(n, ast.FunctionDef)]

    def body_rows(self, function) -> set:
        "Lines of a body that hold code."
        body = [n for n in function.body if not is_docstring(n)]
        inner = rows_of(
            n for f in ast.walk(function) if isinstance(f, ast.FunctionDef) for n in f.body if is_docstring(n)
        )
        return {row for row in rows_of(body) - inner if row in self.tokens}

    def code_rows(self) -> set:
        "Lines that hold code, docstrings aside."
        holders = (ast.FunctionDef, ast.ClassDef, ast.Module)
        docs = rows_of(
            n for h in ast.walk(self.tree) if isinstance(h, holders) for n in h.body if is_docstring(n)
        )
        return set(self.tokens) - docs

    def guard_rows(self) -> set:
        guards = [n for n in ast.walk(self.tree) if isinstance(n, ast.Raise)]
        guards += [
            n
            for n in ast.walk(self.tree)
            if isinstance(n, ast.If) and isinstance(n.body[-1], ast.Raise) and not n.orelse
        ]
        guards += [
            n for n in ast.walk(self.tree) if isinstance(n, ast.Expr) and ast.unparse(n).startswith('need.')
        ]
        return rows_of(guards)

    def private_names(self) -> set:
        named = [n.name for n in self.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
        named += [
            t.id
            for n in self.tree.body
            if isinstance(n, ast.Assign)
            for t in n.targets
            if isinstance(t, ast.Name)
        ]
        return {name for name in named if name.startswith('_') and not name.startswith('__')}

    def size(self, rows) -> int:
        "Characters of the tokens on these lines."
        return sum(len(token) for row in rows for token in self.tokens.get(row, ()))


def count_lines(path: Path) -> int: return path.read_text(encoding='utf-8').count('\n')


def code_cells(path: Path) -> list:
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [''.join(c['source']) for c in cells if c['cell_type'] == 'code']


def too_long(checkout: Path) -> int:
    "Lines over the width in cells, tests, benches and tools."
    texts = [cell for path in checkout.glob('nbs/**/*.ipynb') for cell in code_cells(path)]
    folders = ('tests', 'bench', 'trials', 'tools', 'docs')
    texts += [p.read_text(encoding='utf-8') for folder in folders for p in checkout.glob(f'{folder}/*.py')]
    return sum(len(line) > width for text in texts for line in text.splitlines())


def shows_picture(cell: dict) -> bool:
    if cell['cell_type'] == 'markdown': return '![' in ''.join(cell['source'])
    return any(
        kind.startswith('image/') for output in cell.get('outputs', []) for kind in output.get('data', {})
    )


# (cells, lines of code), or None where a chapter has no picture
def before_picture(path: Path) -> tuple | None:
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    lines = 0
    for i, cell in enumerate(cells):
        if shows_picture(cell): return i, lines
        if cell['cell_type'] == 'code':
            lines += sum(bool(line.strip()) for line in ''.join(cell['source']).splitlines())
    return None


def main_chapters(checkout: Path) -> list:
    return sorted(p for p in checkout.glob('nbs/[0-9]*.ipynb') if p.name[:2] <= '22')


def exported_share(checkout: Path) -> float:
    "Lines of exported cells over all lines of code of the main chapters."
    cells = [cell for path in main_chapters(checkout) for cell in code_cells(path)]
    exported = sum(len(c.splitlines()) for c in cells if c.startswith('#| export'))
    return exported/sum(len(c.splitlines()) for c in cells)


def measure(checkout: Path) -> dict:
    "Name of a figure -> its value, as text."
    modules = [
        Module(p)
        for p in sorted(checkout.glob('ganbook/**/*.py'))
        if p.name not in ('_modidx.py', '__init__.py')
    ]
    bodies = {}
    for m in modules:
        for f in m.functions:
            bodies[f'{m.path.stem}.{f.name}'] = sum(len(m.tokens[row]) for row in m.body_rows(f))
    rows = {m: set().union(*(m.body_rows(f) for f in m.functions)) for m in modules}
    per_line = [len(m.tokens[row]) for m in modules for row in rows[m]]
    guards = sum(m.size(m.guard_rows()) for m in modules)/sum(m.size(m.code_rows()) for m in modules)
    lines = {m.path.stem: count_lines(m.path) for m in modules}
    largest = max(lines, key=lines.get)
    longest = max(bodies, key=bodies.get)
    shared = Counter(name for m in modules for name in m.private_names())
    pictures = [found for p in main_chapters(checkout) if (found := before_picture(p))]
    return {
        'tokens a line of function bodies': f'{sum(per_line)/len(per_line):.1f}',
        'lines of over 40 tokens': f'{sum(n > 40 for n in per_line)/len(per_line):.1%}',
        f'lines over {width} columns': str(too_long(checkout)),
        'share of guards': f'{guards:.1%}',
        'largest module': f'{largest}, {lines[largest]} lines',
        'longest body': f'{longest}, {bodies[longest]} tokens',
        'bodies of over 150 tokens': str(sum(n > 150 for n in bodies.values())),
        'private names in two or more modules': str(sum(n > 1 for n in shared.values())),
        'lines of the command line': str(lines.get('cli', 0)),
        'lines of trials and tools': str(
            sum(count_lines(p) for f in ('bench', 'trials', 'tools') for p in checkout.glob(f'{f}/*.py'))
        ),
        'cells before the first picture, median': f'{median(c for c, _ in pictures):g}',
        'lines of code before it, median': f'{median(n for _, n in pictures):g}',
        'exported lines in main chapters': f'{exported_share(checkout):.1%}',
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('checkouts', nargs='*', type=Path, default=[root], metavar='CHECKOUT')
    p.add_argument(
        '--chapters', action='store_true',
        help='also say for each chapter what stands before its first picture',
    )
    a = p.parse_args()
    columns = [measure(c) for c in a.checkouts]
    for name in columns[0]: print(f'{name:40s}', *(f'{column[name]:>32s}' for column in columns))
    if not a.chapters: return
    for path in main_chapters(a.checkouts[0]):
        found = [before_picture(c/'nbs'/path.name) for c in a.checkouts]
        print(
            f'{path.stem:40s}',
            *(f"{f'{f[0]} cells, {f[1]} lines' if f else 'no picture':>32s}" for f in found),
        )


if __name__ == '__main__': sys.exit(main())
