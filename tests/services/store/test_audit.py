"""The audit trail: from a query to what is served, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from asr.errors import InputError
from services.store import audit
from services.store.database import Store
from services.store.models import AuditEntry, Base


def story(session: Session) -> None:
    for action, subject, cause in (
        ("name.noticed", "name-1", "query-1"),
        ("name.noticed", "name-1", "query-2"),
        ("name.noticed", "name-2", "query-3"),
        ("name.approved", "name-1", ""),
        ("job.queued", "job-1", "name-1"),
        ("job.queued", "job-1", "name-2"),
        ("job.queued", "job-2", "name-2"),
        ("bundle.made", "bundle-1", "job-1"),
        ("bundle.gated", "bundle-1", "bundle-1"),
        ("bundle.promoted", "bundle-1", "bundle-1"),
        ("bundle.made", "bundle-2", "job-2"),
    ):
        audit.record(session, "learner", action, subject, cause)


def told(store: Store, subject: str) -> list[tuple[str, str]]:
    with store.reading() as session:
        return [(entry.action, entry.cause) for entry in audit.trail(session, subject)]


def test_a_query_leads_to_what_is_served(store: Store) -> None:
    with store.session() as session:
        story(session)
    found = told(store, "query-1")
    assert [action for action, _ in found] == [
        "name.noticed",
        "name.noticed",
        "name.approved",
        "job.queued",
        "job.queued",
        "bundle.made",
        "bundle.gated",
        "bundle.promoted",
    ]


def test_a_bundle_is_followed_back_to_its_queries_and_to_no_other_bundle(store: Store) -> None:
    with store.session() as session:
        story(session)
    found = told(store, "bundle-1")
    assert {cause for action, cause in found if action == "name.noticed"} == {"query-1", "query-2", "query-3"}
    assert [action for action, _ in found].count("bundle.made") == 1
    assert "bundle.promoted" in dict(found)


def test_ids_are_given_by_their_beginning(store: Store) -> None:
    with store.session() as session:
        audit.record(session, "me", "a.b", "abcd1111", "eeee0000")
        audit.record(session, "me", "a.b", "abcd2222")
        audit.record(session, "me", "a.b", "ab%d3333")
    with store.reading() as session:
        assert audit.find(session, "abcd1") == "abcd1111"
        assert audit.find(session, "eeee") == "eeee0000"
        assert audit.find(session, "ab%d") == "ab%d3333"
        for prefix, says in (
            ("abcd", "could be abcd1111 or abcd2222"),
            ("zzzz", "knows nothing"),
            ("abc", "too short"),
        ):
            with pytest.raises(InputError, match=says):
                audit.find(session, prefix)


@pytest.mark.parametrize(
    ("actor", "action", "subject", "cause"),
    [("", "a", "b", ""), ("a", "", "b", ""), ("a", "b", "", ""), ("a" * 129, "b", "c", ""), ("a", "b", "c", "d" * 65)],
)
def test_what_does_not_fit_is_refused(store: Store, actor: str, action: str, subject: str, cause: str) -> None:
    with store.session() as session, pytest.raises(InputError, match="an audit entry wants"):
        audit.record(session, actor, action, subject, cause)


def test_an_entry_shares_the_fate_of_its_transaction(store: Store) -> None:
    def work(session: Session) -> None:
        audit.record(session, "me", "a.b", "abcd1111")
        raise InputError("no")

    with pytest.raises(InputError):
        store.run(work)
    with store.reading() as session:
        assert session.query(AuditEntry).count() == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25))
def test_a_trail_holds_whatever_leads_there_or_follows_and_ends(edges: list[tuple[int, int]]) -> None:
    """Against reachability over all pairs, with circles."""
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    start = f"node{edges[0][0]}"
    with Session(engine) as session, session.begin():
        for subject, cause in edges:
            audit.record(session, "me", "a.b", f"node{subject}", f"node{cause}")
        session.flush()
        found = {(entry.subject, entry.cause) for entry in audit.trail(session, start)}
    causes = _reach(start, {(f"node{s}", f"node{c}") for s, c in edges})
    effects = _reach(start, {(f"node{c}", f"node{s}") for s, c in edges})
    wanted = {
        (f"node{s}", f"node{c}")
        for s, c in edges
        if f"node{s}" in causes or f"node{c}" in effects or f"node{s}" in effects
    }
    assert found == wanted


def _reach(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    reached = {start}
    while more := {to for origin, to in arrows if origin in reached} - reached:
        reached |= more
    return reached
