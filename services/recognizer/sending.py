"""What sending costs the event loop, and what the metrics learn of each result that is sent."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.recognizer.metrics import Metrics
from services.recognizer.session import Final, Hypothesis, Interim, Outcome

T = TypeVar("T")


@dataclass(slots=True)
class LoopMeter:
    """Processor seconds of the event loop's thread.

    Attributes:
        send_s: building messages and handing them to gRPC.
        loop_s: all that it did, when last looked at.
    """

    send_s: float = 0.0
    loop_s: float = 0.0

    def by_stage(self) -> dict[str, float]:
        """The same by the stages that metrics know: `transport` is gRPC's own work and the handing on of packets."""
        return {"send": self.send_s, "transport": max(0.0, self.loop_s - self.send_s)}

    def look(self) -> float:
        """Processor seconds of this thread, the loop's."""
        self.loop_s = time.thread_time()
        return self.loop_s


class Metered(Generic[T]):
    """Awaits something and counts the processor time of its own steps as sending, not that of what runs meanwhile."""

    def __init__(self, meter: LoopMeter, awaited: Awaitable[T]) -> None:
        self._meter, self._awaited = meter, awaited

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._awaited.__await__()
        meter, value = self._meter, None
        while True:
            began = meter.look()
            try:
                waits = steps.send(value)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                meter.send_s += meter.look() - began
            value = yield waits


class SentMetrics:
    """Counts what one caller was told, and how late."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._words: Sequence[str] = ()
        self._had_word = False

    def sent(self, outcome: Outcome, seconds: float) -> None:
        """Takes note of an outcome that was just sent, which took so long by the clock."""
        self._metrics.stage("send", seconds)
        if not isinstance(outcome, Interim | Final):
            return
        now = time.monotonic()
        if isinstance(outcome, Interim):
            best = outcome.partial.hypothesis
            if outcome.arrived_at is not None:
                self._metrics.interim(now - outcome.arrived_at)
        else:
            best = outcome.hypotheses[0]
        if outcome.first_word_at is not None and not self._had_word:
            self._had_word = True
            self._metrics.first_word(max(0.0, now - outcome.first_word_at))
        words = _words(best)
        if gone := taken_back(self._words, words):
            self._metrics.taken_back(gone)
        self._words = words


def taken_back(before: Sequence[str], after: Sequence[str]) -> int:
    """How many words of a result are not at the same place in the next."""
    return sum(place >= len(after) or after[place] != word for place, word in enumerate(before))


def _words(hypothesis: Hypothesis) -> list[str]:
    return hypothesis.text.split()
