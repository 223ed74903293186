"""Puts models, recipes, splits and the papers' labels into the wheel; everything else stands in pyproject.toml.

In the source tree and in Slicer they lie outside the libraries, where an extension has its resources.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

RESOURCES = {
    "Resources/Models": "VirtualContrastLib/Resources/Models",
    "VirtualContrastTraining/Resources/Papers": "VirtualContrastTrainingLib/Resources/Papers",
    "VirtualContrastTraining/Resources/Recipes": "VirtualContrastTrainingLib/Resources/Recipes",
    "VirtualContrastTraining/Resources/Splits": "VirtualContrastTrainingLib/Resources/Splits",
}


class BuildWithResources(build_py):
    """Copies the resources beside the modules; an editable installation uses those of the source tree."""

    def run(self) -> None:
        """Build the modules, then copy."""
        super().run()
        if not self.editable_mode:
            for source, target in RESOURCES.items():
                shutil.copytree(source, Path(self.build_lib, target), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithResources})
