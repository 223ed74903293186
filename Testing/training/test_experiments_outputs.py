"""`evaluate --table NAME`: every table and figure of the papers is reached by its name, from the data that it needs."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastTrainingLib.commands import evaluate, kinetics, readers
from VirtualContrastTrainingLib.data.phantom import PhantomSettings
from VirtualContrastTrainingLib.metrics.frechet import FeatureMoments, frechet_distance
from VirtualContrastTrainingLib.metrics.images import read_mask, read_stack
from VirtualContrastTrainingLib.metrics.pairs import find_pairs
from VirtualContrastTrainingLib.papers import phantom_cohort
from VirtualContrastTrainingLib.papers.outputs import OUTPUTS
from VirtualContrastTrainingLib.papers.tables import HALVES, SYNTHETIC_HALVES, TableOptions, write_named_table

SMALL = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(10, 14)
)
CARD = ModelCard.model_validate(
    {
        "id": "random",
        "version": "1",
        "title": "Random generator",
        "architecture": {
            "name": "pix2pixhd",
            "config": {"input_nc": 1, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1},
        },
        "inputs": {},
        "outputs": {"channel_phases": [1, 2, 3], "times_s": [100.0, 200.0, 300.0]},
        "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
        "in_plane": {"pad_multiple": 4},
        "trained_on_phantoms": True,
        "license": "Apache-2.0",
    }
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_package(folder, CARD, build_generator(CARD.architecture.config).state_dict(), model_card_md="# Random\n")
    return folder


@pytest.fixture(autouse=True)
def small_phantoms(monkeypatch, tmp_path):
    monkeypatch.setattr(phantom_cohort, "SETTINGS", SMALL)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def cohort(model):
    """Three phantoms of a few voxels and what the random model makes of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom_cohort, "SETTINGS", SMALL)
        with phantom_cohort.phantom_cohort(str(model), count=3) as made:
            yield made


def run(capsys, module, *arguments, code=0):
    assert call(module.__name__.rpartition(".")[2], *arguments) == code
    return capsys.readouterr()


def table(capsys, name, out, *arguments):
    """The JSON that --table prints, after a look at its four files."""
    found = json.loads(run(capsys, evaluate, "--table", name, "-o", out, "--json", *arguments).out)
    assert found["table"] == name
    for suffix in ("csv", "json", "png", "html"):
        assert (out / f"{name}.{suffix}").stat().st_size > 50
    return found


def metrics_table(path):
    path.write_text("checkpoint,ssim,mse\nepoch 10,0.6,30\nepoch 20,0.7,40\nepoch 30,0.65,20\n")
    return path


