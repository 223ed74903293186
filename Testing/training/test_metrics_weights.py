"""Weights of feature networks: by path, from a cache, or downloaded and checked; else a clear sentence."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics import weights
from VirtualContrastTrainingLib.metrics.lpips import load_lpips
from VirtualContrastTrainingLib.metrics.weights import KnownWeights, cached, feature_weights, fetched

CONTENT = b"not really a network"
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Torch's folder and our own, both empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(weights, "cache_dir", lambda: tmp_path / "own")
    return tmp_path


@pytest.fixture
def server():
    """Serves CONTENT under every name but `missing.pth`; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if self.path.endswith("missing.pth") else 200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def known(address, name=f"net-{DIGITS}.pth", digits=DIGITS):
    return KnownWeights(f"{address}/{name}", digits, "a test network")


def test_a_download_is_kept_and_not_fetched_again(server, caches):
    path = fetched(known(server))
    assert path.read_bytes() == CONTENT and path.is_relative_to(caches / "own")
    assert fetched(known("http://127.0.0.1:1")) == path == cached(known(server))


def test_torchs_own_folder_is_looked_into_first(caches):
    path = caches / "torch" / "hub" / "checkpoints" / f"net-{DIGITS}.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetched(known("http://127.0.0.1:1")) == path


def test_a_file_with_another_checksum_is_thrown_away(server, caches):
    with pytest.raises(InputError, match="does not have the checksum 12345678"):
        fetched(known(server, digits="12345678"))
    assert not [path for path in (caches / "own").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["missing.pth", "unreachable"])
def test_a_failed_download_says_where_to_put_the_file_by_hand(server, caches, name):
    wanted = known(server, name) if name == "missing.pth" else known("http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"cannot be downloaded .* put the file at .*own.*weights") as said:
        fetched(wanted)
    assert said.value.exit_code == 2


def test_networks_without_a_published_checksum_are_not_downloaded():
    with pytest.raises(InputError, match="no download with a published checksum for the feature network 'radimagenet'"):
        feature_weights("radimagenet", Path("download"))
    assert feature_weights("radimagenet", Path("InceptionV3.pt")) == Path("InceptionV3.pt")


def test_known_files_are_named_after_their_checksum():
    for found in (weights.ALEXNET, *weights.FEATURE_NETWORKS.values()):
        assert found.sha256_start in found.name and found.url.startswith("https://")


def test_missing_lpips_weights_are_said_in_a_sentence(caches, tmp_path):
    with pytest.raises(InputError, match="--alexnet download fetches it"):
        load_lpips()
    with pytest.raises(InputError, match=r"no weight file .*nowhere\.pth"):
        load_lpips(tmp_path / "nowhere.pth")
