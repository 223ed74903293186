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

import result_samples  # noqa: E402
import SimpleITK as sitk  # noqa: E402
import slicer  # noqa: E402
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
    from VirtualContrastLib.pipeline import RunSettings, run

    files = []
    for number, image in enumerate(phantom.images):
        files.append(folder / f"phase_{number}.nrrd")
        sitk.WriteImage(image, str(files[-1]))
    settings = RunSettings(device="cpu", uncertainty=4, times_s=phantom.times_s[1:])
    return run(files[0], folder / "result", settings, real=files[1:]).folder


def take(out, folder, phantom, result):
    """Load the result, show it and write all pictures."""
    from VirtualContrastLib.slicer_app import annotation, layout, lesion_table, scene

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
    annotator = None if panel is not None else annotation.Annotator()
    if panel is not None:
        panel.results.show(loaded, result)
    else:
        layout.show(loaded)
    manager.grab_layout(*LAYOUT_SIZE).save(str(out / "layout_overview.png"))
    largest = max(loaded.lesions, key=lambda row: row.volume_mm3)
    table = panel.results.table if panel is not None else lesion_table.LesionTable(None, loaded)
    table.select(largest.label)
    manager.grab_layout(*LAYOUT_SIZE).save(str(out / "layout_lesion.png"))
    layout.set_overlay(loaded, "curve_type")
    grab_slice(loaded, largest, layout.PHASE, out / "curve_type.png")
    layout.set_overlay(loaded, "uncertainty")
    grab_slice(loaded, largest, layout.PHASE, out / "uncertainty.png")
    layout.set_overlay(loaded)
    grab_slice(loaded, largest, layout.SUBTRACTION, out / "subtraction.png")
    for widget, name in ((manager.threeDWidget(layout.VIEW_3D).threeDView(), "mip"),
                         (manager.plotWidget(layout.PLOT).plotView(), "curves")):  # fmt: skip
        widget.resize(800, 600)
        widget.save_png(out / f"{name}.png")
    if panel is not None:
        HOST.grab_panel("VirtualContrast").save(str(out / "panel.png"))
    if annotator is not None:
        annotator.cleanup()
    scene.remove_result(loaded)


def open_panel(pre):
    """The module's panel with the input chosen; None where there is no module yet."""
    if not MODULE.is_file():
        return None
    panel = HOST.load_module(MODULE).widgetRepresentation().self().panel
    panel.ui.inputSelector.setCurrentNode(pre)
    return panel


def grab_slice(loaded, lesion, tag, path):
    """One slice view, large, at a lesion."""
    from VirtualContrastLib.slicer_app import layout

    widget = slicer.app.layoutManager().sliceWidget(tag)
    widget.sliceView().resize(900, 650)
    widget.sliceLogic().FitSliceToBackground()
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
    print(f"wrote {', '.join(sorted(path.name for path in out.glob('*.png')))} to {out}")


if __name__ == "__main__":
    main()
