"""What a radiologist sees of a result: the breasts alone, sides, numbers, one gray window, a MIP without the heart."""

import dataclasses
import sys

import numpy as np
import pytest
import result_samples
import SimpleITK as sitk
import slicer
from module_samples import TESTING
from VirtualContrastLib.results.manifest import MAMMOGRAM
from VirtualContrastLib.slicer_app.scene import nodes, result
from VirtualContrastLib.slicer_app.views import layout, mip, sides
from VirtualContrastLib.slicer_app.views.shared_window import SharedWindow

sys.path.insert(0, str(TESTING / "engine"))
from chest_samples import Chest, ball

LEFT_LESION, RIGHT_LESION = (70, 80, 6), (-70, 70, -12)  # LPS mm in the coordinates of the samples


@pytest.fixture(scope="module")
def chest():
    """A chest with a lesion in each breast and a heart that enhances more than both, in the scanner's coordinates."""
    chest = Chest()
    labels = np.zeros(chest.pre.shape, np.uint8)
    for label, center in enumerate((LEFT_LESION, RIGHT_LESION), start=1):
        labels[ball(center, 9)] = label
        chest.enhance(labels == label)
    pre, post = chest.images()
    images = {"pre": pre, "post": post, "labels": sitk.GetImageFromArray(labels)}
    images["labels"].CopyInformation(pre)
    for image in images.values():
        image.SetOrigin((-159.0, 1.0, -34.5))  # as `chest_samples.axes`
    return chest, images


@pytest.fixture(scope="module")
def folder(tmp_path_factory, chest):
    images = chest[1]
    out = tmp_path_factory.mktemp("chest") / "result"
    return result_samples.write_result(out, images["pre"], [images["post"]], labels=images["labels"],
                                       real=[images["post"]])  # fmt: skip


@pytest.fixture
def shown(host, folder, chest):
    real = result_samples.add_input(chest[1]["post"], "real")
    loaded = result.load_result(folder, result_samples.add_input(chest[1]["pre"]), real_nodes=[real])
    layout.show(loaded)
    yield loaded
    layout.clear()


def widget(tag):
    return slicer.app.layoutManager().sliceWidget(tag)


def widget_3d():
    return slicer.app.layoutManager().threeDWidget(layout.VIEW_3D)


def pixel_of(slice_node, point_ras):
    """Column and row (from the top) of a point in the picture of a slice view."""
    xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS())) @ [*point_ras, 1.0]
    return xy[0], slice_node.GetDimensions()[1] - xy[1]


def of_color(pixels, color):
    """Rows and columns of the pixels of a color (0..1), which may be shaded."""
    wanted, drawn = np.array(color) * 255, pixels.astype(float)
    return np.nonzero(np.abs(drawn - wanted).max(axis=2) < 40)


def test_the_mip_holds_the_lesions_and_nothing_of_the_heart(shown, chest):
    inside = nodes.node(shown.mip)
    array, ras = slicer.util.arrayFromVolume(inside), nodes.ijk_to_ras(inside)
    corner = np.rint(np.linalg.inv(nodes.ijk_to_ras(nodes.node(shown.pre))) @ ras[:, 3])[:3].astype(int)
    box = tuple(slice(start, start + size) for start, size in zip(corner[::-1], array.shape, strict=True))
    assert np.all(array[chest[0].heart[box]] == 0)
    change = slicer.util.arrayFromVolume(nodes.node(shown.phases[0].subtraction))
    lesions = sitk.GetArrayFromImage(chest[1]["labels"]) > 0
    assert lesions[box].sum() == lesions.sum()
    np.testing.assert_array_equal(array[lesions[box]], change[lesions])
    assert change[chest[0].heart].max() > array.max()  # it would have been the brightest
    assert array.size < 0.7 * change.size
    assert nodes.is_synthetic(inside)


def test_in_the_picture_of_the_mip_the_heart_is_black_and_lesions_are_outlined_and_numbered(shown):
    pixels = widget_3d().threeDView().pixels()
    gray = pixels[60:-70].mean(axis=2)  # without label and axes
    rows, _columns = np.nonzero(gray > 100)
    assert 0 < len(rows) < 0.05 * gray.size
    for row in shown.lesions:
        color = nodes.node(shown.segmentation).GetSegmentation().GetSegment(row.segment_id).GetColor()
        rows, columns = of_color(pixels, color)
        assert len(rows) > 20
        middle = pixels.shape[1] / 2  # from the feet the left breast is at the viewer's right
        assert (columns.mean() > middle) == (row.side == "left")
    nodes.node(shown.segmentation).SetDisplayVisibility(False)
    hidden = widget_3d().threeDView().pixels()
    assert len(of_color(hidden, color)[0]) < 5


def test_the_mip_is_seen_axial_coronal_sagittal_and_turning(shown):
    edges = {}
    for direction in mip.DIRECTIONS:
        layout.see_mip_from(shown, direction)
        left, right = sides._layers[widget_3d().mrmlViewNode().GetID()]._texts((400, 300))
        edges[direction] = left.text + right.text
        view = widget_3d().mrmlViewNode()
        assert view.GetAnimationMode() == (view.Spin if direction == mip.ROTATING else view.Off)
        camera = widget_3d().threeDView().cameraNode()
        for row in shown.lesions:  # both stay in view
            layout.jump_to_lesion(shown, row.label)
            assert np.linalg.norm(np.subtract(camera.GetFocalPoint(), row.centroid_ras)) > 5
    assert edges == {"feet": "RL", "front": "RL", "right": "PA", "left": "AP", "rotating": "RL"}
    layout.see_mip_from(shown, mip.FEET)


