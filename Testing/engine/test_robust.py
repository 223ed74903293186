"""What lies around a run: channels that fail, signals that nobody hears, names that are no text, damaged cards."""

import _thread
import contextlib
import io
import os
import signal
import sys
import threading
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from tiny_models import tiny_package
from VirtualContrastLib.cli.console import JsonReporter, QuietReporter, Reporter, guarded, printable
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.errors import explain
from VirtualContrastLib.events import ExitCode, InputError, Stage
from VirtualContrastLib.files import as_text, check_name
from VirtualContrastLib.models.catalog import known_models
from VirtualContrastLib.models.import_model import ImportRequest, import_model

FULL_DEVICE = Path("/dev/full")


class Full(io.StringIO):
    """A channel whose disk is full, or whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("reporter", [Reporter(io.StringIO(), Full()), JsonReporter(Full(), Full())])
def test_a_channel_that_fails_does_not_stop_the_work(reporter):
    done = []

    def action(reporter, events):
        for number in range(3):
            events.progress(Stage.READ, number, 3)
            events.warn(f"warning {number}")
        done.append(True)
        return ExitCode.DONE

    assert guarded(action, reporter=reporter) == 0
    assert done == [True]


def test_a_result_that_cannot_be_told_is_a_failure_without_a_traceback(capfd):
    def action(reporter, events):
        reporter.done("text")
        return ExitCode.DONE

    assert guarded(action, reporter=Reporter(Full(), io.StringIO())) == 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("kind", [Reporter, QuietReporter, JsonReporter])
def test_a_full_standard_output_is_told_in_one_sentence(kind):
    def action(reporter, events):
        reporter.done("text", value=1)
        return ExitCode.DONE

    err = io.StringIO()
    with FULL_DEVICE.open("w", encoding="utf-8") as full:
        assert guarded(action, reporter=kind(full, err)) == 1
    assert err.getvalue().startswith("Error: Standard output cannot be written (No space left on device), so that ")
    assert err.getvalue().count("\n") == 1


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="this system has no /dev/full")
def test_a_full_standard_error_changes_nothing(monkeypatch):
    def action(reporter, events):
        events.warn("lost")
        warnings.warn("lost too", UserWarning, stacklevel=1)
        reporter.done("text")
        return ExitCode.DONE

    out = io.StringIO()
    with FULL_DEVICE.open("w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert guarded(action, reporter=Reporter(out, full)) == 0
        with contextlib.suppress(OSError):
            full.close()
    assert out.getvalue() == "text\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_work_that_does_not_ask_is_interrupted_after_a_moment(number):
    cleaned = []

    def deaf(reporter, events):
        threading.Timer(0.2, os.kill, [os.getpid(), number]).start()
        try:
            while True:
                time.sleep(0.01)
        finally:
            cleaned.append(True)

    out = io.StringIO()
    start = time.monotonic()
    assert guarded(deaf, reporter=Reporter(io.StringIO(), out)) == 3
    assert cleaned == [True]
    assert time.monotonic() - start < 60  # 1.7 s on an idle machine
    assert out.getvalue() == "Error: Cancelled.\n"


def test_a_request_to_stop_is_heard_where_no_thread_can_be_started(monkeypatch):
    def refuse(*_given):
        raise RuntimeError("can't start new thread")

    def listens(reporter, events):
        os.kill(os.getpid(), signal.SIGTERM)
        events.check_cancelled()
        raise AssertionError("not heard")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert guarded(listens, reporter=Reporter(io.StringIO(), io.StringIO())) == 3


def test_a_thread_that_the_system_refuses_is_told_with_the_limits():
    sentence, code = explain(RuntimeError("can't start new thread"))
    assert "ulimit -u" in sentence and code == 1


def test_work_that_asks_is_left_to_end_by_itself():
    def listens(reporter, events):
        os.kill(os.getpid(), signal.SIGTERM)
        events.check_cancelled()
        raise AssertionError("not heard")

    assert guarded(listens, reporter=Reporter(io.StringIO(), io.StringIO())) == 3
    time.sleep(1.8)  # an interruption that came too late would end the tests here


def test_a_file_name_cannot_command_the_terminal():
    assert printable("a\x1b[31mred\x07\u202eb\tc\nd\u00e4") == "a\\x1b[31mred\\x07\\u202eb\tc\nd\u00e4"


@pytest.mark.parametrize("place", ["input", "output"])
def test_a_name_that_is_not_utf_8_is_refused_before_the_toolkit_ends_the_process(tmp_path, capsys, place):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/x\xff.nrrd")
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write(b"NRRD0004\n\n")
    whole = str(tmp_path / "y.nrrd")
    line = [odd, "-o", str(tmp_path / "out")] if place == "input" else [whole, "-o", odd + "x"]
    assert main(["synthesize", *line]) == 2
    assert "is not valid UTF-8" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"x\\udcff\.nrrd"):
        check_name(odd)


@pytest.mark.parametrize("card", ["{", "[]", '{"schema_version": 99, "id": "x"}', "[" * 5000])
def test_a_damaged_or_newer_card_hides_no_other_model(cache, capsys, card):
    before = [model.id for model in known_models()]
    folder = cache / "Models" / "odd"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(card)
    (folder / "weights.safetensors").write_bytes(b"")
    models = known_models()
    assert [model.id for model in models] == [*before, "odd"]
    assert models[-1].kind == "unusable"
    assert main(["models", "list"]) == 0
    assert "odd" in capsys.readouterr().out


def test_an_imported_zip_is_not_kept_twice(cache, tmp_path):
    package = tiny_package(tmp_path / "source", id="mine")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in package.folder.iterdir():
            archive.write(file, file.name)
    import_model(ImportRequest(tmp_path / "mine.zip"))
    assert (cache / "Models" / "mine" / "model.json").is_file()
    assert list((cache / "packages").iterdir()) == []


def test_a_link_in_a_package_is_not_followed(cache, tmp_path):
    package = tiny_package(tmp_path / "source", id="mine")
    (tmp_path / "secret").write_text("x")
    license = next(path for path in package.folder.iterdir() if path.name.startswith("LICENSE"))
    text = license.read_text()
    license.unlink()
    (tmp_path / "license").write_text(text)
    license.symlink_to(tmp_path / "license")
    with pytest.raises(InputError, match="holds a link"):
        import_model(ImportRequest(package.folder))


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+1", "-1", "\tx"])
def test_a_cell_of_a_table_is_no_formula(cell):
    assert as_text(cell) == "'" + cell
    assert as_text("case 1") == "case 1"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        ImportError("/x/_C.so: failed to map segment from shared object", name="_C"),
    ],
)
def test_memory_that_ran_out_is_told_as_that_whoever_tells_it(error):
    message, code = explain(error)
    assert message.startswith("The memory of this machine ran out") and code == 1
