"""Networks for other runtimes: ONNX, ncnn, ExecuTorch, OpenVINO, Core ML and LiteRT."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    from srkit_exporters.formats import FORMATS

    for one in FORMATS:
        yield srkit.Component(
            "exporter",
            one.name,
            f"srkit_exporters.{one.name}_:{one.target}",
            summary=one.summary,
            source=one.source,
            facts={"suffix": one.suffix, **one.facts},
            missing=one.missing,
        )
