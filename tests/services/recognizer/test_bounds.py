"""Every limit of the server has a test that passes it, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Sequence

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.dengar.v1 import admin_pb2, admin_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from tests.services.conftest import ToneRecognizer, ToneStream, linear16, serving, tones

RAW = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
AUDIO = linear16(tones("one two three"))
LIMITS = {
    "max_streams", "max_audio_s", "max_message_bytes", "max_packet_bytes", "idle_timeout_s", "call_timeout_s",
    "max_ahead_s", "max_behind_s", "stall_s", "max_rtf", "max_slowdown", "drain_s",
}  # fmt: skip


def configured(**streaming: bool) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(streaming_config=pb.StreamingRecognitionConfig(config=RAW, **streaming))


def audio(data: bytes) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio_content=data)


async def answers(address: str, requests: AsyncIterator[pb.StreamingRecognizeRequest]) -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)
        return [
            result.alternatives[0].transcript
            async for response in stub.StreamingRecognize(requests)
            for result in response.results
            if result.is_final
        ]


async def refusal(address: str, requests: AsyncIterator[pb.StreamingRecognizeRequest]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answers(address, requests)
    return caught.value


def details_of(error: grpc.aio.AioRpcError) -> tuple[str, float | None]:
    """The error's name, and when to try again."""
    packed = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"]).details
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    packed[0].Unpack(info)
    if len(packed) < 2:
        return info.reason, None
    packed[1].Unpack(retry)
    return info.reason, retry.retry_delay.ToTimedelta().total_seconds()


async def test_audio_that_comes_too_slowly_is_ended() -> None:
    async def slow() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        for _ in range(100):
            yield audio(bytes(640))
            await asyncio.sleep(0.1)

    async with serving(max_behind_s=0.5) as address:
        error = await refusal(address, slow())
    assert error.code() is grpc.StatusCode.ABORTED
    assert "0.5 s of delay are accepted" in error.details()
    assert details_of(error) == ("SlowError", None)


async def test_audio_that_comes_faster_than_allowed_is_read_no_faster_than_speech() -> None:
    async def fast() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        data = linear16(tones("one two three four", tail_s=0.6))  # 3.3 s
        for start in range(0, len(data), 3200):
            yield audio(data[start : start + 3200])

    async with serving(max_ahead_s=2.0) as address:
        began = time.monotonic()
        assert await answers(address, fast()) == ["one two three four"]
        held_s = time.monotonic() - began
    async with serving(max_ahead_s=60.0) as address:
        began = time.monotonic()
        assert await answers(address, fast()) == ["one two three four"]
        free_s = time.monotonic() - began
    assert held_s > 0.9
    assert free_s < held_s


async def test_overload_says_when_to_try_again() -> None:
    async def holding() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        yield audio(AUDIO)
        await release.wait()

    async def late() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()

    release = asyncio.Event()
    async with serving(max_streams=1) as address:
        first = asyncio.create_task(answers(address, holding()))
        await asyncio.sleep(0.3)
        error = await refusal(address, late())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        reason, retry_s = details_of(error)
        assert reason == "BusyError"
        assert retry_s is not None
        assert retry_s > 0
        release.set()
        assert await first == ["one two three"]


class Stuck(ToneRecognizer):
    """Does not come back from its first step until told."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls = 0

    def advance(self, heard: Sequence[tuple[ToneStream, np.ndarray, bool]], costs: object = None) -> None:
        self.calls += 1
        if self.calls == 1:
            self.go.wait(20)
        super().advance(heard, costs)


async def test_a_worker_that_is_stuck_is_replaced_and_health_tells() -> None:
    async def speech(data: bytes) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        yield audio(data)

    recognizer = Stuck()
    async with serving(recognizer, threads=1, stall_s=0.4) as address, grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status() -> int:
            return (await health.Check(health_pb2.HealthCheckRequest(service="dengar.v1.Speech"))).status

        assert await status() == health_pb2.HealthCheckResponse.SERVING
        error = await refusal(address, speech(AUDIO))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(error)[0] == "StalledError"
        assert await status() == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await answers(address, speech(AUDIO)) == ["one two three"]
        deadline = time.monotonic() + 5
        while await status() != health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        recognizer.go.set()
        assert await answers(address, speech(AUDIO)) == ["one two three"]


async def test_a_caller_who_never_reads_is_let_go_of_and_bothers_nobody() -> None:
    async def other() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        yield audio(AUDIO)

    async with serving(call_timeout_s=1.0, max_audio_s=600.0) as address, grpc.aio.insecure_channel(address) as channel:
        call = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize()
        await call.write(configured(interim_results=True))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # the server reads no further than its bounds, and so this would block
                while True:
                    await call.write(audio(AUDIO))
        assert await answers(address, other()) == ["one two three"]
        deadline = time.monotonic() + 5
        while (await admin_pb2_grpc.AdminStub(channel).GetStatus(admin_pb2.GetStatusRequest())).live.streams:
            assert time.monotonic() < deadline, "the server still holds the stream"
            await asyncio.sleep(0.05)


async def test_a_caller_with_a_deadline_is_let_go_of_when_it_passes() -> None:
    recognizer = Stuck()
    async with serving(recognizer, stall_s=30.0) as address, grpc.aio.insecure_channel(address) as channel:
        call = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize(timeout=0.5)
        await call.write(configured())
        await call.write(audio(AUDIO))
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        recognizer.go.set()


async def test_metadata_is_bounded() -> None:
    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await speech_pb2_grpc.SpeechStub(channel).GetInfo(pb.GetInfoRequest(), metadata=[("x-long", "a" * 100_000)])
        assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
        assert (await speech_pb2_grpc.SpeechStub(channel).GetInfo(pb.GetInfoRequest())).bundle_hash == "tones"


def test_no_limit_is_forgotten_here() -> None:
    """A field of ServerConfig that bounds something must be named above, and tested in this folder."""
    from dataclasses import fields

    from services.recognizer.config import ServerConfig

    bounding = {
        field.name
        for field in fields(ServerConfig)
        if field.name.startswith("max_") or field.name.endswith("_timeout_s") or field.name in ("stall_s", "drain_s")
    }
    assert bounding - {"max_batch"} == LIMITS