def reads_table(path):
    rows = ["reader,case,condition,truth,lesion,bpe"]
    for case in range(12):
        for condition in ("real", "synthetic"):
            rows.append(
                f"R1,{case},{condition},{'yes' if case % 2 else 'no'},{'yes' if case % 3 else 'no'},{'ad'[case % 2]}"
            )
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_list_has_a_line_for_each_name_with_what_it_shows_and_needs(capsys):
    lines = run(capsys, evaluate, "--table", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(OUTPUTS)
    assert all(
        output.title in line and output.source in line for line, output in zip(lines, OUTPUTS.values(), strict=True)
    )
    papers = {"osuala2025": ("table1", "table2", "table3", "table4", "figure4", "figure6", "figure7", "figure8")}
    papers |= {"osuala2024": ("table1", "table2", "table3"), "chung2025": ("table1", "table2", "figure3")}
    assert {f"{paper}-{part}" for paper, parts in papers.items() for part in parts} <= set(OUTPUTS)


@pytest.mark.parametrize("name", [name for name, output in OUTPUTS.items() if output.kind in ("kinetics", "systems")])
def test_figures_of_curves_and_tables_of_systems_run_on_phantoms(model, tmp_path, capsys, name):
    found = table(capsys, name, tmp_path, "--phantoms", 2, "--model", model, "--bootstrap", 50)
    assert "2 phantoms" in found["data"] and "2 phantoms" in (tmp_path / f"{name}.html").read_text()


def test_a_figure_holds_the_numbers_that_the_kinetics_command_gives(cohort, tmp_path, capsys):
    found = table(capsys, "osuala2025-figure7", tmp_path, "--real", cohort.truth, "--synthetic", cohort.runs)
    folders = ("--real", cohort.truth, "--synthetic", cohort.runs)
    report = json.loads(run(capsys, kinetics, *folders, "--json", "-o", tmp_path / "kinetics").out)
    assert found["types"] == report["types"]
    curves = list(csv.DictReader((tmp_path / "kinetics" / "curves.csv").open()))
    for row in found["rows"]:
        own = [c for c in curves if (c["series"], int(c["phase"])) == (row["series"], row["phase"])]
        assert row["signal"] == pytest.approx(np.mean([float(c["signal"]) for c in own]))
        assert row["pe_percent sd"] == pytest.approx(np.std([float(c["pe_percent"]) for c in own]))


def test_systems_are_compared_with_doing_nothing(cohort, tmp_path, capsys):
    perfect = tmp_path / "perfect"
    perfect.symlink_to(cohort.truth)
    given = ("--real", cohort.truth, "--system", f"model={cohort.runs}", "--system", f"perfect={perfect}")
    found = table(capsys, "chung2025-table1", tmp_path / "out", *given)["systems"]
    nothing, repeated = (found[f"{what} (baseline)"] for what in ("pre-contrast for every phase", REPEAT))
    assert found["perfect"]["ssim"]["mean"] == pytest.approx(1) and found["perfect"]["dtw_ti"]["mean"] == 0
    assert repeated["enhancement_error_ti_1"] is None and repeated["enhancement_error_ti_3"]["mean"] > 0
    errors = []
    for case in sorted(cohort.truth.iterdir()):
        first, last, mask = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(case / f"{name}.nrrd")))
            for name in ("phase_1", "phase_3", "lesions")
        )
        inside = [(last[mask == label].mean() - first[mask == label].mean()) for label in np.unique(mask[mask > 0])]
        errors += [(difference / first.std()) ** 2 for difference in inside]
    assert repeated["enhancement_error_ti_3"]["mean"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert repeated["ssim_2"]["mean"] > nothing["ssim_2"]["mean"]
    assert found["perfect"]["cases"] == nothing["cases"] == 3
    assert nothing["enhancement_error"]["mean"] > 0 and nothing["spearman"] is None  # a flat curve has no ranks
    with pytest.raises(InputError, match="--system NAME=FOLDER"):
        table(capsys, "chung2025-table1", tmp_path / "none", "--real", cohort.truth)


@pytest.mark.parametrize("name", ["osuala2025-table1", "osuala2025-figure4"])
def test_selection_is_reached_by_the_papers_names(tmp_path, capsys, name):
    found = table(capsys, name, tmp_path / "out", "--source", metrics_table(tmp_path / "metrics.csv"))
    assert found["winner"] == "epoch 30" and found["same"]["epoch 10"] == pytest.approx((1 + 0.5) / 2)
    assert "0 (best" in found["definitions"]["same"]


def test_tables_of_readers_are_reached_by_name_and_say_which_columns_they_need(tmp_path, capsys):
    source = reads_table(tmp_path / "reads.csv")
    detection = table(capsys, "zormpas2026-table3", tmp_path / "out", "--source", source)["rows"]
    assert [(row["reader"], row["accuracy"]["total"]) for row in detection] == [("R1", 12)] * 2
    agreement = table(capsys, "zormpas2026-bpe", tmp_path / "out", "--source", source)["rows"]
    assert agreement[0]["kappa"] == pytest.approx(1)
    source.write_text("reader,case,condition,bpe\nR1,1,real,a\nR1,1,synthetic,b\n")
    with pytest.raises(InputError, match="truth and lesion"):
        table(capsys, "zormpas2026-table3", tmp_path / "out", "--source", source)


def test_what_is_missing_is_said_in_one_sentence(tmp_path, capsys):
    for name, said in (
        ("osuala2025-table9", "'evaluate --table list' names them"),
        ("osuala2025-figure4", "needs --source: a training run"),
        ("zormpas2026-table3", "needs --source: a CSV of reads"),
        ("zormpas2026-change", "name one with --model"),
    ):
        with pytest.raises(InputError, match=said):
            run(capsys, evaluate, "--table", name, "-o", tmp_path)
    with pytest.raises(InputError, match="--out"):
        run(capsys, evaluate, "--table", "osuala2025-table2")


REPEAT = "phase 1 for every later phase"


class Thumbnail:
    """A stand-in for a feature network: side x side means of the image."""

    kind = "thumbnail"

    def __init__(self, side=4):
        self.side = side

    def features(self, slices):
        n, j, i = slices.shape
        rows, columns, side = j // self.side, i // self.side, self.side
        blocks = slices[:, : rows * side, : columns * side].reshape(n, side, rows, side, columns)
        return blocks.mean(axis=(2, 4)).reshape(n, side * side)


def test_tables_have_frechet_distances_of_images_subtractions_and_halves_with_a_warning(cohort, tmp_path):
    options = TableOptions(networks={"imagenet": Thumbnail()}, repeats=20)
    pairs = find_pairs(cohort.truth, cohort.runs)
    found = write_named_table("osuala2025-table4", pairs, tmp_path, options)
    rows = {row["row"]: row for row in csv.DictReader((tmp_path / "osuala2025-table4.csv").open())}
    assert {f"{images} P{n} synthetic" for images in ("DCE", "Subt") for n in (1, 2, 3)} <= set(rows)
    assert float(rows["DCE P1 synthetic"]["KID imagenet"]) > 0 and rows["Subt P1 synthetic"]["FRD v0"] == ""
    report = found.rows["Subt P1 synthetic"].distances["imagenet"]
    assert report.synthetic_against_real.n == (_tumor_slices(pairs),) * 2
    assert "0 is equal" in report.definitions["fid"]
    options = TableOptions(networks={"imagenet": Thumbnail(6)}, repeats=20)
    few = write_named_table("osuala2025-table2", pairs, tmp_path, options).notes
    assert any("FID imagenet: 24 images for 36 features" in note for note in few)
    rows = {row["row"]: row for row in csv.DictReader((tmp_path / "osuala2025-table2.csv").open())}
    real, made, synthetic = (float(rows[name]["FID imagenet"]) for name in (HALVES, SYNTHETIC_HALVES, "synthetic"))
    assert real < synthetic and real < made


def _tumor_slices(pairs):
    """Slices of phase 1 with a tumor, and round(0.05 * 8) = 0 more on either side."""
    masks = [read_mask(pair.lesion).any(axis=(1, 2)) for pair in pairs if pair.real.name == "phase_1.nrrd"]
    return sum(int(np.flatnonzero(mask)[-1] - np.flatnonzero(mask)[0]) + 1 for mask in masks)


def test_frechet_distance_of_a_subtraction_row_is_that_of_the_saturating_difference(cohort, tmp_path):
    from VirtualContrastTrainingLib.metrics.as_published import minmax_eight_bit, resize_linear

    pairs = [pair for pair in find_pairs(cohort.truth, cohort.runs) if pair.real.name == "phase_1.nrrd"]
    options = TableOptions(networks={"imagenet": Thumbnail()}, repeats=20)
    found = write_named_table("osuala2025-table4", pairs, tmp_path, options).rows["Subt P1 synthetic"]
    sets = []
    for side in ("real", "synthetic"):
        own = FeatureMoments()
        for pair in pairs:
            post, pre = (minmax_eight_bit(read_stack(path).pixels) for path in (getattr(pair, side), pair.pre))
            shown = [
                minmax_eight_bit(resize_linear(np.clip(a.astype(int) - b, 0, 255).astype(np.uint8), 224))
                for a, b in zip(post, pre, strict=True)
            ]
            lesion = np.flatnonzero(read_mask(pair.lesion).any(axis=(1, 2)))
            shown = shown[lesion[0] : lesion[-1] + 1]
            own.add(Thumbnail().features(np.stack(shown) / 127.5 - 1))
        sets.append(own)
    assert found.distances["imagenet"].synthetic_against_real.fid == pytest.approx(frechet_distance(*sets), rel=1e-4)


def test_a_grade_that_no_reader_gave_still_keeps_its_neighbors_apart(tmp_path, capsys):
    """a and d, with linear weights: three steps apart, whether or not anyone said b or c."""
    rows = ["reader,case,condition,bpe", *(f"R1,{n},real,{'aadd'[n]}" for n in range(4))]
    rows += [f"R1,{n},synthetic,{'abda'[n]}" for n in range(4)]
    (tmp_path / "reads.csv").write_text("\n".join(rows) + "\n")
    found = json.loads(run(capsys, readers, tmp_path / "reads.csv", "--json", "--bootstrap", 20).out)
    assert found["bpe_labels"] == ["a", "b", "c", "d"]
    assert found["agreement"][0]["kappa"] == pytest.approx(
        1 - (0 + 1 + 0 + 3) / (4 * np.mean([0, 1, 3, 0, 3, 2, 0, 3]))
    )
