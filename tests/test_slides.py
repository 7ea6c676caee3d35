"""Slides: what is chosen from a chapter, with solutions and without; and one chapter, built without a network
and looked at in a browser.
"""
import os
import subprocess
import sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tests')]
import pages  # noqa: E402
import slides  # noqa: E402
from lab import chromium, flags  # noqa: E402
from test_page import no_network, serve, watch  # noqa: E402

png = dict(output_type='display_data', metadata={}, data={'image/png': 'aGVsbG8='})

def md(text, *tags): return dict(cell_type='markdown', metadata=dict(tags=list(tags)), source=text)
def py(text, *outputs, tags=()):
    return dict(cell_type='code', metadata=dict(tags=list(tags)), source=text, outputs=list(outputs))
def said(text): return dict(output_type='stream', name='stdout', text=text)
def claim(text, value, **more):
    return dict(claim=text, value=value, interval=None, op='>=', target=2., tol=None, source=None) | more

answers = [
    md('# Solutions'), md('### Solution 5.1\n\nAs below.'), py('assert 6*7 == 42'),
    md('### Solution 5.2'), py('assert 2'), py('stamp()'),
]

def chosen(*cells, claims=(), with_solutions=True, solutions=()):
    chapter = pages.Chapter('05_x', [md('# X & co\n\n> So it is'), *cells], list(solutions), list(claims))
    return slides.chosen(chapter, with_solutions)

def test_a_chapter_begins_with_its_title():
    (first,) = chosen(py('#| hide\nimport x'), md('Words alone make no slide.'), py('x = 1'))
    assert first.kind == 'title' and '<h1>X &amp; co</h1>' in first.body and 'So it is' in first.body

def test_a_figure_stands_with_the_words_before_it():
    words = md('## Here\n\nLook at $a. B$ and `c. D`. *Then* so.')
    _, it, again = chosen(words, py('plot()', png), py('plot()', png))
    assert (it.kind, it.title) == ('figure', 'Here') and 'src="data:image/png;base64,aGVsbG8="' in it.body
    formula = r'<span class="math inline">\(a. B\)</span>'
    caption = f'<p class="caption">Look at {formula} and <code>c. D</code>. <em>Then</em> so.</p>'
    assert caption in it.body
    assert 'alt="Figure: Here"' in it.body and 'Look at' in it.notes
    assert 'caption' not in again.body and not again.notes

def test_claims_are_taken_from_the_ledger():
    rows = [claim(f'{k} is large', k/3, interval=[k, k + 1.]) for k in range(6)]
    lines = ''.join(f"✓ {c['claim']}: {c['value']:.6g} ≥ 2\n" for c in rows)
    cell = py('claim()', said(lines + '✓ unknown: 3\nplain\n'))
    _, first, rest = chosen(md('## All\n\nWe count:'), cell, claims=rows)
    assert [s.body.count('<li>') for s in (first, rest)] == [4, 2] and first.kind == 'claims'
    assert 'We count</p>' in first.body and 'We count' not in rest.body
    assert '1.667 <small>5 to 6</small>' in rest.body and '≥ 2' in rest.body
    assert 'unknown' not in first.body + rest.body

def test_claims_of_a_figure_stand_below_it():
    printed = said('✓ a is large: 3 ≥ 2\n')
    rows = [claim('a is large', 3., source='a & b 2014')]
    for cells in ([py('claim(); plot()', printed, png)], [py('claim()', printed), py('plot()', png)]):
        _, it = chosen(md('## F\n\nLook.'), *cells, claims=rows)
        assert it.kind == 'figure' and it.body.count('<li>') == 1 and 'a &amp; b 2014' in it.body

def test_a_formula_is_shown_with_the_words_before_it():
    _, it = chosen(md('## Sum\n\nOne. Two is\n\n$$a + b < c$$\n\nand more $$d$$'))
    assert it.kind == 'text' and r'\[a + b &lt; c\]' in it.body
    assert 'Two is' in it.body and 'more' not in it.body

def test_a_picture_of_the_text_is_shown():
    _, it = chosen(md('## P\n\n![G and D](images/gan.svg)\n\nBoth [learn](01_game.ipynb).'))
    assert 'src="images/gan.svg" alt="G and D"' in it.body and 'Both learn.' in it.body

def test_tags_choose():
    assert len(chosen(md('Words.'), py('x', png, tags=['no-slide']), md('$$x$$', 'no-slide'))) == 1
    _, it = chosen(md('## All of it\n\nOne.\n\n- a\n- b', 'slide'))
    assert it.title == 'All of it' and '<li>a</li>' in it.body

def test_exercises_have_their_solutions_unless_they_are_left_out():
    task = md('### Exercise 5.1\n\nDo `it`.\n\n```python\ndef f(): ...\n```\n\nCheck number: **42**')
    cells = [task, py('stamp()')]
    _, asked, solved = chosen(*cells, solutions=answers)
    assert (asked.title, asked.kind) == ('Exercise 5.1', 'exercise')
    assert (solved.title, solved.kind) == ('Solution 5.1', 'solution')
    assert 'Check number: <strong>42</strong>' in asked.body and 'class="code"' in asked.body
    assert 'As below.' in solved.body and 'stamp' not in solved.body and 'assert' in solved.body
    assert [s.kind for s in chosen(*cells, solutions=answers, with_solutions=False)] == ['title', 'exercise']

