"""ncnn: a .param file with a .bin file beside it, converted by pnnx."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import srkit
from srkit_exporters import beside

# pnnx's names of the blobs, and those that Real-ESRGAN-ncnn-vulkan and Upscayl look for; with others they end without
# an image.
BLOBS = {"in0": "data", "out0": "output"}
OTHER = 1.25  # of the example's sides: pnnx finds out by a second size what may vary


class Ncnn:
    """Files with the blobs `data` and `output`, [3, h, w], RGB in 0..1.

    Args:
        half: whether the weights have 16 bits.
    """

    def __init__(self, *, half: bool = False) -> None:
        self._half = half

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write both files. Raises ValueError where pnnx finds no form for the network."""
        import pnnx

        with tempfile.TemporaryDirectory() as folder:
            traced = Path(folder) / "network.pt"
            trace: Any = torch.jit.trace
            trace(network, example, check_trace=False).save(str(traced))
            pnnx.convert(
                str(traced),
                [example],
                None if fixed else [_larger(example)],
                ncnnparam=str(path),
                ncnnbin=str(path.with_suffix(".bin")),
                pnnxparam=f"{folder}/pnnx.param",
                pnnxbin=f"{folder}/pnnx.bin",
                pnnxpy=f"{folder}/pnnx.py",
                pnnxonnx=f"{folder}/pnnx.onnx",
                ncnnpy=f"{folder}/ncnn.py",
                fp16=self._half,
            )
        if not path.is_file():
            raise ValueError("pnnx wrote no file")
        path.write_text(renamed(path.read_text("utf-8")), encoding="utf-8")
        beside.write(path, words)

    def open(self, path: Path) -> srkit.Exported:
        """Open both files in ncnn, on the CPU. Raises InputRejected where the second is not there, else ValueError."""
        beside.refuse_alone(path)
        net = ncnn.Net()
        net.opt.num_threads = torch.get_num_threads()
        # What ncnn may do on a phone is another matter: here the file is looked at, in float32.
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_vulkan_compute = False
        if net.load_param(str(path)) != 0 or net.load_model(str(path.with_suffix(".bin"))) != 0:
            raise ValueError("ncnn has no layer for a part of it, or it is damaged")
        (taken,), (given,) = net.input_names(), net.output_names()

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            image = np.ascontiguousarray(lr[0])  # a Mat takes its memory as it lies, and does not keep it alive
            with net.create_extractor() as extractor:
                extractor.input(taken, ncnn.Mat(image).clone())
                code, sr = extractor.extract(given)
                if code != 0:
                    raise ValueError(f"ncnn ends with code {code}")
                return np.array(sr)[None]

        return srkit.Exported(run, beside.read(path))


def renamed(param: str) -> str:
    """Return a .param file whose blobs have the names of BLOBS."""
    return "\n".join(" ".join(BLOBS.get(word, word) for word in line.split(" ")) for line in param.split("\n"))


def _larger(example: Tensor) -> Tensor:
    height, width = (int(side * OTHER) // 16 * 16 for side in example.shape[-2:])
    return torch.rand(1, 3, height, width)
