"""The phantom in Slicer's Sample Data: a simulated pre-contrast breast MRI, no patient data.

The file is packaged with the module; Testing/host/make_sample_data.py makes it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from slicer.i18n import tr as _

CATEGORY = "VirtualContrast"
NAME = "VirtualContrastPhantom"
RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
VOLUME = RESOURCES / "SampleData" / "VirtualContrastPhantom.nrrd"
THUMBNAIL = RESOURCES / "Icons" / "VirtualContrastPhantom.png"


def register() -> None:
    """Register the phantom; Slicer leaves out what it has already."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, _("Virtual Contrast"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=VOLUME.as_uri(),
        fileNames=VOLUME.name,
        nodeNames=NAME,
        checksums=f"SHA256:{hashlib.sha256(VOLUME.read_bytes()).hexdigest()}",
        thumbnailFileName=str(THUMBNAIL),
    )
