"""The extension as Slicer builds and installs it: every file listed, and the module runs from the flat folder alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import list_files
import pytest
from module_samples import MODULE, REPOSITORY, TESTING, run_samples
from slicer_host import cmake
from VirtualContrastLib.slicer_app import sample_data

MODULE_FOLDER = MODULE.parent


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """The installed extension's flat folder."""
    return cmake.install_extension(REPOSITORY, tmp_path_factory.mktemp("extension"))


@pytest.mark.parametrize("name", list_files.LISTS)
@pytest.mark.parametrize("module", list_files.MODULES)
def test_every_file_is_listed_by_name(module, name):
    files, tree = list_files.listed(module, name), list_files.files_of(module, list_files.LISTS[name])
    hint = "run python Testing/host/list_files.py"
    assert sorted(set(tree) - set(files)) == [], f"not listed: {hint}"
    assert sorted(set(files) - set(tree)) == [], f"listed but not there: {hint}"
    assert files == tree, f"not in order: {hint}"


@pytest.mark.parametrize("module", list_files.MODULES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "Resources" / "new.txt").touch(), "Resources/new.txt is not listed"),
        (lambda folder: (folder / f"{folder.name}Lib" / "new.py").touch(), "Lib/new.py is not listed"),
        (
            lambda folder: (folder / f"{folder.name}Lib" / "__main__.py").unlink(),
            "Lib/__main__.py is listed but is not a file",
        ),
    ],
)
def test_cmake_refuses_an_unlisted_and_a_missing_file_of_either_module(tmp_path, module, change, message):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in list_files.MODULES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    (source / "Resources" / "Models").mkdir(parents=True)
    shutil.copy(REPOSITORY / "CMakeLists.txt", source)
    change(source / module)
    with pytest.raises(cmake.ExtensionError) as error:
        cmake.install_extension(source, tmp_path / "work")
    told = " ".join(str(error.value).split())  # CMake breaks lines
    assert f"{module}: {module if message.startswith('Lib') else ''}{message}" in told


def test_the_two_modules_share_no_file_of_the_flat_folder():
    files = [{file for name in list_files.LISTS for file in list_files.listed(m, name)} for m in list_files.MODULES]
    assert files[0] & files[1] == set()


def test_the_description_is_what_the_extensions_index_asks_for():
    text = (REPOSITORY / "CMakeLists.txt").read_text()
    fields = dict(re.findall(r'^set\(EXTENSION_(\w+) "(.+)"\)$', text, re.MULTILINE))
    assert re.search(r"^project\(VirtualContrast\b", text, re.MULTILINE)
    assert fields["DEPENDS"] == "PyTorch"
    for name in ("ICONURL", "SCREENSHOTURLS"):
        assert fields[name].startswith("https://")
        assert fields[name].endswith(".png")
    assert (REPOSITORY / fields["SCREENSHOTURLS"].split("/main/")[1]).is_file()
    icon = REPOSITORY / fields["ICONURL"].split("/main/")[1]
    header = icon.read_bytes()[:24]
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (128, 128)


def test_the_sample_data_are_small():
    assert sample_data.VOLUME.stat().st_size < 1_500_000


def test_the_models_are_installed_beside_the_module(flat):
    assert (flat / "Resources" / "Models" / "catalog.json").is_file()
    code = "from VirtualContrastLib.models import catalog; print(catalog.resources_dir()); catalog.load_catalog()"
    done = run_python(flat, code)
    assert done.stdout.strip() == str(flat / "Resources"), done.stderr


def test_the_installed_commands_run_from_the_flat_folder(flat):
    done = run_python(
        flat, "from VirtualContrastLib.cli.main import main; raise SystemExit(main(['models', 'list', '--json']))"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "done"
    script = subprocess.run(
        [sys.executable, flat / "VirtualContrastScripts" / "synthesize.py", "--help"],
        capture_output=True, text=True, check=False, env=clean_environment(), cwd=flat.parent,
    )  # fmt: skip
    assert script.returncode == 0, script.stderr


def test_the_installed_module_runs_from_the_flat_folder_alone(flat, tmp_path):
    """Panel, worker process and result, in an interpreter that cannot see the source tree."""
    model = run_samples.write_model(tmp_path / "model")
    code = f"""
import sys
sys.path[:0] = [{str(TESTING / "host")!r}]
import slicer_host
host = slicer_host.boot()
import qt, slicer
panel = host.load_module({str(flat / "VirtualContrast.py")!r}).widgetRepresentation().self().panel
import VirtualContrastLib
assert VirtualContrastLib.__file__.startswith({str(flat)!r}), VirtualContrastLib.__file__
test = sys.modules["VirtualContrast"].VirtualContrastTest()
type(test).model = {str(model)!r}
test.runTest()
assert not qt.slotErrors, qt.slotErrors
where = [line for line in panel.logic.synthesis.worker.log_text().splitlines()]
panel.logic.shutdown()
print("self test passed")
"""
    done = run_python(flat, code)
    assert done.stdout.strip().endswith("self test passed"), done.stderr


def test_the_installed_training_module_runs_from_the_flat_folder_alone(flat):
    """Panel, child process with a smoke trial, model, in an interpreter that cannot see the source tree."""
    code = f"""
import sys
sys.path[:0] = [{str(TESTING / "host")!r}]
import slicer_host
host = slicer_host.boot()
import qt, slicer
panel = host.load_module({str(flat / "VirtualContrastTraining.py")!r}).widgetRepresentation().self().panel
import VirtualContrastTrainingLib
assert VirtualContrastTrainingLib.__file__.startswith({str(flat)!r}), VirtualContrastTrainingLib.__file__
assert len(panel.recipes) >= 14
sys.modules["VirtualContrastTraining"].VirtualContrastTrainingTest().runTest()
assert not qt.slotErrors, qt.slotErrors
paths = [line for line in panel.training.process.log_text().splitlines() if {str(REPOSITORY)!r} in line]
assert not [line for line in paths if ".venv" not in line], paths
print("self test passed")
"""
    done = run_python(flat, code)
    assert done.stdout.strip().endswith("self test passed"), done.stderr


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "VIRTUALCONTRAST"))}


def run_python(flat, code):
    """Run `code` in a new interpreter that sees the flat folder and not the source tree."""
    hide = f"import sys; sys.path[:] = [p for p in sys.path if not p.startswith({str(REPOSITORY)!r}) or '.venv' in p]\n"
    hide += "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '')]\n"
    hide += f"sys.path.insert(0, {str(flat)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", hide + code], capture_output=True, text=True, check=False,
        env=clean_environment(), cwd=Path(flat).parent,
    )  # fmt: skip
