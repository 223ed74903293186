"""What the host's stand-ins offer, and what the product calls, is what Slicer 5.12.3 has (`signatures.json`).

The table holds facts read out of the headers and Python files of Slicer, CTK and PyTorchUtils: names, arguments, static
or not. A stand-in that accepts more than that would hide an error until a user meets it.
"""

import ast
import importlib
import inspect
import json
from pathlib import Path

import pytest
import qt
import slicer
from host_samples import HOST_FOLDER
from module_samples import REPOSITORY
from slicer_host import application, dicom_database, io_manager, layout_manager, modules, pythonqt, views, widgets

TABLE = json.loads((HOST_FOLDER / "signatures.json").read_text(encoding="utf-8"))
CLASSES, MODULES = TABLE["classes"], TABLE["modules"]
STAND_INS = {
    application.SlicerApplication: "qSlicerApplication",
    dicom_database.DicomDatabase: "ctkDICOMDatabase",
    io_manager.CoreIOManager: "qSlicerIOManager",
    layout_manager.LayoutManager: "qSlicerLayoutManager",
    layout_manager.SliceWidget: "qMRMLSliceWidget",
    layout_manager.ThreeDWidget: "qMRMLThreeDWidget",
    layout_manager.PlotWidget: "qMRMLPlotWidget",
    views.SliceView: "qMRMLSliceView",
    views.ThreeDView: "qMRMLThreeDView",
    views.PlotView: "qMRMLPlotView",
    modules.Module: "qSlicerScriptedLoadableModule",
    modules.ModuleWidget: "qSlicerScriptedLoadableModuleWidget",
    modules.ModuleManager: "qSlicerModuleManager",
    modules.ModuleSelector: "qSlicerModuleSelectorToolBar",
    modules.MainWindow: "qSlicerMainWindow",
    **{stand_in: name for name, stand_in in widgets.make_all().items() if name in CLASSES},
}
PYTHON_STAND_INS = ["SampleData", "PyTorchUtils", "sitkUtils", "slicer.ScriptedLoadableModule", "slicer.i18n",
                    "slicer.packaging"]  # fmt: skip
FOR_TESTS = {"pixels", "host", "HostInstallation", "testing"}
"""What the host adds for its tests; names with an underscore are the host's too, Slicer has none."""
OF_QT = {
    "staticMetaObject",
    "repaint",
    "resize",
    "grab",
    "event",
    "childEvent",
    "paintEvent",
    "sizeHint",
    "minimumSizeHint",
    "lastWindowClosed",
}
PYTHON_TYPES = {"int": {int}, "bool": {bool}, "double": {float, int}, "QString": {str}, "char*": {str}}


def lineage(name):
    """A class of the table and those of its ancestors that the table has, nearest first."""
    found = []
    while name in CLASSES:
        found.append(CLASSES[name])
        name = CLASSES[name]["base"]
    return found


def overloads(name, method):
    """The overloads [result, *arguments] of a method or signal; [] where there is none of this name."""
    return [one for cls in lineage(name) for kind in ("methods", "signals") for one in cls[kind].get(method, ())]


def has_property(name, attribute):
    return any(attribute in cls["properties"] for cls in lineage(name))


def setter_of(name, method):
    """The property that a method like setText sets, "" where it is none."""
    names = (method[3:4].lower() + method[4:], method[3:]) if method.startswith("set") else ()
    return next((prop for prop in names if has_property(name, prop)), "")


def public_members(stand_in):
    """Public attributes that the host's own classes define."""
    for cls in stand_in.__mro__:
        if cls.__module__.startswith("slicer_host") or cls is stand_in:
            yield from ((name, value) for name, value in vars(cls).items() if "_" not in name and name != "defaults")


def argument_counts(one):
    """The least and the greatest number of arguments of an overload."""
    return len([kind for kind in one[1:] if not kind.endswith("=")]), len(one) - 1


