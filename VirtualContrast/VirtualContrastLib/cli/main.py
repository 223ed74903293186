"""`virtual-contrast`: the command line. Heavy packages are imported only by the commands that use them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..events import Events, ExitCode
from ..torch_threads import let_waiting_threads_sleep
from .console import Reporter, guarded

if TYPE_CHECKING:
    from ..results.manifest import Result
    from ..run.settings import RunSettings

Action = Callable[[argparse.Namespace, Reporter, Events], ExitCode]

DESCRIPTION = (
    "Synthetic post-contrast breast MRI from a pre-contrast volume, or a recombined mammogram from a low-energy one, "
    "by the model chosen. Research only: synthetic images can "
    "invent or hide lesions; do not use for diagnosis."
)
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 unusable arguments or input, 3 cancelled, 4 some cases of a batch failed"
INPUT_HELP = "NIfTI, NRRD, MetaImage, PNG, TIFF or DICOM file or DICOM folder; FILE@N is time point N, from 0"


class _Parser(argparse.ArgumentParser):
    """Says one sentence on a wrong argument, and how to see the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(int(ExitCode.UNUSABLE), f"Error: {message}; see {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with the arguments `argv` (default: those of the process) and return its exit code."""
    let_waiting_threads_sleep()
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse ends the process, which a host application must not
        return stop.code if isinstance(stop.code, int) else int(ExitCode.DONE)
    action: Action = arguments.action
    return guarded(
        lambda reporter, events: action(arguments, reporter, events),
        json_lines=arguments.json,
        debug=arguments.debug,
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands; each sets `action`."""
    from . import info, models

    parser = _Parser(prog="virtual-contrast", description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_synthesize(commands)
    _add_batch(commands)
    _add_compare(commands)
    models.add_models(commands)
    info.add_info(commands)
    return parser


def add_common(parser: argparse.ArgumentParser, action: Action) -> None:
    """The options every command has, and what it runs."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    parser.add_argument("--debug", action="store_true", help="show where an error arose")
    parser.epilog = EXIT_CODES
    parser.set_defaults(action=action)


def _add_synthesize(commands: Any) -> None:
    parser = commands.add_parser("synthesize", help="one study in, one result folder out", description=DESCRIPTION)
    parser.add_argument(
        "input",
        metavar="INPUT",
        help=f"pre-contrast volume, or low-energy mammogram for a mammography model: {INPUT_HELP}",
    )
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="result folder to make")
    parser.add_argument(
        "--real",
        metavar="PHASE",
        nargs="+",
        default=[],
        help="real post-contrast phases 1, 2, ...: input of models that read acquired phases, else to compare with; "
        "for a mammogram its true recombined image",
    )
    parser.add_argument(
        "--real-times",
        metavar="S",
        nargs="+",
        type=float,
        help="seconds after injection of the real phases (default: those of their headers)",
    )
    parser.add_argument("--lesions", metavar="MASK", help="mask or labels in which curves are measured")
    _add_settings(parser)
    add_common(parser, _synthesize)


def _add_batch(commands: Any) -> None:
    parser = commands.add_parser(
        "batch",
        help="many studies, weights loaded once",
        description="Every row of a table (columns case, input[, real1, real2 ...][, lesions][, times][, real_times]) "
        "or every volume and subfolder of a folder becomes a result folder below OUT, with summary.csv and "
        "summary.json.",
    )
    parser.add_argument("source", metavar="TABLE|FOLDER", help="CSV table, or folder of cases")
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="folder of the result folders")
    _add_settings(parser)
    add_common(parser, _batch)


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="metrics and kinetic agreement of volumes that exist",
        description="Image metrics of synthetic against real phases; with --pre and lesions also curves and "
        "their agreement.",
    )
    parser.add_argument("synthetic", metavar="SYNTHETIC", help="result folder, or a volume (then phase 1)")
    parser.add_argument("real", metavar="REAL", nargs="+", help=f"real phases 1, 2, ...: {INPUT_HELP}")
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="folder to make")
    parser.add_argument("--pre", metavar="PRE", help="pre-contrast volume, needed for curves")
    parser.add_argument("--lesions", metavar="MASK", help="lesion mask; default: those of the result folder")
    parser.add_argument("--times", metavar="S", nargs="+", type=float, help="seconds after injection of the phases")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a result of ours")
    add_common(parser, _compare)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """The options of a run, as in RunSettings."""
    add = parser.add_argument
    add("--model", metavar="ID|PATH", default="", help="synthesis model (default: the catalog's)")
    add(
        "--segmentation",
        metavar="ID|PATH|auto|threshold|none",
        default="auto",
        help="what finds lesions; auto is the default model where installed, else the threshold rule",
    )
    add(
        "--times",
        metavar="S",
        nargs="+",
        type=float,
        help="seconds after injection of the phases to make: any number for a model of free times (time-conditioned, "
        "iterU-Net), else as many as the model makes; default: the model's",
    )
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute")
    add("--uncertainty", metavar="N", type=int, default=0, help="uncertainty maps from N perturbed syntheses")
    add("--seed", metavar="N", type=int, default=0, help="seed of the perturbations")
    add("--format", choices=("nrrd", "nifti"), default="nrrd", help="file format of the volumes")
    add("--dicom", action="store_true", help="also write DICOM series, segmentation and report")
    add("--pixel-spacing", metavar="MM", type=float, help="pixel size of a picture (PNG, TIFF)")
    add("--resume", action="store_true", help="keep results that are whole and of the same input and settings")
    add("--overwrite", action="store_true", help="replace results that exist")


