"""The store, opened: transactions on SQLite or PostgreSQL, the users' hashes, the audio beside it.

::

    store = Store.of(load_store_config())             # or Store.open("sqlite:///work/store/dengar.db")
    with store.session() as session:                  # one transaction; committed at the end, or not at all
        session.add(Feedback(...))
    with store.reading() as session: ...              # one consistent view, never waits for writers
    job = store.run(lambda s: claim(s, worker, 60.0)) # as if alone; tried again if another one comes in between
    store.close()

When `session` or `run` has come back, what it did is on the disk and survives kill -9 and power loss. All methods
block and may be called from any thread; a server calls them in one of its threads, not in its event loop.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import sqlalchemy
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from asr.errors import ConfigError
from services.store import encryption, keys, migrate
from services.store.audio import AudioStore
from services.store.config import DEFAULT_URL, StoreConfig, parse_url, store_config
from services.store.encryption import Cipher
from services.store.engines import READS, make_engine, store_error
from services.store.errors import StoreBusyError
from services.store.models import Setting

T = TypeVar("T")
ATTEMPTS = 10
USER_KEY = "user key"
ENCRYPTION_KEYS = "encryption keys"


class Store:
    """An open store; make one with `Store.of` or `Store.open`.

    Attributes:
        name: the database, without its password, for messages.
        engine: SQLAlchemy's.
        audio: the recordings.
        cipher: what encrypts, or None.
        config: where it lies and what it promises.
    """

    def __init__(self, engine: Engine, config: StoreConfig, user_key: bytes, cipher: Cipher | None) -> None:
        self.engine = engine
        self.config = config
        self.name = engine.url.render_as_string(hide_password=True)
        self.cipher = cipher
        self.audio = AudioStore(config.audio or str(config.state_folder / "audio"), cipher)
        self._user_key = user_key
        is_sqlite = engine.dialect.name == "sqlite"
        self._alone = engine if is_sqlite else engine.execution_options(isolation_level="SERIALIZABLE")
        self._reading = (
            engine.execution_options(**{READS: True})
            if is_sqlite
            else engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        )

    @classmethod
    def open(
        cls,
        url: str = DEFAULT_URL,
        *,
        key: bytes | None = None,
        encryption_keys: tuple[bytes, ...] = (),
        migrate: bool = True,
        **settings: object,
    ) -> Store:
        """Opens (and makes, if need be) a store by the URL of its database.

        Args:
            url: ``sqlite:///folder/file.db`` or ``postgresql://user@host/name``.
            key: 32 bytes that hash users; None takes what the environment or the state folder has, or makes one there.
            encryption_keys: 32 bytes each, the newest first; with them texts and audio are encrypted.
            migrate: whether an older or empty database is brought to this version's tables.
            settings: further fields of `StoreConfig`.

        Raises:
            ConfigError: a setting or key makes no sense, or is not the one that the store was written with.
            StoreError: the database cannot be reached, or is from a newer version.
        """
        config = store_config(url=url, **{"encrypt": bool(encryption_keys), **settings})
        return cls._open(config, key, encryption_keys, migrate)

    @classmethod
    def of(cls, config: StoreConfig, *, migrate: bool = True) -> Store:
        """Opens the store of a configuration, with the keys it names; see `open`."""
        found = keys.encryption_keys(Path(config.encryption_keys) if config.encryption_keys else None)
        return cls._open(config, None, found, migrate)

    @classmethod
    def _open(cls, config: StoreConfig, key: bytes | None, encrypts: tuple[bytes, ...], upgrade: bool) -> Store:
        if config.encrypt and not encrypts:
            raise ConfigError(
                "the store is to be encrypted, and there is no key; make one with dengar store new-key FILE and name "
                f"it in encryption_keys or in the environment's {keys.ENCRYPTION_KEYS}"
            )
        engine = make_engine(parse_url(config.url), config.busy_s)
        try:
            if upgrade:
                migrate.upgrade(engine)
            else:
                migrate.check(engine)
            if key is None:
                file = Path(config.user_key) if config.user_key else config.state_folder / "user.key"
                key = keys.user_key(file)
            cipher = Cipher(encrypts, encrypts=config.encrypt) if encrypts else None
            encryption.attach(engine, cipher)
            store = cls(engine, config, key, cipher)
            with store.session() as session:
                _check_keys(session, keys.fingerprint(key), cipher)
        except BaseException:
            engine.dispose()
            raise
        return store

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction that may write; committed at the end, rolled back if an exception leaves it.

        Objects stay readable after it. On SQLite it holds the write lock, so it is to be short; on PostgreSQL it reads
        what is committed at each statement (READ COMMITTED): to write what depends on what was read, use `run`.

        Raises:
            StoreBusyError: others wrote for too long, or at the same rows.
            StoreError: the database fails; whether a commit whose connection broke has arrived is not known.
        """
        with self._transaction(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view that never waits for writers; raises `StoreError` if it is to write."""
        with self._transaction(self._reading) as session:
            yield session

    def run(self, work: Callable[[Session], T], *, attempts: int = ATTEMPTS) -> T:
        """Does something in one transaction as if nobody else were there (SERIALIZABLE), and commits it.

        Args:
            work: what to do, from the beginning each time: it is called again if another transaction came in between.
            attempts: how often it is tried.

        Raises:
            StoreBusyError: it was in vain each time.
            StoreError: the database fails.
        """
        for attempt in range(1, attempts + 1):
            try:
                with self._transaction(self._alone) as session:
                    return work(session)
            except StoreBusyError:
                if attempt == attempts:
                    raise
                time.sleep(random.uniform(0, min(0.5, 0.005 * 2**attempt)))
        raise AssertionError("attempts is at least 1")

    def user_hash(self, user: str) -> str:
        """What a user is called in the store: HMAC-SHA256 of the name under the store's key."""
        return keys.hash_user(self._user_key, user)

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Session]:
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except sqlalchemy.exc.IntegrityError:
            raise
        except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as error:
            raise store_error(error, self.name) from error


def lock(session: Session, name: str) -> None:
    """Until the transaction ends, nobody else gets past here with this name; SQLite's writers are alone anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"dengar {name}"})


def _check_keys(session: Session, user_key: str, cipher: Cipher | None) -> None:
    """Notes which keys the store is written with, and refuses others."""
    lock(session, "keys")
    noted = session.get(Setting, USER_KEY)
    if noted is None:
        session.add(Setting(name=USER_KEY, value={"fingerprint": user_key}))
    elif noted.value["fingerprint"] != user_key:
        raise ConfigError(
            f"the key that hashes users ({user_key}) is not the one this store was written with "
            f"({noted.value['fingerprint']}), and would find nobody; give that one, by its file or in {keys.USER_KEY}"
        )
    noted = session.get(Setting, ENCRYPTION_KEYS)
    written = list(noted.value["fingerprints"]) if noted else []
    missing = set(written) - set(cipher.fingerprints if cipher else ())
    if missing:
        raise ConfigError(
            f"the store is encrypted, and the key {sorted(missing)[0]} is missing; name the file with it in "
            f"encryption_keys or give it in {keys.ENCRYPTION_KEYS} (dengar store rekey replaces a key by another)"
        )
    if cipher and cipher.encrypts and cipher.fingerprints[0] not in written:
        session.merge(Setting(name=ENCRYPTION_KEYS, value={"fingerprints": [*written, cipher.fingerprints[0]]}))
