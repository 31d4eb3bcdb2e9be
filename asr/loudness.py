"""Whether anything may be said in the newest moment of a stream, by its log-mel frames alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr.features import Mel

MEMORY_FRAMES = 300
"""Three seconds, of which the quietest tenth is taken for the background."""

STANDS_OUT = 0.1
"""By so much the mean band of speech exceeds the background: 4 dB, in the units of `asr.features` (log10 power / 4)."""

_SMOOTHED = 3


class Loudness:
    """Follows one stream's level and its background."""

    def __init__(self) -> None:
        self._levels: npt.NDArray[np.float32] = np.zeros(0, np.float32)

    def accept(self, mel: Mel) -> None:
        """Takes the next frames, shape (t, n_mels)."""
        if len(mel):
            self._levels = np.concatenate([self._levels[-MEMORY_FRAMES:], mel.mean(axis=1)])

    def stands_out(self, frames: int) -> bool:
        """Whether one of the last so many frames stands out of the background; True as long as nothing is known."""
        levels = self._levels[-MEMORY_FRAMES:]
        if len(levels) <= frames:
            return True
        smooth = np.convolve(levels, np.full(_SMOOTHED, 1 / _SMOOTHED, np.float32), "valid")
        tenth = len(smooth) // 10
        background = np.partition(smooth, tenth)[tenth]
        return bool(levels[-frames:].max() - background >= STANDS_OUT)
