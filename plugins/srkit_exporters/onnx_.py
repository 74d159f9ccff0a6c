"""ONNX, written by torch's exporters and run by ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import srkit

INPUT, OUTPUT = "input", "output"  # which chaiNNer and others look for
AXES = {0: "batch", 2: "height", 3: "width"}
LEAST = 64  # values of a tensor that is worth 16 bits: not so a shape, or a factor


class Onnx:
    """Files with the input `input` and the output `output`, float32 [n, 3, h, w], RGB in 0..1.

    By the way `legacy` torch traces the network once, by `dynamo` it compiles it (torch.export).

    Args:
        opset: the version of ONNX's operators; 17 is read by all that is in use.
        half: whether the weights have 16 bits; they are computed with in float32.
    """

    def __init__(self, *, opset: int = 17, half: bool = False) -> None:
        self._opset = opset
        self._half = half

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write a file. Raises what torch's exporter raises."""
        with warnings.catch_warnings(action="ignore"):  # of torch's exporters, on themselves
            if way == "legacy":
                self._traced(network, example, path, fixed=fixed)
            else:
                self._compiled(network, example, path, fixed=fixed)
        model = onnx.load(path)
        if self._half:
            halve(model)
        helper.set_model_props(model, dict(words))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)

    def _traced(self, network: nn.Module, example: Tensor, path: Path, *, fixed: bool) -> None:
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=self._opset,
            dynamic_axes=None if fixed else {INPUT: AXES, OUTPUT: AXES},
        )

    def _compiled(self, network: nn.Module, example: Tensor, path: Path, *, fixed: bool) -> None:
        # One image would be taken for all that there ever is.
        example = example if fixed else example.repeat(2, 1, 1, 1)
        free = dict.fromkeys(AXES, torch.export.Dim.DYNAMIC)
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=self._opset,
            dynamic_shapes=None if fixed else (free,),
            external_data=False,
            verbose=False,
        )

    def open(self, path: Path) -> srkit.Exported:
        """Open a file in ONNX Runtime, on the CPU. Raises InputRejected for one of anything else, or what it raises."""
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, InvalidProtobuf

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # As many threads as torch has: of its own it takes all cores, whatever OMP_NUM_THREADS says.
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except (InvalidProtobuf, InvalidArgument) as error:
            raise srkit.InputRejected(path, f"is no ONNX file, or is damaged ({error})") from None
        taken = session.get_inputs()
        if len(taken) != 1 or taken[0].type != "tensor(float)":
            raise ValueError(f"takes {', '.join(f'{one.name} {one.type}' for one in taken)}, and not one float image")

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            sr: NDArray[np.float32] = session.run(None, {taken[0].name: lr})[0]
            return sr

        return srkit.Exported(run, dict(session.get_modelmeta().custom_metadata_map))


def halve(model: Any) -> None:
    """Give the weights of a model 16 bits, each with a node that makes float32 of it again: consumers see no other
    type than before, and runtimes compute the nodes once."""
    graph, casts = model.graph, []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < LEAST:
            continue
        name = weight.name
        with np.errstate(over="ignore"):
            short = values.astype(np.float16)
        if not np.isfinite(short).all():
            raise ValueError(f"{name} has values that 16 bits have no room for")
        weight.CopyFrom(numpy_helper.from_array(short, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_whole", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