def test_slices_are_zoomed_to_the_breasts(shown, chest):
    for tag in layout.SLICE_VIEWS:
        node = widget(tag).mrmlSliceNode()
        assert 220 < node.GetFieldOfView()[0] < 300  # both breasts are 250 mm wide, the picture 320
        for label, center in ((1, LEFT_LESION), (2, RIGHT_LESION)):
            column, row = pixel_of(node, shown.lesion(label).centroid_ras)
            assert shown.lesion(label).centroid_ras == pytest.approx([-center[0], -center[1], center[2]], abs=1.5)
            width, height, _ = node.GetDimensions()
            assert 0.1 * width < column < 0.9 * width
            assert 0.14 * height < row < 0.7 * height


def test_sides_are_at_the_edges_of_every_slice_and_turn_with_it(shown):
    node = widget(layout.PHASE).mrmlSliceNode()
    layer = sides._layers[node.GetID()]
    assert [text.text for text in layer._texts((400, 300))] == ["R", "L"]
    node.SetOrientation("Sagittal")  # Slicer's: anterior at the left
    assert [text.text for text in layer._texts((400, 300))] == ["A", "P"]
    node.SetOrientation("Axial")
    composite, volume = widget(layout.PHASE).mrmlSliceCompositeNode(), shown.phases[0].volume
    with_letters = widget(layout.PHASE).sliceView().pixels()
    composite.SetBackgroundVolumeID(None)
    assert layer._texts((400, 300)) == ()
    composite.SetBackgroundVolumeID(volume)
    middle = with_letters.shape[0] // 2
    edges = with_letters[middle - 25 : middle + 5, [*range(5, 25), *range(-25, -5)]]
    assert (edges.min(axis=2) > 200).sum() > 30


def test_a_number_stands_beside_its_lesion_in_the_slices_that_cut_it(shown):
    layout.jump_to_lesion(shown, 1)
    node, view = widget(layout.PHASE).mrmlSliceNode(), widget(layout.PHASE).sliceView()
    color = nodes.node(shown.segmentation).GetSegmentation().GetSegment("Lesion_1").GetColor()
    column, row = pixel_of(node, shown.lesion(1).centroid_ras)
    rows, columns = of_color(view.pixels(), color)
    radius = 9 / node.GetFieldOfView()[0] * node.GetDimensions()[0]
    outside = (rows < row - radius - 3) & (columns > column)
    assert outside.sum() > 10  # the number; the outline ends there
    node.SetSliceOffset(shown.lesion(1).centroid_ras[2] - 15)
    assert len(of_color(view.pixels(), color)[0]) == 0


def test_a_legend_covers_no_breast(shown):
    layout.jump_to_lesion(shown, 1)
    view, node = widget(layout.PHASE).sliceView(), widget(layout.PHASE).mrmlSliceNode()
    layout.set_overlay(shown, "curve_type")
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.node(shown.maps["curve_type"]))
    with_legend = view.pixels()
    legend.SetVisibility(False)
    without = view.pixels()
    rows, _columns = np.nonzero((with_legend != without).any(axis=2))
    assert len(rows) > 100
    wall = pixel_of(node, (70, -110, 0))[1]  # behind the breasts
    assert rows.min() > wall
    assert legend.GetTitleText() == "Curve type"


def test_one_window_for_all_phases_follows_the_user_in_any_of_them(shown):
    volumes = [shown.pre, shown.proxy, shown.phases[0].volume, shown.phases[0].real]
    displays = [nodes.node(volume).GetDisplayNode() for volume in volumes]

    def windows():
        return {(round(one.GetWindow(), 3), round(one.GetLevel(), 3)) for one in displays}

    assert len(windows()) == 1
    heart = slicer.util.arrayFromVolume(nodes.node(shown.phases[0].volume)).max()
    assert displays[2].GetLevel() + displays[2].GetWindow() / 2 < 0.95 * heart  # which does not count
    shared = SharedWindow()
    shared.follow(shown)
    for number, display in enumerate(displays):
        display.SetWindowLevel(300.0 + number, 150.0)
        assert windows() == {(300.0 + number, 150.0)}
    shared.clear()
    displays[0].SetWindowLevel(10.0, 5.0)
    assert len(windows()) == 2
    shared.follow(dataclasses.replace(shown, kind=MAMMOGRAM))
    displays[2].SetWindowLevel(70.0, 60.0)
    assert displays[3].GetWindow() == 70.0
    assert displays[0].GetWindow() == 10.0
    shared.clear()


def test_a_saved_scene_shows_the_mip_again(shown, tmp_path):
    before = slicer.util.arrayFromVolume(nodes.node(shown.mip)).copy()
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert of_color(widget_3d().threeDView().pixels(), (0.8, 0.0, 0.6))[0].size == 0  # marks left with their lesions
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    (again,) = result.find_results()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.node(again.mip)), before)
    layout.show(again)
    assert (widget_3d().threeDView().pixels()[60:-70].mean(axis=2) > 100).sum() > 50
    result.remove_result(again)
    assert nodes.node(again.mip) is None
