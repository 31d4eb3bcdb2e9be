"""Which of many spellings sound like one: an index by the weight of their phones.

A string of phones cannot be nearer to another than their weights (what all their phones would cost as gaps) allow: the
edit distance e is at least the difference of the weights, and the normalised distance 2 e / (w + v + e) grows with e.
So only strings of about the same weight need to be compared, and nothing near is ever missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.unknown.letters import pronounce
from asr.unknown.phones import COSTS, GAP, distances, encode

_ROOM = 1024


class SoundIndex:
    """Spellings of keys, to be found by sound. Not to be shared between threads."""

    def __init__(self) -> None:
        self._packed = np.zeros(16 * _ROOM, np.int8)
        self._ends = np.zeros(_ROOM + 1, np.int64)
        self._weights = np.zeros(_ROOM)
        self._keys: list[str] = []
        self._texts: list[str] = []
        self._of: dict[str, list[int]] = {}
        self._alive = np.zeros(_ROOM, np.bool_)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._of)

    def keys(self) -> set[str]:
        """All keys."""
        return set(self._of)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that is in it, to be written down; see `of_arrays`."""
        rows = [row for rows in self._of.values() for row in rows]
        phones = [self._packed[self._ends[row] : self._ends[row + 1]] for row in rows]
        return {
            "phones": np.concatenate([*phones, np.zeros(0, np.int8)]).astype(np.int8),
            "ends": np.cumsum([0, *map(len, phones)], dtype=np.int64),
            "weights": self._weights[rows],
            "keys": _text_array([self._keys[row] for row in rows]),
            "texts": _text_array([self._texts[row] for row in rows]),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SoundIndex:
        """What `arrays` gave.

        Raises:
            ValueError, KeyError: the arrays do not fit each other.
        """
        made = cls()
        made._keys, made._texts = _texts(arrays["keys"]), _texts(arrays["texts"])
        count, ends = len(made._keys), arrays["ends"]
        if not (len(made._texts) == len(arrays["weights"]) == len(ends) - 1 == count) or ends[-1] != len(
            arrays["phones"]
        ):
            raise ValueError("the arrays of an index do not fit each other")
        made._packed = _grown(arrays["phones"], max(len(made._packed), int(ends[-1])))
        made._ends = _grown(ends, max(len(made._ends), count + 1))
        made._weights = _grown(arrays["weights"], max(len(made._weights), count))
        made._alive = _grown(np.ones(count, np.bool_), len(made._weights))
        for row, key in enumerate(made._keys):
            made._of.setdefault(key, []).append(row)
        return made

    def set(self, key: str, spellings: Iterable[str]) -> None:
        """Puts a key under these spellings and no others; none takes it out."""
        for row in self._of.pop(key, ()):
            self._alive[row] = False
        for spelling in dict.fromkeys(spellings):
            for phones in pronounce(spelling):
                if phones:
                    self._of.setdefault(key, []).append(self._append(key, spelling, phones))
        if len(self._keys) > 2 * int(self._alive[: len(self._keys)].sum()) + _ROOM:
            self._repack()

    def near(self, spelling: str, limit: float) -> list[tuple[float, str, str]]:
        """All keys with a spelling that sounds no further away.

        Args:
            spelling: in letters.
            limit: of the sound distance (see `asr.unknown.sound_distance`), below 1.

        Returns:
            Distance, key and its nearest spelling, once for each key, nearest first and then by key.
        """
        found: dict[str, tuple[float, str, str]] = {}
        count = len(self._keys)
        for phones in pronounce(spelling):
            query = encode(phones)
            weight = float(COSTS[query, GAP].sum())
            apart = np.abs(self._weights[:count] - weight)
            bound = 2 * apart <= limit * (self._weights[:count] + weight + apart) + 1e-6
            chosen = np.flatnonzero(bound & self._alive[:count])
            apart = distances(query, self._packed, self._ends, chosen, COSTS)
            for row, distance in zip(chosen[apart <= limit], apart[apart <= limit], strict=True):
                hit = (float(distance), self._keys[row], self._texts[row])
                if hit[1] not in found or hit < found[hit[1]]:
                    found[hit[1]] = hit
        return sorted(found.values())

    def _append(self, key: str, spelling: str, phones: str) -> int:
        row, indices = len(self._keys), encode(phones)
        end = int(self._ends[row]) + len(indices)
        if row + 1 > len(self._weights):
            self._ends = _grown(self._ends, 2 * row + 1)
            self._weights, self._alive = _grown(self._weights, 2 * row), _grown(self._alive, 2 * row)
        if end > len(self._packed):
            self._packed = _grown(self._packed, 2 * end)
        self._packed[end - len(indices) : end] = indices
        self._ends[row + 1] = end
        self._weights[row] = COSTS[indices, GAP].sum()
        self._alive[row] = True
        self._keys.append(key)
        self._texts.append(spelling)
        return row

    def _repack(self) -> None:
        """Leaves out what was replaced."""
        spellings = {key: list(dict.fromkeys(self._texts[row] for row in rows)) for key, rows in self._of.items()}
        self.__init__()  # type: ignore[misc]
        for key, texts in spellings.items():
            self.set(key, texts)


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    grown = np.zeros(size, array.dtype)
    grown[: len(array)] = array
    return grown


def _text_array(texts: Sequence[str]) -> npt.NDArray[Any]:
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def _texts(array: npt.NDArray[Any]) -> list[str]:
    return array.tobytes().decode().split("\n") if len(array) else []
