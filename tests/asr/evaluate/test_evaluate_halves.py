import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpus import Utterance
from asr.evaluate.halves import halves, take_half

rows = st.lists(
    st.tuples(st.sampled_from(["read", "asked", ""]), st.sampled_from(["", "anna", "ben", "cleo", "dan"])), max_size=40
)


def utterances(drawn):
    return [
        Utterance(f"{index}.wav", 1.0, "a", id=f"u{index}" if index % 2 else "", corpus=corpus, speaker=speaker)
        for index, (corpus, speaker) in enumerate(drawn)
    ]


@given(drawn=rows)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_every_utterance_is_in_exactly_one_half_and_no_speaker_in_both(drawn) -> None:
    items = utterances(drawn)
    tune, report = take_half(items, "tune"), take_half(items, "report")
    assert Counter(tune) + Counter(report) == Counter(items)
    assert take_half(items, None) == items
    elsewhere = {(item.corpus, item.speaker) for item in report}
    for item in tune:
        alone = {other.speaker for other in items if other.corpus == item.corpus} == {item.speaker}
        assert not item.speaker or alone or (item.corpus, item.speaker) not in elsewhere


@given(drawn=rows, seed=st.integers(0, 100))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_the_order_of_the_manifest_plays_no_part(drawn, seed) -> None:
    items = utterances(drawn)
    shuffled = random.Random(seed).sample(items, len(items))
    assert set(take_half(shuffled, "tune")) == set(take_half(items, "tune"))


@given(drawn=rows)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_each_corpus_is_cut_as_evenly_as_its_speakers_allow(drawn) -> None:
    items = utterances(drawn)
    found = halves(items)
    for corpus in {item.corpus for item in items}:
        sizes = Counter(half for item, half in zip(items, found, strict=True) if item.corpus == corpus)
        largest = max(Counter(item.speaker or item.audio_filepath for item in items if item.corpus == corpus).values())
        assert abs(sizes["tune"] - sizes["report"]) <= largest


def test_utterances_of_unknown_speakers_are_spread_by_their_names() -> None:
    items = [Utterance(f"{index}.wav", 1.0, "a", id=str(index)) for index in range(200)]
    found = halves(items)
    assert found.count("tune") == 100
    assert 30 < found[:100].count("tune") < 70  # neither by turns nor in one block
    assert sum(a == b for a, b in itertools.pairwise(found)) > 50


def test_the_utterances_of_a_single_speaker_are_cut_in_two() -> None:
    items = [Utterance(f"{index}.wav", 1.0, "a", speaker="anna") for index in range(9)]
    assert Counter(halves(items)) == {"tune": 5, "report": 4}
