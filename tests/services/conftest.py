"""A server on loopback, and a recogniser of tones for what a model with random weights cannot show.

The tone recogniser hears a word in each stretch of 100 ms that holds one of four tones. It has the interface of
`asr.recognize`, is exact whatever the packets, and knows when its speaker is silent.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile

from asr.endpoint import Evidence
from asr.voice_activity import VoiceFrames
from services.recognizer.config import server_config
from services.recognizer.server import Server
from tests.services.databases import database_url, empty_url, migrated_sqlite, postgres_server

__all__ = ["database_url", "empty_url", "migrated_sqlite", "postgres_server"]

RATE_HZ = 16_000
TONES_HZ = {"one": 500, "two": 800, "three": 1300, "four": 2100}
WINDOW = RATE_HZ // 10


@dataclass(frozen=True)
class Word:
    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    text: str
    words: tuple[Word, ...]
    confidence: float


@dataclass(frozen=True)
class Partial:
    hypothesis: Hypothesis
    stability: float


class ToneStream:
    def __init__(self, nbest: int) -> None:
        self._nbest = nbest
        self._rest = np.zeros(0, np.float32)
        self._heard: list[str] = []

    def accept(self, samples: np.ndarray) -> None:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // WINDOW * WINDOW
        self._rest = samples[whole:]
        self._heard += [self._tone(window) for window in samples[:whole].reshape(-1, WINDOW)]

    @staticmethod
    def _tone(window: np.ndarray) -> str:
        if np.sqrt(np.mean(window**2)) < 0.01:
            return ""
        peak_hz = np.argmax(np.abs(np.fft.rfft(window))) * 10
        return min(TONES_HZ, key=lambda word: abs(TONES_HZ[word] - peak_hz))

    @property
    def missing_samples(self) -> int:
        return WINDOW - len(self._rest)

    missing_glimpse_samples = missing_samples

    def take_evidence(self) -> list[Evidence]:
        heard_s = len(self._heard) / 10
        words = len(self._best().words)
        return [Evidence(heard_s, heard_s, self.trailing_silence_s if words else heard_s, words)]

    @property
    def trailing_silence_s(self) -> float:
        silent = 0
        while silent < len(self._heard) and not self._heard[-1 - silent]:
            silent += 1
        return silent / 10

    def _best(self) -> Hypothesis:
        words = [
            Word(word, index / 10, index / 10 + 0.1, 0.75)
            for index, word in enumerate(self._heard)
            if word and (index == 0 or self._heard[index - 1] != word)
        ]
        return Hypothesis(" ".join(word.word for word in words), tuple(words), 0.5)

    def partial(self) -> Partial:
        return Partial(self._best(), 0.9 if self.trailing_silence_s > 0.1 else 0.4)

    def finish(self) -> list[Hypothesis]:
        return [self._best()] + [Hypothesis(f"alternative {n}", (), 0.1) for n in range(1, self._nbest)]


@dataclass(frozen=True)
class ToneHints:
    unused: tuple[tuple[str, str], ...]


class ToneVoice:
    """Takes whatever is loud for a voice."""

    def stream(self) -> VoiceFrames:
        return VoiceFrames()

    def hear(self, heard: Sequence[tuple[VoiceFrames, np.ndarray]]) -> list[np.ndarray]:
        cuts = [stream.accept(samples) for stream, samples in heard]
        return [(np.sqrt((frames**2).mean(axis=1)) > 0.01).astype(np.float32) for frames in cuts]


class ToneRecognizer:
    bundle_hash = "tones"

    def hints(self, phrases: Sequence[tuple[str, float]], classes: object, contexts: object = None) -> ToneHints:  # noqa: ARG002
        return ToneHints(tuple((text, "is no tone") for text, _ in phrases if text not in TONES_HZ))

    def stream(self, nbest: int = 1, hints: ToneHints | None = None, **_: object) -> ToneStream:  # noqa: ARG002
        return ToneStream(nbest)

    def advance(self, heard: object, costs: object = None) -> None:  # noqa: ARG002
        for stream, samples, _ in heard:  # type: ignore[attr-defined]
            stream.accept(samples)

    def glimpse(self, streams: object, costs: object = None) -> None:
        """A tone is heard at once."""


def tones(words: str, rate_hz: int = RATE_HZ, tail_s: float = 0.3) -> np.ndarray:
    """0.3 s of tone for each word, 0.3 s of silence around them."""
    pieces = [np.zeros(int(0.3 * rate_hz))]
    for word in words.split():
        time_s = np.arange(int(0.3 * rate_hz)) / rate_hz
        pieces += [0.5 * np.sin(2 * np.pi * TONES_HZ[word] * time_s), np.zeros(int(0.3 * rate_hz))]
    return np.concatenate([*pieces, np.zeros(int(tail_s * rate_hz))]).astype(np.float32)


def linear16(samples: np.ndarray) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def encoded(samples: np.ndarray, rate_hz: int, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


@contextlib.asynccontextmanager
async def serving(recognizer: object | None = None, **settings: object) -> AsyncIterator[str]:
    """A running server; yields its address."""
    with tempfile.TemporaryDirectory(prefix="dengar-") as state:
        defaults = {"drain_s": 0.0, "threads": 2, "interim_interval_ms": 0, "state": state}
        config = server_config(port=0, **{**defaults, **settings})
        server = Server(recognizer or ToneRecognizer(), config, voice=ToneVoice())
        port = await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.drain()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with serving() as where:
        yield where
