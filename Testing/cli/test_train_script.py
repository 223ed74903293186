"""The script that trains inside Slicer, and what both libraries say where packages are missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from VirtualContrastLib import errors, installation

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN = REPOSITORY / "VirtualContrastTraining" / "VirtualContrastTrainingScripts" / "train.py"
BARE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "pydantic", "lightning", "nnunetv2", "yaml", "highdicom", "skimage"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments, code=None, **environment):
    alone = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SLICER_HOME")}
    command = [sys.executable, *(["-c", code] if code else []), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={**alone, **environment})


def test_the_script_trains_and_ends_with_an_exit_code():
    done = run(TRAIN, "--", "--list")
    assert done.returncode == 0, done.stderr
    assert "phantom-joint-p1-p3" in done.stdout
    done = run(TRAIN, "--", "--no-such-option")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert run(TRAIN, "phantom", "--help").returncode == 0


def test_without_packages_the_training_library_says_one_sentence_with_the_command():
    done = run(TRAIN, "--list", code=BARE, SLICER_HOME="/opt/Slicer")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.splitlines()
    assert "PythonSlicer -m pip install -r " in sentence
    for name in ("requirements.txt", "requirements-training.txt"):
        (path,) = [word for word in sentence.split() if word.endswith(f"/{name}")]
        assert Path(path).is_file()


def test_the_advice_names_files_that_are_there_and_no_project_of_somebody_else():
    sentence, code = errors.explain(ModuleNotFoundError("No module named 'nnunetv2'", name="nnunetv2"))
    assert code == 1
    assert f"-m pip install -r {installation.REQUIREMENTS} " in sentence
    assert installation.REQUIREMENTS.is_file()
    assert "virtual-contrast" not in sentence.replace(str(REPOSITORY), "").lower()


@pytest.mark.parametrize("script", ["synthesize", "train"])
def test_install_runs_pip_with_what_slicer_ships_pinned(script, monkeypatch, capsys):
    monkeypatch.setattr(installation.subprocess, "run", lambda command, check: print(command) or Done())
    monkeypatch.syspath_prepend(str(REPOSITORY / "VirtualContrast"))
    folder = TRAIN.parent if script == "train" else REPOSITORY / "VirtualContrast" / "VirtualContrastScripts"
    monkeypatch.syspath_prepend(str(folder))
    module = __import__(script)
    assert module.run(["--", "--install"]) == 3
    told = capsys.readouterr().out
    assert "requirements.txt" in told
    assert script != "train" or "requirements-training.txt" in told
    assert "'numpy==" in told
    assert "'SimpleITK==" in told


class Done:
    returncode = 3
