"""Each patient by the member of a cross-validated model that was trained without it."""

from __future__ import annotations

from collections.abc import Callable

from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.enhancement import EnhancementSynthesizer
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer

from .crops import fold_of


def out_of_fold(package: ModelPackage, choice: DeviceChoice) -> Callable[[str], StudySynthesizer]:
    """A function from a patient's id to the member that was not trained on this patient.

    Raises InputError for a package whose members are not those of a cross-validation.
    """
    count = int(package.card.architecture.config.get("members", 1))
    if package.card.architecture.name != "residual_enhancement" or count < 2:
        raise InputError(
            f"The model '{package.card.id}' has no members of a cross-validation; leave --out-of-fold out."
        )
    members = [EnhancementSynthesizer(package, choice, [member]) for member in range(count)]
    return lambda patient: members[fold_of(patient, count)]
