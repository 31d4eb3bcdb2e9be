"""How callers behave: well, hastily, slowly, wrongly, or not at all; each is one call to a server."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import soundfile

from asr.audio import SAMPLE_RATE_HZ
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.load.streams import status_name

PACKET_BYTES = 3200
_TINY_BYTES = 64
_STREAMING = f"/{pb.DESCRIPTOR.services_by_name['Speech'].full_name}/StreamingRecognize"


class Line:
    """A connection to a server.

    Args:
        address: host and port.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address)
        self.speech: Any = speech_pb2_grpc.SpeechStub(self.channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Hangs up, whatever is under way."""
        await self.channel.close(None)


@dataclass(slots=True)
class Tally:
    """What happened to the calls of one behaviour.

    Attributes:
        calls: begun.
        messages: sent.
        statuses: how often each came; "ANSWERED" is a final result, "LEFT" a caller who went away.
        unexpected: of them, those that this behaviour must not have.
    """

    calls: int = 0
    messages: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    unexpected: int = 0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to behave.

    Attributes:
        name: of it.
        weight: how often it is chosen, beside the others.
        expected: statuses that it may have.
        call: makes one call, and returns its status.
    """

    name: str
    weight: float
    expected: frozenset[str]
    call: Callable[[Line, bytes, np.random.Generator, Tally], Awaitable[str]]


async def run(behaviour: Behaviour, line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> None:
    """Makes one call and counts what became of it.

    Args:
        behaviour: of the caller.
        line: of the caller.
        data: a query, 16-bit samples at 16 kHz.
        rng: of what is left to chance.
        tally: of the behaviour.
    """
    tally.calls += 1
    try:
        async with asyncio.timeout(120):
            status = await behaviour.call(line, data, rng, tally)
    except grpc.aio.AioRpcError as error:
        status = status_name(error)
    except asyncio.InvalidStateError:
        status = "ENDED_EARLY"
    except TimeoutError:
        status = "NO_ANSWER"
    tally.statuses[status] = tally.statuses.get(status, 0) + 1
    tally.unexpected += status not in behaviour.expected | {"CUT_OFF"}


def configured(encoding: int = pb.RecognitionConfig.LINEAR16, **streaming: bool) -> pb.StreamingRecognizeRequest:
    """The first request of a stream."""
    raw = encoding == pb.RecognitionConfig.LINEAR16
    config = pb.RecognitionConfig(encoding=encoding, sample_rate_hertz=16_000 if raw else 0)  # type: ignore[arg-type]
    asked = pb.StreamingRecognitionConfig(config=config, **streaming)  # type: ignore[arg-type]
    return pb.StreamingRecognizeRequest(streaming_config=asked)


async def _send(call: Any, packets: Sequence[bytes], tally: Tally, pause_s: float) -> None:
    for packet in packets:
        await call.write(pb.StreamingRecognizeRequest(audio_content=packet))
        tally.messages += 1
        if pause_s:
            await asyncio.sleep(pause_s)


async def _outcome(call: Any) -> str:
    """Reads to the end; the status."""
    answered = False
    while (response := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
        answered = answered or any(result.is_final for result in response.results)
    code = await call.code()
    return "ANSWERED" if answered and code is grpc.StatusCode.OK else str(code.name)


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


async def _speak(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    call = line.speech.StreamingRecognize()
    await call.write(configured(interim_results=bool(rng.random() < 0.7)))
    reading = asyncio.create_task(_outcome(call))
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # the reader knows why
        await _send(call, _cut(data, PACKET_BYTES), tally, 0.1)
        await call.done_writing()
    return await reading


async def _hurry(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:  # noqa: ARG001
    call = line.speech.StreamingRecognize()
    await call.write(configured())
    reading = asyncio.create_task(_outcome(call))
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await _send(call, _cut(data, PACKET_BYTES), tally, 0.0)
        await call.done_writing()
    return await reading


async def _crumble(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:  # noqa: ARG001
    call = line.speech.StreamingRecognize()
    await call.write(configured(interim_results=True))
    reading = asyncio.create_task(_outcome(call))
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await _send(call, _cut(data, _TINY_BYTES), tally, 0.0)
        await call.done_writing()
    return await reading


async def _dawdle(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    call = line.speech.StreamingRecognize()
    await call.write(configured())
    reading = asyncio.create_task(_outcome(call))
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await _send(call, _cut(data, PACKET_BYTES // 4), tally, float(rng.uniform(0.1, 0.3)))
        await call.done_writing()
    return await reading


async def _vanish(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    call = line.speech.StreamingRecognize()
    await call.write(configured(interim_results=True))
    packets = _cut(data, PACKET_BYTES)
    await _send(call, packets[: int(rng.integers(len(packets)))], tally, 0.02)
    call.cancel()
    return "LEFT"


async def _ignore(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:  # noqa: ARG001
    """Sends and never reads."""
    call = line.speech.StreamingRecognize()
    await call.write(configured(interim_results=True))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            await _send(call, _cut(data, PACKET_BYTES), tally, 0.05)
    call.cancel()
    return "LEFT"


async def _garble(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    """Sends what is no audio, or not what was announced, or in the wrong order."""
    call = line.speech.StreamingRecognize()
    reading = asyncio.create_task(_outcome(call))
    kind = int(rng.integers(4))
    noise = rng.bytes(int(rng.integers(1, 20_000)))
    encodings = (pb.RecognitionConfig.FLAC, pb.RecognitionConfig.MP3, pb.RecognitionConfig.OGG_OPUS)
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        if kind == 0:
            await _send(call, [data[:PACKET_BYTES]], tally, 0.0)  # before any configuration
        elif kind == 1:
            await call.write(configured(encodings[int(rng.integers(3))]))
            await _send(call, _cut(noise, 997), tally, 0.0)
        elif kind == 2:
            await call.write(configured())
            await _send(call, [data[:PACKET_BYTES]], tally, 0.0)
            await call.write(configured())
        else:
            await call.write(pb.StreamingRecognizeRequest(audio_content=noise))
        await call.done_writing()
    return await reading


async def _ask_at_once(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:  # noqa: ARG001
    config = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000, max_alternatives=3)
    tally.messages += 1
    await line.speech.Recognize(pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=data)))
    return "ANSWERED"


async def _send_file(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    """Sends WAV, FLAC or Ogg/Opus, cut anywhere."""
    kind, subtype = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"))[int(rng.integers(3))]
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(data, "<i2"), SAMPLE_RATE_HZ, format=kind, subtype=subtype)
    call = line.speech.StreamingRecognize()
    await call.write(configured(pb.RecognitionConfig.ENCODING_UNSPECIFIED))
    reading = asyncio.create_task(_outcome(call))
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await _send(call, _cut(file.getvalue(), int(rng.integers(200, 5000))), tally, 0.0)
        await call.done_writing()
    return await reading


async def _wait_for_the_end(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:  # noqa: ARG001
    """Leaves it to the server to notice the end."""
    call = line.speech.StreamingRecognize()
    await call.write(configured(single_utterance=True, enable_voice_activity_events=True, interim_results=True))
    reading = asyncio.create_task(_outcome(call))
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        for packet in _cut(data + bytes(6 * SAMPLE_RATE_HZ), PACKET_BYTES):
            if reading.done():
                break
            await _send(call, [packet], tally, 0.05)
        await call.done_writing()
    return await reading


async def _hint(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    """Asks with a hundred hints that nobody had before."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, int(rng.integers(3, 9)))) for _ in range(100)]
    config = pb.RecognitionConfig(
        encoding=pb.RecognitionConfig.LINEAR16,
        sample_rate_hertz=SAMPLE_RATE_HZ,
        speech_contexts=[pb.SpeechContext(phrases=words, boost=4)],
    )
    tally.messages += 1
    await line.speech.Recognize(pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=data)))
    return "ANSWERED"


async def _fall_silent(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:  # noqa: ARG001
    """Begins and then neither speaks nor closes."""
    call = line.speech.StreamingRecognize()
    await call.write(configured())
    await _send(call, [data[:PACKET_BYTES]], tally, 0.0)
    return await _outcome(call)


async def _hang_up(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    """Loses its whole connection in the middle of two streams."""
    own = Line(line.address)
    try:
        calls = [own.speech.StreamingRecognize() for _ in range(2)]
        for call in calls:
            await call.write(configured(interim_results=True))
            packets = _cut(data, PACKET_BYTES)
            await _send(call, packets[: int(rng.integers(1, len(packets)))], tally, 0.01)
    finally:
        await own.close()
    return "LEFT"


async def _send_junk(line: Line, data: bytes, rng: np.random.Generator, tally: Tally) -> str:
    """Sends bytes that are no message: random ones, or a message cut or changed in its middle."""
    raw: Any = line.channel  # the stubs ask for a serialiser, and these bytes have none
    call = raw.stream_stream(_STREAMING, response_deserializer=pb.StreamingRecognizeResponse.FromString)()
    reading = asyncio.create_task(_outcome(call))
    junk = [rng.bytes(int(rng.integers(1, 2000))) for _ in range(3)]
    whole = pb.StreamingRecognizeRequest(audio_content=data[:PACKET_BYTES]).SerializeToString()
    junk += [whole[: int(rng.integers(1, len(whole)))], b"\xff" + whole]
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        if rng.random() < 0.7:
            await call.write(configured().SerializeToString())
        for place in rng.permutation(len(junk)):
            await call.write(junk[place])
            tally.messages += 1
        await call.done_writing()
    return await reading


_BUSY = "RESOURCE_EXHAUSTED"

BEHAVIOURS = (
    Behaviour("speaks", 8, frozenset({"ANSWERED", _BUSY}), _speak),
    Behaviour("hurries", 3, frozenset({"ANSWERED", _BUSY}), _hurry),
    Behaviour("sends crumbs", 6, frozenset({"ANSWERED", _BUSY}), _crumble),
    Behaviour("sends a file", 2, frozenset({"ANSWERED", _BUSY}), _send_file),
    Behaviour("waits for the end", 2, frozenset({"ANSWERED", _BUSY}), _wait_for_the_end),
    Behaviour("asks at once", 2, frozenset({"ANSWERED", _BUSY}), _ask_at_once),
    Behaviour("hints", 1, frozenset({"ANSWERED", _BUSY}), _hint),
    Behaviour("dawdles", 1, frozenset({"ANSWERED", "ABORTED", _BUSY}), _dawdle),
    Behaviour("falls silent", 0.5, frozenset({"ABORTED", _BUSY}), _fall_silent),
    Behaviour("vanishes", 3, frozenset({"LEFT", "ENDED_EARLY", _BUSY}), _vanish),
    Behaviour("hangs up", 1, frozenset({"LEFT", "ENDED_EARLY", _BUSY}), _hang_up),
    Behaviour("never reads", 1, frozenset({"LEFT", "ENDED_EARLY", _BUSY}), _ignore),
    Behaviour("garbles", 3, frozenset({"INVALID_ARGUMENT", _BUSY}), _garble),
    Behaviour("sends junk", 2, frozenset({"INVALID_ARGUMENT", _BUSY}), _send_junk),
)
