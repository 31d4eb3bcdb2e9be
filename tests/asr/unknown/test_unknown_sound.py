"""Spellings of the same sound meet, and distances behave as distances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.unknown import pronounce, sound_distance
from asr.unknown.phones import COSTS, GAP, PHONES, distances, encode, pack, phone_distance

phones = st.text(alphabet=PHONES, max_size=8)
spelled = st.text(alphabet="abcdefghijklmnopqrstuvwxyz' ", max_size=12)


@pytest.mark.parametrize(
    ("one", "other"),
    [("kunis", "coonis"), ("philips", "filips"), ("knight", "nite"), ("Müller", "muller"), ("o'brien", "obrien")],
)
def test_the_same_sound_is_at_distance_0(one: str, other: str) -> None:
    assert sound_distance(one, other) == 0


def test_what_sounds_alike_is_nearer_than_what_does_not() -> None:
    said = "vacily curicof"
    others = ["vitali klitschko", "michael carrick", "nadia calvino", "valerie caruso", "paul simon"]
    assert all(sound_distance(said, "vasily chuikov") < sound_distance(said, other) for other in others)
    assert sound_distance("bruce dickinson", "brus dicanson") < 0.15 < sound_distance("bruce dickinson", "mila kunis")


def test_readings_are_strings_of_known_phones() -> None:
    assert pronounce("knight") == ("naɪt", "kniɡt")
    assert pronounce("Jung") == ("ʤʌŋ", "huŋ")
    assert pronounce("1984 ?") == ("",)
    for name in ("Tchaikovsky", "Schwarzenegger", "Beyoncé", "Zlatan Ibrahimović", "Nguyễn Văn", "Łukasz"):
        assert all(set(reading) <= set(PHONES) and reading for reading in pronounce(name))


@given(spelled)
def test_any_text_has_readings_in_known_phones(text: str) -> None:
    assert all(set(reading) <= set(PHONES) for reading in pronounce(text))
    assert sound_distance(text, text) == 0


@given(spelled, spelled)
def test_spellings_are_as_far_one_way_as_the_other(one: str, other: str) -> None:
    assert sound_distance(one, other) == pytest.approx(sound_distance(other, one), abs=1e-6)
    assert 0 <= sound_distance(one, other) <= 1


@given(phones, phones, phones)
def test_phones_are_a_metric_space(a: str, b: str, c: str) -> None:
    assert (phone_distance(a, b) == 0) == (a == b)
    assert phone_distance(a, b) == pytest.approx(phone_distance(b, a), abs=1e-6)
    assert phone_distance(a, c) <= phone_distance(a, b) + phone_distance(b, c) + 1e-6


def test_costs_are_a_metric() -> None:
    assert (COSTS == COSTS.T).all()
    assert (COSTS[~np.eye(GAP + 1, dtype=bool)] > 0).all()
    for by in range(GAP + 1):
        assert (COSTS[:, by, None] + COSTS[None, by, :] + 1e-6 >= COSTS).all()


def alignments(one: str, other: str) -> list[float]:
    """The cost of every alignment of two short strings, by exhaustive search."""
    if not one and not other:
        return [0.0]
    found = []
    if one:
        found += [float(COSTS[PHONES.index(one[0]), GAP]) + rest for rest in alignments(one[1:], other)]
    if other:
        found += [float(COSTS[PHONES.index(other[0]), GAP]) + rest for rest in alignments(one, other[1:])]
    if one and other:
        substitution = float(COSTS[PHONES.index(one[0]), PHONES.index(other[0])])
        found += [substitution + rest for rest in alignments(one[1:], other[1:])]
    return found


@settings(max_examples=40)
@given(st.text(alphabet=PHONES, max_size=4), st.text(alphabet=PHONES, max_size=4))
def test_distance_is_that_of_the_best_of_all_alignments(one: str, other: str) -> None:
    cost = min(alignments(one, other))
    both = sum(float(COSTS[PHONES.index(phone), GAP]) for phone in one + other)
    expected = 2 * cost / (both + cost) if both else 0.0
    assert phone_distance(one, other) == pytest.approx(expected, abs=1e-5)


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    strings = ["", "kunɪs", "naɪt", "milə"]
    packed, ends = pack(strings)
    chosen = np.array([3, 1, 0, 2])
    for query in strings:
        found = distances(encode(query), packed, ends, chosen, COSTS)
        assert found.tolist() == [pytest.approx(phone_distance(query, strings[place])) for place in chosen]
    assert all(phone_distance(a, b) > 0 for a, b in itertools.combinations(strings, 2))
