"""The formats that there are, what each needs, and how it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

LARGEST_OF_EXECUTORCH = 512  # pixels of a side of LR, for which memory is planned
LARGEST_OF_COREML = 2048


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
    Format(
        "ncnn",
        "Ncnn",
        "ncnn's .param and .bin; for Upscayl, Real-ESRGAN-ncnn-vulkan, phones",
        "https://github.com/Tencent/ncnn",
        ".param",
        ("ncnn", "pnnx"),
    ),
    Format(
        "openvino",
        "OpenVino",
        "OpenVINO's .xml and .bin; for Intel's processors and graphics",
        "https://docs.openvino.ai",
        ".xml",
        ("openvino",),
        {"batches": True},
    ),
    Format(
        "executorch",
        "ExecuTorch",
        "ExecuTorch's .pte, computed by XNNPACK; for phones",
        "https://docs.pytorch.org/executorch",
        ".pte",
        ("executorch",),
        {"largest": LARGEST_OF_EXECUTORCH},
    ),
    Format(
        "coreml",
        "CoreMl",
        "Core ML's packages; for iPhones, iPads and Macs, written anywhere and run on macOS",
        "https://apple.github.io/coremltools",
        ".mlpackage",
        ("coremltools",),
        {"largest": LARGEST_OF_COREML},
    ),
    Format(
        "litert",
        "LiteRt",
        "LiteRT's .tflite (TensorFlow Lite), for LR of one size; for Android",
        "https://ai.google.dev/edge/litert",
        ".tflite",
        ("litert_torch", "ai_edge_litert"),
        {"free_size": False},
        # Which takes cattrs and others back to older versions.
        "pip install litert-torch, in an environment for it alone",
    ),
)
