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

MOST_COPIES = 13.0
"""Of float32 voxels; 11.7 were measured."""
RUN = """
import re, sys
from VirtualContrastLib.run.pipeline import RunSettings, run
settings = RunSettings(model=sys.argv[1], segmentation="threshold", device="cpu", precision="fp32")
run(sys.argv[2], sys.argv[3], settings)
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def peak_bytes(model, pre, out):
    """Most resident memory that one run in a new process ever had."""
    command = [sys.executable, "-c", RUN, str(model), str(pre), str(out)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]) << 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
def test_a_run_takes_few_copies_of_its_input(tmp_path):
    """Of two studies whose slices are alike, so that libraries, weights and the network's maps do not count."""
    bias = torch.zeros(HEADS)
    bias[:10] = 0.2
    in_plane = {"policy": "native", "pad_multiple": 4}
    model = package(tmp_path / "model", last_bias=bias, in_plane=in_plane).folder
    pre, _ = Chest().images()
    peaks, voxels = [], []
    for times in (2, 10):
        thin = image(np.repeat(sitk.GetArrayFromImage(pre), times, axis=0), (2.0, 2.0, 3.0 / times))
        path = tmp_path / f"pre_{times}.nrrd"
        sitk.WriteImage(thin, str(path))
        peaks.append(peak_bytes(model, path, tmp_path / f"out_{times}"))
        voxels.append(thin.GetNumberOfPixels())
        assert (tmp_path / f"out_{times}" / "maps" / "ser.nrrd").is_file()
    copies = (peaks[1] - peaks[0]) / (4 * (voxels[1] - voxels[0]))
    assert 3 < copies < MOST_COPIES  # phases and pre-contrast volume alone are three
