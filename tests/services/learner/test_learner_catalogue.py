"""A catalogue that comes after the names were heard: it spells and approves them, once, whole or not at all."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update

from services.learner.candidates import Noticer
from services.learner.catalogue import Given, import_entities
from services.learner.config import LearnerConfig
from services.learner.mentions import entities_waiting
from services.learner.noticed import Noticed
from services.store.database import Store
from services.store.models import CatalogueEntity, Mention, Name, Span
from tests.services.crashing import crash
from tests.services.learner.heard import HOUR, KNOWN, T0, hear, query_id, say

NOW = T0 + 30 * HOUR
NAME, OTHERS = "ewa kowalczyk", ("brent ozar", "olga tokarczuk", "unai emery")
SPELLINGS = ("koval chick", "kowalchik", "koval cheek", "covalchik")
CRASH_POINTS = ("learner.catalogue-matched",)


def noticer(**sections: object) -> Noticer:
    return Noticer(LearnerConfig(**sections), KNOWN)  # type: ignore[arg-type]


def imported(store: Store, *names: str, at: datetime.datetime = NOW - HOUR) -> None:
    """A catalogue that came at a time."""
    with store.session() as session:
        import_entities(session, [Given(name) for name in names], actor="tess")
        session.execute(update(CatalogueEntity).values(at=at))


def heard_by_many(store: Store, count: int = 8) -> None:
    with store.session() as session:
        for number in range(count):
            hear(session, number, SPELLINGS[number % 4])


def state(store: Store) -> list[tuple[object, ...]]:
    with store.reading() as session:
        rows: list[tuple[object, ...]] = [
            (n.id, n.text, n.status, tuple(n.spellings), n.source, n.mentions, n.users, n.reason)
            for n in session.scalars(select(Name).order_by(Name.id))
        ]
        rows += [
            (m.name_id, m.query_id, m.spelling, m.source, m.span_id)
            for m in session.scalars(select(Mention).order_by(Mention.name_id, Mention.query_id))
        ]
        rows += [(s.id, str(s.proposals)) for s in session.scalars(select(Span).order_by(Span.id))]
        return rows


def test_a_catalogue_that_comes_later_spells_and_approves_what_was_heard(store: Store) -> None:
    heard_by_many(store)
    own = noticer()
    own.run(store, NOW - 2 * HOUR)
    with store.reading() as session:
        assert NAME not in session.scalars(select(Name.text)).all()
        assert "approved" not in session.scalars(select(Name.status)).all()
    imported(store, NAME, *OTHERS)
    found = own.run(store, NOW)
    assert (found.entities, found.explained_late, found.mentions, len(found.approved)) == (4, 8, 0, 1)
    with store.reading() as session:
        name = session.scalars(select(Name)).one()
        assert (name.text, name.status, name.source, name.mentions, name.users) == (NAME, "approved", "catalogue", 8, 8)
        assert "in the catalogue, as the spans of 8 users have it" in name.reason
        assert entities_waiting(session) == 0


def test_looking_again_changes_nothing(store: Store) -> None:
    heard_by_many(store)
    imported(store, NAME, *OTHERS)
    own = noticer()
    own.run(store, NOW)
    before = state(store)
    assert own.run(store, NOW) == Noticed()
    with store.session() as session:
        session.execute(update(CatalogueEntity).values(matched=False))
    again = noticer().run(store, NOW)
    assert (again.entities, again.explained_late, again.mentions) == (4, 0, 0)
    assert state(store) == before


def test_what_comes_now_waits_until_servers_know_it_and_is_taken_in_batches(sqlite_store: Store) -> None:
    heard_by_many(sqlite_store)
    imported(sqlite_store, *OTHERS, NAME, "virat kohli", at=NOW)
    own = noticer(cluster={"batch": 2})
    assert own.run(sqlite_store, NOW).entities == 0
    later = NOW + datetime.timedelta(minutes=1)
    taken = [own.run(sqlite_store, later) for _ in range(4)]
    assert [found.entities for found in taken] == [2, 2, 1, 0]
    assert [found.explained_late for found in taken] == [0, 8, 0, 0]


def test_an_entry_explains_also_what_is_spelled_in_known_words(sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        for number in range(6):
            hear(session, number, ("gzhegosh", "gregosh brenchik", "cow all chick")[number % 3])
    own = noticer(cluster={"catalogue": 0.3})
    own.run(sqlite_store, NOW)
    with sqlite_store.reading() as session:
        before = len(session.scalars(select(Name)).all())
        assert len(session.scalars(select(Mention)).all()) == 4  # known words are no name
    assert before == 2
    imported(sqlite_store, "kowalchik", *OTHERS)
    found = own.run(sqlite_store, NOW)
    assert (found.explained_late, found.new, found.mentions) == (2, 1, 2)
    with sqlite_store.reading() as session:
        name = session.scalars(select(Name).where(Name.text == "kowalchik")).one()
        assert (name.source, name.mentions) == ("catalogue", 2)


def test_what_is_explained_already_or_by_its_user_is_left_alone(sqlite_store: Store) -> None:
    with sqlite_store.session() as session:
        hear(session, 0, "kowalchik", proposals=[("kovalchuk", 0.9)])
        hear(session, 1, "kowalchik")
        say(session, 1, "accepted")
        hear(session, 2, "kowalchik")
        say(session, 2, "corrected", "who is kovalchek")
        hear(session, 3, "kowalchik", at=NOW - datetime.timedelta(days=20))
        hear(session, 4, "kowalchik", role="candidate")
        hear(session, 5, "kowalchik", proposals=[("kovalchuk", 0.2)])
    imported(sqlite_store, "kowalczyk")
    assert noticer().run(sqlite_store, NOW).explained_late == 1
    with sqlite_store.reading() as session:
        best = {span.query_id: [each["name"] for each in span.proposals] for span in session.scalars(select(Span))}
    assert best[query_id(5)] == ["kowalczyk"]
    assert [best[query_id(number)] for number in range(5)] == [["kovalchuk"], [], [], [], []]


def test_blocked_entries_explain_nothing(sqlite_store: Store) -> None:
    heard_by_many(sqlite_store)
    imported(sqlite_store, "lalala kowalczyk")
    found = noticer().run(sqlite_store, NOW)
    assert (found.entities, found.explained_late) == (1, 0)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_batch_is_whole_or_not_there(point: str, sqlite_store: Store, tmp_path: Path) -> None:
    heard_by_many(sqlite_store)
    noticer().run(sqlite_store, NOW - 2 * HOUR)
    before = state(sqlite_store)
    imported(sqlite_store, NAME, *OTHERS)
    code = (
        "import datetime, sys\nfrom services.store.database import Store\n"
        "from services.learner.candidates import Noticer\nfrom services.learner.config import LearnerConfig\n"
        "store = Store.open(sys.argv[1], key=bytes(range(32)), state=sys.argv[2])\n"
        "Noticer(LearnerConfig(), set(sys.argv[3].split())).run(store, datetime.datetime.fromisoformat(sys.argv[4]))"
    )
    url = f"sqlite:///{tmp_path / 'only.db'}"
    crash(point, code, url, str(tmp_path / "state"), " ".join(sorted(KNOWN)), NOW.isoformat())
    assert state(sqlite_store) == before
    with sqlite_store.reading() as session:
        assert entities_waiting(session) == 4
    assert len(noticer().run(sqlite_store, NOW).approved) == 1


def test_two_workers_take_a_batch_once(sqlite_store: Store) -> None:
    from services.learner import rematch

    heard_by_many(sqlite_store)
    own = noticer()
    own.run(sqlite_store, NOW)
    imported(sqlite_store, NAME)
    with sqlite_store.reading() as session:
        batch = rematch.read(session, own.config, frozenset(), NOW)
    assert batch is not None
    assert noticer().run(sqlite_store, NOW).explained_late == 8
    with sqlite_store.session() as session:
        assert not rematch.strike_out(session, batch)
