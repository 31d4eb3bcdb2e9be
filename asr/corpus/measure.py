"""What can be measured of a recording without knowing its words: level, noise, clipping, where speech is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.corpus.manifest import Utterance

_FRAME = SAMPLE_RATE_HZ // 50  # 20 ms
_FLOOR_POWER = 1e-10  # -100 dB: 16-bit silence
_ACTIVE_RANGE_DB = 30.0
_FULL_SCALE = 0.999
MAX_SNR_DB = 60.0

QUANTITIES: dict[str, str] = {
    "duration_s": "length, s",
    "level_db": "speech level, dB re full scale",
    "snr_db": "SNR estimate, dB",
    "rate": "characters per second of speech",
}


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of one recording.

    Attributes:
        duration_s: length.
        speech_s: from the first to the last frame that is within 30 dB of the loud frames.
        level_db: mean power of the frames within 30 dB of the loud ones, 0 dB being a square wave at full scale.
        peak: largest absolute sample.
        snr_db: estimate, loud frames (95th percentile) against quiet ones (5th), at most 60; a recording
            without a pause reads too low.
        clipped: fraction of samples that stand at full scale beside another such sample.
        fingerprint: of the samples at 16 bits; equal for the same audio in another lossless container.
    """

    duration_s: float
    speech_s: float
    level_db: float
    peak: float
    snr_db: float
    clipped: float
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One utterance that was decoded and measured; `root` is its manifest's folder."""

    root: Path
    utterance: Utterance
    measures: Measures

    def value(self, quantity: str) -> float:
        """One of `QUANTITIES`."""
        if quantity == "rate":
            return len(self.utterance.text) / max(self.measures.speech_s, 0.02)
        return float(getattr(self.measures, quantity))


def measure(samples: Samples) -> Measures:
    """Measures samples of shape (T,) at 16 kHz in [-1, 1]; T may be any, also 0."""
    power = frame_power(samples)
    loud, quiet = np.percentile(power, [95, 5])
    active = power >= max(loud * 10 ** (-_ACTIVE_RANGE_DB / 10), _FLOOR_POWER)
    where = np.flatnonzero(active)
    speech_frames = int(where[-1] - where[0] + 1) if len(where) else 0
    speech_power = max(float(power[active].mean()) if len(where) else 0.0, _FLOOR_POWER)
    snr = max(float(loud) - float(quiet), _FLOOR_POWER) / max(float(quiet), _FLOOR_POWER)
    at_limit = np.abs(samples) >= _FULL_SCALE
    runs = int(np.count_nonzero(at_limit[1:] & at_limit[:-1]))
    duration_s = len(samples) / SAMPLE_RATE_HZ
    return Measures(
        duration_s=duration_s,
        speech_s=min(speech_frames * _FRAME / SAMPLE_RATE_HZ, duration_s),
        level_db=10 * float(np.log10(speech_power)),
        peak=float(np.abs(samples).max(initial=0.0)),
        snr_db=min(10 * float(np.log10(snr)), MAX_SNR_DB),
        clipped=runs / max(len(samples), 1),
        fingerprint=fingerprint(samples),
    )


def frame_power(samples: Samples) -> npt.NDArray[np.float64]:
    """Mean power of each 20 ms, shape (max(1, T // 320),); a shorter signal is one frame."""
    count = len(samples) // _FRAME
    if count == 0:
        return np.array([float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0])
    frames = samples[: count * _FRAME].reshape(count, _FRAME).astype(np.float64)
    return np.asarray(np.mean(np.square(frames), axis=1))


def fingerprint(samples: Samples) -> str:
    """Hash of the samples at 16 bits, 32 hexadecimal digits."""
    pcm = np.round(samples * 32767).astype("<i2")
    return hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest()
