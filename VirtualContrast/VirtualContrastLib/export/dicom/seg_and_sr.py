"""Lesions as DICOM: a Segmentation (one binary segment per lesion) and a TID 1500 measurement report.

Both refer to the written synthetic series and carry the same labels as it: Synthetic Data YES, and the
Contributing Equipment that names the models. Coded with SNOMED CT and DCM; enhancement numbers without a
standard code use the private scheme 99VCON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ...events import InputError
from ...io.dicom.files import quiet_pydicom
from ...kinetics.curves import LesionCurve
from ...kinetics.parameters import CurveType
from ...lesions.location import LesionPlace
from ...lesions.measurement import LesionMeasures
from ...synthesis.breast_region import LEFT, RIGHT, UNKNOWN
from ..content import GIVEN, THRESHOLD, ModelIdentity, RunIdentity
from .common import add_times, copy_attributes, label_as_synthetic, synthesizing_equipment

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SEG_SERIES_NUMBER, SR_SERIES_NUMBER = 9100, 9200
PRIVATE_SCHEME = "99VCON"
SIDES: Mapping[str, tuple[str, str]] = {LEFT: ("80248007", "Left breast"), RIGHT: ("73056007", "Right breast")}
BREAST = ("76752008", "Breast")
CURVE_CODES = {
    CurveType.PERSISTENT: ("130597", "Persistent delayed phase: Type 1 curve"),
    CurveType.PLATEAU: ("130598", "Plateau delayed phase: Type 2 curve"),
    CurveType.WASHOUT: ("130599", "Washout delayed phase: Type 3 curve"),
}


@quiet_pydicom()
def write_segmentation(
    path: Path, labels: sitk.Image, series: Sequence[Path], run: RunIdentity, *, places: Sequence[LesionPlace] = ()
) -> Dataset | None:
    """Write lesion labels as DICOM SEG. Segment n has the number of the n-th label present.

    Args:
        path: The file.
        labels: Instance labels, on the grid of the series.
        series: DICOM files of one synthetic phase in order of k, as `write_dicom_series` returns them.
        run: The run that made them.
        places: Where the lesions lie in the breast, matched by label; the side of others is unknown.

    Returns:
        The data set, or None (no file) where there is no lesion.

    Raises:
        InputError: The run did not look for lesions, or the grids differ.
    """
    import highdicom as hd
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    if run.segmentation is None:
        raise InputError("This run did not look for lesions; there is nothing to write as DICOM SEG.")
    array = sitk.GetArrayFromImage(labels)
    present = [int(value) for value in np.unique(array) if value > 0]
    if not present:
        return None
    sources = [pydicom.dcmread(file) for file in series]
    if array.shape != (len(sources), sources[0].Rows, sources[0].Columns):
        raise InputError("The lesions do not lie on the grid of the DICOM series they are to refer to.")
    side_of = {place.label: place.side for place in places}
    segments = [_segment(n, label, side_of.get(label, UNKNOWN), run) for n, label in enumerate(present, start=1)]
    planes = (array[..., None] == np.array(present)).astype(np.uint8)
    segmentation = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=planes,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=run.uid("segmentation"),
        series_number=SEG_SERIES_NUMBER,
        sop_instance_uid=run.uid("segmentation", 1),
        instance_number=1,
        manufacturer="VirtualContrast",
        manufacturer_model_name="VirtualContrast engine",
        software_versions=run.engine_version,
        device_serial_number=run.segmentation.weights_sha256 or "none",
        content_label="LESIONS",
        content_description=_origin(run.segmentation, run),
        content_creator_name=None,
        series_description="SYNTHETIC lesions, research only",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_qualification="RESEARCH",
    )
    # highdicom draws this UID at random; one of the run keeps the same run's files the same.
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = run.uid("segmentation", "dimensions")
    _finish(segmentation, run, sources[0])
    segmentation.save_as(path)
    return segmentation


def _origin(method: ModelIdentity, run: RunIdentity) -> str:
    """Where the outlines come from, at most 64 characters."""
    if method.id == GIVEN:
        return "Lesions given by the user in a SYNTHETIC study; research only"
    if run.input_phases:
        return "Lesions outlined in a partly SYNTHETIC study; research only"
    return "Lesions outlined on SYNTHETIC images; research only"


def _segment(number: int, label: int, side: str, run: RunIdentity) -> Any:
    """Description of one segment: a mass in the breast, outlined automatically or given by the user."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    method = run.segmentation or ModelIdentity(THRESHOLD, run.engine_version)
    given = method.id == GIVEN
    kinds = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"Lesion {label}",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Mass,
        algorithm_type=kinds.MANUAL if given else kinds.AUTOMATIC,
        algorithm_identification=None if given else _algorithm(method),
        tracking_uid=run.uid("lesion", label),
        tracking_id=f"Lesion {label}",
        anatomic_regions=[_site(side)],
    )


def _algorithm(method: ModelIdentity) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    family = codes.DCM.MorphologicalOperations if method.id == THRESHOLD else codes.DCM.ArtificialIntelligence
    return hd.AlgorithmIdentificationSequence(name=method.id, family=family, version=method.version)


def _site(side: str) -> Any:
    """The breast with its side, where the side is known."""
    value, meaning = SIDES.get(side, BREAST)
    return _coded(value, "SCT", meaning)


