"""The wheel as its users get it: built, installed by itself, run outside the source tree."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the installed wheel alone."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return site


@pytest.fixture(scope="module")
def installed(site):
    """A function that runs a module of the installed wheel; third-party packages are those of the tests."""
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments):
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=site, env=environment)

    return run


def test_the_wheel_holds_models_recipes_splits_types_and_script_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for part in ("Lib/py.typed", "report/viewer.js", "Resources/Models/catalog.json", "Resources/Splits/duke"):
        assert [name for name in names if part in name], part
    models = REPOSITORY / "Resources" / "Models"
    for path in models.rglob("*"):
        assert not path.is_file() or f"VirtualContrastLib/Resources/Models/{path.relative_to(models)}" in names
    assert [name for name in names if "Recipes/" in name and name.endswith(".yaml")]
    assert not [name for name in names if name.startswith("Testing") or "slicer_host" in name]
    assert wheel.stat().st_size < 20 * 2**20


def test_installed_models_and_recipes_are_found(installed):
    models = installed("VirtualContrastLib", "models", "list")
    assert models.returncode == 0, models.stderr
    assert "phantom-joint-p1-p3" in models.stdout
    assert str(REPOSITORY) not in models.stdout
    recipes = installed("VirtualContrastTrainingLib", "train", "--list")
    assert recipes.returncode == 0, recipes.stderr
    assert "osuala2025-joint-as-published-paper" in recipes.stdout


def test_installed_models_verify(installed, wheel):
    done = installed("VirtualContrastLib", "models", "verify", "phantom-joint-p1-p3")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("program", "extras", "missing"),
    [("VirtualContrastLib", "engine", "pydantic"), ("VirtualContrastTrainingLib", "engine,training", "torch")],
)
def test_without_the_packages_of_a_run_it_says_what_is_missing_and_how_to_get_it(
    program, extras, missing, site, tmp_path
):
    """A Python with the wheel and what it always needs, and nothing of its extras."""
    own = Path(numpy.__file__).parents[1]
    for path in [*own.glob("numpy*"), *own.glob("scipy*"), *own.glob("[sS]imple[iI][tT][kK]*")]:
        (tmp_path / path.name).symlink_to(path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(tmp_path)])}
    arguments = ["info"] if program == "VirtualContrastLib" else ["train", "--list"]
    command = [sys.executable, "-S", "-m", program, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=site, env=environment)
    told = done.stdout + done.stderr
    assert missing in told
    assert f"-m pip install 'virtual-contrast[{extras}]'" in told
    if arguments == ["info"]:
        assert done.returncode == 0, done.stderr
        assert "  numpy " in told and "  pydicom\n" in told
