"""The page of the book: built once, without a network; then every link is followed and every page looked at
in a browser.

The checks are functions that return faults; each is also given a small page with one thing wrong.
"""
import ast
import functools
import http.server
import json
import math
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
import pytest

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tests')]
import pages  # noqa: E402
from lab import chromium, flags  # noqa: E402

notebooks = sorted(
    p.relative_to(root/'nbs').with_suffix('').as_posix()
    for d in ('nbs', 'nbs/solutions')
    for p in (root/d).glob('*.ipynb')
)
indexes = ['index', 'playground', 'exercises', 'claims', 'symbols', 'teaching']
no_network = '''
import runpy, socket, sys
def refuse(*args): raise OSError('building the page asked for the network')
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
'''


@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The folder of the page, built in a process that has no network; a warning of sphinx is an error."
    folder = tmp_path_factory.mktemp('site')
    done = subprocess.run(
        [sys.executable, '-c', no_network, str(root/'docs'/'pages.py'), str(folder)], capture_output=True,
        text=True, cwd=folder,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    return folder/'page'


# A page as text: its ids, its links, and what it loads

class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.ids = set()
        self.links = []
        self.loads = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if a.get('id'): self.ids.add(a['id'])
        if tag == 'a' and a.get('href') is not None: self.links.append(a['href'])
        for name in ('src', 'poster', 'data'):
            if tag in ('img', 'script', 'iframe', 'video', 'source', 'object') and a.get(name):
                self.loads.append(a[name])
        if tag == 'link' and a.get('rel') in ('stylesheet', 'icon', 'preload', 'modulepreload'):
            self.loads.append(a['href'])

@functools.cache
def parsed(site):
    return {
        p.relative_to(site).as_posix(): Page(p.read_text(encoding='utf-8'))
        for p in sorted(site.rglob('*.html'))
    }

def link_faults(site):
    "Links and pictures that lead nowhere, and whatever a page would load from elsewhere."
    faults = []
    for name, page in parsed(site).items():
        for to in page.links + page.loads:
            url = urlsplit(to)
            if url.scheme in ('http', 'https'):
                if to in page.loads:
                    faults.append(f'{name}: loads {to}')
                elif not re.fullmatch(r'[\w-]+(\.[\w-]+)+(:\d+)?', url.netloc) or re.search(
                    r'[\s<>{}|\\^`]', to
                ):
                    faults.append(f'{name}: no address: {to}')
                continue
            if url.scheme in ('mailto', 'data'): continue
            if url.scheme or url.netloc:
                faults.append(f'{name}: no address: {to}')
                continue
            target = (
                os.path.normpath(os.path.join(os.path.dirname(name), unquote(url.path))) if url.path else name
            )
            if not (site/target).is_file():
                faults.append(f'{name}: there is no {to}')
            elif (
                url.fragment
                and target.endswith('.html')
                and unquote(url.fragment) not in parsed(site)[target].ids
            ):
                faults.append(f'{name}: no such place: {to}')
    return faults

def text(site, name): return (site/f'{name}.html').read_text(encoding='utf-8')


def test_every_notebook_has_a_page(site):
    assert not [n for n in notebooks + indexes if not (site/f'{n}.html').is_file()]
    assert set(parsed(site)) == {f'{n}.html' for n in [*notebooks, *indexes, 'search']}

def test_every_link_leads_somewhere(site): assert not link_faults(site)

def test_there_are_links_to_follow(site):
    links = [to for page in parsed(site).values() for to in page.links]
    outside = {to for to in links if to.startswith('http')}
    print(*sorted(outside), sep='\n')  # pytest -rP shows them
    assert len(links) > 5000 and outside

@pytest.mark.parametrize(
    'html,part',
    [
        ('<a href="b.html">', 'there is no b.html'),
        ('<a href="#x">', 'no such place: #x'),
        ('<a href="a.html#x">', 'no such place'),
        ('<img src="x.png">', 'there is no x.png'),
        ('<script src="https://cdn.example.org/x.js"></script>', 'loads https'),
        ('<link rel="stylesheet" href="http://a.org/x.css">', 'loads http'),
        ('<a href="https://example">', 'no address'),
        ('<a href="https://a.org/x y">', 'no address'),
        ('<a href="javascript:x()">', 'no address'),
    ],
)
def test_a_broken_link_is_found(tmp_path, html, part):
    (tmp_path/'a.html').write_text(
        '<p id="y"><a href="#y"></a><a href="a.html#y"></a><a href="https://a.org/b#c"></a></p>' + html
    )
    assert [part in f for f in link_faults(tmp_path)] == [True]

def test_directives_and_hidden_cells_are_not_shown(site):
    assert not [
        n for n in notebooks if re.search(r'#\| ?(?:<[^>]*>)?(export|default_exp|hide)', text(site, n))
    ]

def test_no_formula_is_left_raw(site):
    "Outside of code a dollar sign means that a formula was not understood."
    for name in notebooks + indexes:
        html = re.sub(
            r'<(pre|code|script|style|head)\b.*?</\1>|<(span|div) class="math.*?</\2>', '', text(site, name),
            flags=re.S,
        )
        assert '$' not in html, f"{name}: {html[html.index('$') - 60:][:120]}"

def test_a_page_says_where_it_belongs(site):
    "Chapter, notebook, module and solutions; and an exercise leads to its solution and back."
    html = text(site, '09_dcgan')
    for part in (
        'DCGAN',
        'nbs/09_dcgan.ipynb',
        'symbols.html#module-models-dcgan',
        'solutions/09_dcgan.html#solution-9-1',
    ):
        assert part in html, part
    assert '../09_dcgan.html#exercise-9-1' in text(site, 'solutions/09_dcgan')

def test_parts_stand_in_the_contents_in_their_order(site):
    found = re.findall(r'<span class="caption-text">([^<]*)</span>', text(site, '01_game'))
    wanted = [p for p in pages.parts if any(ch.part == p for ch in pages.read(root/'nbs', root/'results'))]
    assert found == [*wanted, 'Look up']

def test_all_exercises_are_in_the_index(site):
    asked = [
        m
        for p in (root/'nbs').glob('*.ipynb')
        for m in re.findall(r'### Exercise (\w+\.\d+)', p.read_text(encoding='utf-8'))
    ]
    html = text(site, 'exercises')
    assert len(asked) > 50
    assert not [
        n
        for n in asked
        if f'#exercise-{n.replace(".", "-")}"' not in html or f'#solution-{n.replace(".", "-")}"' not in html
    ]

def test_all_claims_are_in_the_index_and_link_to_their_cells(site):
    files = [p for p in (root/'results').glob('*.json') if re.match(r'(\d\d|w\d\d|a\d)_', p.name)]
    n, html = sum(len(json.loads(p.read_text(encoding='utf-8'))) for p in files), text(site, 'claims')
    assert f'all {n} of them' in html
    assert len(re.findall(r'href="[\w.]+html#claim-[\w-]+"', html)) == n

def test_all_exported_names_are_in_the_index(site):
    html = text(site, 'symbols')
    for path in sorted((root/'ganbook').rglob('*.py')):
        if path.name.startswith('_'): continue
        module = '.'.join(path.relative_to(root/'ganbook').with_suffix('').parts)
        tree = ast.parse(path.read_text(encoding='utf-8'))
        names = next(
            ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and n.targets[0].id == '__all__'
        )
        section = html.split(f'id="module-{module.replace(".", "-")}"')[1].split('<section')[0]
        listed = re.findall(
            r'<dt><a [^>]*#(?:def|class|name)-[\w-]+"><span class="std std-ref"><code[^>]*><span '
            r'class="pre">(\w+)</span>',
            section,
        )
        assert set(listed) == {n for n in names if not n.startswith('_')}, module

def test_notation_is_that_of_the_code():
    """Each name in the table of signs is used in the library,
    and each sign in the chapter that the table names."""
    rows = re.findall(
        r'^\| (\$.*?) \| (.*?) \| .* \| chapter (\d+) \|$',
        (root/'docs'/'notation.md').read_text(encoding='utf-8'), re.M,
    )
    assert len(rows) > 15
    library = '\n'.join(p.read_text(encoding='utf-8') for p in (root/'ganbook').rglob('*.py'))
    for signs, names, n in rows:
        for name in re.findall(r'`(\w+)`', names):
            assert re.search(rf'\b{name}\b', library), f'{name} is nowhere in the library'
        cells = pages.read_cells(next((root/'nbs').glob(f'{int(n):02d}_*.ipynb')))
        chapter = re.sub(
            r'[\s{}]', '', '\n'.join(pages.source(c) for c in cells if c['cell_type'] == 'markdown')
        )
        for sign in re.findall(r'\$(.*?)\$', signs):
            assert re.sub(r'\(.*|[\s{}]', '', sign) in chapter, f'{sign} is not in chapter {n}'


# What pages.py makes of small notebooks

def md(text): return dict(cell_type='markdown', metadata={}, source=text)
def py(text, printed=''):
    return dict(
        cell_type='code', metadata={}, source=text, execution_count=None,
        outputs=[dict(output_type='stream', name='stdout', text=printed)]*bool(printed),
    )
def chapter(*cells, stem='05_x', **more): return pages.Chapter(stem, [md('# X\n\n> So'), *cells], **more)
def shown(*cells, **more):
    return json.loads(pages.chapter_page(chapter(*cells, **more), {'3': '03_data'}, 'https://a.org/b'))[
        'cells'
    ]

def test_code_cells_lose_directives_and_hidden_ones_go():
    cells = shown(
        py('#| default_exp x'),
        py('#| export\nimport os'),
        py('#| hide\nassert 1'),
        py('x = "#| no directive"'),
    )
    assert [c['source'] for c in cells if c['cell_type'] == 'code'] == ['import os', 'x = "#| no directive"']
    assert cells[1]['metadata']['tags'] == ['exported', 'hide-input']

def test_a_chapter_links_to_the_playground():
    assert '[play](playground.md)' in shown(md('[play](../docs/playground.md)'))[1]['source']

def test_a_figure_is_named_after_its_section():
    cells = shown(md('## On `a` and $b$'), md('Words.'), py('x'))
    assert cells[-1]['metadata']['mystnb']['image']['alt'] == 'Figure: On a and b'

def test_outputs_are_kept_and_claims_marked():
    cells = shown(py('claim("a")', '✓ a: 1 ≥ 1\n'), py('print(1)', '✓ a: 1 ≥ 1\n1\n'))
    assert [c['metadata']['tags'] for c in cells[1:]] == [['claims'], []]
    assert cells[2]['outputs'][0]['text'] == '✓ a: 1 ≥ 1\n1\n'

@pytest.mark.parametrize(
    'last,widget',
    [('widgets.VBox([a])', True), ('widgets.IntSlider()', False), ('a = widgets.VBox([b])', False)],
)
def test_a_widget_gets_a_note(last, widget):
    assert (
        any('make lab' in c['source'] for c in shown(py(f'import ipywidgets as widgets\n{last}'))) == widget
    )

@pytest.mark.parametrize(
    'given,want',
    [
        ('In chapter 3 we', 'In [chapter 3](03_data.ipynb) we'),
        ('Chapters 3 and 11', '[Chapters 3](03_data.ipynb) and [11](11_d.ipynb)'),
        ('chapters 11, 22 and a1', '[chapters 11](11_d.ipynb), 22 and [a1](a1_plots.ipynb)'),
        ('(appendix a1)', '([appendix a1](a1_plots.ipynb))'),
        ('chapter 22', 'chapter 22'),
        ('`chapter 3`', '`chapter 3`'),
        ('# Chapter 3', '# Chapter 3'),
        ('$chapter 3$', '$chapter 3$'),
        ('[chapter 3](x)', '[chapter 3](x)'),
        ('```\nchapter 3\n```', '```\nchapter 3\n```'),
        ('a chapter 30 pages long', 'a chapter 30 pages long'),
    ],
)
def test_chapters_become_links(given, want):
    assert pages.link_chapters(given, {'3': '03_data', '11': '11_d', 'a1': 'a1_plots'}) == want

@pytest.mark.parametrize(
    'given,want',
    [
        ('One. Two.', 'One.'), ('Of 3.5 in $a. b$ and `c. d`, say? No.', 'Of 3.5 in $a. b$ and `c. d`, say?'),
        ('Do this:\n\n- x', 'Do this'), ('So: a. B', 'So: a.'), ('No end', 'No end'), ('', ''),
    ],
)
def test_first_sentence(given, want):
    assert pages.first_sentence(given) == want

@pytest.mark.parametrize(
    'given,want', [('a_b*c', r'a\_b\*c'), ('`a_b` | $x$', r'`a_b` \| \$x\$'), ('[-3, 4]', r'\[\-3, 4\]')]
)
def test_plain_words_mean_nothing_to_markdown(given, want):
    assert pages.prose(given) == want

def test_names_with_signatures():
    code = '\n'.join([
        '#| export', 'def f(a:int, *, b=1)->int:', '    "One.\\n\\nTwo"', 'def _g(): ...',
        '@dataclass', 'class C:', '    "A class"', '    x: int', '    y: str = "a"',
        'class E(C):', '    def __init__(self, n:int): ...', 'R, S = 1, 2', 'T: int = 3',
    ])
    found = [(s.name, s.kind, s.signature, s.doc) for s in pages.symbols([py(code), py('def h(): ...')])]
    assert found == [
        ('f', 'def', '(a: int, *, b=1) -> int', 'One.'), ('C', 'class', "(x: int, y: str='a')", 'A class'),
        ('E', 'class', '(n: int)', ''), ('R', 'name', '', '`(1, 2)`'), ('S', 'name', '', '`(1, 2)`'),
        ('T', 'name', '', '`3`'),
    ]

def claim(text, value, **more):
    return dict(
        dict(
            claim=text, value=value, interval=None, members=1, op='>=', target=2., tol=None, source=None,
            scale='quick', device='cpu',
        ),
        **more,
    )

def test_claims_that_fail_come_first():
    book = [
        chapter(
            py('claim()', '✓ good: 3 ≥ 2\n'),
            claims=[
                claim('good', 3.), claim('bad', 1.), claim('not a number', math.nan),
                claim('near', 2.05, op='~', tol=.1),
            ],
        )
    ]
    head, rest = pages.claims_page(book).split('## [5')
    assert [t in head for t in ('Claims that fail', 'bad', 'not a number', 'good', 'near')] == [
        True, True, True, False, False,
    ]
    assert '[good](#claim-5-1)' in rest and '| near | 2.05 |' in rest
    assert 'All 1 hold' in pages.claims_page([chapter(claims=[claim('good', 3.)])])

def test_the_landing_page_is_the_readme():
    links = (
        '[five](nbs/05_x.ipynb) [how](CONTRIBUTING.md) [gone](nbs/99_x.ipynb) [out](https://a.org) '
        '[play](docs/playground.md)'
    )
    readme = f'# gan\n\nA book.\n\n![p](nbs/images/faces.png)\n\n{links}\n\nEnd.'
    made = pages.landing_page(readme, [chapter()], 'https://git')
    for part in (
        '![p](images/faces.png){.first}', '[five](05_x.ipynb)', '[how](https://git/CONTRIBUTING.md)',
        '[gone](https://git/nbs/99_x.ipynb)', '[out](https://a.org)', '[play](playground.md)',
        ':caption: First GANs', 'End.',
    ):
        assert part in made, part
    assert ':caption: The game' not in made

def test_the_page_for_teachers_leads_to_chapters_and_to_the_repository():
    given = '[5](../nbs/05_x.ipynb) [start](../README.md#in-the-browser) [how](../CONTRIBUTING.md)'
    made = pages.teaching_page(given, [chapter()], 'https://git')
    assert made == '[5](05_x.ipynb) [start](index.md) [how](https://git/CONTRIBUTING.md)'

def test_solutions_can_be_left_out(tmp_path):
    "Neither their pages nor a link to one; exercises and their check numbers stay."
    pages.write_sources(tmp_path/'with'), pages.write_sources(tmp_path/'without', with_solutions=False)
    def linked(folder):
        found = [p for p in (tmp_path/folder).rglob('*') if p.suffix in ('.md', '.ipynb')]
        return [p.name for p in found if re.search(r'#solution-|\(solutions/', p.read_text(encoding='utf-8'))]
    assert '09_dcgan.ipynb' in linked('with') and 'exercises.md' in linked('with')
    assert not linked('without') and not list((tmp_path/'without'/'solutions').iterdir())
    chapter_9 = (tmp_path/'without'/'09_dcgan.ipynb').read_text(encoding='utf-8')
    assert '### Exercise 9.1' in chapter_9 and 'Check number' in chapter_9
    assert 'solutions' not in (tmp_path/'without'/'exercises.md').read_text(encoding='utf-8')

def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(SystemExit, match='there are no notebooks'): pages.read(tmp_path, tmp_path)


# The page in a browser

look = r'''() => {
  const faults = [], article = document.querySelector('.bd-article') || document.body;
  const wanted = document.querySelectorAll('.math:not(mjx-container *)').length;
  const made = document.querySelectorAll('mjx-container').length;
  if (made < wanted) faults.push(`${wanted - made} of ${wanted} formulas are not set`);
  for (const e of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
    faults.push(`formula: ${e.getAttribute('data-mjx-error') || e.textContent}`);
  const walk = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  const isRaw = n => /\$|\\[a-z]+\{/.test(n.data)
    && !n.parentElement.closest('code, pre, script, style, mjx-container');
  for (let n; n = walk.nextNode();) if (isRaw(n)) faults.push(`raw formula: ${n.data.trim().slice(0, 60)}`);
  for (const m of document.images) if (!m.naturalWidth) faults.push(`no picture: ${m.src}`);
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over > 0) faults.push(`${over} px wider than the screen of ${innerWidth}`);
  return faults;
}'''

@contextmanager
def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/'
    finally:
        server.shutdown()
        server.server_close()

@pytest.fixture(scope='session')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium(), args=flags)
        yield b
        b.close()

