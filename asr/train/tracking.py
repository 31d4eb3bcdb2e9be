"""Where a run's figures go: its own folder always, and MLflow where that is installed and wanted."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any


class History:
    """``history.jsonl`` in the run's folder: one line per step and per evaluation.

    After a crash the lines beyond the checkpoint are cut, so that a resumed run writes the history that an
    uninterrupted one would have written.
    """

    def __init__(self, folder: Path, resume_step: int) -> None:
        self._path = folder / "history.jsonl"
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step(line) <= resume_step]
            self._path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return float("inf")  # a line cut short by a crash


class Mlflow:
    """Mirrors a run into MLflow; the URI defaults to an SQLite file beside the runs.

    Args:
        uri: MLflow tracking URI.
        run_name: shown in MLflow.
        parameters: flat configuration.
        run_id: of a run to continue, or empty.
    """

    def __init__(self, uri: str, run_name: str, parameters: dict[str, Any], run_id: str = "") -> None:
        import mlflow
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it reports each table it creates
        mlflow.set_tracking_uri(uri)
        self._client = MlflowClient(uri)
        if run_id:
            self.run_id = run_id
            return
        found = self._client.get_experiment_by_name("dengar")
        experiment = found.experiment_id if found else self._client.create_experiment("dengar")
        self.run_id = self._client.create_run(experiment, run_name=run_name).info.run_id
        for key, value in flatten(parameters).items():
            self._client.log_param(self.run_id, key, str(value)[:500])

    def log(self, metrics: dict[str, float], step: int) -> None:
        for key, value in metrics.items():
            self._client.log_metric(self.run_id, key, value, step=step)

    def finish(self) -> None:
        self._client.set_terminated(self.run_id)


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat.update(flatten(inner, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = inner
    return flat
