"""Rewrites the lists of files in the CMakeLists.txt of the modules: `python Testing/host/list_files.py [--check]`.

Slicer installs what is listed by name and nothing else. With --check nothing is written, and the exit code is 1 where a
list differs from the tree.
"""

import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("VirtualContrast", "VirtualContrastTraining")
LISTS = {
    "MODULE_PYTHON_SCRIPTS": ("**/*.py",),
    "MODULE_PYTHON_RESOURCES": ("Resources/**/*", "*Lib/**/*.js", "*Lib/py.typed"),
}
"""Name of a list, and the patterns of its files."""


def files_of(module: str, patterns: tuple[str, ...]) -> list[str]:
    """The module's files of a list, relative to the module, the module file first."""
    root = REPOSITORY / module
    found = [path for pattern in patterns for path in root.glob(pattern) if path.is_file()]
    names = [path.relative_to(root).as_posix() for path in found if not _is_by_product(path.relative_to(root))]
    return sorted(names, key=lambda name: (name != f"{module}.py", name))


def _is_by_product(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") or part.endswith(".egg-info") for part in path.parts)


def list_file(module: str) -> Path:
    """The module's CMakeLists.txt."""
    return REPOSITORY / module / "CMakeLists.txt"


def listed(module: str, name: str) -> list[str]:
    """The files that a list in the module's CMakeLists.txt names."""
    body = re.search(rf"set\({name}\n(.*?)\n  \)", list_file(module).read_text(encoding="utf-8"), re.DOTALL)
    assert body is not None, f"{list_file(module)} has no list {name}"
    return [line.strip().replace("${MODULE_NAME}", module) for line in body[1].splitlines()]


def with_lists(module: str) -> str:
    """The text of the module's CMakeLists.txt with the lists as the tree is."""
    text = list_file(module).read_text(encoding="utf-8")
    for name, patterns in LISTS.items():
        lines = [f"  {file}" for file in files_of(module, patterns)]
        lines = ["  ${MODULE_NAME}.py" if line == f"  {module}.py" else line for line in lines]
        body = "\n".join([f"set({name}", *lines, "  )"])
        text, count = re.subn(rf"set\({name}\n.*?\n  \)", lambda _match, body=body: body, text, flags=re.DOTALL)
        assert count == 1, f"{list_file(module)} has {count} lists {name}"
    return text


def main(arguments: list[str]) -> int:
    """Rewrite or check the lists of all modules."""
    differing = [module for module in MODULES if with_lists(module) != list_file(module).read_text(encoding="utf-8")]
    for module in differing:
        print(f"{list_file(module).relative_to(REPOSITORY)} differs from the tree")
        if "--check" not in arguments:
            list_file(module).write_text(with_lists(module), encoding="utf-8")
    return 1 if differing and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
