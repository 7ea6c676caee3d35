"""Does the book hold on other machines, and at other seeds? Runs chapters, solutions and the fast tests under
imitated conditions.

usage: python tools/shake.py [NAME ...] [--settings avx2 oldest threads weights] [--seeds 1 2 3 4 5]
[--no-tests] [--jobs 2]

A NAME is a notebook without folder and ending, e.g. 01_game (its solutions come along); none means all of
them. Settings:

  avx2      a processor without AVX-512 and AMX: other kernels add in another order
  oldest    plain SSE and MKL's compatible mode: the oldest kernels that torch has
  threads   two threads: sums are split
  weights   first weights multiplied by 1 + 1e-6 N(0,1): the same GAN for any purpose but the last bits

Every setting is a process of its own with the variables of the setting. All cells
of a notebook run, also after one has failed, so that one run shows all that
breaks. Prints a table (what, setting, what broke); exit 1 if anything did. """
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

root = Path(__file__).resolve().parent.parent
settings = dict(
    avx2=dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', MKL_ENABLE_INSTRUCTIONS='AVX2'),
    oldest=dict(ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41', MKL_CBWR='COMPATIBLE'),
    threads=dict(OMP_NUM_THREADS='2'),
    weights=dict(GANBOOK_SHAKE_WEIGHTS='1e-6'),
)
fast_tests = ['-m', 'not browser and not gpu and not slow']


def shake_weights(size: float):
    """From now on torch's initialisers multiply what they draw by 1 +
    size N(0,1), with noise of their own: no other random number moves."""
    import torch
    from torch.nn import init
    noise = torch.Generator()

    def shaken(draw):
        def initialise(tensor, *args, **kwargs):
            out = draw(tensor, *args, **kwargs)
            if tensor.device.type != 'meta':
                factor = 1 + size*torch.randn(
                    tensor.shape, generator=noise.manual_seed(tensor.numel()), dtype=torch.float64
                )
                with torch.no_grad(): tensor.mul_(factor.to(tensor))
            return out
        return initialise

    for name in (
        'uniform_', 'normal_', 'trunc_normal_', 'xavier_uniform_', 'xavier_normal_', 'kaiming_uniform_',
        'kaiming_normal_', 'orthogonal_',
    ):
        setattr(init, name, shaken(getattr(init, name)))


def apply_shake():
    "Do in this process what the variables of the setting ask for."
    size = os.environ.get('GANBOOK_SHAKE_WEIGHTS')
    if size: shake_weights(float(size))


def pytest_configure():
    "This file is also a plugin of pytest: `-p tools.shake`."
    apply_shake()


def run_notebook(path: Path) -> list:  # (cell, first line, error) of every cell that failed
    "Execute all code cells in this process, also after one has failed."
    apply_shake()
    from execnb.shell import CaptureShell
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    shell = CaptureShell(path)
    os.chdir(path.parent)
    broken = []
    for i, cell in enumerate(cells):
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or not source.strip(): continue
        error = shell._run(source).exception
        if error:
            first = next((line for line in source.splitlines() if not line.startswith('#')), '').strip()
            broken.append((i, first[:70], f'{type(error).__name__}: {error}'[:600]))
    return broken


@dataclass
class Job:
    "One notebook, or the fast tests, under one setting."
    what: str
    setting: str
    env: dict
    notebook: Path = None
    seconds: float = 0.
    broken: list = field(default_factory=list)

    def run(self):
        env = dict(dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root), MPLBACKEND='agg'), **self.env)
        start = time.perf_counter()
        with tempfile.NamedTemporaryFile('r', suffix='.json') as out:
            notebook = [sys.executable, __file__, '--one', str(self.notebook), out.name]
            tests = [
                sys.executable, '-m', 'pytest', '-p', 'tools.shake', '-p', 'no:cacheprovider', 'tests',
                *fast_tests,
            ]
            done = subprocess.run(
                notebook if self.notebook else tests, env=env, cwd=root, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            found = out.read()
        if self.notebook and found:
            self.broken = json.loads(found)
        elif self.notebook:
            self.broken = [(0, 'the process', f'ended with {done.returncode}: {done.stdout[-600:]}')]
        else:
            self.broken = [
                (0, line[:160], '') for line in re.findall(r'^(?:FAILED|ERROR) (.*)$', done.stdout, re.M)
            ]
        if not self.notebook and done.returncode and not self.broken:
            self.broken = [(0, 'pytest', done.stdout[-600:])]
        self.seconds = time.perf_counter() - start
        print(
            f"{'ok  ' if not self.broken else 'FAIL'} {self.seconds:6.0f} s  {self.setting:8s} {self.what}",
            flush=True,
        )
        for i, first, error in self.broken: print(f'       cell {i}: {first}\n           {error}', flush=True)


def chosen(names: list) -> list:
    "The notebooks that are named, with their solutions; all of them if none is."
    every = sorted(p for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
    unknown = [n for n in names if not any(p.stem == n for p in every)]
    if unknown:
        sys.exit(
            f"no chapter is called {', '.join(unknown)}: the names are "
            f"those in nbs/ without .ipynb, such as {every[0].stem}."
        )
    return [p for p in every if not names or p.stem in names]


def table(jobs: list) -> str:
    "What, setting, what broke: one row for each that broke, and the counts."
    rows = [
        f'| {j.what} | {j.setting} | {i}: {first} | {error.splitlines()[0][:120] if error else ""} |'
        for j in jobs
        for i, first, error in j.broken
    ]
    counts = {s: [j for j in jobs if j.setting == s] for s in dict.fromkeys(j.setting for j in jobs)}
    ends = [
        f'{s}: {sum(bool(j.broken) for j in js)} of {len(js)} broken, {sum(j.seconds for j in js):.0f} s'
        for s, js in counts.items()
    ]
    return '\n'.join(['', '| what | setting | cell | what broke |', '|---|---|---|---|', *rows, '', *ends])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', metavar='NAME')
    p.add_argument(
        '--settings', nargs='*', choices=list(settings), default=None,
        help='default: all, or none where seeds are given',
    )
    p.add_argument('--seeds', nargs='*', type=int, default=[], metavar='K', help='values of GANBOOK_SEED')
    p.add_argument('--no-tests', action='store_true', help='chapters only')
    p.add_argument(
        '--jobs', type=int, default=2,
        help='processes at a time; the setting of two threads always runs alone',
    )
    a = p.parse_args()
    names = (list(settings) if not a.seeds else []) if a.settings is None else a.settings
    told = {name: settings[name] for name in names} | {
        f'seed {k}': dict(GANBOOK_SEED=str(k)) for k in a.seeds
    }
    notebooks = chosen(a.names)
    jobs = []
    for setting, env in told.items():
        jobs += [Job(str(p.relative_to(root/'nbs').with_suffix('')), setting, env, p) for p in notebooks]
        if not a.names and not a.no_tests and not setting.startswith('seed'):
            jobs.append(Job('fast tests', setting, env))
    alone = [j for j in jobs if 'OMP_NUM_THREADS' in j.env]
    with ThreadPoolExecutor(a.jobs) as pool: list(pool.map(Job.run, [j for j in jobs if j not in alone]))
    for j in alone: j.run()
    print(table(jobs))
    return int(any(j.broken for j in jobs))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--one']:
        Path(sys.argv[3]).write_text(json.dumps(run_notebook(Path(sys.argv[2]))), encoding='utf-8')
    else:
        sys.exit(main())
