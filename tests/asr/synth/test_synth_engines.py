"""The engines really speak."""

import numpy as np
import pytest

from asr.audio import SAMPLE_RATE_HZ
from asr.errors import ConfigError
from asr.synth import find, of_engine, open_engine, trim_silence
from asr.synth.espeak import phonemes
from asr.synth.kokoro import to_kokoro

TEXT = "navigate to the nearest petrol station"
FAST = ["espeak:en-us+f2", "flite:slt"]


@pytest.fixture(scope="module")
def engine():
    engines = {}

    def get(name):
        if name not in engines:
            engines[name] = open_engine(name)
        return engines[name]

    return get


def fundamental_hz(samples):
    """Median autocorrelation pitch of the loud 40 ms frames, 60 to 400 Hz."""
    frames = samples[: len(samples) // 640 * 640].reshape(-1, 640).astype(np.float64)
    frames = frames[(frames**2).mean(axis=1) > 0.1 * (frames**2).mean(axis=1).max()]
    lags = np.arange(40, 267)
    strengths = np.array([[(frame[lag:] * frame[:-lag]).mean() for lag in lags] for frame in frames])
    return float(np.median(SAMPLE_RATE_HZ / lags[strengths.argmax(axis=1)]))


@pytest.mark.parametrize("name", [*FAST, "kokoro:af_bella"])
def test_speech_is_plausible(engine, name):
    voice = find(name)
    samples = engine(voice.engine).speak(TEXT, voice)
    assert samples.dtype == np.float32
    assert 1.5 < len(samples) / SAMPLE_RATE_HZ < 4.5
    assert 0.05 < np.abs(samples).max() <= 1.0
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    speech_band = spectrum[int(100 * len(samples) / SAMPLE_RATE_HZ) : int(4000 * len(samples) / SAMPLE_RATE_HZ)]
    assert speech_band.sum() > 0.8 * spectrum.sum()


@pytest.mark.parametrize("name", [*FAST, "kokoro:bm_daniel"])
def test_speed_changes_the_duration(engine, name):
    voice = find(name)
    lengths = [
        len(trim_silence(engine(voice.engine).speak("call my mother", voice, speed=speed))) for speed in (0.8, 1.25)
    ]
    assert lengths[0] / lengths[1] == pytest.approx(1.25 / 0.8, rel=0.2)


@pytest.mark.parametrize("name", FAST)
def test_pitch_changes_the_fundamental_and_not_the_duration(engine, name):
    voice = find(name)
    low, high = (engine(voice.engine).speak(TEXT, voice, pitch=pitch) for pitch in (0.8, 1.2))
    assert fundamental_hz(high) / fundamental_hz(low) == pytest.approx(1.5, rel=0.15)
    assert len(high) == pytest.approx(len(low), rel=0.05)


@pytest.mark.parametrize("name", [*FAST, "kokoro:af_bella*0.60+am_puck*0.40"])
def test_the_same_request_gives_the_same_samples_whatever_was_spoken_before(engine, name):
    voice = find(name)
    speaker = engine(voice.engine)
    first = speaker.speak("play some jazz", voice, speed=1.2)
    speaker.speak("something else", of_engine(voice.engine, "train")[0], speed=0.7)
    np.testing.assert_array_equal(first, speaker.speak("play some jazz", voice, speed=1.2))


def test_every_voice_of_the_fast_engines_speaks_and_sounds_different(engine):
    fast = [
        *of_engine("flite"),
        *(voice for voice in of_engine("espeak") if voice.name.startswith("en-us+")),
    ]
    spoken = {voice.id: engine(voice.engine).speak("turn left", voice) for voice in fast}
    assert all(0.3 < len(trim_silence(samples)) / SAMPLE_RATE_HZ < 2.5 for samples in spoken.values())
    assert len({samples.tobytes() for samples in spoken.values()}) == len(fast)


def test_a_blend_is_neither_of_its_parts(engine):
    parts = [engine("kokoro").speak("stop", find(f"kokoro:{name}")) for name in ("af_bella", "am_puck")]
    mixed = engine("kokoro").speak("stop", find("kokoro:af_bella*0.50+am_puck*0.50"))
    assert all(len(mixed) != len(part) or not np.allclose(mixed, part) for part in parts)
    male, female = fundamental_hz(parts[1]), fundamental_hz(parts[0])
    assert male < fundamental_hz(mixed) < female


@pytest.mark.parametrize(
    ("text", "voice", "speed", "pitch", "complaint"),
    [
        (" ", "flite:slt", 1, 1, "empty"),
        ("hello", "flite:slt", 9, 1, "speed"),
        ("hello", "espeak:en-us+f2", 1, 0, "pitch"),
        ("hello", "kokoro:af_bella", 1, 1.2, "pitch"),
        ("hello " * 200, "kokoro:af_bella", 1, 1, "phonemes"),
    ],
)
def test_impossible_requests_are_refused(engine, text, voice, speed, pitch, complaint):
    found = find(voice)
    with pytest.raises(ConfigError, match=complaint):
        engine(found.engine).speak(text, found, speed, pitch)


def test_a_voice_of_another_engine_is_refused(engine):
    with pytest.raises(ConfigError, match="not a voice of espeak"):
        engine("espeak").speak("hello", find("flite:slt"))


def test_an_unknown_engine_is_refused():
    with pytest.raises(ConfigError, match="dectalk"):
        open_engine("dectalk")


def test_phonemes_in_the_conventions_of_espeak_and_kokoro():
    assert phonemes("church joy") == "tʃˈɜːtʃ dʒˈɔɪ".replace("tʃ", "t^ʃ").replace("dʒ", "d^ʒ").replace("ɔɪ", "ɔ^ɪ")
    assert to_kokoro(phonemes("church joy"), british=False) == "ʧˈɜɹʧ ʤˈY"
    assert to_kokoro(phonemes("go home", "en"), british=True) == "ɡˌQ hˈQm"
    assert to_kokoro(phonemes("go home"), british=False) == "ɡˌO hˈOm"


def test_silence_is_trimmed_to_the_margin():
    tone = np.sin(np.arange(8000) * 0.3).astype(np.float32) * 0.5
    silence = np.zeros(16000, np.float32)
    trimmed = trim_silence(np.concatenate([silence, tone, silence]), margin_s=0.1)
    assert len(trimmed) == pytest.approx(8000 + 2 * 1600, abs=320)
    np.testing.assert_array_equal(trimmed[1600:9600], tone)
    np.testing.assert_array_equal(trim_silence(tone), tone)
    np.testing.assert_array_equal(trim_silence(silence), silence)
    assert len(trim_silence(np.zeros(0, np.float32))) == 0
