"""The forms in which a name is said, the full name or a part of it, and an index of how they sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.unknown.phones import COSTS, PHONES, VOWELS, distances, encode, pack

Array = npt.NDArray[Any]

# Phones that are easily heard for each other fall together before exact distances are taken; the last class is vowels.
_CLASSES = ("pbfv", "tdθð", "kɡh", "szʃʒʧʤ", "mnŋ", "lrɜ", "jw", "".join(sorted(VOWELS - {"ɜ"})))
_CLASS_OF = np.array([next(i for i, members in enumerate(_CLASSES) if phone in members) for phone in PHONES])
_VOWEL = len(_CLASSES) - 1
_PRESELECTED = 150


@dataclass(frozen=True, slots=True)
class Form:
    """One way to say a name.

    Attributes:
        text: in letters.
        whole: whether it is the full name.
    """

    text: str
    whole: bool


def forms(words: Sequence[str]) -> list[Form]:
    """The full name; of several words also the last, the last two of three or more, and the first, alone."""
    texts = [" ".join(words)]
    if len(words) > 1:
        texts += [words[-1], words[0]]
    if len(words) > 2:
        texts.append(" ".join(words[-2:]))
    return [Form(text, place == 0) for place, text in enumerate(dict.fromkeys(texts))]


class SoundIndex:
    """Strings of phones, found again by sound.

    Strings are first compared by how often classes of phones stand in them, and beside each other among consonants,
    in one product of matrices; the `_PRESELECTED` nearest of each query then by their exact distance.

    Args:
        strings: of phones; order is kept.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._packed, self._ends = pack(list(strings))
        self._signatures = np.stack([_signature(string) for string in strings]) if strings else np.zeros((0, _WIDTH))

    def nearest(self, queries: Sequence[str]) -> tuple[Array, Array]:
        """For each query the places of the nearest strings and their distances, each (Q, N)."""
        kept = min(_PRESELECTED, len(self._signatures))
        likeness = np.stack([_signature(query) for query in queries]) @ self._signatures.T
        places = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
        found = [
            distances(encode(query), self._packed, self._ends, row, COSTS)
            for query, row in zip(queries, places, strict=True)
        ]
        return places, np.stack(found)


_KINDS = _VOWEL + 1  # classes of consonants, and one for the word's ends
_WIDTH = len(_CLASSES) + _KINDS**2


def _signature(phones: str) -> npt.NDArray[np.float32]:
    """How often each class and each pair of consonants in sequence stands in a string, at length 1."""
    classes = _CLASS_OF[encode(phones)]
    skeleton = np.concatenate([[_VOWEL], classes[classes != _VOWEL], [_VOWEL]])
    alone = np.bincount(classes, minlength=len(_CLASSES))
    pairs = np.bincount(skeleton[:-1] * _KINDS + skeleton[1:], minlength=_KINDS**2)
    counts = np.concatenate([alone, pairs])
    scaled: npt.NDArray[np.float32] = (counts / max(1.0, float(np.linalg.norm(counts)))).astype(np.float32)
    return scaled
