"""Reports as plain values, and the interval of all bootstraps."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from VirtualContrastLib.metrics.bootstrap import percentile_interval
from VirtualContrastTrainingLib.metrics.plain import plain


@dataclass
class Inner:
    value: float
    ci95: tuple[float, float] | None


@dataclass
class Flat:
    inner: Inner

    def as_json(self):
        return {"own": True, **vars(self.inner)}


@dataclass
class Outer:
    name: str
    parts: dict
    flat: Flat


def test_a_report_becomes_what_json_gives_back():
    report = Outer("a", {"x": Inner(math.nan, (1.0, 2.0)), "y": None}, Flat(Inner(3.0, None)))
    values = plain(report)
    assert values == {
        "name": "a",
        "parts": {"x": {"value": None, "ci95": [1.0, 2.0]}, "y": None},
        "flat": {"own": True, "value": 3.0, "ci95": None},
    }
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_the_interval_is_scipys_of_the_same_resamples():
    data = np.random.default_rng(0).normal(size=50)
    found = stats.bootstrap((data,), np.mean, n_resamples=999, method="percentile", rng=1)
    assert percentile_interval(found.bootstrap_distribution) == pytest.approx(tuple(found.confidence_interval))


def test_undefined_resamples_are_left_out_and_too_many_of_them_leave_no_interval():
    values = [1.0, 2.0, math.nan, math.inf]
    assert percentile_interval(values) == percentile_interval([1.0, 2.0]) == pytest.approx((1.025, 1.975))
    assert percentile_interval(values, 4) is not None and percentile_interval(values, 5) is None
    assert percentile_interval([]) is None and percentile_interval([math.nan], 0) is None
