"""The commands that the pages show, as a shell would read them."""

import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(REPOSITORY / "docs").rglob("*.md"),
        *REPOSITORY.glob("*.md"),
        REPOSITORY / "VirtualContrastTraining" / "README.md",
    ]
)
RECIPES = sorted((REPOSITORY / "VirtualContrastTraining" / "Resources" / "Recipes").glob("*.yaml"))
_BLOCK = re.compile(r"^ *```([a-z]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_PROGRAMS = {
    "virtual-contrast": "virtual-contrast",
    "VirtualContrastLib": "virtual-contrast",
    "virtual-contrast-training": "virtual-contrast-training",
    "VirtualContrastTrainingLib": "virtual-contrast-training",
}


def lines(page):
    """Every command line of the page's shell blocks, those that go on in the next line joined."""
    for language, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in ("", "bash", "sh"):
            waiting = ""
            for line in block.replace("\\\n", " ").splitlines():
                waiting = f"{waiting}\n{line}" if waiting else line
                try:
                    shlex.split(waiting, comments=True)
                except ValueError:  # a quote that the next line closes
                    continue
                if waiting.strip() and not waiting.lstrip().startswith("#"):
                    yield waiting.strip()
                waiting = ""


def recipe_lines(recipe):
    """Every command line of a recipe's comments, each on lines of its own that are set in by three spaces."""
    comments = re.findall(r"^#   (.*)", recipe.read_text(encoding="utf-8"), re.MULTILINE)
    return re.sub(r"\\\n\s*", "", "\n".join(comments)).splitlines()


def arguments(line):
    """(program, its arguments) of a line that calls one of the two programs, by whatever launcher; else None."""
    words = shlex.split(line, comments=True)
    for n, word in enumerate(words):
        program = _PROGRAMS.get(Path(word).name)
        called = words[n - 1] == "-m" if n and "-" not in word else "-" in word
        if program and called and n + 1 < len(words):
            rest = [other for other in words[n + 1 :] if not other.startswith("$")]
            ends = [i for i, other in enumerate(rest) if other in ("|", "&", ";", "&&", ">", "...")]
            return program, rest[: min(ends, default=len(rest))]
    return None
