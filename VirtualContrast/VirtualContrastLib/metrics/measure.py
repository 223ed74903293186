"""What a measure is: its name, unit, direction, definition, and the function that gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["lower", "higher"] | None
"""Which values are good; None where neither is."""


@dataclass(frozen=True)
class Measure:
    """One measure of quality or agreement.

    Attributes:
        name: key in JSON and CSV files.
        label: in tables and figures.
        unit: of its values; "" for a pure number, "files" for the units of the image files.
        better: which of its values are good.
        definition: how it is computed, its range, and what is best.
        function: gives it from what the table that shows it measures; None where it comes with others from one
            computation.
    """

    name: str
    label: str
    unit: str
    better: Better
    definition: str
    function: Callable[..., Any] | None = None

    def of(self, measured: Any) -> float:
        """The value of what the function takes."""
        assert self.function is not None
        return float(self.function(measured))


def definitions(measures: Iterable[Measure], **terms: str) -> dict[str, str]:
    """Definition by name, as reports print it; `terms` explains further words of the report."""
    return {measure.name: measure.definition for measure in measures} | terms


def labels(measures: Iterable[Measure]) -> dict[str, str]:
    """Label by name."""
    return {measure.name: measure.label for measure in measures}
