"""Blinded reading in the panel: a radiologist's keys in, answers out."""

import json
import time

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from reading_samples import READ, log_of, open_panel, press, shown_labels, start, wait_for_image, write_volumes
from VirtualContrastLib.reader_study.images import load_case
from VirtualContrastLib.reader_study.study_list import ReadingCase, write_list
from VirtualContrastLib.slicer_app.reader import views, widget


@pytest.fixture
def panel(host, resources, monkeypatch):
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    yield open_panel(host)
    host.unload_module("VirtualContrast")


@pytest.fixture
def volumes(tmp_path):
    return write_volumes(tmp_path)


@pytest.fixture
def pictures(tmp_path):
    """A list of two mammogram-like PNG pictures."""
    (tmp_path / "answers").mkdir()
    rows = []
    for n, condition in enumerate(("real", "synthetic")):
        pixels = np.random.default_rng(n).integers(0, 255, (64, 48)).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / f"{condition}.png"))
        rows.append(ReadingCase(f"M{n}", str(tmp_path / f"{condition}.png"), condition))
    return write_list(tmp_path / "list.csv", rows)


def test_a_session_is_read_with_the_keyboard_alone(host, panel, volumes):
    start(host, panel, volumes)
    ui = panel.reading.ui
    assert ui.positionLabel.text == "Image 1 of 3"
    assert not ui.nextButton.enabled
    press(panel, "Return")
    assert ui.positionLabel.text == "Image 1 of 3"  # nothing was answered
    for key in ("Y", "3"):  # in any order
        press(panel, key)
        assert not ui.nextButton.enabled
    press(panel, "C")
    assert (ui.nextButton.enabled, ui.nextButton.text) == (True, "Continue")
    ui.remarksEdit.text = " spiculated, 2 o'clock "
    press(panel, "Return S")
    assert not ui.nextButton.enabled
    press(panel, "Y")
    assert (ui.nextButton.enabled, ui.nextButton.text) == (True, "Save and next")
    press(panel, "Return")
    wait_for_image(host, panel)
    assert ui.positionLabel.text == "Image 2 of 3"
    assert not any(button.checked for button in panel.reading.questions._buttons())
    assert ui.remarksEdit.text == ""
    press(panel, "D N Enter R N Enter")
    wait_for_image(host, panel)
    press(panel, "A A B N Return R S N Return")
    assert not panel.reading.active
    assert "finished: 3 images" in ui.readingStatusLabel.text
    log = log_of(volumes)
    said = [log.answers[row] for row in log.plan.rows]
    assert [(a.bpe, a.lesion, a.guess, a.confidence, a.hallucination, a.remarks) for a in said] == [
        ("c", True, "synthetic", 3, True, "spiculated, 2 o'clock"), ("d", False, "real", None, False, ""),
        ("b", False, "synthetic", None, False, ""),
    ]  # fmt: skip


def test_real_or_synthetic_is_asked_after_the_findings_which_then_stand(host, panel, volumes):
    start(host, panel, volumes)
    ui = panel.reading.ui
    assert (ui.findingsPage.isHidden(), ui.judgmentPage.isHidden()) == (False, True)
    press(panel, "S A N")
    assert not ui.guessSyntheticButton.checked  # a key of the page to come
    press(panel, "Return")
    assert (ui.findingsPage.isHidden(), ui.judgmentPage.isHidden()) == (True, False)
    press(panel, "B 4 P Backspace")
    assert (ui.bpeAButton.checked, ui.lesionNoButton.checked, ui.confidenceComboBox.currentIndex) == (True, True, 0)
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode") == []
    assert not ui.judgmentPage.isHidden()
    press(panel, "R Y Return")
    wait_for_image(host, panel)
    assert (ui.findingsPage.isHidden(), ui.judgmentPage.isHidden()) == (False, True)


