"""Folders beside a result that belong to a run: made, distinguished from a user's own folders, and removed.

`<out>.partial-<run id>` is where a run writes, `<out>.old-<run id>` the result that it replaces. Both hold a note of
their owner, which the owner keeps locked: the system lets go of the lock when the process ends, however it ends.
A folder without such a note is somebody else's, by whatever name, and is never touched.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..events import InputError

OWNER = ".owner.json"
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
_LOCKED_BYTE = 1 << 20  # far behind the text: Windows lets nobody read what is locked


def new_run_id() -> str:
    """Time and chance, as in the names of folders and in the manifest."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class OwnerNote:
    """The note of a living owner in `folder`; locked until `release` or the end of the process."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._file: IO[str] = (folder / OWNER).open("w", encoding="utf-8")
        _lock(self._file)
        note = {"program": "VirtualContrast", "run_id": run_id, "pid": os.getpid(), "since_ns": time.time_ns()}
        json.dump(note, self._file)
        self._file.flush()

    def release(self) -> None:
        """Let go of the lock; the note stays until its folder is removed."""
        self._file.close()


class Staging:
    """The folder that one run writes into, beside the result folder `out` to be.

    It has the permissions of an empty folder that waits at `out`.

    Raises:
        InputError: another run that lives is writing a result for the same place.
        OSError: it cannot be made.
    """

    def __init__(self, out: Path) -> None:
        self.run_id = new_run_id()
        self.folder = out.with_name(f"{out.name}.partial-{self.run_id}")
        self.folder.mkdir(mode=stat.S_IMODE(out.stat().st_mode) if out.is_dir() else 0o777)
        self._note: OwnerNote | None = None
        try:
            self._note = OwnerNote(self.folder, self.run_id)
            _refuse_second_run(out, self.folder)
        except (OSError, InputError):
            self.remove()
            raise

    def place(self, out: Path, *, replace: bool) -> None:
        """Rename the folder to `out`, where nothing or an empty folder is; with `replace` possibly an existing result.

        Raises:
            OSError: something else is there, or the folder cannot be renamed; what is there stays.
        """
        if replace and out.is_dir() and any(out.iterdir()):
            self._swap(out)
        else:
            self._rename(out)
        (out / OWNER).unlink(missing_ok=True)
        self._release()

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        self._release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _swap(self, out: Path) -> None:
        """Set the result at `out` aside, marked as this run's, put the new one there, and remove the old one."""
        old = out.with_name(f"{out.name}.old-{self.run_id}")
        note = OwnerNote(out, self.run_id)
        try:
            if sys.platform == "win32":  # Windows renames no folder with an open file in it
                note.release()
            out.rename(old)
            try:
                self._rename(out)
            except OSError:
                old.rename(out)
                raise
        except OSError:
            (out / OWNER).unlink(missing_ok=True)
            raise
        finally:
            note.release()
        shutil.rmtree(old, ignore_errors=True)

    def _rename(self, out: Path) -> None:
        if sys.platform == "win32":  # nor one to the name of an empty folder
            self._release()
            with contextlib.suppress(FileNotFoundError):
                out.rmdir()
        self.folder.rename(out)

    def _release(self) -> None:
        if self._note is not None:
            self._note.release()


def recover(out: Path) -> None:
    """Clear what a run that ended early left beside `out`: its staging folder, or the result it was replacing."""
    for old in _beside(out, "old"):
        if not _abandoned(old):
            continue
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(out)
            (out / OWNER).unlink(missing_ok=True)
    for partial in _beside(out, "partial"):
        if _abandoned(partial):
            shutil.rmtree(partial, ignore_errors=True)


def remove_partial(out: Path, pid: int) -> None:
    """Remove the staging folder of `out` that process `pid` was writing, which has ended or is about to.

    The owner's note goes last: a file that comes in meanwhile stays with it, for whoever clears up after the process.
    """
    for partial in _beside(out, "partial"):
        if _note(partial).get("pid") == pid:
            for path in partial.iterdir():
                if path.name != OWNER:
                    _remove(path)
            if [path.name for path in partial.iterdir()] == [OWNER]:
                shutil.rmtree(partial, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _refuse_second_run(out: Path, own: Path) -> None:
    """Raise InputError where a run that began earlier is writing a result for `out`.

    Of two that begin in the same moment neither may see the other: then the later one is refused at its end.
    """
    since = _note(own)["since_ns"]
    for partial in _beside(out, "partial"):
        if partial != own and not _abandoned(partial) and _note(partial).get("since_ns", since) <= since:
            raise InputError(f"Another run is making the result {out}; wait for its end or name another folder.")


def _beside(out: Path, kind: str) -> Iterator[Path]:
    """The folders `<out>.<kind>-<run id>` that hold the note of that very run."""
    start = f"{out.name}.{kind}-"
    if not out.parent.is_dir():
        return
    for path in sorted(out.parent.iterdir()):
        run_id = path.name.removeprefix(start)
        ours = path.name.startswith(start) and _RUN_ID.fullmatch(run_id) and path.is_dir() and not path.is_symlink()
        if ours and _note(path).get("run_id") == run_id:
            yield path


def _note(folder: Path) -> dict[str, Any]:
    """What the owner's note says; {} where there is none."""
    try:
        note = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and note.get("program") == "VirtualContrast" else {}


def _abandoned(folder: Path) -> bool:
    """True when the owner has ended; False also where the file system knows no locks."""
    try:
        with (folder / OWNER).open("r+", encoding="utf-8") as file:
            _lock(file)
    except OSError:
        return False
    return True


def _lock(file: IO[str]) -> None:
    """Take the lock of an open file until it is closed; OSError where another has it."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
