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
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asr.audio import Samples
from asr.recognize import Costs
from services.recognizer.metrics import Metrics
from services.recognizer.session import Failure, Final, Interim, Outcome, Session

MAX_WAITING_BYTES = 256 * 1024
"""Bytes of one stream that may wait for a worker before its caller is no longer read from."""

TURN_BYTES = 64 * 1024
"""Most bytes of one stream decoded in one turn."""

GLIMPSE_LOAD = 0.5
"""Share of its time that a worker may be busy and still look into unfinished chunks, which doubles its work."""

LOAD_S = 1.0
"""Time constant of that share's mean."""

STOP_S = 10.0

log = logging.getLogger("dengar.recognizer")


@dataclass(slots=True)
class Meter:
    """What the workers' stages cost so far, in processor seconds; one for each worker, read by others.

    Attributes:
        receive_s: bytes to samples.
        results_s: hypotheses to outcomes.
        voice_s: voice activity and endpoints.
        recognition: features, model, decoding, and the sizes of batches since last taken.
        turns: how often the worker worked.
        busy_since: when the turn began that it is in, by `time.monotonic`, or None.
        stalls: how often a worker was given up.
    """

    receive_s: float = 0.0
    results_s: float = 0.0
    voice_s: float = 0.0
    recognition: Costs = field(default_factory=Costs)
    turns: int = 0
    busy_since: float | None = None
    stalls: int = 0

    def by_stage(self) -> dict[str, float]:
        """Processor seconds so far, by the stages that metrics know."""
        costs = self.recognition
        return {
            "receive": self.receive_s,
            "features": costs.features_s,
            "vad": self.voice_s,
            "model": costs.model_s,
            "decode": costs.decode_s,
            "results": self.results_s,
        }


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
        self.packets: deque[bytes] = deque()
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
        with self._changed:
            for start in range(0, len(packet), TURN_BYTES):
                flow.packets.append(packet[start : start + TURN_BYTES])
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
                jobs = worker.jobs
                worker.meter.busy_since = None
                worker.meter.stalls += 1
                self._workers[place] = self._start(worker.meter)
            for job in jobs:
                job.flow.fail(error())
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
        meter = worker.meter
        load, free_since = 0.0, time.monotonic()
        while True:
            jobs = self._take()
            if not jobs:
                return
            worker.jobs = jobs
            meter.busy_since = began = time.monotonic()
            for job in jobs:
                self._metrics.waited(began - job.flow.queued_at)
            before = meter.by_stage()
            said = _turn(jobs, meter, spare=not self._ready and load < GLIMPSE_LOAD)
            now = time.monotonic()
            kept = math.exp((free_since - now) / LOAD_S)
            load = kept * load + (1 - kept) * (now - began) / max(now - free_since, 1e-9)
            free_since = now
            for stage, seconds in meter.by_stage().items():
                if seconds > before[stage]:
                    self._metrics.stage(stage, seconds - before[stage])
            with self._changed:
                if worker.abandoned:  # nobody waits for this any more, and another has this one's place
                    for job in jobs:
                        job.flow.session.close()
                    return
                worker.jobs = []
                meter.busy_since = None
            meter.turns += 1
            self._give_back(jobs)
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everybody who might listen
                jobs[0].flow.loop.call_soon_threadsafe(_deliver, jobs, said)
            del jobs, job, said  # or the last streams, and their bundle, would live until the next turn

    def _take(self) -> list[_Job]:
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
            taken: list[_Job] = []
            others: list[Flow] = []
            while self._ready and len(taken) < self._max_batch:
                flow = self._ready.popleft()
                if flow.session.recognizer is recognizer:
                    taken.append(_job(flow))
                else:
                    others.append(flow)
            self._ready.extendleft(reversed(others))
            if self._ready:
                self._changed.notify()
            return taken

    def _give_back(self, jobs: Sequence[_Job]) -> None:
        with self._changed:
            for job in jobs:
                flow, session = job.flow, job.flow.session
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
    """A thread, what it measures, what it is at and whether it was given up (these under the pipeline's lock)."""

    meter: Meter
    thread: threading.Thread = field(default_factory=threading.Thread)
    jobs: list[_Job] = field(default_factory=list)
    abandoned: bool = False


@dataclass(slots=True)
class _Job:
    """What a worker has taken of a stream; `wanted_bytes` is filled in by it."""

    flow: Flow
    packets: list[bytes]
    end: bool
    closed: bool
    wanted_bytes: int = 0


def _job(flow: Flow) -> _Job:
    packets: list[bytes] = []
    size = 0
    if not flow.session.more:  # else the last turn left enough
        while flow.packets and size + len(flow.packets[0]) <= TURN_BYTES:
            size += len(flow.packets[0])
            packets.append(flow.packets.popleft())
    flow.waiting_bytes -= size
    return _Job(flow, packets, flow.ended and not flow.packets, flow.closed)


def _turn(jobs: Sequence[_Job], meter: Meter, *, spare: bool) -> list[Sequence[Outcome]]:
    """Does the work of one turn; what there is to say for each job.

    Args:
        jobs: all of one recogniser.
        meter: of the worker.
        spare: nobody waits, so there is time for a glimpse between two steps.
    """
    said: list[Sequence[Outcome]] = [()] * len(jobs)
    heard = []
    began = time.thread_time()
    for place, job in enumerate(jobs):
        session = job.flow.session
        try:
            if job.closed:
                session.close()
            elif not session.over:
                session.receive(job.packets, end=job.end)
                samples, end = session.block()
                if len(samples) or end:
                    heard.append((place, session, samples, end))
                else:
                    job.wanted_bytes = session.wanted_bytes
        except Exception as error:
            said[place] = _failed(session, error)
    meter.receive_s += time.thread_time() - began
    try:
        if heard:
            work = [(session.stream, samples, end) for _, session, samples, end in heard]
            recognizer = heard[0][1].recognizer
            recognizer.advance(work, meter.recognition)
            if spare:
                curious = [session.stream for _, session, _, end in heard if session.interim and not end]
                recognizer.glimpse(curious, meter.recognition)
            began = time.thread_time()
            _notice([(session, samples) for _, session, samples, _ in heard if session.voice])
            meter.voice_s += time.thread_time() - began
    except Exception as error:
        for place, session, *_ in heard:
            said[place] = _failed(session, error)
        return said
    began = time.thread_time()
    for place, session, _, end in heard:
        try:
            said[place] = session.outcomes(end=end)
            jobs[place].wanted_bytes = 0 if session.over else session.wanted_bytes
        except Exception as error:
            said[place] = _failed(session, error)
    meter.results_s += time.thread_time() - began
    return said


def _notice(heard: Sequence[tuple[Session, Samples]]) -> None:
    """Lets the voice activity of those who want endpoints or speech events hear what the recogniser has heard."""
    if heard:
        voice = heard[0][0].voice
        assert voice is not None
        found = voice.hear([(session.voice_stream, samples) for session, samples in heard])
        for (session, _), probabilities in zip(heard, found, strict=True):
            session.notice(probabilities)


def _failed(session: Session, error: Exception) -> Sequence[Outcome]:
    session.close()
    return (Failure(error),)


def _deliver(jobs: Sequence[_Job], said: Sequence[Sequence[Outcome]]) -> None:
    for job, outcomes in zip(jobs, said, strict=True):
        job.flow.make_room()
        if outcomes:
            job.flow.deliver(outcomes)
