"""What streams cost in memory: as soon as they speak, and after they have spoken for long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.errors import DengarError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.load.server import Running
from services.load.streams import PACKET_S, config_of, packets_of

SHORT_S = 3.0
HEARD_WITHIN_S = 120.0
"""How long the server may take for what it was sent; else the measurement is given up."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a server's process, resident, in bytes.

    Attributes:
        idle: before.
        streams: that were open at once.
        short_s, long_s: how much audio each had sent.
        after_short, after_long: with all of them still open.
    """

    idle: int
    streams: int
    short_s: float
    long_s: float
    after_short: int
    after_long: int

    @property
    def per_stream(self) -> float:
        """Of a stream that has begun to speak."""
        return (self.after_short - self.idle) / self.streams

    @property
    def per_stream_minute(self) -> float:
        """By which a stream grows in a minute of speech."""
        return (self.after_long - self.after_short) / self.streams / (self.long_s - self.short_s) * 60

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "per_stream": self.per_stream, "per_stream_minute": self.per_stream_minute}


async def memory_of_streams(server: Running, queries: Sequence[Samples], streams: int, long_s: float) -> Memory:
    """Opens streams that speak query after query, and looks at the server early and late.

    Args:
        server: that runs; audio comes as fast as it is taken in.
        queries: recordings at 16 kHz.
        streams: at once.
        long_s: how much audio each has sent in the end.

    Raises:
        DengarError: what was sent was not heard in time.
    """
    speech = np.concatenate([*queries] * (1 + int(long_s * SAMPLE_RATE_HZ) // sum(map(len, queries))))
    packets = packets_of(speech[: int(long_s * SAMPLE_RATE_HZ)])
    idle = server.usage().memory_bytes
    first = round(SHORT_S / PACKET_S)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)  # type: ignore[no-untyped-call]
        calls = [_Call(stub.StreamingRecognize()) for _ in range(streams)]
        try:
            await asyncio.gather(*(call.begin() for call in calls))
            await asyncio.gather(*(call.speak(packets[:first]) for call in calls))
            after_short = server.usage().memory_bytes
            await asyncio.gather(*(call.speak(packets[first:]) for call in calls))
            after_long = server.usage().memory_bytes
        finally:
            for call in calls:
                call.end()
    return Memory(idle, streams, SHORT_S, len(packets) * PACKET_S, after_short, after_long)


class _Call:
    def __init__(self, call: Any) -> None:
        self._call = call
        self._sent_s = self._heard_s = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self._call.write(config_of(interim=True))
        self._reading = asyncio.create_task(self._read())

    async def speak(self, packets: Sequence[bytes]) -> None:
        """Sends packets and waits until the server says something about the last two seconds of them."""
        assert self._reading is not None
        for packet in packets:
            try:
                await self._call.write(pb.StreamingRecognizeRequest(audio_content=packet))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                raise self._unheard() from error  # the server has ended it
            self._sent_s += PACKET_S
        deadline = asyncio.get_running_loop().time() + HEARD_WITHIN_S
        while self._reading.done() or self._heard_s < self._sent_s - 2.0:
            if self._reading.done() or asyncio.get_running_loop().time() > deadline:
                raise self._unheard()
            await asyncio.sleep(0.1)

    def _unheard(self) -> DengarError:
        return DengarError(f"the server heard {self._heard_s:.1f} s of {self._sent_s:.1f} s that a stream sent")

    async def _read(self) -> None:
        while (response := await self._call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            for result in response.results:
                self._heard_s = result.result_end_time.ToTimedelta().total_seconds()

    def end(self) -> None:
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
