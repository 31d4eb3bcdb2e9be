"""Sound in which nobody speaks, in place of some utterances of training: a model learns to leave it empty."""

from __future__ import annotations

import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import events, loops
from asr.augment.noise import NoiseSource
from asr.augment.seeding import generator

MUSIC_SHARE = 1 / 3
LEVEL_DB = (-55.0, -15.0)
"""Root mean square relative to full scale, from a quiet room to a loud radio."""

SHORTEST_MUSIC = 8 * SAMPLE_RATE_HZ
"""Made, even where less is cut from it: notes ring for seconds."""


class Wordless:
    """Noise or music alone, drawn from the seed, the utterance's id and the epoch only.

    Args:
        share: of the utterances that are replaced.
        noise: the augmentation's, which keeps files reserved for testing out.
        seed: of every draw.
    """

    def __init__(self, share: float, noise: NoiseSource, seed: int) -> None:
        self.share, self.noise, self.seed = share, noise, seed

    def replacement(self, length: int, utterance_id: str, epoch: int) -> Samples | None:
        """What is heard instead of an utterance of `length` samples, shape (length,); None leaves it as it is."""
        rng = generator(self.seed, epoch, utterance_id, "wordless")
        if rng.random() >= self.share:
            return None
        if rng.random() < MUSIC_SHARE:
            piece = loops.cut(events.music(rng, max(length, SHORTEST_MUSIC)), 0, length)
        else:
            piece = self.noise.cut(rng, length)[0]
        rms = float(np.sqrt(np.mean(np.square(piece, dtype=np.float64))))
        scale = 10.0 ** (rng.uniform(*LEVEL_DB) / 20.0) / max(rms, 1e-9)
        return np.asarray(np.clip(piece * np.float32(scale), -1.0, 1.0))
