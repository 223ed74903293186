"""What the tables of the papers take beside the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..metrics.feature_networks import FeatureNetwork
from ..metrics.lpips import Lpips


@dataclass
class TableOptions:
    """Options of `write_named_table`; each table reads those that it knows.

    `data` says where the images come from, None to find out. `scenarios` maps names to folders of predicted label maps.
    `segmentation` is a lesion model for phantoms. `failures` receives a sentence for each case that could not be used;
    it may name files and is for the terminal only. `networks` are feature networks by name, for FID and KID;
    `radiomics` also computes the radiomics distance of the lesions. `systems` maps names of systems to folders of what
    each synthesized. `classifier_scores` maps a task of MAMA-SYNTH to a table of scores.
    """

    lpips: Lpips | None = None
    lpips_missing: str = ""
    predicted_masks: Path | None = None
    z_scored: bool = False
    scenarios: Mapping[str, Path] = field(default_factory=dict)
    segmentation: str | None = None
    networks: Mapping[str, FeatureNetwork] = field(default_factory=dict)
    radiomics: bool = False
    systems: Mapping[str, Path] = field(default_factory=dict)
    classifier_scores: Mapping[str, Path] = field(default_factory=dict)
    repeats: int = 1000
    seed: int = 0
    data: str | None = None
    failures: list[str] = field(default_factory=list)
