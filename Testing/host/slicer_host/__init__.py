"""A headless Slicer for tests: the real MRML scene, logics and views of slicer-core below a stand-in application.

``prepare()`` makes ``import slicer, qt, ctk`` work (no application yet); ``boot()`` starts the application and returns
a ``Host``. What is real and what is not: Testing/host/README.md.
"""

import contextlib
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import event_loop, real_files, requirements

__all__ = ["Host", "boot", "prepare", "requirements"]

FOLDER = Path(__file__).resolve().parents[1]
_host: "Host | None" = None
_WORK, _WORK_S = 3_000_000, 0.08
"""A sum of so many numbers, and what it took on the machine on which the limits were set (Xeon with AVX-512, 2023)."""


def prepare() -> None:
    """Import ``slicer`` from the wheel and make the stand-in modules importable. Raises RuntimeError if impossible."""
    if "slicer" in sys.modules and str(FOLDER / "slicer_modules") in sys.modules["slicer"].__path__:
        return
    lacking = requirements.missing()
    if lacking:
        raise RuntimeError(lacking)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    _import_slicer()
    import slicer

    slicer.__path__.append(str(FOLDER / "slicer_modules"))
    real = real_files.put_in_front()
    import qt  # noqa: F401  changes the PySide6 classes before any widget exists

    from . import widgets

    for name, stand_in in widgets.make_all().items():
        if not name.startswith("ctk"):
            setattr(slicer, name, stand_in)
    if real is not None:
        real_files.name_other_widgets(real)


def _import_slicer() -> None:
    """The wheel takes every folder ``slicer`` on sys.path (also Testing/slicer) for a part of itself: hide those."""
    path = list(sys.path)
    sys.path[:] = [
        p for p in path if (Path(p) / "slicer" / "__init__.py").exists() or not (Path(p) / "slicer").is_dir()
    ]
    try:
        import slicer
        import slicer.util
    finally:
        sys.path[:] = path
    for name in list(vars(slicer)):  # the wheel also copies slicer.util.* into slicer.*, which Slicer does not
        if name != "util" and not name.startswith(("_", "vtk")) and hasattr(slicer.util, name):
            delattr(slicer, name)
    if hasattr(slicer.util, "LazyImport"):
        del slicer.util.LazyImport  # later than Slicer 5.12


def boot(*, main_window: bool = True) -> "Host":
    """The running host of this process; the first call starts it (``main_window`` counts only then)."""
    global _host
    if _host is None:
        prepare()
        import slicer

        slicer.modules, slicer.moduleNames = (
            types.ModuleType("slicer.modules"),
            types.ModuleType("slicer.moduleNames"),
        )
        from .application import SlicerApplication
        from .modules import Module, ModuleWidget

        slicer.qSlicerScriptedLoadableModule, slicer.qSlicerScriptedLoadableModuleWidget = (
            Module,
            ModuleWidget,
        )
        _host = Host(SlicerApplication(main_window=main_window))
    return _host


class _LoadFreeClock:
    """Tells the time of this thread as it would pass on an idle machine, as well as Linux lets one know.

    All threads of the process count as waiting, since the one that is measured may wait for another (Python's lock, a
    parallel loop), but never less passes than this thread has computed.
    """

    def __init__(self) -> None:
        self._wall_s, self._cpu_s, self._waited_ns = time.monotonic(), time.thread_time(), _waited_ns()

    def since_last_s(self) -> float:
        """Seconds since the last call."""
        wall_s, cpu_s, waited_ns = time.monotonic(), time.thread_time(), _waited_ns()
        waited = sum(ns - self._waited_ns.get(thread, 0) for thread, ns in waited_ns.items())
        passed_s = max(cpu_s - self._cpu_s, wall_s - self._wall_s - waited * 1e-9)
        self._wall_s, self._cpu_s, self._waited_ns = wall_s, cpu_s, waited_ns
        return passed_s


def _waited_ns() -> dict[str, int]:
    """How long each thread of the process was ready to run and waited for a processor, in nanoseconds."""
    waited = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            waited[task.name] = int((task / "schedstat").read_text(encoding="ascii").split()[1])
    return waited


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _slowness() -> float:
    """How many times longer a fixed piece of work takes now than where the limits were set."""
    start = time.monotonic()
    sum(range(_WORK))
    return (time.monotonic() - start) / _WORK_S


