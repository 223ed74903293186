"""Settings are declared once: flags, columns, JSON, fingerprint and manifest follow from it."""

import argparse
import dataclasses
import json
from pathlib import Path

import pytest
from VirtualContrastLib.cli.main import build_parser
from VirtualContrastLib.cli.options import add_settings, settings_of
from VirtualContrastLib.events import InputError
from VirtualContrastLib.run.settings import RunSettings, case_options, options, reference

OTHER = {
    "model": "tiny",
    "segmentation": "none",
    "device": "cpu",
    "precision": "fp32",
    "uncertainty": 4,
    "times_s": (60.0, 120.5),
    "format": "nifti",
    "dicom": True,
    "register": True,
    "radiomics": True,
    "deidentify": True,
    "keep_dates": True,
    "series": ("801.2", "3"),
    "pixel_spacing_mm": 0.5,
    "seed": 7,
    "acquired": 2,
    "force": True,
    "resume": True,
    "overwrite": True,
    "real_times_s": (75.0,),
}
"""A value of each setting that is not its default."""


def arguments_of(settings):
    """The settings as a user would type them."""
    words = []
    for name, option in options().items():
        value = getattr(settings, name)
        if option.kind is bool:
            words += [option.flag] if value else []
        elif value is not None:
            words += [option.flag, *(map(str, value) if option.many else [str(value)])]
    return words


def test_every_setting_is_declared_and_has_a_value_here():
    fields = [field.name for field in dataclasses.fields(RunSettings)]
    assert list(options()) == fields
    assert set(OTHER) == set(fields)
    assert all(option.help and option.flag.startswith("--") for option in options().values())


def test_the_command_line_gives_every_setting():
    parser = argparse.ArgumentParser()
    add_settings(parser)
    assert settings_of(parser.parse_args([])) == RunSettings()
    changed = RunSettings(**OTHER)
    assert settings_of(parser.parse_args(arguments_of(changed))) == changed


def test_synthesize_offers_all_of_them_and_batch_all_but_the_times_of_real_phases():
    offered = {}
    for command in ("synthesize", "batch"):
        parser = build_parser()._subparsers._group_actions[0].choices[command]
        offered[command] = {action.dest for action in parser._actions} & set(options())
    assert offered["synthesize"] == set(options())
    assert set(options()) - offered["batch"] == {"real_times_s"}


@pytest.mark.parametrize("name", list(OTHER))
def test_a_setting_survives_json(name):
    settings = RunSettings(**{name: OTHER[name]})
    assert RunSettings.from_json(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


def test_an_unknown_setting_is_named():
    with pytest.raises(InputError, match="no setting 'speed'"):
        RunSettings.from_json({"speed": 1})


def test_what_changes_the_numbers_is_in_the_fingerprint_and_nothing_else():
    """Weights count by their hash, real phases with the inputs (time, read or not), so their settings do not."""
    decide = {
        "precision",
        "uncertainty",
        "times_s",
        "format",
        "dicom",
        "register",
        "radiomics",
        "pixel_spacing_mm",
        "seed",
    }
    decide |= {"deidentify", "keep_dates"}
    assert set(RunSettings().deciding()) == decide
    assert set(options()) - set(RunSettings().recorded()) == {"resume", "overwrite", "real_times_s"}


def test_the_page_of_the_documentation_is_made_from_the_declarations():
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "python -m VirtualContrastLib.run.settings > docs/settings.md"
    )
    assert all(f"| `{option.flag}` |" in reference() for option in options().values())


def test_the_columns_of_a_table_are_settings_that_each_case_may_have():
    assert {column: name for column, (name, _) in case_options().items()} == {
        "times": "times_s",
        "real_times": "real_times_s",
        "series": "series",
    }
    parse = options()["times_s"].parse
    assert (parse("60 120.5"), parse("60;120.5"), parse(" ")) == ((60.0, 120.5), (60.0, 120.5), None)
