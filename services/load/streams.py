"""Real-time streams, many at a time: each speaks a query as a phone would, and notes when the words came."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from services.client.errors import SEND_CUT_OFF
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc

PACKET_S = 0.1
STREAMS_PER_CONNECTION = 25
BEHIND_S = 0.5
"""A packet that could be sent only so much later than it was spoken counts as fallen behind."""
_BYTES_PER_S = 2 * SAMPLE_RATE_HZ


@dataclass(slots=True)
class Timings:
    """What was seen of all queries, in seconds.

    Attributes:
        final: from half-close to the final result.
        first_word: from the end of the first word to the first interim result.
        interim: from the sound that an interim result rests on to its coming.
        gap: between interim results, and before the first, while somebody speaks.
        taken_back: of each word of an interim result, whether the final result has another at its place.
        stability: of the interim result that it stood in.
        late: by how much the latest packet of each query was sent too late.
        audio_s: of the queries that were answered.
        sent_s: audio sent so far.
        queries: answered.
        errors: how often by status.
    """

    final: list[float] = field(default_factory=list)
    first_word: list[float] = field(default_factory=list)
    interim: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    taken_back: list[bool] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    sent_s: float = 0.0
    queries: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def behind(self) -> float:
        """Share of queries whose audio fell behind."""
        return float(np.mean(np.array(self.late) > BEHIND_S)) if self.late else 0.0


def status_name(error: grpc.aio.AioRpcError) -> str:
    """The status of a call that failed; "CUT_OFF" where a refusal met a send, which hides its status."""
    return "CUT_OFF" if error.details() == SEND_CUT_OFF else str(error.code().name)


class _EndedError(Exception):
    """A stream that ended without a final result; the status's name."""


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    words: tuple[str, ...]
    stability: float
    audio_s: float


async def run_streams(
    address: str,
    queries: Sequence[Samples],
    streams: int,
    seconds: float,
    timings: Timings,
    *,
    seed: int = 0,
    interim: bool = True,
) -> None:
    """Keeps so many streams speaking for a while; queries that begin in that time are finished and counted.

    Args:
        address: host and port, plain text.
        queries: recordings, shape (T,), 16 kHz; each stream speaks them in an order of its own.
        streams: at once.
        seconds: how long new queries begin.
        timings: told what is seen, as it is seen.
        seed: of the orders and of each stream's first moment.
        interim: ask for interim results.
    """
    packets = [packets_of(query) for query in queries]
    config = config_of(interim=interim)
    channels = [grpc.aio.insecure_channel(address) for _ in range(-(-streams // STREAMS_PER_CONNECTION))]
    try:
        ends = time.monotonic() + seconds
        await asyncio.gather(
            *(
                _caller(
                    speech_pb2_grpc.SpeechStub(channels[number % len(channels)]),  # type: ignore[no-untyped-call]
                    config,
                    packets,
                    np.random.default_rng([seed, number]),
                    ends,
                    timings,
                )
                for number in range(streams)
            )
        )
    finally:
        for channel in channels:
            await channel.close(None)


async def _caller(
    stub: speech_pb2_grpc.SpeechStub,
    config: pb.StreamingRecognizeRequest,
    queries: Sequence[Sequence[bytes]],
    rng: np.random.Generator,
    ends: float,
    timings: Timings,
) -> None:
    phase_s = min(len(queries[0]) * PACKET_S, (ends - time.monotonic()) / 4)
    await asyncio.sleep(float(rng.uniform(0.0, max(0.0, phase_s))))
    while time.monotonic() < ends:
        query = queries[int(rng.integers(len(queries)))]
        try:
            await _query(stub, config, query, timings)
        except (grpc.aio.AioRpcError, _EndedError) as error:
            name = status_name(error) if isinstance(error, grpc.aio.AioRpcError) else str(error)
            timings.errors[name] = timings.errors.get(name, 0) + 1
            await asyncio.sleep(float(rng.uniform(0.2, 1.0)))


async def _query(
    stub: speech_pb2_grpc.SpeechStub,
    config: pb.StreamingRecognizeRequest,
    packets: Sequence[bytes],
    timings: Timings,
) -> None:
    call = stub.StreamingRecognize()
    await call.write(config)
    began = time.monotonic()
    seen: list[_Seen] = []
    final: asyncio.Task[tuple[float, pb.StreamingRecognitionResult]] = asyncio.create_task(_read(call, began, seen))
    late = 0.0
    try:
        for number, packet in enumerate(packets, 1):
            due = began + number * PACKET_S  # a packet is there once its last sample is spoken
            await asyncio.sleep(due - time.monotonic())
            await call.write(pb.StreamingRecognizeRequest(audio_content=packet))
            late = max(late, time.monotonic() - due)
            timings.sent_s += len(packet) / _BYTES_PER_S
        await call.done_writing()
        closed_s = time.monotonic() - began
        final_s, result = await final
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await final  # its error says why
        raise
    finally:
        final.cancel()
    duration_s = sum(map(len, packets)) / _BYTES_PER_S
    timings.queries += 1
    timings.audio_s += duration_s
    timings.late.append(late)
    timings.final.append(final_s - closed_s)
    _note_interim(seen, result, timings)


async def _read(call: Any, began: float, seen: list[_Seen]) -> tuple[float, pb.StreamingRecognitionResult]:
    while (response := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
        now_s = time.monotonic() - began
        for result in response.results:
            if result.is_final:
                return now_s, result
            words = tuple(result.alternatives[0].transcript.split())
            end_s = result.result_end_time.ToTimedelta().total_seconds()
            seen.append(_Seen(now_s, words, result.stability, end_s))
    raise _EndedError((await call.code()).name)


def _note_interim(seen: Sequence[_Seen], final: pb.StreamingRecognitionResult, timings: Timings) -> None:
    words = final.alternatives[0].words
    if words and seen:
        timings.first_word.append(seen[0].at_s - words[0].end_time.ToTimedelta().total_seconds())
    timings.interim += [one.at_s - one.audio_s for one in seen]
    timings.gap += [after.at_s - before.at_s for before, after in itertools.pairwise(seen)]
    stands = [word.word for word in words]
    for one in seen:
        for place, word in enumerate(one.words):
            timings.taken_back.append(place >= len(stands) or stands[place] != word)
            timings.stability.append(one.stability)


def packets_of(samples: Samples) -> list[bytes]:
    """16-bit samples in packets of `PACKET_S`."""
    data = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
    size = int(PACKET_S * _BYTES_PER_S)
    return [data[start : start + size] for start in range(0, len(data), size)]


def config_of(*, interim: bool) -> pb.StreamingRecognizeRequest:
    """The first request of a stream."""
    return pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(
            interim_results=interim,
            config=pb.RecognitionConfig(
                encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, enable_word_time_offsets=True
            ),
        )
    )
