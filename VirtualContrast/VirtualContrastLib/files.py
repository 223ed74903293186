"""Files and folders that are whole or not there, and the SHA-256 of files: the only place for either.

What is being written has a name of its own beside the place, `<name>.partial-<chance>`, and takes the place by one
rename. What a killed process left there is removed by the next one that writes there, from a day later on. Result
folders, which several runs may want at once, have `results.staging`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .events import InputError

_CHUNK = 1 << 20
_LEFT_BEHIND_S = 24 * 3600.0


def check_name(path: Path | str) -> None:
    """Raise InputError where a path is no text: the imaging toolkit ends the whole process over it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise InputError(f"The name {shown} is not valid UTF-8; rename the file or folder.") from error


def expanded(path: Path | str) -> Path:
    """The path with a leading `~` or `~user` written out; raises InputError for no such user and for an empty string.

    An empty string is a shell variable that was not set; Path would take it for the working folder.
    """
    if not str(path).strip():
        raise InputError("The path is empty; give a file or a folder.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path} names a user that this machine does not have; write the path out.") from error


def check_is_file(path: Path) -> None:
    """Raise InputError where there is no file at a path."""
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file; check the path.")


def sha256_of(*paths: Path) -> str:
    """SHA-256 over the bytes of all files in the order given, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path, *, suffix: str = "", flush: bool = True) -> Iterator[Path]:
    """Give a path to write to, in the folder of `path`; where the block ends well it takes the place of `path`.

    The content is flushed to the disk first, so that also after a power failure `path` holds its old content or all of
    the new one. Where the block raises, `path` is as it was.

    Args:
        path: its folder must exist.
        suffix: end of the name to write to, for writers that infer the format from it.
        flush: False for what is written many times a minute; the promise then holds only while the system runs.

    Yields:
        The path to write to.
    """
    _sweep(path)
    partial = _beside(path)
    partial = partial.with_name(partial.name + suffix)
    try:
        yield partial
        if flush:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, beside `folder`; where the block ends well it takes the place of `folder`.

    A folder that is there is replaced as a whole, by two renames; whether it may be is for the caller to know. Where
    the block raises, `folder` is as it was. Parents are made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    partial = _beside(folder)
    partial.mkdir()
    try:
        yield partial
        replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_folder(staging: Path, folder: Path) -> None:
    """Put the folder `staging` in the place of `folder` on the same file system; an old one is removed afterwards."""
    old = _beside(folder)
    had_old = folder.exists()
    if had_old:
        folder.rename(old)
    try:
        staging.rename(folder)
    except OSError:
        if had_old:
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are, so that `path` holds its old content or all of the new one."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, data: object) -> None:
    """Write JSON so that `path` holds its old content or all of the new one; NaN is refused with ValueError."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def as_text(cell: str) -> str:
    """A cell of a CSV that spreadsheets take for text: one that begins as a formula gets an apostrophe before it."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of `folder`, or of its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _beside(path: Path) -> Path:
    """A name that nobody has, in the same folder."""
    return path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")


def _sweep(path: Path) -> None:
    """Remove what writers of `path` left beside it more than a day ago."""
    left = re.compile(re.escape(path.name) + r"\.partial-[0-9a-f]{8}(\..*)?")
    for entry in path.parent.glob("*.partial-*"):
        with contextlib.suppress(OSError):
            if left.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > _LEFT_BEHIND_S:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