def test_stand_ins_have_nothing_that_slicer_has_not():
    problems = []
    for stand_in, real in STAND_INS.items():
        assert CLASSES[real]
        for name, member in public_members(stand_in):
            if name in FOR_TESTS | OF_QT or setter_of(real, name) or has_property(real, name):
                continue
            known = overloads(real, name)
            problem = wrong_arguments(member, known) if inspect.isfunction(member) and known else ""
            if problem or not known:
                problems.append(f"{real}.{name}: {problem or 'there is none'}")
    assert sorted(set(problems)) == []


def wrong_arguments(method, known):
    """Why a stand-in's method takes other arguments than the overloads `known` do; "" where it does not."""
    given = list(inspect.signature(method, eval_str=True).parameters.values())[1:]
    if any(one.kind != one.POSITIONAL_OR_KEYWORD for one in given):
        return "it takes keywords or anything"
    counts = {count for one in known for count in range(argument_counts(one)[0], argument_counts(one)[1] + 1)}
    least = len([one for one in given if one.default is one.empty])
    if not set(range(least, len(given) + 1)) <= counts:
        return f"Slicer's takes {sorted(counts)} arguments"
    for place, one in enumerate(given):
        real_types = [kind.rstrip("=") for _result, *kinds in known for kind in kinds[place : place + 1]]
        if all(kind in PYTHON_TYPES for kind in real_types):
            allowed = set().union(*(PYTHON_TYPES[kind] for kind in real_types))
            stated = set(getattr(one.annotation, "__args__", [one.annotation])) - {type(None)}
            if not stated <= allowed:
                return f"argument {one.name} is {real_types}"
    return ""


def test_properties_and_signals_of_widgets_are_those_of_the_headers():
    assert set(widgets.TABLE) & set(CLASSES)
    for name, entry in widgets.TABLE.items():
        if name not in CLASSES:
            continue
        for prop in entry["properties"]:
            assert has_property(name, prop), f"{name} has no property {prop}"
        for signal in entry["signals"]:
            wanted, arguments = signal[:-1].split("(")
            lists = [",".join(one[1:]).replace("=", "") for one in overloads(name, wanted)]
            assert pythonqt.normalized(signal) in [pythonqt.normalized(f"{wanted}({one})") for one in lists], signal
            assert arguments in lists


def test_a_plot_widget_is_found_by_number_alone(host):
    """Slicer knows slice and 3-D views by name, and refuses a name here."""
    manager = slicer.app.layoutManager()
    with pytest.raises(ValueError, match="plotWidget"):
        manager.plotWidget("VirtualContrastCurves")
    assert overloads("qSlicerLayoutManager", "plotWidget") == [["qMRMLPlotWidget*", "int"]]


# ---- Python modules ------------------------------------------------------------------------------------------


def told_parameters(function):
    """Parameters as the table writes them."""
    told = []
    for one in inspect.signature(function).parameters.values():
        if one.kind == one.KEYWORD_ONLY and not any(name.startswith("*") for name in told):
            told.append("*")
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        told.append(stars + one.name + ("=" if one.default is not one.empty else ""))
    return told


def own_functions(module):
    """Name, kind and function of what a stand-in module defines."""
    for name, member in vars(module).items():
        if name.startswith("_") or name in FOR_TESTS or getattr(member, "__module__", "") != module.__name__:
            continue
        if inspect.isfunction(member):
            yield name, "function", member
        elif inspect.isclass(member):
            for attribute, method in vars(member).items():
                if attribute == "__init__" or not attribute.startswith("_"):
                    kind = {staticmethod: "static", classmethod: "class method", property: "property"}
                    kind = kind.get(type(method), "method")
                    plain = method.fget if kind == "property" else getattr(method, "__func__", method)
                    if inspect.isfunction(plain):
                        yield f"{name}.{attribute}", kind, plain


