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
that prefers single words to groups, from the end of the utterance.
"""

from __future__ import annotations

from functools import lru_cache

from rapidfuzz.distance import Levenshtein

from asr.evaluate.findings import Step, StepKind

MAX_WORDS = 3
MAX_DISTANCE = 0.35
GAP_COST = 1.0
SUBSTITUTION_COST = 0.5
GROUP_COST = 0.25

_GROUPS = [(m, n) for m in range(1, MAX_WORDS + 1) for n in range(1, MAX_WORDS + 1) if (m, n) != (1, 1)]


def read_alignment(reference: str, hypothesis: str) -> tuple[Step, ...]:
    """Aligns the words of `hypothesis` with those of `reference` at the least cost; the steps spell both in order."""
    spoken, heard = reference.split(), hypothesis.split()
    if spoken == heard:
        return tuple(Step("hit", word, word) for word in spoken)
    sizes = _least_cost(spoken, heard)
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
        return 0.0 if spoken == heard else SUBSTITUTION_COST + spelling_distance(spoken[0], heard[0])
    longest = max(len(spoken), len(heard))
    if longest > MAX_WORDS or spoken[0] == heard[0] or spoken[-1] == heard[-1]:
        return None
    distance = spelling_distance("".join(spoken), "".join(heard))
    return None if distance > MAX_DISTANCE else GROUP_COST + (SUBSTITUTION_COST + distance) * longest


@lru_cache(maxsize=1 << 16)
def spelling_distance(a: str, b: str) -> float:
    """Levenshtein distance over characters by the longer string's length: 0 for equal strings, at most 1."""
    return Levenshtein.normalized_distance(a, b)


def _least_cost(spoken: list[str], heard: list[str]) -> list[list[tuple[int, int]]]:
    """For each prefix pair (i, j), the words (m, n) of the last step on its cheapest path."""
    rows, columns = len(spoken) + 1, len(heard) + 1
    cost = [[0.0] * columns for _ in range(rows)]
    sizes = [[(0, 0)] * columns for _ in range(rows)]
    lengths = [_sums(words) for words in (spoken, heard)]
    for i in range(rows):
        for j in range(columns):
            if not i and not j:
                continue
            found: list[tuple[float, int, int]] = []
            if i and j:
                pair = step_cost((spoken[i - 1],), (heard[j - 1],))
                found.append((cost[i - 1][j - 1] + (pair or 0.0), 1, 1))
            if i:
                found.append((cost[i - 1][j] + GAP_COST, 1, 0))
            if j:
                found.append((cost[i][j - 1] + GAP_COST, 0, 1))
            best = min(found, key=lambda option: option[0])
            for m, n in _GROUPS:
                if m > i or n > j or cost[i - m][j - n] + GROUP_COST + SUBSTITUTION_COST * max(m, n) >= best[0]:
                    continue
                a, b = lengths[0][i] - lengths[0][i - m], lengths[1][j] - lengths[1][j - n]
                if abs(a - b) > MAX_DISTANCE * max(a, b):  # the distance is at least the difference in length
                    continue
                group = step_cost(tuple(spoken[i - m : i]), tuple(heard[j - n : j]))
                if group is not None and cost[i - m][j - n] + group < best[0]:
                    best = (cost[i - m][j - n] + group, m, n)
            cost[i][j], sizes[i][j] = best[0], (best[1], best[2])
    return sizes


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
