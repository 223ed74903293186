"""Downloads from a local server that breaks off, lies and redirects; nothing partial is taken for whole."""

import contextlib
import dataclasses
import hashlib
import http.server
import io
import os
import signal
import socket
import threading
import zipfile

import pytest
from tiny_models import tiny_package
from VirtualContrastLib.cli.console import Reporter, guarded
from VirtualContrastLib.events import CancelledError, Events, ExitCode, InputError, Stage, VirtualContrastError
from VirtualContrastLib.models.catalog import CatalogEntry, resolve_model
from VirtualContrastLib.models.download import Policy, download


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content` with ranges; some paths misbehave. Requests are kept in `server.log`."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        range_header = self.headers.get("Range")
        server.log.append((self.path, range_header))
        start = int(range_header.removeprefix("bytes=").rstrip("-")) if range_header else 0
        if self.path == "/missing.zip":
            self.send_error(404)
        elif self.path == "/busy.zip" and len(server.log) < 3:
            self.send_error(503)
        elif self.path == "/elsewhere.zip":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/model.zip")
            self.end_headers()
        elif self.path == "/endless.zip":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(2**16))
        elif self.path == "/odd-length.zip":
            self.send_response(200)
            self.send_header("Content-Length", "abc")
            self.end_headers()
            self.wfile.write(server.content)
        elif self.path == "/part.zip":
            self.send_response(206)
            self.end_headers()
        elif self.path == "/no-ranges.zip":
            self.send(200, server.content, 0, cut=len(server.log) == 1)
        elif self.path == "/wrong.zip":
            self.send(200, b"x" * len(server.content), 0)
        elif start >= len(server.content):
            self.send_error(416)
        else:
            breaks = self.path == "/breaks.zip" and len(server.log) < 3
            self.send(206 if start else 200, server.content, start, cut=breaks)

    def send(self, status, content, start, cut=False):
        body = content[start:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    package = tiny_package(tmp_path / "source", id="remote")
    with zipfile.ZipFile(tmp_path / "remote.zip", "w") as archive:
        for file in package.folder.iterdir():
            archive.write(file, f"remote-1/{file.name}")
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.content = (tmp_path / "remote.zip").read_bytes()
    served.log = []
    served.waits = []
    served.policy = Policy(schemes=frozenset({"http"}), timeout_s=60, sleep=served.waits.append)
    served.cache = tmp_path / "cache"
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()


def entry(server, *names, **changes):
    values = {
        "id": "remote",
        "kind": "synthesis",
        "title": "t",
        "description": "d",
        "source": "download",
        "license": "l",
        "urls": [f"http://127.0.0.1:{server.server_port}/{name}" for name in names],
        "sha256": hashlib.sha256(server.content).hexdigest(),
        "size_bytes": len(server.content),
        "manual_import": "import it by hand.",
    }
    return CatalogEntry.model_validate(values | changes)


def leftovers(server):
    return sorted(p.name for p in (server.cache / "downloads").iterdir())


class Progress:
    def __init__(self):
        self.steps = []

    def progress(self, stage, done, total):
        assert stage is Stage.MODEL
        self.steps.append((done, total))

    def warning(self, message):
        raise AssertionError(message)


def test_a_model_is_downloaded_checked_installed_and_found_by_its_id(server):
    seen = Progress()
    package = download(entry(server, "model.zip"), Events([seen]), policy=server.policy)
    assert package.folder == server.cache / "Models" / "remote"
    package.load_state()
    assert resolve_model("remote", "synthesis") == package
    assert seen.steps[-1] == (len(server.content), len(server.content))
    assert leftovers(server) == []
    assert list((server.cache / "packages").iterdir()) == []


@pytest.mark.parametrize("bad", ["elsewhere.zip", "endless.zip", "odd-length.zip", "part.zip", "wrong.zip"])
def test_a_bad_mirror_is_left_for_the_next_one(server, monkeypatch, bad):
    monkeypatch.setattr("VirtualContrastLib.models.download.MAX_PACKAGE_BYTES", 2 * len(server.content))
    package = download(entry(server, bad, "model.zip", size_bytes=None), Events(), policy=server.policy)
    package.load_state()
    assert leftovers(server) == []


@pytest.mark.parametrize("size", ["known", None])
def test_a_broken_transfer_goes_on_where_it_ended(server, size):
    changes = {} if size else {"size_bytes": None}
    download(entry(server, "breaks.zip", **changes), Events(), policy=server.policy)
    half = len(server.content) // 2
    assert server.log[0] == ("/breaks.zip", None)
    assert server.log[1] == ("/breaks.zip", f"bytes={half}-")
    assert len(server.log) == 3
    assert server.waits == [1.0, 2.0]


def test_a_server_without_ranges_starts_again_from_the_beginning(server):
    download(entry(server, "no-ranges.zip"), Events(), policy=server.policy)
    assert [path for path, _ in server.log] == ["/no-ranges.zip"] * 2


def test_a_partial_file_longer_than_the_model_is_thrown_away(server):
    sha = hashlib.sha256(server.content).hexdigest()
    (server.cache / "downloads").mkdir(parents=True)
    part = server.cache / "downloads" / f"remote-{sha[:12]}.zip.part"
    part.write_bytes(server.content + b"more")
    download(entry(server, "model.zip"), Events(), policy=server.policy)
    assert [r for _, r in server.log] == [f"bytes={len(server.content) + 4}-", None]


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server):
    download(entry(server, "busy.zip"), Events(), policy=server.policy)
    assert len(server.log) == 3
    server.log.clear()
    with pytest.raises(VirtualContrastError, match="HTTP 404"):
        download(entry(server, "missing.zip"), Events(), policy=server.policy)
    assert len(server.log) == 1


def test_the_next_mirror_serves_when_one_is_missing_and_one_sends_other_bytes(server):
    mirrors = entry(server, "missing.zip", "wrong.zip", "model.zip")
    download(mirrors, Events(), policy=server.policy).load_state()
    assert [path for path, _ in server.log] == ["/missing.zip", "/wrong.zip", "/model.zip"]


def test_bytes_with_another_hash_are_never_installed(server):
    with pytest.raises(VirtualContrastError, match="SHA-256 differs"):
        download(entry(server, "wrong.zip"), Events(), policy=server.policy)
    assert leftovers(server) == []
    assert not (server.cache / "Models").exists()


def test_a_dead_server_is_given_up_after_the_attempts_of_the_policy(server):
    dead = entry(server, urls=["http://127.0.0.1:9/model.zip"])
    with pytest.raises(VirtualContrastError, match=r"127\.0\.0\.1:9"):
        download(dead, Events(), policy=server.policy)
    assert server.waits == [1.0, 2.0, 4.0]


def test_an_entry_without_hash_is_not_downloaded_and_the_import_is_named(server):
    with pytest.raises(InputError, match=r"no SHA-256.*import it by hand"):
        download(entry(server, "model.zip", sha256=None), Events(), policy=server.policy)
    assert server.log == []


@pytest.mark.parametrize("scheme", ["http", "file", "ftp"])
def test_only_https_is_allowed_by_default(server, scheme):
    with pytest.raises(InputError, match="only https"):
        download(entry(server, urls=[f"{scheme}://127.0.0.1/model.zip"]), Events())


def test_a_redirect_to_another_scheme_is_refused(server):
    with pytest.raises(InputError, match="ftp://127"):
        download(entry(server, "elsewhere.zip"), Events(), policy=server.policy)


def test_cancel_keeps_the_part_for_next_time_and_installs_nothing(server):
    events = Events()

    class Stop(Progress):
        def progress(self, stage, done, total):
            events.cancel()

    events.listeners.append(Stop())
    server.content += b"\0" * 2**20
    with pytest.raises(CancelledError):
        download(entry(server, "model.zip"), events, policy=server.policy)
    assert [name[-5:] for name in leftovers(server)] == [".part"]
    assert not (server.cache / "Models").exists()


def test_a_stop_is_heard_while_a_server_says_nothing(server):
    def action(reporter, events):
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        download(entry(server, urls=[f"http://127.0.0.1:{port}/model.zip"]), events, policy=patient)
        return ExitCode.DONE

    patient = dataclasses.replace(server.policy, timeout_s=3600)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert guarded(action, reporter=Reporter(io.StringIO(), io.StringIO())) == ExitCode.CANCELLED
    assert not (server.cache / "Models" / "remote").exists()


def test_a_package_of_another_id_is_not_installed(server):
    with pytest.raises(InputError, match="holds the model 'remote'"):
        download(entry(server, "model.zip", id="other"), Events(), policy=server.policy)
    assert not (server.cache / "Models" / "other").exists()


def test_a_disk_without_room_is_told_before_the_first_byte(server):
    with pytest.raises(InputError, match="MiB free"):
        download(entry(server, "model.zip", size_bytes=2**60), Events(), policy=server.policy)
    assert server.log == []


def test_a_zip_that_was_fetched_before_is_not_fetched_again(server):
    fetched = entry(server, "model.zip")
    target = server.cache / "downloads" / f"remote-{fetched.sha256[:12]}.zip"
    target.parent.mkdir(parents=True)
    target.write_bytes(server.content)
    download(fetched, Events(), policy=server.policy).load_state()
    assert server.log == []