def test_python_stand_ins_have_the_signatures_of_slicers_modules(host):
    problems = []
    for name in PYTHON_STAND_INS:
        module = importlib.import_module(name)
        if not Path(module.__file__).is_relative_to(HOST_FOLDER):
            continue  # the real file, see conftest.py
        for qualified, kind, function in own_functions(module):
            real_kind, parameters = MODULES[name].get(qualified, ("missing", []))
            told = (kind, told_parameters(function))
            parameters = [one for one in parameters if not one.startswith("_")]  # Slicer's own affair
            if real_kind != "inherited" and told != (real_kind, parameters):
                problems.append(f"{name}.{qualified}: {told}, not {(real_kind, parameters)}")
    assert problems == []


# ---- what the product calls ----------------------------------------------------------------------------------

PRODUCT = [
    *(REPOSITORY / "VirtualContrast" / "VirtualContrastLib" / "slicer_app").rglob("*.py"),
    *(REPOSITORY / "VirtualContrastTraining" / "VirtualContrastTrainingLib" / "slicer_app").rglob("*.py"),
    *(REPOSITORY / "VirtualContrast" / "VirtualContrastScripts").glob("*.py"),
    REPOSITORY / "VirtualContrast" / "VirtualContrast.py",
    REPOSITORY / "VirtualContrastTraining" / "VirtualContrastTraining.py",
]


class Calls(ast.NodeVisitor):
    """Holds the calls of a file against the table; `problems` are sentences.

    Types are followed from `slicer.app` through what the table says that methods return, and through names.
    """

    def __init__(self, tree):
        self.problems, self.types = [], {}
        self.strings = {target.id: type(node.value.value) for node in tree.body if isinstance(node, ast.Assign)
                        for target in node.targets
                        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant)}  # fmt: skip
        for node in tree.body:  # A, B = "a", "b"
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                for target, value in zip(node.targets[0].elts, getattr(node.value, "elts", ()), strict=False):
                    if isinstance(value, ast.Constant):
                        self.strings[target.id] = type(value.value)
        self.visit(tree)

    def visit_FunctionDef(self, node):
        outside, self.types = self.types, dict(self.types)
        self.generic_visit(node)
        self.types = outside

    def visit_Assign(self, node):
        self.generic_visit(node)
        if isinstance(node.targets[0], ast.Name):
            self.types[node.targets[0].id] = self.type_of(node.value)

    def type_of(self, node):
        """The class of the table that an expression is, or None."""
        if isinstance(node, ast.Name):
            return self.types.get(node.id)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "slicer.app":
            return "qSlicerApplication"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = self.type_of(node.func.value)
            results = {one[0].rstrip("*") for one in overloads(owner, node.func.attr)} if owner else set()
            return next(iter(results & set(CLASSES)), None)
        return None

    def visit_Attribute(self, node):
        self.generic_visit(node)
        owner = self.type_of(node.value)
        if owner and not self.known(owner, node.attr):
            self.problems.append(f"{node.lineno}: {owner} has no {node.attr}")

    @staticmethod
    def known(owner, attribute):
        of_qt = qt.QApplication if owner == "qSlicerApplication" else qt.QWidget
        return overloads(owner, attribute) or has_property(owner, attribute) or setter_of(owner, attribute) or hasattr(
            of_qt, attribute)  # fmt: skip

    def visit_Call(self, node):
        self.generic_visit(node)
        function = ast.unparse(node.func)
        module, _, name = function.rpartition(".")
        if module in MODULES:
            self.check_python(node, module, name)
        elif module.startswith(("SampleData.", "PyTorchUtils.")) and "(" not in module:
            self.check_static(node, *module.split("."), name)
        elif isinstance(node.func, ast.Attribute) and (owner := self.type_of(node.func.value)):
            self.check_method(node, owner, node.func.attr)

    def check_python(self, node, module, name):
        entry = MODULES[module].get(name) or MODULES[module].get(f"{name}.__init__")
        if entry is None:
            self.problems.append(f"{node.lineno}: {module} has no {name}")
        elif entry[0] != "inherited":
            skip = 1 if f"{name}.__init__" in MODULES[module] else 0
            self.bind(node, f"{module}.{name}", entry[1][skip:])

    def check_static(self, node, module, cls, name):
        kind, parameters = MODULES[module].get(f"{cls}.{name}", ("none", []))
        if kind != "static":
            self.problems.append(f"{node.lineno}: {cls}.{name} is {kind}, not static")
        else:
            self.bind(node, f"{cls}.{name}", parameters)

    def bind(self, node, name, parameters):
        """Whether the arguments of a call fit the parameters."""
        names = [one.rstrip("=") for one in parameters if not one.startswith("*")]
        required = [one for one in parameters if not one.endswith("=") and not one.startswith("*")]
        wrong = [
            one.arg for one in node.keywords if one.arg not in names and not any(p[:2] == "**" for p in parameters)
        ]
        given = {*names[: len(node.args)], *(one.arg for one in node.keywords)}
        if wrong or len(node.args) > len(names) or not set(required) <= given:
            self.problems.append(f"{node.lineno}: {name}({', '.join(parameters)}) is called as {ast.unparse(node)}")

    def check_method(self, node, owner, name):
        if not overloads(owner, name):
            return
        fitting = [one for one in overloads(owner, name)
                   if argument_counts(one)[0] <= len(node.args) <= argument_counts(one)[1]]  # fmt: skip
        fitting = [one for one in fitting if all(map(self.may_be, node.args, one[1:]))]
        if node.keywords or not fitting:
            self.problems.append(f"{node.lineno}: {owner}.{name}{overloads(owner, name)}: {ast.unparse(node)}")

    def may_be(self, argument, kind):
        """False where an argument is known to be of another type than a parameter."""
        value = argument.value if isinstance(argument, ast.Constant) else None
        given = type(value) if value is not None else self.strings.get(getattr(argument, "id", ""))
        return given is None or kind.rstrip("=") not in PYTHON_TYPES or given in PYTHON_TYPES[kind.rstrip("=")]


