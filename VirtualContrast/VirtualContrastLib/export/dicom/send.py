"""A result's DICOM objects to an archive, by the DICOM network protocol (C-STORE), with TLS where asked for."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...events import Events, InputError, Stage, VirtualContrastError
from ...io.dicom.headers import dicom_errors, quiet_pydicom

OUR_TITLE = "VIRTUALCONTRAST"
_ADDRESS = re.compile(r"([^@\s]{1,16})@(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})")
_SUCCESS, _WARNINGS = 0x0000, range(0xB000, 0xC000)
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Destination:
    """Application entity title, host and port of an archive."""

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """The destination written AET@HOST:PORT; raises InputError."""
        match = _ADDRESS.fullmatch(text.strip())
        if not match or not 0 < int(match[3]) < 65536:
            raise InputError(f"{text!r} is no destination; write it as AET@HOST:PORT, like ORTHANC@localhost:4242.")
        return cls(match[1], match[2].strip("[]"), int(match[3]))


def objects_of(folder: Path) -> list[Path]:
    """The DICOM files of a result folder; raises InputError where it has none."""
    files = sorted((folder / "dicom").rglob("*.dcm"))
    if not files:
        raise InputError(f"{folder} holds no DICOM objects; make the result with --dicom.")
    return files


def send(
    files: Sequence[Path],
    to: Destination,
    *,
    title: str = OUR_TITLE,
    tls: ssl.SSLContext | None = None,
    events: Events | None = None,
) -> None:
    """Store every file at the destination, or say which one it did not take and why.

    Args:
        files: DICOM objects, sent in the order given.
        to: where to.
        title: application entity title that we call ourselves.
        tls: context of an encrypted connection, None for a plain one.
        events: hears progress and carries the wish to stop.

    Raises:
        InputError: the destination does not answer or refuses the connection.
        VirtualContrastError: an object was not stored.
    """
    import pydicom
    from pynetdicom import AE

    events = events or Events()
    with quiet_pydicom():
        heads = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
        entity = AE(ae_title=title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _TIMEOUT_S
        for kind in dict.fromkeys(head.SOPClassUID for head in heads):
            entity.add_requested_context(kind, heads[0].file_meta.TransferSyntaxUID)
        where = f"{to.title} at {to.host}:{to.port}"
        link = entity.associate(to.host, to.port, ae_title=to.title, tls_args=(tls, to.host) if tls else None)
        if not link.is_established:
            why = "refused the connection" if link.is_rejected else "does not answer"
            raise InputError(f"{where} {why}; check title, host and port, and that it knows the title {title}.")
        try:
            for number, path in enumerate(files):
                events.progress(Stage.EXPORT, number, len(files))
                _store(link, path, where)
        finally:
            link.release()


def _store(link: object, path: Path, where: str) -> None:
    try:
        answer = link.send_c_store(path)  # type: ignore[attr-defined]
    except dicom_errors() as error:
        raise VirtualContrastError(f"{where} does not take {path.name}: it knows no objects of its kind.") from error
    status = getattr(answer, "Status", None)
    if status is None:
        raise VirtualContrastError(f"{where} ended the connection at {path.name}; look into its log.")
    if status != _SUCCESS and status not in _WARNINGS:
        raise VirtualContrastError(f"{where} did not store {path.name} (status {status:04X}h); look into its log.")
