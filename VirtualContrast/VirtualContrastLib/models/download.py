"""Download of model packages: https only, several mirrors, resumed, SHA-256 checked, whole or not at all."""

from __future__ import annotations

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..events import Events, InputError, Stage, VirtualContrastError
from ..files import free_bytes, replace_folder, sha256_of
from .catalog import CatalogEntry
from .package import ModelPackage, load_package
from .paths import MODELS, cache_dir, cache_folder

CHUNK_BYTES = 2**18
MAX_PACKAGE_BYTES = 16 * 2**30
"""No package is larger; a download of unknown size is stopped when it reaches this."""
TRANSIENT = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class Policy:
    """How to fetch.

    Attributes:
        schemes: Schemes of addresses; widened only by tests, which serve on 127.0.0.1 without TLS.
        timeout_s: Seconds after which an attempt without an answer ends.
        attempts: Attempts in all.
        first_wait_s: Seconds before the second attempt; later waits are longer.
        sleep: Waits.
    """

    schemes: frozenset[str] = frozenset({"https"})
    timeout_s: float = 30.0
    attempts: int = 4
    first_wait_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep


class _TooLarge(Exception):  # noqa: N818  (not an error of its own: the next mirror is tried)
    """More bytes came, or were announced, than a package may have."""


class _Interrupted(Exception):  # noqa: N818  (not an error of its own: the next attempt resumes)
    """The connection ended before all bytes came."""


@dataclass(frozen=True)
class Wanted:
    """Bytes to fetch.

    Attributes:
        name: Name of the model.
        urls: Where they are.
        size_bytes: How many they are, None where unknown.
        problem: Says what is wrong with a file, None where it is right.
    """

    name: str
    urls: tuple[str, ...]
    size_bytes: int | None
    problem: Callable[[Path], str | None]


def download(entry: CatalogEntry, events: Events, *, policy: Policy | None = None) -> ModelPackage:
    """Fetch, check and unpack the package of a catalog entry into the user's cache.

    Every mirror gets `policy.attempts` tries with doubling waits; a broken transfer continues where it ended.

    Args:
        entry: The entry.
        events: Gets the progress in bytes; asked between chunks whether the user wants to stop.
        policy: Attempts, waits and limits; None for the defaults.

    Returns:
        The installed package.

    Raises:
        InputError: The entry has no SHA-256 or the package is not what it should be.
        VirtualContrastError: No mirror delivers.
        CancelledError: The user asked to stop.
    """
    policy = policy or Policy()
    sha256 = entry.sha256
    if sha256 is None:
        raise InputError(
            f"The model '{entry.id}' has no SHA-256 in the catalog, so it is not downloaded. {entry.manual_import}"
        )
    archive = cache_folder("downloads") / f"{entry.id}-{sha256[:12]}.zip"
    if not (archive.is_file() and sha256_of(archive) == sha256):
        wanted = Wanted(entry.id, tuple(entry.urls), entry.size_bytes, lambda path: _sha256_problem(path, sha256))
        fetch_from_mirrors(wanted, archive, events, policy)
    package = _install(entry, archive)
    shutil.rmtree(cache_dir() / "packages" / sha256, ignore_errors=True)
    archive.unlink()  # the zip has done its work
    return package


def _install(entry: CatalogEntry, archive: Path) -> ModelPackage:
    """Unpack, verify the weights, and move the package to its place by id."""
    package = load_package(archive)
    package.verify()
    if package.card.id != entry.id or package.card.kind != entry.kind:
        raise InputError(f"The download of '{entry.id}' holds the model '{package.card.id}'; it is not installed.")
    folder = cache_folder(MODELS) / entry.id
    replace_folder(package.folder, folder)
    return ModelPackage(package.card, folder)


