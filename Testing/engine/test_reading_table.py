"""The table of reads goes through `virtual-contrast-training readers` unchanged, against numbers worked out by hand."""

import csv
import datetime
import json

import pytest
from VirtualContrastLib.events import InputError
from VirtualContrastLib.reader_study.reads_table import write_reads
from VirtualContrastLib.reader_study.session import open_session
from VirtualContrastLib.reader_study.study_list import ReadingCase, write_list
from VirtualContrastTrainingLib.cli import main as training

CASES = ("C1", "C2", "C3", "C4", "C5", "C6")
TRUTH = dict(zip(CASES, (True, True, True, False, False, False), strict=True))
REFERENCE = dict(zip(CASES, "abcdab", strict=True))
# What reader R1 says: lesion, BPE and guess. On real images 5 of 6 are right (one lesion missed), on synthetic ones
# 4 of 6 (one missed, one false alarm). Four of six synthetic and five of six real images are recognized.
LESION = {
    "real": dict(zip(CASES, (True, True, False, False, False, False), strict=True)),
    "synthetic": dict(zip(CASES, (True, False, True, False, False, True), strict=True)),
}
GRADE = {"real": dict(zip(CASES, "abcdbb", strict=True)), "synthetic": dict(zip(CASES, "abcdab", strict=True))}
CALLED_SYNTHETIC = {
    "real": dict(zip(CASES, (True, False, False, False, False, False), strict=True)),
    "synthetic": dict(zip(CASES, (True, True, True, True, False, False), strict=True)),
}
# Confidence rises by 1, 1, 1, 1, 1, 2 from real to synthetic.
CONFIDENCE = {"real": (1, 2, 3, 2, 1, 2), "synthetic": (2, 3, 4, 3, 2, 4)}


class Clock:
    def __init__(self):
        self.time = datetime.datetime(2026, 3, 2, tzinfo=datetime.UTC)

    def now(self):
        return self.time

    def seconds(self):
        return self.time.timestamp()


@pytest.fixture
def study(tmp_path):
    """A list, and the folder with both sessions of reader R1, 28 days apart."""
    rows = [
        ReadingCase(case, f"{case}_{kind}.png", kind, TRUTH[case], REFERENCE[case])
        for case in CASES
        for kind in ("real", "synthetic")
    ]
    cases, folder, clock = write_list(tmp_path / "list.csv", rows), tmp_path / "answers", Clock()
    folder.mkdir()
    for number in (1, 2):
        read(cases, folder, clock, number)
        clock.time += datetime.timedelta(days=28)
    return cases, folder, clock


def read(cases, folder, clock, number):
    session = open_session(cases, folder, "R1", number, now=clock.now, clock_s=clock.seconds)
    while not session.finished:
        session.shown()
        clock.time += datetime.timedelta(seconds=20)
        one = session.current
        session.answer(
            bpe=GRADE[one.condition][one.case],
            lesion=LESION[one.condition][one.case],
            guess="synthetic" if CALLED_SYNTHETIC[one.condition][one.case] else "real",
            confidence=CONFIDENCE[one.condition][CASES.index(one.case)],
            location_lps_mm=(1.0, 2.0, 3.0) if one.case == "C1" else None,
            hallucination=one.condition == "synthetic" and one.case in ("C2", "C6"),
            remarks="a line, that ends" if one.case == "C2" else "",
        )


def evaluate(capsys, table):
    assert training(["readers", str(table), "--json", "--bootstrap", "50"]) == 0
    return json.loads(capsys.readouterr().out)


def test_accuracy_sensitivity_and_specificity_are_those_worked_out_by_hand(study, tmp_path, capsys):
    cases, folder, _ = study
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    found = {row["condition"]: row for row in evaluate(capsys, reads)["detection"]}
    counts = {
        condition: tuple(
            (row[name]["count"], row[name]["total"]) for name in ("accuracy", "sensitivity", "specificity")
        )
        for condition, row in found.items()
    }
    assert counts == {"real": ((5, 6), (2, 3), (3, 3)), "synthetic": ((4, 6), (2, 3), (2, 3))}


