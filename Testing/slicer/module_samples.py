"""A tiny study and model for the tests of the module, and worker processes that misbehave."""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer

TESTING = Path(__file__).resolve().parents[1]
REPOSITORY = TESTING.parent
MODULE = REPOSITORY / "VirtualContrast" / "VirtualContrast.py"
sys.path.insert(0, str(TESTING))
sys.path.insert(0, str(REPOSITORY / "VirtualContrast"))

import run_samples  # noqa: E402

IJK_TO_RAS = np.array([[-1.5, 0.0, 0.0, 24.0], [0.0, -1.25, 0.0, 60.5], [0.0, 0.0, 3.0, 11.0], [0.0, 0.0, 0.0, 1.0]])


def add_volume(array, name="Pre", ijk_to_ras=IJK_TO_RAS):
    """A scalar volume node of `array` [k, j, i]."""
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array), ijkToRAS=ijk_to_ras, name=name)


def add_pre(name="Pre"):
    return add_volume(run_samples.make_pre(), name)


def add_real(phase):
    return add_volume(run_samples.make_real(phase), f"Real {phase}")


def write_resources(folder):
    """A folder Resources whose only and default model is the tiny one."""
    model = run_samples.write_model(folder / "Models" / "tiny")
    (folder / "Models" / "catalog.json").write_text(
        '{"schema_version": 1, "models": [{"id": "tiny", "kind": "synthesis", "title": "Tiny", "description": "Tiny", '
        '"source": "embedded", "default": true, "license": "Apache-2.0"}]}'
    )
    return model


def worker_command(code):
    """A command that serves like the real worker, with the `run` that `code` defines in place of the engine's.

    Without the engine's imports it starts in a fraction of a second.
    """
    lines = [
        "import os, shutil, signal, subprocess, sys, time, types",
        "from pathlib import Path",
        "from VirtualContrastLib.worker import process as w",
        "from VirtualContrastLib.results.staging import Staging",
        code,
        "sys.modules['VirtualContrastLib.run.pipeline'] = types.SimpleNamespace(run=run)",
        "sys.exit(w.main())",
    ]
    return [sys.executable, "-c", "\n".join(lines)]


def instant(result):
    """Code of a run that is done at once: it copies the result folder `result` under a new run id."""
    return f"""
def run(source, out, settings, real, events, models):
    from VirtualContrastLib.events import Stage
    from VirtualContrastLib.results.manifest import load_result
    events.progress(Stage.SYNTHESIZE, 1, 2)
    shutil.copytree({str(result)!r}, out, dirs_exist_ok=True)
    manifest = Path(out, "manifest.json")
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(load_result(out).manifest.run_id, Path(out).name), encoding="utf-8")
    return load_result(out)
"""


HANGING = """
def run(source, out, settings, real, events, models):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    staging = Staging(Path(out))
    (staging.folder / "child").write_text(str(child.pid))
    time.sleep(600)
"""
"""A run that starts a child, writes something, and hears of no cancel."""

CRASHING = """
def run(source, out, settings, real, events, models):
    staging = Staging(Path(out))
    print("about to crash: Grüße", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
"""

LEAVING = """
def run(source, out, settings, real, events, models):
    os._exit(7)
"""

EMPTY = """
def run(source, out, settings, real, events, models):
    Path(out).mkdir(parents=True, exist_ok=True)
    told = types.SimpleNamespace(run_id="x", timing_s={}, device={}, warnings=[])
    return types.SimpleNamespace(folder=Path(out), manifest=told)
"""
"""A run that says it is done and has made an empty folder."""

PATIENT = """
def run(source, out, settings, real, events, models):
    from VirtualContrastLib.events import Stage
    for step in range(100_000):
        events.progress(Stage.SYNTHESIZE, step, 100_000)
        time.sleep(0.01)
"""
"""A run that stops when it is asked to."""


def make_result(folder):
    """Result folder of the tiny study with three real phases, uncertainty, two given lesions; made in this process."""
    from VirtualContrastLib.run.pipeline import run
    from VirtualContrastLib.run.settings import RunSettings

    study = run_samples.write_study(folder / "study", phases=3)
    model = run_samples.write_model(folder / "model")
    settings = RunSettings(model=str(model), segmentation="threshold", device="cpu", uncertainty=2)
    real = [study / f"phase_{number}.nrrd" for number in (1, 2, 3)]
    return run(study / "pre.nrrd", folder / "result", settings, real=real, lesions=study / "mask.nrrd").folder


def read_nrrd(path):
    return sitk.ReadImage(str(path))


def misbehave(panel, code):
    """Let the worker's runs be those of `code`, None: the engine's."""
    panel.logic.synthesis.worker._command = worker_command(code) if code else None


def apply(host, panel):
    """Press Apply and wait until the result is shown, or the run has failed."""
    panel.ui.applyButton.click()
    host.wait_until(lambda: not panel.logic.synthesis.busy)
    host.wait_until(lambda: not panel.results.showing)


def scene_ids():
    """The IDs of all nodes of the scene."""
    scene = slicer.mrmlScene
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