@pytest.mark.parametrize(
    'text,most,want',
    [
        ('One two. Three.', 2, 'One two.'), ('One two. Three.', 3, 'One two. Three.'),
        ('A sentence of five words.', 1, 'A sentence of five words.'),
        ('## Head\n\n- a\n\n| b |\n\nText.', 9, 'Text.'), ('In $a. B$ so. Then.', 4, 'In $a. B$ so.'),
        ('$$x$$', 9, ''), ('', 9, ''), ('1.5 is it. No.', 3, '1.5 is it.'),
    ],
)
def test_the_opening_of_a_text(text, most, want): assert slides.opening(text, most) == want

def test_a_chapter_that_is_none_is_told():
    book = [pages.Chapter('05_x', []), pages.Chapter('a1_y', [])]
    assert slides.wanted(book, []) == book
    for name in ('5', '05', '05_x'): assert slides.wanted(book, [name]) == [book[0]]
    assert slides.wanted(book, ['a1', '5']) == book[::-1]
    with pytest.raises(SystemExit, match="there is no chapter '6': take one of 5, a1."):
        slides.wanted(book, ['6'])

def test_every_main_chapter_has_slides():
    "Of each kind; and none of a solution where they are left out."
    for ch in pages.read(root/'nbs', root/'results'):
        made = slides.chosen(ch)
        kinds = {s.kind for s in made}
        assert made[0].kind == 'title' and made[0].body
        if ch.stem[0] in '012':
            assert {'figure', 'exercise', 'solution'} <= kinds and 8 < len(made) < 60, ch.stem
        left = slides.chosen(ch, with_solutions=False)
        assert len(left) == sum(s.kind != 'solution' for s in made)

def test_slides_are_built_without_a_network(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', no_network, str(root/'docs'/'slides.py'), '1', '--out', str(tmp_path/'s')],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | dict(PYTHONPATH=str(root/'docs')),
    )
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    assert Path(done.stdout.strip()) == tmp_path/'s'/'01.html' and (tmp_path/'s'/'index.html').is_file()

@pytest.fixture(scope='module')
def page():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=flags)
        yield browser.new_page(viewport=dict(width=1000, height=600))
        browser.close()

shrunk = "slides.filter(s => s.querySelector('.body').style.zoom).length"
needed = """slides.filter(s => {
  const style = s.querySelector('.body').style;
  if (!style.zoom) return false;
  style.zoom = Number(style.zoom) + .05;
  const full = !fits(s);
  style.zoom -= .05;
  return full;
}).length"""

@pytest.mark.browser
def test_slides_are_shown(page, tmp_path):
    "All is set and fits, on a slow machine too, keys turn, the address names a slide, each prints."
    slides.build(['1'], tmp_path, True)
    n = len(slides.chosen(slides.wanted(pages.read(root/'nbs', root/'results'), ['1'])[0]))
    with serve(tmp_path) as url:
        told = watch(page, url)
        slow = page.context.new_cdp_session(page)
        slow.send('Emulation.setCPUThrottlingRate', dict(rate=12))
        page.goto(f'{url}index.html')
        page.locator('a', has_text='The game').click()
        page.wait_for_function("document.body.dataset.ready == 'yes'")
        slow.send('Emulation.setCPUThrottlingRate', dict(rate=1))
        def now(): return page.evaluate("[...document.querySelectorAll('.slide.now')].map(s => Number(s.id))")
        assert page.locator('.slide').count() == n and now() == [1]
        assert page.evaluate('slides.every(fits)')
        assert page.evaluate(shrunk) == page.evaluate(needed) > 0
        assert page.evaluate("document.querySelectorAll('mjx-container').length") > 50
        assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0
        assert page.evaluate("[...document.images].every(m => m.naturalWidth)")
        turns = dict(ArrowRight=2, Space=3, ArrowLeft=2, End=n, PageDown=n, Home=1, Backspace=1)
        for key, want in turns.items():
            page.keyboard.press(key)
            assert now() == [want], key
        page.mouse.click(900, 300)
        assert now() == [2] and page.url.endswith('01.html#2')
        page.keyboard.press('n')
        assert page.locator('.slide.now .notes').is_visible()
        page.goto(f'{url}01.html#5')
        assert now() == [5] and page.locator('#place').inner_text() == f'5 / {n}'
        page.emulate_media(media='print')
        assert page.evaluate("slides.every(s => getComputedStyle(s).visibility == 'visible')")
        page.emulate_media(media='screen')
        assert not told

@pytest.mark.browser
def test_a_slide_that_is_too_full_is_shrunk(page, tmp_path):
    long = md('## Long\n\n' + 'Many words that go on. '*70, 'slide')
    chapter = pages.Chapter('05_x', [md('# X\n\n> So'), long], [], [])
    (tmp_path/'a.html').write_text(slides.deck(chapter, slides.chosen(chapter), 'book'), encoding='utf-8')
    pages.add_mathjax(tmp_path)
    with serve(tmp_path) as url:
        page.goto(f'{url}a.html#2')
        page.wait_for_function("document.body.dataset.ready == 'yes'")
        assert float(page.evaluate("slides[1].querySelector('.body').style.zoom")) < .9
        assert page.evaluate('slides.every(fits)')
