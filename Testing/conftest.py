"""Fixtures shared by all tests."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TEST_DATA = Path(os.environ.get("VIRTUALCONTRAST_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
"""Real and reference images, which are not part of the repository; CONTRIBUTING.md says how to get them."""


class Folder(type(Path())):
    """A folder of which a file that is missing skips the test that asks for it."""

    def __truediv__(self, name):
        found = super().__truediv__(name)
        if not found.exists():
            pytest.skip(f"real test images are not at {found}; CONTRIBUTING.md says how to get them")
        return Folder(found)


def pytest_configure(config):
    """Hypothesis tries the same examples in every run, however slowly."""
    if config.pluginmanager.has_plugin("hypothesispytest"):  # Testing/slicer/run.py does without it
        from hypothesis import settings

        settings.load_profile("ci")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Every test, with its fixtures, draws the same random numbers in every run, whatever ran before it.

    Torch seeds itself anew in each process.
    """
    import torch  # here, since collecting tests takes no torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Models and weights of this machine's user decide no test."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real and reference images; the test skips where it, or the set that it asks for, is missing."""
    if not TEST_DATA.is_dir():
        pytest.skip(f"real test images are not at {TEST_DATA}; CONTRIBUTING.md says how to get them")
    return Folder(TEST_DATA)
