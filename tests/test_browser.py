"""Chapters in a real JupyterLab and a real browser: they run from top to bottom, and their widgets answer."""
import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip('playwright', reason='playwright is not installed: pip install -e ".[dev]"')
pytest.importorskip('jupyterlab', reason='JupyterLab is not installed: pip install -e ".[dev]"')
import lab as lab_module  # noqa: E402
from lab import Lab, chromium  # noqa: E402

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        chromium() is None,
        reason="no Chromium: install it (Debian: apt install chromium), or set GANBOOK_CHROMIUM to the "
               "program's path",
    ),
]


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp('lab')) as lab: yield lab


def press(page, slider, image, key='ArrowRight'):
    """Press a key on the slider `slider`, counted from 0, and wait
    until the picture is another one; gives the slider's new reading."""
    img = page.locator('img.widget-image').nth(image)
    img.scroll_into_view_if_needed()
    before = img.get_attribute('src')
    handle = page.locator('.widget-slider .noUi-handle').nth(slider)
    handle.focus()
    handle.press(key)
    page.wait_for_function(
        "([i, old]) => { const m = document.querySelectorAll('img.widget-image')[i]; "
        "return m.src !== old && m.complete }",
        arg=[image, before], timeout=20_000,
    )
    assert img.get_attribute('src') != before
    assert img.evaluate('m => m.naturalWidth') > 300  # a picture, not a broken link
    return page.locator('.widget-slider .widget-readout').nth(slider).inner_text()


def test_faces(lab):
    "Chapter 0 trains its GAN in JupyterLab, and its window shows what has been learned."
    with lab.run_notebook('00_faces') as page:
        window = page.locator('img.widget-image').first
        assert window.evaluate('m => m.complete && m.naturalWidth') == 12*17*6 - 6


def test_game(lab):
    "Chapter 1 runs in JupyterLab; the keyboard moves both of its sliders, and the figure follows."
    with lab.run_notebook('01_game') as page:
        assert 'quick scale' in page.locator('.jp-OutputArea').last.inner_text()
        assert press(page, slider=0, image=0) == '2.10'
        assert press(page, slider=1, image=0, key='ArrowLeft') == '0.90'
        assert press(page, slider=0, image=0, key='ArrowLeft') == '2.00'


def test_losses(lab):
    "Chapter 2: the logit of the pulls moves, and so do they."
    with lab.run_notebook('02_losses') as page:
        assert press(page, slider=0, image=0) == '\N{MINUS SIGN}2.50'


def test_measuring(lab):
    "Chapter 7: number of features and true distance move the figure of the bias."
    with lab.run_notebook('07_measuring') as page:
        assert press(page, slider=0, image=0) == '128'
        assert press(page, slider=1, image=0) == '1.10'


def test_doctor(lab):
    "Chapter 8: another failure and another seed train another GAN, and the switchboard shows it."
    with lab.run_notebook('08_doctor') as page:
        assert press(page, slider=0, image=0) == '1'
        img, choice = page.locator('img.widget-image').first, page.locator('.widget-dropdown select').first
        before = img.get_attribute('src')
        choice.select_option(label='wrong end of G')
        page.wait_for_function(
            "old => document.querySelector('img.widget-image').src !== old", arg=before, timeout=60_000
        )
        assert img.evaluate('m => m.complete && m.naturalWidth') > 300


def test_dcgan(lab):
    "Chapter 9: the shape calculator follows its sliders."
    with lab.run_notebook('09_dcgan') as page:
        first = press(page, slider=0, image=0)
        assert press(page, slider=1, image=0)
        assert press(page, slider=0, image=0, key='ArrowLeft') != first


def test_dynamics(lab):
    "Chapter 11: weight, step size, steps of D and noise move the path and its eigenvalues."
    with lab.run_notebook('11_dynamics') as page:
        assert press(page, slider=0, image=0) == '0.40'
        assert press(page, slider=1, image=0) == '0.25'
        assert press(page, slider=2, image=0) == '2'
        assert press(page, slider=3, image=0) == '0.10'


def test_inside(lab):
    "Chapter 21: the seed and the factors of the latent explorer move the picture, and back again."
    with lab.run_notebook('21_inside') as page:
        assert press(page, slider=0, image=0) == '1'
        assert press(page, slider=1, image=0) == '0.50'
        assert press(page, slider=4, image=0, key='ArrowLeft') == '\N{MINUS SIGN}0.50'
        assert press(page, slider=0, image=0, key='ArrowLeft') == '0'


def test_clips(lab):
    "Chapter 24: who and what of a clip are chosen apart."
    with lab.run_notebook('24_clips') as page:
        assert press(page, slider=0, image=0) == '1'
        assert press(page, slider=1, image=0) == '1'
        assert press(page, slider=0, image=0, key='ArrowLeft') == '0'


