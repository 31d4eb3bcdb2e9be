"""Spellings from posteriors, against the sum over all alignments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asr.decode import Tokens
from asr.unknown.ctc import forward
from asr.unknown.spell import Letters, greedy_ids, spellings

TOKENS = Tokens(["<blank>", " ", "a", "b"])


def letters(weights: list[float]) -> Letters:
    """A unigram over a, b and the word's end."""
    logs = np.log(np.array([weights], np.float32) / sum(weights))
    return Letters({"a": 0, "b": 1}, logs)


def log_probs(frames: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 1.5, (frames, 4))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_best_spellings_are_those_of_an_exhaustive_search(seed: int, weight: float) -> None:
    logs, model = log_probs(4, seed), letters([3.0, 1.0, 2.0])
    expected: dict[str, float] = {}
    # Every sequence of symbols; those that differ in outer or double blanks between words are one text.
    for length in range(5):
        for ids in itertools.product((1, 2, 3), repeat=length):
            text = TOKENS.decode(ids)
            spelled = sum(model.word(word) for word in text.split())
            expected[text] = np.logaddexp(expected.get(text, -np.inf), forward(logs, ids) + weight * spelled)
    found = spellings(logs, TOKENS, model, count=100, width=10_000, weight=weight)
    if max(expected, key=expected.__getitem__) == "":
        assert found == ()
        return
    del expected[""]
    total = np.logaddexp.reduce(list(expected.values()))
    assert sum(np.exp(one.log_prob) for one in found) == pytest.approx(1.0)
    possible = {text: score - total for text, score in expected.items() if np.isfinite(score)}
    assert {one.text for one in found} == set(possible)
    for one in found:
        assert one.log_prob == pytest.approx(possible[one.text], abs=1e-4)
    assert [one.log_prob for one in found] == sorted((one.log_prob for one in found), reverse=True)


def test_greedy_letters_merge_repeats_and_drop_blanks() -> None:
    path = [0, 2, 2, 0, 2, 3, 3, 1, 0]
    logs = np.log(np.eye(4, dtype=np.float32)[path] * 0.9 + 0.025)
    assert greedy_ids(logs) == [2, 2, 3, 1]
    assert greedy_ids(logs[:0]) == []


def test_the_letter_model_knows_what_words_look_like() -> None:
    from asr.decode.spelling import spelling_model

    words = ["abab", "ab", "abba"]
    index = {"a": 0, "b": 1}
    flat = np.array([index[letter] for word in words for letter in word], np.int32)
    model = Letters(index, spelling_model(flat, np.cumsum([0, *map(len, words)]), 2))
    assert model.word("abab") > model.word("baba")
    total, context = model.follow(model.start, "ab")
    assert model.word("ab") == pytest.approx(total + model.end(context))
