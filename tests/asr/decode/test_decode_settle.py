"""A stream may last for ever: what is thrown away and settled on the way changes nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.beam import BeamSearch
from asr.decode.bench import simulate
from asr.decode.lm_build import estimate, write_arpa

FRAME_S = 0.02
TOKENS = Tokens.characters()
TEXTS = ["call mom", "play jazz", "what's the time", "call the cab", "play the radio", "stop"]
FOR_EVER = 10**6
KINDS = ["plain", "lm", "hints"]


class Hoarder(BeamSearch):
    """Keeps everything."""

    def _compact(self, symbols):
        pass


class Tidy(BeamSearch):
    """Throws away what it can at every opportunity."""

    def _make_room(self, frames):
        self._compact(0)
        super()._make_room(frames)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "toy.arpa"
    write_arpa(estimate(TEXTS, order=2), path)
    return LanguageModel.load(path)


@pytest.fixture(scope="module")
def decoders(lm):
    config = DecoderConfig(beam_width=12, settled_symbols=FOR_EVER)
    return {kind: Decoder(TOKENS, config, FRAME_S, None if kind == "plain" else lm) for kind in KINDS}


def open_search(decoder, kind, search):
    hints = decoder.hints([("call the radio", 2.0), ("jazz club", 0.0), ("time", -2.0)]) if kind == "hints" else None
    return search(decoder._model, FRAME_S, hints)


def speech(seed, words, noise):
    rng = np.random.default_rng(seed)
    text = " ".join(rng.choice([word for text in TEXTS for word in text.split()], words))
    return simulate(text, TOKENS, rng, noise=noise)


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 1000),
    words=st.integers(0, 12),
    noise=st.sampled_from([0.3, 2.0, 3.5]),
    cuts=st.lists(st.integers(0, 300), max_size=12),
)
@settings(derandomize=True, deadline=None, max_examples=20)
def test_what_is_thrown_away_changes_nothing(decoders, kind, seed, words, noise, cuts):
    log_probs = speech(seed, words, noise)
    searches = [open_search(decoders[kind], kind, search) for search in (Hoarder, BeamSearch, Tidy)]
    for start, end in itertools.pairwise([0, *sorted(cut for cut in cuts if cut < len(log_probs)), len(log_probs)]):
        for search in searches:
            search.accept(log_probs[start:end])
        hoarder, usual, tidy = (search.best() for search in searches)
        assert hoarder == usual == tidy
    hoarder, usual, tidy = (search.finish(6) for search in searches)
    assert hoarder == usual == tidy


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000), step=st.integers(1, 70), ahead=st.integers(0, 90))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_a_look_ahead_shows_what_would_come_and_leaves_no_trace(decoders, kind, seed, step, ahead):
    log_probs = speech(seed, 6, 2.5)
    plain, curious = (open_search(decoders[kind], kind, search) for search in (BeamSearch, BeamSearch))
    for start in range(0, len(log_probs), step):
        plain.accept(log_probs[start : start + step])
        curious.accept(log_probs[start : start + step])
        other = speech(seed + start, 2, 1.0)[:ahead]
        seen, agreement = curious.preview(other)
        assert curious.best() == plain.best()
        reference = open_search(decoders[kind], kind, BeamSearch)
        reference.accept(np.concatenate([log_probs[: start + step], other]))
        assert (seen, agreement) == (reference.best(), reference.agreement())
    assert curious.finish(6) == plain.finish(6)


def test_ten_minutes_take_no_more_memory_than_one(lm):
    decoder = Decoder(TOKENS, DecoderConfig(beam_width=8), FRAME_S, lm)
    text = " ".join(TEXTS * 111)
    log_probs = simulate(text, TOKENS, np.random.default_rng(0), noise=1.0)
    minutes = np.array_split(log_probs, 10)
    assert 55 < len(minutes[0]) * FRAME_S < 75
    stream, sizes, states, left = decoder.stream(), [], [], []
    for minute in minutes:
        for chunk in np.array_split(minute, 100):
            stream.accept(chunk)
            best = stream.best()
        sizes.append(stream._search.nbytes)
        states.append(len(stream._search._states))
        left.append(len(best.words) - stream._search.settled)
    assert max(sizes) < min(300_000, 1.5 * sizes[0])
    assert max(states) < 2000
    assert max(left) < 100
    (final,) = stream.finish()
    assert final.text == text
    letters = list(itertools.accumulate((len(word) + 1 for word in text.split()), initial=0))
    for word, letter in zip(final.words, letters, strict=False):
        assert word.start_s == pytest.approx(4 * (letter + 1) * FRAME_S, abs=0.1)


def tie(seconds):
    """After 'a' or 'b', which sound alike, clear speech."""
    rng = np.random.default_rng(1)
    text = " ".join(itertools.islice(itertools.cycle(["see", "the", "sun"]), int(seconds)))
    log_probs = simulate(f"a {text}", TOKENS, rng, noise=0.01)
    first, second = TOKENS.encode("ab")
    log_probs[4, second] = log_probs[4, first]
    return log_probs


def test_readings_that_tie_for_ever_are_decided_at_last():
    undecided = Decoder(TOKENS, DecoderConfig(beam_width=12, settled_symbols=FOR_EVER), FRAME_S).stream()
    decided = Decoder(TOKENS, DecoderConfig(beam_width=12, settled_symbols=50), FRAME_S).stream()
    for start in range(0, len(log_probs := tie(200)), 100):
        undecided.accept(log_probs[start : start + 100])
        decided.accept(log_probs[start : start + 100])
    for stream, first_words in ((undecided, {"a", "b"}), (decided, {"a"})):
        assert {hypothesis.text.split()[0] for hypothesis in stream.finish(12)} == first_words
    assert undecided._search.settled == 0
    assert decided._search.settled > 150
    assert decided._search.nbytes < 0.2 * undecided._search.nbytes
    words, reference = decided.finish()[0].words, undecided.finish()[0].words
    assert [(w.word, w.start_s, w.end_s) for w in words[1:]] == [(w.word, w.start_s, w.end_s) for w in reference[1:]]


def test_when_readings_are_decided_does_not_depend_on_the_calls():
    decoder = Decoder(TOKENS, DecoderConfig(beam_width=12, settled_symbols=20), FRAME_S)
    log_probs = np.concatenate([tie(10), speech(5, 30, 3.5)])
    whole = decoder.decode(log_probs, 5)
    for size in (1, 7, 64, 100):
        stream = decoder.stream()
        for start in range(0, len(log_probs), size):
            stream.accept(log_probs[start : start + size])
            stream.preview(log_probs[:70])
        assert stream.finish(5) == whole
