"""An open store in each database, and queries to put into it."""

from __future__ import annotations

import datetime
import itertools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from asr.unknown.types import Proposal, Spelling, UnknownSpan
from services.store.database import Store
from services.store.queries import QueryLog, QueryRecord, SpanRecord

KEY = bytes(range(32))
NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)

OpenStore = Callable[..., Store]


@pytest.fixture
def open_store(database_url: str, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the test's store, as often as wanted; settings as for `Store.open`."""
    opened: list[Store] = []

    def open_(**settings: object) -> Store:
        defaults = {"key": KEY, "state": str(tmp_path / "state"), "commit_ms": 5.0}
        opened.append(Store.open(database_url, **{**defaults, **settings}))  # type: ignore[arg-type]
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


def query(
    user: str = "ann", *, consent: str = "audio", at: datetime.datetime | None = None, **more: object
) -> QueryRecord:
    fields = {
        "id": secrets.token_hex(16),
        "at": at or datetime.datetime.now(datetime.UTC),
        "user": user,
        "consent": consent,
        "transcript": "call anna",
        "confidence": 0.75,
        "nbest": [{"text": "call anna", "confidence": 0.75}, {"text": "call hannah", "confidence": 0.2}],
        "words": [{"word": "call", "start_s": 0.1, "end_s": 0.4, "confidence": 0.9}],
        "bundle": "b" * 64,
        "audio_s": 0.5,
    }
    return QueryRecord(**{**fields, **more})  # type: ignore[arg-type]


def noise(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, int(16_000 * seconds))
    return (np.rint(samples * 32767) / 32768).astype(np.float32)


def span(heard: str = "anna") -> SpanRecord:
    unknown = UnknownSpan(
        0.5, 0.9, (heard,), ("call",), (), (Spelling("anja", -0.1), Spelling("anya", -2.4)), "AnjA", 0.9
    )
    return SpanRecord(unknown, (Proposal("anja", 0.1, 0.8),))


def put(store: Store, *records: QueryRecord, audio: bool = True, spans: int = 1) -> list[str]:
    """Writes queries and returns their ids."""
    log = QueryLog(store)
    for record, seed in zip(records, itertools.count()):
        assert log.put(record, noise(seed=seed) if audio else None, [span()] * spans)
    assert log.flush(30)
    log.close()
    assert log.counters().written == len(records), log.counters()
    return [record.id for record in records]
