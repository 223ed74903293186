"""Does a trained model beat doing nothing? Measured on cases it was not trained on, and written into its card."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.io.volumes import to_array
from VirtualContrastLib.metrics.image_pairs import mae
from VirtualContrastLib.metrics.own_scale import on_own_scale
from VirtualContrastLib.models.against_copying import LESIONS, WHOLE_IMAGE, AgainstCopying
from VirtualContrastLib.models.package import ModelCard, ModelPackage, load_package, write_card
from VirtualContrastLib.study import Study
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer
from VirtualContrastLib.synthesis.synthesizer import Synthesis

from ..console import progress
from ..data.case_study import study_of, synthesize_case

MOST_CASES = 12
"""Cases that are measured after a training, spread over all."""
_HEADING = "## Against copying\n"
_Errors = dict[tuple[str, str], list[tuple[float, float]]]
"""Errors of the model and of the copy by case, for each image and region."""


def record_against_copying(folder: Path, cases: Sequence[Path]) -> list[AgainstCopying]:
    """Measure the package of a synthesis model on held-out cases and write what is found into both of its cards.

    A package that cannot be measured stays as it is, with a line in the log: the training is worth keeping.

    Args:
        folder: The package.
        cases: Folders of prepared cases; at most `MOST_CASES` of them are measured.

    Returns:
        One entry for each image and region; [] where nothing could be measured.
    """
    if not cases:
        return []
    try:
        package = load_package(folder)
        if package.card.kind != "synthesis":
            return []
        found = measure_against_copying(package, cases)
    except VirtualContrastError as error:
        logging.getLogger(__name__).warning("The trained model was not compared with copying: %s", error)
        return []
    if found:
        write_into_cards(package, found)
    return found


def write_into_cards(package: ModelPackage, found: Sequence[AgainstCopying]) -> None:
    """Replace what both cards of a package say of copying; its other files stay, and are checked first.

    Raises:
        InputError: A file of the package is not the one that its card names.
    """
    if package.card.files:
        package.verify()  # what is hashed now must be what was hashed before
    text = package.folder / "MODEL_CARD.md"
    before, _, after = text.read_text(encoding="utf-8").partition(_HEADING)
    _, line, rest = after.partition("\n## ")
    parts = [before.rstrip(), as_text(found), (line + rest).strip()]
    text.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    write_card(package.folder, package.card.model_copy(update={"against_copying": list(found)}))


def as_text(found: Sequence[AgainstCopying]) -> str:
    """The section of MODEL_CARD.md."""
    return _HEADING + "".join(f"* {one.sentence()}\n" for one in found).rstrip()


def measure_against_copying(
    package: ModelPackage, cases: Sequence[Path], *, at_most: int | None = MOST_CASES
) -> list[AgainstCopying]:
    """How near a model comes to the real images of prepared cases, beside a copy of the last image that it reads.

    Args:
        package: The synthesis model.
        cases: Folders of the cases.
        at_most: How many of them are measured, evenly spread; None for all.

    Returns:
        One entry for each image that the model makes and the cases hold, over the whole image and over what
        `lesions.nrrd` marks.

    Raises:
        InputError: A case cannot be read or used.
    """
    errors: _Errors = defaultdict(list)
    synthesizer = study_synthesizer(package, choose_device("auto"))
    numbers = np.unique(np.linspace(0, len(cases) - 1, at_most or len(cases)).round().astype(int))
    for number in progress(numbers, len(numbers), "beside a copy"):
        study = study_of(cases[number])
        made = synthesize_case(synthesizer, package.card, study)
        _add(errors, made, study, package.card, _lesions(cases[number]))
    return [
        AgainstCopying(
            image=image,
            region=region,  # type: ignore[arg-type]
            copied=_copied(package.card),
            error=float(np.mean([error for error, _ in pairs])),
            copy_error=float(np.mean([copy for _, copy in pairs])),
            cases=len(pairs),
            closer=sum(error < copy for error, copy in pairs),
        )
        for (image, region), pairs in errors.items()
    ]


def _copied(card: ModelCard) -> str:
    if not card.dynamic:
        return "the low-energy image"
    return f"phase {card.inputs.real[-1]}" if card.inputs.real else "the pre-contrast image"


def _add(errors: _Errors, made: Synthesis, study: Study, card: ModelCard, lesions: NDArray[np.bool_] | None) -> None:
    """Add the errors of one case, in percent of the range of each real image."""
    real = {phase.index: phase.image for phase in study.real}
    read = card.inputs.real[-1:]
    copy = _values(real[read[0]] if read else study.pre.image, made)
    for index, image in enumerate(made.phases, start=card.first_phase):
        if index not in real:
            continue
        truth, values = _values(real[index], made), to_array(image)
        percent = 100 / (float(np.ptp(truth)) or np.nan)
        name = f"phase {index}" if card.dynamic else "recombined image"
        for region, inside in _regions(lesions, truth.shape).items():
            pair = (mae(truth[inside], values[inside]) * percent, mae(truth[inside], copy[inside]) * percent)
            if np.isfinite(pair).all():
                errors[name, region].append(pair)


def _values(image: sitk.Image, made: Synthesis) -> NDArray[Any]:
    """An acquired image [k, j, i] on the scale of what was made."""
    return on_own_scale(to_array(image)) if made.arbitrary_units else to_array(image)


def _regions(lesions: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> Mapping[str, Any]:
    regions: dict[str, Any] = {WHOLE_IMAGE: slice(None)}
    if lesions is not None and lesions.shape == shape and lesions.any():
        regions[LESIONS] = lesions
    return regions


def _lesions(case: Path) -> NDArray[np.bool_] | None:
    """What the case marks as lesions, [k, j, i]; None where it has no such file."""
    path = case / "lesions.nrrd"
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0 if path.is_file() else None
