"""Writes phantoms as prepared cases, NIfTI or a DICOM series per phase, with their truth beside them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.files import atomic_folder
from VirtualContrastLib.io.marks import marked

from .anatomy import Tissue
from .phantom import Phantom

FORMATS = ("nrrd", "nifti", "dicom")
_SUFFIX = {"nrrd": ".nrrd", "nifti": ".nii.gz"}


def write_phantom(phantom: Phantom, folder: Path, *, format: str = "nrrd", noise_free: bool = False) -> Path:
    """Write one phantom atomically into a folder, which is replaced if it exists.

    It holds `pre`, `phase_1` ... (files, or one folder per DICOM series), `lesions` and `tissue` label maps, and
    `case.json` with times, lesions and settings.

    Args:
        phantom: The phantom.
        folder: Its folder.
        format: "nrrd", "nifti" or "dicom", for the volumes.
        noise_free: Also write `truth_pre`, `truth_phase_1` ...

    Returns:
        The folder.
    """
    with atomic_folder(folder) as partial:
        names = ["pre", *(f"phase_{n}" for n in range(1, len(phantom.images)))]
        label_suffix = _SUFFIX.get(format, ".nrrd")
        if format == "dicom":
            from .dicom import write_dicom_study

            write_dicom_study(phantom, names, partial)
            files = names
        else:
            files = [name + _SUFFIX[format] for name in names]
            for image, file in zip(phantom.images, files, strict=True):
                sitk.WriteImage(marked(image), str(partial / file), useCompression=True)
        if noise_free:
            for image, name in zip(phantom.noise_free, names, strict=True):
                sitk.WriteImage(marked(image), str(partial / f"truth_{name}{label_suffix}"), useCompression=True)
        sitk.WriteImage(phantom.labels, str(partial / f"lesions{label_suffix}"), useCompression=True)
        sitk.WriteImage(phantom.tissue, str(partial / f"tissue{label_suffix}"), useCompression=True)
        description = json.dumps(_describe(phantom, files), indent=1)
        (partial / "case.json").write_text(description, encoding="utf-8")
    return folder


def _describe(phantom: Phantom, files: list[str]) -> dict[str, object]:
    return {
        "kind": "phantom",
        "note": "Simulated breast DCE-MRI with known truth; no patient data.",
        "seed": phantom.seed,
        "images": files,
        "times_s": list(phantom.times_s),
        "tissue_labels": {tissue.name.lower(): int(tissue) for tissue in Tissue},
        "lesions": [dataclasses.asdict(lesion) for lesion in phantom.lesions],
        "settings": dataclasses.asdict(phantom.settings),
    }