def test_kappa_with_the_reference_and_between_versions_is_that_worked_out_by_hand(study, tmp_path, capsys):
    """Linear weights. Real: one of six grades is off by one (a read as b), so the observed cost is 1; with rows 2,2,1,1
    and columns 1,3,1,1 chance costs 2*8 + 2*4 + 6 + 10 = 40 over 6, so kappa = 1 - 6/40 = 0.85. Synthetic: 1.
    """
    cases, folder, _ = study
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    kappas = {
        (tuple(entry["first"]), tuple(entry["second"])): entry["kappa"]
        for entry in evaluate(capsys, reads)["agreement"]
    }
    assert kappas[("R1", "real"), ("reference", "real")] == pytest.approx(0.85)
    assert kappas[("R1", "synthetic"), ("reference", "synthetic")] == pytest.approx(1.0)
    assert kappas[("R1", "real"), ("R1", "synthetic")] == pytest.approx(0.85)


def test_the_confidence_of_paired_reads_is_tested(study, tmp_path, capsys):
    cases, folder, _ = study
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    (test,) = [one for one in evaluate(capsys, reads)["tests"] if one["endpoint"] == "score"]
    assert (test["cases"], test["median"]) == (6, 1.0)


def test_recognition_of_synthetic_images_is_a_table_of_the_same_kind(study, tmp_path, capsys):
    cases, folder, _ = study
    _, guesses = write_reads(cases, folder, tmp_path / "out")
    (row,) = evaluate(capsys, guesses)["detection"]
    assert (row["sensitivity"]["count"], row["sensitivity"]["total"]) == (4, 6)
    assert (row["specificity"]["count"], row["specificity"]["total"]) == (5, 6)
    assert (row["accuracy"]["count"], row["accuracy"]["total"]) == (9, 12)


def test_every_read_stands_in_the_table_with_its_session_time_and_place(study, tmp_path):
    cases, folder, _ = study
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    with reads.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["reader"] == "R1"]
    assert len(rows) == 12
    assert {row["session"] for row in rows} == {"1", "2"}
    assert {row["seconds"] for row in rows} == {"20.0"}
    assert [row["position"] for row in rows] == [str(n) for n in (1, 2, 3, 4, 5, 6)] * 2
    places = {(row["lesion_left_mm"], row["lesion_posterior_mm"], row["lesion_superior_mm"]) for row in rows}
    assert places == {("1.0", "2.0", "3.0"), ("", "", "")}
    assert "png" not in reads.read_text()
    assert {row["remarks"] for row in rows if row["case"] == "C2"} == {"a line, that ends"}


def test_what_readers_hold_to_be_invented_is_counted(study, tmp_path, capsys):
    cases, folder, _ = study
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    told = {(row["reader"], row["condition"]): row["reported"] for row in evaluate(capsys, reads)["hallucinations"]}
    assert [(told["R1", kind]["count"], told["R1", kind]["total"]) for kind in ("real", "synthetic")] == [
        (0, 6),
        (2, 6),
    ]


def test_answers_of_earlier_versions_are_read_and_gone_on_with(study, tmp_path):
    """Their lines have neither remarks nor the question of what looks invented."""
    cases, folder, _ = study
    for path in folder.glob("*.jsonl"):
        first, *lines = path.read_text().splitlines()
        events = [
            {k: v for k, v in json.loads(line).items() if k not in ("hallucination", "remarks")} for line in lines
        ]
        path.write_text("\n".join([first, *map(json.dumps, events)]) + "\n")
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    with reads.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["reader"] == "R1"]
    assert {(row["hallucination"], row["remarks"]) for row in rows} == {("", "")}
    assert len(rows) == 12


def test_a_third_session_is_a_second_read_and_gives_agreement_within_the_reader(study, tmp_path, capsys):
    cases, folder, clock = study
    read(cases, folder, clock, 3)
    reads, _ = write_reads(cases, folder, tmp_path / "out")
    agreement = evaluate(capsys, reads)["agreement"]
    within = [e for e in agreement if e["second"] == ["R1", "real, read 2"] and e["first"] == ["R1", "real"]]
    assert within[0]["cases"] == 3


def test_no_answers_and_answers_to_another_list_are_told(study, tmp_path):
    cases, folder, _ = study
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no answers yet"):
        write_reads(cases, tmp_path / "empty", tmp_path / "out")
    other = write_list(tmp_path / "other.csv", cases.cases[:2])
    with pytest.raises(InputError, match=r"answers another reading list than other\.csv"):
        write_reads(other, folder, tmp_path / "out")
