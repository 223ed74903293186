"""``slicer.app``: a QApplication with the methods of qSlicerApplication that modules use."""

# ruff: noqa: N815 (these are Slicer's names)

import tempfile
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .dicom_database import DicomDatabase
from .event_loop import process_events
from .io_manager import CoreIOManager
from .layout_manager import LayoutManager
from .modules import MainWindow, Module, ModuleManager
from .scene import SceneAndLogics, SubjectHierarchyItems


class SlicerApplication(QtWidgets.QApplication):
    """Boots the scene, the logics, the views (unless ``main_window`` is False, as under ``--no-main-window``)."""

    startupCompleted = QtCore.Signal()
    lastWindowClosed = QtCore.Signal()

    def __init__(self, *, main_window: bool = True) -> None:
        super().__init__(["Slicer"])
        self._folder = tempfile.TemporaryDirectory(prefix="slicer_host_")
        self.temporaryPath = self.slicerHome = self._folder.name
        self.cachePath = str(Path(self._folder.name) / "cache")
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer_host")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)  # never the user's own settings
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, self._folder.name)
        self.mainApplicationName, self.applicationVersion = "Slicer", "5.12.4"
        self.majorVersion, self.minorVersion, self.revision = 5, 12, "0"
        self.documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"
        self.testing, self._layout_manager, self._main_window = True, None, None
        slicer.app = self
        self._booted = SceneAndLogics(self.temporaryPath)
        slicer.mrmlScene = self._booted.scene
        self._items = SubjectHierarchyItems(slicer.mrmlScene)
        self._io, self._modules = CoreIOManager(self._booted.logics), ModuleManager()
        for name, logic in self._booted.logics.items():
            self._modules.add_module(Module(name, logic))
        slicer.dicomDatabase = DicomDatabase()
        if main_window:
            self._main_window = MainWindow()
            self._layout_manager = LayoutManager(self.applicationLogic())

    def processEvents(self) -> None:
        process_events()

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def applicationLogic(self) -> Any:
        return self._booted.application_logic

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def moduleLogic(self, name: str) -> Any:
        return self._booted.logics.get(name)

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def dicomDatabase(self) -> DicomDatabase:
        return slicer.dicomDatabase

    def layoutManager(self) -> LayoutManager | None:
        return self._layout_manager

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    userSettings = revisionUserSettings = settings

    def testingEnabled(self) -> bool:
        return self.testing

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def pythonConsole(self) -> None:
        return None

    def pauseRender(self) -> None:
        self.applicationLogic().PauseRender()

    def resumeRender(self) -> None:
        self.applicationLogic().ResumeRender()

    def setRenderPaused(self, paused: bool) -> None:
        (self.pauseRender if paused else self.resumeRender)()

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def restart(self) -> None:
        raise RuntimeError("the module asked the application to restart")
