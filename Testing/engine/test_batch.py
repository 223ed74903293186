"""Many cases: each stands alone, the summary tells the truth, a second run finishes what the first began."""

import csv
import json
import logging
import os
from dataclasses import replace

import pytest
import run_samples
from VirtualContrastLib.events import Events, ExitCode, InputError, Stage
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.results.manifest import verify_result
from VirtualContrastLib.run import write_outputs
from VirtualContrastLib.run.batch import Status, run_batch
from VirtualContrastLib.run.batch_cases import BatchCase, read_cases


@pytest.fixture
def study(tmp_path):
    return run_samples.write_study(tmp_path / "study", phases=1)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Figures and report are not the subject and take most of the time."""
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))


def summary(out):
    with (out / "summary.csv").open(newline="") as file:
        table = {row["case"]: row for row in csv.DictReader(file)}
    data = json.loads((out / "summary.json").read_text())
    assert {case["case"]: case["status"] for case in data["cases"]} == {n: r["status"] for n, r in table.items()}
    return table


def bad_case(tmp_path, name="bad"):
    (tmp_path / "empty.nrrd").write_bytes(b"")
    return BatchCase(name, str(tmp_path / "empty.nrrd"))


def test_a_failing_case_is_recorded_with_its_sentence_and_harms_no_other(study, chosen, models, tmp_path):
    good = str(study / "pre.nrrd")
    cases = [BatchCase("first", good), bad_case(tmp_path), BatchCase("last", good, lesions=str(study / "mask.nrrd"))]
    outcome = run_batch(cases, tmp_path / "out", chosen, models=models)
    assert outcome.exit_code is ExitCode.SOME_CASES_FAILED
    assert [case.status for case in outcome.cases] == [Status.DONE, Status.FAILED, Status.DONE]
    table = summary(tmp_path / "out")
    assert "empty" in table["bad"]["message"]
    assert table["last"]["lesions"] == "2"
    for name in ("first", "last"):
        assert verify_result(tmp_path / "out" / name) == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "batch.log",
        "first",
        "last",
        "summary.csv",
        "summary.json",
    ]


def test_cases_with_names_like_those_of_staging_folders_all_survive(study, chosen, models, tmp_path):
    names = ["A.old-2019", "A.partial-x", "A.old-20260101T000000-abcdef", "A", "A.old-2020"]
    for settings in (chosen, replace(chosen, overwrite=True)):
        outcome = run_batch(
            [BatchCase(n, str(study / "pre.nrrd")) for n in names], tmp_path / "out", settings, models=models
        )
        assert outcome.exit_code is ExitCode.DONE
        assert [verify_result(tmp_path / "out" / name) for name in names] == [[]] * len(names)


def test_an_error_nobody_foresaw_fails_its_case_only(study, chosen, models, tmp_path, monkeypatch):
    broken = ZeroDivisionError("strange\nnumbers")
    calls = []

    def sometimes(task):
        calls.append(task)
        if len(calls) == 1:
            raise broken

    monkeypatch.setattr(write_outputs, "_tables", sometimes)
    cases = [BatchCase(name, str(study / "pre.nrrd")) for name in ("a", "b")]
    outcome = run_batch(cases, tmp_path / "out", chosen, models=models)
    assert [case.status for case in outcome.cases] == [Status.FAILED, Status.DONE]
    assert "ZeroDivisionError (strange numbers)" in outcome.cases[0].message
    assert not (tmp_path / "out" / "a").exists()


def test_the_log_tells_what_happened_and_where_without_a_name_or_path(study, chosen, models, tmp_path, monkeypatch):
    folder = tmp_path / "DOE_JANE_19600101"
    folder.mkdir()
    for name in ("JaneDoe.nrrd", "Empty_Doe.nrrd"):
        (folder / name).write_bytes((study / "pre.nrrd").read_bytes() if name.startswith("Jane") else b"")

    def broken(task):
        raise ZeroDivisionError(f"strange numbers in {folder / 'JaneDoe.nrrd'} of PATIENT-0815")

    monkeypatch.setattr(write_outputs, "_tables", broken)
    cases = [BatchCase("PATIENT-0815", str(folder / "JaneDoe.nrrd")), BatchCase("DOE", str(folder / "Empty_Doe.nrrd"))]
    run_batch(cases, tmp_path / "out", chosen, models=models)
    log = (tmp_path / "out" / "batch.log").read_text(encoding="utf-8")
    for told in ("case 1 of 2 starts", "synthesize: ", "case 2: failed", "is empty", "in broken", "ZeroDivisionError"):
        assert told in log
    for secret in (str(tmp_path), "Jane", "JANE", "DOE", "Doe.nrrd", "0815"):
        assert secret not in log
    assert logging.getLogger("VirtualContrastLib").handlers == []


@pytest.mark.parametrize("apart", [False, True], ids=["one folder", "several folders"])
def test_the_summary_names_files_relative_to_the_input_and_tells_no_folder_above(chosen, models, tmp_path, apart):
    folders = [tmp_path / "hospital" / "DOE_JANE" / name for name in ("a", "b")]  # nothing is there
    cases = [BatchCase(folder.name, str(folder / "pre.nrrd")) for folder in folders]
    if apart:
        cases.append(BatchCase("c", "/nowhere/at all/c.nrrd"))
    run_batch(cases, tmp_path / "out", chosen, models=models)
    table = summary(tmp_path / "out")
    assert ("a/pre.nrrd" in table["a"]["message"]) != apart and "pre.nrrd" in table["a"]["message"]
    for name in ("summary.csv", "summary.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "hospital" not in text and "DOE" not in text and "nowhere" not in text and str(tmp_path) not in text


def test_resume_keeps_what_is_whole_and_makes_the_rest(study, chosen, models, tmp_path):
    good = str(study / "pre.nrrd")
    out = tmp_path / "out"
    run_batch([BatchCase("a", good)], out, chosen, models=models)
    before = (out / "a" / "manifest.json").read_bytes()
    cases = [BatchCase("a", good), BatchCase("b", good)]
    with pytest.raises(InputError, match="not empty"):
        run_batch(cases, out, chosen, models=models)
    outcome = run_batch(cases, out, replace(chosen, resume=True), models=models)
    assert outcome.exit_code is ExitCode.DONE
    assert [case.status for case in outcome.cases] == [Status.KEPT, Status.DONE]
    assert (out / "a" / "manifest.json").read_bytes() == before
    table = summary(out)
    assert table["a"]["lesions"] == table["b"]["lesions"] != ""


def test_resume_never_destroys_a_result_made_otherwise(study, chosen, models, tmp_path):
    good, out = str(study / "pre.nrrd"), tmp_path / "out"
    run_batch([BatchCase("a", good)], out, chosen, models=models)
    other = replace(chosen, segmentation="none", resume=True)
    outcome = run_batch([BatchCase("a", good)], out, other, models=models)
    assert outcome.cases[0].status is Status.FAILED
    assert "--overwrite" in outcome.cases[0].message
    assert verify_result(out / "a") == []
    outcome = run_batch([BatchCase("a", good)], out, replace(other, overwrite=True), models=models)
    assert outcome.cases[0].status is Status.DONE


def test_weights_are_loaded_once_for_all_cases(study, chosen, tmp_path, monkeypatch):
    loads, load_state = [], ModelPackage.load_state
    monkeypatch.setattr(ModelPackage, "load_state", lambda self: loads.append(1) or load_state(self))
    run_batch([BatchCase(name, str(study / "pre.nrrd")) for name in "abc"], tmp_path / "out", chosen)
    assert len(loads) == 1


def test_cancelling_ends_the_case_in_hand_and_tells_which_were_not_run(study, chosen, models, tmp_path):
    class Canceller:
        seen = 0

        def progress(self, stage, done, total):
            self.seen += stage is Stage.KINETICS and done == 0
            if self.seen == 2:
                events.cancel()

        def warning(self, message):
            pass

    events = Events([Canceller()])
    cases = [BatchCase(name, str(study / "pre.nrrd")) for name in ("a", "b", "c")]
    outcome = run_batch(cases, tmp_path / "out", chosen, events=events, models=models)
    assert outcome.exit_code is ExitCode.CANCELLED
    assert [row["status"] for row in summary(tmp_path / "out").values()] == ["done", "cancelled", "not run"]
    assert not (tmp_path / "out" / "b").exists()
    assert verify_result(tmp_path / "out" / "a") == []


def test_warnings_belong_to_their_case(study, chosen, models, tmp_path):
    cases = [BatchCase("a", str(study / "pre.nrrd")), BatchCase("b", str(study / "pre.nrrd"))]
    outcome = run_batch(cases, tmp_path / "out", chosen, models=models)
    assert outcome.cases[0].warnings == outcome.cases[1].warnings != ()


def test_only_unusable_cases_end_with_exit_code_2(chosen, models, tmp_path):
    outcome = run_batch([bad_case(tmp_path)], tmp_path / "out", chosen, models=models)
    assert outcome.exit_code is ExitCode.UNUSABLE


def test_an_output_that_is_a_file_is_refused(study, chosen, models, tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        run_batch([BatchCase("a", str(study / "pre.nrrd"))], tmp_path / "out", chosen, models=models)


def write_table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_gives_cases_with_paths_relative_to_it(tmp_path):
    table = write_table(
        tmp_path,
        "\ufeffcase,input,real1,real2,lesions,times\n"
        "a,x/pre.nii.gz,x/1.nii.gz,/abs/2.nii.gz,,90 220.5\n"
        'b,"y, z/dicom@2",,,m.nrrd,\n\n',
    )
    first, second = read_cases(table)
    assert first == BatchCase(
        "a",
        str(tmp_path / "x/pre.nii.gz"),
        (str(tmp_path / "x/1.nii.gz"), "/abs/2.nii.gz"),
        None,
        {"times_s": (90.0, 220.5)},
    )
    assert second == BatchCase("b", str(tmp_path / "y, z/dicom@2"), (), str(tmp_path / "m.nrrd"))


def test_a_semicolon_table_of_a_spreadsheet_is_read_as_well(tmp_path):
    (case,) = read_cases(write_table(tmp_path, "case;input;times\r\nÄrztin 1;a.nrrd;60 120\r\n"))
    assert (case.name, case.settings) == ("Ärztin 1", {"times_s": (60.0, 120.0)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "columns"),
        ("case,input\n", "no cases"),
        ("case,case,input\na,b,c\n", "columns"),
        ("input\nb\n", "columns"),
        ("case,input\na,\n", "line 2 lacks"),
        ("case,input\na,b,c\n", "more cells"),
        ("case,input\na,b\nA,c\n", "twice"),
        ("case,input\n../a,b\n", "folder name"),
        ("case,input\n.,b\n", "folder name"),
        ("case,input\nNUL,b\n", "folder name"),
        ("case,input,times\na,b,early\n", "seconds"),
        ("case,input,real1,real2\na,b,,c\n", "skips"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_before_anything_runs(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_cases(write_table(tmp_path, text))


def test_a_missing_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_cases(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no cases"):
        read_cases(tmp_path / "empty")


def test_a_folder_gives_its_volumes_and_subfolders(tmp_path):
    for name in ("b.nii.gz", "a.png", "notes.txt", ".hidden.nrrd", "d/IM0001.dcm", "e/pre.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("e/phase_1.nii.gz", "e/phase_2.nii.gz", "e/lesions.nii.gz", "f/only.mha"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    cases = {case.name: case for case in read_cases(tmp_path)}
    assert list(cases) == ["a", "b", "d", "e", "f"]
    assert cases["d"].input == str(tmp_path / "d")
    assert cases["e"].real == (str(tmp_path / "e/phase_1.nii.gz"), str(tmp_path / "e/phase_2.nii.gz"))
    assert cases["f"].input == str(tmp_path / "f/only.mha")


def test_a_name_that_is_no_text_is_refused_before_anything_runs(tmp_path):
    with open(os.fsencode(tmp_path) + b"/b\xff.nrrd", "wb"):  # noqa: PTH123
        pass
    with pytest.raises(InputError, match="not valid UTF-8"):
        read_cases(tmp_path)


def test_two_files_of_one_name_are_told_apart_by_refusing(tmp_path):
    for name in ("a.png", "a.nrrd"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="twice"):
        read_cases(tmp_path)
