"""Results of models that read an acquired phase, and of mammograms, in the scene."""

import numpy as np
import pytest
import result_samples
import run_samples
import SimpleITK as sitk
import slicer
import tiny_models
from result_samples import each, node_ids, voxels
from VirtualContrastLib.run import write_outputs
from VirtualContrastLib.run.pipeline import RunSettings, run
from VirtualContrastLib.slicer_app.scene import nodes, tables
from VirtualContrastLib.slicer_app.scene import result as scene

OBLIQUE = (0.9396926, 0.0, 0.3420201, 0.0, -1.0, 0.0, 0.3420201, 0.0, -0.9396926)


@pytest.fixture(scope="module")
def later_folder(tmp_path_factory):
    """The result of an iterU-Net: phases 2 and 3 from pre-contrast and the acquired phase 1 of 80 s."""
    place = tmp_path_factory.mktemp("later")
    study = run_samples.write_study(place / "study", phases=2)
    settings = RunSettings(
        model=str(tiny_models.tiny_iter_unet(place / "model").folder), device="cpu", real_times_s=(80.0, 220.0)
    )
    real = [study / "phase_1.nrrd", study / "phase_2.nrrd"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_outputs, "_pages", lambda task: ([], []))
        result = run(study / "pre.nrrd", place / "result", settings, real=real, lesions=study / "mask.nrrd")
    return result.folder


@pytest.fixture
def later(host, later_folder):
    pre = result_samples.add_input(run_samples.make_image(run_samples.make_pre()))
    real = [result_samples.add_input(run_samples.make_image(run_samples.make_real(n)), f"real {n}") for n in (1, 2)]
    return scene.load_result(later_folder, pre, real_nodes=real), real


def test_phases_of_a_model_that_reads_the_first_begin_with_two_and_keep_their_real_counterparts(later, later_folder):
    result, real = later
    assert (each(result, "index"), each(result, "time_s")) == ([2, 3], [220.0, 350.0])
    assert each(result, "caption") == ["phase 2 (220 s)", "phase 3 (350 s)"]
    for index, node_id in zip(each(result, "index"), each(result, "volume"), strict=True):
        file = sitk.ReadImage(str(later_folder / f"phases/phase_{index}.nrrd"))
        np.testing.assert_array_equal(voxels(node_id), sitk.GetArrayFromImage(file))
        assert f"phase {index} " in nodes.node(node_id).GetName()
    assert each(result, "real") == [real[1].GetID(), ""]
    assert all(each(result, "subtraction"))


def test_the_acquired_phase_stands_in_the_series_at_its_time_and_is_not_synthetic(later):
    result, real = later
    assert [phase.time_s for phase in result.input_phases] == [80.0]
    np.testing.assert_array_equal(voxels(result.input_phases[0].volume), slicer.util.arrayFromVolume(real[0]))
    assert not nodes.is_synthetic(nodes.node(result.input_phases[0].volume))
    sequence = nodes.node(result.sequence)
    items = range(sequence.GetNumberOfDataNodes())
    assert [float(sequence.GetNthIndexValue(n)) for n in items] == [0.0, 80.0, 220.0, 350.0]
    assert [nodes.is_synthetic(sequence.GetNthDataNode(n)) for n in items] == [False, False, True, True]
    first = sequence.GetNthDataNode(result.first_item)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(first), voxels(result.phases[0].volume))


def test_the_result_of_a_later_model_loads_without_its_real_phases_too(host, later_folder):
    pre = result_samples.add_input(run_samples.make_image(run_samples.make_pre()))
    result = scene.load_result(later_folder, pre)
    assert (result.input_phases, result.first_item) == ([], 1)
    sequence = nodes.node(result.sequence)
    assert [float(sequence.GetNthIndexValue(n)) for n in range(3)] == [0.0, 220.0, 350.0]


