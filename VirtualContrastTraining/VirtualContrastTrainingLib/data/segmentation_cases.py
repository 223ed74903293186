"""Cases for the segmentation experiment: one breast with its tumor, before, after and with synthetic contrast.

A case becomes a folder with `pre.nii.gz`, `post.nii.gz` (acquired phase 1), `synthetic.nii.gz` (phase 1 made from pre),
`lesions.nii.gz` (1 = tumor) and `case.json`; with several channels `real_phase_N`, `synthetic_phase_N` and their
subtractions take the place of `post` and `synthetic`. As published, each image is freed of its bias field (N4) as a
whole and cut to the half with the tumor. Multifocal and bilateral cases are left out, or kept to be evaluated apart; of
a bilateral one both halves remain. Crops around the tumor (`prepare crops`) are taken as they are: they have no halves,
too little tissue beside the tumor for N4, and one box each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError, VirtualContrastError
from VirtualContrastLib.files import atomic_folder, sha256_of
from VirtualContrastLib.io.volumes import same_geometry
from VirtualContrastLib.lesions.subtraction import subtract
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

from .bias_field import correct_bias, divide_by, log_bias_field
from .out_of_fold import out_of_fold
from .prepare import Outcome
from .prepared import read_description
from .segmentation_inputs import PRE, STUDY_DOMAINS, Inputs
from .single_breast import BILATERAL, UNIFOCAL, BreastHalf, breast_halves, focality, tumor_half

LESIONS = "lesions"
SUFFIX = ".nii.gz"
_FORMAT = 2
"""Of `case.json`; cases of an older one are made anew."""


class SyntheticPhases(Protocol):
    """Where synthetic phases come from.

    Attributes:
        name: What outputs call it.
        settings: Distinguishes one source from another.
    """

    name: str
    settings: str

    def phases(self, case: str, pre: sitk.Image, times_s: Sequence[float | None]) -> list[sitk.Image]:
        """Synthetic phases 1, 2, ... of a case.

        Args:
            case: Name of the case.
            pre: Its pre-contrast volume.
            times_s: Seconds after injection of the acquired phases 1, 2, ..., as many as are wanted; None where
                unknown.

        Returns:
            The phases in order.

        Raises:
            InputError: There are not so many.
        """
        ...


class ModelPhases:
    """Phases by a synthesis model, at the times of the acquired ones where the model takes any times.

    `unseen`: each case by the member of a cross-validated model that was trained without it.
    """

    def __init__(self, package: ModelPackage, *, unseen: bool = False) -> None:
        card = package.card
        if card.kind != "synthesis" or not card.dynamic or card.first_phase != 1:
            raise InputError(f"The model '{card.id}' does not make phase 1 from the pre-contrast volume.")
        self.name = f"synthesis by {card.id}" + (", each case by the member trained without it" if unseen else "")
        self.settings = card.weights_sha256 + (" out of fold" if unseen else "")
        self._free_times = card.abilities.free_times
        choice = choose_device("auto")
        whole = None if unseen else study_synthesizer(package, choice)
        self._synthesizer_of = out_of_fold(package, choice) if whole is None else lambda case: whole

    def phases(self, case: str, pre: sitk.Image, times_s: Sequence[float | None]) -> list[sitk.Image]:
        """Synthetic phases of a volume, made by the model.

        Args:
            case: Name of the case.
            pre: Its pre-contrast volume.
            times_s: Seconds after injection, at which a model of free times makes them where all are known.

        Returns:
            The phases.

        Raises:
            InputError: The model makes fewer.
        """
        study = Study(Phase(0, pre, 0.0, synthetic=False), Source((), "memory", ""))
        times = [time_s for time_s in times_s if time_s] if self._free_times else []
        made = self._synthesizer_of(case).synthesize_study(
            study, Events(), times_s=times if len(times) == len(times_s) else None, perturbations=0, seed=0
        )
        if len(made.phases) < len(times_s):
            raise InputError(
                f"Phase {len(times_s)} is wanted, but {self.name} ends with phase {len(made.phases)}; choose a model "
                "that makes it, or other --channels."
            )
        return list(made.phases[: len(times_s)])


class FolderPhases:
    """Phases of result folders, `FOLDER/<case>/phases/phase_N.nrrd`, as `virtual-contrast batch` writes them."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder} with synthetic phases; run 'virtual-contrast batch' first.")
        self.name = "synthetic phases given"
        self.settings = str(folder.resolve())
        self._folder = folder

    def phases(self, case: str, pre: sitk.Image, times_s: Sequence[float | None]) -> list[sitk.Image]:
        """Synthetic phases of a case, read from the folder.

        Args:
            case: Name of the case.
            pre: Not used.
            times_s: Not used but for its length.

        Returns:
            The phases.

        Raises:
            InputError: The folder lacks one.
        """
        paths = [self._folder / case / "phases" / f"phase_{number}.nrrd" for number in range(1, len(times_s) + 1)]
        for path in paths:
            if not path.is_file():
                raise InputError(f"There is no synthetic phase {path}; synthesize this case too.")
        return [sitk.ReadImage(str(path)) for path in paths]


