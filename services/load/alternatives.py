"""What the same load costs a server that is set up otherwise, and the least that it could cost: the bare model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.bundle import load_bundle
from asr.features import HOP, log_mel
from services.load.measure import Level
from services.load.server import served

TOGETHER = 8
"""Streams that step together in the bare model."""

NO_BATCHING = ("--max-batch", "1")
TORCH_FLOAT = ("--engine", "torch")


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Processor seconds per second of audio at one number of streams, in one run.

    Attributes:
        streams: at once, with interim results but for `final_only`.
        served: as the server is.
        final_only: nobody asks for interim results.
        batching_off: one stream a step.
        torch_float: the float weights in PyTorch.
        bare_model: the model's steps alone, `TOGETHER` streams at once, whole chunks.
    """

    streams: int
    served: Level
    final_only: Level
    batching_off: Level
    torch_float: Level
    bare_model: float

    def ratios(self) -> dict[str, float]:
        """Of the processor time."""
        served, bare = self.served.cpu_per_audio_s, self.bare_model
        return {
            "batching_off_over_served": self.batching_off.cpu_per_audio_s / served,
            "torch_float_over_served": self.torch_float.cpu_per_audio_s / served,
            "served_over_bare_model": served / bare,
            "final_only_over_bare_model": self.final_only.cpu_per_audio_s / bare,
        }

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), **self.ratios()}


def alternatives(
    path: Path,
    arguments: Sequence[str],
    queries: Sequence[Samples],
    streams: int,
    level: Callable[..., Level],
) -> Alternatives:
    """Measures all of them, one after the other, each server new.

    Args:
        path: of the bundle.
        arguments: of `dengar serve`.
        queries: recordings at 16 kHz.
        streams: at once.
        level: measures a server; takes it, the number of streams, and `interim`.
    """

    def on(further: Sequence[str], *, interim: bool = True) -> Level:
        with served(*arguments, *further) as server:
            return level(server, streams, interim=interim)

    bare = bare_model(path, queries)
    return Alternatives(streams, on(()), on((), interim=False), on(NO_BATCHING), on(TORCH_FLOAT), bare)


def bare_model(path: Path, queries: Sequence[Samples]) -> float:
    """Processor seconds of the model's steps alone for a second of audio; the least of three rounds."""
    from asr.check import posteriors_together

    loaded = load_bundle(path)
    engine = loaded.engine()
    mels = [log_mel(query, loaded.model.features) for query in queries[:TOGETHER]]
    posteriors_together(engine, mels[:1], loaded.model.features)  # warm
    # Streams that are over hear silence until the last is; so the time is that of the longest for each.
    audio_s = len(mels) * max(map(len, mels)) * HOP / SAMPLE_RATE_HZ
    times = []
    for _ in range(3):
        began = time.process_time()
        posteriors_together(engine, mels, loaded.model.features)
        times.append(time.process_time() - began)
    return min(times) / audio_s
