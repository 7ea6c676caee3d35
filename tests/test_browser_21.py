"Chapter 21 in a real JupyterLab and a real browser: the latent explorer answers."
import pytest

pytest.importorskip('playwright', reason='playwright is not installed: pip install -e ".[dev]"')
pytest.importorskip('jupyterlab', reason='JupyterLab is not installed: pip install -e ".[dev]"')
from lab import Lab, chromium  # noqa: E402
from test_browser import press  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.skipif(
    chromium() is None, reason="no Chromium: install it (Debian: apt install chromium), or set GANBOOK_CHROMIUM to the program's path")]


def test_explorer(tmp_path):
    "The seed and the factors move the picture, and back again."
    with Lab(tmp_path) as lab, lab.run_notebook('21_inside') as page:
        assert press(page, slider=0, image=0) == '1'
        assert press(page, slider=1, image=0) == '0.50'
        assert press(page, slider=4, image=0, key='ArrowLeft') == '\N{MINUS SIGN}0.50'
        assert press(page, slider=0, image=0, key='ArrowLeft') == '0'
