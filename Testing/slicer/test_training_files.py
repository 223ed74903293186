"""What the training panel reads without any package: recipes, growing curves, the folder of a run."""

import json

import pytest
import yaml
from VirtualContrastTrainingLib.slicer_app import recipe_list
from VirtualContrastTrainingLib.slicer_app.metrics_file import MetricsFile, one_after_the_other
from VirtualContrastTrainingLib.slicer_app.run_folder import RunFolder, Start
from VirtualContrastTrainingLib.systems.recipes import load_recipe, recipe_names
from VirtualContrastTrainingLib.training.run_files import Progress

# ---- recipes ------------------------------------------------------------------------------------------------------


def test_the_panel_reads_of_every_recipe_what_the_library_reads():
    entries = {entry.name: entry for entry in recipe_list.shipped_recipes()}
    assert sorted(entries) == recipe_names()
    for name, entry in entries.items():
        recipe = load_recipe(name)
        assert (entry.title, entry.system) == (recipe.title, recipe.system)
        assert entry.phantoms == recipe.trained_on_phantoms
        assert entry.about, f"{name} starts with no comment that says what it is"


def test_recipes_for_phantoms_come_first():
    phantoms = [entry.phantoms for entry in recipe_list.shipped_recipes()]
    assert phantoms == sorted(phantoms, reverse=True)


@pytest.mark.parametrize("content", [b"", b"title: no system\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_recipe_is_none(tmp_path, content):
    (tmp_path / "x.yaml").write_bytes(content)
    assert recipe_list.read_recipe(tmp_path / "x.yaml") is None
    assert recipe_list.read_recipe(tmp_path / "absent.yaml") is None


# ---- curves -------------------------------------------------------------------------------------------------------


def write_csv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(header), *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_curves_grow_with_the_file_and_a_half_written_line_waits(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"G_L1,epoch,step,val_mae\n,0,3,0.5\n2.0,0,3,\n,1,7,0.")
    file = MetricsFile(path)
    assert file.poll()
    assert file.curves == {"val_mae": {1: 0.5}, "G_L1": {1: 2.0}}
    assert not file.poll()
    with path.open("ab") as stream:
        stream.write(b"25\n")
    assert file.poll()
    assert file.curves["val_mae"] == {1: 0.5, 2: 0.25}


def test_a_new_column_in_the_middle_of_a_run_loses_nothing(tmp_path):
    """Lightning's own writer rewrites the whole file then."""
    from lightning.fabric.loggers.csv_logs import _ExperimentWriter

    writer = _ExperimentWriter(str(tmp_path))
    file = MetricsFile(tmp_path / "metrics.csv")
    for epoch, values in enumerate([{"G_L1": 3.0}, {"G_L1": 2.0, "val_mae": 0.5}, {"A_FIRST": 1.0, "G_L1": 1.0}]):
        writer.log_metrics({**values, "epoch": epoch}, step=epoch)
        writer.save()
        assert file.poll()
    assert file.curves["G_L1"] == {1: 3.0, 2: 2.0, 3: 1.0}
    assert file.curves["val_mae"] == {2: 0.5}
    assert file.curves["A_FIRST"] == {3: 1.0}


def test_values_that_are_not_finite_are_left_out(tmp_path):
    write_csv(tmp_path / "metrics.csv", ["loss", "epoch", "step"], [["nan", 0, 1], ["inf", 1, 2], [1.5, 2, 3]])
    file = MetricsFile(tmp_path / "metrics.csv")
    file.poll()
    assert file.curves == {"loss": {3: 1.5}}


def test_a_later_start_overrules_the_epoch_that_the_earlier_broke_off(tmp_path):
    header = ["loss", "epoch", "step"]
    write_csv(tmp_path / "logs/version_9/metrics.csv", header, [[3, 0, 1], [2, 1, 2]])
    write_csv(tmp_path / "logs/version_10/metrics.csv", header, [[1.75, 1, 2], [1, 2, 3]])
    run = RunFolder(tmp_path)
    assert run.poll()
    assert run.losses == {"loss": {1: 3.0, 2: 1.75, 3: 1.0}}
    assert run.held_out == {}
    assert not run.poll()


def test_stages_follow_each_other_on_one_axis(tmp_path):
    header = ["loss", "val_mae", "epoch", "step"]
    write_csv(tmp_path / "warm_up/logs/version_0/metrics.csv", header, [[3, 0.5, 0, 1], [2, 0.4, 1, 2]])
    write_csv(tmp_path / "logs/version_0/metrics.csv", header, [[1, 0.3, 0, 1]])
    run = RunFolder(tmp_path)
    run.poll()
    assert run.losses == {"loss": {1: 3.0, 2: 2.0, 3: 1.0}}
    assert run.held_out == {"val_mae": {1: 0.5, 2: 0.4, 3: 0.3}}
    assert one_after_the_other([{}, {"a": {1: 1.0}}]) == {"a": {1: 1.0}}


# ---- the folder of a run ------------------------------------------------------------------------------------------


def test_the_command_line_means_what_was_chosen(tmp_path):
    folder = 'data "of" mine, umlaut ä'
    start = Start("phantom-joint-p1-p3", folder, "b", precision="32-true", devices=2, changes="seed=3 title='a b'")
    line = start.arguments(tmp_path, resume=False)
    assert line[:4] == ["train", "phantom-joint-p1-p3", "--output", str(tmp_path)]
    changes = [line[n + 1] for n, part in enumerate(line) if part == "--set"]
    recipe = load_recipe("phantom-joint-p1-p3", changes)
    assert (recipe.data.train, recipe.data.validation, recipe.seed, recipe.title) == (folder, "b", 3, "a b")
    assert line[-4:] == ["--devices", "2", "--precision", "32-true"]


def test_a_run_goes_on_with_its_own_recipe_and_a_smoke_trial_with_the_shipped_one(tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"id": "my-run"}))
    line = Start("x", "a", "b", changes="seed=3").arguments(tmp_path, resume=True)
    assert line == ["train", str(tmp_path / "recipe.yaml"), "--output", str(tmp_path), "--resume"]
    line = Start("x", "a", "b", smoke=True).arguments(tmp_path, resume=True)
    assert line == ["train", "x", "--output", str(tmp_path), "--smoke", "--resume"]
    assert RunFolder(tmp_path).title == "my-run"


