"""Retention without anybody thinking of it."""

from __future__ import annotations

import time

import pytest

from services.store.database import Store
from services.store.errors import StoreError
from services.store.housekeeping import Housekeeping
from tests.services.store.conftest import NOW, put, query
from tests.services.store.test_retention import ids_of


def _until(done: object) -> None:
    deadline = time.monotonic() + 60
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_past_its_time_goes_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (young,) = put(store, query())
    put(store, query(at=NOW.replace(year=2000)))
    keeping = Housekeeping(store, every_s=0.01)
    _until(lambda: keeping.deleted)
    assert ids_of(store) == {young}

    def fail() -> None:
        raise StoreError("the audio store is away")

    monkeypatch.setattr(store.audio, "list", fail)
    _until(lambda: keeping.failures > 1)
    monkeypatch.undo()
    rounds, failures = keeping.rounds, keeping.failures
    _until(lambda: keeping.rounds > rounds + 2)
    assert keeping.failures <= failures + 1, "it goes on afterwards"
    keeping.close()
    rounds = keeping.rounds
    time.sleep(0.05)
    assert keeping.rounds == rounds


def test_it_can_be_left_to_others(store: Store) -> None:
    put(store, query(at=NOW.replace(year=2000)))
    keeping = Housekeeping(store, every_s=0)
    keeping.close()
    assert keeping.rounds == 0
    assert len(ids_of(store)) == 1
