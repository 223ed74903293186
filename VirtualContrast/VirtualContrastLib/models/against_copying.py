"""How near a model comes to images held out of its training, beside a copy of what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

WHOLE_IMAGE: Literal["whole image"] = "whole image"
LESIONS: Literal["marked lesions"] = "marked lesions"


class AgainstCopying(BaseModel):
    """One image that a model makes, on held-out cases that have the real one.

    Attributes:
        image: What was made: "phase 1", or "recombined image".
        region: Voxels that count: those of the whole image, or of what is marked as lesions.
        copied: What a user without the model would look at instead: "the pre-contrast image", "phase 1", ...
        error: Mean over cases of the mean absolute error, in percent of the range of the real image.
        copy_error: The same of the copy.
        cases: Number of cases.
        closer: Number of cases in which the model's image is closer than the copy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    image: str = Field(min_length=1)
    region: Literal["whole image", "marked lesions"]
    copied: str = Field(min_length=1)
    error: float = Field(ge=0)
    copy_error: float = Field(ge=0)
    cases: int = Field(ge=1)
    closer: int = Field(ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> AgainstCopying:
        if self.closer > self.cases:
            raise ValueError("closer cannot be above cases")
        return self

    @property
    def beats_copying(self) -> bool:
        """Whether the mean error is below that of the copy."""
        return self.error < self.copy_error

    def sentence(self) -> str:
        """What a reader of the images must know."""
        verdict = "nearer" if self.beats_copying else "NOT nearer"
        return (
            f"{self.image[0].upper()}{self.image[1:]}, {self.region}: {verdict} to the real one than a copy of "
            f"{self.copied} in {self.cases} held-out case{'s' if self.cases > 1 else ''} (mean error {self.error:.3g} "
            f"against {self.copy_error:.3g} % of the range; nearer in {self.closer})."
        )


def warning_of(model: str, found: Iterable[AgainstCopying]) -> str | None:
    """One sentence about all images of a model that are no nearer than a copy; None where there are none."""
    lost = [one for one in found if not one.beats_copying]
    if not lost:
        return None
    listed = ", ".join(
        f"{one.image} in the {one.region} ({one.error:.3g} against {one.copy_error:.3g} %)" for one in lost
    )
    return (
        f"In cases held out of its training the model {model} came no nearer to the real images than a copy of "
        f"{lost[0].copied}: {listed}, mean error of the range."
    )
