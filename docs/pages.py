"""The book as static HTML: notebooks as they are stored, a landing page from the README, and indexes of
exercises, claims and names.

usage: python docs/pages.py [--without-solutions] [FOLDER]     writes FOLDER/page (build/page by default);
                                                               needs no network and executes nothing

Sources for sphinx are written to FOLDER/page-source first. nbs/, README.md and results/ are only read.
"""
import argparse
import ast
import json
import math
import operator
import re
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tools')]
import bundle  # noqa: E402
import cloud  # noqa: E402

# parts of the book and their first chapters
parts = {
    'The game': '00', 'First GANs': '03', 'DCGAN': '09', 'Stabilised': '11', 'Beyond': '17', 'Workshop': 'w',
    'Appendices': 'a',
}
signs = {'<=': '≤', '>=': '≥', '==': '=', '~': '≈'}
compare = {'<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge, '==': operator.eq}

def reading_order(stem: str) -> tuple:
    "A key to sort by: chapters, then the workshop (w), then the appendices (a)."
    return stem.startswith('a'), stem


# A chapter, read from its notebook

@dataclass
class Chapter:
    "A notebook of the book; `stem` is its name without the ending, `claims` its rows in results/."
    stem: str
    cells: list
    solutions: list = field(default_factory=list)
    claims: list = field(default_factory=list)

    @property
    # '5' for 05_training, 'a1' for a1_plots
    def number(self) -> str: return re.sub(r'^(w?)0(?=\d)', r'\1', self.stem.split('_')[0])
    @property
    def title(self) -> str: return source(self.cells[0]).splitlines()[0].removeprefix('# ')
    @property
    def module(self) -> str:
        return next((d[1] for c in self.cells for d in directives(c) if d[0] == 'default_exp'), '')
    @property
    def part(self) -> str:
        return [name for name, first in parts.items() if reading_order(self.stem) >= reading_order(first)][-1]
    @property
    def named(self) -> str: return f"{'appendix' if self.stem.startswith('a') else 'chapter'} {self.number}"


def source(cell: dict) -> str: return ''.join(cell['source'])

def directives(cell: dict) -> list:
    "The words of the `#| ...` lines at the head of a code cell."
    if cell['cell_type'] != 'code': return []
    head = re.match(r'(?:#\|.*(?:\n|$))*', source(cell))[0]
    return [line[2:].split() for line in head.splitlines() if line[2:].split()]

def has(cell: dict, name: str) -> bool: return any(d[0] == name for d in directives(cell))

def printed(cell: dict) -> str: return ''.join(''.join(o.get('text', '')) for o in cell.get('outputs', []))

def read_cells(path: Path) -> list:
    "The cells of a notebook; none if it is not there."
    return json.loads(path.read_text(encoding='utf-8'))['cells'] if path.is_file() else []

def read_claims(path: Path) -> list:
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []

def read(nbs: Path, results: Path) -> list:
    "All chapters that are in `nbs`, in reading order."
    found = sorted(nbs.glob('*.ipynb'), key=lambda p: reading_order(p.stem))
    if not found: raise SystemExit(f'there are no notebooks in {nbs}: nothing to make a page of.')
    return [
        Chapter(
            p.stem, read_cells(p), read_cells(nbs/'solutions'/p.name), read_claims(results/f'{p.stem}.json'),
        )
        for p in found
    ]


# Text

def escape(text: str) -> str: return re.sub(r'([\\`*_{}\[\]()#+.!|<>$~^-])', r'\\\1', text)

def prose(text: str) -> str:
    "A plain sentence as Markdown: `code` stays code, and no other sign means anything."
    return ''.join(
        s.replace('|', r'\|') if s.startswith('`') else escape(s) for s in re.split(r'(`[^`]*`)', text)
    )

# what is not prose
keep = re.compile(r'(```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|!?\[[^\]]*\]\([^)]*\)|^#.*?$)', re.S | re.M)

def link_chapters(text: str, stems: dict, folder: str = '') -> str:
    """Turn `chapter 5`, `chapters 12 and 13` and `appendix a2`
    into links; a chapter that is not there stays a word."""
    def one(label, n): return f'[{label}]({folder}{stems[n]}.ipynb)' if n in stems else label
    def group(m):
        rest = re.sub(r'[aw]?\d+', lambda n: one(n[0], n[0]), m[3])
        return one(f'{m[1]} {m[2]}', m[2]) + rest
    number = r'[aw]?\d+'
    words = r'[Cc]hapters?|[Aa]ppendix|[Aa]ppendices'
    pattern = rf'\b({words})\s({number})\b((?:(?:, |,? and |,? or | to ){number}\b)*)'
    return ''.join(s if keep.fullmatch(s) else re.sub(pattern, group, s) for s in keep.split(text))

def formulas_apart(text: str) -> str:
    "A displayed formula that starts a line becomes a paragraph of its own, as JupyterLab shows it."
    return re.sub(r'^(\$\$(?:(?!\$\$).)*\$\$) *$', r'\n\1\n', text, flags=re.S | re.M)

def first_sentence(text: str) -> str:
    "Of Markdown, with its formulas and code whole."
    out = ''
    for s in keep.split(text.strip().split('\n\n')[0]):
        end = None if keep.fullmatch(s) else re.search(r'[.?!](?=\s|$)', s)
        out += s[:end.end()] if end else s
        if end: break
    return re.sub(r'\s+', ' ', out).removesuffix(':').strip()


# Names that are exported

@dataclass
class Symbol:
    """A public name, what it is (def, class or name), its signature
    without comments, its one line of documentation and its cell."""
    name: str
    kind: str
    signature: str
    doc: str
    cell: int

def symbols(cells: list) -> list:
    "The public names that a notebook exports, in the order of their definition."
    found = []
    for i, c in enumerate(cells):
        if not has(c, 'export'): continue
        for n in ast.parse(source(c)).body:
            if isinstance(n, ast.FunctionDef) and not patched(n):
                found.append(Symbol(n.name, 'def', signature(n), docstring(n), i))
            elif isinstance(n, ast.ClassDef):
                found.append(Symbol(n.name, 'class', class_signature(n), docstring(n), i))
            elif isinstance(n, (ast.Assign, ast.AnnAssign)):
                targets = n.targets if isinstance(n, ast.Assign) else [n.target]
                names = [
                    t.id
                    for target in targets
                    for t in ast.walk(target)
                    if isinstance(t, ast.Name) and isinstance(t.ctx, ast.Store)
                ]
                found += [Symbol(name, 'name', '', value(n.value), i) for name in names]
    return [s for s in found if not s.name.startswith('_')]

def docstring(node) -> str: return (ast.get_docstring(node) or '').split('\n')[0]

def patched(node: ast.FunctionDef) -> bool:
    "Is it a method, added to a class that stands elsewhere (fastcore's `patch` and `patch_to`)?"
    names = [getattr(d, 'func', d) for d in node.decorator_list]
    return any(getattr(d, 'id', '').startswith('patch') for d in names)

def signature(node: ast.FunctionDef) -> str:
    returns = f' -> {ast.unparse(node.returns)}' if node.returns else ''
    return f'({ast.unparse(node.args)}){returns}'

def class_signature(node: ast.ClassDef) -> str:
    "Of `__init__` if the class has one, else the fields of a dataclass."
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == '__init__'), None)
    if init: return re.sub(r'^\(self(, )?', '(', signature(init)).removesuffix(' -> None')
    return (
        '('
        + ', '.join(ast.unparse(n).replace(' = ', '=', 1) for n in node.body if isinstance(n, ast.AnnAssign))
        + ')'
    )

