"""Any network that somebody else exported as ONNX, run by ONNX Runtime: no code of theirs is executed.

The package holds the file's bytes as its only tensor, so that it is hashed, zipped and checked as all weights are.
Files that keep weights beside them (external data) cannot be loaded from bytes and are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..events import InputError
from .options import OnnxOptions

KEY = "model"
"""Name of the tensor of bytes in the package."""


class OnnxNetwork(nn.Module):
    """[n, channel, row, column] to [n, channel, row, column], both in the network's range."""

    model: Tensor

    def __init__(self, options: OnnxOptions) -> None:
        super().__init__()
        self.options = options
        self.register_buffer(KEY, torch.empty(options.size_bytes, dtype=torch.uint8))
        self._session: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Run the file's graph; InputError where it is none, or its channels do not match the card."""
        if self._session is None:
            self._session = open_session(self.model.cpu().numpy().tobytes(), on_gpu=x.is_cuda)
        given = self._session.get_inputs()[0].name
        made = self._session.run(None, {given: x.float().cpu().numpy()})[0]
        expected = (x.shape[0], self.options.output_nc, *x.shape[2:])
        if made.shape != expected:
            raise InputError(f"The ONNX network gave an image of shape {made.shape}; its card says {expected}.")
        return torch.from_numpy(np.ascontiguousarray(made, np.float32)).to(x.device)


def build_onnx(options: OnnxOptions) -> OnnxNetwork:
    """The network of a card's options, without its bytes yet."""
    return OnnxNetwork(options)


def open_session(data: bytes, *, on_gpu: bool = False) -> Any:
    """An ONNX Runtime session of a file's bytes; InputError where the runtime is missing or cannot run them."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("This model needs ONNX Runtime; install the package onnxruntime.") from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = torch.get_num_threads()
    wanted = ["CUDAExecutionProvider"] if on_gpu else []
    providers = [name for name in (*wanted, "CPUExecutionProvider") if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(data, settings, providers=providers)
    except Exception as error:
        raise InputError(f"The ONNX file cannot be run: {str(error).splitlines()[0]}") from error
