"""A result folder in the scene: every node, its marks and its place; nothing where it fails."""

import json
import shutil

import numpy as np
import pytest
import result_samples
import SimpleITK as sitk
import slicer
import vtk
from result_samples import each, node_ids, voxels
from VirtualContrastLib.events import InputError
from VirtualContrastLib.slicer_app.scene import nodes, remeasure, segments, tables
from VirtualContrastLib.slicer_app.scene import result as scene

OBLIQUE = (0.9396926, 0.0, 0.3420201, 0.0, -1.0, 0.0, 0.3420201, 0.0, -0.9396926)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return result_samples.full_result(tmp_path_factory.mktemp("full") / "result")


@pytest.fixture(scope="module")
def bare_folder(tmp_path_factory):
    return result_samples.bare_result(tmp_path_factory.mktemp("bare") / "result")


@pytest.fixture
def study(host):
    return result_samples.small_study()


@pytest.fixture
def pre(study):
    return result_samples.add_input(study["pre"])


@pytest.fixture
def loaded(folder, pre, study):
    real = [result_samples.add_input(image, f"real {number}") for number, image in enumerate(study["real"], 1)]
    return scene.load_result(folder, pre, real_nodes=real)


def test_phases_are_volumes_with_the_voxels_of_the_files_and_the_geometry_of_the_input(folder, loaded, pre):
    assert each(loaded, "time_s") == [90.0, 220.0, 350.0]
    for number, node_id in enumerate(each(loaded, "volume"), start=1):
        file = sitk.ReadImage(str(folder / f"phases/phase_{number}.nrrd"))
        np.testing.assert_array_equal(voxels(node_id), sitk.GetArrayFromImage(file))
        np.testing.assert_array_equal(nodes.ijk_to_ras(nodes.node(node_id)), nodes.ijk_to_ras(pre))


def test_geometry_is_right_for_an_oblique_volume(tmp_path, study):
    oblique = result_samples.small_study(OBLIQUE)
    folder = result_samples.full_result(tmp_path / "oblique", OBLIQUE)
    loaded = scene.load_result(folder, result_samples.add_input(oblique["pre"]))
    label = oblique["labels"]
    index = np.argwhere(sitk.GetArrayFromImage(label) == 1).mean(axis=0)[::-1]
    lps = label.TransformContinuousIndexToPhysicalPoint([float(value) for value in index])
    assert loaded.lesions[0].centroid_ras == pytest.approx((-lps[0], -lps[1], lps[2]), abs=1e-3)
    mask = segments.mask_of(nodes.node(loaded.segmentation), "Lesion_1", nodes.node(loaded.pre))
    np.testing.assert_array_equal(mask, sitk.GetArrayFromImage(label) == 1)


def test_a_parent_transform_of_the_input_moves_the_whole_result(folder, pre):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    still = scene.load_result(folder, pre).lesions[0].centroid_ras
    pre.SetAndObserveTransformNodeID(transform.GetID())
    moved = scene.load_result(folder, pre)
    assert moved.lesions[0].centroid_ras == pytest.approx((still[0] + 100, still[1], still[2]))
    assert nodes.node(moved.segmentation).GetTransformNodeID() == transform.GetID()


def test_the_sequence_has_the_real_time_axis_and_its_proxy_tells_what_is_synthetic(loaded, pre):
    sequence, browser = nodes.node(loaded.sequence), nodes.node(loaded.browser)
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "s")
    assert [sequence.GetNthIndexValue(number) for number in range(4)] == ["0", "90", "220", "350"]
    proxy = nodes.node(loaded.proxy)
    for item, expected in enumerate([loaded.pre, *each(loaded, "volume")]):
        browser.SetSelectedItemNumber(item)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(proxy), voxels(expected))
        assert nodes.is_synthetic(proxy) == (item > 0)
    first = sequence.GetNthDataNode(1)
    assert first.GetImageData() is nodes.node(loaded.phases[0].volume).GetImageData()  # no second copy in memory


