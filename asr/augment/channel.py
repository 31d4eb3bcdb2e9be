"""What lies between the microphone and the recogniser: frequency response, telephone band, codecs.

Filters are audiomentations' transforms. They draw their parameters from Python's and NumPy's global
generators, which would make a result depend on whatever ran before; so the parameters are drawn here, from
the utterance's own generator, assigned to a new transform and frozen, and the global generators are never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from audiomentations import HighPassFilter, HighShelfFilter, LowPassFilter
from audiomentations.core.transforms_interface import BaseWaveformTransform

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import codec
from asr.augment.config import ChannelKind

Channel = Callable[[Samples, np.random.Generator], tuple[Samples, dict[str, Any]]]
"""Changes samples of shape (T,) and returns them, as long as before, with the parameters drawn."""


def frozen(transform: BaseWaveformTransform, samples: Samples, **parameters: Any) -> Samples:
    """Applies an audiomentations transform with exactly these parameters."""
    transform.parameters = {"should_apply": True, **parameters}
    transform.freeze_parameters()
    return np.asarray(transform(samples, SAMPLE_RATE_HZ), dtype=np.float32)


def microphone(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """A small microphone: cut below 50 to 200 Hz and above 4 to 7.6 kHz, treble up or down by as much as 6 dB."""
    low_hz, high_hz, treble_db = rng.uniform(50.0, 200.0), rng.uniform(4000.0, 7600.0), rng.uniform(-6.0, 6.0)
    result = frozen(HighShelfFilter(p=1.0), samples, center_freq=2000.0, gain_db=treble_db, q_factor=0.5)
    result = _band(result, low_hz, high_hz, rolloff_db=12)
    return result, {"low_hz": round(low_hz), "high_hz": round(high_hz), "treble_db": round(treble_db, 1)}


def telephone(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """The telephone band, 300 to 3400 Hz give or take."""
    low_hz, high_hz = rng.uniform(200.0, 350.0), rng.uniform(3200.0, 3600.0)
    return _band(samples, low_hz, high_hz, rolloff_db=24), {"low_hz": round(low_hz), "high_hz": round(high_hz)}


def _band(samples: Samples, low_hz: float, high_hz: float, rolloff_db: int) -> Samples:
    samples = frozen(HighPassFilter(p=1.0), samples, cutoff_freq=low_hz, rolloff=rolloff_db)
    return frozen(LowPassFilter(p=1.0), samples, cutoff_freq=high_hz, rolloff=rolloff_db)


def _bit_rate(rng: np.random.Generator, *rates: int) -> dict[str, Any]:
    return {"bit_rate": int(rng.choice(rates))}


def _opus(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    drawn = _bit_rate(rng, 10_000, 12_000, 16_000, 24_000, 32_000)
    return codec.opus(samples, **drawn), drawn


def _aac(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    drawn = _bit_rate(rng, 12_000, 16_000, 24_000, 32_000)
    return codec.aac(samples, **drawn), drawn


def _mp3(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    drawn = {"compression_level": round(float(rng.uniform(0.7, 0.95)), 3)}
    return codec.mp3(samples, **drawn), drawn


CHANNELS: dict[ChannelKind, Channel] = {
    "microphone": microphone,
    "telephone": telephone,
    "mulaw": lambda samples, _: (codec.mulaw(samples), {}),
    "gsm": lambda samples, _: (codec.gsm(samples), {}),
    "g722": lambda samples, _: (codec.g722(samples), {}),
    "mp3": _mp3,
    "opus": _opus,
    "aac": _aac,
}
