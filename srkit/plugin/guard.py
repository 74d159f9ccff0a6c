"""What importing a plugin must leave as it was: the state of torch that every network of the process depends on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

# By what it is called: how torch has it at first.
FIRST: dict[str, Any] = {
    "torch's default dtype": "torch.float32",
    "torch's default device": "cpu",
    "whether torch keeps gradients": True,
    "torch's deterministic mode": False,
}


@contextlib.contextmanager
def unchanged() -> Iterator[list[str]]:
    """Yield a list; afterwards it names what was changed, and that is set back.

    torch is looked at where it is there: it is not imported for this.
    """
    before, changed = _state(), list[str]()
    try:
        yield changed
    finally:
        after = _state()
        changed += [what for what in FIRST if after[what] != before[what]]
        if changed:
            _set(*before.values())


def _set(dtype: str, device: str, gradients: bool, deterministic: bool) -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(getattr(torch, dtype.removeprefix("torch.")))
    torch.set_default_device(None if device == "cpu" else device)
    torch.set_grad_enabled(gradients)
    torch.use_deterministic_algorithms(deterministic)


def _state() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if not hasattr(torch, "are_deterministic_algorithms_enabled"):  # not imported, or not wholly
        return FIRST
    assert torch is not None
    values = (
        str(torch.get_default_dtype()),
        str(torch.get_default_device()),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
    return dict(zip(FIRST, values, strict=True))
