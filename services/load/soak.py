"""A soak: callers of every behaviour against a server for a long time, and whether it stays well and flat in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import numpy as np

from asr.audio import Samples
from services.dengar.v1 import admin_pb2, admin_pb2_grpc, speech_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.load.behaviours import BEHAVIOURS, Behaviour, Tally, run
from services.load.server import Running

SAMPLE_S = 5.0
SETTLE_S = 20.0
CONNECTIONS = 8


@dataclass(slots=True)
class Soak:
    """What a soak showed.

    Attributes:
        seconds: how long callers came.
        callers: at once.
        messages: sent by all.
        behaviours: tallies by name.
        memory_bytes: of the server, every `SAMPLE_S` seconds, from when it was warm.
        growth_bytes_per_hour: slope of a line through the second half of them.
        streams_left: that the server still held a while after the last caller.
        cpu_s: processor seconds of the server.
        answered_after: whether an ordinary query was answered as before.
    """

    seconds: float = 0.0
    callers: int = 0
    messages: int = 0
    behaviours: dict[str, Tally] = field(default_factory=dict)
    memory_bytes: list[int] = field(default_factory=list)
    growth_bytes_per_hour: float = 0.0
    streams_left: int = 0
    cpu_s: float = 0.0
    answered_after: bool = False

    @property
    def unexpected(self) -> int:
        """Calls whose status their behaviour must not have."""
        return sum(tally.unexpected for tally in self.behaviours.values())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "unexpected": self.unexpected}


async def soak(
    server: Running,
    queries: Sequence[Samples],
    seconds: float,
    callers: int,
    *,
    seed: int = 0,
    behaviours: Sequence[Behaviour] = BEHAVIOURS,
    report: Callable[[Soak], None] = lambda _: None,
) -> Soak:
    """Lets callers come and go.

    Args:
        server: that runs.
        queries: recordings at 16 kHz.
        seconds: how long new calls begin.
        callers: at once.
        seed: of who behaves how, and when.
        behaviours: to choose from.
        report: told every `SAMPLE_S` seconds.
    """
    found = Soak(callers=callers, behaviours={each.name: Tally() for each in behaviours})
    data = [np.rint(np.clip(query, -1, 1) * 32767).astype("<i2").tobytes() for query in queries]
    channels = [grpc.aio.insecure_channel(server.address) for _ in range(CONNECTIONS)]
    began, cpu = time.monotonic(), server.usage().cpu_s
    ends = began + seconds
    try:
        stub = speech_pb2_grpc.SpeechStub(channels[0])  # type: ignore[no-untyped-call]
        before = await _plain(stub, data[0])
        watching = asyncio.create_task(_watch(server, found, report))
        await asyncio.gather(
            *(
                _caller(
                    channels[number % CONNECTIONS], data, np.random.default_rng([seed, number]), ends, found, behaviours
                )
                for number in range(callers)
            )
        )
        watching.cancel()
        found.seconds = time.monotonic() - began
        found.cpu_s = server.usage().cpu_s - cpu
        found.messages = sum(tally.messages for tally in found.behaviours.values())
        found.growth_bytes_per_hour = _slope(found.memory_bytes)
        found.streams_left = await _streams_left(channels[0])
        found.answered_after = await _plain(stub, data[0]) == before
    finally:
        for channel in channels:
            await channel.close(None)
    return found


async def _caller(
    channel: grpc.aio.Channel,
    data: Sequence[bytes],
    rng: np.random.Generator,
    ends: float,
    found: Soak,
    behaviours: Sequence[Behaviour],
) -> None:
    stub = speech_pb2_grpc.SpeechStub(channel)  # type: ignore[no-untyped-call]
    weights = np.array([each.weight for each in behaviours])
    while time.monotonic() < ends:
        behaviour = behaviours[int(rng.choice(len(behaviours), p=weights / weights.sum()))]
        await run(behaviour, stub, data[int(rng.integers(len(data)))], rng, found.behaviours[behaviour.name])
        await asyncio.sleep(float(rng.uniform(0.0, 0.2)))


async def _watch(server: Running, found: Soak, report: Callable[[Soak], None]) -> None:
    while True:
        await asyncio.sleep(SAMPLE_S)
        found.memory_bytes.append(server.usage().memory_bytes)
        found.messages = sum(tally.messages for tally in found.behaviours.values())
        report(found)


async def _plain(stub: Any, data: bytes) -> str:
    config = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
    response = await stub.Recognize(pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=data)))
    return str(response.results[0].alternatives[0].transcript)


async def _streams_left(channel: grpc.aio.Channel) -> int:
    stub = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + SETTLE_S
    while True:
        status = await stub.GetStatus(admin_pb2.GetStatusRequest())
        streams = int(status.live.streams) + sum(int(each.streams) for each in status.draining)
        if not streams or time.monotonic() > deadline:
            return streams
        await asyncio.sleep(0.2)


def _slope(memory: Sequence[int]) -> float:
    """Bytes per hour of a least-squares line through the second half."""
    half = np.array(memory[len(memory) // 2 :], np.float64)
    if len(half) < 3:
        return 0.0
    hours = np.arange(len(half)) * SAMPLE_S / 3600
    return float(np.polyfit(hours, half, 1)[0])