def problems_of(text):
    return Calls(ast.parse(text)).problems


def test_every_call_of_slicer_fits_what_slicer_has():
    found = {str(path.relative_to(REPOSITORY)): problems_of(path.read_text(encoding="utf-8")) for path in PRODUCT}
    assert len(found) > 40
    assert {path: problems for path, problems in found.items() if problems} == {}


def test_calls_that_slicer_refuses_are_found():
    """What once was in the product, and the like."""
    for wrong in (
        'PLOT = "x"\ndef f():\n    slicer.app.layoutManager().plotWidget(PLOT)',
        'def f():\n    manager = slicer.app.layoutManager()\n    manager.plotWidget("x")',
        "slicer.app.layoutManager().plotView(0)",
        "slicer.app.layoutManager().sliceWidget('Red').threeDView()",
        "slicer.app.layoutManager().setLayout(layout=3)",
        "SampleData.SampleDataLogic.sourceForSampleName('x')",
        "SampleData.SampleDataLogic.registerCustomSampleDataSource(sampleName='x', sampleDescription='y')",
        "slicer.util.getNodesByType('x')",
        "slicer.util.selectModule()",
        "slicer.util.addVolumeFromArray()",
    ):
        assert problems_of(wrong), wrong


def test_no_file_relies_on_what_only_pyside_has():
    """isinstance of Qt classes is false in PythonQt, for every object; signals are not emitted by their attribute."""
    assert PRODUCT
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                text = ast.unparse(node)
                assert not (text.startswith(("isinstance(", "issubclass(")) and "qt.Q" in text), f"{path}: {text}"
                assert not text.endswith(".emit()"), f"{path}: {text}"
                if ast.unparse(node.func).startswith("qt.Q"):
                    assert not node.keywords, f"{path}: {text}"
