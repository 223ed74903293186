"""The extension as Slicer builds and installs it: every file listed, and the module runs from the flat folder alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from module_samples import MODULE, REPOSITORY, TESTING, run_samples
from slicer_host import cmake
from VirtualContrastLib.slicer_app import sample_data

MODULE_FOLDER = MODULE.parent


def listed(name):
    """The files of a list in the module's CMakeLists.txt."""
    text = (MODULE_FOLDER / "CMakeLists.txt").read_text()
    body = re.search(rf"set\({name}\n(.*?)\n  \)", text, re.DOTALL)[1]
    return [line.strip().replace("${MODULE_NAME}", "VirtualContrast") for line in body.splitlines()]


def present(folder, pattern):
    files = (MODULE_FOLDER / folder).rglob(pattern)
    return {f.relative_to(MODULE_FOLDER).as_posix() for f in files if f.is_file() and "__pycache__" not in f.parts}


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """The installed extension's flat folder."""
    return cmake.install_extension(REPOSITORY, tmp_path_factory.mktemp("extension"))


@pytest.mark.parametrize(
    ("name", "folder", "pattern"),
    [("MODULE_PYTHON_SCRIPTS", ".", "*.py"), ("MODULE_PYTHON_RESOURCES", "Resources", "*")],
)
def test_every_file_is_listed_by_name(name, folder, pattern):
    files, tree = listed(name), present(folder, pattern)
    assert sorted(tree - set(files)) == [], "add these lines to VirtualContrast/CMakeLists.txt"
    assert sorted(set(files) - tree) == [], "remove these lines from VirtualContrast/CMakeLists.txt"
    assert len(files) == len(set(files))


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
        flat, "from VirtualContrastLib.cli import main; raise SystemExit(main(['models', 'list', '--json']))"
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
