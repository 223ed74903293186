"""A series of a model with a scale of its own: every real phase is on that scale, wherever it is asked for."""

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.run.parts import PhaseResult, Series
from VirtualContrastLib.study import Phase, Source, Study


def series(*, arbitrary_units):
    rng = np.random.default_rng(0)
    pre, first, second = (
        sitk.GetImageFromArray(rng.uniform(100, high, (4, 8, 8)).astype(np.float32)) for high in (900, 1400, 2000)
    )
    real = (Phase(1, first, 90.0, synthetic=False), Phase(2, second, 220.0, synthetic=False))
    made = PhaseResult(Phase(2, sitk.RescaleIntensity(second, 0.0, 255.0), 220.0, synthetic=True))
    study = Study(Phase(0, pre, 0.0, synthetic=False), Source((), "memory", "0" * 64), real)
    own = sitk.RescaleIntensity(pre, 0.0, 255.0) if arbitrary_units else pre
    return Series(study, own, (made,), real, inputs=(1,), arbitrary_units=arbitrary_units)


def ranges(phases):
    arrays = [sitk.GetArrayViewFromImage(phase.image) for phase in phases]
    return [(round(float(array.min()), 2), round(float(array.max()), 2)) for array in arrays]


def test_curves_have_the_phases_that_the_model_read_on_the_scale_of_those_that_it_made():
    found = series(arbitrary_units=True)
    assert [phase.index for phase in found.phases] == [0, 1, 2]
    assert ranges(found.phases) == [(0.0, 255.0)] * 3
    assert ranges([*found.acquired, *found.compared, *found.input_phases]) == [(0.0, 255.0)] * 5
    for phase, expected in zip(found.acquired, (found.study.pre, *found.real), strict=True):
        own = sitk.RescaleIntensity(expected.image, 0.0, 255.0)
        difference = sitk.GetArrayFromImage(phase.image) - sitk.GetArrayFromImage(own)
        assert abs(difference).max() < 1e-3, "SimpleITK's own rescaling"


def test_with_the_units_of_the_input_nothing_is_scaled():
    found = series(arbitrary_units=False)
    assert all(a.image is b.image for a, b in zip(found.acquired, (found.study.pre, *found.real), strict=True))