class Host:
    """What a test does with the application; the module under test never sees it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def load_module(self, path: str | Path, *, select: bool = True) -> Any:
        """Load a scripted module file and (``select``) open its panel; returns the module (``slicer.modules.x``)."""
        module = self.app.moduleManager().load_scripted(Path(path))
        if select:
            self.select_module(module.name)
        return module

    def select_module(self, name: str) -> Any:
        """Open the panel of a module (exit the one before, enter this one); returns its Widget object."""
        import slicer

        slicer.util.selectModule(name)
        return self.app.moduleManager().module(name).widgetRepresentation().self()

    def unload_module(self, name: str) -> None:
        """Close the panel as the application does when it ends; the file can be loaded anew."""
        selector = self.app._main_window.moduleSelector()
        if selector.selectedModule == name:
            self.app.moduleManager().module(name).widgetRepresentation().exit()
            selector.selectedModule = ""
        self.app.moduleManager().unload_scripted(name)
        self.process_events()

    def reset(self) -> None:
        """Empty scene, no scripted module, four-up layout, testing mode, no recorded installation."""
        import slicer
        import slicer.packaging

        for name in self.app.moduleManager().modulesNames():
            if self.app.moduleManager().module(name).path:
                self.unload_module(name)
        slicer.mrmlScene.Clear(0)
        if self.app.layoutManager() is not None:
            self.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self.app.testing = True
        slicer.packaging.host.reset()
        self.process_events()

    def process_events(self, seconds: float = 0.0) -> None:
        """Let the event loop run, at least once; it keeps Python's lock, also while it idles, as Slicer's does."""
        self.app.processEvents()
        if seconds > 0:
            event_loop.run(seconds)

    @staticmethod
    def patience(seconds: float) -> float:
        """What `seconds` of a free machine may take here at this moment; for promises to users alone.

        Longer where programs wait for its processors, and where a piece of work takes longer than it should: the load
        that the system tells lags by a minute, knows no quota of a container, and nothing of a slow processor.
        """
        waiting = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return seconds * max(1.0, 2.0 * waiting / _processors(), _slowness())

    @contextmanager
    def promised(self, seconds: float) -> Iterator[None]:
        """What is done inside takes a user at most `seconds`; AssertionError where it took longer than `patience`."""
        before, start = self.patience(seconds), time.monotonic()
        yield
        took = time.monotonic() - start
        most = max(before, self.patience(seconds))
        assert took < most, f"it took {took:.2f} s, promised are {seconds} s, {most:.2f} s under this load"

    def wait_until(self, condition: Callable[[], Any], hang_s: float = 300.0) -> None:
        """Let the event loop run until ``condition()`` holds.

        `hang_s` only ends what hangs, with a TimeoutError: how long something takes is no matter of this function.
        """
        end = time.monotonic() + hang_s
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"the condition did not come true within {hang_s} s")
            self.process_events(0.005)

    @contextmanager
    def watch_event_loop(self) -> Iterator[Callable[[], float]]:
        """Yields a function: the longest time in seconds that the event loop has been blocked since.

        Time in which threads of this process waited for a processor does not count: that is the load of the machine.
        """
        import qt

        timer, clock, longest = qt.QTimer(), _LoadFreeClock(), [0.0]

        def tick() -> None:
            longest[0] = max(longest[0], clock.since_last_s())

        timer.connect("timeout()", tick)
        timer.start(5)
        try:
            yield lambda: tick() or longest[0]
        finally:
            timer.stop()

    @contextmanager
    def interactive(self) -> Iterator[None]:
        """``slicer.app.testingEnabled()`` is False inside; a dialog would then block, so patch what shows one."""
        self.app.testing = False
        try:
            yield
        finally:
            self.app.testing = True

    def grab_panel(self, name: str, width: int = 480) -> Any:
        """The panel of a loaded module as a QImage, as high as its contents."""
        panel = self.app.moduleManager().module(name).widgetRepresentation()
        panel.resize(width, max(panel.minimumSizeHint.height(), panel.sizeHint.height()))
        panel.ensurePolished()
        return panel.grab().toImage()
