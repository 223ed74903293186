"""Stand-in for ``slicer.packaging`` (Slicer 5.12): checks for real, installs nothing, records what was asked.

A test steers it through ``slicer.packaging.host``: ``missing`` are packages to be taken for absent, ``outcome`` is
what an installation does, ``calls`` what was asked for.
"""

# ruff: noqa: N803 (these are Slicer's names)

import dataclasses
import importlib.metadata
import logging
import tomllib
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import qt
import slicer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclasses.dataclass
class HostInstallation:
    """The pretended Python environment."""

    outcome: str = "install"  # or "decline" (the user says no) or "fail" (pip exits with 1)
    missing: set[str] = dataclasses.field(default_factory=set)
    calls: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def reset(self) -> None:
        self.outcome = "install"
        self.missing.clear()
        self.calls.clear()


host = HostInstallation()


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements of a requirements.txt; comments and pip options are skipped."""
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def load_pyproject_dependencies(path: str | Path) -> list[Requirement]:
    """``[project] dependencies`` of a pyproject.toml; KeyError without a [project] table."""
    project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project.get("dependencies", [])]


def _as_list(requirements: Any) -> list[Requirement]:
    if isinstance(requirements, str):
        requirements = [requirements] if ";" in requirements else requirements.split()
    if isinstance(requirements, Requirement):
        requirements = [requirements]
    if not isinstance(requirements, list):
        raise TypeError(f"Expected str, Requirement, or list, got {type(requirements).__name__}")
    return [Requirement(r) if isinstance(r, str) else r for r in requirements]


def pip_check(req: Any) -> bool:
    """True if all requirements are installed in the wanted version (extras are not followed here)."""
    return not [r for r in _as_list(req) if not _satisfied(r)]


def _satisfied(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if canonicalize_name(requirement.name) in {canonicalize_name(name) for name in host.missing}:
        return False
    try:
        return importlib.metadata.version(requirement.name) in requirement.specifier
    except importlib.metadata.PackageNotFoundError:
        return False


def pip_ensure(
    requirements: Any,
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Install what is missing; nothing in testing mode; RuntimeError if the user declines."""
    lacking = [requirement for requirement in _as_list(requirements) if not pip_check(requirement)]
    if not lacking:
        return None
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("Testing mode is enabled: skipping pip_ensure for %s", lacking)
        return None
    if prompt_install and host.outcome == "decline":
        raise RuntimeError("User declined package installation")
    return pip_install([str(r) for r in lacking], constraints, None, skip_packages, True, show_progress, requester)


def pip_install(
    requirements: Any,
    constraints: str | Path | None = None,
    no_deps_requirements: Any = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: Any = None,
    logCallback: Any = None,
    completedCallback: Any = None,
) -> list[str] | None:
    """Record the call and pretend; with ``blocking=False`` the callbacks come from the event loop."""
    if skip_packages is not None and (no_deps_requirements is not None or not blocking):
        raise ValueError("skip_packages goes with blocking=True and without no_deps_requirements")
    if qt.QThread.currentThread() != slicer.app.thread() and (not blocking or skip_packages is not None):
        raise RuntimeError("pip_install with these options is only supported on the main thread")
    asked = requirements.split() if isinstance(requirements, str) else list(requirements)
    host.calls.append({"requirements": asked, "constraints": constraints, "skip_packages": skip_packages,
                       "blocking": blocking, "requester": requester})  # fmt: skip
    code = 1 if host.outcome == "fail" else 0
    if code == 0:
        wanted = {canonicalize_name(Requirement(text).name) for text in asked if not text.startswith("-")}
        host.missing = {name for name in host.missing if canonicalize_name(name) not in wanted}
    if not blocking:
        qt.QTimer.singleShot(0, lambda: _report(code, asked, logCallback, completedCallback))
    elif code:
        raise CalledProcessError(code, "pip install")
    return None if skip_packages is None else []


def _report(code: int, asked: list[str], log: Any, completed: Any) -> None:
    if log is not None:
        log(f"pretended to install {' '.join(asked)}")
    if completed is not None:
        completed(code)


def pip_uninstall(
    requirements: Any, blocking: bool = True, logCallback: Any = None, completedCallback: Any = None
) -> None:
    """Pretend that the packages are gone."""
    host.missing |= {requirement.name for requirement in _as_list(requirements)}


def isPipInstallInProgress() -> bool:
    """Never, here."""
    return False
