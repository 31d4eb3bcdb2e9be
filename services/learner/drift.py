"""Whether traffic has changed: two stretches of figures, what moved, by how much, and how surely.

Rates are compared by a two-proportion z-test, distributions by a two-sample Kolmogorov-Smirnov test on their
histograms (which makes its statistic smaller and never larger, so it errs on the quiet side), with the population
stability index as their effect size. Both tests take queries as independent. They are not: one user asks many, and
mornings differ from nights. So the counts are divided by an overdispersion factor, estimated from how much the windows
and the days of the reference differ among each other (McCullagh & Nelder, Generalized Linear Models, 4.5). All figures
of one check are corrected together (Holm 1979). A difference too small to matter is none, however sure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

from services.learner.config import DriftConfig
from services.learner.monitor import FIGURES, VERSION, Distribution

Floats = npt.NDArray[np.float64]
Figures = dict[str, Any]
"""As `Window.figures` holds them."""

_GROUPS = 10
"""Bins of the stability index, each with about a tenth of the reference: the usual choice."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure, then and now.

    Attributes:
        figure: name in `services.learner.monitor.FIGURES`.
        before, after: the rate, or the median of the distribution.
        queries_before, queries_after: on which they rest.
        effect: difference of the rates, or the Kolmogorov-Smirnov statistic.
        psi: population stability index, less what chance adds; None for a rate.
        overdispersion: by which the numbers of queries were divided.
        p_value: two-sided, before any correction.
        matters: whether the effect is as large as `DriftConfig` wants.
        adjusted: p-value after Holm's correction for all figures of the check.
    """

    figure: str
    before: float
    after: float
    queries_before: int
    queries_after: int
    effect: float
    psi: float | None
    overdispersion: float
    p_value: float
    matters: bool
    adjusted: float = 1.0

    def told(self) -> str:
        """One sentence: what moved and how much."""
        figure = FIGURES[self.figure]
        moved = "rose" if self.after > self.before else "fell" if self.after < self.before else "spread differently"
        p_value = f"p = {self.adjusted:.1g}"
        if isinstance(figure, Distribution):
            unit = f" {figure.unit}" if figure.unit else ""
            return (
                f"{figure.about} {moved}: median {self.before:.3g} to {self.after:.3g}{unit} (KS {self.effect:.2f}, "
                f"PSI {self.psi or 0.0:.2f}, {p_value})"
            )
        return f"{figure.about} {moved}: {self.before:.1%} to {self.after:.1%} ({p_value})"


def compare(
    current: Sequence[Figures], reference: Sequence[Figures], days: Sequence[int], config: DriftConfig, min_queries: int
) -> list[Change]:
    """Compares two stretches of windows in every figure, before the correction (see `corrected`).

    Args:
        current: windows of now.
        reference: windows of before.
        days: of each window of the reference, any number that is the same for those of one day.
        config: what matters.
        min_queries: figures with fewer in either stretch are left out.
    """
    current = [figures for figures in current if figures.get("version") == VERSION]
    kept = [(figures, day) for figures, day in zip(reference, days, strict=True) if figures.get("version") == VERSION]
    found = []
    for name in FIGURES:
        now, before, of_day = _table(current, name), _table([f for f, _ in kept], name), [day for _, day in kept]
        if now.sum() < min_queries or before.sum() < min_queries:
            continue
        compared = _compare_bins if isinstance(FIGURES[name], Distribution) else _compare_rates
        found.append(compared(name, now.sum(axis=0), before, np.array(of_day), config))
    return found


def corrected(changes: Sequence[Change]) -> list[Change]:
    """The same changes with their p-values adjusted for having looked at all of them (Holm 1979)."""
    from dataclasses import replace

    ordered = sorted(range(len(changes)), key=lambda place: changes[place].p_value)
    adjusted, running = [1.0] * len(changes), 0.0
    for rank, place in enumerate(ordered):
        running = max(running, min(1.0, changes[place].p_value * (len(changes) - rank)))
        adjusted[place] = running
    return [replace(change, adjusted=value) for change, value in zip(changes, adjusted, strict=True)]


def _table(windows: Sequence[Figures], name: str) -> Floats:
    """Shape (windows, cells): of a distribution its bins, of a rate those that are not and those that are."""
    if isinstance(FIGURES[name], Distribution):
        cells = len(FIGURES[name].edges) + 1  # type: ignore[union-attr]
        rows = [figures["histograms"].get(name, [0] * cells) for figures in windows]
    else:
        cells = 2
        counts = [(figures["queries"], figures["rates"].get(name, 0)) for figures in windows]
        rows = [[total - number, number] for total, number in counts]
    return np.array(rows, np.float64).reshape(-1, cells)


def _compare_rates(name: str, now: Floats, before: Floats, days: npt.NDArray[np.int_], config: DriftConfig) -> Change:
    total = before.sum(axis=0)
    rate_now, rate_before = now[1] / now.sum(), total[1] / total.sum()
    spread = overdispersion(before, days)
    effect = rate_now - rate_before
    low, high = sorted((float(rate_now), float(rate_before)))
    return Change(
        figure=name,
        before=float(rate_before),
        after=float(rate_now),
        queries_before=int(total.sum()),
        queries_after=int(now.sum()),
        effect=float(effect),
        psi=None,
        overdispersion=spread,
        p_value=two_proportions(now[1], now.sum(), total[1], total.sum(), spread),
        matters=abs(float(effect)) >= config.min_rate and high >= config.min_ratio * low,
    )


def _compare_bins(name: str, now: Floats, before: Floats, days: npt.NDArray[np.int_], config: DriftConfig) -> Change:
    figure = FIGURES[name]
    assert isinstance(figure, Distribution)
    total = before.sum(axis=0)
    shares = np.cumsum(total) / total.sum()
    # Overdispersion of being above each quartile: a few heavy users move the whole, not single bins.
    cuts = {int(np.searchsorted(shares, quartile)) for quartile in (0.25, 0.5, 0.75)}
    splits = [np.column_stack([before[:, : cut + 1].sum(axis=1), before[:, cut + 1 :].sum(axis=1)]) for cut in cuts]
    spread = max(overdispersion(split, days) for split in splits)
    statistic, p_value = kolmogorov_smirnov(now, total, spread)
    psi = stability_index(now, total)
    return Change(
        figure=name,
        before=quantile(total, figure.edges, 0.5),
        after=quantile(now, figure.edges, 0.5),
        queries_before=int(total.sum()),
        queries_after=int(now.sum()),
        effect=statistic,
        psi=psi,
        overdispersion=spread,
        p_value=p_value,
        matters=statistic >= config.min_ks and psi >= config.min_psi,
    )


def two_proportions(hits: float, total: float, other_hits: float, other_total: float, spread: float = 1.0) -> float:
    """Two-sided p-value that two shares are one, by the pooled z-test with Yates's correction.

    Args:
        hits: of `total`.
        total: above 0.
        other_hits: of `other_total`.
        other_total: above 0.
        spread: overdispersion, by which the variance is multiplied.
    """
    pooled = (hits + other_hits) / (total + other_total)
    variance = spread * pooled * (1 - pooled) * (1 / total + 1 / other_total)
    if variance <= 0:
        return 1.0
    difference = abs(hits / total - other_hits / other_total) - 0.5 * (1 / total + 1 / other_total)
    return math.erfc(max(0.0, difference) / math.sqrt(2 * variance))


def kolmogorov_smirnov(now: Floats, before: Floats, spread: float = 1.0) -> tuple[float, float]:
    """Largest difference of two cumulated histograms of the same bins, and its two-sided asymptotic p-value.

    The small-sample term is Stephens's (1970).
    """
    total, other = now.sum(), before.sum()
    statistic = float(np.abs(np.cumsum(now) / total - np.cumsum(before) / other).max())
    root = math.sqrt(total * other / (total + other) / spread)
    return statistic, float(scipy.special.kolmogorov((root + 0.12 + 0.11 / root) * statistic))


def stability_index(now: Floats, before: Floats) -> float:
    """Population stability index (symmetric Kullback-Leibler divergence) in groups of about a tenth of the reference.

    What equal distributions of such sizes give on average is taken off, down to 0.
    """
    shares = np.cumsum(before) / before.sum()
    cuts = np.unique(np.searchsorted(shares, np.arange(1, _GROUPS) / _GROUPS) + 1)
    cuts = cuts[cuts < len(before)]
    grouped = [np.add.reduceat(counts, np.concatenate([[0], cuts])) + 0.5 for counts in (now, before)]
    p, q = (counts / counts.sum() for counts in grouped)
    chance = (len(p) - 1) * (1 / now.sum() + 1 / before.sum())
    divergence = float(((p - q) * np.log(p / q)).sum())
    return max(0.0, divergence - float(chance))


def overdispersion(counts: Floats, days: npt.NDArray[np.int_]) -> float:
    """By how much a share varies more than by chance, among windows or days, whichever more; at least 1.

    Args:
        counts: shape (windows, 2): queries that are not, and those that are.
        days: shape (windows,).
    """
    by_day = np.zeros((len(np.unique(days)), 2))
    np.add.at(by_day, np.unique(days, return_inverse=True)[1], counts)
    return max(1.0, _pearson(counts), _pearson(by_day))


def _pearson(counts: Floats) -> float:
    totals = counts.sum(axis=1)
    counts, totals = counts[totals > 0], totals[totals > 0]
    if len(totals) < 2:
        return 1.0
    share = counts[:, 1].sum() / totals.sum()
    if not 0 < share < 1:
        return 1.0
    squares = (counts[:, 1] - totals * share) ** 2 / (totals * share * (1 - share))
    return float(squares.sum()) / (len(totals) - 1)


def quantile(histogram: Floats, edges: Sequence[float], share: float) -> float:
    """The quantile of a histogram whose first and last bins are open, taken as even within a bin."""
    cumulated = np.cumsum(histogram)
    wanted = share * cumulated[-1]
    place = int(np.searchsorted(cumulated, wanted))
    if place == 0:
        return float(edges[0])
    if place >= len(edges):
        return float(edges[-1])
    within = (wanted - cumulated[place - 1]) / histogram[place]
    return float(edges[place - 1] + within * (edges[place] - edges[place - 1]))
