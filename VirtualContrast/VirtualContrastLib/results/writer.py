"""Writes a result folder that comes to be whole or not at all.

A run writes into a staging folder `<out>.partial-<run id>` beside the target, puts the manifest there last,
flushes every file to the disk and renames the folder once. A failed, cancelled or killed run leaves nothing
under the target's name; what a killed run left beside it is cleared by the next run.
"""

from __future__ import annotations

import dataclasses
import errno
import gzip
import json
import os
import secrets
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType

import SimpleITK as sitk

from ..events import InputError, VirtualContrastError
from .manifest import MANIFEST, Manifest, Result, now_utc, sha256_file, write_json

_OWNER = ".owner.json"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_FINISHING_S = 3600.0
_NIFTI_HEADER_BYTES = 352


class ResultWriter:
    """Writes one result folder; use as a context manager and call `finish` at the end.

    Leaving the context without `finish` (an error, a cancel) removes all that was written. With `overwrite`
    an existing result folder stays in place until the new one is whole.

    Raises:
        InputError: the target exists or cannot be written, or the disk is full.
    """

    def __init__(self, out: str | Path, *, overwrite: bool = False) -> None:
        self.out = Path(out).expanduser().absolute()
        self.overwrite = overwrite
        self.run_id = f"{now_utc():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self.staging = self.out.with_name(f"{self.out.name}.partial-{self.run_id}")
        self._finished = False

    def __enter__(self) -> ResultWriter:
        check_target(self.out, overwrite=self.overwrite)
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            recover(self.out)
            self.staging.mkdir()
            write_json(self.staging / _OWNER, {"pid": os.getpid(), "host": socket.gethostname()})
        except OSError as error:
            shutil.rmtree(self.staging, ignore_errors=True)
            raise _unwritable(self.out, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        full = isinstance(error, OSError) and error.errno in _FULL_DISK
        # SimpleITK has no error number for a full disk, and `volumes.write` makes a sentence of its error.
        full = full or (type(error) is VirtualContrastError and free_bytes(self.out.parent) < 2**20)
        shutil.rmtree(self.staging, ignore_errors=True)
        if full:
            raise _disk_full(self.out.parent) from error
        if isinstance(error, OSError) and self.staging.name in str(error.filename):
            raise _unwritable(self.out, error) from error

    def path(self, name: str) -> Path:
        """The place in the staging folder for output `name` (forward slashes); its folder is made."""
        path = self.staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, image: sitk.Image, name: str, *, synthetic: bool = True) -> Path:
        """Write a volume as output `name`, whole and compressed; `synthetic` marks its header."""
        from ..io import volumes

        path = self.path(name)
        volumes.write(image, path, comment=volumes.SYNTHETIC_COMMENT if synthetic else None)
        _check_whole(path, image)
        return path

    def finish(self, manifest: Manifest) -> Result:
        """Write the manifest with all hashes, flush all to the disk and put the folder in its place."""
        (self.staging / _OWNER).unlink(missing_ok=True)
        files = sorted(path for path in self.staging.rglob("*") if path.is_file())
        outputs = {path.relative_to(self.staging).as_posix(): sha256_file(path) for path in files}
        for path in files:
            _sync(path)
        whole = dataclasses.replace(manifest, run_id=self.run_id, outputs=outputs)
        write_json(self.staging / MANIFEST, dataclasses.asdict(whole))
        try:
            _swap_in(self.staging, self.out, self.run_id)
        except OSError as error:
            raise _unwritable(self.out, error) from error
        self._finished = True
        return Result(self.out, whole)


def check_target(out: Path, *, overwrite: bool) -> None:
    """Raise InputError unless a result may be put at `out`.

    It may where nothing is, into an empty folder, and with `overwrite` in the place of a result folder.
    """
    out = out.expanduser().absolute()
    if out.is_symlink() or out.is_file():
        raise InputError(f"The output {out} is a file or a link; name a folder with -o.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise InputError(f"The output folder {out} holds other files; name a new folder with -o.")
    if not overwrite:
        raise InputError(f"The result folder {out} exists; use --resume to keep it or --overwrite to replace it.")


def recover(out: Path) -> None:
    """Clear what a killed run left beside `out`: its staging folder, or the old result it was replacing.

    A staging folder is removed only when the process that owned it ran on this machine and has ended.
    """
    for old in out.parent.glob(f"{_glob_escape(out.name)}.old-*"):
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(out)
    for partial in out.parent.glob(f"{_glob_escape(out.name)}.partial-*"):
        if _abandoned(partial):
            shutil.rmtree(partial, ignore_errors=True)


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of `folder`, or of its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _swap_in(staging: Path, out: Path, run_id: str) -> None:
    """Rename `staging` to `out`; an old result there is set aside first and removed after."""
    _sync_folders(staging)
    old = out.with_name(f"{out.name}.old-{run_id}")
    had_old = out.is_dir()
    if had_old:
        out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        if had_old:
            old.rename(out)
        raise
    _sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _check_whole(path: Path, image: sitk.Image) -> None:
    """Raise OSError(ENOSPC) for a NIfTI file shorter than its voxels: ITK is silent on a full disk."""
    expected = _NIFTI_HEADER_BYTES + image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
    name = path.name.lower()
    if name.endswith(".nii"):
        actual = path.stat().st_size
    elif name.endswith(".nii.gz"):
        actual = _unpacked_size(path)
    else:
        return
    if actual < expected:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _unpacked_size(path: Path) -> int:
    size = 0
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(2**20):
                size += len(block)
    except EOFError:
        return 0
    return size


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folders(top: Path) -> None:
    for folder in [top, *(path for path in top.rglob("*") if path.is_dir())]:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder to flush it
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _abandoned(partial: Path) -> bool:
    """True when the owner of a staging folder has ended; without a note of its owner, when it is old."""
    try:
        import psutil

        if not (partial / _OWNER).exists():  # between the last write and the rename, normally a second
            return time.time() - partial.stat().st_mtime > _FINISHING_S
        owner = json.loads((partial / _OWNER).read_text(encoding="utf-8"))
        return bool(owner["host"] == socket.gethostname() and not psutil.pid_exists(int(owner["pid"])))
    except (ImportError, OSError, ValueError, KeyError, TypeError):
        return False


def _glob_escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _disk_full(folder: Path) -> InputError:
    free = free_bytes(folder) / 2**20
    return InputError(
        f"The disk of {folder} is full: without this result {free:.1f} MiB are free; "
        "make room or name a folder on another disk with -o."
    )


def _unwritable(out: Path, error: OSError) -> InputError:
    if error.errno in _FULL_DISK:
        return _disk_full(out.parent)
    return InputError(f"Cannot write {out}: {error.strerror or error}; name another folder with -o.")
