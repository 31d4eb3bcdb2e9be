"""Grammars expand reproducibly, in the alphabet, and never share a sentence between splits."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import ConfigError
from asr.synth.queries import ALPHABET, SPLIT_SHARES, Grammar, queries, read_grammar, split_of, spoken_number

DATA = Path(__file__).parents[3] / "data" / "queries"
GRAMMARS = {path.stem: read_grammar(path) for path in sorted(DATA.glob("*.yaml"))}


def grammar(templates, **slots):
    return Grammar.model_validate({"templates": templates, "slots": slots})


@pytest.mark.parametrize("name", GRAMMARS)
def test_splits_share_no_sentence_whatever_the_seed(name):
    drawn = {s: {q.text for seed in (1, 2) for q in queries(GRAMMARS[name], 60, seed, s)} for s in SPLIT_SHARES}
    assert not drawn["train"] & drawn["dev"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["dev"] & drawn["test"]


@pytest.mark.parametrize("name", GRAMMARS)
@settings(derandomize=True, deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(sorted(SPLIT_SHARES)))
def test_queries_are_different_speakable_and_of_their_split(name, seed, split):
    found = queries(GRAMMARS[name], 40, seed, split)
    assert len({query.text for query in found}) == 40
    for query in found:
        assert ALPHABET.fullmatch(query.text)
        assert split_of(query.text) == split
        assert query.written != query.text
        assert "|" not in query.written + query.text


def test_the_same_seed_gives_the_same_queries_and_a_longer_draw_begins_alike():
    voice_search = GRAMMARS["voice-search"]
    assert queries(voice_search, 30, 5, "dev") == queries(voice_search, 60, 5, "dev")[:30]
    assert queries(voice_search, 30, 5, "dev") != queries(voice_search, 30, 6, "dev")


def test_the_demo_is_a_closed_domain_whose_test_words_are_all_trained():
    train = {word for query in queries(GRAMMARS["demo"], 800, 1, "train") for word in query.text.split()}
    test = {word for query in queries(GRAMMARS["demo"], 60, 1, "test") for word in query.text.split()}
    assert 90 <= len(train) <= 150
    assert test <= train


def test_voice_search_is_broad():
    words = {word for query in queries(GRAMMARS["voice-search"], 3000, 1, "train") for word in query.text.split()}
    assert len(words) > 1000


def test_written_forms_follow_the_spoken_ones():
    addresses = grammar(
        ["drive to {place} in {minutes} minutes", {"text": "play {song} | play “{song}”", "weight": 2}],
        place=["fifth avenue | 5th Avenue", "the {colour} house"],
        colour=["red"],
        song=["yesterday | Yesterday"],
        minutes={"first": 21, "last": 21},
    )
    found = {
        query.text: query.written for seed in range(5) for query in queries(addresses, 1, seed, split_for(addresses))
    }
    expected = {
        "drive to fifth avenue in twenty one minutes": "drive to 5th Avenue in 21 minutes",
        "drive to the red house in twenty one minutes": "drive to the red house in 21 minutes",
        "play yesterday": "play “Yesterday”",
    }
    assert found.items() <= expected.items()


def split_for(some):
    """A split in which this tiny grammar has a sentence."""
    for split in SPLIT_SHARES:
        try:
            queries(some, 1, 0, split)
        except ConfigError:
            continue
        return split
    raise AssertionError


def test_asking_for_more_than_there_is_says_how_many_there_are():
    with pytest.raises(ConfigError, match=r"only about \d different"):
        queries(grammar(["say {word}"], word=["one", "two", "three"]), 50, 0, "train")


@pytest.mark.parametrize(
    ("templates", "slots", "complaint"),
    [
        (["call {nobody}"], {}, "nobody"),
        (["call mum"], {"unused": ["x"]}, "unused"),
        (["call Mum"], {}, "a-z"),
        (["set 5 alarms"], {}, "a-z"),
        (["go {a} | go"], {"a": ["x"]}, "same slots"),
        ([], {}, "templates"),
        ([{"text": "x", "weight": 0}], {}, "weight"),
        (["at {n}"], {"n": {"first": 9, "last": 1}}, "first"),
        ([{"text": "x", "colour": "red"}], {}, "colour"),
    ],
)
def test_a_bad_grammar_is_refused_in_one_sentence(tmp_path, templates, slots, complaint):
    import json

    path = tmp_path / "bad.yaml"
    path.write_text(json.dumps({"templates": templates, "slots": slots}))
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_grammar(path)
    assert "\n" not in str(caught.value)


def test_slots_in_a_circle_are_refused():
    with pytest.raises(ConfigError, match="contain each other"):
        queries(grammar(["{a}"], a=["x {b}"], b=["y {a}"]), 1, 0, "train")


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="validation"):
        queries(GRAMMARS["demo"], 1, 0, "validation")


@pytest.mark.parametrize(
    ("number", "words"), [(0, "zero"), (42, "forty two"), (105, "one hundred five"), (2024, "two thousand twenty four")]
)
def test_numbers_are_spoken(number, words):
    assert spoken_number(number) == words
