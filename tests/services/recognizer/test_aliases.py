"""Names in place of their other spellings."""

from __future__ import annotations

import pytest

from asr.decode.types import Hypothesis, Word
from services.recognizer.aliases import Aliases

ALIASES = Aliases(
    {
        ("shivawn", "quill"): ("siobhan", "quill"),
        ("shivawn",): ("siobhan",),
        ("marloquantric",): ("marlow", "quendrick"),
        ("tav", "ya", "brun"): ("tavia",),
    }
)


def said(text: str, confidence: float = 0.5) -> Hypothesis:
    words = [Word(word, number, number + 1.0, 0.9 - number / 10) for number, word in enumerate(text.split())]
    return Hypothesis(text, tuple(words), confidence, -1.0)


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("call shivawn quill please", "call siobhan quill please"),
        ("shivawn", "siobhan"),
        ("call shivawn quill's office", "call siobhan quill's office"),
        ("call marloquantric and shivawn", "call marlow quendrick and siobhan"),
        ("tav ya brun tav ya", "tavia tav ya"),
        ("", ""),
        ("nobody", "nobody"),
    ],
)
def test_names_are_written_leftmost_longest(heard: str, written: str) -> None:
    found = ALIASES.apply(said(heard))
    assert found.text == written == " ".join(word.word for word in found.words)
    assert found.confidence == 0.5


def test_words_share_the_time_and_the_least_confidence() -> None:
    found = ALIASES.apply(said("go marloquantric tav ya brun"))
    assert [(word.word, word.start_s, word.end_s) for word in found.words] == [
        ("go", 0.0, 1.0), ("marlow", 1.0, 1.5), ("quendrick", 1.5, 2.0), ("tavia", 2.0, 5.0),
    ]  # fmt: skip
    assert [word.confidence for word in found.words] == pytest.approx([0.9, 0.8, 0.8, 0.5])


def test_a_text_stays_once_in_an_nbest_list() -> None:
    found = ALIASES.apply_all([said("shivawn", 0.6), said("siobhan", 0.3), said("shove on", 0.1)])
    assert [(each.text, each.confidence) for each in found] == [("siobhan", 0.6), ("shove on", 0.1)]


def test_without_spellings_nothing_changes() -> None:
    heard = said("shivawn")
    assert not Aliases()
    assert Aliases().apply(heard) is heard
