"""LPIPS (Zhang et al. 2018, AlexNet, version 0.1) without torchvision: five convolutions, five linear heads.

The backbone is torchvision's `alexnet-owt-7be5be79.pth` (244 MB), given by path, found in
`$TORCH_HOME/hub/checkpoints`, or downloaded where asked for; else the same convolutions (10 MB) that
`virtual-contrast-training weights lpips` fetched. The linear heads come with torchmetrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import sha256_of

from . import lpips_weights, plain_convolutions
from .weights import ALEXNET, DOWNLOAD, cached, fetched, hub_checkpoints

if TYPE_CHECKING:
    import torch

SMALLEST_SIDE = 32


class Lpips:
    """The distance of two gray slices; 0 for equal images. Holds the network on one device."""

    def __init__(
        self, backbone: Mapping[str, torch.Tensor], heads: Mapping[str, torch.Tensor], device: str = "cpu"
    ) -> None:
        self.device = device
        self.note = ""
        names = [f"{layer.name}.{part}" for layer in plain_convolutions.ALEXNET for part in ("weight", "bias")]
        self._backbone = {name: backbone[name].to(device) for name in names}
        self._heads = [heads[f"lin{n}.model.1.weight"].to(device) for n in range(len(plain_convolutions.ALEXNET))]

    def distance(self, first: np.ndarray, second: np.ndarray) -> float:
        """LPIPS of two slices [j, i] with values in [-1, 1]; raises ValueError below 32 pixels on a side."""
        import torch

        if first.shape != second.shape or min(first.shape) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS needs two slices of one shape, {SMALLEST_SIDE} pixels or more, got "
                f"{first.shape}, {second.shape}"
            )
        pair = torch.from_numpy(np.stack([first, second]).astype(np.float32)).to(self.device)
        with torch.inference_mode():
            total = torch.zeros((), device=self.device)
            images = pair[:, None].expand(-1, 3, -1, -1)
            found = plain_convolutions.activations(plain_convolutions.ALEXNET, self._backbone, images)
            for features, head in zip(found, self._heads, strict=True):
                unit = features / torch.sqrt(1e-8 + (features**2).sum(dim=1, keepdim=True))
                total += torch.nn.functional.conv2d((unit[:1] - unit[1:]) ** 2, head).mean()
        return float(total)


def load_lpips(backbone: Path | None = None, *, device: str = "cpu") -> Lpips:
    """Load LPIPS; `backbone` None looks into torch's hub folder, "download" also fetches the file.

    Raises InputError, in a sentence that says what to put where, when the AlexNet file is missing or is not
    one.
    """
    path = _backbone_file(backbone)
    weights = load_state(path)
    if problem := plain_convolutions.misfit(plain_convolutions.ALEXNET, weights):
        raise InputError(f"{path} is not torchvision's AlexNet: {problem}.")
    model = Lpips(weights, load_state(_heads_file()), device)
    if path != lpips_weights.ALEXNET.path and not sha256_of(path).startswith(ALEXNET.sha256_start):
        model.note = "LPIPS used AlexNet weights that are not torchvision's (SHA-256 does not begin with 7be5be79)."
    return model


def _backbone_file(given: Path | None) -> Path:
    if given is not None and str(given) != DOWNLOAD:
        if not given.is_file():
            raise InputError(f"There is no weight file {given}; give torchvision's {ALEXNET.name}, or 'download'.")
        return given
    path = fetched(ALEXNET) if given is not None else cached(ALEXNET)
    if path is None and lpips_weights.ALEXNET.path.is_file():
        return lpips_weights.ALEXNET.path
    if path is None:
        raise InputError(
            "LPIPS needs AlexNet's weights: fetch them with 'virtual-contrast-training weights lpips' (64 MB), put "
            f"torchvision's {ALEXNET.name} at {hub_checkpoints() / ALEXNET.name}, or name the file with --alexnet "
            "(--alexnet download fetches it)."
        )
    return path


def load_state(path: Path) -> Mapping[str, torch.Tensor]:
    """Read a state dict from .safetensors, or from .pth without running pickled code; raises InputError
    where it is none.
    """
    import pickle

    import torch

    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} cannot be read as safetensors ({error}).") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}); it may be damaged or hold code."
        ) from error
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds no state dict but a {type(state).__name__}.")
    return state


def _heads_file() -> Path:
    import torchmetrics

    return Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
