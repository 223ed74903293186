"""What a user chooses for a run: every setting declared once, with all that commands, tables and panels show of it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..events import InputError
from ..io.tables import seconds_of
from ..synthesis.device import Device, Precision

FORMATS = {"nrrd": ".nrrd", "nifti": ".nii.gz"}
AUTO, THRESHOLD, NONE = "auto", "threshold", "none"
MOST_PASSES = 100
LEAST_PIXEL_MM, LARGEST_PIXEL_MM = 0.001, 10.0
SHORTEST_SERIES_S, LONGEST_SERIES_S = 15.0, 3600.0
"""A last phase earlier or later than this was given in another unit."""

_OPTION = "option"


@dataclass(frozen=True)
class Option:
    """One setting as it is offered outside of Python.

    Attributes:
        flag: Of the command line.
        help: One line; it begins in lower case and has no period, as the command line shows it.
        kind: Type of one value; a bool is a switch.
        many: It is a rising list of values.
        metavar: What the help calls a value.
        choices: The only values, where they can be listed.
        least: Smallest number allowed.
        most: Largest number allowed.
        unit: Of the number.
        column: Of a table of cases in which each case may have its own; "" where it is one for all.
        changes_result: It is part of the fingerprint. Models are so by the hash of their weights, times of real
            phases and which of them a model reads by the description of the inputs.
        recorded: The manifest holds it.
    """

    flag: str
    help: str
    kind: type = str
    many: bool = False
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    unit: str = ""
    column: str = ""
    changes_result: bool = True
    recorded: bool = True

    @property
    def values(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind is bool:
            return "switch"
        if self.kind is str:
            return self.metavar or ""
        name = {int: "whole number", float: "number"}[self.kind] + ("s, rising" if self.many else "")
        limits = [f"{word} {limit:g}" for word, limit in (("from", self.least), ("to", self.most)) if limit is not None]
        return " ".join([name, *limits, f"({self.unit})" if self.unit else ""]).strip()

    def parse(self, text: str) -> Any:
        """The value of a cell of a table, values of a list separated by blanks; None for an empty one.

        Raises:
            ValueError: the cell holds something else.
        """
        parts = [part for part in re.split(r"[\s;|]+", text) if part]
        if not parts:
            return None
        if self.many:
            return tuple(seconds_of(part) if self.unit == "seconds" else self.kind(part) for part in parts)
        return self.kind(text.strip())


def _setting(default: Any, flag: str, help: str, **more: Any) -> Any:
    return dataclasses.field(default=default, metadata={_OPTION: Option(flag, help, **more)})


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run; `options()` describes each.

    Raises:
        InputError: a value that makes no sense.
    """

    model: str = _setting(
        "",
        "--model",
        "synthesis model; default is the catalog's for patients; where none is named that, or for files marked as "
        "phantoms the catalog's for phantoms",
        metavar="ID|PATH|default",
        changes_result=False,
    )
    segmentation: str = _setting(
        AUTO,
        "--segmentation",
        "what finds lesions; auto is what was measured on images of the synthesis model, else none",
        metavar="ID|PATH|auto|threshold|none",
        changes_result=False,
    )
    device: str = _setting(
        Device.AUTO.value, "--device", "where to compute", choices=tuple(Device), changes_result=False
    )
    precision: str = _setting(
        Precision.AUTO.value,
        "--precision",
        "fp32 is the reference; auto the fastest way that differs from it by 1 of 255 gray levels at most; bf16",
        choices=tuple(Precision),
    )
    uncertainty: int = _setting(
        0,
        "--uncertainty",
        "uncertainty maps from N perturbed syntheses (2 or more)",
        kind=int,
        metavar="N",
        least=0,
        most=MOST_PASSES,
    )
    times_s: tuple[float, ...] | None = _setting(
        None,
        "--times",
        "seconds after injection of the phases to make: any number for a model of free times (time-conditioned, "
        "iterU-Net), else as many as the model makes; default: the model's",
        kind=float,
        many=True,
        metavar="S",
        least=0,
        unit="seconds",
        column="times",
    )
    format: str = _setting("nrrd", "--format", "file format of the volumes", choices=tuple(FORMATS))
    dicom: bool = _setting(False, "--dicom", "also write DICOM series, segmentation and report", kind=bool)
    register: bool = _setting(
        False,
        "--register",
        "correct the motion of the real phases against the pre-contrast volume, where that makes them more similar",
        kind=bool,
    )
    radiomics: bool = _setting(
        False,
        "--radiomics",
        "also the radiomics of each lesion in each phase, real and synthetic (needs the package pyradiomics)",
        kind=bool,
    )
    pixel_spacing_mm: float | None = _setting(
        None,
        "--pixel-spacing",
        "pixel size of a picture (PNG, TIFF)",
        kind=float,
        metavar="MM",
        least=0,
        most=LARGEST_PIXEL_MM,
        unit="mm",
    )
    seed: int = _setting(0, "--seed", "seed of the perturbations", kind=int, metavar="N")
    deidentify: bool = _setting(
        False,
        "--deidentify",
        "write DICOM without the patient: names, ids, dates and UIDs by the basic profile of PS3.15",
        kind=bool,
    )
    keep_dates: bool = _setting(
        False, "--keep-dates", "with --deidentify, keep the dates and times of the study", kind=bool
    )
    series: tuple[str, ...] | None = _setting(
        None,
        "--series",
        "series of the DICOM folders to read, by number as messages list them (default: those that fit together)",
        many=True,
        metavar="N",
        column="series",
        changes_result=False,
    )
    resume: bool = _setting(
        False,
        "--resume",
        "keep complete results of the same input and settings",
        kind=bool,
        changes_result=False,
        recorded=False,
    )
    overwrite: bool = _setting(
        False, "--overwrite", "replace results that exist", kind=bool, changes_result=False, recorded=False
    )
    real_times_s: tuple[float, ...] | None = _setting(
        None,
        "--real-times",
        "seconds after injection of the real phases (default: those of their headers)",
        kind=float,
        many=True,
        metavar="S",
        least=0,
        unit="seconds",
        column="real_times",
        changes_result=False,
        recorded=False,
    )
    acquired: int = _setting(
        1,
        "--acquired",
        "how many real phases, from the first on, a model that goes on from acquired phases reads (iterU-Net); those "
        "after them are compared",
        kind=int,
        least=1,
        changes_result=False,
    )
    force: bool = _setting(
        False,
        "--force",
        "also synthesize volumes that are unlike the model's training images or are not breast MRI by their header",
        kind=bool,
        changes_result=False,
    )

    def __post_init__(self) -> None:
        for name, option in options().items():
            value = getattr(self, name)
            if option.choices and value not in option.choices:
                raise InputError(f"There is no {name} {value!r}; use one of {', '.join(option.choices)}.")
            if option.unit == "seconds" and value is not None:
                check_times(value)
        if self.seed < 0:
            raise InputError(f"The seed {self.seed} cannot be used; give a whole number of at least 0.")
        if not 0 <= self.uncertainty <= MOST_PASSES or self.uncertainty == 1:
            raise InputError(f"Uncertainty needs 2 to {MOST_PASSES} perturbed syntheses, or 0 for none.")
        spacing = self.pixel_spacing_mm
        if spacing is not None and not (LEAST_PIXEL_MM <= spacing <= LARGEST_PIXEL_MM):
            raise InputError(
                f"A pixel spacing of {spacing} mm is not plausible; give it in millimeters, from {LEAST_PIXEL_MM:g} to "
                f"{LARGEST_PIXEL_MM:g}."
            )

    @property
    def suffix(self) -> str:
        """File suffix of volumes."""
        return FORMATS[self.format]

    def deciding(self) -> dict[str, Any]:
        """The settings that belong to the fingerprint, by name."""
        return {name: getattr(self, name) for name, option in options().items() if option.changes_result}

    def recorded(self) -> dict[str, Any]:
        """The settings that the manifest records, by name."""
        return {name: getattr(self, name) for name, option in options().items() if option.recorded}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSettings:
        """The settings from what JSON made of `dataclasses.asdict`: it has no tuples.

        Raises:
            InputError: an unknown setting, or a value that makes no sense.
        """
        known = options()
        if unknown := sorted(set(values) - set(known)):
            raise InputError(f"There is no setting {unknown[0]!r}; the settings are {', '.join(known)}.")
        fields: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
        return cls(**fields)


