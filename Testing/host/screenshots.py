"""Pictures of the module for README and Resources/Screenshots, made on the test host from a phantom study.

    python Testing/host/screenshots.py [--out FOLDER] [--seed N] [--stand-in]

The synthetic phases come from the default model of the catalog. With --stand-in, for work on the layout where no
model is installed, the phantom's own noise-free phases take their place; such pictures show no model's work and are
written only to a folder named with --out.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(REPOSITORY / "Testing" / "slicer")]

import slicer_host  # noqa: E402

slicer_host.prepare()

import qt  # noqa: E402
import result_samples  # noqa: E402
import SimpleITK as sitk  # noqa: E402
import slicer  # noqa: E402
import training_screenshots  # noqa: E402
from VirtualContrastTrainingLib.data.phantom import make_phantom  # noqa: E402

LAYOUT_SIZE = (1500, 980)
MODULE = REPOSITORY / "VirtualContrast" / "VirtualContrast.py"


def make_result(phantom, folder, *, stand_in):
    """The result folder of a phantom, by the default model or with its own true phases."""
    pre, *real = phantom.images
    if stand_in:
        uncertainty = [sitk.Sqrt(sitk.Cast(image, sitk.sitkFloat32)) for image in real]
        return result_samples.write_result(
            folder / "result", pre, phantom.noise_free[1:], labels=phantom.labels, real=real, uncertainty=uncertainty
        )
    from VirtualContrastLib.io.marks import marked
    from VirtualContrastLib.run.pipeline import RunSettings, run

    files = []
    for number, image in enumerate(phantom.images):
        files.append(folder / f"phase_{number}.nrrd")
        sitk.WriteImage(marked(image), str(files[-1]))  # else the model of patients would be taken
    settings = RunSettings(device="cpu", uncertainty=4, times_s=phantom.times_s[1:])
    return run(files[0], folder / "result", settings, real=files[1:]).folder


def take(out, folder, phantom, result):
    """Load the result, show it and write all pictures."""
    from VirtualContrastLib.slicer_app.scene import result as scene
    from VirtualContrastLib.slicer_app.views import layout

    pre = result_samples.add_input(phantom.images[0], "Phantom")
    real = [
        result_samples.add_input(image, f"Phantom real phase {number}")
        for number, image in enumerate(phantom.images[1:], start=1)
    ]
    manager = slicer.app.layoutManager()
    panel = open_panel(pre)
    loaded = scene.load_result(result, pre, real_nodes=real)
    if not loaded.lesions:
        raise SystemExit("The models found no lesion in this phantom, and no picture was taken; choose another --seed.")
    panel.results.show(loaded, result)
    HOST.wait_until(lambda: not panel.results.showing)
    manager.grab_layout(*LAYOUT_SIZE).save(str(out / "layout_overview.png"))
    largest = max(loaded.lesions, key=lambda row: row.volume)
    panel.results.table.select(largest.label)
    manager.grab_layout(*LAYOUT_SIZE).save(str(out / "layout_lesion.png"))
    layout.set_overlay(loaded, "curve_type")
    grab_slice(loaded, largest, layout.PHASE, out / "curve_type.png")
    layout.set_overlay(loaded, "uncertainty")
    grab_slice(loaded, largest, layout.PHASE, out / "uncertainty.png")
    layout.set_overlay(loaded)
    grab_slice(loaded, largest, layout.SUBTRACTION, out / "subtraction.png")
    for widget, name in ((manager.threeDWidget(layout.VIEW_3D).threeDView(), "mip"),
                         (plot_view(manager, layout.PLOT), "curves")):  # fmt: skip
        widget.resize(800, 600)
        widget.save_png(out / f"{name}.png")
    HOST.grab_panel("VirtualContrast").save(str(out / "panel.png"))
    grab_reading(panel, folder, phantom, result, out / "reading.png")


def plot_view(manager, tag):
    """The plot view of this tag; the layout manager knows them by number alone."""
    widgets = map(manager.plotWidget, range(manager.plotViewCount))
    return next(w.plotView() for w in widgets if w.mrmlPlotViewNode().GetLayoutName() == tag)


def grab_reading(panel, folder, phantom, result, path):
    """Panel and views in the middle of a blinded reading: a synthetic phase beside the pre-contrast volume."""
    from VirtualContrastLib.reader_study.study_list import ReadingCase, write_list

    pre, real = folder / "reading_pre.nrrd", folder / "reading_real.nrrd"
    sitk.WriteImage(phantom.images[0], str(pre))
    sitk.WriteImage(phantom.images[1], str(real))
    synthetic = next((result / "phases").glob("phase_1.*"))
    cases = [ReadingCase(f"C{n}", str(image), kind, beside=str(pre), scale="beside")
             for n, (image, kind) in enumerate(((synthetic, "synthetic"), (real, "real")))]  # fmt: skip
    (folder / "answers").mkdir()
    ui = panel.reading.ui
    ui.listPath.currentPath = str(write_list(folder / "list.csv", cases).path)
    ui.answersPath.currentPath = str(folder / "answers")
    ui.readerEdit.text = "R1"
    slicer.mrmlScene.Clear(0)
    ui.startButton.click()
    HOST.wait_until(lambda: panel.reading.session.is_shown)
    ui.bpeBButton.checked = ui.lesionYesButton.checked = True
    ui.confidenceComboBox.currentIndex = 4
    views = slicer.app.layoutManager().grab_layout(1100, 760)
    questions = HOST.grab_panel("VirtualContrast")
    side_by_side(questions.copy(0, 0, questions.width(), min(questions.height(), views.height())), views).save(
        str(path)
    )
    HOST.unload_module("VirtualContrast")


def side_by_side(left, right):
    """Two QImages in one, with their upper edges in line."""
    image = qt.QImage(left.width() + right.width(), max(left.height(), right.height()), qt.QImage.Format_RGB888)
    image.fill(qt.QColor(239, 239, 239))
    painter = qt.QPainter(image)
    painter.drawImage(0, 0, left)
    painter.drawImage(left.width(), 0, right)
    painter.end()
    return image


def open_panel(pre):
    """The module's panel with the input chosen."""
    panel = HOST.load_module(MODULE).widgetRepresentation().self().panel
    panel.ui.inputSelector.setCurrentNode(pre)
    return panel


def grab_slice(loaded, lesion, tag, path):
    """One slice view, large, at a lesion."""
    from VirtualContrastLib.slicer_app.views import layout

    widget = slicer.app.layoutManager().sliceWidget(tag)
    widget.sliceView().resize(900, 650)
    layout.jump_to_lesion(loaded, lesion.label)
    widget.sliceView().save_png(path)


def main():
    """Make the study and the result, then the pictures."""
    global HOST
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=900003)
    parser.add_argument("--stand-in", action="store_true")
    arguments = parser.parse_args()
    if arguments.stand_in and arguments.out is None:
        parser.error("--stand-in needs --out: its pictures are not for the repository")
    out = arguments.out or REPOSITORY / "Resources" / "Screenshots"
    out.mkdir(parents=True, exist_ok=True)
    HOST = slicer_host.boot()
    phantom = make_phantom(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        result = make_result(phantom, Path(folder), stand_in=arguments.stand_in)
        take(out, Path(folder), phantom, result)
        training_screenshots.take(HOST, out, Path(folder) / "training")
    print(f"wrote {', '.join(sorted(path.name for path in out.glob('*.png')))} to {out}")


if __name__ == "__main__":
    main()
