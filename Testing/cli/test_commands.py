"""`virtual-contrast batch`, `compare`, `models` and `info`."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import run_samples
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.catalog import any_package, load_catalog
from VirtualContrastLib.results.manifest import load_result
from VirtualContrastLib.run import write_outputs
from VirtualContrastLib.run.batch_cases import read_cases
from VirtualContrastLib.run.plan import synthesis_package
from VirtualContrastLib.run.settings import RunSettings


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = run_samples.write_study(tmp_path_factory.mktemp("study"), phases=3)
    run_samples.write_model(folder / "model")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Downloaded and imported models go to a folder of the test."""
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_batch_ends_with_4_when_a_case_failed_and_says_where_the_summary_is(place, tmp_path, capfd):
    table = tmp_path / "cases.csv"
    table.write_text(f"case,input\ngood,{place}/pre.nrrd\nbad,{place}/none.nrrd\n")
    options = ["--model", str(place / "model"), "--segmentation", "threshold"]
    assert main(["batch", str(table), "-o", str(tmp_path / "out"), *options]) == 4
    out, err = capfd.readouterr()
    assert "2 cases: 1 done, 1 failed" in out
    assert str(tmp_path / "out" / "summary.csv") in out
    assert "[2/2] bad" in err
    assert [row["status"] for row in rows(tmp_path / "out" / "summary.csv")] == ["done", "failed"]
    assert main(["batch", str(table), "-o", str(tmp_path / "out"), *options, "--resume", "--json"]) == 4
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    ended = [(e["case"], e["status"]) for e in events if e["event"] == "case" and e["status"] != "started"]
    assert ended == [("good", "kept"), ("bad", "failed")]
    assert events[-1]["exit_code"] == 4


