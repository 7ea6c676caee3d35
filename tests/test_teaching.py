"""The page for teachers: its courses name chapters that are there, and its times come from stored runs."""
import json
import re
import sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root/'tools'))
import cloud  # noqa: E402
import teaching  # noqa: E402

page = (root/'docs'/'teaching.md').read_text(encoding='utf-8')

def md(text): return dict(cell_type='markdown', metadata={}, source=text)
def py(text, printed=''):
    outputs = [dict(name='stdout', text=printed)]*bool(printed)
    return dict(cell_type='code', metadata={}, source=text, outputs=outputs)

@pytest.mark.parametrize('weeks', teaching.plans)
def test_a_course_has_its_weeks_and_its_chapters_in_order(weeks):
    plan = teaching.plans[weeks]
    numbers = [n for _, named in plan for n in named.split()]
    main = [n for n in numbers if n.isdigit()]
    assert len(plan) == weeks and set(numbers) <= set(teaching.efforts())
    assert len(set(numbers)) == len(numbers) and main == sorted(main, key=int)
    rows = re.search(rf'<!-- weeks-{weeks}: .*?<!-- end', page, re.S)[0]
    assert len(re.findall(r'^\| \d+ \|', rows, re.M)) == weeks

def test_the_longest_course_has_every_main_chapter():
    numbers = {n for _, named in teaching.plans[14] for n in named.split()}
    assert {n for n in teaching.efforts() if n.isdigit()} <= numbers

def test_times_are_those_of_the_stored_runs():
    e = teaching.efforts()['1']
    cells = json.loads((root/'nbs'/'01_game.ipynb').read_text(encoding='utf-8'))['cells']
    printed = ''.join(cells[-1]['outputs'][0]['text'])
    assert f'· {e.seconds} s ·' in printed and e.exercises == ['1.1', '1.2', '1.3', '1.4']
    times = f'{teaching.about(e.minutes)} | {teaching.clock(e.seconds)}'
    assert f'| [1 The game](../nbs/01_game.ipynb) | {times} | 4 |' in page

def test_reading_is_counted():
    words, lines = teaching.words_a_minute, teaching.lines_a_minute
    unread = [md('```python\nnot read\n```'), py('y') | dict(id=cloud.cell_id)]
    cells = [md('word '*words), py('x = 1\n\n'*lines), *unread]
    assert teaching.reading_minutes(cells) == 2
    assert teaching.words_of('A $b + c$ and $$d\ne$$ end') == 5

def test_stamps_are_read():
    cell = py('stamp()', 'full scale · GPU X · 75 s · Python 3')
    assert teaching.stamped('x', [cell]) == (75, 'full scale, GPU X')
    with pytest.raises(SystemExit, match='09_x has no stamp: run python tools/render.py 09_x'):
        teaching.stamped('09_x', [py('stamp()')])

@pytest.mark.parametrize('minutes,want', [(0., '5 min'), (7., '5 min'), (8., '10 min'), (61., '60 min')])
def test_minutes_are_rounded(minutes, want): assert teaching.about(minutes) == want

@pytest.mark.parametrize('seconds,want', [(5, '5 s'), (89, '89 s'), (91, '2 min'), (437, '7 min')])
def test_seconds_are_told(seconds, want): assert teaching.clock(seconds) == want

def test_links_of_the_page_are_files_of_the_repository():
    links = re.findall(r'\]\((\.\./[^)#]+)', page)
    assert len(links) > 50 and not [to for to in links if not (root/'docs'/to).is_file()]