def test_every_node_carries_its_origin_and_real_ones_are_not_called_synthetic(folder, loaded, pre):
    manifest = json.loads((folder / "manifest.json").read_text())
    for node_id in [
        *each(loaded, "volume"),
        *each(loaded, "subtraction"),
        *each(loaded, "uncertainty"),
        *loaded.maps.values(),
        loaded.sequence,
    ]:
        node = nodes.node(node_id)
        assert node.GetAttribute("VirtualContrast.Synthetic") == "1"
        assert node.GetAttribute("VirtualContrast.ModelId") == "sample"
        assert node.GetAttribute("VirtualContrast.WeightsSha256") == "ab" * 32
        assert node.GetAttribute("VirtualContrast.RunId") == manifest["run_id"] == loaded.run_id
    for node_id in (loaded.pre, loaded.input, *each(loaded, "real"), loaded.segmentation):  # these lesions were given
        assert not nodes.is_synthetic(nodes.node(node_id))
    assert pre.GetAttribute("VirtualContrast.RunId") is None


def test_pre_and_all_phases_share_one_window_and_subtractions_have_their_own(loaded, study):
    images = [study["pre"], *study["synthetic"], *study["real"]]
    arrays, lesions = [sitk.GetArrayFromImage(image) for image in images], sitk.GetArrayFromImage(study["labels"]) > 0
    low = np.percentile(arrays[0], 1)
    high = max(max(np.percentile(array, 99.8), np.percentile(array[lesions], 95)) for array in arrays)
    for node_id in (loaded.pre, loaded.proxy, *each(loaded, "volume"), *each(loaded, "real")):
        view = nodes.node(node_id).GetDisplayNode()
        assert view.GetWindow() == pytest.approx(high - low)
        assert view.GetLevel() == pytest.approx((high + low) / 2)
    windows = {nodes.node(node_id).GetDisplayNode().GetWindow() for node_id in each(loaded, "subtraction")}
    assert len(windows) == 1
    assert windows != {high - low}
    assert voxels(loaded.phases[2].subtraction).min() < 0  # signed


def test_a_segment_a_lesion_with_name_terminology_and_surface(loaded, study):
    content = nodes.node(loaded.segmentation).GetSegmentation()
    assert [content.GetSegment(key).GetName() for key in content.GetSegmentIDs()] == ["Lesion 1", "Lesion 2"]
    entry = slicer.vtkSlicerTerminologyEntry()
    text = vtk.reference("")
    assert content.GetSegment("Lesion_1").GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    logic = slicer.vtkSlicerTerminologiesModuleLogic
    assert logic.DeserializeTerminologyEntry(str(text), entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Mass"
    assert entry.GetTypeObject().GetCodeValue() == "4147007"
    region = entry.GetRegionObject().GetCodeMeaning() or entry.GetAnatomicRegionObject().GetCodeMeaning()
    assert region == "Breast"
    surface = vtk.vtkPolyData()
    nodes.node(loaded.segmentation).GetClosedSurfaceRepresentation("Lesion_1", surface)
    assert surface.GetNumberOfPolys() > 20
    mask = segments.mask_of(nodes.node(loaded.segmentation), "Lesion_2", nodes.node(loaded.pre))
    np.testing.assert_array_equal(mask, sitk.GetArrayFromImage(study["labels"]) == 2)


def test_a_label_file_without_segment_names_gets_them(study, pre):
    plain = sitk.Image(study["labels"])
    assert not plain.HasMetaDataKey("Segment0_ID")
    node = nodes.drain(segments.add_segmentation(plain, "plain", pre))
    assert segments.labels_by_segment(node) == {"Lesion_1": 1, "Lesion_2": 2}


def test_lesions_found_on_synthetic_phases_are_marked_synthetic(tmp_path, study, pre):
    parts = study | {"given": False}
    folder = result_samples.write_result(tmp_path / "found", parts.pop("pre"), parts.pop("synthetic"), **parts)
    loaded = scene.load_result(folder, pre)
    node = nodes.node(loaded.segmentation)
    assert nodes.is_synthetic(node)
    assert "synthetic" in node.GetName()
    assert len(segments.labels_by_segment(node)) == len(loaded.lesions) == 2


def test_curve_types_have_four_named_colors_and_a_legend(loaded):
    volume = nodes.node(loaded.maps["curve_type"])
    colors = volume.GetDisplayNode().GetColorNode()
    names = [colors.GetColorName(number) for number in range(1, 5)]
    assert names == ["type I (persistent)", "type II (plateau)", "type III (washout)", "not assessed"]
    rgba = np.zeros((5, 4))
    for number in range(5):
        colors.GetColor(number, rgba[number])
    assert rgba[0, 3] == 0
    assert (rgba[1:, 3] == 1).all()
    assert len({tuple(row) for row in rgba[1:]}) == 4
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(volume).GetTitleText() == "Curve type"
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.node(loaded.phases[0].uncertainty)) is not None