def options() -> dict[str, Option]:
    """Every setting's declaration by the name of its field, in the order of the fields."""
    return {field.name: field.metadata[_OPTION] for field in dataclasses.fields(RunSettings)}


def case_options() -> dict[str, tuple[str, Option]]:
    """Name of the field and declaration of the settings that each case of a batch may have, by column."""
    return {option.column: (name, option) for name, option in options().items() if option.column}


def reference() -> str:
    """Every setting as a page of the documentation, in Markdown; `docs/settings.md` is made of it."""
    lines = [
        "# Settings of a run",
        "",
        "Made from their declarations by `python -m VirtualContrastLib.run.settings`. *Name* is that of `RunSettings`",
        "in Python; *column* that of a table of cases, where each case may have its own value. Settings marked",
        "*result* are part of the fingerprint by which `--resume` knows a result again.",
        "",
        "| flag | what it is | name | values | default | column | result |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for field in dataclasses.fields(RunSettings):
        option: Option = field.metadata[_OPTION]
        cells = [f"`{option.flag}`", option.help, f"`{field.name}`", option.values, _default_text(field.default)]
        cells += [f"`{option.column}`" if option.column else "", "yes" if option.changes_result else ""]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _default_text(default: Any) -> str:
    if default is None:
        return ""
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)


def check_times(times: tuple[float, ...]) -> None:
    """Raise InputError where times in seconds do not rise, or are minutes or milliseconds by their size."""
    if not _rises(times):
        raise InputError("Times must be seconds after injection, above 0 and rising, one per post-contrast phase.")
    shown = " ".join(f"{time:g}" for time in times)
    if times[-1] < SHORTEST_SERIES_S:
        raise InputError(
            f"Times of {shown} s end before contrast reaches a breast; they look like minutes, and must be seconds."
        )
    if times[-1] > LONGEST_SERIES_S:
        raise InputError(
            f"Times of {shown} s last longer than an hour; they look like milliseconds, and must be seconds."
        )


def _rises(times: tuple[float, ...]) -> bool:
    if not times or not all(map(math.isfinite, times)):
        return False
    return all(earlier < later for earlier, later in zip((0.0, *times), times, strict=False))


if __name__ == "__main__":
    print(reference(), end="")
