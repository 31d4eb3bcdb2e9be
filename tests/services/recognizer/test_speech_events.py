"""Endpoints and speech events over real gRPC; a voice is whatever is loud."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from services.client.errors import SEND_CUT_OFF
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from tests.services.conftest import linear16, serving, tones

Response = pb.StreamingRecognizeResponse
RAW = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
ENDPOINT = {"silence_s": 0.6, "complete_silence_s": 0.6, "start_timeout_s": 2.0, "max_s": 8.0}


async def heard(data: bytes, size: int = 3200, **streaming: object) -> list[pb.StreamingRecognizeResponse]:
    async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        yield pb.StreamingRecognizeRequest(
            streaming_config=pb.StreamingRecognitionConfig(config=RAW, **streaming)  # type: ignore[arg-type]
        )
        for start in range(0, len(data), size):
            yield pb.StreamingRecognizeRequest(audio_content=data[start : start + size])

    responses = []
    async with serving(endpoint=ENDPOINT) as address, grpc.aio.insecure_channel(address) as channel:
        try:
            async for each in speech_pb2_grpc.SpeechStub(channel).StreamingRecognize(requests()):
                responses.append(each)  # noqa: PERF401 (a comprehension would lose what came before the error)
        except grpc.aio.AioRpcError as error:
            if error.details() != SEND_CUT_OFF:  # the stream was over while audio was still being sent
                raise
    return responses


def events(responses: list[pb.StreamingRecognizeResponse]) -> list[tuple[str, int]]:
    return [
        (Response.SpeechEventType.Name(each.speech_event_type), each.speech_event_time.ToMilliseconds())
        for each in responses
        if each.speech_event_type
    ]


def transcript(responses: list[pb.StreamingRecognizeResponse]) -> str:
    return responses[-1].results[0].alternatives[0].transcript


@pytest.mark.parametrize("size", [640, 3200, 7000])
async def test_events_tell_when_somebody_speaks_whatever_the_packets(size: int) -> None:
    data = linear16(np.concatenate([tones("one", tail_s=0.5), tones("two", tail_s=2.0)]))
    found = events(await heard(data, size, enable_voice_activity_events=True))
    assert [name for name, _ in found] == ["SPEECH_ACTIVITY_BEGIN", "SPEECH_ACTIVITY_END"] * 2
    times = [time_ms for _, time_ms in found]
    for time_ms, truth_ms in zip(times, (300, 600, 1700, 2000), strict=True):
        assert truth_ms <= time_ms <= truth_ms + 450
    assert transcript(await heard(data, size, enable_voice_activity_events=True)) == "one two"


async def test_silence_after_speech_ends_the_utterance_and_what_follows_is_not_heard() -> None:
    data = linear16(np.concatenate([tones("one", tail_s=1.5), tones("two")]))
    responses = await heard(data, single_utterance=True)
    ((name, time_ms),) = events(responses)
    assert name == "END_OF_SINGLE_UTTERANCE"
    assert 1200 <= time_ms <= 1500  # the tone ends at 0.6 s
    assert transcript(responses) == "one"


async def test_a_request_may_ask_for_its_own_times() -> None:
    data = linear16(np.concatenate([tones("one", tail_s=0.9), tones("two", tail_s=2.5)]))
    patient = pb.VoiceActivityTimeout(speech_end_timeout=Duration(seconds=2))
    responses = await heard(data, voice_activity_timeout=patient)
    assert transcript(responses) == "one two"
    ((name, time_ms),) = events(responses)
    assert name == "END_OF_SINGLE_UTTERANCE"
    assert 4300 <= time_ms <= 4700  # the second tone ends at 2.4 s


async def test_nobody_speaks_and_somebody_never_stops() -> None:
    silent = await heard(bytes(32_000 * 4), single_utterance=True)
    assert events(silent) == [("SPEECH_ACTIVITY_TIMEOUT", pytest.approx(2000, abs=40))]
    assert transcript(silent) == ""
    endless = linear16(np.tile(tones("one two", tail_s=0.0)[4000:], 12))
    short = pb.VoiceActivityTimeout(max_length=Duration(seconds=3))
    responses = await heard(endless, voice_activity_timeout=short)
    assert events(responses) == [("SPEECH_ACTIVITY_TIMEOUT", pytest.approx(3000, abs=40))]
    assert transcript(responses).startswith("one two one")


async def test_times_that_make_no_sense_are_refused() -> None:
    for asked in (
        pb.VoiceActivityTimeout(speech_end_timeout=Duration(seconds=-1)),
        pb.VoiceActivityTimeout(speech_start_timeout=Duration(seconds=9), max_length=Duration(seconds=2)),
        pb.VoiceActivityTimeout(max_length=Duration(seconds=100_000)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await heard(bytes(3200), voice_activity_timeout=asked)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "\n" not in caught.value.details()
