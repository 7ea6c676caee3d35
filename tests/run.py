"""Everything that must hold, in one go: `make test`.

Exports in step with the notebooks; every chapter and solution run, and counted; stored outputs that must
repeat; the tests; the linter. Needs no network. Stops at the first part that fails, and says which.

`make quick` (--quick) is what to run while working: exports in step, the linter, the tests that
are not marked slow, and the chapters that differ from the branch main, with their solutions. """
import hashlib
import importlib.util
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

root = Path(__file__).resolve().parent.parent
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def say(text: str): print(f'\n== {text}', flush=True)


def run(*command, **options) -> subprocess.CompletedProcess:
    "Run a command from the root of the repository; end the whole test if it fails."
    done = subprocess.run(command, cwd=root, **options)
    if done.returncode:
        sys.exit(f"\nFAILED: {' '.join(command)} (exit {done.returncode})\n{(done.stdout or '')[-6000:]}")
    return done


def loopback():
    """Bring the loopback interface up where a cut-off network
    namespace has it down; kernels and the browser talk over it."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        try:
            socket.create_connection(s.getsockname(), timeout=5).close()
        except OSError:
            import fcntl

            up, set_flags = 0x1, 0x8914  # IFF_UP, SIOCSIFFLAGS
            try:
                fcntl.ioctl(s, set_flags, struct.pack('16sh14x', b'lo', up))
            except OSError:
                sys.exit(
                    'the loopback interface is down and cannot be raised: run `ip link set lo up` first.'
                )


def digests() -> dict:
    "File -> hash of its content, for notebooks and exported modules."
    files = [*notebooks, *(root/'ganbook').rglob('*.py')]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def in_step():
    "Cleaning and exporting must change nothing."
    before = digests()
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}  # with it set, nbdev_export does nothing
    run('nbdev_clean', env=env)
    run('nbdev_export', env=env)
    after = digests()
    changed = sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))
    if changed:
        sys.exit(
            f"\nFAILED: these were not clean, or not exported; they are now, so look at the difference and "
            f"commit it: {', '.join(changed)}"
        )


def repeats(notebook: Path) -> bool:
    "Has it an output that must come out again?"
    cells = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    return any('nbval-check-output' in c['metadata'].get('tags', []) for c in cells)


def in_browser() -> list:
    "The chapters with widgets, which tests run from top to bottom in a browser; none where there is none."
    if not all(map(importlib.util.find_spec, ('playwright', 'jupyterlab'))): return []
    from lab import chromium
    if chromium() is None: return []
    tests = ''.join(p.read_text(encoding='utf-8') for p in (root/'tests').glob('test_browser*.py'))
    names = set(re.findall(r"run_notebook\('(\w+)'\)", tests))
    return [p for p in notebooks if p.stem in names and p.parent == root/'nbs']


def later() -> set:
    "The notebooks that run in nbval or in the browser, which also compare their outputs."
    tagged = [p for p in notebooks if repeats(p)]
    if not tagged: sys.exit('\nFAILED: no notebook has an output that must repeat (tag nbval-check-output).')
    return {*tagged, *in_browser()}


def chapters(parts: int = 3) -> dict:
    """Every notebook runs from top to bottom, once: here those without outputs that must repeat and without
    widgets, in a few parts; name of a part -> command.

    `make shake` and `nbdev_test` by itself take all of them.
    """
    folders = {'chapters': root/'nbs', 'solutions': root/'nbs'/'solutions'}
    commands, apart = {}, later()
    for kind, folder in folders.items():
        files = [p for p in notebooks if p.parent == folder and p not in apart]
        for i in range(parts):
            names = '|'.join(re.escape(p.name) for p in files[i::parts])
            commands[f'{kind}, part {i + 1} of {parts}'] = [
                'nbdev_test', '--path', str(folder), '--file_re', f'^({names})$', '--n_workers', '1',
                '--skip_folder_re', '^(solutions|[_.].*)$', '--do_print', '--timing',
            ]
    return commands


def count(said: dict):
    "As many notebooks have run as there are on disk; print the seconds of each."
    lines = [line.replace(str(root) + '/', '') for text in said.values() for line in text.splitlines()]
    for line in lines:
        if re.search(r'\.ipynb: \d+ secs', line): print('  ', line)
    ran = {name for line in lines for name in re.findall(r'Completed (\S+\.ipynb)', line)}
    compared = len(later())
    if len(ran) + compared != len(notebooks):
        sys.exit(
            f'\nFAILED: {len(ran)} notebooks ran, and {compared} in nbval and in the browser, but '
            f'{len(notebooks)} are on disk.'
        )
    print(f'{len(ran)} of {len(notebooks)} notebooks ran by themselves, {compared} where outputs compare')


pytest_and_nbval = sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider'
pytest = *pytest_and_nbval, '-p', 'no:nbval'  # a second and a half sooner
# about half of the time of all
long_files = (
    'test_cli', 'test_doctor', 'test_ensemble', 'test_parallel', 'test_train', 'test_playground',
    'test_metrics', 'test_plots', 'test_recipes',
)


def halves(marks: str, ignored=()) -> dict:
    "The tests with these marks in two parts that take about as long as each other: name -> command."
    files = sorted(p for p in (root/'tests').glob('test_*.py') if p.stem not in ignored)
    parts = {
        'tests, long files': [p for p in files if p.stem in long_files],
        'tests, other files': [p for p in files if p.stem not in long_files],
    }
    return {name: [*pytest, '-m', marks, *map(str, part)] for name, part in parts.items()}


def side_by_side(commands: dict) -> dict:
    """Run commands two at a time, in this order; each tells at its end, and all are
    stopped, with what they started, once one has failed. Returns what each said."""
    waiting = deque(commands.items())
    said, running, failed = {}, {}, []
    def stop():
        for p in [*running.values()]:
            if p.poll() is None: os.killpg(p.pid, signal.SIGKILL)
    def work():
        while waiting and not failed:
            name, command = waiting.popleft()
            start = time.perf_counter()
            running[name] = p = subprocess.Popen(
                command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )
            said[name], _ = p.communicate()
            del running[name]
            if p.returncode and not failed:
                failed.append((name, p.returncode))
                stop()
            if failed and failed[0][0] != name: return
            last = (said[name].strip().splitlines() or ['said nothing'])[-1].strip(' =')
            print(f'   {name}: {last} ({time.perf_counter() - start:.0f} s)', flush=True)
    other = threading.Thread(target=work)
    try:
        other.start()
        work()
        other.join()
    finally:
        waiting.clear()
        stop()
    for name, code in failed: sys.exit(f'\nFAILED: {name} (exit {code})\n{said[name][-6000:]}')
    return said


def everything():
    """Every chapter and solution runs; stored outputs tagged nbval-check-output
    come out again, to the letter; and the tests pass."""
    apart = {'tests of the playground': 'test_browser_playground', 'tests of the page': 'test_page'}
    seen = in_browser()  # the browser compares what it runs
    tagged = [str(p) for p in notebooks if repeats(p) and p not in seen]
    nbval = [*pytest_and_nbval, '--nbval-lax', '--nbval-current-env', '--nbval-cell-timeout=300']
    # only what has such tests is read: to collect all of them takes ten seconds
    shown = [
        str(p) for p in sorted((root/'tests').glob('test_*.py'))
        if p.stem not in apart.values() and 'mark.browser' in p.read_text(encoding='utf-8')
    ]
    commands = {'tests in a browser': [*pytest, '-m', 'browser', *shown]}
    commands |= halves('not browser', apart.values())
    commands |= {
        'stored outputs repeat, first half': nbval + tagged[::2],
        'stored outputs repeat, second half': nbval + tagged[1::2],
    }
    commands |= {name: [*pytest, f'tests/{file}.py'] for name, file in apart.items()}
    commands |= chapters()  # the solutions, which are short, come last
    count({name: text for name, text in side_by_side(commands).items() if name in chapters()})


def lint(): run(sys.executable, '-m', 'ruff', 'check', '.')


def git(*words) -> list:
    "The lines that git prints; none where this is no checkout, or the branch is not there."
    done = subprocess.run(
        ['git', *words], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return done.stdout.splitlines() if not done.returncode else []


def changed() -> list:
    """The notebooks that differ from the branch main, in commits or in the
    working tree, with the solutions or the chapter that belong to them."""
    base = git('merge-base', 'main', 'HEAD') or ['HEAD']
    files = [
        *git('diff', '--name-only', *base, '--', 'nbs'),
        *git('ls-files', '--others', '--exclude-standard', '--', 'nbs'),
    ]
    stems = {Path(f).stem for f in files if f.endswith('.ipynb')}
    return [p for p in notebooks if p.stem in stems]


def changed_and_fast():
    "The changed notebooks and the fast tests, two processes at a time."
    todo = changed()
    print('changed:', ', '.join(str(p.relative_to(root/'nbs')) for p in todo) or 'no notebook', flush=True)
    commands = {
        str(p.relative_to(root)): ['nbdev_test', '--path', str(p), '--do_print', '--timing'] for p in todo
    }
    side_by_side(halves('not browser and not gpu and not slow') | commands)


whole = [
    ('nbdev_clean and nbdev_export change nothing', in_step),
    ('ruff', lint), ('every chapter and solution runs, stored outputs repeat, and the tests', everything),
]
quick = [
    ('nbdev_clean and nbdev_export change nothing', in_step), ('ruff', lint),
    ('the chapters that changed, and the fast tests', changed_and_fast),
]


def main(parts: list):
    start = time.perf_counter()
    loopback()
    for title, part in parts:
        t = time.perf_counter()
        say(title)
        part()
        print(f'   {time.perf_counter() - t:.0f} s', flush=True)
    say(f'all green in {time.perf_counter() - start:.0f} s')


if __name__ == '__main__': main(quick if '--quick' in sys.argv[1:] else whole)
