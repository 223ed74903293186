"""What the writers of this room share: who made the images, and the words that every export carries."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..kinetics.parameters import CurveType
from ..results.manifest import Manifest, input_phase_times

LABEL = "SYNTHETIC · research only"
"""The text in the corner of every synthetic picture."""

DISCLAIMER = "SYNTHETIC IMAGES - RESEARCH ONLY. They may invent or hide lesions. Not for diagnosis."
"""The sentence every document carries."""

GIVEN, THRESHOLD, NO_LESIONS = "given", "threshold", "none"
"""Ways to lesions other than a network, as the manifest's settings name them."""

UID_NAMESPACE = uuid.UUID("6f6f1f2e-6a0f-5d0b-9a2a-3f1f0c1b7c55")


@dataclass(frozen=True)
class ModelIdentity:
    """The model that made something, as labels and reports name it.

    Attributes:
        id: Its id.
        version: Its version.
        weights_sha256: 64 hexadecimal digits, or empty for a method without weights (a threshold).
        trained_on_phantoms: Whether it has seen simulated phantoms only.
    """

    id: str
    version: str
    weights_sha256: str = ""
    trained_on_phantoms: bool = False

    @property
    def short_sha256(self) -> str:
        """The first 12 digits of the hash, enough to compare by eye."""
        return self.weights_sha256[:12]


@dataclass(frozen=True)
class RunIdentity:
    """One run: its id, its time and what it used. Holds no patient name or id, and no path.

    Attributes:
        run_id: Its id.
        created: When it was made.
        engine_version: Version of the engine.
        synthesis: The synthesis model.
        segmentation: The network that outlined the lesions, or a method (`threshold`, `given` by the user) with the
            engine's version; None where nothing was segmented.
        input_phases: Indices of the real post-contrast phases that the synthesis model read.
    """

    run_id: str
    created: datetime.datetime
    engine_version: str
    synthesis: ModelIdentity
    segmentation: ModelIdentity | None = None
    input_phases: tuple[int, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> RunIdentity:
        """The run that `manifest` describes; its `run_id` must be filled in."""
        if not manifest.run_id:
            raise ValueError("the manifest has no run id yet")
        engine = manifest.versions["virtual-contrast"]
        models = {model["role"]: _identity(model) for model in manifest.models}
        method = str(manifest.settings.get("segmentation", NO_LESIONS))
        segmentation = models.get("segmentation") or ModelIdentity(method, engine)
        return cls(
            run_id=manifest.run_id,
            created=datetime.datetime.fromisoformat(manifest.created_utc),
            engine_version=engine,
            synthesis=models["synthesis"],
            segmentation=None if method == NO_LESIONS else segmentation,
            input_phases=tuple(input_phase_times(manifest.inputs)),
        )

    def uid(self, *names: str | int) -> str:
        """A DICOM UID below 2.25 for the object called `names` in this run.

        It is a UUID of version 5 over the run id and the names (PS3.5 B.2): the same run always gives the
        same UIDs, every UID can be traced to its run, and different run ids give different UIDs.
        """
        text = "/".join((self.run_id, *map(str, names)))
        return f"2.25.{uuid.uuid5(UID_NAMESPACE, text).int}"


def _identity(model: Mapping[str, Any]) -> ModelIdentity:
    """A model as the manifest lists it."""
    return ModelIdentity(
        id=model["id"],
        version=model["version"],
        weights_sha256=model["weights_sha256"],
        trained_on_phantoms=bool(model["trained_on_phantoms"]),
    )


def named_phases(indices: Sequence[int]) -> str:
    """`real phase 1` or `real phases 1, 2`, as texts name the real phases that a model read."""
    return f"real phase{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"


LESION_COLORS = ((0, 204, 204), (204, 0, 153), (0, 204, 0), (160, 133, 242), (242, 73, 115), (46, 153, 99))
"""RGB, 0..255, of lesion 1, 2, ...: in views, figures and reports; apart from each other, gray, and blue, yellow and
vermilion, the colors of the curve types, so that an outline is not taken for what it surrounds."""


def lesion_color(label: int) -> tuple[int, int, int]:
    """The color of a lesion, RGB 0..255; they repeat after the sixth."""
    return LESION_COLORS[(label - 1) % len(LESION_COLORS)]


TYPE_NAMES = {
    CurveType.NO_ENHANCEMENT: "no enhancement",
    CurveType.PERSISTENT: "type I (persistent)",
    CurveType.PLATEAU: "type II (plateau)",
    CurveType.WASHOUT: "type III (washout)",
    CurveType.UNASSESSED: "not assessed",
}
"""Curve types as tables, figures and reports name them."""
