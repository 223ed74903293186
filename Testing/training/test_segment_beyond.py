"""Segmentation scenarios beyond the paper, without nnU-Net: ratios, pretraining, channels, several lesions."""

import csv
import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from segment_samples import command, redescribe, rewrite, write_plain_case
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.card import MODEL_ID_PATTERN
from VirtualContrastTrainingLib.data.bias_field import correct_bias
from VirtualContrastTrainingLib.data.nnunet_datasets import (
    SCENARIOS,
    STUDY_SCENARIOS,
    deterministic_folds,
    nnunet_splits,
    scenario_named,
    write_nnunet_dataset,
)
from VirtualContrastTrainingLib.data.segmentation_cases import FolderPhases, prepare_segmentation_case, read_halves
from VirtualContrastTrainingLib.data.segmentation_inputs import Inputs
from VirtualContrastTrainingLib.papers.scenario_table import as_text, beyond_rows, write_scenario_table
from VirtualContrastTrainingLib.papers.scenarios import Experiment, _model_id, load_experiment, prepare_experiment
from VirtualContrastTrainingLib.papers.table_options import TableOptions
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.training.recipe import write_recipe

CHANNELS = ("pre", "phase_1", "subtraction_2")


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def trained_on(split, domain):
    return {name.rpartition("_")[0] for name in split["train"] if name.endswith(f"_{domain}")}


@pytest.mark.parametrize(("ratio", "real", "synthetic"), [("0.5", 12, 6), ("0.25", 12, 3), ("2", 6, 12), ("1", 12, 12)])
def test_a_ratio_takes_images_of_a_share_of_the_training_cases(ratio, real, synthetic):
    folds = deterministic_folds([f"case_{n}" for n in range(16)], 4)
    for fold, split in zip(folds, nnunet_splits(scenario_named(f"pre+post+synthetic@{ratio}"), folds, 7), strict=True):
        assert [len(trained_on(split, domain)) for domain in ("pre", "post", "synthetic")] == [real, real, synthetic]
        assert len(split["train"]) == 2 * real + synthetic == len(set(split["train"]))
        assert trained_on(split, "pre") == trained_on(split, "post")
        assert not {name.rpartition("_")[0] for name in split["train"]} & set(fold)
        assert split["val"] == [f"{case}_{domain}" for case in fold for domain in ("pre", "post")]


def test_the_draw_depends_on_the_seed_alone_and_a_smaller_share_is_part_of_a_larger_one():
    cases = [f"case_{n}" for n in range(20)]
    folds = deterministic_folds(cases, 2)

    def drawn(name, seed, folds=folds):
        return [trained_on(split, "synthetic") for split in nnunet_splits(scenario_named(name), folds, seed)]

    half = drawn("pre+synthetic@0.5", 1)
    assert half == drawn("pre+synthetic@0.5", 1, [fold[::-1] for fold in folds])
    assert half != drawn("pre+synthetic@0.5", 2)
    assert all(a < b for a, b in zip(drawn("pre+synthetic@0.2", 1), half, strict=True))
    with pytest.raises(InputError, match="leaves no synthetic image of 10 training cases"):
        drawn("pre+synthetic@0.04", 1)


@pytest.mark.parametrize(
    "name",
    [*SCENARIOS, "pre+synthetic@0.5", "post+synthetic@2", "synthetic-then-post", "synthetic-then-pre+synthetic@0.25"],
)
def test_a_scenario_is_found_by_the_name_that_it_gives_itself(name):
    assert scenario_named(name).name == name


@pytest.mark.parametrize(
    "scenario", ["pre", "pre+synthetic@0.25", "pre+post+synthetic@0.125-then-pre+post+synthetic@0.5"]
)
def test_every_scenario_has_an_id_that_a_model_may_have(scenario):
    name = _model_id("osuala2025-segmentation-as-published-paper", scenario)
    assert re.match(MODEL_ID_PATTERN, name) and name.endswith(scenario.replace("+", "-").replace("@", "-"))


