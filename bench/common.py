"What the benchmarks share: numbers worth storing, where they were measured, and a file that is never half written."
import json
import os
import platform
import time
from pathlib import Path

import torch

results = Path(__file__).resolve().parent.parent/'results'

def clock(device):
    "Seconds: the processor time of this process, or, where a GPU works beside it, the time on the wall with all work done."
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
    name = torch.cuda.get_device_name() if str(device).startswith('cuda') else f'{platform.machine()}, {os.cpu_count()} cores'
    return dict(device=name, threads=torch.get_num_threads(), versions=dict(python=platform.python_version(), torch=torch.__version__))

def store(path, kind, entry):
    "Put `entry` under `kind` in the JSON file `path` and leave the other entries as they are."
    path = Path(path)
    old = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    part = path.with_suffix('.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(old | {kind: entry}, indent=1, sort_keys=True) + '\n', encoding='utf-8')
    part.replace(path)
