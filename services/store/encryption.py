"""Encryption at rest: a cipher of several keys, and columns that are encrypted if their database has one.

Fernet (AES-128 in CBC mode, HMAC-SHA256) encrypts; its tokens say which are ours and are refused if they were changed.
Each database engine has its own cipher or none, so that stores with different keys can be open side by side.
What was written before encryption was turned on stays readable, and `services.store.rekey` encrypts it.
"""

from __future__ import annotations

import base64
import binascii
import json
import weakref
from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import JSON, Engine, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from services.store.errors import StoreError
from services.store.keys import fingerprint

_TOKEN = "\x02"  # begins an encrypted text
_PLAIN = "\x03"  # begins a text that is no token but would look like one, or like this
_ciphers: weakref.WeakKeyDictionary[Dialect, Cipher] = weakref.WeakKeyDictionary()


class Cipher:
    """Encrypts with its first key, decrypts with all.

    Args:
        keys: 32 bytes each, the newest first.
        encrypts: whether what is written is encrypted; else keys only serve to read what was.

    Attributes:
        fingerprints: of the keys.
    """

    def __init__(self, keys: Sequence[bytes], *, encrypts: bool = True) -> None:
        self.fingerprints = tuple(fingerprint(key) for key in keys)
        self.encrypts = encrypts
        self._fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._all = MultiFernet(self._fernets)

    def encrypt(self, data: bytes) -> bytes:
        """Encrypted bytes, 57 to 72 more than the plain ones."""
        return base64.urlsafe_b64decode(self._all.encrypt(data))

    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes; raises `StoreError` if no key fits or the data was changed."""
        try:
            return self._all.decrypt(base64.urlsafe_b64encode(data))
        except InvalidToken as error:
            raise StoreError(
                "something in the store cannot be decrypted with the keys given (or was changed); give the older "
                "encryption keys too, until dengar store rekey has run"
            ) from error

    def is_current(self, data: bytes) -> bool:
        """Whether data was encrypted with the first key."""
        try:
            self._fernets[0].decrypt(base64.urlsafe_b64encode(data))
        except InvalidToken:
            return False
        return True


def attach(engine: Engine, cipher: Cipher | None) -> None:
    """Makes a database's encrypted columns use a cipher."""
    if cipher is not None:
        _ciphers[engine.dialect] = cipher


def _seal(text: str, dialect: Dialect) -> str | None:
    """The token of a text, or None where nothing is encrypted."""
    cipher = _ciphers.get(dialect)
    if cipher is None or not cipher.encrypts:
        return None
    return base64.b64encode(cipher.encrypt(text.encode())).decode()


def _unseal(token: str, dialect: Dialect) -> str:
    cipher = _ciphers.get(dialect)
    if cipher is None:
        raise StoreError("the store holds encrypted texts, and no encryption key was given")
    try:
        sealed = base64.b64decode(token, validate=True)
    except binascii.Error:
        sealed = b""
    return cipher.decrypt(sealed).decode()


class EncryptedText(TypeDecorator[str]):
    """Text, encrypted if the engine has a cipher; it cannot be searched, grouped or ordered by in SQL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if not value:
            return value  # an empty text says as much encrypted as plain
        token = _seal(value, dialect)
        if token is not None:
            return _TOKEN + token
        return _PLAIN + value if value[0] in (_TOKEN, _PLAIN) else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if not value:
            return value
        if value[0] == _TOKEN:
            return _unseal(value[1:], dialect)
        return value.removeprefix(_PLAIN)


class EncryptedJson(TypeDecorator[list[Any]]):
    """A JSON list; encrypted, it is a JSON string."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: list[Any] | None, dialect: Dialect) -> Any:
        if not value:
            return value
        token = _seal(json.dumps(value, ensure_ascii=False), dialect)
        return value if token is None else token

    def process_result_value(self, value: Any, dialect: Dialect) -> list[Any] | None:
        found: list[Any] | None = json.loads(_unseal(value, dialect)) if isinstance(value, str) else value
        return found
