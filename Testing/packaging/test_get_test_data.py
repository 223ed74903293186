"""The script that gets real test images: what it fetches, keeps and refuses."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "get_test_data.py"


@pytest.fixture
def mirror(tmp_path):
    """A folder that stands for the server, and the list of its two files."""
    root = tmp_path / "server" / "owner" / "name" / "c0ffee"
    root.mkdir(parents=True)
    files = {}
    for name in ("a b.bin", "c.bin"):
        (root / name).write_bytes(name.encode() * 100)
        files[f"set/{name}"] = [name, hashlib.sha256(name.encode() * 100).hexdigest()]
    source = {"repository": "owner/name", "commit": "c0ffee", "license": "MIT", "files": files}
    (tmp_path / "list.json").write_text(json.dumps([source]))
    return root


def run(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "data"), "--list", str(tmp_path / "list.json")]
    command += ["--mirror", (tmp_path / "server").as_uri()]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_files_are_fetched_and_kept(mirror, tmp_path):
    assert run(tmp_path).returncode == 0
    assert (tmp_path / "data" / "set" / "a b.bin").read_bytes() == b"a b.bin" * 100
    (mirror / "c.bin").unlink()
    assert run(tmp_path).returncode == 0, "what is there and right is not fetched again"


def test_a_changed_file_is_refused_and_leaves_nothing(mirror, tmp_path):
    (mirror / "c.bin").write_bytes(b"something else")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "another SHA-256" in done.stdout
    assert [path.name for path in (tmp_path / "data" / "set").iterdir()] == ["a b.bin"]


def test_every_entry_of_the_list_names_repository_commit_license_and_hash():
    sources = json.loads((SCRIPT.parent / "test_data.json").read_text(encoding="utf-8"))
    assert len(sources) >= 8
    for source in sources:
        assert len(source["commit"]) == 40
        assert source["license"]
        assert all(len(sha256) == 64 and place for place, sha256 in source["files"].values())
