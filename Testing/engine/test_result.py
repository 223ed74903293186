"""The result folder is whole or not there, and what is in it can be proved."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib import files
from VirtualContrastLib.events import CancelledError, InputError
from VirtualContrastLib.io import volumes
from VirtualContrastLib.results import manifest as result
from VirtualContrastLib.results import staging
from VirtualContrastLib.results import writer as result_writer
from VirtualContrastLib.results.manifest import Manifest, load_result, verify_result
from VirtualContrastLib.results.writer import ResultWriter


def make_manifest() -> Manifest:
    return Manifest(
        kind="synthesis",
        run_id="",
        created_utc="2026-01-01T00:00:00+00:00",
        fingerprint="f" * 64,
        inputs=[],
        models=[],
        settings={},
        device={},
        versions={},
        phases=[{"index": 1, "time_s": 90.0, "file": "phases/phase_1.nrrd"}],
        arbitrary_units=False,
        timing_s={},
        warnings=[],
        summary={},
    )


def make_image(seed: int = 0) -> sitk.Image:
    array = np.random.default_rng(seed).normal(size=(3, 20, 18)).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-10.0, 4.0, 7.5))
    return image


def write_result(out: Path, *, seed: int = 0, overwrite: bool = False) -> result.Result:
    with ResultWriter(out, overwrite=overwrite) as writer:
        writer.image(make_image(seed), "phases/phase_1.nrrd")
        writer.path("lesions.csv").write_text("lesion\n", encoding="utf-8")
        return writer.finish(make_manifest())


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_result_reads_back_with_its_hashes_and_no_leftovers(tmp_path):
    written = write_result(tmp_path / "out")
    read = load_result(tmp_path / "out")
    assert read.manifest == written.manifest
    assert leftovers(tmp_path) == ["out"]
    assert set(read.manifest.outputs) == {"phases/phase_1.nrrd", "lesions.csv"}
    for name, digest in read.manifest.outputs.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert manifest["use"] == "research only"
    assert verify_result(tmp_path / "out") == []


def test_phases_read_back_with_their_times_and_voxels(tmp_path):
    (phase,) = write_result(tmp_path / "out").phases()
    assert (phase.index, phase.time_s, phase.synthetic) == (1, 90.0, True)
    assert np.array_equal(sitk.GetArrayFromImage(phase.image), sitk.GetArrayFromImage(make_image()))
    assert phase.image.GetOrigin() == make_image().GetOrigin()


def test_a_changed_and_a_missing_file_are_both_named(tmp_path):
    write_result(tmp_path / "out")
    (tmp_path / "out" / "lesions.csv").write_text("lesion\n1\n")
    (tmp_path / "out" / "phases" / "phase_1.nrrd").unlink()
    problems = verify_result(tmp_path / "out")
    assert problems == ["lesions.csv was changed since it was made.", "phases/phase_1.nrrd is missing."]


@pytest.mark.parametrize("stop", [ValueError("boom"), CancelledError("stop"), KeyboardInterrupt()])
def test_whatever_stops_the_writing_leaves_nothing_behind(tmp_path, stop):
    with pytest.raises(type(stop)), ResultWriter(tmp_path / "out") as writer:
        writer.image(make_image(), "phases/phase_1.nrrd")
        assert writer.staging.is_dir()
        raise stop
    assert leftovers(tmp_path) == []


def test_leaving_without_finish_leaves_nothing_behind(tmp_path):
    with ResultWriter(tmp_path / "out") as writer:
        writer.image(make_image(), "phases/phase_1.nrrd")
    assert leftovers(tmp_path) == []


def test_an_existing_result_needs_overwrite_and_names_the_ways_out(tmp_path):
    write_result(tmp_path / "out")
    with pytest.raises(InputError, match=r"--resume.*--overwrite"):
        write_result(tmp_path / "out", seed=1)
    before = load_result(tmp_path / "out").manifest.outputs
    write_result(tmp_path / "out", seed=1, overwrite=True)
    after = load_result(tmp_path / "out").manifest.outputs
    assert before["phases/phase_1.nrrd"] != after["phases/phase_1.nrrd"]
    assert leftovers(tmp_path) == ["out"]


def test_a_failed_overwrite_keeps_the_old_result(tmp_path):
    write_result(tmp_path / "out")
    with pytest.raises(ValueError), ResultWriter(tmp_path / "out", overwrite=True) as writer:
        writer.image(make_image(1), "phases/phase_1.nrrd")
        raise ValueError
    assert verify_result(tmp_path / "out") == []
    assert leftovers(tmp_path) == ["out"]


def test_the_old_result_comes_back_when_the_new_one_cannot_be_put_in_place(tmp_path, monkeypatch):
    write_result(tmp_path / "out")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InputError, match="Permission denied"):
        write_result(tmp_path / "out", seed=1, overwrite=True)
    assert verify_result(tmp_path / "out") == []
    assert leftovers(tmp_path) == ["out"]


def test_overwrite_never_replaces_a_folder_that_is_not_a_result(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(InputError, match="other files"):
        write_result(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"meow"


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    assert verify_result(write_result(tmp_path / "empty").folder) == []
    assert verify_result(write_result(tmp_path / "a" / "b" / "c").folder) == []


def test_a_file_as_output_or_as_its_parent_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="-o") as caught:
            write_result(out)
        assert str(caught.value).count("\n") == 0
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def denied(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(InputError, match="Permission denied"):
        write_result(tmp_path / "out")


def test_a_full_disk_is_one_sentence_with_the_room_left(tmp_path, monkeypatch):
    def full(image: sitk.Image, path: Path, **kwargs: object) -> None:
        path.write_bytes(b"half a volume")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(volumes, "write", full)
    with pytest.raises(InputError, match=r"disk .* is full: .* [0-9.]+ MiB are free"):
        write_result(tmp_path / "out")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_file_that_itk_cut_short_on_a_full_disk_is_noticed(tmp_path, monkeypatch, suffix):
    """ITK writes NIfTI to a full disk without an error, so the file's length is checked."""
    write = volumes.write

    def cut(image: sitk.Image, path: Path, **kwargs: object) -> None:
        write(image, path)
        path.write_bytes(path.read_bytes()[:-200])

    monkeypatch.setattr(volumes, "write", cut)
    with pytest.raises(InputError, match="is full"), ResultWriter(tmp_path / "out") as writer:
        writer.image(make_image(), f"phases/phase_1{suffix}")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": "x"}', '{"schema_version": 99}'])
