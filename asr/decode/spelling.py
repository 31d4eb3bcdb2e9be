"""How words are spelled: an n-gram over letters, for words that the language model does not know.

It is estimated from the lexicon itself, each word once, since new words look like rare ones; so it costs the bundle
no file. Smoothing is Witten and Bell's (1991), interpolated down to the uniform distribution.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]

ORDER = 4
"""With 5 the dense table would need 70 MB."""


def spelling_model(letters: Ints, offsets: Ints, alphabet: int, order: int = ORDER) -> npt.NDArray[np.float32]:
    """Natural-log probabilities of each letter after the letters before it.

    A context is a number: its last ``order - 1`` letters as digits to the base of ``alphabet + 1``, the latest last;
    the digit ``alphabet`` stands for what is before the word, and as a letter for its end.

    Args:
        letters: (sum of lengths,) the words' letters as indices.
        offsets: (words + 1,) where each word begins in `letters`.
        alphabet: how many letters there are.
        order: n, at least 1.

    Returns:
        Shape ((alphabet + 1) ** (order - 1), alphabet + 1).
    """
    base = alphabet + 1
    # Each word with its end, after as many boundaries as a context is long.
    starts = np.asarray(offsets[:-1])
    ended = np.insert(letters, offsets[1:], alphabet)
    place = np.arange(len(ended)) - np.repeat(starts + np.arange(len(starts)), np.diff(offsets) + 1)
    probability = np.full((1, base), 1.0 / base)
    for length in range(order):
        context = np.zeros(len(ended), np.int64)
        for back in range(length, 0, -1):
            before = np.where(place >= back, np.roll(ended, back), alphabet)
            context = context * base + before
        counts = np.bincount(context * base + ended, minlength=base ** (length + 1)).reshape(-1, base)
        kinds = (counts > 0).sum(axis=1, keepdims=True)
        shorter = np.tile(probability, (len(counts) // len(probability), 1))
        seen = np.maximum(counts.sum(axis=1, keepdims=True) + kinds, 1)
        probability = np.where(kinds > 0, (counts + kinds * shorter) / seen, shorter)
    logs: npt.NDArray[np.float32] = np.log(probability).astype(np.float32)
    return logs
