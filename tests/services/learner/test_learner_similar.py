"""The index by sound and the best spelling, against exhaustive search."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from asr.unknown.sound import sound_distance
from services.learner.similar import SoundIndex
from services.learner.spelling import consensus, edit_distance, edit_path

LETTERS = "abekloschvz"
words = st.text(LETTERS, min_size=1, max_size=9)


@given(st.dictionaries(st.sampled_from("pqrstu"), st.lists(words, max_size=4), max_size=6), words, st.floats(0, 0.9))
def test_the_index_finds_what_comparing_with_all_finds(
    spellings: dict[str, list[str]], wanted: str, limit: float
) -> None:
    index = SoundIndex()
    for key, texts in spellings.items():
        index.set(key, ["other", "things"])
        index.set(key, texts)
    expected = {}
    for key, texts in spellings.items():
        apart = min((sound_distance(wanted, text) for text in texts), default=1.0)
        if apart <= limit:
            expected[key] = round(apart, 5)
    found = index.near(wanted, limit)
    assert {key: round(apart, 5) for apart, key, _ in found} == expected
    assert found == sorted(found)


def test_the_index_stays_right_when_it_grows_and_forgets() -> None:
    index = SoundIndex()
    texts = ["".join(letters) for letters in itertools.product("kpm", "aeiou", "lst", "aeiou", "nrz")]
    for round_ in range(4):
        for number, text in enumerate(texts):
            index.set(f"n{number}", [text + "ov" * round_])
    assert len(index) == len(texts)
    assert [text for _, _, text in index.near("kalan" + "ovovov", 0.0)] == ["kalanovovov"]
    index.set("n0", [])
    assert len(index) == len(texts) - 1
    assert not index.near("kalanovovov", 0.0)


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_an_alignment_is_an_alignment_of_least_cost(one: str, other: str) -> None:
    path = edit_path(one, other)
    assert "".join(one[i] for i, _ in path if i is not None) == one
    assert "".join(other[j] for _, j in path if j is not None) == other
    cost = sum(i is None or j is None or one[i] != other[j] for i, j in path)
    assert cost == edit_distance(one, other) <= max(len(one), len(other))


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=5), st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=6
    )
)
def test_the_consensus_is_no_worse_than_any_spelling_and_knows_no_order(given_: list[tuple[str, float]]) -> None:
    def cost(text: str) -> float:
        return sum(weight * edit_distance(text, other) for other, weight in given_)

    found = consensus(given_)
    assert found == consensus(given_[::-1])
    assert cost(found) <= min(cost(text) for text, _ in given_) + 1e-6


def test_letters_are_put_together_that_no_spelling_has_together() -> None:
    heard = [("kovalchek", 1.0), ("kowalchik", 1.0), ("kovalchick", 1.0), ("covalchik", 1.0)]
    assert consensus(heard) == "kovalchik"
