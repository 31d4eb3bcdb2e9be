"""Tests between groups: against all permutations, against scipy, and by how often they err."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.evaluate.differences import group_p, rate_difference, wilson
from asr.evaluate.statistics import Resampling


def ratio_t(errors, words, inside):
    """Welch's statistic on linearised ratios, one deal at a time."""
    parts = []
    for group in (inside, ~inside):
        e, w = errors[group], words[group]
        rate = e.sum() / w.sum()
        parts.append((rate, len(e) * np.var(e - rate * w, ddof=1) / w.sum() ** 2))
    spread = np.sqrt(parts[0][1] + parts[1][1])
    return (parts[0][0] - parts[1][0]) / spread


def test_the_permutation_test_agrees_with_all_deals():
    errors = np.array([3.0, 1, 4, 2, 0, 5, 1, 0, 2])
    words = np.array([6.0, 5, 8, 6, 7, 9, 6, 5, 8])
    inside = np.arange(9) < 4
    observed = abs(ratio_t(errors, words, inside))
    deals = [np.isin(np.arange(9), chosen) for chosen in itertools.combinations(range(9), 4)]
    exact = np.mean([abs(ratio_t(errors, words, deal)) >= observed - 1e-9 for deal in deals])
    found = [group_p(errors, words, np.arange(9), inside, Resampling(flips=5000, seed=seed)) for seed in range(20)]
    assert np.mean(found) == pytest.approx(exact, abs=0.012)


def test_with_equal_totals_the_statistic_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1.0, 1.0, 40), rng.normal(1.6, 2.0, 60)
    errors, inside = np.concatenate([a, b]), np.arange(100) < 40
    expected = scipy.stats.ttest_ind(a, b, equal_var=False).pvalue
    found = group_p(errors, np.ones(100), np.arange(100), inside, Resampling(flips=20_000))
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("spread", ["equal", "unequal"])
def test_equal_groups_differ_as_seldom_as_stated(spread):
    """150 tests of 12 against 36 speakers of the same rate; if unequal, the small group's rates vary more."""
    rng = np.random.default_rng(4)
    inside = np.arange(48) < 12
    rejected = 0
    for trial in range(150):
        rates = np.where(inside & (spread == "unequal"), rng.beta(1, 4, 48), rng.beta(20, 80, 48))
        words = rng.integers(40, 60, 48).astype(float)
        errors = rng.binomial(words.astype(int), rates).astype(float)
        rejected += group_p(errors, words, np.arange(48), inside, Resampling(flips=300, seed=trial)) <= 0.05
    # The statistic without its standard error rejects 23 % in the unequal case.
    assert rejected / 150 <= 0.11


def test_a_real_difference_is_found_and_utterances_of_a_speaker_go_together():
    rng = np.random.default_rng(2)
    speaker = np.repeat(np.arange(40), 5)
    inside = speaker < 20
    errors = rng.binomial(10, np.where(inside, 0.3, 0.15)).astype(float)
    words = np.full(200, 10.0)
    assert group_p(errors, words, speaker, inside, Resampling(flips=1000)) < 0.01
    with pytest.raises(ValueError, match="both groups"):
        group_p(errors, words, speaker, np.arange(200) % 2 == 0, Resampling(flips=100))
    with pytest.raises(ValueError, match="two units"):
        group_p(errors, words, speaker, speaker == 0, Resampling(flips=100))


def test_difference_intervals_cover_and_shared_recordings_narrow_them():
    rng = np.random.default_rng(1)
    covered, paired, apart = 0, [], []
    for trial in range(100):
        rate = rng.beta(2, 6, 60)  # a recording's own difficulty, mean 0.25
        words = np.full(60, 8.0)
        quiet = rng.binomial(8, 0.4 * rate).astype(float)
        noisy = rng.binomial(8, 0.4 * rate + 0.2).astype(float)
        config = Resampling(resamples=300, seed=trial)
        together = rate_difference((quiet, noisy), (words, words), (np.arange(60), np.arange(60)), config)
        separate = rate_difference((quiet, noisy), (words, words), (np.arange(60), np.arange(60, 120)), config)
        covered += together.low <= 0.2 <= together.high
        paired.append(together.high - together.low)
        apart.append(separate.high - separate.low)
        assert together.value == separate.value == pytest.approx(noisy.sum() / 480 - quiet.sum() / 480)
    assert 0.88 <= covered / 100 <= 1.0
    assert np.mean(paired) < np.mean(apart)


def test_no_difference_without_words_and_no_interval_from_one_unit():
    none, one, index = np.zeros(0), np.ones(1), np.zeros(1, np.int64)
    assert rate_difference((none, one), (none, one), (np.zeros(0, np.int64), index), Resampling()).value is None
    alone = rate_difference((one, one), (2 * one, one), (index, index), Resampling())
    assert (alone.value, alone.low) == (0.5, None)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_wilsons_interval_is_scipys(counts):
    expected = scipy.stats.binomtest(*counts).proportion_ci(method="wilson")
    found = wilson(*counts)
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=1e-9), pytest.approx(expected.high, abs=1e-9))
    assert found.low <= found.value <= found.high


def test_no_proportion_of_nothing():
    assert wilson(0, 0).value is None
