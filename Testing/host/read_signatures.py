"""Reads `signatures.json`: what the real classes behind the host's stand-ins offer to Python.

    python Testing/host/read_signatures.py SLICER.git CTK.git SLICERPYTORCH.git

Each is a git directory (a bare clone will do) that holds the commit named below. Names, arguments and types are facts;
nothing else of the sources is kept. Of a C++ class PythonQt shows properties, Q_INVOKABLE methods, slots and signals.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("signatures.json")
COMMITS = {"Slicer": "9034c71a8f", "CTK": "5056664a", "SlicerPyTorch": "e1c85cc"}
"""Slicer 5.12.3, the CTK that it pins, and the extension PyTorch at that time."""
HEADERS = {
    "Slicer": [
        *(f"Base/QTCore/{name}.h" for name in (
            "qSlicerCoreApplication", "qSlicerCoreIOManager", "qSlicerAbstractCoreModule", "qSlicerModuleManager",
            "qSlicerAbstractModuleRepresentation", "qSlicerAbstractModuleFactoryManager",
            "qSlicerModuleFactoryManager")),
        *(f"Base/QTGUI/{name}.h" for name in (
            "qSlicerApplication", "qSlicerIOManager", "qSlicerLayoutManager", "qSlicerAbstractModule",
            "qSlicerAbstractModuleWidget", "qSlicerLoadableModule", "qSlicerScriptedLoadableModule",
            "qSlicerScriptedLoadableModuleWidget",
            "qSlicerModuleSelectorToolBar", "qSlicerWidget")),
        "Base/QTApp/qSlicerMainWindow.h",
        *(f"Libs/MRML/Widgets/{name}.h" for name in (
            "qMRMLLayoutManager", "qMRMLAbstractViewWidget", "qMRMLSliceControllerWidget", "qMRMLViewControllerBar",
 "qMRMLSliceWidget", "qMRMLSliceView", "qMRMLThreeDWidget", "qMRMLThreeDView",
            "qMRMLPlotWidget", "qMRMLPlotView", "qMRMLWidget", "qMRMLNodeComboBox", "qMRMLCheckableNodeComboBox",
            "qMRMLTableView")),
        "Modules/Loadable/Segmentations/Widgets/qMRMLSegmentsTableView.h",
        "Modules/Loadable/Sequences/Widgets/qMRMLSequenceBrowserSeekWidget.h",
        "Modules/Loadable/Sequences/Widgets/qMRMLSequenceBrowserPlayWidget.h",
    ],
    "CTK": [
        *(f"Libs/Visualization/VTK/Widgets/ctkVTK{name}.h" for name in (
            "AbstractView", "RenderView", "SliceView", "ChartView", "OpenGLNativeWidget")),
        *(f"Libs/Widgets/{name}.h" for name in (
            "ctkLayoutManager", "ctkLayoutFactory", "ctkPathLineEdit", "ctkCollapsibleButton", "ctkSliderWidget",
            "ctkDoubleSpinBox", "ctkRangeWidget", "ctkDirectoryButton", "ctkColorPickerButton", "ctkWidgetsUtils")),
        "Libs/DICOM/Core/ctkDICOMDatabase.h",
    ],
}  # fmt: skip
DECORATORS = {
    "Slicer": [f"Base/{folder}/qSlicerBase{folder}PythonQtDecorators.h" for folder in ("QTCore", "QTGUI", "QTApp")]
}
"""Methods that PythonQt gives to classes from outside."""
MODULES = {
    "Slicer": {
        "slicer.util": "Base/Python/slicer/util.py",
        "slicer.i18n": "Base/Python/slicer/i18n.py",
        "slicer.packaging": "Base/Python/slicer/packaging.py",
        "slicer.ScriptedLoadableModule": "Base/Python/slicer/ScriptedLoadableModule.py",
        "slicer.parameterNodeWrapper": "Base/Python/slicer/parameterNodeWrapper/wrapper.py",
        "slicer.parameterNodeWrapper.validators": "Base/Python/slicer/parameterNodeWrapper/validators.py",
        "slicer.parameterNodeWrapper.default": "Base/Python/slicer/parameterNodeWrapper/default.py",
        "sitkUtils": "Base/Python/sitkUtils.py",
        "SampleData": "Modules/Scripted/SampleData/SampleData.py",
    },
    "SlicerPyTorch": {"PyTorchUtils": "PyTorchUtils/PyTorchUtils.py"},
}
_SECTION = re.compile(r"\b(public|protected|private|signals|Q_SIGNALS)\s*(slots|Q_SLOTS)?\s*:(?!:)")
_CLASS = re.compile(
    r"^class\s+(?:\w+_EXPORT\s+)?(\w+)\s*(?:final\s*)?(?::\s*(?:public|private)?\s*([\w:]+))?[^;{]*\{", re.M
)
_PROPERTY = re.compile(r"Q_PROPERTY\(\s*([\w:<>, ]+?)\s*(\*?)\s*(\w+)\s+READ\s+(\w+)(?:\s+WRITE\s+(\w+))?")
_METHOD = re.compile(
    r"^(?:([\w:<>,*& ]+?[\s*&]))?(~?\w+)\s*\((.*)\)\s*(?:const)?\s*(?:override|final)?\s*(?:=\s*0)?$", re.S
)
_NO_CODE = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)'|/\*.*?\*/|//[^\n]*", re.S)
_WORDS = re.compile(r"\b(Q_INVOKABLE|virtual|static|inline|explicit)\b")
_MACROS = re.compile(r"Q_(OBJECT|GADGET|FLAGS\(.*?\)|ENUMS?\(.*?\)|DECLARE\w*\(.*?\)|DISABLE\w*\(.*?\))")


def show(repository: str, commit: str, path: str) -> str:
    """The text of a file at a commit."""
    done = subprocess.run(["git", "-C", repository, "show", f"{commit}:{path}"], capture_output=True, check=True)
    return done.stdout.decode("utf-8")


# ---- headers ----------------------------------------------------------------------------------------------------


def header_classes(text: str) -> dict[str, Any]:
    """The classes of a header with what PythonQt shows of them."""
    text = _NO_CODE.sub(lambda match: "0" if match.group()[0] in "\"'" else "", text)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    classes = {}
    for match in _CLASS.finditer(text):
        body = text[match.end() : text.find("\n};", match.end())]
        if "Q_OBJECT" in body:
            classes[match.group(1)] = {"base": match.group(2), **class_members(body)}
    return classes


def decorate(classes: dict[str, Any], decorators: dict[str, Any]) -> None:
    """Give classes the methods that slots of decorators are: `static_Class_name(...)` and `name(Class*, ...)`."""
    for decorator in decorators.values():
        for name, overloads in decorator["methods"].items():
            for result, *given in overloads:
                if name.startswith("static_"):
                    owner, _, name = name.removeprefix("static_").partition("_")
                else:
                    owner, *given = (given[0].removesuffix("*"), *given[1:]) if given else ("", *given)
                if owner in classes:
                    classes[owner]["methods"].setdefault(name, []).append([result, *given])


def class_members(body: str) -> dict[str, Any]:
    """Properties (type, can be written), methods and signals of a class; overloads are [result, *arguments]."""
    properties = {name: [kind + star, bool(setter)] for kind, star, name, _get, setter in _PROPERTY.findall(body)}
    body = re.sub(r"Q_PROPERTY\(.*?\)\s*$", "", body, flags=re.M)
    methods: dict[str, list[list[str]]] = {}
    signals: dict[str, list[list[str]]] = {}
    visible, section = "private", ""
    for statement in _flat(body):
        for label in _SECTION.finditer(statement):
            visible, section = label.group(1), label.group(2) or ""
        statement = _SECTION.split(statement)[-1]
        if visible in ("signals", "Q_SIGNALS"):
            target = signals
        elif visible == "public" and (section or "Q_INVOKABLE" in statement):
            target = methods
        else:
            continue
        method = _METHOD.match(_WORDS.sub("", statement).strip())
        if method and not method.group(2).startswith("~"):
            result = _type((method.group(1) or "") + " x")
            target.setdefault(method.group(2), []).append([result, *arguments(method.group(3))])
    return {"properties": properties, "methods": methods, "signals": signals}


def _flat(body: str) -> list[str]:
    """Statements of a class body, with section labels before those they open; bodies of functions are left out."""
    statements, depth, current = [], 0, ""
    for character in body:
        if character == "{":
            depth += 1
            if depth == 1:
                statements.append(current)
                current = ""
        elif character == "}":
            depth -= 1
        elif depth:
            continue
        elif character == ";":
            statements.append(current)
            current = ""
        else:
            current += character
    return [re.sub(r"\s+", " ", _MACROS.sub(" ", one)) for one in statements]


def arguments(text: str) -> list[str]:
    """Types of the arguments, those with a default end in "="."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append(current)
            current = ""
        else:
            current += character
    return [_type(part) for part in [*parts, current] if part.strip() and part.strip() != "void"]


