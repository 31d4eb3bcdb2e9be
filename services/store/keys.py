"""The keys of a store: one that hashes users, and those that encrypt.

The first must stay as long as the store does: with another one nobody is found any more. The others may be replaced,
because several are valid at once: the first encrypts, all decrypt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from asr.errors import ConfigError

USER_KEY = "DENGAR_STORE_KEY"
"""The environment variable with the key that hashes users."""

ENCRYPTION_KEYS = "DENGAR_STORE_ENCRYPTION_KEYS"
"""The environment variable with the keys that encrypt, separated by commas or spaces."""

KEY_BYTES = 32
_HOW = f"a key is {KEY_BYTES} random bytes in URL-safe base64; dengar store new-key FILE makes one"


def user_key(file: Path) -> bytes:
    """The key that hashes users: from the environment, else from a file, which is made (mode 0600) if there is none.

    Raises:
        ConfigError: it is no key, or the file cannot be read or made.
    """
    if given := os.environ.get(USER_KEY, ""):
        return parse_key(given, USER_KEY)
    if not file.exists():
        new_key_file(file, keep=True)
    keys = read_keys(file)
    if len(keys) != 1:
        raise ConfigError(f"{file}: holds {len(keys)} keys, but users are hashed with one")
    return keys[0]


def encryption_keys(file: Path | None) -> tuple[bytes, ...]:
    """The keys that encrypt, the first for what is written: from the environment, else from a file, else none.

    Raises:
        ConfigError: one is no key, or the file cannot be read.
    """
    if given := os.environ.get(ENCRYPTION_KEYS, ""):
        return tuple(parse_key(text, ENCRYPTION_KEYS) for text in given.replace(",", " ").split())
    return read_keys(file) if file else ()


def read_keys(file: Path) -> tuple[bytes, ...]:
    """Reads a file with a key on each line.

    Raises:
        ConfigError: it cannot be read, others may read it, or it holds something else or nothing.
    """
    try:
        with file.open(encoding="ascii") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise ConfigError(f"{file}: can be used by others on this machine; chmod 600 it")
            lines = opened.read(2**16).split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{file}: the key cannot be read ({reason}); {_HOW}") from error
    if not lines:
        raise ConfigError(f"{file}: holds no key; {_HOW}")
    return tuple(parse_key(line, f"{file}:{number}") for number, line in enumerate(lines, start=1))


def parse_key(text: str, where: str) -> bytes:
    """The bytes of a key, given in URL-safe base64 or as hexadecimal digits; raises `ConfigError`."""
    text = text.strip()
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        key = base64.b64decode(text, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{where}: is no key; {_HOW}")  # and is not quoted: it may be half of one
    return key


def new_key_file(file: Path, *, keep: bool = False) -> None:
    """Writes a new key into a new file of mode 0600, whole and for good before it is used.

    Args:
        file: where; its folder is made.
        keep: whether a file that is there already is left as it is.

    Raises:
        ConfigError: the file exists already, or cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
            os.link(temporary, file)  # of several processes one wins, and all read its key
        finally:
            os.unlink(temporary)
        sync_folder(file.parent)
    except FileExistsError as error:
        if not keep:
            raise ConfigError(f"{file}: is there already; keys are not overwritten") from error
    except OSError as error:
        raise ConfigError(f"{file}: the key cannot be written ({error.strerror})") from error


def sync_folder(folder: Path) -> None:
    """Makes new and renamed files of a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_user(key: bytes, user: str) -> str:
    """A user's keyed hash: HMAC-SHA256 in 64 hexadecimal digits."""
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()


def fingerprint(key: bytes) -> str:
    """What tells a key from others and nothing about it: 16 hexadecimal digits."""
    return hmac.new(key, b"dengar store: which key is this", hashlib.sha256).hexdigest()[:16]
