"""Nothing stays longer than it may, and of a forgotten user nothing at all."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from asr.errors import InputError
from services.store import audit, jobs
from services.store.database import Store
from services.store.errors import LeaseLostError, StoreError
from services.store.models import (
    AuditEntry,
    Base,
    BundleSource,
    Feedback,
    Forgotten,
    Job,
    Mention,
    Name,
    Query,
    Removal,
    Span,
    TrainingRow,
)
from services.store.removal import carry_out, note_copies
from services.store.retention import LAST_ARRIVAL, expire, forget, sweep
from tests.services.store.conftest import NOW, OpenStore, noise, put, query

DAY = timedelta(days=1)


def name_of(session: object, text: str, *, status: str = "watched", source: str = "heard") -> Name:
    name = Name(
        id=secrets.token_hex(16),
        text=text,
        status=status,
        spellings=[],
        source=source,
        first_at=NOW,
        last_at=NOW,
        changed_at=NOW,
    )
    session.add(name)  # type: ignore[attr-defined]
    return name


def mention(store: Store, text: str, *ids: str, **more: str) -> str:
    """A name that queries mention."""
    with store.session() as session:
        name = name_of(session, text, **more)
        session.flush()
        for query_id in ids:
            row = session.get_one(Query, query_id)
            session.add(
                Mention(
                    name_id=name.id, query_id=query_id, at=row.at, user_hash=row.user_hash, spelling=text, source="span"
                )
            )
    return name.id


def copy(store: Store, folder: Path, *ids: str, kind: str = "learn") -> Job:
    """A job that has copied queries' recordings, and is running."""
    (folder / "rows").mkdir(parents=True)
    with store.session() as session:
        jobs.enqueue(session, kind, {"names": [], "folder": str(folder)})
    job = store.run(lambda session: jobs.claim(session, "w", 600.0, kinds=[kind]))
    assert job is not None
    with store.session() as session:
        jobs.stage_done(session, job, "collected")
        for query_id in ids:
            session.add(TrainingRow(job_id=job.id, query_id=query_id, text="call anna", source="feedback"))
    for query_id in ids:
        (folder / "rows" / f"{query_id}.flac").write_bytes(b"fLaC")
    lines = [
        {"audio_filepath": f"rows/{query_id}.flac", "duration": 0.5, "text": "", "id": query_id} for query_id in ids
    ]
    other = {"audio_filepath": "spoken/1.flac", "duration": 0.5, "text": "", "id": "synthetic"}
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, other]))
    return job


def counted(store: Store) -> dict[str, int]:
    with store.reading() as session:
        tables: tuple[type[Base], ...] = (Query, Span, Feedback, Mention, TrainingRow, Removal)
        found = {table.__tablename__: session.scalar(select(func.count()).select_from(table)) for table in tables}
    return {name: count for name, count in found.items() if count} | (
        {"recordings": recordings} if (recordings := len(list(store.audio.list()))) else {}
    )


def ids_of(store: Store) -> set[str]:
    with store.reading() as session:
        return set(session.scalars(select(Query.id)))


def test_what_is_past_its_time_goes_with_its_audio_and_nothing_else(open_store: OpenStore) -> None:
    store = open_store(transcript_days=10, audio_days=20)
    old_written = query(at=NOW - 10 * DAY, consent="transcript")
    old_spoken = query(at=NOW - 20 * DAY)
    young_written = query(at=NOW - 9.9 * DAY, consent="transcript")
    young_spoken = query(at=NOW - 19.9 * DAY)
    put(store, old_written, old_spoken, young_written, young_spoken)
    counting = expire(store, NOW, dry_run=True)
    assert (counting.deleted.queries, counting.deleted.recordings, counting.deleted.spans) == (2, 1, 2)
    assert len(ids_of(store)) == 4
    done = expire(store, NOW)
    assert (done.deleted.queries, done.deleted.recordings, done.files.gone, done.strays) == (2, 1, 1, 0)
    assert ids_of(store) == {young_written.id, young_spoken.id}
    assert counted(store) == {"queries": 2, "spans": 2, "recordings": 1}
    with store.reading() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "queries.expired"))
    assert entry.details == {"queries": 2, "recordings": 1, "spans": 2}
    assert expire(store, NOW).deleted.queries == 0


