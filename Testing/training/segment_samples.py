"""Tiny prepared cases with one lesion, synthetic phases beside them, and the segment command."""

import json
import shutil

import numpy as np
import SimpleITK as sitk
from program import call
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.data.segmentation_cases import SegmentationSource

SETTINGS = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(8, 14)
)
TINY = ("base_features=4", "max_features=8", "memory_gb=0.2", "iterations_per_epoch=2", "precision=32-true")


def write_cases(folder, numbers):
    """Phantoms in `folder`, and what stands for their synthetic phases in `folder`-results: the true ones."""
    for number in numbers:
        case = write_phantom(make_phantom(number, SETTINGS), folder / f"case_{number}")
        results = folder.with_name(f"{folder.name}-results") / case.name / "phases"
        results.mkdir(parents=True)
        for phase in case.glob("phase_*.nrrd"):
            shutil.copy(phase, results / phase.name)
    return folder


def write_plain_case(folder, name):
    """A prepared case of 4 x 16 x 16 voxels with a bright ball as its tumor, and its synthetic phases beside it."""
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in (4, 16, 16)), indexing="ij")
    tissue = np.where(k**2 + j**2 + i**2 < 0.9, 100.0, 2.0) + np.random.default_rng(1).normal(0, 1, k.shape)
    tumor = (k**2 + j**2 + (i - 0.5) ** 2 < 0.2).astype(np.uint8)
    case, results = folder / name, folder.with_name(f"{folder.name}-results") / name / "phases"
    for place in (case, results):
        place.mkdir(parents=True)
    for file, array in (
        (case / "pre.nrrd", tissue),
        (case / "phase_1.nrrd", tissue + 50 * tumor),
        (case / "phase_2.nrrd", tissue + 30 * tumor),
        (results / "phase_1.nrrd", tissue + 40 * tumor),
        (results / "phase_2.nrrd", tissue + 20 * tumor),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(array.astype(np.float32)), str(file))
    sitk.WriteImage(sitk.GetImageFromArray(tumor), str(case / "lesions.nrrd"))
    description = {"kind": "duke", "images": ["pre.nrrd", "phase_1.nrrd", "phase_2.nrrd"]}
    described = {**description, "times_s": [0.0, 131.0, 240.0], "lesion_source": "segmentation"}
    (case / "case.json").write_text(json.dumps(described))
    return SegmentationSource(case)


def rewrite(path, change):
    """Replace an image file by what `change` makes of its array, on the same grid."""
    image = sitk.ReadImage(str(path))
    new = sitk.GetImageFromArray(np.ascontiguousarray(change(sitk.GetArrayFromImage(image))))
    new.CopyInformation(image)
    sitk.WriteImage(new, str(path))


def redescribe(case, **values):
    """Change entries of a case.json."""
    content = json.loads((case / "case.json").read_text())
    (case / "case.json").write_text(json.dumps({**content, **values}))


def command(*arguments):
    """Run `segment ...` and return its exit code."""
    return call("segment", *arguments)
