"""How sure a rate is, and whether two models differ: resampling and matched-pairs tests, seeded and vectorised.

The unit of resampling is the utterance, or the speaker where speakers are known, since one speaker's errors
go together: resampling utterances would then make intervals too narrow (Liu & Peng, "Statistical testing on ASR
performance via blockwise bootstrap", Interspeech 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import scipy.special
from pydantic import Field
from pydantic.dataclasses import dataclass as validated

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Pairs = Sequence[tuple[str, str]]

MIN_UNITS = 10
"""Fewer say too little about the spread between them: utterances are resampled instead of so few speakers."""
_BLOCK = 4_000_000  # cells of a resampling matrix held at once: 32 MB


@validated(frozen=True, config={"extra": "forbid"})
class Resampling:
    """How intervals and p-values are drawn.

    Attributes:
        resamples: bootstrap replicates behind each interval.
        flips: random sign vectors behind each p-value, whose floor is 1 / (flips + 1).
        level: probability mass of an interval.
        seed: of every draw.
    """

    resamples: Annotated[int, Field(ge=100)] = 2000
    flips: Annotated[int, Field(ge=100)] = 10_000
    level: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    seed: Annotated[int, Field(ge=0)] = 0

    def generator(self) -> np.random.Generator:
        """A fresh generator: equal calls draw equally."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Model B against model A on the same items; negative differences are in favour of B.

    Attributes:
        difference: error rate of B minus error rate of A.
        low: lower end of the bootstrap interval of the difference (Bisani & Ney, ICASSP 2004); None with one unit.
        high: its upper end.
        p_value: two-sided, by approximate randomisation over units (Noreen 1989): the signs of the units' differences
            are flipped at random, which is exact when the two models are exchangeable.
        p_mapsswe: two-sided matched-pairs sentence-segment word error test (Gillick & Cox, ICASSP 1989), which takes
            segments as independent; None where fewer than two segments hold an error, or all
            differ by the same.
        p_mcnemar: two-sided exact McNemar test on whole sentences right or wrong.
        unit: what was resampled, "speaker" or "utterance" (a recording, in whatever noise).
        units: how many.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float
    p_mapsswe: float | None
    p_mcnemar: float
    unit: str
    units: int


def units(speakers: Sequence[str], items: Sequence[str]) -> tuple[Integers, str]:
    """Assigns each utterance to its unit of resampling.

    Args:
        speakers: of each utterance, "" where unknown: such an utterance is a unit of its own.
        items: name of each utterance's recording, the same for several noisy versions of it.

    Returns:
        Unit indices of shape (N,), and what they are: "speaker" or "utterance".
    """
    for kind, names in (
        (
            "speaker",
            [f"s:{speaker}" if speaker else f"i:{item}" for speaker, item in zip(speakers, items, strict=True)],
        ),
        ("utterance", [f"i:{item}" for item in items]),
    ):
        indices = np.unique(names, return_inverse=True)[1] if names else np.zeros(0, np.int64)
        if kind == "utterance" or (any(speakers) and indices.max() + 1 >= MIN_UNITS):
            break
    return indices.astype(np.int64), kind


def intervals(errors: Floats, totals: Floats, unit: Integers, config: Resampling) -> Floats:
    """Percentile bootstrap intervals of ratios of sums (Bisani & Ney, ICASSP 2004).

    Args:
        errors: shape (N, K): errors of each utterance in each of K measures.
        totals: shape (N, K): what they are divided by.
        unit: shape (N,), from `units`.
        config: replicates, level and seed.

    Returns:
        Shape (K, 2), low and high; NaN where the totals are zero, and from fewer than two units.
    """
    count = errors.shape[1]
    sums = sum_by_unit(np.hstack([errors, totals]), unit)
    if len(sums) < 2:
        return np.full((count, 2), np.nan)
    rates = np.concatenate([_ratio(draw[:, :count], draw[:, count:]) for draw in replicates(sums, config)])
    return percentiles(rates, config.level)


def difference_interval(
    errors: tuple[Floats, Floats], totals: tuple[Floats, Floats], unit: tuple[Integers, Integers], config: Resampling
) -> tuple[float, float]:
    """Percentile bootstrap interval of the difference of two ratios of sums, the second minus the first.

    Args:
        errors: of two sets of items, shapes (N,) and (M,).
        totals: what they are divided by, the same shapes.
        unit: of both sets in one numbering, so that units in both are drawn together.
        config: replicates, level and seed.

    Returns:
        Low and high; NaN from fewer than two units.
    """
    zeros = [np.zeros(len(part)) for part in errors]
    table = np.vstack(
        [
            np.column_stack([errors[0], totals[0], zeros[0], zeros[0]]),
            np.column_stack([zeros[1], zeros[1], errors[1], totals[1]]),
        ]
    )
    sums = sum_by_unit(table, np.unique(np.concatenate(unit), return_inverse=True)[1])
    if len(sums) < 2:
        return math.nan, math.nan
    rates = np.concatenate(
        [_ratio(d[:, [2]], d[:, [3]]) - _ratio(d[:, [0]], d[:, [1]]) for d in replicates(sums, config)]
    )
    low, high = percentiles(rates, config.level)[0].tolist()
    return low, high


