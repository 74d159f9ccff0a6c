"""The formats that there are, what each needs, and how it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A format by its name: its class, the packages that it needs, and what its component states."""

    name: str
    target: str
    summary: str
    source: str
    suffix: str
    packages: tuple[str, ...]
    facts: Mapping[str, Any] = {}
    advice: str = ""  # in place of an extra

    @property
    def missing(self) -> str:
        """What must be installed before it can be used, or nothing."""
        lacking = ", ".join(name for name in self.packages if find_spec(name) is None)
        advice = self.advice or f"pip install 'srkit[{self.name}]'"
        return f"it needs {lacking}: {advice}" if lacking else ""


FORMATS = (
    Format(
        "onnx",
        "Onnx",
        "ONNX, run by ONNX Runtime; for chaiNNer, VapourSynth, TensorRT, DirectML, the web",
        "https://onnx.ai",
        ".onnx",
        ("onnx", "onnxruntime", "onnxscript"),
        {"ways": ("legacy", "dynamo"), "batches": True},
    ),
)
