"""What memory a computation takes beside its input: the most bytes of tensors that live at one time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

SIDE = 64  # LR pixels of what is computed to know; memory grows with the pixels


def peak(compute: Callable[[], object]) -> int:
    """Return the most bytes that the tensors which a computation makes take at one time, its result among them.

    What an operation takes within itself is not seen.
    """
    with torch.no_grad(), _Watch() as watch:
        compute()
        most: int = watch.most
    return most


class _Watch(TorchFunctionMode):
    """Looks after each function of torch which of the storages made so far still live.

    A mode below, which sees each operation of a function, would import torch's compiler: seconds, and 100 MB.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._living: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {_storage(x)._cdata for x in [*args, *(kwargs or {}).values()] if isinstance(x, Tensor)}
        self._living = {key: one for key, one in self._living.items() if not _expired(one[0])}
        for tensor in made if isinstance(made, list | tuple) else [made]:
            if isinstance(tensor, Tensor) and _storage(tensor)._cdata not in given:
                storage = _storage(tensor)
                self._living[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
        self.most = max(self.most, sum(count for _, count in self._living.values()))
        return made


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def _expired(reference: StorageWeakRef) -> bool:
    return bool(reference.expired())  # type: ignore[no-untyped-call]
