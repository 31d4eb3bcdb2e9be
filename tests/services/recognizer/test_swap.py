"""Bundles that change while streams run, over real gRPC."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Sequence

import grpc
import numpy as np
import pytest

from asr.errors import BundleError
from services.dengar.v1 import admin_pb2, admin_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.recognizer.config import server_config
from services.recognizer.server import Server
from services.recognizer.shadow import differences
from tests.services.conftest import ToneRecognizer, ToneStream, linear16, tones

CONFIG = pb.StreamingRecognizeRequest(
    streaming_config=pb.StreamingRecognitionConfig(
        config=pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
    )
)


class Named(ToneRecognizer):
    """A recogniser with a hash and, if asked, a slip, a delay or a fault."""

    def __init__(self, name: str, *, slow_s: float = 0.0, mishears: bool = False, broken: bool = False) -> None:
        self.bundle_hash = name
        self._slow_s, self._mishears, self._broken = slow_s, mishears, broken

    def stream(self, nbest: int = 1, hints: object = None, **_: object) -> ToneStream:
        stream = super().stream(nbest, hints)
        if self._mishears:
            stream._tone = lambda window: "four" if ToneStream._tone(window) else ""  # type: ignore[method-assign]
        return stream

    def advance(self, heard: Sequence[tuple[ToneStream, np.ndarray, bool]], costs: object = None) -> None:
        if self._broken:
            raise ValueError("weights of another shape")
        until = time.thread_time() + self._slow_s * sum(len(samples) for _, samples, _ in heard) / 16_000
        while time.thread_time() < until:
            pass
        super().advance(heard, costs)


class Shelf:
    """Bundles by name; opening one is noted."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, name: str) -> Named:
        self.opened.append(name)
        match name:
            case "missing":
                raise BundleError("missing: no such bundle")
            case "slow":
                return Named(name, slow_s=0.8)
            case "broken":
                return Named(name, broken=True)
            case "deaf":
                return Named(name, mishears=True)
        return Named(name)


@pytest.fixture
async def running() -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    server = Server(Named("first"), server_config(port=0, drain_s=0.0, threads=2), Shelf(), name="first")
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel
    await server.drain()


def admin(channel: grpc.aio.Channel) -> admin_pb2_grpc.AdminStub:
    return admin_pb2_grpc.AdminStub(channel)


async def ask(channel: grpc.aio.Channel, words: str) -> tuple[str, str]:
    """What was understood, and by which bundle."""
    call = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize()
    await call.write(CONFIG)
    return await finish(call, linear16(tones(words)))


async def finish(call: grpc.aio.StreamStreamCall, data: bytes) -> tuple[str, str]:
    for start in range(0, len(data), 3200):
        await call.write(pb.StreamingRecognizeRequest(audio_content=data[start : start + 3200]))
    await call.done_writing()
    (response,) = [response async for response in call]
    return response.results[0].alternatives[0].transcript, response.metadata.bundle_hash


async def test_new_streams_get_the_new_bundle_and_running_ones_finish_on_theirs(running) -> None:
    server, channel = running
    old = weakref.ref(server.bundles.live.recognizer)
    begun = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize()
    await begun.write(CONFIG)
    await begun.write(pb.StreamingRecognizeRequest(audio_content=linear16(tones("one"))))
    while not server.bundles.live.streams:
        await asyncio.sleep(0.01)
    status = await admin(channel).Promote(admin_pb2.PromoteRequest(bundle="second"))
    assert (status.live.hash, status.previous_hash) == ("second", "first")
    assert [(each.hash, each.streams) for each in status.draining] == [("first", 1)]
    assert await ask(channel, "two") == ("two", "second")
    assert await finish(begun, linear16(tones("three"))) == ("one three", "first")
    deadline = time.monotonic() + 5
    while old() is not None:
        gc.collect()
        assert time.monotonic() < deadline, "the old bundle is still held"
        await asyncio.sleep(0.02)
    assert not (await admin(channel).GetStatus(admin_pb2.GetStatusRequest())).draining


