"""Tests of what runs inside Slicer, on the stand-in application of Testing/host.

Fixtures: ``host`` (the application, one a session) and, for every test, an empty scene before and after, no exception
in a slot, no error message of VTK or MRML. A test that provokes errors says ``@pytest.mark.slicer_errors``.
"""

import sys
from pathlib import Path

import pytest

HOST_FOLDER = Path(__file__).resolve().parents[1] / "host"
sys.path.insert(0, str(HOST_FOLDER))

from slicer_host import boot, prepare, requirements  # noqa: E402

LACKING = requirements.missing()
if not LACKING:
    prepare()  # before a test module says "import slicer"


class _SkippedModule(pytest.Module):
    def collect(self):
        pytest.skip(LACKING, allow_module_level=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "slicer_errors: errors in slots or messages of VTK are expected")


def pytest_pycollect_makemodule(module_path, parent):
    return _SkippedModule.from_parent(parent, path=module_path) if LACKING else None


@pytest.fixture(scope="session")
def vtk_log(tmp_path_factory):
    """The file with the warnings and errors of VTK and MRML, which go nowhere else."""
    import vtk

    path = tmp_path_factory.mktemp("vtk") / "vtk.log"
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    vtk.vtkLogger.LogToFile(str(path), vtk.vtkLogger.TRUNCATE, vtk.vtkLogger.VERBOSITY_WARNING)
    return path


@pytest.fixture(scope="session")
def host(vtk_log):
    """The booted application: ``slicer_host.Host``."""
    return boot()


@pytest.fixture(autouse=True)
def _clean(request, host, vtk_log):
    import qt

    host.reset()
    qt.slotErrors.clear()
    start = vtk_log.stat().st_size
    yield
    host.process_events()
    errors = list(qt.slotErrors)
    with vtk_log.open(encoding="utf-8", errors="replace") as log:
        log.seek(start)
        messages = [line for line in log if "ERR|" in line]
    host.reset()
    if request.node.get_closest_marker("slicer_errors") is None:
        assert errors == []
        assert messages == []
