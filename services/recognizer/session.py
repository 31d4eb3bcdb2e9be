"""One caller's audio on its way through decoder and recogniser: blocking, without gRPC, run in worker threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from asr.audio import MIN_DURATION_S, SAMPLE_RATE_HZ, Samples
from asr.errors import AudioError
from services.recognizer.audio_in import NO_SAMPLES, Decoder

BLOCK_S = 0.5
"""Most audio recognised in one step, so that a long packet does not keep a worker from the other streams."""


class Word(Protocol):
    """See `asr.decode`."""

    @property
    def word(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def confidence(self) -> float: ...


class Hypothesis(Protocol):
    """See `asr.decode`."""

    @property
    def text(self) -> str: ...
    @property
    def words(self) -> Sequence[Word]: ...
    @property
    def confidence(self) -> float: ...


class Partial(Protocol):
    """See `asr.recognize`."""

    @property
    def hypothesis(self) -> Hypothesis: ...
    @property
    def stability(self) -> float: ...


class RecognitionStream(Protocol):
    """See `asr.recognize`."""

    @property
    def trailing_silence_s(self) -> float: ...
    def accept(self, samples: Samples, /) -> None: ...
    def partial(self) -> Partial: ...
    def finish(self) -> Sequence[Hypothesis]: ...


class Recognizer(Protocol):
    """What the server needs of `asr.recognize.Recognizer`."""

    @property
    def bundle_hash(self) -> str: ...
    def stream(self, nbest: int = 1) -> RecognitionStream: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What one step brought.

    Attributes:
        more: audio is waiting; step again.
        interim: a new interim hypothesis, or None.
        end_of_utterance: the speaker has stopped; finish now.
    """

    more: bool
    interim: Partial | None
    end_of_utterance: bool


class Session:
    """Feeds decoded audio to a recognition stream in bounded steps.

    Args:
        recognizer: shared.
        decoder: of this caller's encoding; the session closes it.
        nbest: how many hypotheses `finish` returns at most.
        interim_interval_s: interim hypotheses at most this often; None for none.
        endpoint_silence_s: silence after a word that ends the utterance; None for never.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        decoder: Decoder,
        *,
        nbest: int = 1,
        interim_interval_s: float | None = None,
        endpoint_silence_s: float | None = None,
    ) -> None:
        self._stream = recognizer.stream(nbest)
        self._decoder = decoder
        self._interim_interval_s = interim_interval_s
        self._endpoint_silence_s = endpoint_silence_s
        self._waiting = NO_SAMPLES
        self._accepted = 0
        self._last_interim = ("", -float("inf"))
        self._lock = threading.Lock()  # a cancelled call closes while its last step may still run

    @property
    def duration_s(self) -> float:
        """Seconds of audio recognised so far."""
        return self._accepted / SAMPLE_RATE_HZ

    def step(self, data: bytes = b"", *, end: bool = False) -> Step:
        """Decodes `data`, and recognises at most `BLOCK_S` of what is waiting.

        Args:
            data: encoded bytes.
            end: nothing comes after `data`.

        Raises:
            AudioError: the audio cannot be decoded or is out of bounds.
        """
        with self._lock:
            arrived = [self._waiting]
            if data:
                arrived.append(self._decoder.feed(data))
            if end:
                arrived.append(self._decoder.finish())
            samples = np.concatenate(arrived)
            size = int(BLOCK_S * SAMPLE_RATE_HZ)
            block, self._waiting = samples[:size], samples[size:]
            if not len(block):
                return Step(more=False, interim=None, end_of_utterance=False)
            self._stream.accept(block)
            self._accepted += len(block)
            ended = self._has_ended()
            return Step(
                more=bool(len(self._waiting)), interim=None if ended else self._interim(), end_of_utterance=ended
            )

    def finish(self) -> Sequence[Hypothesis]:
        """Returns the final hypotheses, best first, of what was recognised.

        Raises:
            AudioError: there was too little audio to hold a word.
        """
        with self._lock:
            if self.duration_s < MIN_DURATION_S:
                raise AudioError(
                    f"the audio is too short: {self.duration_s * 1000:.0f} ms came, "
                    f"at least {MIN_DURATION_S * 1000:.0f} ms are needed to hold a word"
                )
            return self._stream.finish()

    def close(self) -> None:
        """Lets go of the decoder; safe at any time and more than once."""
        with self._lock:
            self._waiting = NO_SAMPLES
            self._decoder.close()

    def _has_ended(self) -> bool:
        if self._endpoint_silence_s is None or self._stream.trailing_silence_s < self._endpoint_silence_s:
            return False
        return bool(self._stream.partial().hypothesis.text)

    def _interim(self) -> Partial | None:
        text, when = self._last_interim
        now = time.monotonic()
        if self._interim_interval_s is None or now - when < self._interim_interval_s:
            return None
        partial = self._stream.partial()
        if partial.hypothesis.text == text:
            return None
        self._last_interim = (partial.hypothesis.text, now)
        return partial
