"""API keys: made once, stored as salted hashes, read again when their file changes.

A key is ``dgr_<id>_<secret>``: the id (public) finds the entry, 256 random bits prove it. With that much chance in it
a key needs no slow hash: HMAC-SHA256 under a salt of its own is enough, and is compared in constant time. Two keys
of one name may be valid at once, so that a caller can be given a new one before the old one goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asr.errors import ConfigError
from services.recognizer.quotas import Quotas
from services.recognizer.tls import file_signature

PREFIX = "dgr_"
KEY = re.compile(r"dgr_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
SECRET_BYTES = 32
SALT_BYTES = 16
KEYS_PER_NAME = 2
MAX_FILE_BYTES = 16 * 2**20
Role: TypeAlias = Literal["speech", "admin"]
log = logging.getLogger("dengar.keys")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Key:
    """One entry of the file; the key itself is not in it.

    Attributes:
        id: the public part of the key.
        name: of whoever has it; quotas are counted by name.
        hash: ``hmac-sha256:<salt>:<digest>`` in hexadecimal digits.
        role: `speech` may recognise, `admin` may do everything.
        created: when it was made.
        expires: from when on it is refused, or None.
        quotas: bounds.
    """

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    hash: Annotated[str, Field(pattern=r"^hmac-sha256:[0-9a-f]{32}:[0-9a-f]{64}$", repr=False)]
    created: AwareDatetime
    role: Role = "speech"
    expires: AwareDatetime | None = None
    quotas: Quotas = Quotas()

    def has_expired(self, now: datetime | None = None) -> bool:
        """Whether the key is refused for its age."""
        return self.expires is not None and self.expires <= (now or datetime.now(UTC))


_FILE = TypeAdapter(list[Key])


def read_keys(path: Path) -> tuple[Key, ...]:
    """Reads a file of keys.

    Raises:
        ConfigError: it cannot be read, or something in it makes no sense.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o002:
                raise ConfigError(f"{path} can be written by everybody on this machine; chmod 600 it")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the file of API keys {path} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"the file of API keys {path} has more than {MAX_FILE_BYTES} bytes")
    try:
        keys = _FILE.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        # Without the cause: it quotes what it found, which may be a hash.
        raise ConfigError(f"the file of API keys {path}: {where + ': ' if where else ''}{first['msg']}") from None
    if len({key.id for key in keys}) < len(keys):
        raise ConfigError(f"the file of API keys {path} has two keys with the same id; remove one")
    return tuple(keys)


def new_key(
    path: Path,
    name: str,
    *,
    role: Role | None = None,
    expires: datetime | None = None,
    quotas: Quotas | None = None,
) -> tuple[str, Key]:
    """Makes a key and adds it to the file, which is created if need be.

    Args:
        path: the file.
        name: of whoever gets it.
        role: what it may call; None takes that of the name's other key, or `speech`.
        expires: from when on it is refused.
        quotas: bounds; None takes those of the name's other key, or none.

    Returns:
        The key, which is stored nowhere, and its entry.

    Raises:
        ConfigError: the name has two valid keys already or makes no sense, or the file cannot be used.
    """
    with _edited(path) as keys:
        now = datetime.now(UTC).replace(microsecond=0)
        others = [key for key in keys if key.name == name and not key.has_expired(now)]
        if len(others) >= KEYS_PER_NAME:
            raise ConfigError(
                f"{name} has {len(others)} valid keys already ({', '.join(key.id for key in others)}); "
                "revoke one first: dengar keys revoke NAME --id ID"
            )
        if expires is not None and expires <= now:
            raise ConfigError(f"a key that expires at {expires.isoformat()} would never be valid")
        last = others[-1] if others else None
        taken = {key.id for key in keys}
        key_id = next(each for each in iter(lambda: secrets.token_hex(4), "") if each not in taken)
        secret = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        try:
            entry = Key(
                id=key_id,
                name=name,
                hash=_hash(secret, secrets.token_bytes(SALT_BYTES)),
                created=now,
                role=role or (last.role if last else "speech"),
                expires=expires,
                quotas=quotas if quotas is not None else (last.quotas if last else Quotas()),
            )
        except ValidationError as error:
            raise ConfigError(
                f"{name!r} cannot be a key's name: up to 64 letters, digits, dots, hyphens and underscores, "
                "beginning with a letter or digit"
            ) from error
        keys.append(entry)
    return secret, entry


def revoke_keys(path: Path, name: str, key_id: str | None = None) -> list[Key]:
    """Removes the keys of a name, or the one with `key_id`, and returns them.

    Raises:
        ConfigError: there is none, or the file cannot be used.
    """
    with _edited(path) as keys:
        gone = [key for key in keys if key.name == name and key_id in (None, key.id)]
        if not gone:
            raise ConfigError(f"{path} has no key of {name}{f' with the id {key_id}' if key_id else ''}")
        keys[:] = [key for key in keys if key not in gone]
    return gone


class KeyRing:
    """The keys of a file as it stands; a file that breaks leaves the last good ones.

    Args:
        path: the file.
        on_broken: called once for each change that leaves the file unusable.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, on_broken: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_broken = on_broken
        self._lock = threading.Lock()
        self._signature = file_signature(path)
        self._keys = {key.id: key for key in read_keys(path)}
        self._nobody = _hash("", secrets.token_bytes(SALT_BYTES))

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def is_stale(self) -> bool:
        """Whether the file has changed; costs one look at it."""
        return file_signature(self._path) != self._signature

    def refresh(self) -> None:
        """Reads the file again if it has changed; blocking."""
        with self._lock:
            signature = file_signature(self._path)
            if signature == self._signature:
                return
            self._signature = signature
            try:
                keys = read_keys(self._path)
            except ConfigError as error:
                log.error("the old API keys stay: %s", error)
                self._on_broken()
                return
            self._keys = {key.id: key for key in keys}
            log.info("%d API keys read from %s", len(keys), self._path)

    def find(self, presented: str) -> Key | None:
        """The entry of a key, expired or not; None for what is no key. As quick for a wrong one as for a right one."""
        match = KEY.fullmatch(presented)
        entry = self._keys.get(match[1]) if match else None
        stored = entry.hash if entry else self._nobody
        right = hmac.compare_digest(_hash(presented if entry else "", bytes.fromhex(stored.split(":")[1])), stored)
        return entry if right else None


def _hash(key: str, salt: bytes) -> str:
    return f"hmac-sha256:{salt.hex()}:{hmac.new(salt, key.encode(), hashlib.sha256).hexdigest()}"


@contextlib.contextmanager
def _edited(path: Path) -> Iterator[list[Key]]:
    """The keys of a file, to be changed in place; written back at once and whole, one editor at a time."""
    path = path.resolve()
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"the folder of {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = list(read_keys(path)) if path.exists() else []
        yield keys
        _write(path, keys)
        os.fsync(folder)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        os.close(folder)


def _write(path: Path, keys: list[Key]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists():  # root may edit what the server's own user reads
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
            json.dump([_entry(key) for key in keys], file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _entry(key: Key) -> dict[str, object]:
    """As the file has it: what is unset is left out."""
    values = {name: value for name, value in dataclasses.asdict(key).items() if value is not None}
    for name in ("created", "expires"):
        if name in values:
            values[name] = values[name].isoformat()
    quotas = {name: value for name, value in dataclasses.asdict(key.quotas).items() if value is not None}
    values.pop("quotas")
    return {**values, "quotas": quotas} if quotas else values