@dataclass(frozen=True)
class SegmentationSource:
    """A prepared case for segmentation.

    Attributes:
        folder: Folder of the prepared case.
        mask: File of its tumor mask, where its own `lesions.nrrd` is not used.
    """

    folder: Path
    mask: Path | None = None

    @property
    def case(self) -> str:
        """Id of the case."""
        return self.folder.name

    def fingerprint(self, *settings: object) -> str:
        """Decides whether a case has to be made again: files by size and time of change, and what else decides."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        files += [] if self.mask is None else [self.mask]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return json.dumps([_FORMAT, stats, *settings])


@dataclass(frozen=True)
class _Series:
    """A prepared case as it was read, all on the grid of `pre`.

    Attributes:
        pre: Pre-contrast volume.
        posts: Acquired phases 1, 2, ...
        lesions: Label map.
        times_s: Seconds after injection of these phases, None where unknown.
        crop: Whether it is a crop around the tumor.
    """

    pre: sitk.Image
    posts: list[sitk.Image]
    lesions: sitk.Image
    times_s: list[float | None]
    crop: bool


def prepare_segmentation_case(
    source: SegmentationSource,
    output: Path,
    phases: SyntheticPhases,
    *,
    inputs: Inputs | None = None,
    allow_multifocal: bool = False,
    both_breasts: bool = False,
) -> Outcome:
    """Write one case into `output/<case>`; a case that was made from unchanged files is kept.

    Args:
        source: The case.
        output: Folder of the cases.
        phases: Where synthetic phases come from.
        inputs: What networks read of it; None for the published phase 1.
        allow_multifocal: Whether a case with several lesions is used.
        both_breasts: Whether a bilateral case keeps both halves instead of the one with the center of mass.

    Returns:
        The outcome: `excluded` for a multifocal or bilateral case that is not allowed, `failed` with a sentence for one
        that cannot be used. The entry of a usable one has its `focality`, None for a crop, which shows one lesion of
        perhaps several.

    Raises:
        VirtualContrastError: The output cannot be written.
    """
    folder, inputs = output / source.case, inputs or Inputs()
    try:
        fingerprint = source.fingerprint(phases.settings, inputs.channels, both_breasts)
        found = read_description(folder)
        if found is not None and found.get("fingerprint") == fingerprint:
            return _left_out(source.case, found, allow_multifocal) or Outcome(source.case, "kept", entry=found)
        series = _read_series(source, inputs)
        kind, count = (None, None) if series.crop else focality(series.lesions)
        description: dict[str, Any] = {"focality": kind, "lesions": count, "synthetic": phases.name}
        if left_out := _left_out(source.case, description, allow_multifocal):
            return left_out
        halves: tuple[BreastHalf, ...] = (tumor_half(series.lesions),)
        if both_breasts and kind == BILATERAL:
            halves = breast_halves(series.lesions)
        made = phases.phases(source.case, series.pre, series.times_s)
        content = _contents(series, made, inputs)
        description |= _cut(content, () if series.crop else halves)
    except (VirtualContrastError, OSError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Outcome(source.case, "failed", reason)
    written = _write(content, folder, {**description, "fingerprint": fingerprint})
    return Outcome(source.case, "prepared", entry=written)


def read_halves(folder: Path) -> list[BreastHalf]:
    """The halves that the images of a case in `folder` hold: none for a crop, one, or both of a bilateral case."""
    halves = (read_description(folder) or {}).get("halves", [])
    return [BreastHalf(**{**half, "size": tuple(half["size"])}) for half in halves]


def _left_out(case: str, description: Mapping[str, Any], allow_multifocal: bool) -> Outcome | None:
    if allow_multifocal or description["focality"] in (None, UNIFOCAL):
        return None
    return Outcome(case, "excluded", f"it is {description['focality']} ({description['lesions']} lesions)")


def _read_series(source: SegmentationSource, inputs: Inputs) -> _Series:
    """Pre-contrast, the phases up to the last one that is read, and the lesion mask of a prepared case."""
    description = read_description(source.folder)
    if description is None:
        raise InputError(f"{source.folder / 'case.json'} is missing or damaged; prepare the case again.")
    names = description["images"][: inputs.last_phase + 1]
    if len(names) < 2:
        raise InputError("It has no post-contrast phase.")
    if len(names) <= inputs.last_phase:
        raise InputError(f"It has no phase {inputs.last_phase}, which a channel is made of.")
    if source.mask is None and description.get("lesion_source", "segmentation") != "segmentation":
        raise InputError("It has no tumor segmentation, only boxes or nothing; give masks with --masks.")
    paths = [*(source.folder / name for name in names), source.mask or source.folder / "lesions.nrrd"]
    pre, *others = (sitk.ReadImage(str(path)) for path in paths)
    for path, image in zip(paths[1:], others, strict=True):
        difference = same_geometry(image, pre)
        if difference:
            raise InputError(f"{path.name} does not lie on the grid of {paths[0].name}: {difference}")
    times = description.get("times_s") or [None] * len(names)
    return _Series(pre, others[:-1], others[-1], times[1 : len(names)], description.get("kind") == "crops")


def _contents(series: _Series, synthetic: Sequence[sitk.Image], inputs: Inputs) -> dict[str, sitk.Image]:
    """Images and mask of the whole volume by the name of their file, freed of bias fields but for crops."""
    for image in synthetic:
        difference = same_geometry(image, series.pre)
        if difference:
            raise InputError(f"Its synthetic phase does not lie on the pre-contrast grid: {difference}")
    mask = sitk.Cast(series.lesions > 0, sitk.sitkUInt8)
    if not inputs.channels:
        images = {"pre": series.pre, "post": series.posts[0], "synthetic": synthetic[0]}
        if not series.crop:
            images = {name: correct_bias(image) for name, image in images.items()}
        return {**images, LESIONS: mask}
    images = {PRE: series.pre}
    for domain, phases in zip(STUDY_DOMAINS, (series.posts, synthetic), strict=True):
        images |= {f"{domain}_phase_{number}": phases[number - 1] for number in inputs.phases}
    if not series.crop:
        # One field for all channels, so that a subtraction is enhancement and not the difference of two fields.
        field = log_bias_field(series.pre)
        images = {name: divide_by(image, field) for name, image in images.items()}
    for domain in STUDY_DOMAINS:
        for name in inputs.channels:
            kind, _, number = name.partition("_")
            if kind == "subtraction":
                images[f"{domain}_{name}"] = subtract(images[f"{domain}_phase_{number}"], images[PRE])
    return {**images, LESIONS: mask}


def _cut(content: dict[str, sitk.Image], halves: Sequence[BreastHalf]) -> dict[str, Any]:
    """Cut `content` to the half where there is one, and say what remains."""
    described = [{"axis": h.axis, "start": h.start, "stop": h.stop, "size": h.size} for h in halves]
    if len(halves) != 1:
        return {"halves": described, "lesion_share_kept": 1.0}
    whole = float(sitk.GetArrayViewFromImage(content[LESIONS]).sum())
    content |= {name: halves[0].crop(image) for name, image in content.items()}
    kept = float(sitk.GetArrayViewFromImage(content[LESIONS]).sum())
    return {"halves": described, "lesion_share_kept": kept / whole}


def _write(content: dict[str, sitk.Image], folder: Path, description: dict[str, object]) -> dict[str, object]:
    """Write a case whole or not at all; returns its `case.json`, which has the SHA-256 of each file."""
    try:
        with atomic_folder(folder) as partial:
            for name, image in content.items():
                sitk.WriteImage(image, str(partial / f"{name}{SUFFIX}"), useCompression=True)
            described = {**description, "sha256": {path.name: sha256_of(path) for path in sorted(partial.iterdir())}}
            (partial / "case.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        raise VirtualContrastError(f"{folder} could not be written; is the disk full?") from error
    return described