def test_a_shorter_time_holds_for_what_is_there_and_a_longer_one_does_not(open_store: OpenStore) -> None:
    put(open_store(audio_days=20), query(at=NOW - 5 * DAY))
    assert expire(open_store(audio_days=100), NOW + 10 * DAY, dry_run=True).deleted.queries == 0
    assert expire(open_store(audio_days=4), NOW, dry_run=True).deleted.queries == 1
    assert expire(open_store(audio_days=100), NOW + 16 * DAY).deleted.queries == 1


def test_many_expire_in_portions(open_store: OpenStore) -> None:
    store = open_store(batch=1000, queue_size=5000)
    put(store, *(query(at=NOW - 100 * DAY, consent="transcript") for _ in range(1100)), spans=0)
    assert expire(store, NOW).deleted.queries == 1100
    assert ids_of(store) == set()


def test_recordings_without_a_query_are_swept_up_when_they_are_old(store: Store) -> None:
    [kept] = put(store, query())
    store.audio.put(noise())
    now = datetime.now(UTC)
    assert sweep(store, now) == 0, "a query may come for it"
    assert sweep(store, now + timedelta(hours=2)) == 1
    with store.reading() as session:
        ref = session.get_one(Query, kept).audio_ref
    assert [stored.ref for stored in store.audio.list()] == [ref]


