"""The query log: what a server answered, written beside the answering and never in its way.

`QueryLog.put` takes a query from whatever thread or event loop and comes back at once. One thread writes what was put,
many queries in one transaction. What cannot be written is dropped and counted by cause: answers come before their log.

**What is promised.** An answer carries its query's id before the query is written. It is committed, to the disk,
within `StoreConfig.commit_ms` and the time of one transaction if the database keeps up; `QueryLog.lag_s` is the age of
the oldest that is not. A process that is killed loses what it had not committed, and nothing else: each query is there
with its spans and, if its consent says so, its audio, or not there at all. `QueryLog.wait` says when one is committed,
so that what is said about it later (feedback) finds it, and is itself committed before its call returns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy

from asr.audio import Samples
from services.store.database import Store
from services.store.engines import is_full
from services.store.errors import StoreError
from services.store.records import Outcome, QueryRecord, SpanRecord, Waiting, write

log = logging.getLogger("dengar.store")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class LogCounters:
    """What became of the queries since the log was opened.

    Attributes:
        written: committed.
        recordings: of those, with audio.
        dropped: by cause: ``full`` (too many waited), ``failed`` (the database did not recover in time), ``disk full``,
            ``invalid`` (the database refuses this one), ``consent`` (there was none), ``forgotten`` (its user was
            forgotten meanwhile), ``closed``.
        recordings_lost: queries written without their audio, because the audio store failed.
        failures: attempts to write that failed, whether or not a later one succeeded.
        waiting: put and not yet committed or dropped.
        lag_s: age of the oldest of these, in seconds; 0 if there is none.
    """

    written: int
    recordings: int
    dropped: dict[str, int]
    recordings_lost: int
    failures: int
    waiting: int
    lag_s: float


class QueryLog:
    """Writes queries to a store; made when a server starts, closed when it has drained.

    Args:
        store: open; its configuration bounds what waits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._config = store.config
        self._queue: deque[Waiting] = deque()
        self._queued_bytes = 0
        self._pending: dict[str, float] = {}  # id -> when it was put; the first is the oldest
        self._changed = threading.Condition()
        self._hurry = 0
        self._closing = False
        self._give_up_at = float("inf")
        self._dropped: Counter[str] = Counter()
        self._written = self._recordings = self._recordings_lost = self._failures = 0
        self._thread = threading.Thread(target=self._work, name="dengar-query-log", daemon=True)
        self._thread.start()

    def put(self, record: QueryRecord, audio: Samples | None = None, spans: Sequence[SpanRecord] = ()) -> bool:
        """Takes a query to be written; never waits, never raises, whether it was taken.

        Args:
            record: of it. Without consent nothing is kept.
            audio: shape (T,), mono float32 at 16 kHz, not to be changed afterwards; kept if the consent is ``audio``.
            spans: where it holds something unknown.
        """
        keeps_audio = record.consent == "audio" and audio is not None and len(audio) > 0
        waiting = Waiting(
            record, self._store.user_hash(record.user), audio if keeps_audio else None, tuple(spans), time.monotonic()
        )
        with self._changed:
            cause = self._refusal(waiting)
            if cause:
                self._dropped[cause] += 1
                return False
            self._queue.append(waiting)
            self._queued_bytes += waiting.size
            self._pending[record.id] = waiting.put_at
            self._changed.notify_all()
        return True

    def wait(self, query_id: str, timeout_s: float = 5.0) -> bool:
        """Waits until a query that was put is committed or dropped; False if it still waits then.

        Blocks; and is over at once for a query that this log does not have (any more).
        """
        return self._until(lambda: query_id not in self._pending, timeout_s)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until all that was put before is committed or dropped; False if some of it still waits then. Blocks."""
        with self._changed:
            before = set(self._pending)
        return self._until(lambda: before.isdisjoint(self._pending), timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what waits and ends; what is not written by then is dropped, and counted as ``closed``. Blocks."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + self._config.busy_s + 1.0)
        with self._changed:
            self._settle(list(self._queue), "closed")
            self._queue.clear()

    @property
    def lag_s(self) -> float:
        """Age of the oldest query that is neither committed nor dropped; 0 if there is none."""
        with self._changed:
            return self._lag_s()

    def counters(self) -> LogCounters:
        """What became of the queries so far."""
        with self._changed:
            return LogCounters(
                self._written,
                self._recordings,
                dict(self._dropped),
                self._recordings_lost,
                self._failures,
                len(self._pending),
                self._lag_s(),
            )

    def _lag_s(self) -> float:
        oldest = next(iter(self._pending.values()), None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def _refusal(self, waiting: Waiting) -> str:
        """Why a query is not taken; empty if it is."""
        if waiting.record.consent not in ("transcript", "audio"):
            return "consent"
        if self._closing:
            return "closed"
        if waiting.record.id in self._pending:
            return "invalid"
        too_many = len(self._pending) >= self._config.queue_size
        too_much = bool(self._queue) and self._queued_bytes + waiting.size > self._config.queue_mb * 1e6
        return "full" if too_many or too_much else ""

    def _until(self, done: object, timeout_s: float) -> bool:
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(done, timeout_s)  # type: ignore[arg-type]
            finally:
                self._hurry -= 1

    # --- The writer's thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        while batch := self._take():
            try:
                self._write(batch)
            except Exception:
                log.exception("the query log dropped %d queries", len(batch))
                self._finish(batch, "failed")

    def _take(self) -> list[Waiting]:
        """The next queries to be written together; empty when the log is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return []
            ready_at = self._queue[0].put_at + self._config.commit_ms / 1000
            self._changed.wait_for(
                lambda: len(self._queue) >= self._config.batch or self._hurry or self._closing,
                max(0.0, ready_at - time.monotonic()),
            )
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._config.batch))]
            self._queued_bytes -= sum(waiting.size for waiting in batch)
            return batch

    def _write(self, batch: list[Waiting]) -> None:
        """Writes a batch, tries again while the database fails, and drops it if that takes too long."""
        give_up_at, pause_s = time.monotonic() + self._config.retry_s, FIRST_PAUSE_S
        while True:
            try:
                outcome = write(self._store, batch)
            except (sqlalchemy.exc.SQLAlchemyError, StoreError, ValueError, TypeError) as error:
                with self._changed:
                    self._failures += 1
                    first = self._failures
                if not isinstance(error, StoreError) or _is_about_values(error):
                    self._write_one_by_one(batch, error)
                    return
                if first == 1 or pause_s >= LONGEST_PAUSE_S:
                    log.warning("queries wait to be written: %s", error)
                now = time.monotonic()
                if now + pause_s > min(give_up_at, self._give_up_at):
                    log.error("%d queries are dropped: %s", len(batch), error)
                    cause = "closed" if self._give_up_at < give_up_at else "disk full" if _is_full(error) else "failed"
                    self._finish(batch, cause)
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._finish(batch, "", outcome)
                return

    def _write_one_by_one(self, batch: list[Waiting], error: Exception) -> None:
        """One of them cannot be written, whatever the database's state; the others can."""
        if len(batch) > 1:
            for waiting in batch:
                self._write([waiting])
            return
        log.error("a query is dropped, the database refuses it: %s", type(error).__name__)
        self._finish(batch, "invalid")

    def _finish(self, batch: list[Waiting], cause: str, outcome: Outcome | None = None) -> None:
        with self._changed:
            if outcome is None:
                self._settle(batch, cause)
                return
            self._settle([waiting for waiting in batch if waiting.record.id in outcome.forgotten], "forgotten")
            kept = [waiting for waiting in batch if waiting.record.id not in outcome.forgotten]
            self._written += len(kept)
            self._recordings += sum(bool(waiting.audio_ref) for waiting in kept)
            self._recordings_lost += sum(waiting.audio is not None and not waiting.audio_ref for waiting in kept)
            self._settle(kept, "")

    def _settle(self, batch: Sequence[Waiting], cause: str) -> None:
        """Lets those go who wait for these; with the lock held."""
        for waiting in batch:
            self._pending.pop(waiting.record.id, None)
        if cause and batch:
            self._dropped[cause] += len(batch)
        self._changed.notify_all()


def _is_full(error: BaseException) -> bool:
    return is_full(error.__cause__ or error)


def _is_about_values(error: StoreError) -> bool:
    """Whether a database refuses what it was given, so that trying again does not help."""
    return isinstance(error.__cause__, (sqlalchemy.exc.DataError, sqlalchemy.exc.ProgrammingError))


__all__ = ["LogCounters", "QueryLog", "QueryRecord", "SpanRecord"]
