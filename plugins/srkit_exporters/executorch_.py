"""ExecuTorch's .pte files, computed by XNNPACK: for phones, from C++, Kotlin and Swift."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import srkit
from srkit_exporters import beside
from srkit_exporters.formats import LARGEST_OF_EXECUTORCH as LARGEST


class ExecuTorch:
    """Files with the method `forward`, float32 [1, 3, h, w], RGB in 0..1.

    Args:
        half: whether the weights have 16 bits; it is computed in 16 bits then, too.
    """

    def __init__(self, *, half: bool = False) -> None:
        self._half = half

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write a file. Raises what ExecuTorch raises where it has no form for the network."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        sides = {2: torch.export.Dim("height", max=LARGEST), 3: torch.export.Dim("width", max=LARGEST)}
        network = Halved(network).eval() if self._half else network
        exported = torch.export.export(network, (example,), dynamic_shapes=None if fixed else (sides,))
        with short_weights() if self._half else contextlib.nullcontext():
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)
        beside.write(path, words)

    def open(self, path: Path) -> srkit.Exported:
        """Open a file on the CPU. Raises what ExecuTorch raises."""
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(path).load_method("forward")
        if method is None:
            raise ValueError("has no method forward")

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            (sr,) = method.execute([torch.from_numpy(lr)])
            return np.array(sr.numpy())

        return srkit.Exported(run, beside.read(path))


@contextlib.contextmanager
def short_weights() -> Iterator[None]:
    """Let ExecuTorch write weights of 16 bits as such, which XNNPACK takes.

    ExecuTorch 1.5 makes float32 of those of convolutions, and half the file would be air.
    """
    from executorch.backends.xnnpack.operators.node_visitor import NodeVisitor

    define = NodeVisitor.define_tensor

    def define_short(self: Any, *given: Any, force_fp32: bool = False, **words: Any) -> Any:
        return define(self, *given, **words)

    NodeVisitor.define_tensor = define_short
    try:
        yield
    finally:
        NodeVisitor.define_tensor = define


class Halved(nn.Module):
    """A network computed in float16, with float32 images in and out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half()

    def forward(self, lr: Tensor) -> Tensor:
        """Return SR of LR."""
        sr: Tensor = self.network(lr.half()).float()
        return sr