def test_tables_hold_the_numbers_of_the_csv_files(folder, loaded):
    assert set(loaded.tables) == {
        "lesions",
        "curves",
        "curves_real",
        "comparison",
        "agreement",
        "feature_agreement",
        "breast_tissue",
    }
    table = nodes.node(loaded.tables["lesions"])
    header, *rows = (line.split(",") for line in (folder / "lesions.csv").read_text().splitlines())
    for place, name in enumerate(header):
        for given, cell in zip(tables.column(table, name), (row[place] for row in rows), strict=True):
            assert str(given) == cell or (given != given if cell == "" else float(given) == float(cell))
    row = loaded.lesions[0]
    assert (row.label, row.name, row.volume) == (1, "Lesion 1", 225.0)
    assert row.curve_type == "type II (plateau)"


def test_all_nodes_lie_in_one_folder_in_the_study_of_the_input(folder, pre):
    hierarchy = nodes.subject_hierarchy()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study_item = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(pre), study_item)
    loaded = scene.load_result(folder, pre)
    assert hierarchy.GetItemParent(loaded.folder_item) == study_item
    for node_id in [*each(loaded, "volume"), loaded.sequence, loaded.browser, loaded.proxy, *loaded.charts.values()]:
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.node(node_id))) == loaded.folder_item


@pytest.mark.parametrize("how", ["remove_result", "folder"])
def test_one_deletion_takes_everything_back(folder, pre, how):
    before = node_ids()
    loaded = scene.load_result(folder, pre)
    if how == "folder":
        nodes.subject_hierarchy().RemoveItem(loaded.folder_item, True, True)
    else:
        scene.remove_result(loaded)
    assert node_ids() == before
    assert scene.find_results() == []
    scene.remove_result(loaded)  # a second time is no error


@pytest.mark.slicer_errors
@pytest.mark.parametrize("damaged", ["phases/phase_3.nrrd", "lesions.seg.nrrd", "maps/curve_type.nrrd"])
def test_a_damaged_file_leaves_the_scene_as_it_was(folder, pre, tmp_path, damaged):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / damaged).write_bytes(b"NRRD0004\nnothing")
    before, hierarchy = node_ids(), nodes.subject_hierarchy()
    items = hierarchy.GetNumberOfItems()
    with pytest.raises(InputError, match=f"{damaged} .*cannot be read"):
        scene.load_result(copy, pre)
    assert node_ids() == before
    assert hierarchy.GetNumberOfItems() == items


@pytest.mark.parametrize("steps", [1, 2, 12, 30, 60])
def test_a_loading_that_is_given_up_leaves_only_what_the_user_made_meanwhile(folder, pre, study, steps):
    before, items = node_ids(), nodes.subject_hierarchy().GetNumberOfItems()
    loading = scene.load_steps(folder, pre)
    for _step in range(steps):
        next(loading)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "mine")
    next(loading)
    loading.close()
    assert node_ids() == before | {mine.GetID()}
    assert nodes.subject_hierarchy().GetNumberOfItems() == items + 1


def test_steps_tell_how_much_is_done_and_end_with_the_same_result(folder, pre, study):
    loading, fractions = scene.load_steps(folder, pre), []
    while True:
        try:
            fractions.append(next(loading))
        except StopIteration as end:
            by_steps = end.value
            break
    assert len(fractions) > 60
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    at_once = scene.load_result(folder, pre)
    assert (by_steps.lesions, each(by_steps, "time_s")) == (at_once.lesions, each(at_once, "time_s"))
    assert set(by_steps.charts) == set(at_once.charts)


@pytest.mark.parametrize("change", ["close", "input", "phase"])
def test_a_scene_that_changes_under_a_loading_ends_it(folder, pre, study, change):
    loading = scene.load_steps(folder, pre)
    while len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) < 3:
        next(loading)
    if change == "close":
        slicer.mrmlScene.Clear(0)
        left = [result_samples.add_input(study["pre"])]  # gets the ID that `pre` had
    elif change == "input":
        slicer.mrmlScene.RemoveNode(pre)
        left = []
    else:
        slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[1])
        left = [pre]
    with pytest.raises(InputError, match="the scene was changed"):
        next(loading)
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == left
    assert slicer.util.getNodesByClass("vtkMRMLTextNode") == []


