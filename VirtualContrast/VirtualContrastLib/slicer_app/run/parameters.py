"""What a user chooses in the panel: typed, with ranges, kept in the scene by Slicer's parameter node wrapper."""

from dataclasses import replace
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSequenceNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Default, WithinRange, parameterNodeWrapper

from ...events import InputError
from ...lesions.radiomics import has_radiomics
from ...run.settings import MOST_PASSES, RunSettings, options
from ..path_edit import UNSET
from ..scene import nodes
from . import dicom_source, dynamic_study, model_list
from .transfer import RealPhases, problem_with, real_phases


class Lesions(Enum):
    """What finds the lesions; the values are those of `RunSettings.segmentation`."""

    AUTO = "auto"
    THRESHOLD = "threshold"
    NONE = "none"

    def label(self) -> str:
        """Text of the combo box."""
        return {
            "auto": _("Lesion network (threshold where there is none)"),
            "threshold": _("Enhancement threshold"),
            "none": _("Do not look for lesions"),
        }[self.value]


class Device(Enum):
    """Where to compute; the values are those of `RunSettings.device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        """Text of the combo box."""
        return {"auto": _("Automatic"), "cpu": "CPU", "cuda": "CUDA (NVIDIA)", "mps": "MPS (Apple)"}[self.value]


MOST_ACQUIRED = 20
"""Real phases that a model can be told to read; longer series are not acquired of breasts."""


@parameterNodeWrapper
class VirtualContrastParameters:
    """Parameters of the module.

    Attributes:
        inputVolume: The pre-contrast volume.
        realVolumes: Volumes of the real phases.
        realSequence: Sequence of the real phases.
        realTimes: Seconds of the real phases as the user corrected them, "" for those of sequence or headers.
        model: Id of an installed model or path of a package folder, "" for the catalog's default.
        lesions: What finds lesions.
        uncertaintyPasses: Perturbed syntheses behind the uncertainty maps, 0 for none.
        times: Seconds after injection to make, "" for the model's own; only models of free times are asked.
        acquired: How many real phases, from the first on, a model that can go on from several reads.
        device: Where to compute.
        register: Whether to correct the motion of the real phases.
        radiomics: Whether to measure the radiomics of the lesions too.
        force: Whether to synthesize also what the gate would refuse.
        dicom: Whether to write DICOM too.
        outputFolder: Where results are made, "." (unset) for Slicer's temporary folder.
        idleMinutes: How many minutes the worker keeps the weights in memory.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    realVolumes: list[vtkMRMLScalarVolumeNode]
    realSequence: vtkMRMLSequenceNode
    realTimes: str = ""
    model: str = ""
    lesions: Lesions = Lesions.AUTO
    uncertaintyPasses: Annotated[int, WithinRange(0, MOST_PASSES), Default(0)]
    times: str = ""
    acquired: Annotated[int, WithinRange(1, MOST_ACQUIRED), Default(1)]
    device: Device = Device.AUTO
    register: bool = False
    radiomics: bool = False
    force: bool = False
    dicom: bool = False
    outputFolder: Path = UNSET
    idleMinutes: Annotated[int, WithinRange(1, 240), Default(10)]


def preselect(parameters: VirtualContrastParameters) -> None:
    """Select the first volume that can be an input where none is selected, as Slicer's modules do."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if parameters.inputVolume is None else []
    fitting = (node for node in volumes if node.GetClassName() == nodes.SCALAR_VOLUME and not _why_no_input(node))
    if (first := next(fitting, None)) is not None:
        parameters.inputVolume = first


def chosen_real_phases(parameters: VirtualContrastParameters) -> RealPhases:
    """The real phases to compare with; volumes that have left the scene are dropped."""
    volumes = [node for node in parameters.realVolumes if node is not None and node.GetScene() is not None]
    sequence = parameters.realSequence
    first = int(sequence is not None and dynamic_study.is_first_of(parameters.inputVolume, sequence))
    real = real_phases(volumes, sequence, first=first)
    edited = parse_times(parameters.realTimes) or ()
    return replace(real, times_s=edited) if len(edited) == len(real.nodes) > 0 else real


def run_settings(parameters: VirtualContrastParameters) -> RunSettings:
    """The engine's settings for these parameters; InputError where they do not go together."""
    settings = RunSettings(
        model=parameters.model,
        segmentation=parameters.lesions.value,
        device=parameters.device.value,
        uncertainty=parameters.uncertaintyPasses,
        dicom=parameters.dicom,
        radiomics=parameters.radiomics,
        register=parameters.register,
        force=parameters.force,
        times_s=chosen_times(parameters),
        acquired=parameters.acquired if reads_several(parameters) else 1,
    )
    phantom = nodes.is_phantom(parameters.inputVolume)
    return model_list.with_real_times(settings, chosen_real_phases(parameters).times_s, phantom=phantom)


def parse_times(text: str) -> tuple[float, ...] | None:
    """Rising seconds after injection in a text; None where it holds something else."""
    try:
        times: tuple[float, ...] = options()["times_s"].parse(text.replace(",", " ")) or ()
    except (ValueError, InputError):
        return None
    rising = all(a < b for a, b in pairwise((0.0, *times)))
    return times if times and rising else None


