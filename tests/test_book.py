"""The book itself is tested: the shape of its notebooks, the floors of its modules, and the ledger of its
claims.

A rule is a small function from a notebook to a list of faults, each with the
cell it is about. The rules run over every notebook, and over made-up ones
with one thing wrong each, so that a rule which cannot fail is found too. """
import ast
import base64
import functools
import io
import json
import math
import operator
import re
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root/'tools'))
import cloud  # noqa: E402

nbs = root/'nbs'

# Where each module stands. A module imports from lower floors only.
floors = {
    'need': -3, 'causes': -2,
    'inception': -1, 'drawing': -1,
    'files': 0, 'nets': 0, 'memory': 0, 'capture': 0, 'games': 0, 'dynamics': 0, 'losses': 0, 'penalties': 0,
    'data': 0, 'metrics': 0, 'models.mlp': 0, 'arguments': 0, 'objectives': 0,
    'terminal': 0,
    'scale': 1, 'plots': 1, 'diversity': 1, 'preflight': 1, 'models.dcgan': 1, 'downloads': 1,
    'readers': 1, 'pretrained': 0,
    'train': 2, 'models.resnet': 2, 'models.conditional': 2, 'images': 2, 'shelf': 2,
    'models.clips': 2, 'bias': 2,
    'models.style': 3, 'models.others': 3, 'models.layered': 3,
    'checkpoints': 3, 'ensemble': 3, 'augment': 3, 'optim': 3, 'vitals': 3, 'tasks': 3, 'pairs': 3,
    'callbacks': 4, 'parallel': 4, 'faults': 4, 'models.translation': 4, 'unpaired': 4,
    'recipes': 5, 'doctor': 5, 'interpret': 5, 'sources': 5,
    'timing': 6, 'wishes': 6, 'casebook': 6, 'scenes': 6, 'filling': 6,
    'drills': 6, 'runs': 7,
    'samples': 8, 'export': 8, 'playground': 8,
    'compare': 9, 'evaluate': 9, 'tuning': 10, 'folders': 10, 'best': 11, 'launch': 12, 'cli': 13,
}
# recipes, workshop and appendices: fewer words, one exercise will do
short_chapters = ('15', 'w', 'a')

most_tokens = 165  # of a body
most_lines = 450   # of a module


# A notebook, and ways to look at it

@dataclass
class Notebook:
    "A parsed notebook; `name` is its path under nbs/ without the ending."
    name: str
    nb: dict
    size: int = 0
    folder: Path = nbs
    @property
    def cells(self): return self.nb['cells']
    @property
    def code(self): return [(i, c) for i, c in enumerate(self.cells) if c['cell_type'] == 'code']
    @property
    # without the cell that installs the package
    def own_code(self): return [(i, c) for i, c in self.code if not cloud.is_setup(c)]
    @property
    def prose(self): return [(i, c) for i, c in enumerate(self.cells) if c['cell_type'] == 'markdown']
    @property
    def is_solution(self): return self.name.startswith('solutions/')
    @property
    def stem(self): return self.name.split('/')[-1]
    @property
    # '5' for 05_training, 'a1' for a1_plots
    def number(self): return re.sub(r'^(w?)0(?=\d)', r'\1', self.stem.split('_')[0])
    @property
    def is_short(self): return self.stem.startswith(short_chapters)
    @property
    # engineering: exercises may be there, or not
    def is_workshop(self): return self.stem.startswith('w')

def source(cell): return ''.join(cell['source'])
def lines(cell): return [l for l in source(cell).splitlines() if l.strip()]
def directives(cell):
    "The directives at the head of a cell, as words: [['export'], ['default_exp', 'losses']]."
    head = []
    for line in lines(cell):
        if not line.startswith('#|'): break
        head.append(line[2:].split())
    return head
def has(cell, name): return cell['cell_type'] == 'code' and any(d[:1] == [name] for d in directives(cell))
def body(cell):
    return '\n'.join(l for l in source(cell).splitlines() if not l.lstrip().startswith('#|')).strip()
def tree(cell):
    "The statements of a code cell; none if it does not parse (a rule of its own tells)."
    try: return ast.parse(source(cell)).body
    except SyntaxError: return []
def only(cell, *kinds):
    return bool(tree(cell)) and all(isinstance(node, kinds) or _docstring(node) for node in tree(cell))
