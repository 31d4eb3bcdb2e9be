"""Words that stand for a learned name: to the letter, and nearly, against the formula written out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asr.decode import LanguageModel
from asr.decode.learned import CLASS_MODEL, LearnedName, LearnedNames
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.names import CLASS, NamesModel
from asr.decode.near import ALONE, EDIT_NATS, MOST_EDITS, WHOLE, WORDS_MORE, Anywhere, Respeller, Way
from asr.decode.respell import Span

TEXT = [
    "call my mother at home",
    "who is any good at it",
    "play some jazz for my mother",
    "will it rain at home",
    "is it any good",
    "call it a day",
]
FILLING = [f"play q{''.join(letters)}" for letters in itertools.product("abcdefghij", repeat=3)]
"""So many words that another one is as unlikely as it is for a language model of some size."""
QUERIES = [f"call {CLASS}", f"call {CLASS} at home", f"who is {CLASS}", "play some jazz", "will it rain", CLASS]
KNOWN = sorted({word for text in TEXT for word in text.split()})
CHANCE = 0.05

WRITTEN = {
    ("unai", "emery"): Way("unai emery", 0.3),
    ("unai", "emery's"): Way("unai emery's", 0.05),
    ("zendaya",): Way("zendaya", 0.3),
    ("zendaya's",): Way("zendaya's", 0.05),
}
SPELLINGS = {
    ("any", "emmery"): Way("unai emery", 0.1),
    ("zen", "day"): Way("zendaya", 0.1),
    ("at", "a", "day"): Way("zendaya", 0.1),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    path = tmp_path_factory.mktemp("near") / "base.arpa"
    write_arpa(estimate([*TEXT * 20, *FILLING], order=3), path)
    return LanguageModel.load(path)


def written(base: LanguageModel, text: str) -> str:
    """The text with every span as the name it stands for."""
    said = text.split()
    for start, end, name in reversed(Respeller(WRITTEN, SPELLINGS).spans(said, Anywhere(base, CHANCE))):
        said[start:end] = name.split()
    return " ".join(said)


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("call any emmery at home", "call unai emery at home"),  # a spelling to the letter
        ("call zen day", "call zendaya"),
        ("call at a day", "call zendaya"),  # also of known words, where they are less likely by themselves
        ("call it a day", "call it a day"),
        ("zen day and any emmery", "zendaya and unai emery"),
    ],
)
def test_a_spelling_to_the_letter_is_written_as_the_name(base: LanguageModel, heard: str, expected: str) -> None:
    assert written(base, heard) == expected


def test_a_spelling_that_is_likelier_what_it_says_stays(base: LanguageModel) -> None:
    respeller = Respeller({}, {("my", "mother"): Way("mimi other", 0.5)})
    assert respeller.spans(["call", "my", "mother"], Anywhere(base, CHANCE)) == []
    assert respeller.spans(["rain", "my", "mother"], Anywhere(base, CHANCE)) == [(1, 3, "mimi other")]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("call unay emery", "call unai emery"),
        ("call una yemery at home", "call unai emery at home"),  # blanks cost nothing
        ("who is uni amery", "who is unai emery"),
        ("call any emery at home", "call unai emery at home"),  # near a spelling: with it counts the name behind it
        ("call sendaya", "call zendaya"),
        ("call zen dya", "call zendaya"),
        ("call xendoyo", "call xendoyo"),  # three letters of seven are too many
        ("call unai", "call unai"),
        ("unay emery's mother", "unai emery's mother"),
    ],
)
def test_what_is_nearly_a_name_is_written_as_the_name(base: LanguageModel, heard: str, expected: str) -> None:
    assert written(base, heard) == expected


@pytest.mark.parametrize(
    "text",
    [
        "call unai emery",
        "unai emery",
        "call unai emery at home",
        "is unai emery any good",
        "play unai emery's jazz",
        "a zendaya a day",
        "zendaya's mother",
        "zendaya zendaya unai emery zendaya's",
        "zendaya a",
    ],
)
def test_a_name_as_it_is_written_stays_with_the_words_beside_it(base: LanguageModel, text: str) -> None:
    assert written(base, text) == text


@given(
    before=st.lists(st.sampled_from(KNOWN), max_size=3),
    name=st.sampled_from([*map(" ".join, WRITTEN)]),
    behind=st.lists(st.sampled_from(KNOWN), max_size=3),
)
def test_no_word_beside_a_written_name_is_ever_swallowed(
    base: LanguageModel, before: list[str], name: str, behind: list[str]
) -> None:
    said = [*before, *name.split(), *behind]
    first, last = len(before), len(said) - len(behind)
    for start, end, _ in Respeller(WRITTEN, SPELLINGS).spans(said, Anywhere(base, CHANCE)):
        assert end <= first or start >= last
        assert tuple(said[start:end]) in SPELLINGS  # known words are only ever a spelling to the letter


words = st.sampled_from([*KNOWN, "unai", "emery", "any", "emmery", "zen", "day", "unay", "zendaya", "sendaya", "qqq"])


@given(said=st.lists(words, max_size=8))
def test_spans_are_in_order_in_range_and_apart(base: LanguageModel, said: list[str]) -> None:
    spans = Respeller(WRITTEN, SPELLINGS).spans(said, Anywhere(base, CHANCE))
    assert all(0 <= start < end <= len(said) for start, end, _ in spans)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    assert {name for _, _, name in spans} <= {way.name for way in (*WRITTEN.values(), *SPELLINGS.values())}
    for start, end, _ in spans:
        odd = any(word not in base for word in said[start:end])
        assert odd or tuple(said[start:end]) in SPELLINGS
        assert tuple(said[start:end]) not in WRITTEN


@given(said=st.lists(st.sampled_from(sorted({*KNOWN} - {"any", "at"})), max_size=8))
def test_known_words_without_a_spelling_are_not_even_looked_at(said: list[str]) -> None:
    class Untouched(Anywhere):
        """Knows words, and refuses to be asked how likely they are."""

        def __init__(self) -> None:
            pass

        def is_ordinary(self, word: str) -> bool:
            return word in KNOWN

    assert Respeller(WRITTEN, SPELLINGS).spans(said, Untouched()) == []


def test_a_new_word_of_a_name_may_stand_for_it_alone(base: LanguageModel) -> None:
    """Though it is near the name, and with a known word beside it the likelier for how unlikely that is."""
    respeller = Respeller({("kai", "siegbahn"): Way("kai siegbahn", 0.4)}, {})
    for text in ("call siegbahn", "siegbahn", "who is siegbahn", "is siegbahn at home"):
        assert respeller.spans(text.split(), Anywhere(base, CHANCE)) == []
    for text in ("call kay siegbahn", "call kaj siegban", "call kaisieg bahn", "call kai siegbaan"):
        assert respeller.spans(text.split(), Anywhere(base, CHANCE)) == [(1, 3, "kai siegbahn")]


def test_known_words_are_meant_as_they_are(base: LanguageModel) -> None:
    respeller = Respeller({("any", "god"): Way("any god", 0.5)}, {})
    assert respeller.spans(["rain", "any", "good", "day"], Anywhere(base, CHANCE)) == []
    assert respeller.spans(["rain", "anny", "good", "day"], Anywhere(base, CHANCE)) == []  # two letters of six
    assert respeller.spans(["rain", "any", "ggod", "day"], Anywhere(base, CHANCE)) == [(1, 3, "any god")]


def levenshtein(one: str, two: str) -> int:
    """By the table of Wagner and Fischer (1974), row by row."""
    row = list(range(len(two) + 1))
    for done, letter in enumerate(one, start=1):
        above, row[0] = row[0], done
        for place, other in enumerate(two, start=1):
            above, row[place] = row[place], min(above + (letter != other), row[place] + 1, row[place - 1] + 1)
    return row[-1]


def by_formula(
    lm: LanguageModel, said: Sequence[str], ways: Sequence[tuple[str, Way]], chance: float
) -> tuple[float, Span] | None:
    """Of all runs with an unknown word the one that gains most, as the module's description has it."""
    longest = max(len(text.split()) for text, _ in ways) + WORDS_MORE
    best: tuple[float, Span] | None = None
    for start in range(len(said)):
        for end in range(start + 1, min(len(said), start + longest) + 1):
            run = said[start:end]
            if all(word in lm for word in run):
                continue
            state = lm.start()
            for word in said[:start]:
                state = lm.score(state, word)[1]
            ordinary = 0.0
            for word in run:
                gained, state = lm.score(state, word)
                ordinary += gained
            for text, way in ways:
                letters = text.replace(" ", "")
                edits = levenshtein("".join(run), letters)
                gain = math.log(chance * way.share) - EDIT_NATS * edits - ordinary
                if edits <= MOST_EDITS * len(letters) and gain > 0 and (best is None or gain > best[0] + 1e-9):
                    best = gain, (start, end, way.name)
            # One word may stand for the name: in ALONE of its uses, as it is written in WHOLE of them.
            share = sum(way.share for text, way in ways if text == way.name and " ".join(run) in text.split())
            gain = math.log(chance * share * ALONE / WHOLE) - ordinary if share else 0.0
            if gain > 0 and (best is None or gain > best[0] + 1e-9):
                best = gain, (start, end, " ".join(run))
    return best


