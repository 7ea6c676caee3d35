"""Everything that must hold, in one go: `make test`.

Exports in step with the notebooks; every chapter and solution run, and counted; stored outputs that must repeat; the tests; the linter.
Needs no network. Stops at the first part that fails, and says which.

`make quick` (--quick) is what to run while working: exports in step, the linter, the tests that are not marked slow, and the chapters
that differ from the branch main, with their solutions.
"""
import hashlib
import json
import os
import re
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
    if done.returncode: sys.exit(f"\nFAILED: {' '.join(command)} (exit {done.returncode})\n{(done.stdout or '')[-6000:]}")
    return done


def loopback():
    "Bring the loopback interface up where a cut-off network namespace has it down; kernels and the browser talk over it."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0)); s.listen()
        try: socket.create_connection(s.getsockname(), timeout=5).close()
        except OSError:
            import fcntl
            up, set_flags = 0x1, 0x8914  # IFF_UP, SIOCSIFFLAGS
            try: fcntl.ioctl(s, set_flags, struct.pack('16sh14x', b'lo', up))
            except OSError: sys.exit('the loopback interface is down and cannot be raised: run `ip link set lo up` first.')


def digests() -> dict:
    "File -> hash of its content, for notebooks and exported modules."
    files = [*notebooks, *(root/'ganbook').rglob('*.py')]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def in_step():
    "Cleaning and exporting must change nothing."
    before = digests()
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}  # with it set, nbdev_export does nothing
    run('nbdev_clean', env=env); run('nbdev_export', env=env)
    after = digests()
    changed = sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))
    if changed: sys.exit(f"\nFAILED: these were not clean, or not exported; they are now, so look at the difference and commit it: {', '.join(changed)}")


def chapters():
    "Every notebook runs from top to bottom, and as many run as there are on disk."
    done = run('nbdev_test', '--n_workers', '2', '--do_print', '--timing', stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ran = set(re.findall(r'Completed (\S+\.ipynb)', done.stdout))
    for line in done.stdout.splitlines():
        if 'Completed' in line or 'took' in line: print('  ', line.replace(str(root) + '/', ''))
    if len(ran) != len(notebooks): sys.exit(f'\nFAILED: {len(ran)} notebooks ran, but {len(notebooks)} are on disk.\n{done.stdout[-3000:]}')
    print(f'{len(ran)} of {len(notebooks)} notebooks ran')


def repeat_and_test():
    "Stored outputs tagged nbval-check-output come out again, to the letter; the tests pass. Two processes at a time: the long one tells as it goes, the others at their end."
    tagged = [p for p in notebooks if any('nbval-check-output' in c['metadata'].get('tags', []) for c in json.loads(p.read_text(encoding='utf-8'))['cells'])]
    if not tagged: sys.exit('\nFAILED: no notebook has an output that must repeat (tag nbval-check-output).')
    pytest = sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider'
    apart = {'tests of the playground': 'tests/test_browser_playground.py', 'tests of the page': 'tests/test_page.py'}
    ignored = [f'--ignore={file}' for file in apart.values()]
    waiting = deque([('stored outputs repeat', [*pytest, '--nbval-lax', '--nbval-current-env', '--nbval-cell-timeout=300', *map(str, tagged)]),
                     ('tests in a browser', [*pytest, 'tests', '-m', 'browser', *ignored]), *((name, [*pytest, file]) for name, file in apart.items())])
    running, ended = {}, []
    def work():
        while waiting:
            name, command = waiting.popleft()
            running[name] = p = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            ended.append((name, p.communicate()[0], p.returncode))
            print(f'\n{name}:', ended[-1][1].strip().splitlines()[-1].strip(' ='), flush=True)
    beside = threading.Thread(target=work)
    beside.start()
    try:
        run(*pytest, 'tests', '-m', 'not browser', *ignored)
        work(); beside.join()
    finally:
        waiting.clear()
        for p in running.values(): p.kill()
    for name, said, code in ended:
        if code: sys.exit(f'\nFAILED: {name} (exit {code})\n{said[-6000:]}')


def lint(): run(sys.executable, '-m', 'ruff', 'check', '.')


def git(*words) -> list:
    "The lines that git prints; none where this is no checkout, or the branch is not there."
    done = subprocess.run(['git', *words], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.splitlines() if not done.returncode else []


def changed() -> list:
    "The notebooks that differ from the branch main, in commits or in the working tree, with the solutions or the chapter that belong to them."
    base = git('merge-base', 'main', 'HEAD') or ['HEAD']
    files = [*git('diff', '--name-only', *base, '--', 'nbs'), *git('ls-files', '--others', '--exclude-standard', '--', 'nbs')]
    stems = {Path(f).stem for f in files if f.endswith('.ipynb')}
    return [p for p in notebooks if p.stem in stems]


def changed_and_fast():
    "The changed notebooks beside the fast tests, a process each; either tells at its end."
    pytest = sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', 'tests', '-m', 'not browser and not gpu and not slow'
    todo = changed()
    print('changed:', ', '.join(str(p.relative_to(root/'nbs')) for p in todo) or 'no notebook', flush=True)
    beside = subprocess.Popen(pytest, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for p in todo: run('nbdev_test', '--path', str(p), '--do_print', '--timing', stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = beside.communicate()[0]
    finally: beside.kill()
    print(said.strip().splitlines()[-1], flush=True)
    if beside.returncode: sys.exit(f'\nFAILED: the fast tests (exit {beside.returncode})\n{said[-6000:]}')


whole = [('nbdev_clean and nbdev_export change nothing', in_step), ('every chapter and every solution runs', chapters),
         ('stored outputs repeat, and the tests', repeat_and_test), ('ruff', lint)]
quick = [('nbdev_clean and nbdev_export change nothing', in_step), ('ruff', lint), ('the chapters that changed, and the fast tests', changed_and_fast)]


def main(parts: list):
    start = time.perf_counter()
    loopback()
    for title, part in parts:
        t = time.perf_counter()
        say(title); part()
        print(f'   {time.perf_counter() - t:.0f} s', flush=True)
    say(f'all green in {time.perf_counter() - start:.0f} s')


if __name__ == '__main__': main(quick if '--quick' in sys.argv[1:] else whole)
