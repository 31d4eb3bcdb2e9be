"""Channels keep length and timing, pass speech and remove what they should."""

import numpy as np
import pytest

from asr.augment import codec
from asr.augment.channel import CHANNELS
from asr.augment.events import voice

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech():
    return (0.1 * voice(np.random.default_rng(1), 3 * RATE_HZ)).clip(-1, 1).astype(np.float32)


def envelope(samples):
    return np.convolve(np.square(samples), np.ones(80), "same")


@pytest.mark.parametrize("kind", sorted(CHANNELS))
@pytest.mark.parametrize("length", [48_000, 15_999, 900, 1])
def test_length_and_range_are_kept(kind, length, speech):
    result, drawn = CHANNELS[kind](speech[:length], np.random.default_rng(2))
    assert result.shape == (length,)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert isinstance(drawn, dict)


@pytest.mark.parametrize("kind", sorted(CHANNELS))
def test_speech_stays_where_it_was(kind, speech):
    for seed in range(3):
        result, _ = CHANNELS[kind](speech, np.random.default_rng(seed))
        before, after = envelope(speech), envelope(result)
        lags = range(-400, 401, 20)
        match = [float(np.dot(before[1000:-1000], np.roll(after, -lag)[1000:-1000])) for lag in lags]
        assert abs(lags[int(np.argmax(match))]) <= 40


@pytest.mark.parametrize("kind", ["telephone", "mulaw", "gsm"])
def test_narrow_channels_remove_what_lies_above_4_khz(kind):
    noise = (0.1 * np.random.default_rng(3).standard_normal(2 * RATE_HZ)).astype(np.float32)
    result, _ = CHANNELS[kind](noise, np.random.default_rng(3))
    before, after = (np.abs(np.fft.rfft(samples)) ** 2 for samples in (noise, result))
    high = slice(int(0.6 * len(before)), None)
    assert after[high].sum() < 0.03 * before[high].sum()


@pytest.mark.parametrize(("coded", "least_db"), [("g722", 15.0), ("mulaw", 10.0), ("mp3", 10.0), ("aac", 5.0)])
def test_codecs_are_faithful_and_lossy(coded, least_db, speech):
    narrow = np.fft.irfft(np.fft.rfft(speech) * (np.fft.rfftfreq(len(speech), 1 / RATE_HZ) < 3000), len(speech))
    narrow = narrow.astype(np.float32)
    options = {"mp3": (0.7,), "aac": (32_000,)}.get(coded, ())
    error = getattr(codec, coded)(narrow, *options) - narrow
    ratio_db = 10.0 * np.log10(np.mean(narrow**2) / np.mean(error**2))
    assert least_db < ratio_db < 60.0
