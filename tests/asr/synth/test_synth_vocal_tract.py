"""A longer vocal tract lowers the formants by its factor and leaves pitch, timing and level alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from asr.audio import SAMPLE_RATE_HZ
from asr.errors import ConfigError
from asr.synth import find, open_engine
from asr.synth.vocal_tract import lengthen

BANDWIDTH_HZ = 90


def poles(formants_hz):
    """Denominator of resonators in a row."""
    denominator = np.ones(1)
    for formant_hz in formants_hz:
        radius, angle = np.exp(-np.pi * BANDWIDTH_HZ / SAMPLE_RATE_HZ), 2 * np.pi * formant_hz / SAMPLE_RATE_HZ
        denominator = np.convolve(denominator, [1.0, -2 * radius * np.cos(angle), radius**2])
    return np.convolve(denominator, [1.0, -0.95])


def vowel(pitch_hz, formants_hz, seconds=0.5):
    """Pulses through resonators: Fant's source and filter, with known formants."""
    pulses = np.zeros(int(seconds * SAMPLE_RATE_HZ))
    pulses[np.round(np.arange(0, len(pulses) - 1, SAMPLE_RATE_HZ / pitch_hz)).astype(int)] = 1.0
    voiced = signal.lfilter([1.0], poles(formants_hz), pulses)
    return (0.3 * voiced / np.abs(voiced).max()).astype(np.float32)


def tract_length(samples, pitch_hz, formants_hz):
    """The factor whose all-pole filter fits the harmonics below 3.5 kHz best: it knows nothing of cepstra."""
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(np.float64)
    harmonics_hz = np.arange(1, int(3500 / pitch_hz) + 1) * pitch_hz
    phase = 2j * np.pi * np.outer(harmonics_hz, np.arange(len(middle))) / SAMPLE_RATE_HZ
    heard_db = 20 * np.log10(np.abs(np.exp(-phase) @ (middle * np.hanning(len(middle)))))

    def distance(factor):
        _, response = signal.freqz([1.0], poles(np.array(formants_hz) / factor), harmonics_hz, fs=SAMPLE_RATE_HZ)
        return np.std(heard_db - 20 * np.log10(np.abs(response)))

    return min(np.arange(0.75, 1.3, 0.01), key=distance)


def pitch_hz(samples):
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(np.float64)
    correlation = signal.correlate(middle, middle, "full", method="fft")[len(middle) - 1 :]
    lags = np.arange(SAMPLE_RATE_HZ // 300, SAMPLE_RATE_HZ // 70)
    return SAMPLE_RATE_HZ / lags[correlation[lags].argmax()]


@settings(derandomize=True, deadline=None, max_examples=15)
@given(factor=st.floats(0.82, 1.2), pitch=st.floats(85, 220), first=st.floats(400, 750), second=st.floats(1300, 2000))
def test_formants_move_by_the_factor_and_pitch_duration_and_level_stay(factor, pitch, first, second):
    before = vowel(pitch, (first, second, 2900))
    after = lengthen(before, factor)
    assert len(after) == len(before)
    assert np.sqrt((after**2).mean()) == pytest.approx(np.sqrt((before**2).mean()), rel=1e-3)
    assert pitch_hz(after) == pytest.approx(pitch_hz(before), rel=0.02)
    assert tract_length(before, pitch, (first, second, 2900)) == pytest.approx(1.0, abs=0.011)
    assert tract_length(after, pitch, (first, second, 2900)) == pytest.approx(factor, rel=0.04)


def test_real_speech_keeps_its_words_timing_and_pitch():
    voice = find("flite:slt")
    before = open_engine("flite").speak("navigate to the nearest petrol station", voice)
    for factor in (0.85, 1.15):
        after = lengthen(before, factor)
        assert np.abs(after).max() <= 1.0
        assert pitch_hz(after) == pytest.approx(pitch_hz(before), rel=0.05)
        frames = [samples[: len(samples) // 320 * 320].reshape(-1, 320) for samples in (before, after)]
        assert np.corrcoef([np.sqrt((frame**2).mean(axis=1)) for frame in frames])[0, 1] > 0.97
        power = [np.abs(np.fft.rfft(samples)) ** 2 for samples in (before, after)]
        centroids = [(spectrum * np.arange(len(spectrum))).sum() / spectrum.sum() for spectrum in power]
        assert (centroids[1] < centroids[0]) == (factor > 1)


@pytest.mark.parametrize("length", [1, 100, 511, 4000])
def test_any_length_is_kept_and_silence_stays_silent(length):
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, length).astype(np.float32)
    assert len(lengthen(noise, 1.1)) == length
    assert lengthen(noise, 1.0) is noise
    np.testing.assert_array_equal(lengthen(np.zeros(length, np.float32), 0.9), 0.0)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, float("nan")])
def test_an_impossible_length_is_refused(factor):
    with pytest.raises(ConfigError, match="vocal_tract"):
        lengthen(np.ones(1000, np.float32), factor)
