"""Configuration of the store: where it lies, how long it keeps what, how it is encrypted, how much may wait."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asr.errors import ConfigError

DEFAULT_URL = "sqlite:///work/store/dengar.db"
STORE = "DENGAR_STORE"
"""The environment variable that names the store: a database's URL, or a YAML file of `StoreConfig`."""

Days = Annotated[float, Field(gt=0, le=36_500)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StoreConfig:
    """Where a store lies and what it promises.

    Attributes:
        url: of the database: ``sqlite:///folder/file.db`` or ``postgresql://user@host/name``.
        state: folder for keys and, unless `audio` says otherwise, audio; empty: that of the SQLite file, or
            ``work/store``.
        audio: folder or fsspec URL (``s3://bucket/prefix``) for recordings; empty: ``audio`` in `state`.
        user_key: file with the key that hashes users; empty: ``user.key`` in `state`, made at first use.
            The environment's DENGAR_STORE_KEY comes first.
        encryption_keys: file with the keys that encrypt, the newest first. DENGAR_STORE_ENCRYPTION_KEYS comes first.
        encrypt: whether texts and audio are encrypted; needs such keys.
        transcript_days: how long a query with consent to its transcript is kept.
        audio_days: how long one with consent to its audio is kept, all of it.
        expire_every_s: how often a server deletes what is past its time; 0: it does not.
        queue_size: queries that may wait to be written; then they are dropped, and counted.
        queue_mb: megabytes of audio among them.
        commit_ms: how long a query waits for others that are written with it.
        batch: queries that are written at once.
        retry_s: how long a batch is tried again when the database fails; then it is dropped.
        busy_s: how long a transaction waits for another.
    """

    url: Annotated[str, Field(min_length=1)] = DEFAULT_URL
    state: str = ""
    audio: str = ""
    user_key: str = ""
    encryption_keys: str = ""
    encrypt: bool = False
    transcript_days: Days = 90.0
    audio_days: Days = 90.0
    expire_every_s: Annotated[float, Field(ge=0, le=7 * 86_400)] = 3600.0
    queue_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    queue_mb: Annotated[float, Field(gt=0, le=100_000)] = 256.0
    commit_ms: Annotated[float, Field(ge=0, le=10_000)] = 50.0
    batch: Annotated[int, Field(ge=1, le=10_000)] = 64
    retry_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    busy_s: Annotated[float, Field(gt=0, le=600)] = 10.0

    @property
    def state_folder(self) -> Path:
        """Where keys and local audio lie."""
        return Path(self.state) if self.state else default_state(self.url)

    def days(self, consent: str) -> float:
        """How long a query with a consent (``transcript`` or ``audio``) is kept."""
        return self.audio_days if consent == "audio" else self.transcript_days


def store_config(**values: Any) -> StoreConfig:
    """Builds a `StoreConfig`, or raises `ConfigError` with one sentence about the first wrong value."""
    try:
        config = TypeAdapter(StoreConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise ConfigError(f"store setting {name}: {first['msg']}, found {first['input']!r}") from error
    parse_url(config.url)
    return config


def load_store_config(where: str | None = None) -> StoreConfig:
    """The configuration that the server, the learner and the command line share.

    Args:
        where: a database's URL, or a YAML file with the fields of `StoreConfig`; None takes what DENGAR_STORE says,
            or else the defaults.

    Raises:
        ConfigError: the file cannot be read, or something in it makes no sense.
    """
    where = where or os.environ.get(STORE, "")
    if not where:
        return store_config()
    if "://" in where:
        return store_config(url=where)
    try:
        values = yaml.safe_load(Path(where).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"the store {where!r} is neither a database's URL nor a YAML file of settings: {reason}"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{where}: store settings are names with values, such as url: {DEFAULT_URL}")
    return store_config(**values)


def parse_url(url: str) -> sqlalchemy.URL:
    """The URL of a database that can be a store's, with its driver; raises `ConfigError`."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise ConfigError(
            f"{url!r} is no URL of a database; write {DEFAULT_URL} or postgresql://user@host/name"
        ) from error
    kind = parsed.drivername.split("+")[0]
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise ConfigError(
            f"a store is in SQLite or PostgreSQL, not in {kind}; write {DEFAULT_URL} or postgresql://user@host/name"
        )
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise ConfigError(f"a store in SQLite wants a file and no options, like {DEFAULT_URL}")
    return parsed.set(drivername="sqlite+pysqlite")


def default_state(url: str) -> Path:
    """Where keys and audio lie unless said otherwise: beside a SQLite file, else in ``work/store``."""
    parsed = parse_url(url)
    return Path(parsed.database or ".").parent if parsed.drivername.startswith("sqlite") else Path("work/store")
