"What pytest needs to know before it collects: one thread, the bridge between nbdev_clean and nbval, and what this machine has."
import importlib.util
import os
import shutil
import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: two busy threads on two busy cores wait for each other


def _no_gpu():
    "Why tests marked `gpu` cannot run here; empty if they can."
    import torch
    return '' if torch.cuda.is_available() else f'wants a CUDA device, and torch {torch.__version__} sees none'


def _no_browser():
    "Why tests marked `browser` cannot run here; empty if they can."
    if importlib.util.find_spec('playwright') is None: return 'wants playwright: pip install playwright'
    if not any(map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))): return 'wants Chromium, and there is none on the path'
    return ''


def pytest_collection_modifyitems(items):
    for item in items:  # nbdev_clean nulls the counts of cells that ran, and nbval fails a cell with output but no count
        cell = getattr(item, 'cell', None)
        if cell is not None and cell.get('outputs'): cell['execution_count'] = 1
    for mark, why_not in dict(gpu=_no_gpu, browser=_no_browser).items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        reason = why_not() if marked else ''
        for item in marked if reason else []: item.add_marker(pytest.mark.skip(reason=reason))
