"""The views of a result: layout, phases, flicker, jumps, overlays, seen in their pictures."""

import dataclasses

import numpy as np
import pytest
import result_samples
import SimpleITK as sitk
import slicer
import tiny_models
from result_samples import each
from VirtualContrastLib.run.pipeline import run
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app.scene import nodes, result
from VirtualContrastLib.slicer_app.views import flicker as flicker_module
from VirtualContrastLib.slicer_app.views import layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result")


@pytest.fixture
def loaded(host, folder):
    study = result_samples.small_study()
    real = [result_samples.add_input(image, f"real {number}") for number, image in enumerate(study["real"], 1)]
    return result.load_result(folder, result_samples.add_input(study["pre"]), real_nodes=real)


@pytest.fixture
def shown(loaded):
    layout.show(loaded)
    yield loaded
    layout.flicker(loaded, False)


def manager():
    return slicer.app.layoutManager()


def composite(tag):
    return manager().sliceWidget(tag).mrmlSliceCompositeNode()


def backgrounds():
    return [composite(tag).GetBackgroundVolumeID() for tag in layout.SLICE_VIEWS]


def share(pixels, condition):
    return condition(*pixels.astype(int).transpose(2, 0, 1)).mean()


def test_pre_phase_and_subtraction_stand_side_by_side(shown):
    assert manager().layout == layout.LAYOUT_ID
    assert backgrounds() == [shown.pre, shown.phases[0].volume, shown.phases[0].subtraction]
    for tag in layout.SLICE_VIEWS:
        assert manager().sliceWidget(tag).sliceView().pixels().std() > 5  # not an empty picture
    layout.show(shown)  # a second time is no error


def test_the_slice_views_are_linked(shown):
    first = manager().sliceWidget(layout.PRE).sliceLogic()
    first.StartSliceOffsetInteraction()
    first.SetSliceOffset(17.0)
    first.EndSliceOffsetInteraction()
    for tag in (layout.PHASE, layout.SUBTRACTION):
        assert manager().sliceWidget(tag).mrmlSliceNode().GetSliceOffset() == pytest.approx(17.0)


def test_a_volume_chosen_in_one_linked_view_stays_in_that_view(shown):
    """As the view's own controller chooses it."""
    logic = manager().sliceWidget(layout.PRE).sliceLogic()
    logic.StartSliceCompositeNodeInteraction(logic.GetSliceCompositeNode().BackgroundVolumeFlag)
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(shown.phases[2].volume)
    logic.EndSliceCompositeNodeInteraction()
    assert backgrounds() == [shown.phases[2].volume, shown.phases[0].volume, shown.phases[0].subtraction]


def test_a_phase_brings_its_subtraction_and_moves_the_sequence(shown):
    layout.set_phase(shown, 2)
    assert backgrounds() == [shown.pre, shown.phases[2].volume, shown.phases[2].subtraction]
    assert nodes.node(shown.browser).GetSelectedItemNumber() == 3


def test_acquired_phases_come_before_the_synthetic_ones_in_the_sequence(shown):
    """A model that reads acquired phase 1 makes phases 2 and 3."""
    later = dataclasses.replace(shown, phases=shown.phases[1:], input_phases=shown.phases[:1])
    layout.set_phase(later, 0)
    assert nodes.node(shown.browser).GetSelectedItemNumber() == 2
    assert backgrounds()[1] == shown.phases[1].volume


def test_flicker_swaps_synthetic_and_real_and_ends_with_synthetic(shown, host, monkeypatch):
    layout.set_phase(shown, 1)
    layout._flicker.stop()
    monkeypatch.setattr(flicker_module, "INTERVAL_MS", 20)
    layout._flicker._timer = None
    assert layout.flicker(shown, True)
    seen = set()
    host.wait_until(lambda: seen.add(backgrounds()[1]) or len(seen) == 2)
    assert seen == {shown.phases[1].volume, shown.phases[1].real}
    layout.set_phase(shown, 0)  # it goes on with the new pair
    seen.clear()
    host.wait_until(lambda: seen.add(backgrounds()[1]) or shown.phases[0].real in seen)
    assert not layout.flicker(shown, False)
    assert backgrounds()[1] == shown.phases[0].volume


def test_flicker_without_real_phases_does_not_start_and_a_removed_result_ends_it(shown, folder, host):
    other = result.load_result(folder, nodes.node(shown.input))
    layout.show(other)
    assert not layout.flicker(other, True)
    layout.show(shown)
    assert layout.flicker(shown, True)
    result.remove_result(shown)
    layout._flicker.swap()
    assert not layout._flicker.running


def test_a_lesion_comes_into_all_views_and_its_curve_is_shown(shown):
    row, red = shown.lesion(2), manager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset()
    layout.jump_to_lesion(shown, 2)
    for tag in layout.SLICE_VIEWS:
        assert manager().sliceWidget(tag).mrmlSliceNode().GetSliceOffset() == pytest.approx(row.centroid_ras[2])
    assert manager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset() == pytest.approx(red)
    camera = manager().threeDWidget(layout.VIEW_3D).threeDView().cameraNode()
    whole = camera.GetFocalPoint()
    assert whole != pytest.approx(row.centroid_ras)  # the MIP shows all lesions, and so stays
    camera.SetParallelScale(0.5)
    layout.jump_to_lesion(shown, 2)
    assert camera.GetFocalPoint() == pytest.approx(row.centroid_ras)
    plot = slicer.mrmlScene.GetSingletonNode(layout.PLOT, "vtkMRMLPlotViewNode")
    assert plot.GetPlotChartNodeID() == shown.charts["lesion_2"]
    magenta = share(
        manager().sliceWidget(layout.PHASE).sliceView().pixels(), lambda r, g, b: (r > g + 80) & (b > g + 60)
    )
    assert magenta > 0.001  # the outline of lesion 2