def value(node) -> str:
    text = ast.unparse(node) if node else ''
    return f'`{text}`' if 0 < len(text) <= 60 else ''


# Notebooks as the page shows them

def md(text: str) -> dict: return dict(cell_type='markdown', id='', metadata={}, source=text)

def labels(chapter: Chapter) -> dict:
    "Cell -> the places in it that the indexes link to: exported names, and claims by their printed line."
    at = {}
    for s in symbols(chapter.cells): at.setdefault(s.cell, []).append(symbol_label(chapter, s))
    for k, c in enumerate(chapter.claims):
        if (cell := claim_cell(chapter, c)) is not None:
            at.setdefault(cell, []).append(claim_label(chapter, k))
    return at

def claim_cell(chapter: Chapter, claim: dict):
    "The cell that printed the claim, or None."
    line = f"✓ {claim['claim']}: {claim['value']:.6g}"
    return next((i for i, c in enumerate(chapter.cells) if line in printed(c)), None)

def symbol_label(chapter: Chapter, s: Symbol) -> str: return f'{s.kind}-{chapter.module}-{s.name}'
def claim_label(chapter: Chapter, k: int) -> str: return f'claim-{chapter.number}-{k + 1}'

def heading(text: str) -> str:
    "Words of the last heading in a cell of Markdown; empty if it has none."
    found = re.findall(r'(?m)^#+ (.*)', re.sub(r'```.*?```', '', text, flags=re.S))
    return re.sub(r'[`$*\\]', '', found[-1]) if found else ''