def test_another_volume_than_the_input_is_refused(folder, study):
    pre = result_samples.add_input(study["pre"][:, :, :-1])
    before = node_ids()
    with pytest.raises(InputError, match="does not lie on the volume T1"):
        scene.load_result(folder, pre)
    assert node_ids() == before


def test_a_folder_that_is_no_result_is_refused(tmp_path, pre):
    with pytest.raises(InputError, match="not a result folder"):
        scene.load_result(tmp_path, pre)


def test_a_result_without_lesions_uncertainty_and_real_phases_loads(bare_folder, pre):
    loaded = scene.load_result(bare_folder, pre)
    assert (loaded.segmentation, loaded.lesions, loaded.charts) == ("", [], {})
    assert set(loaded.tables) == {"breast_tissue"}
    assert each(loaded, "uncertainty") == each(loaded, "real") == ["", "", ""]
    assert all(each(loaded, "volume"))
    assert all(each(loaded, "subtraction"))


def test_a_nifti_result_loads_like_an_nrrd_one(tmp_path, study, folder, pre):
    parts = study | {"format": "nifti"}
    other = result_samples.write_result(tmp_path / "nifti", parts.pop("pre"), parts.pop("synthetic"), **parts)
    first, second = scene.load_result(folder, pre), scene.load_result(other, pre)
    np.testing.assert_array_equal(voxels(first.phases[1].volume), voxels(second.phases[1].volume))
    assert len(second.lesions) == 2
    assert {one.run_id for one in scene.find_results()} == {first.run_id, second.run_id}


def test_in_units_of_the_model_the_series_starts_in_those_units(tmp_path, study, pre):
    synthetic = [image * 10.0 for image in study["synthetic"]]
    folder = result_samples.write_result(
        tmp_path / "arbitrary", study["pre"], synthetic, labels=study["labels"], arbitrary=True
    )
    loaded = scene.load_result(folder, pre)
    np.testing.assert_allclose(voxels(loaded.pre), 10 * voxels(loaded.input), rtol=1e-5, atol=1e-2)


def test_other_maps_are_loaded_when_asked_for(folder, pre):
    loaded = scene.load_result(folder, pre, maps=("ser", "wash_in"))
    assert set(loaded.maps) == {"ser", "wash_in"}


# ---- other systems ------------------------------------------------------------------------------------------------


def test_what_a_calibrated_model_says_of_a_lesion_is_told_until_its_outline_changes(folder, pre, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "calibrated")
    lines = ["lesion,synthetic,grade,false_positive_rate,probability,time_s,pe_low_percent,pe_high_percent,coverage"]
    lines += ["1,true,likely enhancing,0.08,0.9,90,50,90,0.9", "1,true,likely enhancing,0.08,0.9,220,50,90,0.9"]
    lines += ["2,true,uncertain: consider real contrast,,0.4,90,10,90,0.9"]
    (copy / "confidence.csv").write_text("\n".join(lines) + "\n")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["outputs"]["confidence.csv"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    loaded = scene.load_result(copy, pre)
    told = "likely enhancing (8 % of lesions so graded on unseen patients did not)"
    assert [row.confidence for row in loaded.lesions] == [told, "uncertain: consider real contrast"]
    remeasure.measure_again(loaded)
    assert [row.confidence for row in loaded.lesions] == ["", ""]


def test_a_real_phase_without_motion_stands_in_the_place_of_the_users_own(tmp_path, host, study, pre):
    """It is the one that the run compared with; the scene keeps both, and loses it with the result."""
    folder = result_samples.full_result(tmp_path / "result", corrected=(2,))
    real = [result_samples.add_input(image, f"real {number}") for number, image in enumerate(study["real"], 1)]
    loaded = scene.load_result(folder, pre, real_nodes=real)
    assert [phase.real == node.GetID() for phase, node in zip(loaded.phases, real, strict=True)] == [True, False, True]
    corrected = nodes.node(loaded.phases[1].real)
    assert "without motion" in corrected.GetName() and not nodes.is_synthetic(corrected)
    np.testing.assert_allclose(voxels(corrected.GetID()), sitk.GetArrayFromImage(study["real"][1]))
    scene.remove_result(loaded)
    assert nodes.node(real[1].GetID()) is not None
    assert slicer.mrmlScene.GetNodeByID(loaded.phases[1].real) is None
