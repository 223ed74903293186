"""Memorization and diversity on images whose neighbors are known: copies, new images, one image for all patients."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics.neighbors import (
    Diversity,
    Slices,
    diversity,
    memorization,
    training_images,
    unit_vector,
)


def picture(seed, side=64):
    """Smooth random structure, uint8."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 6, 6)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")[0, 0].numpy()
    return np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8)


def slices(pictures, patients):
    return Slices(np.stack([unit_vector(one) for one in pictures]), np.array(patients))


@pytest.fixture(scope="module")
def learned():
    return slices([picture(seed) for seed in range(30)], [f"t{seed}" for seed in range(30)])


def test_the_distance_is_that_of_the_correlation():
    first, second = picture(0), picture(1)
    small = [one.reshape(32, 2, 32, 2).mean(axis=(1, 3)).ravel() for one in (first.astype(float), second.astype(float))]
    expected = np.sqrt(2 - 2 * np.corrcoef(*small)[0, 1])
    assert np.linalg.norm(unit_vector(first) - unit_vector(second)) == pytest.approx(expected, rel=1e-5)
    assert np.linalg.norm(unit_vector(first) - unit_vector(0.5 * first + 30)) < 1e-3
    assert unit_vector(np.full((40, 40), 7.0)) is None


def test_copies_of_training_images_are_found_and_new_images_are_not(learned):
    patients = [f"p{n}" for n in range(12)]
    rng = np.random.default_rng(0)
    copies = slices([picture(n) * 0.8 + rng.normal(0, 3, (64, 64)) for n in range(12)], patients)
    new = slices([picture(100 + n) for n in range(12)], patients)
    held_out = slices([picture(200 + n) for n in range(12)], patients)
    found = memorization(copies, held_out, learned)
    assert found.synthetic.copies == 1.0 and found.synthetic.median < 0.2
    assert found.real.copies < 0.5 and found.real.median > 0.5
    assert found.patients_in_training == 0 and found.training_slices == 30
    honest = memorization(new, held_out, learned)
    assert honest.synthetic.copies < 0.5
    assert honest.synthetic.median == pytest.approx(honest.real.median, rel=0.2)


def test_one_picture_for_all_patients_has_no_diversity():
    patients = [f"p{n}" for n in range(12)]
    real = slices([picture(n) for n in range(12)], patients)
    assert diversity(real, real).diversity == pytest.approx(1.0)
    assert diversity(real, real).coverage == 1.0
    rng = np.random.default_rng(1)
    same = slices([picture(50) + rng.normal(0, 2, (64, 64)) for _ in range(12)], patients)
    found = diversity(same, real)
    assert found.diversity < 0.2 and found.coverage < 0.8
    between = [np.linalg.norm(real.vectors[a] - real.vectors[b]) for a in range(12) for b in range(12) if a != b]
    assert found.real == pytest.approx(np.mean(between), rel=1e-4)
    alone = slices([picture(0)], ["p"])
    assert diversity(alone, alone) == Diversity(None, None, None, None)


def test_the_command_tells_both(tmp_path, capsys):
    for folder, first in (("real", 200), ("synthetic", 0), ("training", 0)):
        (tmp_path / folder).mkdir()
        for number in range(6):
            Image.fromarray(picture(first + number)).save(tmp_path / folder / f"Breast_MRI_00{number}_slice1.png")
    words = ["evaluate", "--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic", "--json", "--diversity"]
    assert call(*words, "--training", tmp_path / "training", "-o", tmp_path / "out") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["memorization"]["synthetic"]["least"] < 0.01 and found["memorization"]["synthetic"]["copies"] == 1.0
    assert found["memorization"]["patients_in_training"] == 6
    assert 0.5 < found["diversity"]["diversity"] < 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "memorization: copies" in page and "no check" in page and "Breast_MRI" not in page
    with pytest.raises(InputError, match="--training"):
        training_images(tmp_path / "nothing")
