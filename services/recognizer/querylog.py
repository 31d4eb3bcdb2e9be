"""What is kept of an answered query: looked through and handed to the store's log, never in the way of answers.

A query waits here for one thread of low priority, which estimates its signal-to-noise ratio and looks for unknown words
in its posteriors, and then in `services.store.queries.QueryLog` for its transaction. If too many wait, nothing is kept
of the next one, which is counted, and its answer carries no query id.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from asr.audio import Samples
from asr.snr import estimate_snr_db
from services.recognizer.session import Hypothesis, Recognizer, joined
from services.recognizer.shadow import lower_priority
from services.store.queries import QueryLog
from services.store.records import QueryRecord, SpanRecord

MOST_WAITING = 64
MOST_WAITING_BYTES = 64 * 2**20
"""Queries that may wait to be looked through, and the audio that they may hold together."""
log = logging.getLogger("dengar.querylog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A query whose answer is ready.

    Attributes:
        consent: ``transcript`` or ``audio``.
        user: as the application names them.
        owner: name of the API key; empty where there are none.
        hypotheses: of the answer, best first.
        recognizer: that answered.
        stream: its stream, used up, with posteriors.
        recorded: pieces of what was heard; see `services.recognizer.session.joined`.
        role: of the bundle, ``live`` or ``candidate``.
        audio_s: seconds heard.
        latency_s: from half-close or endpoint to the answer; None where nobody waited.
    """

    consent: str
    user: str
    owner: str
    hypotheses: Sequence[Hypothesis]
    recognizer: Recognizer
    stream: Any
    recorded: Sequence[npt.NDArray[np.int16]]
    role: str
    audio_s: float
    latency_s: float | None

    @property
    def nbytes(self) -> int:
        """Of its audio."""
        return sum(piece.nbytes for piece in self.recorded)


class FindSpans(Protocol):
    """Finds what is unknown in an answer; see `services.recognizer.spans.SpanFinder`."""

    def __call__(self, recognizer: Recognizer, stream: Any, best: Hypothesis, /) -> Sequence[SpanRecord]: ...


_Waiting: TypeAlias = "tuple[str, datetime, Answered]"


class QueryKeeper:
    """Looks through answered queries and hands them to the log.

    Args:
        queries: the store's log; `close` leaves it open.
        find: finds unknown words.
        on_spans: called with how many were found in a query.

    Attributes:
        left_out: queries of which nothing was kept, because too many waited here.
        not_searched: queries that were kept without a search for unknown words, because it failed.
    """

    def __init__(self, queries: QueryLog, find: FindSpans, on_spans: Callable[[int], None] = lambda _: None) -> None:
        self._queries, self._find, self._on_spans = queries, find, on_spans
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="querylog", initializer=lower_priority)
        self._waiting: dict[str, int] = {}
        self._changed = threading.Condition()
        self._closed = False
        self.left_out = self.not_searched = 0

    @property
    def waiting(self) -> int:
        """Queries that are not handed to the log yet."""
        return len(self._waiting)

    def keep(self, answered: Answered) -> str:
        """Takes a query and gives it its id; empty if nothing of it is kept. Never waits, never raises."""
        size = answered.nbytes
        with self._changed:
            held = sum(self._waiting.values())
            too_much = bool(self._waiting) and held + size > MOST_WAITING_BYTES
            if self._closed or len(self._waiting) >= MOST_WAITING or too_much:
                self.left_out += 1
                return ""
            query_id = secrets.token_hex(16)
            self._waiting[query_id] = size
            self._pool.submit(self._handle, (query_id, datetime.now(UTC), answered))
        return query_id

    def settled(self, query_id: str, timeout_s: float) -> bool:
        """Waits until a query is in the store or never will be; False if it still waits then. Blocks."""
        until = time.monotonic() + timeout_s
        with self._changed:
            if not self._changed.wait_for(lambda: query_id not in self._waiting, timeout_s):
                return False
        return self._queries.wait(query_id, max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Hands over what waits, and ends."""
        with self._changed:
            self._closed = True
        self._pool.shutdown()

    def _handle(self, waiting: _Waiting) -> None:
        query_id, at, answered = waiting
        try:
            samples = joined(answered.recorded)
            spans = self._spans(answered)
            self._queries.put(
                record_of(query_id, at, answered, samples), samples if answered.consent == "audio" else None, spans
            )
            self._on_spans(len(spans))
        except Exception:
            log.exception("a query could not be kept")
            with self._changed:
                self.left_out += 1
        finally:
            with self._changed:
                del self._waiting[query_id]
                self._changed.notify_all()

    def _spans(self, answered: Answered) -> Sequence[SpanRecord]:
        try:
            return self._find(answered.recognizer, answered.stream, answered.hypotheses[0])
        except Exception:
            log.exception("a query is kept without a search for unknown words")
            with self._changed:
                self.not_searched += 1
            return ()


def record_of(query_id: str, at: datetime, answered: Answered, samples: Samples) -> QueryRecord:
    """What the store keeps of a query.

    Args:
        query_id: of it.
        at: when it was answered.
        answered: the query.
        samples: what was heard, shape (T,), at 16 kHz.
    """
    best = answered.hypotheses[0]
    words = best.words
    return QueryRecord(
        id=query_id,
        at=at,
        user=answered.user,
        owner=answered.owner,
        consent=answered.consent,
        transcript=best.text,
        confidence=best.confidence,
        nbest=[{"text": each.text, "confidence": round(each.confidence, 4)} for each in answered.hypotheses],
        words=[
            {
                "word": each.word,
                "start_s": round(each.start_s, 3),
                "end_s": round(each.end_s, 3),
                "confidence": round(each.confidence, 4),
            }
            for each in words
        ],
        bundle=answered.recognizer.bundle_hash,
        role=answered.role,
        audio_s=answered.audio_s,
        snr_db=estimate_snr_db(samples, words[0].start_s, words[-1].end_s) if words else None,
        latency_s=answered.latency_s,
    )
