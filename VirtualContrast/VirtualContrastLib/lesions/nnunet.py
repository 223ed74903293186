"""Lesion segmentation by an nnU-Net in this process: no pickles, no worker pool, progress per tile.

nnU-Net: Isensee et al., Nature Methods 18 (2021) 203. The package holds `weights.safetensors` with one state
dict a fold under the prefix `fold_N.`, and nnU-Net's own `plans.json` and `dataset.json`.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError, Stage, VirtualContrastError
from ..io.volumes import same_geometry, to_array
from ..models.paths import DATASET_NAME, cache_dir
from .subtraction import subtract
from .threshold import instance_labels

if TYPE_CHECKING:
    import torch

    from ..models.package import ModelPackage


_VOXELS_AT_ONCE, _TILES_AT_ONCE = 2**18, 4
"""Small tiles are computed together up to this size and number; more gain nothing on a CPU, and cancel would wait."""
_CERTAIN = 20.0
"""Logit of background where nothing was computed."""


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

    def segment(
        self,
        phases: Mapping[int, sitk.Image],
        events: Events | None = None,
        region: NDArray[np.bool_] | None = None,
    ) -> sitk.Image:
        """Segment lesions: voxels where the probability of not being background reaches the threshold.

        Args:
            phases: Volumes by phase index; 0 is the pre-contrast volume, whose grid is the one of the result.
            events: Receives progress, and carries the request to cancel.
            region: Voxels [k, j, i] to look at, None for all; lesions end at its border.

        Returns:
            Instance labels 1..n, largest first, on the grid of the pre-contrast volume; 0 elsewhere.

        Raises:
            InputError: A phase is missing, geometries differ or a 3-D network gets a single slice.
            VirtualContrastError: The network gives values that are not numbers.
            CancelledError: The user asked to stop.
        """
        events = events or Events()
        reference = phases[0]
        if self.needs_volume and reference.GetSize()[2] < 2:
            raise InputError(
                f"The segmentation model {self._name} is three-dimensional and cannot take a single slice."
            )
        channels = np.stack([self._channel(name, phases) for name in self._channels])
        probability = self._predictor.foreground(channels, reference.GetSpacing()[::-1], events, region)
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
    _give_torch_a_folder()
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


def _give_torch_a_folder() -> None:
    """Name the folder that torch makes when nnU-Net imports its compiler, which is not used here.

    By default it has a name in the temporary folder that any other user can take, and then nothing could be segmented.
    """
    place = cache_dir() / "torch"
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(place))


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
    from acvl_utils.cropping_and_padding.padding import pad_nd_image
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    from ..networks.cpu_forms import in_cpu_forms

    class TilePredictor(nnUNetPredictor):
        """nnU-Net's predictor that reports every tile and can be stopped between two tiles."""

        _events = Events()
        _wanted: NDArray[np.bool_] | None = None
        _done = 0
        _total = 1

        @property
        def is_3d(self) -> bool:
            """True where the network works on volumes, False where slice by slice."""
            return len(self.configuration_manager.patch_size) == 3

        def foreground(
            self,
            channels: NDArray[np.float32],
            spacing_kji: tuple[float, ...],
            events: Events,
            region: NDArray[np.bool_] | None = None,
        ) -> NDArray[np.float32]:
            """Probability [k, j, i] of not being background, for channels [c, k, j, i].

            In `region` [k, j, i] it is what the whole volume would give, outside of it 0: tiles that do not meet the
            region are left out, so that a voxel beside it has a part of its tiles only, which can pass any threshold.
            """
            self._events, self._done = events, 0
            threads = torch.get_num_threads()
            manager, configuration = self.plans_manager, self.configuration_manager
            try:
                data, _, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
                    channels, None, {"spacing": list(spacing_kji)}, manager, configuration, self.dataset_json
                )
                self._wanted = None if region is None else self._on_tiles(region, data.shape[1:], properties)
                logits = self.predict_logits_from_preprocessed_data(torch.from_numpy(data))
                del data
                _, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
                    logits, manager, configuration, self.label_manager, properties, return_probabilities=True
                )
            finally:
                torch.set_num_threads(threads)
            found = probabilities.max(axis=0) if self.label_manager.has_regions else 1.0 - probabilities[0]
            return found if region is None else np.where(region, found, np.zeros((), found.dtype))

        def _on_tiles(
            self, region: NDArray[np.bool_], shape: tuple[int, ...], properties: Mapping[str, Any]
        ) -> NDArray[np.bool_]:
            """Where `region` reads the preprocessed grid of `shape` when the result is interpolated back to its voxels.

            Grown to at least a tile, as nnU-Net grows its data.
            """
            wanted = region.transpose(self.plans_manager.transpose_forward)
            wanted = wanted[tuple(slice(low, high) for low, high in properties["bbox_used_for_cropping"])]
            for axis, count in enumerate(shape):
                planes = np.moveaxis(wanted, axis, 0)
                below = np.floor((np.arange(len(planes)) + 0.5) * count / len(planes) - 0.5).astype(int)
                grid = np.zeros((count, *planes.shape[1:]), bool)
                for plane, first in zip(planes, below, strict=True):
                    grid[np.clip([first, first + 1], 0, count - 1)] |= plane
                wanted = np.moveaxis(grid, 0, axis)
            return pad_nd_image(wanted, self.configuration_manager.patch_size)

        def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> Any:
            """As nnU-Net's; on a CPU by the same network in faster forms, made of the weights of each fold."""
            whole = self.network  # type: ignore[has-type]  # nnU-Net has no types
            if self.device.type == "cpu":
                self.network = in_cpu_forms(whole)
            try:
                return super().predict_sliding_window_return_logits(input_image)
            finally:
                self.network = whole

        def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> list[tuple[Any, ...]]:
            slicers = super()._internal_get_sliding_window_slicers(image_size)
            if self._wanted is not None:
                slicers = [tile for tile in slicers if self._wanted[tile[1:]].any()]
            self._total = len(slicers) * len(self.list_of_parameters)
            return slicers

        def _internal_predict_sliding_window_return_logits(
            self, data: torch.Tensor, slicers: list[tuple[Any, ...]], do_on_device: bool = True
        ) -> torch.Tensor:
            """Mean of the tiles' logits under a Gaussian weight, [head, ...]; background where there is no tile.

            As nnU-Net's own, with sums in float32, several small tiles at once, and no thread that a cancel would leave
            behind.
            """
            device = self.device if do_on_device else torch.device("cpu")
            patch = tuple(self.configuration_manager.patch_size)
            gaussian = compute_gaussian(patch, sigma_scale=1 / 8, value_scaling_factor=10, device=device).float()
            data = data.to(device)
            logits = torch.zeros((self.label_manager.num_segmentation_heads, *data.shape[1:]), device=device)
            weight = torch.zeros(data.shape[1:], device=device)
            step = min(max(1, _VOXELS_AT_ONCE // math.prod(patch)), _TILES_AT_ONCE)
            for start in range(0, len(slicers), step):
                tiles = slicers[start : start + step]
                found = self._internal_maybe_mirror_and_predict(
                    torch.stack([data[tile] for tile in tiles]).to(self.device)
                )
                for tile, prediction in zip(tiles, found.float().to(device), strict=True):
                    logits[tile] += prediction * gaussian
                    weight[tile[1:]] += gaussian
                self._done += len(tiles)
                self._events.progress(Stage.SEGMENT, self._done, self._total)
            without = weight == 0
            logits /= weight.masked_fill_(without, 1.0)
            logits.masked_fill_(without, -_CERTAIN)
            if not self.label_manager.has_regions:
                logits[0].masked_fill_(without, _CERTAIN)
            return logits

    return TilePredictor
