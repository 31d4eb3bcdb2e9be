"""The sound and the picture of one utterance, as small as a page that holds hundreds of them needs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np
import soundfile
from PIL import Image

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.features import log_mel

OPUS_COMPRESSION = 0.95
"""libsndfile's scale from 0 to 1; about 19 kbit/s, at which speech and noise are still heard as they were."""
MIN_SIZE, BYTES_PER_S = 1_500, 1_000
"""Of silence: speech takes three or four times as much a second."""
MAX_COLUMNS, BANDS, LEVELS = 800, 40, 16


@dataclass(frozen=True, slots=True)
class Media:
    """What a page embeds of one utterance, both base64.

    Attributes:
        sound: Ogg/Opus.
        picture: PNG of the log-mel frames, low bands at the bottom, as wide as the sound is long.
    """

    sound: str
    picture: str

    @property
    def size(self) -> int:
        """Bytes that it takes in the page."""
        return len(self.sound) + len(self.picture)


def media(samples: Samples) -> Media:
    """Sound and picture of samples of shape (T,), mono at 16 kHz."""
    return Media(_base64(opus(samples)), _base64(log_mel_png(samples)))


def expected_size(duration_s: float) -> int:
    """Bytes that so many seconds will hardly take less than, to pass over what cannot fit before it is encoded."""
    return MIN_SIZE + int(BYTES_PER_S * duration_s)


def opus(samples: Samples) -> bytes:
    """Encodes samples of shape (T,) as a small Ogg/Opus file, which every current browser plays."""
    file = io.BytesIO()
    soundfile.write(
        file, samples, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS", compression_level=OPUS_COMPRESSION
    )  # fmt: skip
    return file.getvalue()


def log_mel_png(samples: Samples) -> bytes:
    """Draws the log-mel frames that the recogniser hears, in `BANDS` bands and `LEVELS` colours.

    Args:
        samples: shape (T,), mono at 16 kHz.

    Returns:
        A PNG of at most `MAX_COLUMNS` columns and `BANDS` rows.
    """
    frames = log_mel(samples)
    step = max(2, -(-len(frames) // MAX_COLUMNS))
    columns = max(1, -(-len(frames) // step))
    padded = np.pad(frames, ((0, columns * step - len(frames)), (0, 0)), mode="edge" if len(frames) else "constant")
    means = padded.reshape(columns, step, BANDS, -1).mean(axis=(1, 3))
    low, high = np.percentile(means, [1, 99.8])
    levels = np.clip((means - low) / max(high - low, 1e-6) * LEVELS, 0, LEVELS - 1).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels.T[::-1]))
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", bits=4, optimize=True)
    return file.getvalue()


@cache
def _palette() -> bytes:
    colours = mpl.colormaps["magma"](np.linspace(0.0, 1.0, LEVELS))[:, :3]
    return bytes((colours * 255).round().astype(np.uint8).ravel())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
