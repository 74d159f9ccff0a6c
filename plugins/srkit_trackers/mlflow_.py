"""MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import srkit
from srkit_trackers import naming

ENDS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
MOST = 500  # characters of a parameter; a server refuses more than some thousand


class MLflow:
    """Sends a run to an MLflow server; a continued run goes on there, by the id in `mlflow.json` of the run directory.

    Args:
        uri: the server, http://localhost:5000 say; as MLFLOW_TRACKING_URI says where it is empty.
        experiment: the experiment that the run is part of.
        pictures: whether the pictures of validations are sent, too.
    """

    def __init__(self, *, uri: str = "", experiment: str = "srkit", pictures: bool = True) -> None:
        self._uri, self._experiment, self._pictures = uri, experiment, pictures

    def run_started(self, run: srkit.Run) -> None:
        """Begin a run, or go on with it."""
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri or None)
        kept = naming.Kept(run.directory, "mlflow")
        self._id: str = kept.read().get("id", "")
        if self._id:
            self._client.update_run(self._id, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._id = self._client.create_run(experiment, run_name=run.directory.name).info.run_id
        for key, value in _flat(naming.settings(run)):
            self._client.log_param(self._id, key, str(value)[:MOST])
        kept.write({"id": self._id, "experiment": self._experiment})

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a log."""
        self._send(step, naming.scalars(values))

    def validated(self, step: int, tables: Sequence[Mapping[str, Any]]) -> None:
        """Send the scores of a validation."""
        self._send(step, naming.scores(tables))

    def pictured(self, step: int, pictures: Sequence[srkit.Picture]) -> None:
        """Send the pictures of a validation: bicubic, network and HR side by side."""
        for name, image in naming.images(pictures) if self._pictures else ():
            self._client.log_image(self._id, image, key=name, step=step)

    def run_ended(self, step: int, outcome: str) -> None:
        """End the run: finished, killed where it was stopped, or failed."""
        self._client.set_terminated(self._id, status=ENDS[outcome])

    def _send(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)


def _flat(tree: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in tree.items():
        found += _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(f"{above}{key}", value)]
    return found
