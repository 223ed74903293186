"""`select` over a training run: all its checkpoints are found, measured, ranked, and the winner is exported."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from program import call
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.package import ModelCard, load_package, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesizer
from VirtualContrastTrainingLib.commands import evaluate, select
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.metrics.same_measure import rank
from VirtualContrastTrainingLib.papers import checkpoint_scores, phantom_cohort
from VirtualContrastTrainingLib.papers.checkpoint_scores import Scorer
from VirtualContrastTrainingLib.papers.checkpoints import find_candidates
from VirtualContrastTrainingLib.papers.selection import chosen_metrics, write_selection
from VirtualContrastTrainingLib.paths import resources_dir

SMALL = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(10, 14)
)
CARD = ModelCard.model_validate(
    {
        "id": "run",
        "version": "1",
        "title": "Run",
        "architecture": {
            "name": "pix2pixhd",
            "config": {"input_nc": 1, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1},
        },
        "inputs": {},
        "outputs": {"channel_phases": [1, 2, 3], "times_s": [90.0, 220.0, 350.0]},
        "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
        "in_plane": {"pad_multiple": 4},
        "trained_on_phantoms": True,
        "license": "Apache-2.0",
    }
)


class Means:
    """A stand-in for a feature network, the means of two halves of a slice; it counts the slices that it sees."""

    kind = "means"
    slices = 0

    def features(self, slices):
        Means.slices += len(slices)
        _, j, i = slices.shape
        return np.stack([half.mean(axis=(1, 2)) for half in (slices[:, : j // 2], slices[:, :, : i // 2])], axis=1)


LEVELS = {2: 0.5, 9: -0.8, 10: -0.3}
"""Bias of the last layer by epoch: how bright the output is; the phantoms lie nearest to -0.8."""


def network(level):
    torch.manual_seed(0)
    state = build_generator(CARD.architecture.config).state_dict()
    last = [key for key in state if key.endswith("bias")][-1]
    state[last][:] = level
    return state


def checkpoint(path, state):
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"generator.{key}": value for key, value in state.items()}
    torch.save({"epoch": 1, "state_dict": {**tensors, "discriminator.weight": torch.zeros(2)}}, path)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_cohort, "SETTINGS", SMALL)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "run"
    for epoch, level in LEVELS.items():
        checkpoint(folder / "checkpoints" / f"epoch_{epoch}.ckpt", network(level))
    checkpoint(folder / "checkpoints" / "last.ckpt", network(LEVELS[10]))
    save_package(folder / "model", CARD, network(LEVELS[10]), model_card_md="# Run\n")
    return folder


@pytest.fixture
def cases(tmp_path):
    for seed in (1, 2):
        write_phantom(make_phantom(seed, SMALL), tmp_path / "cases" / f"case_{seed}")
    return tmp_path / "cases"


def run(capsys, module, *arguments, code=0):
    assert call(module.__name__.rpartition(".")[2], *arguments, "--json") == code
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_candidates_come_in_natural_order_with_the_packages_last(run_folder):
    assert [c.name for c in find_candidates(run_folder)] == ["epoch_2", "epoch_9", "epoch_10", "last", "model"]


def test_every_checkpoint_is_measured_as_the_engine_would_and_the_winner_becomes_a_package(
    run_folder, cases, tmp_path, capsys
):
    out = tmp_path / "out"
    result, _ = run(capsys, select, run_folder, "--validation", cases, "--metrics", "mse", "mae", "-o", out)
    assert set(result["same"]) == {"epoch_2", "epoch_9", "epoch_10"}
    assert result["same_weights"] == {"last": "epoch_10", "model": "epoch_10"}
    assert result["data"] == "phantoms"

    def error(level):
        """Mean squared error over all cases, phases and slices, computed apart."""
        package = save_package(tmp_path / "apart", CARD, network(level), model_card_md="# x\n")
        synthesizer = Synthesizer(package, choose_device("cpu"))
        found = []
        for case in sorted(cases.iterdir()):
            made = synthesizer.synthesize(sitk.ReadImage(str(case / "pre.nrrd")), Events()).phases
            real = [sitk.ReadImage(str(case / f"phase_{n}.nrrd")) for n in (1, 2, 3)]
            arrays = [[sitk.GetArrayFromImage(x).astype(float) for x in series] for series in (made, real)]
            found.append(np.mean((np.stack(arrays[0]) - np.stack(arrays[1])) ** 2))
        return np.mean(found)

    errors = {f"epoch_{epoch}": error(level) for epoch, level in LEVELS.items()}
    assert {name: row["mse"] for name, row in result["metrics"].items()} == pytest.approx(errors, rel=1e-4)
    best = min(errors, key=errors.get)
    assert result["winner"] == best and result["same"][best] == 0
    exported = load_package(out / "model")
    exported.verify()
    expected = network(LEVELS[int(best.removeprefix("epoch_"))])
    assert all(torch.equal(value, expected[key]) for key, value in exported.load_state().items())
    noted = {metric.name: metric.value for metric in exported.card.metrics}
    assert noted["mse"] == pytest.approx(errors[best], rel=1e-4) and noted["same"] == 0
    assert (out / "same.png").stat().st_size > 5000 and best in (out / "report.html").read_text()


def test_copying_the_pre_contrast_volume_is_the_last_row_of_the_papers_table_and_has_no_same(
    run_folder, cases, tmp_path, capsys
):
    name = "osuala2025-table1"
    known = json.loads((resources_dir() / "Papers" / "paper_labels.json").read_text(encoding="utf-8"))
    labels = known[name]
    result, _ = run(capsys, select, run_folder, "--validation", cases, "-o", tmp_path / "out")
    copied = []
    for case in sorted(cases.iterdir()):
        pre = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "pre.nrrd"))).astype(float)
        for n in (1, 2, 3):
            real = sitk.GetArrayFromImage(sitk.ReadImage(str(case / f"phase_{n}.nrrd"))).astype(float)
            copied.append(np.mean((real - pre) ** 2))
    assert result["baseline"]["mse"] == pytest.approx(np.mean(copied), rel=1e-4)
    scorer = Scorer(cases, choose_device("cpu"), networks={"imagenet": Means(), "radimagenet": Means()})
    models = {"last": run_folder / "model", "chosen": tmp_path / "out" / "model"}
    table = {epoch: scorer(load_package(folder)) for epoch, folder in models.items()}
    ranking = rank(chosen_metrics(table, ["mse", "mae"]))
    write_selection(table, ranking, tmp_path, "phantoms", name, scorer.copying())
    rows = list(csv.DictReader((tmp_path / f"{name}.csv").open(newline="")))
    assert [row["checkpoint"] for row in rows[-1:]] == labels["rows"] and set(labels["columns"]) <= set(rows[0])
    every = rank(chosen_metrics(table, ["ssim", "mse", "mae", "fid_imagenet", "fid_radimagenet"]))
    figure = "osuala2025-figure4"
    write_selection(table, every, tmp_path, "phantoms", figure, scorer.copying())
    drawn = list(csv.DictReader((tmp_path / f"{figure}.csv").open(newline="")))
    assert set(known[figure]["columns"]) <= set(drawn[0]) and all(drawn[0][c] for c in known[figure]["columns"])
    assert rows[-1]["SAMe"] == "" and rows[0]["SAMe"] and all(rows[-1][c] for c in labels["columns"][1:])
    seen = Means.slices
    scorer.copying()
    assert Means.slices - seen == 2 * 2 * 3 * 8  # networks, cases, phases, slices: the real ones are known already


def test_fid_of_checkpoints_is_of_the_published_number_of_slices_at_most(run_folder, cases, monkeypatch):
    monkeypatch.setattr(checkpoint_scores, "FID_LIMIT", 10)
    scorer = Scorer(cases, choose_device("cpu"), networks={"imagenet": Means()})
    scorer(load_package(run_folder / "model"))
    seen = Means.slices
    scorer.copying()
    # The real ones are known already; further volumes than those of the first 10 slices are not read.
    assert Means.slices - seen == 2 * 8


def test_without_cases_it_runs_on_phantoms_with_lesion_terms_and_says_so(run_folder, tmp_path, capsys):
    result, _ = run(capsys, select, run_folder, "--phantoms", 2, "--lesion-terms", "-o", tmp_path / "out")
    assert "2 phantoms" in result["data"] and "2 phantoms" in (tmp_path / "out" / "report.html").read_text()
    assert set(result["counted"]) == {"mse", "mae", "ssim", "lesion_mae", "lesion_ssim", "enhancement_error"}
    plain, _ = run(capsys, select, run_folder, "--phantoms", 2)
    assert set(plain["counted"]) == {"mse", "mae", "ssim"} and plain["model"] is None


def test_a_broken_checkpoint_is_left_out_and_said(run_folder, cases, capsys):
    (run_folder / "checkpoints" / "epoch_11.ckpt").write_bytes(b"cut short")
    checkpoint(run_folder / "checkpoints" / "epoch_12.ckpt", {"other": torch.zeros(3)})
    result, said = run(capsys, select, run_folder, "--validation", cases, code=4)
    assert set(result["same"]) == {"epoch_2", "epoch_9", "epoch_10"}
    assert "epoch_11.ckpt is not a checkpoint" in said and "epoch_12.ckpt fits no model package" in said


def test_a_broken_validation_case_is_left_out_and_said(run_folder, cases, capsys):
    pre = sitk.ReadImage(str(cases / "case_2" / "pre.nrrd"))
    sitk.WriteImage(pre * 0 + 7, str(cases / "case_2" / "pre.nrrd"))
    result, said = run(capsys, select, run_folder, "--validation", cases, code=4)
    assert set(result["same"]) == {"epoch_2", "epoch_9", "epoch_10"} and "case_2" in said


def test_checkpoints_without_a_package_or_recipe_are_refused_with_what_to_do(tmp_path, capsys):
    checkpoint(tmp_path / "checkpoints" / "a.ckpt", network(0.0))
    with pytest.raises(InputError, match="--recipe"):
        run(capsys, select, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no checkpoints"):
        run(capsys, select, tmp_path / "empty")


def test_select_reads_what_evaluate_really_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    real = rng.random((3, 20, 22)).astype(np.float32) * 900
    for name, noise in (("real", 0), ("ep10", 200), ("ep20", 50)):
        volume = sitk.GetImageFromArray(real + noise * rng.random(real.shape).astype(np.float32))
        sitk.WriteImage(volume, str(tmp_path / f"{name}.nrrd"))
    for name in ("ep10", "ep20"):
        arguments = ("--real", tmp_path / "real.nrrd", "--synthetic", tmp_path / f"{name}.nrrd")
        run(capsys, evaluate, *arguments, "-o", tmp_path / "results" / name)
    result, _ = run(capsys, select, tmp_path / "results")
    assert result["winner"] == "ep20" and result["same"] == {"ep10": 1, "ep20": 0}


def test_a_checkpoint_with_fewer_usable_images_than_the_others_is_not_ranked(run_folder, cases, capsys, monkeypatch):
    from VirtualContrastTrainingLib.papers import checkpoint_scores

    write = checkpoint_scores.write_synthesis
    calls = []

    def collapsed(synthesizer, card, case, folder):
        """Phase 1 of one case of the first checkpoint comes out constant."""
        synthesis = write(synthesizer, card, case, folder)
        if not calls:
            sitk.WriteImage(synthesis.phases[0] * 0 + 5, str(folder / "phases" / "phase_1.nrrd"))
        calls.append(case)
        return synthesis

    monkeypatch.setattr(checkpoint_scores, "write_synthesis", collapsed)
    result, said = run(capsys, select, run_folder, "--validation", cases, code=4)
    assert set(result["same"]) == {"epoch_9", "epoch_10"} and "epoch_2: 1 of its" in said


def test_one_slice_is_shown_by_checkpoint_with_its_error(run_folder, cases, tmp_path, capsys):
    given = ("--table", "osuala2025-figure4b", "--source", run_folder, "--real", cases, "-o", tmp_path / "out")
    result, _ = run(capsys, evaluate, *given)
    errors = {row["checkpoint"]: row["MAE"] for row in result["rows"]}
    assert list(errors) == ["epoch_2", "epoch_9", "epoch_10"]  # last and model are epoch 10 once more
    assert errors["epoch_9"] == min(errors.values()) and len(set(errors.values())) == 3
    masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(case / "lesions.nrrd"))) > 0 for case in cases.iterdir()]
    largest = max(masks, key=lambda mask: mask.sum(axis=(1, 2)).max())
    assert {row["slice"] for row in result["rows"]} == {int(largest.sum(axis=(1, 2)).argmax())}
    assert (tmp_path / "out" / "osuala2025-figure4b.png").stat().st_size > 5000
    with pytest.raises(InputError, match="needs --source: a training run"):
        run(capsys, evaluate, "--table", "osuala2025-figure4b", "-o", tmp_path)
