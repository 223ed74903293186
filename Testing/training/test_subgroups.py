"""Scores by subgroup of patients: means worked by hand, intervals and chance against SciPy, the command end to end."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from program import call
from scipy import stats
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics.bootstrap import PatientSums
from VirtualContrastTrainingLib.metrics.pairs import Pair
from VirtualContrastTrainingLib.metrics.patient_groups import patient_groups
from VirtualContrastTrainingLib.metrics.subgroups import compare_groups


def sums_of(samples):
    """`samples` by patient."""
    sums = PatientSums()
    for patient, values in samples.items():
        for value in values:
            sums.add(patient, value)
    return sums


def one_each(first, second):
    """Patients a0, a1 ... and b0, b1 ... with one sample each, and their groups."""
    samples = {f"{name}{n}": [value] for name, side in (("a", first), ("b", second)) for n, value in enumerate(side)}
    return sums_of(samples), {patient: patient[0].upper() for patient in samples}


def test_means_differences_and_gap_are_those_of_the_samples():
    sums = sums_of({"p1": [1.0, 3.0], "p2": [5.0], "p3": [2.0], "p4": [10.0], "p5": [4.0], "p6": [6.0], "p7": [99.0]})
    group_of = {"p1": "A", "p2": "A", "p3": "A", "p4": "B", "p5": "B", "p6": "B"}
    found = compare_groups(sums, group_of, repeats=200)
    a, b = found.groups["A"], found.groups["B"]
    assert (a.mean, a.n, a.patients) == (pytest.approx(11 / 4), 4, 3)
    assert (b.mean, b.n, b.patients) == (pytest.approx(20 / 3), 3, 3)
    assert a.minus_rest == pytest.approx(11 / 4 - 20 / 3) == -b.minus_rest
    assert found.gap == pytest.approx(20 / 3 - 11 / 4)
    assert found.gap_ci95[0] <= found.gap <= found.gap_ci95[1]


def test_intervals_and_chance_are_scipys():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.0, 1.0, 14), rng.normal(0.8, 1.5, 11)
    found = compare_groups(*one_each(first, second), repeats=6000, seed=2)

    def gap(x, y):
        return np.abs(np.mean(x) - np.mean(y))

    chance = stats.permutation_test((first, second), gap, n_resamples=6000, alternative="greater", rng=5).pvalue
    assert found.gap_p == pytest.approx(chance, abs=0.015)

    def difference(x, y, axis=-1):
        return np.mean(x, axis=axis) - np.mean(y, axis=axis)

    interval = stats.bootstrap((first, second), difference, n_resamples=6000, method="percentile", rng=6)
    assert found.groups["A"].minus_rest_ci95 == pytest.approx(interval.confidence_interval, abs=0.06)


def test_chance_explains_a_gap_between_like_groups_and_not_one_between_unlike_ones():
    values = np.random.default_rng(0).normal(size=24)
    assert compare_groups(*one_each(values[:12], values[12:]), repeats=500).gap_p > 0.05
    assert compare_groups(*one_each(values[:12], values[12:] + 4), repeats=500).gap_p < 0.01


def test_a_group_of_two_patients_is_shown_and_makes_no_gap():
    found = compare_groups(*one_each([1.0, 2.0], [3.0, 4.0, 5.0]), repeats=50)
    assert found.groups["A"].mean == 1.5 and found.gap is None and found.gap_p is None


def write_pairs(folder):
    """Eight patients of two pictures; those of scanner Y are made worse by 10 gray values, the others by 2."""
    rows = []
    for number in range(8):
        scanner = "XY"[number % 2]
        for part in (0, 1):
            pixels = np.random.default_rng(10 * number + part).integers(60, 180, (24, 24), dtype=np.uint8)
            made = pixels + np.uint8(2 if scanner == "X" else 10)
            for kind, image in (("real", pixels), ("synthetic", made)):
                path = folder / kind / f"Breast_MRI_00{number}_slice{part}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
        rows.append(f"Breast_MRI_00{number},Scanner {scanner},{'1.5' if number < 4 else '3'},{30 + number}")
    table = folder / "clinical.csv"
    text = "Patient information,,MRI,\nPatient ID,Manufacturer,Field Strength (Tesla),Age\n"
    table.write_text(text + "\n".join(rows) + "\n")
    return table


def test_the_command_tells_groups_apart_and_names_no_patient(tmp_path, capsys):
    table = write_pairs(tmp_path)
    words = ["evaluate", "--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic", "--json"]
    words += ["--by", "manufacturer", "field strength", "--patients", table, "-o", tmp_path / "out", "--bootstrap", 200]
    assert call(*words) == 0
    by = json.loads(capsys.readouterr().out)["by"]
    assert list(by) == ["Manufacturer", "Field Strength (Tesla)"]
    scanner = by["Manufacturer"]["true"]["mae"]
    assert {name: (one["mean"], one["patients"]) for name, one in scanner["groups"].items()} == {
        "Scanner X": (pytest.approx(2.0), 4),
        "Scanner Y": (pytest.approx(10.0), 4),
    }
    assert scanner["gap"] == pytest.approx(8.0) and scanner["gap_p"] < 0.1
    assert by["Field Strength (Tesla)"]["true"]["mae"]["gap"] == pytest.approx(0.0)
    with (tmp_path / "out" / "by.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = [r for r in rows if (r["group"], r["metric"], r["region"]) == ("Scanner Y", "MAE", "whole slice")]
    assert (float(row["mean"]), float(row["minus rest"]), row["patients"]) == (10.0, 8.0, "4")
    assert (tmp_path / "out" / "by_2.png").stat().st_size > 1000
    written = "".join((tmp_path / "out" / name).read_text() for name in ("by.csv", "by.html", "by.json"))
    assert "Breast_MRI" not in written and "Scanner Y" in written


def pairs_of(folder, names):
    return [Pair(folder / name / "phase_1.nrrd", folder / name / "phase_1.nrrd", name) for name in names]


def test_prepared_cases_bring_their_own_columns(tmp_path):
    for name, subtype, cohort in (("case1", "Luminal", "C"), ("case2", "HER2", "D"), ("case3", "", "C")):
        (tmp_path / name).mkdir()
        description = {"cohort": cohort, "clinical": {"subtype": subtype}}  # as `prepare crops` writes it
        (tmp_path / name / "case.json").write_text(json.dumps(description))
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(tmp_path / name / "phase_1.nrrd"))
    found = patient_groups(pairs_of(tmp_path, ["case1", "case2", "case3"]), ["Subtype"], None)
    assert found == {"subtype": {"case1": "Luminal", "case2": "HER2"}}
    assert patient_groups(pairs_of(tmp_path, ["case1", "case2", "case3"]), ["cohort"], None) == {
        "cohort": {"case1": "C", "case2": "D", "case3": "C"}
    }


def test_a_table_of_slices_counts_where_its_rows_agree(tmp_path):
    table = tmp_path / "slices.csv"
    table.write_text("patient,cohort,z\nA,one,1\nA,one,2\nB,two,1\nB,two,3\nC,two,\n")
    pairs = pairs_of(tmp_path, "ABC")
    assert patient_groups(pairs, ["cohort"], table) == {"cohort": {"A": "one", "B": "two", "C": "two"}}
    with pytest.raises(InputError, match="no column called 'z'"):
        patient_groups(pairs, ["z"], table)


def test_a_table_that_cannot_be_used_is_refused_with_what_it_has(tmp_path):
    table = tmp_path / "t.csv"
    pairs = [Pair(tmp_path, tmp_path, f"P{n}") for n in range(25)]
    table.write_text("name,x\nP1,2\n")
    with pytest.raises(InputError, match="no column that names the patient"):
        patient_groups(pairs, ["x"], table)
    table.write_text("patient,center,age\n" + "".join(f"P{n},one,{n}\n" for n in range(25)))
    with pytest.raises(InputError, match="'center' has 1 groups"):
        patient_groups(pairs, ["center"], table)
    with pytest.raises(InputError, match="'age' has 25 groups"):
        patient_groups(pairs, ["age"], table)
    with pytest.raises(InputError, match="no column called 'vendor'; there are age, center, patient"):
        patient_groups(pairs, ["vendor"], table)
    with pytest.raises(InputError, match="needs a table"):
        patient_groups(pairs, ["center"], None)


def test_by_goes_with_pairs_alone(tmp_path):
    for words in (["--by", "cohort"], ["--patients", tmp_path / "t.csv"]):
        with pytest.raises(InputError, match="--by"):
            call("evaluate", *words)
