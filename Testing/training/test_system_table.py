"""The table of all systems: measures against numbers known by hand, and steps counted from outside of any loop."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from system_table import (
    COPY_LOW,
    COPY_PHASE_1,
    COPY_PRE,
    LINE,
    MODEL,
    THRESHOLD,
    Measured,
    averages,
    fit_line,
    measure_lesions,
    measure_mammogram,
    measure_phases,
)
from training_cost import peak_memory_mib, step_clock
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.card import Inputs, ModelCard
from VirtualContrastLib.synthesis.synthesizer import Synthesis
from VirtualContrastTrainingLib.data.mammogram_phantom import write_phantom_pair
from VirtualContrastTrainingLib.data.mammograms import LOW_ENERGY, RECOMBINED
from VirtualContrastTrainingLib.data.phantom.anatomy import Tissue

SHAPE = (3, 16, 20)
LESION = (slice(1, 2), slice(4, 7), slice(5, 9))
SIGNALS = {"pre": (100, 100), "phase_1": (110, 300), "phase_2": (120, 250)}  # breast and lesion
TIMES = [0.0, 90.0, 220.0]


def card(*phases):
    return ModelCard.model_construct(id="made-up", inputs=Inputs(phases=list(phases)))


def volume(breast, lesion):
    array = np.zeros(SHAPE, np.float32)
    array[:, 2:] = breast
    array[LESION] = lesion
    return array


def write(folder, name, array):
    sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nrrd"))


@pytest.fixture
def case(tmp_path):
    """Uniform breasts below two rows of air, with one lesion; the acquired volumes are 5 above the truth."""
    folder = tmp_path / "case_1"
    folder.mkdir()
    for name, (breast, lesion) in SIGNALS.items():
        write(folder, f"truth_{name}", volume(breast, lesion))
        write(folder, name, volume(breast, lesion) + 5)
    labels = np.zeros(SHAPE, np.uint8)
    labels[LESION] = 1
    write(folder, "lesions", labels)
    tissue = np.full(SHAPE, Tissue.FAT, np.uint8)
    tissue[:, :2] = Tissue.AIR
    tissue[LESION] = Tissue.LESION
    write(folder, "tissue", tissue)
    description = {"images": [f"{name}.nrrd" for name in SIGNALS], "times_s": TIMES}
    (folder / "case.json").write_text(json.dumps(description))
    return folder


class Answers:
    """Gives the phases it was made with, and keeps what it was shown and asked."""

    def __init__(self, arrays, times_s=None, *, arbitrary_units=False):
        self.arrays, self.times_s, self.arbitrary_units = arrays, times_s, arbitrary_units

    def synthesize_study(self, study, events, *, times_s, perturbations, seed):
        self.study, self.asked = study, times_s
        phases = [sitk.GetImageFromArray(array) for array in self.arrays]
        times = times_s if self.times_s is None else self.times_s
        return Synthesis(phases, list(times or []), None, self.arbitrary_units, study.pre.image)


def by_method(found, phase):
    return {one.method: one.values for one in found if one.phase == phase}


def test_errors_are_those_computed_by_hand(case):
    model = Answers([volume(112, 305), volume(120, 250)])
    found = measure_phases(case, model, card(0))
    assert (model.asked, len(model.study.real)) == (TIMES[1:], 0)
    lesion, breast = 12, 3 * 14 * 20
    first = by_method(found, 1)
    assert first[MODEL]["mae"] == pytest.approx((2 * (breast - lesion) + 5 * lesion) / breast)
    # True PE 200 %; made from the acquired pre-contrast 105: 100 (305 - 105) / 105.
    assert first[MODEL]["pe_error"] == pytest.approx(200 - 100 * 200 / 105)
    assert first[COPY_PRE]["mae"] == pytest.approx((5 * (breast - lesion) + 195 * lesion) / breast)
    assert first[COPY_PRE]["pe_error"] == pytest.approx(200)
    second = by_method(found, 2)
    assert second[MODEL]["mae"] == 0
    assert second[MODEL]["ssim"] == pytest.approx(1)
    assert second[COPY_PRE]["ssim"] < 1
    assert COPY_PHASE_1 not in second


def test_a_model_that_reads_phase_1_is_shown_it_and_compared_with_copying_it(case):
    model = Answers([volume(120, 250)])
    found = measure_phases(case, model, card(0, 1))
    assert [phase.index for phase in model.study.real] == [1]
    assert model.asked == [220]
    assert {one.phase for one in found} == {2}
    # The acquired phase 1 has 305 in the lesion over 105 before; the true phase 2 has 150 %.
    assert by_method(found, 2)[COPY_PHASE_1]["pe_error"] == pytest.approx(100 * 200 / 105 - 150)


def test_what_cannot_be_compared_is_refused(case):
    with pytest.raises(InputError, match="makes one at 100 s"):
        measure_phases(case, Answers([volume(1, 1)], [100.0]), card(0))
    with pytest.raises(InputError, match="arbitrary units"):
        measure_phases(case, Answers([volume(1, 1)] * 2, arbitrary_units=True), card(0))
    (case / "truth_pre.nrrd").unlink()
    with pytest.raises(InputError, match="--noise-free"):
        measure_phases(case, Answers([volume(1, 1)] * 2), card(0))


def test_mammograms_are_measured_by_what_changes(tmp_path):
    folder = write_phantom_pair(3, tmp_path / "pair", (96, 64))
    low, real = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))) for name in (LOW_ENERGY, RECOMBINED))
    values = by_method(measure_mammogram(folder, Answers([real + 7.0]), fit_line([folder])), 0)
    assert values[MODEL]["change_mae"] == pytest.approx(7)
    assert values[MODEL]["uptake_mae"] == pytest.approx(7)
    assert values[COPY_LOW]["change_mae"] > values[LINE]["change_mae"] > 7
    assert low.shape == real.shape == (1, 96, 64)


def test_the_line_is_the_one_that_made_the_pair(tmp_path):
    folder = write_phantom_pair(3, tmp_path / "pair", (96, 64))
    low = sitk.ReadImage(str(folder / LOW_ENERGY))
    sitk.WriteImage(sitk.Cast(low, sitk.sitkFloat64) * 0.25 + 1500.0, str(folder / RECOMBINED))
    assert fit_line([folder]) == pytest.approx((0.25, 1500))


def test_dice_is_that_of_the_lesions_and_absent_without_any(case):
    class Net:
        def segment(self, phases, events=None):
            assert sorted(phases) == [0, 1, 2]
            labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "lesions.nrrd")))
            labels[1, 4] = 0  # four of its twelve voxels
            return sitk.GetImageFromArray(labels)

    assert by_method(measure_lesions(case, Net()), 0)[MODEL]["dice"] == pytest.approx(2 * 8 / (8 + 12))
    write(case, "lesions", np.zeros(SHAPE, np.uint8))
    found = measure_lesions(case, Net())
    assert {one.method for one in found} == {MODEL, THRESHOLD}
    assert averages(found)[MODEL] == {"dice": None}


def test_averages_are_by_method_and_phase_and_leave_out_what_is_not_defined():
    found = [
        Measured("a", MODEL, 1, {"mae": 1.0, "pe_error": 10.0}),
        Measured("b", MODEL, 1, {"mae": 3.0, "pe_error": float("nan")}),
        Measured("a", MODEL, 2, {"mae": 5.0}),
        Measured("a", COPY_PRE, 1, {"mae": 9.0}),
    ]
    assert averages(found) == {
        MODEL: {"phase_1_mae": 2.0, "phase_1_pe_error": 10.0, "phase_2_mae": 5.0},
        COPY_PRE: {"phase_1_mae": 9.0},
    }
    assert found[0].as_row() == {"case": "a", "method": MODEL, "phase": 1, "mae": 1.0, "pe_error": 10.0}


def optimizer():
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    return torch.optim.Adam([parameter])


def test_the_clock_counts_a_gan_s_steps_once_and_the_stages_of_a_training_together():
    generator, discriminator, second_stage = optimizer(), optimizer(), optimizer()
    generator.step()  # not counted: before the clock
    with step_clock() as clock:
        for _ in range(2):
            generator.step()
        for _ in range(3):
            generator.step()
            discriminator.step()
        for _ in range(4):
            second_stage.step()
    second_stage.step()
    assert [len(times) for times in clock.steps.values()] == [5, 3, 4]
    assert clock.count == 5 + 4
    assert 0 < clock.step_ms < 1000 * clock.span_s


@pytest.mark.slow
def test_peak_memory_is_at_least_what_was_allocated():
    before = peak_memory_mib()
    block = np.ones(int((before + 64) * 2**17))  # 8 bytes each: more than the peak so far
    assert peak_memory_mib() >= block.nbytes / 2**20
