"""Tensors to the bytes of a safetensors file and back, with one copy there and none back.

safetensors itself takes the bytes of each tensor by itself and joins them; a run waits for that at each checkpoint. New
memory costs more time than the copying, so that a run fills the same buffers at each one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from srkit.engine.streams import Event, Streams

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
    """The memory of a safetensors file, which is filled again and again with tensors of the same form.

    With the streams of a device the tensors are copied there first, and come from there to the host in one piece while
    the device goes on. This takes as much memory of the device as the file has.
    """

    def __init__(self, streams: Streams | None = None) -> None:
        self._streams = streams
        self._form: list[tuple[object, ...]] | None = None
        self._data = bytearray()
        self._names: list[str] = []
        self._views: list[Tensor] = []  # what the tensors of these names are copied to
        self._way: _Way | None = None  # from there to the file, if that is another place
        self._over: Event | None = None

    @torch.no_grad()
    def fill(self, tensors: Mapping[str, Tensor]) -> bytearray:
        """Return the file of tensors, copied from their devices: these very bytes change when it is filled again.

        With streams they are whole after `wait`. Raises ValueError for a tensor that such a file cannot hold.
        """
        self.wait()
        form: list[tuple[object, ...]] = [
            (name, tensor.dtype, tensor.layout, tensor.shape) for name, tensor in tensors.items()
        ]
        if form != self._form:
            self._lay_out(tensors)
            self._form = form
        if self._views:
            torch._foreach_copy_(self._views, [tensors[name] for name in self._names])
        if self._streams is not None and self._way is not None:
            self._over = self._streams.beside(self._way.begin)
        return self._data

    def wait(self) -> None:
        """Wait until the file has the tensors that were given last; any thread may."""
        if self._over is not None and self._way is not None:
            self._over.synchronize()
            self._way.end()
            self._over = None

    def _lay_out(self, tensors: Mapping[str, Tensor]) -> None:
        """Make room for a file of these tensors, and for their copies on the device."""
        header, entries = _header(tensors)
        self._names, size = list(entries), sum(tensor.nbytes for tensor in tensors.values())
        self._data = data = bytearray(len(header) + size)
        data[: len(header)] = header
        self._views, self._way = _views(data, entries), None
        if self._streams is not None and size:
            with contextlib.suppress(RuntimeError):  # too little memory there: they are copied to the file at once
                way = _Way(self._streams, torch.frombuffer(data, dtype=torch.uint8, offset=len(header)))
                self._views, self._way = way.views([tensors[name] for name in self._names]), way


class _Way:
    """The way of a file's data from a device: all of it there, then in memory of the host that such copies reach."""

    def __init__(self, streams: Streams, file: Tensor) -> None:
        self._file = file
        self._there = torch.empty(file.shape, dtype=torch.uint8, device=streams.device)
        self._here = streams.empty(file.shape, torch.uint8)

    def views(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the places of tensors in the data there."""
        parts = torch.split(self._there, [tensor.nbytes for tensor in tensors])
        return [part.view(tensor.dtype).view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def begin(self) -> None:
        """Have the device bring the data to the host."""
        self._here.copy_(self._there, non_blocking=True)

    def end(self) -> None:
        """Put what has come into the file."""
        self._file.copy_(self._here)


def to_bytes(tensors: Mapping[str, Tensor]) -> bytearray:
    """Return the safetensors file of tensors, copied from their devices. Raises ValueError for one that has none."""
    return Buffer().fill(tensors)


def _header(tensors: Mapping[str, Tensor]) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """Return what a file of these tensors begins with, and what it says of each, in the order of their data."""
    entries, end = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):  # all aligned
        if tensor.layout != torch.strided or tensor.dtype not in NAMES:
            raise ValueError(f"{name} is a tensor of {tensor.dtype}, {tensor.layout}, which no file of weights holds")
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % LENGTH)
    return len(header).to_bytes(LENGTH, "little") + header, entries


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
