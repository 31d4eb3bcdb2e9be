"""What `asr.evaluate.fairness` finds: groups of speakers, differences between them, verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asr.evaluate.evaluation import Rate

Verdict = Literal["different", "alike", "too little data"]


@dataclass(frozen=True, slots=True)
class FairGroup:
    """A group of speakers within one corpus.

    Attributes:
        corpus: the groups of one corpus only are compared, so that an accent is not confused with a corpus.
        dimension: "gender", "age" or "accent".
        group: its value.
        utterances, words: how many.
        wer: with its interval.
        unit, units: what was resampled and how many; where speakers are known they are the units, however few.
        enough: whether there are units enough to compare it.
    """

    corpus: str
    dimension: str
    group: str
    utterances: int
    words: int
    wer: Rate
    unit: str
    units: int
    enough: bool


@dataclass(frozen=True, slots=True)
class FairDifference:
    """Two groups of one dimension within one corpus.

    Attributes:
        corpus, dimension: where.
        better, worse: the groups by WER.
        difference: WER of the worse minus that of the better, with its bootstrap interval.
        p_value: studentised permutation of units between the groups; None where a speaker stands in both.
        p_holm: corrected for all pairs tested.
        verdict: "different" (p_holm below 0.05), "alike" (the whole interval within `margin`), else "too little data".
        margin: differences below this do not matter (see `asr.evaluate.fairness`).
    """

    corpus: str
    dimension: str
    better: str
    worse: str
    difference: Rate
    p_value: float | None
    p_holm: float | None
    verdict: Verdict
    margin: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """Whether some groups of speakers are served worse.

    Attributes:
        groups: by corpus and dimension, worst first within.
        differences: every pair of groups that have units enough; different ones first, largest first.
        largest: the largest difference that is significant; None if none is.
        rule: how differences were judged, in words, to print beside them.
        alone: groups with nobody beside them in their corpus, which therefore cannot be told from it.
    """

    groups: tuple[FairGroup, ...]
    differences: tuple[FairDifference, ...]
    largest: FairDifference | None
    rule: str
    alone: tuple[FairGroup, ...] = ()