def test_a_batch_of_nothing_ends_with_2(tmp_path, capfd):
    assert main(["batch", str(tmp_path / "nothing"), "-o", str(tmp_path / "out")]) == 2
    assert "does not exist" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "out", "words"),
    [
        (
            "a,~nobody-of-this-name/x.nrrd",
            "out",
            "cases.csv line 2 names ~nobody-of-this-name/x.nrrd, but there is no such user",
        ),
        ("summary.csv,{place}/pre.nrrd", "out", "summary.csv"),
        ("a,{place}/pre.nrrd", "o" * 300, "too long"),
    ],
)
def test_a_batch_that_cannot_be_meant_ends_with_2_before_anything_is_made(place, tmp_path, capfd, row, out, words):
    (tmp_path / "cases.csv").write_text("case,input\n" + row.format(place=place) + "\n")
    model = ["--model", str(place / "model"), "--segmentation", "threshold"]
    assert main(["batch", str(tmp_path / "cases.csv"), "-o", str(tmp_path / out), *model]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error")]
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["batch", "", "-o", "out"],
        ["batch", ".", "-o", ""],
        ["compare", "", "", "-o", "out"],
        ["models", "verify", ""],
        ["models", "show", ""],
        ["synthesize", "pre.nrrd", "-o", "out", "--model", ""],
    ],
)
def test_an_empty_path_is_not_taken_for_the_working_folder(tmp_path, monkeypatch, capfd, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "is empty" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", [read_cases, any_package, load_result])
def test_an_empty_path_in_a_script_is_refused(call):
    with pytest.raises(InputError, match="path is empty"):
        call("")


def test_compare_of_two_volumes_gives_their_metrics(place, tmp_path, capsys):
    synthetic = sitk.ReadImage(str(place / "phase_1.nrrd")) + 5.0
    sitk.WriteImage(synthetic, str(tmp_path / "synthetic.nrrd"))
    arguments = [str(tmp_path / "synthetic.nrrd"), str(place / "phase_1.nrrd"), "-o", str(tmp_path / "out")]
    assert main(["compare", *arguments]) == 0
    (row,) = rows(tmp_path / "out" / "comparison.csv")
    assert float(row["mae"]) == pytest.approx(5.0, rel=1e-5)
    assert float(row["mse"]) == pytest.approx(25.0, rel=1e-5)
    result = load_result(tmp_path / "out")
    assert result.manifest.kind == "comparison"
    assert "whole image" in capsys.readouterr().out
    assert main(["compare", *arguments]) == 2
    assert main(["compare", *arguments, "--overwrite"]) == 0


def test_compare_of_a_result_folder_adds_curves_and_agreement(place, tmp_path):
    made, out = str(tmp_path / "made"), tmp_path / "out"
    real = [str(place / f"phase_{n}.nrrd") for n in (1, 2, 3)]
    lesions = ["--lesions", str(place / "mask.nrrd")]
    assert main(["synthesize", str(place / "pre.nrrd"), "-o", made, "--model", str(place / "model"), *lesions]) == 0
    assert main(["compare", made, *real, "-o", str(out), "--pre", str(place / "pre.nrrd")]) == 0
    assert len(rows(out / "comparison.csv")) == 3 * 3 * 2
    assert {row["lesion"] for row in rows(out / "curves.csv")} == {"1", "2"}
    assert "bias of peak PE" in {row["quantity"] for row in rows(out / "agreement.csv")}


def test_compare_tells_a_pre_contrast_volume_that_the_result_was_not_made_from(place, tmp_path, capsys):
    image = sitk.ReadImage(str(place / "pre.nrrd"))
    sitk.WriteImage(image, str(tmp_path / "copy.nii.gz"))  # another file with the same voxels
    other = sitk.Flip(image, (True, False, False))
    other.CopyInformation(image)
    sitk.WriteImage(other, str(tmp_path / "other.nrrd"))
    made, real = str(tmp_path / "made"), str(place / "phase_1.nrrd")
    assert main(["synthesize", str(place / "pre.nrrd"), "-o", made, "--model", str(place / "model")]) == 0
    told = {}
    for name in ("copy.nii.gz", "other.nrrd"):
        capsys.readouterr()
        assert main(["compare", made, real, "--pre", str(tmp_path / name), "-o", str(tmp_path / f"out {name}")]) == 0
        told[name] = "that made was made from" in capsys.readouterr().err
    assert told == {"copy.nii.gz": False, "other.nrrd": True}


def test_compare_without_a_pre_contrast_volume_holds_the_real_phases_against_each_other(tmp_path, capsys):
    for name, patient, time in (("a", "1", "100000"), ("b", "2", "100130"), ("c", "1", "095900")):
        tags = {"PatientID": patient, "AcquisitionTime": time}
        MrSeries(oblique_image()).write(tmp_path / name, **tags)
    synthetic, a, b, c = (str(tmp_path / name) for name in "aabc")
    assert main(["compare", synthetic, a, b, "-o", str(tmp_path / "out")]) == 0
    assert "b is of another patient than a" in capsys.readouterr().err
    assert main(["compare", synthetic, a, c, "-o", str(tmp_path / "none")]) == 2
    assert "in the order c, a" in capsys.readouterr().err


def test_compare_refuses_times_in_minutes_as_synthesize_does(place, tmp_path, capsys):
    real = [str(place / f"phase_{n}.nrrd") for n in (1, 2)]
    assert main(["compare", real[0], *real, "-o", str(tmp_path / "out"), "--times", "1.5", "3.5"]) == 2
    assert "look like minutes" in capsys.readouterr().err


def test_compare_tells_when_the_grids_differ(place, tmp_path, capsys):
    small = sitk.ReadImage(str(place / "phase_1.nrrd"))[:, :, 1:]
    sitk.WriteImage(small, str(tmp_path / "small.nrrd"))
    code = main(["compare", str(place / "phase_2.nrrd"), str(tmp_path / "small.nrrd"), "-o", str(tmp_path / "out")])
    assert code == 2
    assert "small.nrrd does not lie on the grid" in capsys.readouterr().err


def test_models_can_be_imported_shown_verified_used_and_removed(place, tmp_path, capsys):
    assert main(["models", "import", str(place / "model")]) == 0
    assert main(["models", "import", str(place / "model")]) == 2  # it is there now
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    (done,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (mine,) = [model for model in done["models"] if model["id"] == "tiny"]
    assert (mine["kind"], mine["where"]) == ("synthesis", "installed")
    assert main(["models", "show", "tiny"]) == 0
    assert '"output_nc": 3' in capsys.readouterr().out
    assert main(["models", "verify", "tiny"]) == 0
    out = ["-o", str(tmp_path / "out"), "--segmentation", "threshold"]
    assert main(["synthesize", str(place / "pre.nrrd"), "--model", "tiny", *out]) == 0
    assert main(["models", "remove", "tiny"]) == 0
    assert main(["models", "verify", "tiny"]) == 2


def test_a_zipped_package_is_imported_too(place, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "tiny"), "zip", place / "model")
    assert main(["models", "import", archive]) == 0
    assert main(["models", "verify", "tiny"]) == 0


def test_a_tampered_model_fails_verification_and_is_not_imported(place, tmp_path, capsys):
    bad = shutil.copytree(place / "model", tmp_path / "bad")
    weights = bytearray((bad / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (bad / "weights.safetensors").write_bytes(weights)
    assert main(["models", "verify", str(bad)]) == 2
    assert main(["models", "import", str(bad)]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_a_checkpoint_of_nvidias_layout_is_imported_from_a_file_and_from_a_zip(tmp_path):
    import tiny_models
    import torch

    card = tiny_models.tiny_card()
    state = tiny_models.tiny_state(card)
    torch.save(state, tmp_path / "30_net_G.pth")
    code = main(["models", "import", str(tmp_path / "30_net_G.pth"), "--id", "foreign", "--layout", "joint"])
    assert code == 0
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "30_net_G.pth")
    assert main(["models", "import", str(tmp_path / "packed.zip"), "--id", "zipped"]) == 0
    for name in ("foreign", "zipped"):
        assert main(["models", "verify", name]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing"], "nothing"),
        (["download", "nothing"], "nothing"),
        (["download", "phantom-joint-p1-p3"], "part of the software"),
        (["remove", "nothing"], "nothing"),
        (["import", "/no/such/file.pth"], "does not exist"),
        (["remove", "default"], "part of the software"),
        (["download", "default"], "part of the software"),
    ],
)
def test_models_commands_say_what_is_wrong(capsys, arguments, words):
    assert main(["models", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_models_commands_know_the_default_model_as_synthesize_does(capsys):
    expected = load_catalog().default_id("synthesis")
    assert main(["models", "show", "default", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["card"]["id"] == expected
    assert main(["models", "verify", "default"]) == 0
    assert synthesis_package(RunSettings(model="default"), "pre.nrrd").card.id == expected


def test_info_tells_devices_versions_models_and_room(capsys):
    assert main(["info", "--json"]) == 0
    (info,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    devices = {device["device"]: device for device in info["devices"]}
    assert devices["cpu"]["usable"] is True
    assert info["versions"]["numpy"] == np.__version__
    assert info["disk_free_bytes"] > 0
    assert info["memory_free_bytes"] > 0
    assert any(model["id"] == "medigan-00023-pix2pixhd" for model in info["models"])
    assert main(["info"]) == 0
    assert "Devices (after a real computation)" in capsys.readouterr().out


def test_the_filters_of_itk_share_a_pool_of_threads():
    code = (
        "from VirtualContrastLib.cli.main import main\n"
        "assert main(['models', 'list', '--quiet']) == 0\n"
        "import SimpleITK\n"
        "print(SimpleITK.ProcessObject.GetGlobalDefaultThreader())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ITK_GLOBAL_DEFAULT_THREADER"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.split()[-1] == "Pool"


def test_waiting_threads_sleep_unless_the_user_wants_otherwise(monkeypatch):
    from VirtualContrastLib.threads import set_up_threads

    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    set_up_threads()
    assert os.environ["GOMP_SPINCOUNT"] == "77"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    set_up_threads()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    set_up_threads()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