def imports_only(text: str) -> bool:
    return all(
        isinstance(n, (ast.Import, ast.ImportFrom))
        or re.fullmatch(r'(style|seed_everything)\(.*\)', ast.unparse(n))
        for n in ast.parse(text).body
    )

def is_widget(cell: dict) -> bool:
    "Does the cell end with something to turn, of which a page can show nothing?"
    if cell['outputs'] or not re.search(r'\bwidgets\.|\binteract\b|anywidget|[Pp]layground', source(cell)):
        return False
    last = source(cell).rstrip().splitlines()[-1]
    return bool(
        re.match(r'widgets\.\w*Box\(|interact\(|[a-z_]+$|[A-Za-z_.]*[Pp]layground\(', last)
    ) and not has(cell, 'export')

def show(cell: dict, section: str) -> list:
    """The cells of the page for one cell of the notebook, under the
    heading `section`: none for directives alone and for what is hidden."""
    if cell['cell_type'] != 'code': return [dict(cell, metadata={})]
    text = re.sub(r'^(?:#\|.*(?:\n|$))*', '', source(cell)).strip('\n')
    if has(cell, 'hide') or not text: return []
    told = printed(cell).splitlines()
    tags = (
        ['exported']*has(cell, 'export')
        + ['hide-input']*imports_only(text)
        + ['claims']*(bool(told) and all(line.startswith('✓') for line in told))
    )
    prompt = 'What the module imports' if has(cell, 'export') else 'What the examples import'
    more = dict(image=dict(alt=f'Figure: {section}'), code_prompt_show=prompt, code_prompt_hide=prompt)
    shown = dict(cell, source=text, metadata=dict(tags=tags, mystnb=more), execution_count=None)
    note = (
        '{.widget}\nWith `make lab` this cell shows controls to turn; '
        'the page shows their figure as it was stored.'
    )
    return [shown, md(note)] if is_widget(cell) else [shown]

def notebook(cells: list) -> str:
    "As a file; every cell gets an id of its own."
    for i, c in enumerate(cells): c['id'] = f'c{i}'
    kernel = dict(
        kernelspec=dict(name='python3', display_name='python3', language='python'),
        language_info=dict(name='python', pygments_lexer='python'),
    )
    return json.dumps(dict(cells=cells, metadata=kernel, nbformat=4, nbformat_minor=5), ensure_ascii=False)

def chapter_page(chapter: Chapter, stems: dict, git: str) -> str:
    at = labels(chapter)
    out = []
    section = chapter.title
    for i, c in enumerate(chapter.cells):
        if i in at: out.append(md('\n'.join(f'({label})=' for label in at[i])))
        text = source(c) if c['cell_type'] == 'markdown' else ''
        text = link_chapters(formulas_apart(text), stems).replace(f'../{playground}', 'playground.md')
        section = heading(text) or section
        asked = re.match(r'### Exercise (\S+)', text)
        if asked and chapter.solutions: text += f'\n\n{{.aside}}\n[Solution {asked[1]}](#solution-{asked[1]})'
        if asked: text = f'(exercise-{asked[1]})=\n{text}'
        if i == 0: text = text.replace('# ', f'# {chapter.number} · ', 1) + '\n\n' + about(chapter, git)
        out += show(dict(c, source=text) if text else c, section)
    return notebook(out)

