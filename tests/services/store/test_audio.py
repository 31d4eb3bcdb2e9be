"""Recordings: there whole or not at all, under names that say nothing, in whatever file system, encrypted if asked."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from asr.errors import ConfigError
from services.store.audio import AudioStore, encode
from services.store.encryption import Cipher
from services.store.errors import StoreError
from tests.services.store.conftest import noise


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/audio" if request.param == "folder" else f"memory://{secrets.token_hex(8)}/audio"


def test_a_recording_comes_back_as_it_was(url: str) -> None:
    store = AudioStore(url)
    assert list(store.list()) == []
    ref = store.put(noise())
    assert np.array_equal(store.get(ref), noise())
    [stored] = store.list()
    assert (stored.ref, stored.size) == (ref, len(encode(noise())))
    assert abs((datetime.now(UTC) - stored.at).total_seconds()) < 3600
    assert store.remove(ref)
    assert not store.remove(ref)
    assert list(store.list()) == []
    with pytest.raises(StoreError, match="it is not there"):
        store.get(ref)


def test_names_are_random(url: str) -> None:
    store = AudioStore(url)
    names = {store.put(noise()) for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"([0-9a-f]{2})/\1[0-9a-f]{30}\.flac", name) for name in names)


def test_an_encrypted_recording_is_read_with_its_key_alone(url: str) -> None:
    old, new = bytes(32), bytes([1] * 32)
    ref = AudioStore(url, Cipher([old])).put(noise())
    assert ref.endswith(".flac.enc")
    assert np.array_equal(AudioStore(url, Cipher([new, old])).get(ref), noise())
    assert [AudioStore(url, Cipher(keys)).is_current(ref) for keys in ([old], [new, old])] == [True, False]
    with pytest.raises(StoreError, match="cannot be decrypted with the keys given"):
        AudioStore(url, Cipher([new])).get(ref)
    with pytest.raises(StoreError, match="no encryption key was given"):
        AudioStore(url).get(ref)


def test_plain_recordings_stay_readable_once_there_is_a_key(url: str) -> None:
    ref = AudioStore(url).put(noise())
    store = AudioStore(url, Cipher([bytes(32)]))
    assert np.array_equal(store.get(ref), noise())
    assert not store.is_current(ref)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    store = AudioStore(str(tmp_path), Cipher([bytes(32)]))
    ref = store.put(noise())
    data = bytearray((tmp_path / ref).read_bytes())
    assert b"fLaC" not in data
    data[len(data) // 2] ^= 1
    (tmp_path / ref).write_bytes(data)
    with pytest.raises(StoreError, match="or was changed"):
        store.get(ref)


def test_only_we_may_read_local_files(tmp_path: Path) -> None:
    path = tmp_path / "audio" / AudioStore(f"file://{tmp_path}/audio").put(noise())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AudioStore(str(tmp_path))
    sync = os.fsync

    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        store.put(noise())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unknown_kind_of_store_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        AudioStore("nowhere://bucket")
