"""The result folder: its layout and its manifest; reading and verifying one.

A folder with a manifest is whole: `result_writer` puts the manifest in last and the folder in its place by
one rename.

    manifest.json
    phases/phase_1.nrrd ...   subtraction/phase_1.nrrd ...   uncertainty/phase_1.nrrd ...
    lesions.seg.nrrd  lesions.csv  curves.csv  breast_tissue.csv  maps/*.nrrd  figures/*.png  report.html  dicom/...
    comparison.csv  agreement.csv  feature_agreement.csv  curves_real.csv      (only where real phases were given)
    registered/phase_1.nrrd ...         (real phases whose motion was corrected, only where asked for)
    radiomics.csv                                       (only where asked for)

Phases are numbered as in the study: a model that reads the real phase 1 makes phases/phase_2.nrrd ... . The result
of a mammogram has recombined.nrrd in place of phases, subtractions, lesions, curves and maps.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..events import InputError
from ..files import expanded, sha256_of
from ..study import Phase

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RESEARCH_ONLY = "research only"
SYNTHESIS, MAMMOGRAM, COMPARISON = "synthesis", "mammogram", "comparison"
"""Kinds of results: phases in time, one recombined mammogram, metrics of volumes that existed."""
MOTION = "motion"
"""Key in the entry of a real phase among the inputs: what was found of its motion (`Motion.as_json`)."""
INCOMPLETE = "Incomplete"
"""Begins the warning of something that was asked for and could not be written, while the rest of the result stays."""
FILE_ROUNDING = 1e-5
"""Part of the brightest voxel by which a pre-contrast volume that is computed back may differ from the one read."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is known of a run. Holds hashes and geometry of the inputs, never names, paths or patient data.

    Attributes:
        kind: "synthesis", "mammogram" or "comparison".
        run_id: Id of the run.
        created_utc: When it was made.
        fingerprint: SHA-256 over everything that decides the numbers (input bytes, weights, settings); two runs with
            one fingerprint are the same job.
        inputs: Role, hash, format and geometry of each input. A real phase that the model read has "model_input":
            true; one whose motion was to be corrected has "motion": what was found of it.
        models: Id, version and weights of each model.
        settings: As the user gave them.
        device: Where and how the networks were computed.
        versions: Of the engine and of the packages that decide the numbers.
        phases: Index, time_s (seconds after injection, None for a mammogram) and file of each synthetic phase.
        arbitrary_units: Whether the units of the phases are not those of the input.
        timing_s: Seconds per stage.
        warnings: Sentences for the reader.
        summary: What a table of cases shows.
        outputs: SHA-256 of each file, by its path inside the folder with forward slashes.
        synthetic: True in every result.
        use: Research only.
        schema_version: Of this layout.
    """

    kind: str
    run_id: str
    created_utc: str
    fingerprint: str
    inputs: list[dict[str, Any]]
    models: list[dict[str, Any]]
    settings: dict[str, Any]
    device: dict[str, str]
    versions: dict[str, str]
    phases: list[dict[str, Any]]
    arbitrary_units: bool
    timing_s: dict[str, float]
    warnings: list[str]
    summary: dict[str, Any]
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)
    synthetic: bool = True
    use: str = RESEARCH_ONLY
    schema_version: int = SCHEMA_VERSION


@dataclasses.dataclass(frozen=True)
class Result:
    """A whole result folder.

    Attributes:
        folder: The folder.
        manifest: Its manifest.
        kept: Whether `--resume` found it there and nothing was computed.
    """

    folder: Path
    manifest: Manifest
    kept: bool = False

    @property
    def incomplete(self) -> list[str]:
        """What was asked for and could not be written."""
        return [warning for warning in self.manifest.warnings if warning.startswith(INCOMPLETE)]

    @property
    def outputs(self) -> list[Path]:
        """Every file of the folder, the manifest first."""
        return [self.folder / MANIFEST, *(self.folder / name for name in sorted(self.manifest.outputs))]

    def phases(self) -> list[Phase]:
        """Read the synthetic phases, in order of their index."""
        phases = []
        for entry in sorted(self.manifest.phases, key=lambda entry: int(entry["index"])):
            image = sitk.ReadImage(str(self.folder / entry["file"]))
            phases.append(Phase(int(entry["index"]), image, entry["time_s"], synthetic=True))
        return phases

    def pre_contrast(self) -> sitk.Image:
        """The pre-contrast volume in the units of the phases, computed back: a phase minus its subtraction.

        Raises InputError where one of them cannot be read.
        """
        file = str(self.manifest.phases[0]["file"])
        files = (self.folder / name for name in (file, file.replace("phases/", "subtraction/")))
        try:
            post, change = (sitk.ReadImage(str(path)) for path in files)
        except RuntimeError as error:
            raise InputError(
                f"{file} or its subtraction in {self.folder} cannot be read; make the result again."
            ) from error
        return post - change


def input_phase_times(inputs: list[dict[str, Any]]) -> dict[int, float | None]:
    """Index and seconds after injection of the real phases among a manifest's `inputs` that the model read."""
    read = [entry for entry in inputs if entry.get("model_input")]
    return {int(entry["role"].removeprefix("real_")): entry["time_s"] for entry in read}


