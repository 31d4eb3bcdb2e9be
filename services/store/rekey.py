"""Encrypts a whole store with its first key: to turn encryption on, or to replace a key by another.

To replace a key: put the new one first in the file, the old one behind it; restart whatever uses the store; run this;
take the old one out. Until it has run to its end the store wants both. It may be stopped at any time and run again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from asr.errors import ConfigError
from services.faults import crash_point
from services.store import audit
from services.store.database import ENCRYPTION_KEYS, Store
from services.store.encryption import Cipher, EncryptedJson, EncryptedText
from services.store.models import Base, Feedback, Mention, Query, Removal, Setting, Span, TrainingRow
from services.store.removal import AUDIO, carry_out

AT_ONCE = 200
TABLES: tuple[type[Base], ...] = (Query, Span, Feedback, Mention, TrainingRow)


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What was encrypted anew: rows of all tables, and recordings."""

    rows: int
    recordings: int


def encrypted_columns(table: type[Base]) -> list[str]:
    """Names of a table's columns that are encrypted."""
    columns = table.__table__.columns
    return [column.key for column in columns if isinstance(column.type, (EncryptedText, EncryptedJson))]


def rekey(store: Store, *, actor: str = "person", advance: Callable[[int], None] = lambda _rows: None) -> Rekeyed:
    """Encrypts all texts and recordings with the first key; from then on no other is needed.

    Args:
        store: open, with all keys that it was written with.
        actor: for the audit trail.
        advance: told how many rows more are done.

    Raises:
        ConfigError: the store is not encrypted.
        StoreError: the database or the audio store fails, or a key is missing.
    """
    cipher = store.cipher
    if cipher is None or not cipher.encrypts:
        raise ConfigError(
            "the store is not to be encrypted; set encrypt: true and give encryption_keys, the new one first"
        )
    rows = sum(_rekey_rows(store, table, advance) for table in TABLES)
    recordings = _rekey_audio(store)
    store.run(lambda session: _note(session, cipher, actor, rows, recordings))
    carry_out(store)
    return Rekeyed(rows, recordings)


def _rekey_rows(store: Store, table: type[Base], advance: Callable[[int], None]) -> int:
    names, done, after = encrypted_columns(table), 0, None
    while True:
        count, after = store.run(functools.partial(_rekey_some, table=table, names=names, after=after))
        crash_point("store.rows-rekeyed")
        done += count
        advance(count)
        if count < AT_ONCE:
            return done


def _rekey_some(session: Session, table: type[Base], names: list[str], after: Any) -> tuple[int, Any]:
    """Writes the next rows by primary key again; how many, and the last one's key."""
    key = next(iter(inspect(table).primary_key))
    wanted: Select[Any] = select(table).order_by(key).limit(AT_ONCE)
    found = session.scalars(wanted if after is None else wanted.where(key > after)).all()
    for row in found:
        for name in names:
            flag_modified(row, name)
    return len(found), getattr(found[-1], str(key.key)) if found else after


def _rekey_audio(store: Store) -> int:
    done, after = 0, ""
    while True:
        with store.reading() as session:
            wanted = select(Query.id, Query.audio_ref).where(Query.id > after, Query.audio_ref != "")
            found = session.execute(wanted.order_by(Query.id).limit(AT_ONCE)).all()
        if not found:
            return done
        after = found[-1][0]
        for query_id, ref in found:
            if not store.audio.is_current(ref):
                new = store.audio.put_bytes(store.audio.get_bytes(ref))
                crash_point("store.recording-rekeyed")
                done += store.run(functools.partial(_replace, query_id=query_id, old=ref, new=new))


def _replace(session: Session, query_id: str, old: str, new: str) -> bool:
    """Points a query to its new recording and notes that the other is to go: the old one, or the new if it is late."""
    query = session.get(Query, query_id, with_for_update=True)
    took = query is not None and query.audio_ref == old
    if query is not None and took:
        query.audio_ref = new
    session.add(Removal(kind=AUDIO, ref=old if took else new, at=datetime.now(UTC)))
    return took


def _note(session: Session, cipher: Cipher, actor: str, rows: int, recordings: int) -> None:
    current = cipher.fingerprints[0]
    session.merge(Setting(name=ENCRYPTION_KEYS, value={"fingerprints": [current]}))
    audit.record(session, actor, "store.rekeyed", current, rows=rows, recordings=recordings)
