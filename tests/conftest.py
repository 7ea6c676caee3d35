"Folders to work in, which tests of the command line share."
import pytest

from commands import working_in


@pytest.fixture
def here(tmp_path):
    "An empty folder to work in."
    with working_in(tmp_path): yield tmp_path

@pytest.fixture
def at_home(home):
    "The folder that a file of tests has filled once, its `home`, to work in."
    with working_in(home): yield home