def about(chapter: Chapter, git: str) -> str:
    "Where the chapter stands, and what belongs to it."
    words = [chapter.part]
    if chapter.module: words.append(f'exports [`ganbook.{chapter.module}`](#module-{chapter.module})')
    words.append(f'[notebook]({git}/nbs/{chapter.stem}.ipynb)')
    if chapter.solutions: words.append(f'[solutions](solutions/{chapter.stem}.ipynb)')
    return '{.about}\n' + ' · '.join(words) + run_it(git, f'nbs/{chapter.stem}.ipynb')

def run_it(git: str, notebook: str) -> str:
    "Buttons that open the notebook in a service; none where the repository is not on GitHub."
    links = [f'[Run in {name}]({to})' for name, to in cloud.buttons(git, notebook).items()]
    return '\n\n{.run}\n' + ' '.join(links) if links else ''

def solutions_page(chapter: Chapter, stems: dict, git: str) -> str:
    out, section = [], ''
    for i, c in enumerate(chapter.solutions):
        text = link_chapters(formulas_apart(source(c)), stems, '../') if c['cell_type'] == 'markdown' else ''
        section = heading(text) or section
        given = re.match(r'### Solution (\S+)', text)
        if given:
            text = (
                f'(solution-{given[1]})=\n'
                + text.replace('### ', '## ', 1)
                + f'\n\n{{.aside}}\n[Exercise {given[1]}](#exercise-{given[1]})'
            )
        if i == 0:
            about = f'[{chapter.number} · {prose(chapter.title)}](../{chapter.stem}.ipynb)'
            text += f'\n\n{{.about}}\n{about} · [notebook]({git}/nbs/solutions/{chapter.stem}.ipynb)'
            text += run_it(git, f'nbs/solutions/{chapter.stem}.ipynb')
        out += show(dict(c, source=text) if text else c, section)
    return notebook(out)


# The indexes

filter_here = ['<div class="filter-here"></div>', '']  # page.js puts a field there

def exercises_page(book: list) -> str:
    lines = [
        '# Exercises',
        '',
        'Every exercise names the number that a right solution gives.'
        + ' The solutions run in the tests of the book.'*any(ch.solutions for ch in book),
        '',
    ]
    for ch in book:
        lines += [f'## {ch.number} · {prose(ch.title)}', '']
        for c in ch.cells:
            asked = (
                re.match(r'### Exercise (\S+)\s+(.*)', source(c), re.S)
                if c['cell_type'] == 'markdown'
                else None
            )
            if not asked: continue
            links = f'[Exercise {asked[1]}](#exercise-{asked[1]})' + (
                f' · [solution](#solution-{asked[1]})' if ch.solutions else ''
            )
            lines += [links, f': {first_sentence(asked[2])}', '']
    return '\n'.join([*lines, *toctree('', [f'solutions/{ch.stem}' for ch in book if ch.solutions])])

def holds(c: dict) -> bool:
    "Does a row of results/ hold? A NaN does not."
    v, t = c['value'], c['target']
    return math.isfinite(v) and abs(v - t) <= c['tol'] if c['op'] == '~' else bool(compare[c['op']](v, t))

def claim_row(ch: Chapter, k: int) -> str:
    c = ch.claims[k]
    text = prose(c['claim']) if claim_cell(ch, c) is None else f"[{prose(c['claim'])}](#{claim_label(ch, k)})"
    interval = f"{c['interval'][0]:.3g} to {c['interval'][1]:.3g}" if c['interval'] else ''
    target = f"{signs.get(c['op'], c['op'])} {c['target']:.4g}" + (
        f" ± {c['tol']:g}" if c['op'] == '~' else ''
    )
    origin = f" *{prose(c['source'])}*" if c['source'] else ''
    stored = c.get('stored')
    measured = (
        f"stored {stored['date']}, {prose(stored['device'])}"
        if stored
        else f"{c['scale']}, {prose(c['device'])}"
    )
    if c.get('mean_only'): text += ' (mean only)'
    return f"| {text} | {c['value']:.4g} | {interval} | {prose(target)}{origin} | {measured} |"

