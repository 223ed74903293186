"""Pictures of the training module: a short real run on small phantoms, from its own panel.

Called by screenshots.py; alone: `python Testing/host/training_screenshots.py [--out FOLDER]`. Takes about two minutes.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent)]

import slicer_host  # noqa: E402

slicer_host.prepare()

import slicer  # noqa: E402

MODULE = REPOSITORY / "VirtualContrastTraining" / "VirtualContrastTraining.py"
LAYOUT_SIZE = (1100, 900)
EPOCHS, PANEL_AT = 14, 10
CHANGES = (
    f"generator.ngf=8 discriminator.ndf=8 schedule.slices_per_epoch=96 losses.l1_only_epochs=6 precision=32-true "
    f"schedule.constant_epochs={EPOCHS - 4} schedule.decay_epochs=4"
)


def write_cases(folder: Path) -> None:
    """Small phantoms: 10 to train on and 3 to validate."""
    from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
    from VirtualContrastTrainingLib.data.phantom.writing import write_phantom

    settings = PhantomSettings(size_kji=(12, 112, 144), spacing_kji_mm=(10.0, 2.0, 2.0), lesion_count_weights=(0, 0, 1))
    for name, seeds in (("train", range(10)), ("validation", range(800001, 800004))):
        for seed in seeds:
            write_phantom(make_phantom(seed, settings), folder / name / f"case_{seed:06d}")


def take(host, out: Path, work: Path) -> None:
    """Write training_panel.png in the middle of a run and training_curves.png at its end."""
    write_cases(work / "phantoms")
    panel = host.load_module(MODULE).widgetRepresentation().self().panel
    ui = panel.ui
    ui.trainPath.currentPath = str(work / "phantoms" / "train")
    ui.validationPath.currentPath = str(work / "phantoms" / "validation")
    ui.outputPath.currentPath = str(work / "run")
    ui.changesLineEdit.text = CHANGES
    ui.startButton.click()
    host.wait_until(lambda: not panel.training.busy or f"Epoch {PANEL_AT + 1}" in ui.statusLabel.text, 900)
    host.grab_panel("VirtualContrastTraining")  # the first lets the sample image fit the width
    panel.view.samples.show(panel.view.run.samples())
    for widget in (ui.curvesSection, panel.widget):
        widget.updateGeometry()  # a panel that is never on a screen is not told of its contents' new size
    host.grab_panel("VirtualContrastTraining").save(str(out / "training_panel.png"))
    host.wait_until(lambda: not panel.training.busy, 900)
    if panel.view.run.model is None:
        raise SystemExit(f"The training for the pictures failed: {ui.statusLabel.text}")
    slicer.app.layoutManager().grab_layout(*LAYOUT_SIZE).save(str(out / "training_curves.png"))
    host.unload_module("VirtualContrastTraining")


def main() -> None:
    """Take the pictures alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "Resources" / "Screenshots")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="VirtualContrast_") as folder:
        take(slicer_host.boot(), out, Path(folder))
    print(f"wrote training_panel.png and training_curves.png to {out}")


if __name__ == "__main__":
    main()