def test_style(lab):
    "Chapter 23: both people, the grid and psi move the mixed face."
    with lab.run_notebook('23_style') as page:
        assert press(page, slider=1, image=0) == '2'
        assert press(page, slider=2, image=0) == '3'
        assert press(page, slider=3, image=0) == '1.10'


def test_translation(lab):
    "Chapter 22: seed, tilt and smile of an outline, and the latent, move the picture of its faces."
    with lab.run_notebook('22_translation') as page:
        assert press(page, slider=0, image=0) == '1'
        assert press(page, slider=1, image=0) == '0.10'
        assert press(page, slider=3, image=0) == '1'
        assert press(page, slider=0, image=0, key='ArrowLeft') == '0'


def test_filling(lab):
    "Chapter 25: the face, and the place and the size of the hole, move the picture of its answers."
    with lab.run_notebook('25_filling_in') as page:
        assert press(page, slider=0, image=0) == '1'
        assert press(page, slider=1, image=0) == '8'
        assert press(page, slider=3, image=0, key='ArrowLeft') == '8'


def test_beside(lab):
    "Chapter 26: the number of steps and the noise move the picture of the walks."
    with lab.run_notebook('26_beside') as page:
        assert press(page, slider=0, image=0) == '9'
        assert press(page, slider=1, image=0) == '1'


def test_errors_of_a_counter_change_with_their_sliders(lab):
    "Chapter 27: a true share and a number of samples move the intervals."
    with lab.run_notebook('27_rare') as page:
        assert press(page, slider=0, image=0) == '0.030'
        assert press(page, slider=3, image=0) == '1550'


def test_the_colour_of_a_layer_changes_with_its_slider(lab):
    "Chapter 28: a face, and a layer's colour, are chosen by sliders."
    with lab.run_notebook('28_layers') as page:
        assert press(page, slider=0, image=0) == '2'
        assert press(page, slider=2, image=0) == '5'


def test_every_chapter_with_a_widget_is_opened_here():
    """A widget is made by ipywidgets or is the playground; each
    chapter that has one is run by a test of the browser."""
    code = {
        p.stem: '\n'.join(
            ''.join(c['source'])
            for c in json.loads(p.read_text(encoding='utf-8'))['cells']
            if c['cell_type'] == 'code'
        )
        for p in (lab_module.root/'nbs').glob('*.ipynb')
    }
    with_widgets = {
        name
        for name, text in code.items()
        if re.search(r'^import (ipywidgets|anywidget)|^\w+ = Playground\(', text, re.M)
    }
    tests = ''.join(p.read_text(encoding='utf-8') for p in Path(__file__).parent.glob('test_browser*.py'))
    shown = set(re.findall(r"run_notebook\('((?:\d\d|w\d\d|a\d)_\w+)'\)", tests))
    assert with_widgets == shown - {'00_broken'}


def made_up(tmp_path, source, stored='', tags=()):
    "Write a chapter of one cell, 00_broken, into the folder, with what it is said to have printed."
    outputs = [dict(output_type='stream', name='stdout', text=stored)] if stored else []
    cell = dict(
        cell_type='code', id='a', metadata=dict(tags=[*tags]), execution_count=None, outputs=outputs,
        source=source,
    )
    nb = dict(
        cells=[cell],
        metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')), nbformat=4,
        nbformat_minor=5,
    )
    (tmp_path/'nbs').mkdir()
    (tmp_path/'nbs'/'00_broken.ipynb').write_text(json.dumps(nb))


def test_a_failing_cell_is_reported(lab, monkeypatch, tmp_path):
    """A chapter that fails in the browser fails the test, with the
    traceback's words; and the kernel is the interpreter of this test."""
    made_up(tmp_path, "import sys; raise ValueError('as foretold by ' + sys.executable)")
    monkeypatch.setattr(lab_module, 'root', tmp_path)
    with pytest.raises(AssertionError, match=re.escape(f'as foretold by {sys.executable}')):
        with lab.run_notebook('00_broken'): pass
    assert not lab.sessions('00_broken.ipynb')  # its kernel is gone


def test_an_output_that_changed_is_reported(lab, monkeypatch, tmp_path):
    "A tagged cell that prints something else than is stored fails the test; the same text passes."
    monkeypatch.setattr(lab_module, 'root', tmp_path)
    made_up(tmp_path, "print('one')\nprint('two')", 'one\ntwo\n', ['nbval-check-output'])
    with lab.run_notebook('00_broken'): pass
    path = tmp_path/'nbs'/'00_broken.ipynb'
    path.write_text(path.read_text().replace('one\\ntwo\\n', 'one\\nthree\\n'))
    with pytest.raises(AssertionError, match='code cell 0 of 00_broken printed something else'):
        with lab.run_notebook('00_broken'): pass
