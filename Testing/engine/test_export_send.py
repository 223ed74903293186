"""A result's DICOM objects go to archives on loopback and come back as they went in.

Orthanc and storescp of Debian's packages, and for what those do not do a receiver of pynetdicom.
"""

import http.server
import ssl
import threading

import numpy as np
import pydicom
import pytest
import tiny_models
from dicom_result import dicom_result
from dicom_tools import Orthanc, certificate, free_port, listens, running, tool
from dicomweb_client.api import DICOMwebClient
from mammogram_samples import write_scan
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as Get
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import CancelledError, Events, InputError, VirtualContrastError
from VirtualContrastLib.export.dicom.c_store import Destination
from VirtualContrastLib.export.dicom.dicomweb import web_address
from VirtualContrastLib.export.dicom.send import objects_of, send
from VirtualContrastLib.run.pipeline import RunSettings, run

MR, MG, SEG, SR = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "1.2", "66.4", "88.34"))
PATIENT = "4711"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A result folder of a DICOM scan, with DICOM objects."""
    place = tmp_path_factory.mktemp("result")
    return dicom_result(place, PatientName="Müller^Änne", PatientID=PATIENT, SpecificCharacterSet="ISO_IR 192")


@pytest.fixture(scope="module")
def files(result):
    return objects_of(result)


@pytest.fixture(scope="module")
def mammogram(tmp_path_factory):
    """A result folder of a DICOM mammogram, with its recombined image as a DICOM object."""
    place = tmp_path_factory.mktemp("mammogram")
    model = tiny_models.tiny_mammogram_model(place / "model").folder
    scan = write_scan(place / "scan", PatientID=PATIENT)
    return run(scan, place / "result", RunSettings(model=str(model), device="cpu", dicom=True)).folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Orthanc(tmp_path_factory.mktemp("orthanc")).running() as archive:
        yield archive


@pytest.fixture
def orthanc(server):
    """An archive that holds nothing."""
    yield server
    server.clear()


def assert_same_and_labeled_synthetic(sent, fetched):
    """What came back has every element that was sent; what an archive adds of its own does no harm."""
    back = {dataset.SOPInstanceUID: dataset for dataset in fetched}
    assert len(back) == len(sent)
    for path in sent:
        ours = pydicom.dcmread(path)
        theirs = back[ours.SOPInstanceUID]
        assert {e.tag: e for e in ours} == {tag: theirs.get(tag) for tag in ours.keys()}  # noqa: SIM118
        assert theirs[0x0008001C].value == "YES"
        assert theirs.SeriesDescription.startswith("SYNTHETIC")
        assert (theirs.SOPClassUID == SR) or np.array_equal(theirs.pixel_array, ours.pixel_array)


def test_orthanc_stores_finds_and_gives_back_series_segmentation_and_report(orthanc, result, files, capsys):
    assert main(["send", str(result), "--to", orthanc.address]) == 0
    assert f"{len(files)} objects (synthetic, research only) stored at ORTHANC" in capsys.readouterr().out
    assert_same_and_labeled_synthetic(files, fetched_by_dicom(orthanc, files))


def test_a_mammogram_goes_to_archives_and_comes_back(orthanc, mammogram, tmp_path, capsys):
    files = objects_of(mammogram)
    assert [pydicom.dcmread(path).SOPClassUID for path in files] == [MG]
    assert main(["send", str(mammogram), "--to", orthanc.address]) == 0
    assert "1 object (synthetic, research only) stored at ORTHANC" in capsys.readouterr().out
    assert_same_and_labeled_synthetic(files, fetched_by_dicom(orthanc, files))
    orthanc.clear()
    send(files, orthanc.web)
    client = DICOMwebClient(orthanc.web)
    (study,) = client.search_for_studies(search_filters={"PatientID": PATIENT, "ModalitiesInStudy": "MG"})
    assert_same_and_labeled_synthetic(files, client.retrieve_study(study["0020000D"]["Value"][0]))
    assert_same_and_labeled_synthetic(files, stored_by_storescp(files, tmp_path))


def stored_by_storescp(files, place):
    """What storescp keeps of files that are sent to it."""
    port, kept = free_port(), place / "kept"
    kept.mkdir()
    with running([tool("storescp"), "-aet", "STORE", "-od", str(kept), "+xa", str(port)], lambda: listens(port)):
        send(files, f"STORE@127.0.0.1:{port}")
    return [pydicom.dcmread(path, force=True) for path in kept.iterdir()]


def fetched_by_dicom(orthanc, files):
    """What a workstation gets: the study found by the patient's id (C-FIND), its objects asked for (C-GET)."""
    kept = []

    def keep(event):
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        kept.append(dataset)
        return 0

    entity = AE(ae_title="WORKSTATION")
    kinds = {pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID for path in files}
    contexts = [build_context(kind) for kind in (Find, Get, *sorted(kinds))]
    roles = [build_role(kind, scp_role=True) for kind in sorted(kinds)]
    link = entity.associate(
        "127.0.0.1",
        orthanc.port,
        contexts=contexts,
        ae_title=orthanc.title,
        ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    query = pydicom.Dataset()
    query.QueryRetrieveLevel, query.PatientID, query.StudyInstanceUID = "STUDY", PATIENT, ""
    (study,) = [found for status, found in link.send_c_find(query, Find) if status.Status in (0xFF00, 0xFF01)]
    wanted = pydicom.Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", study.StudyInstanceUID
    list(link.send_c_get(wanted, Get))
    link.release()
    return kept


def test_orthanc_takes_them_by_dicomweb_too(orthanc, result, files, capsys):
    assert main(["send", str(result), "--to", orthanc.web]) == 0
    assert f"stored at {orthanc.web}" in capsys.readouterr().out
    client = DICOMwebClient(orthanc.web)
    (study,) = client.search_for_studies(search_filters={"PatientID": PATIENT})
    assert_same_and_labeled_synthetic(files, client.retrieve_study(study["0020000D"]["Value"][0]))


def test_storescp_keeps_them_in_each_transfer_syntax(files, tmp_path):
    """The files of one kind come in two transfer syntaxes, of which one connection must offer both."""
    mixed = list(files)
    for number in range(1, len(files), 2):
        dataset = pydicom.dcmread(files[number])
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        mixed[number] = tmp_path / f"{number}.dcm"
        pydicom.dcmwrite(mixed[number], dataset, implicit_vr=True, little_endian=True)
    assert_same_and_labeled_synthetic(mixed, stored_by_storescp(mixed, tmp_path))


@pytest.fixture
def receiver():
    """Starts receivers of some kinds of objects; each gives its port and keeps what it was sent."""
    servers = []

    def start(*kinds, status=0x0000, called=True, context=None):
        kept = []

        def store(event):
            kept.append(event.dataset)
            return status

        entity = AE(ae_title="ARCHIVE")
        entity.require_called_aet = called
        for kind in kinds:
            entity.add_supported_context(kind)
        handlers = [(evt.EVT_C_STORE, store)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=context)
        servers.append(server)
        return server.socket.getsockname()[1], kept

    yield start
    for server in servers:
        server.shutdown()


def test_failures_are_told_in_one_sentence(files, receiver):
    port, _ = receiver(MR)
    with pytest.raises(VirtualContrastError, match=r"does not take lesions_seg\.dcm.*; 0 of 20 objects are stored"):
        send(files, f"ARCHIVE@127.0.0.1:{port}")
    with pytest.raises(InputError, match=r"OTHER at .* refused the connection"):
        send(files, f"OTHER@127.0.0.1:{port}")
    port, _ = receiver(MR, SEG, SR, status=0xA700)
    with pytest.raises(VirtualContrastError, match=r"did not store .* \(status A700h\)"):
        send(files, f"ARCHIVE@127.0.0.1:{port}")
    with pytest.raises(InputError, match="does not answer"):
        send(files, "ARCHIVE@127.0.0.1:1")
    with pytest.raises(InputError, match=r"no host no-such-host\.invalid"):
        send(files, "ARCHIVE@no-such-host.invalid:104")


def test_failures_of_dicomweb_are_told_in_one_sentence(orthanc, files, tmp_path):
    with pytest.raises(InputError, match=r"no DICOMweb service at .*/elsewhere \(HTTP 404\); check the path"):
        send(files, f"{orthanc.rest}/elsewhere")
    with pytest.raises(InputError, match="does not answer"):
        send(files, "http://127.0.0.1:1/dicom-web")
    damaged = tmp_path / "damaged.dcm"
    dataset = pydicom.dcmread(files[-1])
    del dataset.StudyInstanceUID
    dataset.save_as(damaged)
    with pytest.raises(VirtualContrastError, match=r"did not store damaged\.dcm.*; 0 of 1 objects are stored"):
        send([damaged], orthanc.web)


@pytest.mark.parametrize(
    ("status", "words"), [(401, r"refuses \(HTTP 401\).*netrc"), (503, r"did not store .*HTTP 503")]
)
def test_a_web_server_that_refuses_is_told(files, status, words):
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(VirtualContrastError, match=words):
            send(files, f"http://127.0.0.1:{server.server_port}/dicom-web")
        server.shutdown()


def test_the_certificate_of_a_web_server_is_checked(files, tmp_path):
    """Answered by TLS alone: a server that has shown a trusted certificate is asked, and has no such path."""
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}/dicom-web"
        with pytest.raises(InputError, match="is not trusted"):
            send(files, url)
        with pytest.raises(VirtualContrastError, match="HTTP 501"):
            send(files, url, ca_file=cert)
        server.shutdown()


