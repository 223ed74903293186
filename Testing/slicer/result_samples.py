"""Result folders made by the engine's own analysis and writers from phases that are given, without a network."""

import dataclasses
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import run_samples
from VirtualContrastLib.events import Events
from VirtualContrastLib.results.manifest import Manifest, now_utc
from VirtualContrastLib.results.writer import ResultWriter
from VirtualContrastLib.run import analysis
from VirtualContrastLib.run.parts import Analysis, Comparison, Series
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastLib.run.write_outputs import export, phase_entries
from VirtualContrastLib.study import Phase, Source, Study

TIMES_S = (90.0, 220.0, 350.0)
MODEL = {"role": "synthesis", "id": "sample", "version": "1", "weights_sha256": "ab" * 32, "trained_on_phantoms": True}


def write_result(
    folder, pre, synthetic, *, labels=None, real=(), uncertainty=None, arbitrary=False, given=True, format="nrrd",
    radiomics=False, corrected=(),
):  # fmt: skip
    """The result folder of `synthetic` phases (images) as if a model had made them; returns its path.

    `corrected`: numbers of the real phases that count as without motion. `arbitrary`: `pre` is in units of its own, 10
    times smaller than the phases'.
    """
    study = Study(Phase(0, pre, 0.0, synthetic=False), Source((), "memory", "0" * 64))
    own_units = sitk.Cast(pre, sitk.sitkFloat32) * (10.0 if arbitrary else 1.0)
    results = analysis.phase_results(_phases(synthetic, synthetic=True), uncertainty)
    real_phases = tuple(_phases(real, synthetic=False))
    series = Series(study, own_units, results, real=real_phases, arbitrary_units=arbitrary)
    events, settings = Events(), RunSettings(format=format, radiomics=radiomics)
    kinetics = analysis.analyze_kinetics(series, labels, events)
    if radiomics:
        kinetics = dataclasses.replace(kinetics, radiomics=analysis.measure_radiomics(series, labels, events))
    comparison = Comparison()
    if real:
        comparison = analysis.compare_with_real(series, kinetics.region, labels, events)
    found = Analysis(series, kinetics.region, kinetics, comparison)
    with ResultWriter(folder) as writer:
        manifest = Manifest(
            kind="synthesis",
            run_id=writer.run_id,
            created_utc=now_utc().isoformat(timespec="seconds"),
            fingerprint="0" * 64,
            inputs=[{"role": f"real_{index}", "time_s": 0.0, "motion": {"kept": True}} for index in corrected],
            models=[MODEL],
            settings={"segmentation": "none" if labels is None else "given" if given else "threshold"},
            device={"device": "cpu", "precision": "float32", "reason": "test"},
            versions={"virtual-contrast": "0.1.0"},
            phases=phase_entries(series, settings),
            arbitrary_units=arbitrary,
            timing_s={},
            warnings=[],
            summary=found.summary(),
        )
        # Seconds of drawing, and nobody reads it.
        with mock.patch("VirtualContrastLib.run.write_outputs._pages", return_value=([], [])):
            export(found, writer, manifest, settings, events)
        writer.finish(manifest)
    return folder


def _phases(images, *, synthetic):
    times = zip(images, TIMES_S, strict=False)
    return [Phase(index, image, time_s, synthetic=synthetic) for index, (image, time_s) in enumerate(times, start=1)]


def small_study(direction=None):
    """Pre-contrast, synthetic and real phases, labels and uncertainty of Testing/run_samples.py as images."""

    def image(array):
        return run_samples.make_image(array, direction=direction)

    mask, pre = run_samples.make_mask(), run_samples.make_pre()
    synthetic = []
    # Lesion 1 washes out, lesion 2 goes on rising, and in the last phase the rest is darker than before contrast.
    for first, second, rest in ((1.6, 1.3, 1.02), (1.9, 1.7, 1.02), (1.5, 2.1, 0.98)):
        phase = pre * rest
        phase[mask == 1] *= first
        phase[mask == 2] *= second
        synthetic.append(image(phase.astype(np.float32)))
    return {
        "pre": image(pre),
        "synthetic": synthetic,
        "real": [image(run_samples.make_real(phase)) for phase in (1, 2, 3)],
        "labels": image(mask),
        "uncertainty": [image(np.where(mask > 0, 9.0 * n, 1.0).astype(np.float32)) for n in (1, 2, 3)],
    }


def full_result(folder, direction=None, **changes):
    """A result with everything: lesions, real phases, uncertainty."""
    parts = small_study(direction) | changes
    return write_result(folder, parts.pop("pre"), parts.pop("synthetic"), **parts)


def bare_result(folder):
    """A result with phases, subtraction and maps alone."""
    parts = small_study()
    return write_result(folder, parts["pre"], parts["synthetic"])


def each(loaded, name):
    """An attribute of every synthetic phase of a loaded result, as a list."""
    return [getattr(phase, name) for phase in loaded.phases]


def add_input(image, name="T1"):
    """The pre-contrast volume as a node of the scene."""
    import slicer
    from VirtualContrastLib.slicer_app.scene import nodes

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(nodes.image_to_ras(image)))
    node.CreateDefaultDisplayNodes()
    return node


def node_ids():
    """The ids of all nodes of the scene."""
    import slicer

    count = slicer.mrmlScene.GetNumberOfNodes()
    return {slicer.mrmlScene.GetNthNode(number).GetID() for number in range(count)}


def voxels(node_id):
    """The voxels of a volume node [k, j, i]."""
    import slicer
    from VirtualContrastLib.slicer_app.scene import nodes

    return slicer.util.arrayFromVolume(nodes.node(node_id))
