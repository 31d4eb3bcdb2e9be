"""Rates of different items compared: two groups of speakers, two test sets, one count among many.

Where two models hear the same items, `asr.evaluate.statistics.paired_test` is the sharper tool.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.special

from asr.evaluate.evaluation import Rate
from asr.evaluate.statistics import Floats, Integers, Resampling, difference_interval, sum_by_unit

_DEALS = 500  # made at once
_REACHED = 50


def group_p(errors: Floats, totals: Floats, unit: Integers, member: npt.NDArray[np.bool_], config: Resampling) -> float:
    """Two-sided p-value of a difference in error rate between the units in a group and the others.

    Units are dealt to the groups anew at random, and the difference in rate is divided by its standard error in every
    deal, which keeps the level right where the groups differ in size and spread (Janssen 1997; Chung & Romano, "Exact
    and asymptotically robust permutation tests", Annals of Statistics 2013). Dealing ends early once the p-value is
    plainly large (Besag & Clifford, "Sequential Monte Carlo p-values", Biometrika 1991).

    Args:
        errors: shape (N,): errors of each utterance.
        totals: shape (N,): words of each.
        unit: shape (N,), indices from `asr.evaluate.statistics.units`.
        member: shape (N,): whether the utterance belongs to the group; the same for all of a unit's.
        config: deals (`flips`) and seed.

    Raises:
        ValueError: a unit stands in both groups, or a group has fewer than two units.
    """
    sums = sum_by_unit(np.column_stack([errors, totals, member, np.ones(len(unit))]), unit)
    sums = sums[sums[:, 3] > 0]
    inside = sums[:, 2] > 0
    if not np.array_equal(sums[:, 2], np.where(inside, sums[:, 3], 0.0)):
        raise ValueError("a unit stands in both groups")
    size = int(inside.sum())
    if size < 2 or len(sums) - size < 2:
        raise ValueError("each group needs two units")
    observed = float(_studentised(sums[:, :2], inside[None])[0])
    rng, reached, done = config.generator(), 0, 0
    while done < config.flips and reached < _REACHED:
        rows = min(config.flips - done, _DEALS)
        order = rng.random((rows, len(sums)), dtype=np.float32).argpartition(size, axis=1)[:, :size]
        dealt = np.zeros((rows, len(sums)), bool)
        np.put_along_axis(dealt, order, True, axis=1)
        reached += int((np.abs(_studentised(sums[:, :2], dealt)) >= abs(observed) - 1e-9).sum())
        done += rows
    return (reached + 1) / (done + 1)


def rate_difference(
    errors: tuple[Floats, Floats], totals: tuple[Floats, Floats], unit: tuple[Integers, Integers], config: Resampling
) -> Rate:
    """Error rate of the second set of items minus that of the first, with its bootstrap interval.

    Args:
        errors: of each set, shapes (N,) and (M,).
        totals: words, the same shapes.
        unit: indices into one numbering of units for both sets; units that both have are drawn together, so that the
            same recordings in quiet and in noise are compared as what they are.
        config: replicates, level and seed.
    """
    values = [float(e.sum() / t.sum()) if t.sum() > 0 else math.nan for e, t in zip(errors, totals, strict=True)]
    if any(math.isnan(value) for value in values):
        return Rate(None, None, None)
    low, high = difference_interval(errors, totals, unit, config)
    known = not math.isnan(low)
    return Rate(values[1] - values[0], low if known else None, high if known else None)


def wilson(errors: int, count: int, level: float = 0.95) -> Rate:
    """A proportion with Wilson's score interval (Wilson 1927), for counts too small to resample."""
    if not count:
        return Rate(None, None, None)
    z = float(scipy.special.ndtri((1.0 + level) / 2.0))
    share = errors / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return Rate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def _studentised(sums: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Difference in rate over its standard error, shape (R,).

    Args:
        sums: errors and totals of each unit, shape (U, 2).
        inside: shape (R, U): each row's group.
    """
    rates, variances = [], []
    for group in (inside, ~inside):
        weight = group.astype(np.float64)
        count, total = weight.sum(1), weight @ sums[:, 1]
        total = np.where(total > 0, total, np.nan)
        rate = (weight @ sums[:, 0]) / total
        # The residuals' sum of squares, expanded, so that it is three matrix products.
        squares = (
            weight @ sums[:, 0] ** 2
            - 2 * rate * (weight @ (sums[:, 0] * sums[:, 1]))
            + rate**2 * (weight @ sums[:, 1] ** 2)
        )
        rates.append(rate)
        variances.append(np.maximum(squares, 0.0) * count / (count - 1) / total**2)
    difference = np.nan_to_num(rates[0] - rates[1])
    spread = np.sqrt(np.nan_to_num(variances[0] + variances[1]))
    ratio: Floats = np.divide(
        difference,
        spread,
        out=np.where(np.abs(difference) > 1e-12, np.copysign(np.inf, difference), 0.0),
        where=spread > 1e-12,
    )
    return ratio
