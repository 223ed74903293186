"""Enhancement in the units of TI-norm, in which Chung et al. 2025 report it.

A lesion's mean signal x becomes (x - mean) / sd, with the two numbers of the case's real first post-contrast phase over
all voxels, the same for every phase and for both series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.volumes import to_array
from VirtualContrastLib.metrics.measure import Measure
from VirtualContrastLib.metrics.own_scale import on_own_scale
from VirtualContrastLib.synthesis.ti_norm import TINorm

from ..metrics.bootstrap import PatientSums, Summary
from ..metrics.kinetics import CurvePair, dtw
from ..metrics.pairs import has_own_scale, images_in, phase_number

BY_PHASE = Measure(
    "enhancement_error_ti",
    "enhancement error (TI-norm)",
    "",
    "lower",
    "squared error of the lesion's mean signal at one phase, in units of TI-norm (standard deviations of the real "
    "first post-contrast volume), mean over lesions; 0 and up, 0 is equal",
)
NORMALIZED = (
    BY_PHASE,
    Measure(
        "dtw_ti",
        "DTW (TI-norm)",
        "",
        "lower",
        "dynamic time warping of the two curves of the lesion's mean signal in units of TI-norm, pre-contrast "
        "included; 0 and up, 0 is equal",
    ),
)
"""Over all phases that were made: the mean of the errors, and the distance of whole curves."""


@dataclass(frozen=True)
class NormalizedCase:
    """What a case's curves are on the scale of.

    Attributes:
        scale: Constants of that scale.
        first: Index of the first phase that the system made.
    """

    scale: TINorm
    first: int


def normalized_cases(real: Path, made: Path, cases: Iterable[str]) -> dict[str, NormalizedCase]:
    """Constants of each case that has a usable first phase and something made.

    Args:
        real: folder of prepared cases.
        made: folder of what a system synthesized.
        cases: names.

    Returns:
        The constants by case.
    """
    found = {}
    for case in cases:
        path, images = real / case / "phase_1.nrrd", images_in(made / case)
        numbers = [number for number in map(phase_number, images) if number is not None]
        if not path.is_file() or not numbers:
            continue
        first = to_array(sitk.ReadImage(str(path)))
        try:
            scale = TINorm.of(on_own_scale(first) if has_own_scale(images[0]) else first)
        except InputError:
            continue
        found[case] = NormalizedCase(scale, min(numbers))
    return found


def normalized_statistics(
    pairs: Sequence[CurvePair], cases: Mapping[str, NormalizedCase], *, repeats: int, seed: int
) -> dict[str, Summary | None]:
    """Summaries by name: `BY_PHASE` over all phases made and of each (`_N`), and `dtw_ti`; None where nothing gave one.

    Args:
        pairs: the curves of the lesions, `patient` being the case.
        cases: what `normalized_cases` gives.
        repeats: of the bootstrap over patients.
        seed: of the bootstrap.

    Returns:
        A summary each.
    """
    sums: dict[str, PatientSums] = {measure.name: PatientSums() for measure in NORMALIZED}
    for pair in pairs:
        case = cases.get(pair.patient)
        if case is None:
            continue
        made, real = (case.scale.forward(curve.signal_mean).astype(float) for curve in (pair.synthetic, pair.real))
        sums["dtw_ti"].add(pair.patient, dtw(made, real))
        for phase in range(case.first, len(real)):
            error = float((made[phase] - real[phase]) ** 2)
            for name in (BY_PHASE.name, f"{BY_PHASE.name}_{phase}"):
                sums.setdefault(name, PatientSums()).add(pair.patient, error)
    return {name: own.summary(repeats=repeats, seed=seed) for name, own in sums.items()}
