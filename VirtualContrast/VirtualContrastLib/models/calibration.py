"""What was measured of a model on patients that it had not seen, and the numbers that its output is shown by."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Display(_Strict):
    """How the enhancement that is shown follows from what the network predicts; see `synthesis.calibration`.

    Attributes:
        background: Share of the 30 % quantile that is shown everywhere.
        hint: Enhancement, over the study's scale, that is added times the probability of enhancing, at most the 70 %
            quantile.
        lesion: Multiple of the median that takes their place above the logit `threshold`.
        threshold: Logit of enhancing from which on the median is shown.
        softness: Width of that transition, in logits.
    """

    background: float = Field(ge=0, le=1)
    hint: float = Field(ge=0, le=1)
    lesion: float = Field(ge=0, le=3)
    threshold: float
    softness: float = Field(gt=0)


class Band(_Strict):
    """Conformal factors on the distances of the 10 % and the 90 % quantile from the median of a lesion's mean.

    Attributes:
        factor: Factor on both distances.
        coverage: Share of held-out patients whose real enhancement lay in the band.
    """

    factor: float = Field(gt=0)
    coverage: float = Field(ge=0, le=1)


class Grade(_Strict):
    """When a lesion found on synthetic images counts as likely to enhance.

    Attributes:
        threshold: Percent enhancement that the lower bound of its band has to reach at the first phase.
        false_positive_rate: Share of the lesions so graded on held-out patients whose real enhancement was below 50 %
            on average.
        share: Share of all lesions found that were so graded.
    """

    threshold: float
    false_positive_rate: float = Field(ge=0, le=1)
    share: float = Field(ge=0, le=1)


class BaselineSpec(_Strict):
    """`metrics.baselines.Baselines` of one phase, fitted on the training patients.

    Attributes:
        gain: Factor on the pre-contrast signal.
        signals: Pre-contrast signals, over the study's scale.
        enhancements: Mean enhancement at each of them, over the study's scale.
    """

    gain: float = Field(gt=0)
    signals: list[float] = Field(min_length=2)
    enhancements: list[float] = Field(min_length=2)


class Calibration(_Strict):
    """Of a model that predicts enhancement; lists hold one entry per phase, in order.

    Attributes:
        display: How enhancement is shown.
        bands: Bands of a lesion's mean enhancement.
        grade: When a lesion counts as likely to enhance.
        baselines: What the model has to beat.
        patients: Number of held-out patients that display, bands and grade rest on.
        data: Which patients they were.
    """

    display: list[Display] = Field(min_length=1)
    bands: list[Band] = Field(min_length=1)
    grade: Grade | None = None
    baselines: list[BaselineSpec] = Field(min_length=1)
    patients: int = Field(ge=1)
    data: str
