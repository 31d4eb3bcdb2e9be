"""Measurements of noise against signals whose spectrum, level and modulation are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.augment import loops, measure

RATE_HZ = 16_000
LENGTH = 6 * RATE_HZ


def coloured(slope_db, seed=0):
    return loops.coloured(
        np.random.default_rng(seed), LENGTH, lambda hz: slope_db * np.log2(np.maximum(hz, 20.0) / 1000.0)
    ) * np.float32(0.05)


@pytest.mark.parametrize("slope_db", [0.0, -5.0, -10.0])
def test_the_tilt_of_coloured_noise_is_its_slope(slope_db):
    bands = measure.third_octaves_db(coloured(slope_db))
    assert measure.tilt_db_per_octave(bands, 100.0, 6000.0) == pytest.approx(slope_db, abs=0.3)


def test_a_weighting_has_the_values_of_the_standard():
    # IEC 61672-1, table of the A curve at exact frequencies.
    for hz, db in ((31.62, -39.4), (100.0, -19.1), (501.19, -3.2), (1000.0, 0.0), (1995.3, 1.2), (6309.6, -0.1)):
        assert measure.a_weighting_db(np.array([hz]))[0] == pytest.approx(db, abs=0.06)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.floats(200.0, 4000.0), st.floats(-60.0, -3.0))
def test_a_tone_has_its_level_and_its_weighted_level(frequency_hz, level_db):
    amplitude = np.sqrt(2.0) * 10.0 ** (level_db / 20.0)
    tone = (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    assert measure.level_db(tone) == pytest.approx(level_db, abs=0.05)
    expected = level_db + measure.a_weighting_db(np.array([frequency_hz]))[0]
    assert measure.level_db(tone, a_weighted=True) == pytest.approx(expected, abs=0.1)


def test_energy_below_a_frequency_is_parsevals():
    noise = coloured(-3.0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    expected = power[np.fft.rfftfreq(LENGTH, 1 / RATE_HZ) < 500.0].sum() / power.sum()
    assert measure.energy_below(noise, 500.0) == pytest.approx(expected, abs=0.02)


def test_short_time_levels_of_steady_noise_are_steady_and_of_swelling_noise_are_not():
    noise = coloured(-5.0)
    swelling = (
        noise * np.float32(1.0) * (1.0 + 0.9 * np.sin(2 * np.pi * np.arange(LENGTH) / RATE_HZ)).astype(np.float32)
    )
    steady, moving = (measure.short_time_levels_db(sound)[1:].std() for sound in (noise, swelling))
    assert steady < 1.5 < 4.0 < moving


def test_a_surrogate_keeps_the_spectrum_and_loses_the_modulation():
    swelling = coloured(-5.0) * (1.0 + 0.9 * np.sin(2 * np.pi * 2.0 * np.arange(LENGTH) / RATE_HZ)).astype(np.float32)
    steady = measure.surrogate(swelling, np.random.default_rng(1))
    np.testing.assert_allclose(np.abs(np.fft.rfft(steady)), np.abs(np.fft.rfft(swelling)), atol=1e-2)
    before, after = (measure.modulation_db(sound, [2.0])[0] for sound in (swelling, steady))
    assert before - after > 6.0


@pytest.mark.parametrize("index", [0.2, 1.0])
def test_the_depth_of_a_sinusoidal_intensity_is_its_index(index):
    time_s = np.arange(8 * RATE_HZ) / RATE_HZ
    intensity = 1.0 + index * np.sin(2 * np.pi * 4.0 * time_s)
    tone = (0.1 * np.sqrt(intensity) * np.sin(2 * np.pi * 1000.0 * time_s)).astype(np.float32)
    assert measure.modulation_db(tone, [4.0])[0] == pytest.approx(20 * np.log10(index), abs=0.2)


def test_orders_have_the_levels_of_their_tones():
    time_s = np.arange(LENGTH) / RATE_HZ
    tones = 0.1 * np.sin(2 * np.pi * 80.0 * time_s) + 0.01 * np.sin(2 * np.pi * 120.0 * time_s)
    levels = measure.order_levels_db(tones.astype(np.float32), 2400.0, [1.0, 2.0, 3.0])
    assert levels[1:] == pytest.approx([-23.0, -43.0], abs=0.2)
    assert levels[0] < -80.0