def fetch_from_mirrors(wanted: Wanted, archive: Path, events: Events, policy: Policy) -> None:
    """Download an archive from the first mirror that delivers the right bytes.

    Args:
        wanted: Name, mirrors, hash and size.
        archive: Where the file goes; a part of it that is there is continued.
        events: Gets the progress in bytes; asked between chunks whether the user wants to stop.
        policy: Attempts, waits and limits.

    Raises:
        InputError: The disk has too little room.
        VirtualContrastError: No mirror delivers.
        CancelledError: The user asked to stop.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    free = free_bytes(archive.parent)
    if wanted.size_bytes is not None and free < 2 * wanted.size_bytes:
        raise InputError(
            f"{archive.parent} has {free >> 20} MiB free; the model '{wanted.name}' needs "
            f"{wanted.size_bytes >> 19} MiB."
        )
    problems, refused = [], True
    part = archive.with_suffix(".zip.part")
    for url in wanted.urls:
        try:
            problem = _fetch_with_retries(url, part, wanted, events, policy)
            refused = False
        except InputError as error:  # of this address alone, or of one that it redirects to
            problem = str(error).rstrip(".")
        if problem is None:
            problem = wanted.problem(part)
            if problem is None:
                part.replace(archive)
                return
            part.unlink()
        problems.append(f"{urlsplit(url).netloc}: {problem}")
    kind = InputError if refused else VirtualContrastError
    raise kind(f"The model '{wanted.name}' could not be downloaded: {'; '.join(problems)}.")


def _sha256_problem(path: Path, sha256: str) -> str | None:
    found = sha256_of(path)
    return None if found == sha256 else f"SHA-256 differs ({found[:12]}...)"


def _fetch_with_retries(url: str, part: Path, wanted: Wanted, events: Events, policy: Policy) -> str | None:
    """Fill `part` from `url`; None when all bytes came, else the last problem in a few words."""
    problem = ""
    for attempt in range(policy.attempts):
        events.check_cancelled()
        if attempt:
            policy.sleep(policy.first_wait_s * 2 ** (attempt - 1))
        try:
            _fetch(url, part, wanted, events, policy)
            return None
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code} {error.reason}"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                return problem
        except (*TRANSIENT, _Interrupted) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        except (_TooLarge, ValueError) as error:  # ValueError: an address that is none
            return str(error)
    return problem


def _most_bytes(part: Path) -> int:
    """What a package may have at most: the disk must also hold what it unpacks to."""
    return min(MAX_PACKAGE_BYTES, shutil.disk_usage(part.parent).free // 2)


def _fetch(url: str, part: Path, wanted: Wanted, events: Events, policy: Policy) -> None:
    """One transfer, appended to `part` when the server takes up where the last one ended."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with open_url(request, policy) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if resumed and not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _Interrupted("the server answered with another range")
        done = start if resumed else 0
        length = response.headers.get("Content-Length") or ""
        total = wanted.size_bytes or (done + int(length) if length.isascii() and length.isdigit() else None)
        most = total if total is not None else _most_bytes(part)
        if most > _most_bytes(part):
            raise _TooLarge(f"{most >> 20} MiB were announced, more than there is room for")
        with part.open("ab" if resumed else "wb") as out:
            while chunk := response.read(CHUNK_BYTES):
                out.write(chunk)
                done += len(chunk)
                if done > most:
                    part.unlink()
                    raise _TooLarge(f"more than {most >> 20} MiB came")
                events.progress(Stage.MODEL, done, total or done)
    if total is not None and done < total:
        raise _Interrupted(f"the connection ended after {done} of {total} bytes")


def open_url(request: urllib.request.Request, policy: Policy) -> Any:
    """Open a request, refusing any scheme outside the policy, redirects included."""
    _check_scheme(request.full_url, policy)

    class _Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            _check_scheme(newurl, policy)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(_Redirects).open(request, timeout=policy.timeout_s)


def _check_scheme(url: str, policy: Policy) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in policy.schemes:
        raise InputError(f"A download from {scheme}://{urlsplit(url).netloc} is refused; only https is allowed.")
