"""A result with DICOM objects, made by the command from a scan as a hospital has it."""

import contextlib
import io

import run_samples
from test_export_dicom_series import reference_series
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.run import write_outputs


def dicom_result(place, *options, **attributes):
    """Synthesize a series with `attributes` in its headers into `place/result`; returns that folder.

    It has three phases, two lesions, a segmentation and a report, and no pictures, which take long.
    """
    study = run_samples.write_study(place / "study")
    model = run_samples.write_model(place / "model")
    reference_series(place / "scan", run_samples.make_image(run_samples.make_pre()), **attributes)
    arguments = ["--model", str(model), "--lesions", str(study / "mask.nrrd"), "--dicom", "--force", *options]
    pictures, write_outputs._pages = write_outputs._pages, lambda task: ([], [])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["synthesize", str(place / "scan"), "-o", str(place / "result"), *arguments]) == 0
    finally:
        write_outputs._pages = pictures
    return place / "result"
