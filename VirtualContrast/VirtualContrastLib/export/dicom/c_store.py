"""DICOM objects to an archive by the DICOM network protocol (C-STORE), with TLS where asked for."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ... import installation
from ...events import Events, InputError, Stage, VirtualContrastError
from ...io.dicom.files import dicom_errors, quiet_pydicom

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

OUR_TITLE = "VIRTUALCONTRAST"
_TITLE = r"[!-?A-\[\]-~]{1,16}"  # printable, without @ and backslash
_ADDRESS = re.compile(rf"({_TITLE})@(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{{1,5}})")
_SUCCESS, _WARNINGS = 0x0000, range(0xB000, 0xC000)
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Destination:
    """An archive.

    Attributes:
        title: Its application entity title.
        host: Its host.
        port: Its TCP port.
    """

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """The destination written AET@HOST:PORT; raises InputError."""
        match = _ADDRESS.fullmatch(text.strip())
        if not match or not 0 < int(match[3]) < 65536:
            raise InputError(
                f"{text!r} is not a destination; write it as AET@HOST:PORT, like ORTHANC@localhost:4242, or as the URL "
                "of a DICOMweb service."
            )
        return cls(match[1], match[2].strip("[]"), int(match[3]))

    def __str__(self) -> str:
        return f"{self.title} at {self.host}:{self.port}"


def store(files: Sequence[Path], to: Destination, title: str, trust: ssl.SSLContext | None, events: Events) -> str:
    """Store every file at a DICOM node (C-STORE).

    Args:
        files: DICOM objects, sent in the order given, each in the transfer syntax it has.
        to: where to.
        title: application entity title of this program.
        trust: context of an encrypted connection, None for a plain one.
        events: receives progress and carries the request to cancel.

    Returns:
        The archive in words.

    Raises:
        InputError: the destination does not answer or refuses the connection; pynetdicom is missing.
        VirtualContrastError: an object was not stored.
    """
    try:
        from pynetdicom import AE
    except ImportError as error:
        raise InputError(
            f"Sending to AET@HOST:PORT needs pynetdicom; install it with: {installation.advice('pynetdicom')}"
        ) from error
    if not re.fullmatch(_TITLE, title):
        raise InputError(f"{title!r} is not an application entity title; give 1 to 16 letters and digits.")
    with quiet_pydicom():
        entity = AE(ae_title=title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _TIMEOUT_S
        tls = (trust, to.host) if trust else None
        contexts = _contexts(files)
        try:
            link = entity.associate(to.host, to.port, contexts=contexts, ae_title=to.title, tls_args=tls)
        except OSError as error:
            raise InputError(f"There is no host {to.host} in this network; check its name.") from error
        if not link.is_established:
            why = "refused the connection" if link.is_rejected else "does not answer"
            secure = ", that it speaks TLS, and that its certificate is trusted (--tls-ca)" if trust else ""
            raise InputError(f"{to} {why}; check title, host and port, that it knows the title {title}{secure}.")
        try:
            for number, path in enumerate(files):
                events.progress(Stage.EXPORT, number, len(files))
                _store(link, path, to, f"{number} of {len(files)} objects are stored")
        finally:
            link.release()
    return str(to)


def _contexts(files: Sequence[Path]) -> list[PresentationContext]:
    """What is proposed: each kind of object in each transfer syntax that it comes in, one by one.

    Of several transfer syntaxes in one proposal the archive would choose a single one.
    """
    import pydicom
    from pynetdicom import build_context

    metas = [pydicom.dcmread(path, stop_before_pixels=True).file_meta for path in files]
    kinds = dict.fromkeys((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas)
    return [build_context(kind, syntax) for kind, syntax in kinds]


def _store(link: Association, path: Path, to: Destination, before: str) -> None:
    try:
        answer = link.send_c_store(path)
    except dicom_errors() as error:
        raise VirtualContrastError(
            f"{to} does not take {path.name}: it knows no objects of its kind, or not in its transfer syntax; {before}."
        ) from error
    status = getattr(answer, "Status", None)
    if status is None:
        raise VirtualContrastError(f"{to} ended the connection at {path.name}; look into its log; {before}.")
    if status != _SUCCESS and status not in _WARNINGS:
        raise VirtualContrastError(
            f"{to} did not store {path.name} (status {status:04X}h); look into its log; {before}."
        )
