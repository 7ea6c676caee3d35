"""The chapters as slides: their figures, claims, formulas and exercises, chosen from the notebooks as they
are stored; one HTML file a chapter, and an index.

usage: python docs/slides.py [CHAPTER ...] [--without-solutions] [--out FOLDER]

A chapter is named by its number or its file, such as 9 or 09_dcgan; none means all. FOLDER is build/slides by
default. Needs no network, neither here nor where the slides are shown, and executes nothing. What a slide
shows is chosen by rules (`chosen`); the tag `slide` on a cell of text shows all of it, `no-slide` leaves a
cell out. The prose that a slide leaves out becomes its notes.
"""
import argparse
import html
import re
import shutil
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
import pages
from pages import Chapter, heading, prose, source

caption_words, text_words = 45, 70  # at most, whole sentences
claims_a_slide, claims_a_figure = 4, 3
lexer, formatter = PythonLexer(), HtmlFormatter(nowrap=True, style='tango')


# Markdown as HTML

def formula(text: str, options: dict) -> str:
    marks = (r'\[', r'\]') if options['display_mode'] else (r'\(', r'\)')
    return html.escape(f'{marks[0]}{text}{marks[1]}')

def coloured(code: str, language: str = 'python', attributes: str = '') -> str:
    return f'<pre class="code">{highlight(code, lexer, formatter)}</pre>'

md = MarkdownIt('commonmark', dict(html=False, highlight=coloured)).enable('table')
md.use(dollarmath_plugin, renderer=formula, allow_space=True, double_inline=True)

def sentences(text: str) -> list:
    "Of a paragraph; a formula and a piece of code are whole."
    kept = []
    def hide(found):
        kept.append(found[0])
        return f'\x00{len(kept) - 1}\x01'
    hidden = re.sub(r'`[^`]*`|\$\$.*?\$\$|\$[^$]*\$', hide, text, flags=re.S)
    parts = re.split(r'(?<=[.?!])\s+(?=[A-Z(*\x00])', hidden)
    return [re.sub(r'\x00(\d+)\x01', lambda m: kept[int(m[1])], p) for p in parts]

def opening(text: str, most: int) -> str:
    """The first sentences of the prose in a cell, at most about `most` words and at least
    one sentence; lists, tables, pictures and displayed formulas left out."""
    plain = re.sub(r'```.*?```|\$\$.*?\$\$', '\n\n', text, flags=re.S)
    plain = re.sub(r'^\s*(?:[-|#>]|\d+\. |!\[).*$', '', plain, flags=re.M)
    said, words = [], 0
    for sentence in (s for paragraph in plain.split('\n\n') for s in sentences(paragraph.strip()) if s):
        words += len(sentence.split())
        if said and words > most: break
        said.append(sentence)
    return re.sub(r'\s+', ' ', ' '.join(said)).strip()

def caption(text: str) -> str:
    "What is said of the figure, or of the claims, below a cell of text."
    return opening(text, caption_words).removesuffix(':')

def displayed(text: str) -> str:
    "The first displayed formula of a cell, or nothing."
    found = re.search(r'\$\$.*?\$\$', text, re.S)
    return found[0] if found else ''

def with_chapters(text: str) -> str:
    "Links lead nowhere from a slide: their words remain."
    return re.sub(r'(?<!!)\[([^\]]*)\]\([^)]*\)', r'\1', text)


# A slide, and which there are

@dataclass
class Slide:
    "`kind` is title, text, figure, claims, exercise or solution; `body` and `notes` are HTML."
    kind: str
    title: str
    body: str
    notes: str = ''

def claim_list(chapter: Chapter, printed: str) -> list:
    "The claims among printed lines, as HTML."
    rows = []
    for line in printed.splitlines():
        for c in chapter.claims:
            if line.startswith(f"✓ {c['claim']}: "): rows.append(claim_row(c))
    return rows

def claim_row(c: dict) -> str:
    low_high = f" <small>{c['interval'][0]:.3g} to {c['interval'][1]:.3g}</small>" if c['interval'] else ''
    around = f" ± {c['tol']:g}" if c['op'] == '~' else ''
    target = f"{pages.signs.get(c['op'], c['op'])} {c['target']:.4g}{around}"
    origin = f" <small>{html.escape(c['source'])}</small>" if c['source'] else ''
    return (
        f'<li><span class="what">{md.renderInline(prose(c["claim"]))}{origin}</span>'
        f'<span class="value">{c["value"]:.4g}{low_high}</span><span class="target">{target}</span></li>'
    )

