"""The public interface: what it is called, that it opens on a bare Python, and arrays, images and files in and out."""

import subprocess
import sys

import numpy as np
import pytest
import run_samples
import SimpleITK as sitk
import VirtualContrastLib as vc

PUBLIC = {
    *("CancelledError", "InputError", "VirtualContrastError"),
    *("RunSettings", "SynthesizedStudy", "__version__", "load_result", "synthesize", "verify_result"),
}


def test_the_public_names_are_these():
    assert set(vc.__all__) == PUBLIC
    assert all(getattr(vc, name) is not None for name in PUBLIC)


def test_importing_the_package_needs_nothing_else():
    code = "import sys, VirtualContrastLib; print([m for m in ('numpy', 'SimpleITK', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def study(tmp_path):
    """A pre-contrast file and the settings of a tiny model."""
    run_samples.write_model(tmp_path / "model")
    path = run_samples.write_study(tmp_path / "study") / "pre.nrrd"
    return path, vc.RunSettings(model=str(tmp_path / "model"), segmentation="none", device="cpu")


def test_file_image_and_array_give_the_same_phases(study, tmp_path):
    path, settings = study
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32)
    from_file = vc.synthesize(path, tmp_path / "out", settings=settings)
    from_image = vc.synthesize(image, settings=settings)
    from_array = vc.synthesize(sitk.GetArrayFromImage(image), spacing_mm=image.GetSpacing(), settings=settings)
    assert len(from_file.phases) == 3
    for number, phase in enumerate(from_image.phases):
        assert phase.image.GetSpacing() == image.GetSpacing()
        assert phase.image.GetOrigin() == image.GetOrigin()
        np.testing.assert_array_equal(from_file.arrays()[number], from_image.arrays()[number])
        np.testing.assert_array_equal(from_file.arrays()[number], from_array.arrays()[number])
    assert vc.verify_result(from_file.folder) == []
    assert from_image.folder is None


def test_progress_is_called_and_warnings_go_to_logging(study, caplog):
    path, settings = study
    stages = []
    study = vc.synthesize(path, settings=settings, progress=lambda stage, done, total: stages.append(stage))
    assert {"read", "synthesize", "export"} <= set(stages)
    assert any("only 6 slice(s)" in warning for warning in study.manifest.warnings)
    assert any("only 6 slice(s)" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("array", "spacing", "said"),
    [(np.zeros((4, 4)), (1, 1, 1), "has 2 axes"), (np.zeros((4, 4, 4)), None, "give spacing_mm")],
)
def test_an_array_without_millimeters_or_of_other_axes_is_refused(array, spacing, said):
    with pytest.raises(vc.InputError, match=said):
        vc.synthesize(array, spacing_mm=spacing)
