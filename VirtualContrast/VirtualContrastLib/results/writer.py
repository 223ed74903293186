"""Writes a result folder atomically.

A run writes into a staging folder beside the target, puts the manifest there last, flushes every file to the disk and
renames the folder once. A failed, cancelled or killed run leaves nothing under the target's name; what a killed run
left beside it is cleared by the next run. See `staging` for what distinguishes these folders from a user's own.
"""

from __future__ import annotations

import dataclasses
import errno
import gzip
import os
from pathlib import Path
from types import TracebackType

import SimpleITK as sitk

from ..events import InputError, VirtualContrastError
from ..files import check_name, expanded, free_bytes, sha256_of, write_json
from .manifest import MANIFEST, Manifest, Result
from .staging import OWNER, Staging, recover

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
_NIFTI_HEADER_BYTES = 352


class ResultWriter:
    """Writes one result folder; use as a context manager and call `finish` at the end.

    Leaving the context without `finish` (an error, a cancel) removes all that was written. With `overwrite`
    an existing result folder stays in place until the new one is whole. `run_id` and `staging`, the folder that is
    written into, are there inside the context.

    Raises:
        InputError: the target exists, at the start or at the end, or cannot be written; another run is writing it; or
            the disk is full.
    """

    run_id: str
    staging: Path

    def __init__(self, out: str | Path, *, overwrite: bool = False) -> None:
        self.out = expanded(out).absolute()
        self.overwrite = overwrite
        self._finished = False

    def __enter__(self) -> ResultWriter:
        check_target(self.out, overwrite=self.overwrite)
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            recover(self.out)
            self._own = Staging(self.out)
        except OSError as error:
            raise _unwritable(self.out, error) from error
        self.run_id, self.staging = self._own.run_id, self._own.folder
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        full = isinstance(error, OSError) and error.errno in _FULL_DISK
        # SimpleITK has no error number for a full disk, and `volumes.write` makes a sentence of its error.
        full = full or (type(error) is VirtualContrastError and free_bytes(self.out.parent) < 2**20)
        self._own.remove()
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
        """Write a volume, compressed.

        Args:
            image: The volume.
            name: File name of the output.
            synthetic: Whether its header says that it is synthetic.

        Returns:
            The file.
        """
        from ..io import volumes

        path = self.path(name)
        volumes.write(image, path, comment=volumes.SYNTHETIC_COMMENT if synthetic else None)
        _check_whole(path, image)
        return path

    def finish(self, manifest: Manifest) -> Result:
        """Write the manifest with all hashes, flush all to the disk and put the folder in its place.

        Raises:
            InputError: meanwhile something else came to be there.
        """
        files = sorted(path for path in self.staging.rglob("*") if path.is_file() and path.name != OWNER)
        outputs = {path.relative_to(self.staging).as_posix(): sha256_of(path) for path in files}
        for path in files:
            _sync(path)
        whole = dataclasses.replace(manifest, run_id=self.run_id, outputs=outputs)
        write_json(self.staging / MANIFEST, dataclasses.asdict(whole))
        _sync_folders(self.staging)
        try:
            check_target(self.out, overwrite=self.overwrite)
            self._own.place(self.out, replace=self.overwrite)
        except InputError as error:
            raise _appeared(self.out) from error
        except OSError as error:
            raise _appeared(self.out) if error.errno in _TAKEN else _unwritable(self.out, error) from error
        self._finished = True
        _sync_folder(self.out.parent)
        return Result(self.out, whole)


def check_target(out: Path, *, overwrite: bool) -> None:
    """Raise InputError unless a result may be put at `out`.

    It may where nothing is, into an empty folder, and with `overwrite` in the place of a result folder.
    """
    check_name(out)
    out = expanded(out).absolute()
    if out.is_symlink() or out.is_file():
        raise InputError(f"The output {out} is a file or a link; name a folder with -o.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise InputError(f"The output folder {out} holds other files; name a new folder with -o.")
    if not overwrite:
        raise InputError(f"The result folder {out} exists; use --resume to keep it or --overwrite to replace it.")


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


def _appeared(out: Path) -> InputError:
    return InputError(
        f"{out} was made by someone else while this run computed, so its result was not put there; "
        "name another folder with -o."
    )


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