def test_names_of_scenarios_are_understood():
    assert scenario_named("pre+synthetic@1.0") == SCENARIOS["pre+synthetic"]
    assert scenario_named("pre+synthetic@0.50").name == "pre+synthetic@0.5"
    fine_tuned = scenario_named("synthetic-then-post")
    assert fine_tuned.train == ("post",) and fine_tuned.pretrained_on == SCENARIOS["synthetic"]
    assert scenario_named("real+synthetic", Inputs(("phase_1",))) == STUDY_SCENARIOS["real+synthetic"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("later", "no scenario later; the scenarios are pre, post"),
        ("real", "no scenario real"),
        ("synthetic-then-later", "no scenario later"),
        ("pre-then-post-then-pre", "no scenario pre-then-post"),
        ("post-then-post", "the same images twice"),
        ("pre@0.5", "pre has no ratio"),
        ("pre+post@0.5", "has no ratio"),
        ("pre+synthetic@half", "needs a number above 0 behind @"),
        ("pre+synthetic@0", "needs a number above 0"),
        ("pre+synthetic@inf", "needs a number above 0"),
        ("pre+synthetic@nan", "needs a number above 0"),
    ],
)
def test_other_names_are_refused_with_a_sentence(name, sentence):
    with pytest.raises(InputError, match=sentence):
        scenario_named(name)


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        (("pre", "synthetic"), "cannot read both of one phase"),
        (("phase_0",), "not 'phase_0'"),
        (("phase_1", "phase_1"), "name one twice"),
        (("pre",), "nothing is synthetic"),
    ],
)
def test_channels_that_no_network_of_the_engine_has_are_refused(channels, sentence):
    with pytest.raises(InputError, match=sentence):
        Inputs(channels)


@pytest.fixture
def prepared(tmp_path):
    """A case prepared for several channels: the prepared one, its files, and the outcome."""
    source = write_plain_case(tmp_path / "cases", "case_3")
    phases = FolderPhases(tmp_path / "cases-results")
    outcome = prepare_segmentation_case(source, tmp_path / "out", phases, inputs=Inputs(CHANNELS))
    return source, tmp_path / "out" / "case_3", outcome


def test_every_channel_is_written_for_acquired_and_synthetic_studies(prepared, tmp_path):
    source, case, outcome = prepared
    assert outcome.state == "prepared"
    expected = {f"{d}_{c}" for d in ("real", "synthetic") for c in ("phase_1", "phase_2", "subtraction_2")}
    names = {path.name.removesuffix(".nii.gz") for path in case.glob("*.nii.gz")}
    assert names == expected | {"pre", "lesions"}
    pre = read(case / "pre.nii.gz")
    corrected = sitk.GetArrayFromImage(correct_bias(sitk.ReadImage(str(source.folder / "pre.nrrd"))))
    np.testing.assert_allclose(pre, corrected[..., 8:], rtol=1e-6)
    for domain, folder in (("real", source.folder), ("synthetic", tmp_path / "cases-results" / "case_3" / "phases")):
        for number in (1, 2):
            # Divided by the same field as the pre-contrast image, so that relative enhancement is as it was.
            raw = [read(path)[..., 8:] for path in (folder / f"phase_{number}.nrrd", source.folder / "pre.nrrd")]
            made = read(case / f"{domain}_phase_{number}.nii.gz")
            np.testing.assert_allclose(made * raw[1], pre * raw[0], rtol=1e-4)
        difference = read(case / f"{domain}_phase_2.nii.gz") - pre
        np.testing.assert_array_equal(read(case / f"{domain}_subtraction_2.nii.gz"), difference)
    assert not np.array_equal(read(case / "real_phase_1.nii.gz"), read(case / "synthetic_phase_1.nii.gz"))


def test_the_data_set_names_one_image_a_channel(prepared, tmp_path):
    _, case, _ = prepared
    for domain, files in (("real", None), ("synthetic", ["pre", "synthetic_phase_1", "synthetic_subtraction_2"])):
        files = files or ["pre", "real_phase_1", "real_subtraction_2"]
        splits = nnunet_splits(STUDY_SCENARIOS[domain], [["case_3"], []])
        write_nnunet_dataset(Inputs(CHANNELS), splits, case.parent, tmp_path / "raw")
        content = json.loads((tmp_path / "raw" / "dataset.json").read_text())
        assert content["channel_names"] == {"0": "pre", "1": "phase_1", "2": "subtraction_2"}
        images = [(tmp_path / "raw" / image).resolve() for image in content["dataset"][f"case_3_{domain}"]["images"]]
        assert images == [case / f"{name}.nii.gz" for name in files]