def watch(page, url):
    "Faults that the browser tells of itself, in a list that fills while the page is used."
    told = []
    page.on('console', lambda m: told.append(f'console: {m.text}') if m.type == 'error' else None)
    page.on('pageerror', lambda e: told.append(f'script: {e}'))
    # aborted: we went on
    page.on(
        'requestfailed',
        lambda r: told.append(f'not loaded: {r.url}') if r.failure != 'net::ERR_ABORTED' else None,
    )
    page.on('response', lambda r: told.append(f'{r.status}: {r.url}') if r.status >= 400 else None)
    page.on(
        'request',
        lambda r: None if r.url.startswith((url, 'data:', 'blob:')) else told.append(f'outside: {r.url}'),
    )
    return told

def visit(page, url):
    "Faults to see on a page once its formulas are set."
    page.goto(url)
    page.evaluate(
        'window.MathJax && MathJax.startup && MathJax.startup.promise '
        '&& MathJax.startup.promise.then(() => 0)'
    )
    return page.evaluate(look)

def look_at(browser, folder, names, width, **more):
    "Faults of the pages `names`, each with its page's name, on a screen `width` pixels wide."
    with serve(folder) as url, browser.new_page(viewport=dict(width=width, height=900), **more) as page:
        told, faults = watch(page, url), []
        for name in names:
            faults += [f'{name}: {f}' for f in visit(page, f'{url}{name}.html') + told]
            told.clear()
        return faults

