"""Runs that do not end as planned, or find a result: resume, cancel, full disks, kills; nothing half is left."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import run_samples
from VirtualContrastLib.events import CancelledError, Events, InputError, Stage
from VirtualContrastLib.io import volumes
from VirtualContrastLib.results.manifest import load_result, verify_result
from VirtualContrastLib.run.pipeline import run


def test_resume_keeps_a_whole_result_of_the_same_job(done, study, chosen, models):
    real = [study / f"phase_{n}.nrrd" for n in (1, 2, 3)]
    settings = replace(chosen, uncertainty=2, resume=True, real_times_s=run_samples.REAL_TIMES_S)
    before = (done.folder / "manifest.json").stat().st_mtime_ns
    kept = run(study / "pre.nrrd", done.folder, settings, real=real, lesions=study / "mask.nrrd", models=models)
    assert kept.kept
    assert (done.folder / "manifest.json").stat().st_mtime_ns == before


def test_resume_refuses_another_job_and_a_changed_result(study, chosen, models, tmp_path, no_pictures):
    out = tmp_path / "out"
    run(study / "pre.nrrd", out, chosen, models=models)
    resume = replace(chosen, resume=True)
    with pytest.raises(InputError, match="another input"):
        run(study / "phase_1.nrrd", out, resume, models=models)
    with pytest.raises(InputError, match="another input"):
        run(study / "pre.nrrd", out, replace(resume, times_s=(60.0, 120.0, 180.0)), models=models)
    (out / "curves.csv").write_text("edited by hand")
    with pytest.raises(InputError, match=r"curves\.csv was changed"):
        run(study / "pre.nrrd", out, resume, models=models)
    assert (out / "curves.csv").read_text() == "edited by hand"
    again = run(study / "pre.nrrd", out, replace(resume, overwrite=True), models=models)
    assert not again.kept
    assert verify_result(out) == []


def test_an_existing_result_is_refused_before_any_work(done, study, chosen):
    events = Events([recorder := run_samples.Recorder()])
    with pytest.raises(InputError, match="exists"):
        run(study / "pre.nrrd", done.folder, chosen, events=events, models=None)
    assert recorder.seen == []


@pytest.mark.parametrize("stage", [s for s in Stage if s not in (Stage.REGISTER, Stage.COMPARE)])
def test_cancel_in_any_stage_leaves_nothing(study, chosen, models, tmp_path, stage):
    recorder = run_samples.Recorder(cancel_at=stage)
    recorder.events = Events([recorder])
    with pytest.raises(CancelledError):
        run(study / "pre.nrrd", tmp_path / "out", chosen, events=recorder.events, models=models)
    assert list(tmp_path.iterdir()) == []
    assert [entry[0] for entry in recorder.seen if isinstance(entry, tuple)][-1] is stage


def test_a_full_disk_half_way_leaves_nothing_and_says_so(study, chosen, models, tmp_path, monkeypatch):
    write, calls = volumes.write, []

    def filling(image, path, **options):
        calls.append(path)
        if len(calls) == 4:
            path.write_bytes(b"cut")
            raise OSError(28, "No space left on device", str(path))
        write(image, path, **options)

    monkeypatch.setattr(volumes, "write", filling)
    with pytest.raises(InputError, match="is full"):
        run(study / "pre.nrrd", tmp_path / "out", chosen, models=models)
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_or_memory_is_refused_with_numbers_before_the_network_runs(
    study, chosen, models, tmp_path, monkeypatch
):
    monkeypatch.setattr("VirtualContrastLib.run.preflight.free_bytes", lambda folder: 3 * 2**20)
    with pytest.raises(InputError, match=r"may take \d+ MiB .* 3 MiB free"):
        run(study / "pre.nrrd", tmp_path / "out", chosen, models=models)
    monkeypatch.setattr("VirtualContrastLib.run.preflight.free_bytes", lambda folder: 2**40)
    monkeypatch.setattr("VirtualContrastLib.run.preflight.free_memory", lambda: 2.0**18)
    with pytest.raises(InputError, match=r"needs about \d+ MiB of memory"):
        run(study / "pre.nrrd", tmp_path / "out", chosen, models=models)
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_half_way_leaves_no_folder_that_looks_whole(study, model, tmp_path):
    script = (
        "import os, sys\n"
        "from VirtualContrastLib.run.pipeline import RunSettings, run\n"
        "from VirtualContrastLib.events import Events, Stage\n"
        "class Killer:\n"
        "    def progress(self, stage, done, total):\n"
        "        if stage is Stage.EXPORT and done >= 3: os.kill(os.getpid(), 9)\n"
        "    def warning(self, message): pass\n"
        "settings = RunSettings(model=sys.argv[2], segmentation='threshold', device='cpu')\n"
        "run(sys.argv[1], sys.argv[3], settings, events=Events([Killer()]))\n"
    )
    arguments = [str(study / "pre.nrrd"), str(model), str(tmp_path / "out")]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    (staging,) = tmp_path.iterdir()
    assert ".partial-" in staging.name
    assert not (staging / "manifest.json").exists()
    assert (staging / "phases" / "phase_1.nrrd").exists()  # it was killed while writing
    with pytest.raises(InputError):
        load_result(staging)