def test_images_are_read_ahead_while_slicers_event_loop_keeps_pythons_lock(host, panel, volumes, monkeypatch):
    """Between two slots of Slicer's loop no Python thread moves: the panel has to wait for its own."""
    read = []

    def slow(case, kept):
        end = time.thread_time() + 0.3  # of computing in Python, which the lock stops
        while time.thread_time() < end:
            pass
        read.append(case)
        return load_case(case, kept)

    monkeypatch.setattr(widget, "load_case", slow)
    start(host, panel, volumes)
    for _ in range(
        round(host.patience(20))
    ):  # of half a second in C++, which is 0.1 s for a thread that nobody waits for
        if len(read) == 2:
            break
        host.process_events(0.5)
    assert len(read) == 2
    press(panel, "C N Return S N Return")
    host.process_events(0.5)
    assert panel.reading.session.is_shown


def test_volumes_are_shown_in_three_planes_beside_their_pre_contrast_volume_and_linked(host, panel, volumes):
    start(host, panel, volumes)
    manager = slicer.app.layoutManager()
    names = {tag: manager.sliceWidget(tag).mrmlSliceCompositeNode().GetBackgroundVolumeID() for tag in
             (views.IMAGE, views.BESIDE, views.SECOND, views.THIRD)}  # fmt: skip
    assert names[views.IMAGE] == names[views.SECOND] == names[views.THIRD]
    assert slicer.mrmlScene.GetNodeByID(names[views.BESIDE]).GetName() == "Image beside"
    logic = manager.sliceWidget(views.IMAGE).sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(14.0)
    logic.EndSliceOffsetInteraction()
    assert manager.sliceWidget(views.BESIDE).mrmlSliceNode().GetSliceOffset() == pytest.approx(14.0)
    for tag in names:
        assert manager.sliceWidget(tag).sliceView().pixels().std() > 10
    labels = [manager.sliceWidget(tag).mrmlSliceNode().GetLayoutLabel() for tag in names]
    assert labels == ["Image to read, axial", "Comparison, axial", "Image to read, coronal", "Image to read, sagittal"]


def test_a_picture_is_shown_alone_and_upright(host, panel, pictures):
    start(host, panel, pictures)
    manager = slicer.app.layoutManager()
    description = manager.layoutLogic().GetLayoutNode().GetCurrentLayoutDescription()
    assert description.count("<view ") == description.count(views.IMAGE) == 1
    view = manager.sliceWidget(views.IMAGE).sliceView()
    view.resize(480, 640)
    manager.sliceWidget(views.IMAGE).sliceLogic().FitSliceToBackground()
    picture = view.pixels()[:, :, 0].astype(float)
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(panel.reading.session.current.image)).astype(float)
    rows, columns = np.arange(64) * 10 + 5, np.arange(48) * 10 + 5
    below_label = slice(10, 64)
    shown = picture[np.ix_(rows, columns)]
    assert np.corrcoef(shown[below_label].ravel(), pixels[below_label].ravel())[0, 1] > 0.9


def test_a_break_and_a_crash_are_gone_on_from(host, panel, volumes):
    start(host, panel, volumes)
    press(panel, READ)
    wait_for_image(host, panel)
    second = panel.reading.session.row
    panel.reading.ui.breakButton.click()
    assert panel.reading.ui.readingStatusLabel.text.startswith("1 of 3 images are read and saved")
    host.unload_module("VirtualContrast")  # as when the application went down
    again = open_panel(host)
    start(host, again, volumes)
    assert again.reading.session.row == second
    assert again.reading.ui.positionLabel.text == "Image 2 of 3"
    assert log_of(volumes).shown[second] == 2


