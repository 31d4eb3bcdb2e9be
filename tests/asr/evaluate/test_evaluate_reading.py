"""The spelling-aware alignment against every alignment there is, listed one by one with costs computed here."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.evaluate.reading import read_alignment, spelling_distance

WORDS = st.lists(st.sampled_from(["tay", "lor", "taylor", "taylors", "swift", "wift", "a", "the"]), max_size=4)


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
    return row[-1]


def cost(spoken, heard):
    """The table of the module's docstring, written again."""
    if not spoken or not heard:
        return 1.0 if len(spoken) + len(heard) == 1 else float("inf")
    if spoken == heard and len(spoken) == 1:
        return 0.0
    a, b = "".join(spoken), "".join(heard)
    d = levenshtein(a, b) / max(len(a), len(b))
    if len(spoken) == len(heard) == 1:
        return 0.5 + d
    longest = max(len(spoken), len(heard))
    if longest > 3 or d > 0.35 or spoken[0] == heard[0] or spoken[-1] == heard[-1]:
        return float("inf")
    return 0.25 + (0.5 + d) * longest


def cheapest(spoken, heard):
    """Least cost over all alignments, by trying every first step and all that may follow it."""
    if not spoken and not heard:
        return 0.0
    return min(
        cost(spoken[:m], heard[:n]) + cheapest(spoken[m:], heard[n:])
        for m in range(min(3, len(spoken)) + 1)
        for n in range(min(3, len(heard)) + 1)
        if m + n
    )


@given(WORDS, WORDS)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_the_alignment_is_the_cheapest_of_all_and_spells_both_sides(spoken, heard):
    steps = read_alignment(" ".join(spoken), " ".join(heard))
    assert " ".join(step.reference for step in steps if step.reference).split() == spoken
    assert " ".join(step.hypothesis for step in steps if step.hypothesis).split() == heard
    total = sum(cost(step.reference.split(), step.hypothesis.split()) for step in steps)
    assert total == pytest.approx(cheapest(spoken, heard))


@given(st.text("abc'", max_size=8), st.text("abc'", max_size=8))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_spelling_distance_is_levenshteins(a, b):
    assert spelling_distance(a, b) == pytest.approx(levenshtein(a, b) / max(len(a), len(b), 1))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("play taylor swift", "play tay lor swift", [("split", "taylor", "tay lor")]),
        ("play taylor swift", "play taylors wift", [("shift", "taylor swift", "taylors wift")]),
        ("play taylor swift now", "play tay lor's wift now", [("split", "taylor swift", "tay lor's wift")]),
        ("every one knows", "everyone knows", [("merge", "every one", "everyone")]),
        # Unlike words are not grouped, and words of like spelling find each other.
        ("greeted the englishman", "great it the thing is men", None),
        ("call home", "hall rome", [("substitution", "call", "hall"), ("substitution", "home", "rome")]),
        ("to be", "to be be", [("insertion", "", "be")]),
        ("turn the lights off", "turn lights of", [("deletion", "the", ""), ("substitution", "off", "of")]),
        ("stop", "", [("deletion", "stop", "")]),
        ("new york city", "new york", [("deletion", "city", "")]),
    ],
)
def test_reads_as_a_person_would(reference, hypothesis, errors):
    steps = [(s.kind, s.reference, s.hypothesis) for s in read_alignment(reference, hypothesis) if s.kind != "hit"]
    if errors is None:
        assert ("hit", "the", "the") in [
            (s.kind, s.reference, s.hypothesis) for s in read_alignment(reference, hypothesis)
        ]
    else:
        assert steps == errors


def test_a_hit_is_never_hidden_inside_a_group():
    steps = read_alignment("in to the new house", "into the knew houses")
    assert [step.kind for step in steps] == ["merge", "hit", "substitution", "substitution"]
    assert all(a.kind != "insertion" or b.kind != "deletion" for a, b in pairwise(steps))
