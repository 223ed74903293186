"""`virtual-contrast synthesize`: what it prints, what it makes and what it ends with."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_samples
from VirtualContrastLib.cli.console import Reporter
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.results.manifest import load_result, verify_result
from VirtualContrastLib.run import write_outputs

SCRIPT = Path(__file__).resolve().parents[2] / "VirtualContrast" / "VirtualContrastScripts" / "synthesize.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a study and a model."""
    folder = run_samples.write_study(tmp_path_factory.mktemp("study"), phases=1)
    run_samples.write_model(folder / "model")
    return folder


@pytest.fixture
def arguments(place, tmp_path):
    """Arguments of a run that works."""
    out, model = tmp_path / "out", str(place / "model")
    options = ["--model", model, "--segmentation", "threshold", "--device", "cpu"]
    return ["synthesize", str(place / "pre.nrrd"), "-o", str(out), *options]


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))


def events_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_ends_with_0_and_prints_where_everything_is(arguments, place, tmp_path, capfd):
    extra = ["--real", str(place / "phase_1.nrrd"), "--lesions", str(place / "mask.nrrd"), "--real-times", "95"]
    assert main([*arguments, *extra]) == 0
    out, err = capfd.readouterr()
    paths = [line.strip() for line in out.splitlines() if line.startswith("  ")]
    result = load_result(tmp_path / "out")
    assert paths == [str(path) for path in result.outputs]
    assert all(Path(path).is_file() for path in paths)
    assert "research only" in out
    assert "synthesize ..." in err
    assert verify_result(tmp_path / "out") == []
    with (tmp_path / "out" / "curves_real.csv").open() as file:
        assert {row["time_s"] for row in csv.DictReader(file)} == {"0", "95"}


def test_json_lines_hold_progress_warnings_and_at_the_end_the_outputs(arguments, tmp_path, capfd, no_pictures):
    assert main([*arguments, "--json"]) == 0
    events = events_of(capfd.readouterr().out)
    kinds = [event["event"] for event in events]
    assert set(kinds) == {"progress", "warning", "done"}
    assert kinds[-1] == "done"
    progress = [event for event in events if event["event"] == "progress"]
    assert {event["stage"] for event in progress} >= {"read", "synthesize", "export"}
    assert all(0 <= event["done"] <= event["total"] for event in progress)
    assert events[-1]["out"] == str(tmp_path / "out")
    assert sorted(events[-1]["outputs"]) == sorted(str(p) for p in (tmp_path / "out").rglob("*") if p.is_file())


def test_prints_of_other_code_do_not_spoil_the_json(arguments, capfd, monkeypatch):
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([lambda: print("nnU-Net says hello")], []))
    assert main([*arguments, "--json"]) == 0
    out, err = capfd.readouterr()
    assert events_of(out)[-1]["event"] == "done"
    assert "hello" in err


def test_resume_and_overwrite_on_an_existing_result(arguments, tmp_path, capfd, no_pictures):
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "--resume" in capfd.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert "Reused the existing result" in capfd.readouterr().out
    made = (tmp_path / "out" / "manifest.json").read_text()
    assert main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "out" / "manifest.json").read_text() != made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["{place}/none.nrrd"], "none.nrrd"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--times", "90", "60"], "rising"),
        (["--uncertainty", "1"], "2 to 100"),
        (["--lesions", "{place}/none.nrrd"], "none.nrrd"),
        (["--real", "{place}/none.nrrd"], "none.nrrd"),
        (["--segmentation", "{place}/model"], "segmentation"),
        (["--device", "tpu"], "tpu"),
        (["--nonsense"], "--nonsense"),
        (["--seed", "-1", "--uncertainty", "2"], "seed"),
        (["-o", "{place}/" + "x" * 300], "too long"),
        (["-o", "{place}/" + "x" * 240], "too long"),
        (["--lesions", "x" * 300], "too long"),
        (["-o", "~nobody-of-this-name/out"], "a user that this machine does not have"),
        (["--model", "~nobody-of-this-name/model"], "a user that this machine does not have"),
        (["--pixel-spacing", "1e-300"], "from 0.001 to 10"),
    ],
)
def test_bad_arguments_and_input_end_with_2_and_one_sentence(arguments, place, tmp_path, capfd, change, words):
    change = [part.format(place=place) for part in change]
    given = [arguments[0], *change, *arguments[2:]] if len(change) == 1 and "none" in change[0] else arguments + change
    assert main(given) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error")]
    assert len(lines) == 1
    assert words in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "x" * 300])
