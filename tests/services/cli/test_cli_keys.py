"""`dengar keys` as it is called."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from services.cli.main import main
from services.recognizer.keys import KeyRing, read_keys


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys.json"
    monkeypatch.setenv("DENGAR_KEYS", str(path))
    return path


def test_a_key_is_printed_once_and_only_its_hash_is_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "phones", "--streams", "5", "--expires-days", "30"]) == 0
    out, err = capsys.readouterr()
    key = out.strip()
    assert key not in err
    assert key.split("_", 2)[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    entry = KeyRing(file).find(key)
    assert entry is not None
    assert (entry.name, entry.role, entry.quotas.streams) == ("phones", "speech", 5)
    assert entry.expires is not None
    assert (entry.expires - entry.created).days in (29, 30)
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "phones" in listed
    assert "streams 5" in listed
    assert entry.hash not in listed


def test_json_and_rotation(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = []
    for _ in range(2):
        assert main(["keys", "new", "cars", "--admin", "--json"]) == 0
        made.append(json.loads(capsys.readouterr().out))
    assert [entry["role"] for entry in made] == ["admin", "admin"]
    assert main(["keys", "new", "cars"]) == 2
    assert "has 2 valid keys" in capsys.readouterr().err
    assert main(["keys", "revoke", "cars", "--id", made[0]["id"], "--json"]) == 0
    assert [entry["id"] for entry in json.loads(capsys.readouterr().out)] == [made[0]["id"]]
    assert main(["keys", "list", "--json"]) == 0
    (left,) = json.loads(capsys.readouterr().out)
    assert (left["id"], left["expired"], left["quotas"]) == (made[1]["id"], False, {})
    assert main(["keys", "revoke", "cars"]) == 0
    assert read_keys(file) == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list"], "cannot be read"),
        (["revoke", "nobody"], "has no key of nobody"),
        (["new", "two words"], "cannot be a key's name"),
        (["new", "x", "--expires-days", "0"], "never be valid"),
    ],
)
def test_mistakes_are_one_sentence(
    file: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert not file.exists() or read_keys(file) == ()
