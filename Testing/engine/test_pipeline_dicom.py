"""DICOM of a run: what is exported, and that its sources are read once."""

import shutil
from dataclasses import replace

import pydicom
import run_samples
from test_export_dicom_series import reference_series
from VirtualContrastLib.events import Events, Stage
from VirtualContrastLib.results.manifest import verify_result
from VirtualContrastLib.run.pipeline import run
from VirtualContrastLib.study import Phase


def test_dicom_holds_a_series_a_phase_and_lesions_in_the_input_geometry(study, chosen, models, tmp_path, no_pictures):
    settings = replace(chosen, dicom=True)
    result = run(study / "pre.nrrd", tmp_path / "out", settings, lesions=study / "mask.nrrd", models=models)
    files = sorted((result.folder / "dicom" / "phase_2").iterdir())
    headers = [pydicom.dcmread(file) for file in files]
    assert len(files) == run_samples.SIZE[2]
    assert {header.get_item(0x0008001C).value for header in headers} <= {b"YES ", "YES", b"YES"}
    assert [float(v) for v in headers[0].ImagePositionPatient] == [-24.0, -60.5, 11.0]
    assert pydicom.dcmread(result.folder / "dicom" / "lesions_seg.dcm").Modality == "SEG"
    assert pydicom.dcmread(result.folder / "dicom" / "lesions_sr.dcm").Modality == "SR"
    assert "dicom/lesions_seg.dcm" in result.manifest.outputs


class Replacer:
    """Gives other files to a folder of DICOM when the run has read it."""

    def __init__(self, folder, **changes):
        self.folder, self.changes = folder, changes

    def progress(self, stage, done, total):
        if stage is Stage.SYNTHESIZE and self.changes:
            for path in self.folder.rglob("*.dcm"):
                dataset = pydicom.dcmread(path)
                for keyword, value in self.changes.items():
                    setattr(dataset, keyword, value)
                dataset.save_as(path)
            self.changes = {}

    def warning(self, message):
        pass


def test_dicom_files_replaced_during_the_run_change_nothing_of_what_is_exported(chosen, models, tmp_path, no_pictures):
    """The patient on the synthetic images is the one whose pixels were read."""
    phase = Phase(1, run_samples.make_image(run_samples.make_pre()), 0.0, True)
    reference_series(tmp_path / "scan", phase.image, PatientName="RIGHT^PATIENT", PatientID="1")
    replacer = Replacer(tmp_path / "scan", PatientName="OTHER^PATIENT", PatientID="2")
    settings = replace(chosen, dicom=True)
    result = run(tmp_path / "scan", tmp_path / "out", settings, events=Events([replacer]), models=models)
    assert replacer.changes == {}
    names = {str(pydicom.dcmread(path).PatientName) for path in result.folder.rglob("*.dcm")}
    assert names == {"RIGHT^PATIENT"}
    assert "PATIENT" not in (result.folder / "manifest.json").read_text()


def test_dicom_sources_that_are_removed_during_the_run_are_no_longer_needed(chosen, models, tmp_path, no_pictures):
    phase = Phase(1, run_samples.make_image(run_samples.make_pre()), 0.0, True)
    reference_series(tmp_path / "scan", phase.image, PatientID="1")

    class Remover(Replacer):
        def progress(self, stage, done, total):
            if stage is Stage.SYNTHESIZE:
                shutil.rmtree(self.folder, ignore_errors=True)

    events = Events([Remover(tmp_path / "scan")])
    result = run(tmp_path / "scan", tmp_path / "out", replace(chosen, dicom=True), events=events, models=models)
    assert verify_result(result.folder) == []
