"""Brings foreign checkpoints into model packages: NVIDIA-layout pix2pixHD, and nnU-Net results folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from ..events import Events, InputError
from ..networks.options import Pix2PixHDOptions
from . import strict_json
from .card import InPlane
from .nnunet_plans import check_plans
from .package import ModelCard, ModelPackage, check_state, first_problem, save_package
from .paths import DATASET_NAME, PLANS_NAME
from .safe_torch_load import load_nnunet, load_tensors, without_module_prefix

if TYPE_CHECKING:
    from torch import Tensor

# Median time between the phases of the Duke breast MRI data that the published networks were trained on.
DUKE_PHASE_STEP_S = 131.0

PIX2PIXHD_CITATION = (
    "Osuala et al., Pre- to post-contrast breast MRI synthesis for enhanced tumour segmentation, "
    "SPIE Medical Imaging 2024; Osuala et al., Simulating dynamic tumor contrast enhancement in breast MRI "
    "using conditional generative adversarial networks, Journal of Medical Imaging 2025."
)


def import_pix2pixhd(
    pth: str | Path,
    out_dir: str | Path,
    *,
    model_id: str,
    title: str,
    layout: Literal["single", "joint"] = "single",
    config: Mapping[str, Any] | None = None,
    times_s: Sequence[float] | None = None,
    in_plane: InPlane | None = None,
    license: str = "unknown; ask the authors of the checkpoint",
    citation: str = PIX2PIXHD_CITATION,
    events: Events | None = None,
) -> ModelPackage:
    """Convert a generator checkpoint of NVIDIA's layout (`*_net_G.pth`, or a zip with one) into a package.

    The intensity mapping is the published one: the volume's minimum to maximum as 8 bit, the same slice in every input
    channel.

    Args:
        pth: The checkpoint.
        out_dir: Folder of the new package.
        model_id: Id of the model.
        title: Title of the model.
        layout: "single": every output channel is phase 1 (they are averaged); "joint": channels are phases n, ..., 2,
            1, because the published preparation wrote its pictures in BGR order and the network read them as RGB.
        config: Options of `build_generator`; None infers them from the tensors.
        times_s: Seconds after injection of the phases; None for steps of 131 s, the median of the Duke data.
        in_plane: Pixels that the network was trained on; None takes those of the volume as they are.
        license: License of the weights.
        citation: What to cite.
        events: Where warnings go.

    Returns:
        The package.

    Raises:
        InputError: The file is unsafe, unreadable or does not fit.
    """
    pth = Path(pth)
    state = without_module_prefix(load_tensors(pth), pth, events)
    options = dict(config) if config is not None else infer_generator_config(state, str(pth))
    check_state(state, "pix2pixhd", options, str(pth))
    n_out = int(options["output_nc"])
    channel_phases = [1] * n_out if layout == "single" else list(range(n_out, 0, -1))
    times = list(times_s) if times_s is not None else [DUKE_PHASE_STEP_S * k for k in sorted(set(channel_phases))]
    card = _validated_card(
        {
            "id": model_id,
            "version": "1",
            "title": title,
            "architecture": {"name": "pix2pixhd", "config": options},
            "inputs": {"phases": [0], "channel_offsets": [0] * int(options["input_nc"])},
            "outputs": {"channel_phases": channel_phases, "times_s": times},
            "intensity": {"recipe": "minmax_8bit"},
            "in_plane": {
                **(in_plane or InPlane()).model_dump(),
                "pad_multiple": 2 ** Pix2PixHDOptions.of(options).halvings,
            },
            "training": {"imported_from": pth.name, "layout": layout},
            "trained_on_phantoms": False,
            "license": license,
            "citation": citation,
        }
    )
    origin = f"Imported from `{pth.name}` (pix2pixHD, {layout} layout)."
    note = f"# {title}\n\n{origin} Output in arbitrary units 0..255. Research only.\n"
    return save_package(out_dir, card, state, model_card_md=note)


def infer_generator_config(state: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """Options of `build_generator` that give the keys and shapes of `state`.

    Raises InputError naming `where` when it is no such checkpoint.
    """
    try:
        trunk = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
        enhancers = {int(m.group(1)) for k in state if (m := re.match(r"model(\d+)_1\.", k))}
        width, input_nc = trunk["1.weight"].shape[:2]
        blocks = sum(key.endswith("conv_block.1.weight") for key in trunk)
        config = {
            "input_nc": int(input_nc),
            "ngf": int(width) >> len(enhancers),
            "n_downsample_global": _count_halvings(trunk, where),
            "n_blocks_global": blocks,
        }
        if not enhancers:
            return {**config, "netG": "global", "output_nc": _last_channels(trunk)}
        last = {k.removeprefix(f"model{max(enhancers)}_2."): v for k, v in state.items()}
        refine = sum(bool(re.fullmatch(r"model1_2\.\d+\.conv_block\.1\.weight", key)) for key in state)
        local = {"n_local_enhancers": len(enhancers), "n_blocks_local": refine}
        return {**config, "netG": "local", "output_nc": _last_channels(last), **local}
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{where} is not a pix2pixHD generator checkpoint (missing {error}).") from error


def import_nnunet(
    folder: str | Path,
    out_dir: str | Path,
    *,
    model_id: str,
    title: str,
    channels: Sequence[str],
    options: Mapping[str, Any] | None = None,
    folds: Sequence[int] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    trained_on_phantoms: bool = False,
    training: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    license: str = "unknown; ask the authors of the checkpoint",
    citation: str = "Isensee et al., nnU-Net, Nature Methods 18, 203-211 (2021).",
) -> ModelPackage:
    """Convert an nnU-Net results folder into a package. Weights are stored as `fold_{n}.<key>`.

    Args:
        folder: The folder with plans.json, dataset.json and fold_N/checkpoint_final.pth, as nnUNetv2_train leaves it.
        out_dir: Folder of the new package.
        model_id: Id of the model.
        title: Title of the model.
        channels: What each input channel is, in nnU-Net's order: pre, phase_N or subtraction_N.
        options: For `LesionNet`: probability_threshold, minimum_volume_mm3, mirroring, tile_step_size.
        folds: Folds to take, several are an ensemble; None for all that are there.
        checkpoint: File name of the checkpoints.
        trained_on_phantoms: Whether the training images were simulated.
        training: What the card says of the training.
        metrics: What the card says of the results.
        license: License of the weights.
        citation: What to cite.

    Returns:
        The package.

    Raises:
        InputError: A file is missing, unsafe or does not fit the others.
    """
    folder = Path(folder)
    files = {name: _read(folder / name) for name in (PLANS_NAME, DATASET_NAME)}
    plans, dataset = (strict_json.read_object(data, folder / name) for name, data in files.items())
    check_plans(plans, str(folder / PLANS_NAME))
    names = dataset.get("channel_names", {})
    if len(names) != len(channels):
        raise InputError(f"{folder / 'dataset.json'} has {len(names)} channels, but {len(channels)} are named.")
    if folds is None:
        folds = sorted(
            int(p.parent.name[5:]) for p in folder.glob(f"fold_*/{checkpoint}") if p.parent.name[5:].isdigit()
        )
    if not folds:
        raise InputError(f"{folder} has no fold_N/{checkpoint}; give the folder that nnUNetv2_train wrote.")
    checkpoints = {fold: load_nnunet(folder / f"fold_{fold}" / checkpoint) for fold in folds}
    config = _nnunet_config(checkpoints, plans, folder)
    state = {
        f"fold_{fold}.{key}": value
        for fold, content in checkpoints.items()
        for key, value in _without_aliases(content["network_weights"]).items()
    }
    card = _validated_card(
        {
            "id": model_id,
            "version": "1",
            "title": title,
            "architecture": {"name": "nnunet", "config": {**config, **(options or {})}},
            "inputs": {"phases": _phases_of(channels), "channels": list(channels)},
            "training": dict(training or {}),
            "metrics": [dict(metric) for metric in metrics],
            "trained_on_phantoms": trained_on_phantoms,
            "license": license,
            "citation": citation,
        }
    )
    note = f"# {title}\n\nnnU-Net, configuration {config['configuration']}, folds {list(folds)}.\n"
    return save_package(out_dir, card, state, model_card_md=note, extra_files=files)


def _phases_of(channels: Sequence[str]) -> list[int]:
    """Phase indices that the input channels need; a subtraction needs the pre-contrast phase (0) too."""
    indices = {int(name.rpartition("_")[2]) for name in channels if name[-1:].isdigit()}
    return sorted(indices | {0 for name in channels if name == "pre" or name.startswith("subtraction")})


def _validated_card(values: Mapping[str, Any]) -> ModelCard:
    try:
        return ModelCard.model_validate(values)
    except ValidationError as error:
        raise InputError(f"The model card of '{values['id']}' cannot be made: {first_problem(error)}") from error


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} is missing; give the folder that nnUNetv2_train wrote (with fold_0 in it).")
    return path.read_bytes()


def _count_halvings(trunk: Mapping[str, Tensor], where: str) -> int:
    """Number of down-sampling convolutions, from the index of the first residual block: 4 + 3 * downs."""
    indices = [int(key.split(".")[0]) for key in trunk if ".conv_block." in key]
    if not indices or (min(indices) - 4) % 3:
        raise InputError(f"{where} is not a pix2pixHD generator checkpoint (no residual blocks where expected).")
    return (min(indices) - 4) // 3


def _last_channels(modules: Mapping[str, Tensor]) -> int:
    index = max(int(key.split(".")[0]) for key in modules if re.fullmatch(r"\d+\.bias", key))
    return int(modules[f"{index}.bias"].shape[0])


def _without_aliases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict, each once: nnU-Net's modules name most of theirs two to four times."""
    first: dict[tuple[object, ...], str] = {}
    for key, value in state.items():
        first.setdefault((value.data_ptr(), value.shape, value.stride()), key)
    return {key: state[key] for key in first.values()}


def _nnunet_config(checkpoints: Mapping[int, dict[str, Any]], plans: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `LesionNet` needs besides plans.json and dataset.json; all folds must agree."""
    first = next(iter(checkpoints.values()))
    shapes = {key: value.shape for key, value in first["network_weights"].items()}
    for fold, other in checkpoints.items():
        if {key: value.shape for key, value in other["network_weights"].items()} != shapes:
            raise InputError(f"{folder}: the network of fold {fold} differs from that of the first fold.")
    configuration = first["init_args"]["configuration"]
    if configuration not in plans.get("configurations", {}):
        raise InputError(f"{folder / 'plans.json'} has no configuration '{configuration}', which was trained.")
    return {
        "configuration": configuration,
        "trainer_name": first["trainer_name"],
        "folds": list(checkpoints),
        "mirror_axes": list(first.get("inference_allowed_mirroring_axes") or []),
    }
