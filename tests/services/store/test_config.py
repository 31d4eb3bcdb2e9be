"""Settings of the store, and keys: what makes no sense is refused in one sentence."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from asr.errors import ConfigError
from services.store import keys
from services.store.config import DEFAULT_URL, load_store_config, parse_url, store_config


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DENGAR_STORE", keys.USER_KEY, keys.ENCRYPTION_KEYS):
        monkeypatch.delenv(name, raising=False)


def test_settings_come_from_a_url_a_file_the_environment_or_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_store_config().url == DEFAULT_URL
    assert load_store_config("sqlite:///a/b.db").state_folder == Path("a")
    assert load_store_config("postgresql://me@db/dengar").state_folder == Path("work/store")
    file = tmp_path / "store.yaml"
    file.write_text("url: postgresql://me@db/dengar\nstate: /var/lib/dengar\naudio_days: 30\n")
    monkeypatch.setenv("DENGAR_STORE", str(file))
    config = load_store_config()
    assert (config.state_folder, config.days("audio"), config.days("transcript")) == (Path("/var/lib/dengar"), 30, 90)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"audio_days": 0}, "store setting audio_days: .*greater than 0.*found 0"),
        ({"queue": 5}, "store setting queue"),
        ({"url": "mysql://me@db/dengar"}, "SQLite or PostgreSQL, not in mysql"),
        ({"url": "sqlite://"}, "wants a file"),
        ({"url": "sqlite:///:memory:"}, "wants a file"),
        ({"url": "sqlite:///a.db?mode=ro"}, "no options"),
        ({"url": "nonsense"}, "is no URL of a database"),
    ],
)
def test_a_wrong_setting_is_one_sentence(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        store_config(**values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["- a list", "5: five", "url: [", "just text"])
def test_a_wrong_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "store.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError):
        load_store_config(str(file))


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a database's URL nor a YAML file"):
        load_store_config("none.yaml")


@pytest.mark.parametrize("url", ["postgres://me@db/x", "postgresql://me@db/x", "postgresql+psycopg2://me@db/x"])
def test_postgresql_is_reached_by_psycopg(url: str) -> None:
    assert parse_url(url).drivername == "postgresql+psycopg"


def test_a_key_file_is_made_once_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "keys"
    keys.new_key_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [key] = keys.read_keys(file)
    assert keys.user_key(file) == key
    assert len(key) == 32
    with pytest.raises(ConfigError, match="keys are not overwritten"):
        keys.new_key_file(file)
    assert sorted(path.name for path in file.parent.iterdir()) == ["keys"]


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys.new_key_file(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        keys.read_keys(file)


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "A" * 42, "ä" * 43])
def test_what_is_no_key_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as error:
        keys.read_keys(file)
    assert not text or text not in str(error.value)


def test_several_encryption_keys_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = bytes(32), bytes([1] * 32)
    lines = [base64.urlsafe_b64encode(key).decode() for key in (first, second)]
    file = tmp_path / "keys"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)
    assert keys.encryption_keys(file) == (first, second)
    assert keys.encryption_keys(None) == ()
    with pytest.raises(ConfigError, match="holds 2 keys"):
        keys.user_key(file)
    monkeypatch.setenv(keys.ENCRYPTION_KEYS, f"{second.hex()}, {lines[0]}")
    assert keys.encryption_keys(file) == (second, first)
