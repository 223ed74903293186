"""Files and folders that are whole or not there."""

import hashlib
import os
import random
import time

import pytest
from VirtualContrastLib.files import atomic_file, atomic_folder, sha256_of, write_json, write_text


class StopError(Exception):
    pass


def test_a_file_takes_its_place_only_where_the_block_ends_well(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(StopError), atomic_file(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        raise StopError
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a.txt", "old")]
    with atomic_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a.txt", "new")]


def test_what_is_being_written_has_no_name_that_a_reader_looks_for(tmp_path):
    with atomic_file(tmp_path / "epoch_1.png") as partial:
        partial.touch()
        assert partial.parent == tmp_path
        assert list(tmp_path.glob("*.png")) == []
    with atomic_file(tmp_path / "b.nrrd", suffix=".nrrd") as partial:
        partial.touch()
        assert partial.suffix == ".nrrd"


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "deep" / "case"
    with atomic_folder(folder) as partial:
        (partial / "old").touch()
    with pytest.raises(StopError), atomic_folder(folder) as partial:
        (partial / "half").touch()
        raise StopError
    assert [entry.name for entry in folder.iterdir()] == ["old"]
    with atomic_folder(folder) as partial:
        (partial / "new").touch()
    assert [entry.name for entry in folder.iterdir()] == ["new"]
    assert [entry.name for entry in folder.parent.iterdir()] == ["case"]


def test_what_a_killed_process_left_is_removed_a_day_later_and_nothing_else(tmp_path):
    old, fresh, foreign = (tmp_path / f"a.txt.partial-{end}" for end in ("0123abcd", "01234567", "of me"))
    for entry in (old, fresh, foreign):
        entry.touch()
    for entry in (old, foreign):
        os.utime(entry, (time.time() - 2 * 86400,) * 2)
    write_text(tmp_path / "a.txt", "x\n")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.txt", fresh.name, foreign.name}
    assert (tmp_path / "a.txt").read_bytes() == b"x\n"


def test_json_without_a_number_for_it_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_sha256_covers_all_files_in_order(tmp_path):
    for name, content in (("a", b"ab"), ("b", b"c")):
        (tmp_path / name).write_bytes(content)
    # FIPS 180-2, appendix B.1: the digest of "abc"
    assert sha256_of(tmp_path / "a", tmp_path / "b") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_sha256_of_large_files_is_that_of_their_bytes_one_after_the_other(tmp_path):
    parts = [random.Random(n).randbytes(1_500_000 + n) for n in range(2)]
    for n, part in enumerate(parts):
        (tmp_path / str(n)).write_bytes(part)
    assert sha256_of(tmp_path / "0", tmp_path / "1") == hashlib.sha256(parts[0] + parts[1]).hexdigest()
