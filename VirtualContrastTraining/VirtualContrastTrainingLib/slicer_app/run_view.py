"""What the panel shows of a run: how far it is, its curves, its pictures, its model."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _
from VirtualContrastLib.slicer_app.run import model_list
from VirtualContrastLib.worker.estimate import duration_text

from . import choices, layout
from .charts import Charts, display_name
from .metrics_file import Curve
from .run_folder import RunFolder
from .sample_view import SampleView


class RunView:
    """Shows one run folder at a time, and follows it when polled."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.run: RunFolder | None = None
        self.charts: Charts | None = None
        self._offered: tuple[str, str] | None = None
        self._layout_wanted = False
        self.samples = SampleView(ui)

    def open(self, run: RunFolder | None) -> None:
        """Show `run`, which may not have begun, or none. The charts of the one before leave the scene.

        The run's own come into the scene with `show_charts`, not before.
        """
        if run is not None and self.run is not None and run.folder == self.run.folder:
            return
        if self.charts is not None:
            self.charts.remove()
        self.run, self.charts, self._layout_wanted = run, None, False
        self.poll()
        self._show_metrics()

    def poll(self) -> None:
        """Look at the run's files and show what is new."""
        if self.run is not None and self.run.poll():
            self._show_metrics()
            if self._layout_wanted or self.charts is not None:
                self.update_charts()
        self.samples.show(self.run.samples() if self.run is not None else [])
        self._show_model()

    def state(self) -> str:
        """One sentence about a run that nobody is waiting for, "" where there is none."""
        run = self.run
        if run is None or not run.exists:
            return ""
        progress = run.progress
        if run.model is not None and (progress is None or progress.fraction >= 1):
            return _("The run {title} in this folder is done.").format(title=run.title)
        if progress is None:
            return _("The run {title} in this folder can be continued.").format(title=run.title)
        text = _("The run {title} in this folder ended in epoch {epoch} of {epochs} and can be continued.")
        return text.format(title=run.title, epoch=progress.epoch, epochs=progress.epochs)

    def progress_text(self) -> tuple[float, str]:
        """Fraction 0..1 of the present stage, and where it is; (0, "") before the first step."""
        progress = self.run.progress if self.run is not None else None
        if progress is None:
            return 0.0, ""
        parts = [
            _("Epoch {epoch} of {epochs}, step {step} of {steps}").format(
                epoch=progress.epoch, epochs=progress.epochs, step=progress.step, steps=progress.steps
            )
        ]
        if progress.stage:
            parts[0] = _("Warm-up, ") + parts[0].lower()
        if progress.fraction >= 1 and not progress.stage:
            parts = [_("Writing the model")]
        elif progress.left_s is not None:
            text = _("about {time} left of the warm-up") if progress.stage else _("about {time} left")
            parts.append(text.format(time=duration_text(progress.left_s)))
        return progress.fraction, " · ".join([*parts, *filter(None, [progress.device])])

    # ---- curves ----------------------------------------------------------------------------------------------------

    def show_charts(self) -> None:
        """Make the charts of the run and switch to the layout with them, now or as soon as there are curves."""
        self._layout_wanted = True
        self.update_charts()

    def update_charts(self) -> None:
        """Bring the charts in the scene in line with the curves."""
        if self.run is None or not (self.run.losses or self.run.held_out) or slicer.mrmlScene.IsClosing():
            return
        if self.charts is None:
            self.charts = Charts(str(self.run.folder), self.run.title)
        self.charts.update(self.run.losses, self.run.held_out)
        if self._layout_wanted:
            self._layout_wanted = False
            layout.show(self.charts)
        else:
            layout.put(self.charts)

    def _show_metrics(self) -> None:
        curves = self.run.held_out if self.run is not None else {}
        has_curves = self.run is not None and bool(self.run.losses or curves)
        self._ui.curvesButton.enabled = has_curves
        texts = [_curve_text(name, curve) for name, curve in curves.items()]
        text = (
            _("On held-out data: {measures}")
            if texts
            else _("Losses and held-out measures come after the first epoch.")
        )
        self._ui.metricsLabel.text = text.format(measures=", ".join(texts))

    # ---- model -----------------------------------------------------------------------------------------------------

    def _show_model(self) -> None:
        model = self.run.model if self.run is not None else None
        reason = choices.why_not_use(model) if model is not None else ""
        offered = (str(model or ""), reason)
        if offered == self._offered:
            return
        self._offered = offered
        self._ui.useButton.enabled = model is not None and not reason
        self._ui.useButton.toolTip = reason or _("Open the module Virtual Contrast with this model chosen.")
        text = _("The run ends with a model package.")
        if model is not None:
            entry = model_list.find_model(str(model))
            phantoms = _("TRAINED ON SIMULATED PHANTOMS ONLY.") if entry is not None and entry.phantoms else ""
            text = "\n".join(filter(None, [str(model), phantoms, reason]))
        self._ui.modelLabel.text = text


def _curve_text(name: str, curve: Curve) -> str:
    """The last value of a held-out measure, and the first where there are two: "mae 0.37 (0.40 at first)"."""
    values = list(curve.values())
    text = f"{display_name(name)} {values[-1]:.4g}"
    return text + " " + _("({value} at first)").format(value=f"{values[0]:.4g}") if len(values) > 1 else text
