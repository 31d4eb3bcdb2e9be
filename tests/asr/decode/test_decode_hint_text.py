"""Phrase hints as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpus.text import normalise
from asr.decode.hint_text import EXPECTED, MAX_LETTERS, MAX_PHRASES, Contexts, speak
from asr.errors import DengarError

LETTERS = "abcdefghijklmnopqrstuvwxyz'"


def test_phrases_are_spoken_as_references_are():
    spoken = speak([("Zubin  Mehta!", 0.0), ("Café", -2.0), ("O'Brien", 3.0), ("Dr Smith", 1.0)], {}, LETTERS, 4.0)
    assert spoken.phrases == {("zubin", "mehta"): 4.0, ("cafe",): -2.0, ("o'brien",): 3.0, ("doctor", "smith"): 1.0}
    assert spoken.unused == ()


def test_classes_stand_in_phrases_as_words():
    classes = {"CONTACT": ["Anna", "Mc Donald"], "$place_2": ["Oslo"], "IDLE": ["x"]}
    phrases = [("call $CONTACT, please", 0.0), ("${CONTACT}", 2.0), ("from ${place_2} to $place_2", 1.0)]
    spoken = speak(phrases, classes, LETTERS, 4.0)
    assert (
        spoken.phrases
        == {
            ("call", "$CONTACT", "please"): 4.0,
            ("$CONTACT",): 2.0,
            ("from", "$place_2", "to", "$place_2"): 1.0,
        }
        or spoken.unused[0][0] == "call $CONTACT, please"
    )
    assert spoken.classes == {"CONTACT": {("anna",), ("mc", "donald")}, "place_2": {("oslo",)}}


@pytest.mark.parametrize(
    ("phrase", "boost", "reason"),
    [
        ("", 0.0, "empty"),
        ("  ", 0.0, "empty"),
        ("...", 0.0, "nothing to speak"),
        ("日本", 0.0, "no reading"),
        ("a" * 101, 0.0, "101 characters, at most 100"),
        ("fine", 20.5, "boost 20.5 is not between -20 and 20"),
        ("fine", float("nan"), "boost nan"),
        ("fine", float("-inf"), "boost -inf"),
        ("call $NOBODY", 0.0, "class NOBODY is not given"),
        ("call $EMPTY", 0.0, "class EMPTY has no item that can be used"),
        ("call $WHO's phone", 0.0, "a word of its own"),
        ("o'brien", 0.0, 'cannot spell "\'"'),
    ],
)
def test_what_cannot_be_used_is_named_with_the_reason(phrase, boost, reason):
    classes = {"EMPTY": [], "WHO": ["anna"]}
    spoken = speak([("good", 0.0), (phrase, boost)], classes, LETTERS[:-1], 4.0)
    assert spoken.phrases == {("good",): 4.0}
    ((found, why),) = spoken.unused
    assert found == phrase
    assert reason in why


def test_duplicates_count_once_and_the_greater_boost_wins():
    phrases = [("Anna", 3.0), ("anna", 3.0), ("ANNA!", 5.0), ("anna", -2.0)]
    for given_ in (phrases, phrases[::-1]):
        spoken = speak(given_, {}, LETTERS, 4.0)
        assert spoken.phrases == {("anna",): 5.0}
        assert spoken.unused
        assert all("given twice" in reason for _, reason in spoken.unused)
    assert speak([("anna", 4.0), ("anna", 0.0)], {}, LETTERS, 4.0).unused == ()


def test_items_that_cannot_be_used_are_reported_and_the_others_serve():
    spoken = speak([("call $WHO", 0.0)], {"WHO": ["anna", "東"], "1bad": ["x"]}, LETTERS, 4.0)
    assert spoken.classes == {"WHO": {("anna",)}}
    assert [text for text, _ in spoken.unused] == ["1bad", "東"]


def letters_of(number):
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_too_many():
    phrases = [(letters_of(number), 0.0) for number in range(MAX_PHRASES + 2)]
    spoken = speak(phrases, {}, LETTERS, 4.0)
    assert len(spoken.phrases) == MAX_PHRASES
    assert [text for text, _ in spoken.unused] == [text for text, _ in phrases[MAX_PHRASES:]]
    spoken = speak([("a" * 80 + letters_of(number), 0.0) for number in range(2000)], {}, LETTERS, 4.0)
    assert sum(map(len, (" ".join(words) for words in spoken.phrases))) <= MAX_LETTERS
    assert len(spoken.phrases) + len(spoken.unused) == 2000


def test_contexts_count_as_no_phrases_and_given_ones_come_first():
    given_ = [(f"g{letters_of(number)}", 1.0) for number in range(MAX_PHRASES - 3)]
    names = [(f"n{letters_of(number)}", 2.0) for number in range(5)]
    contexts = Contexts(("call", "news about"), 9.0, frozenset(dict(names)))
    spoken = speak([*given_, *names], {}, LETTERS, 4.0, contexts)
    assert [text for text, _ in spoken.unused] == [text for text, _ in names[3:]]
    expected = {"call": 9.0, "news about": 9.0, **dict(given_), **dict(names[:3])}
    mark = f"${EXPECTED}"
    assert {" ".join(words).removesuffix(f" {mark}"): boost for words, boost in spoken.phrases.items()} == expected
    assert spoken.classes == {EXPECTED: {(name,) for name, _ in names[:3]}}


def test_contexts_need_phrases_that_gain_and_letters_that_there_are():
    contexts = Contexts(("call", "what's", "", "日本"), 9.0, frozenset({"anna", "Zoë"}))
    spoken = speak([("anna", 2.0), ("Zoë", 0.0), ("other", 2.0)], {}, LETTERS[:-1], 4.0, contexts)
    assert {words for words in spoken.phrases if len(words) > 1} == {("call", f"${EXPECTED}")}
    assert spoken.classes == {EXPECTED: {("anna",), ("zoe",)}}
    for boost in (9.0, 12.0, -1.0):
        assert speak([("anna", boost)], {}, LETTERS, 4.0, contexts).phrases == {("anna",): boost}
    assert speak([("other", 2.0)], {}, LETTERS, 4.0, contexts).classes == {}


def test_no_request_can_name_the_class_of_what_is_expected():
    contexts = Contexts(("call",), 9.0, frozenset({"anna"}))
    phrases = [("anna", 2.0), (f"play ${EXPECTED}", 1.0), (f"${{{EXPECTED}}}", 1.0)]
    spoken = speak(phrases, {EXPECTED: ["bob"]}, LETTERS, 4.0, contexts)
    assert spoken.classes == {EXPECTED: {("anna",)}}
    assert [words for words in spoken.phrases if "$" in "".join(words)] == [("call", f"${EXPECTED}")]
    assert EXPECTED in [text for text, _ in spoken.unused]


def test_phrases_that_need_the_grammar_are_few(monkeypatch):
    monkeypatch.setattr("asr.decode.hint_text.MAX_WRITTEN", 2)
    phrases = [("anna", 0.0), ("1 road", 0.0), ("2 road", 0.0), ("3 road", 0.0), ("3 $X", 0.0), ("three road", 0.0)]
    spoken = speak(phrases, {"X": ["lane"]}, LETTERS, 4.0)
    assert set(spoken.phrases) == {("anna",), ("one", "road"), ("two", "road"), ("three", "road")}
    assert [text for text, _ in spoken.unused] == ["3 road", "3 $X"]
    assert "at most 2 with digits" in spoken.unused[0][1]


@given(phrases=st.lists(st.tuples(st.text(max_size=12), st.floats(width=32)), max_size=6))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_whatever_is_given_is_used_or_reported(phrases):
    phrases = [(text, boost) for text, boost in phrases if not any(c.isdigit() for c in text)]
    spoken = speak(phrases, {}, LETTERS, 4.0)
    assert {text for text, _ in spoken.unused} <= {text for text, _ in phrases}
    assert len(spoken.phrases) + len(spoken.unused) <= len(phrases)
    for text, boost in phrases:
        if (text, abs(boost) <= 20) not in [(unused, True) for unused, _ in spoken.unused] and abs(boost) <= 20:
            assert tuple(normalise(text).split()) in spoken.phrases


@given(text=st.lists(st.sampled_from(["Anna", "dr", "Mr", "st", "smith", "AVE", "jan", "x"]), min_size=1).map(" ".join))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_bare_words_are_normalised_as_with_punctuation(text):
    """The quick way for plain words gives what the whole way gives, which a full stop at the end forces."""
    try:
        assert normalise(text) == normalise(f"{text} !")
    except DengarError as error:
        pytest.skip(str(error))
