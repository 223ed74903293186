"""A physically grounded breast DCE-MRI phantom with known truth.

Every number in it is a plausible textbook value or a documented choice; nothing is fitted to patients. Models trained
on it have learned the phantom, not breast tissue.
"""

from .phantom import LesionTruth, Phantom, PhantomSettings, make_phantom
from .phase_times import uneven_settings

__all__ = ["LesionTruth", "Phantom", "PhantomSettings", "make_phantom", "uneven_settings"]
