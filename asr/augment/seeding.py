"""Randomness that depends on names only, never on the order of calls."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*parts: int | str) -> np.random.Generator:
    """A generator seeded by the hash of `parts`, such as (seed, epoch, utterance id, effect).

    Each effect has its own generator, so that changing the settings of one leaves the draws of the others as
    they were: the same utterance at 20 dB and at 0 dB meets the same noise in the same room.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
