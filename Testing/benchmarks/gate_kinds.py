"""How well the default model's gate tells each wrong kind of input from pre-contrast breasts that it never saw.

    .venv/bin/python Testing/benchmarks/gate_kinds.py PREPARED [--cohort Duke-Breast-Cancer-MRI]

PREPARED holds prepared crops (`prepare crops`); those of the cohort are the right inputs. Wrong kinds are made of the
same patients (their own later phases, subtractions, no fat suppression, a spacing that is not theirs), cut from other
real images in ../shared/data (or the folder VIRTUALCONTRAST_TEST_DATA), or generated. AUROC: share of pairs of a wrong
and a right input of which the wrong one has the higher score. Refused: share above the limit of the gate.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from VirtualContrastLib.io.read import load
from VirtualContrastLib.models.catalog import load_catalog, resolve_model
from VirtualContrastLib.synthesis.gate import judge
from VirtualContrastTrainingLib.data.crops import CropPatient, load_patients
from VirtualContrastTrainingLib.data.gate_statistics import without_fat_suppression
from VirtualContrastTrainingLib.data.phantom import make_phantom

DATA = Path(os.environ.get("VIRTUALCONTRAST_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
SIDE_MM, PIXEL_MM, PIXELS = 80.0, 0.714, 112
"""Cuts of other images are as large as the crops."""
HIGHEST = 1e6
"""Score of what has no tissue at all, which is infinitely unlike."""


def main() -> None:
    """Judge everything, print a row a kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path, help="prepared crops")
    parser.add_argument("--model", default=load_catalog().default_id("synthesis"), help="model with a gate")
    parser.add_argument("--cohort", default="Duke-Breast-Cancer-MRI", help="whose crops are the right inputs")
    args = parser.parse_args()
    gate = resolve_model(args.model, "synthesis").card.gate
    if gate is None:
        parser.error(f"{args.model} has no gate")

    def scores(images: Iterable[sitk.Image]) -> tuple[NDArray[np.float64], float]:
        verdicts = [judge(image, gate) for image in images]
        return np.minimum([v.score for v in verdicts], HIGHEST), float(np.mean([v.refused for v in verdicts]))

    patients = load_patients(args.prepared, cohorts=[args.cohort])
    right, refused = scores(volume(patient.pre, patient.spacing_mm) for patient in patients)
    print(f"{len(right)} right inputs of {args.cohort}, {100 * refused:.0f} % refused\n")
    print("| wrong kind | inputs | AUROC | refused |\n|---|---|---|---|")
    for name, images in (*of_the_same_patients(patients), *others()):
        wrong, refused = scores(images)
        auroc = mannwhitneyu(wrong, right).statistic / (len(wrong) * len(right))
        print(f"| {name} | {len(wrong)} | {auroc:.3f} | {100 * refused:.0f} % |", flush=True)


def volume(pixels: NDArray[np.floating], spacing_mm: tuple[float, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(pixels, np.float32))
    image.SetSpacing(spacing_mm)
    return image


def of_the_same_patients(patients: list[CropPatient]) -> Iterator[tuple[str, Iterator[sitk.Image]]]:
    """Kinds that differ from the right inputs in one thing alone."""
    own = [(patient, patient.spacing_mm) for patient in patients]
    yield "early phase given as pre-contrast", (volume(p.phases[1], mm) for p, mm in own)
    yield "late phase given as pre-contrast", (volume(p.phases[2], mm) for p, mm in own)
    yield "subtraction, signed", (volume(p.phases[1] - p.pre, mm) for p, mm in own)
    yield "subtraction, cut at 0", (volume(np.maximum(p.phases[1] - p.pre, 0), mm) for p, mm in own)
    yield "without fat suppression (simulated)", (without_fat_suppression(volume(p.pre, mm)) for p, mm in own)
    yield "spacing said to be half", (volume(p.pre, (mm[0] / 2, mm[1] / 2, mm[2])) for p, mm in own)
    yield "spacing said to be double", (volume(p.pre, (mm[0] * 2, mm[1] * 2, mm[2])) for p, mm in own)
    yield "inverted gray values", (volume(p.pre.max() - p.pre, mm) for p, mm in own)


def others() -> Iterator[tuple[str, list[sitk.Image]]]:
    """Kinds that are no breast MRI before contrast at all; those of which no file is at hand are left out."""
    import skimage.data

    rng = np.random.default_rng(0)
    yield "head MR", cuts(load(DATA / "dicom-siemens-prone" / "HFP").image)
    for name, kind in (("example_ct_sm.nii.gz", "abdomen CT"), ("example_mr_sm.nii.gz", "abdomen MR")):
        yield kind, cuts(load(DATA / "tiny-nifti" / name).image)
    mammograms = sorted((DATA / "cem-pairs" / "public").glob("*.png"))
    pictures = [sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[:, :256, 0] for path in mammograms]
    yield "low-energy mammograms", [image for one in pictures for image in cuts(volume(one[None], (0.7, 0.7, 1)))]
    photographs = (skimage.data.camera(), skimage.data.coins(), skimage.data.brick(), skimage.data.page())
    yield "photographs", [image for one in photographs for image in cuts(volume(one[None], (0.5, 0.5, 1)))]
    yield "noise", [volume(rng.rayleigh(20, (2, PIXELS, PIXELS)), (PIXEL_MM, PIXEL_MM, 2)) for _ in range(20)]
    yield "phantoms", [image for seed in range(4) for image in cuts(make_phantom(seed).images[0], 10)]


def cuts(image: sitk.Image, most: int = 40) -> list[sitk.Image]:
    """Crops of SIDE_MM that show something, evenly from all places of a volume."""
    columns_mm, rows_mm, _ = image.GetSpacing()
    size = [min(round(SIDE_MM / columns_mm), image.GetWidth()), min(round(SIDE_MM / rows_mm), image.GetHeight()), 1]
    corners = [
        (i, j, k)
        for k in range(image.GetDepth())
        for j in range(0, image.GetHeight() - size[1] + 1, max(1, size[1] // 2))
        for i in range(0, image.GetWidth() - size[0] + 1, max(1, size[0] // 2))
    ]
    top = np.percentile(sitk.GetArrayViewFromImage(image), 99)
    found = (sitk.RegionOfInterest(image, size, corner) for corner in corners)
    shown = [one for one in found if (sitk.GetArrayViewFromImage(one) > 0.15 * top).mean() > 0.3]
    return [shown[n] for n in np.unique(np.linspace(0, len(shown) - 1, most).astype(int))] if shown else []


if __name__ == "__main__":
    main()