@quiet_pydicom()
def write_measurements(
    path: Path,
    measures: Sequence[LesionMeasures],
    curves: Sequence[LesionCurve],
    segmentation: Dataset | None,
    series: Mapping[int, Sequence[Path]],
    run: RunIdentity,
    *,
    places: Sequence[LesionPlace] = (),
) -> Dataset | None:
    """Write a TID 1500 report (Comprehensive 3D SR), marked as unverified and preliminary.

    A group per lesion: reference to its segment and to the synthetic series, volume (mm3), diameters (mm), early and
    peak PE (%), SER, curve type. Values that are not defined are left out.

    Args:
        path: The file.
        measures: Sizes of the lesions.
        curves: Their curves, matched by label.
        segmentation: The DICOM SEG of the labels.
        series: Files of the synthetic series by phase index.
        run: The run that made them.
        places: Where they lie in the breast, matched by label; the side of others is unknown.

    Returns:
        The data set, or None (no file) where there is no lesion.
    """
    import highdicom as hd
    import pydicom
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.sr.codedict import codes

    if segmentation is None or not measures:
        return None
    evidence = [pydicom.dcmread(file, stop_before_pixels=True) for files in series.values() for file in files]
    by_label = {curve.label: curve for curve in curves}
    side_of = {place.label: place.side for place in places}
    groups = [
        _group(one, by_label.get(one.label), side_of.get(one.label, UNKNOWN), segmentation, run) for one in measures
    ]
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=run.uid("device"), name="VirtualContrast", model_name="VirtualContrast engine"
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.MRIOfBreast,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=[*evidence, segmentation],
        content=content,
        series_instance_uid=run.uid("measurements"),
        series_number=SR_SERIES_NUMBER,
        sop_instance_uid=run.uid("measurements", 1),
        instance_number=1,
        manufacturer="VirtualContrast",
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="SYNTHETIC measurements, research only",
        coding_schemes=[CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="VirtualContrast private codes")],
    )
    _finish(report, run, evidence[0])
    report.save_as(path)
    return report


def _group(
    measure: LesionMeasures,
    curve: LesionCurve | None,
    side: str,
    segmentation: Dataset,
    run: RunIdentity,
) -> Any:
    """Measurements and qualitative evaluations of one lesion."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name = f"Lesion {measure.label}"
    segment = next(item for item in segmentation.SegmentSequence if item.SegmentLabel == name)
    source_series = hd.sr.SourceSeriesForSegmentation(segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID)
    reference = hd.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=int(segment.SegmentNumber),
        source_series=source_series,
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=run.uid("lesion", measure.label), identifier=name),
        referenced_segment=reference,
        finding_type=codes.SCT.Mass,
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_sites=[hd.sr.FindingSite(_site(side))],
        measurements=_measurements(measure, curve),
        qualitative_evaluations=_evaluations(curve),
    )


def _measurements(measure: LesionMeasures, curve: LesionCurve | None) -> list[Any]:
    """Numbers of one lesion as (name, value, unit) items; undefined ones are left out."""
    import highdicom as hd

    mm, mm3 = _coded("mm", "UCUM", "millimeter"), _coded("mm3", "UCUM", "cubic millimeter")
    percent, ratio = _coded("%", "UCUM", "percent"), _coded("{ratio}", "UCUM", "ratio")
    left_right, front_back, up_down = measure.diameters
    peak = None if curve is None else float(curve.parameters.peak_pe_percent)
    items = [
        (_coded("118565006", "SCT", "Volume"), measure.volume, mm3),
        (_coded("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh"), measure.longest_diameter, mm),
        (_coded("VC-LR", PRIVATE_SCHEME, "Left-right extent"), left_right, mm),
        (_coded("VC-AP", PRIVATE_SCHEME, "Anterior-posterior extent"), front_back, mm),
        (_coded("VC-SI", PRIVATE_SCHEME, "Superior-inferior extent"), up_down, mm),
        (_coded("VC-PE", PRIVATE_SCHEME, "Early percent enhancement"), measure.early_pe_percent, percent),
        (_coded("VC-PEAK", PRIVATE_SCHEME, "Peak percent enhancement"), peak, percent),
        (_coded("VC-SER", PRIVATE_SCHEME, "Signal enhancement ratio"), measure.ser, ratio),
        (_coded("VC-FTV", PRIVATE_SCHEME, "Functional tumor volume"), measure.ftv, mm3),
    ]
    return [
        hd.sr.Measurement(name=name, value=float(f"{value:.6g}"), unit=unit)
        for name, value, unit in items
        if value is not None and np.isfinite(value)
    ]


def _evaluations(curve: LesionCurve | None) -> list[Any]:
    """That the images are synthetic, and the curve type where one was given."""
    import highdicom as hd

    origin = _coded("VC-ORIGIN", PRIVATE_SCHEME, "Origin of the images")
    synthetic = _coded("VC-SYNTHETIC", PRIVATE_SCHEME, "Synthetic, research only")
    items = [hd.sr.QualitativeEvaluation(name=origin, value=synthetic)]
    if curve is not None and curve.curve_type in CURVE_CODES:
        value, meaning = CURVE_CODES[curve.curve_type]
        kind = _coded("VC-CURVE", PRIVATE_SCHEME, "Kinetic curve type")
        items.append(hd.sr.QualitativeEvaluation(name=kind, value=_coded(value, "DCM", meaning)))
    return items


def _finish(dataset: Dataset, run: RunIdentity, source: Dataset) -> None:
    """What SEG and SR share: labels, models, the run's time, and the character set of the patient's name."""
    copy_attributes(source, dataset, ("SpecificCharacterSet", "PatientIdentityRemoved", "DeidentificationMethod"))
    label_as_synthetic(dataset, run.synthesis, run, ())
    if run.segmentation is not None and run.segmentation.weights_sha256:
        dataset.ContributingEquipmentSequence.append(synthesizing_equipment(run.segmentation, run))
    add_times(dataset, run)


def _coded(value: str, scheme: str, meaning: str) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)
