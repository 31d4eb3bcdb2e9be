"""What lies between the microphone and the recogniser: frequency response, telephone band, codecs.

Filters and MP3 are audiomentations' transforms. They draw their parameters from Python's and NumPy's global
generators, which would make a result depend on whatever ran before; so the parameters are drawn here, from
the utterance's own generator, assigned to a new transform and frozen, and the global generators are never touched.
G.711, GSM and Opus are libsndfile's codecs, run in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
import soxr
from audiomentations import HighPassFilter, LowPassFilter
from audiomentations.core.transforms_interface import BaseWaveformTransform

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.config import ChannelKind

Channel = Callable[[Samples, np.random.Generator], tuple[Samples, dict[str, Any]]]

TELEPHONE_RATE_HZ = 8_000


def frozen(transform: BaseWaveformTransform, samples: Samples, **parameters: Any) -> Samples:
    """Applies an audiomentations transform with exactly these parameters; the length stays."""
    transform.parameters = {"should_apply": True, **parameters}
    transform.freeze_parameters()
    return fitted(transform(samples, SAMPLE_RATE_HZ), len(samples))


def fitted(samples: Samples, length: int) -> Samples:
    """Cuts or pads with zeros at the end to `length` samples, float32."""
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    return np.ascontiguousarray(samples[:length], dtype=np.float32)


def microphone(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """A small microphone: low end cut at 50 to 200 Hz, high end at 4 to 7.6 kHz, 6 dB up or down in between."""
    low_hz, high_hz, tilt_db = rng.uniform(50.0, 200.0), rng.uniform(4000.0, 7600.0), rng.uniform(-6.0, 6.0)
    result = _band(samples, low_hz, high_hz, rolloff_db=12)
    return result, {"low_hz": round(low_hz), "high_hz": round(high_hz), "tilt_db": round(tilt_db, 1)}


def telephone(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """The telephone band, 300 to 3400 Hz give or take."""
    low_hz, high_hz = rng.uniform(200.0, 350.0), rng.uniform(3200.0, 3600.0)
    return _band(samples, low_hz, high_hz, rolloff_db=24), {"low_hz": round(low_hz), "high_hz": round(high_hz)}


def _band(samples: Samples, low_hz: float, high_hz: float, rolloff_db: int) -> Samples:
    samples = frozen(HighPassFilter(p=1.0), samples, cutoff_freq=low_hz, rolloff=rolloff_db)
    return frozen(LowPassFilter(p=1.0), samples, cutoff_freq=high_hz, rolloff=rolloff_db)


def mulaw(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:  # noqa: ARG001
    """G.711 mu-law at 8 kHz."""
    return _narrow(samples, "ULAW"), {}


def gsm(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:  # noqa: ARG001
    """GSM 06.10 full rate, 13 kbit/s at 8 kHz."""
    return _narrow(samples, "GSM610"), {}


def _narrow(samples: Samples, subtype: str) -> Samples:
    narrow = soxr.resample(samples, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    coded = _through_libsndfile(narrow, TELEPHONE_RATE_HZ, "WAV", subtype)
    return fitted(soxr.resample(coded, TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ), len(samples))


def opus(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """Opus at a low bit rate, as phones and browsers send it."""
    level = float(rng.uniform(0.85, 0.99))
    coded = _through_libsndfile(samples, SAMPLE_RATE_HZ, "OGG", "OPUS", compression_level=level)
    return fitted(coded, len(samples)), {"compression_level": round(level, 3)}


def mp3(samples: Samples, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """MP3 at a low bit rate."""
    level = float(rng.uniform(0.7, 0.99))
    coded = _through_libsndfile(samples, SAMPLE_RATE_HZ, "MP3", "MPEG_LAYER_III", compression_level=level)
    return fitted(coded, len(samples)), {"compression_level": round(level, 3)}


def _through_libsndfile(
    samples: Samples, rate_hz: int, container: str, subtype: str, compression_level: float | None = None
) -> Samples:
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, rate_hz, format=container, subtype=subtype, compression_level=compression_level
    )
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    return np.asarray(decoded)


CHANNELS: dict[ChannelKind, Channel] = {
    "microphone": microphone,
    "telephone": telephone,
    "mulaw": mulaw,
    "gsm": gsm,
    "mp3": mp3,
    "opus": opus,
}
