"""What metrics learn of results on their way to the caller, over real calls, and what sending costs."""

from __future__ import annotations

import asyncio
import time

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.audio_in import StreamDecoder
from services.recognizer.metrics import Metrics
from services.recognizer.sending import LoopMeter, Metered, SentMetrics, taken_back
from services.recognizer.session import Final, Interim, Session, SessionConfig
from services.recognizer.speech import SpeechService
from tests.services.conftest import Hypothesis, Partial, ToneRecognizer, linear16, tones
from tests.services.loopback import RAW, running, speech_service

words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=5)


class Noted(Metrics):
    def __init__(self) -> None:
        self.first_words: list[float] = []
        self.interims: list[float] = []
        self.gone = 0

    def first_word(self, seconds: float) -> None:
        self.first_words.append(seconds)

    def interim(self, seconds: float) -> None:
        self.interims.append(seconds)

    def taken_back(self, words: int) -> None:
        self.gone += words


def with_metrics(metrics: Metrics) -> SpeechService:
    service = speech_service()
    service._metrics = metrics
    return service


async def test_first_word_and_interim_lag_are_measured_once_they_are_sent() -> None:
    metrics = Noted()
    service = with_metrics(metrics)
    audio, size = linear16(tones("one two three")), 3200
    began = time.monotonic()
    async with running(servicer=service) as address, grpc.aio.insecure_channel(address) as channel:
        call = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize()
        streaming = pb.StreamingRecognitionConfig(config=RAW, interim_results=True)
        await call.write(pb.StreamingRecognizeRequest(streaming_config=streaming))
        for start in range(0, len(audio), size):
            await call.write(pb.StreamingRecognizeRequest(audio_content=audio[start : start + size]))
            await asyncio.sleep(0.02)
        await call.done_writing()
        interim = [
            result.alternatives[0].transcript
            async for response in call
            for result in response.results
            if not result.is_final
        ]
    service.close()
    took_s = time.monotonic() - began
    assert len(interim) == len(metrics.interims) > 0
    assert all(0 <= seconds <= took_s for seconds in metrics.interims)
    assert len(metrics.first_words) == 1
    assert 0 <= metrics.first_words[0] <= took_s
    assert metrics.gone == 0, "tones are never taken back"
    stages = service.sources()["processor_s"]()
    assert 0 < stages["send"] < took_s
    assert stages["transport"] > 0


def test_the_first_word_was_spoken_before_its_packet_came_as_far_as_speech_is_live() -> None:
    def first_word_at(*packets: tuple[float, float]) -> float | None:
        """Of a word from 0.3 to 0.4 s, when packets of so many seconds of audio came at such times."""
        session = Session(ToneRecognizer(), StreamDecoder("LINEAR16", 16_000, 1, 60.0), SessionConfig())
        session._arrivals = [(0, 100.0)]
        audio, done = linear16(tones("one", tail_s=0.5)), 0
        for seconds, arrived_at in packets:
            size = int(seconds * 32_000)
            session.receive([audio[done : done + size]], end=False, arrived_at=arrived_at)
            done += size
        samples, _ = session.block()
        session.stream.accept(samples)  # type: ignore[attr-defined]
        return session.outcomes(end=True)[-1].first_word_at  # type: ignore[union-attr]

    live = [(0.1, 100.1 + step / 10) for step in range(8)]
    assert first_word_at(*live) == pytest.approx(100.4)
    assert first_word_at((0.3, 100.3), (0.3, 100.6)) == pytest.approx(100.4)
    assert first_word_at((0.8, 100.01)) == pytest.approx(100.0)  # all at once: not before the stream began
    assert first_word_at((0.3, 100.01), (0.5, 100.02)) == pytest.approx(100.01)
    assert first_word_at((0.2, 100.2)) is None


@given(words, words)
def test_words_taken_back_are_those_that_do_not_stand_where_they_stood(before: list[str], after: list[str]) -> None:
    kept = sum(a == b for a, b in zip(before, after, strict=False))
    assert taken_back(before, after) == len(before) - kept


def test_what_an_interim_result_had_and_the_next_has_not_is_counted() -> None:
    metrics = Noted()
    told = SentMetrics(metrics)
    for text in ("call", "call john", "all john", "all"):
        told.sent(Interim(Partial(Hypothesis(text, (), 0.5), 0.5), 1.0), 0.001)
    told.sent(Final([Hypothesis("call john", (), 0.5)], 1.0), 0.001)
    assert metrics.gone == 3  # call, john, all
    assert metrics.first_words == []
    assert metrics.interims == []


async def test_only_its_own_steps_count_as_sending() -> None:
    meter = LoopMeter()

    def burn(seconds: float) -> None:
        ends = time.thread_time() + seconds
        while time.thread_time() < ends:
            np.sqrt(2.0)

    async def sends() -> str:
        burn(0.02)
        await asyncio.sleep(0.05)
        burn(0.02)
        return "sent"

    async def other() -> None:
        await asyncio.sleep(0.01)
        burn(0.1)

    before = meter.look()
    sent, _ = await asyncio.gather(Metered(meter, sends()), other())
    assert sent == "sent"
    assert 0.04 <= meter.send_s <= meter.look() - before - 0.1

    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Metered(meter, fails())
