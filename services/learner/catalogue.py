"""The catalogue: names that are known to exist, as of contacts, artists and places, to match what was heard with."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from asr.errors import ConfigError, TextError
from asr.unknown.types import Entity
from services.learner.names import spoken
from services.store import audit
from services.store.models import CatalogueEntity

MAX_IMPORT = 10_000
"""Entities in one import."""
MAX_LABEL = 64
"""Characters of a kind or a source."""
REFUSED_TOLD = 100
_AT_ONCE = 500
"""Names in one query: SQLite and PostgreSQL bound their parameters."""


@dataclass(frozen=True, slots=True)
class Given:
    """An entity as it is handed in.

    Attributes:
        name: as it is written.
        kind: such as ``artist``.
        weight: how likely it is asked for, against the others; 0 means 1.
    """

    name: str
    kind: str = ""
    weight: float = 0.0


@dataclass(slots=True)
class Imported:
    """What became of an import.

    Attributes:
        added: entities that are new.
        updated: those that were there, with another kind, weight or source.
        unchanged: those that were there as they are.
        refused: the first that cannot be used, as given.
        refused_count: all of them.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: list[str] = field(default_factory=list)
    refused_count: int = 0

    def refuse(self, name: str) -> None:
        """Counts an entity that cannot be used."""
        self.refused_count += 1
        if len(self.refused) < REFUSED_TOLD:
            self.refused.append(name)


def import_entities(session: Session, entities: Iterable[Given], source: str = "", *, actor: str) -> Imported:
    """Adds entities; one that is known already gets the new kind, weight and source.

    What cannot be said in the recogniser's alphabet, or has a weight below 0, is counted and left out. Of a name that
    is given twice the last counts.

    Args:
        session: of the store; the caller commits.
        entities: at most `MAX_IMPORT`.
        source: where they come from, such as ``contacts``.
        actor: who imports them, for the audit trail.

    Raises:
        ConfigError: too many of them, or a source or kind that is too long.
    """
    entities = list(entities)
    if len(entities) > MAX_IMPORT:
        raise ConfigError(f"{len(entities)} entities were given; import at most {MAX_IMPORT} at a time")
    for label, what in ((source, "source"), *((each.kind, "kind") for each in entities)):
        if len(label) > MAX_LABEL:
            raise ConfigError(f"the {what} {label[:MAX_LABEL]!r}... is too long: at most {MAX_LABEL} characters")
    done = Imported()
    wanted: dict[str, Given] = {}
    for each in entities:
        try:
            name = spoken(each.name)
        except TextError:
            done.refuse(each.name)
            continue
        if math.isfinite(each.weight) and each.weight >= 0:
            wanted[name] = Given(name, each.kind, each.weight or 1.0)
        else:
            done.refuse(each.name)
    now = datetime.datetime.now(datetime.UTC)
    names = list(wanted)
    for start in range(0, len(names), _AT_ONCE):
        _write(session, [wanted[name] for name in names[start : start + _AT_ONCE]], source, now, done)
    audit.record(
        session,
        actor,
        "names.imported",
        source or "catalogue",
        at=now,
        added=done.added,
        updated=done.updated,
        refused=done.refused_count,
    )
    return done


def catalogue_revision(session: Session) -> tuple[int, datetime.datetime | None]:
    """Changes when the catalogue does: how many entities there are, and when one was written last."""
    count, at = session.execute(select(func.count(), func.max(CatalogueEntity.at))).one()
    return count, at


def entities(session: Session, limit: int) -> tuple[list[Entity], int]:
    """The likeliest entities, and how many are left out."""
    columns = (CatalogueEntity.name, CatalogueEntity.kind, CatalogueEntity.weight)
    ordered = select(*columns).order_by(CatalogueEntity.weight.desc(), CatalogueEntity.id).limit(limit)
    found = [Entity(name, kind, weight) for name, kind, weight in session.execute(ordered)]
    return found, max(0, (session.scalar(select(func.count()).select_from(CatalogueEntity)) or 0) - len(found))


def _write(session: Session, wanted: list[Given], source: str, now: datetime.datetime, done: Imported) -> None:
    columns = (CatalogueEntity.id, CatalogueEntity.name, CatalogueEntity.kind, CatalogueEntity.weight)
    known = {
        name: (key, kind, weight, origin)
        for key, name, kind, weight, origin in session.execute(
            select(*columns, CatalogueEntity.source).where(CatalogueEntity.name.in_([each.name for each in wanted]))
        )
    }
    new, changed = [], []
    for each in wanted:
        row = {"kind": each.kind, "weight": each.weight, "source": source, "at": now}
        if each.name not in known:
            new.append({"name": each.name, **row})
        elif known[each.name][1:] == (each.kind, each.weight, source):
            done.unchanged += 1
        else:
            changed.append({"id": known[each.name][0], **row})
    if new:
        session.execute(insert(CatalogueEntity), new)
    if changed:
        session.execute(update(CatalogueEntity), changed)
    done.added += len(new)
    done.updated += len(changed)