def led(words: str) -> str:
    "What stands above claims or code."
    return f'<p class="lead">{md.renderInline(with_chapters(words))}</p>' if words else ''

def pictures(cell: dict) -> list:
    "The figures that a cell has stored, as addresses of their own data."
    found = []
    for o in cell.get('outputs', []):
        for kind in ('image/png', 'image/webp', 'image/gif', 'image/svg+xml'):
            data = ''.join(o.get('data', {}).get(kind, ''))
            if not data: continue
            if kind == 'image/svg+xml': data = b64encode(data.encode()).decode()
            found.append(f'data:{kind};base64,{data.strip()}')
    return found

def figure(address: str, alt: str, words: str, claims: list = ()) -> str:
    shown = f'<p class="caption">{md.renderInline(with_chapters(words))}</p>' if words else ''
    held = f'<ul class="claims">{"".join(claims)}</ul>' if claims else ''
    return f'<div class="picture"><img src="{address}" alt="{html.escape(alt)}"></div>{shown}{held}'

@dataclass
class Chooser:
    "What has been read of a chapter so far, and the slides made of it."
    chapter: Chapter
    slides: list = field(default_factory=list)
    section: str = ''
    told: str = ''      # the last cell of text
    shown: str = ''     # the one that stands below the last figure
    unsaid: list = field(default_factory=list)  # texts since the last slide
    held: list = field(default_factory=list)    # claims that wait for a slide
    lead: str = ''      # the cell of text that speaks of them

    def put(self, kind: str, body: str, title: str = None):
        notes = md.render(with_chapters('\n\n'.join(self.unsaid)))
        self.unsaid = []
        self.slides.append(Slide(kind, self.section if title is None else title, body, notes))

    def put_claims(self):
        "The claims that wait, a few on each slide."
        for k in range(0, len(self.held), claims_a_slide):
            lead = led(caption(self.lead)) if not k else ''
            rows = ''.join(self.held[k:k + claims_a_slide])
            self.put('claims', f'{lead}<ul class="claims">{rows}</ul>')
        self.held = []

    def text(self, text: str, tags: list):
        if text.startswith('## '):
            self.put_claims()
            self.section = heading(text)
        self.told = text
        for alt, to in re.findall(r'!\[([^\]]*)\]\((images/[^)\s]+)\)', text):
            self.put_claims()
            self.put('figure', figure(to, alt, caption(text) if self.shown != text else ''))
            self.shown = text
        self.unsaid.append(re.sub(r'(?m)^#.*\n*|!\[[^\]]*\]\([^)]*\)', '', text).strip())
        if 'slide' in tags or text.startswith('## What to remember'):
            self.put('text', md.render(with_chapters(re.sub(r'(?m)^#.*', '', text))))
        elif displayed(text):
            self.put_claims()
            said = f'{with_chapters(opening(text.partition("$$")[0], text_words))}\n\n{displayed(text)}'
            self.put('text', md.render(said))

    def code(self, cell: dict):
        claims = claim_list(self.chapter, pages.printed(cell))
        found = pictures(cell)
        if found and self.lead == self.told: self.held, claims = [], self.held + claims
        if found: self.put_claims()
        for address in found:
            words = caption(self.told) if self.told != self.shown else ''
            self.put('figure', figure(address, f'Figure: {self.section}', words, claims[:claims_a_figure]))
            self.shown, claims = self.told, claims[claims_a_figure:]
        if claims and not self.held: self.lead = self.told
        self.held += claims

def chosen(chapter: Chapter, with_solutions: bool = True) -> list:
    """The slides of a chapter: its title; a picture or a figure with the words before it; claims, a few
    together; a formula with the words before it; what to remember; exercises, each with its solution."""
    title, _, sentence = source(chapter.cells[0]).partition('\n')
    it = Chooser(chapter, section=chapter.title)
    it.put('title', f'<p class="number">{chapter.named}</p><h1>{md.renderInline(title[2:])}</h1>'
        f'<p class="sentence">{md.renderInline(sentence.strip().lstrip("> ").strip())}</p>', '')
    for c in chapter.cells[1:]:
        tags, text = c['metadata'].get('tags', []), source(c)
        asked = re.match(r'### Exercise (\S+)\s+(.*)', text, re.S)
        if 'no-slide' in tags or pages.has(c, 'hide'): continue
        if asked:
            it.put_claims()
            it.put('exercise', md.render(with_chapters(asked[2])), f'Exercise {asked[1]}')
            if with_solutions: it.slides += solution(chapter, asked[1])
        elif c['cell_type'] == 'markdown': it.text(text, tags)
        else: it.code(c)
    it.put_claims()
    return it.slides

