"""Makes a package of an ONNX file and of what its author says of inputs, outputs, intensities and pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..events import InputError
from .package import ModelCard, ModelPackage, first_problem, save_package

NEEDED = ("inputs", "outputs", "intensity", "in_plane", "trained_on_phantoms")


def import_onnx(
    path: str | Path, out_dir: str | Path, *, model_id: str, title: str, described: Mapping[str, Any], license: str
) -> ModelPackage:
    """Convert an ONNX file of a network over slices into a package.

    Args:
        path: the file; one input and one output, both float32 [n, channel, row, column] with free n, row and column.
        out_dir: folder of the package.
        model_id: id of the model.
        title: one line that says what it is.
        described: the card's `inputs`, `outputs`, `intensity`, `in_plane` and `trained_on_phantoms`, and others of its
            fields where they are known.
        license: terms of use.

    Returns:
        The package.

    Raises:
        InputError: the file cannot be run, has other inputs or outputs, or the description does not fit it.
    """
    import torch

    from ..networks.onnx_network import KEY, open_session

    path = Path(path)
    data = path.read_bytes()
    session = open_session(data)
    channels = [_channels(ends, path.name) for ends in (session.get_inputs(), session.get_outputs())]
    if missing := [name for name in NEEDED if name not in described]:
        raise InputError(
            f"The description of {path.name} lacks {', '.join(missing)}; see the documentation of ONNX models."
        )
    multiple = int(described["in_plane"].get("pad_multiple", 16)) if isinstance(described["in_plane"], dict) else 16
    config = {
        "input_nc": channels[0],
        "output_nc": channels[1],
        "size_bytes": len(data),
        "downsamplings": max(0, multiple.bit_length() - 1),
    }
    try:
        card = ModelCard.model_validate(
            {
                "version": "1",
                "training": {"imported_from": path.name},
                **described,
                "id": model_id,
                "title": title,
                "license": license,
                "architecture": {"name": "onnx", "config": config},
            }
        )
    except ValidationError as error:
        raise InputError(f"The model card of '{model_id}' cannot be made: {first_problem(error)}") from error
    state = {KEY: torch.frombuffer(bytearray(data), dtype=torch.uint8)}
    return save_package(out_dir, card, state, model_card_md=f"# {title}\n\nImported from `{path.name}` (ONNX).\n")


def _channels(ends: list[Any], name: str) -> int:
    """Channels of the one input or output of a network over slices."""
    if len(ends) != 1 or ends[0].type != "tensor(float)" or len(ends[0].shape) != 4:
        raise InputError(
            f"{name} must have one input and one output, both float32 [n, channel, row, column]; export it so."
        )
    channels = ends[0].shape[1]
    if not isinstance(channels, int) or any(isinstance(ends[0].shape[axis], int) for axis in (0, 2, 3)):
        raise InputError(
            f"{name} must have a fixed number of channels, and free n, rows and columns (dynamic_axes); export it so."
        )
    return channels
