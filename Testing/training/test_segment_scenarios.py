"""Cases, folds, data sets and table of the segmentation experiment, without nnU-Net."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from segment_samples import command, redescribe, rewrite, write_plain_case
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesizer
from VirtualContrastTrainingLib.commands import segment
from VirtualContrastTrainingLib.data.bias_field import correct_bias
from VirtualContrastTrainingLib.data.nnunet_datasets import (
    SCENARIOS,
    deterministic_folds,
    folds_of,
    nnunet_splits,
    published_folds,
    published_test_cases,
    write_nnunet_dataset,
)
from VirtualContrastTrainingLib.data.segmentation_cases import FolderPhases, ModelPhases, prepare_segmentation_case
from VirtualContrastTrainingLib.data.segmentation_inputs import DOMAINS, Inputs
from VirtualContrastTrainingLib.data.single_breast import focality
from VirtualContrastTrainingLib.papers.scenario_table import as_text, write_scenario_table
from VirtualContrastTrainingLib.papers.scenarios import Experiment, load_experiment, prepare_experiment, sources_of
from VirtualContrastTrainingLib.papers.table_options import TableOptions
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.training.recipe import write_recipe

PUBLISHED_FILES = {
    "pre": "Dataset205_DukePreHalf/splits_final.json",
    "post": "Dataset204_DukePhaseOneHalf/splits_final.json",
    "post+synthetic": "Dataset207_DukePhaseOneHalfSynthetic/splits_final.json",
    # The names of these two files are swapped.
    "pre+post": "Dataset208_DukePreSynthetic/splits_final_pre_post_syn.json",
    "pre+post+synthetic": "Dataset208_DukePreSynthetic/splits_final_pre_post.json",
}
MODELS = Path(__file__).parents[2] / "Resources" / "Models"
MARKS = {"": "post", "P": "pre", "S": "synthetic"}


def our_name(published, scenario):
    """`Breast_MRI_043S` as we call it; images of the pre-contrast data set have no mark."""
    case, mark = published[:14], published[14:]
    return f"{case}_{'pre' if scenario == 'pre' else MARKS[mark]}"


@pytest.mark.parametrize("scenario", list(PUBLISHED_FILES))
def test_splits_are_those_of_the_published_data_sets(shared_data, scenario):
    path = shared_data / "tables" / "duke-nnunet" / PUBLISHED_FILES[scenario]
    published = json.loads(path.read_text())
    ours = nnunet_splits(SCENARIOS[scenario], published_folds())
    assert len(ours) == len(published) == 5
    for fold, (a, b) in enumerate(zip(ours, published, strict=True)):
        for part in ("train", "val"):
            names = {our_name(name, scenario) for name in b[part]}
            missing = set(a[part]) - names
            assert names <= set(a[part])
            # Fold 4 of data set 204 lacks two training cases that its other folds have.
            assert len(missing) == (2 if (scenario, fold, part) == ("post", 4, "train") else 0)


def test_published_folds_are_disjoint_and_free_of_test_cases():
    folds = published_folds()
    cases = [case for fold in folds for case in fold]
    assert [len(fold) for fold in folds] == [39, 38, 38, 38, 38]
    assert len(set(cases)) == len(cases) == 191
    assert len(published_test_cases()) == 30 and not published_test_cases() & set(cases)


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_every_fold_trains_on_all_images_of_the_other_folds_and_on_none_of_its_own(scenario):
    folds = deterministic_folds([f"case_{n}" for n in range(11)], 4)
    splits = nnunet_splits(SCENARIOS[scenario], folds)
    validated = []
    for fold, split in zip(folds, splits, strict=True):
        train = {name.rpartition("_")[0] for name in split["train"]}
        assert train == {c for f in folds for c in f} - set(fold)
        assert {name.rpartition("_")[2] for name in split["train"]} == set(scenario.split("+"))
        assert len(split["train"]) == len(train) * len(scenario.split("+"))
        assert {name.rpartition("_")[0] for name in split["val"]} == set(fold)
        validated += fold
    assert sorted(validated) == sorted(f"case_{n}" for n in range(11))


def test_folds_of_other_cases_are_even_and_do_not_depend_on_order():
    cases = [f"p{n}" for n in range(13)]
    folds = folds_of(cases, 5)
    assert sorted(map(len, folds)) == [2, 2, 3, 3, 3]
    assert folds_of(cases[::-1], 5) == folds
    with pytest.raises(InputError, match="3 usable training cases cannot fill 5 folds"):
        folds_of(["a", "b", "c"], 5)
    with pytest.raises(InputError, match="at least 2"):
        folds_of(["a", "b", "c"], 1)


def test_published_folds_keep_what_is_there_and_an_empty_one_is_an_error():
    published = published_folds()
    there = [fold[0] for fold in published] + [published[2][5]]
    assert folds_of(there, 7) == [[c for c in fold if c in there] for fold in published]
    with pytest.raises(InputError, match="Fold 3 of the published folds is empty"):
        folds_of([fold[0] for n, fold in enumerate(published) if n != 3], 5)


def test_the_data_set_names_the_images_of_its_scenario_and_nothing_is_copied(tmp_path):
    folds = [["a", "b"], ["c"]]
    for case in "abc":
        for name in ("pre", "post", "synthetic", "lesions"):
            path = tmp_path / "cases" / case / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    folder = tmp_path / "x" / "raw" / "Dataset501"
    splits = {name: nnunet_splits(scenario, folds) for name, scenario in SCENARIOS.items()}
    write_nnunet_dataset(Inputs(), splits["pre+post+synthetic"], tmp_path / "cases", folder)
    content = json.loads((folder / "dataset.json").read_text())
    assert content["numTraining"] == len(content["dataset"]) == 9 and list(content["channel_names"].values()) == [
        "dce1"
    ]
    for name, entry in content["dataset"].items():
        case, domain = name.split("_")
        assert (folder / entry["images"][0]).read_bytes().decode() == domain
        assert (folder / entry["label"]).resolve() == tmp_path / "cases" / case / "lesions.nii.gz"
    assert [path.name for path in folder.iterdir()] == ["dataset.json"]
    (tmp_path / "cases" / "b" / "synthetic.nii.gz").unlink()
    with pytest.raises(InputError, match=r"b/synthetic\.nii\.gz is missing"):
        write_nnunet_dataset(Inputs(), splits["synthetic"], tmp_path / "cases", folder)
    write_nnunet_dataset(Inputs(), splits["pre+post"], tmp_path / "cases", folder)


@pytest.fixture
def one_case(tmp_path):
    """A prepared case, and its synthetic phase."""
    return write_plain_case(tmp_path / "cases", "case_3"), FolderPhases(tmp_path / "cases-results")


def test_a_case_is_cut_and_freed_of_its_bias_field_in_each_domain_alike(tmp_path, one_case):
    source, phases = one_case
    outcome = prepare_segmentation_case(source, tmp_path / "out", phases)
    assert outcome.state == "prepared" and outcome.entry["lesion_share_kept"] == 1
    made = {n: sitk.ReadImage(str(tmp_path / "out" / "case_3" / f"{n}.nii.gz")) for n in (*DOMAINS, "lesions")}
    whole = sitk.ReadImage(str(source.folder / "lesions.nrrd"))
    assert all(image.GetSize() == (8, 16, 4) for image in made.values())
    assert made["pre"].GetOrigin() == (8, 0, 0)
    mask = sitk.GetArrayFromImage(whole)[..., 8:] > 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(made["lesions"]), mask)
    synthetic = tmp_path / "cases-results" / "case_3" / "phases" / "phase_1.nrrd"
    files = {"pre": source.folder / "pre.nrrd", "post": source.folder / "phase_1.nrrd", "synthetic": synthetic}
    for name, file in files.items():
        corrected = sitk.GetArrayFromImage(correct_bias(sitk.ReadImage(str(file))))
        np.testing.assert_allclose(sitk.GetArrayFromImage(made[name]), corrected[..., 8:], rtol=1e-6)


def test_an_unchanged_case_is_kept_and_a_changed_one_made_anew(tmp_path, one_case):
    source, phases = one_case
    states = [prepare_segmentation_case(source, tmp_path / "out", phases).state for _ in range(2)]
    rewrite(source.folder / "pre.nrrd", lambda a: a + 1)
    states.append(prepare_segmentation_case(source, tmp_path / "out", phases).state)
    assert states == ["prepared", "kept", "prepared"]


def break_case(folder, results, how):
    if how == "empty mask":
        rewrite(folder / "lesions.nrrd", np.zeros_like)
    elif how == "no synthetic phase":
        (results / folder.name / "phases" / "phase_1.nrrd").unlink()
    elif how == "other grid":
        image = sitk.ReadImage(str(folder / "phase_1.nrrd"))
        image.SetOrigin((50.0, 0.0, 0.0))
        sitk.WriteImage(image, str(folder / "phase_1.nrrd"))
    elif how == "synthetic on another grid":
        path = str(results / folder.name / "phases" / "phase_1.nrrd")
        sitk.WriteImage(sitk.ReadImage(path)[:, :, 1:], path)
    elif how == "boxes":
        redescribe(folder, lesion_source="box")
    elif how == "no phase":
        redescribe(folder, images=["pre.nrrd"])
    elif how == "damaged":
        (folder / "pre.nrrd").write_bytes(b"NRRD0004\n")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("empty mask", "lesion mask is empty"),
        ("no synthetic phase", "There is no synthetic phase"),
        ("other grid", "phase_1.nrrd does not lie on the grid of pre.nrrd"),
        ("synthetic on another grid", "synthetic phase does not lie on the pre-contrast grid"),
        ("boxes", "no tumor segmentation, only boxes"),
        ("no phase", "no post-contrast phase"),
        ("damaged", ""),
    ],
)
def test_a_broken_case_fails_with_a_sentence(tmp_path, one_case, how, sentence):
    source, phases = one_case
    break_case(source.folder, tmp_path / "cases-results", how)
    outcome = prepare_segmentation_case(source, tmp_path / "out", phases)
    assert outcome.state == "failed" and sentence in outcome.reason and "\n" not in outcome.reason
    assert outcome.reason and not (tmp_path / "out" / "case_3").exists()


def one_more_in_the_same_breast(mask):
    mask[0, 0, 12:] = mask[0, 1, 12:] = 1
    return mask


@pytest.mark.parametrize(
    ("change", "kind"), [(one_more_in_the_same_breast, "multifocal"), (lambda m: m | m[..., ::-1], "bilateral")]
)
def test_a_case_with_several_lesions_is_excluded_unless_it_is_allowed(tmp_path, one_case, change, kind):
    source, phases = one_case
    rewrite(source.folder / "lesions.nrrd", change)
    outcome = prepare_segmentation_case(source, tmp_path / "out", phases)
    assert (outcome.state, outcome.reason) == ("excluded", f"it is {kind} (2 lesions)")
    for state in ("prepared", "kept"):
        allowed = prepare_segmentation_case(source, tmp_path / "out", phases, allow_multifocal=True)
        assert (allowed.state, allowed.entry["focality"]) == (state, kind)
    assert prepare_segmentation_case(source, tmp_path / "out", phases).state == "excluded"  # though it is there


def test_masks_of_a_folder_take_the_place_of_the_cases_own(tmp_path, one_case):
    source, phases = one_case
    redescribe(source.folder, lesion_source="box")
    (tmp_path / "masks").mkdir()
    (source.folder / "lesions.nrrd").rename(tmp_path / "masks" / "case_3.nrrd")
    (with_mask,) = sources_of([source.folder], tmp_path / "masks")
    assert prepare_segmentation_case(with_mask, tmp_path / "out", phases).state == "prepared"
    (without,) = sources_of([source.folder.with_name("case_9")], tmp_path / "masks")
    assert without.mask is not None and not without.mask.exists()


def test_a_model_makes_the_first_phase_of_the_pre_contrast_volume(one_case):
    source, _ = one_case
    package = load_package(MODELS / "phantom-joint-p1-p3")
    pre = sitk.ReadImage(str(source.folder / "pre.nrrd"))
    made = ModelPhases(package).phases("case_3", pre, [131.0, 240.0])
    phases = Synthesizer(package, choose_device("auto")).synthesize(pre, Events()).phases
    assert len(made) == 2 < len(phases)
    for one, other in zip(made, phases[:2], strict=True):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))
    with pytest.raises(InputError, match=r"Phase 4 is wanted, but synthesis by phantom-joint-p1-p3 ends with phase 3"):
        ModelPhases(package).phases("case_3", pre, [None] * 4)


def test_a_model_that_does_not_begin_with_phase_1_cannot_make_first_phases():
    package = load_package(MODELS / "phantom-lesion-nnunet")
    with pytest.raises(InputError, match="does not make phase 1"):
        ModelPhases(package)


def test_cases_that_are_neither_dukes_nor_given_a_test_folder_are_refused(tmp_path, one_case):
    source, phases = one_case
    recipe = load_recipe("phantom-lesion-nnunet")
    with pytest.raises(InputError, match="name the test cases with --test"):
        prepare_experiment([source], [], tmp_path / "out", phases, recipe)
    with pytest.raises(InputError, match="case_3 is both a training and a test case"):
        prepare_experiment([source], [source], tmp_path / "out", phases, recipe)
    with pytest.raises(InputError, match="no scenario later"):
        prepare_experiment([source], [source], tmp_path / "out", phases, recipe, scenarios=["later"])


def test_duke_cases_go_where_the_papers_have_them(tmp_path):
    published, tested = published_folds(), sorted(published_test_cases())
    names = [*(fold[0] for fold in published), published[1][1], *tested[:2], "Breast_MRI_999"]
    sources = [write_plain_case(tmp_path / "duke", name) for name in names]
    break_case(sources[6].folder, tmp_path / "duke-results", "no synthetic phase")
    rewrite(sources[0].folder / "lesions.nrrd", lambda mask: mask | mask[..., ::-1])  # two lesions, published as one
    recipe = load_recipe("osuala2025-segmentation-as-published-code")
    phases = FolderPhases(tmp_path / "duke-results")
    experiment = prepare_experiment(sources, [], tmp_path / "out", phases, recipe, scenarios=[])
    assert experiment.folds == [[c for c in fold if c in names] for fold in published]
    assert experiment.test == [tested[1]] and list(experiment.failed) == [tested[0]]
    assert experiment.excluded == {"Breast_MRI_999": "it is in none of the published folds, nor a test case"}
    assert load_experiment(tmp_path / "out") == experiment and experiment.recipe() == recipe
    with pytest.raises(InputError, match="Fold 0 of the published folds is empty"):
        prepare_experiment(sources[1:], [], tmp_path / "out", phases, recipe, scenarios=[])
    with pytest.raises(InputError, match="No case to test on"):
        prepare_experiment(sources[:6], [], tmp_path / "out", phases, recipe, scenarios=[])


@pytest.mark.slow
def test_without_cases_phantoms_of_one_lesion_are_made_once(tmp_path):
    arguments = argparse.Namespace(output=tmp_path, phantoms=2, test=None, synthetic=None)
    folders = segment._phantoms(arguments)
    cases = [case for folder in folders for case in sorted(folder.iterdir())]
    assert [folder.name for folder in folders] == ["train", "test"] and len(cases) == 3
    assert all(focality(sitk.ReadImage(str(case / "lesions.nrrd"))) == ("unifocal", 1) for case in cases)
    assert all(json.loads((case / "case.json").read_text())["kind"] == "phantom" for case in cases)
    written = [(case / "case.json").stat().st_mtime_ns for case in cases]
    segment._phantoms(arguments)
    assert [(case / "case.json").stat().st_mtime_ns for case in cases] == written
    with pytest.raises(InputError, match="neither --test nor --synthetic"):
        segment._phantoms(argparse.Namespace(**{**vars(arguments), "test": tmp_path}))


def test_published_recipes_are_nnunets_defaults():
    code, paper = (load_recipe(f"osuala2025-segmentation-as-published-{kind}") for kind in ("code", "paper"))
    assert (code.epochs, code.iterations_per_epoch, paper.epochs) == (1000, 250, 500)
    assert (code.base_features, code.max_features, code.memory_gb, code.channels) == (32, 320, 8.0, ["phase_1"])
    assert not code.lesions_in_every_patch and code.tile_step_size == 0.5


@pytest.fixture
def predicted(tmp_path):
    """An experiment of two test cases with predictions of known overlap for one scenario and two domains."""
    recipe = load_recipe("phantom-lesion-nnunet")
    experiment = Experiment(tmp_path, "phantoms", "synthesis by hand", ("pre", "post"), [["c"], ["d"]], ["a", "b"])
    write_recipe(recipe, tmp_path / "recipe.yaml")
    truth = np.zeros((6, 20, 20), np.uint8)
    truth[1:5, 4:8, 4:8] = 1
    maps = {"pre": (np.roll(truth, 1, axis=2), np.zeros_like(truth)), "post": (truth, np.roll(truth, 2, axis=1))}
    for number, case in enumerate("ab"):
        save(truth, experiment.cases / case / "lesions.nii.gz")
        for domain, masks in maps.items():
            save(masks[number], experiment.predictions("pre", domain) / f"{case}.nii.gz")
    return experiment


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def test_the_table_has_a_row_a_scenario_and_columns_a_test_domain(predicted):
    options = TableOptions(repeats=50)
    result = write_scenario_table(predicted, options)
    assert not options.failures and list(result.scenarios) == ["pre"]
    on_pre, on_post = (result.scenarios["pre"][domain].summaries["dice"] for domain in ("pre", "post"))
    assert (on_pre.mean, on_pre.std) == (pytest.approx(0.375), pytest.approx(0.375))  # 0.75 and 0
    assert (on_post.mean, on_post.std) == (pytest.approx(0.75), pytest.approx(0.25))  # 1 and 0.5
    table = predicted.folder / "table"
    (row,) = csv.DictReader((table / "osuala2025-table3.csv").open())
    assert float(row["Dice on pre mean"]) == pytest.approx(0.375) and float(row["Dice on post sd"]) == pytest.approx(
        0.25
    )
    assert (row["scenario"], row["cases"], row["Dice on synthetic mean"]) == ("pre", "2", "")
    page = (table / "osuala2025-table3.html").read_text()
    assert "0.375 (0.38)" in page and "Not predicted yet: post." in page and "Data: phantoms" in page
    assert (table / "osuala2025-table3.png").stat().st_size > 1000
    assert "0.75 (0.25)" in as_text(result)


def test_a_test_case_without_prediction_is_listed_and_the_others_are_measured(predicted, capsys):
    (predicted.predictions("pre", "pre") / "b.nii.gz").unlink()
    (predicted.folder / "experiment.json").write_text(
        json.dumps(
            {"data": "phantoms", "synthetic": "", "scenarios": ["pre"], "folds": [["c"], ["d"]], "test": ["a", "b"]}
        )
    )
    assert command("table", predicted.folder, "--json") == 4
    said = capsys.readouterr()
    assert "no predicted label map" in said.err
    assert json.loads(said.out)["scenarios"]["pre"]["pre"]["cases"] == 1


def test_steps_before_their_time_are_told_in_a_sentence(tmp_path, predicted):
    with pytest.raises(InputError, match="run 'segment prepare'"):
        load_experiment(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no scenario synthetic"):
        predicted.place("synthetic")
    empty = Experiment(tmp_path / "empty", "phantoms", "", ("pre",), [["c"], ["d"]], ["a"])
    with pytest.raises(InputError, match="holds no predictions"):
        write_scenario_table(empty, TableOptions())