def _docstring(node):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
def imports_only(cell): return only(cell, ast.Import, ast.ImportFrom)
def defines_only(cell): return only(cell, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
def outputs(notebook): return [(i, c, o) for i, c in notebook.code for o in c.get('outputs', [])]
def text_of(o):
    return ''.join(o.get('text', '')) + ''.join(
        ''.join(v) for k, v in o.get('data', {}).items() if k.startswith('text/')
    )
def where(i, cell):
    first = next(iter(l for l in lines(cell) if not l.startswith('#|')), '')
    return f"cell {i} ({first.strip()[:60]})"
closing = '## What to remember'  # the last section of a chapter: three facts and an open question

def words_of(text):
    "How many: code in fences does not count, and a formula is one word."
    without_code = re.sub(r'```.*?```', '', text, flags=re.S)
    return len(re.sub(r'\$\$.*?\$\$|\$[^$]*\$', 'x', without_code, flags=re.S).split())
def words(notebook):
    "Words of prose but for the closing section."
    return sum(words_of(source(c)) for _, c in notebook.prose if not source(c).startswith(closing))
def call_name(node):
    return getattr(node.func, 'id', getattr(node.func, 'attr', '')) if isinstance(node, ast.Call) else ''
def is_check(node):
    return isinstance(node, ast.Assert) or call_name(node) == 'claim' or call_name(node).startswith('test_')
def carries_check(cell):
    "Does something in the cell assert when the cell runs? What stands in a definition does not run."
    run = [n for n in tree(cell) if not isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return any(is_check(n) for top in run for n in ast.walk(top))


# The rules: notebook -> faults

rules = []
def rule(f):
    rules.append(f)
    return f

@rule
def title_first(notebook):
    first = notebook.cells[0] if notebook.cells else None
    ok = first and first['cell_type'] == 'markdown' and re.match(r'# \S.*\n\n?> \S', source(first))
    return [] if ok else ['cell 0: a notebook begins with `# Title` and `> one sentence`']

@rule
def installs_itself_first(notebook):
    "Where the package is missing, as in a notebook service; the cell is the same everywhere."
    found = [(i, c) for i, c in notebook.code if cloud.is_setup(c)]
    if len(found) != 1:
        return [f'{len(found)} cells install the package, and one should: run python tools/cloud.py']
    (i, cell), = found
    is_first = i == cloud.place(notebook.cells)
    faults = [] if is_first else [f'cell {i}: it installs the package after other code']
    is_current = source(cell) == cloud.setup_cell(cloud.settings())
    return faults + ([] if is_current else [f'cell {i}: behind settings.ini: run python tools/cloud.py'])

@rule
def default_exp_in_place(notebook):
    "Below the title and the cell that installs the package."
    found = [i for i, c in notebook.code if has(c, 'default_exp')]
    faults = [f'cell {i}: default_exp belongs into cell 2' for i in found if i != 2]
    faults += [f'cell {i}: default_exp stands alone in its cell' for i in found if body(notebook.cells[i])]
    if len(found) > 1:
        faults.append(f'{len(found)} cells have a default_exp: one notebook exports one module')
    if any(has(c, 'export') for _, c in notebook.code) and not found:
        faults.append('cells are exported, but there is no default_exp')
    if notebook.is_solution and found: faults.append('solutions export nothing')
    return faults

@rule
def one_exported_import_cell(notebook):
    exported = [(i, c) for i, c in notebook.code if has(c, 'export')]
    loaded = [
        (i, c) for i, c in exported if any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree(c))
    ]
    return [
        f'{where(i, c)}: exported imports stand in cell 3, and nothing else does'
        for i, c in loaded
        if i != 3 or not imports_only(c)
    ]

def seeds_of(node):
    """What a call takes as its seed: the argument of a sink
    of seeds, or its keyword; None where it takes none."""
    name = call_name(node)
    if name in ('manual_seed', 'seed_everything'): return node.args[0] if node.args else None
    if name not in ('new_state', 'build', 'practise', 'rehearse'): return None
    given = [k.value for k in node.keywords if k.arg == 'seed']
    return given[0] if given else (node if name in ('build', 'practise', 'rehearse') else None)

@rule
def seeds_move(notebook):
    """Weights, batches and latents get their seeds through `seeded`, so that
    GANBOOK_SEED moves them; data, and seeds that an exercise gives (`# given`), stay."""
    faults = []
    for i, c in notebook.code:
        if has(c, 'export') or notebook.stem == 'w30_scale': continue
        statements = tree(c)  # parsed once: nodes are told apart by their identity
        refused = {
            id(n)
            for top in statements
            for call in ast.walk(top)
            if call_name(call) == 'test_fail'
            for n in ast.walk(call)
        }
        for node in (
            n for top in statements for n in ast.walk(top) if isinstance(n, ast.Call) and id(n) not in refused
        ):
            seed = seeds_of(node)
            line = source(c).splitlines()[node.lineno - 1]
            if (
                seed is not None
                and call_name(seed) not in ('seeded', 'process_seed')
                and '# given' not in line
            ):
                faults.append(f'{where(i, c)}: the seed in {line.strip()[:60]!r} goes through seeded(...)')
    return faults

@rule
def benches_are_read_in_one_way(notebook):
    return [
        f"{where(i, c)}: read a stored bench with read_bench('name', 'entry')"
        for i, c in notebook.code
        if '../results' in source(c)
    ]

@rule
def directives_come_first(notebook):
    faults = []
    for i, c in notebook.code:
        n = len(directives(c))
        faults += [
            f'{where(i, c)}: a directive below other lines does nothing: {l.strip()}'
            for l in lines(c)[n:]
            if re.match(r'\s*#\|', l)
        ]
        faults += [
            f'{where(i, c)}: a blank line or a space before a directive'
            for _ in [0]
            if n and not source(c).startswith('#|')
        ]
    return faults

@rule
def known_directives(notebook):
    """No skip_exec, no eval: false, no notest, no export to
    another module: a short list of what is allowed says it all."""
    def allowed(d): return d in (['export'], ['hide']) or d[:1] == ['default_exp'] and len(d) == 2
    faults = [
        f"{where(i, c)}: directive `{' '.join(d)}`: allowed are default_exp, export and hide"
        for i, c in notebook.code
        for d in directives(c)
        if not allowed(d)
    ]
    skips = [
        f'{where(i, c)}: skip_exec'
        for i, c in enumerate(notebook.cells[:3])
        if re.search(r'^\W*skip_exec', source(c), re.M)
    ]
    return faults + skips

@rule
def code_is_python(notebook):
    faults = []
    for i, c in notebook.code:
        try: ast.parse(source(c))
        except SyntaxError as e: faults.append(f'{where(i, c)}: not plain Python ({e.msg}, line {e.lineno})')
    return faults

@rule
def no_star_import(notebook):
    return [f'{where(i, c)}: star import' for i, c in notebook.code for n in tree(c) for m in ast.walk(n)
        if isinstance(m, ast.ImportFrom) and m.names[0].name == '*']

@rule
def no_pyplot_show(notebook):
    return [
        f'{where(i, c)}: plt.show() has no place in a book: end the cell with ;'
        for i, c in notebook.code
        if re.search(r'\bp(y)?l(o)?t\.show\(', source(c))
    ]

@rule
def no_undefined_name(notebook):
    "Over the cells in their order, as ruff reads a notebook."
    plain = [
        dict(
            cell_type=c['cell_type'], id=f'c{i}', metadata={}, source=c['source'],
            **(dict(outputs=[], execution_count=None) if c['cell_type'] == 'code' else {}),
        )
        for i, c in enumerate(notebook.cells)
    ]
    nb = json.dumps(
        dict(cells=plain, metadata=dict(language_info=dict(name='python')), nbformat=4, nbformat_minor=5)
    )
    done = subprocess.run(
        [
            sys.executable, '-m', 'ruff', 'check', '--isolated', '--select', 'F821', '--output-format',
            'json', '--stdin-filename', 'nb.ipynb', '-',
        ],
        input=nb,
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    def at(fault): return where(fault['cell'] - 1, notebook.cells[fault['cell'] - 1])
    return [
        f"{at(fault)}: {fault['message']}" for fault in json.loads(done.stdout) if fault['code'] == 'F821'
    ]

@rule
def clean_outputs(notebook):
    faults = []
    for i, c, o in outputs(notebook):
        if o['output_type'] == 'error': faults.append(f"{where(i, c)}: stored error {o.get('ename')}")
        if o.get('name') == 'stderr': faults.append(f'{where(i, c)}: stored stderr')
        if any('widget' in k for k in o.get('data', {})): faults.append(f'{where(i, c)}: stored widget view')
    if 'widgets' in notebook.nb.get('metadata', {}): faults.append('metadata hold the state of widgets')
    return faults

@rule
def no_print_is_lost(notebook):
    "Where the last line ends in `;`, all that a cell prints is dropped with its value."
    return [
        f'{where(i, c)}: it prints, so its last line cannot end in `;`, which drops that'
        for i, c in notebook.code
        if source(c).rstrip().endswith(';')
        and any(call_name(n) in ('print', 'claim') for top in tree(c) for n in ast.walk(top))
    ]

@rule
def what_must_repeat_is_text(notebook):
    """nbval compares the outputs of tagged cells to the
    letter, and a picture's letters differ between machines."""
    tagged = [(i, c) for i, c in notebook.code if 'nbval-check-output' in c['metadata'].get('tags', [])]
    return [f'{where(i, c)}: tagged nbval-check-output, but it stores a picture' for i, c in tagged
        if any(k.startswith('image/') for o in c['outputs'] for k in o.get('data', {}))]

@rule
def no_execution_count(notebook):
    return [f'{where(i, c)}: execution count (run nbdev_clean)' for i, c in notebook.code
        if c.get('execution_count') or any(o.get('execution_count') for o in c.get('outputs', []))]

@rule
def short_cells(notebook):
    "Blank lines and directives aside."
    long = [(i, c, len([l for l in body(c).splitlines() if l.strip()])) for i, c in notebook.code]
    return [f'{where(i, c)}: {n} lines, at most 40' for i, c, n in long if n > 40]

@rule
def one_thing_a_line(notebook):
    "At most 110 columns, and no assignment of three or more things at once; the linter sees the rest."
    faults = [
        f'{where(i, c)}: {len(line)} columns, at most 110'
        for i, c in notebook.code for line in source(c).splitlines() if len(line) > 110
    ]
    for i, c in notebook.code:
        for node in (n for top in tree(c) for n in ast.walk(top) if isinstance(n, ast.Assign)):
            pair = isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)
            if pair and len(node.value.elts) > 2 and len(node.targets[0].elts) == len(node.value.elts):
                faults.append(f'{where(i, c)}: {len(node.value.elts)} things assigned at once')
    return faults

def n_tokens(function):
    "Tokens of a body, its docstring and comments aside."
    body = [n for n in function.body if not _docstring(n)]
    text = '\n'.join(map(ast.unparse, body))
    layout = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    return sum(t.type not in layout for t in tokenize.generate_tokens(io.StringIO(text).readline))

@rule
def short_bodies(notebook):
    "A function does one thing: about 150 tokens, and never more than the bound."
    functions = [
        (i, c, n) for i, c in notebook.code if has(c, 'export')
        for top in tree(c) for n in ast.walk(top) if isinstance(n, ast.FunctionDef)
    ]
    return [
        f'{where(i, c)}: the body of {f.name} has {n_tokens(f)} tokens, at most {most_tokens}'
        for i, c, f in functions if n_tokens(f) > most_tokens
    ]

@rule
def small_file(notebook):
    return [f'{notebook.size/1e3:.0f} kB, below 800'] if notebook.size >= 800_000 else []

@rule
def stamp_last(notebook):
    last = notebook.cells[-1]
    return (
        []
        if last['cell_type'] == 'code' and source(last).strip() == 'stamp()'
        else ['the last cell is not stamp()']
    )

@rule
def two_code_cells_in_a_row(notebook):
    "Directives, hidden cells, imports and the stamp neither count nor break a row."
    faults, row = [], 0
    for i, c in enumerate(notebook.cells):
        if c['cell_type'] == 'markdown': row = 0
        elif body(c) not in ('', 'stamp()') and not has(c, 'hide') and not imports_only(c):
            row += 1
            if row == 3: faults.append(f'{where(i, c)}: the third code cell without prose between')
    return faults

@rule
def few_hidden_cells(notebook):
    hidden = [i for i, c in notebook.own_code if has(c, 'hide')]
    return (
        [f'{len(hidden)} of {len(notebook.own_code)} code cells are hidden, at most 1 in 10']
        if 10*len(hidden) > len(notebook.own_code)
        else []
    )

@rule
def enough_checks(notebook):
    "Two of five code cells assert something; imports, definitions and the stamp aside."
    cells = [
        c for i, c in notebook.own_code if body(c) and not defines_only(c) and source(c).strip() != 'stamp()'
    ]
    n = sum(map(carries_check, cells))
    return [f'{n} of {len(cells)} code cells carry a check, at least 2 of 5'] if 5*n < 2*len(cells) else []

@rule
def a_figure(notebook):
    pictures = any(k.startswith('image/') for *_, o in outputs(notebook) for k in o.get('data', {}))
    return [] if pictures or notebook.is_solution or notebook.is_workshop else ['no figure is stored']

@rule
def picture_formats(notebook):
    faults = []
    for i, c, o in outputs(notebook):
        odd = [k for k in o.get('data', {}) if k.startswith(('image/', 'video/', 'audio/', 'application/'))
            and k not in ('image/png', 'image/webp', 'image/gif', 'image/svg+xml')]
        html = re.findall(
            r'data:(?!image/(?:png|webp|gif|svg))\w+/\w+', ''.join(o.get('data', {}).get('text/html', ''))
        )
        faults += [f'{where(i, c)}: stored as {k}: png, webp, gif and svg are allowed' for k in odd + html]
    return faults

def images(cell):
    return re.findall(r'!\[[^\]]*\]\(\s*<?([^)\s>]+)', source(cell)) + re.findall(
        r'<img[^>]*\bsrc=["\']([^"\']+)', source(cell)
    )

@rule
def images_exist(notebook):
    faults = []
    for i, c in notebook.prose:
        for link in images(c):
            if re.match(r'\w+:', link):
                faults.append(f'{where(i, c)}: {link} is not in the repository')
            elif not (notebook.folder/link).is_file():
                faults.append(f'{where(i, c)}: there is no {link}')
            elif Path(link).suffix not in ('.png', '.webp', '.gif', '.svg'):
                faults.append(f'{where(i, c)}: {link} is no png, webp, gif or svg')
    return faults

@rule
def word_count(notebook):
    if notebook.is_solution: return []
    low = 0 if notebook.is_short else 800
    return [] if low <= words(notebook) <= 2500 else [f'{words(notebook)} words, {low} to 2500']

_machine = re.compile(r'(?<![\w.~])/(?:home|root|Users|work)/\S*')

def machine_paths(text):
    "Absolute paths below a user's or a build machine's folders; a book must not depend on one."
    return _machine.findall(text)

@rule
def no_path_of_a_machine(notebook):
    faults = [
        f'{where(i, c)}: {path}' for i, c in enumerate(notebook.cells) for path in machine_paths(source(c))
    ]
    return faults + [
        f'{where(i, c)}, output: {path}'
        for i, c, o in outputs(notebook)
        for path in machine_paths(text_of(o))
    ]

def headings(notebook, word):
    "Number -> (place of the heading, its text) for `### Exercise 5.2` or `### Solution 5.2`."
    found = [(i, re.match(rf'### {word} (\S+)', source(c))) for i, c in notebook.prose]
    return [(m[1], i) for i, m in found if m]

@rule
def ends_with_what_to_remember(notebook):
    "A main chapter closes with three facts and one open question, before its exercises."
    if notebook.is_solution or not re.match(r'[0-2]\d', notebook.stem): return []
    found = [(i, source(c)) for i, c in notebook.prose if source(c).startswith(closing)]
    if len(found) != 1: return [f'{len(found)} cells begin with {closing!r}, and one should']
    i, text = found[0]
    faults = []
    if len(re.findall(r'^- ', text, re.M)) != 3: faults.append(f'cell {i}: three facts, each behind a `- `')
    if len(re.findall(r'^\*\*Open:\*\* \S', text, re.M)) != 1: faults.append(f'cell {i}: one open question')
    if words_of(text) > 120: faults.append(f'cell {i}: {words_of(text)} words, at most 120')
    later = [source(c) for c in notebook.cells[i + 1:] if source(c).startswith('## ')]
    faults += [f'cell {i}: {t.splitlines()[0]} comes after it' for t in later if not t.startswith('## Stamp')]
    return faults

@rule
def exercises_close_a_chapter(notebook):
    if notebook.is_solution: return []
    found = [n for n, _ in headings(notebook, 'Exercise')]
    low = 0 if notebook.is_workshop else 1 if notebook.is_short else 2
    faults = [] if low <= len(found) <= 4 else [f'{len(found)} exercises, {low} to 4']
    want = [f'{notebook.number}.{k + 1}' for k in range(len(found))]
    if found != want:
        faults.append(f"exercises are numbered {', '.join(found)}, and should be {', '.join(want)}")
    for n, i in headings(notebook, 'Exercise'):
        text = source(notebook.cells[i])
        if '```python' not in text: faults.append(f'cell {i}: exercise {n} has no signature in a fence')
        if not re.search(r'Check number', text): faults.append(f'cell {i}: exercise {n} has no check number')
    return faults

@rule
def solutions_end_in_a_check(notebook):
    if not notebook.is_solution: return []
    found = headings(notebook, 'Solution')
    faults = [] if found else ['there is no `### Solution`']
    for (n, i), (_, end) in zip(found, [*found[1:], ('', len(notebook.cells) - 1)]):
        code = [c for c in notebook.cells[i + 1:end] if c['cell_type'] == 'code']
        if not code or not carries_check(code[-1]):
            faults.append(f'cell {i}: solution {n} does not end with an assertion')
    return faults


# Rules about more than one notebook

def numbers(text):
    "All numbers in a text, as floats; thousands may have commas, and a decimal point may come first."
    return {
        float(x.replace(',', '').replace('_', ''))
        for x in re.findall(
            r'(?<![\w.])-?(?:(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d*)?|\.\d+)(?:e-?\d+)?', text
        )
    }

def unpaired(chapter, solution):
    "Faults between a chapter's exercises and its solutions."
    if solution is None:
        return [] if not headings(chapter, 'Exercise') else ['there is no notebook of solutions']
    asked, given = dict(headings(chapter, 'Exercise')), dict(headings(solution, 'Solution'))
    faults = (
        []
        if list(asked) == list(given)
        else [f"exercises {', '.join(asked)}, but solutions {', '.join(given)}"]
    )
    ends = [*list(given.values())[1:], len(solution.cells)]
    for (n, i), end in zip(given.items(), ends):
        if n not in asked: continue
        check = source(chapter.cells[asked[n]]).split('Check number')[-1]
        code = '\n'.join(source(c) for c in solution.cells[i:end] if c['cell_type'] == 'code')
        if not numbers(check) & numbers(code):
            faults.append(f'solution {n} asserts none of the check numbers {sorted(numbers(check))}')
    return faults

def public_names(notebook):
    "Names that a notebook exports, each with its cell."
    for i, c in notebook.code:
        if not has(c, 'export'): continue
        for n in tree(c):
            if isinstance(n, (ast.FunctionDef, ast.ClassDef)):
                found = [] if any('patch' in ast.dump(d) for d in n.decorator_list) else [n.name]
            elif isinstance(n, (ast.Assign, ast.AnnAssign)):
                targets = n.targets if isinstance(n, ast.Assign) else [n.target]
                found = [
                    t.id
                    for target in targets
                    for t in ast.walk(target)
                    if isinstance(t, ast.Name) and isinstance(t.ctx, ast.Store)
                ]
            else:
                found = []
            yield from ((name, i) for name in found if not name.startswith('_'))

tables = {'by_name', 'pairs', 'sets'}  # every module may have a table of what it names

def exported_twice(notebooks):
    seen, faults = {}, []
    for notebook in notebooks:
        for name, i in public_names(notebook):
            at = f'{notebook.name} cell {i}'
            if name in tables: continue
            if name in seen: faults.append(f'{name} is exported by {seen[name]} and by {at}')
            seen[name] = at
    return faults

def default_exp(notebook):
    return next(
        (d[1] for _, c in notebook.code for d in directives(c) if d[:1] == ['default_exp'] and len(d) == 2),
        None,
    )

def module_faults(notebooks, modules):
    "Stale and missing modules: those of the package against the `default_exp` of the notebooks."
    wanted = [default_exp(n) for n in notebooks if default_exp(n)]
    twice = [f'{m} is exported by two notebooks' for m in sorted(set(wanted)) if wanted.count(m) > 1]
    return (
        twice
        + [f'{m} is in the package, but no notebook exports it' for m in sorted(set(modules) - set(wanted))]
        + [
            f'{m} is exported by a notebook, but not in the package'
            for m in sorted(set(wanted) - set(modules))
        ]
    )

def stale_cells(notebook, module_source):
    "Exported definitions that do not stand in the module as they stand in the notebook."
    return [
        f'{where(i, c)}: not exported as it stands (run nbdev_export)'
        for i, c in notebook.code
        if has(c, 'export')
        and not any(isinstance(n, (ast.Import, ast.ImportFrom)) for top in tree(c) for n in ast.walk(top))
        and body(c) not in module_source
    ]

def length_faults(module, text):
    n = text.count('\n')
    said = f'{module} has {n} lines, at most {most_lines}: move what belongs together to a room of its own'
    return [said] if n > most_lines else []

def imported_modules(module, text):
    "What `module` (such as models.mlp) imports of the package, however it is written, with line numbers."
    package = ['ganbook', *module.split('.')[:-1]]
    for n in ast.walk(ast.parse(text)):
        if isinstance(n, ast.Import): found = [a.name for a in n.names]
        elif isinstance(n, ast.ImportFrom):
            base = package[:len(package) - n.level + 1] if n.level else []
            base = '.'.join([*base, *([n.module] if n.module else [])])
            found = [f'{base}.{a.name}' for a in n.names]
        else: continue
        for full in found:
            if full.split('.')[0] != 'ganbook' or full == 'ganbook.__version__': continue
            path = full.split('.')[1:]
            known = next(
                ('.'.join(path[:k]) for k in range(len(path), 0, -1) if '.'.join(path[:k]) in floors),
                '.'.join(path) or 'ganbook',
            )
            yield known, n.lineno

def floor_faults(module, text):
    if module not in floors: return [f'{module} stands on no floor: give it one in the table of this test']
    faults = []
    for other, line in imported_modules(module, text):
        if other not in floors:
            faults.append(f'line {line}: imports {other}, which stands on no floor')
        elif floors[other] >= floors[module]:
            way = 'up' if floors[other] > floors[module] else 'sideways'
            faults.append(
                f'line {line}: {module} (floor {floors[module]}) '
                f'imports {way}: {other} (floor {floors[other]})'
            )
    return faults + [
        f'line {n.lineno}: star import'
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.ImportFrom) and n.names[0].name == '*'
    ]

