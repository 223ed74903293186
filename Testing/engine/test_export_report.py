"""The report: one whole page, nothing from outside, nothing of the patient, everything escaped."""

import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest
from export_samples import breast_study
from VirtualContrastLib.export.content import DISCLAIMER, RunIdentity
from VirtualContrastLib.export.figures.run_figures import FigureFile, FigureInput
from VirtualContrastLib.export.report.report import ReportContent, write_report
from VirtualContrastLib.export.report.viewer import viewer_html
from VirtualContrastLib.kinetics.agreement import agreement
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.lesions.location import LesionPlace
from VirtualContrastLib.lesions.measurement import measure_lesions
from VirtualContrastLib.metrics.image_pairs import compare_images
from VirtualContrastLib.results.manifest import Manifest

VOID = {"meta", "img", "br", "hr", "link", "input"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class Page(HTMLParser):
    """Checks that tags nest; collects text and every address."""

    def __init__(self, path):
        super().__init__()
        self.open, self.addresses, self.tags, self.words = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def manifest(**changes):
    geometry = {"size": [128, 80, 16], "spacing_mm": [2.5, 2.5, 4.0]}
    model = {"role": "synthesis", "id": "pix2pixhd-x", "version": "1.0", "weights_sha256": "ab" * 32}
    given = {
        "kind": "synthesis",
        "run_id": "20261121T120000-abc123",
        "created_utc": "2026-11-21T12:00:00+00:00",
        "fingerprint": "f" * 64,
        "inputs": [
            {
                "role": "pre",
                "sha256": "1" * 64,
                "format": "dicom",
                "modality": "MR",
                "time_s": 0.0,
                "geometry": geometry,
            }
        ],
        "models": [model | {"trained_on_phantoms": True}],
        "settings": {"segmentation": "threshold", "seed": 0},
        "device": {"device": "cpu"},
        "versions": {"virtual-contrast": "0.1.0"},
        "phases": [
            {"index": n, "time_s": time_s, "file": ""} for n, time_s in enumerate((90.0, 180.0, 420.0), start=1)
        ],
        "arbitrary_units": False,
        "timing_s": {"read": 1.25, "synthesize": 33.0},
        "warnings": ['Spacing <b>odd</b> & "strange".'],
        "summary": {},
    }
    return Manifest(**(given | changes))


@pytest.fixture(scope="module")
def study():
    pre, phases, real, labels, uncertainty = breast_study()
    return pre, phases, real, labels, uncertainty


def full_content(study, folder, **changes):
    pre, phases, real, labels, uncertainty = study
    picture = folder / "overview.png"
    picture.write_bytes(PNG)
    curves, real_curves = (
        lesion_curves([pre, *phases], labels, uncertainty),
        lesion_curves([pre, *real], labels),
    )
    measures = measure_lesions(labels, [pre, *phases])
    given = {
        "manifest": manifest(),
        "measures": measures,
        "places": [LesionPlace(one.label, side) for one, side in zip(measures, ("left", "right"), strict=True)],
        "curves": curves,
        "figures": [FigureFile(picture, "A <caption> & more")],
        "agreement": agreement(curves, real_curves),
        "metrics": compare_images(phases[0].image, real[0].image, {}, phase=1),
    }
    return ReportContent(**(given | changes))


def written(content, tmp_path):
    write_report(tmp_path / "report.html", content)
    return Page(tmp_path / "report.html")


def test_the_page_nests_and_loads_nothing_from_outside(tmp_path, study):
    page = written(full_content(study, tmp_path), tmp_path)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert base64.b64decode(page.addresses[0].split(",", 1)[1]) == PNG
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http" not in raw
    assert "url(" not in raw
    assert "@import" not in raw


def test_the_disclaimer_stands_at_the_top_and_at_the_end(tmp_path, study):
    text = written(full_content(study, tmp_path), tmp_path).text
    assert text.count(DISCLAIMER) == 2


def test_markup_in_warnings_and_captions_is_shown_as_text(tmp_path, study):
    page = written(full_content(study, tmp_path), tmp_path)
    assert "b" not in page.tags
    assert 'Spacing <b>odd</b> & "strange".' in page.text
    assert "A <caption> & more" in page.text


def test_training_on_phantoms_is_said_loudly_and_only_when_true(tmp_path, study):
    assert "SIMULATED PHANTOMS ONLY" in written(full_content(study, tmp_path), tmp_path).text
    model = manifest().models[0] | {"trained_on_phantoms": False}
    other = full_content(study, tmp_path, manifest=manifest(models=[model]))
    assert "PHANTOMS" not in written(other, tmp_path).text


def test_arbitrary_units_are_said(tmp_path, study):
    text = written(full_content(study, tmp_path, manifest=manifest(arbitrary_units=True)), tmp_path).text
    assert "arbitrary units" in text


def test_lesions_agreement_methods_time_and_provenance_are_told(tmp_path, study):
    content = full_content(study, tmp_path)
    text = written(content, tmp_path).text
    volume = content.measures[0].volume
    wanted = [
        "left", "right", f"{volume:.0f}", f"{volume / 1000:.2f}", "type III (washout)", "type I (persistent)",
        "bias of peak PE", "PSNR", "at least 70 %", "synthesize", "33.00",
        "20261121T120000-abc123", "ab" * 32,
        "128 × 80 × 16", "90, 180, 420 s",
    ]  # fmt: skip
    assert [words for words in wanted if words not in text] == []


def test_zero_lesions_are_reported_without_reassurance(tmp_path, study):
    content = ReportContent(manifest())
    text = written(content, tmp_path).text
    assert "No lesion was outlined" in text
    assert "does not mean that there is none" in text


def test_a_run_without_segmentation_says_so(tmp_path, study):
    settings = {"segmentation": "none"}
    content = ReportContent(manifest(settings=settings), segmented=False)
    assert "did not look for lesions" in written(content, tmp_path).text


def test_no_patient_reaches_the_report_even_if_the_volume_carries_tags(tmp_path, study):
    pre, phases, _, labels, _ = study
    tagged = dataclasses.replace(pre, image=pre.image[:, :, :])
    tagged.image.SetMetaData("0010|0010", "Doe^Jane")
    tagged.image.SetMetaData("0010|0020", "4711-PID")
    viewer = viewer_html(FigureInput(tagged, phases, labels))
    written(full_content(study, tmp_path, viewer=viewer), tmp_path)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Doe^Jane" not in raw
    assert "4711-PID" not in raw
    assert str(tmp_path) not in raw


def test_the_run_identity_needs_a_run_id():
    with pytest.raises(ValueError, match="run id"):
        RunIdentity.of(manifest(run_id=""))
    assert RunIdentity.of(manifest()).segmentation.id == "threshold"
    assert RunIdentity.of(manifest(settings={"segmentation": "none"})).segmentation is None