def test_a_case_without_a_phase_of_the_channels_fails_with_a_sentence(prepared, tmp_path):
    source, _, _ = prepared
    redescribe(source.folder, images=["pre.nrrd", "phase_1.nrrd"])
    phases = FolderPhases(tmp_path / "cases-results")
    outcome = prepare_segmentation_case(source, tmp_path / "out", phases, inputs=Inputs(CHANNELS))
    assert (outcome.state, outcome.reason) == ("failed", "It has no phase 2, which a channel is made of.")
    assert prepare_segmentation_case(source, tmp_path / "out", phases).state == "prepared"  # phase 1 is there


def test_a_bilateral_case_is_kept_whole_where_both_breasts_are_wanted(tmp_path):
    source = write_plain_case(tmp_path / "cases", "case_3")
    phases = FolderPhases(tmp_path / "cases-results")
    rewrite(source.folder / "lesions.nrrd", lambda mask: mask | mask[..., ::-1])
    both = {"allow_multifocal": True, "both_breasts": True}
    outcome = prepare_segmentation_case(source, tmp_path / "out", phases, **both)
    assert (outcome.entry["focality"], outcome.entry["lesions"]) == ("bilateral", 2)
    case = tmp_path / "out" / "case_3"
    assert read(case / "post.nii.gz").shape == (4, 16, 16)
    assert [(half.axis, half.start, half.stop) for half in read_halves(case)] == [(0, 0, 8), (0, 8, 16)]
    one = prepare_segmentation_case(source, tmp_path / "out", phases, allow_multifocal=True)
    assert one.state == "prepared" and read(case / "post.nii.gz").shape == (4, 16, 8)


def several(mask, kind):
    """`mask` with another lesion in the same breast or in the other one."""
    if kind == "bilateral":
        return mask | mask[..., ::-1]
    mask[0, :2, 12:] = 1
    return mask


def test_test_cases_with_several_lesions_are_set_apart_and_training_ones_left_out(tmp_path):
    kinds = {"t1": "multifocal", "t2": "bilateral", "t3": "multifocal", "c3": "bilateral"}
    sources = {name: write_plain_case(tmp_path / "cases", name) for name in ("c1", "c2", "c3", "t0", "t1", "t2", "t3")}
    for name, kind in kinds.items():
        rewrite(sources[name].folder / "lesions.nrrd", lambda mask, kind=kind: several(mask, kind))
    train, test = ([source for name, source in sources.items() if name[0] == part] for part in "ct")
    phases, recipe = FolderPhases(tmp_path / "cases-results"), load_recipe("phantom-lesion-nnunet")

    def prepare(**options):
        return prepare_experiment(train, test, tmp_path / "out", phases, recipe, scenarios=[], folds=2, **options)

    published, kept = prepare(), prepare(keep_multifocal=True)
    assert published.test == kept.test == ["t0"] and published.apart is None
    assert set(published.excluded) == {"c3", "t1", "t2", "t3"} and set(kept.excluded) == {"c3"}
    assert kept.apart == {"multifocal": ["t1", "t3"], "bilateral": ["t2"]}
    assert kept.folds == published.folds and kept.images == published.images  # trained networks remain usable
    assert kept.test_images != published.test_images
    assert load_experiment(tmp_path / "out") == kept
    assert {name: len(read_halves(kept.cases / name)) for name in ("t0", "t1", "t2")} == {"t0": 1, "t1": 1, "t2": 2}


