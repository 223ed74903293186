"""Child processes for the tests of the training panel: real ones on tiny data, and quick ones that only pretend."""

import sys
from pathlib import Path

import slicer

TESTING = Path(__file__).resolve().parents[1]
REPOSITORY = TESTING.parent
MODULE = REPOSITORY / "VirtualContrastTraining" / "VirtualContrastTraining.py"
for library in ("VirtualContrast", "VirtualContrastTraining"):
    sys.path.insert(0, str(REPOSITORY / library))

_PRELUDE = """
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--output") + 1])
def tell(epoch, epochs, step=4, steps=4):
    words = {"stage": "", "epoch": epoch, "epochs": epochs, "step": step, "steps": steps}
    words.update(left_s=100.0, device="cpu")
    (out / "progress.json.partial").write_text(json.dumps(words))
    os.replace(out / "progress.json.partial", out / "progress.json")
def log(epoch, loss, error):
    path = out / "logs" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text("D_real,G_L1,epoch,step,val_lesion_mae,val_mae\\n")
    with path.open("a") as stream:
        place = f"{epoch - 1},{4 * epoch}"
        stream.write(f",,{place},{error},{2 * error}\\n{loss / 100},{loss},{place},,\\n")
def checkpoint():
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    (out / "checkpoints" / "last.ckpt").touch()
def wait_for(name):
    while not (out / name).exists():
        time.sleep(0.01)
def stop_if_asked():
    if (out / "stop").exists():
        (out / "stop").unlink()
        print("Error: Stopped; the checkpoint is kept, continue from it with --resume.", file=sys.stderr)
        sys.exit(3)
"""


def pretend(code):
    """A command that gets the panel's command line and does `code` in place of a training."""
    return [sys.executable, "-c", _PRELUDE + code]


GROWING = """
checkpoint()
for epoch in range(1, 6):
    tell(epoch, 5)
    log(epoch, 50.0 / epoch, 0.2 / epoch)
    time.sleep(0.02)
shutil.copytree({model!r}, out / "model")
"""
"""A run of five epochs that ends with the package `model`."""


def waiting(code, name):
    """GROWING that goes on after an epoch when the file `name` is in its folder; `{epoch}` stands for the epoch."""
    return code.replace("time.sleep(0.02)", f"wait_for(f{name!r})")


ENDLESS = """
checkpoint()
for step in range(100_000):
    tell(1, 100, step % 1000, 1000)
    stop_if_asked()
    time.sleep(0.01)
"""
"""A run that stops when it is asked to."""

DEAF = """
os.setsid()
child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
(out / "child").write_text(str(child.pid))
checkpoint()
tell(1, 100, 1, 1000)
time.sleep(600)
"""
"""A run that hears of no stop, with a child that has left its process group; all is written before it tells a step."""

CRASHING = """
tell(1, 100, 1, 1000)
print("about to crash: Grüße", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
"""

FAILING = """
print("Epoch 1/2 with a bar\\rEpoch 2/2")
print("Error: The folder x holds no prepared cases; make some.", file=sys.stderr)
print("Error: One of the 2 training processes failed.", file=sys.stderr)
sys.exit(2)
"""

UNFORESEEN = """
raise SystemExit(7)
"""

RECIPE = """# A tiny network on tiny cases, for a test.
id: tiny-run
title: Tiny run
system: pix2pixhd
seed: 1
generator: {{input_nc: 3, output_nc: 3, ngf: 4, netG: global, n_downsample_global: 2, n_blocks_global: 1}}
discriminator: {{input_nc: 6, ndf: 4, n_layers_D: 2, num_D: 1}}
inputs: {{phases: [0], channel_offsets: [-1, 0, 1]}}
outputs: {{channel_phases: [1, 2, 3], times_s: [90, 220, 350]}}
intensity: {{recipe: pre_percentile, constants: {{percentile: 99.0, max_ratio: 4.0}}}}
in_plane: {{policy: native, pad_multiple: 8, pad_mode: reflect}}
data: {{train: {cases}, validation: {cases}}}
schedule: {{batch_size: 16, slices_per_epoch: 48, constant_epochs: {epochs}, decay_epochs: 1}}
trained_on_phantoms: true
license: Apache-2.0
citation: none
intended_use: Tests.
"""


def write_recipe(folder, epochs):
    """A recipe file of `epochs` tiny epochs and the cases it trains on; as the panel gets it from a user."""
    from VirtualContrastTrainingLib.training.smoke import smoke_cases

    cases = smoke_cases(folder / "cases", 2)
    path = folder / "tiny.yaml"
    path.write_text(RECIPE.format(cases=cases, epochs=epochs - 1))
    return path


def choose_recipe(panel, name):
    """Choose a shipped recipe by name, or a YAML file by its path."""
    names = [entry.name for entry in panel.recipes]
    panel.ui.recipeComboBox.currentIndex = names.index(name) if name in names else len(names)
    if name not in names:
        panel.ui.recipePath.currentPath = str(name)


def gone(pid):
    """The process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def open_module(host):
    """Generator of a fixture: the open module's Widget object, which looks at the run 50 times a second."""
    widget = host.load_module(MODULE).widgetRepresentation().self()
    widget.panel._timer.setInterval(20)
    yield widget
    if slicer.app.moduleManager().module("VirtualContrastTraining") is not None:
        host.unload_module("VirtualContrastTraining")


def choose_trial(panel, folder):
    """Choose a smoke trial into `folder`, and return that."""
    choose_recipe(panel, "phantom-joint-p1-p3")
    panel.ui.smokeCheckBox.checked = True
    panel.ui.outputPath.currentPath = str(folder)
    return folder


def begin(host, panel, code, *, until=None):
    """Start a run that does `code`; wait for `until`, default its end."""
    panel.training.process.command = pretend(code)
    panel.ui.startButton.click()
    host.wait_until(until or (lambda: not panel.training.busy))


def charts():
    """The chart nodes in the scene."""
    return slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