def test_what_was_chosen_is_found_again_and_old_progress_and_stop_are_forgotten(tmp_path):
    run, start = RunFolder(tmp_path / "run"), Start("x", "a", "b", True, "32-true", 3, "seed=1")
    assert run.start() == Start(str(tmp_path / "run" / "recipe.yaml"))
    run.begin(start)
    Progress("", 1, 2, 3, 4, 5.0, "cpu").write(run.folder)
    run.ask_to_stop()
    assert run.progress == Progress("", 1, 2, 3, 4, 5.0, "cpu")
    run.begin(start)
    assert run.start() == start
    assert run.progress is None
    assert sorted(path.name for path in run.folder.iterdir()) == ["panel.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"epoch": 1}', '{"stage": 1, "more": 2}'])
def test_progress_that_cannot_be_understood_is_none(tmp_path, content):
    (tmp_path / "progress.json").write_text(content)
    assert Progress.read(tmp_path) is None


def test_an_empty_folder_holds_no_run(tmp_path):
    run = RunFolder(tmp_path)
    assert (run.exists, run.has_checkpoint, run.model, run.samples(), run.poll()) == (False, False, None, [], False)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps({}))
    assert run.model is None  # its weights are not there yet
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"")
    assert run.model == tmp_path / "model"


def test_a_run_of_nnunet_goes_on_from_its_own_checkpoint(tmp_path):
    fold = tmp_path / "nnunet" / "results" / "Dataset501_Lesions" / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    fold.mkdir(parents=True)
    assert not RunFolder(tmp_path).has_checkpoint
    (fold / "checkpoint_latest.pth").touch()
    assert RunFolder(tmp_path).has_checkpoint


def test_pictures_come_in_the_order_of_the_stages(tmp_path):
    for name in ("samples/epoch_0001.png", "warm_up/samples/epoch_0002.png", "warm_up/samples/epoch_0001.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "samples" / "epoch_0002.png.partial-0a1b2c3d").touch()
    found = [path.relative_to(tmp_path).as_posix() for path in RunFolder(tmp_path).samples()]
    assert found == ["warm_up/samples/epoch_0001.png", "warm_up/samples/epoch_0002.png", "samples/epoch_0001.png"]
