"""The label SYNTHETIC in every view that shows a synthetic volume."""

import numpy as np
import pytest
import result_samples
import slicer
import vtk
from VirtualContrastLib.slicer_app.scene import nodes, result
from VirtualContrastLib.slicer_app.views import layout
from VirtualContrastLib.slicer_app.views.annotation import READING, READING_LABEL, Annotator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result")


@pytest.fixture
def loaded(host, folder):
    study = result_samples.small_study()
    return result.load_result(folder, result_samples.add_input(study["pre"]))


@pytest.fixture
def annotator(host):
    annotator = Annotator()
    yield annotator
    annotator.cleanup()


def view(name):
    return slicer.app.layoutManager().sliceWidget(name).sliceView()


def yellow(pixels):
    """Number of pixels in the color of the label in the upper tenth of a picture."""
    red, green, blue = pixels[: pixels.shape[0] // 8].astype(int).transpose(2, 0, 1)
    return int(((red > 180) & (green > 150) & (blue < 120)).sum())


def test_views_with_synthetic_volumes_are_labelled_and_others_not(annotator, loaded):
    layout.show(loaded)
    assert yellow(view(layout.PRE).pixels()) == 0
    assert yellow(view(layout.PHASE).pixels()) > 100
    assert yellow(view(layout.SUBTRACTION).pixels()) > 100
    assert yellow(slicer.app.layoutManager().threeDWidget(layout.VIEW_3D).threeDView().pixels()) > 100


def test_the_label_stays_whole_and_single_beside_orientation_marker_and_ruler(annotator, loaded):
    layout.show(loaded)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(loaded.phases[0].volume)
    plain = yellow(view("Red").pixels())
    node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)
    node.SetRulerType(node.RulerTypeThin)
    view("Red").pixels()
    annotator.update()
    pixels = view("Red").pixels()
    assert yellow(pixels) == plain > 100
    corner = pixels[-pixels.shape[0] // 4 :, -pixels.shape[1] // 4 :]
    assert yellow(np.tile(corner, (8, 1, 1))) == 0  # no part of it in the marker's corner
    for tag in layout.SLICE_VIEWS[1:]:
        assert yellow(view(tag).pixels()) > 100


def test_the_label_is_in_a_grab_of_the_whole_layout(annotator, loaded, tmp_path):
    layout.show(loaded)
    grabbed = slicer.app.layoutManager().grab_layout(1200, 800)
    assert grabbed.save(str(tmp_path / "layout.png"))
    phase_header = grabbed.copy(400, 20, 399, 40)
    colors = {phase_header.pixelColor(x, y).getRgb()[:3] for x in range(399) for y in range(40)}
    assert any(red > 180 and green > 150 and blue < 120 for red, green, blue in colors)


@pytest.mark.parametrize("layer", ["background", "foreground", "label"])
def test_a_view_of_the_user_gets_the_label_for_any_visible_layer(annotator, loaded, layer):
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(loaded.input)
    assert yellow(view("Red").pixels()) == 0
    if layer == "background":
        composite.SetBackgroundVolumeID(loaded.phases[1].volume)
    elif layer == "foreground":
        composite.SetForegroundVolumeID(loaded.phases[1].volume)
        composite.SetForegroundOpacity(0.0)
        assert yellow(view("Red").pixels()) == 0
        composite.SetForegroundOpacity(0.3)
    else:
        composite.SetLabelVolumeID(loaded.maps["curve_type"])
    assert yellow(view("Red").pixels()) > 100
    composite.SetBackgroundVolumeID(loaded.input)
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(None)
    assert yellow(view("Red").pixels()) == 0


def test_the_label_stays_when_the_data_probe_writes_into_the_corners(annotator, loaded):
    layout.show(loaded)
    corners = view(layout.PHASE).cornerAnnotation()
    corners.SetText(vtk.vtkCornerAnnotation.UpperLeft, "probe")
    corners.ClearAllTexts()
    assert yellow(view(layout.PHASE).pixels()) > 100


def test_the_proxy_of_the_sequence_is_labelled_at_synthetic_times_only(annotator, loaded):
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(loaded.proxy)
    assert yellow(view("Red").pixels()) == 0
    nodes.node(loaded.browser).SetSelectedItemNumber(2)
    assert yellow(view("Red").pixels()) > 100


def test_the_label_goes_with_the_result_and_with_the_annotator(loaded):
    annotator = Annotator()
    layout.show(loaded)
    with_label = view(layout.PHASE).pixels()
    annotator.cleanup()
    without = view(layout.PHASE).pixels()
    assert yellow(with_label) > 100
    assert yellow(without) == 0
    annotator = Annotator()
    assert np.array_equal(view(layout.PHASE).pixels(), with_label)
    result.remove_result(loaded)
    assert yellow(view(layout.PHASE).pixels()) == 0
    annotator.cleanup()


def test_the_label_survives_closing_the_scene_and_a_new_result(annotator, loaded, folder):
    layout.show(loaded)
    slicer.mrmlScene.Clear(0)
    again = result.load_result(folder, result_samples.add_input(result_samples.small_study()["pre"]))
    layout.show(again)
    assert yellow(view(layout.PHASE).pixels()) > 100
    assert yellow(view(layout.PRE).pixels()) == 0


def test_in_a_blinded_reading_every_view_says_the_same(annotator, loaded):
    layout.show(loaded)
    annotator.set_blinded(True)
    texts = {actor.GetInput() for _, actor in annotator._actors.values()}
    assert texts == {READING_LABEL}
    assert "may be synthetic" in READING_LABEL
    assert yellow(view(layout.PRE).pixels()) > 100
    annotator.set_blinded(False)
    assert yellow(view(layout.PRE).pixels()) == 0
    assert yellow(view(layout.PHASE).pixels()) > 100


def test_an_image_of_a_reading_is_labelled_neutrally_wherever_it_is_shown(annotator, loaded):
    for synthetic in ("0", "1"):
        volume = slicer.mrmlScene.GetNodeByID(loaded.phases[0].volume)
        volume.SetAttribute(nodes.SYNTHETIC, synthetic)
        volume.SetAttribute(READING, "1")
        layout.show(loaded)
        phase = slicer.app.layoutManager().sliceWidget(layout.PHASE).mrmlSliceNode().GetID()
        assert annotator._actors[phase][1].GetInput() == READING_LABEL