def _type(argument: str) -> str:
    declared, has_default, _default = argument.partition("=")
    words = re.sub(r"\bconst\b|&", " ", declared).replace("*", " * ").split()
    if len(words) > 1 and re.fullmatch(r"\w+", words[-1]) and words[-1] not in ("int", "long"):
        words.pop()
    return "".join(words) + ("=" if has_default else "")


# ---- Python files -----------------------------------------------------------------------------------------------


def python_names(text: str) -> dict[str, Any]:
    """Public functions and classes of a file: ["function" | "static" | "class method" | "method", parameters]."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = ["function", parameters(node)]
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and (method.name == "__init__" or method.name[0] != "_"):
                    found[f"{node.name}.{method.name}"] = [_kind(method), parameters(method)]
            found.setdefault(f"{node.name}.__init__", ["inherited", []])
    return found


def _kind(method: ast.FunctionDef) -> str:
    names = [decorator.id for decorator in method.decorator_list if isinstance(decorator, ast.Name)]
    kinds = {"staticmethod": "static", "classmethod": "class method", "property": "property"}
    return next((kinds[name] for name in names if name in kinds), "method")


def parameters(function: ast.FunctionDef) -> list[str]:
    """Names of the parameters: "name", "name=" with a default, "*name", "**name", "*" before keyword-only ones."""
    given = function.args
    positional = [one.arg for one in (*given.posonlyargs, *given.args)]
    first = len(positional) - len(given.defaults)
    told = [name + ("=" if number >= first else "") for number, name in enumerate(positional)]
    if given.vararg:
        told.append("*" + given.vararg.arg)
    elif given.kwonlyargs:
        told.append("*")
    told += [one.arg + ("=" if default is not None else "")
             for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]  # fmt: skip
    return [*told, *(["**" + given.kwarg.arg] if given.kwarg else [])]


def read(slicer: str, ctk: str, pytorch: str) -> dict[str, Any]:
    """The whole table."""
    given = {"Slicer": slicer, "CTK": ctk, "SlicerPyTorch": pytorch}
    repositories = {name: (given[name], commit) for name, commit in COMMITS.items()}
    classes: dict[str, Any] = {}
    for name, paths in HEADERS.items():
        for path in paths:
            classes.update(header_classes(show(*repositories[name], path)))
    for name, paths in DECORATORS.items():
        for path in paths:
            decorate(classes, header_classes(show(*repositories[name], path)))
    modules = {
        module: python_names(show(*repositories[name], path))
        for name, paths in MODULES.items()
        for module, path in paths.items()
    }
    return {"commits": COMMITS, "classes": classes, "modules": modules}


def main() -> None:
    """Write the table."""
    lines = json.dumps(read(*sys.argv[1:4]), indent=1, sort_keys=True)
    lines = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s*\n\s*", " ", m.group(1)) + "]", lines)
    TABLE.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
