"""Reads PyTorch checkpoints of other software with torch's restricted loader only: none of it is executed."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..events import Events, InputError
from .zips import check_unpacked_size, opened_zip

if TYPE_CHECKING:
    from torch import Tensor


def without_module_prefix(state: dict[str, Tensor], pth: Path, events: Events | None) -> dict[str, Tensor]:
    """The state without the prefix `module.` of a DataParallel wrapper.

    Args:
        state: Weights by name.
        pth: Their file, for the message.
        events: Gets a warning where a prefix was removed.

    Returns:
        The weights; as given where one of them has no such prefix.
    """
    if not all(key.startswith("module.") for key in state):
        return state
    if events is not None:
        events.warn(f"{pth.name} was saved from a DataParallel wrapper; the prefix 'module.' was removed.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_tensors(pth: Path) -> dict[str, Tensor]:
    """A flat mapping of finite float32 tensors from a checkpoint file or a zip with one `*_net_G.pth`."""
    import torch

    with _checkpoint_file(pth) as file:
        state = _restricted_load(file)
    is_flat = isinstance(state, Mapping) and all(isinstance(v, torch.Tensor) for v in state.values())
    if not state or not is_flat:
        raise InputError(f"{pth} holds no plain state dict; save the generator's state_dict() and import that.")
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(f"{pth} holds values that are not finite, first in {broken[0]}; it is damaged.")
    return {str(key): value.float() for key, value in state.items()}


@contextlib.contextmanager
def _checkpoint_file(path: Path) -> Iterator[Path]:
    """The checkpoint itself, or the one generator in a published zip, unpacked for as long as it is read."""
    if path.suffix.lower() != ".zip":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "net_G.pth"
        with opened_zip(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("_net_G.pth") and "__MACOSX" not in n]
            if len(names) != 1:
                raise InputError(f"{path} holds {len(names)} files named *_net_G.pth; unpack it and name one.")
            check_unpacked_size(path, archive.getinfo(names[0]).file_size, Path(folder))
            with archive.open(names[0]) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 2**20)
        yield target


def _restricted_load(path: Path) -> Any:
    import torch

    if not path.is_file():
        raise InputError(f"The checkpoint {path} does not exist.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a checkpoint that can be read safely: {reason}") from error


def load_nnunet(path: Path) -> dict[str, Any]:
    """An nnU-Net checkpoint; its log and plans hold numpy numbers and strings, so exactly their types are allowed."""
    import numpy as np
    import torch

    scalar = np.float64(0).__reduce__()[0]
    # Checkpoints of numpy 1 name the function by its old module.
    allowed: list[Any] = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype]
    kinds = ("float64", "float32", "float16", "int64", "int32", "bool", "str")
    allowed += [type(np.dtype(kind)) for kind in kinds]
    with torch.serialization.safe_globals(allowed):
        found = _restricted_load(path)
    needed = {"network_weights", "trainer_name", "init_args"}
    if not isinstance(found, dict) or not needed <= set(found):
        raise InputError(f"{path} is not an nnU-Net checkpoint: it lacks {sorted(needed)}.")
    return found
