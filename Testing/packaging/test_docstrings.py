"""Public functions of three parameters or more say what each parameter is and what comes back (CONTRIBUTING)."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARIES = ("VirtualContrast/VirtualContrastLib", "VirtualContrastTraining/VirtualContrastTrainingLib")


def public_functions(body, prefix=""):
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")


def described_methods():
    """Classes of both libraries with their bases and the methods that lack nothing."""
    found = {}
    for library in LIBRARIES:
        for path in (REPOSITORY / library).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = [ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in node.bases]
                    methods = {name for name, method in public_functions(node.body) if not lacks(method)}
                    found.setdefault(node.name, (bases, methods))
    return found


def inherits(classes, name):
    """Whether "Class.method" overrides a method that a base class of ours describes."""
    owner, _, method = name.rpartition(".")
    bases = classes[owner][0] if owner in classes else []
    return any(
        base in classes and (method in classes[base][1] or inherits(classes, f"{base}.{method}")) for base in bases
    )


def parameters(function):
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs) if one.arg not in ("self", "cls")]


def lacks(function):
    """What the docstring of a function lacks; "" for nothing, and for Lightning's hooks, which Lightning describes."""
    names = parameters(function)
    if len(names) < 3 or function.name.startswith("on_"):
        return ""
    text = ast.get_docstring(function) or ""
    described = re.findall(r"^    \*{0,2}(\w+): \S", text.partition("Args:\n")[2].partition("\n\n")[0], re.MULTILINE)
    if missing := [name for name in names if name not in described]:
        return f"Args of {', '.join(missing)}"
    stars = [one.arg for one in (function.args.vararg, function.args.kwarg) if one]
    if others := [name for name in described if name not in names + stars]:
        return f"parameters named {', '.join(others)}"
    nothing = function.returns is None or ast.unparse(function.returns) == "None"
    return "" if nothing or re.search(r"^(Returns|Yields):\n", text, re.MULTILINE) else "Returns"


def rooms():
    for library in LIBRARIES:
        folder = REPOSITORY / library
        for entry in sorted(folder.iterdir()):
            if (entry.is_dir() and any(entry.rglob("*.py"))) or entry.suffix == ".py":
                yield pytest.param(entry, id=f"{folder.name}.{entry.stem}")


@pytest.fixture(scope="module")
def classes():
    return described_methods()


@pytest.mark.parametrize("room", rooms())
def test_public_functions_of_three_parameters_describe_them(room, classes):
    files = sorted(room.rglob("*.py")) if room.is_dir() else [room]
    found = [
        f"{path.relative_to(REPOSITORY)}:{function.lineno} {name} lacks {lack}"
        for path in files
        for name, function in public_functions(ast.parse(path.read_text(encoding="utf-8")).body)
        if (lack := lacks(function)) and not inherits(classes, name)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("docstring", "lack"),
    [
        ("Sum.", "Args of a, b, c"),
        ("Sum.\n\n    Args:\n        a: One.\n        b: Two.\n\n    Returns:\n        It.", "Args of c"),
        ("Sum.\n\n    Args:\n        a: One.\n        b: Two.\n        c: Three.", "Returns"),
        (
            "Sum.\n\n    Args:\n        a: One.\n        b: Two.\n        c: Three.\n        d: No.",
            "parameters named d",
        ),
        ("Sum.\n\n    Args:\n        a: One.\n        b: Two.\n        c: Three.\n\n    Returns:\n        It.", ""),
    ],
)
def test_the_check_itself(docstring, lack):
    tree = ast.parse(f'def total(a, b, c) -> int:\n    """{docstring}\n    """\n')
    assert lacks(tree.body[0]) == lack
