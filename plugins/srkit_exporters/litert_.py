"""LiteRT's .tflite files (once TensorFlow Lite): for Android and microcontrollers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import srkit
from srkit_exporters import beside


class LiteRt:
    """Files that take LR of one size, float32 [1, 3, h, w], RGB in 0..1."""

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write a file. Raises what LiteRT raises where it has no form for the network."""
        import litert_torch

        litert_torch.convert(network, (example,)).export(str(path))
        beside.write(path, words)

    def open(self, path: Path) -> srkit.Exported:
        """Open a file on the CPU. Raises what LiteRT raises."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
        interpreter.allocate_tensors()
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            interpreter.set_tensor(taken["index"], lr)
            interpreter.invoke()
            return np.array(interpreter.get_tensor(given["index"]))

        return srkit.Exported(run, beside.read(path))
