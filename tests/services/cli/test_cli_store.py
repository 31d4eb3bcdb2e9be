"""`dengar store` and `dengar privacy` as they are called."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from services.cli.main import main
from services.store import keys, migrate
from services.store.database import Store
from services.store.models import BundleSource
from tests.services.store.conftest import put, query


@pytest.fixture
def url(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty store, which DENGAR_STORE names by a file of settings."""
    for name in (keys.USER_KEY, keys.ENCRYPTION_KEYS):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "store.yaml"
    file.write_text(json.dumps({"url": database_url, "state": str(tmp_path / "state"), "commit_ms": 1}))
    monkeypatch.setenv("DENGAR_STORE", str(file))
    return database_url


def fill(url: str, tmp_path: Path) -> list[str]:
    """Two queries of ann, one of bob; an old one that is to go."""
    store = Store.open(url, state=str(tmp_path / "state"), commit_ms=1.0)
    now = datetime.datetime.now(datetime.UTC)
    ids = put(store, query("ann", at=now), query("ann", at=now, consent="transcript"), query("bob", at=now))
    old = put(store, query("bob", at=now - datetime.timedelta(days=100)))
    with store.session() as session:
        session.add(BundleSource(bundle="b1" * 32, user_hash=store.user_hash("ann")))
    store.close()
    return [*ids, *old]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_store_from_nothing_to_its_last_query(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "migrate", "--json"]) == 0
    assert told(capsys) == {"before": migrate.newest(), "after": migrate.newest()}
    ids = fill(url, tmp_path)

    assert main(["store", "status", "--json"]) == 0
    found = told(capsys)
    assert (found["queries"], found["users"], found["recordings"], found["overdue"], found["encrypted"]) == (
        {"audio": 3, "transcript": 1},
        2,
        3,
        1,
        False,
    )
    assert main(["store", "status"]) == 0
    out = capsys.readouterr().out
    assert "3 audio, 1 transcript; 2 users" in out
    assert "1 overdue" in out

    assert main(["store", "expire", "--dry-run", "--json"]) == 0
    assert told(capsys)["deleted"]["queries"] == 1  # type: ignore[index]
    assert main(["store", "expire"]) == 0
    assert "deleted 1 queries (1 with audio)" in capsys.readouterr().out

    assert main(["store", "export", str(tmp_path / "out"), "--since", "2020-01-01", "--json"]) == 0
    found = told(capsys)
    assert (found["recordings"], found["transcripts"], found["seconds"]) == (2, 1, 1.0)
    assert (tmp_path / "out" / "rows" / f"{ids[0]}.flac").is_file()

    assert main(["privacy", "forget", "ann", "--dry-run"]) == 0
    assert "would delete 2 queries, 1 recordings" in capsys.readouterr().out
    assert main(["privacy", "forget", "ann", "--yes", "--json"]) == 0
    found = told(capsys)
    assert found["bundles"] == ["b1" * 32]
    assert found["deleted"]["queries"] == 2  # type: ignore[index]
    assert not (tmp_path / "out" / "rows" / f"{ids[0]}.flac").exists()
    assert main(["privacy", "forget", "ann", "--yes"]) == 0
    assert "deleted 0 queries" in capsys.readouterr().out
    assert main(["store", "status", "--json"]) == 0
    assert told(capsys)["queries"] == {"audio": 1}


def test_forgetting_asks_first(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(url, tmp_path)
    monkeypatch.setattr("typer.confirm", lambda _question, **_more: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["privacy", "forget", "ann"]) == 130
    store = Store.open(url, state=str(tmp_path / "state"))
    with store.reading() as session:
        assert session.query(BundleSource).count() == 1
    store.close()


def test_a_bundle_that_learned_from_the_user_is_named(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(url, tmp_path)
    assert main(["privacy", "forget", "ann", "--yes"]) == 0
    assert f"bundle {'b1' * 32} learned from this user: retrain or withdraw it" in capsys.readouterr().out


def test_encryption_is_turned_on_and_its_key_replaced(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(url, tmp_path)
    first, second, both = tmp_path / "first", tmp_path / "second", tmp_path / "both"
    for file in (first, second):
        assert main(["store", "new-key", str(file)]) == 0
    assert main(["store", "new-key", str(first)]) == 2
    both.write_text(second.read_text() + first.read_text())
    both.chmod(0o600)
    settings = {"url": url, "state": str(tmp_path / "state"), "encrypt": True}
    capsys.readouterr()
    for file in (first, both, second):
        (tmp_path / "store.yaml").write_text(json.dumps({**settings, "encryption_keys": str(file)}))
        assert main(["store", "rekey", "--json"]) == 0
        assert told(capsys)["recordings"] == (0 if file is second else 3)
    monkeypatch.setenv("DENGAR_STORE", url)
    assert main(["store", "status"]) == 2
    err = capsys.readouterr().err
    assert "is encrypted, and the key" in err or "users" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["store", "status", "--store", "sqlite:///none/dengar.db"], "there is no store at none/dengar.db"),
        (["store", "status", "--store", "none.yaml"], "neither a database's URL nor a YAML file"),
        (["store", "export", "out", "--since", "yesterday", "--store", "x://"], "--since 'yesterday' is no time"),
        (["privacy", "forget", "ann", "--store", "mysql://db/x"], "SQLite or PostgreSQL, not in mysql"),
    ],
)
def test_errors_are_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
