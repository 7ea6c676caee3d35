"""JupyterLab and a headless Chromium, for tests that want to see a chapter as a reader does.

    with Lab(folder) as lab, lab.run_notebook('01_game') as page: ...

The server has folders of its own for everything it reads and writes, its kernels are this very interpreter,
and both it and the browser are gone when the block ends, however it ends. Nothing leaves the machine. """
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

root = Path(__file__).resolve().parent.parent
start_s, run_s = 60, 400  # limits: for the server to answer and a page to appear; for a chapter to run
flags = (
    '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking '
    '--disable-component-update --disable-sync --disable-dev-shm-usage --no-proxy-server'
).split()
settings = {
    # no pop-up over the page
    'apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False},
    'docmanager-extension/plugin': {'autosave': False},
    # every cell is in the page, also those out of sight
    'notebook-extension/tracker': {'windowingMode': 'none'},
}

# a promise of nothing: what JupyterLab answers cannot be handed over
open_chapter = "path => window.jupyterapp.commands.execute('docmanager:open', {path}).then(() => null)"
close_chapter = """async () => {
    const chapter = window.jupyterapp.shell.currentWidget
    await chapter.context.sessionContext.shutdown()
    chapter.dispose()
}"""


def chromium():
    """Path of the browser: the program that GANBOOK_CHROMIUM
    names, else the first that is installed, else None."""
    named = os.environ.get('GANBOOK_CHROMIUM')
    if named and not shutil.which(named):
        raise FileNotFoundError(
            f"GANBOOK_CHROMIUM is {named!r}, which is no program: "
            "set it to the path of Chromium, or leave it unset."
        )
    return (
        shutil.which(named)
        if named
        else next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    )


