"""Beam search against enumeration of every alignment."""

import gc
import itertools
import math
import weakref
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.spelling import spelling_model

FRAME_S = 0.02
TOKENS = Tokens(["<blank>", " ", "a", "b"])
SUBWORDS = Tokens(["<blank>", "▁", "▁a", "a", "ab"])
WIDE = {"beam_width": 1000, "token_prune_log": -1e9}
TEXT = ["a", "a b", "b a", "ab a", "ab ab b", "b", "b b a", "ab", "a a", "b ab"]


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "toy.arpa"
    write_arpa(estimate(TEXT, order=3), path)
    return LanguageModel.load(path)


def random_log_probs(seed, frames, tokens=TOKENS, sharpness=1.5):
    logits = np.random.default_rng(seed).normal(0, sharpness, (frames, len(tokens)))
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def enumerate_alignments(log_probs, tokens=TOKENS):
    """For every text: the log sum over alignments, and its best alignments by whether they end in a separator."""
    sums = defaultdict(lambda: -math.inf)
    endings = defaultdict(lambda: -math.inf)
    best = {}
    for path in itertools.product(range(len(tokens)), repeat=len(log_probs)):
        score = math.fsum(float(log_probs[frame, token]) for frame, token in enumerate(path))
        merged = [token for token, _ in itertools.groupby(path)]
        text = tokens.decode(merged)
        spoken = [token for token in merged if token]
        key = (text, bool(spoken) and not tokens.pieces[spoken[-1]])
        sums[text] = np.logaddexp(sums[text], score)
        endings[key] = np.logaddexp(endings[key], score)
        if score > best.get(key, (-math.inf, None))[0]:
            best[key] = (score, path)
    return sums, endings, best


def language_score(lm, text, config):
    words = text.split()
    total = 0.0
    for word, (log10, _, oov) in itertools.zip_longest([*words, "</s>"], lm._model.full_scores(text)):
        assert oov == (word != "</s>" and word not in lm)
        if word == "</s>":
            total += config.lm_weight * log10 * math.log(10)
        elif oov:
            total += config.word_bonus - config.unknown_cost + spelling_score(lm, word, config)
            surprise = (log10 - next(lm._model.full_scores(word, bos=False))[0]) * math.log(10)
            total += config.unknown_context * surprise
        else:
            total += config.word_bonus + config.lm_weight * log10 * math.log(10)
    return total


def spelling_score(lm, word, config):
    """The letters' probabilities, from a table whose own test is elsewhere."""
    alphabet = sorted("ab")
    letters = np.array([alphabet.index(letter) for letter in "".join(lm.words)], np.int32)
    table = spelling_model(letters, np.cumsum([0, *map(len, lm.words)]), 2)
    history = [2, 2, 2]
    total = 0.0
    for letter in [*map(alphabet.index, word), 2]:
        total += table[np.ravel_multi_index(history[-3:], (3, 3, 3)), letter]
        history.append(letter)
    return config.spelling_weight * total


@given(seed=st.integers(0, 10_000), frames=st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_equals_enumeration_without_lm(seed, frames):
    log_probs = random_log_probs(seed, frames)
    sums, _, _ = enumerate_alignments(log_probs)
    found = Decoder(TOKENS, DecoderConfig(**WIDE), FRAME_S).decode(log_probs, nbest=10_000)
    assert {h.text: pytest.approx(h.score, abs=1e-5) for h in found} == dict(sums)
    assert found[0].text == max(sums, key=sums.get)
    assert math.fsum(math.exp(h.score) for h in found) == pytest.approx(1.0, abs=1e-5)


@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 5),
    weight=st.floats(0, 2),
    bonus=st.floats(-2, 2),
    cost=st.floats(0, 10),
    spelling=st.sampled_from([0.0, 0.4, 1.3]),
    context=st.sampled_from([0.0, 0.7]),
)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_equals_enumeration_with_lm(lm, seed, frames, weight, bonus, cost, spelling, context):
    log_probs = random_log_probs(seed, frames)
    config = DecoderConfig(
        **WIDE, lm_weight=weight, word_bonus=bonus, unknown_cost=cost, spelling_weight=spelling, unknown_context=context
    )
    sums, _, _ = enumerate_alignments(log_probs)
    expected = {text: total + language_score(lm, text, config) for text, total in sums.items()}
    found = Decoder(TOKENS, config, FRAME_S, lm).decode(log_probs, nbest=10_000)
    assert {h.text: pytest.approx(h.score, abs=1e-4) for h in found} == expected
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


