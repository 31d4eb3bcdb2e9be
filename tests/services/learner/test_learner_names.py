"""Names that change their status, and the catalogue, in a real store."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from asr.errors import ConfigError, NotFoundError, TextError
from services.learner import names
from services.learner.catalogue import Given, catalogue_revision, entities, import_entities
from services.store.database import Store
from services.store.models import AuditEntry, CatalogueEntity, Mention, Name, Query

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path}/dengar.db")
    yield store
    store.close()


def heard(store: Store, name_id: str, at: datetime.datetime, user: str) -> None:
    """A query in which a user says the name."""
    with store.session() as session:
        query = Query(
            id=f"{user}{at:%d%H%M}", at=at, user_hash=user, consent="transcript", transcript="x", confidence=0.5,
            nbest=[], words=[], bundle="b", audio_s=1.0, expires_at=at + datetime.timedelta(days=90),
        )  # fmt: skip
        session.add(query)
        session.flush()
        session.add(
            Mention(
                name_id=name_id, query_id=query.id, at=at, user_hash=user, spelling="x", source="span", distance=0.1
            )
        )


def test_every_decision_is_in_the_audit_trail(store: Store) -> None:
    added = store.run(lambda s: names.add_name(s, "Tavia Brunello", ["Tavya Brunello", "tavia brunello"], actor="ann"))
    assert (added.text, added.status, added.spellings, added.source) == (
        "tavia brunello", "approved", ["tavya brunello"], "person",
    )  # fmt: skip
    store.run(lambda s: names.reject_name(s, added.id, "a joke", actor="bob"))
    again = store.run(lambda s: names.add_name(s, "tavia brunello", ["tabia brunello"], actor="ann"))
    assert (again.id, again.status, again.spellings) == (added.id, "approved", ["tabia brunello", "tavya brunello"])
    right = store.run(lambda s: names.approve_name(s, "Tavia  Brunello", "Tavia Brunelli", actor="cem"))
    assert (right.id, right.text, right.reason) == (added.id, "tavia brunelli", "approved by cem")
    assert right.spellings[0] == "tavia brunello"
    with store.reading() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
        told = [(entry.actor, entry.action, entry.subject, entry.details["before"]) for entry in entries]
    assert told == [
        ("ann", "name.approved", added.id, ""),
        ("bob", "name.rejected", added.id, "approved"),
        ("ann", "name.approved", added.id, "rejected"),
        ("cem", "name.approved", added.id, "approved"),
    ]


def test_what_cannot_be_decided(store: Store) -> None:
    store.run(lambda s: names.add_name(s, "one", actor="ann"))
    store.run(lambda s: names.add_name(s, "two", actor="ann"))
    for error, work in (
        (NotFoundError, lambda s: names.find_name(s, "three")),
        (NotFoundError, lambda s: names.find_name(s, "")),
        (ConfigError, lambda s: names.approve_name(s, "one", "two", actor="ann")),
        (TextError, lambda s: names.add_name(s, "☃", actor="ann")),
        (TextError, lambda s: names.add_name(s, "a" * 101, actor="ann")),
        (ConfigError, lambda s: names.add_name(s, "three", [f"x {'a' * n}" for n in range(1, 30)], actor="ann")),
        (ConfigError, lambda s: names.list_names(s, ["gone"])),
    ):
        with pytest.raises(error):
            store.run(work)
    with store.reading() as session:
        assert [name.text for name in names.list_names(session)] == ["two", "one"]


def test_a_learned_name_stays_learned_unless_it_is_spelled_otherwise(store: Store) -> None:
    name = store.run(lambda s: names.add_name(s, "tavia brunello", actor="ann"))
    store.run(
        lambda s: names.set_status(
            s, names.find_name(s, name.id), "learned", actor="learner", cause="job", reason="it is"
        )
    )
    assert store.run(lambda s: names.approve_name(s, name.id, actor="ann")).status == "learned"
    assert store.run(lambda s: names.add_name(s, "tavia brunello", actor="ann")).status == "learned"
    assert store.run(lambda s: names.approve_name(s, name.id, "tavia brunelli", actor="ann")).status == "approved"


def test_mentions_users_and_trend_are_counted_anew(store: Store) -> None:
    name = store.run(lambda s: names.add_name(s, "tavia brunello", actor="ann"))
    day = datetime.timedelta(days=1)
    for days, user in ((0.2, "a"), (0.5, "b"), (0.9, "a"), (2, "a"), (5, "c"), (30, "d")):
        heard(store, name.id, NOW - days * day, user)
    store.run(lambda s: names.recount(s, names.find_name(s, name.id), NOW))
    with store.reading() as session:
        found = names.find_name(session, name.id)
        assert (found.mentions, found.users, found.trend) == (6, 4, pytest.approx(3 / (2 / 7)))
        assert (found.first_at, found.last_at) == (NOW - 30 * day, NOW - 0.2 * day)


def test_the_revision_changes_with_what_is_served(store: Store) -> None:
    def look() -> tuple[names.Revision, list[str], int]:
        with store.reading() as session:
            found, left_out = names.approved(session, 2)
            return names.revision(session), [text for text, _ in found], left_out

    seen = [look()]
    for text in ("one", "two", "three"):
        store.run(lambda s, text=text: names.add_name(s, text, actor="ann"))
        seen.append(look())
    store.run(lambda s: names.reject_name(s, "two", actor="ann"))
    seen.append(look())
    assert len({revision for revision, _, _ in seen}) == len(seen)
    assert [(texts, left_out) for _, texts, left_out in seen] == [
        ([], 0), (["one"], 0), (["two", "one"], 0), (["three", "two"], 1), (["three", "one"], 0),
    ]  # fmt: skip
    one = store.run(lambda s: names.find_name(s, "one"))
    heard(store, one.id, NOW, "a")
    store.run(lambda s: names.recount(s, names.find_name(s, one.id), NOW))
    assert look()[1] == ["one", "three"]


def test_a_catalogue_is_imported_and_changed(store: Store) -> None:
    given = [
        Given("Tavia Brunello", "artist", 3.0),
        Given("☃"),
        Given("Odessa"),
        Given("x", "", -1.0),
        Given("odessa", "place"),
    ]
    first = store.run(lambda s: import_entities(s, given, "charts", actor="ann"))
    assert (first.added, first.updated, first.refused, first.refused_count) == (2, 0, ["☃", "x"], 2)
    with store.reading() as session:
        before = catalogue_revision(session)
        found, left_out = entities(session, 1)
    assert ([(each.name, each.kind, each.weight) for each in found], left_out) == (
        [("tavia brunello", "artist", 3.0)],
        1,
    )
    second = store.run(
        lambda s: import_entities(
            s, [Given("odessa", "place"), Given("tavia brunello", "singer")], "charts", actor="ann"
        )
    )
    assert (second.added, second.updated, second.unchanged) == (0, 1, 1)
    with store.reading() as session:
        assert catalogue_revision(session) != before
        kinds = dict(session.execute(select(CatalogueEntity.name, CatalogueEntity.kind)).all())
        assert kinds == {"tavia brunello": "singer", "odessa": "place"}
        audited = session.scalars(select(AuditEntry).where(AuditEntry.action == "names.imported")).all()
        assert [(entry.subject, entry.details["added"]) for entry in audited] == [("charts", 2), ("charts", 0)]
    with pytest.raises(ConfigError, match="at most 10000"):
        store.run(lambda s: import_entities(s, [Given("x")] * 10_001, actor="ann"))
    with pytest.raises(ConfigError, match="source"):
        store.run(lambda s: import_entities(s, [], "x" * 65, actor="ann"))


def test_a_name_is_what_the_table_says(store: Store) -> None:
    store.run(lambda s: names.add_name(s, "Zoë O'Neil", actor="ann"))
    with store.reading() as session:
        assert session.scalars(select(Name.text)).all() == ["zoe o'neil"]
