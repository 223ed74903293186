"""What is chosen in the panel, why it cannot work, and what is done with it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from VirtualContrastLib.slicer_app.run import model_list

from .recipe_list import RecipeEntry
from .run_folder import RunFolder, Start

PRECISIONS = ("32-true", "bf16-mixed")


def start_of(ui: Any, recipe: RecipeEntry) -> Start:
    """The choices in the panel `ui`."""
    number = ui.precisionComboBox.currentIndex
    return Start(
        recipe.name,
        ui.trainPath.currentPath,
        ui.validationPath.currentPath,
        ui.smokeCheckBox.checked,
        PRECISIONS[number - 1] if number > 0 else "",
        ui.devicesSpinBox.value,
        ui.changesLineEdit.text,
    )


def why_not_start(ui: Any, recipe: RecipeEntry | None, run: RunFolder | None, *, busy: bool) -> str:
    """Why a run cannot start with the choices in the panel.

    Args:
        ui: The panel's widgets.
        recipe: The recipe chosen.
        run: The run in the output folder.
        busy: Whether a run is under way.

    Returns:
        One sentence; "" where it can start.
    """
    if busy:
        return _("A run is under way; wait for its end or stop it.")
    if recipe is None:
        return _("Choose a recipe first.")
    if run is None:
        return _("Choose an output folder first.")
    if run.exists:
        return _("The output folder holds a run already; resume it or choose another folder.")
    if run.folder.exists() and not run.folder.is_dir():
        return _("The output folder is a file; choose a folder.")
    if not ui.smokeCheckBox.checked and (problem := _why_not_data(ui, recipe)):
        return problem
    return _why_not_changes(ui.changesLineEdit.text)


def _why_not_data(ui: Any, recipe: RecipeEntry) -> str:
    for path in (ui.trainPath.currentPath, ui.validationPath.currentPath):
        if not path and not Path(recipe.name).is_file():  # the folders in a shipped recipe are nobody's
            return _("Choose training and validation cases, simulate phantoms to try, or tick the smoke trial.")
        if path and not Path(path).is_dir():
            return _("The folder {folder} does not exist; choose another.").format(folder=path)
    if ui.trainPath.currentPath and ui.trainPath.currentPath == ui.validationPath.currentPath:
        return _(
            "Training and validation cases are the same folder; a network must not be judged "
            "on the cases it was trained on."
        )
    return ""


def _why_not_changes(text: str) -> str:
    try:
        parts = shlex.split(text)
    except ValueError:
        return _("A quote is not closed in the changes under Advanced.")
    wrong = next((part for part in parts if "=" not in part), "")
    return _("The change {part} is not of the form KEY=VALUE.").format(part=wrong) if wrong else ""


def why_not_resume(run: RunFolder | None, *, busy: bool) -> str:
    """Why a run cannot be continued, in one sentence; "" where it can."""
    if busy:
        return _("A run is under way; wait for its end or stop it.")
    if run is None or not run.has_checkpoint:
        return _("The output folder holds no run to continue.")
    progress = run.progress
    if run.model is not None and (progress is None or progress.fraction >= 1):
        return _("This run is done; its model is below.")
    return ""


def what_stop_does(kind: str, *, stopping: bool) -> str:
    """The tool tip of the Stop button."""
    if kind == "phantoms":
        return _("End the simulation; finished studies are kept.")
    if stopping:
        return _("End the run at once; the last checkpoint is kept.")
    return _("End the run after the step it is in, with a checkpoint to continue from.")


def phantom_folder(output: str, *, mammograms: bool) -> Path:
    """Where studies to try with are simulated: beside the output folder, else in Slicer's temporary folder."""
    parent = Path(output).parent if output else Path(slicer.app.temporaryPath) / "VirtualContrastTraining"
    return parent / ("phantom_mammograms" if mammograms else "phantoms")


def why_not_use(model: Path) -> str:
    """Why Virtual Contrast cannot take a model, in one sentence; "" where it can."""
    if not hasattr(slicer.modules, "virtualcontrast"):
        return _("The module Virtual Contrast is not loaded; use the model with: virtual-contrast synthesize --model.")
    if model_list.find_model(str(model)) is None:
        return _("This kind of model is used from the command line; see: virtual-contrast synthesize --help.")
    return ""


def use_model(model: Path) -> None:
    """Open the module Virtual Contrast with this model chosen."""
    slicer.util.selectModule("VirtualContrast")
    panel = slicer.util.getModuleWidget("VirtualContrast").panel
    if panel.parameters is not None:
        panel.parameters.model = str(model)
