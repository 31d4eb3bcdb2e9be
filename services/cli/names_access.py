"""Names for the command line: in the store itself, or through a server; both give the same rows."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from asr.errors import InputError

if TYPE_CHECKING:
    from services.client import Name as ServedName
    from services.client import NamesClient
    from services.store.database import Store
    from services.store.models import Name as StoredName

Row: TypeAlias = dict[str, Any]
Entities: TypeAlias = Sequence[tuple[str, str, float]]
"""Name, kind and weight of each."""


class Access(Protocol):
    """What can be done with names; rows are plain data for JSON."""

    def select(self, statuses: Sequence[str], limit: int) -> list[Row]: ...
    def get(self, name: str) -> Row: ...
    def trail(self, name_id: str) -> list[Row] | None: ...
    def add(self, text: str, spellings: Sequence[str]) -> Row: ...
    def approve(self, name: str, text: str) -> Row: ...
    def reject(self, name: str, reason: str) -> Row: ...
    def import_entities(self, entities: Entities, source: str) -> Row: ...


@contextlib.contextmanager
def open_access(store: str | None, address: str | None, key: str, actor: str) -> Iterator[Access]:
    """The store or, if an address is given, a server on it.

    Args:
        store: URL or YAML file; if neither this nor an address is given, the default store.
        address: of a server, host:port.
        key: API key for it.
        actor: who decides, for the audit trail; a server takes the key's name.
    """
    if address:
        from services.client import Client

        with Client(address, key) as client:
            yield _Served(client.names)
        return
    from services.store.config import load_store_config
    from services.store.database import Store

    opened = Store.of(load_store_config(store))
    try:
        yield _Stored(opened, actor)
    finally:
        opened.close()


def read_entities(path: Path) -> Entities:
    """Reads a CSV with the columns name, kind and weight (the last two may be absent), or a name a line.

    Raises:
        InputError: the file cannot be read, or a weight is no number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path}: cannot be read ({reason})") from error
    lines = text.splitlines()
    header = [column.strip().lower() for column in next(csv.reader(lines[:1]), [])]
    if "name" not in header:
        return [(line.strip(), "", 1.0) for line in lines if line.strip()]
    found = []
    for number, row in enumerate(csv.DictReader(lines[1:], fieldnames=header), start=2):
        name = (row["name"] or "").strip()
        if not name:
            continue
        weight = (row.get("weight") or "").strip()
        try:
            found.append((name, (row.get("kind") or "").strip(), float(weight) if weight else 1.0))
        except ValueError as error:
            raise InputError(f"{path}:{number}: weight {weight!r} is no number") from error
    return found


class _Stored:
    """Names in the store."""

    def __init__(self, store: Store, actor: str) -> None:
        self._store, self._actor = store, actor

    def select(self, statuses: Sequence[str], limit: int) -> list[Row]:
        from services.learner import names

        with self._store.reading() as session:
            return [_stored_row(name) for name in names.list_names(session, statuses, limit)]

    def get(self, name: str) -> Row:
        from services.learner import names

        with self._store.reading() as session:
            return _stored_row(names.find_name(session, name))

    def trail(self, name_id: str) -> list[Row] | None:
        from services.store import audit

        with self._store.reading() as session:
            return [
                {
                    "at": _time(entry.at),
                    "actor": entry.actor,
                    "action": entry.action,
                    "subject": entry.subject,
                    "cause": entry.cause,
                    "details": entry.details,
                }
                for entry in audit.trail(session, name_id)
            ]

    def add(self, text: str, spellings: Sequence[str]) -> Row:
        from services.learner import names

        return self._store.run(lambda s: _stored_row(names.add_name(s, text, spellings, actor=self._actor)))

    def approve(self, name: str, text: str) -> Row:
        from services.learner import names

        return self._store.run(lambda s: _stored_row(names.approve_name(s, name, text, actor=self._actor)))

    def reject(self, name: str, reason: str) -> Row:
        from services.learner import names

        return self._store.run(lambda s: _stored_row(names.reject_name(s, name, reason, actor=self._actor)))

    def import_entities(self, entities: Entities, source: str) -> Row:
        from services.learner.catalogue import MAX_IMPORT, REFUSED_TOLD, Given, import_entities

        total: Row = {"added": 0, "updated": 0, "refused": [], "refused_count": 0}
        for start in range(0, len(entities), MAX_IMPORT):
            given = [Given(*entity) for entity in entities[start : start + MAX_IMPORT]]
            done = self._store.run(lambda s, given=given: import_entities(s, given, source, actor=self._actor))  # type: ignore[misc]
            total["added"] += done.added
            total["updated"] += done.updated
            total["refused"] = [*total["refused"], *done.refused][:REFUSED_TOLD]
            total["refused_count"] += done.refused_count
        return total


class _Served:
    """Names through a server."""

    def __init__(self, client: NamesClient) -> None:
        self._client = client

    def select(self, statuses: Sequence[str], limit: int) -> list[Row]:
        return [_served_row(name) for name in self._client.list(statuses, limit=limit)]  # type: ignore[arg-type]

    def get(self, name: str) -> Row:
        return _served_row(self._client.get(name))

    def trail(self, name_id: str) -> list[Row] | None:  # noqa: ARG002
        return None

    def add(self, text: str, spellings: Sequence[str]) -> Row:
        return _served_row(self._client.add(text, spellings))

    def approve(self, name: str, text: str) -> Row:
        return _served_row(self._client.approve(name, text))

    def reject(self, name: str, reason: str) -> Row:
        return _served_row(self._client.reject(name, reason))

    def import_entities(self, entities: Entities, source: str) -> Row:
        done = self._client.import_entities(entities, source)
        return {
            "added": done.added,
            "updated": done.updated,
            "refused": list(done.refused),
            "refused_count": done.refused_count,
        }


def _stored_row(name: StoredName) -> Row:
    return _row(name, _time(name.first_at), _time(name.last_at), name.bundle)


def _served_row(name: ServedName) -> Row:
    return _row(name, _time(name.first_heard), _time(name.last_heard), name.bundle_hash)


def _row(name: StoredName | ServedName, first_heard: str, last_heard: str, bundle: str) -> Row:
    return {
        "id": name.id,
        "text": name.text,
        "status": name.status,
        "mentions": name.mentions,
        "users": name.users,
        "first_heard": first_heard,
        "last_heard": last_heard,
        "spellings": list(name.spellings),
        "trend": round(name.trend, 2),
        "reason": name.reason,
        "bundle": bundle,
    }


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
