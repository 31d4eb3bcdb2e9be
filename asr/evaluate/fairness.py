"""Whether some groups of speakers are served worse, and when there is too little data to tell.

Groups are compared within one corpus only: between corpora everything else differs too (microphone, text, reading
or acting), and an accent that one corpus alone has cannot be told from that corpus. Two groups are compared if each
has at least `MIN_UNITS` speakers (recordings, where no speaker is known). They are

- *different* if the permutation test (`asr.evaluate.differences.group_p`), corrected after Holm for all pairs tested in
  all corpora, gives less than `SIGNIFICANT`;
- *alike* if the whole interval of their difference lies within the margin, the larger of `MARGIN` and
  `MARGIN_SHARE` of the corpus's WER;
- otherwise there is *too little data* to tell, as there is of any group with fewer speakers.

A group with nobody beside it in its corpus (an accent that all its speakers have) is measured and compared with none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np

from asr.evaluate.differences import group_p, rate_difference
from asr.evaluate.fairness_types import FairDifference, FairGroup, Fairness, Verdict
from asr.evaluate.measure import Scored, rates
from asr.evaluate.slices import DIMENSIONS, UNKNOWN
from asr.evaluate.statistics import MIN_UNITS, Floats, Integers, Resampling, holm

GROUPED_BY = ("gender", "age", "accent")
SIGNIFICANT = 0.05
MARGIN = 0.02
MARGIN_SHARE = 0.10

RULE = (
    f"Groups are compared within one corpus, if each has at least {MIN_UNITS} speakers (recordings where speakers are "
    f"unknown). Different: p below {SIGNIFICANT} by a studentised permutation test, after Holm for all pairs. Alike: "
    f"the interval of the difference lies within {100 * MARGIN:.0f} points or {100 * MARGIN_SHARE:.0f} % of the "
    "corpus's word error rate. Everything else: too little data to tell."
)


def fairness(scored: Scored, resampling: Resampling | None = None) -> Fairness:
    """Compares genders, decades of age and accents within each corpus; a speaker of unknown group is in none."""
    resampling = resampling or Resampling()
    groups: list[FairGroup] = []
    differences: list[FairDifference] = []
    corpora = np.array([item.utterance.corpus or UNKNOWN for item in scored.items], dtype=object)
    for corpus in sorted(set(corpora)):
        for dimension in GROUPED_BY:
            members = _members(scored, np.flatnonzero(corpora == corpus), dimension)
            part = _Part(scored, corpus, dimension, resampling)
            found = {group: part.group(group, indices) for group, indices in members.items()}
            groups += sorted(found.values(), key=lambda g: (not g.enough, -(g.wer.value or 0.0)))
            margin = max(MARGIN, MARGIN_SHARE * part.wer(np.flatnonzero(corpora == corpus)))
            ranked = sorted((g for g in found.values() if g.enough), key=lambda group: group.wer.value or 0.0)
            pairs = combinations([group.group for group in ranked], 2)
            differences += [part.difference((found[a], members[a]), (found[b], members[b]), margin) for a, b in pairs]
    judged = _judged(differences)
    largest = judged[0] if judged and judged[0].verdict == "different" else None
    beside = Counter((group.corpus, group.dimension) for group in groups)
    alone = tuple(group for group in groups if beside[group.corpus, group.dimension] == 1)
    return Fairness(tuple(groups), tuple(judged), largest, RULE, alone)


def _members(scored: Scored, indices: Integers, dimension: str) -> dict[str, Integers]:
    """The items of each group among `indices`, without those of whom nothing is known."""
    labels = np.array([DIMENSIONS[dimension](scored.items[index].utterance) for index in indices], dtype=object)
    return {str(label): indices[labels == label] for label in sorted(set(labels)) if label != UNKNOWN}


class _Part:
    """One corpus divided along one dimension."""

    def __init__(self, scored: Scored, corpus: str, dimension: str, resampling: Resampling) -> None:
        self.corpus, self.dimension, self.resampling = corpus, dimension, resampling
        words = [alignment.words for alignment in scored.alignments]
        self.errors: Floats = np.array([count.errors for count in words], np.float64)
        self.words: Floats = np.array([count.length for count in words], np.float64)
        # Speakers stay units however few they are: resampling their utterances would claim more than is known.
        names = [f"s:{i.utterance.speaker}" if i.utterance.speaker else f"i:{i.item}" for i in scored.items]
        self.unit: Integers = np.unique(names, return_inverse=True)[1].astype(np.int64)
        self.spoken_by = [bool(item.utterance.speaker) for item in scored.items]

    def wer(self, indices: Integers) -> float:
        return float(self.errors[indices].sum() / self.words[indices].sum())

    def group(self, value: str, indices: Integers) -> FairGroup:
        unit = np.unique(self.unit[indices], return_inverse=True)[1].astype(np.int64)
        (wer,) = rates([self.errors[indices].tolist()], [self.words[indices].tolist()], unit, self.resampling)
        units = int(unit.max()) + 1
        kind = "speaker" if any(self.spoken_by[index] for index in indices) else "utterance"
        words = int(self.words[indices].sum())
        return FairGroup(
            self.corpus, self.dimension, value, len(indices), words, wer, kind, units, enough=units >= MIN_UNITS
        )

    def difference(self, a: tuple[FairGroup, Integers], b: tuple[FairGroup, Integers], margin: float) -> FairDifference:
        """The worse group `b` against the better one `a`, not yet corrected for the other pairs."""
        (better, left), (worse, right) = a, b
        both = np.concatenate([left, right])
        found = rate_difference(
            (self.errors[left], self.errors[right]),
            (self.words[left], self.words[right]),
            (self.unit[left], self.unit[right]),
            self.resampling,
        )
        apart = not set(self.unit[left]) & set(self.unit[right])
        p_value = None
        if apart:
            inside = np.arange(len(both)) >= len(left)
            p_value = group_p(self.errors[both], self.words[both], self.unit[both], inside, self.resampling)
        return FairDifference(
            self.corpus, self.dimension, better.group, worse.group, found, p_value, None, "too little data", margin
        )


def _judged(differences: list[FairDifference]) -> list[FairDifference]:
    """With corrected p-values and verdicts, different pairs first, the largest difference first."""
    tested = [difference for difference in differences if difference.p_value is not None]
    adjusted = iter(holm([difference.p_value for difference in tested if difference.p_value is not None]))
    judged = []
    for found in differences:
        p_holm = None if found.p_value is None else next(adjusted)
        judged.append(replace(found, p_holm=p_holm, verdict=_verdict(found, p_holm)))
    order: tuple[Verdict, ...] = ("different", "alike", "too little data")
    return sorted(judged, key=lambda d: (order.index(d.verdict), -(d.difference.value or 0.0)))


def _verdict(found: FairDifference, p_holm: float | None) -> Verdict:
    if p_holm is None:
        return "too little data"
    if p_holm < SIGNIFICANT:
        return "different"
    low, high = found.difference.low, found.difference.high
    within = low is not None and high is not None and max(abs(low), abs(high)) <= found.margin
    return "alike" if within else "too little data"
