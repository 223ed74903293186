"""The pages say what exists: flags, recipes and files that they name."""

import re
from pathlib import Path

import pytest
from VirtualContrastLib.cli.main import main
from VirtualContrastTrainingLib.cli import main as training

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*.md")])
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAMS = {"virtual-contrast": main, "virtual-contrast-training": training}


def commands():
    """(program, command) of every line of a code block that calls one of the two programs, with its flags."""
    found = {}
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split("#")[0].split()
                for n, word in enumerate(words[:-1]):
                    program = Path(word).name
                    if program in PROGRAMS and re.fullmatch(r"[a-z-]+", words[n + 1]):
                        flags = {w.split("=")[0] for w in words[n + 2 :] if w.startswith("--")}
                        found.setdefault((program, words[n + 1]), set()).update(flags)
    return found


COMMANDS = commands()


def test_the_pages_show_commands_of_both_programs():
    assert {program for program, _ in COMMANDS} == set(PROGRAMS)


@pytest.mark.parametrize(("program", "command"), sorted(COMMANDS))
def test_every_command_and_flag_on_a_page_exists(program, command, capsys):
    try:
        code = PROGRAMS[program]([command, "--help"])
    except SystemExit as end:
        code = end.code
    shown = capsys.readouterr()
    assert code == 0, shown.err
    # Of a command with subcommands the flags stand in their own help.
    if "positional arguments:\n  ACTION" not in shown.out and " ..." not in shown.out.partition("\n\n")[0]:
        assert COMMANDS[program, command] <= set(re.findall(r"--[a-z][a-z-]*", shown.out)) | {"--help"}


def test_links_between_pages_lead_somewhere():
    links = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" in target or "pictures/" in target or target.startswith("mailto"):
                continue
            names = {"architecture.md": "ARCHITECTURE.md", "contributing.md": "CONTRIBUTING.md"}
            names |= {"security.md": "SECURITY.md", "changes.md": "CHANGELOG.md"}
            place = REPOSITORY / names[target] if target in names else page.parent / target
            assert place.exists(), f"{page.name}: {target}"
            links += 1
    assert links > 20
