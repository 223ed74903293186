"""Joins the members of a cross-validation into the package that is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import Metric, ModelCard, ModelPackage, save_package
from VirtualContrastLib.networks.residual_enhancement import build_residual_enhancement

from ...data.crops import CropPatient, load_patients
from .calibrate import Site, calibrate
from .heads import out_of_fold_heads, unseen_heads


def join_members(
    members: Sequence[ModelPackage],
    prepared: Path,
    folder: Path,
    *,
    model_id: str,
    title: str,
    metrics: Sequence[Metric] = (),
    text: str = "",
    unseen: Sequence[str] = (),
) -> ModelPackage:
    """Write a package that averages `members` (member k was trained without fold k), calibrated out of fold.

    Args:
        members: packages of single members, in the order of their folds.
        prepared: the prepared patients that all of them were trained and held out on.
        folder: place of the package.
        model_id: its id.
        title: its title.
        metrics: what was measured of it.
        text: MODEL_CARD.md.
        unseen: cohorts of `prepared` that no member was trained on, which what is shown may not harm either.

    Returns:
        The package.

    Raises:
        InputError: a member is of another network or training, or the patients cannot be read.
    """
    first = members[0].card
    data = first.training["data"]
    if any(member.card.architecture != first.architecture for member in members):
        raise InputError("The members are not of one network.")
    folds = [member.card.training["data"]["fold"] for member in members]
    if folds != list(range(data["folds"])):
        raise InputError(f"The members must be those of folds 0 to {data['folds'] - 1} in order, not of {folds}.")
    patients = load_patients(prepared, folds=data["folds"], cohorts=data["cohorts"])
    states = [member.load_state() for member in members]
    networks = []
    for state in states:
        network = build_residual_enhancement(first.architecture.config)
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        networks.append(network.eval())
    multiple = first.in_plane.pad_multiple if first.in_plane else 16
    heads = out_of_fold_heads(networks, patients, multiple)
    sites = []
    for cohort in unseen:
        if cohort in data["cohorts"]:
            raise InputError(f"The members were trained on {cohort}; --unseen names cohorts that they never saw.")
        others = load_patients(prepared, cohorts=[cohort])
        sites.append((others, unseen_heads(networks, others, multiple)))
    calibration, finder = calibrate(patients, heads, _said(patients, data["cohorts"], sites), sites)
    card = ModelCard.model_validate(
        first.model_dump(exclude={"architecture", "weights_sha256", "against_copying"})
        | {
            "id": model_id,
            "title": title,
            "architecture": {
                "name": first.architecture.name,
                "config": {**first.architecture.config, "members": len(members)},
            },
            "training": {**first.training, "data": {**data, "fold": folds}},
            "metrics": [metric.model_dump() for metric in metrics],
            "calibration": calibration.model_dump(),
            "lesion_finder": finder.model_dump(),
        }
    )
    state = {
        name.replace("members.0.", f"members.{k}.", 1): tensor.half()
        for k, one in enumerate(states)
        for name, tensor in one.items()
    }
    return save_package(folder, card, state, model_card_md=text or f"# {title}\n")


def _said(patients: Sequence[CropPatient], cohorts: Sequence[str], sites: Sequence[Site]) -> str:
    """Which patients the calibration rests on, in words."""
    counts = ", ".join(f"{sum(patient.cohort == cohort for patient in patients)} {cohort}" for cohort in cohorts)
    text = f"{counts}; each patient by the member that was trained without it"
    others = ", ".join(f"{len(found)} {found[0].cohort}" for found, _ in sites)
    return f"{text}; how much is shown also by {others}, by the mean of the members" if others else text
