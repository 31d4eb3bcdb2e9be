"""From samples to words with a bundle: whole recordings, or a stream as the samples arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.bundle import Bundle, load_bundle
from asr.decode import Decoder, DecoderConfig, Hypothesis
from asr.decode.types import LogProbs
from asr.engine import Engine, Geometry, MelWindows
from asr.features import FeatureStream, Mel

PACKET_S = 0.1
"""Packet in which `Recognizer.transcribe` streams a recording, like a phone."""


@dataclass(frozen=True, slots=True)
class Partial:
    """An interim result.

    Attributes:
        hypothesis: the best reading so far; its last word may be incomplete.
        stability: share of its words that stood at the same place in the interim result one chunk earlier.
    """

    hypothesis: Hypothesis
    stability: float


class Recognizer:
    """A loaded bundle; immutable, so that streams in several threads may share one.

    Args:
        bundle: to recognise with.
        decoder: other settings than the bundle's.
        engine: another engine than the bundle's int8 ONNX model, such as `asr.model.torch_engine.TorchEngine`.
        threads: of the ONNX engine.
    """

    def __init__(
        self, bundle: Bundle, *, decoder: DecoderConfig | None = None, engine: Engine | None = None, threads: int = 1
    ) -> None:
        self.bundle = bundle
        self.engine = engine or bundle.engine(threads=threads)
        self.decoder = Decoder(
            bundle.tokens, decoder or bundle.decoder, self.engine.geometry.frame_s, bundle.language_model()
        )

    @classmethod
    def open(cls, bundle: str | Path | None = None, *, threads: int = 1) -> Recognizer:
        """Loads a bundle by path, hash or alias; None is the shipped default."""
        return cls(load_bundle(bundle), threads=threads)

    @property
    def bundle_hash(self) -> str:
        return self.bundle.hash

    @property
    def geometry(self) -> Geometry:
        return self.engine.geometry

    def stream(self, nbest: int = 1) -> RecognitionStream:
        """A new stream."""
        return RecognitionStream(self, nbest)

    def transcribe(self, samples: Samples, *, whole: bool = False, nbest: int = 1) -> list[Hypothesis]:
        """Recognises a recording of shape (T,); best first.

        Args:
            samples: mono float32 at 16 kHz.
            whole: hand over everything at once, instead of in packets as a stream would.
            nbest: largest number of hypotheses.
        """
        stream = self.stream(nbest)
        for packet in [samples] if whole else packets(samples):
            stream.accept(packet)
        return stream.finish()

    def posteriors(self, samples: Samples) -> LogProbs:
        """The acoustic model's natural-log posteriors of a whole recording, shape (U, V), before any decoding."""
        stream = AcousticStream(self)
        return np.concatenate([stream.accept(samples), stream.finish()])


class AcousticStream:
    """The first half of recognition: samples in, log-posteriors out, for one stream."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._engine = recognizer.engine
        self._n_tokens = len(recognizer.bundle.tokens)
        config = recognizer.bundle.model.features
        self._features = FeatureStream(config)
        self._windows = MelWindows(self._engine.geometry, config.silence, config.n_mels)
        self._state = self._engine.initial_state(1)
        self._emitted = 0

    def accept(self, samples: Samples) -> LogProbs:
        """Takes samples of shape (T,), any T; returns the frames that they complete, shape (t, V)."""
        return self._advance(self._windows.accept(self._features.accept(samples)), finished=False)

    def finish(self) -> LogProbs:
        """The last frames; the stream is then used up."""
        rest = self._windows.accept(self._features.finish())
        return self._advance(rest + self._windows.finish(), finished=True)

    def _advance(self, windows: list[Mel], *, finished: bool) -> LogProbs:
        parts = [np.zeros((0, self._n_tokens), dtype=np.float32)]
        for window in windows:
            log_probs, self._state = self._engine.step(window[None], self._state)
            parts.append(log_probs[0, self._windows.real_frames(self._emitted, log_probs.shape[1], finished=finished)])
            self._emitted += log_probs.shape[1]
        return np.concatenate(parts)


class RecognitionStream:
    """One utterance on its way: samples in, hypotheses out. Not to be shared between threads."""

    def __init__(self, recognizer: Recognizer, nbest: int) -> None:
        self._acoustic = AcousticStream(recognizer)
        self._decoder = recognizer.decoder.stream()
        self._nbest = nbest
        self._samples = 0
        self._words: tuple[str, ...] = ()
        self._stability = 0.0

    @property
    def duration_s(self) -> float:
        """Seconds of audio received."""
        return self._samples / SAMPLE_RATE_HZ

    @property
    def trailing_silence_s(self) -> float:
        """Seconds since the last spoken token, as far as the model has heard."""
        return self._decoder.trailing_silence_s

    def accept(self, samples: Samples) -> None:
        """Takes samples of shape (T,), any T, and recognises as far as they reach."""
        self._samples += len(samples)
        log_probs = self._acoustic.accept(samples)
        if not len(log_probs):
            return
        self._decoder.accept(log_probs)
        words = tuple(word.word for word in self._decoder.best().words)
        kept = sum(a == b for a, b in zip(words, self._words, strict=False))
        self._stability = kept / len(words) if words else 0.0
        self._words = words

    def partial(self) -> Partial:
        """The best reading so far."""
        return Partial(self._decoder.best(), self._stability)

    def finish(self) -> list[Hypothesis]:
        """Recognises the rest and returns up to `nbest` hypotheses, best first; the stream is then used up."""
        self._decoder.accept(self._acoustic.finish())
        return self._decoder.finish(self._nbest)


def packets(samples: Samples, packet_s: float = PACKET_S) -> Iterator[Samples]:
    """Cuts samples into packets of ``packet_s`` seconds, the last one shorter."""
    size = round(packet_s * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
