"""What an evaluation is asked to compare and which networks it may use, as typed requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from VirtualContrastLib.events import InputError

from ..metrics.feature_networks import FeatureNetwork, load_feature_network
from ..metrics.lpips import Lpips, load_lpips
from ..metrics.pairs import Pair, attach, find_pairs
from ..metrics.weights import feature_weights


@dataclass(frozen=True)
class Images:
    """Real and synthetic images with what belongs to them; each an image, a folder, or a table (CSV).

    Attributes:
        real: the real images.
        synthetic: the synthetic images.
        lesions: masks named like the real images.
        breasts: masks named like the real images.
        pre: pre-contrast or low-energy images.
        tissues: annotated tissues of mammograms, labels 1 adipose and 2 fibroglandular.
        patient_pattern: finds the patient in a file name.
    """

    real: Path | None = None
    synthetic: Path | None = None
    lesions: Path | None = None
    breasts: Path | None = None
    pre: Path | None = None
    patient_pattern: str | None = None
    tissues: Path | None = None

    def pairs(self) -> list[Pair]:
        """The pairs, with masks and pre-contrast images; raises InputError where they do not go together."""
        if self.real is None or self.synthetic is None:
            raise InputError("--real and --synthetic go together; without both, phantoms are used.")
        pairs = find_pairs(self.real, self.synthetic, patient_pattern=self.patient_pattern)
        for kind, source in (
            ("lesion", self.lesions),
            ("breast", self.breasts),
            ("tissues", self.tissues),
            ("pre", self.pre),
        ):
            if source is not None:
                pairs = attach(pairs, kind, source)
        return pairs


@dataclass(frozen=True)
class Networks:
    """Networks of perceptual measures.

    Attributes:
        alexnet: weights for LPIPS, a path or "download"; None looks where torch keeps its own.
        fid: weights of feature networks by name, a path or "download".
        device: as torch names it.
    """

    alexnet: Path | None = None
    fid: Mapping[str, Path] = field(default_factory=dict)
    device: str = "cpu"

    def lpips(self) -> tuple[Lpips | None, str]:
        """LPIPS, or the reason why not; weights that were named and cannot be used are an error."""
        if self.alexnet is not None:
            return load_lpips(self.alexnet, device=self.device), ""
        try:
            return load_lpips(device=self.device), ""
        except InputError as error:
            return None, str(error)

    def features(self) -> dict[str, FeatureNetwork]:
        """The feature networks by name; raises InputError where weights cannot be had."""
        return {
            name: load_feature_network(feature_weights(name, path), device=self.device)
            for name, path in self.fid.items()
        }
