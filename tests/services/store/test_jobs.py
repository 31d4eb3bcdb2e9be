"""Jobs: one worker at a time, another if that one dies, and no second job for the same names."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from services.store import jobs
from services.store.database import Store
from services.store.errors import LeaseLostError
from services.store.models import AuditEntry, Job
from tests.services.crashing import ROOT
from tests.services.store.conftest import NOW

WORKER = """
import json, sys, time
from services.store import jobs
from services.store.database import Store
url, state, name = sys.argv[1:]
store = Store.open(url, key=bytes(range(32)), state=state, busy_s=60)
print("ready", flush=True)
sys.stdin.readline()
done = []
while job := store.run(lambda session: jobs.claim(session, name, 60.0), attempts=500):
    done.append(job.id)
    store.run(lambda session: jobs.finish(session, job, {"by": name}), attempts=500)
print(json.dumps(done))
"""


def enqueue(store: Store, *names: str, **more: object) -> Job | None:
    return store.run(lambda session: jobs.enqueue(session, "learn", {"names": list(names), **more}))


def claim(store: Store, worker: str = "w", at: float = 0.0, lease_s: float = 60.0) -> Job | None:
    return store.run(lambda session: jobs.claim(session, worker, lease_s, now=NOW + timedelta(seconds=at)))


def status(store: Store, job: Job) -> str:
    with store.reading() as session:
        return session.get_one(Job, job.id).status


def test_a_job_goes_from_hand_to_hand(store: Store) -> None:
    queued = enqueue(store, "n1", trigger="count")
    assert queued is not None
    job = claim(store, "worker-1")
    assert job is not None
    assert (job.id, job.status, job.attempts, job.stage) == (queued.id, "running", 1, "")
    assert job.params == {"names": ["n1"], "trigger": "count"}
    assert job.worker.startswith("worker-1/")
    assert job.lease_until == NOW + timedelta(seconds=60)
    assert claim(store) is None
    with store.session() as session:
        job = jobs.stage_done(session, job, "spoken", {"rows": 5})
    with store.session() as session:
        job = jobs.renew(session, job, 60.0, now=NOW + timedelta(seconds=50))
    assert claim(store, at=100) is None, "it was renewed"
    with store.session() as session:
        job = jobs.finish(session, job, {"bundle": "b"})
    assert (job.status, job.stage, job.result) == ("done", "spoken", {"rows": 5, "bundle": "b"})
    assert claim(store, at=1000) is None
    with store.reading() as session:
        said = [(entry.action, entry.cause) for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert said == [("job.queued", "n1"), ("job.claimed", job.id), ("job.done", job.id)]


def test_open_names_get_no_second_job(store: Store) -> None:
    first = enqueue(store, "n1", "n2")
    assert first is not None
    assert enqueue(store, "n2", "n1") is None
    second = enqueue(store, "n2", "n3", "n3")
    assert second is not None
    assert second.params["names"] == ["n3"]
    claim(store)
    assert enqueue(store, "n1") is None, "a running job is open too"
    with store.session() as session:
        jobs.stop(session, first.id, "me", "no need")
    assert enqueue(store, "n1") is not None


def test_a_job_without_names_is_the_same_as_another_without(store: Store) -> None:
    assert enqueue(store, trigger="drift") is not None
    assert enqueue(store, trigger="schedule") is None
    assert enqueue(store, "n1") is not None


def test_the_oldest_comes_first(store: Store) -> None:
    ids = [job.id for n in range(3) if (job := enqueue(store, f"n{n}"))]
    claimed = [claim(store) for _ in range(3)]
    assert [job.id for job in claimed if job] == ids


def test_a_lost_lease_goes_to_the_next_worker_at_the_stage_that_was_reached(store: Store) -> None:
    enqueue(store, "n1")
    slow = claim(store, "slow")
    assert slow is not None
    with store.session() as session:
        slow = jobs.stage_done(session, slow, "spoken", {"rows": 5})
    assert claim(store, at=59) is None
    quick = claim(store, "quick", at=61)
    assert quick is not None
    assert (quick.id, quick.attempts, quick.stage, quick.result) == (slow.id, 2, "spoken", {"rows": 5})
    for late in (
        lambda session: jobs.renew(session, slow, 60.0),
        lambda session: jobs.stage_done(session, slow, "trained"),
        lambda session: jobs.finish(session, slow),
        lambda session: jobs.fail(session, slow, "no luck"),
    ):
        with pytest.raises(LeaseLostError, match="was given to another worker") as error:
            store.run(late)
        assert error.value.status == "running"
    with store.session() as session:
        jobs.finish(session, quick)


def test_a_worker_that_takes_the_same_job_again_is_not_mistaken_for_itself(store: Store) -> None:
    enqueue(store, "n1")
    first, again = claim(store, "w"), claim(store, "w", at=61)
    assert first is not None
    assert again is not None
    with pytest.raises(LeaseLostError), store.session() as session:
        jobs.renew(session, first, 60.0)
    with store.session() as session:
        jobs.renew(session, again, 60.0)


def test_attempts_are_bounded(store: Store) -> None:
    job = enqueue(store, "n1")
    assert job is not None
    for n in range(jobs.MAX_ATTEMPTS):
        assert claim(store, at=100 * n) is not None
    assert claim(store, at=1000) is None
    assert status(store, job) == "failed"
    with store.reading() as session:
        assert "given up after 3 attempts" in session.get_one(Job, job.id).error
    assert enqueue(store, "n1") is not None, "its names are free again"


def test_a_job_may_fail_and_be_tried_again(store: Store) -> None:
    enqueue(store, "n1")
    for n in range(jobs.MAX_ATTEMPTS):
        job = claim(store)
        assert job is not None
        with store.session() as session:
            failed = jobs.fail(session, job, "the disk is full", again=True)
        assert failed.status == ("queued" if n + 1 < jobs.MAX_ATTEMPTS else "failed")
        assert failed.error == "the disk is full"
    assert claim(store) is None


def test_a_stopped_job_is_lost_to_its_worker(store: Store) -> None:
    enqueue(store, "n1")
    job = claim(store)
    assert job is not None
    with store.session() as session:
        assert jobs.stop(session, job.id, "me", "wrong name")
    with pytest.raises(LeaseLostError, match="is stopped") as error, store.session() as session:
        jobs.renew(session, job, 60.0)
    assert error.value.status == "stopped"
    with store.session() as session:
        assert not jobs.stop(session, job.id, "me")
        assert not jobs.stop(session, "none", "me")


def test_a_job_that_begins_anew_forgets_its_stages(store: Store) -> None:
    enqueue(store, "n1")
    job = claim(store)
    assert job is not None
    with store.session() as session:
        jobs.stage_done(session, job, "spoken", {"rows": 5})
    with store.session() as session:
        assert jobs.restart(session, job.id, "privacy")
    with pytest.raises(LeaseLostError), store.session() as session:
        jobs.finish(session, job)
    again = claim(store)
    assert again is not None
    assert (again.id, again.stage, again.result, again.attempts) == (job.id, "", {}, 1)


def test_only_jobs_of_its_kind_are_given_to_a_worker(store: Store) -> None:
    store.run(lambda session: jobs.enqueue(session, "other", {}))
    assert claim(store) is None


def test_several_processes_share_the_jobs_and_none_is_done_twice(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    ids = {job.id for n in range(40) if (job := enqueue(store, f"n{n}"))}
    command = [sys.executable, "-c", WORKER, database_url, str(tmp_path / "state")]
    running = [
        subprocess.Popen([*command, f"w{n}"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    done = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    counted = collections.Counter(job for each in done for job in each)
    assert counted == dict.fromkeys(ids, 1)
    with store.reading() as session:
        found = {job.id: (job.status, job.attempts, job.result["by"]) for job in session.scalars(select(Job))}
    assert found == {job: ("done", 1, f"w{n}") for n, each in enumerate(done) for job in each}


def test_several_threads_enqueue_the_same_names_once(store: Store) -> None:
    import threading

    made: list[Job | None] = []
    threads = [threading.Thread(target=lambda: made.append(enqueue(store, "n1", "n2"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(job is not None for job in made) == 1
