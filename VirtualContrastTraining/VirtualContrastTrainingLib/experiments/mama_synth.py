"""The MAMA-SYNTH 2026 protocol as one table; on phantoms it takes the peak slice of each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..metrics.images import read_mask
from ..metrics.mamasynth import Case, protocol
from ..metrics.pairs import Pair, attach
from .reports import html_table, interval_figure, write_json, write_page, write_table
from .table_options import TableOptions

_SCORES = {
    "mse": "MSE (z-scores)",
    "lpips": "LPIPS",
    "ssim_tumor": "SSIM in the tumor",
    "dice": "Dice",
    "hausdorff_95": "HD95 (pixels)",
}


def write_mama_synth(title: str, pairs: Sequence[Pair], folder: Path, options: TableOptions) -> dict[str, Any]:
    """Write mama-synth.csv, .json, .png and .html; see `metrics.mamasynth.protocol`."""
    with _slices(pairs, options.data or "") as slices:
        masks: list[Path | None] = [None] * len(slices)
        if options.predicted_masks is not None:
            bare = [replace(pair, breast=None) for pair in slices]
            masks = [pair.breast for pair in attach(bare, "breast", options.predicted_masks)]
        cases = [Case(pair, mask) for pair, mask in zip(slices, masks, strict=True)]
        found = protocol(
            cases,
            lpips=options.lpips,
            lpips_missing=options.lpips_missing,
            z_scored=options.z_scored,
            failures=options.failures,
        )
    other = ("notes", "cases", "without_prediction", "failed")
    rows = [{"metric": metric, **(found[metric] or {})} for metric in found if metric not in other]
    columns = ("metric", "mean", "std", "n")
    write_table(folder, "mama-synth", columns, rows)
    result = {"table": "mama-synth", "data": options.data, **found}
    write_json(folder / "mama-synth.json", result)
    panels = {label: [_spread(found[name])] for name, label in _SCORES.items() if found[name]}
    figure = interval_figure(["synthetic"], panels, f"{options.data}; lines are one standard deviation")
    figure.savefig(folder / "mama-synth.png", dpi=150)
    notes = [f"Data: {options.data}. {found['cases']} cases, {found['failed']} could not be measured."]
    notes += [f"{name}: {note}" for name, note in found["notes"].items()]
    image = '<img src="mama-synth.png" alt="scores with standard deviations">'
    write_page(folder / "mama-synth.html", title, [html_table(columns, rows), image], notes)
    return result


def _spread(found: dict[str, Any]) -> dict[str, Any]:
    """A score with mean -+ one standard deviation as its line; the challenge prints no intervals."""
    return {**found, "ci95": [found["mean"] - found["std"], found["mean"] + found["std"]]}


@contextmanager
def _slices(pairs: Sequence[Pair], data: str) -> Iterator[list[Pair]]:
    """The pairs; of phantoms the slice of phase 1 in which the lesion is largest, as the challenge takes one slice."""
    if not data.split(maxsplit=1)[-1].startswith("phantoms"):
        yield list(pairs)
        return
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-slices-") as place:
        first = [pair for pair in pairs if pair.real.name.startswith("phase_1.") and pair.lesion is not None]
        yield [_peak_slice(pair, Path(place) / str(number)) for number, pair in enumerate(first)]


def _peak_slice(pair: Pair, folder: Path) -> Pair:
    assert pair.lesion is not None
    k = int(np.argmax(read_mask(pair.lesion).sum(axis=(1, 2))))
    folder.mkdir(parents=True)
    paths = {}
    for name, path in (("real", pair.real), ("synthetic", pair.synthetic), ("lesion", pair.lesion)):
        paths[name] = folder / f"{name}.mha"
        sitk.WriteImage(sitk.ReadImage(str(path))[:, :, k : k + 1], str(paths[name]))
    return Pair(paths["real"], paths["synthetic"], pair.patient, lesion=paths["lesion"])
