"""Fixtures of whole runs on a small study with a small model."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import run_samples
from VirtualContrastLib.run import write_outputs
from VirtualContrastLib.run.pipeline import ModelCache, RunSettings, run


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small study with three real phases."""
    return run_samples.write_study(tmp_path_factory.mktemp("study"), phases=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A package with random weights."""
    return run_samples.write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def models():
    """Weights that stay loaded from run to run."""
    return ModelCache()


@pytest.fixture(scope="module")
def chosen(model):
    """Settings of a quick run."""
    return RunSettings(model=str(model), segmentation="threshold", device="cpu")


@pytest.fixture(scope="module")
def done(study, chosen, models, tmp_path_factory):
    """One complete run with real phases, given lesions and uncertainty."""
    out = tmp_path_factory.mktemp("done") / "out"
    real = [study / f"phase_{n}.nrrd" for n in (1, 2, 3)]
    settings = replace(chosen, uncertainty=2, real_times_s=run_samples.REAL_TIMES_S)
    return run(study / "pre.nrrd", out, settings, real=real, lesions=study / "mask.nrrd", models=models)


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave out figures and report where a test is about something else; they take most of the time."""
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))
