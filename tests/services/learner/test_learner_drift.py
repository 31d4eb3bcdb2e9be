"""Tests of drift: what they are compared with, silent on nothing, loud on something, and unmoved by one heavy user."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from services.learner import drift
from services.learner.alarms import look
from services.learner.config import DriftConfig, MonitorConfig
from services.learner.monitor import FIGURES, Distribution, Seen, count

EDGES = FIGURES["confidence"].edges  # type: ignore[union-attr]
MONITOR, DRIFT = MonitorConfig(), DriftConfig()
LEVEL = DRIFT.false_alarms_a_month / (30 * 24)
START = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


def histogram(values: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, values, side="right"), minlength=len(EDGES) + 1).astype(float)


@given(st.integers(0, 60), st.integers(60, 90), st.integers(0, 400), st.integers(400, 900))
def test_two_proportions_agree_with_the_chi_square_test(hits: int, total: int, others: int, other_total: int) -> None:
    table = [[hits, total - hits], [others, other_total - others]]
    found = drift.two_proportions(hits, total, others, other_total)
    if hits + others in (0, total + other_total):
        assert found == 1.0
        return
    expected = scipy.stats.chi2_contingency(table, correction=True).pvalue
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_kolmogorov_smirnov_agrees_with_the_test_on_values() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.2):
        one, other = rng.normal(0.5 + shift, 0.15, 400), rng.normal(0.5, 0.15, 2000)
        statistic, p_value = drift.kolmogorov_smirnov(histogram(one), histogram(other))
        exact = scipy.stats.ks_2samp(one, other, method="asymp")
        assert statistic <= exact.statistic + 1e-9
        assert statistic == pytest.approx(exact.statistic, abs=0.03)
        assert math.log10(p_value + 1e-30) >= math.log10(exact.pvalue + 1e-30) - 0.5


def test_the_stability_index_is_that_of_the_formula_and_zero_for_the_same() -> None:
    before = np.repeat(1000.0, 10)
    now = np.array([500.0, 1500.0, *[1000.0] * 8])
    shares = now / now.sum()
    expected = ((shares - 0.1) * np.log(shares / 0.1)).sum()
    assert drift.stability_index(now, before) == pytest.approx(expected, abs=0.01)
    assert drift.stability_index(before, before) == 0.0


def test_overdispersion_is_one_for_chance_and_finds_days_that_differ() -> None:
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(14), 24)
    totals = rng.poisson(80, len(days))
    even = rng.binomial(totals, 0.2)
    uneven = rng.binomial(totals, np.repeat(rng.uniform(0.1, 0.3, 14), 24))
    assert drift.overdispersion(np.column_stack([totals - even, even]).astype(float), days) < 2.0
    assert drift.overdispersion(np.column_stack([totals - uneven, uneven]).astype(float), days) > 10.0


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=300), st.floats(0.05, 0.95))
def test_quantiles_of_a_histogram_lie_within_a_bin_of_those_of_the_values(values: list[float], share: float) -> None:
    found = drift.quantile(histogram(np.array(values)), EDGES, share)
    low, high = (np.quantile(values, share, method=method) for method in ("inverted_cdf", "higher"))
    assert low - 0.0201 <= found <= high + 0.0201


def traffic(rng: np.random.Generator, days: int, *, users: int = 300, shift_db: float = 0.0, unknown: float = 0.05,
            last_day_only: bool = True) -> dict[datetime.datetime, dict[str, object]]:  # fmt: skip
    """Windows of queries whose users are loud or quiet by habit, and ask in streaks; the last day may be another."""
    habits = rng.normal(20.0, 5.0, users)
    rates = rng.lognormal(0.0, 1.0, users)
    rates /= rates.sum()
    history: dict[datetime.datetime, dict[str, object]] = {}
    for hour in range(days * 24):
        moved = not last_day_only or hour >= (days - 1) * 24
        seen = []
        for user in rng.choice(users, rng.poisson(40), p=rates):
            snr_db = habits[user] + rng.normal(0, 4.0) + (shift_db if moved else 0.0)
            confidence = float(rng.beta(4, 2))
            share = unknown if moved else 0.05
            seen.append(
                Seen(
                    "two words",
                    confidence,
                    confidence < 0.5,
                    bool(rng.random() < share),
                    snr_db,
                    rng.normal(12, 2),
                    None,
                )
            )
        history[START + datetime.timedelta(hours=hour)] = count(seen)
    return history


def alarms(history: dict[datetime.datetime, dict[str, object]], days: int) -> list[str]:
    found = look(history, START + datetime.timedelta(days=days), MONITOR, DRIFT)
    return [name for name, change in found.items() if change.matters and change.adjusted < LEVEL]


def test_nothing_changes_and_nothing_alarms() -> None:
    rng = np.random.default_rng(2)
    assert [alarms(traffic(rng, 8), 8) for _ in range(12)] == [[]] * 12


def test_p_values_are_not_too_small_when_nothing_changes() -> None:
    rng = np.random.default_rng(3)
    small = 0
    total = 0
    for _ in range(12):
        found = look(traffic(rng, 8), START + datetime.timedelta(days=8), MONITOR, DRIFT)
        small += sum(change.p_value < 0.05 for change in found.values())
        total += len(found)
    # 5 % are expected; their number among 84 is below 12 with 99.9 %.
    assert total == 84
    assert small < 12


@pytest.mark.parametrize(
    ("changed", "figure", "told"),
    [
        ({"shift_db": -4.0}, "snr_db", "signal-to-noise ratio fell: median"),
        ({"unknown": 0.12}, "unknown_rate", "queries with unknown words rose: 4.6% to 12.1%"),
    ],
)
def test_what_moved_is_found_and_told(changed: dict[str, float], figure: str, told: str) -> None:
    history = traffic(np.random.default_rng(4), 8, **changed)  # type: ignore[arg-type]
    assert alarms(history, 8) == [figure]
    change = look(history, START + datetime.timedelta(days=8), MONITOR, DRIFT)[figure]
    assert change.told().startswith(told)
    assert change.queries_after == sum(
        figures["queries"]
        for at, figures in history.items()
        if at >= START + datetime.timedelta(days=7)  # type: ignore[misc]
    )


def test_what_is_sure_but_small_is_no_alarm() -> None:
    rng = np.random.default_rng(5)
    snr = rng.normal(20, 4, 40_000)

    def windows(values: np.ndarray) -> list[dict[str, object]]:
        return [
            count(Seen("a word", 0.7, False, False, float(value), None, None) for value in part)
            for part in np.array_split(values, 20)
        ]

    found = drift.compare(windows(snr[:20_000] - 0.4), windows(snr[20_000:]), [*range(20)], DRIFT, 200)
    (change,) = [change for change in drift.corrected(found) if change.figure == "snr_db"]
    assert change.p_value < 1e-6
    assert not change.matters


def test_too_few_queries_and_windows_of_another_version_are_not_compared() -> None:
    history = traffic(np.random.default_rng(6), 8)
    few = [count([Seen("a", 0.5, False, False, 10.0, None, None)] * 9)]
    assert drift.compare(few, list(history.values()), [0] * len(history), DRIFT, 200) == []
    other = [{**figures, "version": 0} for figures in history.values()]
    assert drift.compare(other, list(history.values()), [0] * len(history), DRIFT, 200) == []
    assert look(history, START + datetime.timedelta(days=3), MONITOR, DRIFT) == {}


def test_every_number_falls_into_a_bin() -> None:
    for figure in FIGURES.values():
        if isinstance(figure, Distribution):
            assert list(figure.edges) == sorted(set(figure.edges))
    seen = Seen("a", 0.5, False, False, -1e9, 1e9, 1e9)
    histograms = count([seen])["histograms"]
    assert {name: sum(bins) for name, bins in histograms.items()} == dict.fromkeys(histograms, 1)
