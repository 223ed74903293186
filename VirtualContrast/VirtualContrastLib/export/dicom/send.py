"""A result's DICOM objects to an archive: by the DICOM network protocol, or by DICOMweb where the address is a URL."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from ...events import Events, InputError
from .c_store import OUR_TITLE, Destination, store
from .dicomweb import store_by_web, web_address

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def objects_of(folder: Path) -> list[Path]:
    """The DICOM files of a result folder; raises InputError where it has none."""
    files = sorted((folder / "dicom").rglob("*.dcm"))
    if not files:
        raise InputError(f"{folder} holds no DICOM objects; make the result with --dicom.")
    return files


def archive_at(address: str) -> Destination | str:
    """The archive at `AET@HOST:PORT`, or the URL of a DICOMweb service; raises InputError where it is neither."""
    return web_address(address) if _URL.match(address) else Destination.parse(address)


def send(
    files: Sequence[Path],
    to: str,
    *,
    title: str = OUR_TITLE,
    tls: bool = False,
    ca_file: Path | None = None,
    events: Events | None = None,
) -> str:
    """Store every file at an archive, or say which one it did not take and why.

    Args:
        files: DICOM objects, sent in the order given.
        to: `AET@HOST:PORT`, or the URL of a DICOMweb service.
        title: application entity title that we call ourselves; DICOMweb knows none.
        tls: encrypt what goes to AET@HOST:PORT and check the archive's certificate; a URL says it by https.
        ca_file: certificates to trust (PEM), None for those of the system; asks for `tls`.
        events: receives progress and carries the request to cancel.

    Returns:
        The archive in words.

    Raises:
        InputError: the archive is not there, refuses, or cannot be trusted; or a package is missing.
        VirtualContrastError: an object was not stored.
        CancelledError: a stop was asked for; what was stored stays there.
    """
    trust, events = _trust(tls, ca_file), events or Events()
    archive = archive_at(to)
    if isinstance(archive, str):
        return store_by_web(files, archive, trust, events)
    return store(files, archive, title, trust, events)


def _trust(tls: bool, ca_file: Path | None) -> ssl.SSLContext | None:
    if not (tls or ca_file):
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise InputError(f"{ca_file} holds no certificates that can be read; give a PEM file.") from error
