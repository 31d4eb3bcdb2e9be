"""One turn of a worker: what came in on some streams is decoded, recognised together and turned into outcomes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

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


def take_turn(jobs: Sequence[Job], meter: Meter, *, spare: bool) -> list[Sequence[Outcome]]:
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
