"The command line as tests call it."
from contextlib import contextmanager
from pathlib import Path

import pytest

from ganbook import launch
from ganbook.cli import main
from ganbook.train import Stop, fit


@contextmanager
def working_in(folder):
    "In this folder, and on the CPU."
    with pytest.MonkeyPatch.context() as m:
        m.chdir(folder)
        m.setenv('GANBOOK_DEVICE', 'cpu')
        yield

def ok(*words):
    "It does what it is asked."
    assert main([*words]) == 0, words

def stopped(step, *words):
    "The same, of a training that is stopped at a step."
    def stop(s):
        if s.step == step: raise Stop
    def some(s, **a): return fit(s, **a | dict(callbacks=[*a['callbacks'], stop]))
    with pytest.MonkeyPatch.context() as m:
        m.setattr(launch, 'fit', some)
        ok(*words)

def wrong(capsys, said, *words):
    "It says `said` in one sentence, of less than 250 characters without paths, and leaves nothing behind."
    capsys.readouterr()
    before = sorted(Path('.').rglob('*'))
    assert main([*words]) == 2, words
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert said in last and last.startswith('ganbook') and 'Traceback' not in err
    assert len(last.replace(f'{Path.cwd()}/', '')) < 250
    assert sorted(Path('.').rglob('*')) == before
