import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.corpus.manifest import Utterance
from asr.errors import InputError
from asr.evaluate.held_out import HeldOutWord, changes, choose, figures, score
from asr.evaluate.names import Names
from asr.evaluate.statistics import Resampling

SPOKEN = ["call hilda now", "hilda's mosaic", "hilda met yulka", "yulka saw a mosaic", "a mosaic udder", "udder udder"]
WORDS = [HeldOutWord("hilda", 3, True, False, 0), HeldOutWord("mosaic", 3, False, True, 2)]


def test_names_come_first_then_unknown_and_then_rare_words() -> None:
    found = choose(
        [*SPOKEN, "em em dis dis call now now"],
        taught=["the dis's end"],
        texts=["an udder", "a mosaic", "the mosaic's udder", "two udders", "an udder now", "now now"],
        lexicon={"mosaic", "udder", "now", "call"},
        names=Names.of(["Hilda", "Yulka"]),
        count=6,
    )
    assert [row.word for row in found] == ["hilda", "yulka", "call", "mosaic", "now", "udder"]
    assert found[0] == HeldOutWord("hilda", 2, True, False, 0)  # "hilda's" is another word
    assert found[4] == HeldOutWord("now", 3, False, True, 2)
    assert [row.sentences for row in found] == [0, 0, 0, 2, 2, 3]


def test_words_that_were_taught_are_none_and_too_few_are_refused() -> None:
    options = {"texts": [], "lexicon": (), "names": Names.of([])}
    assert [w.word for w in choose(SPOKEN, taught=["hilda's udder"], count=2, **options)] == ["mosaic", "yulka"]
    with pytest.raises(InputError, match="only 2"):
        choose(SPOKEN, taught=["hilda's udder"], count=3, **options)


def test_words_are_counted_apart_from_what_is_beside_and_elsewhere() -> None:
    words = {"hilda", "mosaic"}
    said = ["call hilda now", "call hilda now", "the mosaic", "call me now", "a mosaic of hilda"]
    heard = ["call hilda now", "call hill da how", "the mosaic hilda", "hilda me", "mosaic of old hilda"]
    found = score(said, heard, words)
    assert found.said.tolist() == [1, 1, 1, 0, 2]
    assert found.right.tolist() == [1, 0, 1, 0, 2]
    assert found.beside.tolist() == [2, 2, 1, 0, 2]
    assert found.beside_errors.tolist() == [0, 1, 1, 0, 2]  # "da" belongs to the name that was missed
    assert (found.elsewhere.sum(), found.elsewhere_errors.sum()) == (3, 2)
    assert found.false_alarms.tolist() == [0, 0, 1, 1, 0]
    assert found.by_word == {"hilda": (2, 3), "mosaic": (2, 2)}
    assert found.alarms == {"hilda": 2}


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.sets(st.sampled_from("abcd")))
def test_every_word_and_every_error_is_counted_once(pairs, words) -> None:
    said, heard = [list(column) for column in zip(*pairs, strict=True)]
    found = score(said, heard, words)
    total = jiwer.process_words(said, heard)
    assert found.said.sum() + found.beside.sum() + found.elsewhere.sum() == sum(len(text.split()) for text in said)
    errors = (found.said - found.right).sum() + found.beside_errors.sum() + found.elsewhere_errors.sum()
    assert errors <= total.substitutions + total.deletions + total.insertions
    assert errors >= total.substitutions + total.deletions
    if not words:
        assert found.elsewhere_errors.sum() == total.substitutions + total.deletions + total.insertions
    assert sum(right for right, _ in found.by_word.values()) == found.right.sum()


def test_figures_by_kind_and_changes_on_the_same_utterances() -> None:
    said = ["call hilda", "see hilda", "a mosaic", "go home", "the mosaic of hilda"] * 3
    before = ["call ilda", "see hilda", "a mosaic", "go home", "the music of elder"] * 3
    after = ["call hilda", "see hilda", "a mosaic", "go hilda", "the mosaic of hilda"] * 3
    utterances = [Utterance(f"{i}.wav", 1.0, text, id=str(i)) for i, text in enumerate(said)]
    words = {row.word for row in WORDS}
    first = score(said, before, words)
    shown = figures(first, WORDS, Resampling(seed=1))
    assert shown["recall"]["all"]["recall"] == pytest.approx(6 / 15)
    assert (shown["recall"]["names"]["right"], shown["recall"]["names"]["spoken"]) == (3, 9)
    assert shown["recall"]["in the shipped lexicon"]["recall"] == pytest.approx(3 / 6)
    assert shown["recall"]["names"]["interval"] is None  # one word has no spread
    low, high = shown["recall"]["all"]["interval"]
    assert low <= 6 / 15 <= high
    assert shown["wer_elsewhere"] == {"words": 6, "errors": 0, "wer": 0.0}

    change = changes(first, score(said, after, words), utterances, Resampling(seed=1))
    assert change["recall"] == pytest.approx(9 / 15)
    assert change["recall_interval"][0] > 0
    assert change["wer_elsewhere"] == pytest.approx(3 / 6)
    assert change["wer_beside"] == 0.0
    assert (change["false_alarms"], change["unit"]) == (3, "utterance")
