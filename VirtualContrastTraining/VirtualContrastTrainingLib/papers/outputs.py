"""The tables and figures of the papers by name: what each shows, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "quality",
    "phases",
    "segmentation",
    "selection",
    "epochs",
    "views",
    "kinetics",
    "systems",
    "mammograms",
    "reads",
    "mama_synth",
]
SOURCES: dict[Kind, str] = {
    "quality": "--real and --synthetic, or phantoms",
    "phases": "--real and --synthetic with phases in their names, or phantoms",
    "segmentation": "--real label maps and --scenario, or phantoms",
    "selection": "--source: a training run, a CSV of metrics, or a folder of `evaluate -o` folders",
    "epochs": "--source: a training run; and --real cases, or phantoms",
    "views": "--real and --synthetic volumes with --lesions and --pre, prepared cases, or phantoms",
    "kinetics": "--source: result folders of `virtual-contrast batch`; or --real and --synthetic cases, or phantoms",
    "systems": "--real cases and --system NAME=FOLDER for each system, or phantoms",
    "mammograms": "--real, --synthetic and --pre mammograms, or simulated ones and --model",
    "reads": "--source: a CSV of reads",
    "mama_synth": "--real and --synthetic slices, or phantoms",
}


@dataclass(frozen=True)
class Output:
    """One named table or figure.

    Attributes:
        title: What it shows.
        kind: The kind of data that it is made from.
    """

    title: str
    kind: Kind

    @property
    def source(self) -> str:
        """The options that give its data."""
        return SOURCES[self.kind]


OUTPUTS = {
    "osuala2024-table1": Output("Image quality of single-phase synthesis, and of the pre-contrast image", "quality"),
    "osuala2024-table2": Output("Tumor segmentation, trained without post-contrast images", "segmentation"),
    "osuala2024-table3": Output("Tumor segmentation, trained with post-contrast images", "segmentation"),
    "osuala2024-figure3": Output("Lesions in three planes: phases, subtractions, mask", "views"),
    "osuala2024-figure5": Output("Lesions in three planes: phases, subtractions, mask", "views"),
    "osuala2025-table1": Output("Checkpoints by metric and SAMe, on validation cases", "selection"),
    "osuala2025-table2": Output("Image quality of single-phase synthesis, and of the pre-contrast image", "quality"),
    "osuala2025-table3": Output("Tumor segmentation by scenario", "segmentation"),
    "osuala2025-table4": Output("Image quality per phase of multi-phase synthesis and subtraction", "phases"),
    "osuala2025-figure4": Output("Scaled metrics and SAMe over the checkpoints of a run", "selection"),
    "osuala2025-figure4b": Output("The same slice as the checkpoints of a run make it", "epochs"),
    "osuala2025-figure5": Output("Lesions in three planes: phases, subtractions, mask", "views"),
    "osuala2025-figure6": Output("Lesion signal by phase, real and synthetic, of single lesions", "kinetics"),
    "osuala2025-figure7": Output("Mean over all lesions by phase", "kinetics"),
    "osuala2025-figure8": Output("Mean signal of 33 lesions drawn at random, by phase", "kinetics"),
    "chung2025-table1": Output("Image quality and enhancement curves of several systems", "systems"),
    "chung2025-table2": Output("Image quality and enhancement curves with parts of the system left out", "systems"),
    "chung2025-figure3": Output("Enhancement over time, with rank correlation and time warping", "kinetics"),
    "zormpas2026-change": Output("Change from the low-energy mammogram, beside copying it and a line", "mammograms"),
    "zormpas2026-table2": Output("Tissues and contrast-to-noise ratio by image", "mammograms"),
    "zormpas2026-table3": Output("Lesion detection by reader: accuracy, sensitivity, specificity", "reads"),
    "zormpas2026-bpe": Output("Background enhancement by reader: weighted kappa and confusion", "reads"),
    "bland-altman": Output("Bland-Altman of peak PE, SER and time to peak, and curve types", "kinetics"),
    "cem-change": Output("The same as zormpas2026-change", "mammograms"),
    "mama-synth": Output("MAMA-SYNTH 2026 protocol", "mama_synth"),
}


def listing() -> str:
    """A line each: name, what it shows, and what it is made from."""
    width = max(map(len, OUTPUTS))
    return "\n".join(f"{name:{width}}  {found.title}. Made from {found.source}." for name, found in OUTPUTS.items())
