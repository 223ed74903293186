"""The pages say what exists: commands, flags and files that they name."""

import re

import pytest
from page_commands import PAGES, RECIPES, REPOSITORY, arguments, lines, recipe_lines
from VirtualContrastLib.cli.main import build_parser
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.cli import build_parser as build_training_parser
from VirtualContrastTrainingLib.systems.recipes import load_recipe, recipe_names

SHOWN = [*((page, lines(page)) for page in PAGES), *((recipe, recipe_lines(recipe)) for recipe in RECIPES)]
COMMANDS = [(page, *found) for page, shown in SHOWN for line in shown if (found := arguments(line))]


@pytest.fixture(scope="module")
def parsers():
    return {"virtual-contrast": build_parser(), "virtual-contrast-training": build_training_parser()}


def test_the_pages_show_commands_of_both_programs():
    shown = {program for _, program, _ in COMMANDS}
    assert shown == {"virtual-contrast", "virtual-contrast-training"}
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(
    ("page", "program", "argv"), COMMANDS, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_the_program_takes_every_command_as_it_stands(page, program, argv, parsers, capsys):
    try:
        given = parsers[program].parse_args(argv)
        if getattr(given, "recipe", None) in recipe_names():
            load_recipe(given.recipe, [change for change in getattr(given, "set", []) if "$" not in change])
    except InputError as error:
        pytest.fail(f"{page.name}: {program} {' '.join(argv)}: {error}")
    except SystemExit as end:
        assert end.code == 0, "only --help ends"


def test_every_option_in_the_comments_of_a_recipe_stands_in_a_command_that_is_tried():
    tried = [line for recipe in RECIPES for line in recipe_lines(recipe)]
    assert len(tried) > 15
    assert [line for line in tried if arguments(line) is None] == []
    for recipe in RECIPES:
        prose = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
        assert [line for line in prose if not line.startswith("#   ") and re.search(r"(^| )-{1,2}[a-z]", line)] == []


def test_links_between_pages_lead_somewhere():
    links = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" in target or "pictures/" in target or target.startswith("mailto"):
                continue
            names = {"architecture.md": "ARCHITECTURE.md", "contributing.md": "CONTRIBUTING.md"}
            names |= {"security.md": "SECURITY.md", "changes.md": "CHANGELOG.md", "third-party.md": "THIRD_PARTY.md"}
            place = REPOSITORY / names[target] if target in names else page.parent / target
            assert place.exists(), f"{page.name}: {target}"
            links += 1
    assert links > 20