def test_a_damaged_or_foreign_manifest_is_refused(tmp_path, content):
    write_result(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(content)
    with pytest.raises(InputError):
        load_result(tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value"),
    [("outputs", []), ("phases", [{"index": "1", "file": "x"}]), ("summary", 3), ("warnings", [1]), ("inputs", [{}]),
     ("timing_s", "x"), ("run_id", None), ("outputs", {"x": 1}),
     ("phases", [{"index": 1, "file": 7}]), ("outputs", {"a\0b": "0"})],
)  # fmt: skip
def test_a_manifest_whose_values_are_of_other_types_is_refused(tmp_path, field, value):
    """The rest of the program relies on them: a list of outputs ended `--resume` with an unexpected error."""
    write_result(tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(InputError, match="not a manifest"):
        load_result(tmp_path / "out")


def test_a_manifest_that_points_outside_its_folder_is_refused(tmp_path):
    written = write_result(tmp_path / "out")
    bad = dataclasses.replace(written.manifest, outputs={"../secret": "0" * 64})
    files.write_json(tmp_path / "out" / "manifest.json", dataclasses.asdict(bad))
    with pytest.raises(InputError, match="outside"):
        load_result(tmp_path / "out")


def test_what_a_killed_run_left_is_cleared_by_the_next_one(tmp_path):
    script = (
        "import os, sys; from pathlib import Path\n"
        "from VirtualContrastLib.results.writer import ResultWriter\n"
        "writer = ResultWriter(Path(sys.argv[1])).__enter__()\n"
        "writer.path('phases/phase_1.nrrd').write_bytes(b'x')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "out").exists()
    assert len(leftovers(tmp_path)) == 1  # the staging folder of the dead process
    write_result(tmp_path / "out")
    assert leftovers(tmp_path) == ["out"]


def test_what_a_run_writes_while_it_is_cleared_away_is_cleared_by_the_next_who_looks(tmp_path, monkeypatch):
    """A worker that is told to end at once removes its folder while its other thread still writes."""
    writer = ResultWriter(tmp_path / "out").__enter__()
    writer.path("phases/phase_1.nrrd").write_bytes(b"x")
    remove, late = shutil.rmtree, iter([writer.staging / "curves.csv"])

    def writing(path, **options):
        for entry in list(path.iterdir()):
            remove(entry) if entry.is_dir() else entry.unlink()
        for file in late:  # after the first look into the folder
            file.touch()
        with contextlib.suppress(OSError):
            path.rmdir()

    monkeypatch.setattr(staging.shutil, "rmtree", writing)
    staging.remove_partial(tmp_path / "out", os.getpid())
    staging.remove_partial(tmp_path / "out", os.getpid())
    assert leftovers(tmp_path) == []


def test_a_second_run_into_one_folder_is_refused_at_once_and_the_first_goes_on(tmp_path):
    with ResultWriter(tmp_path / "out") as first:
        first.path("x").write_text("x")
        with pytest.raises(InputError, match="Another run is making"):
            write_result(tmp_path / "out", overwrite=True)
        first.finish(make_manifest())
    assert verify_result(tmp_path / "out") == []
    assert leftovers(tmp_path) == ["out"]


def test_of_two_runs_that_did_not_see_each_other_the_later_one_is_refused_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "_refuse_second_run", lambda out, own: None)
    with pytest.raises(InputError, match="made by someone else"), ResultWriter(tmp_path / "out") as later:
        won = write_result(tmp_path / "out")
        later.path("x").write_text("x")
        later.finish(make_manifest())
    assert load_result(tmp_path / "out").manifest.run_id == won.manifest.run_id
    assert leftovers(tmp_path) == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_a_user_puts_in_the_place_while_the_run_computes_stays(tmp_path, overwrite):
    with (
        pytest.raises(InputError, match=r"made by someone else .* -o"),
        ResultWriter(tmp_path / "out", overwrite=overwrite) as writer,
    ):
        writer.path("x").write_text("x")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "user.txt").write_text("only copy")
        writer.finish(make_manifest())
    assert (tmp_path / "out" / "user.txt").read_text() == "only copy"
    assert leftovers(tmp_path) == ["out"]


def test_a_folder_made_between_the_last_look_and_the_rename_stays(tmp_path, monkeypatch):
    """The rename itself refuses to replace what is there."""
    monkeypatch.setattr(result_writer, "check_target", lambda out, overwrite: None)
    with pytest.raises(InputError, match="made by someone else"), ResultWriter(tmp_path / "out") as writer:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "user.txt").write_text("only copy")
        writer.finish(make_manifest())
    assert leftovers(tmp_path) == ["out"]
    assert leftovers(tmp_path / "out") == ["user.txt"]


