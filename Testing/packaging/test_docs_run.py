"""The commands of README and tutorial, run one after the other in a fresh clone, as a newcomer would.

The clone uses the environment of the tests. With VIRTUALCONTRAST_EMPTY_ENVIRONMENT=1 it makes its own, as `make` does
(4 GB from the package registries).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from page_commands import REPOSITORY, lines

pytestmark = pytest.mark.slow

EMPTY = bool(os.environ.get("VIRTUALCONTRAST_EMPTY_ENVIRONMENT"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "docs" / "tutorial.md"]
NOT_RUN = {
    "make test": "it runs this very test",
    "models download": "needs the public record; Testing/engine/test_models_published.py has a server like it",
    "PythonSlicer": "needs Slicer",
    "PIP_NO_INDEX": "needs Slicer",
    "pip install": "installs packages; Testing/packaging/test_wheel.py installs the wheel",
    " readers ": "needs the answers of readers; Testing/training has them",
    " patients ": "needs images of patients; Testing/training has some",
    "-n 220": "trains for hours",
    "-n 8 ": "belongs to the training",
    "-n 20 ": "belongs to the training",
    " train phantom": "trains for hours; Testing/training does it for a few steps",
    "phantom-quality": "measures what was trained",
}
COMMANDS = list(dict.fromkeys(line.partition("  #")[0].strip() for page in PAGES for line in lines(page)))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """(the clone, the environment of its commands)"""
    place = tmp_path_factory.mktemp("clone") / "VirtualContrast"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(REPOSITORY), str(place)], check=True)
    path = f"{place}/.venv/bin{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "VIRTUALCONTRAST_CACHE": str(place / "cache"), "PATH": path}
    if not EMPTY:
        (place / ".venv").mkdir()
        for part in Path(sys.prefix).iterdir():
            if part.name != ".complete":
                (place / ".venv" / part.name).symlink_to(part)
        (place / ".venv" / ".complete").touch()
        parts = [str(place / part) for part in ("VirtualContrast", "VirtualContrastTraining")]
        environment["PYTHONPATH"] = os.pathsep.join(parts)
    return place, environment


def run(command, clone):
    place, environment = clone
    return subprocess.run(
        ["bash", "-ec", command], cwd=place, env=environment, check=False, capture_output=True, text=True, timeout=1800
    )


def prepare(place):
    """The files that the commands name, made of the phantom that `make demo` has left."""
    study = place / "demo" / "study" / "case_900003"
    phases = [sitk.ReadImage(str(study / f"{name}.nrrd")) for name in ("pre", "phase_1", "phase_2")]
    sitk.WriteImage(phases[0], str(place / "pre.nii.gz"))
    sitk.WriteImage(sitk.JoinSeries(phases), str(place / "series.nii.gz"))
    sitk.WriteImage(sitk.ReadImage(str(study / "lesions.nrrd")), str(place / "lesions.nrrd"))
    (place / "cases.csv").write_text("case,input,real1\na,pre.nii.gz,\nb,series.nii.gz@0,series.nii.gz@1\n")
    write_dicom(phases[0], place / "DICOM_FOLDER")


def write_dicom(volume, folder):
    """An MR series, one file per slice."""
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    tags = {"0008|0060": "MR", "0008|0016": "1.2.840.10008.5.1.4.1.1.4", "0018|0015": "BREAST", "0010|0020": "phantom"}
    tags |= {"0020|000d": "1.2.3.1", "0020|000e": "1.2.3.2", "0020|0052": "1.2.3.3", "0008|0020": "20260101"}
    tags |= {"0020|0037": "\\".join(f"{volume.GetDirection()[n]:g}" for n in (0, 3, 6, 1, 4, 7))}
    for k in range(volume.GetDepth()):
        plane = volume[:, :, k]
        place = volume.TransformIndexToPhysicalPoint((0, 0, k))
        own = {"0008|0018": f"1.2.3.4.{k + 1}", "0020|0013": str(k + 1), "0018|0050": f"{volume.GetSpacing()[2]:g}"}
        own["0020|0032"] = "\\".join(f"{value:g}" for value in place)
        for key, value in (tags | own).items():
            plane.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{k + 1:03d}.dcm"))
        writer.Execute(plane)


def test_every_command_of_the_pages_runs_in_a_fresh_clone(clone):
    place, _ = clone
    skipped = [line for line in COMMANDS if any(part in line for part in NOT_RUN)]
    todo = [line for line in COMMANDS if line not in skipped]
    assert todo[0].startswith("make demo"), "the page begins with it"
    assert len(todo) >= 8
    for unused in [part for part in NOT_RUN if not any(part in line for line in skipped)]:
        pytest.fail(f"{unused!r} stands in no page any more; take it out of NOT_RUN")
    for line in todo:
        done = run(line, clone)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if line.startswith("make demo"):
            assert (place / "demo" / "result" / "report.html").is_file()
            prepare(place)
    assert Path(place, "results", "summary.csv").read_text().count("done") == 2
    dirt = subprocess.run(["git", "status", "--porcelain"], cwd=place, check=True, capture_output=True, text=True)
    assert not [line for line in dirt.stdout.splitlines() if line[:2] != "??"], "no command changes a file of the clone"
