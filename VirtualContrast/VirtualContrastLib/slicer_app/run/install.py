"""Packages on demand: asked for once, before the first run, on the main thread; nothing is installed unasked.

PyTorch comes from the PyTorch extension, which picks the build for the graphics card; the rest is listed in
Resources/requirements.txt and comes through `slicer.packaging`. What Slicer itself ships (SimpleITK, NumPy, SciPy,
requests) and torch are never replaced. The PyTorch extension installs torchvision with torch; we never use it.

Without a network: fetch the wheels elsewhere with `PythonSlicer -m pip download -d FOLDER -r requirements.txt torch`,
then start Slicer with the environment variables PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ...installation import KEPT, REQUIREMENTS, TORCH

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SKIP_PACKAGES = list(KEPT)
SENDING_REQUIREMENTS = REQUIREMENTS.with_name("requirements-send.txt")


_installations: list[Needs] = []
"""Those under way, one at most."""
_whole: set[Needs] = set()
"""What was found whole once; looking through all parts takes a third of a second, too long for each time."""


@dataclass(frozen=True)
class Needs:
    """What is needed.

    Attributes:
        files: Requirement files.
        requester: Name of the module.
        button: Gives the text of the button that asks.
        torch: Whether torch is needed.
    """

    files: tuple[Path, ...]
    requester: str
    button: Callable[[], str]
    torch: bool = True

    def requirements(self) -> list[Any]:
        """The requirements of all files."""
        import slicer.packaging

        return [one for file in self.files for one in slicer.packaging.load_requirements(str(file))]


ENGINE = Needs((REQUIREMENTS,), "VirtualContrast", lambda: _("Apply"))
# Not all of the engine's: who only looks at results and sends them need not fetch what computes.
SENDING = Needs((SENDING_REQUIREMENTS,), "VirtualContrast", lambda: _("Send to archive"), torch=False)


class NotInstalledError(Exception):
    """What is needed is not there; the text is one sentence for the user."""


def missing_packages(needs: Needs = ENGINE) -> list[str]:
    """Names of the packages that are needed and this Python lacks, torch first; [] where none is missing."""
    import slicer.packaging

    missing = [requirement.name for requirement in _unmet(needs)]
    return missing if not needs.torch or slicer.packaging.pip_check(TORCH) else ["torch", *missing]


def _unmet(needs: Needs) -> list[Requirement]:
    """What has to be installed besides torch: a requirement, or what an installed package needs in turn.

    Slicer looks at the requirements alone, and continues where a part of one could not be installed.
    """
    import slicer.packaging
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    unmet: list[Requirement] = []
    wanted = [(requirement, True) for requirement in needs.requirements()]
    seen = {str(canonicalize_name(name)) for name in SKIP_PACKAGES}
    while wanted:
        requirement, own = wanted.pop(0)
        name = canonicalize_name(requirement.name)
        if name in seen or not _applies(requirement):
            continue
        seen.add(name)
        # What others need is looked for, not compared: they disagree about versions, and pip decides.
        if not slicer.packaging.pip_check(requirement if own else Requirement(requirement.name)):
            unmet.append(requirement)
        elif needs not in _whole:
            parts = importlib.metadata.requires(requirement.name) or ()
            wanted += [(Requirement(part), False) for part in parts]
    if not unmet:
        _whole.add(needs)
    return unmet


def _applies(requirement: Requirement) -> bool:
    """The requirement counts on this machine; those of extras do not."""
    return requirement.marker is None or bool(requirement.marker.evaluate({"extra": ""}))


def under_way() -> bool:
    """Packages are being installed; the event loop runs meanwhile."""
    return bool(_installations)


def explanation(missing: list[str], needs: Needs = ENGINE) -> str:
    """What the panel says before anything was asked."""
    return _(
        "To compute, this module needs Python packages that Slicer does not have yet: {names}. "
        "{button} asks before it installs them (once, up to 3 GB to download)."
    ).format(names=", ".join(missing), button=needs.button())


def ensure_packages(needs: Needs = ENGINE, *, begins: Callable[[], None] = lambda: None) -> None:
    """Install what is missing, after asking; call on the main thread.

    Args:
        needs: what a module needs.
        begins: called when the user has agreed; `under_way` is then true until this returns.

    Raises:
        NotInstalledError: the user declined, the installation failed or is under way, or this is testing mode.
    """
    if under_way():
        raise NotInstalledError(_("Packages are being installed; wait for the end."))
    missing = missing_packages(needs)
    if not missing:
        return
    if not _confirmed(missing, needs):
        text = _("Nothing was installed; press {button} to be asked again.")
        raise NotInstalledError(text.format(button=needs.button()))
    _installations.append(needs)
    try:
        begins()
        _install(missing, needs)
    finally:
        _installations.remove(needs)
    if still := missing_packages(needs):
        text = _("These Python packages are still missing: {names}; restart Slicer or see its log.")
        raise NotInstalledError(text.format(names=", ".join(still)))


def _install(missing: list[str], needs: Needs) -> None:
    try:
        if "torch" in missing:
            _install_torch(needs)
        _install_rest(needs)
    except subprocess.CalledProcessError as error:
        text = _("The installation failed (exit code {code}); check the network and see Slicer's log.")
        raise NotInstalledError(text.format(code=error.returncode)) from error
    except (RuntimeError, ImportError, OSError) as error:  # the last two: what was installed does not load
        text = _("The installation did not succeed ({reason}); see Slicer's log.")
        raise NotInstalledError(text.format(reason=error)) from error


def _confirmed(missing: list[str], needs: Needs) -> bool:
    text = _(
        "{module} needs these Python packages:\n\n{names}\n\nThey will be downloaded{amount} and installed into "
        "Slicer's Python; packages of Slicer itself are not replaced.\n\nInstall them now?"
    )
    amount = _(" (up to 3 GB, 5 to 10 minutes)") if needs.torch else ""
    text = text.format(module=needs.requester, names=", ".join(missing), amount=amount)
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
        _unmet(needs),
        skip_packages=SKIP_PACKAGES,
        prompt_install=False,
        requester=needs.requester,
    )
