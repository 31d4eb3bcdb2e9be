"""What the posteriors think of given letters: CTC's forward probability (Graves et al. 2006), compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from asr.decode.types import LogProbs

Array = npt.NDArray[Any]

BLANK_ID = 0


def forward(log_probs: LogProbs, ids: Sequence[int]) -> float:
    """The natural log of the probability that all frames together emit exactly these symbols.

    Args:
        log_probs: (T, V) natural-log posteriors, blank at 0.
        ids: (L,) symbols without blanks.

    Returns:
        Summed over all alignments; -inf where there are too few frames.
    """
    return float(_forward(np.ascontiguousarray(log_probs, np.float32), np.asarray(ids, np.int64)))


def spot(log_probs: LogProbs, filler: npt.NDArray[np.float32], ids: Sequence[int]) -> float:
    """The same where the symbols need only be a part: before and after them a filler takes any number of frames.

    Args:
        log_probs: (T, V) natural-log posteriors, blank at 0.
        filler: (T,) what the filler scores in each frame.
        ids: (L,) symbols without blanks, at least one.

    Returns:
        Summed over alignments and over where they begin and end; -inf where there are too few frames.
    """
    logs, fill = np.ascontiguousarray(log_probs, np.float32), np.asarray(filler, np.float32)
    return float(_spot(logs, fill, np.asarray(ids, np.int64)))


@numba.njit(cache=True, inline="always")
def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@numba.njit(cache=True)
def _forward(log_probs: Array, ids: Array) -> float:
    size = 2 * len(ids) + 1  # blank, symbol, blank, ..., blank
    now = np.full(size, -np.inf)
    before = np.full(size, -np.inf)
    before[0] = 0.0
    first = True
    for frame in range(len(log_probs)):
        row = log_probs[frame]
        for place in range(size):
            symbol = ids[place // 2] if place % 2 else 0
            score = before[place]
            if place and not (first and place > 1):
                score = _log_add(score, before[place - 1])
            if place % 2 and place > 1 and ids[place // 2] != ids[place // 2 - 1]:
                score = _log_add(score, before[place - 2])
            now[place] = score + row[symbol]
        now, before = before, now
        first = False
    return _log_add(before[-1], before[-2]) if size > 1 else before[0]


@numba.njit(cache=True)
def _spot(log_probs: Array, filler: Array, ids: Array) -> float:
    size = 2 * len(ids) - 1  # symbol, blank, ..., symbol: blanks outside are the filler's
    now = np.full(size, -np.inf)
    before = np.full(size, -np.inf)
    ahead, behind = 0.0, -np.inf
    for frame in range(len(log_probs)):
        row = log_probs[frame]
        behind = _log_add(behind, before[-1]) + filler[frame]
        for place in range(size):
            symbol = 0 if place % 2 else ids[place // 2]
            score = _log_add(before[place], before[place - 1] if place else ahead)
            if place % 2 == 0 and place > 1 and ids[place // 2] != ids[place // 2 - 1]:
                score = _log_add(score, before[place - 2])
            now[place] = score + row[symbol]
        ahead += filler[frame]
        now, before = before, now
    return _log_add(behind, before[-1])
