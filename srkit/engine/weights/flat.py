"""Tensors to the bytes of a safetensors file and back, with one copy there and none back.

safetensors itself takes the bytes of each tensor by itself and joins them; a run waits for that at each checkpoint. New
memory costs more time than the copying, so that a run fills the same buffers at each one.
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


class Buffer:
    """The memory of a safetensors file, which is filled again and again with tensors of the same form."""

    def __init__(self) -> None:
        self._form: list[tuple[object, ...]] | None = None
        self._data = bytearray()
        self._views: dict[str, Tensor] = {}

    @torch.no_grad()
    def fill(self, tensors: Mapping[str, Tensor]) -> bytearray:
        """Return the file of tensors, copied from their devices: these very bytes change when it is filled again.

        Raises ValueError for a tensor that such a file cannot hold.
        """
        form: list[tuple[object, ...]] = [
            (name, tensor.dtype, tensor.layout, tensor.shape) for name, tensor in tensors.items()
        ]
        if form != self._form:
            self._data, self._views = _laid_out(tensors)
            self._form = form
        if self._views:
            torch._foreach_copy_(list(self._views.values()), [tensors[name] for name in self._views])
        return self._data


def to_bytes(tensors: Mapping[str, Tensor]) -> bytearray:
    """Return the safetensors file of tensors, copied from their devices. Raises ValueError for one that has none."""
    return Buffer().fill(tensors)


def _laid_out(tensors: Mapping[str, Tensor]) -> tuple[bytearray, dict[str, Tensor]]:
    """Return a file with room for these tensors, and where each is to be copied."""
    entries, end = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):  # all aligned
        if tensor.layout != torch.strided or tensor.dtype not in NAMES:
            raise ValueError(f"{name} is a tensor of {tensor.dtype}, {tensor.layout}, which no file of weights holds")
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % LENGTH)
    data = bytearray(LENGTH + len(header) + end)
    data[:LENGTH] = len(header).to_bytes(LENGTH, "little")
    data[LENGTH : LENGTH + len(header)] = header
    return data, dict(zip(entries, _views(data, entries), strict=True))


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
