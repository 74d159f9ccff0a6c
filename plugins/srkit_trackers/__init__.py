"""Runs in TensorBoard, Weights & Biases, MLflow and Visdom."""

from collections.abc import Iterator

import srkit

TRACKERS = (
    ("tensorboard", "TensorBoard", "Curves and pictures for TensorBoard, in the run directory", "tensorboard"),
    ("wandb", "WandB", "Curves and pictures at Weights & Biases, or offline", "wandb"),
    ("mlflow", "MLflow", "Curves and pictures at an MLflow server", "mlflow"),
    ("visdom", "Visdom", "Windows of loss, scores and pictures at a Visdom server", "visdom"),
)


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    from importlib.util import find_spec

    for name, cls, summary, package in TRACKERS:
        missing = "" if find_spec(package) else f"it needs {package}: pip install 'srkit[{name}]'"
        facts = {"deviations": {"a_run_is_watched": "it needs its server"}} if name in ("mlflow", "visdom") else {}
        target = f"srkit_trackers.{name}_:{cls}"
        yield srkit.Component("observer", name, target, summary=summary, facts=facts, missing=missing)
