"""The example of a third party's model: found by its entry points, trained, packaged, and run by the engine."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.cli.main import main as synthesize
from VirtualContrastLib.networks.architectures import architecture, architectures
from VirtualContrastTrainingLib.cli import main as train
from VirtualContrastTrainingLib.data.phantom import make_phantom
from VirtualContrastTrainingLib.systems.registry import system_of, systems
from VirtualContrastTrainingLib.training.smoke import PHANTOM

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example on the path with the metadata that an installation writes: its entry points."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    metadata = tmp_path / "site" / "own_model-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    for cached in (architectures, systems):
        cached.cache_clear()
    yield
    for cached in (architectures, systems):
        cached.cache_clear()
    sys.modules.pop("own_model", None)


def test_a_model_of_another_package_is_trained_packaged_and_run(installed, tmp_path, capsys):
    torch.set_num_threads(1)
    assert architecture("own_model").abilities.perturbs
    assert system_of("own_model").id == "own_model"
    assert train(["train", str(EXAMPLE / "recipe.yaml"), "-o", str(tmp_path / "run"), "--smoke"]) == 0
    package = tmp_path / "run" / "model"
    card = json.loads((package / "model.json").read_text())
    assert card["architecture"] == {"name": "own_model", "config": {"input_nc": 1, "output_nc": 3, "width": 16}}
    pre = make_phantom(5, PHANTOM).images[0]
    sitk.WriteImage(pre, str(tmp_path / "pre.nrrd"))
    line = ["synthesize", str(tmp_path / "pre.nrrd"), "-o", str(tmp_path / "out"), "--model", str(package)]
    assert synthesize([*line, "--segmentation", "none", "--device", "cpu"]) == 0
    phases = [sitk.ReadImage(str(tmp_path / "out" / "phases" / f"phase_{n}.nrrd")) for n in (1, 2, 3)]
    assert all(phase.GetSize() == pre.GetSize() and phase.GetSpacing() == pre.GetSpacing() for phase in phases)
    changed = sitk.GetArrayFromImage(phases[0]) != sitk.GetArrayFromImage(sitk.Cast(pre, phases[0].GetPixelID()))
    assert changed.mean() > 0.5

    # Somebody who has the model and not the package that it needs:
    sys.path[:] = [place for place in sys.path if not place.endswith("site")]
    architectures.cache_clear()
    assert synthesize(["models", "show", str(package)]) == 2
    assert "unknown architecture 'own_model'" in capsys.readouterr().err
