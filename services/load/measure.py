"""How many streams a server carries: levels of load, and the search for the highest that still keeps its promise."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from asr.audio import Samples
from services.load.server import Running
from services.load.streams import Timings, run_streams

WARM_S = 3.0


@dataclass(frozen=True, slots=True)
class Promise:
    """What makes a level too high.

    Attributes:
        final_p95_s: 95th percentile from half-close to the final result.
        behind: share of queries whose audio could not be sent in time.
    """

    final_p95_s: float = 0.3
    behind: float = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """What so many streams saw. Latencies are (p50, p95, p99) in seconds, None where there was nothing to measure.

    Attributes:
        streams: at once.
        queries: answered.
        audio_s: seconds of audio in them.
        final: from half-close to the final result.
        first_word: from the end of the first word to the first interim result.
        interim: from the sound that an interim result rests on to its coming.
        gap: from one interim result to the next.
        taken_back: share of words of interim results that the final result has not at their place.
        behind: share of queries whose audio fell behind.
        errors: how often by status.
        cpu_share: of one core, that the server used.
        cpu_per_audio_s: processor seconds of the server for each second of audio.
        generator_cpu_share: of one core, that this generator used beside it.
        memory_bytes: of the server, resident.
        kept: whether the promise was.
        interim_wanted: whether interim results were asked for.
        stages: processor seconds for each second of audio by stage, as the server measures them; `other` is what it
            used beside: gRPC's own threads, the queue, metrics. Empty if it does not say.
    """

    streams: int
    queries: int
    audio_s: float
    final: tuple[float, ...] | None
    first_word: tuple[float, ...] | None
    interim: tuple[float, ...] | None
    gap: tuple[float, ...] | None
    taken_back: float | None
    behind: float
    errors: dict[str, int]
    cpu_share: float
    cpu_per_audio_s: float
    generator_cpu_share: float
    memory_bytes: int
    kept: bool
    interim_wanted: bool = True
    stages: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    server: Running,
    queries: Sequence[Samples],
    streams: int,
    seconds: float,
    promise: Promise,
    *,
    seed: int = 0,
    interim: bool = True,
) -> Level:
    """Puts one level of load on a server for a while.

    Args:
        server: that runs.
        queries: recordings at 16 kHz.
        streams: at once.
        seconds: how long new queries begin; the processor's time is taken in that time.
        promise: what the server is to keep.
        seed: of orders and moments.
        interim: ask for interim results.
    """
    return asyncio.run(_measure(server, queries, streams, seconds, promise, seed, interim))


async def _measure(
    server: Running,
    queries: Sequence[Samples],
    streams: int,
    seconds: float,
    promise: Promise,
    seed: int,
    interim: bool,
) -> Level:
    timings = Timings()

    async def look() -> tuple[tuple[float, ...], dict[str, float]]:
        stages = await asyncio.to_thread(server.stages)
        return (time.monotonic(), timings.sent_s, server.usage().cpu_s, time.process_time()), stages

    async def watch() -> tuple[list[float], dict[str, float], int]:
        """Of the time in which all streams speak: seconds, audio, the server's processor time, this one's; by stage."""
        warm_s = min(WARM_S, seconds / 4)
        await asyncio.sleep(warm_s)
        before, stages_before = await look()
        await asyncio.sleep(seconds - warm_s)
        after, stages = await look()
        spent = {stage: total - stages_before.get(stage, 0.0) for stage, total in stages.items()}
        return [b - a for a, b in zip(before, after, strict=True)], spent, server.usage().memory_bytes

    load = run_streams(server.address, queries, streams, seconds, timings, seed=seed, interim=interim)
    _, ((took, sent_s, cpu_s, own_s), stages, memory) = await asyncio.gather(load, watch())
    if stages:
        stages["other"] = max(0.0, cpu_s - sum(stages.values()))
    final = _percentiles(timings.final)
    kept = final is not None and final[1] <= promise.final_p95_s
    return Level(
        streams=streams,
        queries=timings.queries,
        audio_s=timings.audio_s,
        final=final,
        first_word=_percentiles(timings.first_word),
        interim=_percentiles(timings.interim),
        gap=_percentiles(timings.gap),
        taken_back=float(np.mean(timings.taken_back)) if timings.taken_back else None,
        behind=timings.behind,
        errors=timings.errors,
        cpu_share=cpu_s / took,
        cpu_per_audio_s=cpu_s / max(sent_s, 1e-9),
        generator_cpu_share=own_s / took,
        memory_bytes=memory,
        kept=kept and timings.behind <= promise.behind and not timings.errors,
        interim_wanted=interim,
        stages={stage: spent / max(sent_s, 1e-9) for stage, spent in stages.items()},
    )


def search(level: Callable[[int], Level], first: int, most: int) -> list[Level]:
    """Raises the number of streams until the promise breaks, then closes in on the highest that keeps it.

    Args:
        level: measures one number of streams.
        first: to begin with.
        most: never more.

    Returns:
        All levels in the order in which they were measured.
    """
    levels = [level(first)]
    while levels[-1].kept and levels[-1].streams < most:
        levels.append(level(min(most, levels[-1].streams * 2)))
    low = max((each.streams for each in levels if each.kept), default=0)
    high = min((each.streams for each in levels if not each.kept), default=most + 1)
    while high - low > max(1, low // 10):
        levels.append(level((low + high) // 2))
        if levels[-1].kept:
            low = levels[-1].streams
        else:
            high = levels[-1].streams
    return levels


def best(levels: Sequence[Level]) -> Level | None:
    """The level of most streams that kept the promise."""
    return max((each for each in levels if each.kept), key=lambda each: each.streams, default=None)


def cores() -> int:
    """Cores that this process, and so a server started by it, may use."""
    return len(os.sched_getaffinity(0))


def _percentiles(values: Sequence[float]) -> tuple[float, ...] | None:
    return tuple(np.percentile(values, (50, 95, 99)).tolist()) if len(values) else None
