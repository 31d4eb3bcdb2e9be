"""Seamless loops: noise that can be cut at any point and for any length without a click.

Synthetic noise is made on a circle: coloured noise by an inverse Fourier transform, modulations by a few
low bins, events placed modulo the length. Recordings are closed by a cross-fade.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfftfreq

from asr.audio import SAMPLE_RATE_HZ, Samples

Spectrum = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def coloured(rng: np.random.Generator, length: int, shape_db: Spectrum) -> Samples:
    """Gaussian noise of shape (length,), root mean square 1, its power density following `shape_db` (Hz -> dB)."""
    frequency_hz = rfftfreq(length, 1.0 / SAMPLE_RATE_HZ)
    magnitude = np.zeros(len(frequency_hz), np.float32)
    magnitude[1:] = 10.0 ** (shape_db(frequency_hz[1:]) / 20.0)
    bins = rng.standard_normal((2, len(magnitude)), np.float32)
    noise = irfft(magnitude * (bins[0] + 1j * bins[1]), length)
    return _float32(noise / np.sqrt(np.mean(noise**2)))


def drift(rng: np.random.Generator, length: int, fastest_hz: float) -> Samples:
    """A slow random curve of shape (length,): root mean square 1, mean 0, nothing faster than `fastest_hz`."""
    count = max(1, int(fastest_hz * length / SAMPLE_RATE_HZ))
    bins = np.zeros(length // 2 + 1, np.complex64)
    bins[1 : count + 1] = rng.standard_normal(count) + 1j * rng.standard_normal(count)
    curve = irfft(bins, length)
    return _float32(curve / np.sqrt(np.mean(curve**2)))


def place(target: Samples, event: Samples, start: int) -> None:
    """Adds `event` (shorter than `target`) into `target` at `start`, wrapping around its end."""
    start %= len(target)
    head = min(len(event), len(target) - start)
    target[start : start + head] += event[:head]
    target[: len(event) - head] += event[head:]


def cut(loop: Samples, start: int, length: int) -> Samples:
    """`length` samples of the endless repetition of `loop`, from `start` on."""
    start %= len(loop)
    if start + length <= len(loop):
        return loop[start : start + length]
    repeats = -(-(start + length) // len(loop))
    return np.tile(loop, repeats)[start : start + length]


def closed(recording: Samples, fade_s: float = 0.05) -> Samples:
    """Makes a loop of a recording by fading its end into its beginning (equal power); shortens it by the fade."""
    fade = min(int(fade_s * SAMPLE_RATE_HZ), len(recording) // 4)
    if fade == 0:
        return recording
    angle = np.linspace(0.0, np.pi / 2.0, fade, dtype=np.float32)
    loop = recording[: len(recording) - fade].copy()
    loop[:fade] = loop[:fade] * np.sin(angle) + recording[-fade:] * np.cos(angle)
    return loop


def _float32(values: npt.NDArray[np.floating]) -> Samples:
    return np.ascontiguousarray(values, dtype=np.float32)