@pytest.mark.browser
def test_pages_on_a_phone(browser, site):
    "The indexes, and every fourth chapter: a page costs the browser more than a second."
    chapters = [n for n in notebooks if not n.startswith('solutions/')]
    assert not look_at(browser, site, [*indexes, *chapters[::4]], 390)

@pytest.mark.browser
def test_pages_on_a_desk_at_night(browser, site):
    assert not look_at(browser, site, ['solutions/11_dynamics', '11_dynamics'], 1280, color_scheme='dark')

@pytest.mark.browser
def test_every_formula_of_the_book_is_set(browser, site, tmp_path):
    "All of them on one bare page, by the MathJax of the site."
    formulas = [
        m
        for n in notebooks + indexes
        for m in re.findall(r'<(?:span|div) class="math[^>]*>(.*?)</(?:span|div)>', text(site, n), re.S)
    ]
    assert len(formulas) > 2000
    (tmp_path/'x').symlink_to(site/'_static')
    (tmp_path/'all.html').write_text(
        '<!doctype html><meta charset="utf-8"><link rel="icon" '
        'href="data:,"><script src="x/mathjax/tex-chtml-full.js"></script>'
        + ''.join(f'<p class="math">{f}</p>' for f in formulas)
    )
    assert not look_at(browser, tmp_path, ['all'], 2000)

