"""Core ML's packages: for iPhones, iPads and Macs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import srkit
from srkit_exporters.formats import LARGEST_OF_COREML as LARGEST

LEAST = 16


class CoreMl:
    """Packages with the input `input` and the output `output`, float32 [1, 3, h, w], RGB in 0..1; iOS 16, macOS 13.

    Args:
        half: whether the weights have 16 bits; it is computed in 16 bits then, too.
    """

    def __init__(self, *, half: bool = False) -> None:
        self._half = half

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write a package. Raises what Core ML's tools raise where they have no form for the network."""
        import coremltools

        trace: Any = torch.jit.trace
        side = coremltools.RangeDim(LEAST, LARGEST, default=example.shape[-1])
        shape = coremltools.Shape(tuple(example.shape) if fixed else (1, 3, side, side))
        model = coremltools.convert(
            trace(network, example, check_trace=False),
            inputs=[coremltools.TensorType("input", shape=shape, dtype=np.float32)],
            outputs=[coremltools.TensorType("output", dtype=np.float32)],
            compute_precision=coremltools.precision.FLOAT16 if self._half else coremltools.precision.FLOAT32,
            minimum_deployment_target=coremltools.target.iOS16,
            skip_model_load=True,
        )
        model.user_defined_metadata.update(words)
        model.save(str(path))

    def open(self, path: Path) -> srkit.Exported:
        """Open a package. Raises NotImplementedError where this is no Mac, and what Core ML raises."""
        if platform.system() != "Darwin":
            raise NotImplementedError("Core ML runs on macOS alone")
        import coremltools

        model = coremltools.models.MLModel(str(path))

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(model.predict({"input": lr})["output"], np.float32)

        return srkit.Exported(run, dict(model.user_defined_metadata))
