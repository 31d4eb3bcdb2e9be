import pytest

from asr.config import make_config
from asr.decode import DecoderConfig, Tokens
from asr.errors import ConfigError, TextError


def test_characters_have_the_blank_first_and_round_trip():
    tokens = Tokens.characters()
    assert len(tokens) == 29
    assert tokens.symbols[:3] == ("<blank>", " ", "'")
    ids = tokens.encode("what's  the time ")
    assert tokens.decode(ids) == "what's the time"
    assert tokens.decode([0, 1, *ids, 0]) == "what's the time"


def test_subwords_take_the_longest_symbol_and_mark_words():
    tokens = Tokens(["<blank>", "▁", "▁the", "▁t", "h", "e", "n", "re"])
    assert tokens.encode("the there n") == [2, 2, 7, 1, 6]
    assert tokens.decode([2, 2, 7, 1, 6]) == "the there n"


def test_a_character_without_a_symbol_is_an_error():
    with pytest.raises(TextError, match="'é'"):
        Tokens.characters().encode("café")


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ([], "blank"),
        (["a", " "], "blank"),
        (["<blank>", " ", "a", "a"], "distinct"),
        (["<blank>", " ", ""], "distinct"),
        (["<blank>", "a", "b"], "separates words"),
    ],
)
def test_impossible_inventories_are_refused(symbols, reason):
    with pytest.raises(ConfigError, match=reason):
        Tokens(symbols)


@pytest.mark.parametrize(
    "values",
    [{"kind": "viterbi"}, {"beam_width": 0}, {"token_prune_log": 1.0}, {"lm_weight": -1}, {"nbest": 0}, {"beams": 4}],
)
def test_config_names_the_bad_value(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        make_config(DecoderConfig, values, "decoder.yaml")
