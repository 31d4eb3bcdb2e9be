"""Which utterances a run learns from."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.corpus import AudioReader, Utterance
from asr.errors import ConfigError
from asr.train.batches import Item
from asr.train.subset import mix, take_hours


def items(count: int, corpora: int = 2, speakers: int = 5, seed: int = 0) -> list[Item]:
    rng = np.random.default_rng(seed)
    reader = AudioReader(Path())
    return [
        Item(
            reader,
            Utterance(
                f"{i}.wav",
                float(rng.uniform(1, 15)),
                "a",
                corpus=f"c{i % corpora}",
                speaker=f"s{rng.integers(speakers)}" if i % corpora else "",
            ),
            (1,),
        )
        for i in range(count)
    ]


def hours(some: list[Item]) -> float:
    return sum(item.utterance.duration for item in some) / 3600


@given(st.integers(1, 200), st.floats(0.001, 0.5), st.integers(0, 5))
def test_a_subset_keeps_to_its_hours_and_lies_within_a_larger_one(count, wanted, seed) -> None:
    whole = items(count)
    small, large = take_hours(whole, wanted, seed), take_hours(whole, 2 * wanted, seed)
    assert small == take_hours(whole, wanted, seed)
    assert {id(one) for one in small} <= {id(one) for one in large} <= {id(one) for one in whole}
    assert len(small) == 1 or hours(small) <= wanted
    assert hours(whole) <= wanted or hours(small) > wanted - 15 / 3600
    order = [whole.index(one) for one in small]
    assert order == sorted(order)


def test_every_corpus_and_speaker_keeps_its_proportion() -> None:
    whole = items(4000)
    part = take_hours(whole, hours(whole) / 4, seed=3)

    def held(some: list[Item]) -> dict[tuple[str, str], float]:
        keys = {(one.utterance.corpus, one.utterance.speaker) for one in whole}
        return {key: hours([x for x in some if (x.utterance.corpus, x.utterance.speaker) == key]) for key in keys}

    all_hours, taken = held(whole), held(part)
    for key, value in all_hours.items():
        assert taken[key] == pytest.approx(value / 4, rel=0.1), key


def test_another_seed_takes_others_and_no_hours_take_all() -> None:
    whole = items(100)
    assert take_hours(whole, 0.05, 1) != take_hours(whole, 0.05, 2)
    assert take_hours(whole, 0, 1) == whole


def test_manifests_are_mixed_by_their_shares() -> None:
    real, made = items(900, seed=1), items(300, seed=2)
    mixed = mix([real, made], (0.9, 0.1), 1.0, seed=0)
    share = hours([one for one in mixed if one in made]) / hours(mixed)
    assert share == pytest.approx(0.1, abs=0.01)
    assert hours(mixed) == pytest.approx(1.0, abs=0.01)
    # Without a number of hours, as much as there is of the scarcer one.
    most = mix([real, made], (0.5, 0.5), 0, seed=0)
    assert hours(most) == pytest.approx(2 * hours(made), rel=0.02)
    assert mix([real, made], (), 0, seed=0) == real + made
    assert mix([real, made], (1.0, 0.0), 0, seed=0) == real


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.6), (1.5, -0.5)])
def test_shares_that_make_no_whole_are_refused(shares) -> None:
    with pytest.raises(ConfigError, match=r"data\.shares"):
        mix([items(3), items(3)], shares, 0, seed=0)


def test_more_hours_than_there_are_at_these_shares_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"at most 0\.\d"):
        mix([items(100), items(10)], (0.5, 0.5), 1.0, seed=0)