@pytest.mark.browser
def test_what_is_wrong_with_a_page_is_seen(browser, site, tmp_path):
    "A page with every fault at once, on the same eyes."
    (tmp_path/'x').symlink_to(site/'_static')
    bad = tmp_path/'bad.html'
    bad.write_text(r'''<div class="bd-article"><span class="math">\(x\)</span>
        <div class="math">\[\frac{1}\]</div><p>costs $x$</p>
        <img src="none.png"><p style="width: 900px">wide</p></div>
        <script>console.error('oh'); setTimeout(() => { throw new Error('thrown') })</script>
        <script src="x/mathjax/tex-chtml-full.js"></script><img src="http://localhost:9/a.png">''')
    faults = look_at(browser, tmp_path, ['bad'], 390)
    for part in (
        'formula:', 'raw formula: costs', 'no picture: http', 'px wider', 'console: oh', 'script: thrown',
        '404: http', 'outside: http://localhost:9', 'not loaded: http://localhost:9',
    ):
        assert any(part in f for f in faults), (part, faults)
    (tmp_path/'unset.html').write_text(r'<span class="math">\(x\)</span>')
    assert any('1 of 1 formulas are not set' in f for f in look_at(browser, tmp_path, ['unset'], 390))

@pytest.mark.browser
def test_search_filter_and_links_work(browser, site):
    with serve(site) as url, browser.new_page(viewport=dict(width=1280, height=900)) as page:
        told = watch(page, url)
        page.goto(f'{url}search.html?q=Lipschitz')
        page.wait_for_selector('#search-results li a')
        assert page.locator('#search-results a', has_text='Critics').count()
        page.goto(f'{url}claims.html')
        rows = page.locator('table.claims tbody tr:visible')
        n = rows.count()
        page.locator('.filter').fill('Saddle nothing')
        assert rows.count() == 0 and not page.locator('h2:visible').count()
        page.locator('.filter').fill('modes RING')
        assert 0 < rows.count() < n/4
        page.goto(f'{url}symbols.html')
        page.locator('.filter').fill('wgan_gp')
        assert page.locator('dt:visible').count() == page.locator('h3:visible').count() == 1
        page.goto(f'{url}09_dcgan.html#exercise-9-1')
        page.locator('a', has_text='Solution 9.1').click()
        assert page.url == f'{url}solutions/09_dcgan.html#solution-9-1'
        assert not told

