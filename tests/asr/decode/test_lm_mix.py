"""Mixing and pruning n-gram models, against KenLM's reading of the results and sums over the whole vocabulary."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from asr.decode import LanguageModel
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.lm_mix import mix, prune, restrict
from asr.errors import ConfigError

DATA = Path(__file__).parent / "data"
TEXT = (DATA / "lm_text.txt").read_text().splitlines()
FIRST, SECOND = TEXT[:90], TEXT[60:]
CONTEXTS = ([], ["play"], ["play", "some"], TEXT[0].split(), TEXT[100].split(), ["never-seen"], ["the", "never-seen"])


def loaded(model, folder):
    write_arpa(model, folder / "lm.arpa.gz")
    return LanguageModel.load(folder / "lm.arpa.gz")


def after(lm, state):
    """The probability of every word, ``<unk>`` and the end of the sentence in a state."""
    words = {word: math.exp(lm.score(state, word)[0]) for word in [*lm.words, "<unk>"]}
    return words | {"</s>": math.exp(lm.end(state))}


def distribution(lm, context, *, begins=True):
    """As `after`, behind a context that begins the sentence, or stands somewhere in it."""
    state = lm.start() if begins else lm.empty()
    for word in context:
        _, state = lm.score(state, word)
    return after(lm, state)


def spelled(model):
    """The n-grams as words, of each order."""
    rows = [[(model.words[word],) for word in model.orders[0].word]]
    for grams in model.orders[1:]:
        rows.append([(*rows[-1][h], model.words[w]) for h, w in zip(grams.history, grams.word, strict=True)])
    return rows


@pytest.mark.parametrize("orders", [(3, 3), (4, 2), (2, 3)])
def test_probabilities_are_the_weighted_mean_and_add_up(tmp_path, orders):
    first, second = (estimate(text, order=n) for text, n in zip((FIRST, SECOND), orders, strict=True))
    mixed = mix(first, second, 0.7)
    lm, one, other = (loaded(model, tmp_path) for model in (mixed, first, second))
    assert lm.order == max(orders)
    assert set(lm.words) == set(one.words) | set(other.words)
    for context in CONTEXTS:
        assert math.fsum(distribution(lm, context).values()) == pytest.approx(1.0, abs=1e-4)
    for gram in itertools.chain(*spelled(mixed)[1:]):
        if gram[0] != "<s>" or "<s>" in gram[1:]:
            continue
        told = [distribution(model, gram[1:-1]) for model in (lm, one, other)]
        expected = 0.7 * told[1].get(gram[-1], 0.0) + 0.3 * told[2].get(gram[-1], 0.0)
        assert told[0][gram[-1]] == pytest.approx(expected, rel=1e-4), gram


def test_pruning_takes_what_is_missed_least(tmp_path):
    model = mix(estimate(FIRST, order=3), estimate(SECOND, order=3), 0.5)
    lm = loaded(model, tmp_path)
    grams = spelled(model)
    threshold = 3e-4
    kept = {gram for order in spelled(prune(model, threshold)) for gram in order}
    whole = {gram for order in grams for gram in order}
    assert len(kept) < len(whole)
    alone = {word: 10 ** float(p) for word, p in zip(model.words, model.orders[0].log10_prob, strict=True)}
    judged = 0
    for gram in grams[2]:
        *history, word = gram
        if history[0] == "<s>":
            continue  # its probability as a whole is not in the model
        full = distribution(lm, history, begins=False)
        lower = distribution(lm, history[1:], begins=False)
        explicit = {other[2] for other in grams[2] if list(other[:2]) == history} - {word}
        spread = (1 - sum(full[w] for w in explicit)) / (1 - sum(lower[w] for w in explicit))
        without = {w: full[w] if w in explicit else spread * lower[w] for w in full}
        divergence = sum(p * math.log(p / without[w]) for w, p in full.items())
        weight = alone[history[0]] * distribution(lm, history[:1], begins=False)[history[1]]
        loss = math.expm1(weight * divergence)
        if abs(loss - threshold) > 0.02 * threshold:
            assert (gram in kept) == (loss >= threshold), gram
            judged += 1
    assert judged > 100


@pytest.mark.parametrize("threshold", [0.0, 1e-5, 1e-3, 1.0])
def test_a_pruned_model_is_a_smaller_one_that_adds_up(tmp_path, threshold):
    model = estimate(TEXT, order=4)
    smaller = prune(model, threshold)
    held = [set(order) for order in spelled(smaller)]
    for order, below in zip(held[1:], held, strict=False):
        assert {gram[:-1] for gram in order} <= below
    lm = loaded(smaller, tmp_path)
    for context in CONTEXTS:
        assert math.fsum(distribution(lm, context).values()) == pytest.approx(1.0, abs=1e-4)
    if not threshold:
        whole = loaded(model, tmp_path)
        assert lm.fit(TEXT).perplexity <= whole.fit(TEXT).perplexity * 1.001
    if threshold == 1.0:
        assert [len(order) for order in held[1:]] == [0, 0, 0]


def test_words_that_are_left_out_are_gone(tmp_path):
    model = estimate(TEXT, order=3)
    keep = np.array(["a" not in word for word in model.words])
    smaller = restrict(model, keep)
    assert set(smaller.words) == {word for word in model.words if "a" not in word}
    kept = {gram for order in spelled(smaller) for gram in order}
    assert kept == {gram for order in spelled(model) for gram in order if not any("a" in word for word in gram)}
    lm, whole = loaded(smaller, tmp_path), loaded(model, tmp_path)
    state, before = lm.start(), whole.start()
    for word in [word for word in TEXT[0].split() if "a" not in word][:1]:
        assert lm.score(state, word)[0] == pytest.approx(whole.score(before, word)[0])


@pytest.mark.parametrize("weight", [0.0, 1.0, -1.0])
def test_a_weight_that_mixes_nothing_is_refused(weight):
    model = estimate(TEXT[:5], order=2)
    with pytest.raises(ConfigError, match="mixture weight"):
        mix(model, model, weight)
