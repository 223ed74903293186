"""The default model on a whole real study beside doing nothing, gain and intensity table: errors, lesions, seconds.

    .venv/bin/python Testing/benchmarks/whole_study.py [--model ID] [--study FOLDER]

FOLDER (default: ../shared/data/duke-153 or the folder VIRTUALCONTRAST_TEST_DATA) holds pre_half.nrrd and
pass1_half.nrrd; the annotated box of that study is given in patient coordinates. Nothing was trained or chosen by it.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib import RunSettings, synthesize
from VirtualContrastLib.metrics.baselines import GAIN, IDENTITY, TABLE, Baselines
from VirtualContrastLib.metrics.patients import LEAST_SIGNAL, LESION_PE, auroc
from VirtualContrastLib.metrics.tissue import scale_of
from VirtualContrastLib.models.catalog import load_catalog, resolve_model
from VirtualContrastLib.synthesis.breast_region import breast_region

DATA = Path(os.environ.get("VIRTUALCONTRAST_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
BOX_LPS_MM = ((-105.57, -118.83, -49.41), (-79.77, -92.27, -30.71))
"""Opposite corners of the box that the authors of Duke-Breast-Cancer-MRI drew about the tumor of patient 153."""


def main() -> None:
    """Synthesize, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=DATA / "duke-153", help="folder of the volumes")
    parser.add_argument("--model", default=load_catalog().default_id("synthesis"), help="synthesis model")
    args = parser.parse_args()
    if not (args.study / "pre_half.nrrd").is_file():
        parser.error(f"{args.study} holds no pre_half.nrrd; CONTRIBUTING.md says how to get the test images")
    pre, post = (sitk.ReadImage(str(args.study / f"{name}_half.nrrd")) for name in ("pre", "pass1"))
    began, worked = time.perf_counter(), time.process_time()
    study = synthesize(args.study / "pre_half.nrrd", settings=RunSettings(model=args.model))
    seconds, processor_s = time.perf_counter() - began, time.process_time() - worked
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    breast = breast_region(pre)
    before, after = (sitk.GetArrayFromImage(image).astype(np.float64) for image in (pre, post))
    made = {"model": study.arrays()[0].astype(np.float64)}
    calibration = resolve_model(args.model, "synthesis").card.calibration
    if calibration is not None:
        fitted = calibration.baselines[0]
        baselines = Baselines(fitted.gain, fitted.signals, fitted.enhancements)
        made |= {name: baselines.apply(name, before) for name in (IDENTITY, GAIN, TABLE)}
    box = box_mask(pre)
    print(
        f"{args.study.name}, {args.model}: {seconds:.0f} s, {processor_s:.0f} of the processor, "
        f"peak {peak_mib:.0f} MiB, breast {breast.sum()} voxels"
    )
    print("| method | MAE, breast | MAE, lesion | recovered | AUROC |\n|---|---|---|---|---|")
    for name, values in made.items():
        print(f"| {name} | {row(before, after, values, breast, box)} |")
    print(lesions(study.lesions, box))


def box_mask(image: sitk.Image) -> NDArray[np.bool_]:
    """True inside the annotated box [k, j, i]."""
    corners = np.array([image.TransformPhysicalPointToContinuousIndex(corner) for corner in BOX_LPS_MM])
    low, high = np.round(corners.min(axis=0)).astype(int), np.round(corners.max(axis=0)).astype(int)
    mask = np.zeros(image.GetSize()[::-1], bool)
    mask[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1] = True
    return mask


def row(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    made: NDArray[np.float64],
    breast: NDArray[np.bool_],
    box: NDArray[np.bool_],
) -> str:
    """Mean absolute error over breast and lesion, share of the lesion's enhancement, ranking of enhancing voxels."""
    enhancing = after >= (1 + LESION_PE) * before
    lesion = box & breast & enhancing
    error = np.abs(made - after)
    recovered = (made - before)[lesion].sum() / (after - before)[lesion].sum()
    wanted = (enhancing & (before > LEAST_SIGNAL * scale_of(before)))[breast]
    ranked = auroc((made - before)[breast], wanted)
    return f"{error[breast].mean():.2f} | {error[lesion].mean():.1f} | {100 * recovered:.0f} % | {ranked:.3f}"


def lesions(labels: sitk.Image | None, box: NDArray[np.bool_]) -> str:
    """How many outlined lesions touch the box, and how many do not."""
    if labels is None:
        return "No lesions were looked for."
    values = sitk.GetArrayFromImage(labels)
    every, inside = set(np.unique(values)) - {0}, set(np.unique(values[box])) - {0}
    return f"Lesions outlined: {len(every)}; in the annotated box: {len(inside)}; elsewhere: {len(every - inside)}"


if __name__ == "__main__":
    main()
