"""What can be measured on a noise: spectrum and its tilt, weighted level, steadiness, engine orders.

Nothing here knows how a noise was made, so that recordings and simulations are measured alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt, welch

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.level import NOISE_BAND_HZ

Floats = npt.NDArray[np.float64]

THIRD_OCTAVES_HZ: Floats = 1000.0 * 10.0 ** (np.arange(-15, 9) / 10.0)
"""Exact centres of the bands 31.5 Hz to 6.3 kHz (IEC 61260-1, base ten)."""

WINDOW_S = 0.125
"""Windows of short-time levels: as long as the time constant "fast" of sound level meters (IEC 61672-1)."""

_SEGMENT = 16_384
_TINY = 1e-20


def density(samples: Samples) -> tuple[Floats, Floats]:
    """Power spectral density (Welch, about 1 Hz apart): frequencies in Hz and power per Hz, each of shape (F,)."""
    frequency_hz, power = welch(samples.astype(np.float64), SAMPLE_RATE_HZ, nperseg=min(_SEGMENT, len(samples)))
    return frequency_hz, power


def third_octaves_db(samples: Samples) -> Floats:
    """Mean power per Hz in each band of `THIRD_OCTAVES_HZ`, in dB re full scale: shape (24,).

    The level of a whole band, which meters show, rises by 3 dB per octave against this: it is ten times the
    logarithm of the band's width higher.
    """
    frequency_hz, power = density(samples)
    half = 10.0 ** (1.0 / 20.0)
    bands = [(frequency_hz >= centre / half) & (frequency_hz < centre * half) for centre in THIRD_OCTAVES_HZ]
    return _db(np.array([power[band].mean() for band in bands]))


def tilt_db_per_octave(bands_db: Floats, low_hz: float, high_hz: float) -> float:
    """Slope of the straight line through third-octave densities, shape (24,), over log2 frequency between two edges."""
    centres_hz = THIRD_OCTAVES_HZ
    within = (centres_hz >= low_hz) & (centres_hz <= high_hz)
    return float(np.polyfit(np.log2(centres_hz[within]), bands_db[within], 1)[0])


def a_weighting_db(frequency_hz: Floats) -> Floats:
    """The A curve of sound level meters (IEC 61672-1, Annex E), 0 dB at 1 kHz."""
    square = np.square(np.maximum(frequency_hz, 1e-3))
    response = 12194.217**2 * square**2
    response /= (square + 20.598997**2) * (square + 12194.217**2)
    response /= np.sqrt((square + 107.65265**2) * (square + 737.86223**2))
    return np.asarray(20.0 * np.log10(response) + 2.0)


def level_db(samples: Samples, *, a_weighted: bool = False) -> float:
    """Level of the whole band in dB re full scale, as it is or A-weighted."""
    frequency_hz, power = density(samples)
    if a_weighted:
        power = power * 10.0 ** (a_weighting_db(frequency_hz) / 10.0)
    return float(_db(np.array(power.sum() * (frequency_hz[1] - frequency_hz[0]))))


def energy_below(samples: Samples, frequency_hz: float) -> float:
    """Share of the energy below `frequency_hz`, in [0, 1]."""
    frequencies, power = density(samples)
    return float(power[frequencies < frequency_hz].sum() / max(power.sum(), _TINY))


def short_time_levels_db(
    samples: Samples, band_hz: tuple[float, float] = NOISE_BAND_HZ, window_s: float = WINDOW_S
) -> Floats:
    """Levels of successive windows within a band, shape (T / window,), in dB re full scale."""
    sections = butter(4, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    filtered = sosfilt(sections, samples.astype(np.float64))
    size = int(window_s * SAMPLE_RATE_HZ)
    windows = filtered[: len(filtered) // size * size].reshape(-1, size)
    return _db(np.mean(windows**2, axis=1))


def surrogate(samples: Samples, rng: np.random.Generator) -> Samples:
    """Stationary Gaussian noise with the power spectrum of `samples`: its Fourier phases, drawn anew.

    What `samples` fluctuates beyond its surrogate is not the chance of a steady noise (Theiler et al., "Testing for
    nonlinearity in time series: the method of surrogate data", Physica D 58, 1992).
    """
    spectrum = np.fft.rfft(samples)
    phases = rng.random(len(spectrum))
    phases[[0, -1]] = 0.0  # the mean, and half the sampling rate, are real
    spectrum *= np.exp(2j * np.pi * phases)
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def modulation_db(samples: Samples, centres_hz: npt.ArrayLike, band_hz: tuple[float, float] = NOISE_BAND_HZ) -> Floats:
    """Depth of the modulations of the intensity in octaves about `centres_hz`: 20 log10 of the effective index.

    0 dB is an intensity that swings sinusoidally between zero and twice its mean. Running speech swings most at about
    4 Hz, its syllables (Houtgast and Steeneken, "A review of the MTF concept in room acoustics", JASA 77, 1985).
    """
    sections = butter(4, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    size = SAMPLE_RATE_HZ // 100
    intensity = sosfilt(sections, samples.astype(np.float64)) ** 2
    intensity = intensity[: len(intensity) // size * size].reshape(-1, size).mean(axis=1)
    intensity = intensity / max(float(intensity.mean()), _TINY)
    power = 2.0 * np.abs(np.fft.rfft(intensity - 1.0)) ** 2 / len(intensity) ** 2
    frequency_hz = np.fft.rfftfreq(len(intensity), size / SAMPLE_RATE_HZ)
    edge = np.sqrt(2.0)
    octaves = [
        power[(frequency_hz >= centre / edge) & (frequency_hz < centre * edge)].sum()
        for centre in np.asarray(centres_hz, np.float64)
    ]
    return _db(2.0 * np.array(octaves))


def order_levels_db(samples: Samples, rpm: float, orders: npt.ArrayLike) -> Floats:
    """Level of each engine order: the power within 3 % (at least 2 Hz) of its frequency, in dB re full scale.

    Args:
        samples: shape (T,).
        rpm: revolutions per minute; order 1 sounds at rpm / 60 Hz.
        orders: multiples of the revolution rate, shape (K,).

    Returns:
        Shape (K,).
    """
    frequency_hz, power = density(samples)
    centres_hz = np.asarray(orders, np.float64) * rpm / 60.0
    near = [np.abs(frequency_hz - centre) <= max(0.03 * centre, 2.0) for centre in centres_hz]
    return _db(np.array([power[lines].sum() for lines in near]) * (frequency_hz[1] - frequency_hz[0]))


def _db(power: Floats) -> Floats:
    return np.asarray(10.0 * np.log10(np.maximum(power, _TINY)))
