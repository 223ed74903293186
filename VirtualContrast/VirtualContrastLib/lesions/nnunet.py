"""Lesion segmentation by an nnU-Net in this process: no pickles, no worker pool, progress per tile.

nnU-Net: Isensee et al., Nature Methods 18 (2021) 203. The package holds `weights.safetensors` with one state
dict a fold under the prefix `fold_N.`, and nnU-Net's own `plans.json` and `dataset.json`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import CancelledError, Events, InputError, Stage, VirtualContrastError
from ..io.volumes import same_geometry, to_array
from ..models.paths import DATASET_NAME
from .subtraction import subtract
from .threshold import instance_labels

if TYPE_CHECKING:
    import torch

    from ..models.package import ModelPackage


class LesionNet:
    """An nnU-Net held in memory, for one volume after another.

    Read from the model card: `inputs.channels` names the input channels in order, each `pre`, `phase_N` or
    `subtraction_N` (phase N minus pre); `architecture.config` holds `folds` and may hold `configuration`
    (default 3d_fullres), `probability_threshold` (0.5), `minimum_volume_mm3` (0), `tile_step_size` (0.5), and
    `mirroring` (false): true averages over all flips along `mirror_axes`, at up to eight times the time. Several folds
    are an ensemble as in nnUNetv2_predict: the mean of their outputs before the softmax.
    """

    def __init__(self, package: ModelPackage, device: str = "cpu") -> None:
        """Load the network onto a torch device; raises InputError where the package's files do not fit."""
        self._channels = list(package.card.inputs.channels)
        config: dict[str, Any] = dict(package.card.architecture.config)
        self._name = package.card.id
        self._threshold = _option(config, "probability_threshold", 0.5, (0.0, 1.0), self._name)
        self._minimum_mm3 = _option(config, "minimum_volume_mm3", 0.0, (0.0, 1e9), self._name)
        plans, dataset = package.nnunet_plans(), package.read_json(DATASET_NAME)
        if len(self._channels) != len(dataset.get("channel_names", {})):
            raise InputError(
                f"The model {self._name} names {len(self._channels)} input channels but its dataset.json "
                f"{len(dataset.get('channel_names', {}))}; repair the model's card."
            )
        self._predictor = _build_predictor(config, plans, dataset, package.fold_states(), device, self._name)

    @property
    def needs_volume(self) -> bool:
        """True where the network is three-dimensional, so that `segment` refuses a single slice."""
        return bool(self._predictor.is_3d)

    def segment(self, phases: Mapping[int, sitk.Image], events: Events | None = None) -> sitk.Image:
        """Instance labels 1..n, largest first, on the grid of the pre-contrast volume; 0 elsewhere.

        `phases` maps the phase index to its volume. A voxel is lesion where the probability of not being
        background reaches the threshold. Raises InputError where a phase is missing, geometries differ or a
        3-D network gets a single slice, VirtualContrastError where the network gives values that are not numbers,
        CancelledError when the user asked to stop.
        """
        events = events or Events()
        reference = phases[0]
        if self.needs_volume and reference.GetSize()[2] < 2:
            raise InputError(
                f"The segmentation model {self._name} is three-dimensional and cannot take a single slice."
            )
        channels = np.stack([self._channel(name, phases) for name in self._channels])
        probability = self._predictor.foreground(channels, reference.GetSpacing()[::-1], events)
        if not np.isfinite(probability).all():
            raise VirtualContrastError(
                f"The segmentation model {self._name} gave values that are not numbers, so its lesions cannot be used; "
                "check its weights, or find lesions with --segmentation threshold."
            )
        return instance_labels(probability >= self._threshold, reference, minimum_volume_mm3=self._minimum_mm3)

    def _channel(self, name: str, phases: Mapping[int, sitk.Image]) -> NDArray[np.float32]:
        """One input channel [k, j, i]."""
        kind, _, number = name.partition("_")
        index = int(number or 0)
        if index not in phases:
            raise InputError(
                f"The segmentation model {self._name} needs phase {index}, which this study does not have."
            )
        difference = same_geometry(phases[index], phases[0])
        if difference:
            raise InputError(f"Phase {index} does not lie on the pre-contrast grid: {difference}")
        return to_array(subtract(phases[index], phases[0]) if kind == "subtraction" else phases[index])