@pytest.mark.browser
def test_the_playground_plays_from_disk(browser, site):
    "On the built page, without a server; its links to chapters lead somewhere."
    with browser.new_page(viewport=dict(width=390, height=844)) as page:
        told = watch(page, 'file:')
        page.goto((site/'playground.html').as_uri())
        page.locator('.pg-play').click()
        page.wait_for_function("+document.querySelector('.pg').dataset.step >= 100")
        page.wait_for_function("document.querySelector('.pg-doctor').innerText.length > 60")
        assert page.evaluate('document.documentElement.scrollWidth') <= 390
        for to in page.locator('.pg-doctor a').all():
            assert (site/to.get_attribute('href')).is_file()
        assert not told

@pytest.mark.browser
def test_buttons_work_on_a_phone(browser, site):
    "Contents of the book, contents of the page, the light, and the search."
    with serve(site) as url, browser.new_page(viewport=dict(width=390, height=844)) as page:
        told = watch(page, url)
        page.goto(f'{url}05_training.html')
        page.locator('.primary-toggle:visible').click()
        page.locator('#pst-primary-sidebar-modal a', has_text='Losses').click()
        assert page.url == f'{url}02_losses.html'
        page.locator('.secondary-toggle:visible').click()
        page.locator('#pst-secondary-sidebar-modal a:visible', has_text='Exercise 2.1').click()
        assert page.url.endswith('02_losses.html#exercise-2-1')
        page.goto(f'{url}index.html')
        def ground(): return page.evaluate('getComputedStyle(document.body).backgroundColor')
        day = ground()
        page.locator('.theme-switch-button:visible').click()
        page.locator('.dropdown-item:visible', has_text='Dark').click()
        assert ground() != day
        page.locator('.search-button:visible').first.click()
        page.locator('#pst-search-dialog input').fill('Lipschitz')
        page.keyboard.press('Enter')
        page.wait_for_selector('#search-results li a')
        assert not told
