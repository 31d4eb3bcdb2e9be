"""Names that a bundle learned, as phrases: the newest and most wanted first, whole names before spellings."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.expected import expected
from asr.decode.hint_text import MAX_PHRASES
from asr.decode.learned import CLASS_MODEL, LearnedName, LearnedNames
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.names import CLASS, NamesModel
from asr.decode.near import possessive

SPELLINGS = 8


def word(number: int) -> str:
    """Letters that no other number has."""
    return "".join(string.ascii_lowercase[number // 26**place % 26] for place in range(3))


def learned(count: int) -> LearnedNames:
    """So many names, the last hundred in a second round, with spellings."""
    rows = []
    for number in range(count):
        spellings = tuple(f"s{word(number)}{end}" for end in "abcdefgh"[:SPELLINGS])
        rows.append(LearnedName(f"n{word(number)}", float(number + 1), 1 + (number >= count - 100), spellings))
    return LearnedNames(tuple(rows), boost=3.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, LanguageModel]:
    folder = tmp_path_factory.mktemp("expected")
    write_arpa(estimate(["call my mother", "who is it"], order=3), folder / "base.arpa")
    write_arpa(estimate([f"call {CLASS}", CLASS], order=3), folder / CLASS_MODEL)
    return LanguageModel.load(folder / "base.arpa"), LanguageModel.load(Path(folder / CLASS_MODEL))


def test_whole_names_come_first_the_newest_and_most_asked_for_before_others(
    models: tuple[LanguageModel, LanguageModel],
) -> None:
    names = learned(300)
    lm = NamesModel(*models, names)
    found = [text for text, _ in expected(lm)]
    assert set(found) == {text for text, _ in lm.phrases}
    newest = sorted(names.names, key=lambda name: (-name.round, -name.weight))
    assert found[:300] == [name.text for name in newest]
    assert found[300:600] == [possessive(name.text) for name in newest]
    assert found[600:900] == [name.spellings[0] for name in newest]
    assert expected(models[0]) == ()


def test_what_finds_no_room_is_the_least_wanted_and_counted(models: tuple[LanguageModel, LanguageModel]) -> None:
    lm = NamesModel(*models, learned(600))
    decoder = Decoder(Tokens.characters(), DecoderConfig(), 0.04, lm)
    assert decoder.left_out == (0, 600 * (SPELLINGS + 2) - MAX_PHRASES)
    given = [(f"g{word(n)}", 1.0) for n in range(4_500)]
    hints = decoder.hints(given)
    assert (hints.names_left_out, hints.spellings_left_out) == (100, 600 * (SPELLINGS + 1))
    assert (hints.phrases, hints.unused) == (MAX_PHRASES, ())
