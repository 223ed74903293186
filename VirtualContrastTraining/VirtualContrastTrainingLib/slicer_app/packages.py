"""What training needs beyond what Slicer ships."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _
from VirtualContrastLib.slicer_app.run.install import REQUIREMENTS, Needs

# Not requirements.txt: Slicer puts the resources of all modules into one folder.
TRAINING_REQUIREMENTS = Path(__file__).resolve().parents[2] / "Resources" / "requirements-training.txt"
TRAINING = Needs((REQUIREMENTS, TRAINING_REQUIREMENTS), "VirtualContrastTraining", lambda: _("Start"))