def test_half_written_recordings_are_swept_up_too(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(audio=f"{tmp_path}/audio")
    (tmp_path / "audio" / "ab").mkdir(parents=True)
    (tmp_path / "audio" / "ab" / f"ab{'0' * 30}.flac.partial").write_bytes(b"fLa")
    assert sweep(store, datetime.now(UTC) + timedelta(hours=2)) == 1
    assert [path for path in (tmp_path / "audio").rglob("*") if path.is_file()] == []


def test_of_a_forgotten_user_nothing_is_left(store: Store, tmp_path: Path) -> None:
    mine = put(store, query("ann"), query("ann"), query("ann", consent="transcript"))
    theirs = put(store, query("bob"))
    with store.session() as session:
        for query_id in (*mine, *theirs):
            session.add(Feedback(query_id=query_id, at=NOW, kind="corrected", text="call anna"))
        ann, bob = store.user_hash("ann"), store.user_hash("bob")
        for bundle, user in (("b1" * 32, ann), ("b2" * 32, ann), ("b2" * 32, bob), ("b3" * 32, bob)):
            session.add(BundleSource(bundle=bundle, user_hash=user))
    alone = mention(store, "anna alone", mine[0])
    shared = mention(store, "anna shared", mine[0], mine[1], theirs[0])
    decided = mention(store, "anna decided", mine[0], status="approved")
    added = mention(store, "anna added", mine[0], source="person")
    folder = tmp_path / "job"
    job = copy(store, folder, mine[0], theirs[0])
    before = counted(store)

    counting = forget(store, "ann", dry_run=True)
    assert counted(store) == before
    done = forget(store, "ann")
    for found in (counting, done):
        rows = found.deleted
        assert (rows.queries, rows.recordings, rows.spans, rows.feedback, rows.mentions) == (3, 2, 3, 3, 5)
        assert (rows.training_rows, rows.exported) == (1, 0)
        assert found.bundles == ("b1" * 32, "b2" * 32)
        assert found.jobs == (job.id,)
    assert (done.deleted.names, done.deleted.recounted, done.files.gone) == (1, 3, 3)
    assert counted(store) == {
        "queries": 1,
        "spans": 1,
        "feedback": 1,
        "mentions": 1,
        "training_rows": 1,
        "recordings": 1,
    }
    with store.reading() as session:
        assert session.get(Name, alone) is None
        left = {name: session.get_one(Name, name) for name in (shared, decided, added)}
        assert [(left[name].mentions, left[name].users) for name in (shared, decided, added)] == [
            (1, 1),
            (0, 0),
            (0, 0),
        ]
        assert session.scalars(select(BundleSource.user_hash)).all() == [bob, bob]
        for table in Base.metadata.sorted_tables:
            rows = repr(session.execute(select(table)).all())
            assert ann not in rows or table.name == "forgotten"
    assert [path.name for path in (folder / "rows").iterdir()] == [f"{theirs[0]}.flac"]
    ids = [json.loads(line)["id"] for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert ids == [theirs[0], "synthetic"]


def test_forgetting_is_told_without_saying_whom(store: Store) -> None:
    put(store, query("ann"))
    with store.session() as session:
        session.add(BundleSource(bundle="b1" * 32, user_hash=store.user_hash("ann")))
    done = forget(store, "ann", actor="clerk")
    with store.reading() as session:
        entries = audit.trail(session, done.id)
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("clerk", "user.forgotten"),
        ("clerk", "bundle.user-forgotten"),
    ]
    assert entries[0].details == {"bundles": ["b1" * 32], "queries": 1, "recordings": 1, "spans": 1}
    assert store.user_hash("ann") not in repr([(entry.subject, entry.cause, entry.details) for entry in entries])


def test_a_job_that_learns_from_a_forgotten_user_begins_anew(store: Store, tmp_path: Path) -> None:
    [mine] = put(store, query("ann"))
    [theirs] = put(store, query("bob"))
    job = copy(store, tmp_path / "one", mine)
    forget(store, "bob")
    with store.session() as session:
        job = jobs.renew(session, job, 600.0)
    forget(store, "ann")
    with pytest.raises(LeaseLostError), store.session() as session:
        jobs.stage_done(session, job, "trained")
    with store.reading() as session:
        again = session.get_one(Job, job.id)
    assert (again.status, again.stage, again.attempts) == ("queued", "", 0)
    assert theirs not in ids_of(store)


def test_forgetting_twice_or_nobody_is_fine(store: Store) -> None:
    put(store, query("ann"))
    assert forget(store, "ann").deleted.queries == 1
    assert forget(store, "ann").deleted.queries == 0
    assert forget(store, "a stranger").bundles == ()
    with pytest.raises(InputError, match="without a name"):
        forget(store, "")


def test_that_somebody_was_forgotten_is_itself_forgotten(store: Store) -> None:
    forget(store, "ann")
    expire(store, datetime.now(UTC) + LAST_ARRIVAL / 2)
    with store.reading() as session:
        assert session.scalars(select(Forgotten.user_hash)).all() == [store.user_hash("ann")]
    expire(store, datetime.now(UTC) + LAST_ARRIVAL + DAY)
    with store.reading() as session:
        assert session.scalars(select(Forgotten)).all() == []


def test_files_that_cannot_go_now_go_later(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [mine] = put(store, query("ann"))
    folder = tmp_path / "job"
    copy(store, folder, mine)

    def fail(ref: str) -> bool:
        raise StoreError(f"{ref}: the audio store is away")

    monkeypatch.setattr(store.audio, "remove", fail)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as somebody who writes there
    done = forget(store, "ann")
    assert (done.files.gone, done.files.left) == (0, 2)
    assert counted(store) == {"removals": 2, "recordings": 1}
    monkeypatch.undo()
    os.close(descriptor)
    assert expire(store, NOW).files.gone == 2
    assert counted(store) == {}
    assert list((folder / "rows").iterdir()) == []


def test_copies_on_another_machine_wait_for_it_but_not_for_ever(store: Store, tmp_path: Path) -> None:
    [mine] = put(store, query("ann"))
    folder = tmp_path / "job"
    copy(store, folder, mine)
    folder.rename(tmp_path / "away")
    assert forget(store, "ann").files.elsewhere == 1
    (tmp_path / "away").rename(folder)
    assert carry_out(store).gone == 1
    with store.session() as session:
        session.add(Removal(kind="copy", ref=f"{tmp_path}/never/rows/1.flac", at=datetime.now(UTC) - 31 * DAY))
    assert carry_out(store).gone == 1
    assert counted(store) == {}


def test_copies_of_what_went_while_they_were_made_go_too(store: Store, tmp_path: Path) -> None:
    [mine] = put(store, query("ann"))
    copy(store, tmp_path / "job", mine)
    with store.session() as session:
        note_copies(session, tmp_path / "job", [mine])
    assert carry_out(store).gone == 1
    assert list((tmp_path / "job" / "rows").iterdir()) == []
    assert mine not in (tmp_path / "job" / "rows.jsonl").read_text()


def test_deleted_words_are_not_left_in_sqlites_files(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/dengar.db", key=bytes(32))
    put(store, query("ann", transcript="a sentence to be searched for"), audio=False)
    assert any(b"a sentence to be" in path.read_bytes() for path in tmp_path.glob("dengar.db*"))
    forget(store, "ann")
    assert not any(b"a sentence to be" in path.read_bytes() for path in tmp_path.glob("dengar.db*"))
    store.close()
