"""Stand-in for the PyTorch extension's ``PyTorchUtils``: uses the torch of this environment, installs nothing.

A test steers it through ``slicer.packaging.host``: "torch" in ``missing`` is an absent torch, ``outcome`` what happens
to ``installTorch``.
"""

# ruff: noqa: N803 (these are Slicer's names)

from subprocess import CalledProcessError
from typing import Any

import slicer
import slicer.packaging


class PyTorchUtilsLogic:
    """The methods of the extension's logic that other modules use."""

    @staticmethod
    def torchInstalled() -> bool:
        """Whether torch can be imported."""
        return slicer.packaging.pip_check("torch")

    @property
    def torch(self) -> Any:
        """The module torch, installed if necessary; None if the user declines."""
        return self.importTorch()

    def importTorch(self) -> Any:
        """The module torch, installed if necessary; None if the user declines."""
        if not self.torchInstalled():
            return self.installTorch()
        import torch

        return torch

    def installTorch(
        self,
        askConfirmation: bool = False,
        forceComputationBackend: str | None = None,
        torchVersionRequirement: str | None = None,
        torchvisionVersionRequirement: str | None = None,
    ) -> Any:
        """Record the call; None if declined, CalledProcessError if it fails, else the torch of this environment."""
        host = slicer.packaging.host
        if askConfirmation and host.outcome == "decline":
            return None
        host.calls.append({"requirements": ["torch" + (torchVersionRequirement or "")], "requester": "PyTorchUtils",
                           "backend": forceComputationBackend})  # fmt: skip
        if host.outcome == "fail":
            raise CalledProcessError(1, "light_the_torch")
        host.missing.discard("torch")
        import torch

        return torch

    def getDevice(self) -> Any:
        """CUDA device if there is one, else "cpu"."""
        return self.torch.device("cuda") if self.torch.cuda.is_available() else "cpu"

    @property
    def cuda(self) -> bool:
        """Whether the device is CUDA."""
        return self.getDevice() != "cpu"
