"""Every kind of the corpus becomes what it must; `python Testing/corpus/run.py` prints them as a table."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))  # samples; alone this file does not see them
from kinds import KINDS, fits, told


@pytest.mark.parametrize("one", KINDS, ids=[f"{one.group}: {one.name}" for one in KINDS])
def test_what_becomes_of_it(one, tmp_path):
    outcome = told(one.outcome, tmp_path)
    assert fits(one, outcome), f"{outcome}\nis not what was wanted: {one.wanted}"
