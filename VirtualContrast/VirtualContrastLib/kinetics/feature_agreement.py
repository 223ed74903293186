"""How far single features of the same lesions agree between synthetic and real images, feature by feature.

Concordance correlation coefficient: Lin, Biometrics 45 (1989) 255. It is 1 only where both give the same number for
each lesion; a correlation forgives a shift and a gain, this one does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .agreement import bland_altman
from .curves import LesionCurve
from .parameters import CurveParameters

FEWEST_LESIONS = 3
"""Two lesions lie on a line whatever the images show."""
KINETICS, RADIOMICS, BACKGROUND = "kinetics", "radiomics", "background"


@dataclass(frozen=True)
class FeatureAgreement:
    """One feature over all lesions (of the background over the breasts), synthetic against real.

    Attributes:
        kind: "kinetics", "radiomics" or "background".
        feature: Its name.
        phase: Index of the phase; None for a feature of the whole curve.
        lesions: Those in which both have a value.
        ccc: Concordance correlation coefficient, -1 to 1; NaN for fewer than three lesions, or without any spread.
        bias: Mean of synthetic minus real, in the unit of the feature.
        sd: Standard deviation of these differences.
        lower: Lower limit of agreement.
        upper: Upper limit of agreement.
    """

    kind: str
    feature: str
    phase: int | None
    lesions: int
    ccc: float
    bias: float
    sd: float
    lower: float
    upper: float


def concordance(first: ArrayLike, second: ArrayLike) -> float:
    """Lin's concordance correlation coefficient of two samples (n,) with moments over n; pairs not finite are left out.

    NaN for fewer than three pairs, or where neither sample has any spread.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < FEWEST_LESIONS:
        return float("nan")
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2 * np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else float("nan")


def feature_agreement(
    kind: str,
    synthetic: Sequence[Mapping[str, float]],
    real: Sequence[Mapping[str, float]],
    phase: int | None = None,
) -> list[FeatureAgreement]:
    """Every feature that all lesions have, in the order of the first one.

    Args:
        kind: "kinetics", "radiomics" or "background".
        synthetic: value by feature of each lesion.
        real: the same, of the same lesions in the same order.
        phase: index of the phase that they belong to.

    Returns:
        One agreement per feature.

    Raises:
        ValueError: the numbers of lesions differ.
    """
    if len(synthetic) != len(real):
        raise ValueError(f"{len(synthetic)} synthetic and {len(real)} real lesions")
    names = [name for name in (synthetic[0] if synthetic else {}) if all(name in row for row in (*synthetic, *real))]
    rows = []
    for name in names:
        made, truth = (np.array([row[name] for row in side], np.float64) for side in (synthetic, real))
        bias = bland_altman(made - truth)
        limits = bias.bias, bias.sd, bias.lower, bias.upper
        rows.append(FeatureAgreement(kind, name, phase, bias.n, concordance(made, truth), *limits))
    return rows


def agreement_by_phase(
    kind: str, rows: Iterable[tuple[bool, int, Hashable, Mapping[str, float]]]
) -> list[FeatureAgreement]:
    """Every feature in every phase that is both synthetic and real, over what both have (lesions, breasts).

    `rows` are: synthetic or real, index of the phase, the lesion or breast, value by feature.
    """
    made: dict[tuple[int, Hashable], Mapping[str, float]] = {}
    real: dict[tuple[int, Hashable], Mapping[str, float]] = {}
    for synthetic, phase, key, values in rows:
        (made if synthetic else real)[phase, key] = values
    found: list[FeatureAgreement] = []
    for phase in sorted({phase for phase, _ in made} & {phase for phase, _ in real}):
        keys = [key for number, key in made if number == phase and (phase, key) in real]
        found += feature_agreement(kind, [made[phase, key] for key in keys], [real[phase, key] for key in keys], phase)
    return found


def curve_features(curve: LesionCurve) -> dict[str, float]:
    """The parameters of a lesion's mean curve that are numbers, by their names."""
    names = [field.name for field in dataclasses.fields(CurveParameters) if field.name != "curve_type"]
    return {name: float(getattr(curve.parameters, name)) for name in names}
