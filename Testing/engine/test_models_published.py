"""A checkpoint from a public record: checked by the record's own metadata, pinned at first use, resumed, converted."""

import hashlib
import http.server
import io
import json
import threading
import zipfile

import pytest
import torch
from VirtualContrastLib.events import Events, InputError, VirtualContrastError
from VirtualContrastLib.models.catalog import CatalogEntry, load_catalog, resolve_model
from VirtualContrastLib.models.download import Policy
from VirtualContrastLib.models.published_record import download_published
from VirtualContrastLib.networks.pix2pixhd import build_generator

NAME = "00023.zip"
CONFIG = {"netG": "global", "input_nc": 3, "output_nc": 3, "ngf": 4, "n_downsample_global": 2, "n_blocks_global": 1}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the record's server does: JSON at /api/records/N, the file with ranges below it."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        served = self.server
        served.log.append((self.path, self.headers.get("Range")))
        if self.path == "/api/records/1":
            links = {"self": f"http://127.0.0.1:{served.server_port}/api/records/1/files/{NAME}/content"}
            listed = {"key": NAME, "size": len(served.content), "checksum": f"md5:{served.md5}", "links": links}
            self.answer(200, json.dumps({"id": 1, "files": [{"key": "x"}, listed]}).encode())
        elif self.path.endswith("/content"):
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            body = served.content[start:]
            headers = {"Content-Range": f"bytes {start}-{len(served.content) - 1}/{len(served.content)}"}
            cut = served.breaks.pop() if served.breaks else None
            self.answer(206 if start else 200, body, headers if start else {}, cut)
        else:
            self.answer(404, b"{}")

    def answer(self, status, body, headers=None, cut=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.close()


def published_zip(seed=0):
    """What the record holds, at a small width: the state dict among code that must not be run."""
    torch.manual_seed(seed)
    weights, packed = io.BytesIO(), io.BytesIO()
    torch.save(build_generator(CONFIG).state_dict(), weights)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("00023/30_net_G.pth", weights.getvalue())
        archive.writestr("00023/__init__.py", "raise SystemExit('foreign code was run')")
        archive.writestr("00023/requirements.txt", "torch")
    return packed.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.log, served.breaks = [], []
    served.cache = tmp_path / "cache"
    offer(served, published_zip())
    served.policy = Policy(schemes=frozenset({"http"}), timeout_s=60, sleep=lambda seconds: None)
    threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def offer(server, content):
    server.content = content
    server.md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()


def entry(server, *records):
    api = [f"http://127.0.0.1:{server.server_port}/api/records/{n}" for n in records or (1,)]
    values = load_catalog().find("medigan-00023-pix2pixhd").model_dump()
    return CatalogEntry.model_validate(values | {"record": values["record"] | {"api": api, "files": [NAME] * len(api)}})


def fetch(server, *records):
    events = Events()
    return download_published(entry(server, *records), events, policy=server.policy), events.warnings


def test_the_published_model_is_fetched_checked_converted_and_pinned(server):
    package, told = fetch(server)
    sha = hashlib.sha256(server.content).hexdigest()
    assert any(sha in warning and "pinned" in warning for warning in told)
    assert json.loads((server.cache / "pinned.json").read_text())["medigan-00023-pix2pixhd"]["sha256"] == sha
    assert resolve_model("medigan-00023-pix2pixhd", "synthesis") == package
    state = build_generator(CONFIG).state_dict()
    assert {k: v.shape for k, v in package.load_state().items()} == {k: v.shape for k, v in state.items()}
    in_plane = package.card.in_plane
    assert (in_plane.policy, in_plane.spacing_mm, in_plane.size) == ("square", 1.0, 512)
    assert package.card.intensity.recipe == "minmax_8bit" and package.card.outputs.channel_phases == [1, 1, 1]


def test_a_broken_transfer_is_resumed_where_it_ended(server):
    half = len(server.content) // 2
    server.breaks.append(half)
    fetch(server)
    assert [r for path, r in server.log if path.endswith("/content")] == [None, f"bytes={half}-"]


def test_the_second_record_serves_where_the_first_is_gone(server):
    package, _ = fetch(server, 9, 1)
    assert package.folder.is_dir()


def test_a_file_that_is_not_the_records_is_not_installed(server):
    server.content = server.content[:-1] + b"?"
    with pytest.raises(VirtualContrastError, match="MD5 differs"):
        fetch(server)
    assert not (server.cache / "Models").exists() and not (server.cache / "pinned.json").exists()


def test_a_record_that_changed_after_the_first_download_is_refused(server):
    fetch(server)
    offer(server, published_zip(seed=1))
    with pytest.raises(InputError, match="now offers another file"):
        fetch(server)


def test_no_record_at_all_names_the_way_by_hand(server):
    with pytest.raises(VirtualContrastError, match=r"models import 00023\.zip"):
        fetch(server, 9)
