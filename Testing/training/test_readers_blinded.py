"""The `readers` command around a blinded reading: the list before it, the reads after it."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib.reader_study.session import open_session
from VirtualContrastLib.reader_study.study_list import load_list
from VirtualContrastLib.results.manifest import Manifest
from VirtualContrastTrainingLib.cli import main


@pytest.fixture
def studies(tmp_path):
    """Two result folders with one phase, and their real images."""
    results, real = [], []
    for n in range(2):
        image = sitk.GetImageFromArray(np.random.default_rng(n).gamma(2.0, 100.0, (4, 24, 32)).astype(np.float32))
        (tmp_path / f"result_{n}" / "phases").mkdir(parents=True)
        results.append(tmp_path / f"result_{n}")
        real.append(tmp_path / f"real_{n}.nrrd")
        for place in (results[-1] / "phases" / "phase_1.nrrd", real[-1]):
            sitk.WriteImage(image, str(place))
        fields = Manifest("synthesis", str(n), "", "", [], [], {}, {}, {}, [], False, {}, [], {}).__dict__
        outputs = {"outputs": {"phases/phase_1.nrrd": "0" * 64}}
        (results[-1] / "manifest.json").write_text(json.dumps(fields | outputs))
    return results, real


def test_from_result_folders_to_the_statistics_of_a_reader(studies, tmp_path, capsys):
    results, real = studies
    table, answers = tmp_path / "list.csv", tmp_path / "answers"
    assert main(["readers", str(table), "--make-list", *map(str, results), "--real", *map(str, real)]) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["condition"] for row in rows] == ["synthetic", "real"] * 2
    table.write_text(table.read_text(encoding="utf-8").replace(",real,,", ",real,yes,"), encoding="utf-8")
    answers.mkdir()
    session = open_session(load_list(table), answers, "R1", 1)
    while not session.finished:
        session.shown()
        session.answer(lesion=session.current.condition == "real", bpe="b", guess="real", confidence=3)
    capsys.readouterr()
    assert main(["readers", str(table), "--answers", str(answers), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    [row] = report["detection"]  # only real images have a truth, and each session shows one version of a case
    assert row["reader"] == "R1" and row["accuracy"]["value"] == 1.0


def test_a_list_that_exists_is_kept(studies, tmp_path, capsys):
    table = tmp_path / "list.csv"
    table.write_text("the key of a reading that has begun")
    assert main(["readers", str(table), "--make-list", str(studies[0][0])]) == 2
    assert "exists" in capsys.readouterr().err
    assert table.read_text() == "the key of a reading that has begun"
