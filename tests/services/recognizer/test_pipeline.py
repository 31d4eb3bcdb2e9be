"""Workers, queue and sessions, with a recogniser that keeps a record of how it was called."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from asr.errors import AudioError
from services.recognizer.audio_in import AudioLimitError, StreamDecoder
from services.recognizer.pipeline import MAX_WAITING_BYTES, TURN_BYTES, Flow, Pipeline
from services.recognizer.session import Failure, Final, Interim, Session, SessionConfig
from services.recognizer.turn import Glimpses
from tests.services.conftest import ToneRecognizer, ToneStream, linear16, tones


class Watched(ToneRecognizer):
    """Notes which streams were taken together, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.inside: set[int] = set()

    def advance(self, heard: Sequence[tuple[ToneStream, np.ndarray, bool]], costs: object = None) -> None:
        streams = {id(stream) for stream, _, _ in heard}
        assert len(streams) == len(heard), "a stream twice in one turn"
        assert not streams & self.inside, "a stream with two workers at a time"
        self.inside |= streams
        self.go.wait(10)
        self.batches.append(len(heard))
        super().advance(heard, costs)
        self.inside -= streams


@contextlib.asynccontextmanager
async def running(workers: int = 2, max_batch: int = 16, wait_s: float = 0.0) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(workers, max_batch, wait_s)
    try:
        yield pipeline
    finally:
        await asyncio.to_thread(pipeline.stop)


def open_flow(pipeline: Pipeline, recognizer: ToneRecognizer, max_audio_s: float = 300.0, **config: object) -> Flow:
    decoder = StreamDecoder("LINEAR16", 16_000, 1, max_audio_s)
    return pipeline.open(Session(recognizer, decoder, SessionConfig(**config)))


async def speak(flow: Flow, words: str, size: int = 3200) -> str:
    data = linear16(tones(words))
    for start in range(0, len(data), size):
        await flow.push(data[start : start + size])
    await flow.push(b"", end=True)
    while True:
        outcome = await asyncio.wait_for(flow.next(), 20)
        if isinstance(outcome, Failure):
            raise outcome.error
        if isinstance(outcome, Final):
            flow.close()
            return outcome.hypotheses[0].text


async def test_every_stream_hears_its_own_words_in_order_whatever_the_packets() -> None:
    rng = np.random.default_rng(1)
    recognizer = Watched()
    queries = [" ".join(rng.choice(["one", "two", "three", "four"], 5)) for _ in range(40)]
    async with running() as pipeline:
        answers = await asyncio.gather(
            *(speak(open_flow(pipeline, recognizer), query, int(rng.integers(300, 9000))) for query in queries)
        )
    assert answers == queries
    assert not recognizer.inside


async def test_what_waits_while_a_worker_is_busy_is_taken_together_up_to_a_batch() -> None:
    recognizer = Watched()
    async with running(workers=1, max_batch=4) as pipeline:
        recognizer.go.clear()
        flows = [open_flow(pipeline, recognizer) for _ in range(9)]
        tasks = [asyncio.create_task(speak(flow, "one")) for flow in flows]
        await asyncio.sleep(0.1)
        recognizer.go.set()
        assert await asyncio.gather(*tasks) == ["one"] * 9
    assert max(recognizer.batches) == 4


async def test_a_worker_waits_a_moment_for_others_if_it_is_told_to() -> None:
    recognizer = Watched()
    async with running(workers=1, wait_s=0.2) as pipeline:
        flows = [open_flow(pipeline, recognizer) for _ in range(3)]
        assert await asyncio.gather(*(speak(flow, "two") for flow in flows)) == ["two"] * 3
    assert max(recognizer.batches) == 3


async def test_streams_of_two_bundles_are_never_in_one_batch() -> None:
    class Picky(Watched):
        def advance(self, heard: Sequence[tuple[ToneStream, np.ndarray, bool]], costs: object = None) -> None:
            assert all(stream in mine[self] for stream, _, _ in heard)
            super().advance(heard, costs)

        def stream(self, nbest: int = 1, hints: object = None, **_: object) -> ToneStream:
            mine[self].append(super().stream(nbest, hints))
            return mine[self][-1]

    first, second = Picky(), Picky()
    mine: dict[Picky, list[ToneStream]] = {first: [], second: []}
    async with running() as pipeline:
        flows = [open_flow(pipeline, recognizer) for recognizer in (first, second) * 6]
        assert await asyncio.gather(*(speak(flow, "three one") for flow in flows)) == ["three one"] * 12


