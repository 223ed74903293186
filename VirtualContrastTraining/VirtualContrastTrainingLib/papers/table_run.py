"""Each table and figure of the papers from the data that it is made of, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from VirtualContrastLib.events import InputError

from ..metrics.readers import reader_report
from ..metrics.reads import load_reads
from .compared_systems import write_systems
from .inputs import Images, Networks
from .kinetic_report import find_curves, report_of
from .kinetics import write_figure
from .outputs import OUTPUTS, Output
from .phantom_cohort import FIRST_SEED, data_given, mammogram_cohort, phantom_cohort
from .readers import PAPERS_WEIGHTS, write_reads_table
from .reports import Report
from .selection_run import SelectionRequest, select, write_epochs_of_run
from .tables import TableOptions, write_named_table

Made = tuple[Report, list[str]]
"""What was found, and a sentence for each case that could not be used."""


@dataclass(frozen=True)
class TableRequest:
    """What `evaluate --table` is asked for; each table reads those that it knows.

    Attributes:
        table: its name.
        output: folder for the files.
        images: what is compared; without real ones, phantoms.
        networks: for LPIPS, FID and KID.
        source: training run, result folders, or CSV.
        model: for the phantoms.
        phantoms: how many.
        predicted_masks: masks found on the synthetic images, for the MAMA-SYNTH protocol.
        z_scored: whether the images hold z-scores already, for the MAMA-SYNTH protocol.
        classifier_scores: tables of scores by task, for the MAMA-SYNTH protocol.
        scenarios: label maps of the segmentation tables by name.
        segmentation: lesion model for phantoms.
        systems: folders of what each system synthesized, by name.
        times_s: seconds after injection of phases 1, 2 ..., for curves.
        radiomics: also the radiomics distance of the lesions.
        repeats: bootstrap samples.
        seed: of the bootstrap and of the phantoms.
    """

    table: str
    output: Path
    images: Images = field(default_factory=Images)
    networks: Networks = field(default_factory=Networks)
    source: Path | None = None
    model: str | None = None
    phantoms: int = 6
    predicted_masks: Path | None = None
    z_scored: bool = False
    classifier_scores: Mapping[str, Path] = field(default_factory=dict)
    scenarios: Mapping[str, Path] = field(default_factory=dict)
    segmentation: str | None = None
    systems: Mapping[str, Path] = field(default_factory=dict)
    times_s: Sequence[float] | None = None
    radiomics: bool = False
    repeats: int = 1000
    seed: int = 0


def known_output(name: str) -> Output:
    """The table or figure of a name; raises InputError where there is none."""
    if name not in OUTPUTS:
        raise InputError(f"There is no table or figure called {name}; 'evaluate --table list' names them.")
    return OUTPUTS[name]


def write_output(request: TableRequest) -> Made:
    """Make the table or figure, on phantoms where it can be and no data was given."""
    output = known_output(request.table)
    if output.kind in ("selection", "epochs", "reads"):
        if request.source is None:
            raise InputError(f"{request.table} needs {output.source}.")
        return {"selection": _selection, "epochs": _epochs, "reads": _reads}[output.kind](request, request.source)
    if output.kind == "kinetics" and request.source is not None:
        return _figure(request, None)
    with _on_phantoms(request, output) as (images, data):
        asked = replace(request, images=images)
        if output.kind == "kinetics":
            return _figure(asked, data)
        if output.kind == "systems":
            return _systems(asked, data)
        return _table(asked, output, data)


@contextmanager
def _on_phantoms(request: TableRequest, output: Output) -> Iterator[tuple[Images, str | None]]:
    """The images given and None, or phantoms and what they are."""
    images = request.images
    if images.real is not None:
        yield images, None
        return
    if images.synthetic is not None or request.scenarios or request.systems:
        raise InputError(f"{request.table} needs {output.source}; --real is missing.")
    make = mammogram_cohort if output.kind == "mammograms" else phantom_cohort
    with make(request.model, count=request.phantoms, seed=FIRST_SEED + request.seed) as cohort:
        yield replace(images, real=cohort.truth, synthetic=cohort.runs), cohort.data


def _table(request: TableRequest, output: Output, data: str | None) -> Made:
    options = _options(request, data)
    assert request.images.real is not None
    source = request.images.real if output.kind == "segmentation" else request.images.pairs()
    return write_named_table(request.table, source, request.output, options), options.failures


def _systems(request: TableRequest, data: str | None) -> Made:
    real, synthetic = request.images.real, request.images.synthetic
    assert real is not None
    options = _options(request, data or data_given(path.parent for path in real.glob("*/case.json")))
    if data is not None and synthetic is not None:
        options.systems = {"synthetic": synthetic}
    title = f"{request.table}: {OUTPUTS[request.table].title}"
    return write_systems(request.table, title, real, request.output, options), options.failures


def _options(request: TableRequest, data: str | None) -> TableOptions:
    lpips, missing = request.networks.lpips()
    return TableOptions(
        lpips=lpips,
        lpips_missing=missing,
        predicted_masks=request.predicted_masks,
        z_scored=request.z_scored,
        scenarios=request.scenarios,
        segmentation=request.segmentation,
        systems=request.systems,
        networks=request.networks.features(),
        radiomics=request.radiomics,
        classifier_scores=request.classifier_scores,
        repeats=request.repeats,
        seed=request.seed,
        data=data,
    )


def _figure(request: TableRequest, data: str | None) -> Made:
    images = request.images
    if request.source is not None and images.real is not None:
        raise InputError("Give either --source, or --real and --synthetic.")
    curves, said = find_curves(request.source, images.real, images.synthetic, images.lesions, request.times_s)
    report = report_of(curves, data or said, repeats=request.repeats, seed=request.seed)
    failures = [f"case {number}: {sentence}" for number, sentence in curves.failed]
    return write_figure(request.table, report, curves.pairs, request.output), failures


def _selection(request: TableRequest, source: Path) -> Made:
    return select(
        SelectionRequest(
            source,
            validation=request.images.real,
            phantoms=request.phantoms,
            seed=request.seed,
            fid=request.networks.fid,
            output=request.output,
            name=request.table,
        )
    )


def _epochs(request: TableRequest, source: Path) -> Made:
    of_run = SelectionRequest(source, request.images.real, request.phantoms, request.seed)
    title = f"{request.table}: {OUTPUTS[request.table].title}"
    return write_epochs_of_run(of_run, request.table, title, request.output)


def _reads(request: TableRequest, source: Path) -> Made:
    report = reader_report(load_reads(source), weights=PAPERS_WEIGHTS, repeats=request.repeats, seed=request.seed)
    return write_reads_table(request.table, report, request.output), []