@pytest.fixture
def predicted(tmp_path):
    """An experiment with test cases of three kinds and predictions of known overlap, without networks."""
    write_recipe(load_recipe("phantom-lesion-nnunet"), tmp_path / "recipe.yaml")
    apart = {"multifocal": ["m1", "m2"], "bilateral": []}
    scenarios = ("post", "post+synthetic@0.5", "synthetic-then-post")
    experiment = Experiment(tmp_path, "phantoms", "", scenarios, [["c"], ["d"]], ["a", "b"], apart=apart)
    one = np.zeros((6, 20, 30), np.uint8)
    one[1:5, 4:8, 4:8] = 1
    two = one.copy()
    two[1:5, 12:16, 8:12] = 1
    found = {"a": one, "b": np.roll(one, 1, axis=2), "m1": one, "m2": two}  # Dice 1, 0.75, 2/3, 1
    for case, mask in found.items():
        save(two if case in apart["multifocal"] else one, experiment.cases / case / "lesions.nii.gz")
        for scenario in scenarios:
            shifted = np.roll(mask, 1, axis=1) if scenario == "post" else mask
            save(shifted, experiment.predictions(scenario, "post") / f"{case}.nii.gz")
    return experiment


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def test_the_table_by_focality_has_the_number_and_the_measures_of_each_group(predicted, capsys):
    result = write_scenario_table(predicted, TableOptions(repeats=50))
    with (predicted.folder / "table" / "osuala2025-table3-by-focality.csv").open() as stream:
        rows = {(row["trained on"], row["lesions"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 3 * 3 and {row["tested on"] for row in rows.values()} == {"post"}
    unifocal, multifocal, bilateral = (
        rows["synthetic-then-post", kind] for kind in ("unifocal", "multifocal", "bilateral")
    )
    assert [row["cases"] for row in (unifocal, multifocal, bilateral)] == ["2", "2", "0"]
    assert float(unifocal["Dice mean"]) == pytest.approx((1 + 0.75) / 2)
    assert float(multifocal["Dice mean"]) == pytest.approx((2 / 3 + 1) / 2)
    assert float(multifocal["lesion sensitivity mean"]) == pytest.approx(3 / 4) and bilateral["Dice mean"] == ""
    assert result.scenarios["synthetic-then-post"]["post"].summaries["dice"].mean == pytest.approx(
        0.875
    )  # as published
    text = as_text(result)
    assert "multifocal (N = 2): synthetic-then-post on post 0.833" in text
    assert "bilateral (N = 0): synthetic-then-post on post -" in text
    assert "Evaluated apart: 2 multifocal cases." in text and "Twice as many steps" in text


def test_scenarios_beyond_the_paper_stand_beside_the_real_images_alone(predicted):
    write_scenario_table(predicted, TableOptions(repeats=50))
    table = json.loads((predicted.folder / "table" / "osuala2025-table3-beyond.json").read_text())
    assert [(row["trained on"], row["against"]) for row in table] == [
        ("post+synthetic@0.5", "post"),
        ("synthetic-then-post", "post"),
    ]
    # `post` is off by a row: Dice 0.75 and 9/16.
    assert table[0]["Dice"] == pytest.approx(0.875) and table[0]["cases"] == 2
    assert table[0]["gain"] == pytest.approx(0.875 - (0.75 + 9 / 16) / 2)
    studies = {"real": {"real": {"a": 0.5}}, "synthetic": {"real": {"a": 0.7}, "synthetic": {"a": 0.9}}}
    rows = beyond_rows(Inputs(("pre", "phase_1")), studies)
    assert [(row["trained on"], row["tested on"], row["against"]) for row in rows] == [
        ("real", "real", "real"),
        ("synthetic", "real", "real"),
    ]
    assert rows[0]["gain"] is None and rows[1]["gain"] == pytest.approx(0.2)


def test_without_test_cases_of_several_lesions_the_tables_are_as_published(predicted, tmp_path):
    shown = tmp_path / "table"
    plain = Experiment(tmp_path, "phantoms", "", ("post",), predicted.folds, predicted.test)
    write_scenario_table(plain, TableOptions(repeats=50))
    assert {path.stem for path in shown.glob("*.csv")} == {"osuala2025-table3", "osuala2025-table3-by-scenario"}


def test_the_command_refuses_what_cannot_be_before_it_reads_a_case(tmp_path):
    for words, sentence in (
        (["--channels", "pre", "post"], "A channel is pre, phase_N or subtraction_N, not 'post'"),
        (
            ["--channels", "phase_1", "--scenarios", "pre"],
            "There is no scenario pre; the scenarios are real, synthetic",
        ),
    ):
        with pytest.raises(InputError, match=sentence):
            command("prepare", "-o", tmp_path / "out", "--phantoms", 2, "--model", "phantom-joint-p1-p3", *words)
