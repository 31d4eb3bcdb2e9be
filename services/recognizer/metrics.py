"""What a server measures: the methods by which its parts say so, and the calls, counted by an interceptor.

The service calls a `Metrics`, whose methods do nothing; `services.recognizer.prometheus` has the one that counts.
docs/operate.md says what each metric is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import grpc

from services.recognizer.interceptors import AroundCalls, Context

STAGES = ("receive", "features", "vad", "model", "decode", "results", "send")
LIVE = "live"
LOOP_INTERVAL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What others count; each function is called at every scrape, from the endpoint's thread.

    Attributes:
        queued: streams that wait for a worker.
        stalls: workers that were given up.
        processor_s: processor seconds so far, by stage: those of `STAGES`, and `transport`, the rest of the event loop.
        batches: how often a step of the model served so many streams.
        bundles: hash of the bundle in each role, as `live` and `candidate`.
        shadow: streams that the candidate decoded silently, words of the live answers to them, edits between the two.
        keys: API keys that are loaded.
        query_log: queries by what became of them, as `written`, `left_out` or a cause of `LogCounters.dropped`.
        query_log_waiting: queries on their way into the store, and the age of the oldest in seconds.
        query_log_faults: queries `not_searched` for unknown words, `without_audio` that they should have, `retried`.
        live_names: approved names that are `served`, and what is left out (`services.recognizer.live_names.ABOUT`).
        log_lines_lost: because the log was read too slowly.
        certificate_expires: when the TLS certificate ends, in seconds since 1970.
    """

    queued: Callable[[], int] | None = None
    stalls: Callable[[], int] | None = None
    processor_s: Callable[[], Mapping[str, float]] | None = None
    batches: Callable[[], Mapping[int, int]] | None = None
    bundles: Callable[[], Mapping[str, str]] | None = None
    shadow: Callable[[], tuple[int, int, int]] | None = None
    query_log: Callable[[], Mapping[str, int]] | None = None
    query_log_waiting: Callable[[], tuple[int, float]] | None = None
    query_log_faults: Callable[[], Mapping[str, int]] | None = None
    live_names: Callable[[], Mapping[str, int]] | None = None
    keys: Callable[[], int] | None = None
    log_lines_lost: Callable[[], int] | None = None
    certificate_expires: Callable[[], float] | None = None


class Metrics:
    """Measures nothing. Every method may be called from any thread."""

    def call_began(self, method: str) -> None:
        """A call of ``/package.Service/Method`` came in."""

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """It ended with a gRPC code, after so long."""

    def refused(self, cause: str) -> None:
        """A call was not admitted, or ended, for one of the causes of `RefusalError`."""

    def stage(self, stage: str, seconds: float) -> None:
        """One of `STAGES` took so long, for one turn (processor seconds) or message (by the clock)."""

    def waited(self, seconds: float) -> None:
        """A stream with news stood in the queue for so long."""

    def audio(self, seconds: float) -> None:
        """So much audio came in."""

    def first_word(self, seconds: float) -> None:
        """From the end of a stream's first word, as the recogniser times it, to the result that has it."""

    def interim(self, seconds: float) -> None:
        """From the arrival of the audio that an interim result rests on to its sending."""

    def taken_back(self, words: int) -> None:
        """So many words of an interim result were not in the next."""

    def final(self, seconds: float, after: str, role: str = LIVE) -> None:
        """From the caller's `half_close` or the `endpoint` decision to the sending of the final result."""

    def endpoint(self, reason: str) -> None:
        """A stream ended, by `half_close`, `silence`, `start_timeout`, `max_length` ..."""

    def answered(self, words: int, audio_s: float, confidence: float | None = None, role: str = LIVE) -> None:
        """A final result has so many words for so much audio, from the bundle in `role`."""

    def swap(self, outcome: str) -> None:
        """A bundle was `promoted`, `refused`, or made `candidate`."""

    def broken_file(self, kind: str) -> None:
        """A changed file of `keys` or `tls` could not be used."""

    def feedback(self, kind: str) -> None:
        """A client said what became of a query: `corrected`, `chosen`, `retried`, `accepted` or `abandoned`."""

    def unknown_spans(self, count: int) -> None:
        """A query that is kept holds so many spans of unknown words."""

    def store_failed(self, part: str) -> None:
        """The store could not be read for `names` or the `catalogue`."""

    def loop_lag(self, seconds: float) -> None:
        """The event loop was so late for something it had promised."""

    def watch(self, sources: Sources) -> None:
        """Reads `sources` at every scrape, in place of earlier ones."""


class CallMetrics(AroundCalls):
    """Counts Dengar's calls by method and code; the outermost interceptor, so that refusals count as calls."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def applies(self, method: str) -> bool:
        """Health checks would drown the rest."""
        return method.startswith("/dengar.")

    def enter(self, method: str, context: Context, *, streaming: bool) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        """Counts a call from its first byte to its last."""
        return self._counted(method, context)

    @contextlib.asynccontextmanager
    async def _counted(self, method: str, context: Context) -> AsyncIterator[None]:
        began = time.monotonic()
        code = "UNKNOWN"
        self._metrics.call_began(method)
        try:
            yield
            code = code_of(context)
        except grpc.aio.AbortError:
            code = code_of(context)
            raise
        except asyncio.CancelledError:
            left_s = context.time_remaining()
            code = "DEADLINE_EXCEEDED" if left_s is not None and left_s <= 0 else "CANCELLED"
            raise
        finally:
            self._metrics.call_ended(method, code, time.monotonic() - began)


def code_of(context: Context) -> str:
    """The name of the code that a call ends with."""
    code = context.code()
    if isinstance(code, int):
        code = _CODES.get(code, grpc.StatusCode.UNKNOWN)
    return code.name if code else "OK"


_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def watch_loop(metrics: Metrics, interval_s: float = LOOP_INTERVAL_S) -> None:
    """Measures for ever how late the event loop is; run it as a task."""
    while True:
        due = time.monotonic() + interval_s
        await asyncio.sleep(interval_s)
        metrics.loop_lag(max(0.0, time.monotonic() - due))
