"""SAMe against readers: rankings that are known, and the command on its own tables."""

import json

import numpy as np
import pytest
from program import call
from scipy import stats
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics.reads import Read
from VirtualContrastTrainingLib.metrics.same_measure import rank
from VirtualContrastTrainingLib.metrics.same_readers import against_readers
from VirtualContrastTrainingLib.papers.selection import write_selection

METRICS = {"e1": {"mae": 9.0, "ssim": 0.2}, "e2": {"mae": 5.0, "ssim": 0.6}, "e3": {"mae": 6.0, "ssim": 0.7}}


def reads(scores, *, readers=("R1", "R2"), cases=8, spread=0.0):
    rng = np.random.default_rng(0)
    return [
        Read(
            reader,
            f"c{case}",
            model,
            truth=True,
            lesion=bool(rng.random() < score / 5),
            score=score + rng.normal(0, spread),
        )
        for model, score in scores.items()
        for reader in readers
        for case in range(cases)
    ]


def test_a_measure_that_ranks_as_the_readers_do_has_a_correlation_of_minus_one_where_low_is_better():
    scores = {"e1": 1.0, "e2": 4.0, "e3": 3.0}
    rows = {(row.measure, row.answer): row for row in against_readers(reads(scores), METRICS, repeats=50)}
    assert rows["mae", "score"].spearman == pytest.approx(-1.0)
    assert rows["ssim", "score"].spearman == pytest.approx(0.5)
    assert (rows["mae", "score"].models, rows["mae", "score"].cases) == (3, 8)
    assert rows["mae", "score"].ci95 == pytest.approx([-1.0, -1.0])


def test_means_are_over_readers_and_the_cases_that_all_models_share():
    given = reads({"e1": 1.0, "e2": 4.0, "e3": 3.0}, spread=2.0)
    given = [read for read in given if (read.case, read.condition) != ("c0", "e2")]
    (row,) = [r for r in against_readers(given, {n: {"mae": v["mae"]} for n, v in METRICS.items()}, repeats=400)
              if r.answer == "score"]  # fmt: skip
    means = [np.mean([r.score for r in given if r.condition == model and r.case != "c0"]) for model in METRICS]
    assert row.cases == 7
    assert row.spearman == pytest.approx(stats.spearmanr([9.0, 5.0, 6.0], means).statistic)
    assert row.ci95[0] <= row.spearman <= row.ci95[1]


def test_the_command_takes_what_select_writes(tmp_path, capsys):
    write_selection(METRICS, rank(METRICS), tmp_path / "selected", "phantoms")
    lines = ["reader,case,condition,score"]
    lines += [f"{r.reader},{r.case},{r.condition},{r.score}" for r in reads({"e1": 1.0, "e2": 4.0, "e3": 3.0})]
    (tmp_path / "reads.csv").write_text("\n".join(lines) + "\n")
    words = ["readers", tmp_path / "reads.csv", "--same", tmp_path / "selected", "--json", "--bootstrap", 50]
    assert call(*words, "-o", tmp_path / "out") == 0
    rows = {row["measure"]: row for row in json.loads(capsys.readouterr().out)["same"]}
    assert set(rows) == {"SAMe", "mae", "ssim"}
    same = rank(METRICS).same
    assert rows["SAMe"]["spearman"] == pytest.approx(stats.spearmanr(list(same.values()), [1.0, 4.0, 3.0]).statistic)
    assert "SAMe" in (tmp_path / "out" / "same_readers.csv").read_text()
    assert call(*words[:-3]) == 0
    assert "rank correlation of SAMe with score of the readers" in capsys.readouterr().out


def test_models_that_were_not_read_are_said():
    with pytest.raises(InputError, match="0 of 3 checkpoints"):
        against_readers(reads({"real": 1.0, "synthetic": 2.0}), METRICS)
