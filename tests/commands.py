"The command line as tests call it."
from pathlib import Path

from ganbook.cli import main


def ok(*words):
    "It does what it is asked."
    assert main([*words]) == 0, words

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
