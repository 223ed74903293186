"""A blinded reading gives no image away: not by texts, labels, number types, messages or the saved scene."""

import re

import numpy as np
import pytest
import slicer
from module_samples import add_volume
from reading_samples import (
    READ,
    looks,
    open_panel,
    press,
    scene_texts,
    shown_labels,
    start,
    wait_for_image,
    write_volumes,
)
from VirtualContrastLib.reader_study.study_list import ReadingCase, write_list
from VirtualContrastLib.slicer_app.views import annotation


@pytest.fixture
def panel(host, resources, monkeypatch):
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    yield open_panel(host)
    host.unload_module("VirtualContrast")


@pytest.fixture
def volumes(tmp_path):
    return write_volumes(tmp_path)


def test_nothing_but_the_picture_differs_between_real_and_synthetic(host, panel, volumes):
    start(host, panel, volumes)
    seen = {}
    while panel.reading.active:
        seen.setdefault(panel.reading.session.current.condition, []).append(looks(panel))
        press(panel, READ)
        wait_for_image(host, panel)
    assert set(seen) == {"real", "synthetic"}
    every = [one for looks_of_kind in seen.values() for one in looks_of_kind]
    assert all(one == every[0] for one in every)
    assert every[0]["labels"] == {annotation.READING_LABEL}
    told = " ".join(map(str, [*every[0]["texts"]])).lower()
    assert not re.search(r"synth|real|nrrd|tmp|c[012]\b", told), told


def test_every_view_has_the_neutral_label_until_the_reading_ends(host, panel, volumes):
    start(host, panel, volumes)
    manager = slicer.app.layoutManager()
    for name in manager.sliceViewNames():
        pixels = manager.sliceWidget(name).sliceView().pixels()
        red, green, blue = pixels[: pixels.shape[0] // 8].astype(int).transpose(2, 0, 1)
        assert ((red > 180) & (green > 150) & (blue < 120)).sum() > 100, name
    panel.reading.ui.breakButton.click()
    assert shown_labels(panel) == {""}
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []


def test_a_damaged_image_is_told_by_its_row_and_the_reads_are_kept(host, panel, volumes):
    for case in volumes.cases:
        if case.condition == "synthetic":
            with open(case.image, "r+b") as file:  # noqa: PTH123
                file.truncate(40)
    start(host, panel, volumes)
    while panel.reading.active:
        press(panel, READ)
        wait_for_image(host, panel)
    text = panel.reading.ui.readingStatusLabel.text
    assert re.search(r"image in row \d of the reading list cannot be read", text)
    assert "synthetic" not in text


def test_the_scene_is_closed_first_after_a_question(host, panel, volumes, monkeypatch):
    add_volume(np.zeros((4, 20, 20), np.float32), "Synthetic phase 1")
    answers_given, asked = [False, True], []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text, **_: asked.append(text) or answers_given.pop(0)
    )
    start(host, panel, volumes)
    assert not panel.reading.active
    assert list((volumes.path.parent / "answers").iterdir()) == []
    start(host, panel, volumes)
    assert panel.reading.active
    assert len(asked) == 2
    assert {v.GetName() for v in slicer.util.getNodesByClass("vtkMRMLVolumeNode")} == {"Image", "Image beside"}


def test_volumes_of_the_scene_can_be_read_too(host, panel, tmp_path):
    (tmp_path / "answers").mkdir()
    shape = (5, 30, 40)
    for name in ("Real phase", "Synthetic phase"):
        add_volume(np.random.default_rng(len(name)).normal(100, 10, shape).astype(np.float32), name)
    cases = [ReadingCase("A", "node:Real phase", "real"), ReadingCase("B", "node:Synthetic phase", "synthetic")]
    start(host, panel, write_list(tmp_path / "list.csv", cases))
    assert not [text for text in scene_texts() if text and "phase" in text]
    press(panel, READ)
    wait_for_image(host, panel)
    assert panel.reading.active
    press(panel, READ)
    assert "finished" in panel.reading.ui.readingStatusLabel.text
    start(host, panel, write_list(tmp_path / "list.csv", cases), "R2")
    assert "row 2 of the reading list is not there" in panel.reading.ui.readingStatusLabel.text


def test_images_of_a_reading_do_not_leave_with_the_scene(host, panel, volumes, tmp_path):
    start(host, panel, volumes)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    panel.reading.ui.breakButton.click()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []
