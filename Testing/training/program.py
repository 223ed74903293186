"""Runs commands of the training program within a test, without what turns failures into sentences."""

from VirtualContrastLib.cli.console import make_reporter
from VirtualContrastLib.events import Events
from VirtualContrastTrainingLib.cli import build_parser


def call(*words):
    """The exit code of `virtual-contrast-training WORDS...`; failures are raised as they are."""
    arguments = build_parser().parse_args([str(word) for word in words])
    reporter = make_reporter(json_lines=arguments.json, quiet=arguments.quiet)
    return int(arguments.action(arguments, reporter, Events()))
