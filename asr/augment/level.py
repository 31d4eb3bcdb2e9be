"""Levels: active speech level after ITU-T P.56, noise level in the band that hides words, and exact mixing.

The signal-to-noise ratio of Dengar is the active level of the speech (pauses do not count) against the level
of the noise between 100 and 7000 Hz (a cabin's rumble below that hides no words). Levels are in dB relative
to a full-scale mean square of 1 (dBov).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len, rfft
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

from asr.audio import SAMPLE_RATE_HZ, Samples

TIME_CONSTANT_S = 0.03
HANGOVER_S = 0.2
MARGIN_DB = 15.9
THRESHOLDS = 15
NOISE_BAND_HZ = (100.0, 7000.0)
SILENCE_DB = -100.0


def active_speech_level_db(samples: npt.NDArray[np.floating], rate_hz: int = SAMPLE_RATE_HZ) -> tuple[float, float]:
    """Active speech level and activity factor after ITU-T P.56 (12/2011), method B.

    The envelope is the rectified signal through two equal one-pole filters (30 ms). For each threshold
    2^-15 ... 2^-1 a sample is active if the envelope reached it within the last 200 ms: which is a running
    maximum, so that all thresholds come from one histogram of its binary exponents. The level sought lies
    15.9 dB above its own threshold; between the two neighbouring thresholds levels are taken as linear
    (the standard's bisection, in closed form).

    Args:
        samples: speech of shape (T,), full scale at 1.
        rate_hz: its sampling rate.

    Returns:
        The level in dBov, `SILENCE_DB` if nothing is active; and the active fraction of the time in [0, 1].
    """
    if len(samples) == 0:
        return SILENCE_DB, 0.0
    signal = samples.astype(np.float64)
    energy = float(signal @ signal)
    smoothing = np.exp(-1.0 / (rate_hz * TIME_CONSTANT_S))
    envelope = lfilter([(1.0 - smoothing) ** 2], [1.0, -2.0 * smoothing, smoothing**2], np.abs(signal))
    hangover = int(np.ceil(rate_hz * HANGOVER_S))
    held = maximum_filter1d(envelope, hangover + 1, mode="constant", origin=hangover // 2)
    return _level_at_margin(energy, _active_counts(held), len(signal))


def _active_counts(held: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Samples at or above each threshold 2^-15 ... 2^-1, shape (15,), never rising."""
    audible = np.maximum(held, 2.0 ** -(THRESHOLDS + 1))  # frexp gives zero the exponent of a loud value
    exponents = np.clip(np.frexp(audible)[1] + THRESHOLDS, 0, THRESHOLDS)
    return np.cumsum(np.bincount(exponents, minlength=THRESHOLDS + 1)[::-1])[::-1][1:]


def _level_at_margin(energy: float, active: npt.NDArray[np.int64], length: int) -> tuple[float, float]:
    previous: tuple[float, float] | None = None
    for index, count in enumerate(active):
        if count == 0:
            break
        level_db = 10.0 * np.log10(max(energy / count, 1e-20))
        excess_db = level_db - 20.0 * np.log10(2.0) * (index - THRESHOLDS) - MARGIN_DB
        if excess_db <= 0.0:
            if previous is None:
                break
            part = previous[1] / (previous[1] - excess_db)
            found_db = previous[0] + part * (level_db - previous[0])
            return float(found_db), float(min(1.0, energy / length / 10.0 ** (found_db / 10.0)))
        previous = (level_db, excess_db)
    return SILENCE_DB, 0.0


def noise_level_db(
    samples: npt.NDArray[np.floating], rate_hz: int = SAMPLE_RATE_HZ, band_hz: tuple[float, float] = NOISE_BAND_HZ
) -> float:
    """Mean power of `samples` (T,) between the edges of `band_hz`, in dBov; `SILENCE_DB` at the least.

    The power is summed over the bins of one Fourier transform of the whole segment (Parseval), so the band
    has sharp edges.
    """
    if len(samples) == 0:
        return SILENCE_DB
    size = next_fast_len(len(samples), real=True)
    spectrum = rfft(samples, size)
    first, last = (round(edge * size / rate_hz) for edge in band_hz)
    band = spectrum[first : last + 1]
    power = 2.0 * float(np.vdot(band, band).real) / size / len(samples)
    return float(10.0 * np.log10(max(power, 10.0 ** (SILENCE_DB / 10.0))))


def noise_gain(speech_level_db: float, noise_db: float, snr_db: float) -> float:
    """The factor for the noise that puts `snr_db` between the two levels."""
    return float(10.0 ** ((speech_level_db - snr_db - noise_db) / 20.0))


def peak(samples: Samples) -> float:
    """The largest magnitude in `samples`, 0 if empty."""
    return float(max(samples.max(), -samples.min())) if len(samples) else 0.0
