"""Does the doctor name what was broken, and does it leave healthy runs alone?

usage: python bench/doctor.py [--check] [--only NAME [--update]] [--seeds N] [--first-seed S] [--out FILE]

Every drill of `ganbook.doctor.drills` breaks a sound setup in one way; it is trained on the ring and on the digits with each
seed and examined once. A failure counts as found if its disease is named first or second. Healthy runs are six data sets, five
losses with a gradient penalty, two seeds each; a finding above 'note' is a false alarm. The thresholds of the doctor were set on
seeds from 100 on; what is reported here are the seeds 0, 1, 2, ...

With --only, nothing is stored, unless --update asks to put the new rows in the place of the old ones and to keep all others.
--check exits with 1 if fewer than 95 % of the failures are found, or one healthy run raises an alarm.
"""
import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))

import torch  # noqa: E402
from common import machine, results, rounded, store  # noqa: E402
from ganbook import data as sets  # noqa: E402
from ganbook import losses  # noqa: E402
from ganbook.doctor import diagnose, drills, practise, sound  # noqa: E402

healthy_sets = ('ring', 'grid', 'digits', 'spiral', 'two_moons', 'gaussian')
healthy_losses = ('non_saturating', 'hinge', 'least_squares', 'relativistic', 'wasserstein')


def examine(setup, seed):
    "(names of the findings in their order, names of those above 'note', the findings as text)."
    s, data = practise(setup, seed)
    found = diagnose(s, data)
    return [f.name for f in found], [f.name for f in found if f.severity != 'note'], [str(f) for f in found]

def failures(only, seeds):
    "One row a broken run."
    for name, (break_it, disease) in drills.items():
        if only not in name: continue
        for data in (sets.ring(), sets.digits()):
            for seed in seeds:
                names, _, _ = examine(break_it(sound(data)), seed)
                place = names.index(disease) + 1 if disease in names else None
                yield dict(drill=name, disease=disease, data=data.name, seed=seed, named=names[:3], place=place)

def healthy(only, seeds):
    "One row a sound run."
    for set_name in healthy_sets:
        data = getattr(sets, set_name)()
        for loss in healthy_losses:
            name = f'healthy {set_name} {loss}'
            if only not in name: continue
            for seed in seeds:
                names, above, texts = examine(sound(data, loss=getattr(losses, loss)), seed)
                yield dict(data=set_name, loss=loss, seed=seed, above_note=above, texts=texts)

def title(row): return row.get('drill') or f"healthy {row['data']} {row['loss']}"

def updated(old, rows, only):
    "The rows of an earlier run, with `rows` in the place of those whose name contains `only`."
    order = [*drills, *(f'healthy {s} {k}' for s in healthy_sets for k in healthy_losses)]
    return {k: sorted([r for r in old[k] if only not in title(r)] + rows[k], key=lambda r: order.index(title(r))) for k in rows}

def said(row):
    if 'drill' in row: return f"{row['drill']:32}{row['data']:8}{row['seed']:4}  {'found' if row['place'] in (1, 2) else 'MISSED':7}{'; '.join(row['named'])}"
    return f"healthy {row['data']:12}{row['loss']:15}{row['seed']:4}  {'; '.join(row['texts']) or 'nothing'}"

def summary(broken, sound_runs):
    "Shares, and the confusion matrix: drill -> what was named first, and how often."
    found = [r['place'] in (1, 2) for r in broken]
    first = [r['place'] == 1 for r in broken]
    by_drill = {d: dict(disease=drills[d][1], runs=len(rows), found=sum(r['place'] in (1, 2) for r in rows), first=sum(r['place'] == 1 for r in rows),
        named_first=dict(Counter((r['named'] or ['nothing'])[0] for r in rows))) for d in drills if (rows := [r for r in broken if r['drill'] == d])}
    return dict(failures=len(broken), found=sum(found), first=sum(first), share_found=sum(found)/max(len(found), 1), share_first=sum(first)/max(len(first), 1),
        healthy=len(sound_runs), false_alarms=sum(bool(r['above_note']) for r in sound_runs), by_drill=by_drill)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='exit with 1 if a target is missed')
    p.add_argument('--only', default='', help="drills whose name contains this; healthy runs are called 'healthy SET LOSS'")
    p.add_argument('--seeds', type=int, default=5, help='seeds of every failure (default 5); healthy runs get two, or one if this is 1')
    p.add_argument('--first-seed', type=int, default=0, help='the first of them (default 0)')
    p.add_argument('--out', type=Path, default=results/'bench_doctor.json')
    p.add_argument('--update', action='store_true', help='with --only: replace these rows of the results, keep the others')
    a = p.parse_args()
    if a.seeds < 1: p.error('--seeds must be at least 1.')
    torch.set_num_threads(1)
    if a.update and not a.out.is_file(): p.error(f'there is nothing to update at {a.out}: run once without --only.')
    start, clock, seeds = time.perf_counter(), time.process_time(), range(a.first_seed, a.first_seed + a.seeds)
    rows = dict(broken=[], sound=[])
    for kind, runs in (('broken', failures(a.only, seeds)), ('sound', healthy(a.only, seeds[:2]))):
        for row in runs:
            rows[kind].append(row)
            print(said(row), flush=True)
    if not (rows['broken'] or rows['sound']): p.error(f'no drill is called {a.only!r}: the names are ' + '; '.join(drills) + '; healthy.')
    took = dict(seconds=round(time.perf_counter() - start, 1), processor_seconds=round(time.process_time() - clock, 1))
    if a.update:
        old = json.loads(a.out.read_text(encoding='utf-8'))['cpu']
        rows, took = updated(old['runs'], rows, a.only), {k: old[k] for k in took}  # the time is that of the whole
    s = summary(rows['broken'], rows['sound'])
    print(f"{s['found']} of {s['failures']} failures named first or second, {s['first']} first; {s['false_alarms']} of {s['healthy']} healthy runs raised an alarm; "
        f"{took['processor_seconds']:.0f} s of processor time")
    if (a.update or not a.only) and a.first_seed == 0: store(a.out, 'cpu', machine() | dict(seeds=list(seeds)) | took | rounded(s) | dict(runs=rows))
    missed = rows['broken'] and s['share_found'] < .95 or s['false_alarms'] > 0
    return 1 if a.check and missed else 0


if __name__ == '__main__': sys.exit(main())
