"""A model on prepared patients: its phases beside the real ones, measured and drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.volumes import to_array
from VirtualContrastLib.metrics.baselines import Baselines
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer, study_synthesizer

from ..data.crops import CropPatient
from ..data.out_of_fold import out_of_fold

Float32 = NDArray[np.float32]


def synthesize_with(synthesizer: StudySynthesizer) -> Callable[[CropPatient], list[Float32]]:
    """A function from a patient to the first and, where there are several, the last phase that a model makes."""

    def synthesize(patient: CropPatient) -> list[Float32]:
        image = sitk.ReadImage(str(patient.folder / "pre.nrrd"))
        study = Study(Phase(0, image, 0.0, synthetic=False), Source((), "memory", "0" * 64))
        made = synthesizer.synthesize_study(study, Events(), times_s=None, perturbations=0, seed=0)
        phases = made.phases if len(made.phases) == 1 else [made.phases[0], made.phases[-1]]
        arrays = [to_array(phase) for phase in phases]
        if not made.arbitrary_units:
            return arrays
        # The model's own scale: brought to the input's by the spread of the pre-contrast image in both.
        own = to_array(made.pre)
        factor = np.float32(patient.pre.std() / max(float(own.std()), 1e-6))
        return [patient.pre + factor * (array - own) for array in arrays]

    return synthesize


def synthesize_out_of_fold(package: ModelPackage, choice: DeviceChoice) -> Callable[[CropPatient], list[Float32]]:
    """As `synthesize_with`, each patient by the one member that was not trained on it (`data.out_of_fold`)."""
    member_of = out_of_fold(package, choice)
    return lambda patient: synthesize_with(member_of(patient.name))(patient)


def synthesize_all(package: ModelPackage, choice: DeviceChoice) -> Callable[[CropPatient], list[Float32]]:
    """`synthesize_with` of a package as it is shipped."""
    return synthesize_with(study_synthesizer(package, choice))


def baselines_of(package: ModelPackage, other: ModelPackage | None = None) -> list[Baselines]:
    """The fitted baselines in the card of `package`, or else of `other`; raises InputError where neither has any."""
    for candidate in (package, other):
        if candidate is not None and candidate.card.calibration is not None:
            return [Baselines(**spec.model_dump()) for spec in candidate.card.calibration.baselines]
    raise InputError(
        f"The card of the model '{package.card.id}' has no fitted gain and intensity table; name a model that has with "
        "--baselines."
    )


def draw_patient(patient: CropPatient, made: Sequence[Float32], path: Path) -> None:
    """Draw three slices of a patient: pre, real and synthetic early, real and synthetic subtraction, side by side.

    A bar on top names the columns and says what is synthetic. Images share one gray window from 0 to 3 q, subtractions
    one from 0 to 1.5 q. They are pictures of a patient: keep them where the data are kept.

    Args:
        patient: The patient.
        made: Synthetic phases [slice, row, column], early first.
        path: The PNG file.
    """
    slices = np.unique(np.linspace(0, len(patient.pre) - 1, 5).astype(int)[1:-1])
    rows = []
    for k in slices:
        pre, real, synthetic = patient.pre[k], patient.phases[1, k], made[0][k]
        gray = [image / (3 * patient.scale) for image in (pre, real, synthetic)]
        change = [image / (1.5 * patient.scale) for image in (real - pre, synthetic - pre)]
        rows.append(np.concatenate(gray + change, axis=1))
    picture = (255 * np.clip(np.concatenate(rows), 0, 1)).astype(np.uint8)
    picture = picture.repeat(2, 0).repeat(2, 1)
    sitk.WriteImage(sitk.GetImageFromArray(np.concatenate([_titles(picture.shape[1]), picture])), str(path))


def _titles(width: int) -> NDArray[np.uint8]:
    """The bar above the five columns of a picture of `width`."""
    from PIL import Image, ImageDraw, ImageFont

    column = width // 5
    names = ("before contrast", "early", "SYNTHETIC early", "early less before", "SYNTHETIC less before")
    bar = Image.new("L", (width, 44), 40)
    font = ImageFont.load_default(max(6, column // 16))
    for number, name in enumerate(names):
        ImageDraw.Draw(bar).text((number * column + 4, 12), name, fill=255, font=font, anchor="lm")
    ImageDraw.Draw(bar).text((4, 32), "SYNTHETIC columns: research only", fill=255, font=font, anchor="lm")
    return np.asarray(bar)
