"""Many streams, few threads: packets are handed over by the event loop and recognised together by workers.

A stream with enough news stands in a queue. A worker that is free takes all that stand there (of one bundle, up to a
batch), decodes their bytes, lets the recogniser take one step for all of them, and hands the outcomes back to the
event loop in one piece. While it works the queue fills again: with one stream it answers at once, with a hundred it
shares the work, and nothing is tuned in between. A stream is never with two workers, so its packets keep their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from services.recognizer.metrics import Metrics
from services.recognizer.session import Failure, Final, Interim, Outcome, Session
from services.recognizer.turn import Glimpses, Job, Meter, take_turn

MAX_WAITING_BYTES = 256 * 1024
"""Bytes of one stream that may wait for a worker before its caller is no longer read from."""

TURN_BYTES = 64 * 1024
"""Most bytes of one stream decoded in one turn."""

STOP_S = 10.0

log = logging.getLogger("dengar.recognizer")


_Taken: TypeAlias = "tuple[Flow, Job]"


class Flow:
    """One stream's way through the pipeline, as the event loop sees it. All methods are for the event loop."""

    def __init__(self, pipeline: Pipeline, session: Session) -> None:
        self.session = session
        self.loop = asyncio.get_running_loop()
        self._pipeline = pipeline
        self._outcomes: deque[Outcome] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.counted_s = 0.0  # of audio, by whoever counts
        self.decided_at: float | None = None  # by `time.monotonic`: half-close, or the end of the utterance
        # The rest belongs to the pipeline, under its lock.
        self.packets: deque[tuple[bytes, float]] = deque()  # with the time of their coming
        self.waiting_bytes = 0
        self.wanted_bytes = 0
        self.ended = self.closed = self.queued = False
        self.queued_at = 0.0

    async def push(self, packet: bytes, *, end: bool = False) -> None:
        """Hands over a packet, once those before it do not fill the room that a stream has."""
        await self._room.wait()
        if not self._pipeline.push(self, packet, end=end):
            self._room.clear()

    async def next(self) -> Outcome:
        """The next outcome; after `Final` or `Failure` none comes."""
        while not self._outcomes:
            self._news.clear()
            await self._news.wait()
        return self._outcomes.popleft()

    def fail(self, error: Exception) -> None:
        """Ends the stream from this side."""
        self.deliver([Failure(error)])

    def close(self) -> None:
        """Says that nobody waits for outcomes any more; the session is closed where it is safe."""
        self._pipeline.close_flow(self)

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Takes outcomes from a worker; of interim results that nobody has fetched the latest is enough."""
        for outcome in outcomes:
            if self._outcomes and isinstance(self._outcomes[-1], Interim) and isinstance(outcome, Interim | Final):
                self._outcomes.pop()
            self._outcomes.append(outcome)
        self._news.set()

    def make_room(self) -> None:
        """Lets `push` go on."""
        self._room.set()


class Pipeline:
    """Workers and their queue.

    Args:
        workers: threads.
        max_batch: streams that one turn takes at most.
        batch_wait_s: how long a worker waits for more streams than are there, if others are open.
        metrics: counts waits and turns; nothing does if None.
    """

    def __init__(self, workers: int, max_batch: int, batch_wait_s: float, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._max_batch, self._batch_wait_s = max_batch, batch_wait_s
        self._ready: deque[Flow] = deque()
        self._changed = threading.Condition()
        self._open = 0
        self._stopping = False
        self.meters = [Meter() for _ in range(workers)]
        self._workers = [self._start(meter) for meter in self.meters]

    @property
    def waiting(self) -> int:
        """Streams that stand in the queue."""
        return len(self._ready)

    def open(self, session: Session) -> Flow:
        """Takes in a stream; `Flow.close` is its end."""
        flow = Flow(self, session)
        with self._changed:
            self._open += 1
        return flow

    def push(self, flow: Flow, packet: bytes, *, end: bool) -> bool:
        """Appends a packet; says whether there is room for more."""
        now = time.monotonic()
        with self._changed:
            for start in range(0, len(packet), TURN_BYTES):
                flow.packets.append((packet[start : start + TURN_BYTES], now))
            flow.waiting_bytes += len(packet)
            flow.ended = flow.ended or end
            if flow.ended or flow.waiting_bytes >= flow.wanted_bytes:
                self._enqueue(flow, first=flow.ended and flow.waiting_bytes <= TURN_BYTES)
            return flow.waiting_bytes < MAX_WAITING_BYTES

    def close_flow(self, flow: Flow) -> None:
        """Lets a worker close the session."""
        with self._changed:
            if not flow.closed:
                flow.closed = True
                self._open -= 1
                self._enqueue(flow, first=False)

    def stop(self) -> None:
        """Ends the workers once the queue is empty; one that is stuck is left behind."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.thread.join(STOP_S)

    def give_up_stalled(self, limit_s: float, error: Callable[[], Exception]) -> int:
        """Puts another worker in the place of each that is in one turn for longer, and fails the turn's streams.

        For the event loop. A thread cannot be ended: should the old one ever come back, it closes its streams and goes.

        Args:
            limit_s: of one turn.
            error: makes what the streams fail with.

        Returns:
            How many were given up.
        """
        given_up = 0
        for place, worker in enumerate(self._workers):
            since = worker.meter.busy_since
            if since is None or time.monotonic() - since < limit_s:
                continue
            with self._changed:
                worker.abandoned = True
                stuck = worker.taken
                worker.meter.busy_since = None
                worker.meter.stalls += 1
                self._workers[place] = self._start(worker.meter)
            for flow, _ in stuck:
                flow.fail(error())
            given_up += 1
        return given_up

    def _start(self, meter: Meter) -> _Worker:
        worker = _Worker(meter)
        worker.thread = threading.Thread(target=self._work, args=(worker,), name="recognizer", daemon=True)
        worker.thread.start()
        return worker

    def _enqueue(self, flow: Flow, *, first: bool) -> None:
        """Puts a stream into the queue; one that has ended goes first, because somebody waits for its last word."""
        if flow.queued:
            return
        flow.queued, flow.queued_at = True, time.monotonic()
        if first:
            self._ready.appendleft(flow)
        else:
            self._ready.append(flow)
        self._changed.notify()

    def _work(self, worker: _Worker) -> None:
        while self._turn(worker):
            pass

    def _turn(self, worker: _Worker) -> bool:
        """Takes what is ready, works it off and hands it back; False at the end.

        A function of its own, so that a worker who waits holds no stream, and with it no bundle.
        """
        taken = self._take()
        if not taken:
            return False
        meter = worker.meter
        worker.taken = taken
        meter.busy_since = began = time.monotonic()
        for flow, _ in taken:
            self._metrics.waited(began - flow.queued_at)
        before = meter.by_stage()
        glimpses_s = meter.glimpses_s
        spare = worker.glimpses
        now = spare.now and not self._ready  # else somebody waits
        said = take_turn([job for _, job in taken], meter, glimpses=now, eager=spare.at_all)
        spare.worked(began, time.monotonic(), meter.glimpses_s - glimpses_s)
        for stage, seconds in meter.by_stage().items():
            if seconds > before[stage]:
                self._metrics.stage(stage, seconds - before[stage])
        with self._changed:
            if worker.abandoned:  # nobody waits for this any more, and another has this one's place
                for _, job in taken:
                    job.session.close()
                return False
            worker.taken = []
            meter.busy_since = None
        meter.turns += 1
        self._give_back(taken)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everybody who might listen
            taken[0][0].loop.call_soon_threadsafe(_deliver, [flow for flow, _ in taken], said)
        return True

    def _take(self) -> list[_Taken]:
        """Waits for streams; an empty list means the end."""
        with self._changed:
            while True:
                while not self._ready and not self._stopping:
                    self._changed.wait()
                if self._batch_wait_s and 0 < len(self._ready) < min(self._max_batch, self._open):
                    self._changed.wait(self._batch_wait_s)
                if self._ready or self._stopping:
                    break
            recognizer = self._ready[0].session.recognizer if self._ready else None
            taken: list[_Taken] = []
            others: list[Flow] = []
            while self._ready and len(taken) < self._max_batch:
                flow = self._ready.popleft()
                if flow.session.recognizer is recognizer:
                    taken.append((flow, _job(flow)))
                else:
                    others.append(flow)
            self._ready.extendleft(reversed(others))
            if self._ready:
                self._changed.notify()
            return taken

    def _give_back(self, taken: Sequence[_Taken]) -> None:
        with self._changed:
            for flow, job in taken:
                session = job.session
                flow.queued = False
                if flow.closed:
                    if not job.closed:
                        self._enqueue(flow, first=False)
                elif session.over:
                    flow.packets.clear()
                    flow.waiting_bytes = flow.wanted_bytes = 0
                else:
                    flow.wanted_bytes = job.wanted_bytes
                    news = flow.packets and flow.waiting_bytes >= flow.wanted_bytes
                    if session.more or news or (flow.ended and not job.end):
                        self._enqueue(flow, first=False)


@dataclass(slots=True)
class _Worker:
    """A thread and what it is at.

    Attributes:
        meter: what it measures.
        thread: itself.
        taken: what it is at, and `abandoned`, whether it was given up: both under the pipeline's lock.
        glimpses: what it can spare for them.
    """

    meter: Meter
    thread: threading.Thread = field(default_factory=threading.Thread)
    taken: list[_Taken] = field(default_factory=list)
    abandoned: bool = False
    glimpses: Glimpses = field(default_factory=Glimpses)


def _job(flow: Flow) -> Job:
    packets: list[bytes] = []
    size, arrived_at = 0, None
    if not flow.session.more:  # else the last turn left enough
        while flow.packets and size + len(flow.packets[0][0]) <= TURN_BYTES:
            packet, arrived_at = flow.packets.popleft()
            size += len(packet)
            packets.append(packet)
    flow.waiting_bytes -= size
    return Job(flow.session, packets, flow.ended and not flow.packets, flow.closed, arrived_at)


def _deliver(flows: Sequence[Flow], said: Sequence[Sequence[Outcome]]) -> None:
    for flow, outcomes in zip(flows, said, strict=True):
        flow.make_room()
        if outcomes:
            flow.deliver(outcomes)
