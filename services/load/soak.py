"""A soak: callers of every behaviour against a server for a long time, with swaps of bundles, and what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import numpy as np

from asr.audio import Samples
from services.dengar.v1 import admin_pb2, admin_pb2_grpc
from services.dengar.v1 import speech_pb2 as pb
from services.load.behaviours import BEHAVIOURS, Behaviour, Line, Tally, run
from services.load.server import Running
from services.load.trend import Trend, trend

SAMPLE_S = 5.0
SETTLE_S = 20.0
CONNECTIONS = 8
FLAT_SHARE_PER_HOUR = 0.02
"""Growth of the memory, as a share of it, that passes for none."""


@dataclass(frozen=True, slots=True)
class Swaps:
    """Bundles that take turns in being live.

    Attributes:
        bundles: folders, the first the one that is live at first and at last.
        every_s: how long each is.
    """

    bundles: Sequence[str]
    every_s: float = 60.0


@dataclass(slots=True)
class Soak:
    """What a soak showed.

    Attributes:
        seconds: how long callers came.
        callers: at once.
        messages: sent by all.
        behaviours: tallies by name.
        swaps: of the live bundle, by what became of them: "PROMOTED" or the status of the refusal.
        memory_bytes: of the server, every `SAMPLE_S` seconds, from when it was warm.
        threads, files: how many it had open, likewise.
        growth: the trend of its memory, in bytes; None if the soak was too short to tell.
        streams_left: that the server still held a while after the last caller.
        bundles_left: that it still held beside the live one.
        cpu_s: processor seconds of the server.
        answered_after: whether an ordinary query was answered as before.
    """

    seconds: float = 0.0
    callers: int = 0
    messages: int = 0
    behaviours: dict[str, Tally] = field(default_factory=dict)
    swaps: dict[str, int] = field(default_factory=dict)
    memory_bytes: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    growth: Trend | None = None
    streams_left: int = 0
    bundles_left: int = 0
    cpu_s: float = 0.0
    answered_after: bool = False

    @property
    def unexpected(self) -> int:
        """Calls whose status their behaviour must not have."""
        return sum(tally.unexpected for tally in self.behaviours.values())

    @property
    def faults(self) -> list[str]:
        """What must not be, in words; empty if all is well."""
        found = [f"{self.unexpected} calls ended as they must not"] if self.unexpected else []
        if self.streams_left or self.bundles_left:
            found.append(f"{self.streams_left} streams and {self.bundles_left} bundles were left behind")
        if not self.answered_after:
            found.append("an ordinary query is answered otherwise than before")
        if self.growth is not None and not self.growth.is_flat(FLAT_SHARE_PER_HOUR):
            found.append(f"memory grows by {self.growth.per_hour / 2**20:.1f} MB an hour")
        return found

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "unexpected": self.unexpected, "faults": self.faults}


async def soak(
    server: Running,
    queries: Sequence[Samples],
    seconds: float,
    callers: int,
    *,
    seed: int = 0,
    behaviours: Sequence[Behaviour] = BEHAVIOURS,
    swaps: Swaps | None = None,
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
        swaps: of bundles, meanwhile.
        report: told every `SAMPLE_S` seconds.
    """
    found = Soak(callers=callers, behaviours={each.name: Tally() for each in behaviours})
    data = [np.rint(np.clip(query, -1, 1) * 32767).astype("<i2").tobytes() for query in queries]
    lines = [Line(server.address) for _ in range(CONNECTIONS)]
    began, cpu = time.monotonic(), server.usage().cpu_s
    ends = began + seconds
    try:
        before = await _plain(lines[0], data[0])
        async with _beside(_watch(server, found, report)), _beside(_swap(lines[1], swaps, found)):
            await asyncio.gather(
                *(
                    _caller(
                        lines[number % CONNECTIONS],
                        data,
                        np.random.default_rng([seed, number]),
                        ends,
                        found,
                        behaviours,
                    )
                    for number in range(callers)
                )
            )
        found.seconds = time.monotonic() - began
        found.cpu_s = server.usage().cpu_s - cpu
        found.messages = sum(tally.messages for tally in found.behaviours.values())
        found.growth = trend(found.memory_bytes, SAMPLE_S)
        if swaps is not None:
            await _promote(lines[1], swaps.bundles[0], found)
        found.streams_left, found.bundles_left = await _left(lines[0])
        found.answered_after = await _plain(lines[0], data[0]) == before
    finally:
        for line in lines:
            await line.close()
    return found


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    """Does something until the block is over."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _caller(
    line: Line,
    data: Sequence[bytes],
    rng: np.random.Generator,
    ends: float,
    found: Soak,
    behaviours: Sequence[Behaviour],
) -> None:
    weights = np.array([each.weight for each in behaviours])
    while time.monotonic() < ends:
        behaviour = behaviours[int(rng.choice(len(behaviours), p=weights / weights.sum()))]
        await run(behaviour, line, data[int(rng.integers(len(data)))], rng, found.behaviours[behaviour.name])
        await asyncio.sleep(float(rng.uniform(0.0, 0.2)))


async def _watch(server: Running, found: Soak, report: Callable[[Soak], None]) -> None:
    while True:
        await asyncio.sleep(SAMPLE_S)
        found.memory_bytes.append(server.usage().memory_bytes)
        found.threads.append(len(os.listdir(f"/proc/{server.pid}/task")))
        found.files.append(len(os.listdir(f"/proc/{server.pid}/fd")))
        found.messages = sum(tally.messages for tally in found.behaviours.values())
        report(found)


async def _swap(line: Line, swaps: Swaps | None, found: Soak) -> None:
    number = 0
    while swaps is not None:
        await asyncio.sleep(swaps.every_s)
        number += 1
        await _promote(line, swaps.bundles[number % len(swaps.bundles)], found)


async def _promote(line: Line, bundle: str, found: Soak) -> None:
    stub = admin_pb2_grpc.AdminStub(line.channel)  # type: ignore[no-untyped-call]
    status = "PROMOTED"
    try:
        await stub.Promote(admin_pb2.PromoteRequest(bundle=bundle))
    except grpc.aio.AioRpcError as error:
        status = error.code().name
    found.swaps[status] = found.swaps.get(status, 0) + 1


async def _plain(line: Line, data: bytes) -> str:
    config = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
    response = await line.speech.Recognize(pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=data)))
    return str(response.results[0].alternatives[0].transcript)


async def _left(line: Line) -> tuple[int, int]:
    """Streams, and bundles that only drain, that the server still has after a while."""
    stub = admin_pb2_grpc.AdminStub(line.channel)  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + SETTLE_S
    while True:
        status = await stub.GetStatus(admin_pb2.GetStatusRequest())
        streams = int(status.live.streams) + sum(int(each.streams) for each in status.draining)
        if not (streams or status.draining) or time.monotonic() > deadline:
            return streams, len(status.draining)
        await asyncio.sleep(0.2)