def test_an_input_of_no_or_too_long_a_name_is_refused(arguments, tmp_path, capfd, name):
    assert main([arguments[0], name, *arguments[2:]]) == 2
    assert len([line for line in capfd.readouterr().err.splitlines() if line.startswith("Error")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_json_errors_carry_the_sentence_and_the_exit_code(arguments, place, capfd):
    arguments[1] = str(place / "none.nrrd")
    assert main([*arguments, "--json"]) == 2
    last = events_of(capfd.readouterr().out)[-1]
    assert (last["event"], last["exit_code"]) == ("error", 2)
    assert "none.nrrd" in last["message"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["synthesize", "pre.nrrd", "--json"], "-o/--out"),
        (["synthesize", "pre.nrrd", "-o", "out", "--json", "--uncertainty", "many"], "many"),
        (["models", "fly", "--json"], "fly"),
        (["--json"], "COMMAND"),
    ],
)
def test_wrong_arguments_are_a_json_object_too_where_one_is_asked_for(wrong, words, capfd):
    assert main(wrong) == 2
    out, err = capfd.readouterr()
    (event,) = events_of(out)
    assert (event["event"], event["exit_code"]) == ("error", 2)
    assert words in event["message"]
    assert err == f"Error: {event['message']}\n"


def test_quiet_leaves_the_result_and_the_warnings(arguments, capfd):
    assert main([*arguments, "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert "Made " in out
    lines = err.splitlines()
    assert lines
    assert all(line.startswith("Warning: ") for line in lines)


def test_an_unforeseen_error_is_one_sentence_and_1_and_debug_shows_where(arguments, capfd, monkeypatch):
    def broken(task):
        raise ZeroDivisionError("strange\nnumbers")

    monkeypatch.setattr(write_outputs, "_tables", broken)
    assert main(arguments) == 1
    err = capfd.readouterr().err
    assert "Error: Unexpected ZeroDivisionError (strange numbers); run again with --debug" in err
    assert "Traceback" not in err
    assert main([*arguments, "--debug"]) == 1
    assert "in broken" in capfd.readouterr().err


def test_a_missing_package_is_named(arguments, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "VirtualContrastLib.synthesis.synthesizer", None)
    monkeypatch.setitem(sys.modules, "nnunetv2", None)
    assert main(arguments) == 1
    err = capfd.readouterr().err
    assert "is missing or damaged" in err
    assert "pip install" in err


def test_help_and_version_end_with_0(capsys):
    assert main(["--help"]) == 0
    assert main(["synthesize", "--help"]) == 0
    text = capsys.readouterr().out
    assert "research only" in text.lower()
    assert "exit codes: 0 done" in text
    assert main(["--version"]) == 0
    assert main([]) == 2


def test_a_run_tells_its_first_stage_before_it_loads_heavy_packages():
    """They take two seconds, on a busy machine ten."""
    code = """
import os, sys
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import Events

def first(self, stage, done, total):
    heavy = [name for name in ("numpy", "scipy", "SimpleITK", "torch") if name in sys.modules]
    print(stage.value, heavy, file=sys.__stdout__, flush=True)
    os._exit(0)

Events.progress = first
main(["synthesize", "missing.nrrd", "-o", "out"])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "read []\n"


def test_the_command_line_starts_without_heavy_packages():
    script = (
        "import sys, VirtualContrastLib.cli.main as cli; cli.build_parser();"
        "heavy = {'torch', 'nnunetv2', 'matplotlib', 'SimpleITK', 'numpy', 'scipy', 'pydantic', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_run_reads_its_input_before_it_loads_the_network_library():
    script = "import sys, VirtualContrastLib.run.pipeline; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_ctrl_c_ends_with_3_and_leaves_nothing(arguments, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "VirtualContrastLib", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:  # it is running once it has told of the model
        if json.loads(line).get("stage") == "model":
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=600)
    assert process.returncode == 3
    last = events_of(rest)[-1]
    assert (last["event"], last["exit_code"]) == ("error", 3)
    assert list(tmp_path.iterdir()) == []


def run_script(*arguments, **options):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def test_the_script_runs_the_same_from_plain_python_with_an_exit_code(arguments, tmp_path):
    done = run_script("--", *arguments[1:], "--json", cwd="/")
    assert done.returncode == 0, done.stderr
    assert events_of(done.stdout)[-1]["out"] == str(tmp_path / "out")
    assert verify_result(tmp_path / "out") == []


def test_the_script_says_which_package_is_missing_and_ends_with_1(tmp_path):
    lonely = tmp_path / "Scripts"
    lonely.mkdir()
    shutil.copy(SCRIPT, lonely)
    command = [sys.executable, "-S", str(lonely / "synthesize.py"), "in", "-o", "out"]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=alone)
    assert done.returncode == 1
    assert "VirtualContrastLib" in done.stderr
    assert "Traceback" not in done.stderr


SLICER = """
import sys, types
slicer, util = types.ModuleType("slicer"), types.ModuleType("slicer.util")
class qSlicerApplication: pass
slicer.app, slicer.util = qSlicerApplication(), util
def leave(code):
    print("slicer.util.exit", code)
    raise SystemExit(0)  # the application ends later with its own code
util.exit = leave
sys.modules |= {"slicer": slicer, "slicer.util": util}
path = sys.argv[1]
sys.argv = [path, *sys.argv[2:]]
exec(compile(open(path).read(), path, "exec"), {"__name__": "__main__", "__file__": path})
"""


@pytest.mark.parametrize("extra", [["--help"], ["in.nrrd", "-o", "out", "--times", "soon"]])
def test_in_slicer_the_script_ends_the_application_with_the_exit_code(tmp_path, extra):
    command = [sys.executable, "-c", SLICER, str(SCRIPT), *extra]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f"slicer.util.exit {0 if extra == ['--help'] else 2}"


def test_on_a_terminal_bars_are_drawn_and_warnings_stay_readable(tmp_path):
    from VirtualContrastLib.cli.console import BarReporter
    from VirtualContrastLib.events import Stage

    with (tmp_path / "err").open("w") as err, (tmp_path / "out").open("w") as out:
        bars = BarReporter(out, err)
        bars.progress(Stage.SYNTHESIZE, 3, 12)
        bars.warning("look [here]")
        bars.progress(Stage.SYNTHESIZE, 12, 12)
        bars.done("Made it", out="x")
    text = (tmp_path / "err").read_text()
    assert "12/12" in text
    assert "Warning: look [here]" in text
    assert (tmp_path / "out").read_text() == "Made it\n"


def test_plain_progress_is_one_line_a_stage_until_it_takes_long(capsys, monkeypatch):
    from VirtualContrastLib.events import Stage

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    reporter = Reporter(sys.stdout, sys.stderr)
    for step in range(4):
        reporter.progress(Stage.SYNTHESIZE, step, 4)
    now[0] += 6.0
    reporter.progress(Stage.SYNTHESIZE, 4, 4)
    assert capsys.readouterr().err.splitlines() == ["synthesize ...", "  synthesize 4/4"]


def test_as_a_module_it_ends_with_the_exit_code(tmp_path):
    command = [sys.executable, "-m", "VirtualContrastLib", "synthesize"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_model_that_reads_phase_1_runs_with_it_and_says_so_without(place, tmp_path, capfd, no_pictures):
    model = run_samples.tiny_models.tiny_iter_unet(tmp_path / "later").folder
    start = ["synthesize", str(place / "pre.nrrd"), "-o", str(tmp_path / "out"), "--model", str(model)]
    common = ["--segmentation", "none", "--device", "cpu"]
    assert main([*start, *common]) == 2
    assert "give that phase with --real" in capfd.readouterr().err
    given = ["--real", str(place / "phase_1.nrrd"), "--real-times", "80", "--times", "150", "260", "400"]
    assert main([*start, *common, *given]) == 0
    manifest = load_result(tmp_path / "out").manifest
    assert [(entry["index"], entry["time_s"]) for entry in manifest.phases] == [(2, 150.0), (3, 260.0), (4, 400.0)]
    assert manifest.inputs[1]["time_s"] == 80.0


def test_a_mammogram_of_a_picture_gives_one_image(tmp_path, capfd):
    import numpy as np
    import SimpleITK as sitk

    values = np.random.default_rng(0).normal(120, 30, (40, 32)).clip(0, 255).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "low.tif"))
    model = run_samples.tiny_models.tiny_mammogram_model(tmp_path / "cem").folder
    arguments = ["synthesize", str(tmp_path / "low.tif"), "-o", str(tmp_path / "out"), "--model", str(model)]
    assert main([*arguments, "--device", "cpu", "--format", "nifti"]) == 0
    assert (tmp_path / "out" / "recombined.nii.gz").is_file()
    assert "Lesions" not in capfd.readouterr().out