_compare = {'<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge, '==': operator.eq}

def holds(entry):
    value, target = entry['value'], entry['target']
    if entry['op'] == '~': return math.isfinite(value) and abs(value - target) <= entry['tol']
    return bool(_compare[entry['op']](value, target))

def claim_patterns(notebook):
    "A regular expression for the text of each call of `claim` in the notebook."
    def pattern(node):
        if isinstance(node, ast.Constant): return re.escape(str(node.value))
        if isinstance(node, ast.JoinedStr):
            return ''.join(pattern(v) if isinstance(v, ast.Constant) else '.+' for v in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return pattern(node.left) + pattern(node.right)
        return '.+'  # a variable: what it held is seen in the output alone
    calls = [n for _, c in notebook.code for top in tree(c) for n in ast.walk(top) if call_name(n) == 'claim']
    texts = [
        n.args[0] if n.args else next((k.value for k in n.keywords if k.arg == 'text'), ast.Name('text'))
        for n in calls
    ]
    return [re.compile(pattern(t), re.S) for t in texts]

def ledger_faults(notebook, ledger):
    """A claim in the ledger is made by a line of the notebook, is
    printed in its stored output with that value, and holds."""
    printed = ''.join(text_of(o) for *_, o in outputs(notebook))
    faults, patterns = [], claim_patterns(notebook)
    for e in ledger:
        lacks = {
            'claim', 'value', 'op', 'target', 'tol', 'source', 'scale', 'device', 'seconds', 'versions',
            'interval', 'members', 'mean_only', 'stored',
        } - e.keys()
        if lacks:
            faults.append(f"{e.get('claim')}: lacks {', '.join(sorted(lacks))}")
            continue
        if not holds(e): faults.append(f"{e['claim']}: {e['value']} {e['op']} {e['target']} does not hold")
        if not any(p.fullmatch(e['claim']) for p in patterns):
            faults.append(f"{e['claim']}: no line of the notebook claims it")
        if f"✓ {e['claim']}: {e['value']:.6g}" not in printed:
            faults.append(
                f"{e['claim']}: the stored output has no such line with {e['value']:.6g} (render again)"
            )
        if e['members'] > 1 and not (e['interval'] and e['interval'][0] <= e['value'] <= e['interval'][1]):
            faults.append(f"{e['claim']}: its interval does not hold its mean")
        if (
            e['interval']
            and e['op'] != '=='
            and not e['mean_only']
            and not all(holds(e | dict(value=v)) for v in e['interval'])
        ):
            faults.append(f"{e['claim']}: its interval crosses the target, and it does not say mean only")
    texts = [e.get('claim') for e in ledger]
    return faults + [f'{t}: twice in the ledger' for t in sorted(set(texts)) if texts.count(t) > 1]


# The book

def load(path):
    raw = path.read_text(encoding='utf-8')
    return Notebook(
        path.relative_to(nbs).with_suffix('').as_posix(), json.loads(raw), len(raw.encode()), path.parent
    )

@functools.cache
def book():
    return {
        n.name: n
        for n in (load(p) for p in sorted(nbs.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts)
    }

names = [
    p.relative_to(nbs).with_suffix('').as_posix()
    for p in sorted(nbs.rglob('*.ipynb'))
    if '.ipynb_checkpoints' not in p.parts
]
chapters = [n for n in names if not n.startswith('solutions/')]
modules = {
    '.'.join(p.relative_to(root/'ganbook').with_suffix('').parts): p
    for p in sorted((root/'ganbook').rglob('*.py'))
    if p.name not in ('__init__.py', '_modidx.py')
}
ledgers = [p.stem for p in sorted((root/'results').glob('*.json')) if not p.stem.startswith('bench_')]

def tell(faults): assert not faults, '\n' + '\n'.join(faults)

def test_there_is_a_book(): assert chapters and modules and len(names) == len(book())

@pytest.mark.parametrize('name', names)
@pytest.mark.parametrize('check', rules, ids=lambda f: f.__name__)
def test_notebook(check, name): tell(check(book()[name]))

@pytest.mark.parametrize('name', chapters)
def test_exercises_and_solutions_pair_up(name): tell(unpaired(book()[name], book().get(f'solutions/{name}')))

def test_every_solution_has_a_chapter():
    tell(
        [
            f'{n} solves no chapter'
            for n in names
            if n.startswith('solutions/') and n.removeprefix('solutions/') not in chapters
        ]
    )

def test_modules_are_those_the_notebooks_export(): tell(module_faults(book().values(), modules))

def test_a_name_is_exported_once(): tell(exported_twice(book().values()))

@pytest.mark.parametrize('module', modules)
def test_modules_are_short(module): tell(length_faults(module, modules[module].read_text(encoding='utf-8')))

@pytest.mark.parametrize('module', modules)
def test_imports_point_down(module): tell(floor_faults(module, modules[module].read_text(encoding='utf-8')))

@pytest.mark.parametrize('name', [n for n in chapters if default_exp(book()[n])])
def test_module_is_what_the_notebook_says(name):
    module = default_exp(book()[name])
    if module not in modules:
        pytest.fail(f'{module} is not in the package: run nbdev_export --path nbs/{name}.ipynb')
    tell(stale_cells(book()[name], modules[module].read_text(encoding='utf-8')))

@pytest.mark.parametrize('name', ledgers)
def test_claims_of_the_ledger(name):
    assert name in chapters, f'results/{name}.json belongs to no chapter'
    ledger = json.loads((root/'results'/f'{name}.json').read_text(encoding='utf-8'))
    assert ledger, 'an empty ledger'
    tell(ledger_faults(book()[name], ledger))

@pytest.mark.parametrize('name', [n for n in chapters if claim_patterns(book()[n])])
def test_a_chapter_with_claims_has_a_ledger(name):
    assert name in ledgers, (
        f'{name} makes claims, but results/{name}.json is not there: run python tools/render.py {name}'
    )

def text_files():
    "Files of the repository that people read, as git sees them; all but notebooks where there is no git."
    try:
        listed = subprocess.run(
            ['git', 'ls-files', '-co', '--exclude-standard'], cwd=root, capture_output=True, text=True,
            check=True,
        ).stdout.split('\n')
    except (OSError, subprocess.CalledProcessError):
        listed = [
            str(p.relative_to(root))
            for d in ('ganbook', 'tests', 'trials', 'tools', 'results')
            for p in (root/d).rglob('*')
        ]
    kinds = ('.py', '.md', '.ini', '.toml', '.sh', '.json', '.txt', '.svg', '.yml', '.yaml', '.cfg', '.in')
    return [f for f in listed if (root/f).is_file() and (f.endswith(kinds) or '.' not in Path(f).name)]

def test_no_file_names_a_path_of_a_machine():
    tell(
        [
            f'{f}: {path}'
            for f in text_files()
            if f != 'tests/test_book.py'
            for path in machine_paths((root/f).read_text(encoding='utf-8', errors='replace'))
        ]
    )


# Each rule is able to fail: a made-up book that keeps every rule, and one thing wrong at a time

def md(text): return dict(cell_type='markdown', metadata={}, source=text.splitlines(keepends=True))
def py(text, *outs):
    return dict(
        cell_type='code', metadata={}, source=text.splitlines(keepends=True), outputs=list(outs),
        execution_count=None,
    )
def stream(text, name='stdout'): return dict(output_type='stream', name=name, text=[text])
def display(**data):
    return dict(
        output_type='display_data', metadata={}, data={k.replace('__', '/'): v for k, v in data.items()}
    )
png = base64.b64encode(b'picture').decode()

def installing(): return py(cloud.setup_cell(cloud.settings())) | dict(id=cloud.cell_id)

def good_chapter(name='05_made_up'):
    n = re.sub(r'^0', '', name.split('_')[0])
    def exercise(k):
        return md(
            f'### Exercise {n}.{k}\n\nDo it.\n\n```python\ndef f()->int: ...\n```\n\nCheck number: {k}.5'
        )
    return Notebook(
        name,
        dict(
            metadata={},
            cells=[
                md('# Made up\n\n> One sentence'),
                installing(),
                py('#| default_exp losses'),
                py('#| export\nimport math'),
                py('from ganbook.scale import claim, stamp'),
                md('word '*900),
                py('#| export\ndef f(x):\n    return math.sqrt(x)'),
                py('assert f(4) == 2'),
                md('A figure.'),
                py('[1, 2];', display(image__png=png)),
                md('And a claim.'),
                py("claim('root of 4', f(4), '~', 2, tol=.1)", stream('✓ root of 4: 2 ≈ 2 ± 0.1\n')),
                md(f'{closing}\n\n- One.\n- Two.\n- Three.\n\n**Open:** why?'),
                exercise(1),
                exercise(2),
                py('stamp()'),
            ],
        ),
        10_000,
    )

def good_solution(name='05_made_up'):
    n = re.sub(r'^0', '', name.split('_')[0])
    return Notebook(
        f'solutions/{name}',
        dict(
            metadata={},
            cells=[
                md(f'# Solutions to chapter {n}\n\n> One sentence'),
                installing(),
                py('from ganbook.scale import stamp'),
                md(f'### Solution {n}.1\n\nSo.'),
                py('assert 3/2 == 1.5'),
                md(f'### Solution {n}.2\n\nSo.'),
                py('x = 5/2\nassert x == 2.50'),
                py('stamp()'),
            ],
        ),
        1000,
    )

entry = dict(
    claim='root of 4', value=2., interval=None, members=1, op='~', target=2., tol=.1, source=None,
    scale='quick', device='cpu', seconds=1., versions={}, mean_only=False, stored=None,
)

# Places in the list below are counted without the cell that installs the package, which is cell 1
def at(i): return i + (i > 0)
def cell(n, i): return n.cells[at(i)]
def put(i, cell): return lambda n: n.cells.__setitem__(at(i), cell)
def add(i, *cells): return lambda n: n.cells.__setitem__(slice(at(i), at(i)), cells)
def drop(i): return lambda n: n.cells.pop(at(i))
def move(i, to): return lambda n: n.cells.insert(at(to), n.cells.pop(at(i)))
def out(o, i=8): return lambda n: cell(n, i)['outputs'].append(o)
def hold(**changes): return lambda n: [setattr(n, k, v) for k, v in changes.items()]

wrong = [  # the rule that should see it, what is wrong, how to make it so
    (title_first, 'code first', drop(0)),
    (title_first, 'no sentence', put(0, md('# Made up'))),
    (title_first, 'no space', put(0, md('#Made up\n\n> So'))),
    (installs_itself_first, 'missing', lambda n: n.cells.pop(1)),
    (installs_itself_first, 'twice', add(1, installing())),
    (installs_itself_first, 'late', lambda n: n.cells.insert(3, n.cells.pop(1))),
    (installs_itself_first, 'another address', lambda n: n.cells[1].update(source=['import torch'])),
    (default_exp_in_place, 'late', move(1, 3)),
    (default_exp_in_place, 'missing', drop(1)),
    (default_exp_in_place, 'with code', put(1, py('#| default_exp losses\nimport math'))),
    (default_exp_in_place, 'two', add(2, py('#| default_exp data'))),
    (default_exp_in_place, 'in solutions', hold(name='solutions/05_made_up')),
    (one_exported_import_cell, 'second', add(5, py('#| export\nimport re'))),
    (one_exported_import_cell, 'mixed', put(2, py('#| export\nimport math\nx = 1'))),
    (seeds_move, 'global', add(6, py('torch.manual_seed(0)'))),
    (seeds_move, 'generator', add(6, py('rng = torch.Generator().manual_seed(seed)'))),
    (seeds_move, 'state', add(6, py('s = new_state(G, D, seed=0)'))),
    (seeds_move, 'left out', add(6, py("s, a = build('stable', digits())"))),
    (
        benches_are_read_in_one_way, 'by path',
        add(6, py("b = json.loads(Path('../results/bench_x.json').read_text())")),
    ),
    (directives_come_first, 'below a comment', put(6, py('# note\n#| export\nassert f(4) == 2'))),
    (directives_come_first, 'blank line', put(5, py('\n#| export\ndef f(x): return 2'))),
    (known_directives, 'eval false', put(6, py('#| eval: false\nassert f(4) == 2'))),
    (known_directives, 'other module', put(5, py('#| export data\ndef f(x): return 2'))),
    (known_directives, 'notest', put(6, py('#| notest\nassert f(4) == 2'))),
    (known_directives, 'skip_exec', put(0, md('# Made up\n\n> So\n\n- skip_exec: true'))),
    (
        known_directives, 'skip_exec in a raw cell',
        add(1, dict(cell_type='raw', metadata={}, source=['---\n', 'skip_exec: true\n', '---'])),
    ),
    (code_is_python, 'magic', put(6, py('%matplotlib inline'))),
    (code_is_python, 'shell', put(6, py('!ls'))),
    (no_star_import, 'plain', put(3, py('from math import *'))),
    (
        no_star_import, 'nested',
        put(6, py('def g():\n    x = 1\ntry:\n    from math import *\nfinally: pass')),
    ),
    (no_pyplot_show, 'plt', put(8, py('plt.show()'))),
    (no_undefined_name, 'name', put(6, py('assert g(4) == 2'))),
    (no_undefined_name, 'in a function', put(6, py('def g(): return later_on\nassert f(4) == 2'))),
    (no_undefined_name, 'defined too late', move(6, 5)),
    (no_print_is_lost, 'a semicolon', put(8, py('print(1)\nf(4);'))),
    (clean_outputs, 'error', out(dict(output_type='error', ename='ValueError', evalue='', traceback=[]))),
    (clean_outputs, 'stderr', out(stream('oh', 'stderr'))),
    (
        clean_outputs,
        'widget',
        out(
            dict(
                output_type='display_data', data={'application/vnd.jupyter.widget-view+json': {}}, metadata={}
            )
        ),
    ),
    (clean_outputs, 'widget state', lambda n: n.nb['metadata'].update(widgets={})),
    (
        what_must_repeat_is_text, 'a figure',
        lambda n: cell(n, 8)['metadata'].update(tags=['nbval-check-output']),
    ),
    (no_execution_count, 'cell', lambda n: cell(n, 6).update(execution_count=3)),
    (
        no_execution_count, 'output',
        out(dict(output_type='execute_result', execution_count=2, data={}, metadata={})),
    ),
    (short_cells, '41 lines', put(6, py('x = 1\n'*41))),
    (one_thing_a_line, 'wide', put(6, py('x = 1  # ' + 'word '*22))),
    (one_thing_a_line, 'three at once', put(6, py('a, b, c = 1, 2, 3'))),
    (short_bodies, 'long', put(6, py('#| export\ndef f():\n' + '    x = 1 + 2\n'*60))),
    (small_file, '800 kB', hold(size=800_000)),
    (stamp_last, 'prose', add(99, md('The end.'))),
    (stamp_last, 'other code', put(-1, py('print(1)'))),
    (two_code_cells_in_a_row, 'three', add(7, py('x = 2'), py('assert x'))),
    (
        two_code_cells_in_a_row,
        'imports between',
        add(7, py('import os'), py('x = 2'), py('#| hide\nassert x'), py('assert x')),
    ),
    (few_hidden_cells, 'two of ten', add(7, py('#| hide\nassert 1'), py('#| hide\nassert 1'))),
    (enough_checks, 'too few', add(7, py('x = 1'), py('x = 2'), py('x = 3'))),
    (
        enough_checks, 'in a definition',
        lambda n: (put(6, py('def g(): assert f(4) == 2\ng()'))(n), put(10, py('print(1)'))(n)),
    ),
    (a_figure, 'none', lambda n: cell(n, 8)['outputs'].clear()),
    (picture_formats, 'jpeg', out(display(image__jpeg=png))),
    (picture_formats, 'pdf', out(display(application__pdf=png))),
    (picture_formats, 'film in html', out(display(text__html='<video src="data:video/mp4;base64,AA">'))),
    (images_exist, 'missing', put(7, md('![a figure](images/not_there.svg)'))),
    (images_exist, 'web', put(7, md('![a](https://example.org/a.png)'))),
    (images_exist, 'tag', put(7, md('<img src="images/not_there.svg">'))),
    (images_exist, 'other format', put(7, md('![a](tests/test_book.py)'))),
    (word_count, 'few', put(4, md('word '*700))),
    (word_count, 'many', put(4, md('word '*2500))),
    (word_count, 'many in an appendix', lambda n: (hold(name='a1_x')(n), put(4, md('word '*2500))(n))),
    (no_path_of_a_machine, 'in prose', put(7, md('See /home/me/x.'))),
    (no_path_of_a_machine, 'in code', put(6, py("assert f(4) == 2; p = '/root/x'"))),
    (no_path_of_a_machine, 'in an output', out(stream('saved to /home/me/x.png'))),
    (ends_with_what_to_remember, 'no closing', drop(11)),
    (ends_with_what_to_remember, 'two facts', put(11, md(f'{closing}\n\n- One.\n- Two.\n\n**Open:** why?'))),
    (ends_with_what_to_remember, 'no question', put(11, md(f'{closing}\n\n- One.\n- Two.\n- Three.'))),
    (
        ends_with_what_to_remember, 'long',
        put(11, md(f'{closing}\n\n- One.\n- Two.\n- Three.\n\n**Open:** why {"so " * 120}?')),
    ),
    (ends_with_what_to_remember, 'more to come', add(12, md('## More'))),
    (exercises_close_a_chapter, 'one', drop(-2)),
    (exercises_close_a_chapter, 'none', lambda n: [n.cells.pop(-2) for _ in range(2)]),
    (
        exercises_close_a_chapter,
        'five',
        add(13, *[md(f'### Exercise 5.{k}\n```python\n```\nCheck number: 1') for k in (2, 3, 4)]),
    ),
    (exercises_close_a_chapter, 'numbers', hold(name='06_made_up')),
    (exercises_close_a_chapter, 'no fence', put(12, md('### Exercise 5.1\n\nDo it. Check number: 1.5'))),
    (exercises_close_a_chapter, 'no number', put(12, md('### Exercise 5.1\n\n```python\n```'))),
]
wrong_solution = [
    (solutions_end_in_a_check, 'no assertion', put(5, py('x = 5/2'))),
    (solutions_end_in_a_check, 'prose only', drop(3)),
    (solutions_end_in_a_check, 'no heading', lambda n: (drop(4)(n), drop(2)(n))),
    (solutions_end_in_a_check, 'the assertion is not the last', put(5, py('def g(): assert 1'))),
]

@pytest.mark.parametrize('check', rules, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    'make',
    [good_chapter, good_solution, lambda: good_chapter('a1_made_up'), lambda: good_chapter('15_made_up')],
    ids=['chapter', 'solution', 'appendix', 'short'],
)
def test_rules_let_a_good_notebook_pass(check, make):
    assert check(make()) == []

@pytest.mark.parametrize(
    'check,what,spoil', wrong,
    ids=lambda x: x.__name__ if callable(x) and x in rules else x if isinstance(x, str) else '',
)
def test_rules_catch(check, what, spoil):
    notebook = good_chapter()
    spoil(notebook)
    assert check(notebook)

@pytest.mark.parametrize('check,what,spoil', wrong_solution, ids=lambda x: x if isinstance(x, str) else '')
def test_rules_catch_in_solutions(check, what, spoil):
    notebook = good_solution()
    spoil(notebook)
    assert check(notebook)

def test_every_rule_has_a_case(): assert {f for f, *_ in wrong + wrong_solution} == set(rules)

def test_faults_name_their_cell():
    notebook = good_chapter()
    put(6, py('assert g(4) == 2'))(notebook)
    assert no_undefined_name(notebook) == ['cell 7 (assert g(4) == 2): Undefined name `g`']

def test_a_row_is_broken_by_prose_and_ignores_what_is_not_read():
    notebook = good_chapter()
    add(7, py('#| hide\nx = 1'), py('import os'), md('So.'), py('assert 1'), py('assert 2'))(notebook)
    assert two_code_cells_in_a_row(notebook) == []

def test_short_chapters_may_have_fewer_words_and_one_exercise():
    notebook = good_chapter('a1_made_up')
    put(4, md('word'))(notebook), drop(-2)(notebook)
    assert word_count(notebook) == [] and exercises_close_a_chapter(notebook) == []

@pytest.mark.parametrize(
    'spoil,part',
    [
        (drop(4), 'but solutions 5.1'),
        (put(4, md('### Solution 5.3')), 'but solutions 5.1, 5.3'),
        (put(3, py('assert 3/2 == 1.6')), 'solution 5.1 asserts none of the check numbers [1.5]'),
    ],
    ids=['missing', 'other number', 'other result'],
)
def test_pairs_are_compared(spoil, part):
    assert unpaired(good_chapter(), good_solution()) == []
    solution = good_solution()
    spoil(solution)
    assert any(part in f for f in unpaired(good_chapter(), solution))
    assert unpaired(good_chapter(), None)

@pytest.mark.parametrize(
    'text,want',
    [
        ('0.854', {.854}), ('.854,', {.854}), ('1,000 and 2_000', {1000., 2000.}), ('-3e-4', {-.0003}),
        ('a1 x_2', set()), ('64.', {64.}),
    ],
)
def test_numbers(text, want):
    assert numbers(text) == want

def test_names_exported_twice_are_found():
    a, b = good_chapter(), good_chapter('06_made_up')
    assert exported_twice([a]) == []
    assert exported_twice([a, b]) == ['f is exported by 05_made_up cell 6 and by 06_made_up cell 6']
    for text in ('f = 1', 'a, f = 1, 2', 'class f: pass', 'f: int = 1'):
        put(5, py('#| export\n' + text))(b)
        assert exported_twice([a, b]), text
    for text in ('_f = 1', 'g = [f for f in (1, 2)]', '@patch\ndef f(self:int): ...'):
        put(5, py('#| export\n' + text))(b)
        assert not exported_twice([a, b]), text

def test_stale_and_missing_modules_are_found():
    chapter = good_chapter()
    assert module_faults([chapter], ['losses']) == []
    assert 'no notebook exports it' in module_faults([chapter], ['losses', 'old'])[0]
    assert 'not in the package' in module_faults([chapter], [])[0]
    assert 'by two notebooks' in module_faults([chapter, good_chapter('06_x')], ['losses'])[0]

def test_long_modules_are_found():
    assert length_faults('data', 'x = 1\n'*most_lines) == []
    assert 'data has 451 lines, at most 450' in length_faults('data', 'x = 1\n'*(most_lines + 1))[0]

def test_stale_cells_are_found():
    assert stale_cells(good_chapter(), 'import math\n\ndef f(x):\n    return math.sqrt(x)\n') == []
    assert stale_cells(good_chapter(), 'import math\n\ndef f(x):\n    return x**.5\n')

@pytest.mark.parametrize(
    'module,text',
    [
        ('train', 'from .data import draw'), ('train', 'from ganbook.data import draw'),
        ('train', 'import ganbook.data as d'), ('train', 'from . import data'),
        ('train', 'from ganbook import data'), ('models.mlp', 'import torch\nfrom math import pi'),
        ('callbacks', 'from .train import fit\nfrom .models.mlp import MLPGenerator'),
        ('cli', 'from ganbook import __version__'), ('recipes', 'from .models import mlp'),
    ],
)
def test_floors_let_pass(module, text):
    assert floor_faults(module, text) == []

@pytest.mark.parametrize(
    'module,text,part',
    [
        ('data', 'from .train import fit', 'up'), ('losses', 'from ganbook.data import draw', 'sideways'),
        ('losses', 'from . import data', 'sideways'), ('losses', 'from ganbook import data', 'sideways'),
        ('losses', 'import ganbook.data', 'sideways'),
        ('train', 'def f():\n    from .callbacks import every', 'up'),
        ('models.mlp', 'from ..data import draw', 'sideways'),
        ('models.mlp', 'from .dcgan import x', 'up'), ('models.mlp', 'from .. import train', 'up'),
        ('train', 'from .ensemble import fit', 'up'),
        ('ensemble', 'from .vitals import vitals', 'sideways'), ('new', '', 'stands on no floor'),
        ('train', 'from .new import x', 'stands on no floor'), ('train', 'from .data import *', 'star'),
        ('train', 'import ganbook', 'stands on no floor'),
    ],
)
def test_floors_catch(module, text, part):
    assert any(part in f for f in floor_faults(module, text)), floor_faults(module, text)

def test_a_good_ledger_passes(): assert ledger_faults(good_chapter(), [entry]) == []

@pytest.mark.parametrize(
    'changes,part',
    [
        (dict(value=2.2), 'does not hold'), (dict(value=math.nan), 'does not hold'),
        (dict(op='<'), 'does not hold'), (dict(claim='root of 9'), 'no line of the notebook'),
        (dict(claim='root of 9'), 'the stored output'), (dict(value=2.01), 'the stored output'),
        (dict(members=3, interval=[3., 4.]), 'its interval'),
        (dict(members=3, interval=[1., 3.]), 'crosses the target'),
    ],
    ids=['value', 'nan', 'op', 'text', 'output', 'old output', 'interval', 'wide interval'],
)
def test_a_bad_ledger_is_caught(changes, part):
    assert any(part in f for f in ledger_faults(good_chapter(), [entry | changes]))

def test_other_faults_of_a_ledger():
    assert 'twice' in ledger_faults(good_chapter(), [entry, entry])[0]
    assert 'lacks tol' in ledger_faults(good_chapter(), [{k: v for k, v in entry.items() if k != 'tol'}])[0]

@pytest.mark.parametrize(
    'call,text,match',
    [
        ("claim(f'root of {n}', 1, '<', 2)", 'root of 4', True),
        ("claim(f'root of {n}', 1, '<', 2)", 'square of 4', False),
        ("claim('root ' + 'of 4', 1, '<', 2)", 'root of 4', True),
        ("claim('root of '\n    '4', 1, '<', 2)", 'root of 4', True),
        ("def g():\n    claim('root of 4', 1, '<', 2)", 'root of 4', True),
        ("print('root of 4')", 'root of 4', False),
    ],
)
def test_claims_are_found_in_the_code(call, text, match):
    notebook = good_chapter()
    put(10, py(call))(notebook)
    assert any(p.fullmatch(text) for p in claim_patterns(notebook)) == match

@pytest.mark.parametrize(
    'text', ['see https://x.org/home/page', 'the root of 2', 'work/life', '~/data', 'nbs/work/x']
)
def test_innocent_words_pass(text):
    assert machine_paths(text) == []

@pytest.mark.parametrize('file', ['README.md', 'README.zh.md'])
def test_the_readme_lists_every_chapter(file):
    listed = re.findall(r'\(nbs/(\w+)\.ipynb\)', (root/file).read_text(encoding='utf-8'))
    assert {p.stem for p in nbs.glob('*.ipynb')} <= set(listed)

def test_the_readme_has_the_claims_of_the_ledger():
    done = subprocess.run([sys.executable, str(root/'tools'/'readme.py'), '--check'])
    assert done.returncode == 0, (
        'the table of claims in README.md is behind results/: run python tools/readme.py'
    )

def test_the_package_has_the_claims_and_exercises_of_the_book():
    done = subprocess.run([sys.executable, str(root/'tools'/'index.py'), '--check'])
    assert done.returncode == 0, 'ganbook/book is behind results/ or nbs/: run python tools/index.py'

def test_the_slow_tests_exist():
    "Names in conftest's list, which `make quick` leaves out."
    said = re.search(r'slow = """(.*?)"""', (root/'conftest.py').read_text(encoding='utf-8'), re.S)[1].split()
    for name in said:
        file, _, test = name.partition('::')
        assert f'def {test or "test_"}' in (root/'tests'/f'{file}.py').read_text(encoding='utf-8'), name
