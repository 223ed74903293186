"""Motion of the real phases, corrected before anything is computed from them and recorded in the manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..events import Events
from ..results.manifest import MOTION
from ..synthesis.registration import Motion, register_phases
from .plan import Plan


def without_motion(plan: Plan, events: Events) -> Plan:
    """The plan with its real phases on the pre-contrast volume; the phases that the model reads are among them."""
    if not plan.real:
        events.warn("There are no real phases whose motion could be corrected.")
        return plan
    moved, motions = register_phases(plan.study.pre.image, plan.real, events)
    images = {phase.index: phase.image for phase in moved}
    real = tuple(dataclasses.replace(phase, image=images[phase.index]) for phase in plan.study.real)
    return dataclasses.replace(
        plan,
        input=dataclasses.replace(plan.input, study=dataclasses.replace(plan.study, real=real)),
        real=tuple(moved),
        inputs=with_motion(plan.inputs, [phase.index for phase in moved], motions),
    )


def with_motion(
    inputs: Sequence[dict[str, Any]], indices: Sequence[int], motions: Sequence[Motion]
) -> list[dict[str, Any]]:
    """The manifest's inputs with what was found of the motion of the real phases.

    Args:
        inputs: Entries as `provenance.describe` makes them.
        indices: Of the real phases.
        motions: What was found of each.

    Returns:
        The entries in the order given; only those of the real phases differ.
    """
    found = {f"real_{index}": motion.as_json() for index, motion in zip(indices, motions, strict=True)}
    return [entry | {MOTION: found[entry["role"]]} if entry["role"] in found else entry for entry in inputs]
