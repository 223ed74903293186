"""The example notebooks run from top to bottom, in a kernel of their own, and are kept without outputs."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = {"synthesize": (), "monai_torchio": ("monai", "torchio")}


def cells(name):
    return json.loads((REPOSITORY / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def test_every_notebook_is_tested():
    assert {path.stem for path in (REPOSITORY / "examples").glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name):
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for cell in code:
        compile("".join(cell["source"]), name, "exec")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "packages"), NOTEBOOKS.items())
def test_a_notebook_runs(name, packages, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra: dev)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra: dev)")
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra: dev)")
    parts = [str(REPOSITORY / part) for part in ("VirtualContrast", "VirtualContrastTraining")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(parts))
    notebook = nbformat.read(REPOSITORY / "examples" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.output_type for cell in notebook.cells for output in cell.get("outputs", [])]
    assert shown and "error" not in shown
    if name == "synthesize":
        assert "display_data" in shown, "the picture was drawn"
        printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
        assert "read > model > synthesize > segment > kinetics > compare > export" in printed
