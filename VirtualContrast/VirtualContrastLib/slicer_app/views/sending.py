"""Send the shown result's DICOM objects to an archive: asked first, and in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ..run import install
from ..run.engine_command import EngineCommand

if TYPE_CHECKING:
    from ...export.dicom.c_store import Destination

_REMEMBERED = "VirtualContrast/Archive"


class Sending:
    """The panel's line with address, Send and Stop; `tell` writes the panel's status line."""

    def __init__(self, ui: Any, tell: Callable[..., None]) -> None:
        self._ui, self._tell = ui, tell
        self._command = EngineCommand()
        self._folder: Path | None = None
        self._archive = ""
        ui.archiveEdit.text = str(slicer.app.userSettings().value(_REMEMBERED) or "")
        ui.archiveEdit.connect("textChanged(QString)", self._update)
        ui.sendButton.connect("clicked(bool)", self._on_send)
        ui.stopSendingButton.connect("clicked(bool)", self._on_stop)
        self.use(None)

    @property
    def busy(self) -> bool:
        """Objects are being sent."""
        return self._command.busy

    def use(self, folder: Path | None) -> None:
        """Another result is shown: `folder` is its result folder where that is known. A running transfer continues."""
        self._folder = folder if folder is not None and (folder / "dicom").is_dir() else None
        self._update()

    def cleanup(self) -> None:
        """The module goes away, and what is being sent is stopped."""
        self._command.stop()

    def _update(self, _text: str = "") -> None:
        reason = self._why_not()
        self._ui.sendButton.enabled = not reason
        self._ui.sendButton.toolTip = reason or _("Store the DICOM objects of this result at the archive; asks first.")
        self._ui.stopSendingButton.enabled = self.busy

    def _why_not(self) -> str:
        if self.busy:
            return _("A result is being sent.")
        if self._folder is None:
            return _('This result has no folder with DICOM objects; tick "Also write DICOM" before Apply.')
        if not str(self._ui.archiveEdit.text).strip():
            return _("Enter the address of the archive.")
        return _("Packages are being installed.") if install.under_way() else ""

    def _on_send(self) -> None:
        folder = self._folder
        if folder is None or not self._installed() or folder != self._folder:  # an installation lets events through
            return
        from ...export.dicom.send import archive_at, objects_of  # they need what was installed

        address = str(self._ui.archiveEdit.text).strip()
        try:
            archive, count = archive_at(address), len(objects_of(folder))
        except InputError as error:
            self._tell(str(error), error=True)
            return
        if not slicer.util.confirmOkCancelDisplay(_question(archive, count), _("Send to archive")):
            self._tell(_("Nothing was sent."))
            return
        slicer.app.userSettings().setValue(_REMEMBERED, address)
        self._start(folder, address, str(archive), count)

    def _installed(self) -> bool:
        """Install what is missing, after asking; tell why not."""
        try:
            install.ensure_packages(install.SENDING, begins=self._update)
        except install.NotInstalledError as error:
            self._tell(str(error), error=True)
            return False
        finally:
            self._update()
        return True

    def _start(self, folder: Path, address: str, archive: str, count: int) -> None:
        stored = _("Stored at {archive}: {count} DICOM objects (synthetic, research only).")

        def ended(problem: str) -> None:
            self._update()
            self._tell(problem or stored.format(archive=archive, count=count), error=bool(problem))

        self._archive = archive
        self._tell(_("Sending {count} DICOM objects to {archive} ...").format(count=count, archive=archive))
        self._command.run(["send", str(folder), f"--to={address}"], ended)
        self._update()

    def _on_stop(self) -> None:
        self._command.stop()
        self._update()
        self._tell(_("Sending was stopped; objects that were stored stay at {archive}.").format(archive=self._archive))


def _question(archive: Destination | str, count: int) -> str:
    """What is sent where, for the user to agree to."""
    text = _(
        "Send the DICOM objects of the shown result to an archive?\n\nTo: {archive}\nObjects: {count}, synthetic, "
        "research only\n\nThey carry the name and ID of the patient unless the result was made without them. {link}"
    )
    encrypted = isinstance(archive, str) and archive.startswith("https:")
    link = (
        _("The connection is encrypted.")
        if encrypted
        else _("The connection is not encrypted; for that, give an https URL or use virtual-contrast send --tls.")
    )
    return text.format(archive=archive, count=count, link=link)
