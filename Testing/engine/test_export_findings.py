"""The text of the findings: words of BI-RADS by the numbers, nothing that was not measured, and what it is."""

import pytest
from VirtualContrastLib.export.content import TYPE_NAMES
from VirtualContrastLib.export.findings import (
    FOOTER,
    HEADER,
    Finding,
    delayed_word,
    findings_text,
    shape_word,
)
from VirtualContrastLib.kinetics.parameters import CurveType, initial_word

FULL = Finding(
    name="Lesion 1", side="left", diameters=(14.2, 11.6, 9.9), longest_diameter=15.1, volume=870.0,
    quadrant="upper outer", skin_mm=11.2, nipple_mm=42.0, chest_wall_mm=None, axis_ratio=1.52, solidity=0.93,
    early_pe_percent=143.4, curve_type=TYPE_NAMES[CurveType.PLATEAU], worst_type=TYPE_NAMES[CurveType.WASHOUT],
    type_percent=(10.0, 55.2, 34.8), ser=1.04, ftv=810.0,
)  # fmt: skip


def test_a_finding_reads_as_it_was_measured():
    text = findings_text([FULL], "some-model", "run-7")
    assert (
        text
        == f"""{HEADER}

Model some-model, run run-7.

Lesion 1: left breast, upper outer quadrant.
Size 14 x 12 x 10 mm (left-right, anterior-posterior, superior-inferior), longest diameter 15 mm, volume 0.87 cm³.
Distance from nipple 42 mm, skin 11 mm (geometric estimates).
Outline oval (axis ratio 1.5, solidity 0.93).
Kinetics, synthetic: initial phase fast (PE 143 %), delayed phase plateau, worst curve washout.
Voxels: 10 % persistent, 55 % plateau, 35 % washout.
SER 1.04, FTV 0.81 cm³.

{FOOTER}
"""
    )


def test_what_is_not_known_is_not_told():
    bare = Finding(
        name="Lesion 2",
        side="unknown",
        diameters=(4.0, 3.0, 3.0),
        longest_diameter=4.4,
        volume=20.0,
        quadrant="unknown",
    )
    text = findings_text([bare], "m", "r")
    assert "breast, side not known." in text
    assert "Focus" in text
    for word in ("quadrant", "Distance", "Kinetics", "Voxels", "SER", "None", "nan"):
        assert word not in text.replace("BI-RADS", "")
    assert "No lesion was found" in findings_text([], "m", "r")
    assert findings_text([], "m", "r").startswith("SYNTHETIC")


@pytest.mark.parametrize(
    ("pe", "word"), [(49.9, "slow"), (50.0, "medium"), (100.0, "medium"), (100.1, "fast"), (-5.0, "slow")]
)
def test_initial_enhancement_has_the_atlas_bounds(pe, word):
    assert initial_word(pe) == word


def test_shapes_and_delayed_phases_have_words():
    assert [shape_word(12.0, ratio, 0.9) for ratio in (1.0, 1.3, 1.31)] == ["round", "round", "oval"]
    assert shape_word(12.0, 1.0, 0.79) == "irregular"
    assert shape_word(12.0, None, None) == ""
    words = [delayed_word(TYPE_NAMES[kind]) for kind in CurveType]
    assert words == ["no enhancement", "persistent", "plateau", "washout", "not assessed"]
