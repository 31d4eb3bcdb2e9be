"""Two rungs of the ladder compared like for like: their corpora in the same shares, and each corpus by itself.

A sample of the training data rarely holds its corpora in the shares of the test. Where one corpus is easier than
another, the difference of the two rates is then partly that of the shares. Weighing the items of the one set so that
its corpora have the shares of the other is direct standardisation (Rothman, Greenland & Lash, "Modern epidemiology").
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from asr.evaluate.differences import rate_difference
from asr.evaluate.evaluation import Rate
from asr.evaluate.findings import CorpusGap
from asr.evaluate.measure import Scored, rates, select, units_of
from asr.evaluate.statistics import MIN_UNITS, Floats, Integers, Resampling, units

MIN_SHARED = 0.5
"""Share of the words of both sets that must be of corpora that both have."""
MIN_CHANGE = 0.001
"""A difference that weighing changes by less is left as it is."""


def counts(scored: Scored) -> tuple[Floats, Floats]:
    """Word errors and reference words of each item, each of shape (N,)."""
    table = np.array([(a.words.errors, a.words.length) for a in scored.alignments], np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def wer(scored: Scored, resampling: Resampling, weight: Floats | float = 1.0) -> Rate:
    """Word error rate with its interval; `weight` of each item has shape (N,)."""
    errors, words = (weight * column for column in counts(scored))
    (rate,) = rates([errors.tolist()], [words.tolist()], units_of(scored.items)[0], resampling)
    return rate


def difference(
    lower: Scored, upper: Scored, resampling: Resampling, weight: tuple[Floats | float, Floats | float] = (1.0, 1.0)
) -> Rate:
    """Rate of `upper` minus that of `lower`; speakers and recordings that both have are drawn together."""
    items = (*lower.items, *upper.items)
    unit: Integers = units([i.utterance.speaker for i in items], [i.item for i in items])[0]
    a, b = counts(lower), counts(upper)
    errors, words = ((weight[0] * a[k], weight[1] * b[k]) for k in (0, 1))
    return rate_difference(errors, words, (unit[: len(lower.items)], unit[len(lower.items) :]), resampling)


def weights(lower: Scored, upper: Scored) -> tuple[Floats, Floats] | None:
    """Weights of the items of both, with which their common corpora have the shares of words that they have in `upper`.

    Items of corpora that only one has, or with fewer than `MIN_UNITS` recordings in either, weigh nothing. None where
    less than `MIN_SHARED` of the words of either set is left.
    """
    sides = [(counts(scored)[1], _members(scored)) for scored in (lower, upper)]
    shared = _shared(lower, upper)
    held = [{corpus: float(words[members[corpus]].sum()) for corpus in shared} for words, members in sides]
    if any(
        sum(of.values()) < MIN_SHARED * words.sum() or not words.sum()
        for of, (words, _) in zip(held, sides, strict=True)
    ):
        return None
    found = (np.zeros(len(lower.items)), np.zeros(len(upper.items)))
    for corpus in shared:
        found[0][sides[0][1][corpus]] = held[1][corpus] / held[0][corpus]
        found[1][sides[1][1][corpus]] = 1.0
    return found


def by_corpus(lower: Scored, upper: Scored, resampling: Resampling) -> tuple[CorpusGap, ...]:
    """The difference within each corpus that both have, largest first; none if there is only one corpus in all."""
    sides = (_members(lower), _members(upper))
    if len(sides[0].keys() | sides[1].keys()) < 2:
        return ()
    found = []
    for corpus in _shared(lower, upper):
        parts = (select(lower, sides[0][corpus]), select(upper, sides[1][corpus]))
        apart = difference(*parts, resampling)
        found.append(CorpusGap(corpus, wer(parts[0], resampling), wer(parts[1], resampling), apart))
    return tuple(sorted(found, key=lambda gap: (-(gap.difference.value or 0.0), gap.corpus)))


def _shared(lower: Scored, upper: Scored) -> list[str]:
    a, b = _members(lower), _members(upper)
    return sorted(corpus for corpus in a.keys() & b.keys() if min(len(a[corpus]), len(b[corpus])) >= MIN_UNITS)


def _members(scored: Scored) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(scored.items):
        members[item.utterance.corpus].append(index)
    return members
