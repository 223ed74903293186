"""Kinetic agreement: the measures against closed forms and brute force, and the kinetics command on files."""

import csv
import itertools
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from program import call
from sklearn.metrics import cohen_kappa_score
from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.study import Phase
from VirtualContrastTrainingLib.metrics.kinetics import CurvePair, dtw, kinetic_report
from VirtualContrastTrainingLib.metrics.published_kinetics import published_curve
from VirtualContrastTrainingLib.papers.kinetic_cases import read_curves
from VirtualContrastTrainingLib.papers.kinetics_figures import _examples_first, drawn_at_random

TIMES = (90.0, 220.0, 350.0)
TYPES = {"I": (1.6, 1.9, 2.3), "II": (2.2, 2.3, 2.2), "III": (2.6, 2.2, 1.9)}
CURVES = st.lists(st.floats(-300, 300), min_size=1, max_size=5)


def warped_by_brute_force(a, b):
    """Least cost over every monotone path from the first to the last points."""

    def paths(i, j):
        if (i, j) == (len(a) - 1, len(b) - 1):
            yield [(i, j)]
        for step in ((1, 0), (0, 1), (1, 1)):
            if i + step[0] < len(a) and j + step[1] < len(b):
                yield from ([(i, j), *rest] for rest in paths(i + step[0], j + step[1]))

    return min(sum(abs(a[i] - b[j]) for i, j in path) for path in paths(0, 0))


@given(CURVES, CURVES)
@settings(max_examples=60, deadline=None)
def test_dtw_is_the_least_cost_over_all_alignments(a, b):
    assert dtw(np.array(a), np.array(b)) == pytest.approx(warped_by_brute_force(a, b), abs=1e-9)


def test_dtw_forgives_a_shift_in_time_that_the_pointwise_error_does_not():
    early, late = np.array([0, 100, 100, 100, 50]), np.array([0, 0, 100, 100, 50])
    assert dtw(early, late) == 0 and np.abs(early - late).sum() == 100


def image(array, spacing=(2.0, 2.0, 3.0)):
    made = sitk.GetImageFromArray(np.ascontiguousarray(array))
    made.SetSpacing(spacing)
    return made


def volumes(levels, *, base=200.0, seed=0, shape=(4, 20, 24)):
    """Pre-contrast and phases with one square lesion a tuple of `levels` (signal over baseline a phase), and labels."""
    rng = np.random.default_rng(seed)
    pre = base + rng.normal(0, 2, shape)
    labels = np.zeros(shape, np.uint8)
    phases = [pre * 1.1 for _ in levels[0]]
    for number, ratios in enumerate(levels, start=1):
        where = (slice(1, 3), slice(3, 8), slice(8 * number - 6, 8 * number - 1))
        labels[where] = number
        for phase, ratio in zip(phases, ratios, strict=True):
            phase[where] = pre[where] * ratio
    return [image(x.astype(np.float32)) for x in (pre, *phases)], image(labels)


def pair(real, synthetic, patient="p", case=1):
    def curve(levels):
        images, labels = volumes([levels])
        return lesion_curves(
            [Phase(n, im, t, n > 0) for n, (im, t) in enumerate(zip(images, (0.0, *TIMES), strict=True))], labels
        )[0]

    return CurvePair(patient, case, curve(synthetic), curve(real))


def test_a_synthetic_curve_that_is_a_fraction_of_the_real_one_has_its_known_errors():
    half = tuple(1 + (r - 1) / 2 for r in TYPES["I"])
    row = kinetic_report([pair(TYPES["I"], half)]).per_lesion[0]
    missing = [50 * (r - 1) for r in TYPES["I"]]
    assert row.enhancement_error == pytest.approx(np.mean(missing), rel=1e-5)
    assert row.enhancement_error_squared == pytest.approx(np.mean(np.square(missing)) / 1e4, rel=1e-5)
    assert (row.same_order, row.spearman) == (True, 1) and row.same_order_as_published is None
    assert (row.peak_pe_real, row.peak_pe_synthetic) == pytest.approx((130, 65), rel=1e-4)
    assert (row.type_real, row.time_to_peak_real) == ("I", 350)


def test_reversed_phases_are_seen_by_order_rank_type_and_time_to_peak():
    report = kinetic_report([pair(TYPES["I"], TYPES["I"][::-1])])
    row = report.per_lesion[0]
    assert not row.same_order and row.spearman < 1
    assert (row.type_real, row.type_synthetic) == ("I", "III")
    bias = {entry.quantity: entry.bias for entry in report.bland_altman}
    assert bias["time to peak"] == 90 - 350
    assert bias["peak PE"] == pytest.approx(0, abs=1e-4)
    assert bias["PE, phase 1"] == pytest.approx(70, rel=1e-4) and bias["PE, phase 3"] == pytest.approx(-70, rel=1e-4)


