"""Sources without their patient, by the basic application level confidentiality profile (PS3.15, annex E).

The writers copy a listed few elements of a source, and no private ones, so that only these are to be changed: names,
ids and free text go or get placeholders, UIDs are replaced one for one, dates and times are emptied or, by the option
"retain longitudinal temporal information with full dates", kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..content import RunIdentity
from .common import code_item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_EMPTIED = ("ReferringPhysicianName", "AccessionNumber", "StudyID", "PatientBirthDate")
_REMOVED = (
    "IssuerOfPatientID", "OtherPatientIDs", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription",
    "TimezoneOffsetFromUTC",
)  # fmt: skip
_DATES = ("StudyDate", "StudyTime", "AcquisitionDate", "AcquisitionTime")
_UIDS = ("StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
_REPLACED = (
    "PatientName", "PatientID", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
)  # fmt: skip
_PROFILE = ("113100", "DCM", "Basic Application Confidentiality Profile")
_FULL_DATES = ("113106", "DCM", "Retain Longitudinal Temporal Information Full Dates Option")


def deidentified(headers: Sequence[Dataset], run: RunIdentity, *, keep_dates: bool = False) -> list[Dataset]:
    """Copies of source headers without what identifies the patient; the same UID becomes the same new one in a run.

    Args:
        headers: The headers.
        run: The run, which seeds the new UIDs.
        keep_dates: Whether dates and times of the study are kept.

    Returns:
        The copies in order.
    """
    return [_deidentified(header, run, keep_dates) for header in headers]


def _deidentified(header: Dataset, run: RunIdentity, keep_dates: bool) -> Dataset:
    from pydicom.dataset import Dataset

    found = Dataset()
    found.update(header)
    emptied = [keyword for keyword in (*_EMPTIED, *(() if keep_dates else _DATES)) if keyword in header]
    uids = [keyword for keyword in _UIDS if header.get(keyword)]
    for keyword in (*_REMOVED, *emptied, *uids, *_REPLACED):
        if keyword in found:
            del found[keyword]  # elements are shared with the source: replaced, never changed
    for keyword in emptied:
        setattr(found, keyword, "")
    for keyword in uids:
        setattr(found, keyword, run.uid("de-identified", str(header.get(keyword))))
    found.PatientName = "DEIDENTIFIED^SYNTHETIC"
    found.PatientID = f"VC-{run.uid('patient')[-12:]}"
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "VirtualContrast: PS3.15 basic profile"
    codes = [_PROFILE, _FULL_DATES] if keep_dates else [_PROFILE]
    found.DeidentificationMethodCodeSequence = [code_item(*code) for code in codes]
    found.LongitudinalTemporalInformationModified = "UNMODIFIED" if keep_dates else "REMOVED"
    return found
