"""Volumes that came from DICOM: the run sees their headers, and what it writes belongs to their patient and study."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import slicer
from module_samples import TESTING, add_pre, run_samples
from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.run.pipeline import run
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app.run import dicom_source, parameters
from VirtualContrastLib.slicer_app.run.engine_process import EngineProcess
from VirtualContrastLib.slicer_app.run.synthesis_run import Callbacks, SynthesisRunner
from VirtualContrastLib.slicer_app.run.transfer import RealPhases

sys.path.insert(0, str(TESTING / "engine"))
import tiny_models
from mammogram_samples import write_scan
from test_export_dicom_series import reference_series

PATIENT = {"PatientName": "Doe^Jane", "PatientID": "4711", "PatientSex": "F"}
SAME = ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient",
        "ImageOrientationPatient", "PixelSpacing", "TriggerTime", "AcquisitionTime")  # fmt: skip


@pytest.fixture
def scanner(tmp_path):
    """Folders with a pre-contrast series and two phases 95 and 185 s later, of one patient."""
    arrays = [run_samples.make_pre(), run_samples.make_real(1), run_samples.make_real(2)]
    study, frame = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    folders = []
    for number, (array, clock) in enumerate(zip(arrays, ("100000", "100135", "100305"), strict=True)):
        image = run_samples.make_image(array.clip(0).round().astype(np.float32))
        files = reference_series(
            tmp_path / "scan" / str(number),
            image,
            **PATIENT,
            StudyInstanceUID=study,
            SeriesNumber=number + 1,
            SeriesInstanceUID=pydicom.uid.generate_uid(),
            FrameOfReferenceUID=frame,
            AcquisitionTime=clock,
        )
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
            dataset.save_as(file)
        folders.append(files[0].parent)
    return folders


@pytest.fixture
def volumes(host, scanner):
    return [slicer.dicomDatabase.load_series(folder, f"series {n}") for n, folder in enumerate(scanner)]


@pytest.fixture
def synthesis(host):
    synthesis = SynthesisRunner(EngineProcess())
    yield synthesis
    synthesis.shutdown()


@pytest.fixture
def settings(tmp_path):
    model = str(run_samples.write_model(tmp_path / "model"))
    return RunSettings(model=model, segmentation="threshold", device="cpu", dicom=True)


def headers(folder):
    """What each synthetic image says of patient, study, place and time, in order."""
    found = [pydicom.dcmread(path) for path in sorted((folder / "dicom").rglob("*.dcm"))]
    images = [dataset for dataset in found if dataset.Modality == "MR"]
    told = [[str(dataset.get(keyword)) for keyword in SAME] for dataset in images]
    references = [[str(item.ReferencedSOPInstanceUID) for item in dataset.get("SourceImageSequence", ())]
                  for dataset in images]  # fmt: skip
    return sorted(zip(told, references, strict=True))


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_panels_dicom_is_that_of_the_command_line(host, synthesis, volumes, scanner, settings, tmp_path):
    real = RealPhases(tuple(volumes[1:]))
    loaded = synthesis.process(volumes[0], settings, real=real, output_folder=tmp_path / "panel")
    (panel,) = (tmp_path / "panel").iterdir()
    command = tmp_path / "command"
    arguments = ["synthesize", scanner[0], "-o", command, "--model", settings.model, "--dicom", "--device", "cpu"]
    arguments += ["--segmentation", "threshold", "--real", scanner[1], scanner[2]]
    done = subprocess.run(
        [sys.executable, "-m", "VirtualContrastLib", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = headers(panel), headers(command)
    assert len(ours) == 3 * 6
    assert ours == theirs
    assert ours[0][0][:3] == ["Doe^Jane", "4711", "F"]
    assert all(references for _told, references in ours)
    inputs = [[{key: entry[key] for key in ("role", "sha256", "format", "modality", "time_s")}
               for entry in manifest_of(folder)["inputs"]] for folder in (panel, command)]  # fmt: skip
    assert inputs[0] == inputs[1]
    assert [entry["time_s"] for entry in inputs[0]] == [0.0, 95.0, 185.0]
    assert {entry["modality"] for entry in inputs[0]} == {"MR"}
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(slicer.mrmlScene.GetNodeByID(loaded.phases[0].volume)).shape,
        slicer.util.arrayFromVolume(volumes[0]).shape,
    )


@pytest.mark.parametrize("inverted", [False, True])
def test_the_panels_mammogram_is_that_of_the_command_line(host, panel, synthesis, tmp_path, inverted):
    """The engine turns the values of MONOCHROME1 round, and Slicer loads them as stored."""
    scan = write_scan(tmp_path / "scan", inverted=inverted)
    model = tiny_models.tiny_mammogram_model(tmp_path / "model").folder
    volume = slicer.dicomDatabase.load_series(scan.parent, "L CC")
    panel.parameters.model, panel.parameters.dicom = str(model), True
    panel.ui.inputSelector.setCurrentNode(volume)
    assert parameters.why_not(panel.parameters) == ""
    settings = parameters.run_settings(panel.parameters)
    assert settings.dicom
    synthesis.process(volume, settings, output_folder=tmp_path / "panel")
    (ours,) = (tmp_path / "panel").glob("*/dicom/*.dcm")
    command = RunSettings(model=str(model), dicom=True, device="cpu")
    theirs = run(scan, tmp_path / "command", command).folder / "dicom" / ours.name
    # UIDs of a run's objects, and times, also that of the contribution
    own = {"SOPInstanceUID", "SeriesInstanceUID", "SeriesDate", "SeriesTime", "ContentDate", "ContentTime",
           "InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"}  # fmt: skip
    first, second = ({e.keyword: e.value for e in pydicom.dcmread(path)} for path in (ours, theirs))
    assert {key: first[key] for key in first if key not in own} == {
        key: second[key] for key in second if key not in own
    }
    assert (first["Modality"], first["PatientID"], first["ViewPosition"]) == ("MG", "4711", "CC")


def test_the_files_of_a_volume_are_handed_over_and_a_volume_that_was_changed_is_not_them(host, volumes, tmp_path):
    files = dicom_source.files_of(volumes[0])
    assert len(files) == 6
    assert drain(dicom_source.hand_over(volumes[0], files, tmp_path / "same"))
    assert len(list((tmp_path / "same").iterdir())) == 6
    array = slicer.util.arrayFromVolume(volumes[0])
    array[2, 10:14, 10:14] += 3
    array[2, 12, 12] += 4
    assert not drain(dicom_source.hand_over(volumes[0], files, tmp_path / "edited"))
    assert list((tmp_path / "edited").iterdir()) == []
    volumes[1].SetOrigin(1.0, 2.0, 3.0)
    assert not drain(dicom_source.hand_over(volumes[1], dicom_source.files_of(volumes[1]), tmp_path / "moved"))


def drain(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_changed_volume_runs_from_its_voxels_and_says_what_that_means(host, volumes, settings, tmp_path):
    handed, warned = [], []

    class Recorder(EngineProcess):
        def run(self, request, listener):
            handed.append(request)

    slicer.util.arrayFromVolume(volumes[0])[1, 5:9, 5:9] *= 2
    synthesis = SynthesisRunner(Recorder())
    callbacks = Callbacks(warning=warned.append)
    synthesis.start(volumes[0], settings, callbacks, real=RealPhases((volumes[1],)), output_folder=tmp_path / "out")
    host.wait_until(lambda: handed)
    assert handed[0].source.name == "pre.nrrd"
    assert handed[0].real[0].name == "real_1"
    assert len(warned) == 1
    assert "changed since it was loaded" in warned[0]
    synthesis.shutdown()


def test_the_panel_says_whose_the_dicom_objects_are(host, panel, volumes, scanner):
    panel.ui.dicomCheckBox.checked = True
    panel.ui.inputSelector.setCurrentNode(volumes[0])
    assert "the patient and the study" in panel.ui.dicomLabel.text
    panel.ui.inputSelector.setCurrentNode(add_pre())
    assert "anonymous patient in a new study" in panel.ui.dicomLabel.text
    shutil.rmtree(scanner[1])
    panel.ui.inputSelector.setCurrentNode(volumes[1])
    assert "anonymous patient" in panel.ui.dicomLabel.text
    panel.ui.dicomCheckBox.checked = False
    assert panel.ui.dicomLabel.isHidden()


def test_the_header_is_asked_what_it_is(host, synthesis, scanner, settings, tmp_path):
    """The gate of the command line: what is no MR does not become one by being loaded."""
    for file in scanner[0].iterdir():
        dataset = pydicom.dcmread(file)
        dataset.Modality = "CT"
        dataset.save_as(file)
    volume = slicer.dicomDatabase.load_series(scanner[0], "CT")
    with pytest.raises(VirtualContrastError, match="modality CT"):
        synthesis.process(volume, settings, output_folder=tmp_path / "out")
