"""The radiomics distances against numbers that frd-score 1.0.1 gave for the same pictures.

That package brings 170 MB of OpenCV, so it is not installed for the tests. To repeat: write pictures and masks as PNG
files into folders and call `frd_score.compute_frd([A, B], paths_masks=[MASKS_A, MASKS_B], num_workers=1, ...)`.
"""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from VirtualContrastTrainingLib.metrics import radiomics_distance as frd


@pytest.fixture(scope="module")
def sets():
    """Two sets of six pictures [1, row, column] of 8 bit, of fine and of coarse texture, each with a disk as mask."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:48, :48]
    found = []
    for sigma in (1.0, 1.8):
        found.append([])
        for n in range(6):
            noise = gaussian_filter(rng.normal(size=(48, 48)), sigma)
            picture = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
            disk = (rows - 24) ** 2 + (columns - 22) ** 2 < (8 + n) ** 2
            found[-1].append((picture[None], disk[None]))
    return found


def tables(sets, extractor, **options):
    return [frd.table_of([frd.lesion_features(extractor, *pair, **options) for pair in pairs]) for pairs in sets]


def test_version_1_is_that_of_the_package(sets):
    assert frd.distance_v1(*tables(sets, frd.extractor_v1(), diagnostics=True)) == pytest.approx(10.42672004, rel=1e-6)


def test_version_0_is_that_of_the_package_on_the_texture_groups(sets):
    real, synthetic = tables(sets, frd.extractor_v0())
    assert frd.distance_v0(real, synthetic) == pytest.approx(756.3990528, rel=1e-5)  # frd_version="v0"
    zscored = {"norm": "zscore"}  # norm_type="zscore"
    assert frd.distance_v0(real, synthetic, **zscored) == pytest.approx(8186.515809, rel=1e-5)
    alone = frd.distance_v0(real, synthetic, **zscored, pooled=False)  # and norm_ref="independent"
    assert alone == pytest.approx(1902.830490, rel=1e-5)
