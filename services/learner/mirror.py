"""The registry as people look at it: a mirror in MLflow's model registry, with the same aliases.

The folder and the store stay the truth. What MLflow has is made from them, again whenever they change, and may be
absent or behind: a mirror that fails is told once in the log and tried again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from sqlalchemy import select

from asr.errors import MissingDependencyError
from services.registry import Registry
from services.store.database import Store
from services.store.models import LearnedBundle

MODEL = "dengar"
CANDIDATE = "candidate"


class Mirror:
    """Keeps one registered model of MLflow like a registry.

    Args:
        uri: of MLflow's tracking server or database, such as ``sqlite:///work/mlflow.db``.
        model: its name there.

    Raises:
        MissingDependencyError: MLflow is not installed.
    """

    def __init__(self, uri: str, model: str = MODEL) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise MissingDependencyError("a mirror in MLflow needs the package mlflow: pip install mlflow") from error
        self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._model = model
        self._shown: object = None

    def show(self, registry: Registry, store: Store) -> bool:
        """Makes it like the registry; whether anything had changed.

        Each bundle is a version, tagged with its hash, its parent, its status and the gate's reasons; aliases are the
        registry's, and `CANDIDATE` for the bundle on trial.
        """
        aliases = registry.aliases()
        if (trial := registry.rollout()) is not None:
            aliases[CANDIDATE] = trial.hash
        with store.reading() as session:
            learned = {row.hash[:12]: _tags(row) for row in session.scalars(select(LearnedBundle))}
        state = (tuple(sorted(aliases.items())), tuple(sorted((key, *row.values()) for key, row in learned.items())))
        if state == self._shown:
            return False
        versions = self._versions()
        for entry in registry.entries():
            if entry.hash in versions or not (learned.get(entry.hash) or entry.aliases):
                continue
            source = str(Path(registry.folder / entry.hash).resolve())
            made = self._client.create_model_version(self._model, source, tags={"hash": entry.hash})
            versions[entry.hash] = made.version
        for digest, tags in learned.items():
            for key, value in tags.items():
                if digest in versions:
                    self._client.set_model_version_tag(self._model, versions[digest], key, value)
        shown = dict(self._client.get_registered_model(self._model).aliases)
        for alias in shown.keys() - aliases.keys():
            self._client.delete_registered_model_alias(self._model, alias)
        for alias, digest in aliases.items():
            if digest in versions and str(shown.get(alias)) != str(versions[digest]):
                self._client.set_registered_model_alias(self._model, alias, versions[digest])
        self._shown = state
        return True

    def _versions(self) -> dict[str, str]:
        """Versions by the hash of their bundle; makes the model where there is none."""
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # it is there
            self._client.create_registered_model(self._model)
        found = self._client.search_model_versions(f"name='{self._model}'")
        return {version.tags["hash"]: version.version for version in found if "hash" in version.tags}


def _tags(row: LearnedBundle) -> dict[str, str]:
    """What a version says of its bundle: why it was refused, or else what it held."""
    checks = row.verdict.get("checks", [])
    failed = [check["reason"] for check in checks if check["outcome"] == "failed"]
    reasons = "; ".join(failed or [check["reason"] for check in checks])
    return {"parent": row.parent[:12], "status": row.status, "reasons": reasons[:4000]}
