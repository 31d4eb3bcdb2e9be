"""Stability: how the beam agrees, how long words have stood, and what follows from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decode import Decoder, DecoderConfig, Hypothesis, Tokens, Word
from asr.decode import stability as stab
from asr.decode.bench import simulate

FRAME_S = 0.02
TOKENS = Tokens.characters()
SHARE = st.floats(0, 1)
SECONDS = st.floats(0, 3600)
WEIGHT = st.floats(-5, 5)


def hypothesis_of(text):
    words = tuple(Word(word, 0.1 * place, 0.1 * place + 0.1, 1.0) for place, word in enumerate(text.split()))
    return Hypothesis(text, words, 1.0, 0.0)


def weights_from(values):
    values = list(values)
    for place, sign in stab.SIGNS.items():
        values[1 + place] = sign * abs(values[1 + place])
    return stab.from_sequence(values)


@given(
    values=st.lists(WEIGHT, min_size=10, max_size=10),
    shares=st.tuples(SHARE, SHARE),
    silence_s=SECONDS,
    ages=st.tuples(SECONDS, SECONDS),
    young=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    glimpsed=st.booleans(),
)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_it_is_a_probability_that_rises_as_words_stand(values, shares, silence_s, ages, young, glimpsed):
    weights = weights_from(values)
    outlook = stab.Outlook(hypothesis_of("call mom"), *shares, silence_s)
    sooner = stab.stability(stab.features(outlook, min(ages), max(young), glimpsed), weights)
    later = stab.stability(stab.features(outlook, max(ages), min(young), glimpsed), weights)
    assert 0.0 <= sooner <= later <= 1.0
    assert stab.from_sequence(stab.as_tuple(weights)) == weights


def test_words_stand_as_long_as_nothing_before_them_changes():
    standing = stab.Standing()
    seen = [
        ("", 0.2, (0.0, 0)),
        ("call", 0.4, (0.0, 1)),
        ("call", 0.6, (pytest.approx(0.2), 1)),
        ("call mum", 0.8, (0.0, 2)),
        ("call mum", 1.0, (pytest.approx(0.2), 2)),
        ("call mom", 1.2, (0.0, 2)),
        ("call mom", 1.5, (pytest.approx(0.3), 1)),
        ("call mom", 3.0, (pytest.approx(1.8), 0)),
        ("tall mom", 3.2, (0.0, 2)),
    ]
    for text, heard_s, expected in seen:
        assert standing.note(hypothesis_of(text), heard_s) == expected


def spelled(search, index):
    """The symbols of an active prefix."""
    node, ids = search._beam[index]["node"], []
    while node:
        ids.append(int(search._nodes[node]["token"]))
        node = search._nodes[node]["parent"]
    return ids[::-1]


@pytest.mark.parametrize("seed", range(6))
def test_agreement_is_a_share_of_the_beam(seed):
    stream = Decoder(TOKENS, DecoderConfig(beam_width=24), FRAME_S).stream()
    log_probs = simulate("what's the time", TOKENS, np.random.default_rng(seed), noise=3.0)
    for start in range(0, len(log_probs), 9):
        stream.accept(log_probs[start : start + 9])
        search = stream._search
        shown = stream.outlook()
        prefixes = [spelled(search, index) for index in range(search._sizes[1])]
        shares = np.exp(search._beam["total"][: len(prefixes)] - search._beam["total"][0])
        best = prefixes[0]
        words = shown.hypothesis.words
        end = max((place + 1 for place, token in enumerate(best) if token > 1), default=0)
        before = max((place for place in range(end) if best[place] == 1), default=0)
        for found, length in ((shown.agreement, end), (shown.agreement_before, before if len(words) > 1 else 0)):
            agreeing = [share for share, ids in zip(shares, prefixes, strict=True) if ids[:length] == best[:length]]
            assert found == pytest.approx(sum(agreeing) / shares.sum())
        assert shown.silence_s == stream.trailing_silence_s


def test_a_preview_knows_what_the_stream_will_know():
    decoder = Decoder(TOKENS, DecoderConfig(), FRAME_S)
    log_probs = simulate("call the cab", TOKENS, np.random.default_rng(3), noise=2.5)
    stream = decoder.stream()
    stream.accept(log_probs[:30])
    seen = stream.preview(log_probs[30:44])
    stream.accept(log_probs[30:44])
    assert seen == stream.outlook()


def test_words_grow_stable_while_nothing_more_is_said():
    stream = Decoder(TOKENS, DecoderConfig(), FRAME_S).stream()
    stream.accept(simulate("call mom", TOKENS, np.random.default_rng(0), noise=1.0))
    silence = np.full((10, len(TOKENS)), -9.0, np.float32)
    silence[:, 0] = -0.01
    standing, found = stab.Standing(), []
    for _ in range(8):
        stream.accept(silence)
        outlook = stream.outlook()
        features = stab.features(outlook, *standing.note(outlook.hypothesis, stream.duration_s), glimpsed=False)
        found.append(stab.stability(features, DecoderConfig().stability))
    assert outlook.hypothesis.text == "call mom"
    assert found == sorted(found)
    assert found[0] < found[-1] < 1.0
