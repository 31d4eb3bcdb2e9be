"""How likely an interim result stands: the probability that all its words, in their order, begin the final result.

A logistic regression on what is known when it is shown: how far the hypotheses of the beam agree, how confident
the weakest and the last word are, how long words have stood, how long nothing has been said since, and whether it rests
on a chunk that is still being filled.
Where the beam is certain the words stand; where it is not they may stand all the same, if they have for a while
(McGraw and Gruenstein, "Estimating word-stability during incremental speech recognition", 2012). `dengar bench
stability` fits the weights and measures them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import numpy.typing as npt

from asr.decode.config import StabilityWeights
from asr.decode.types import Hypothesis

_SURE = 1e-4  # logits are taken of shares no nearer to 0 and 1
YOUNG_S = 1.0
"""Words that have stood for longer are seldom taken back."""

SIGNS = {4: 1, 5: -1}
"""Features, by their places, whose weights have a sign: who has stood for longer is no less likely to stand."""

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


def features(outlook: Outlook, age_s: float, young: int, glimpsed: bool) -> npt.NDArray[np.float64]:
    """Shape (9,), in the order of `StabilityWeights` after its bias.

    Args:
        outlook: of an interim result with at least one word.
        age_s: for how long all its words have stood, see `Standing`.
        young: how many have not stood for long.
        glimpsed: it rests on a part of a chunk.
    """
    confidences = [word.confidence for word in outlook.hypothesis.words]
    return np.array([
        _logit(outlook.agreement),
        _logit(outlook.agreement_before),
        _logit(min(confidences)),
        _logit(confidences[-1]),
        math.log1p(min(age_s, YOUNG_S) / _SOON_S),
        math.log1p(young),
        math.log1p(len(confidences)),
        math.log1p(min(outlook.silence_s, YOUNG_S) / _SOON_S),
        float(glimpsed),
    ])  # fmt: skip


def as_tuple(weights: StabilityWeights) -> tuple[float, ...]:
    """The bias and the weights of `features`, in their order."""
    return astuple(weights)


def from_sequence(values: Sequence[float]) -> StabilityWeights:
    """The weights that `as_tuple` gave."""
    names = [field.name for field in fields(StabilityWeights)]
    return StabilityWeights(**{name: round(value, 4) for name, value in zip(names, values, strict=True)})


def stability(features: npt.NDArray[np.float64], weights: StabilityWeights) -> float:
    """The probability that the words of an interim result stand, from features of shape (9,)."""
    bias, *slopes = as_tuple(weights)
    return 0.5 * (1.0 + math.tanh(0.5 * (bias + float(features @ np.array(slopes)))))


class Standing:
    """Since when the words of a stream's interim results have stood."""

    def __init__(self) -> None:
        self._words: tuple[str, ...] = ()
        self._since_s: list[float] = []

    def note(self, hypothesis: Hypothesis, heard_s: float) -> tuple[float, int]:
        """Takes note of the next interim result.

        Args:
            hypothesis: what it shows.
            heard_s: seconds of audio that it rests on.

        Returns:
            For how many seconds of audio all its words have stood, and how many have for less than `YOUNG_S`.
        """
        words = tuple([word.word for word in hypothesis.words])
        if words != self._words:
            kept = 0
            for now, before in zip(words, self._words, strict=False):
                if now != before:
                    break
                kept += 1
            self._since_s[kept:] = [heard_s] * (len(words) - kept)
            self._words = words
        young = 0
        while young < len(words) and heard_s - self._since_s[-1 - young] < YOUNG_S:
            young += 1
        return (heard_s - self._since_s[-1] if words else 0.0), young


def _logit(share: float) -> float:
    share = min(max(share, _SURE), 1.0 - _SURE)
    return math.log(share) - math.log1p(-share)
