"""Unknown words in speech: the shipped bundle, synthesised utterances, and made-up posteriors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr.decode import Decoder, DecoderConfig, Hypothesis, Tokens, Word
from asr.errors import InputError
from asr.recognize import Recognizer
from asr.synth import of_engine, open_engine
from asr.unknown import Catalogue, UnknownConfig, find_unknown, rescore
from asr.unknown.evidence import FEATURES, evidence, knows, units
from asr.unknown.find import cover, span_features
from asr.unknown.spell import letters_of

TOKENS = Tokens.characters()
NAMES = (
    "bruce dickinson", "zlatan ibrahimovic", "mila kunis", "paul simon", "vasily chuikov", "nadia calvino",
    "boris johnson", "martin freeman", "kristen stewart", "hugh jackman",
)  # fmt: skip


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.open()


def heard(recognizer: Recognizer, text: str, voice: str = "en-us+m3") -> tuple[np.ndarray, Hypothesis]:
    engine = open_engine("espeak")
    spoken = engine.speak(text, next(found for found in of_engine("espeak") if found.name == voice))
    stream = recognizer.stream(keep_posteriors=True)
    stream.accept(spoken)
    best = stream.finish()[0]
    return stream.posteriors, best


def test_unknown_names_are_noticed_and_proposed(recognizer: Recognizer) -> None:
    """Of most voices: what one voice makes of a name is another thing with every model."""
    queries = {
        "zlatan ibrahimovic": "call zlatan ibrahimovic",
        "vasily chuikov": "look up the biography of vasily chuikov",
        "mila kunis": "who is mila kunis",
    }
    catalogue = Catalogue.of_names(NAMES)
    noticed, first = 0, 0
    for name, text in queries.items():
        assert not knows(name.rsplit(maxsplit=1)[-1], recognizer.decoder)
        for voice in ("en-us+m1", "en-us+m3", "en-us+m7", "en-us+f1"):
            log_probs, best = heard(recognizer, text, voice)
            spans = find_unknown(log_probs, best, recognizer.decoder, recognizer.bundle.unknown)
            if not spans:
                continue
            noticed += 1
            span = max(spans, key=lambda span: span.score)
            assert 0 <= span.start_s < span.end_s <= len(log_probs) * recognizer.geometry.frame_s + 1e-6
            assert span.heard
            assert text.split()[0] not in span.heard
            assert sum(np.exp(spelling.log_prob) for spelling in span.spellings) == pytest.approx(1.0)
            proposals = rescore(log_probs, span, catalogue.propose(span), recognizer.bundle.tokens)
            first += proposals[0].name == name
    assert noticed >= 7  # of 12
    assert first >= 6


def test_plain_queries_hold_nothing_unknown(recognizer: Recognizer) -> None:
    for text in ("what is the weather like tomorrow", "set a timer for ten minutes"):
        assert find_unknown(*heard(recognizer, text), recognizer.decoder, recognizer.bundle.unknown) == []


def test_what_is_known_otherwise_is_not_unknown(recognizer: Recognizer) -> None:
    decoder = recognizer.decoder
    log_probs, best = heard(recognizer, "play something by zogblat")
    found = units(log_probs, best.words, decoder.tokens, decoder.frame_s)
    spelled = FEATURES.index("spelled")
    words = frozenset(word.word for word in best.words)
    assert not evidence(log_probs, found, decoder, letters_of(decoder), words)[:, spelled].any()


def test_nothing_is_unknown_without_a_lexicon_or_without_sound(recognizer: Recognizer) -> None:
    empty = Hypothesis("", (), 1.0, 0.0)
    plain = Decoder(TOKENS, DecoderConfig(kind="greedy"), 0.02)
    noise = np.log(np.full((50, 29), 1 / 29, np.float32))
    silence = np.full((50, 29), -20.0, np.float32)
    silence[:, 0] = 0.0
    assert find_unknown(noise, empty, plain) == []
    assert find_unknown(noise[:0], empty, recognizer.decoder) == []
    assert find_unknown(silence, empty, recognizer.decoder) == []
    with pytest.raises(InputError, match="29 symbols"):
        find_unknown(noise[:, :5], empty, recognizer.decoder)


def test_words_behind_the_kept_frames_are_left_out(recognizer: Recognizer) -> None:
    log_probs, best = heard(recognizer, "call zlatan ibrahimovic")
    early = log_probs[: round(best.words[0].end_s / recognizer.geometry.frame_s)]
    spans = find_unknown(early, best, recognizer.decoder, replace(UnknownConfig(), threshold=0.0, seed=0.0))
    assert all(span.end_s <= len(early) * 0.02 + 1e-6 for span in spans)


def test_units_part_the_frames_between_the_words() -> None:
    log_probs = np.full((100, 29), -9.0, np.float32)
    log_probs[:, 0] = 0.0
    log_probs[45, TOKENS.encode("a b")[1]] = 0.5
    words = [Word("a", 0.2, 0.6, 1.0), Word("b", 1.2, 1.4, 1.0), Word("late", 2.4, 2.6, 1.0)]
    found = units(log_probs, words, TOKENS, 0.02)
    assert [(unit.first, unit.last) for unit in found] == [(0, 45), (45, 100)]


def test_spans_grow_to_words_beside_them() -> None:
    config = UnknownConfig(seed=0.5, join=0.2, most_words=3)
    scores = np.array([0.1, 0.3, 0.9, 0.25, 0.4, 0.1, 0.6, 0.1])
    assert cover(scores, config) == [(1, 4), (6, 7)]
    assert cover(np.zeros(0), config) == []
    few = np.array([0.9, 0.8, 0.7, 0.9])
    assert sorted(cover(few, config)) == [(0, 3), (3, 4)]


def test_features_of_a_span_say_how_likely_one_of_its_words_is() -> None:
    alone, two = span_features(np.array([0.5])), span_features(np.array([0.5, 0.2]))
    assert alone.tolist() == [0.0, 0.0, 0.0]
    assert two[1] == pytest.approx(np.log(0.2 / 0.8))
    assert two[2] == pytest.approx(np.log(2))
