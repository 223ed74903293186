"""What is shown of the network's heads, and conformal bands, by their properties."""

import numpy as np
import pytest
import torch
from VirtualContrastLib.models.calibration import Display
from VirtualContrastLib.networks.residual_enhancement import HEADS
from VirtualContrastLib.synthesis.calibration import conformal_factor, needed_factor, shown

QUIET, MEDIAN, PLAUSIBLE, LOGIT = 1, 2, 3, 12
DISPLAY = Display(background=0.5, hint=0.04, lesion=1.5, threshold=2.0, softness=0.5)


def heads(quiet, median, logit, plausible=1.0):
    made = torch.zeros(1, HEADS, 1, 1)
    made[0, QUIET], made[0, MEDIAN], made[0, PLAUSIBLE], made[0, LOGIT] = quiet, median, plausible, logit
    return made


def value(*levels):
    return float(shown(heads(*levels), 0, DISPLAY))


def test_doubtful_pixels_show_a_share_of_the_low_quantile():
    assert value(0.2, 0.8, -20.0) == pytest.approx(0.1, abs=1e-6)


def test_sure_pixels_show_their_magnified_median():
    assert value(0.2, 0.8, 20.0) == pytest.approx(1.2, abs=1e-6)


def test_at_the_threshold_half_of_the_way_is_shown():
    quiet = 0.1 + 0.04 / (1 + np.exp(-2))
    assert value(0.2, 0.8, 2.0) == pytest.approx((quiet + 1.2) / 2, abs=1e-6)


def test_a_sure_pixel_is_never_shown_below_the_quiet_value():
    assert value(0.6, 0.1, 5.0) == pytest.approx(0.3 + 0.04 / (1 + np.exp(-5)), abs=1e-6)


def test_the_hint_never_exceeds_what_is_plausible():
    assert value(0.0, 0.0, 0.0, 0.005) == pytest.approx(0.005)
    assert value(0.0, 0.0, 0.0, 1.0) == pytest.approx(0.02)
    assert value(0.0, 0.0, 0.0, 0.0) == 0


def test_shown_rises_with_the_probability_where_nothing_else_differs():
    values = [value(0.2, 0.8, float(z)) for z in np.linspace(-4, 6, 21)]
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
