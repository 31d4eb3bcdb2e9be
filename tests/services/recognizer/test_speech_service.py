"""The service over real gRPC connections on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator, Iterable

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.client.errors import SEND_CUT_OFF
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from tests.services.conftest import ToneRecognizer, ToneStream, encoded, linear16, serving, tones

LINEAR16 = pb.RecognitionConfig.LINEAR16
RAW = pb.RecognitionConfig(encoding=LINEAR16, sample_rate_hertz=16_000)
AUDIO = linear16(tones("one two three"))


@contextlib.asynccontextmanager
async def speech(address: str) -> AsyncIterator[speech_pb2_grpc.SpeechStub]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield speech_pb2_grpc.SpeechStub(channel)


def configured(config: pb.RecognitionConfig = RAW, **streaming: bool) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(streaming_config=pb.StreamingRecognitionConfig(config=config, **streaming))


def audio(data: bytes, size: int = 3200) -> list[pb.StreamingRecognizeRequest]:
    return [
        pb.StreamingRecognizeRequest(audio_content=data[start : start + size]) for start in range(0, len(data), size)
    ]


async def exchange(
    address: str, requests: Iterable[pb.StreamingRecognizeRequest] | AsyncIterator[pb.StreamingRecognizeRequest]
) -> list[pb.StreamingRecognizeResponse]:
    async with speech(address) as stub:
        sent = requests if isinstance(requests, AsyncIterator) else iter(requests)
        return [response async for response in stub.StreamingRecognize(sent)]


async def refused(address: str, requests: Iterable[pb.StreamingRecognizeRequest]) -> grpc.aio.AioRpcError:
    requests = list(requests)
    for _ in range(5):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange(address, requests)
        if caught.value.details() != SEND_CUT_OFF:  # else the refusal met a send, which hides it from this client
            break
    assert "\n" not in caught.value.details()
    assert "Traceback" not in caught.value.details()
    return caught.value


def text(responses: list[pb.StreamingRecognizeResponse]) -> str:
    (final,) = [result for response in responses for result in response.results if result.is_final]
    return final.alternatives[0].transcript


async def test_recognize_gives_words_times_alternatives_and_metadata(address: str) -> None:
    config = pb.RecognitionConfig(
        encoding=LINEAR16,
        sample_rate_hertz=16_000,
        max_alternatives=3,
        enable_word_time_offsets=True,
        enable_word_confidence=True,
    )
    async with speech(address) as stub:
        response = await stub.Recognize(pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=AUDIO)))
    (result,) = response.results
    assert [each.transcript for each in result.alternatives] == ["one two three", "alternative 1", "alternative 2"]
    best = result.alternatives[0]
    assert best.confidence == 0.5
    assert [word.word for word in best.words] == ["one", "two", "three"]
    assert best.words[1].start_time.ToMilliseconds() == 900
    assert best.words[1].end_time.ToMilliseconds() == 1000
    assert best.words[1].confidence == 0.75
    assert response.metadata.bundle_hash == "tones"
    assert response.metadata.audio_duration.ToMilliseconds() == len(AUDIO) // 32


async def test_words_come_only_if_asked_for(address: str) -> None:
    for wanted in ({}, {"enable_word_time_offsets": True}, {"enable_word_confidence": True}):
        config = pb.RecognitionConfig(encoding=LINEAR16, sample_rate_hertz=16_000, **wanted)
        responses = await exchange(address, [configured(config), *audio(AUDIO)])
        words = responses[-1].results[0].alternatives[0].words
        assert bool(words) == bool(wanted)
        for word in words:
            assert word.HasField("start_time") == config.enable_word_time_offsets
            assert word.HasField("confidence") == config.enable_word_confidence


async def test_a_stream_gives_interim_results_and_then_one_final(address: str) -> None:
    async def spoken() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        for request in (configured(interim_results=True), *audio(AUDIO)):
            yield request
            await asyncio.sleep(0.03)  # all at once there would be nothing to tell between

    responses = await exchange(address, spoken())
    results = [result for response in responses for result in response.results]
    assert [result.is_final for result in results] == [False] * (len(results) - 1) + [True]
    texts = [result.alternatives[0].transcript for result in results]
    assert texts[-1] == "one two three"
    assert len(texts) > 1
    assert all(texts[-1].startswith(text) for text in texts)
    assert texts == sorted(texts, key=len)
    assert all(0 < result.stability <= 1 for result in results[:-1])
    ends = [result.result_end_time.ToMilliseconds() for result in results]
    assert ends == sorted(ends)
    assert not any(response.HasField("metadata") for response in responses[:-1])
    assert responses[-1].metadata.bundle_hash == "tones"


async def test_no_interim_results_unless_asked_for(address: str) -> None:
    assert len(await exchange(address, [configured(), *audio(AUDIO)])) == 1


async def test_interim_results_keep_their_distance() -> None:
    async with serving(interim_interval_ms=60_000) as address:
        responses = await exchange(address, [configured(interim_results=True), *audio(AUDIO)])
    assert len(responses) == 2


@pytest.mark.parametrize("size", [1001, 3200, 50_000, 1_000_000])
async def test_the_final_text_does_not_depend_on_packets(address: str, size: int) -> None:
    data = linear16(tones("four one two two three one", rate_hz=44_100))
    config = pb.RecognitionConfig(encoding=LINEAR16, sample_rate_hertz=44_100)
    responses = await exchange(address, [configured(config), *audio(data, size)])
    assert text(responses) == "four one two two three one"


ENCODED = {
    "LINEAR16": linear16(tones("one two four", 8000)),
    "MULAW": encoded(tones("one two four", 8000), 8000, "RAW", "ULAW"),
    "FLAC": encoded(tones("one two four", 22_050), 22_050, "FLAC"),
    "OGG_OPUS": encoded(tones("one two four", 48_000), 48_000, "OGG", "OPUS"),
    "MP3": encoded(tones("one two four", 44_100), 44_100, "MP3"),
    "WAV": encoded(np.stack([tones("one two four")] * 2, axis=1), 16_000, "WAV"),
}


@pytest.mark.parametrize("encoding", ENCODED)
async def test_encodings(address: str, encoding: str) -> None:
    raw = encoding in ("LINEAR16", "MULAW")
    config = pb.RecognitionConfig(
        encoding="LINEAR16" if encoding == "WAV" else encoding, sample_rate_hertz=8000 if raw else 0
    )
    data = ENCODED[encoding]
    assert text(await exchange(address, [configured(config), *audio(data, 700)])) == "one two four"
    async with speech(address) as stub:
        unary = await stub.Recognize(pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=data)))
    assert unary.results[0].alternatives[0].transcript == "one two four"


async def test_single_utterance_ends_by_itself() -> None:
    never = asyncio.Event()

    async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured(single_utterance=True)
        for request in audio(linear16(tones("one two", tail_s=1.0)) + AUDIO):
            yield request
        await never.wait()

    async with serving(endpoint={"silence_s": 0.8, "complete_silence_s": 0.8}) as address, speech(address) as stub:
        responses = [response async for response in stub.StreamingRecognize(requests())]
    event, final = responses
    assert event.speech_event_type == pb.StreamingRecognizeResponse.END_OF_SINGLE_UTTERANCE
    assert 2000 <= event.speech_event_time.ToMilliseconds() <= 2600  # "two" ends at 1.2 s
    assert text([final]) == "one two"


async def test_silence_before_the_first_word_ends_nothing(address: str) -> None:
    quiet = np.zeros(3 * 16_000, np.float32)
    data = linear16(np.concatenate([quiet, tones("three", tail_s=1.5)]))
    responses = await exchange(address, [configured(single_utterance=True), *audio(data)])
    assert text(responses) == "three"


async def test_a_stream_without_words_ends_with_an_empty_result(address: str) -> None:
    responses = await exchange(address, [configured(interim_results=True), *audio(bytes(32_000))])
    assert len(responses) == 1
    assert text(responses) == ""


SHORT = linear16(np.zeros(160, np.float32))
BAD_STREAMS = {
    "nothing": ([], "INVALID_ARGUMENT", "send streaming_config first"),
    "audio first": (audio(AUDIO), "INVALID_ARGUMENT", "must be streaming_config"),
    "empty first": ([pb.StreamingRecognizeRequest()], "INVALID_ARGUMENT", "must be streaming_config"),
    "changes its mind": ([configured(), *audio(AUDIO), configured()], "INVALID_ARGUMENT", "only once"),
    "empty request": ([configured(), pb.StreamingRecognizeRequest()], "INVALID_ARGUMENT", "only once"),
    "no audio": ([configured()], "INVALID_ARGUMENT", "ended without audio"),
    "empty audio": (
        [configured(), pb.StreamingRecognizeRequest(audio_content=b"")],
        "INVALID_ARGUMENT",
        "without audio",
    ),
    "10 ms": ([configured(), *audio(SHORT)], "INVALID_ARGUMENT", "10 ms came"),
    "no rate": (
        [configured(pb.RecognitionConfig(encoding=LINEAR16)), *audio(AUDIO)],
        "INVALID_ARGUMENT",
        "sample_rate",
    ),
    "bad rate": (
        [configured(pb.RecognitionConfig(encoding=LINEAR16, sample_rate_hertz=192_000))],
        "INVALID_ARGUMENT",
        "sample_rate_hertz is 192000",
    ),
    "negative channels": (
        [configured(pb.RecognitionConfig(encoding=LINEAR16, sample_rate_hertz=8000, audio_channel_count=-1))],
        "INVALID_ARGUMENT",
        "audio_channel_count is -1",
    ),
    "unknown encoding": ([configured(pb.RecognitionConfig(encoding=77))], "INVALID_ARGUMENT", "'77' is unknown"),
    "alternatives": ([configured(pb.RecognitionConfig(max_alternatives=31))], "INVALID_ARGUMENT", "0 to 30"),
    "language": ([configured(pb.RecognitionConfig(language_code="de-DE"))], "INVALID_ARGUMENT", "served: en-US"),
    "not the encoding": (
        [configured(pb.RecognitionConfig(encoding="FLAC")), *audio(AUDIO)],
        "INVALID_ARGUMENT",
        "cannot be decoded as FLAC",
    ),
    "stops halfway": (
        [configured(pb.RecognitionConfig(encoding="FLAC")), *audio(ENCODED["FLAC"][: len(ENCODED["FLAC"]) // 2])],
        "INVALID_ARGUMENT",
        "truncated|ends in the middle",
    ),
    "large packet": ([configured(), *audio(bytes(1_100_000), 1_100_000)], "INVALID_ARGUMENT", "at most 1048576"),
    "too long": (
        [configured(), *audio(bytes(320_000) * 31, 320_000)],
        "OUT_OF_RANGE",
        "longer than the limit of 300 s",
    ),
}


@pytest.mark.parametrize("case", BAD_STREAMS)
async def test_a_bad_stream_has_one_clear_status_and_no_neighbour_notices(address: str, case: str) -> None:
    requests, code, says = BAD_STREAMS[case]
    good = asyncio.create_task(exchange(address, [configured(interim_results=True), *audio(AUDIO, 800)]))
    error = await refused(address, requests)
    assert error.code().name == code
    assert re.search(says, error.details()), error.details()
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert info.reason.endswith("Error")
    assert text(await good) == "one two three"


async def test_unary_errors(address: str) -> None:
    async with speech(address) as stub:
        for request, code in (
            (pb.RecognizeRequest(config=RAW), "INVALID_ARGUMENT"),
            (pb.RecognizeRequest(audio=pb.RecognitionAudio(content=b"not audio at all")), "INVALID_ARGUMENT"),
            (pb.RecognizeRequest(config=RAW, audio=pb.RecognitionAudio(content=bytes(9_700_000))), "OUT_OF_RANGE"),
            (pb.RecognizeRequest(config=RAW, audio=pb.RecognitionAudio(content=bytes(2**24))), "RESOURCE_EXHAUSTED"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Recognize(request)
            assert caught.value.code().name == code


async def test_an_idle_stream_is_ended() -> None:
    async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        await asyncio.sleep(30)

    async with serving(idle_timeout_s=0.2) as address, speech(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=r"nothing came for 0.2 s") as caught:
            [response async for response in stub.StreamingRecognize(requests())]
        assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_a_dripping_stream_is_ended() -> None:
    async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield configured()
        while True:
            yield pb.StreamingRecognizeRequest(audio_content=b"\0")
            await asyncio.sleep(0.05)

    async with serving(call_timeout_s=0.4) as address, speech(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=r"longer than 0.4 s") as caught:
            [response async for response in stub.StreamingRecognize(requests())]
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_one_stream_too_many_is_refused_and_room_comes_back() -> None:
    async with serving(max_streams=2) as address, speech(address) as stub:
        calls = [stub.StreamingRecognize() for _ in range(2)]
        for call in calls:
            await call.write(configured(interim_results=True))
            for request in audio(AUDIO):
                await call.write(request)
            assert (await call.read()).results  # admitted for certain
        error = await refused(address, [configured(), *audio(AUDIO)])
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "all 2 streams" in error.details()
        await calls[0].done_writing()
        answers = []
        while (answer := await calls[0].read()) is not grpc.aio.EOF:
            answers.append(answer)
        assert text(answers) == "one two three"
        calls[1].cancel()
        await eventually(lambda: exchange(address, [configured(), *audio(AUDIO)]))


async def eventually(attempt: object, seconds: float = 5.0) -> object:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await attempt()  # type: ignore[operator]
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


async def test_many_streams_at_once_keep_their_own_words(address: str) -> None:
    rng = np.random.default_rng(3)
    queries = [" ".join(rng.choice(["one", "two", "three", "four"], 4)) for _ in range(24)]

    async def ask(query: str) -> str:
        data, size = encoded(tones(query), 16_000, "FLAC"), int(rng.integers(200, 5000))
        return text(await exchange(address, [configured(pb.RecognitionConfig()), *audio(data, size)]))

    async def vanish() -> None:
        async with speech(address) as stub:
            call = stub.StreamingRecognize()
            await call.write(configured(pb.RecognitionConfig(encoding="MP3"), interim_results=True))
            await call.write(pb.StreamingRecognizeRequest(audio_content=ENCODED["MP3"][:3000]))
            call.cancel()

    answers = await asyncio.gather(*map(ask, queries), *(vanish() for _ in range(6)))
    assert list(answers[: len(queries)]) == queries
    deadline = time.monotonic() + 5
    while any(thread.name == "container-decoder" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a vanished caller left its decoder behind"
        await asyncio.sleep(0.02)


async def test_an_unforeseen_error_is_internal_and_says_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ToneStream):
        def accept(self, samples: np.ndarray) -> None:  # noqa: ARG002
            raise ZeroDivisionError("secret weights at /srv")

    class BrokenRecognizer(ToneRecognizer):
        def stream(self, nbest: int = 1, hints: object = None, **_: object) -> ToneStream:  # noqa: ARG002
            return Broken(nbest)

    async with serving(BrokenRecognizer()) as address:
        error = await refused(address, [configured(), *audio(AUDIO)])
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    reference = error.details().split()[-1]
    assert reference in caplog.text
    assert "secret" in caplog.text


async def test_the_loop_answers_while_streams_are_busy() -> None:
    class Slow(ToneStream):
        def accept(self, samples: np.ndarray) -> None:
            time.sleep(0.2)
            super().accept(samples)

    class SlowRecognizer(ToneRecognizer):
        def stream(self, nbest: int = 1, hints: object = None, **_: object) -> ToneStream:  # noqa: ARG002
            return Slow(nbest)

    async with serving(SlowRecognizer()) as address, speech(address) as stub:
        busy = [asyncio.create_task(exchange(address, [configured(), *audio(AUDIO, 10**6)])) for _ in range(2)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        info = await stub.GetInfo(pb.GetInfoRequest())
        assert time.monotonic() - began < 0.15
        assert info.bundle_hash == "tones"
        assert not any(task.done() for task in busy)
        assert [text(answer) for answer in await asyncio.gather(*busy)] == ["one two three"] * 2


async def test_health_per_service(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "dengar.v1.Speech"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_describes_the_service(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="dengar.v1.Speech"),
        ]
        names, file = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert {"dengar.v1.Speech", "grpc.health.v1.Health"} <= {each.name for each in names.list_services_response.service}
    assert file.file_descriptor_response.file_descriptor_proto
