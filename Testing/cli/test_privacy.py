"""What is planted of a patient in every kind of input is in nothing that a run leaves or prints, however it ends.

Paths and file names are the user's own and stand here for no patient. What may hold the patient are the DICOM
objects of a run that was not asked to de-identify, which belong to the patient's study.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import run_samples
import SimpleITK as sitk
from PIL import Image, PngImagePlugin
from test_export_dicom_series import reference_series
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import CancelledError
from VirtualContrastLib.export.figures import run_figures
from VirtualContrastLib.run import pipeline, write_outputs
from VirtualContrastTrainingLib.cli import main as training_main

PLANTED = {
    "PatientName": "Geheimnamen",  # of one component, as anonymizers leave it: libraries warn of it
    "PatientID": "PID0815GEHEIM",
    "PatientBirthDate": "1970-01-02",  # no date of DICOM: libraries quote it in their errors
    "AccessionNumber": "ACC4711GEHEIM",
    "ReferringPhysicianName": "Arztgeheim",
    "InstitutionName": "Klinik Geheimstadt",
    "OtherPatientIDs": "OID0815GEHEIM",
    "StudyDescription": "for Geheimnamen",
    "PatientComments": "neighbor of Arztgeheim",
}
SECRETS = [b"eheim", b"EHEIM", b"1970-01-02", b"19700102"]
PATIENTS_OWN = ("dicom",)


def plant_dicom(folder, image):
    """A classic series whose headers hold everything; values that are no valid ones are put in as bytes."""
    for path in reference_series(folder / "scan", image):
        dataset = pydicom.dcmread(path)
        for keyword, value in PLANTED.items():
            tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
            raw = value.encode() + b" " * (len(value) % 2)
            vr = pydicom.datadict.dictionary_VR(keyword)
            dataset[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(raw), raw, 0, False, True)
        block = dataset.private_block(0x0019, "GEHEIM VENDOR", create=True)
        block.add_new(0x10, "LO", "PID0815GEHEIM")
        dataset.save_as(path)
    return folder / "scan"


def plant_with_itk(name):
    def plant(folder, image):
        marked = sitk.Image(image)
        for key, value in PLANTED.items():
            marked.SetMetaData(key, value)
        sitk.WriteImage(marked, str(folder / name))
        return folder / name

    return plant


def plant_nifti(folder, image):
    sitk.WriteImage(image, str(folder / "pre.nii.gz"))
    volume = nibabel.load(folder / "pre.nii.gz")
    volume.header["descrip"], volume.header["aux_file"] = b"Geheimnamen 19700102", b"PID0815GEHEIM"
    volume.header["intent_name"] = b"Arztgeheim"
    changed = nibabel.Nifti1Image(volume.get_fdata(), volume.affine, volume.header)
    changed.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", json.dumps(PLANTED).encode()))
    nibabel.save(changed, folder / "pre.nii.gz")
    return folder / "pre.nii.gz"


KINDS = {
    "dicom": plant_dicom,
    "nrrd": plant_with_itk("pre.nrrd"),
    "metaimage": plant_with_itk("pre.mha"),
    "nifti": plant_nifti,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return run_samples.write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(params=KINDS)
def study(request, tmp_path):
    """A planted pre-contrast volume, and a planted mask and real phase of the same kind of file."""
    source = KINDS[request.param](tmp_path, run_samples.make_image(run_samples.make_pre()))
    mask = plant_with_itk("mask.seg.nrrd")(tmp_path, run_samples.make_image(run_samples.make_mask()))
    assert any(secret in content for path in files_of(tmp_path) for content in bytes_of(path) for secret in SECRETS)
    return source, mask


def arguments(study, model, out, *more):
    source, mask = study
    options = ["--model", str(model), "--lesions", str(mask), "--force", "--debug", "--uncertainty", "2", *more]
    return ["synthesize", str(source), "-o", str(out), *options]


def files_of(folder, but=()):
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not set(but) & set(path.parts)]


def bytes_of(path):
    """The content of a file, and what it holds packed."""
    content = path.read_bytes()
    found = [content]
    packed = content if content[:2] == b"\x1f\x8b" else content.partition(b"\n\n")[2]
    with suppress(EOFError, gzip.BadGzipFile):  # of a run that was killed the last file is not whole
        found.append(gzip.decompress(packed))
    return found


def assert_nothing_of_the_patient(out, printed, but=()):
    for name, content in [("print", printed.encode()), *((p, c) for p in files_of(out, but) for c in bytes_of(p))]:
        assert [secret for secret in SECRETS if secret in content] == [], name


def printed(capfd):
    return "".join(capfd.readouterr())


def test_a_run_that_succeeds(study, model, tmp_path, capfd, monkeypatch):
    """With its report, but no figures, which are drawn from voxels alone and take long."""
    monkeypatch.setattr(run_figures, "write_figures", lambda *_: [])
    out = tmp_path / "out"
    assert main(arguments(study, model, out, "--dicom")) == 0
    assert (out / "report.html").is_file()
    assert_nothing_of_the_patient(out, printed(capfd), PATIENTS_OWN)
    objects = [pydicom.dcmread(path) for path in files_of(out / "dicom")]
    assert objects and not any("Klinik" in str(dataset) or "GEHEIM VENDOR" in str(dataset) for dataset in objects)


@pytest.mark.parametrize("dates", [[], ["--keep-dates"]])
def test_a_run_that_is_to_deidentify(model, tmp_path, capfd, dates, monkeypatch):
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))
    source = plant_dicom(tmp_path, run_samples.make_image(run_samples.make_pre()))
    mask = plant_with_itk("mask.seg.nrrd")(tmp_path, run_samples.make_image(run_samples.make_mask()))
    out = tmp_path / "out"
    assert main(arguments((source, mask), model, out, "--dicom", "--deidentify", *dates)) == 0
    assert len(files_of(out / "dicom")) == 20
    assert_nothing_of_the_patient(out, printed(capfd))
    uids = {
        str(pydicom.dcmread(path).get(name))
        for path in files_of(source)
        for name in ("StudyInstanceUID", "SOPInstanceUID")
    }
    assert not any(uid.encode() in content for path in files_of(out) for content in bytes_of(path) for uid in uids)


@pytest.mark.parametrize(
    "ending", [CancelledError("Cancelled; nothing was written."), ZeroDivisionError("1970-01-02 of 'Geheimnamen'")]
)
def test_a_run_that_is_stopped_or_crashes(study, model, tmp_path, capfd, monkeypatch, ending):
    def end(*_arguments, **_options):
        raise ending

    monkeypatch.setattr(pipeline, "export", end)
    assert main(arguments(study, model, tmp_path / "out")) in (1, 3)
    assert not (tmp_path / "out").exists()
    assert_nothing_of_the_patient(tmp_path / "out", printed(capfd))


def test_an_input_that_cannot_be_used(study, model, tmp_path, capfd):
    source, mask = study
    for path in files_of(source) if source.is_dir() else [source]:
        path.write_bytes(path.read_bytes()[:-200])
    assert main(arguments((source, mask), model, tmp_path / "out")) == 2
    assert_nothing_of_the_patient(tmp_path / "out", printed(capfd))


def test_a_batch_with_a_case_that_fails(study, model, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))
    source, mask = study
    (tmp_path / "t.csv").write_text(f"case,input,lesions\na,{source},{mask}\nb,{mask},{mask}\n")
    line = ["batch", str(tmp_path / "t.csv"), "-o", str(tmp_path / "out"), "--model", str(model), "--force", "--debug"]
    assert main(line) in (0, 4)
    assert (tmp_path / "out" / "a" / "manifest.json").is_file()
    assert_nothing_of_the_patient(tmp_path / "out", printed(capfd))


def test_preparing_for_training(study, tmp_path, capfd):
    source, _ = study
    place = tmp_path / "subjects" / "a"
    place.mkdir(parents=True)
    if source.is_dir():
        source.rename(place / "scan")
    else:
        for number in range(2):
            (place / f"p{number}{''.join(source.suffixes)}").write_bytes(source.read_bytes())
    training_main(["prepare", "dynamic", str(tmp_path / "subjects"), "-o", str(tmp_path / "out")])
    assert_nothing_of_the_patient(tmp_path / "out", printed(capfd))


def test_pictures_with_texts(tmp_path, capfd):
    texts = PngImagePlugin.PngInfo()
    for key, value in PLANTED.items():
        texts.add_text(key, value)
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40), dtype=np.uint8)
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png", pnginfo=texts)
    pair = ["--real", str(tmp_path / "a.png"), "--synthetic", str(tmp_path / "b.png")]
    assert training_main(["evaluate", *pair, "-o", str(tmp_path / "out")]) == 0
    assert_nothing_of_the_patient(tmp_path / "out", printed(capfd))


@pytest.mark.slow
def test_a_run_that_is_killed(model, tmp_path):
    """What it leaves is its staging folder, beside the output."""
    source = plant_dicom(tmp_path, run_samples.make_image(run_samples.make_pre()))
    mask = plant_with_itk("mask.seg.nrrd")(tmp_path, run_samples.make_image(run_samples.make_mask()))
    line = [sys.executable, "-m", "VirtualContrastLib", *arguments((source, mask), model, tmp_path / "made" / "out")]
    run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 600
    while run.poll() is None and time.monotonic() < end and not list(tmp_path.glob("made/*/phases/*")):
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    told = run.communicate()[0]
    left = [path for path in Path(tmp_path / "made").iterdir() if "partial" in path.name]
    assert left, "the run ended before it was killed"
    assert_nothing_of_the_patient(tmp_path / "made", told)
