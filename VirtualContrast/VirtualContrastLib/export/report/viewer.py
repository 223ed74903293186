"""The viewer in report.html: all slices of pre-contrast, phases and subtraction, linked, with lesions and curves.

The page must work offline by double click and stay small enough to be mailed. So the volumes are cut to the breasts,
reduced to at most 256 pixels a side and 8 bits, and each is one mosaic picture of its slices; `viewer.js` cuts them
apart again, subtracts and draws. An own canvas in place of a viewer library: three linked gray slices need 15 kB of
script, a general volume viewer more than one megabyte.

The gray levels of the page are for looking. Numbers beside a lesion are those of the run; a curve under the mouse is
read from the page's own gray levels and says so.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kinetics.curves import LesionCurve
from ...study import Phase
from ..content import LABEL, TYPE_NAMES
from ..figures.display import OPPOSITE, View, acquisition_view, common_window, sample, subtraction_window
from ..figures.overview import color_of
from ..figures.run_figures import FigureInput

MAX_PIXELS = 256
MAX_SLICES = 128
BUDGET_BYTES = 6_000_000
"""Of the encoded pictures; base64 adds a third, so the page stays below 10 MB with its figures."""

_MARGIN = 8
_ENCODINGS = (("png", 0), ("jpeg", 88), ("jpeg", 70))
"""Tried in this order: format and quality (of JPEG)."""
_TRIED, _SLACK = 8, 1.2
"""Where every 8th slice alone says that the pictures would be larger than this by far, they are not encoded."""
_RUNS = 3
"""zlib's strategy Z_RLE: of slices a third of the time of the default, and no larger."""
_SCRIPT = Path(__file__).with_name("viewer.js")

Gray = NDArray[np.uint8]
Box = tuple[slice, slice, slice]


def viewer_html(given: FigureInput) -> str:
    """The viewer as one HTML element with its data and script; loads nothing from outside."""
    data = json.dumps(viewer_data(given), separators=(",", ":"), allow_nan=False)
    # "</" would end the element early, whatever the text is.
    data = data.replace("<", "\\u003c")
    return (
        '<div class="viewer" tabindex="0">'
        "<noscript>The viewer needs JavaScript; the figures below do not.</noscript></div>"
        f'\n<script type="application/json" id="viewer-data">{data}</script>\n'
        f"<script>{_SCRIPT.read_text(encoding='utf-8')}</script>"
    )


def viewer_data(given: FigureInput) -> dict[str, Any]:
    """What the script reads: geometry, window, pictures (data URLs), lesions and curves.

    A gray level g of a picture stands for `offset + scale * g` in the input's units. Slices, rows and columns are those
    of the acquisition view (radiological convention), cut and reduced; `slice_numbers` are those of the input, from 1.
    """
    view = acquisition_view(given.pre.image, has_geometry=given.has_geometry)
    shown = [given.pre, *given.input_phases, *given.phases, *given.real]
    whole = [view.slices(phase.image) for phase in shown]
    labels = view.slices(given.labels) if given.labels is not None else np.zeros(whole[0].shape, np.uint8)
    box = _box(given, view, labels)
    volumes = [volume[box] for volume in whole]
    low, high = _range(volumes)
    window = common_window(volumes[0])
    change = np.subtract(sample(volumes[1]), sample(volumes[0]), dtype=np.float32)
    change_window = subtraction_window(change, sample(labels[box]) > 0, window)
    pictures, step, kind = _within_budget(volumes, low, high)
    small_labels = labels[box][:: step[0], :: step[1], :: step[2]]
    rows, columns = small_labels.shape[1:]
    count = whole[0].shape[0]
    numbers = [k + 1 for k in range(count)][box[0]][:: step[0]]
    if view.reversed_slices:
        numbers = [count + 1 - number for number in numbers]
    return {
        "size": [columns, rows, small_labels.shape[0]],
        "pixel_aspect": view.aspect * step[1] / step[2],
        "mosaic_columns": _mosaic_columns(small_labels.shape[0]),
        "slice_numbers": numbers,
        "letters": [OPPOSITE[view.code[0]], OPPOSITE[view.code[1]]] if view.code else ["", ""],
        "offset": low,
        "scale": (high - low) / 255.0,
        "window": list(window),
        "change_window": list(change_window),
        "lossy": kind == "jpeg",
        "label": LABEL,
        "volumes": [
            {"name": _name(phase, given), "time_s": phase.time_s, "synthetic": phase.synthetic, "picture": picture}
            for phase, picture in zip(shown, pictures, strict=True)
        ],
        "labels": _data_url(_mosaic(small_labels.astype(np.uint8)), "png") if small_labels.any() else None,
        "lesions": _lesions(given, small_labels),
    }


def _name(phase: Phase, given: FigureInput) -> str:
    if phase.index == 0:
        return "Pre-contrast"
    time = "" if phase.time_s is None else f", {phase.time_s / 60:.1f} min"
    kind = "synthetic" if phase.synthetic else "real"
    return f"Phase {phase.index} ({kind}{time})"