edit = st.tuples(st.sampled_from(["put", "drop", "change"]), st.integers(0, 20), st.sampled_from("aeimuy"))


def misheard(text: str, edits: Sequence[tuple[str, int, str]], blanks: Sequence[int]) -> list[str]:
    """The letters of a text with some amiss, in other words."""
    letters = text.replace(" ", "")
    for kind, where, letter in edits:
        place = where % (len(letters) + (kind == "put"))
        letters = letters[:place] + (letter if kind != "drop" else "") + letters[place + (kind != "put") :]
    parts = itertools.pairwise([0, *sorted(blanks), len(letters)])
    return [letters[start:end] for start, end in parts if letters[start:end]]


@given(
    before=st.lists(st.sampled_from(KNOWN), max_size=3),
    of=st.sampled_from(["unai emery", "emery", "call emery", "any emmery", "call unai emery", "unai emery a"]),
    edits=st.lists(edit, max_size=4),
    blanks=st.lists(st.integers(0, 10), max_size=4),
    behind=st.lists(st.sampled_from(KNOWN), max_size=3),
    chance=st.floats(-7.0, -1.0).map(math.exp),
)
@settings(max_examples=150)
def test_the_best_run_is_that_of_the_formula(
    base: LanguageModel,
    before: list[str],
    of: str,
    edits: list[tuple[str, int, str]],
    blanks: list[int],
    behind: list[str],
    chance: float,
) -> None:
    one = {words: way for words, way in WRITTEN.items() if words == ("unai", "emery")}
    other = {words: way for words, way in SPELLINGS.items() if words == ("any", "emmery")}
    said = [*before, *misheard(of, edits, blanks), *behind]
    text = f" {' '.join(said)} "
    assume(not any(f" {' '.join(words)} " in text for words in {**one, **other}))
    best = by_formula(base, said, [(" ".join(words), way) for words, way in {**one, **other}.items()], chance)
    found = Respeller(one, other).spans(said, Anywhere(base, chance))
    if best is None:
        assert found == []
        return
    _, (start, end, name) = best
    if name == " ".join(said[start:end]):  # it stays, and is part of nothing else
        assert all(last <= start or first >= end for first, last, _ in found)
    else:
        assert best[1] in found


def test_learned_names_are_written_where_they_are_nearly_heard(base: LanguageModel, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("class") / CLASS_MODEL
    write_arpa(estimate(QUERIES, order=3), path)
    learned = LearnedNames(
        (LearnedName("unai emery", 1, 1, ("any emmery",)), LearnedName("zendaya", 1, 1, ("zen day",))), 3.0
    )
    model = NamesModel(base, LanguageModel.load(path), learned)
    for heard, expected in (
        ("call unay emery at home", [(1, 3, "unai emery")]),
        ("call any emmery", [(1, 3, "unai emery")]),
        ("call any emry", [(1, 3, "unai emery")]),
        ("who is sendaya", [(2, 3, "zendaya")]),
        ("who is unai emery", []),
        ("who is any good", []),
        ("zendaya's mother", []),
        ("", []),
    ):
        assert model.spans(heard.split()) == expected, heard
