"""What a user chooses for a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..events import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
FORMATS = {"nrrd": ".nrrd", "nifti": ".nii.gz"}
AUTO, THRESHOLD, NONE = "auto", "threshold", "none"


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run.

    model: id or path of the synthesis model, "" for the catalog's default. segmentation: "auto" (the
    default lesion network where it is installed, else threshold), "threshold", "none", or id or path of a
    segmentation model. Not used when the lesions are given. device: auto, cpu, cuda or mps. uncertainty:
    number of perturbed syntheses behind the uncertainty maps, 0 for none; seed: of those perturbations.
    times_s: seconds after injection of the post-contrast phases, None for the header's (real) and the
    model's own (synthetic); as many as the model has phases, or as there are real phases. For models of
    free times: of the phases to make, any number. real_times_s: of the real phases, None for the header's.
    format: nrrd or nifti for phases, subtractions, uncertainty and maps. dicom: also write DICOM series, SEG and SR.
    pixel_spacing_mm: pixel size of a picture, which has none. resume: keep a whole result of the same job;
    overwrite: replace a result that is there.
    """

    model: str = ""
    segmentation: str = AUTO
    device: str = "auto"
    uncertainty: int = 0
    times_s: tuple[float, ...] | None = None
    format: str = "nrrd"
    dicom: bool = False
    pixel_spacing_mm: float | None = None
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    real_times_s: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"There is no device {self.device!r}; use one of {', '.join(DEVICES)}.")
        if self.format not in FORMATS:
            raise InputError(f"There is no format {self.format!r}; use one of {', '.join(FORMATS)}.")
        if not 0 <= self.uncertainty <= 100 or self.uncertainty == 1:
            raise InputError("Uncertainty needs 2 to 100 perturbed syntheses, or 0 for none.")
        spacing = self.pixel_spacing_mm
        if spacing is not None and not (math.isfinite(spacing) and 0 < spacing <= 10):
            raise InputError(f"A pixel spacing of {spacing} mm is not plausible; give it in millimeters, up to 10.")
        for times in (self.times_s, self.real_times_s):
            if times is not None and not _rises(times):
                raise InputError(
                    "Times must be seconds after injection, above 0 and rising, one per post-contrast phase."
                )

    @property
    def suffix(self) -> str:
        """File suffix of volumes."""
        return FORMATS[self.format]


def _rises(times: tuple[float, ...]) -> bool:
    if not times or not all(map(math.isfinite, times)):
        return False
    return all(earlier < later for earlier, later in zip((0.0, *times), times, strict=False))