async def test_rollback_brings_the_previous_bundle_back(running) -> None:
    _, channel = running
    with pytest.raises(grpc.aio.AioRpcError, match="nothing was live before"):
        await admin(channel).Rollback(admin_pb2.RollbackRequest())
    await admin(channel).Promote(admin_pb2.PromoteRequest(bundle="second"))
    status = await admin(channel).Rollback(admin_pb2.RollbackRequest())
    assert (status.live.hash, status.previous_hash) == ("first", "second")
    assert await ask(channel, "two") == ("two", "first")


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing", "no such bundle"), ("slow", "processor seconds"), ("broken", "does not recognise")],
)
async def test_a_bad_bundle_is_refused_and_the_old_one_stays(running, name: str, says: str) -> None:
    _, channel = running
    for call in (
        admin(channel).Promote(admin_pb2.PromoteRequest(bundle=name)),
        admin(channel).SetCandidate(admin_pb2.SetCandidateRequest(bundle=name, canary_share=0.5)),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=says) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = await admin(channel).GetStatus(admin_pb2.GetStatusRequest())
    assert status.live.hash == "first"
    assert not status.HasField("candidate")
    assert await ask(channel, "four") == ("four", "first")


async def test_streams_go_on_while_bundles_are_swapped_again_and_again(running) -> None:
    _, channel = running
    done = asyncio.Event()
    answers: list[tuple[str, str]] = []

    async def talk(words: str) -> None:
        while not done.is_set():
            answers.append(await ask(channel, words))
            assert answers[-1][0] == words

    talking = [asyncio.create_task(talk(words)) for words in ("one two", "three", "four four one") * 3]
    for number in range(12):
        await admin(channel).Promote(admin_pb2.PromoteRequest(bundle=f"bundle-{number}"))
        await asyncio.sleep(0.1)
    done.set()
    await asyncio.gather(*talking)
    assert len({answered_by for _, answered_by in answers}) > 3


async def test_a_canary_gets_its_share_and_can_be_promoted_or_let_go(running) -> None:
    _, channel = running
    await admin(channel).SetCandidate(admin_pb2.SetCandidateRequest(bundle="second", canary_share=0.5))
    answered = [(await ask(channel, "one"))[1] for _ in range(40)]
    assert 5 < answered.count("second") < 35
    status = await admin(channel).SetCandidate(admin_pb2.SetCandidateRequest())
    assert not status.HasField("candidate")
    assert {(await ask(channel, "one"))[1] for _ in range(8)} == {"first"}
    await admin(channel).SetCandidate(admin_pb2.SetCandidateRequest(bundle="second", canary_share=0.1))
    status = await admin(channel).Promote(admin_pb2.PromoteRequest())
    assert (status.live.hash, status.HasField("candidate")) == ("second", False)


async def test_shares_out_of_range_and_without_a_candidate_are_refused(running) -> None:
    _, channel = running
    for request in (
        admin_pb2.SetCandidateRequest(bundle="second", canary_share=1.5),
        admin_pb2.SetCandidateRequest(canary_share=0.5),
        admin_pb2.SetCandidateRequest(bundle="second", shadow_share=-0.1),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin(channel).SetCandidate(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError, match="no candidate to promote"):
        await admin(channel).Promote(admin_pb2.PromoteRequest())


async def test_a_shadow_hears_what_was_answered_and_the_caller_notices_nothing(running) -> None:
    _, channel = running
    await admin(channel).SetCandidate(admin_pb2.SetCandidateRequest(bundle="deaf", shadow_share=1.0))
    for words in ("one two", "four"):
        assert await ask(channel, words) == (words, "first")
    deadline = time.monotonic() + 5
    while (shadow := (await admin(channel).GetStatus(admin_pb2.GetStatusRequest())).shadow).utterances < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert (shadow.changed, shadow.words, shadow.word_differences) == (1, 3, 2)


def test_differences_are_word_errors() -> None:
    assert differences("call ann now", "call and now please") == 2
    assert differences("", "two words") == 2
    assert differences("same", "same") == 0