def solution(chapter: Chapter, number: str) -> list:
    "A slide for each cell of code that solves the exercise, with the words before it."
    found, inside, words = [], False, ''
    for c in chapter.solutions:
        text = source(c)
        given = re.match(r'### Solution (\S+)', text)
        if given: inside = given[1] == number
        if not inside: continue
        if c['cell_type'] == 'markdown': words = opening(text, text_words)
        elif text.strip() != 'stamp()':
            found.append(Slide('solution', f'Solution {number}', led(words) + coloured(text)))
            words = ''
    return found


# Files

def slide_html(k: int, s: Slide) -> str:
    head = f'<h2>{md.renderInline(prose(s.title))}</h2>' if s.title else ''
    notes = f'<aside class="notes">{s.notes}</aside>' if s.notes.strip() else ''
    return f'<section class="slide {s.kind}" id="{k}">{head}<div class="body">{s.body}</div>{notes}</section>'

def deck(chapter: Chapter, slides: list, book: str) -> str:
    "A chapter's slides as a page."
    static = pages.root/'docs'/'static'
    css = (static/'slides.css').read_text(encoding='utf-8') + formatter.get_style_defs('.code')
    script = (static/'slides.js').read_text(encoding='utf-8')
    where = f'{html.escape(book)} · {chapter.number} · {html.escape(chapter.title)}'
    return '\n'.join([
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{where}</title>',
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">',
        f'<style>{css}</style><script>{script}</script>',
        '<script src="mathjax/tex-chtml-full.js" async></script></head><body><main id="stage">',
        *[slide_html(k, s) for k, s in enumerate(slides, 1)],
        f'<footer><span><a href="index.html">{where}</a></span><span id="place"></span></footer></main>',
        '<div id="bar"></div></body></html>',
    ])

def index(made: list, book: str) -> str:
    "Links to all decks in the folder: (chapter, number of slides)."
    css = (pages.root/'docs'/'static'/'slides.css').read_text(encoding='utf-8')
    rows = [
        f'<li><a href="{file_name(ch)}"><b>{ch.number}</b> {html.escape(ch.title)}</a> '
        f'<small>{n} slides</small></li>'
        for ch, n in made
    ]
    keys = 'Arrow keys turn the slides, N shows notes, F fills the screen; printing gives one slide a page.'
    return '\n'.join([
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{book}: slides</title>',
        f'<link rel="icon" href="data:,"><style>{css}</style></head><body class="index"><h1>{book}</h1>',
        f'<p>{keys}</p><ul>', *rows, '</ul></body></html>',
    ])

def file_name(chapter: Chapter) -> str: return f'{chapter.stem.split("_")[0]}.html'

def wanted(book: list, names: list) -> list:
    "The chapters that were named; a name that is none ends it with a sentence."
    by_name = {name: ch for ch in book for name in (ch.number, ch.stem, ch.stem.split('_')[0])}
    for name in names:
        if name not in by_name:
            known = ', '.join(c.number for c in book)
            raise SystemExit(f'there is no chapter {name!r}: take one of {known}.')
    return [by_name[name] for name in names] if names else book

def build(names: list, out: Path, with_solutions: bool) -> list:
    "Write the decks, and an index of them; returns the paths."
    chapters = wanted(pages.read(pages.root/'nbs', pages.root/'results'), names)
    title = pages.cloud.settings()['title']
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copytree(pages.root/'nbs'/'images', out/'images')
    pages.add_mathjax(out)
    made = [(ch, chosen(ch, with_solutions)) for ch in chapters]
    for ch, slides in made: (out/file_name(ch)).write_text(deck(ch, slides, title), encoding='utf-8')
    (out/'index.html').write_text(index([(ch, len(s)) for ch, s in made], title), encoding='utf-8')
    return [out/'index.html', *[out/file_name(ch) for ch, _ in made]]

def main(words: list) -> int:
    parser = argparse.ArgumentParser(description='The chapters as slides.')
    parser.add_argument('chapters', nargs='*', help='numbers or names, such as 9 or 09_dcgan; none means all')
    parser.add_argument('--without-solutions', action='store_true', help='leave the solutions out')
    parser.add_argument('--out', type=Path, default=pages.root/'build'/'slides', help='folder, made anew')
    given = parser.parse_args(words)
    paths = build(given.chapters, given.out.resolve(), not given.without_solutions)
    print(*paths[:1] if len(paths) > 2 else paths[1:], sep='\n')
    return 0


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