def test_going_back_is_there_only_where_it_is_allowed_and_shows_the_earlier_answers(host, panel, volumes):
    start(host, panel, volumes)
    press(panel, READ)
    wait_for_image(host, panel)
    assert panel.reading.ui.backButton.isHidden()
    press(panel, "Backspace")
    assert panel.reading.ui.positionLabel.text == "Image 2 of 3"
    panel.reading.ui.breakButton.click()
    start(host, panel, volumes, "R2", back=True)
    press(panel, "A Y 4 Return Backspace")
    assert not panel.reading.ui.findingsPage.isHidden()
    panel.reading.views.set_point((5.0, -6.0, 9.0))
    press(panel, "Return R Y Return")
    wait_for_image(host, panel)
    press(panel, "Backspace")
    wait_for_image(host, panel)
    assert panel.reading.views.point() == pytest.approx((5.0, -6.0, 9.0))
    press(panel, "C Return Return")  # with the earlier answers of the second page
    first = log_of(volumes, "R2").answers[log_of(volumes, "R2").plan.rows[0]]
    assert (first.bpe, first.lesion, first.confidence) == ("c", True, 4)


def test_a_point_in_a_view_is_saved_in_patient_coordinates_and_only_with_a_lesion(host, panel, volumes):
    start(host, panel, volumes)
    press(panel, "P")
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert panel.reading.ui.lesionYesButton.checked
    (point,) = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    point.AddControlPointWorld(10.0, 20.0, 11.0)  # RAS, what a click does
    press(panel, "B Return R N Return")
    wait_for_image(host, panel)
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode") == []
    press(panel, "P")
    slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")[0].AddControlPointWorld(1.0, 2.0, 3.0)
    press(panel, "N B Return R N Return")
    log = log_of(volumes)
    places = [log.answers[row].location_lps_mm for row in log.plan.rows[:2]]
    assert places == [(-10.0, -20.0, 11.0), None]


def test_the_washout_is_told_in_the_panel(host, panel, volumes):
    start(host, panel, volumes)
    while panel.reading.active:
        press(panel, READ)
        wait_for_image(host, panel)
    start(host, panel, volumes, session=2)
    assert not panel.reading.active
    assert "the washout of 28 days ends on" in panel.reading.ui.readingStatusLabel.text
    assert panel.reading.ui.startButton.isVisibleTo(panel.reading.widget)


def test_closing_the_scene_or_leaving_the_module_is_safe_while_reading(host, panel, volumes):
    start(host, panel, volumes)
    assert panel.ui.applyButton.toolTip == "A blinded reading is under way."
    assert panel.ui.inputButton.isHidden()
    assert panel.ui.bannerLabel.text == "Research reading: images may be synthetic."
    slicer.util.selectModule("Data") if "Data" in slicer.app.moduleManager().modulesNames() else panel.exit()
    assert panel.reading._shortcuts == []
    panel.enter()
    press(panel, READ)
    wait_for_image(host, panel)
    slicer.mrmlScene.Clear(0)
    assert not panel.reading.active
    assert not panel.ui.inputButton.isHidden()
    assert panel.ui.bannerLabel.text == "Synthetic images. Research only."
    assert shown_labels(panel) == {""}
    assert len(log_of(volumes).answers) == 1


def test_the_lead_gets_the_table_of_reads(host, panel, volumes):
    start(host, panel, volumes)
    press(panel, "A Y Return R N Return")
    wait_for_image(host, panel)
    panel.reading.ui.breakButton.click()
    panel.reading.ui.tableButton.click()
    assert panel.reading.ui.readingStatusLabel.text.startswith("Wrote reads.csv and guesses.csv")
    lines = (volumes.path.parent / "answers" / "reads.csv").read_text().splitlines()
    assert lines[0].startswith("reader,case,condition,truth,lesion,bpe,score,guess")
    assert len(lines) == 2
    assert json.dumps(lines[1]).count("R1") == 1


def test_a_list_or_code_that_cannot_be_used_is_told(host, panel, volumes, tmp_path):
    start(host, panel, volumes, "Mary Miller")
    assert "reader code must be" in panel.reading.ui.readingStatusLabel.text
    panel.reading.ui.listPath.currentPath = str(tmp_path / "none.csv")
    panel.reading.ui.startButton.click()
    assert "none.csv cannot be opened" in panel.reading.ui.readingStatusLabel.text
    assert panel.reading.ui.readingStatusLabel.styleSheet
