"""SAMe and the select command."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics.same_measure import lower_is_better, rank

TABLE = {
    "ep10": {"ssim": 0.70, "mse": 40.0, "fid_img": 30.0},
    "ep30": {"ssim": 0.73, "mse": 35.0, "fid_img": 40.0},
    "ep50": {"ssim": 0.60, "mse": 45.0, "fid_img": 50.0},
}


def run(capsys, *arguments):
    assert call("select", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_same_is_the_mean_of_scaled_metrics_with_ssim_turned_around():
    ranking = rank(TABLE)
    assert ranking.same["ep10"] == pytest.approx((3 / 13 + 0.5 + 0) / 3)
    assert ranking.same["ep30"] == pytest.approx((0 + 0 + 0.5) / 3)
    assert ranking.same["ep50"] == pytest.approx(1)
    assert ranking.winners == ("ep30",)


@given(st.floats(0.1, 100), st.floats(-50, 50))
def test_same_does_not_depend_on_the_units_of_a_metric(scale, shift):
    changed = {name: {**row, "mse": row["mse"] * scale + shift} for name, row in TABLE.items()}
    assert rank(changed).same == pytest.approx(rank(TABLE).same, abs=1e-6)


def test_a_metric_on_which_all_tie_is_left_out_and_named():
    ranking = rank({name: {**row, "lpips": 0.1} for name, row in TABLE.items()})
    assert ranking.left_out == ("lpips",)
    assert ranking.same == pytest.approx(rank(TABLE).same)


def test_tied_winners_are_all_named():
    assert rank({"a": {"mse": 1.0}, "b": {"mse": 1.0}, "c": {"mse": 2.0}}).winners == ("a", "b")


def test_directions_are_known_from_names_or_must_be_given():
    assert lower_is_better("fid_rad") and not lower_is_better("lesion_ssim") and not lower_is_better("true.psnr")
    with pytest.raises(InputError, match="sharpness"):
        lower_is_better("sharpness")
    assert not lower_is_better("sharpness", higher=["sharpness"])


def test_missing_values_and_single_checkpoints_are_refused():
    with pytest.raises(InputError, match="ep20 has no finite value of mse"):
        rank({"ep10": {"mse": 1.0}, "ep20": {"mse": float("nan")}})
    with pytest.raises(InputError, match=r"at least two.*keep_every_epochs"):
        rank({"ep10": {"mse": 1.0}})


def test_select_names_the_winner_of_a_csv_and_writes_table_and_figure(tmp_path, capsys):
    lines = ["checkpoint,ssim,mse,fid_img", *(f"{n},{r['ssim']},{r['mse']},{r['fid_img']}" for n, r in TABLE.items())]
    table = tmp_path / "metrics.csv"
    table.write_text("\n".join(lines))
    result = run(capsys, table, "-o", tmp_path / "out")
    assert result["winner"] == "ep30"
    assert run(capsys, table, "--metrics", "fid_img")["winner"] == "ep10"
    assert (tmp_path / "out" / "same.png").stat().st_size > 1000
    assert "ep30" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "same.json").read_text())[1]["SAMe"] == pytest.approx(0.5 / 3)


def test_select_walks_the_folders_that_evaluate_wrote(tmp_path, capsys):
    for name, error in (("ep10", 3.0), ("ep20", 1.0)):
        metrics = dict.fromkeys(("mse", "mae", "psnr", "ssim", "ms_ssim", "lpips"))
        folder = tmp_path / name
        folder.mkdir()
        report = {"true": {**metrics, "mse": error}, "as_published": {**metrics, "mse": 10 - error}, "statistics": {}}
        (folder / "metrics.json").write_text(json.dumps(report))
    assert run(capsys, tmp_path)["winner"] == "ep20"
    assert run(capsys, tmp_path, "--as-published")["winner"] == "ep10"
