"""Tensors to the bytes of a safetensors file and back, with one copy there and none back.

safetensors itself takes the bytes of each tensor by itself and joins them; a run waits for that at each checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LENGTH = 8  # bytes of the header's length, which comes first; what the data's place is a multiple of


@torch.no_grad()
def to_bytes(tensors: Mapping[str, Tensor]) -> bytearray:
    """Return the safetensors file of tensors, copied from their devices. Raises ValueError for one that has none."""
    entries, end = {}, 0
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))  # so that all are aligned
    for name, tensor in ordered:
        if tensor.layout != torch.strided or tensor.dtype not in NAMES:
            raise ValueError(f"{name} is a tensor of {tensor.dtype}, {tensor.layout}, which no file of weights holds")
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % LENGTH)
    data = bytearray(LENGTH + len(header) + end)
    data[:LENGTH] = len(header).to_bytes(LENGTH, "little")
    data[LENGTH : LENGTH + len(header)] = header
    for view, (_, tensor) in zip(_views(data, entries), ordered, strict=True):
        view.copy_(tensor)
    return data


def from_bytes(data: bytes | bytearray) -> dict[str, Tensor]:
    """Return the tensors of a file that `to_bytes` or safetensors wrote, and that is known to be whole.

    They lie in these very bytes where these can be written to.
    """
    data = data if isinstance(data, bytearray) else bytearray(data)
    start = LENGTH + int.from_bytes(data[:LENGTH], "little")
    entries = json.loads(bytes(data[LENGTH:start]))
    entries.pop("__metadata__", None)
    return dict(zip(entries, _views(data, entries), strict=True))


def _views(data: bytearray, entries: Mapping[str, Any]) -> list[Tensor]:
    start = LENGTH + int.from_bytes(data[:LENGTH], "little")
    return [_view(data, start, DTYPES[entry["dtype"]], entry) for entry in entries.values()]


def _view(data: bytearray, start: int, dtype: torch.dtype, entry: Mapping[str, Any]) -> Tensor:
    begin, end = entry["data_offsets"]
    if begin == end:
        return torch.empty(entry["shape"], dtype=dtype)
    flat = torch.frombuffer(data, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=start + begin)
    return flat.reshape(entry["shape"])
