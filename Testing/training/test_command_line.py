"""Every wrong use of the training program ends with one sentence and exit code 2, and nothing half made."""

import json
import signal

import pytest
import torch
from VirtualContrastTrainingLib.cli import build_parser, main
from VirtualContrastTrainingLib.commands import train as train_command
from VirtualContrastTrainingLib.systems.recipes import recipes_dir

RECIPE = "phantom-joint-p1-p3"


@pytest.fixture
def place(tmp_path):
    """A file where a folder should be, and recipes that are none."""
    (tmp_path / "file").write_text("x")
    content = (recipes_dir() / f"{RECIPE}.yaml").read_text(encoding="utf-8")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    (tmp_path / "listed.yaml").write_text(content.replace("system: pix2pixhd", "system: [pix2pixhd]"))
    (tmp_path / "latin.yaml").write_bytes("title: Gefäß\n".encode("latin-1"))
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "told"),
    [
        # Six that gave a traceback once.
        ("phantom -o /proc/nope -n 1", "cannot be written"),
        (f"train {RECIPE} -o /proc/nope --smoke", "cannot be written"),
        (f"train {RECIPE} -o OUT --set generator.ngf.x=1", "generator.ngf is the value 16"),
        (f"train {RECIPE} -o OUT --set generator.netG=foo --smoke", "netG is 'foo'"),
        ("train PLACE/listed.yaml -o OUT", "no system ['pix2pixhd']"),
        ("train PLACE/list.yaml -o OUT --set a.b=1", "key: value"),
        # Those that hostile input found.
        (f"train {RECIPE} -o PLACE/file --smoke", "cannot be written"),
        ("phantom -o PLACE/file", "cannot be written"),
        ("phantom -o OUT --seed -1", "whole number of at least 0"),
        ("phantom -o OUT -n 0", "whole number of at least 1"),
        ("phantom -o OUT --lesions 99999", "at most"),
        ("train PLACE/latin.yaml -o OUT", "UTF-8"),
        ("train PLACE/broken.yaml -o OUT", "not valid YAML"),
        (f"train {RECIPE} -o OUT --set schedule.learning_rate=.nan", "learning_rate"),
        (f"train {RECIPE} -o OUT --set schedule.learning_rate=-1", "learning_rate"),
        (f"train {RECIPE} -o OUT --set generator={{}}", "input_nc is missing"),
        (f"train {RECIPE} -o OUT --set id=../../x --smoke", "id"),
        (f"train {RECIPE} -o OUT --max-minutes nan", "minutes above 0"),
        (f"train {RECIPE} -o OUT --set seed=-1", "seed"),
        (f"train {RECIPE} -o OUT --set x", "key=value"),
        ("train nothing -o OUT", "no recipe nothing"),
        (f"train {RECIPE} -o OUT --resume", "no checkpoint to resume"),
        ("train", "Give a recipe"),
        ("evaluate --real PLACE/file", "go together"),
        ("evaluate --table nothing -o OUT", "no table or figure called nothing"),
        ("evaluate --bootstrap 0", "whole number of at least 1"),
        ("select PLACE/nothing", "no file or folder"),
        ("readers PLACE/nothing.csv -o OUT", "nothing.csv does not exist"),
        ("readers PLACE/nothing.csv --same PLACE/nothing -o OUT", "does not exist"),
        ("prepare crops PLACE/nothing.csv -o OUT", "nothing.csv does not exist"),
        ("patients table default PLACE/nothing", "'virtual-contrast-training prepare' from your data"),
        ("nonsense", "invalid choice"),
        ("", "required"),
    ],
)
def test_a_wrong_use_ends_with_one_sentence(line, told, place, capsys):
    argv = line.replace("PLACE", str(place)).replace("OUT", str(place / "out")).split()
    assert main(argv) == 2
    said = capsys.readouterr()
    assert told in said.err and "Traceback" not in said.err
    assert len([text for text in said.err.splitlines() if text.startswith("Error: ")]) == 1
    assert said.out == ""
    assert not (place / "out").exists() or not any((place / "out").rglob("*.ckpt"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "another network"])
def test_a_damaged_checkpoint_is_not_resumed_from(damage, tmp_path, capsys):
    torch.set_num_threads(1)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    weights = {"state_dict": {"generator.model.1.weight": torch.zeros(4, 3, 7, 7)}}
    torch.save(weights if damage == "another network" else {"x": torch.zeros(9)}, last)
    whole = last.read_bytes()
    if damage in ("truncated", "empty"):
        last.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    assert main(["train", RECIPE, "-o", str(tmp_path / "run"), "--smoke", "--resume"]) == 2
    said = capsys.readouterr().err
    assert "last.ckpt" in said and "Traceback" not in said
    if damage not in ("truncated", "empty"):
        assert last.read_bytes() == whole


def test_errors_are_json_where_asked_for_and_debug_shows_the_place(capsys):
    assert main(["train", "nothing", "-o", "x", "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["exit_code"] == 2 and "no recipe nothing" in said.err
    for argv in (["--debug", "train", "nothing", "-o", "x"], ["train", "nothing", "-o", "x", "--debug"]):
        assert main(argv) == 2
        assert "Traceback" in capsys.readouterr().err


def test_signals_are_left_to_the_training_and_an_interrupt_ends_with_3(monkeypatch, tmp_path, capsys):
    seen = []

    def training(*arguments, **options):
        seen.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(train_command, "train", training)
    assert main(["train", RECIPE, "-o", str(tmp_path / "run")]) == 3
    assert seen == [signal.default_int_handler, signal.SIG_DFL]
    assert signal.getsignal(signal.SIGTERM) == before and "Traceback" not in capsys.readouterr().err


def test_every_command_has_the_common_options_and_both_spellings_of_the_output(capsys):
    def leaves(parser):
        children = [action for action in parser._actions if isinstance(action.choices, dict)]
        nested = [leaf for action in children for sub in action.choices.values() for leaf in leaves(sub)]
        return nested or [parser]

    found = leaves(build_parser())
    assert len(found) >= 20
    for parser in found:
        flags = {flag for action in parser._actions for flag in action.option_strings}
        assert {"--json", "--quiet", "--debug"} <= flags, parser.prog
        assert ("--out" in flags) == ("--output" in flags) == ("-o" in flags), parser.prog


def test_the_list_of_recipes_is_one_a_line_or_one_json_object(capsys):
    assert main(["train", "--list"]) == 0
    names = capsys.readouterr().out.split()
    assert RECIPE in names
    assert main(["train", "--list", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"recipes": names}
