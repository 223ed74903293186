"""Model cards for people: `MODEL_CARD.md` written from `model.json`, so that both always say the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from VirtualContrastLib.models.package import Metric, ModelCard, load_package, write_card

from ..training.copying import as_text

_PHANTOM_WARNING = (
    "**Trained on simulated phantoms only.** It has never seen a patient. It shows that the program works; what it "
    "draws on a patient's images has no meaning."
)


def record_metrics(folder: Path, metrics: Sequence[Metric]) -> None:
    """Replace the metrics in the package's `model.json` and rewrite its `MODEL_CARD.md`; the weights stay."""
    package = load_package(folder)
    if package.card.files:
        package.verify()  # what is hashed now must be what was hashed before
    card = package.card.model_copy(update={"metrics": list(metrics)})
    (folder / "MODEL_CARD.md").write_text(model_card_text(card), encoding="utf-8")
    write_card(folder, card)


def model_card_text(card: ModelCard) -> str:
    """The card as Markdown: purpose, limits, inputs and outputs, training, measured quality, terms."""
    parts = [f"# {card.title}", f"`{card.id}`, version {card.version}, {card.kind}."]
    if card.trained_on_phantoms:
        parts.append(_PHANTOM_WARNING)
    parts += [f"**Intended use.** {card.intended_use}", "Synthetic images can invent or hide lesions."]
    parts.append("## Network\n" + _network(card))
    if card.training:
        parts.append("## Training\n" + "\n".join(f"* {key}: `{value}`" for key, value in card.training.items()))
    if card.metrics:
        parts.append("## Measured quality\n" + _table(card.metrics))
    if card.against_copying:
        parts.append(as_text(card.against_copying))
    parts.append(f"## Terms\nLicence: {card.license}. {card.citation}\n\nWeights SHA-256: `{card.weights_sha256}`")
    return "\n\n".join(parts) + "\n"


def _network(card: ModelCard) -> str:
    lines = [f"* {card.architecture.name}: `{card.architecture.config}`"]
    if card.outputs is not None:
        times = ", ".join(f"{time:g}" for time in card.outputs.times_s)
        lines.append(f"* input: slices k + {card.inputs.channel_offsets} of the pre-contrast volume")
        lines.append(f"* output channels are phases {card.outputs.channel_phases}, at {times} s after injection")
    elif card.inputs.channels:
        lines.append(f"* input channels: {', '.join(card.inputs.channels)}")
    if card.intensity is not None:
        lines.append(f"* intensities: `{card.intensity.recipe}` {card.intensity.constants}")
    return "\n".join(lines)


def _table(metrics: Sequence[Metric]) -> str:
    rows = [f"| {m.name} | {m.value:.3g} | {m.definition} | {m.data} |" for m in metrics]
    return "\n".join(["| | value | definition | data |", "| --- | --- | --- | --- |", *rows])
