"""OpenVINO's .xml file with a .bin file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import srkit
from srkit_exporters import beside

HOME = "srkit"  # the section of the file's runtime information that has its words


class OpenVino:
    """Files with the input `input` and the output `output`, float32 [n, 3, h, w], RGB in 0..1.

    Args:
        half: whether the weights have 16 bits.
    """

    def __init__(self, *, half: bool = False) -> None:
        self._half = half

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write both files. Raises what OpenVINO raises where it has no form for the network."""
        shape = list(example.shape) if fixed else [-1, 3, -1, -1]
        model = openvino.convert_model(network, example_input=example, input=shape)
        model.inputs[0].get_tensor().set_names({"input"})
        model.outputs[0].get_tensor().set_names({"output"})
        for name, value in words.items():
            model.set_rt_info(value, [HOME, name])
        openvino.save_model(model, path, compress_to_fp16=self._half)

    def open(self, path: Path) -> srkit.Exported:
        """Open both files on the CPU. Raises InputRejected where the second is not there, else what OpenVINO raises."""
        beside.refuse_alone(path)
        core = openvino.Core()
        model = core.read_model(path)
        words = _words(model)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = core.compile_model(model, "CPU", settings)

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.array(compiled([lr])[0])

        return srkit.Exported(run, words)


def _words(model: openvino.Model) -> dict[str, str]:
    if not model.has_rt_info(HOME):
        return {}
    return {name: str(value.value) for name, value in model.get_rt_info(HOME).astype(dict).items()}
