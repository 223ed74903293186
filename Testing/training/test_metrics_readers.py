"""Reader statistics against the paper's counts, scikit-learn and scipy."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from program import call
from scipy import stats
from sklearn.metrics import cohen_kappa_score, confusion_matrix
from VirtualContrastLib.events import InputError
from VirtualContrastLib.reader_study.answers import REFERENCE
from VirtualContrastLib.reader_study.reads_table import READS
from VirtualContrastTrainingLib.metrics.kappa import confusion, kappa_interval, weighted_kappa
from VirtualContrastTrainingLib.metrics.readers import Detection, reader_report
from VirtualContrastTrainingLib.metrics.reads import Read, load_reads
from VirtualContrastTrainingLib.papers.readers import StudyReport, write_readers

BPE = ("a", "b", "c", "d")
BPE_FLOATS = ("1.0", "2.0", "3.0", "4.0")


def reads_with(hits, positive, rejections, negative):
    """Reads of one reader with given counts of true positives and true negatives."""
    lesions = [Read("R1", f"p{n}", "clinical", True, n < hits) for n in range(positive)]
    return lesions + [Read("R1", f"n{n}", "clinical", False, n >= rejections) for n in range(negative)]


def test_counts_of_the_paper_come_out_as_printed():
    found = Detection.of("R1", "clinical", reads_with(34, 37, 23, 26))
    assert (found.accuracy.count, found.accuracy.total) == (57, 63)
    assert (found.sensitivity.count, found.sensitivity.total) == (34, 37)
    assert (found.specificity.count, found.specificity.total) == (23, 26)


def test_wilson_interval_equals_its_closed_form():
    p, n, z = 57 / 63, 63, stats.norm.ppf(0.975)
    center, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(center - half) / (1 + z * z / n), (center + half) / (1 + z * z / n)]
    assert Detection.of("R1", "clinical", reads_with(34, 37, 23, 26)).accuracy.ci95 == pytest.approx(expected)


@pytest.mark.parametrize("weights", ["linear", "quadratic", "none"])
def test_kappa_equals_scikit_learn(weights):
    rng = np.random.default_rng(0)
    first = rng.choice(BPE, 80)
    second = [a if rng.random() < 0.6 else rng.choice(BPE) for a in first]
    table = confusion(first, second, BPE)
    assert np.array_equal(table, confusion_matrix(first, second, labels=BPE))
    expected = cohen_kappa_score(first, second, labels=BPE, weights=None if weights == "none" else weights)
    assert weighted_kappa(table, weights) == pytest.approx(expected)


def test_kappa_is_undefined_when_all_ratings_are_one_class():
    assert weighted_kappa(confusion("aaa", "aaa", BPE)) is None
    assert kappa_interval("aaa", "aaa", BPE, repeats=50).ci95 is None


def test_kappa_interval_holds_the_estimate_and_narrows_with_cases():
    rng = np.random.default_rng(1)
    widths = []
    for n in (40, 640):
        first = list(rng.choice(BPE, n))
        second = [a if rng.random() < 0.7 else str(rng.choice(BPE)) for a in first]
        found = kappa_interval(first, second, BPE, repeats=500)
        low, high = found.ci95
        assert low < found.kappa < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.35)


def study(path):
    """A CSV of two readers, two conditions and 30 cases."""
    rng = np.random.default_rng(4)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reader", "case", "condition", "truth", "lesion", "bpe", "score"])
        for reader in ("R1", "R2"):
            for case in range(30):
                level = rng.integers(0, 4)
                for condition in ("real", "synthetic"):
                    shift = -1.0 if (reader, condition) == ("R1", "synthetic") else 0.0
                    said = "yes" if (case % 2 == 0) != (rng.random() < 0.1) else "no"
                    truth = "yes" if case % 2 == 0 else "no"
                    score = round(4 + shift + rng.normal(0, 0.5), 3)
                    writer.writerow([reader, case, condition, truth, said, BPE[level], score])
    return path


GRADES = {"words": ("Minimal", "mild", "Moderate", "MARKED"), "numbers": ("1", "2", "3", "4"), "floats": BPE_FLOATS}


@pytest.mark.parametrize("form", GRADES)
def test_grades_in_words_or_numbers_give_the_kappa_of_scikit_learn_and_the_test_of_scipy(tmp_path, form):
    rng = np.random.default_rng(8)
    first = rng.integers(0, 4, 40)
    second = np.clip(first + rng.integers(-1, 3, 40), 0, 3)
    rows = [
        f"{case},R1,{condition},{GRADES[form][grade]}"
        for condition, grades in (("real", first), ("synthetic", second))
        for case, grade in enumerate(grades)
    ]
    (tmp_path / "reads.csv").write_text("\n".join(["case,reader,condition,bpe", *rows]))
    found = reader_report(load_reads(tmp_path / "reads.csv"), weights="quadratic", repeats=20)
    (agreement,), (test,) = found.agreement, found.tests
    assert agreement.kappa.kappa == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
    assert agreement.dichotomized.count == np.count_nonzero((first > 1) == (second > 1))
    assert (test.endpoint, test.p) == ("BPE", pytest.approx(stats.wilcoxon(second - first).pvalue))


@pytest.mark.parametrize("grade", ["severe", "0", "5", "type 2"])
def test_a_grade_of_no_known_order_is_refused_with_its_row(tmp_path, grade):
    (tmp_path / "reads.csv").write_text(f"case,reader,condition,bpe\n1,R1,real,b\n\n2,R1,real,{grade}\n")
    with pytest.raises(InputError, match=rf"reads.csv, row 4: bpe must be .*, not '{grade}'"):
        load_reads(tmp_path / "reads.csv")


@pytest.mark.parametrize(
    ("separator", "encoding", "newline"),
    [(";", "utf-8-sig", "\r\n"), (";", "cp1252", "\r\n"), ("\t", "utf-16", "\n"), (",", "utf-8", "\r")],
)
def test_a_table_of_reads_may_come_from_any_spreadsheet(tmp_path, separator, encoding, newline):
    reads = [dataclasses.replace(one, reader=f"Zoë {one.reader}") for one in load_reads(study(tmp_path / "plain.csv"))]
    columns = ("score", "bpe", "lesion", "condition", "case", "truth", "reader")
    said = {True: "yes", False: "no"}
    lines = [separator.join(name.title() for name in columns)]
    for one in reads:
        cells = (str(one.score), one.bpe, said[one.lesion], one.condition, one.case, said[one.truth], one.reader)
        lines.append(separator.join(cells).replace(".", ",") if separator == ";" else separator.join(cells))
    (tmp_path / "reads.csv").write_bytes(newline.join(lines).encode(encoding))
    assert load_reads(tmp_path / "reads.csv") == reads


def test_a_row_longer_than_the_header_is_refused(tmp_path):
    (tmp_path / "reads.csv").write_text("case,reader,condition,score\n1,R1,real,3,5\n")
    with pytest.raises(InputError, match="line 2 has more cells than the header"):
        load_reads(tmp_path / "reads.csv")


def test_report_tests_paired_scores_with_wilcoxon_and_adjusts_by_benjamini_hochberg(tmp_path):
    reads = load_reads(study(tmp_path / "reads.csv"))
    tests = [test for test in reader_report(reads, repeats=50).tests if test.endpoint == "score"]
    assert len(tests) == 2
    for test in tests:
        reader = test.first[0]
        values = {
            c: {r.case: r.score for r in reads if (r.reader, r.condition) == (reader, c)} for c in ("real", "synthetic")
        }
        difference = [values["synthetic"][case] - values["real"][case] for case in values["real"]]
        assert test.p == pytest.approx(stats.wilcoxon(difference).pvalue)
    p = sorted(test.p for test in tests)
    assert p[0] < 1e-4 < p[1]


def test_bpe_and_detection_are_tested_from_the_columns_of_a_real_table_and_all_p_are_adjusted_together(tmp_path):
    reads = load_reads(study(tmp_path / "reads.csv"))
    bare = [dataclasses.replace(read, score=None) for read in reads]
    changed = [
        dataclasses.replace(r, bpe="d" if int(r.case) < 20 else r.bpe) if r.condition == "synthetic" else r
        for r in bare
    ]
    tests = reader_report(changed, repeats=50).tests
    assert [test.endpoint for test in tests] == ["BPE", "BPE", "detection", "detection"]
    for test in tests:
        reader = test.first[0]
        own = [{r.case: r for r in changed if (r.reader, r.condition) == (reader, c)} for c in ("real", "synthetic")]
        if test.endpoint == "BPE":
            values = [[BPE.index(side[case].bpe) for case in own[0]] for side in own]
        else:
            values = [[side[case].truth == side[case].lesion for case in own[0]] for side in own]
        difference = np.subtract(*np.array(values[::-1], dtype=float))
        assert test.p == pytest.approx(stats.wilcoxon(difference).pvalue if difference.any() else 1)
    p = np.array([test.p for test in tests])
    order = np.argsort(p)
    expected = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    assert np.array([test.p_adjusted for test in tests])[order] == pytest.approx(np.minimum(expected, 1))
    assert p[0] < 1e-3


def test_dichotomized_accuracy_means_over_readers_and_hallucinations_by_hand(tmp_path):
    grades = {("R1", "real"): "abcd", ("R1", "synthetic"): "bbba", ("R2", "real"): "abcd", ("R2", "synthetic"): "abcd"}
    reads = [
        Read(reader, str(case), condition, truth=True, lesion=case > 0, bpe=grade, hallucination=case == 3)
        for (reader, condition), rated in grades.items()
        for case, grade in enumerate(rated)
    ]
    report = reader_report(reads, weights="quadratic", repeats=50)
    within = {e.first[0]: e for e in report.agreement if e.first[0] == e.second[0]}
    assert (within["R1"].dichotomized.count, within["R1"].dichotomized.total) == (2, 4)
    expected = cohen_kappa_score(list("abcd"), list("bbba"), labels=BPE, weights="quadratic")
    assert within["R1"].kappa.kappa == pytest.approx(expected) and within["R2"].kappa.kappa == pytest.approx(1)
    means = {(m.condition, m.measure): m.mean for m in report.means}
    assert means["real - synthetic", "kappa"] == pytest.approx((expected + 1) / 2)
    assert means["real - synthetic", "dichotomized"] == pytest.approx(0.75)
    assert means["real", "accuracy"] == pytest.approx(0.75)
    assert {row.reported.count for row in report.hallucinations} == {1}
    write_readers(StudyReport(report), tmp_path)
    rows = list(csv.DictReader((tmp_path / "agreement.csv").open()))
    assert {row["weights"] for row in rows} == {"quadratic"} and rows[-1]["dichotomized"] == "75.0 %"
    assert next(csv.DictReader((tmp_path / "hallucinations.csv").open()))["reported"] == "25.0 % (1/4)"


def test_agreement_is_within_a_reader_between_conditions_and_within_a_condition_between_readers(tmp_path):
    report = reader_report(load_reads(study(tmp_path / "reads.csv")), repeats=50)
    pairs = {(a.first, a.second) for a in report.agreement}
    assert len(pairs) == 4
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairs)
    same = next(a for a in report.agreement if (a.first, a.second) == (("R1", "real"), ("R1", "synthetic")))
    assert same.kappa.kappa == pytest.approx(1)


@pytest.mark.parametrize("reader", ["R1", "zoe"])
def test_a_reference_of_the_real_images_stands_beside_both_conditions_and_is_no_reader(reader):
    """`reader` before and after "reference" in the alphabet."""
    given = {(reader, "real"): "abcd", (reader, "synthetic"): "bbba", (REFERENCE, "real"): "abcd"}
    reads = [
        Read(who, str(case), condition, truth=True, lesion=who == REFERENCE or case > 0, bpe=grade)
        for (who, condition), grades in given.items()
        for case, grade in enumerate(grades)
    ]
    report = reader_report(reads, weights="quadratic", repeats=20)
    means = {(m.condition, m.measure): (m.mean, m.readers) for m in report.means}
    expected = cohen_kappa_score(list("bbba"), list("abcd"), labels=BPE, weights="quadratic")
    assert means[f"real - {REFERENCE}", "kappa"] == (pytest.approx(1), 1)
    assert means[f"synthetic - {REFERENCE}", "kappa"] == (pytest.approx(expected), 1)
    assert means[f"synthetic - {REFERENCE}", "dichotomized"] == (pytest.approx(0.5), 1)
    assert means["real", "accuracy"] == (pytest.approx(0.75), 1)  # that of the reference would be 1


def test_the_command_prints_json_and_writes_tables(tmp_path, capsys):
    table, out = study(tmp_path / "reads.csv"), tmp_path / "out"
    assert call("readers", table, "-o", out, "--json", "--bootstrap", "50") == 0
    assert len(json.loads(capsys.readouterr().out)["detection"]) == 4
    assert {p.name for p in out.iterdir()} >= {
        "readers.json",
        "detection.csv",
        "agreement.csv",
        "tests.csv",
        "readers.png",
    }
    assert call("readers", table, "--bootstrap", "50") == 0
    assert "Wilcoxon score R1/real - R1/synthetic" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "said"),
    [("R1,1,real,maybe,yes", "row 2: truth must be yes or no"), ("R1,1,real,yes,yes\nR1,1,real,no,no", "row 3")],
)
def test_rows_that_cannot_be_understood_are_named_by_number(tmp_path, row, said):
    path = tmp_path / "reads.csv"
    path.write_text("reader,case,condition,truth,lesion\n" + row + "\n")
    with pytest.raises(InputError, match=said):
        load_reads(path)


def test_a_row_of_nobody_is_refused_and_not_counted_as_a_reader_without_a_name(tmp_path):
    path = tmp_path / "reads.csv"
    path.write_text("reader,case,condition,truth,lesion\nR1,1,real,yes,yes\n,2,real,yes,yes\n")
    with pytest.raises(InputError, match="row 3: reader is empty"):
        load_reads(path)


def test_capitals_make_no_reader_case_or_condition_of_their_own(tmp_path):
    path = tmp_path / "reads.csv"
    path.write_text("reader,case,condition,bpe\nR1,P1,Real,1\nr1,p1,synthetic,2\nR1,P2,real,3\nReference,P1,REAL,1\n")
    assert {(r.reader, r.case, r.condition) for r in load_reads(path)} == {
        ("R1", "P1", "Real"),
        ("R1", "P1", "synthetic"),
        ("R1", "P2", "Real"),
        (REFERENCE, "P1", "Real"),
    }


def test_columns_and_answers_may_have_the_names_of_a_table_made_elsewhere(tmp_path):
    path = tmp_path / "reads.csv"
    path.write_text(
        "Reader ID;Patient_ID;Image type;Ground truth;Lesion present;BPE grade;Confidence;Hallucinations\n"
        "R1;P1;real;Positive;Negative;Mild;3,5;no\n"
    )
    assert load_reads(path) == [Read("R1", "P1", "real", True, False, "b", 3.5, False)]


def test_our_name_of_a_column_comes_before_others_and_two_others_are_refused(tmp_path):
    path = tmp_path / "reads.csv"
    path.write_text("reader,case,patient,condition,score,confidence\nR1,1,P7,real,2,5\n")
    assert load_reads(path) == [Read("R1", "1", "real", score=2.0)]
    path.write_text("reader,case,condition,rating,confidence\nR1,1,real,2,5\n")
    with pytest.raises(InputError, match="confidence or rating could be the column score"):
        load_reads(path)


def test_the_table_of_the_reading_mode_is_understood_with_its_reference_grades_and_second_reads(tmp_path, capsys):
    """Columns of VirtualContrastLib.reader_study, which also writes times and places that no statistic uses."""
    rng = np.random.default_rng(0)
    with (tmp_path / "reads.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, READS, restval="")
        writer.writeheader()
        for number in range(20):
            case = {"case": f"C{number:03d}", "bpe": BPE[number % 4]}
            for condition in ("real", "synthetic", "real, read 2"):
                said = {"truth": "yes" if number % 2 else "no", "lesion": "yes" if number % 2 else "no"}
                said |= {"score": int(rng.integers(1, 6)), "guess": "real", "seconds": 12.5, "session": 1}
                writer.writerow(case | said | {"reader": "R1", "condition": condition})
            writer.writerow(case | {"reader": REFERENCE, "condition": "real"})
    assert call("readers", tmp_path / "reads.csv", "--json", "--bootstrap", "50") == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["reader"] for row in found["detection"]} == {"R1"}  # the reference judges no lesions
    assert [row["accuracy"]["value"] for row in found["detection"]] == [1.0] * 3
    with_reference = [a for a in found["agreement"] if ["R1", "real"] in (a["first"], a["second"])]
    assert any([REFERENCE, "real"] in (a["first"], a["second"]) and a["kappa"] == 1 for a in with_reference)
    assert {test["endpoint"] for test in found["tests"]} == {"BPE", "detection", "score"} and len(found["tests"]) == 9
