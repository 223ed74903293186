"""The quality table on phantoms: its counting against hand-made label maps, its cards against what was measured."""

import json
import math

import numpy as np
import pytest
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import ModelCard, load_package, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastTrainingLib.papers.model_cards import record_metrics
from VirtualContrastTrainingLib.papers.phantom_quality import (
    CaseQuality,
    Detection,
    as_metrics,
    detect,
    quality_cases,
    summarize,
)

CONFIG = {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1}


def labels(**boxes):
    array = np.zeros((4, 20, 20), dtype=np.uint8)
    for number, (rows, columns) in enumerate(boxes.values(), start=1):
        array[1:3, rows, columns] = number
    return array


def test_a_lesion_is_found_by_overlap_and_the_rest_are_false_positives():
    truth = labels(a=(slice(0, 6), slice(0, 6)), b=(slice(10, 14), slice(10, 14)))
    found = labels(
        far=(slice(16, 20), slice(0, 4)),  # nowhere near
        half=(slice(0, 6), slice(3, 6)),  # half of a
        edge=(slice(13, 20), slice(13, 20)),  # one column of b: IoU 1 / (16 + 49 - 1)
    )
    assert detect(truth, found) == Detection(lesions=2, found=1, false_positives=2)


def test_two_parts_of_one_lesion_are_one_find_and_no_false_positive():
    truth = labels(a=(slice(0, 8), slice(0, 8)))
    found = labels(left=(slice(0, 8), slice(0, 3)), right=(slice(0, 8), slice(5, 8)))
    assert detect(truth, found) == Detection(lesions=1, found=1, false_positives=0)


def test_nothing_found_and_nothing_there():
    empty = labels()
    assert detect(empty, empty) == Detection(0, 0, 0)
    assert detect(labels(a=(slice(0, 4), slice(0, 4))), empty) == Detection(1, 0, 0)


def quality(lesions, found, false_positives, types, pe_error):
    detection = Detection(lesions, found, false_positives)
    return CaseQuality("case", detection, detection, types, lesions, pe_error, 150.0, 0.9, 0.8, 10.0, 20.0, 0.7)


def test_shares_are_over_lesions_and_rates_over_cases():
    summary = summarize([quality(3, 2, 1, 2, 40.0), quality(1, 1, 0, 0, 20.0), quality(0, 0, 2, 0, math.nan)])
    assert summary["lesion sensitivity"] == pytest.approx(3 / 4)
    assert summary["false positives per case"] == pytest.approx(1.0)
    assert summary["curve type agreement"] == pytest.approx(2 / 4)
    assert summary["lesion enhancement error (points of PE)"] == pytest.approx(30.0)


def test_recorded_metrics_stand_in_the_card_and_leave_the_weights_alone(tmp_path):
    card = ModelCard.model_validate(
        {
            "id": "x",
            "version": "1",
            "title": "A test",
            "architecture": {"name": "pix2pixhd", "config": CONFIG},
            "inputs": {},
            "outputs": {"channel_phases": [1], "times_s": [90]},
            "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4}},
            "in_plane": {},
            "trained_on_phantoms": True,
            "license": "Apache-2.0",
        }
    )
    package = save_package(tmp_path / "x", card, build_generator(CONFIG).state_dict(), model_card_md="old")
    metrics = as_metrics(summarize([quality(2, 1, 0, 1, 33.0)]), "one phantom")
    record_metrics(package.folder, metrics)
    again = load_package(package.folder)
    again.verify()
    assert again.card.metrics == metrics
    text = (package.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Trained on simulated phantoms only" in text
    assert "| lesion sensitivity | 0.5 |" in text
    assert again.card.weights_sha256 in text


def test_phantoms_without_their_truth_are_refused(tmp_path):
    (tmp_path / "case_1").mkdir()
    (tmp_path / "case_1" / "case.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="noise-free"):
        quality_cases(tmp_path)
