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

    Attributes:
        lpips: The network of LPIPS; None leaves it out.
        lpips_missing: Why there is none.
        predicted_masks: Masks found on the synthetic images, for MAMA-SYNTH.
        z_scored: Whether the images hold z-scores already, for MAMA-SYNTH.
        scenarios: Folders of predicted label maps by name.
        segmentation: A lesion model for phantoms.
        networks: Feature networks by name, for FID and KID.
        radiomics: Whether the radiomics distance of the lesions is computed too.
        systems: Folders of what each system synthesized, by name.
        classifier_scores: Table of scores by task of MAMA-SYNTH.
        repeats: Bootstrap samples.
        seed: Of the bootstrap.
        data: Where the images come from; None to find out.
        failures: Receives a sentence for each case that could not be used; they may name files and are for the
            terminal only.
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