def test_kappa_equals_scikit_learns_and_its_interval_is_by_patient():
    kinds = list(itertools.product(TYPES, TYPES))
    kinds = [*kinds, *[(k, k) for k in ("I", "I", "II", "II", "III", "III")]]
    pairs = [pair(TYPES[a], TYPES[b], str(n % 5), n % 5) for n, (a, b) in enumerate(kinds)]
    types = kinetic_report(pairs).types
    assert types.kappa == pytest.approx(cohen_kappa_score(*zip(*kinds, strict=True)))
    assert types.same_type == pytest.approx(9 / 15) and types.compared == 15
    assert types.kappa_ci95[0] < types.kappa < types.kappa_ci95[1]
    alone = kinetic_report([p for p in pairs if p.patient == "0"]).types
    assert alone.kappa_ci95 is None


def test_initial_enhancement_agrees_in_the_words_of_bi_rads():
    """Early PE of 30, 60 and 160 % is slow, medium and fast."""
    curves = {"slow": (1.3, 1.7, 2.1), "medium": TYPES["I"], "fast": TYPES["III"]}
    kinds = [*itertools.product(curves, curves), *[(k, k) for k in curves]]
    report = kinetic_report([pair(curves[a], curves[b], str(n), n) for n, (a, b) in enumerate(kinds)])
    assert [(row.initial_real, row.initial_synthetic) for row in report.per_lesion] == kinds
    assert report.initial.labels == ("slow", "medium", "fast")
    assert report.initial.confusion == [[2, 1, 1], [1, 2, 1], [1, 1, 2]]
    assert report.initial.kappa == pytest.approx(cohen_kappa_score(*zip(*kinds, strict=True)))