OLD_ID = "20260101T000000-abcdef"


@pytest.mark.parametrize("name", ["out.old-2019", "out.partial-masks", f"out.old-{OLD_ID}", f"out.partial-{OLD_ID}"])
@pytest.mark.parametrize("content", ["notes", "result"])
@pytest.mark.parametrize("there", [False, True])
def test_folders_beside_it_that_the_writer_did_not_make_stay(tmp_path, name, content, there):
    other = tmp_path / name
    if content == "result":
        write_result(other)
    else:
        other.mkdir()
        (other / "notes.txt").write_text("only copy")
    os.utime(other, (0, 0))
    before = leftovers(other)
    if there:
        write_result(tmp_path / "out")
    write_result(tmp_path / "out", overwrite=there)
    assert leftovers(other) == before
    assert leftovers(tmp_path) == sorted([name, "out"])


def test_a_place_that_was_reserved_keeps_its_permissions(tmp_path):
    (tmp_path / "out").mkdir(mode=0o700)
    with ResultWriter(tmp_path / "out") as writer:
        assert writer.staging.stat().st_mode & 0o777 == 0o700
        writer.path("x").write_text("x")
        writer.finish(make_manifest())
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert leftovers(tmp_path / "out") == ["manifest.json", "x"]


DYING = """
import os, sys
from pathlib import Path
from VirtualContrastLib.results.writer import ResultWriter
sys.path.insert(0, sys.argv[2])
from test_result import make_manifest

rename = Path.rename

def dying(self, target):
    done = rename(self, target)
    if ("old" if sys.argv[3] == "aside" else "partial") in (target if sys.argv[3] == "aside" else self).name:
        os.kill(os.getpid(), 9)
    return done

Path.rename = dying
with ResultWriter(Path(sys.argv[1]), overwrite=True) as writer:
    writer.path("new").write_text("x")
    writer.finish(make_manifest())
"""


@pytest.mark.parametrize(("moment", "kept"), [("aside", "lesions.csv"), ("in place", "new")])
def test_a_run_killed_while_it_swaps_leaves_the_old_or_the_new_result_and_the_next_run_clears_up(
    tmp_path, moment, kept
):
    write_result(tmp_path / "out")
    line = [sys.executable, "-c", DYING, str(tmp_path / "out"), str(Path(__file__).parent), moment]
    assert subprocess.run(line, check=False).returncode == -9
    assert len(leftovers(tmp_path)) == 2
    staging.recover(tmp_path / "out")
    assert verify_result(tmp_path / "out") == []
    assert kept in load_result(tmp_path / "out").manifest.outputs
    assert leftovers(tmp_path) == ["out"]
    write_result(tmp_path / "out", overwrite=True)
    assert leftovers(tmp_path / "out") == ["lesions.csv", "manifest.json", "phases"]


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert leftovers(tmp_path) == ["x.json"]
