"""How far one phone is from another, and strings of phones from each other.

A phone is one character, an IPA symbol or, for the two affricates, the old ligature. Each has articulatory features;
what it costs to hear one for another is the difference of their features, and what it costs to hear one too many or
too few its weight, small for short vowels. The costs are closed under composition (no detour by a third phone is
cheaper), so that the weighted edit distance (Wagner and Fischer 1974) is a metric, and so is its normal form in [0, 1]
(Li and Liu, "A normalized Levenshtein distance metric", 2007).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Place from the lips (0) to the glottis (1); manner from stop (0) by fricative to glide (1); voice; nasal.
_CONSONANTS = {
    "p": (0.0, 0.0, 0, 0), "b": (0.0, 0.0, 1, 0), "t": (0.4, 0.0, 0, 0), "d": (0.4, 0.0, 1, 0),
    "k": (0.8, 0.0, 0, 0), "ɡ": (0.8, 0.0, 1, 0), "ʧ": (0.55, 0.25, 0, 0), "ʤ": (0.55, 0.25, 1, 0),
    "f": (0.1, 0.45, 0, 0), "v": (0.1, 0.45, 1, 0), "θ": (0.25, 0.45, 0, 0), "ð": (0.25, 0.45, 1, 0),
    "s": (0.4, 0.45, 0, 0), "z": (0.4, 0.45, 1, 0), "ʃ": (0.55, 0.45, 0, 0), "ʒ": (0.55, 0.45, 1, 0),
    "h": (1.0, 0.6, 0, 0), "m": (0.0, 0.5, 1, 1), "n": (0.4, 0.5, 1, 1), "ŋ": (0.8, 0.5, 1, 1),
    "l": (0.4, 0.8, 1, 0), "r": (0.55, 0.85, 1, 0), "j": (0.65, 1.0, 1, 0), "w": (0.3, 1.0, 1, 0),
}  # fmt: skip
# Height from open (0) to close (1); from front (0) to back (1); rounded.
_VOWELS = {
    "i": (1.0, 0.0, 0), "ɪ": (0.85, 0.15, 0), "e": (0.7, 0.05, 0), "ɛ": (0.5, 0.1, 0), "æ": (0.2, 0.15, 0),
    "a": (0.05, 0.45, 0), "ɑ": (0.05, 0.9, 0), "ɔ": (0.4, 0.95, 1), "o": (0.65, 1.0, 1), "ʊ": (0.85, 0.85, 1),
    "u": (1.0, 1.0, 1), "ʌ": (0.3, 0.7, 0), "ə": (0.5, 0.5, 0), "ɜ": (0.5, 0.5, 0.3),
}  # fmt: skip
# Phones that are heard for each other although their features say little of it.
_CLOSE = {
    ("j", "i"): 0.35, ("j", "ɪ"): 0.4, ("w", "u"): 0.35, ("w", "ʊ"): 0.4, ("r", "ɜ"): 0.4, ("r", "ə"): 0.6,
    ("h", "j"): 0.6, ("v", "w"): 0.35, ("θ", "f"): 0.3, ("ð", "v"): 0.3, ("ð", "d"): 0.35, ("θ", "t"): 0.4,
    ("ʃ", "ʧ"): 0.3, ("ʒ", "ʤ"): 0.2, ("s", "θ"): 0.35, ("l", "r"): 0.5, ("l", "w"): 0.55, ("n", "ŋ"): 0.25,
    ("m", "n"): 0.4, ("k", "h"): 0.6, ("ɡ", "h"): 0.7,
}  # fmt: skip
_GAPS = {"ə": 0.35, "ɪ": 0.45, "ʊ": 0.45, "h": 0.5, "j": 0.5, "w": 0.6, "r": 0.65, "ɜ": 0.5, "t": 0.8, "d": 0.8}

PHONES = "".join([*_CONSONANTS, *_VOWELS])
"""All phones; a string of phones holds no other character."""
VOWELS = frozenset(_VOWELS)
GAP = len(PHONES)
"""Index of no phone at all in the costs."""
_INDEX = {phone: index for index, phone in enumerate(PHONES)}
_VOWEL_GAP = 0.6


def _costs() -> npt.NDArray[np.float32]:
    costs = np.ones((GAP + 1, GAP + 1))
    np.fill_diagonal(costs, 0.0)
    for table, weights in ((_CONSONANTS, (0.6, 0.7, 0.25, 0.5)), (_VOWELS, (0.5, 0.45, 0.15))):
        for one, features in table.items():
            for other, others in table.items():
                apart = [w * abs(a - b) for w, a, b in zip(weights, features, others, strict=True)]
                costs[_INDEX[one], _INDEX[other]] = min(1.0, 0.1 + sum(apart)) if one != other else 0.0
    for (one, other), cost in _CLOSE.items():
        costs[_INDEX[one], _INDEX[other]] = costs[_INDEX[other], _INDEX[one]] = cost
    for phone, index in _INDEX.items():
        costs[index, GAP] = costs[GAP, index] = _GAPS.get(phone, _VOWEL_GAP if phone in VOWELS else 1.0)
    for by in range(GAP + 1):  # Floyd and Warshall
        costs = np.minimum(costs, costs[:, by, None] + costs[None, by, :])
    return costs.astype(np.float32)


COSTS = _costs()
"""Shape (phones + 1, phones + 1), symmetric, zero only on the diagonal; the last row and column are `GAP`'s."""


def encode(phones: str) -> npt.NDArray[np.int8]:
    """Indices of the phones, shape (L,); KeyError for a character that is none."""
    return np.array([_INDEX[phone] for phone in phones], np.int8)


def pack(strings: list[str]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """The indices of many strings behind each other, and where each begins, shape (strings + 1,)."""
    ends = np.cumsum([0, *map(len, strings)], dtype=np.int64)
    return encode("".join(strings)), ends


def phone_distance(one: str, other: str) -> float:
    """The normalised distance of two strings of phones: 0 for the same, 1 if nothing of one is in the other."""
    packed, ends = pack([other])
    return float(distances(encode(one), packed, ends, np.zeros(1, np.int64), COSTS)[0])


@numba.njit(cache=True)
def distances(query: Array, packed: Array, ends: Array, chosen: Array, costs: Array) -> Array:
    """Normalised distances of one string from some of many.

    Args:
        query: (L,) indices of its phones.
        packed: the phones of all strings, from `pack`.
        ends: (strings + 1,) where each begins, from `pack`.
        chosen: (N,) which strings.
        costs: `COSTS`.

    Returns:
        Shape (N,), in [0, 1].
    """
    gap = len(costs) - 1
    weight = 0.0
    for phone in query:
        weight += costs[phone, gap]
    found = np.empty(len(chosen), np.float32)
    for place in range(len(chosen)):
        string = packed[ends[chosen[place]] : ends[chosen[place] + 1]]
        row = np.zeros(len(string) + 1, np.float64)
        for column in range(len(string)):
            row[column + 1] = row[column] + costs[gap, string[column]]
        both = weight + row[-1]
        for phone in query:
            corner = row[0]
            row[0] += costs[phone, gap]
            for column in range(len(string)):
                best = corner + costs[phone, string[column]]
                best = min(best, row[column + 1] + costs[phone, gap], row[column] + costs[gap, string[column]])
                corner = row[column + 1]
                row[column + 1] = best
        found[place] = 2.0 * row[-1] / (both + row[-1]) if both > 0.0 else 0.0
    return found
