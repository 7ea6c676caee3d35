"""The tables of docs/teaching.md, which tools/readme.py puts in: what a chapter takes, and courses of several
lengths made of chapters.

Seconds are those that a chapter's stored run has printed; reading times are counted from its words and lines
of code. Only the plans, and the rates that reading is counted by, stand here.
"""
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
import cloud
from index import exercises, reading_order

root = Path(__file__).resolve().parent.parent
words_a_minute, lines_a_minute = 150, 30

plans = {  # weeks -> what a week is about, and its chapters
    6: [
        ('The game', '0 1 2'), ('A GAN from nothing', '3 4 5'),
        ('First images, and how good they are', '6 7'), ('DCGAN, and what goes wrong', '8 9'),
        ('Why it converges, or does not', '11 12'),
        ('A GAN that stays stable', '13 15'),
    ],
    10: [
        ('The game', '0 1'), ('Losses and data', '2 3'), ('A GAN from nothing', '4 5'),
        ('First images, and how good they are', '6 7'), ('What goes wrong, and DCGAN', '8 9'),
        ('Rules on trial; dynamics', '10 11'), ('Critics and penalties', '12 13'),
        ('A GAN that stays stable', '14 15'), ('Collapse; asking for a class', '16 20'),
        ('Inside a GAN; translation', '21 22'),
    ],
    14: [
        ('The game', '0 1'), ('Losses and data', '2 3'), ('A GAN from nothing', '4 5'),
        ('First images, and how good they are', '6 7'), ('What goes wrong', '8 a4'),
        ('DCGAN, and rules on trial', '9 10'), ('Dynamics', '11'), ('Critics and penalties', '12 13'),
        ('A GAN that stays stable', '14 15'), ('Collapse; optimisers for games', '16 17'),
        ('Architectures; small data', '18 19'), ('Asking for a class', '20'),
        ('Inside a GAN; translation', '21 22'),
        ('Styles, clips, filling in; beside others; what is rare; layers; projects', '23 24 25 26 27 28'),
    ],
}


@dataclass
class Effort:
    "What a chapter takes: minutes of reading, seconds of its stored run, and where that ran."
    number: str
    stem: str
    title: str
    minutes: float
    seconds: int
    machine: str
    exercises: list


def words_of(text: str) -> int:
    "How many: code in fences does not count, and a formula is one word."
    without_code = re.sub(r'```.*?```', '', text, flags=re.S)
    return len(re.sub(r'\$\$.*?\$\$|\$[^$]*\$', 'x', without_code, flags=re.S).split())


def reading_minutes(cells: list) -> float:
    "Of prose and of code, at the rates above; the cell that installs the package is not read."
    read = [c for c in cells if not cloud.is_setup(c)]
    def text(kind): return [''.join(c['source']) for c in read if c['cell_type'] == kind]
    lines = sum(bool(line.strip()) for t in text('code') for line in t.splitlines())
    return sum(map(words_of, text('markdown')))/words_a_minute + lines/lines_a_minute


def stamped(name: str, cells: list) -> tuple:
    "Seconds, and scale with machine, from the line that the last cell of a chapter has printed."
    printed = ''.join(''.join(o.get('text', '')) for o in cells[-1].get('outputs', []))
    found = re.match(r'(\w+) scale · (.+?) · (\d+) s · ', printed)
    if not found: raise SystemExit(f'{name} has no stamp: run python tools/render.py {name}.')
    return int(found[3]), f'{found[1]} scale, {found[2]}'


@cache
def efforts() -> dict:
    "Number of a chapter -> what it takes, in reading order."
    asked = {}
    for e in exercises(): asked.setdefault(e['chapter'], []).append(e['exercise'])
    found = {}
    for path in sorted((root/'nbs').glob('*.ipynb'), key=reading_order):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        number = re.sub(r'^(w?)0(?=\d)', r'\1', path.stem.split('_')[0])
        title = ''.join(cells[0]['source']).partition('\n')[0].removeprefix('# ')
        found[number] = Effort(
            number, path.stem, title, reading_minutes(cells), *stamped(path.stem, cells),
            asked.get(path.stem, []),
        )
    return found


def clock(seconds: int) -> str: return f'{seconds} s' if seconds < 90 else f'{seconds/60:.0f} min'

def about(minutes: float) -> str: return f'{5*max(1, round(minutes/5))} min'

def named(e: Effort) -> str: return f'[{e.number} {e.title}](../nbs/{e.stem}.ipynb)'

def range_of(names: list) -> str:
    "Exercises in few words."
    return f'{names[0]} to {names[-1]}' if len(names) > 2 else ', '.join(names)


def plan_block(weeks: int) -> str:
    "A course as a table, a row for each week."
    head = ['| week | about | chapters | reading | running | exercises |', '|--:|---|---|--:|--:|---|']
    rows = []
    for k, (topic, numbers) in enumerate(plans[weeks], 1):
        own = [efforts()[n] for n in numbers.split()]
        rows.append(
            f"| {k} | {topic} | {', '.join(map(named, own))} | {about(sum(e.minutes for e in own))} | "
            f"{clock(sum(e.seconds for e in own))} | {', '.join(range_of(e.exercises) for e in own)} |"
        )
    return '\n'.join(head + rows)


def chapters_block() -> str:
    "What each chapter takes; rooms of the workshop aside, which have no place in a course of weeks."
    own = [e for e in efforts().values() if not e.number.startswith('w')]
    machines = sorted({e.machine for e in own})
    rows = [f'| {named(e)} | {about(e.minutes)} | {clock(e.seconds)} | {len(e.exercises)} |' for e in own]
    head = ['| chapter | reading | running | exercises |', '|---|--:|--:|--:|']
    return '\n'.join([f"Running times as measured at {'; '.join(machines)}.", '', *head, *rows])


def rates_block() -> str:
    return (
        f'Reading is counted at {words_a_minute} words of prose and {lines_a_minute} lines of code a minute, '
        'a formula being one word, and rounded to five minutes; working through a chapter takes longer. '
        'Running is what the chapter printed at the end of its stored run.'
    )


def slides_block() -> str:
    cfg = cloud.settings()
    return f"They are also [online]({cfg['doc_host']}{cfg['doc_baseurl']}/slides/index.html)."


blocks = dict(rates=rates_block, chapters=chapters_block, slides=slides_block) | {
    f'weeks-{n}': (lambda n=n: plan_block(n)) for n in plans
}
