"""Where the demo module of the host is, and the place of the volume that its tests use."""

from pathlib import Path

import numpy as np

HOST_FOLDER = Path(__file__).resolve().parents[1] / "host"
DEMO_EXTENSION = HOST_FOLDER / "demo_module"
DEMO = DEMO_EXTENSION / "HostDemo" / "HostDemo.py"
IJK_TO_RAS = np.array([[-2.0, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 3, -30], [0, 0, 0, 1]])