def _box(given: FigureInput, view: View, labels: NDArray[Any]) -> Box:
    """Slices, rows and columns that hold the region and all lesions, with a margin in plane."""
    if given.region is None:
        return slice(None), slice(None), slice(None)
    inside = view.turned(given.region, given.pre.image.GetDirection()) | (labels > 0)
    if not inside.any():
        return slice(None), slice(None), slice(None)
    box = []
    for axis, margin in enumerate((0, _MARGIN, _MARGIN)):
        index = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(max(int(index[0]) - margin, 0), int(index[-1]) + margin + 1))
    return box[0], box[1], box[2]


def _range(volumes: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """The gray range that 8 bits have to hold: all but the extreme 0.02 % of all phases together."""
    ends = [np.percentile(sample(volume), (0.02, 99.98)) for volume in volumes]
    low, high = min(float(end[0]) for end in ends), max(float(end[1]) for end in ends)
    return low, max(high, low + 1e-6)


def _within_budget(
    volumes: Sequence[NDArray[Any]], low: float, high: float
) -> tuple[list[str], tuple[int, int, int], str]:
    """Pictures as data URLs, the step by which slices, rows and columns were reduced, and their format.

    PNG keeps every gray level; where it is too large the pictures become JPEG, and then smaller.
    """

    def encoded(grays: Sequence[Gray], kind: str, quality: int) -> list[str]:
        return [_data_url(_mosaic(gray), kind, quality) for gray in grays]

    def size(pictures: Sequence[str]) -> float:
        return sum(map(len, pictures)) * 3 / 4

    slices, rows, columns = volumes[0].shape
    step = math.ceil(max(rows, columns) / MAX_PIXELS)
    jump = math.ceil(slices / MAX_SLICES)
    while True:
        grays = [_to_bytes(_reduced(volume[::jump], step), low, high) for volume in volumes]
        tried = [gray[::_TRIED] for gray in grays]
        share_tried = len(tried[0]) / len(grays[0])
        for kind, quality in _ENCODINGS:
            if size(encoded(tried, kind, quality)) > _SLACK * share_tried * BUDGET_BYTES:
                continue
            pictures = encoded(grays, kind, quality)
            if size(pictures) <= BUDGET_BYTES:
                return pictures, (jump, step, step), kind
        step += 1


def _reduced(volume: NDArray[Any], step: int) -> NDArray[Any]:
    """In-plane means of `step` x `step` pixels; edges that do not fill a block are padded by repetition."""
    if step == 1:
        return volume
    slices, rows, columns = volume.shape
    padded = np.pad(volume, ((0, 0), (0, -rows % step), (0, -columns % step)), mode="edge")
    blocks = padded.reshape(slices, padded.shape[1] // step, step, padded.shape[2] // step, step)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def _to_bytes(volume: NDArray[Any], low: float, high: float) -> Gray:
    gray = np.subtract(volume, low, dtype=np.float32)
    gray *= 255 / (high - low)
    return np.rint(np.clip(gray, 0, 255, out=gray), out=gray).astype(np.uint8)


def _mosaic_columns(slices: int) -> int:
    return math.ceil(math.sqrt(slices))


def _mosaic(volume: Gray) -> Gray:
    """All slices side by side, row after row: one picture decodes faster than a hundred."""
    slices, rows, columns = volume.shape
    across = _mosaic_columns(slices)
    down = math.ceil(slices / across)
    full = np.zeros((across * down, rows, columns), np.uint8)
    full[:slices] = volume
    return full.reshape(down, across, rows, columns).transpose(0, 2, 1, 3).reshape(down * rows, across * columns)


def _data_url(picture: Gray, kind: str, quality: int = 0) -> str:
    from PIL import Image

    file = io.BytesIO()
    options = {"quality": quality} if kind == "jpeg" else {"compress_level": 1, "compress_type": _RUNS}
    Image.fromarray(picture).save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _lesions(given: FigureInput, labels: NDArray[Any]) -> list[dict[str, Any]]:
    """Per lesion its place in the reduced grid, its color and its curves."""
    curves = {curve.label: curve for curve in given.curves}
    real = {curve.label: curve for curve in given.real_curves}
    found = []
    for label in (int(value) for value in np.unique(labels) if value > 0):
        index = np.nonzero(labels == label)
        best = int(np.bincount(index[0]).argmax())
        in_slice = index[0] == best
        found.append(
            {
                "label": label,
                "color": color_of(label),
                "slice": best,
                "row": round(float(index[1][in_slice].mean())),
                "column": round(float(index[2][in_slice].mean())),
                "type": TYPE_NAMES[curves[label].curve_type] if label in curves else "",
                "synthetic": _curve(curves, label),
                "real": _curve(real, label),
            }
        )
    return found


def _curve(curves: Mapping[int, LesionCurve], label: int) -> dict[str, list[float]] | None:
    """Seconds, percent enhancement and its error (1 SD, an upper bound); None where there is no curve."""
    if label not in curves:
        return None
    curve = curves[label]
    columns = {"times_s": curve.times_s, "pe": curve.pe_percent, "sd": curve.pe_uncertainty_percent}
    return {name: [round(float(value), 2) for value in np.nan_to_num(values)] for name, values in columns.items()}
