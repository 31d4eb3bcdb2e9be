"""Log-mel features: one frame of 80 values every 10 ms, the same numbers offline and in a stream.

The front end is Whisper's (Radford et al. 2022: 25 ms Hann window, 10 ms hop, 80 Slaney mel bands, log10)
with the two things changed that cannot be streamed: its floor relative to the loudest frame of the
utterance is a fixed floor here, and its reflected padding is silence. Frame ``t`` is centred on sample ``160 t``.
"""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from asr.audio import SAMPLE_RATE_HZ, Samples

WINDOW = 400
HOP = 160
FRAME_S = HOP / SAMPLE_RATE_HZ
WINDOW_LOOK_AHEAD_S = WINDOW / 2 / SAMPLE_RATE_HZ

Mel = npt.NDArray[np.float32]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FeatureConfig:
    """Shape of the features.

    Attributes:
        n_mels: number of mel bands.
        floor_log10: power (log10) below which nothing is told apart; full-scale speech reaches about 2.
    """

    n_mels: int = field(default=80)
    floor_log10: float = field(default=-6.0)

    @property
    def silence(self) -> float:
        """The value of every band when nothing is heard; also what sequences are padded with."""
        return float(_scale(self.floor_log10))


def log_mel(samples: Samples, config: FeatureConfig | None = None) -> Mel:
    """Features of a whole signal.

    Args:
        samples: shape (T,).
        config: defaults to `FeatureConfig()`.

    Returns:
        Shape (ceil(T / 160), n_mels).
    """
    config = config or FeatureConfig()
    n_frames = -(-len(samples) // HOP)
    padded = np.zeros(n_frames * HOP + WINDOW - HOP, dtype=np.float32)
    padded[WINDOW // 2 : WINDOW // 2 + len(samples)] = samples
    if not n_frames:
        return np.zeros((0, config.n_mels), dtype=np.float32)
    return windows_to_mel(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP], config)


class FeatureStream:
    """The features of `log_mel`, computed as the samples arrive."""

    def __init__(self, config: FeatureConfig | None = None) -> None:
        self._config = config or FeatureConfig()
        self._pending: Samples = np.zeros(WINDOW // 2, dtype=np.float32)
        self._received = 0
        self._emitted = 0

    @property
    def missing_samples(self) -> int:
        """How many more samples complete the next frame."""
        return WINDOW - len(self._pending)

    def accept(self, samples: Samples) -> Mel:
        """Takes samples of shape (T,) and returns the frames that they complete, shape (t, n_mels)."""
        return windows_to_mel(self.cut(samples), self._config)

    def finish(self) -> Mel:
        """Returns the last frames, whose windows reach beyond the end."""
        return windows_to_mel(self.cut(np.zeros(0, np.float32), end=True), self._config)

    def cut(self, samples: Samples, *, end: bool = False) -> Samples:
        """The windows of the frames that samples of shape (T,) complete, shape (t, WINDOW), a view.

        Args:
            samples: the next ones.
            end: the signal is over; the last windows are filled up with silence.
        """
        self._received += len(samples)
        self._pending = np.concatenate([self._pending, samples]) if len(samples) else self._pending
        if end:
            missing = -(-self._received // HOP) - self._emitted
            self._pending = np.pad(self._pending, (0, max(0, (missing - 1) * HOP + WINDOW - len(self._pending))))
        count = max(0, (len(self._pending) - WINDOW) // HOP + 1)
        if end:
            count = min(count, missing)
        if not count:
            return np.zeros((0, WINDOW), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._pending, WINDOW)[: count * HOP : HOP]
        self._pending = self._pending[count * HOP :]
        self._emitted += count
        return windows


@lru_cache(maxsize=4)
def mel_filters(n_mels: int) -> npt.NDArray[np.float64]:
    """Slaney's mel filter bank (Auditory Toolbox, 1998), area-normalised: shape (WINDOW // 2 + 1, n_mels)."""
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(0.0), _hz_to_mel(SAMPLE_RATE_HZ / 2), n_mels + 2))
    bins_hz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE_HZ)
    rising = (bins_hz[:, None] - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - bins_hz[:, None]) / np.diff(edges_hz)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * 2.0 / (edges_hz[2:] - edges_hz[:-2]))


_LINEAR_HZ_PER_MEL = 200.0 / 3
_LOG_START_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return float(_LOG_START_HZ / _LINEAR_HZ_PER_MEL + np.log(hz / _LOG_START_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    start = _LOG_START_HZ / _LINEAR_HZ_PER_MEL
    return np.where(mel < start, mel * _LINEAR_HZ_PER_MEL, _LOG_START_HZ * np.exp(_LOG_STEP * (mel - start)))


@lru_cache(maxsize=1)
def _hann() -> npt.NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def windows_to_mel(windows: Samples, config: FeatureConfig) -> Mel:
    """Log-mel frames (t, n_mels) of windows (t, WINDOW), of one signal or of several.

    The sums run in double precision, so that rounding hides how many frames are transformed together.
    """
    if not len(windows):
        return np.zeros((0, config.n_mels), dtype=np.float32)
    spectrum = np.fft.rfft(windows * _hann(), axis=-1)
    power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
    mel = power @ mel_filters(config.n_mels)
    scaled: Mel = _scale(np.log10(np.maximum(mel, 10.0**config.floor_log10))).astype(np.float32)
    return scaled


def _scale(log10_power: Any) -> Any:
    """Whisper's scaling, which puts speech at about [-1, 1]."""
    return (log10_power + 4.0) / 4.0
