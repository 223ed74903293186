"""The shown result's DICOM objects go to an archive on loopback from the panel: asked first, and never frozen."""

import shutil
import sys
import threading

import psutil
import pydicom
import pytest
import result_samples
import slicer
import slicer.packaging
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE, evt

MR = "1.2.840.10008.5.1.4.1.1.4"
COUNT = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A result folder whose DICOM objects are small images; the engine's tests send what a run writes."""
    folder = result_samples.bare_result(tmp_path_factory.mktemp("sent") / "result")
    (folder / "dicom").mkdir()
    image = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    for number in range(COUNT):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(folder / "dicom" / f"{number}.dcm")
    return folder


@pytest.fixture
def archive():
    """Starts an archive; gives its address and what it was sent. `gate`: an event that each object waits for."""
    servers = []

    def start(title="ARCHIVE", gate=None):
        kept = []

        def store(event):
            kept.append(event.dataset.SOPInstanceUID)
            if gate is not None:
                gate.wait(300)
            return 0x0000

        entity = AE(ae_title=title)
        entity.require_called_aet = True
        entity.add_supported_context(MR)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        servers.append(server)
        return f"{title}@127.0.0.1:{server.socket.getsockname()[1]}", kept

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def answers(monkeypatch):
    """Every question, and what is answered: [True] until a test changes it."""
    asked, answer = [], [True]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_, **__: asked.append(text) or answer[0])
    return asked, answer


@pytest.fixture
def shown(host, panel, folder):
    """The panel with the result opened."""
    open_result(host, panel, folder)
    return panel


def open_result(host, panel, folder):
    panel.opener.open(folder)
    host.wait_until(lambda: not panel.opener.busy and not panel.results.showing)


def send(panel, address):
    panel.ui.archiveEdit.text = address
    assert panel.ui.sendButton.enabled, panel.ui.sendButton.toolTip
    panel.ui.sendButton.click()


def ends(host, panel):
    host.wait_until(lambda: not panel.results.sending.busy)
    return panel.ui.statusLabel.text


def test_what_is_sent_where_is_asked_and_then_it_is_at_the_archive(host, shown, folder, archive, answers):
    address, kept = archive()
    send(shown, address)
    assert not shown.ui.sendButton.enabled
    assert shown.ui.stopSendingButton.enabled
    told = ends(host, shown)
    assert sorted(kept) == sorted(pydicom.dcmread(path).SOPInstanceUID for path in (folder / "dicom").iterdir())
    where = address.replace("@", " at ")
    assert told == f"Stored at {where}: {COUNT} DICOM objects (synthetic, research only)."
    ((question),) = answers[0]
    for part in (where, f"Objects: {COUNT}, synthetic, research only", "name and ID of the patient", "not encrypted"):
        assert part in question
    assert shown.ui.sendButton.enabled
    assert not shown.ui.stopSendingButton.enabled
    assert slicer.app.userSettings().value("VirtualContrast/Archive") == address


def test_a_no_sends_nothing_and_remembers_nothing(host, shown, archive, answers):
    slicer.app.userSettings().remove("VirtualContrast/Archive")
    address, kept = archive()
    answers[1][0] = False
    send(shown, address)
    assert shown.ui.statusLabel.text == "Nothing was sent."
    assert not shown.results.sending.busy
    assert kept == []
    assert slicer.app.userSettings().value("VirtualContrast/Archive") is None


def test_an_archive_that_refuses_is_told(host, shown, archive, answers):
    address, kept = archive(title="OTHER")
    send(shown, address.replace("OTHER", "WRONG"))
    told = ends(host, shown)
    assert "WRONG at 127.0.0.1" in told
    assert "refused the connection" in told
    assert "bold" in shown.ui.statusLabel.styleSheet
    assert kept == []
    assert shown.ui.sendButton.enabled


@pytest.mark.parametrize(
    ("address", "words"),
    [("no address", "AET@HOST:PORT"), ("https://anna:geheim@host/dicom-web", "netrc")],
)
def test_what_is_no_address_is_told_before_anything_is_asked(shown, answers, address, words):
    before = slicer.app.userSettings().value("VirtualContrast/Archive")
    send(shown, address)
    assert words in shown.ui.statusLabel.text
    assert "geheim" not in shown.ui.statusLabel.text
    assert answers[0] == []
    assert slicer.app.userSettings().value("VirtualContrast/Archive") == before


def test_an_encrypted_connection_is_told_as_such(shown, answers):
    answers[1][0] = False
    send(shown, "https://pacs.example.org/dicom-web")
    assert "To: https://pacs.example.org/dicom-web" in answers[0][0]
    assert "The connection is encrypted." in answers[0][0]


def running(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_sending_stops_with_every_process_it_started(host, shown, archive, answers, tmp_path, monkeypatch):
    """Slicer's Python is a launcher that starts the real one."""
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o755)
    monkeypatch.setattr("VirtualContrastLib.slicer_app.run.engine_command.python_program", lambda: str(launcher))
    gate = threading.Event()
    address, kept = archive(gate=gate)
    send(shown, address)
    host.wait_until(lambda: kept)
    started = psutil.Process().children(recursive=True)
    assert len(started) >= 2
    shown.ui.stopSendingButton.click()
    host.wait_until(lambda: not any(map(running, started)))
    assert "Sending was stopped" in shown.ui.statusLabel.text
    assert shown.ui.sendButton.enabled
    gate.set()
    host.process_events(0.1)
    assert len(kept) == 1


def test_without_dicom_objects_or_an_address_nothing_can_be_sent(host, panel, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("dicom"))
    panel.ui.archiveEdit.text = "ARCHIVE@localhost:104"
    assert not panel.ui.sendButton.enabled
    open_result(host, panel, tmp_path / "bare")
    assert not panel.ui.sendButton.enabled
    assert "no folder with DICOM objects" in panel.ui.sendButton.toolTip
    panel.ui.removeButton.click()
    open_result(host, panel, folder)
    assert panel.ui.sendButton.enabled
    panel.ui.archiveEdit.text = " "
    assert "address" in panel.ui.sendButton.toolTip
    panel.ui.removeButton.click()
    panel.ui.archiveEdit.text = "ARCHIVE@localhost:104"
    assert not panel.ui.sendButton.enabled


def test_packages_for_sending_are_asked_for_first(shown, archive, answers):
    slicer.packaging.host.missing |= {"pynetdicom", "torch", "nnunetv2"}  # who only sends needs nothing to compute
    answers[1][0] = False
    address, kept = archive()
    send(shown, address)
    ((question),) = answers[0]
    assert "\n\npynetdicom\n\n" in question
    assert "GB" not in question
    assert shown.ui.statusLabel.text == "Nothing was installed; press Send to archive to be asked again."
    assert kept == []