def test_a_zoomed_view_is_centered_on_the_lesion_it_did_not_show(shown):
    node = manager().sliceWidget(layout.PHASE).mrmlSliceNode()
    node.SetFieldOfView(4.0, 4.0, node.GetFieldOfView()[2])
    layout.jump_to_lesion(shown, 2)
    center = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3]
    assert center == pytest.approx(shown.lesion(2).centroid_ras)


def test_an_unknown_lesion_is_an_error(shown):
    with pytest.raises(KeyError, match="no lesion 9"):
        layout.jump_to_lesion(shown, 9)


def test_the_3d_view_shows_the_mip_and_other_3d_views_do_not(shown):
    widget = manager().threeDWidget(layout.VIEW_3D)
    pixels = widget.threeDView().pixels()
    assert share(pixels, lambda r, g, b: r + g + b > 120) > 0.005
    displays = [
        nodes.node(shown.mip).GetNthDisplayNode(n) for n in range(nodes.node(shown.mip).GetNumberOfDisplayNodes())
    ]
    rendering = [display for display in displays if display.IsA("vtkMRMLVolumeRenderingDisplayNode")]
    assert len(rendering) == 1
    assert rendering[0].IsDisplayableInView(widget.mrmlViewNode().GetID())
    assert not rendering[0].IsDisplayableInView("vtkMRMLViewNode1")
    layout.show(shown)
    assert nodes.node(shown.mip).GetNumberOfDisplayNodes() == 2  # no second one


def test_real_phases_get_the_window_of_the_synthetic_ones(shown):
    windows = {
        nodes.node(node_id).GetDisplayNode().GetWindow() for node_id in (*each(shown, "volume"), *each(shown, "real"))
    }
    assert len(windows) == 1


def test_overlays_of_uncertainty_and_curve_type_are_seen_with_their_legends(shown):
    view = manager().sliceWidget(layout.PHASE).sliceView()
    layout.jump_to_lesion(shown, 1)
    plain = view.pixels()
    layout.set_overlay(shown, "curve_type")
    assert composite(layout.PHASE).GetLabelVolumeID() == shown.maps["curve_type"]
    typed = view.pixels()
    width = plain.shape[1]
    assert (typed != plain)[:, : width * 3 // 4].any(axis=2).mean() > 0.005
    layout.set_phase(shown, 1)
    layout.set_overlay(shown, "uncertainty")
    assert composite(layout.PHASE).GetForegroundVolumeID() == shown.phases[1].uncertainty
    assert not composite(layout.PHASE).GetLabelVolumeID()
    layout.set_overlay(shown)
    assert not composite(layout.PHASE).GetForegroundVolumeID()


def test_removing_a_shown_result_leaves_nothing_of_it(loaded):
    layout.show(loaded)
    result.remove_result(loaded)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLVolumePropertyNode")]
    assert names == []
    assert backgrounds()[1:] == [None, None]
    pixels = manager().sliceWidget(layout.PHASE).sliceView().pixels()
    assert np.ptp(pixels[: pixels.shape[0] * 3 // 4]) < 30  # above the ruler and the orientation marker


def test_every_slice_view_tells_the_sides_and_the_scale(shown):
    assert layout.SLICE_VIEWS
    for tag in layout.SLICE_VIEWS:
        view = manager().sliceWidget(tag)
        assert view.mrmlSliceNode().GetOrientationMarkerType() == slicer.vtkMRMLSliceNode.OrientationMarkerTypeAxes
        assert view.mrmlSliceNode().GetRulerType() == slicer.vtkMRMLSliceNode.RulerTypeThin
        pixels = view.sliceView().pixels()
        corner = pixels[-pixels.shape[0] // 6 :, -pixels.shape[1] // 6 :]
        assert share(corner, lambda r, g, b: (r > 150) & (g < 80) & (b < 80)) > 0.002  # the red axis to the right


def test_a_mammogram_has_the_low_energy_and_the_recombined_image_side_by_side(host, tmp_path):
    pixels = np.random.default_rng(0).normal(120, 30, (1, 48, 40)).clip(0, 255).astype(np.float32)
    low = sitk.GetImageFromArray(pixels)
    sitk.WriteImage(low, str(tmp_path / "low.nrrd"))
    settings = RunSettings(model=str(tiny_models.tiny_mammogram_model(tmp_path / "model").folder), device="cpu")
    folder = run(tmp_path / "low.nrrd", tmp_path / "result", settings).folder
    loaded = result.load_result(folder, result_samples.add_input(low, "L CC"))
    layout.show(loaded)
    description = manager().layoutLogic().GetLayoutNode().GetCurrentLayoutDescription()
    assert description.count("<view ") == 2
    assert backgrounds()[:2] == [loaded.pre, loaded.phases[0].volume]
    for tag in layout.MAMMOGRAM_VIEWS:
        view = manager().sliceWidget(tag)
        assert view.sliceView().pixels().std() > 5
        assert view.mrmlSliceNode().GetRulerType() == slicer.vtkMRMLSliceNode.RulerTypeNone
    assert manager().sliceWidget(layout.PRE).mrmlSliceNode().GetLayoutLabel() == "Low"
