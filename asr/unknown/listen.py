"""Keeps a stream's posteriors while it is heard, so that unknown words can be looked for when it is over."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr.decode.types import LogProbs
from asr.errors import ConfigError, InputError

if TYPE_CHECKING:
    from asr.decode import Decoder, Hypothesis
    from asr.recognize import Recognizer
    from asr.unknown import UnknownConfig, UnknownSpan

KEPT_S = 30.0
"""Seconds that are kept of a stream; voice queries are shorter, and what comes later is dropped and counted."""


class UnknownListener:
    """Collects the posteriors of one stream in half precision: 90 kB for 30 s of 29 symbols at 50 frames a second.

    Args:
        symbols: of the acoustic model.
        frame_s: seconds from one frame to the next.
        kept_s: seconds that are kept, from the start.

    Attributes:
        dropped_frames: frames that came later than that.
    """

    def __init__(self, symbols: int, frame_s: float, kept_s: float = KEPT_S) -> None:
        if symbols < 1 or not 0 < frame_s <= kept_s:
            raise ConfigError(
                f"listener: {symbols} symbols, frame_s = {frame_s!r}, kept_s = {kept_s!r}; needs a symbol and a frame"
            )
        self.frame_s = frame_s
        self.dropped_frames = 0
        self._symbols, self._room = symbols, round(kept_s / frame_s)
        self._parts: list[npt.NDArray[np.float16]] = []

    @classmethod
    def of(cls, recognizer: Recognizer) -> UnknownListener:
        """A listener to a stream of that recogniser."""
        return cls(len(recognizer.bundle.tokens), recognizer.geometry.frame_s)

    def accept(self, log_probs: LogProbs) -> None:
        """Takes the next frames (T, V) of natural-log posteriors; they are copied.

        Raises:
            InputError: another number of symbols.
        """
        if log_probs.ndim != 2 or log_probs.shape[1] != self._symbols:
            raise InputError(f"log_probs: shape {log_probs.shape} is not (frames, {self._symbols} symbols)")
        kept = log_probs[: self._room]
        self.dropped_frames += len(log_probs) - len(kept)
        self._room -= len(kept)
        if len(kept):
            # What float16 cannot hold is as good as impossible; infinities would spoil differences.
            self._parts.append(np.maximum(kept, np.float32(-1e4)).astype(np.float16))

    @property
    def log_probs(self) -> LogProbs:
        """What was kept, shape (T, V), frame 0 at the start of the audio."""
        self._parts = [np.concatenate([np.zeros((0, self._symbols), np.float16), *self._parts])]
        return self._parts[0].astype(np.float32)

    def find(
        self, hypothesis: Hypothesis, decoder: Decoder, config: UnknownConfig | None = None, known: Collection[str] = ()
    ) -> list[UnknownSpan]:
        """The unknown words of what was heard; see `asr.unknown.find_unknown`. Later words are left out."""
        from asr.unknown import UnknownConfig, find_unknown

        return find_unknown(self.log_probs, hypothesis, decoder, config or UnknownConfig(), known=known)
