"""The module without its panel: volumes handed over exactly, runs in scripts, models listed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from module_samples import (
    CRASHING,
    EMPTY,
    HANGING,
    MODULE,
    TESTING,
    add_pre,
    add_real,
    add_volume,
    make_result,
    read_nrrd,
    run_samples,
    worker_command,
)
from result_samples import each
from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.results.manifest import load_result
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.slicer_app.run import synthesis_run, transfer
from VirtualContrastLib.slicer_app.run.engine_process import EngineProcess
from VirtualContrastLib.slicer_app.run.synthesis_run import Callbacks, SynthesisRunner
from VirtualContrastLib.slicer_app.run.transfer import RealPhases
from VirtualContrastLib.slicer_app.scene import nodes
from VirtualContrastLib.slicer_app.scene import result as scene_result

tiny_models = run_samples.tiny_models


@pytest.fixture
def make_synthesis(host):
    """Makes runners whose workers are ended after the test."""
    made = []

    def make(code=None):
        made.append(SynthesisRunner(EngineProcess(worker_command(code) if code else None)))
        return made[-1]

    yield make
    for synthesis in made:
        synthesis.shutdown()


@pytest.fixture
def model(tmp_path):
    return str(run_samples.write_model(tmp_path / "model"))


def node_counts():
    scene = slicer.mrmlScene
    names = [scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes())]
    return {name: names.count(name) for name in set(names) if "Volume" in name or "Segmentation" in name}


def handed_over():
    return list(Path(slicer.app.temporaryPath).glob("VirtualContrast_*"))


# ---- handing volumes over -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_a_volume_is_handed_over_with_exact_voxels_and_geometry(host, tmp_path, dtype):
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([0.7, 1.1, 2.9])
    matrix[:3, 3] = rng.normal(size=3) * 100
    array = rng.integers(0, 120, (5, 18, 20)).astype(dtype)
    node = add_volume(array, ijk_to_ras=matrix)
    fractions = list(transfer.write_nrrd(node, tmp_path / "x.nrrd"))
    image = read_nrrd(tmp_path / "x.nrrd")
    assert fractions[-1] == 1.0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    assert sitk.GetArrayFromImage(image).dtype == array.dtype
    for index in ((0, 0, 0), (19, 17, 4), (3, 5, 1)):
        ras = matrix @ [*index, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), ras[:3] * [-1, -1, 1], atol=1e-9)


def test_a_large_volume_is_handed_over_in_pieces(host, tmp_path):
    array = np.zeros((40, 256, 256), np.float32)
    fractions = list(transfer.write_nrrd(add_volume(array), tmp_path / "x.nrrd"))
    assert len(fractions) == int(np.ceil(array.nbytes / transfer.PIECE_BYTES))
    assert fractions == sorted(fractions)


def test_volumes_that_cannot_be_used_are_told(host):
    color = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Color")
    slicer.util.updateVolumeFromArray(color, np.zeros((4, 20, 20, 3), np.uint8))
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    moved = add_pre()
    moved.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    assert "no voxels" in transfer.problem_with(empty)
    assert "several values" in transfer.problem_with(color)
    assert "transform" in transfer.problem_with(moved)
    assert transfer.problem_with(add_pre()) == ""


def test_a_sequence_gives_its_post_contrast_items_and_their_seconds(host):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "DCE")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    sequence.SetIndexTypeFromString("numeric")
    for number, time_ms in enumerate(("0", "90000", "220000")):
        sequence.SetDataNodeAtValue(add_volume(np.full((4, 20, 20), number, np.int16)), time_ms)
    real = transfer.real_phases([], sequence)
    assert real.times_s == (90.0, 220.0)
    assert [slicer.util.arrayFromVolume(node).max() for node in real.nodes] == [1, 2]
    sequence.SetIndexUnit("")
    assert transfer.real_phases([], sequence).times_s is None
    assert len(transfer.real_phases([], sequence).nodes) == 2


# ---- models -------------------------------------------------------------------------------------------------------


def test_a_script_gets_the_phases_of_a_volume_in_two_lines(host, make_synthesis, model, tmp_path):
    volume = add_pre()
    settings = RunSettings(model=model, segmentation="threshold", device="cpu")
    loaded = make_synthesis().process(volume, settings, output_folder=tmp_path / "out")
    assert len(loaded.phases) == 3
    phase = slicer.mrmlScene.GetNodeByID(loaded.phases[0].volume)
    assert slicer.util.arrayFromVolume(phase).shape == slicer.util.arrayFromVolume(volume).shape
    assert len(list((tmp_path / "out").glob("VirtualContrast_*/manifest.json"))) == 1
    assert handed_over() == []


def test_real_phases_are_compared_with_and_their_times_taken(host, make_synthesis, model, tmp_path):
    real = RealPhases((add_real(1), add_real(2), add_real(3)), (80.0, 200.0, 340.0))
    settings = RunSettings(model=model, segmentation="threshold", device="cpu")
    loaded = make_synthesis().process(add_pre(), settings, real=real, output_folder=tmp_path)
    assert each(loaded, "time_s") == [80.0, 200.0, 340.0]
    assert each(loaded, "real") == [node.GetID() for node in real.nodes]
    (manifest,) = tmp_path.glob("VirtualContrast_*/manifest.json")
    roles = [entry["role"] for entry in json.loads(manifest.read_text())["inputs"]]
    assert roles == ["pre", "real_1", "real_2", "real_3"]


@pytest.mark.parametrize(
    ("code", "sentence"), [(CRASHING, "ended unexpectedly"), (None, "The model package a/b does not exist")]
)
def test_a_failed_run_raises_one_sentence_and_leaves_nothing(host, make_synthesis, tmp_path, code, sentence):
    volume, before = add_pre(), node_counts()
    with pytest.raises(VirtualContrastError, match=sentence):
        make_synthesis(code).process(volume, RunSettings(model="a/b"), output_folder=tmp_path)
    assert node_counts() == before
    assert list(tmp_path.iterdir()) == []
    assert handed_over() == []


def test_a_result_that_cannot_be_loaded_is_told_with_its_place(host, make_synthesis, tmp_path):
    volume, before = add_pre(), node_counts()
    with pytest.raises(VirtualContrastError, match=r"VirtualContrast_.* could not be loaded \(.*no manifest.json"):
        make_synthesis(EMPTY).process(volume, RunSettings(), output_folder=tmp_path)
    assert node_counts() == before


@pytest.mark.slicer_errors
def test_an_error_that_nobody_foresaw_ends_the_run_and_is_shown_in_the_console(
    host, make_synthesis, monkeypatch, tmp_path
):
    def broken(node, path):
        yield 0.1
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(synthesis_run, "write_nrrd", broken)
    synthesis, told = make_synthesis(HANGING), []
    synthesis.start(add_pre(), RunSettings(), Callbacks(failed=told.append), output_folder=tmp_path)
    host.wait_until(lambda: told)
    assert told == ["An unexpected error ended the run; see the Python console."]
    assert any("nobody foresaw this" in str(error) for error in qt.slotErrors)
    assert handed_over() == []
    assert not synthesis.busy


def test_the_event_loop_stays_free_while_a_large_volume_goes_in_and_cancel_while_it_does_leaves_nothing(
    host, make_synthesis, tmp_path
):
    volume = add_volume(np.random.default_rng(0).normal(300, 40, (160, 448, 448)).astype(np.float32))
    synthesis, ends, fractions = make_synthesis(HANGING), [], []
    callbacks = Callbacks(
        progress=lambda fraction, text: fractions.append(fraction), cancelled=lambda: ends.append("cancelled")
    )
    with host.watch_event_loop() as longest_s:
        synthesis.start(volume, RunSettings(), callbacks, output_folder=tmp_path)
        host.wait_until(lambda: synthesis.worker.busy)
        print(f"\n{volume.GetImageData().GetNumberOfPoints() * 4 >> 20} MiB, blocked {1000 * longest_s():.0f} ms")
        assert longest_s() < host.patience(0.5)
    assert len(fractions) > 20
    synthesis.cancel()
    host.wait_until(lambda: ends)
    synthesis.start(volume, RunSettings(), callbacks, output_folder=tmp_path)
    host.process_events(0.01)
    assert handed_over()
    synthesis.cancel()
    assert ends == ["cancelled", "cancelled"]
    assert handed_over() == []
    assert not synthesis.busy


@pytest.mark.slow
def test_two_slicers_in_the_same_second_with_one_output_folder_never_mix_two_patients(tmp_path):
    rounds, values = 20, (100, 200)
    script = str(Path(__file__).with_name("two_slicers.py"))
    both = [
        subprocess.Popen(
            [sys.executable, script, f"slicer{value}", str(value), str(rounds), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for value in values
    ]
    for value, process in zip(values, both, strict=True):
        told, errors = process.communicate(timeout=900)
        assert told.splitlines() == [f"{value + 1} {value + 2} {value + 3}"] * rounds, errors
    made = list((tmp_path / "out").iterdir())
    assert len(made) == 2 * rounds
    assert {folder.stat().st_mode & 0o777 for folder in made} == {0o700}


def test_a_result_folder_is_made_when_its_name_is_chosen_and_for_the_user_alone(host, tmp_path):
    one, other = synthesis_run._new_folder(tmp_path / "out"), synthesis_run._new_folder(tmp_path / "out")
    assert one != other
    assert one.is_dir() and other.is_dir()
    assert one.stat().st_mode & 0o777 == 0o700


def test_results_without_a_chosen_place_are_private_and_end_with_the_application(tmp_path):
    script = (
        f"import sys; sys.path[:0] = [{str(TESTING / 'host')!r}, {str(MODULE.parent)!r}]\n"
        "import slicer_host; slicer_host.boot(main_window=False)\n"
        "import slicer; from VirtualContrastLib.slicer_app.run import synthesis_run\n"
        f"slicer.app.temporaryPath = {str(tmp_path)!r}\n"
        "one, other = synthesis_run._new_folder(None), synthesis_run._new_folder(None)\n"
        "(one / 'phase.nrrd').touch()\n"
        "print(oct(one.stat().st_mode), oct(one.parent.stat().st_mode), one.parent == other.parent, one.parent)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, parent, together, place = done.stdout.split()
    assert (one, parent, together) == ("0o40700", "0o40700", "True")
    assert Path(place).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_result_of_another_run_is_not_loaded(host, tmp_path):
    result, volume, before = make_result(tmp_path), add_pre(), node_counts()
    run_id = load_result(result).manifest.run_id
    with pytest.raises(InputError, match="another run"):
        nodes.drain(scene_result.load_steps(result, volume, run_id="20260101T000000-000000"))
    steps = scene_result.load_steps(result, volume, run_id=run_id)
    next(steps)
    manifest = result / "manifest.json"
    manifest.write_text(manifest.read_text().replace(run_id, "20260101T000000-000000"))
    with pytest.raises(InputError, match="another run"):
        nodes.drain(steps)
    assert node_counts() == before


def test_an_output_folder_that_cannot_be_made_is_told_in_one_sentence(host, make_synthesis, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"No result folder can be made in .*file"):
        make_synthesis(HANGING).start(add_pre(), RunSettings(), Callbacks(), output_folder=tmp_path / "file")
    assert handed_over() == []


def test_a_second_run_meanwhile_is_refused(host, make_synthesis, tmp_path):
    synthesis = make_synthesis(HANGING)
    synthesis.start(add_pre(), RunSettings(), Callbacks(), output_folder=tmp_path)
    with pytest.raises(InputError, match="under way"):
        synthesis.start(add_pre(), RunSettings(), Callbacks(), output_folder=tmp_path)


def test_missing_packages_are_told_to_a_script(host, make_synthesis):
    slicer.packaging.host.missing.add("highdicom")
    with pytest.raises(VirtualContrastError, match="highdicom"):
        make_synthesis().process(add_pre())


def test_the_logic_works_without_a_main_window(model, tmp_path):
    script = tmp_path / "headless.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(TESTING / 'host')!r}, {str(MODULE.parent)!r}, {str(TESTING)!r}]\n"
        "import slicer_host; slicer_host.boot(main_window=False)\n"
        "import slicer, run_samples\n"
        "from VirtualContrast import VirtualContrastLogic\n"
        "from VirtualContrastLib.run.settings import RunSettings\n"
        "volume = slicer.util.addVolumeFromArray(run_samples.make_pre())\n"
        f"settings = RunSettings(model={model!r}, segmentation='threshold', device='cpu')\n"
        "logic = VirtualContrastLogic()\n"
        "loaded = logic.process(volume, settings)\n"
        "logic.shutdown()\n"
        "print(len(loaded.phases), slicer.app.layoutManager())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout.split()[-2:] == ["3", "None"], done.stderr
    assert done.returncode == 0


def test_a_later_model_runs_from_a_sequence_with_its_times(host, make_synthesis, tmp_path):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "DCE")
    sequence.SetIndexUnit("s")
    sequence.SetIndexTypeFromString("numeric")
    for time_s, volume in (("0", add_pre()), ("85", add_real(1)), ("230", add_real(2))):
        sequence.SetDataNodeAtValue(volume, time_s)
    later = str(tiny_models.tiny_iter_unet(tmp_path / "later").folder)
    settings = RunSettings(model=later, segmentation="none", device="cpu")
    real = transfer.real_phases([], sequence)
    loaded = make_synthesis().process(add_pre(), settings, real=real, output_folder=tmp_path / "out")
    assert (each(loaded, "index"), [phase.time_s for phase in loaded.input_phases]) == ([2, 3], [85.0])
    acquired = slicer.mrmlScene.GetNodeByID(loaded.input_phases[0].volume)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(acquired), run_samples.make_real(1))
    (manifest,) = (tmp_path / "out").glob("VirtualContrast_*/manifest.json")
    times = {entry["role"]: entry["time_s"] for entry in json.loads(manifest.read_text())["inputs"]}
    assert times == {"pre": 0.0, "real_1": 85.0, "real_2": 230.0}


def test_a_mammogram_goes_the_same_way(host, make_synthesis, tmp_path):
    low = add_volume((run_samples.make_pre()[2:3] / 2).astype(np.float32), "L CC")
    model = str(tiny_models.tiny_mammogram_model(tmp_path / "mammogram").folder)
    loaded = make_synthesis().process(low, RunSettings(model=model, device="cpu"), output_folder=tmp_path / "out")
    assert loaded.kind == "mammogram"
    made = slicer.mrmlScene.GetNodeByID(loaded.phases[0].volume)
    assert slicer.util.arrayFromVolume(made).shape == slicer.util.arrayFromVolume(low).shape
