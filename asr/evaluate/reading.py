"""The alignment that people read: aware of spelling, so that a misheard name is one error and not four.

The word error rate comes from `asr.evaluate.align`, where every substitution costs 1 and "tay lor swift" for "taylor
swift" is a substitution and an insertion. Here a step costs by how alike its two sides are spelled, and neighbouring
words whose boundaries were heard elsewhere form one step, as in sclite's alignments with split and merged compounds
(NIST SCTK) and the weighted alignments of Ruiz & Federico ("Phonetically-oriented word error alignment", 2015). With
d the Levenshtein distance over characters divided by the longer side's length:

=====================================  ======================================
a word heard as itself                 0
a word dropped or made up              1
a word heard as another                1/2 + d
m words heard as n, not both 1         1/4 + (1/2 + d) max(m, n)
=====================================  ======================================

The last is allowed up to `MAX_WORDS` words on either side, where d is at most `MAX_DISTANCE`, and only if the sides
share neither their first nor their last word (those are hits). Among the alignments of least cost, the one is taken
that prefers single words to groups, from the end of the utterance. The search keeps to a band around the diagonal
that is doubled until nothing outside it can be cheaper (Ukkonen, "Algorithms for approximate string matching", 1985).
"""

from __future__ import annotations

import math
from functools import lru_cache

from rapidfuzz.distance import Levenshtein

from asr.evaluate.findings import Step, StepKind

MAX_WORDS = 3
MAX_DISTANCE = 0.35
GAP_COST = 1.0
SUBSTITUTION_COST = 0.5
GROUP_COST = 0.25

_GROUPS = [
    (m, n, GROUP_COST + SUBSTITUTION_COST * max(m, n))
    for m in range(1, MAX_WORDS + 1)
    for n in range(1, MAX_WORDS + 1)
    if (m, n) != (1, 1)
]
"""Words of each side, and the least that such a group costs."""
_EXTRA_COST = min([GAP_COST, *(least / abs(m - n) for m, n, least in _GROUPS if m != n)])
"""The least that it costs for one side to have one word more."""


def read_alignment(reference: str, hypothesis: str) -> tuple[Step, ...]:
    """Aligns the words of `hypothesis` with those of `reference` at the least cost; the steps spell both in order."""
    spoken, heard = reference.split(), hypothesis.split()
    if spoken == heard:
        return tuple(Step("hit", word, word) for word in spoken)
    limit = _EXTRA_COST * abs(len(spoken) - len(heard)) + 2.0
    while (sizes := _least_cost(spoken, heard, limit)) is None:
        limit *= 2
    steps: list[Step] = []
    i, j = len(spoken), len(heard)
    while i or j:
        m, n = sizes[i][j]
        steps.append(_step(spoken[i - m : i], heard[j - n : j]))
        i, j = i - m, j - n
    return tuple(reversed(steps))


def step_cost(spoken: tuple[str, ...], heard: tuple[str, ...]) -> float | None:
    """What it costs to read the words `spoken` as heard as the words `heard`; None where that is no step."""
    if not spoken or not heard:
        return GAP_COST if len(spoken) + len(heard) == 1 else None
    if len(spoken) == len(heard) == 1:
        return _pair_cost(spoken[0], heard[0])
    longest = max(len(spoken), len(heard))
    if longest > MAX_WORDS or spoken[0] == heard[0] or spoken[-1] == heard[-1]:
        return None
    distance = spelling_distance("".join(spoken), "".join(heard))
    return None if distance > MAX_DISTANCE else GROUP_COST + (SUBSTITUTION_COST + distance) * longest


@lru_cache(maxsize=1 << 16)
def spelling_distance(a: str, b: str) -> float:
    """Levenshtein distance over characters by the longer string's length: 0 for equal strings, at most 1."""
    return Levenshtein.normalized_distance(a, b)


def _least_cost(spoken: list[str], heard: list[str], limit: float) -> list[list[tuple[int, int]]] | None:
    """For each prefix pair (i, j), the words (m, n) of the last step on its cheapest path; None if all cost more."""
    rows, columns = len(spoken) + 1, len(heard) + 1
    cost = [[math.inf] * columns for _ in range(rows)]
    sizes = [[(0, 0)] * columns for _ in range(rows)]
    before = [_sums(words) for words in (spoken, heard)]
    reach = int(limit / _EXTRA_COST)
    for i in range(rows):
        for j in range(max(0, i - reach), min(columns, i + reach + 1)):
            best, size = (0.0, (0, 0)) if i == j == 0 else (math.inf, (0, 0))
            if i and j and (start := cost[i - 1][j - 1]) < math.inf:
                best, size = start + _pair_cost(spoken[i - 1], heard[j - 1]), (1, 1)
            if i and cost[i - 1][j] + GAP_COST < best:
                best, size = cost[i - 1][j] + GAP_COST, (1, 0)
            if j and cost[i][j - 1] + GAP_COST < best:
                best, size = cost[i][j - 1] + GAP_COST, (0, 1)
            for m, n, least in _GROUPS:
                if m > i or n > j or (start := cost[i - m][j - n]) + least >= best:
                    continue
                a, b = before[0][i] - before[0][i - m], before[1][j] - before[1][j - n]
                if abs(a - b) > MAX_DISTANCE * max(a, b):  # the distance is at least the difference in length
                    continue
                group = step_cost(tuple(spoken[i - m : i]), tuple(heard[j - n : j]))
                if group is not None and start + group < best:
                    best, size = start + group, (m, n)
            if best + _EXTRA_COST * abs((rows - i) - (columns - j)) <= limit:
                cost[i][j], sizes[i][j] = best, size
    return sizes if cost[-1][-1] < math.inf else None


def _pair_cost(spoken: str, heard: str) -> float:
    return 0.0 if spoken == heard else SUBSTITUTION_COST + spelling_distance(spoken, heard)


def _sums(words: list[str]) -> list[int]:
    """Characters before each word, and in all."""
    sums = [0]
    for word in words:
        sums.append(sums[-1] + len(word))
    return sums


def _step(spoken: list[str], heard: list[str]) -> Step:
    kind: StepKind
    if not heard:
        kind = "deletion"
    elif not spoken:
        kind = "insertion"
    elif len(spoken) == len(heard) == 1:
        kind = "hit" if spoken == heard else "substitution"
    else:
        kind = "split" if len(heard) > len(spoken) else "merge" if len(heard) < len(spoken) else "shift"
    return Step(kind, " ".join(spoken), " ".join(heard))