def paired_test(
    errors_a: Integers,
    errors_b: Integers,
    words: Integers,
    segments: Sequence[Integers],
    *,
    unit: tuple[Integers, str],
    config: Resampling,
) -> PairedTest:
    """Compares two models on the same utterances.

    Args:
        errors_a: shape (N,): word errors of each utterance in A.
        errors_b: shape (N,): the same in B.
        words: shape (N,): words of each reference.
        segments: of each utterance, B's errors minus A's per segment, from `segment_differences`.
        unit: from `units`.
        config: replicates, level and seed.
    """
    difference = (errors_b - errors_a).astype(np.float64)
    sums = sum_by_unit(np.column_stack([difference, words]), unit[0])
    rates = np.concatenate([_ratio(draw[:, :1], draw[:, 1:]) for draw in replicates(sums, config)])
    low, high = percentiles(rates, config.level)[0].tolist() if len(sums) > 1 else (None, None)
    only_a = int(((errors_a > 0) & (errors_b == 0)).sum())
    only_b = int(((errors_b > 0) & (errors_a == 0)).sum())
    return PairedTest(
        difference=float(difference.sum() / max(words.sum(), 1)),
        low=low,
        high=high,
        p_value=randomisation_p(sums[:, 0], config),
        p_mapsswe=mapsswe_p(np.concatenate(segments) if len(segments) else np.zeros(0)),
        p_mcnemar=mcnemar_p(only_a, only_b),
        unit=unit[1],
        units=len(sums),
    )


def randomisation_p(differences: Floats, config: Resampling) -> float:
    """Two-sided p-value of a sum of paired differences, shape (U,), under random flips of their signs."""
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    observed, reached = abs(differences.sum()), 0
    rng = config.generator()
    for rows in _blocks(config.flips, len(differences)):
        signs = rng.integers(0, 2, size=(rows, len(differences)), dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(signs @ differences) >= observed - 1e-9).sum())
    return (reached + 1) / (config.flips + 1)


def mapsswe_p(differences: npt.NDArray[np.number]) -> float | None:
    """Two-sided normal p-value of the mean per-segment difference (Gillick & Cox 1989), or None without a spread."""
    if len(differences) < 2:
        return None
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0.0:
        return 1.0 if mean == 0.0 else None
    return math.erfc(abs(mean) / deviation * math.sqrt(len(differences) / 2.0))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p-value from the counts of items that only A and only B got wrong."""
    discordant = only_a + only_b
    return min(1.0, 2.0 * float(scipy.special.bdtr(min(only_a, only_b), discordant, 0.5)))


def segment_differences(pairs_a: Pairs, pairs_b: Pairs, separator: int = 2) -> Integers:
    """Splits one utterance into segments for `mapsswe_p`: B's errors minus A's in each.

    Segments are stretches with errors of either model, bounded by at least `separator` words that both have right
    (Gillick & Cox 1989; NIST's sclite takes two as well). Insertions count at the word before which they stand.

    Args:
        pairs_a: A's alignment, as in `Alignment.pairs`.
        pairs_b: B's alignment with the same reference.
        separator: words that both models have right between two segments.
    """
    a, b = _errors_by_position(pairs_a), _errors_by_position(pairs_b)
    wrong = np.flatnonzero(a + b)
    if not len(wrong):
        return np.zeros(0, np.int64)
    starts = wrong[np.flatnonzero(np.diff(wrong, prepend=-separator - 2) > separator)]
    return np.add.reduceat(b - a, starts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for having made them all (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    adjusted = np.ones(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = running
    return [float(value) for value in adjusted]


def _errors_by_position(pairs: Pairs) -> Integers:
    """Errors at each reference word, shape (words + 1,); the last cell holds insertions at the end."""
    errors = [0]
    for reference, hypothesis in pairs:
        errors[-1] += reference != hypothesis
        if reference:
            errors.append(0)
    return np.array(errors, np.int64)


def sum_by_unit(values: npt.NDArray[np.number], unit: Integers) -> Floats:
    """Adds the rows of `values`, shape (N, K), of each unit: shape (U, K)."""
    sums = np.zeros((int(unit.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, unit, values)
    return sums


def replicates(sums: Floats, config: Resampling) -> Iterator[Floats]:
    """Sums over units drawn with replacement: blocks of shape (rows, K), `config.resamples` rows in all."""
    count, rng = len(sums), config.generator()
    for rows in _blocks(config.resamples, count):
        drawn = rng.integers(0, max(count, 1), size=(rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield weights.astype(np.float64) @ sums


def _blocks(total: int, width: int) -> Iterator[int]:
    size = max(1, _BLOCK // max(width, 1))
    for start in range(0, total, size):
        yield min(size, total - start)


def _ratio(errors: Floats, totals: Floats) -> Floats:
    ratio: Floats = np.divide(errors, totals, out=np.full(errors.shape, np.nan), where=totals > 0)
    return ratio


def percentiles(rates: Floats, level: float) -> Floats:
    """Central interval of each column of `rates`, shape (K, 2)."""
    tail = (1.0 - level) / 2.0
    bounds = np.full((rates.shape[1], 2), np.nan)
    known = ~np.isnan(rates).all(axis=0)
    if known.any():
        bounds[known] = np.nanquantile(rates[:, known], [tail, 1.0 - tail], axis=0).T
    return bounds
