"""Counts and alignments against a small dynamic program written for this test alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.evaluate.align import align

WORDS = st.lists(st.sampled_from(["a", "b", "ab", "call", "it's"]), max_size=9)


def distance(reference, hypothesis):
    """Levenshtein distance, row by row."""
    row = np.arange(len(hypothesis) + 1)
    for i, spoken in enumerate(reference, start=1):
        previous, row = row, np.full(len(hypothesis) + 1, i)
        for j, heard in enumerate(hypothesis, start=1):
            row[j] = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (spoken != heard))
    return int(row[-1])


@given(WORDS.filter(bool), WORDS)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_counts_are_the_edit_distance_and_pairs_spell_both_sides(reference, hypothesis):
    spoken, heard = " ".join(reference), " ".join(hypothesis)
    (alignment,) = align([spoken], [heard])
    assert alignment.words.errors == distance(reference, hypothesis)
    assert alignment.characters.errors == distance(spoken, heard)
    assert alignment.words.length == len(reference)
    assert alignment.characters.length == len(spoken)
    assert [pair[0] for pair in alignment.pairs if pair[0]] == reference
    assert [pair[1] for pair in alignment.pairs if pair[1]] == hypothesis
    kinds = ["hit" if a == b else "sub" if a and b else "del" if a else "ins" for a, b in alignment.pairs]
    counted = (
        alignment.words.hits,
        alignment.words.substitutions,
        alignment.words.deletions,
        alignment.words.insertions,
    )
    assert tuple(map(kinds.count, ("hit", "sub", "del", "ins"))) == counted


def test_each_utterance_is_aligned_with_its_own_hypothesis():
    found = align(["call home", "stop", "play some jazz"], ["call rome", "", "please play some jazz"])
    assert [alignment.words.errors for alignment in found] == [1, 1, 1]
    assert found[0].pairs == (("call", "call"), ("home", "rome"))
    assert found[1].pairs == (("stop", ""),)
    assert found[2].pairs[0] == ("", "please")


@pytest.mark.parametrize("hypothesis", ["", "   "])
def test_nothing_heard_is_all_deletions(hypothesis):
    (alignment,) = align(["turn left"], [hypothesis])
    assert (alignment.words.deletions, alignment.words.errors) == (2, 2)


def test_no_utterances():
    assert align([], []) == []