def makes_any_time(parameters: VirtualContrastParameters) -> bool:
    """The chosen model makes its phases for any seconds after injection."""
    model = model_list.find_model(parameters.model, phantom=nodes.is_phantom(parameters.inputVolume))
    return model is not None and model.abilities.free_times


def reads_several(parameters: VirtualContrastParameters) -> bool:
    """The chosen model goes on from one or more acquired phases, as many as it is given."""
    model = model_list.find_model(parameters.model, phantom=nodes.is_phantom(parameters.inputVolume))
    return model is not None and model.abilities.many_acquired


def chosen_times(parameters: VirtualContrastParameters) -> tuple[float, ...] | None:
    """Seconds after injection that the user asks for; None where none are given or the model has its own.

    Raises:
        InputError: the text holds something else than numbers.
    """
    if not parameters.times.strip() or not makes_any_time(parameters):
        return None
    times = parse_times(parameters.times)
    if times is None:
        raise InputError(_("The times must be rising numbers, as in: 90 220 350."))
    return times


def output_folder(parameters: VirtualContrastParameters) -> Path | None:
    """Where result folders are made; None for Slicer's temporary folder."""
    return None if parameters.outputFolder == UNSET else parameters.outputFolder


def why_not(parameters: VirtualContrastParameters) -> str:
    """Why a run cannot start with these parameters, in one sentence; "" where it can."""
    node = parameters.inputVolume
    if node is None:
        return _("Select a pre-contrast volume first.")
    if problem := _why_no_input(node):
        return problem
    if problem := _why_not_real(node, chosen_real_phases(parameters)):
        return problem
    if parameters.uncertaintyPasses == 1:
        return _("Uncertainty needs at least 2 passes; choose 0 for none.")
    phantom = nodes.is_phantom(node)
    model = model_list.find_model(parameters.model, phantom=phantom)
    if model is None:
        name = parameters.model or model_list.default_id(phantom=phantom)
        return _("The model {name} is not installed; select another or import it.").format(name=name or _("(none)"))
    if problem := _why_not_model(parameters, model):
        return problem
    try:
        run_settings(parameters)
    except InputError as error:
        return str(error)
    folder = output_folder(parameters)
    if folder is not None and not folder.is_dir():
        return _("The output folder does not exist; choose another under Advanced.")
    return ""


def _why_no_input(node: vtkMRMLScalarVolumeNode) -> str:
    """Why a volume cannot be the input, whatever else is chosen; "" where it can."""
    if nodes.is_synthetic(node):
        return _("This volume is synthetic; select a real pre-contrast volume.")
    if node.GetAttribute(nodes.REBUILT) == "1":
        return _("This volume was computed back from a result; load the volume itself and select that.")
    if node.GetAttribute(nodes.RUN_ID):
        return _("This volume is part of a result; select the pre-contrast volume that was loaded.")
    return problem_with(node)


def _why_not_model(parameters: VirtualContrastParameters, model: model_list.ModelEntry) -> str:
    """Why this model cannot do what was asked for."""
    count = len(chosen_real_phases(parameters).nodes)
    several = parameters.acquired if model.abilities.many_acquired else 0
    if count < max((*model.acquired, several)):
        return _("This model needs the real phase {number}; choose it under real phases.").format(number=count + 1)
    if parameters.radiomics and not has_radiomics():
        return _("Radiomics need the extension SlicerRadiomics; install it in the Extensions Manager, or untick them.")
    if parameters.uncertaintyPasses and not model.abilities.perturbs:
        return _("This model gives no uncertainty; choose 0 passes.")
    if not model.is_mammography:
        return ""
    slices = parameters.inputVolume.GetImageData().GetDimensions()[2]
    if slices != 1:
        return _("This model reads a mammogram, and the volume has {count} slices; select a mammogram.").format(
            count=slices
        )
    if count > 1:
        return _("A mammogram has one real recombined image; choose one real volume at most.")
    if parameters.register:
        return _("A mammogram has no phases whose motion could be corrected; untick it.")
    if parameters.radiomics:
        return _("A mammogram has no lesions in phases to take radiomics of; untick them.")
    if parameters.dicom and not dicom_source.files_of(parameters.inputVolume):
        return _(
            "A mammogram becomes DICOM with the side and view of its DICOM file alone, and this volume came from none; "
            "untick it under Advanced."
        )
    return ""


def _why_not_real(node: vtkMRMLScalarVolumeNode, real: RealPhases) -> str:
    for other in real.nodes:
        if other is node:
            return _("The pre-contrast volume cannot be one of the real phases; untick it.")
        if nodes.is_synthetic(other):
            return _("The volume {name} is synthetic and no real phase; untick it.").format(name=other.GetName())
        if problem := problem_with(other):
            return problem
        if other.GetImageData().GetDimensions() != node.GetImageData().GetDimensions():
            return _("The real phase {name} has another size than the pre-contrast volume; resample it.").format(
                name=other.GetName()
            )
    return ""
