"""Another length of the vocal tract: the spectral envelope is stretched, pitch and timing stay.

A tract longer by a factor lowers every formant by it (Fant 1960; the warping of Eide and Gish 1996 and of Jaitly and
Hinton 2013). The speech is kept and only filtered: in each short frame by the ratio of the stretched envelope to the
envelope that is there, found as the "true envelope" of Röbel and Rodet (DAFx 2005), cepstral smoothing that is
repeated until it runs along the harmonics' tops.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import signal

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.errors import ConfigError

MIN_FACTOR, MAX_FACTOR = 0.7, 1.4
_WINDOW, _HOP, _FFT = 512, 128, 1024  # 32 ms, 8 ms
_QUEFRENCIES = 40  # 2.5 ms: finer structure belongs to the harmonics of voices up to about 200 Hz
_ITERATIONS = 12
_FLOOR = 1e-4  # of the loudest bin: what lies below is treated as flat
_MAX_GAIN_DB = 25.0

Spectrum = npt.NDArray[np.float64]


def lengthen(samples: Samples, factor: float) -> Samples:
    """Speech as if the speaker's vocal tract were `factor` times as long: formants are divided by it.

    Args:
        samples: shape (T,), mono float32 at 16 kHz.
        factor: 0.85 makes a smaller head, 1.15 a larger one; 1 returns the samples as they are.

    Returns:
        Shape (T,), of the same level unless it would clip.

    Raises:
        ConfigError: a factor outside `MIN_FACTOR` to `MAX_FACTOR`.
    """
    if not MIN_FACTOR <= factor <= MAX_FACTOR:
        raise ConfigError(f"vocal_tract must lie between {MIN_FACTOR} and {MAX_FACTOR}, found {factor}")
    if factor == 1.0 or not samples.any():
        return samples
    frames = _transform()
    padded = np.pad(samples.astype(np.float64), (0, max(0, _WINDOW - len(samples))))
    spectrum = frames.stft(padded)
    envelope = true_envelope(np.abs(spectrum).T)
    bins = np.arange(envelope.shape[1], dtype=np.float64)
    # The top of a longer tract's spectrum was never recorded: it is held at the value of the highest frequency.
    wanted = np.array([np.interp(bins * factor, bins, row) for row in envelope])
    limit = _MAX_GAIN_DB / 20 * np.log(10)
    gain = np.exp(np.clip(wanted - envelope, -limit, limit))
    changed = np.real(frames.istft(spectrum * gain.T, k1=len(padded)))[: len(samples)]
    changed *= np.sqrt((samples.astype(np.float64) ** 2).mean() / max((changed**2).mean(), 1e-20))
    return np.asarray(changed / max(1.0, float(np.abs(changed).max())), np.float32)


def true_envelope(magnitudes: Spectrum) -> Spectrum:
    """Log envelopes of shape (N, F) of magnitude spectra of shape (N, F), at or above their peaks but for ripples."""
    log = np.log(np.maximum(magnitudes, _FLOOR * magnitudes.max()))
    target = log
    smooth = log
    for _ in range(_ITERATIONS):
        cepstrum = np.fft.irfft(target, axis=1)
        cepstrum[:, _QUEFRENCIES + 1 : -_QUEFRENCIES] = 0.0
        smooth = np.fft.rfft(cepstrum, axis=1).real
        target = np.maximum(log, smooth)
    return np.asarray(smooth, np.float64)


@functools.cache
def _transform() -> signal.ShortTimeFFT:
    return signal.ShortTimeFFT(signal.windows.hann(_WINDOW, sym=False), _HOP, SAMPLE_RATE_HZ, mfft=_FFT)