async def test_a_caller_who_sends_faster_than_is_heard_is_held_back() -> None:
    recognizer = Watched()
    recognizer.go.clear()
    async with running(workers=1) as pipeline:
        flow = open_flow(pipeline, recognizer)
        pushed = 0

        async def flood() -> None:
            nonlocal pushed
            while True:
                await flow.push(bytes(32_000))
                pushed += 32_000

        task = asyncio.create_task(flood())
        await asyncio.sleep(0.3)
        assert pushed <= MAX_WAITING_BYTES + TURN_BYTES + 64_000
        task.cancel()
        recognizer.go.set()
        flow.close()


async def test_of_interim_results_that_nobody_fetched_the_latest_is_kept() -> None:
    async with running() as pipeline:
        flow = open_flow(pipeline, ToneRecognizer(), interim_interval_s=0.0)
        for start in range(0, 60_000, 3200):
            await flow.push(linear16(tones("one two three"))[start : start + 3200])
            await asyncio.sleep(0.01)
        outcome = await flow.next()
        assert isinstance(outcome, Interim)
        assert outcome.partial.hypothesis.text == "one two three"
        await flow.push(b"", end=True)
        assert isinstance(await asyncio.wait_for(flow.next(), 5), Final)
        flow.close()


@pytest.mark.parametrize(
    ("data", "error"),
    [(bytes(400), AudioError), (bytes(100_000), AudioLimitError), (b"", AudioError)],
    ids=["too short", "too long", "nothing"],
)
async def test_bad_audio_fails_its_own_stream_only(data: bytes, error: type[Exception]) -> None:
    recognizer = Watched()
    async with running() as pipeline:
        good = asyncio.create_task(speak(open_flow(pipeline, recognizer), "four two"))
        bad = open_flow(pipeline, recognizer, max_audio_s=2.0)
        await bad.push(data, end=True)
        outcome = await asyncio.wait_for(bad.next(), 5)
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, error)
        bad.close()
        assert await good == "four two"


async def test_a_recogniser_that_throws_fails_who_was_with_it_and_the_worker_goes_on() -> None:
    class Broken(ToneRecognizer):
        def advance(self, heard: object, costs: object = None) -> None:  # noqa: ARG002
            raise ZeroDivisionError("broken model")

    async with running(workers=1) as pipeline:
        with pytest.raises(ZeroDivisionError):
            await speak(open_flow(pipeline, Broken()), "one")
        assert await speak(open_flow(pipeline, ToneRecognizer()), "one") == "one"


async def test_a_closed_stream_is_let_go_of_even_in_the_middle_of_a_turn() -> None:
    recognizer = Watched()
    recognizer.go.clear()
    async with running(workers=1) as pipeline:
        flow = open_flow(pipeline, recognizer)
        session = flow.session
        await flow.push(linear16(tones("one")))
        await asyncio.sleep(0.1)
        flow.close()
        recognizer.go.set()
        deadline = time.monotonic() + 5
        while not session.over:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert await speak(open_flow(pipeline, recognizer), "two") == "two"


class Clock:
    """A worker that is busy with other things for a share of its time, and glimpses where it may."""

    def __init__(self, other: float, glimpse_s: float = 0.02, period_s: float = 0.1) -> None:
        self.spare = Glimpses(free_since=0.0)
        self.glimpses, self.spent_s, now = 0, 0.0, 0.0
        for turn in range(300):
            looks = self.spare.now
            now += period_s * (1 - other) - looks * glimpse_s
            began = now
            now += period_s * other + looks * glimpse_s
            self.spare.worked(began, now, looks * glimpse_s)
            if turn >= 100:
                self.glimpses += looks
                self.spent_s += looks * glimpse_s
        self.share = self.glimpses / 200
        self.load = other + self.spent_s / (200 * period_s)


def test_glimpses_become_fewer_as_other_work_grows_and_fill_half_of_the_time_together() -> None:
    shares = [Clock(other / 20).share for other in range(12)]
    assert shares[:5] == [1.0] * 5, "time enough for every one"
    assert shares == sorted(shares, reverse=True)
    assert 0.1 < shares[8] < 0.9, "some"
    assert shares[10:] == [0.0, 0.0]
    assert all(Clock(other / 20).load <= Glimpses.LOAD + 0.02 for other in range(11))


def test_a_worker_that_was_idle_has_time_for_glimpses_again() -> None:
    spare = Clock(0.9).spare
    assert not spare.at_all
    spare.worked(spare.free_since + 3.0, spare.free_since + 3.01, 0.0)
    assert spare.now
