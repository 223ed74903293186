"""Loaded modules: ``slicer.modules``, the module manager, and loading of a scripted module file."""

# ruff: noqa: N815 (these are Slicer's names)

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from . import widgets

ModuleWidgetBase = widgets.make_all()["qSlicerScriptedLoadableModuleWidget"]


class Module(QtCore.QObject):
    """A module as its Python class sees it (``parent``): qSlicerScriptedLoadableModule, or a core module's logic."""

    def __init__(self, name: str, logic: Any = None, path: str = "") -> None:
        super().__init__()
        self.name, self.path, self._logic, self._widget = name, path, logic, None
        self.title, self.helpText, self.acknowledgmentText = name, "", ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.associatedNodeTypes: list[str] = []
        self.icon, self.hidden, self.index, self.widgetRepresentationCreationEnabled = (
            QtGui.QIcon(),
            False,
            -1,
            True,
        )

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        """The panel, made at the first call; None for a core module."""
        if self._widget is None and self.path:
            self._widget = ModuleWidget(self)
        return self._widget

    def createNewWidgetRepresentation(self) -> Any:
        return ModuleWidget(self)

    def setPath(self, path: str) -> None:
        self.path = path


class ModuleWidget(ModuleWidgetBase):
    """qSlicerScriptedLoadableModuleWidget: holds the module's Widget class and calls setup, enter and exit."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._module, self._entered = module, False
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def reload(self) -> None:
        """Make and set up the Widget object from the loaded Python module; an entered panel is not entered anew."""
        name = self._module.name
        self._python = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        return self._python

    @property
    def isEntered(self) -> bool:
        return self._entered

    def enter(self) -> None:
        self._entered = True
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        self._entered = False
        getattr(self._python, "exit", lambda: None)()


class ModuleManager(QtCore.QObject):
    """qSlicerModuleManager."""

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Module] = {}

    def module(self, name: str) -> Module | None:
        return self._modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def _is_loaded(self, name: str) -> bool:
        return name in self._modules

    def factoryManager(self) -> Any:
        return types.SimpleNamespace(
            loadedModuleNames=self.modulesNames,
            registeredModuleNames=self.modulesNames,
            isLoaded=self._is_loaded,
            isRegistered=self._is_loaded,
        )

    def add_module(self, module: Module) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        setattr(slicer.moduleNames, module.name, module.name)
        self.moduleLoaded.emit(module.name)

    def load_scripted(self, path: Path) -> Module:
        """Load the module file ``path`` the way qSlicerScriptedLoadableModule does; its panel is made later."""
        name, folder = path.stem, str(path.resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        specification = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules[name])
        module = Module(name, path=str(path.resolve()))
        setattr(slicer.modules, name + "Instance", getattr(sys.modules[name], name)(module))
        self.add_module(module)
        return module

    def unload_scripted(self, name: str) -> None:
        """What happens when the application closes; the module can be loaded again."""
        self.moduleAboutToBeUnloaded.emit(name)
        module = self._modules.pop(name)
        for attribute in (name.lower(), name + "Instance", name + "Widget"):
            if hasattr(slicer.modules, attribute):
                delattr(slicer.modules, attribute)
        if module._widget is not None:
            module._widget.deleteLater()
        sys.modules.pop(name, None)


class ModuleSelector(QtCore.QObject):
    """The main window's module selector."""

    moduleSelected = QtCore.Signal(str)
    selectedModule = ""

    def selectModule(self, name: str) -> None:
        """Exit the present module, enter ``name`` (an unknown name is ignored, as in Slicer)."""
        manager = slicer.app.moduleManager()
        module = manager.module(name)
        if module is None or name == self.selectedModule:
            return
        if self.selectedModule and manager.module(self.selectedModule):
            previous = manager.module(self.selectedModule).widgetRepresentation()
            if previous is not None:
                previous.exit()
        self.selectedModule = name
        panel = module.widgetRepresentation()
        if panel is not None:
            panel.enter()
        self.moduleSelected.emit(name)


class MainWindow(QtWidgets.QMainWindow):
    """qSlicerMainWindow: found by its name, never shown."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = ModuleSelector(self)

    def moduleSelector(self) -> ModuleSelector:
        return self._selector
