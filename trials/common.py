"""What the benchmarks share: their options, numbers worth storing,
where they were measured, and a file that is never half written."""
import argparse
import json
import os
import platform
import time
from pathlib import Path

import torch

results = Path(__file__).resolve().parent.parent/'results'

def clock(device):
    """Seconds: the processor time of this process, or, where a GPU
    works beside it, the time on the wall with all work done."""
    if device.type == 'cpu': return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()

def rounded(x):
    "Four significant digits are more than a clock can mean."
    if isinstance(x, dict): return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [rounded(v) for v in x]
    return float(f'{x:.4g}') if isinstance(x, float) else x

def machine(device='cpu')->dict:
    "Where and with what a figure was measured."
    name = (
        torch.cuda.get_device_name()
        if str(device).startswith('cuda')
        else f'{platform.machine()}, {os.cpu_count()} cores'
    )
    return dict(
        device=name, threads=torch.get_num_threads(),
        versions=dict(python=platform.python_version(), torch=torch.__version__),
    )

def _dated(entry, before)->dict:
    """An entry with today's date; where it has rows, a row that is as it
    was `before` keeps its own, and the entry says from when to when."""
    today, rows = time.strftime('%Y-%m-%d'), entry.get('rows')
    if not isinstance(rows, dict): return entry | dict(date=today)
    as_before = before['rows'] if isinstance(before.get('rows'), dict) else {}
    def day(name):
        return (
            before.get('dates', {}).get(name, before.get('date', today))
            if as_before.get(name) == rows[name]
            else today
        )
    dates = {name: day(name) for name in rows}
    first, last = min(dates.values(), default=today), max(dates.values(), default=today)
    return entry | dict(dates=dates, date=first if first == last else f'{first} to {last}')

def store(path, kind, entry):
    """Put `entry` under `kind`, with its date, in the JSON
    file `path` and leave the other entries as they are."""
    path = Path(path)
    old = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    part = path.with_suffix('.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(
        json.dumps(old | {kind: _dated(entry, old.get(kind, {}))}, indent=1, sort_keys=True) + '\n',
        encoding='utf-8',
    )
    part.replace(path)

def stored(path)->dict:
    "What the JSON file `path` holds, kind -> entry; nothing if there is none."
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}

def options(doc, name, arms, steps, data=('digits', 'mnist'), seeds=5, first=False):
    """The parser of a bench that trains `arms`; `steps` and
    `seeds` say what a run has where nothing is asked for."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        '--check', action='store_true', help='exit with 1 if a target of the stored figures is missed'
    )
    if data:
        p.add_argument(
            '--data', choices=list(data), help=f'default: {data[0]} on the CPU, {data[1]} on a GPU'
        )
    p.add_argument(
        '--only', nargs='*', metavar='ARM',
        help=f"arms to train: {'; '.join(arms)} (default: all; none trains none)".replace('%', '%%'),
    )
    p.add_argument('--steps', type=int, help=f'steps of a run (default {steps})')
    p.add_argument(
        '--seeds', type=int, default=seeds if isinstance(seeds, int) else None,
        help=f'seeds of an arm (default {seeds})'.replace('%', '%%'),
    )
    if first: p.add_argument('--first', type=int, default=0, help='the first seed (default 0)')
    p.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda']
    )
    p.add_argument('--out', type=Path, default=results/f'bench_{name}.json')
    return p

def parsed(p, arms):
    "(options, arms to train), one thread; an arm that does not exist is an error of one sentence."
    a = p.parse_args()
    torch.set_num_threads(1)
    if hasattr(a, 'data'): a.data = a.data or ('mnist' if a.device == 'cuda' else 'digits')
    chosen = [c for c in (list(arms) if a.only is None else a.only) if c != 'none']
    if unknown := set(chosen) - {*arms}:
        p.error(
            f"there is no arm called {', '.join(sorted(unknown))}: take some of {'; '.join(arms)}, or none."
        )
    return a, chosen

def verdict(faults, check)->int:
    "Say which targets are missed; the exit status."
    for f in faults: print('MISSED ', f)
    return 1 if faults and check else 0
