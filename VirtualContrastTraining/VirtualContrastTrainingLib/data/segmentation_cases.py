"""Cases for the segmentation experiment: one breast with its tumor, before, after and with synthetic contrast.

A case becomes a folder with `pre.nii.gz`, `post.nii.gz` (acquired phase 1), `synthetic.nii.gz` (phase 1 made from pre),
`lesions.nii.gz` (1 = tumor) and `case.json`. As published, each image is freed of its bias field (N4) as a whole and
cut to the half with the tumor. Multifocal cases are left out. Crops around the tumor (`prepare crops`) are taken as
they are: they have no halves, too little tissue beside the tumor for N4, and one box each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError, VirtualContrastError
from VirtualContrastLib.files import atomic_folder, sha256_of
from VirtualContrastLib.io.volumes import same_geometry
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

from .bias_field import correct_bias
from .out_of_fold import out_of_fold
from .prepare import Outcome
from .prepared import read_description
from .single_breast import BreastHalf, count_lesions, tumor_half

DOMAINS = ("pre", "post", "synthetic")
LESIONS = "lesions"
SUFFIX = ".nii.gz"


class FirstPhases(Protocol):
    """Where synthetic first phases come from.

    Attributes:
        name: What outputs call it.
        settings: Distinguishes one source from another.
    """

    name: str
    settings: str

    def first_phase(self, case: str, pre: sitk.Image, time_s: float | None) -> sitk.Image:
        """Synthetic phase 1 of a case.

        Args:
            case: Name of the case.
            pre: Its pre-contrast volume.
            time_s: Seconds after injection of its acquired phase 1; None where unknown.

        Returns:
            The phase.

        Raises:
            InputError: There is none.
        """
        ...


class ModelPhases:
    """Phase 1 by a synthesis model, at the time of the acquired one where the model takes any time.

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

    def first_phase(self, case: str, pre: sitk.Image, time_s: float | None) -> sitk.Image:
        """Synthetic phase 1 of a volume, made by the model.

        Args:
            case: Name of the case.
            pre: Its pre-contrast volume.
            time_s: Seconds after injection, at which a model of free times makes it; None for the model's own.

        Returns:
            The phase.
        """
        study = Study(Phase(0, pre, 0.0, synthetic=False), Source((), "memory", ""))
        times = [time_s] if self._free_times and time_s else None
        made = self._synthesizer_of(case).synthesize_study(study, Events(), times_s=times, perturbations=0, seed=0)
        return made.phases[0]


class FolderPhases:
    """Phase 1 of result folders, `FOLDER/<case>/phases/phase_1.nrrd`, as `virtual-contrast batch` writes them."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder} with synthetic phases; run 'virtual-contrast batch' first.")
        self.name = "synthetic phases given"
        self.settings = str(folder.resolve())
        self._folder = folder

    def first_phase(self, case: str, pre: sitk.Image, time_s: float | None) -> sitk.Image:
        """Synthetic phase 1 of a case, read from the folder.

        Args:
            case: Name of the case.
            pre: Not used.
            time_s: Not used.

        Returns:
            The phase.

        Raises:
            InputError: The folder lacks it.
        """
        path = self._folder / case / "phases" / "phase_1.nrrd"
        if not path.is_file():
            raise InputError(f"There is no synthetic phase {path}; synthesize this case too.")
        return sitk.ReadImage(str(path))


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

    def fingerprint(self, synthesis: str) -> str:
        """Decides whether a case has to be made again: files by size and time of change, and the synthesis."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        files += [] if self.mask is None else [self.mask]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return json.dumps([stats, synthesis])


def prepare_segmentation_case(
    source: SegmentationSource, output: Path, phases: FirstPhases, *, allow_multifocal: bool = False
) -> Outcome:
    """Write one case into `output/<case>`; a case that was made from unchanged files is kept.

    Args:
        source: The case.
        output: Folder of the cases.
        phases: Where synthetic first phases come from.
        allow_multifocal: Whether a case with several lesions is used.

    Returns:
        The outcome: `excluded` for a multifocal case that is not allowed, `failed` with a sentence for one that cannot
        be used.

    Raises:
        VirtualContrastError: The output cannot be written.
    """
    folder = output / source.case
    try:
        fingerprint = source.fingerprint(phases.settings)
        found = read_description(folder)
        if found is not None and found.get("fingerprint") == fingerprint:
            return Outcome(source.case, "kept", entry=found)
        images, time_s, crop = _read_images(source)
        if not (crop or allow_multifocal) and (count := count_lesions(images[LESIONS])) > 1:
            return Outcome(source.case, "excluded", f"it is multifocal ({count} lesions)")
        half = tumor_half(images[LESIONS])
        synthetic = phases.first_phase(source.case, images["pre"], time_s)
        content, description = _one_breast(images, synthetic, None if crop else half)
        description["synthetic"] = phases.name
    except (VirtualContrastError, OSError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Outcome(source.case, "failed", reason)
    written = _write(content, folder, {**description, "fingerprint": fingerprint})
    return Outcome(source.case, "prepared", entry=written)


def _read_images(source: SegmentationSource) -> tuple[dict[str, sitk.Image], float | None, bool]:
    """Pre-contrast, phase 1 and lesion mask of a prepared case, on one grid; seconds of phase 1; whether a crop."""
    description = read_description(source.folder)
    if description is None:
        raise InputError(f"{source.folder / 'case.json'} is missing or damaged; prepare the case again.")
    if len(description["images"]) < 2:
        raise InputError("It has no post-contrast phase.")
    if source.mask is None and description.get("lesion_source", "segmentation") != "segmentation":
        raise InputError("It has no tumor segmentation, only boxes or nothing; give masks with --masks.")
    paths = dict(zip(("pre", "post"), (source.folder / name for name in description["images"]), strict=False))
    paths[LESIONS] = source.mask or source.folder / "lesions.nrrd"
    images = {name: sitk.ReadImage(str(path)) for name, path in paths.items()}
    for name in ("post", LESIONS):
        difference = same_geometry(images[name], images["pre"])
        if difference:
            raise InputError(f"{paths[name].name} does not lie on the grid of {paths['pre'].name}: {difference}")
    times = description.get("times_s") or [None, None]
    return images, times[1], description.get("kind") == "crops"


def _one_breast(
    images: dict[str, sitk.Image], synthetic: sitk.Image, half: BreastHalf | None
) -> tuple[dict[str, sitk.Image], dict[str, object]]:
    """Images and mask cut to the half with the tumor, or as they are, and what to say of them."""
    difference = same_geometry(synthetic, images["pre"])
    if difference:
        raise InputError(f"Its synthetic phase does not lie on the pre-contrast grid: {difference}")
    whole = {"pre": images["pre"], "post": images["post"], "synthetic": synthetic}
    mask = sitk.Cast(images[LESIONS] > 0, sitk.sitkUInt8)
    if half is None:
        return {**whole, LESIONS: mask}, {"half": None, "lesion_share_kept": 1.0}
    content = {name: half.crop(correct_bias(image)) for name, image in whole.items()}
    content[LESIONS] = half.crop(mask)
    kept = float(sitk.GetArrayViewFromImage(content[LESIONS]).sum())
    share = kept / float(sitk.GetArrayViewFromImage(mask).sum())
    description: dict[str, object] = {
        "half": {"axis": half.axis, "start": half.start, "stop": half.stop},
        "lesion_share_kept": share,
    }
    return content, description


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
