"""The trials behind the book's stored figures, one file each: `python -m trials.modes --help`.

A trial holds its arms, what judges them, and the targets of its figures. What they share is in `common` (how
a trial is started, the judge, how figures are stored) and in `loops` (loops to time beside `fit`). """
import os

# before torch: two busy threads on two busy cores wait for each other
os.environ.setdefault('OMP_NUM_THREADS', '1')
