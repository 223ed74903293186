"""The format of prepared data: one folder per case with its volumes and `case.json`, and `index.json` above them.

`case.json` holds: `kind` (duke, dynamic, mammogram; phantoms have their own); `images` (file names, the pre-contrast or
low-energy image first); `times_s` (seconds after the first phase, null where unknown; not of mammograms); `ordered_by`;
`spacing_mm` (i, j, k); `lesions` (as of phantoms: empty here); `lesion_source` (box, segmentation or none: what
`lesions.nrrd` holds); `boxes` (`index_ijk` and `lps_mm`, first and last corner); `clinical`; `split` (name and part);
`motion` (of each phase, where it was to be corrected: similarity before and after, mm, whether it was kept);
`source` (fingerprint and SHA-256 of the files read; no paths); `sha256` of each file written; `warnings`. Volumes keep
the stored gray values, spacing, origin and direction. No patient name or date is copied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.files import atomic_folder, sha256_of
from VirtualContrastLib.io import one_sequence
from VirtualContrastLib.io.volumes import write

from .dynamic_series import DynamicSeries

SCHEMA = 1


@dataclass(frozen=True)
class PreparedCase:
    """What a case becomes.

    Attributes:
        images: Images by file name, in order.
        lesions: Lesion labels, or None.
        files: Files that the case was read from.
        description: The rest of `case.json`.
        warnings: What is odd, in sentences.
    """

    images: Mapping[str, sitk.Image]
    lesions: sitk.Image | None
    files: tuple[Path, ...]
    description: Mapping[str, Any]
    warnings: tuple[str, ...] = field(default=())


def dynamic_case(
    series: DynamicSeries,
    lesions: sitk.Image,
    lesion_source: str,
    extra: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> PreparedCase:
    """A dynamic examination as `pre.nrrd`, `phase_1.nrrd` ... with its lesion labels.

    Args:
        series: The examination, the pre-contrast phase first.
        lesions: Lesion labels on its grid, all 0 where none are known.
        lesion_source: What the labels are: "segmentation", "box" or "none".
        extra: Further entries of `case.json`.
        warnings: Sentences on what is odd, added to those of the series.

    Returns:
        The case to write.
    """
    names = ["pre.nrrd", *(f"phase_{n}.nrrd" for n in range(1, len(series.phases)))]
    return PreparedCase(
        images={name: phase.image for name, phase in zip(names, series.phases, strict=True)},
        lesions=lesions,
        files=tuple(dict.fromkeys(path for phase in series.phases for path in phase.files)),
        description={
            "times_s": [phase.time_s for phase in series.phases],
            "ordered_by": series.ordered_by,
            "lesions": [],
            "lesion_source": lesion_source,
            **(extra or {}),
        },
        warnings=(*series.warnings, *warnings, *_doubts(series)),
    )


def _doubts(series: DynamicSeries) -> list[str]:
    """Sentences on phases that are by their gray values not of the sequence of the first, or the same as another."""
    pre, *rest = every = [sitk.GetArrayViewFromImage(phase.image) for phase in series.phases]
    found = [one_sequence.doubt(pre, values, "phase 0", f"phase {n}") for n, values in enumerate(rest, start=1)]
    for n, values in enumerate(every):
        same = next((earlier for earlier in range(n) if np.array_equal(every[earlier], values)), None)
        found.append("" if same is None else f"phase {n} is phase {same}, voxel by voxel")
    return [sentence for sentence in found if sentence]


def write_case(content: PreparedCase, folder: Path, header: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    """Write a case.

    Args:
        content: Volumes and description.
        folder: Its folder, replaced as a whole.
        header: Kind and split, for `case.json`.
        fingerprint: Of the source files, from `fingerprint_of`.

    Returns:
        The content of `case.json`.

    Raises:
        VirtualContrastError: The disk is full, or the folder cannot be written.
    """
    try:
        with atomic_folder(folder) as partial:
            for name, image in content.images.items():
                write(image, partial / name)
            if content.lesions is not None:
                write(content.lesions, partial / "lesions.nrrd")
            description = {
                "schema": SCHEMA,
                **header,
                "images": list(content.images),
                "spacing_mm": list(next(iter(content.images.values())).GetSpacing()),
                **content.description,
                "warnings": list(content.warnings),
                "source": {
                    "fingerprint": fingerprint,
                    "files": len(content.files),
                    "sha256": sha256_of(*content.files),
                },
                "sha256": {path.name: sha256_of(path) for path in sorted(partial.iterdir())},
            }
            (partial / "case.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
    except OSError as error:
        raise VirtualContrastError(f"{folder} could not be written ({error.strerror}); is the disk full?") from error
    return description


def read_description(folder: Path) -> dict[str, Any] | None:
    """`case.json` of a prepared case; None where there is none that can be read."""
    try:
        content = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_current(folder: Path, fingerprint: str) -> bool:
    """True where a case was prepared from the same source files and all its files are there."""
    description = read_description(folder)
    if description is None or description.get("source", {}).get("fingerprint") != fingerprint:
        return False
    return all((folder / name).is_file() for name in description.get("sha256", ()))


def damaged_files(folder: Path) -> list[str]:
    """Names of the files of a prepared case that are missing or differ from their SHA-256."""
    description = read_description(folder)
    if description is None:
        return ["case.json"]
    hashes: Mapping[str, str] = description.get("sha256", {})
    return [n for n, h in hashes.items() if not (folder / n).is_file() or sha256_of(folder / n) != h]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def fingerprint_of(files: Sequence[Path], root: Path, settings: object) -> str:
    """SHA-256 of names, sizes and times of change of source files, and of what else shapes the result.

    Quick to compute where contents are gigabytes; a resumed run sees by it what has to be prepared again.

    Args:
        files: The source files.
        root: Their names are relative to it.
        settings: What else shapes the result; its `repr` counts.

    Returns:
        The hash in hexadecimal.
    """
    digest = hashlib.sha256(repr((SCHEMA, settings)).encode())
    for path in sorted(files):
        status = path.stat()
        digest.update(f"{path.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
