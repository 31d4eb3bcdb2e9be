"""ITU-T P.56 against a plain loop over the standard's pseudo-code, and levels of known signals."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from asr.augment.level import SILENCE_DB, active_speech_level_db, noise_gain, noise_level_db

RATE_HZ = 16_000


def p56_by_the_book(samples, rate_hz=RATE_HZ):
    """Method B, sample by sample and threshold by threshold, with bisection at the end as in the ITU's sv-p56."""
    smoothing = np.exp(-1.0 / (rate_hz * 0.03))
    hangover = int(np.ceil(rate_hz * 0.2))
    thresholds = [2.0 ** (index - 15) for index in range(15)]
    active, hang = [0] * 15, [hangover] * 15
    p = q = energy = 0.0
    for value in samples.astype(np.float64).tolist():
        energy += value * value
        p = smoothing * p + (1.0 - smoothing) * abs(value)
        q = smoothing * q + (1.0 - smoothing) * p
        for index, threshold in enumerate(thresholds):
            if q >= threshold:
                active[index] += 1
                hang[index] = 0
            elif hang[index] < hangover:
                active[index] += 1
                hang[index] += 1
            else:
                break
    levels = [10.0 * np.log10(energy / count) if count else None for count in active]
    edges = [20.0 * np.log10(threshold) for threshold in thresholds]
    for index in range(1, 15):
        if levels[index] is None:
            return None
        if levels[index] - edges[index] <= 15.9:
            low, high = (levels[index - 1], edges[index - 1]), (levels[index], edges[index])
            for _ in range(60):
                middle = ((low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0)
                low, high = (middle, high) if middle[0] - middle[1] > 15.9 else (low, middle)
            return (low[0] + high[0]) / 2.0
    return None


def speech_like(rng, duration_s, level):
    """Noise under a random envelope of bursts and pauses."""
    knots = np.maximum(rng.uniform(-0.6, 1.0, size=max(4, int(duration_s * 4))), 0.0)
    envelope = np.interp(np.linspace(0, len(knots) - 1, int(duration_s * RATE_HZ)), np.arange(len(knots)), knots)
    return (level * envelope * rng.standard_normal(len(envelope))).astype(np.float32)


@settings(derandomize=True, deadline=None, max_examples=12, phases=[Phase.generate])
@given(seed=st.integers(0, 10_000), duration_s=st.floats(0.3, 3.0), level_db=st.floats(-50.0, -6.0))
def test_agrees_with_the_standards_loop(seed, duration_s, level_db):
    samples = speech_like(np.random.default_rng(seed), duration_s, 10.0 ** (level_db / 20.0))
    expected = p56_by_the_book(samples)
    found_db, _ = active_speech_level_db(samples)
    if expected is None:
        assert found_db == SILENCE_DB
    else:
        assert found_db == pytest.approx(expected, abs=1e-6)


def test_leading_digital_silence_changes_nothing_but_the_activity():
    samples = speech_like(np.random.default_rng(3), 2.0, 0.2)
    padded = np.concatenate([np.zeros(3 * RATE_HZ, np.float32), samples])
    level_db, activity = active_speech_level_db(samples)
    padded_db, padded_activity = active_speech_level_db(padded)
    assert padded_db == pytest.approx(level_db, abs=1e-9)
    assert padded_activity == pytest.approx(activity * 2.0 / 5.0)


def test_pauses_do_not_count():
    tone = 0.1 * np.sin(2.0 * np.pi * 1000.0 * np.arange(10 * RATE_HZ) / RATE_HZ)
    bursts = np.concatenate([tone, np.zeros_like(tone)]).astype(np.float32)
    level_db, activity = active_speech_level_db(bursts)
    assert level_db == pytest.approx(20.0 * np.log10(0.1 / np.sqrt(2.0)), abs=0.2)
    assert activity == pytest.approx(0.5, abs=0.02)


def test_a_steady_tone_is_always_active():
    tone = (0.2 * np.sin(2.0 * np.pi * 440.0 * np.arange(5 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    level_db, activity = active_speech_level_db(tone)
    assert level_db == pytest.approx(20.0 * np.log10(0.2 / np.sqrt(2.0)), abs=0.1)
    assert activity == pytest.approx(1.0, abs=0.02)


def test_factor_of_two_moves_the_level_by_six_db():
    samples = speech_like(np.random.default_rng(7), 3.0, 0.2)
    louder_db, activity = active_speech_level_db(samples)
    softer_db, softer_activity = active_speech_level_db(samples / 2)
    assert louder_db - softer_db == pytest.approx(20.0 * np.log10(2.0), abs=1e-6)
    assert activity == pytest.approx(softer_activity)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(16_000, np.float32)])
def test_silence_has_no_active_level(samples):
    assert active_speech_level_db(samples) == (SILENCE_DB, 0.0)
    assert noise_level_db(samples) == SILENCE_DB


def test_noise_level_counts_only_the_band_that_hides_words():
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    hum, hiss = (np.sin(2.0 * np.pi * frequency * time_s) for frequency in (50.0, 1000.0))
    hiss_db = 20.0 * np.log10(0.01 / np.sqrt(2.0))
    assert noise_level_db((0.5 * hum + 0.01 * hiss).astype(np.float32)) == pytest.approx(hiss_db, abs=0.02)
    white = np.random.default_rng(0).standard_normal(10 * RATE_HZ)
    assert noise_level_db(white) == pytest.approx(10.0 * np.log10(6900.0 / 8000.0), abs=0.1)


def test_noise_gain_reaches_the_ratio():
    noise = np.random.default_rng(1).standard_normal(RATE_HZ)
    gain = noise_gain(-26.0, noise_level_db(noise), 7.5)
    assert -26.0 - noise_level_db(gain * noise) == pytest.approx(7.5, abs=1e-9)
