"""What an nnU-Net's plans may name. nnU-Net imports and calls whatever its plans name, so all else is refused.

nnU-Net: Isensee et al., Nature Methods 18 (2021) 203. Knows only names; nnU-Net itself need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from ..events import InputError


def _names(modules: Iterable[str], classes: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{module}.{name}" for module, name in product(modules, classes))


_UNET = "dynamic_network_architectures.architectures.unet"
NETWORKS = _names([_UNET], ["PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet"])
LAYERS = {
    "conv_op": _names(["torch.nn", "torch.nn.modules.conv"], ["Conv2d", "Conv3d"]),
    "norm_op": _names(["torch.nn", "torch.nn.modules.instancenorm"], ["InstanceNorm2d", "InstanceNorm3d"])
    | _names(["torch.nn", "torch.nn.modules.batchnorm"], ["BatchNorm2d", "BatchNorm3d"]),
    "dropout_op": _names(["torch.nn", "torch.nn.modules.dropout"], ["Dropout", "Dropout2d", "Dropout3d"]),
    "nonlin": _names(
        ["torch.nn", "torch.nn.modules.activation"], ["LeakyReLU", "ReLU", "PReLU", "ELU", "GELU", "SiLU", "Mish"]
    ),
}
"""Classes by the argument of the network that they may be; all of them subclasses of torch.nn.Module."""

_RESAMPLING = frozenset({"resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"})
_OF_CONFIGURATION = {
    "UNet_class_name": frozenset({"PlainConvUNet", "ResidualEncoderUNet"}),
    "preprocessor_name": frozenset({"DefaultPreprocessor"}),
    "resampling_fn_data": _RESAMPLING,
    "resampling_fn_seg": _RESAMPLING,
    "resampling_fn_probabilities": _RESAMPLING,
}
_NORMALIZATIONS = frozenset(
    {
        "ZScoreNormalization",
        "CTNormalization",
        "NoNormalization",
        "RescaleTo01Normalization",
        "RGBTo01Normalization",
    }
)
_MOST = {
    "n_stages": 12,
    "features_per_stage": 4096,
    "n_conv_per_stage": 32,
    "n_blocks_per_stage": 32,
    "n_conv_per_stage_decoder": 32,
}
"""Far above any plan: nnU-Net builds as many layers as the plans ask for, before the weights are compared with them."""
_LABEL_MANAGERS = frozenset({"LabelManager"})


def check_plans(plans: Any, where: str) -> None:
    """Raise InputError naming `where` unless everything that nnU-Net would look up by name is a known part of it.

    Every configuration is looked at, also those that are not used: they inherit from each other.
    """
    _check(_value(plans, "label_manager", where), _LABEL_MANAGERS, where)
    configurations = _value(plans, "configurations", where)
    for configuration in _value(configurations, None, where).values():
        for key, allowed in _OF_CONFIGURATION.items():
            _check(_value(configuration, key, where), allowed, where)
        for scheme in _value(configuration, "normalization_schemes", where) or ():
            _check(scheme, _NORMALIZATIONS, where)
        architecture = _value(configuration, "architecture", where)
        if architecture is not None:
            _check_architecture(architecture, where)


def _check_architecture(architecture: Any, where: str) -> None:
    _check(_value(architecture, "network_class_name", where), NETWORKS, where)
    arguments = _value(architecture, "arch_kwargs", where)
    for key, most in _MOST.items():
        _check_counts(_value(arguments, key, where), key, most, where)
    for key in _value(architecture, "_kw_requires_import", where) or ():
        _check(_value(arguments, key, where), LAYERS.get(key, frozenset()), where)


def _check_counts(value: Any, key: str, most: int, where: str) -> None:
    """Raise InputError where a number, or one of a list of numbers, is larger than any network has it."""
    values = value if isinstance(value, list) else [value]
    if len(values) > _MOST["n_stages"]:
        raise InputError(f"{where} has {len(values)} values of {key}; no network of nnU-Net has as many stages.")
    for number in values:
        if isinstance(number, int | float) and not 0 <= number <= most:
            raise InputError(f"{where} has {key} {number}; no network of nnU-Net has as many.")


def _value(mapping: Any, key: Any, where: str) -> Any:
    """mapping[key], None where it has none, the mapping itself for the key None."""
    if not isinstance(mapping, dict):
        raise InputError(f"{where} is not a plans file of nnU-Net; give the one that nnUNetv2_train wrote.")
    return mapping if key is None else mapping.get(key)


def _check(name: Any, allowed: frozenset[str], where: str) -> None:
    if name is not None and not (isinstance(name, str) and name in allowed):
        raise InputError(f"{where} names '{name}', which is no part of nnU-Net that may be used here; it is not run.")
