"""DICOM objects to an archive by DICOMweb (STOW-RS), over https with a checked certificate."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import installation
from ...events import Events, InputError, Stage, VirtualContrastError
from ...io.dicom.files import quiet_pydicom

if TYPE_CHECKING:
    from dicomweb_client.api import DICOMwebClient
    from requests.adapters import HTTPAdapter

_TIMEOUT_S = 30
_LOCKED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_NOT_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


def web_address(text: str) -> str:
    """The URL of a DICOMweb service; raises InputError where it is none, or holds a password, which logs would keep."""
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.username or parts.password:
        raise InputError("A URL with a name and a password in it would end up in logs; put them into ~/.netrc.")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise InputError(
            f"{text!r} is not the URL of a DICOMweb service; write it like https://pacs.example.org/dicom-web."
        )
    return parts.geturl().rstrip("/")


def store_by_web(files: Sequence[Path], url: str, trust: ssl.SSLContext | None, events: Events) -> str:
    """Store every file at a DICOMweb service, one request each.

    Name and password come from ~/.netrc where the service asks for them.

    Args:
        files: DICOM objects, sent in the order given.
        url: of the service, as `web_address` gives it.
        trust: which certificates to trust, None for those that requests trusts.
        events: receives progress and carries the request to cancel.

    Returns:
        The archive in words.

    Raises:
        InputError: the service is not there, refuses, or cannot be trusted; dicomweb-client is missing.
        VirtualContrastError: an object was not stored.
    """
    try:
        import requests
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise InputError(
            f"Sending to a URL needs dicomweb-client; install it with: {installation.advice('dicomweb-client')}"
        ) from error
    logging.getLogger("retrying").addHandler(logging.NullHandler())  # it would print tracebacks of what we explain
    with quiet_pydicom(), requests.Session() as session:
        if trust:
            session.mount("https://", _trusting(trust))
        client = DICOMwebClient(url, session=session, timeout=_TIMEOUT_S)
        client.set_http_retry_params(retry=False)
        for number, path in enumerate(files):
            events.progress(Stage.EXPORT, number, len(files))
            _store(client, path, url, f"{number} of {len(files)} objects are stored")
    return url


def _trusting(trust: ssl.SSLContext) -> HTTPAdapter:
    """What lets a session of requests trust these certificates, whatever its environment variables name."""
    from requests.adapters import HTTPAdapter

    class Trusting(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, ssl_context=trust, **options)

    return Trusting()


def _store(client: DICOMwebClient, path: Path, url: str, before: str) -> None:
    import pydicom
    import requests

    try:
        answer = client.store_instances([pydicom.dcmread(path)])
    except requests.exceptions.SSLError as error:
        raise InputError(
            f"The certificate of {url} is not trusted; name the file of certificates to trust with --tls-ca."
        ) from error
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise _refused(status, path, url, before) from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise InputError(f"{url} does not answer; check the address and the network; {before}.") from error
    if answer.get("FailedSOPSequence"):
        raise VirtualContrastError(f"{url} did not store {path.name}; look into its log; {before}.")


def _refused(status: int, path: Path, url: str, before: str) -> VirtualContrastError:
    if status in _LOCKED:
        return InputError(f"{url} refuses (HTTP {status}); put the name and password for it into ~/.netrc; {before}.")
    if status in _NOT_THERE:
        return InputError(f"There is no DICOMweb service at {url} (HTTP {status}); check the path; {before}.")
    return VirtualContrastError(f"{url} did not store {path.name} (HTTP {status}); look into its log; {before}.")