def _settings(arguments: argparse.Namespace) -> RunSettings:
    from ..run.settings import RunSettings

    return RunSettings(
        model=arguments.model,
        segmentation=arguments.segmentation,
        device=arguments.device,
        uncertainty=arguments.uncertainty,
        times_s=tuple(arguments.times) if arguments.times else None,
        format=arguments.format,
        dicom=arguments.dicom,
        pixel_spacing_mm=arguments.pixel_spacing,
        seed=arguments.seed,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        real_times_s=tuple(times) if (times := getattr(arguments, "real_times", None)) else None,
    )


def _synthesize(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    settings = _settings(arguments)
    from ..run.pipeline import run

    result = run(
        arguments.input,
        arguments.out,
        settings,
        real=arguments.real,
        lesions=arguments.lesions,
        events=events,
    )
    outputs = [str(path) for path in result.outputs]
    reporter.done(_told(result), out=str(result.folder), outputs=outputs, kept=result.kept)
    return ExitCode.DONE


def _batch(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    settings = _settings(arguments)
    from ..run.batch import SUMMARY_CSV, SUMMARY_JSON, Status, run_batch
    from ..run.batch_cases import read_cases

    outcome = run_batch(read_cases(arguments.source), arguments.out, settings, events=events, listener=reporter)
    counts = {status.value: outcome.count(status) for status in Status}
    tables = [f"{arguments.out}/{name}" for name in (SUMMARY_CSV, SUMMARY_JSON)]
    told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    text = f"{len(outcome.cases)} cases: {told}\n" + "\n".join(tables)
    reporter.done(text, out=arguments.out, outputs=tables, counts=counts, exit_code=int(outcome.exit_code))
    return outcome.exit_code


def _compare(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    from ..run.compare import compare_existing, table

    result, metrics = compare_existing(
        arguments.synthetic,
        arguments.real,
        arguments.out,
        pre=arguments.pre,
        lesions=arguments.lesions,
        times_s=arguments.times,
        overwrite=arguments.overwrite,
        events=events,
    )
    outputs = [str(path) for path in result.outputs]
    reporter.done("\n".join([table(metrics), *outputs]), out=str(result.folder), outputs=outputs)
    return ExitCode.DONE


def _told(result: Result) -> str:
    """What a person reads at the end of a run: where things are, what was found, how long it took."""
    if result.kept:
        return f"Kept, whole and of the same input and settings: {result.folder}"
    manifest, lines = result.manifest, [f"Made {result.folder} (synthetic, research only):"]
    folders: dict[str, int] = {}
    for path in result.outputs:
        parts = path.relative_to(result.folder).parts
        if parts[0] == "dicom":
            folders[str(path.parent)] = folders.get(str(path.parent), 0) + 1
        else:
            lines.append(f"  {path}")
    lines += [f"  {folder} ({count} files)" for folder, count in folders.items()]
    if manifest.summary.get("lesions") is not None:
        volume = manifest.summary.get("lesion_volume_mm3")
        size = f", {volume:.0f} mm3 in all" if volume else ""
        lines.append(f"Lesions: {manifest.summary['lesions']}{size} {' '.join(manifest.summary['curve_types'])}")
    lines.append("Seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in manifest.timing_s.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