def claims_page(book: list) -> str:
    head = ['| claim | measured | 95 % interval | target, *its source* | measured |', '|:--|--:|:-:|:--|:--|']
    rows = [(ch, k) for ch in book for k in range(len(ch.claims))]
    failed = [claim_row(ch, k) for ch, k in rows if not holds(ch.claims[k])]
    lines = [
        '# Claims',
        '',
        f'Every result in the book is an assertion that runs in its tests. These are all {len(rows)} '
        'of them, as they were measured when the chapters were executed. An interval is Student\'s, '
        'over runs that differ in their seed alone; all of it lies on the right side of the target, '
        'unless the line says mean only. Where the last column says *stored*, the chapter compares '
        'a figure that a longer trial measured on that day. A claim links to the cell that makes it.',
        '',
    ]
    lines += (
        ['## Claims that fail', '', '{.claims .failed}', *head, *failed, '']
        if failed
        else [f'All {len(rows)} hold.', '']
    )
    lines += filter_here
    for ch in book:
        if ch.claims:
            lines += [
                f'## [{ch.number} · {prose(ch.title)}]({ch.stem}.ipynb)',
                '',
                '{.claims}',
                *head,
                *[claim_row(ch, k) for k in range(len(ch.claims))],
                '',
            ]
    return '\n'.join(lines)

def symbols_page(book: list, notation: str) -> str:
    letters = [
        t
        for c in book[0].cells
        if c['cell_type'] == 'markdown'
        for t in re.findall(r'(?m)^\| letter .*(?:\n\|.*)*', source(c))
    ]
    lines = [
        '# Symbols',
        '',
        link_chapters(notation.strip(), {ch.number: ch.stem for ch in book}),
        '',
        '## Shape letters',
        '',
        f'As in [{book[0].title}]({book[0].stem}.ipynb).',
        '',
        *letters,
        '',
        '## Names',
        '',
        'Everything that the library exports, by module, with a link to the cell that defines it.',
        '',
        *filter_here,
    ]
    for ch in book:
        if not ch.module: continue
        lines += [
            f'(module-{ch.module})=',
            f'### `ganbook.{ch.module}`',
            '',
            f'Made in {ch.named}, [{prose(ch.title)}]({ch.stem}.ipynb).',
            '',
        ]
        for s in symbols(ch.cells):
            lines += [
                f'[`{s.name}`](#{symbol_label(ch, s)})' + (f'`{s.signature}`' if s.signature else ''),
                f': {prose(s.doc) or "(no description)"}',
                '',
            ]
    return '\n'.join(lines)


# The landing page, and all of it

playground = 'docs/playground.md'  # as the READMEs name it; chapters say ../docs/playground.md

def toctree(caption: str, names: list) -> list:
    return ['', '```{toctree}', ':hidden:', *([f':caption: {caption}'] if caption else []), '', *names, '```']

def landing_page(readme: str, book: list, git: str) -> str:
    "The README, with its links turned to the page or to the repository, and the contents of the book."
    solved = {f'solutions/{ch.stem}.ipynb' for ch in book if ch.solutions}
    known = {f'{ch.stem}.ipynb' for ch in book} | solved | {'teaching.md'}
    def turn(m):
        to = m[2].removeprefix('nbs/').removeprefix('docs/')
        if m[2] == playground: return f'{m[1]}playground.md{m[3]}'
        if re.match(r'[a-z]+:|#|claims\.md$', m[2]) or to in known or to.startswith('images/'):
            return f'{m[1]}{to}{m[3]}'
        return f'{m[1]}{git}/{m[2]}{m[3]}'
    text = re.sub(r'(\]\(|src=["\'])([^)"\'\s]+)([)"\'])', turn, readme)
    names = ('Play', 'playground'), ('Exercises', 'exercises'), ('Claims', 'claims'), ('Symbols', 'symbols')
    lists = ' '.join(f'[{said}]({name}.md)' for said, name in (*names, ('Teaching', 'teaching')))
    start = f'{{.start}}\n[Start reading]({book[0].stem}.ipynb) {lists}'
    text = re.sub(r'(?m)^(!\[[^\]]*\]\(images/faces\.[^)]*\))$', r'\1{.first}', text)
    head, rest = re.match(r'(# .*?\n\n.*?\n\n)(.*)', text, re.S).groups()
    contents = [
        line
        for name in parts
        for line in toctree(name, [ch.stem for ch in book if ch.part == name])
        if any(ch.part == name for ch in book)
    ]
    look_up = toctree('Look up', ['playground', 'exercises', 'claims', 'symbols', 'teaching'])
    return '\n'.join([head + start + '\n\n' + rest, *contents, *look_up])

