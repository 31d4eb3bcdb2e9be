"""Whether a figure that is read again and again grows: a robust slope with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

WARM_SHARE = 0.25
"""Of the readings, the first, which belong to the warm-up."""
BLOCK_S = 60.0
"""Readings of one block count as one, their median: neighbours are alike, and would make the interval too narrow."""
LEAST_BLOCKS = 5
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through readings (the slope of Theil and Sen: the median of the slopes between all pairs).

    Attributes:
        per_hour: its slope.
        low, high: the 95 % interval of it.
        level: the median reading.
        blocks: medians that it rests on.
    """

    per_hour: float
    low: float
    high: float
    level: float
    blocks: int

    def is_flat(self, share_per_hour: float) -> bool:
        """Whether it is compatible with a growth of at most a share of the level in an hour."""
        return self.low <= share_per_hour * self.level


def trend(readings: Sequence[float], interval_s: float) -> Trend | None:
    """The trend of readings after the warm-up, or None if there are too few.

    Args:
        readings: oldest first.
        interval_s: seconds from one to the next.
    """
    warm = np.array(readings[round(len(readings) * WARM_SHARE) :], np.float64)
    size = max(1, round(BLOCK_S / interval_s))
    blocks = [float(np.median(warm[start : start + size])) for start in range(0, len(warm) - size + 1, size)]
    if len(blocks) < LEAST_BLOCKS:
        return None
    hours = np.arange(len(blocks)) * size * interval_s / 3600
    found = stats.theilslopes(blocks, hours, CONFIDENCE)
    return Trend(float(found[0]), float(found[2]), float(found[3]), float(np.median(blocks)), len(blocks))
