import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.evaluate.statistics import (
    Resampling,
    holm,
    intervals,
    mapsswe_p,
    mcnemar_p,
    paired_test,
    randomisation_p,
    segment_differences,
    units,
)


def column(values):
    return np.asarray(values, np.float64)[:, None]


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_the_true_rate_as_often_as_they_say(clustered):
    """150 simulated tests of 40 speakers with 6 utterances each; if clustered, each speaker has a rate of their own."""
    rng = np.random.default_rng(1)
    speaker = np.repeat(np.arange(40), 6)
    covered = {"speaker": 0, "utterance": 0}
    for trial in range(150):
        rate = rng.beta(2, 8, size=40) if clustered else np.full(40, 0.2)
        words = rng.integers(3, 15, size=len(speaker))
        errors = rng.binomial(words, rate[speaker])
        config = Resampling(resamples=400, seed=trial)
        for kind, unit in (("speaker", speaker), ("utterance", np.arange(len(speaker)))):
            low, high = intervals(column(errors), column(words), unit, config)[0]
            covered[kind] += low <= 0.2 <= high
    assert 0.89 <= covered["speaker"] / 150 <= 0.99
    if clustered:  # resampling utterances forgets that a speaker's errors go together
        assert covered["utterance"] / 150 < 0.8


def test_intervals_are_seeded_and_do_not_depend_on_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    errors, words = column(rng.integers(0, 5, 50)), column(rng.integers(5, 9, 50))
    first = intervals(errors, words, np.arange(50), Resampling(seed=3))
    monkeypatch.setattr("asr.evaluate.statistics._BLOCK", 1000)
    assert np.array_equal(first, intervals(errors, words, np.arange(50), Resampling(seed=3)))
    assert not np.array_equal(first, intervals(errors, words, np.arange(50), Resampling(seed=4)))


def test_no_interval_without_spread_or_without_a_total():
    one = intervals(column([1, 2]), column([4, 4]), np.zeros(2, np.int64), Resampling())
    none = intervals(column([0, 0]), column([0, 0]), np.arange(2), Resampling())
    assert np.isnan(one).all()
    assert np.isnan(none).all()


def test_units_are_speakers_where_there_are_enough_and_recordings_otherwise():
    items = [f"item{i}" for i in range(12)]
    assert units([f"s{i}" for i in range(12)], items)[1] == "speaker"
    index, kind = units([f"s{i // 2}" for i in range(24)], [f"item{i}" for i in range(24)])
    assert (kind, index[0] == index[1], index.max()) == ("speaker", True, 11)
    assert units(["a"] * 6 + ["b"] * 6, items)[1] == "utterance"
    assert units([""] * 12, items)[1] == "utterance"
    index, kind = units([""] * 4, ["x", "y", "x", "y"])
    assert (kind, index.tolist()) == ("utterance", [0, 1, 0, 1])


def test_randomisation_agrees_with_all_sign_flips():
    differences = np.array([3.0, -1, 2, 2, 1, -2, 4, 1, 0, 1])
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert randomisation_p(differences, Resampling(flips=20_000)) == pytest.approx(exact, abs=0.01)


def test_p_values_are_uniform_between_equal_models():
    rng = np.random.default_rng(5)
    p_values = []
    for trial in range(200):
        differences = rng.integers(-2, 3, size=60).astype(float)
        p_values.append(randomisation_p(differences, Resampling(flips=500, seed=trial)))
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


@given(st.integers(0, 40), st.integers(0, 40))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected)


def test_mapsswe_is_the_normal_test_of_the_mean_segment_difference():
    differences = np.array([1, -1, 2, 0, 1, 1, -1, 3])
    z = differences.mean() / (differences.std(ddof=1) / np.sqrt(8))
    assert mapsswe_p(differences) == pytest.approx(2 * scipy.stats.norm.sf(z))
    assert mapsswe_p(np.array([1])) is None
    assert mapsswe_p(np.array([1, 1])) is None
    assert mapsswe_p(np.zeros(3)) == 1.0


def test_segments_are_bounded_by_two_words_that_both_have_right():
    def pairs(text):
        return [tuple(word.split("/")) if "/" in word else (word, word) for word in text.split()]

    a = pairs("one/won two three/tree four five six/sick seven eight nine")
    b = pairs("one two three four five six seven eight nine/wine /uh")
    # errors of A at 0, 2 and 5, of B at 8 and after the end: 0 and 2 have one good word between them, the others two
    assert segment_differences(a, b).tolist() == [-2, -1, 2]
    assert segment_differences(b, b).tolist() == [0]
    assert segment_differences(pairs("one two"), pairs("one two")).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_swapping_the_models_changes_the_sign_only(errors):
    a, b = np.array(errors, np.int64).T
    words, unit = np.full(len(a), 4), (np.arange(len(a)), "utterance")
    config = Resampling(resamples=100, flips=100)
    segments = [np.array([y - x]) for x, y in zip(a, b, strict=True)]
    forward = paired_test(a, b, words, segments, unit=unit, config=config)
    back = paired_test(b, a, words, [-s for s in segments], unit=unit, config=config)
    assert forward.difference == -back.difference
    assert (forward.p_value, forward.p_mcnemar, forward.p_mapsswe) == (back.p_value, back.p_mcnemar, back.p_mapsswe)
    assert forward.low == (None if back.high is None else pytest.approx(-back.high))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