def teaching_page(text: str, book: list, git: str) -> str:
    "docs/teaching.md, with its links turned to the page or to the repository."
    known = {f'{ch.stem}.ipynb' for ch in book}
    def turn(m):
        to = m[1].removeprefix('../').removeprefix('nbs/')
        if to in known: return f']({to})'
        return '](index.md)' if to.startswith('README.md') else f']({git}/{to})'
    return re.sub(r'\]\((\.\./[^)\s]+)\)', turn, text)

def write_sources(out: Path, with_solutions: bool = True):
    "Everything that sphinx reads, into the folder `out`."
    git = cloud.blob(cloud.settings())
    book = read(root/'nbs', root/'results')
    if not with_solutions:
        for ch in book: ch.solutions = []
    stems = {ch.number: ch.stem for ch in book}
    shutil.rmtree(out, ignore_errors=True)
    (out/'solutions').mkdir(parents=True)
    shutil.copytree(root/'nbs'/'images', out/'images')
    def put(name, text): return (out/name).write_text(text, encoding='utf-8')
    for ch in book:
        put(f'{ch.stem}.ipynb', chapter_page(ch, stems, git))
        if ch.solutions: put(f'solutions/{ch.stem}.ipynb', solutions_page(ch, stems, git))
    put('exercises.md', exercises_page(book))
    put('claims.md', claims_page(book))
    put('symbols.md', symbols_page(book, (root/'docs'/'notation.md').read_text(encoding='utf-8')))
    put('playground.md', link_chapters((root/playground).read_text(encoding='utf-8'), stems))
    put('teaching.md', teaching_page((root/'docs'/'teaching.md').read_text(encoding='utf-8'), book, git))
    put('index.md', landing_page((root/'README.md').read_text(encoding='utf-8'), book, git))

def add_mathjax(out: Path):
    """The files of MathJax that pages need, into out/mathjax, from the package
    that carries them (byte for byte those of mathjax@3.2.2 on npm)."""
    files = [
        f
        for f in distribution('sphinx-mathjax-offline').files
        if re.search(r'mathjax/(tex-chtml-full\.js|output/chtml/fonts/woff-v2/.*)$', str(f))
    ]
    if not files:
        raise SystemExit(
            'sphinx-mathjax-offline holds no MathJax where it '
            'should: install the version that constraints.txt names.'
        )
    for f in files:
        to = out/'mathjax'/str(f).split('/mathjax/')[1]
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f.locate(), to)

def build(folder: Path, with_solutions: bool) -> int:
    # jsonschema would spend three seconds on a grammar of web addresses, which notebooks do not need
    sys.modules['rfc3987_syntax'] = None
    from sphinx.cmd.build import main as sphinx
    pages, sources = folder/'page', folder/'page-source'
    write_sources(sources, with_solutions)
    shutil.rmtree(pages, ignore_errors=True)
    rc = sphinx(
        [
            '-q', '-W', '--keep-going', '-b', 'html', '-c', str(root/'docs'), '-d',
            str(folder/'page-doctrees'), '-E', str(sources), str(pages),
        ]
    )
    if rc == 0:
        add_mathjax(pages/'_static')
        script = bundle.script(root/'docs'/'playground'/'page.js')
        (pages/'_static'/'playground.js').write_text(script, encoding='utf-8')
    for f in (pages/'_static').glob('*webpack-macros.html'): f.unlink()  # templates of the theme, not pages
    return rc

def main(words: list) -> int:
    parser = argparse.ArgumentParser(description='The book as a web page.')
    parser.add_argument('--without-solutions', action='store_true', help='leave the solutions out')
    parser.add_argument('folder', nargs='?', type=Path, default=root/'build', help='for the page')
    given = parser.parse_args(words)
    return build(given.folder.resolve(), not given.without_solutions)


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
