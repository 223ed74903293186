"""What a run may ask of a model, by the architecture that its card names. Needs the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Abilities:
    """modality: DICOM modality of the images it reads; MR means breast MRI with phases in time, MG one mammogram.

    free_times: it makes any number of phases, at the seconds asked for. perturbs: it can be run on perturbed input, for
    uncertainty maps. by_slices: its progress counts slices, else windows of the volume or image.
    """

    modality: str = "MR"
    free_times: bool = False
    perturbs: bool = False
    by_slices: bool = False


ABILITIES = {
    "pix2pixhd_generator": Abilities(perturbs=True, by_slices=True),
    "subtraction_unet": Abilities(perturbs=True, by_slices=True),
    "time_conditioned_generator": Abilities(free_times=True, perturbs=True, by_slices=True),
    "residual_enhancement": Abilities(perturbs=True, by_slices=True),
    "iter_unet": Abilities(free_times=True),
    "cyclegan_generator": Abilities(modality="MG"),
    "nnunet": Abilities(),
}
"""Every architecture that a model card can name."""
