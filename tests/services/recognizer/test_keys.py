"""The file of keys: what it holds, who may change it, what a broken one does."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import ConfigError
from services.recognizer.keys import KEY, KeyRing, new_key, read_keys, revoke_keys
from services.recognizer.quotas import Quotas


def test_the_stored_hash_is_salted_hmac_of_256_random_bits(tmp_path: Path) -> None:
    key, entry = new_key(tmp_path / "k", "phones")
    other, twin = new_key(tmp_path / "k", "phones")
    match = KEY.fullmatch(key)
    assert match is not None
    assert len(match[2]) * 6 >= 256
    kind, salt, digest = entry.hash.split(":")
    assert kind == "hmac-sha256"
    assert hmac.new(bytes.fromhex(salt), key.encode(), hashlib.sha256).hexdigest() == digest
    assert twin.hash.split(":")[1] != salt
    assert other != key
    assert (tmp_path / "k").read_text().find(match[2]) == -1


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "k"
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    made = [
        new_key(file, "a", role="admin", expires=expires)[1],
        new_key(file, "b", quotas=Quotas(streams=3, audio_s_per_day=60.5))[1],
        new_key(file, "b")[1],
    ]
    assert list(read_keys(file)) == made
    assert made[2].quotas == made[1].quotas
    ring = KeyRing(file)
    assert len(ring) == 3
    assert not ring.is_stale


@given(st.text(max_size=80))
def test_what_is_no_key_is_not_found(tmp_path_factory: pytest.TempPathFactory, presented: str) -> None:
    file = tmp_path_factory.getbasetemp() / "property-keys"
    if not file.exists():
        new_key(file, "a")
    assert KeyRing(file).find(presented) is None


def test_replacing_the_file_keeps_mode_links_and_other_files(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    new_key(real, "a")
    link = tmp_path / "link.json"
    link.symlink_to(real)
    new_key(link, "b")
    assert link.is_symlink()
    assert [key.name for key in read_keys(real)] == ["a", "b"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["link.json", "real.json"]


def test_two_editors_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "k"
    program = (
        "import sys, pathlib; from services.recognizer.keys import new_key\n"
        "for number in range(5): new_key(pathlib.Path(sys.argv[1]), sys.argv[2] + str(number))"
    )
    editors = [subprocess.Popen([sys.executable, "-c", program, str(file), name]) for name in "ab"]
    assert [editor.wait(120) for editor in editors] == [0, 0]
    assert sorted(key.name for key in read_keys(file)) == [f"{name}{number}" for name in "ab" for number in range(5)]


def test_expired_keys_make_room_for_new_ones(tmp_path: Path) -> None:
    file = tmp_path / "k"
    for _ in range(2):
        new_key(file, "a")
    with pytest.raises(ConfigError, match="2 valid keys"):
        new_key(file, "a")
    entries = json.loads(file.read_text())
    entries[0]["expires"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(entries))
    new_key(file, "a")
    assert len(revoke_keys(file, "a")) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Invalid JSON"),
        ("{}", "array"),
        ('[{"id": "00000000"}]', "0.name: "),
        ('[{"id": "x", "name": "a", "hash": "secret-thing", "created": "2026-01-01T00:00:00Z"}]', "0.id: "),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "k").write_text(content)
    with pytest.raises(ConfigError, match=says) as caught:
        KeyRing(tmp_path / "k")
    assert "\n" not in str(caught.value)
    assert "secret-thing" not in str(caught.value)


@given(st.one_of(st.binary(max_size=200), st.text('[]{}",:idname0123456789abcdef', max_size=200).map(str.encode)))
def test_any_bytes_are_keys_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any-bytes"
    file.write_bytes(content)
    message = ""
    try:
        read_keys(file)
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message


def test_files_that_anybody_may_write_are_refused(tmp_path: Path) -> None:
    new_key(tmp_path / "k", "a")
    (tmp_path / "k").chmod(0o666)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(tmp_path / "k")


def test_twins_are_refused(tmp_path: Path) -> None:
    new_key(tmp_path / "k", "a")
    entry = json.loads((tmp_path / "k").read_text())
    (tmp_path / "k").write_text(json.dumps(entry * 2))
    with pytest.raises(ConfigError, match="same id"):
        read_keys(tmp_path / "k")


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        new_key(tmp_path / "nowhere" / "k", "a")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "k"
    new_key(file, "a")
    before = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        new_key(file, "b")
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["k"]
