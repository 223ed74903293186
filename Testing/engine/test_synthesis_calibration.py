"""What is shown of the network's heads, and conformal bands, by their properties."""

import numpy as np
import pytest
import torch
from VirtualContrastLib.models.calibration import Display
from VirtualContrastLib.networks.residual_enhancement import HEADS
from VirtualContrastLib.synthesis.calibration import conformal_factor, needed_factor, shown

MEDIAN, CAREFUL, LOGIT = 2, 10, 12


def heads(**channels):
    made = torch.zeros(1, HEADS, 1, 1)
    for channel, value in channels.items():
        made[0, {"median": MEDIAN, "careful": CAREFUL, "logit": LOGIT}[channel]] = value
    return made


def value(display, **channels):
    return float(shown(heads(**channels), 0, display))


def test_doubtful_pixels_show_the_shrunk_careful_prediction():
    display = Display(background=0.5, lesion=1.0, threshold=0.0)
    assert value(display, median=0.8, careful=0.2, logit=-20.0) == pytest.approx(0.1, abs=1e-6)


def test_sure_pixels_show_their_share_of_the_median():
    display = Display(background=0.5, lesion=0.9, threshold=0.0)
    assert value(display, median=0.8, careful=0.2, logit=20.0) == pytest.approx(0.72, abs=1e-6)
    assert value(display, median=0.8, careful=0.2, logit=0.0) == pytest.approx((0.1 + 0.72) / 2, abs=1e-6)


def test_a_sure_pixel_is_never_shown_below_the_careful_value():
    display = Display(background=1.0, lesion=1.0, threshold=0.0)
    assert value(display, median=0.1, careful=0.3, logit=5.0) == pytest.approx(0.3)


def test_shown_rises_with_the_probability():
    display = Display(background=0.5, lesion=1.0, threshold=1.0)
    values = [value(display, median=0.8, careful=0.2, logit=float(z)) for z in np.linspace(-4, 6, 21)]
    assert np.all(np.diff(values) > 0)


def test_conformal_bands_cover_new_cases():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        center = rng.uniform(0, 1, 120)
        real = center + rng.standard_t(3, 120) * 0.2
        needed = [needed_factor(r, c - 0.1, c, c + 0.1) for r, c in zip(real, center, strict=True)]
        covered.append(np.mean(np.array(needed[60:]) <= conformal_factor(needed[:60], 0.9)))
    assert 0.9 <= np.mean(covered) <= 0.93


def test_too_few_cases_give_no_band():
    with pytest.raises(ValueError, match="too few"):
        conformal_factor([1.0] * 8, 0.9)


def test_needed_factor_is_one_at_the_ends():
    assert needed_factor(0.9, 0.1, 0.5, 0.9) == pytest.approx(1)
    assert needed_factor(0.1, 0.1, 0.5, 0.9) == pytest.approx(1)
    assert needed_factor(0.3, 0.1, 0.5, 0.9) == pytest.approx(0.5)
