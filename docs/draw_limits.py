"""Draws the pictures of docs/limits.md: what the models get wrong, on a phantom and in numbers of patients.

Run it with `.venv/bin/python docs/draw_limits.py`; the pictures show a simulated breast and plots, never a patient.
"""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from VirtualContrastLib import RunSettings, synthesize
from VirtualContrastLib.export.figures.display import acquisition_view, outline, show
from VirtualContrastLib.export.figures.overview import color_of
from VirtualContrastTrainingLib.data.phantom import make_phantom

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "Resources" / "Screenshots"
SEED = 900001


def draw_invented_lesions() -> None:
    """On this phantom the model outlines lesions that are none; the slice with most of them, beside the truth."""
    phantom = make_phantom(SEED)
    study = synthesize(phantom.noise_free[0], settings=RunSettings(model="phantom-joint-p1-p3", device="cpu"))
    pre, true = (sitk.GetArrayFromImage(image) for image in phantom.noise_free[:2])
    lesions, made = sitk.GetArrayFromImage(phantom.labels) > 0, sitk.GetArrayFromImage(study.lesions)
    invented = np.isin(made, [n for n in range(1, made.max() + 1) if not lesions[made == n].any()])
    count = len(np.unique(made[invented]))
    k = int(np.argmax(invented.sum(axis=(1, 2))))
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 2.6), layout="constrained")
    panels = {"before contrast": pre, "true first phase": true, "synthetic first phase": study.arrays()[0]}
    view, window = acquisition_view(phantom.noise_free[0]), (0.0, float(np.percentile(true, 99.8)))
    for axis, (title, volume) in zip(axes, panels.items(), strict=True):
        show(axis, volume[k], view, window, synthetic=title.startswith("synthetic"), title=title)
        outline(axis, invented[k], color_of(1))
    title = f"Simulated breast, seed {SEED}; outlined: invented lesions ({count} of the {made.max()} that were found)"
    figure.suptitle(title, fontsize=10)
    figure.savefig(PICTURES / "limits_invented.png", dpi=160)


def draw_measured_limits() -> None:
    """What the default model shows of the real enhancement, and how often it makes a patient's image worse."""
    card = json.loads((ROOT / "Resources" / "Models" / "ispy-enhancement" / "model.json").read_text(encoding="utf-8"))
    names = {"recovered, early": "share of lesion enhancement shown", "worse, early": "share of patients made worse"}
    names["auroc, early"] = "ranking of enhancing pixels (AUROC)"
    colors = {"gain": "silver", "intensity table": "gray", "model": "tab:blue"}
    figure, axes = plt.subplots(1, len(names), figsize=(13.5, 3.2), layout="constrained")
    for axis, (name, title) in zip(axes, names.items(), strict=True):
        for place, metric in enumerate(metric for metric in card["metrics"] if metric["name"] == name):
            definition = metric["definition"]
            values = {
                who: float(re.search(rf"{who} (-?[\d.]+)", definition).group(1)) for who in ("gain", "intensity table")
            }
            low, high = (float(v) for v in re.search(r"\[(-?[\d.]+), (-?[\d.]+)\]", definition).groups())
            for n, (who, value) in enumerate((values | {"model": metric["value"]}).items()):
                error = [[value - low], [high - value]] if who == "model" else None
                axis.bar(
                    place + (n - 1) * 0.26, value, 0.24, color=colors[who], yerr=error, label=None if place else who
                )
        axis.set_xticks([0, 1], ["220 of I-SPY,\neach unseen", "135 of Duke,\nanother site"])
        axis.set_ylim(0, 1)
        axis.set_title(title, fontsize=10)
    axes[1].legend(frameon=False)
    figure.savefig(PICTURES / "limits_measured.png", dpi=110)


if __name__ == "__main__":
    draw_measured_limits()
    draw_invented_lesions()
