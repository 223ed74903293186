"""What the networks make of patients that they have not seen: the basis of every calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...data.crops import CropPatient

Heads = Mapping[str, Tensor]
"""The network's heads [slice, channel, row, column] by patient."""


def out_of_fold_heads(
    members: Sequence[nn.Module], patients: Sequence[CropPatient], multiple: int
) -> dict[str, Tensor]:
    """Heads of every patient by the member that was trained without it.

    Args:
        members: The networks of folds 0, 1, ... in order.
        patients: The patients.
        multiple: Sides are filled up to a multiple of this by reflection.

    Returns:
        Heads [slice, channel, row, column] by patient.
    """
    return {patient.name: _heads(members[patient.fold], patient, multiple) for patient in patients}


def unseen_heads(members: Sequence[nn.Module], patients: Sequence[CropPatient], multiple: int) -> dict[str, Tensor]:
    """Heads of patients that no member was trained on: the mean of all members, as the joined package gives them.

    Args:
        members: the networks.
        patients: patients of other cohorts than those of the training.
        multiple: sides are filled up to multiples of it by reflection.

    Returns:
        Heads [slice, channel, row, column] by patient.
    """

    def mean(x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in members]).mean(dim=0)

    return {patient.name: _heads(mean, patient, multiple) for patient in patients}


def _heads(network: Callable[[Tensor], Tensor], patient: CropPatient, multiple: int) -> Tensor:
    x = torch.from_numpy(patient.pre / np.float32(patient.scale))[:, None]
    rows, columns = x.shape[-2:]
    padded = functional.pad(x, (0, -columns % multiple, 0, -rows % multiple), mode="reflect")
    with torch.inference_mode():
        return network(padded)[..., :rows, :columns].half()
