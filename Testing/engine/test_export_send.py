"""DICOM objects go to a receiver on loopback and come out of it as they went in."""

import pydicom
import pytest
from export_samples import breast_study, run_identity
from VirtualContrastLib.events import InputError, VirtualContrastError
from VirtualContrastLib.export.dicom.seg_and_sr import write_segmentation
from VirtualContrastLib.export.dicom.send import Destination, send
from VirtualContrastLib.export.dicom.series import write_dicom_series

pynetdicom = pytest.importorskip("pynetdicom", reason="pynetdicom (extra dicom-send) is not installed")
MR, SEG = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("dicom")
    _, phases, _, labels, _ = breast_study(size=(32, 20, 4), spacing=(10.0, 10.0, 10.0))
    series = write_dicom_series(phases[:1], place, run_identity())
    write_segmentation(place / "seg.dcm", labels, series[1], run_identity())
    return [*series[1], place / "seg.dcm"]


@pytest.fixture
def receiver():
    """Starts receivers of some kinds of objects; each gives its port and keeps what it was sent."""
    servers = []

    def start(*kinds, status=0x0000):
        kept = []

        def store(event):
            kept.append(event.dataset)
            return status

        entity = pynetdicom.AE(ae_title="ARCHIVE")
        for kind in kinds:
            entity.add_supported_context(kind)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, store)])
        servers.append(server)
        return server.socket.getsockname()[1], kept

    yield start
    for server in servers:
        server.shutdown()


def test_what_arrives_is_what_was_sent_pixel_for_pixel_and_labeled_synthetic(files, receiver):
    port, kept = receiver(MR, SEG)
    send(files, Destination("ARCHIVE", "127.0.0.1", port))
    assert len(kept) == len(files)
    for path, got in zip(files, kept, strict=True):
        sent = pydicom.dcmread(path)
        assert (got.SOPInstanceUID, got.PixelData) == (sent.SOPInstanceUID, sent.PixelData)
        assert got[0x0008001C].value == "YES"


def test_failures_are_told_in_one_sentence(files, receiver):
    port, _ = receiver(MR)
    with pytest.raises(VirtualContrastError, match=r"does not take seg\.dcm"):
        send(files, Destination("ARCHIVE", "127.0.0.1", port))
    port, _ = receiver(MR, SEG, status=0xA700)
    with pytest.raises(VirtualContrastError, match=r"did not store .* \(status A700h\)"):
        send(files, Destination("ARCHIVE", "127.0.0.1", port))
    with pytest.raises(InputError, match="does not answer"):
        send(files, Destination("ARCHIVE", "127.0.0.1", 1))


@pytest.mark.parametrize("text", ["ARCHIVE", "A@host", "@host:1", "A@host:99999", "A@host:x", ""])
def test_a_destination_has_title_host_and_port(text):
    with pytest.raises(InputError, match="AET@HOST:PORT"):
        Destination.parse(text)
    assert Destination.parse("PACS@10.0.0.1:104") == Destination("PACS", "10.0.0.1", 104)
