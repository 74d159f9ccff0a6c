"""Where a run reports: the terminal, metrics.jsonl, log.txt, samples/ and report.html."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "observer", "console", "srkit_observers.console:Console", summary="A progress bar or plain lines, on stderr"
    )
    yield srkit.Component(
        "observer",
        "metrics_jsonl",
        "srkit_observers.files:MetricsJsonl",
        summary="One JSON object an event, in metrics.jsonl",
    )
    yield srkit.Component(
        "observer", "log", "srkit_observers.files:Log", summary="The plain lines with their time, in log.txt"
    )
    yield srkit.Component(
        "observer",
        "samples",
        "srkit_observers.samples:Samples",
        summary="Bicubic, network and HR side by side, in samples/",
    )
    yield srkit.Component(
        "observer",
        "report",
        "srkit_observers.report:Report",
        summary="Scores, curves and pictures on one page, report.html",
    )
