"""The best spelling of a name that was heard in many: the one in their middle, improved letter by letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T", str, int)

_KEPT = 24
"""Spellings that take part, heaviest first."""
_ROUNDS = 4


def edit_path(one: Sequence[T], other: Sequence[T]) -> list[tuple[int | None, int | None]]:
    """The cheapest alignment of two sequences (Levenshtein, all costs 1; of equal ones that which ends alike).

    Returns:
        Pairs of places in order; None stands for the missing side of an insertion or deletion.
    """
    rows = [list(range(len(other) + 1))]
    for place, item in enumerate(one):
        row = [place + 1]
        for column, opposite in enumerate(other):
            row.append(min(rows[-1][column] + (item != opposite), rows[-1][column + 1] + 1, row[-1] + 1))
        rows.append(row)
    path: list[tuple[int | None, int | None]] = []
    i, j = len(one), len(other)
    while i or j:
        if i and j and rows[i][j] == rows[i - 1][j - 1] + (one[i - 1] != other[j - 1]):
            i, j = i - 1, j - 1
            path.append((i, j))
        elif i and rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
            path.append((i, None))
        else:
            j -= 1
            path.append((None, j))
    return path[::-1]


def edit_distance(one: Sequence[T], other: Sequence[T]) -> int:
    """Insertions, deletions and substitutions from one sequence to the other."""
    row = list(range(len(other) + 1))
    for place, item in enumerate(one):
        corner, row[0] = row[0], place + 1
        for column, opposite in enumerate(other):
            best = min(corner + (item != opposite), row[column + 1] + 1, row[column] + 1)
            corner, row[column + 1] = row[column + 1], best
    return row[-1]


def consensus(spellings: Sequence[tuple[str, float]]) -> str:
    """The spelling with the least weighted sum of edit distances to all.

    Starts from the best of those given (the set median) and lets all vote on each of its letters as long as that brings
    the sum down (an approximate median string; Kohonen, "Median strings", 1985). The order of what is given plays
    no part; of equals the first in the alphabet is taken.

    Args:
        spellings: with weights above 0; the same one may come several times.

    Raises:
        ValueError: none is given.
    """
    weights: Counter[str] = Counter()
    for text, weight in sorted(spellings):
        weights[text] += weight  # type: ignore[assignment]  # Counter's values may be floats
    heavy = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:_KEPT]

    def cost(text: str) -> float:
        return round(sum(weight * edit_distance(text, other) for other, weight in heavy), 9)

    best = min((cost(text), text) for text, _ in heavy)
    for _ in range(_ROUNDS):
        voted = _vote(best[1], heavy)
        changed = (cost(voted), voted) if voted else best
        if changed[0] >= best[0]:
            break
        best = changed
    return best[1]


def _vote(pivot: str, spellings: Sequence[tuple[str, float]]) -> str:
    """Of each letter of the pivot, and each gap between two, what most of the weight has there."""
    letters: list[Counter[str]] = [Counter() for _ in pivot]
    gaps: list[Counter[str]] = [Counter() for _ in range(len(pivot) + 1)]
    total = 0.0
    for text, weight in spellings:
        total += weight
        inserted = [""] * (len(pivot) + 1)
        place = 0
        for i, j in edit_path(pivot, text):
            if i is None:
                inserted[place] += text[j or 0]
            else:
                letters[i][text[j] if j is not None else ""] += weight  # type: ignore[assignment]
                place = i + 1
        for gap, more in enumerate(inserted):
            gaps[gap][more] += weight  # type: ignore[assignment]
    said = ""
    for place in range(len(pivot) + 1):
        said += _heaviest(gaps[place])
        if place < len(pivot):
            said += _heaviest(letters[place])
    return " ".join(said.split())


def _heaviest(votes: Counter[str]) -> str:
    return min(votes.items(), key=lambda item: (-item[1], item[0]))[0] if votes else ""
