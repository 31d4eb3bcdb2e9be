"""How likely an interim result stands: the probability that all its words, in their order, begin the final result.

A logistic regression on what is known when it is shown: how far the hypotheses of the beam agree, how long the last
word has stood and how long nothing has been said since, and whether it rests on a chunk that is still being filled.
Where the beam is certain the words stand; where it is not they may stand all the same, if they have for a while
(McGraw and Gruenstein, "Estimating word-stability during incremental speech recognition", 2012). `dengar bench
stability` fits the weights and measures them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.decode.config import StabilityWeights
from asr.decode.types import Hypothesis

_SURE = 1e-4  # logits are taken of shares no nearer to 0 and 1
_SOON_S = 0.1  # times count from here logarithmically


@dataclass(frozen=True, slots=True)
class Outlook:
    """An interim result and what the search knows of its future.

    Attributes:
        hypothesis: the best reading so far; its last word may be incomplete.
        agreement: share of the beam's probability in prefixes that begin with all its words, in [0, 1].
        agreement_before: the same for its words without the last one.
        silence_s: seconds since the last spoken token.
    """

    hypothesis: Hypothesis
    agreement: float
    agreement_before: float
    silence_s: float


def features(outlook: Outlook, age_s: float, glimpsed: bool) -> npt.NDArray[np.float64]:
    """Shape (5,), in the order of `StabilityWeights` after its bias.

    Args:
        outlook: of an interim result with at least one word.
        age_s: seconds of audio for which its words have stood.
        glimpsed: it rests on a part of a chunk.
    """
    return np.array([
        _logit(outlook.agreement),
        _logit(outlook.agreement_before),
        math.log1p(age_s / _SOON_S),
        math.log1p(outlook.silence_s / _SOON_S),
        float(glimpsed),
    ])  # fmt: skip


def stability(outlook: Outlook, age_s: float, glimpsed: bool, weights: StabilityWeights) -> float:
    """The probability that the words of an interim result stand, in [0, 1]; 1 where there are none."""
    if not outlook.hypothesis.words:
        return 1.0
    slopes = weights.agreement, weights.agreement_before, weights.age, weights.silence, weights.glimpsed
    odds = weights.bias + float(features(outlook, age_s, glimpsed) @ np.array(slopes))
    return 0.5 * (1.0 + math.tanh(0.5 * odds))


class Standing:
    """Since when the words of a stream's interim results have stood."""

    def __init__(self) -> None:
        self._words: tuple[str, ...] = ()
        self._since_s: list[float] = []

    def age_s(self, hypothesis: Hypothesis, heard_s: float) -> float:
        """Takes note of the next interim result, after `heard_s` of audio; how long all its words have stood."""
        words = tuple([word.word for word in hypothesis.words])
        if words != self._words:
            kept = 0
            for now, before in zip(words, self._words, strict=False):
                if now != before:
                    break
                kept += 1
            self._since_s[kept:] = [heard_s] * (len(words) - kept)
            self._words = words
        return heard_s - self._since_s[-1] if words else 0.0


def _logit(share: float) -> float:
    share = min(max(share, _SURE), 1.0 - _SURE)
    return math.log(share) - math.log1p(-share)
