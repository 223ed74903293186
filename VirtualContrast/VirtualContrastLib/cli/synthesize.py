"""The command `synthesize`: one study in, one result folder out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..events import Events, ExitCode, Stage
from .console import Reporter
from .options import INPUT_HELP, add_command, add_output, add_settings, settings_of

if TYPE_CHECKING:
    from ..results.manifest import Result


def add(commands: Any) -> None:
    """Add `synthesize`."""
    parser = add_command(commands, "synthesize", _synthesize, "one study in, one result folder out")
    parser.add_argument(
        "input",
        metavar="INPUT",
        help=f"pre-contrast volume, or low-energy mammogram for a mammography model: {INPUT_HELP}",
    )
    add_output(parser, "result folder to make")
    parser.add_argument(
        "--real",
        metavar="PHASE",
        nargs="+",
        default=[],
        help="real post-contrast phases 1, 2, ...: input of models that read real phases, else to compare with; "
        "for a mammogram its real recombined image",
    )
    parser.add_argument("--lesions", metavar="MASK", help="mask or labels of lesions, instead of looking for them")
    add_settings(parser)


def _synthesize(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    settings = settings_of(arguments)
    events.progress(Stage.READ, 0, 1)  # the libraries that the next line loads take two seconds
    from ..run.pipeline import run

    result = run(
        arguments.input, arguments.out, settings, real=arguments.real, lesions=arguments.lesions, events=events
    )
    outputs = [str(path) for path in result.outputs]
    reporter.done(_report(result), out=str(result.folder), outputs=outputs, kept=result.kept)
    if result.incomplete:
        reporter.error(" ".join(result.incomplete), ExitCode.FAILED)
        return ExitCode.FAILED
    return ExitCode.DONE


def _report(result: Result) -> str:
    """What a person reads at the end of a run: where things are, what was found, how long it took."""
    if result.kept:
        return f"Reused the existing result (same input and settings): {result.folder}"
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
