"""Quotas against what they promise, with time moved by the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recognizer.quotas import Account, Quotas, Recent, TokenBucket, current_account
from services.recognizer.status import QuotaError


@given(st.integers(1, 50), st.lists(st.floats(0, 5), max_size=200))
def test_a_bucket_lets_through_its_rate_and_one_burst(per_minute: int, pauses: list[float]) -> None:
    now = [0.0]
    bucket = TokenBucket(per_minute, lambda: now[0])
    taken = 0
    for pause in pauses:
        now[0] += pause
        wait_s = bucket.wait_s()
        if wait_s == 0:
            bucket.take()
            taken += 1
        else:
            now[0] += wait_s + 1e-9  # what it says is enough
            assert bucket.wait_s() < 1e-6
        assert taken <= per_minute * (1 + now[0] / 60) + 1e-6


@given(st.integers(1, 20), st.lists(st.integers(0, 40), max_size=200))
def test_recent_is_bounded_and_keeps_who_is_needed(size: int, callers: list[int]) -> None:
    recent = Recent(lambda caller: Account(caller, Quotas()), size, lambda account: account.streams > 0)
    recent["busy"].enter()
    busy = recent["busy"]
    for caller in callers:
        recent[str(caller)].enter()
        recent[str(caller)].leave()
        assert len(recent) <= max(size, 2)
    assert recent["busy"] is busy


def test_the_audio_of_a_day_counts_from_midnight() -> None:
    now = [86_400.0 * 100 - 10]
    account = Account("a", Quotas(audio_s_per_day=5), now=lambda: now[0])
    account.heard(4)
    account.heard(4)
    assert account.heard_s == 8
    for step in (account.enter, lambda: account.heard(1)):
        with pytest.raises(QuotaError) as caught:
            step()
        assert (caught.value.cause, caught.value.retry_after_s) == ("audio", 10.0)
    now[0] += 10
    account.enter()
    account.heard(1)
    assert account.heard_s == 1


def test_outside_of_a_guarded_call_nothing_is_bounded() -> None:
    for _ in range(3):
        account = current_account()
        account.heard(1e9)  # raises where there is a bound
        assert account.quotas == Quotas()
