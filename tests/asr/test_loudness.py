"""Loudness against signals whose background and speech are known, and glimpses that follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features import FeatureStream, log_mel
from asr.loudness import Loudness

RATE_HZ = 16_000


def noise(seconds: float, level_db: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).normal(0.0, 10 ** (level_db / 20), int(seconds * RATE_HZ))
    return samples.astype(np.float32)


def after(samples: np.ndarray) -> Loudness:
    loudness = Loudness()
    loudness.accept(log_mel(samples))
    return loudness


def test_as_long_as_nothing_is_known_anything_may_be_said() -> None:
    assert Loudness().stands_out(20)
    assert after(noise(0.2, -60)).stands_out(20)


@pytest.mark.parametrize("background_db", [-70, -55, -40, -20])
def test_steady_background_does_not_stand_out_and_what_is_louder_does(background_db: float) -> None:
    background = noise(2.0, background_db)
    assert not after(background).stands_out(20)
    burst = np.concatenate([background, noise(0.2, background_db + 8, seed=1)])
    assert after(burst).stands_out(20)
    over = np.concatenate([burst, noise(0.4, background_db, seed=2)])
    assert not after(over).stands_out(20)
    assert after(over).stands_out(60)


def test_a_background_that_rises_is_known_after_three_seconds() -> None:
    louder = np.concatenate([noise(3.0, -60), noise(4.0, -40, seed=1)])
    assert after(louder[: 4 * RATE_HZ]).stands_out(20)
    assert not after(louder).stands_out(20)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 40_000), max_size=6))
def test_packets_change_nothing(cuts: list[int]) -> None:
    samples = np.concatenate([noise(1.5, -60), noise(0.5, -45, seed=1), noise(0.5, -60, seed=2)])
    stream, loudness = FeatureStream(), Loudness()
    for piece in np.split(samples, sorted(cut for cut in cuts if cut < len(samples))):
        loudness.accept(stream.accept(piece))
    loudness.accept(stream.finish())
    whole = after(samples)
    assert [loudness.stands_out(frames) for frames in (10, 20, 60)] == [whole.stands_out(f) for f in (10, 20, 60)]