def test_the_worst_type_is_that_of_a_part_of_the_lesion_where_the_mean_curve_persists():
    images, labels = volumes([TYPES["I"]])
    inside = np.argwhere(sitk.GetArrayFromImage(labels) > 0)
    part = tuple(inside[: len(inside) // 10].T)
    arrays = [sitk.GetArrayFromImage(im) for im in images]
    for array, ratio in zip(arrays[1:], TYPES["III"], strict=True):
        array[part] = arrays[0][part] * ratio
    phases = [Phase(n, image(a), t, n > 0) for n, (a, t) in enumerate(zip(arrays, (0.0, *TIMES), strict=True))]
    mixed = lesion_curves(phases, labels)[0]
    plain = pair(TYPES["I"], TYPES["I"])
    report = kinetic_report([replace(plain, real=mixed)])
    (row,) = report.per_lesion
    assert (row.type_real, row.type_synthetic) == ("I", "I") and report.types.same_type == 1
    assert (row.worst_real, row.worst_synthetic) == ("III", "I") and report.worst_types.same_type == 0


def test_bland_altman_limits_are_those_of_the_differences():
    pairs = [
        pair(TYPES["I"], tuple(1 + (r - 1) * gain for r in TYPES["I"]), str(n)) for n, gain in enumerate((0.8, 1, 1.4))
    ]
    found = next(e for e in kinetic_report(pairs).bland_altman if e.quantity == "peak PE")
    differences = np.array([-0.2, 0, 0.4]) * 130
    assert found.bias == pytest.approx(differences.mean(), rel=1e-4)
    limits = differences.mean() + np.array([-1.96, 1.96]) * differences.std(ddof=1)
    assert (found.lower, found.upper) == pytest.approx(tuple(limits), rel=1e-4)


def run(capsys, *arguments, code=0):
    assert call("kinetics", *arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def write_case(root, name, levels, *, synthetic=None):
    """A real case folder, and phases made from it, as files."""
    images, labels = volumes(levels, seed=len(name))
    made, _ = volumes(synthetic or levels, seed=len(name))
    for folder, series in ((root / "real" / name, images), (root / "made" / name, made)):
        folder.mkdir(parents=True)
        for number, volume in enumerate(series):
            if number or folder.parent.name == "real":
                sitk.WriteImage(volume, str(folder / ("pre.nrrd" if number == 0 else f"phase_{number}.nrrd")))
    sitk.WriteImage(labels, str(root / "real" / name / "lesions.nrrd"))
    return root / "real", root / "made"


def test_command_reads_volumes_and_writes_tables_and_the_papers_figures(tmp_path, capsys):
    for name in ("a", "b", "c"):
        real, made = write_case(tmp_path, name, [TYPES["I"], TYPES["III"]], synthetic=[TYPES["I"], TYPES["II"]])
    result = run(capsys, "--real", real, "--synthetic", made, "--times", *TIMES, "-o", tmp_path / "out")
    assert (result["lesions"], result["cases"], result["data"]) == (6, 3, "images given")
    assert result["types"]["same_type"] == 0.5
    out = tmp_path / "out"
    for name in ("osuala2025-figure6", "osuala2025-figure7", "osuala2025-figure8", "chung2025-figure3", "bland-altman"):
        assert (out / f"{name}.png").stat().st_size > 5000
        assert f"{name}.png" in (out / "report.html").read_text()
    rows = list(csv.DictReader((out / "curves.csv").open()))
    assert len(rows) == 6 * 2 * 4
    last = next(r for r in rows if (r["case"], r["lesion"], r["series"], r["phase"]) == ("1", "1", "real", "3"))
    assert float(last["pe_percent"]) == pytest.approx(130, rel=1e-3)
    assert json.loads((out / "kinetics.json").read_text()) == result


def test_a_broken_case_is_listed_and_the_others_are_compared(tmp_path, capsys):
    for name in ("a", "b", "c"):
        real, made = write_case(tmp_path, name, [TYPES["I"]])
    constant = sitk.ReadImage(str(made / "b" / "phase_2.nrrd")) * 0 + 5
    sitk.WriteImage(constant, str(made / "b" / "phase_2.nrrd"))
    result = run(capsys, "--real", real, "--synthetic", made, "--times", *TIMES, code=4)
    assert result["failed_cases"] == [2] and result["lesions"] == 2
    assert "1 cases could not be used." in result["notes"]


def test_missing_times_and_lesions_are_said(tmp_path, capsys):
    real, made = write_case(tmp_path, "a", [TYPES["I"]])
    with pytest.raises(InputError, match="times"):
        run(capsys, "--real", real, "--synthetic", made)
    (real / "a" / "lesions.nrrd").unlink()
    with pytest.raises(InputError, match="no lesions"):
        run(capsys, "--real", real, "--synthetic", made, "--times", *TIMES)
    with pytest.raises(InputError, match="go together"):
        run(capsys, "--real", real)


def test_result_folders_of_a_batch_with_real_phases_are_read(tmp_path, capsys):
    from VirtualContrastLib import files
    from VirtualContrastLib.export.tables import write_curves_csv

    made = partial(pair, TYPES["III"], TYPES["II"])
    for name in ("a", "b"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        write_curves_csv(folder / "curves.csv", [made().synthetic])
        write_curves_csv(folder / "curves_real.csv", [made().real])
        fields = dict.fromkeys(("run_id", "created_utc", "fingerprint"), "x")
        fields |= {"kind": "synthesis", "settings": {}, "device": {}, "versions": {}, "timing_s": {}, "summary": {}}
        fields |= {"inputs": [], "models": [], "phases": [], "warnings": [], "arbitrary_units": False}
        files.write_json(folder / "manifest.json", {**fields, "schema_version": 1})
    direct = kinetic_report([made()]).per_lesion[0]
    result = run(capsys, tmp_path / "results")
    assert result["lesions"] == 2 and result["data"] == "result folders given"
    for key in ("enhancement_error", "dtw", "ser_real", "peak_pe_synthetic"):
        assert result["per_lesion"][0][key] == pytest.approx(getattr(direct, key), rel=1e-4)
    (tmp_path / "results" / "b" / "curves_real.csv").unlink()
    assert run(capsys, tmp_path / "results", code=4)["failed_cases"] == [2]


def test_a_damaged_table_of_curves_is_refused(tmp_path):
    (tmp_path / "curves.csv").write_text("lesion,time_s\none,2\n")
    with pytest.raises(InputError, match="not a readable table of curves"):
        read_curves(tmp_path / "curves.csv")


def test_kinetics_as_published_are_means_of_slice_means_of_8_bit_volumes():
    rng = np.random.default_rng(2)
    phases = [rng.integers(0, 4000, (4, 8, 9)).astype(np.float32) * (n + 1) for n in range(3)]
    lesion = np.zeros((4, 8, 9), bool)
    lesion[1, 2:4, 2:4], lesion[2, 1:7, 1:8] = True, True  # a small and a large slice count alike
    found = published_curve(phases, lesion)
    for n, volume in enumerate(phases):
        gray = np.rint((volume - volume.min()) * (255 / (volume.max() - volume.min())))
        assert found.signal[n] == pytest.approx(np.mean([gray[k][lesion[k]].mean() for k in (1, 2)]), abs=0.02)
        assert found.sd[n] == pytest.approx(np.mean([gray[k][lesion[k]].std() for k in (1, 2)]), abs=0.02)
    assert not np.isclose(found.signal[0], np.mean(phases[0][lesion] / phases[0].max() * 255))
    # Its own scale hides that each phase is brighter than the one before.
    assert abs(found.signal[2] - found.signal[0]) < 60 < phases[2][lesion].mean() - phases[0][lesion].mean()


def test_figure_8_shows_33_lesions_drawn_at_random_and_all_of_fewer():
    many = list(range(50))
    drawn = drawn_at_random(many)
    assert len(set(drawn)) == 33 and drawn == sorted(drawn) and drawn != many[:33] and drawn == drawn_at_random(many)
    assert drawn_at_random(many[:33]) == many[:33]


def test_an_example_of_each_curve_type_comes_first():
    assert _examples_first(["II", "no enhancement", "II", "I", "III", "I"]) == [3, 0, 4, 1, 2, 5]
    assert _examples_first(["no enhancement", "III"]) == [1, 0]
