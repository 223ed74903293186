"""Packages on demand: asked for once, before the first run, on the main thread; nothing is installed unasked.

PyTorch comes from the PyTorch extension, which picks the build for the graphics card; the rest is listed in
Resources/requirements.txt and comes through `slicer.packaging`. What Slicer itself ships (SimpleITK, NumPy, SciPy,
requests) and torch are never replaced, and torchvision, which nnU-Net asks for and we never use, is left out.

Without a network: fetch the wheels elsewhere with `PythonSlicer -m pip download -d FOLDER -r requirements.txt torch`,
then start Slicer with the environment variables PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

REQUIREMENTS = Path(__file__).resolve().parents[3] / "Resources" / "requirements.txt"
SKIP_PACKAGES = ["SimpleITK", "numpy", "torch", "torchvision", "scipy", "requests"]
TORCH = "torch>=2.6,!=2.9.*"  # nnU-Net refuses 2.9


@dataclass(frozen=True)
class Needs:
    """What a module needs besides torch: requirement files, the module's name, the text of the button that asks."""

    files: tuple[Path, ...]
    requester: str
    button: Callable[[], str]

    def requirements(self) -> list[Any]:
        """The requirements of all files."""
        import slicer.packaging

        return [one for file in self.files for one in slicer.packaging.load_requirements(str(file))]


ENGINE = Needs((REQUIREMENTS,), "VirtualContrast", lambda: _("Apply"))


class NotInstalledError(Exception):
    """What is needed is not there; the text is one sentence for the user."""


def missing_packages(needs: Needs = ENGINE) -> list[str]:
    """Names of the packages a run needs and this Python has not, torch first; [] where all are there."""
    import slicer.packaging

    wanted = needs.requirements()
    missing = [requirement.name for requirement in wanted if not slicer.packaging.pip_check(requirement)]
    return missing if slicer.packaging.pip_check(TORCH) else ["torch", *missing]


def explanation(missing: list[str], needs: Needs = ENGINE) -> str:
    """What the panel says before anything was asked."""
    return _(
        "To compute, this module needs Python packages that Slicer does not have yet: {names}. "
        "{button} asks before it installs them (once, up to 3 GB to download)."
    ).format(names=", ".join(missing), button=needs.button())


def ensure_packages(needs: Needs = ENGINE) -> None:
    """Install what is missing, after asking; call on the main thread.

    Raises:
        NotInstalledError: the user declined, the installation failed, or this is testing mode.
    """
    missing = missing_packages(needs)
    if not missing:
        return
    if not _confirmed(missing, needs):
        text = _("Nothing was installed, so nothing can be computed; press {button} to be asked again.")
        raise NotInstalledError(text.format(button=needs.button()))
    try:
        if "torch" in missing:
            _install_torch(needs)
        _install_rest(needs)
    except subprocess.CalledProcessError as error:
        text = _("The installation failed (exit code {code}); check the network and see Slicer's log.")
        raise NotInstalledError(text.format(code=error.returncode)) from error
    except RuntimeError as error:
        text = _("The installation did not succeed ({reason}); see Slicer's log.")
        raise NotInstalledError(text.format(reason=error)) from error
    if still := missing_packages(needs):
        text = _("These Python packages are still missing: {names}; restart Slicer or see its log.")
        raise NotInstalledError(text.format(names=", ".join(still)))


def _confirmed(missing: list[str], needs: Needs) -> bool:
    text = _(
        "{module} needs these Python packages to compute:\n\n{names}\n\nThey will be downloaded (up to 3 GB, "
        "5 to 10 minutes) and installed into Slicer's Python; packages of Slicer itself are not replaced.\n\n"
        "Install them now?"
    )
    text = text.format(module=needs.requester, names=", ".join(missing))
    return bool(slicer.util.confirmOkCancelDisplay(text, _("Install packages")))


def _install_torch(needs: Needs) -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        text = _("PyTorch is missing: install the extension PyTorch in the Extensions Manager and restart Slicer.")
        raise NotInstalledError(text) from error
    logic: Any = PyTorchUtils.PyTorchUtilsLogic()
    if logic.installTorch(askConfirmation=False, torchVersionRequirement=TORCH.removeprefix("torch")) is None:
        text = _("PyTorch was not installed; press {button} to be asked again.")
        raise NotInstalledError(text.format(button=needs.button()))


def _install_rest(needs: Needs) -> None:
    import slicer.packaging

    slicer.packaging.pip_ensure(
        needs.requirements(),
        skip_packages=SKIP_PACKAGES,
        prompt_install=False,
        requester=needs.requester,
    )
