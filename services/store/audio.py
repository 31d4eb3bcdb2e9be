"""Recordings of queries: FLAC at 16 kHz under random names, in a folder or whatever fsspec reaches.

A recording is written under another name and moved to its own, so that it is there whole or not at all; a local
one is on the disk when `put` comes back. Names are random: nothing of a query or a user is in them. With a cipher
the file is encrypted as a whole and ends in ``.flac.enc``.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import soundfile
from fsspec.implementations.local import LocalFileSystem

from asr.audio import SAMPLE_RATE_HZ, Samples, decode
from asr.errors import ConfigError
from services.store.encryption import Cipher
from services.store.errors import StoreError
from services.store.keys import sync_folder

PLAIN, ENCRYPTED, PARTIAL = ".flac", ".flac.enc", ".partial"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the audio store: its name, its bytes, and when it was written."""

    ref: str
    size: int
    at: datetime


class AudioStore:
    """Recordings by name.

    Args:
        url: a folder, or what fsspec knows (``s3://bucket/prefix``, ``memory://name``).
        cipher: encrypts and decrypts them.

    Raises:
        ConfigError: fsspec does not know such a URL, or lacks a package for it.
    """

    def __init__(self, url: str, cipher: Cipher | None = None) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"the audio store {url} cannot be opened: {error}") from error
        self.url = url
        self._cipher = cipher
        self._is_local = isinstance(self._files, LocalFileSystem)

    def put(self, samples: Samples) -> str:
        """Writes a recording and returns its name.

        Args:
            samples: shape (T,), mono float32 at 16 kHz in [-1, 1].

        Raises:
            StoreError: it cannot be written; nothing is left of it but, at worst, a file for `services.store.sweep`.
        """
        return self.put_bytes(encode(samples))

    def put_bytes(self, flac: bytes) -> str:
        """As `put`, for what is encoded already."""
        seals = self._cipher is not None and self._cipher.encrypts
        data = self._cipher.encrypt(flac) if self._cipher is not None and seals else flac
        name = secrets.token_hex(16)
        ref = f"{name[:2]}/{name}{ENCRYPTED if seals else PLAIN}"
        with self._guard("written"):
            if self._is_local:
                self._write_local(Path(self._path(ref)), data)
            else:
                self._write_remote(self._path(ref), data)
        return ref

    def get(self, ref: str) -> Samples:
        """Reads a recording: shape (T,), mono float32 at 16 kHz.

        Raises:
            StoreError: it is not there, cannot be read or cannot be decrypted.
        """
        return decode(self.get_bytes(ref), f"recording {ref}")

    def get_bytes(self, ref: str) -> bytes:
        """The recording as a FLAC file; see `get`."""
        with self._guard(f"read ({ref})"):
            data: bytes = self._files.cat_file(self._path(ref))
        if not ref.endswith(ENCRYPTED):
            return data
        if self._cipher is None:
            raise StoreError(f"recording {ref} is encrypted, and no encryption key was given")
        return self._cipher.decrypt(data)

    def is_current(self, ref: str) -> bool:
        """Whether a recording is encrypted with the first key, or rightly not at all."""
        if self._cipher is None or not self._cipher.encrypts:
            return not ref.endswith(ENCRYPTED)
        if not ref.endswith(ENCRYPTED):
            return False
        with self._guard(f"read ({ref})"):
            return self._cipher.is_current(self._files.cat_file(self._path(ref)))

    def remove(self, ref: str) -> bool:
        """Deletes a recording; whether it was there. Raises `StoreError` if it cannot be deleted."""
        path = self._path(ref)
        with self._guard(f"deleted ({ref})"):
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return False
            if self._is_local:
                sync_folder(Path(path).parent)
        return True

    def list(self) -> Iterator[Stored]:
        """All files, also those that a crash left half written; raises `StoreError`."""
        with self._guard("listed"):
            self._files.invalidate_cache()
            found: dict[str, Any] = self._files.find(self._root, detail=True) if self._files.exists(self._root) else {}
        root = self._root.rstrip("/") + "/"
        for path, about in sorted(found.items()):
            yield Stored(path.removeprefix(root), int(about.get("size") or 0), _written_at(about))

    def _path(self, ref: str) -> str:
        return f"{self._root.rstrip('/')}/{ref}"

    def _write_local(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(path.parent.parent)
        partial = path.with_name(path.name + PARTIAL)
        try:
            with open(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise

    def _write_remote(self, path: str, data: bytes) -> None:
        """Object stores show an object when it is whole; file systems get it by renaming."""
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path + PARTIAL, data)
        self._files.mv(path + PARTIAL, path)

    @contextlib.contextmanager
    def _guard(self, done: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(f"a recording in {self.url} cannot be {done}: it is not there") from error
        except OSError as error:
            raise StoreError(f"a recording in {self.url} cannot be {done}: {error.strerror or error}") from error


def encode(samples: Samples) -> bytes:
    """A FLAC file of samples of shape (T,), mono float32 at 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _written_at(about: dict[str, Any]) -> datetime:
    """When a file was written, by whatever its file system calls that; long ago if it does not say."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = about.get(name)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC)
    return datetime.fromtimestamp(0, UTC)
