"""What training needs beyond what Slicer ships."""

from __future__ import annotations

from slicer.i18n import tr as _
from VirtualContrastLib.slicer_app.run.install import REQUIREMENTS, Needs

from ..cli import REQUIREMENTS as TRAINING_REQUIREMENTS

TRAINING = Needs((REQUIREMENTS, TRAINING_REQUIREMENTS), "VirtualContrastTraining", lambda: _("Start"))