@given(seed=st.integers(0, 10_000), frames=st.integers(1, 4))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_equals_enumeration_with_subwords(lm, seed, frames):
    """Several spellings of one text are added up."""
    log_probs = random_log_probs(seed, frames, SUBWORDS)
    config = DecoderConfig(**WIDE, lm_weight=0.7, word_bonus=0.3, unknown_cost=2.0, spelling_weight=0.6)
    sums, _, _ = enumerate_alignments(log_probs, SUBWORDS)
    expected = {text: total + language_score(lm, text, config) for text, total in sums.items()}
    found = Decoder(SUBWORDS, config, FRAME_S, lm).decode(log_probs, nbest=10_000)
    assert {h.text: pytest.approx(h.score, abs=1e-4) for h in found} == expected


@given(seed=st.integers(0, 10_000), frames=st.integers(2, 5))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_word_times_are_those_of_the_best_alignment(seed, frames):
    log_probs = random_log_probs(seed, frames)
    _, endings, best = enumerate_alignments(log_probs)
    for hypothesis in Decoder(TOKENS, DecoderConfig(**WIDE), FRAME_S).decode(log_probs, nbest=20):
        text = hypothesis.text
        _, path = best[max([(text, False), (text, True)], key=lambda key: endings.get(key, -math.inf))]
        spans = [[]]
        for frame, token in enumerate(path):
            if token == 1:
                spans.append([])
            elif token:
                spans[-1].append(frame)
        expected = [(span[0] * FRAME_S, (span[-1] + 1) * FRAME_S) for span in spans if span]
        assert len(hypothesis.words) == len(expected)
        for word, span in zip(hypothesis.words, expected, strict=True):
            assert (word.start_s, word.end_s) == pytest.approx(span)


def test_unknown_words_flip_exactly_at_the_cost(lm):
    """'abb' is unknown; raising its cost past the difference of the other terms makes a known reading win."""
    assert "abb" not in lm
    log_probs = np.full((6, 4), -6.0, np.float32)
    for frame, token in enumerate([2, 3, 0, 3, 0, 0]):
        log_probs[frame, token] = -0.1
    base = {**WIDE, "lm_weight": 0.5, "word_bonus": 0.0}
    free = Decoder(TOKENS, DecoderConfig(**base, unknown_cost=0.0), FRAME_S, lm).decode(log_probs, nbest=10_000)
    assert free[0].text == "abb"
    rival = next(h for h in free if all(word in lm for word in h.text.split()))
    flip = free[0].score - rival.score
    assert flip > 1.0
    for cost, expected in ((flip - 1e-3, "abb"), (flip + 1e-3, rival.text)):
        config = DecoderConfig(**base, unknown_cost=cost)
        assert Decoder(TOKENS, config, FRAME_S, lm).decode(log_probs)[0].text == expected


def test_unknown_score_of_the_model_plays_no_part(lm):
    """Two unknown words of equal acoustics cost the same whatever the model gives <unk> in their context."""
    log_probs = random_log_probs(3, 5)
    config = DecoderConfig(**WIDE, lm_weight=1.0, word_bonus=0.0, unknown_cost=3.0)
    found = {h.text: h.score for h in Decoder(TOKENS, config, FRAME_S, lm).decode(log_probs, nbest=10_000)}
    plain = {h.text: h.score for h in Decoder(TOKENS, DecoderConfig(**WIDE), FRAME_S).decode(log_probs, nbest=10_000)}
    after_unknown = found["bba"] - plain["bba"]
    assert after_unknown == pytest.approx(-3.0 + lm.end(lm.score(lm.start(), "<unk>")[1]), abs=1e-4)


def test_language_model_repairs_what_sounds_slightly_better(lm):
    log_probs = np.full((4, 4), -8.0, np.float32)
    log_probs[0, 2] = log_probs[2, 0] = log_probs[3, 0] = -0.01
    log_probs[1, 2], log_probs[1, 3] = -0.6, -0.8  # "a" (repeated) or "ab"
    without = Decoder(TOKENS, DecoderConfig(), FRAME_S).decode(log_probs)[0]
    only_ab = LanguageModelOf(lm)
    assert without.text == "a"
    config = DecoderConfig(lm_weight=0.0, word_bonus=0.0, unknown_cost=5.0)
    assert Decoder(TOKENS, config, FRAME_S, only_ab).decode(log_probs)[0].text == "ab"


class LanguageModelOf(LanguageModel):
    """The toy model, of whose words the decoder may use only 'ab'."""

    def __init__(self, lm):
        super().__init__(lm._model, ["ab"])


def test_a_decoder_that_nobody_uses_any_more_is_freed_at_once(lm):
    decoder = Decoder(TOKENS, DecoderConfig(**WIDE), FRAME_S, lm)
    stream = decoder.stream(decoder.hints([("ab a", 2.0)]))
    stream.accept(random_log_probs(3, 20))
    stream.finish()
    model = weakref.ref(decoder._model)
    gc.disable()
    try:
        del decoder, stream
        assert model() is None, "something holds it in a cycle"
    finally:
        gc.enable()
