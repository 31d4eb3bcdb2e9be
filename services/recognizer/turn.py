"""One turn of a worker: what came in on some streams is decoded, recognised together and turned into outcomes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from asr.audio import Samples
from asr.recognize import Costs
from services.recognizer.session import Failure, Outcome, Session


@dataclass(slots=True)
class Meter:
    """What the workers' stages cost so far, in processor seconds; one for each worker, read by others.

    Attributes:
        receive_s: bytes to samples.
        results_s: hypotheses to outcomes.
        voice_s: voice activity and endpoints.
        glimpses_s: looks into unfinished chunks, which `recognition` holds as well.
        recognition: features, model, decoding, and the sizes of batches since last taken.
        turns: how often the worker worked.
        busy_since: when the turn began that it is in, by `time.monotonic`, or None.
        stalls: how often a worker was given up.
    """

    receive_s: float = 0.0
    results_s: float = 0.0
    voice_s: float = 0.0
    glimpses_s: float = 0.0
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


@dataclass(slots=True)
class Job:
    """What a worker has taken of a stream.

    Attributes:
        session: of the stream.
        packets: that came in.
        end: nothing comes after them.
        closed: nobody waits for outcomes any more.
        arrived_at: when the last of the packets came, by `time.monotonic`; None without packets.
        wanted_bytes: filled in by the turn: how many bytes must come before anything new can be said.
    """

    session: Session
    packets: list[bytes]
    end: bool
    closed: bool
    arrived_at: float | None = None
    wanted_bytes: int = 0


@dataclass(slots=True)
class Glimpses:
    """What a worker can spare for looks into unfinished chunks, which more than double the work on a stream.

    All its work together may take `LOAD` of its time. While it has little else to do every stream gets a glimpse each
    time; as other work grows they become fewer, until there is no time left for any.

    Attributes:
        load: share of the last second or so that the worker was busy with other things.
        credit_s: seconds that may be spent; less than none after a turn that took more.
        free_since: when the last turn ended.
    """

    LOAD: ClassVar[float] = 0.5
    MEAN_S: ClassVar[float] = 1.0
    SAVED_S: ClassVar[float] = 0.1

    load: float = 0.0
    credit_s: float = SAVED_S
    free_since: float = field(default_factory=time.monotonic)

    @property
    def at_all(self) -> bool:
        """Whether there may be any before long: else streams need not be looked at before their chunk is full."""
        return self.load < self.LOAD

    @property
    def now(self) -> bool:
        """Whether there is time for some now."""
        return self.at_all and self.credit_s > 0

    def worked(self, began: float, now: float, glimpses_s: float) -> None:
        """Takes note of a turn.

        Args:
            began: by `time.monotonic`.
            now: its end, likewise.
            glimpses_s: of it spent on glimpses.
        """
        passed = max(now - self.free_since, 1e-9)
        kept = math.exp(-passed / self.MEAN_S)
        other = max(0.0, now - began - glimpses_s) / passed
        self.load = kept * self.load + (1 - kept) * min(1.0, other)
        self.credit_s = min(self.SAVED_S, self.credit_s + passed * max(0.0, self.LOAD - self.load) - glimpses_s)
        self.free_since = now


def take_turn(jobs: Sequence[Job], meter: Meter, *, glimpses: bool, eager: bool) -> list[Sequence[Outcome]]:
    """Does the work of one turn; what there is to say for each job.

    Args:
        jobs: all of one recogniser.
        meter: of the worker.
        glimpses: there is time to look into chunks that are still being filled.
        eager: before long there will be.
    """
    said: list[Sequence[Outcome]] = [()] * len(jobs)
    heard = []
    began = time.thread_time()
    for place, job in enumerate(jobs):
        session = job.session
        try:
            if job.closed:
                session.close()
            elif not session.over:
                session.receive(job.packets, end=job.end, arrived_at=job.arrived_at)
                samples, end = session.block()
                if len(samples) or end:
                    heard.append((place, session, samples, end))
                else:
                    job.wanted_bytes = session.wanted_bytes(glimpses=eager)
        except Exception as error:
            said[place] = _failed(session, error)
    meter.receive_s += time.thread_time() - began
    try:
        if heard:
            work = [(session.stream, samples, end) for _, session, samples, end in heard]
            recognizer = heard[0][1].recognizer
            recognizer.advance(work, meter.recognition)
            if glimpses:
                began = time.thread_time()
                curious = [session.stream for _, session, _, end in heard if session.interim and not end]
                recognizer.glimpse(curious, meter.recognition)
                meter.glimpses_s += time.thread_time() - began
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
            jobs[place].wanted_bytes = 0 if session.over else session.wanted_bytes(glimpses=eager)
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
