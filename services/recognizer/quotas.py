"""What one caller may use, and what it has used: streams at once, requests per minute, audio per day.

Counts live in memory: they begin anew with the process, and each process counts its own.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Generic, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from services.recognizer.status import QuotaError

DAY_S = 86_400
STREAM_RETRY_S = 1.0
Clock = Callable[[], float]
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Quotas:
    """Bounds of one caller; None is unbounded.

    Attributes:
        streams: calls at once.
        requests_per_minute: calls begun, evenly or in a burst.
        audio_s_per_day: seconds of audio heard in one day (UTC).
    """

    streams: Annotated[int, Field(ge=1)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    audio_s_per_day: Annotated[float, Field(gt=0)] | None = None


class TokenBucket:
    """At most `per_minute` events a minute, of which all may come at once (the usual token bucket)."""

    def __init__(self, per_minute: int, clock: Clock = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._tokens, self._when = float(per_minute), clock()

    def wait_s(self) -> float:
        """Seconds until the next event is allowed; 0 if it is now."""
        now = self._clock()
        self._tokens = min(self.per_minute, self._tokens + (now - self._when) * self.per_minute / 60)
        self._when = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) * 60 / self.per_minute

    def take(self) -> None:
        """Counts one event."""
        self.wait_s()
        self._tokens = max(0.0, self._tokens - 1)


class Account:
    """One caller's use. Safe to share between threads.

    Args:
        name: of the key, or the caller's address.
        quotas: bounds; may be replaced at any time.
        clock: seconds that only grow.
        now: seconds since 1970.
    """

    def __init__(
        self, name: str, quotas: Quotas, clock: Clock = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self.quotas = quotas
        self.streams = 0
        self._clock, self._now = clock, now
        self._requests: TokenBucket | None = None
        self._day, self._heard_s = -1, 0.0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Admits a call, which must end with `leave`.

        Raises:
            QuotaError: a quota is used up.
        """
        with self._lock:
            quotas = self.quotas
            if quotas.streams is not None and self.streams >= quotas.streams:
                raise QuotaError(
                    f"{self.name} has {self.streams} calls running, of at most {quotas.streams}; end one first",
                    "streams",
                    STREAM_RETRY_S,
                )
            self._check_audio()
            bucket = self._bucket()
            if bucket is not None:
                wait_s = bucket.wait_s()
                if wait_s > 0:
                    raise QuotaError(
                        f"{self.name} has made its {bucket.per_minute} requests of this minute; "
                        f"try again in {math.ceil(wait_s)} s",
                        "requests",
                        wait_s,
                    )
                bucket.take()
            self.streams += 1

    def leave(self) -> None:
        """Ends what `enter` admitted."""
        with self._lock:
            self.streams -= 1

    def heard(self, seconds: float) -> None:
        """Counts audio of a running call.

        Args:
            seconds: of audio that has come since the last time.

        Raises:
            QuotaError: the caller has sent more than it may in a day.
        """
        with self._lock:
            quota_s = self.quotas.audio_s_per_day
            if quota_s is None:
                return
            self._check_audio()
            self._heard_s += seconds

    @property
    def heard_s(self) -> float:
        """Audio heard today, where it is bounded."""
        with self._lock:
            return self._heard_s if self._day == int(self._now() // DAY_S) else 0.0

    def _check_audio(self) -> None:
        quota_s = self.quotas.audio_s_per_day
        if quota_s is None:
            return
        now = self._now()
        if int(now // DAY_S) != self._day:
            self._day, self._heard_s = int(now // DAY_S), 0.0
        if self._heard_s >= quota_s:
            raise QuotaError(
                f"{self.name} has sent its {quota_s:g} s of audio of today; the next day begins at 00:00 UTC",
                "audio",
                DAY_S - now % DAY_S,
            )

    def _bucket(self) -> TokenBucket | None:
        per_minute = self.quotas.requests_per_minute
        if per_minute is None:
            self._requests = None
        elif self._requests is None or self._requests.per_minute != per_minute:
            self._requests = TokenBucket(per_minute, self._clock)
        return self._requests


class Recent(Generic[Value]):
    """The values of the callers seen last, at most `size`, so that many addresses cannot fill the memory.

    Args:
        make: a new caller's value.
        size: how many are kept.
        needed: whether a value must be kept although others were seen later; then there may be more than `size`.
    """

    def __init__(self, make: Callable[[str], Value], size: int, needed: Callable[[Value], bool]) -> None:
        self._make, self._size, self._needed = make, size, needed
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def peek(self, caller: str) -> Value | None:
        """The value of a caller that has one."""
        return self._values.get(caller)

    def __getitem__(self, caller: str) -> Value:
        """The value of a caller, made if there is none."""
        value = self._values.get(caller)
        if value is None:
            value = self._values[caller] = self._make(caller)
            if len(self._values) > self._size:
                self._drop(caller)
        self._values.move_to_end(caller)
        return value

    def _drop(self, but: str) -> None:
        for caller, value in self._values.items():
            if caller != but and not self._needed(value):
                del self._values[caller]
                return


_account: ContextVar[Account] = ContextVar("dengar_account")


def current_account() -> Account:
    """The account of the call that this task answers; one without bounds where nothing controls access."""
    return _account.get(None) or Account("anyone", Quotas())


def set_account(account: Account) -> None:
    """Makes `account` the one of this task."""
    _account.set(account)