def corrected_phases(inputs: list[dict[str, Any]]) -> list[int]:
    """Indices of the real phases among a manifest's `inputs` whose motion was corrected."""
    kept = [entry for entry in inputs if entry.get(MOTION, {}).get("kept")]
    return [int(entry["role"].removeprefix("real_")) for entry in kept]


def load_result(folder: str | Path) -> Result:
    """Read the manifest of a result folder.

    Raises:
        InputError: no manifest, another program's, made by a newer version, or naming files outside the folder.
    """
    folder = expanded(folder).absolute()
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder} is not a result folder: it has no {MANIFEST}.")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        version = int(fields["schema_version"])
        if version > SCHEMA_VERSION:
            raise InputError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; update it.")
        manifest = _typed(Manifest(**fields))
        names = [*manifest.outputs, *(entry["file"] for entry in manifest.phases)]
        outside = [name for name in names if not (folder / name).resolve().is_relative_to(folder.resolve())]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is not a manifest of VirtualContrast or is damaged; make the result again."
        ) from error
    if outside:
        raise InputError(f"{path} names files outside its folder; do not use this result.")
    return Result(folder, manifest)


def _typed(manifest: Manifest) -> Manifest:
    """The manifest; raises TypeError where a value is of another type than its field: others rely on it."""
    kinds: dict[str, type] = {"str": str, "list": list, "dict": dict, "bool": bool, "int": int}
    expected = [
        (getattr(manifest, field.name), kinds[str(field.type).partition("[")[0]])
        for field in dataclasses.fields(manifest)
    ]
    expected += [(entry, dict) for entry in (*manifest.inputs, *manifest.models, *manifest.phases)]
    expected += [(text, str) for text in (*manifest.warnings, *manifest.outputs.values())]
    expected += [(entry[name], kind) for entry in manifest.phases for name, kind in (("index", int), ("file", str))]
    expected += [(entry["role"], str) for entry in manifest.inputs]
    for value, kind in expected:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is not of the type {kind.__name__}")
    return manifest


def verify_result(folder: str | Path) -> list[str]:
    """One sentence for each output that is missing or differs from its SHA-256; [] when whole."""
    result = load_result(folder)
    problems = []
    for name, digest in sorted(result.manifest.outputs.items()):
        path = result.folder / name
        if not path.is_file():
            problems.append(f"{name} is missing.")
        elif sha256_of(path) != digest:
            problems.append(f"{name} was changed since it was made.")
    return problems


def fingerprint(parts: object) -> str:
    """SHA-256 over the canonical JSON form of `parts`."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def now_utc() -> datetime.datetime:
    """The time now, in UTC."""
    return datetime.datetime.now(datetime.UTC)
