import dataclasses
import json

import numpy as np
import pytest

from asr.corpus.manifest import Utterance
from asr.errors import InputError
from asr.evaluate import Comparison, Resampling, Results, ScoredUtterance, compare

CONFIG = Resampling(resamples=1000, flips=2000)
WORDS = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def run(seed, rate, noisy_rate=None, count=200):
    """A run over the same digits; words are misheard at `rate`, under noise at `noisy_rate`."""
    texts, mistakes = np.random.default_rng(0), np.random.default_rng(seed)
    items = []
    for number in range(count):
        words = texts.choice(WORDS, size=5)
        noise = {"noise": "cabin", "snr_db": 0.0} if number % 2 else None
        chance = rate if noise is None or noisy_rate is None else noisy_rate
        heard = np.where(mistakes.random(5) < chance, "uh", words)
        utterance = Utterance(f"{number}.wav", 2.0, " ".join(words), augmentation=noise)
        items.append(ScoredUtterance(utterance, " ".join(heard), audio_s=2.0))
    return Results(tuple(items))


def part(comparison, dimension, value):
    return next(p for p in comparison.slices if (p.dimension, p.value) == (dimension, value))


def test_a_planted_difference_is_found_where_it_is_and_nowhere_else():
    comparison = compare(run(1, 0.2, 0.5), run(2, 0.2, 0.2), resampling=CONFIG)
    noisy, clean = part(comparison, "snr", "0 dB"), part(comparison, "snr", "clean")
    assert noisy.p_holm < 0.01
    assert noisy.test.p_mapsswe < 0.001
    assert noisy.test.p_mcnemar < 0.001
    assert noisy.test.low < -0.3 < noisy.test.high < 0
    assert clean.p_holm > 0.05
    assert clean.test.low < 0 < clean.test.high
    assert comparison.overall.test.difference == pytest.approx(comparison.overall.wer_b - comparison.overall.wer_a)


def test_equal_models_do_not_differ():
    wrong = 0
    for seed in range(10):
        comparison = compare(run(2 * seed + 1, 0.3), run(2 * seed + 2, 0.3), resampling=CONFIG)
        wrong += any(p.p_holm < 0.05 for p in comparison.slices) or any(
            (w.p_holm or 1) < 0.05 for w in comparison.words
        )
    assert wrong <= 1


def test_a_model_against_itself_has_no_difference_at_all():
    comparison = compare(run(1, 0.3), run(1, 0.3), resampling=CONFIG)
    assert comparison.flips == ()
    assert (comparison.overall.test.difference, comparison.overall.test.p_value) == (0.0, 1.0)
    assert {w.missed_a - w.missed_b for w in comparison.words} == {0}


def test_every_utterance_that_changed_is_listed_and_counts_agree():
    a, b = run(1, 0.3), run(2, 0.2)
    comparison = compare(a, b, resampling=CONFIG)
    errors = [
        [sum(x != y for x, y in zip(i.hypothesis.split(), i.utterance.text.split(), strict=True)) for i in side.items]
        for side in (a, b)
    ]
    changed = {a.items[i].key for i in range(200) if errors[0][i] != errors[1][i]}
    assert {flip.item for flip in comparison.flips} == changed
    kinds = [flip.kind for flip in comparison.flips]
    assert (
        kinds.count("fixed") == comparison.overall.fixed == sum(x > 0 and y == 0 for x, y in zip(*errors, strict=True))
    )
    assert kinds.count("broken") == comparison.overall.broken
    assert kinds == sorted(kinds, key=["broken", "worse", "fixed", "better"].index)
    assert sum(w.missed_a for w in comparison.words) == sum(errors[0])
    for dimension in ("snr", "length"):
        parts = [p for p in comparison.slices if p.dimension == dimension]
        assert sum(p.fixed for p in parts) == comparison.overall.fixed


def test_a_word_that_only_one_model_knows_stands_first():
    a = run(1, 0.1)
    deaf = [dataclasses.replace(i, hypothesis=i.hypothesis.replace("seven", "heaven")) for i in a.items]
    worst = compare(a, Results(tuple(deaf)), resampling=CONFIG).words[0]
    assert (worst.word, worst.missed_b) == ("seven", worst.count)
    assert worst.p_holm < 0.001


def test_only_shared_items_are_compared_and_the_others_are_named():
    a, b = run(1, 0.2, count=8), run(2, 0.2, count=8)
    items = list(b.items[1:])
    items[0] = ScoredUtterance(items[0].utterance, error="gone")
    items[1] = dataclasses.replace(items[1], utterance=dataclasses.replace(items[1].utterance, text="other words"))
    comparison = compare(a, Results(tuple(items)), resampling=CONFIG)
    assert comparison.overall.utterances == 5
    assert [(p.where.split(" @")[0], p.reason) for p in comparison.left_out] == [
        ("0.wav", "only A recognised it"),
        ("1.wav", "only A recognised it"),
        ("2.wav", "A and B have different transcripts for it"),
    ]
    with pytest.raises(InputError, match="share no item"):
        compare(a, Results(()), resampling=CONFIG)


def test_repeated_items_are_matched_in_order():
    a, b = run(1, 0.2, count=5), run(2, 0.2, count=5)
    twice = compare(Results(a.items * 2), Results(b.items * 2), resampling=CONFIG)
    assert twice.overall.utterances == 10
    assert twice.overall.test.units == 5


def test_small_slices_are_shown_and_not_tested():
    comparison = compare(run(1, 0.5, count=8), run(2, 0.1, count=8), resampling=CONFIG)
    assert all(p.p_holm is None for p in comparison.slices)


def test_the_comparison_travels_as_json():
    comparison = compare(run(1, 0.3, count=20), run(2, 0.2, count=20), resampling=CONFIG)
    assert Comparison.from_json(json.loads(json.dumps(comparison.to_json(), allow_nan=False))) == comparison
