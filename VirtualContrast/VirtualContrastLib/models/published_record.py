"""Checkpoints that their authors publish in a public record (Zenodo), without a SHA-256: fetched, checked, converted.

What the record's own metadata say (size and MD5) is checked. At the first use the SHA-256 of what came is pinned on
this machine and reported; a record that later offers other bytes is refused.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..events import Events, InputError, VirtualContrastError
from ..files import sha256_of, write_json
from .card import InPlane
from .catalog import CatalogEntry, PublishedRecord
from .download import TRANSIENT, Policy, Wanted, fetch_from_mirrors, open_url
from .import_checkpoint import import_pix2pixhd
from .package import ModelPackage
from .paths import MODELS, cache_dir, cache_folder

MAX_RECORD_BYTES = 4 * 2**20


@dataclass(frozen=True)
class RecordFile:
    """One file as a record's metadata describe it.

    Attributes:
        url: Where it is.
        size: Its size in bytes.
        md5: Its MD5 sum.
    """

    url: str
    size: int
    md5: str


def download_published(entry: CatalogEntry, events: Events, *, policy: Policy | None = None) -> ModelPackage:
    """Fetch the checkpoint of a catalog entry with `record`, check it, and install it as a package.

    Args:
        entry: of the catalog, with `record`.
        events: gets progress, and as a warning the SHA-256 that was pinned at the first use.
        policy: how to fetch.

    Returns:
        The installed package.

    Raises:
        InputError: the record offers other bytes than those pinned, or the file is no such checkpoint.
        VirtualContrastError: no record delivers it.
        CancelledError: between two chunks.
    """
    policy = policy or Policy()
    if entry.record is None:
        raise InputError(f"The catalog names no public record of the model '{entry.id}'.")
    file = _described(entry, entry.record, policy)
    pins = _read_pins()
    pinned = pins.get(entry.id)
    if pinned is not None and pinned["md5"] != file.md5:
        raise InputError(
            f"The public record now offers another file for '{entry.id}' than the one that was fetched first (MD5 "
            f"{file.md5[:12]}..., pinned {pinned['md5'][:12]}...). If that is right, delete {_pins_path()} and fetch "
            "it again."
        )
    archive = cache_folder("downloads") / f"{entry.id}-{file.md5[:12]}.zip"
    wanted = Wanted(entry.id, (file.url,), file.size, lambda path: _md5_problem(path, file.md5))
    if not archive.is_file() or wanted.problem(archive) is not None:
        fetch_from_mirrors(wanted, archive, events, policy)
    sha256 = sha256_of(archive)
    if pinned is not None and pinned["sha256"] != sha256:
        archive.unlink()
        raise InputError(
            f"The file of '{entry.id}' has the MD5 of the record but not the pinned SHA-256; it was deleted."
        )
    package = _convert(entry, entry.record, archive, events)
    if pinned is None:
        _write_pins({**pins, entry.id: {"md5": file.md5, "sha256": sha256, "size": file.size, "url": file.url}})
        events.warn(
            f"The authors of '{entry.id}' state no SHA-256. The file has the size and MD5 of the public record; its "
            f"SHA-256 {sha256} is now pinned on this machine."
        )
    archive.unlink()
    return package


def _described(entry: CatalogEntry, record: PublishedRecord, policy: Policy) -> RecordFile:
    """What the first record that answers says of its file."""
    problems = []
    for api, name in zip(record.api, record.files, strict=True):
        try:
            with open_url(urllib.request.Request(api, headers={"Accept": "application/json"}), policy) as response:
                content = json.loads(response.read(MAX_RECORD_BYTES))
            return _file_of(content, name)
        except (*TRANSIENT, urllib.error.HTTPError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{api}: {getattr(error, 'reason', None) or error or type(error).__name__}")
    raise VirtualContrastError(
        f"The public record of '{entry.id}' could not be read: {'; '.join(problems)}. Or {entry.manual_import}"
    )


def _file_of(record: Any, name: str) -> RecordFile:
    """The file `name` of a Zenodo record's JSON; ValueError where it is not as expected."""
    for file in record["files"]:
        if file["key"] == name:
            kind, _, value = str(file["checksum"]).partition(":")
            if kind != "md5" or len(value) != 32:
                raise ValueError(f"the record states no MD5 of {name}")
            return RecordFile(str(file["links"]["self"]), int(file["size"]), value.lower())
    raise ValueError(f"the record has no file {name}")


def _md5_problem(path: Path, md5: str) -> str | None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return None if found == md5 else f"MD5 differs ({found[:12]}..., the record says {md5[:12]}...)"


def _convert(entry: CatalogEntry, record: PublishedRecord, archive: Path, events: Events) -> ModelPackage:
    return import_pix2pixhd(
        archive,
        cache_folder(MODELS) / entry.id,
        model_id=entry.id,
        title=entry.title,
        layout=record.layout,
        in_plane=InPlane(policy="square", spacing_mm=1.0, size=record.size),
        license=entry.license,
        citation=entry.citation,
        events=events,
    )


def _pins_path() -> Path:
    return cache_dir() / "pinned.json"


def _read_pins() -> dict[str, dict[str, Any]]:
    try:
        pins = json.loads(_pins_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{_pins_path()} cannot be read ({error}); repair or delete it.") from error
    return pins if isinstance(pins, dict) else {}


def _write_pins(pins: dict[str, dict[str, Any]]) -> None:
    _pins_path().parent.mkdir(parents=True, exist_ok=True)
    write_json(_pins_path(), pins)
