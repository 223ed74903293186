"""The memory of a run against the size of its input, measured from outside: the peak of processes of their own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from chest_samples import Chest, image
from test_residual_enhancement import package
from VirtualContrastLib.networks.residual_enhancement import HEADS

MOST_COPIES = 12.0
"""Of float32 voxels; 7.6 were measured, with two real phases 10.1."""
RUN = """
import re, sys
from VirtualContrastLib.run.pipeline import RunSettings, run
settings = RunSettings(model=sys.argv[1], segmentation="threshold", device="cpu", precision="fp32")
run(sys.argv[2], sys.argv[3], settings, real=sys.argv[4:])
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def peak_bytes(model, pre, out, real):
    """Most resident memory that one run in a new process ever had."""
    command = [sys.executable, "-c", RUN, *map(str, (model, pre, out, *real))]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]) << 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
@pytest.mark.parametrize("phases", [0, 2], ids=["pre alone", "two real phases"])
def test_a_run_takes_few_copies_of_its_input(tmp_path, phases):
    """Of two studies whose slices are alike, so that libraries, weights and the network's maps do not count."""
    bias = torch.zeros(HEADS)
    bias[:10] = 0.2
    in_plane = {"policy": "native", "pad_multiple": 4}
    model = package(tmp_path / "model", last_bias=bias, in_plane=in_plane).folder
    pre, post = Chest().images()
    peaks, sizes = [], []
    for times in (2, 10):
        paths = []
        for number, phase in enumerate([pre, *[post] * phases]):
            thin = image(np.repeat(sitk.GetArrayFromImage(phase), times, axis=0), (2.0, 2.0, 3.0 / times))
            paths.append(tmp_path / f"phase_{number}_{times}.nrrd")
            sitk.WriteImage(thin, str(paths[-1]))
        peaks.append(peak_bytes(model, paths[0], tmp_path / f"out_{times}", paths[1:]))
        sizes.append(4 * thin.GetNumberOfPixels())
        assert (tmp_path / f"out_{times}" / "maps" / "ser.nrrd").is_file()
    copies = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    assert 3 < copies < MOST_COPIES  # phases and pre-contrast volume alone are three