def test_items_of_a_sequence_serve_as_acquired_phases(host, later_folder):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "DCE")
    sequence.SetIndexTypeFromString("numeric")
    for n in (1, 2):
        real = result_samples.add_input(run_samples.make_image(run_samples.make_real(n)))
        sequence.SetDataNodeAtValue(real, str(n))
        slicer.mrmlScene.RemoveNode(real)
    pre = result_samples.add_input(run_samples.make_image(run_samples.make_pre()))
    items = [sequence.GetNthDataNode(n) for n in (0, 1)]
    result = scene.load_result(later_folder, pre, real_nodes=items)
    np.testing.assert_array_equal(voxels(result.input_phases[0].volume), run_samples.make_real(1))
    assert each(result, "real") == ["", ""]


def test_removing_a_later_result_takes_the_copies_of_acquired_phases_with_it(host, later_folder):
    pre = result_samples.add_input(run_samples.make_image(run_samples.make_pre()))
    real = [result_samples.add_input(run_samples.make_image(run_samples.make_real(1)), "real 1")]
    before = node_ids()
    scene.remove_result(scene.load_result(later_folder, pre, real_nodes=real))
    assert node_ids() == before


def test_editing_a_later_result_keeps_the_acquired_point(later):
    from VirtualContrastLib.slicer_app.views import lesion_table

    result, _real = later
    segmentation = nodes.node(result.segmentation)
    mask = run_samples.make_mask() == 1
    mask[0] |= mask[1]
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        mask.astype(np.uint8), segmentation, "Lesion_1", nodes.node(result.pre)
    )
    lesion_table.recompute(result)
    table = nodes.node(result.tables["curves"])
    rows = [
        (
            tables.column(table, "time_s")[n],
            tables.column(table, "synthetic")[n],
            tables.column(table, "signal_mean")[n],
        )
        for n in range(4)
    ]
    assert [row[:2] for row in rows] == [(0, "false"), (80, "false"), (220, "true"), (350, "true")]
    assert rows[1][2] == pytest.approx(run_samples.make_real(1)[mask].mean(), rel=1e-4)
    assert rows[2][2] == pytest.approx(voxels(result.phases[0].volume)[mask].mean(), rel=1e-4)
    real_table = nodes.node(result.tables["curves_real"])
    assert tables.column(real_table, "time_s")[:3] == [0, 80, 220]


@pytest.fixture(scope="module")
def mammogram_folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("mammogram")
    values = np.random.default_rng(0).normal(120, 30, (1, 48, 40)).clip(0, 255).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(place / "low.nrrd"))
    settings = RunSettings(model=str(tiny_models.tiny_mammogram_model(place / "model").folder), device="cpu")
    return run(place / "low.nrrd", place / "result", settings, real=[place / "low.nrrd"]).folder


def test_a_mammogram_s_result_is_two_images_and_a_table(host, mammogram_folder):
    low = sitk.ReadImage(str(mammogram_folder.parent / "low.nrrd"))
    before = node_ids()
    result = scene.load_result(mammogram_folder, result_samples.add_input(low, "L CC"))
    assert (result.kind, each(result, "caption")) == ("mammogram", ["recombined"])
    file = sitk.ReadImage(str(mammogram_folder / "recombined.nrrd"))
    np.testing.assert_array_equal(voxels(result.phases[0].volume), sitk.GetArrayFromImage(file))
    np.testing.assert_array_equal(voxels(result.pre), sitk.GetArrayFromImage(low))
    assert nodes.is_synthetic(nodes.node(result.phases[0].volume))
    assert nodes.node(result.phases[0].volume).GetName() == "L CC: synthetic recombined"
    assert (result.sequence, result.segmentation, each(result, "subtraction"), result.charts) == ("", "", [""], {})
    assert list(result.tables) == ["comparison"]
    name = nodes.subject_hierarchy().GetItemName(result.folder_item)
    assert name.startswith("Synthetic recombined mammogram")
    assert [found.run_id for found in scene.find_results()] == [result.run_id]
    scene.remove_result(result)
    slicer.mrmlScene.RemoveNode(nodes.node(result.input))
    assert {node_id for node_id in node_ids() - before if "Display" not in node_id} == set()
