"""Tests of what runs inside Slicer, on the stand-in application of Testing/host.

Fixtures: ``host`` (the application, one a session) and, for every test, an empty scene before and after, no exception
in a slot, no error message of VTK or MRML. A test that provokes errors says ``@pytest.mark.slicer_errors``.
With ``SLICER_SOURCE`` (see slicer_host/real_files.py) Slicer's own Python files take the place of the stand-ins.
``volume`` is one for tests of the host; ``module``, ``panel`` and ``out`` are those of the module VirtualContrast.
"""

import os
import sys
from pathlib import Path

import numpy as np
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
    config.addinivalue_line("markers", "stand_in: about a stand-in of the host; SLICER_SOURCE has the real file")


def pytest_collection_modifyitems(items):
    if os.environ.get("SLICER_SOURCE"):
        for item in items:
            if item.get_closest_marker("stand_in"):
                item.add_marker(pytest.mark.skip(reason="about the host's own file, and Slicer's is in its place"))


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


@pytest.fixture
def volume(host):
    """40 x 32 x 20 voxels, dark with a bright box in the middle."""
    import slicer
    from host_samples import IJK_TO_RAS

    array = np.full((20, 32, 40), 20.0, np.float32)
    array[6:14, 10:22, 12:28] = 150
    return slicer.util.addVolumeFromArray(array, ijkToRAS=IJK_TO_RAS, name="T1")


@pytest.fixture
def resources(tmp_path, monkeypatch):
    """The tiny model is the installed default; a cache without models."""
    from module_samples import write_resources

    folder = write_resources(tmp_path / "Resources")
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(tmp_path / "Resources"))
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="session")
def ready_result(host, tmp_path_factory):
    """A result folder for the runs that only pretend to compute."""
    from module_samples import make_result

    return make_result(tmp_path_factory.mktemp("result"))


@pytest.fixture
def module(host, resources, ready_result):
    """The open module's Widget object, whose worker makes the ready result at once unless a test changes that."""
    from module_samples import MODULE, instant, misbehave

    widget = host.load_module(MODULE).widgetRepresentation().self()
    widget.panel._device_timer.setInterval(600_000)  # only the test that is about it asks for the device
    misbehave(widget.panel, instant(ready_result))
    yield widget
    host.unload_module("VirtualContrast")


@pytest.fixture
def panel(module):
    """The open module's panel."""
    return module.panel


@pytest.fixture
def out(panel, tmp_path):
    """The output folder that the panel uses."""
    (tmp_path / "out").mkdir()
    panel.ui.outputPath.currentPath = str(tmp_path / "out")
    return tmp_path / "out"