def wait_until(done, limit_s, what):
    """The first true value of `done()`, asked ten times a second;
    a TimeoutError that says `what` was awaited otherwise."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := done(): return value
        time.sleep(.1)
    raise TimeoutError(f"{what} took longer than {limit_s} s")


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Lab:
    "A JupyterLab server on the folder `work` inside `tmp`, and a browser; use it in a `with` block."

    def __init__(self, tmp, scale='quick'):
        self.tmp = Path(tmp)
        self.scale = scale
        self.token = 'ganbook'
        self.server = self.browser = self.playwright = self.page = None

    def __enter__(self):
        try:
            self._start_server()
            self._start_browser()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.browser: self.browser.close()
            if self.playwright: self.playwright.stop()
        finally: self._stop_server()

    def _environment(self):
        """The server's environment: its own folders, this checkout
        on the path, quick scale, one thread, no claims recorded."""
        env = {k: v for k, v in os.environ.items() if k not in ('GANBOOK_LEDGER', 'MPLBACKEND', 'IN_TEST')}
        names = dict(
            JUPYTER_CONFIG_DIR='config', JUPYTER_DATA_DIR='data', JUPYTER_RUNTIME_DIR='runtime',
            IPYTHONDIR='ipython', JUPYTERLAB_SETTINGS_DIR='settings', JUPYTERLAB_WORKSPACES_DIR='workspaces',
        )
        for name, folder in names.items():
            (self.tmp/folder).mkdir(parents=True, exist_ok=True)
            env[name] = str(self.tmp/folder)
        env['JUPYTER_PATH'] = env['JUPYTER_DATA_DIR']  # searched first, before an environment's own kernels
        return env | dict(PYTHONPATH=str(root), OMP_NUM_THREADS='1', GANBOOK_SCALE=self.scale)

    def _write_settings(self):
        "The front end's settings, and a kernel that is the interpreter running this test."
        for name, value in settings.items():
            path = self.tmp/'settings'/'@jupyterlab'/f'{name}.jupyterlab-settings'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        kernel = self.tmp/'data'/'kernels'/'python3'/'kernel.json'
        kernel.parent.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
        kernel.write_text(json.dumps(dict(argv=argv, display_name='python3', language='python')))

    def _start_server(self):
        env, port = self._environment(), free_port()
        self._write_settings()
        self.work = self.tmp/'work'
        self.url = f'http://127.0.0.1:{port}'
        self.log = self.tmp/'server.log'
        self.work.mkdir(exist_ok=True)
        command = [
            sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1',
            f'--ServerApp.port={port}', '--ServerApp.port_retries=0',
            f'--IdentityProvider.token={self.token}', f'--ServerApp.root_dir={self.work}',
            '--LabApp.expose_app_in_browser=True',  # as window.jupyterapp
        ]
        with self.log.open('w') as log:
            self.server = subprocess.Popen(
                command, env=env, cwd=self.work, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            wait_until(
                lambda: self.server.poll() is not None or self.ask('api/status'), start_s,
                'starting JupyterLab',
            )
        except TimeoutError as e:
            raise TimeoutError(f'{e}; its log ends:\n{self.log_tail()}') from None
        if self.server.poll() is not None:
            raise RuntimeError(f'JupyterLab ended at once; its log:\n{self.log_tail()}')

    def _stop_server(self):
        """Ask the server to end, which ends its kernels; after 10 s
        end its process group. A kernel left alone ends itself."""
        if self.server is None or self.server.poll() is not None: return
        self.server.terminate()
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait(10)

    def _start_browser(self):
        from playwright.sync_api import sync_playwright
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(
            executable_path=chromium(), args=flags, timeout=start_s*1000
        )

    def log_tail(self, n=2000): return self.log.read_text(errors='replace')[-n:]

    def ask(self, path, method='GET'):
        "What the server's interface answers, or None while it does not."
        request = urllib.request.Request(
            f'{self.url}/{path}', method=method, headers={'Authorization': f'token {self.token}'}
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as r:
                return json.loads(r.read() or 'null')
        except OSError: return None

    def sessions(self, name):
        "The running kernels of the notebook: none or one."
        return [s for s in self.ask('api/sessions') or [] if s['path'] == name]

    def connected(self, name):
        "Is a page connected to the kernel of the notebook?"
        return any(s['kernel']['connections'] > 0 for s in self.sessions(name))

    def open(self):
        "The page of the lab: it is loaded once, and again after a chapter that failed."
        if self.page is None:
            self.page = self.browser.new_page(viewport=dict(width=1200, height=900))
            self.page.set_default_timeout(start_s*1000)
            self.page.goto(f'{self.url}/lab?reset&token={self.token}')
            self.page.wait_for_function('window.jupyterapp')
            self.page.evaluate('window.jupyterapp.restored.then(() => null)')
        return self.page

    @contextmanager
    def run_notebook(self, name, limit_s=run_s):
        """Open a copy of chapter `name`, its outputs removed, and run all cells;
        gives Playwright's page. Asserts that no cell and no script
        failed, and that the stored outputs which must repeat have."""
        n_cells = copy_chapter(name, self.work)
        page = self.open()
        broken = []
        def note(e): broken.append(str(e))
        page.on('pageerror', note)
        try:
            page.evaluate(open_chapter, f'{name}.ipynb')
            page.locator('.jp-NotebookPanel .jp-Notebook').wait_for()
            wait_until(
                lambda: page.wait_for_timeout(200) or self.connected(f'{name}.ipynb'), start_s,
                'connecting the page to its kernel',
            )
            self._run_all(page)
            wait_until(
                lambda: page.wait_for_timeout(1000) or finished(page, n_cells), limit_s, f'running {name}'
            )
            for i, text in must_repeat(name).items():
                assert printed(page, i) == text, f'code cell {i} of {name} printed something else'
            yield page
            assert not broken, f'scripts of the page failed: {broken}'
            page.evaluate(close_chapter)
            page.remove_listener('pageerror', note)
        except BaseException:
            self.page = None
            page.close()
            raise
        finally:
            # its kernel ends, where the page has not ended it
            for s in self.sessions(f'{name}.ipynb'): self.ask(f"api/sessions/{s['id']}", 'DELETE')

    def _run_all(self, page):
        """Choose Run All Cells from the menu, again if it was
        lost, until a prompt shows that a cell is under way."""
        for _ in range(5):
            page.locator('.lm-MenuBar-itemLabel', has_text=re.compile('^Run$')).click()
            page.locator('.lm-Menu-itemLabel', has_text=re.compile('^Run All Cells$')).click()
            try:
                return wait_until(
                    lambda: page.wait_for_timeout(200) or any(p.strip('[]: \xa0') for p in prompts(page)), 8,
                    'a first prompt',
                )
            except TimeoutError:
                pass
        raise TimeoutError(
            f'Run All Cells was chosen five times and no cell ran; the server says:\n{self.log_tail()}'
        )


def copy_chapter(name, folder):
    """Copy the code of a chapter without its outputs, the pictures beside it and
    the stored results; returns the number of cells that will run.

    Its text stays behind: to set its formulas takes longer than many a chapter,
    and the tests of the page look at them. """
    nb = json.loads((root/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))
    nb['cells'] = code = [c for c in nb['cells'] if c['cell_type'] == 'code']
    for c in code: c.update(outputs=[], execution_count=None)
    (folder/f'{name}.ipynb').write_text(json.dumps(nb), encoding='utf-8')
    for source, copy in ((root/'nbs'/'images', folder/'images'), (root/'results', folder.parent/'results')):
        if source.exists(): shutil.copytree(source, copy, dirs_exist_ok=True)
    return sum(bool(''.join(c['source']).strip()) for c in code)


def must_repeat(name):
    "What the cells tagged nbval-check-output have printed: place among the code cells -> text."
    cells = json.loads((root/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
    code = [c for c in cells if c['cell_type'] == 'code']
    tagged = {i: c for i, c in enumerate(code) if 'nbval-check-output' in c['metadata'].get('tags', [])}
    return {i: ''.join(''.join(out['text']) for out in c['outputs']) for i, c in tagged.items()}


def printed(page, i):
    "The text that code cell `i` has printed on the page."
    cell = page.locator('.jp-CodeCell').nth(i)
    texts = cell.locator('[data-mime-type="application/vnd.jupyter.stdout"] pre').all_text_contents()
    return ''.join(texts)


def prompts(page):
    "What stands before each code cell; text as it is stored, so that the page need not be laid out."
    return page.locator('.jp-CodeCell .jp-InputArea-prompt').all_text_contents()


def finished(page, n_cells):
    "Have all cells run? Raises AssertionError with the traceback where one failed."
    done = sum(bool(re.search(r'\d', p)) for p in prompts(page)) == n_cells
    if done: page.wait_for_timeout(500)  # the last output is drawn a moment after its prompt
    failed = page.locator(
        '[data-mime-type="application/vnd.jupyter.stderr"]', has_text='Traceback (most recent call last)'
    )
    assert not failed.count(), f'a cell failed in the browser:\n{failed.first.inner_text()}'
    return done