def _option(config: Mapping[str, Any], name: str, default: float, limits: tuple[float, float], model: str) -> float:
    """A number of the card's options; raises InputError where it is none within `limits`."""
    value = config.get(name, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and limits[0] <= value <= limits[1]):  # NaN fails too
        low, high = limits
        raise InputError(f"The card of the model {model} has {name} {value!r}; it must be from {low:g} to {high:g}.")
    return float(value)


def _build_predictor(
    config: Mapping[str, Any],
    plans: dict[str, Any],
    dataset: dict[str, Any],
    folds: list[dict[str, torch.Tensor]],
    device: str,
    name: str,
) -> Any:
    """nnU-Net's predictor with the network built from the plans; returns a `TilePredictor`."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration_name = str(config.get("configuration", "3d_fullres"))
    if configuration_name not in manager.available_configurations:
        raise InputError(f"The model {name} asks for configuration '{configuration_name}', which its plans lack.")
    configuration = manager.get_configuration(configuration_name)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        determine_num_input_channels(manager, configuration, dataset),
        manager.get_label_manager(dataset).num_segmentation_heads,
        allow_init=False,
        deep_supervision=False,
    )
    folds = [_with_aliases(fold, network) for fold in folds]
    try:
        network.load_state_dict(folds[0])
    except RuntimeError as error:
        raise InputError(f"The weights of the model {name} do not fit the network in its plans.json.") from error
    axes = tuple(config.get("mirror_axes") or ())
    mirroring = bool(config.get("mirroring", False)) and len(axes) > 0
    # nnU-Net prints a remark here, and standard output belongs to the command (JSON lines).
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = _tile_predictor_class()(
            tile_step_size=_option(config, "tile_step_size", 0.5, (0.05, 1.0), name),
            use_mirroring=mirroring,
            perform_everything_on_device=device.startswith("cuda"),
            device=torch.device(device),
            allow_tqdm=False,
        )
    predictor.manual_initialization(network, manager, configuration, folds, dataset, "nnUNetTrainer", axes or None)
    return predictor


def _with_aliases(state: dict[str, torch.Tensor], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """`state` with every name that `network` has for a tensor: a package stores each tensor under one of them."""
    names: dict[int, list[str]] = {}
    for key, value in network.state_dict(keep_vars=True).items():
        names.setdefault(id(value), []).append(key)
    stored = ((alias, [key for key in alias if key in state]) for alias in names.values())
    return {**state, **{key: state[known[0]] for alias, known in stored if known for key in alias}}


def _tile_predictor_class() -> Any:
    """The class TilePredictor, made here because nnU-Net is imported only when a network is used."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    class TilePredictor(nnUNetPredictor):
        """nnU-Net's predictor that tells of every tile and can be stopped between two tiles."""

        _events = Events()
        _cancelled: CancelledError | None = None
        _done = 0
        _total = 1

        @property
        def is_3d(self) -> bool:
            """True where the network works on volumes, False where slice by slice."""
            return len(self.configuration_manager.patch_size) == 3

        def foreground(
            self, channels: NDArray[np.float32], spacing_kji: tuple[float, ...], events: Events
        ) -> NDArray[np.float32]:
            """Probability [k, j, i] of not being background, for channels [c, k, j, i]."""
            self._events, self._cancelled, self._done = events, None, 0
            threads = torch.get_num_threads()
            try:
                _, probabilities = self.predict_single_npy_array(
                    channels, {"spacing": list(spacing_kji)}, save_or_return_probabilities=True
                )
            finally:
                torch.set_num_threads(threads)
            return probabilities.max(axis=0) if self.label_manager.has_regions else 1.0 - probabilities[0]

        def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> list[tuple[Any, ...]]:
            slicers = super()._internal_get_sliding_window_slicers(image_size)
            self._total = len(slicers) * len(self.list_of_parameters)
            return slicers

        def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
            # The thread that cuts the tiles blocks forever, holding the volume, if the loop is left early; so
            # after a cancel the remaining tiles pass through without work and the error is raised behind the
            # loop.
            if self._cancelled is None:
                try:
                    prediction = super()._internal_maybe_mirror_and_predict(x)
                    self._done += 1
                    self._events.progress(Stage.SEGMENT, self._done, self._total)
                    return prediction
                except CancelledError as error:
                    self._cancelled = error
            return x.new_zeros((len(x), self.label_manager.num_segmentation_heads, *x.shape[2:]))

        def _internal_predict_sliding_window_return_logits(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            logits = super()._internal_predict_sliding_window_return_logits(*args, **kwargs)
            if self._cancelled is not None:
                raise self._cancelled
            return logits

    return TilePredictor
