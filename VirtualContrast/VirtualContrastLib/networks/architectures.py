"""Every network architecture that a model card can name: one record each, and an entry point for those of others.

This file needs the standard library alone, so that the Slicer panel can list models where no package is installed yet.
That is why a record names its parts as `module:attribute`; they are imported when they are first used. Objects do as
well. Modules of this library may be given relative to it (`networks.pix2pixhd:build_generator`).

Another package adds an architecture without a change here, by an entry point whose object is an `Architecture`:

    [project.entry-points."virtual_contrast.architectures"]
    my_network = "my_package:ARCHITECTURE"
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from .options import Options

ENTRY_POINTS = "virtual_contrast.architectures"
_LIBRARY = __name__.partition(".")[0]
_ROOMS = ("networks.", "synthesis.", "lesions.")

Place = str | Callable[..., Any]
"""`module:attribute`, or the object itself."""


@dataclass(frozen=True)
class Abilities:
    """What a run may ask of a model.

    Attributes:
        modality: DICOM modality of the images it reads; MR means breast MRI with phases in time, MG one mammogram.
        free_times: it makes any number of phases, at the seconds asked for.
        many_acquired: it goes on from one or more acquired phases, as many as are given.
        perturbs: it can be run on perturbed input, for uncertainty maps.
        by_slices: its progress counts slices, else windows of the volume or image.
    """

    modality: str = "MR"
    free_times: bool = False
    many_acquired: bool = False
    perturbs: bool = False
    by_slices: bool = False


@dataclass(frozen=True)
class Architecture:
    """All that the engine knows of a kind of network.

    Attributes:
        id: its name in model cards and in training recipes.
        options: subclass of `options.Options` that reads `architecture.config` of a card. Where it is a
            `SliceOptions`, cards are checked for what synthesis slice by slice needs.
        build: function from those options to the `nn.Module` whose state dict the package holds; None where the
            weights are of another form.
        synthesizer: function `(package, device_choice) -> StudySynthesizer`; None for segmentation. The default runs
            any network that maps pre-contrast slices to the phases of the card, both in -1..1.
        abilities: what a run may ask of it.
        kind: what it is for.
        aliases: names that older cards and recipes use for it.
    """

    id: str
    options: Place
    build: Place | None = None
    synthesizer: Place | None = "synthesis.study_synthesizer:slice_wise"
    abilities: Abilities = field(default_factory=lambda: Abilities(perturbs=True, by_slices=True))
    kind: Literal["synthesis", "segmentation"] = "synthesis"
    aliases: tuple[str, ...] = ()

    def read_options(self, config: Mapping[str, Any]) -> Options:
        """The options of a card's `config`; raises ValueError in one sentence where they are impossible."""
        options_class: type[Options] = part(self.options)
        return options_class.of(config)

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """The network of a card's `config`, with initial weights; raises ValueError for impossible options."""
        if self.build is None:
            raise ValueError(f"{self.id} networks are not built from options")
        network: nn.Module = part(self.build)(self.read_options(config))
        return network


_BUILT_IN = (
    Architecture(
        "pix2pixhd",
        options="networks.options:Pix2PixHDOptions",
        build="networks.pix2pixhd:build_generator",
        aliases=("pix2pixhd_generator",),
    ),
    Architecture(
        "subtraction_unet",
        options="networks.options:SubtractionUNetOptions",
        build="networks.subtraction_unet:build_subtraction_unet",
        synthesizer="synthesis.study_synthesizer:subtraction_unet",
    ),
    Architecture(
        "time_conditioned",
        options="networks.options:TimeConditionedOptions",
        build="networks.time_conditioned:build_time_conditioned",
        synthesizer="synthesis.study_synthesizer:time_conditioned",
        abilities=Abilities(free_times=True, perturbs=True, by_slices=True),
        aliases=("time_conditioned_generator",),
    ),
    Architecture(
        "residual_enhancement",
        options="networks.options:ResidualEnhancementOptions",
        build="networks.residual_enhancement:build_residual_enhancement",
        synthesizer="synthesis.study_synthesizer:enhancement",
    ),
    Architecture(
        "onnx",
        options="networks.options:OnnxOptions",
        build="networks.onnx_network:build_onnx",
    ),
    Architecture(
        "iter_unet",
        options="networks.options:VolumetricOptions",
        build="networks.iter_unet:build_of_card",
        synthesizer="synthesis.study_synthesizer:volumetric",
        abilities=Abilities(free_times=True, many_acquired=True),
    ),
    Architecture(
        "cyclegan",
        options="networks.options:MammogramOptions",
        build="networks.cyclegan:build_of_card",
        synthesizer="synthesis.study_synthesizer:mammogram",
        abilities=Abilities(modality="MG"),
        aliases=("cyclegan_generator",),
    ),
    Architecture(
        "nnunet",
        options="networks.options:NNUNetOptions",
        synthesizer=None,
        abilities=Abilities(),
        kind="segmentation",
    ),
)


@cache
def architectures() -> dict[str, Architecture]:
    """All records by id: the built-in ones, then those of installed packages."""
    records = {record.id: record for record in _BUILT_IN}
    for point in entry_points(group=ENTRY_POINTS):
        record = _of_entry_point(point)
        if record is None:
            continue
        if record.id in records:
            logging.getLogger(__name__).warning("The architecture %s of %s has a name in use.", record.id, point.value)
            continue
        records[record.id] = record
    return records


def find(name: object) -> Architecture | None:
    """The record of the id or alias `name`, None where there is none."""
    records = architectures()
    if not isinstance(name, str):
        return None
    return records.get(name) or next((record for record in records.values() if name in record.aliases), None)


def architecture(name: str) -> Architecture:
    """The record of the id or alias `name`; raises ValueError naming those that are known."""
    record = find(name)
    if record is None:
        known = ", ".join(architectures())
        raise ValueError(f"unknown architecture {name!r}; known are {known} (is the package that adds it installed?)")
    return record


def part(place: Place) -> Any:
    """What `place` names, imported on first use."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    if module.startswith(_ROOMS):
        module = f"{_LIBRARY}.{module}"
    return getattr(importlib.import_module(module), name)


def _of_entry_point(point: EntryPoint) -> Architecture | None:
    """The record of another package, None with a line in the log where that cannot be imported or is no record."""
    try:
        record = point.load()
    except Exception:  # foreign code: whatever is wrong with it, the other architectures must still work
        logging.getLogger(__name__).warning("The architecture %s cannot be loaded.", point.value, exc_info=True)
        return None
    if not isinstance(record, Architecture):
        logging.getLogger(__name__).warning("%s is not an Architecture record.", point.value)
        return None
    return record
