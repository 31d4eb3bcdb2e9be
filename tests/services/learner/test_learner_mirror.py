import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.learner.mirror import CANDIDATE, MODEL, Mirror
from services.registry import Registry, Rollout
from services.store.database import Store
from services.store.models import LearnedBundle


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_shows_bundles_with_their_aliases_and_follows_them(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "bundles"
    for bundle in (tiny_bundle, other_bundle):
        shutil.copytree(bundle, folder / bundle.name)
    registry = Registry(folder)
    registry.promote(tiny_bundle.name)
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mirror, client = Mirror(uri), MlflowClient(tracking_uri=uri, registry_uri=uri)

    def hash_of(alias: str) -> str:
        return client.get_model_version_by_alias(MODEL, alias).tags["hash"]

    assert mirror.show(registry, store)
    assert not mirror.show(registry, store)
    assert hash_of("live") == tiny_bundle.name
    now = datetime.now(UTC)
    verdict = {"checks": [{"outcome": "passed", "reason": "names: all right"}]}
    with store.session() as session:
        session.add(
            LearnedBundle(
                hash=other_bundle.name, parent=tiny_bundle.name, job_id=None, status="canary", verdict=verdict,
                created_at=now, changed_at=now,
            )
        )  # fmt: skip
    registry.set_rollout(Rollout(other_bundle.name, 0.1))
    assert mirror.show(registry, store)
    version = client.get_model_version_by_alias(MODEL, CANDIDATE)
    assert version.tags["hash"] == other_bundle.name
    assert (version.tags["parent"], version.tags["reasons"]) == (tiny_bundle.name, "names: all right")
    registry.promote(other_bundle.name)
    registry.set_rollout(None)
    assert Mirror(uri).show(registry, store)  # another worker, who has shown nothing yet
    assert (hash_of("live"), hash_of("previous")) == (other_bundle.name, tiny_bundle.name)
    assert CANDIDATE not in client.get_registered_model(MODEL).aliases
    store.close()