def test_with_tls_the_certificate_is_checked(files, receiver, tmp_path):
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    port, kept = receiver(MR, SEG, SR, context=context)
    with pytest.raises(InputError, match=r"does not answer.*certificate is trusted"):
        send(files, f"ARCHIVE@127.0.0.1:{port}", tls=True)
    assert kept == []
    send(files, f"ARCHIVE@127.0.0.1:{port}", ca_file=cert)
    assert len(kept) == len(files)
    with pytest.raises(InputError, match=r"key\.pem holds no certificates"):
        send(files, f"ARCHIVE@127.0.0.1:{port}", ca_file=key)


def test_a_stop_ends_between_two_objects(files, receiver):
    port, kept = receiver(MR, SEG, SR)
    events = Events()

    class Impatient:
        def progress(self, stage, done, total):
            if done == 2:
                events.cancel()

    events.listeners.append(Impatient())
    with pytest.raises(CancelledError):
        send(files, f"ARCHIVE@127.0.0.1:{port}", events=events)
    assert len(kept) == 3


@pytest.mark.parametrize("text", ["ARCHIVE", "A@host", "@host:1", "A@host:99999", "A@host:x", "", "A\\B@host:1"])
def test_a_destination_has_title_host_and_port(text):
    with pytest.raises(InputError, match="AET@HOST:PORT"):
        Destination.parse(text)
    assert Destination.parse("PACS@10.0.0.1:104") == Destination("PACS", "10.0.0.1", 104)


@pytest.mark.parametrize("text", ["ftp://host/x", "https://", "http://h:x/", "https://host/x?y=1"])
def test_a_web_address_is_http_without_a_query(text, files):
    with pytest.raises(InputError, match="is not the URL of a DICOMweb service"):
        send(files, text)


def test_a_password_in_a_web_address_is_refused_and_not_repeated():
    with pytest.raises(InputError) as caught:
        web_address("https://anna:geheim@host/dicom-web")
    assert "geheim" not in str(caught.value) and "netrc" in str(caught.value)
