"""Sounds without speech: what they are made of, and how words in them are counted."""

import numpy as np
import pytest

from asr import audio
from asr.config import make_config
from asr.decode import Hypothesis
from asr.errors import ConfigError
from asr.evaluate.empty import EmptyConfig, EmptySound, empty_markdown, empty_sounds, listen_empty


class Gauge:
    """Hears a word for each packet louder than -40 dB."""

    def stream(self):
        return GaugeStream()


class GaugeStream:
    def __init__(self):
        self.words = []

    def accept(self, samples):
        if np.mean(samples**2) > 1e-4:
            self.words.append("bang")

    def finish(self):
        return [Hypothesis(" ".join(self.words), (), 1.0, 0.0)]


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for folder, name in (("noise", "storm"), ("noise", "kitchen"), ("music", "song")):
        audio.save(tmp_path / folder / f"{name}.flac", (0.05 * rng.standard_normal(24_000)).astype(np.float32))
    return tmp_path


def config(**values):
    return make_config(EmptyConfig, {"minutes": 0.1, "stream_s": 2.0, "levels_db": [-50.0, -20.0], **values}, "empty")


def test_each_sound_has_its_level_and_length_and_is_the_same_every_time(folders):
    settings = config(noise_dir=str(folders / "noise"), music_dir=str(folders / "music"))
    sounds = empty_sounds(settings)
    loud = ("cabin", "noise files", "synthetic music", "recorded music")
    assert [sound.name for sound in sounds] == ["silence", "hiss", "hiss", *(name for name in loud for _ in "ab")]
    for sound, again in zip(sounds, empty_sounds(settings), strict=True):
        samples = sound.stream(1)
        assert samples.shape == (32_000,)
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(samples, again.stream(1))
        if sound.level_db is None:
            assert not samples.any()
        else:
            # Peaks of loud sounds are clipped, as a microphone would.
            assert 10 * np.log10(np.mean(samples.astype(np.float64) ** 2)) == pytest.approx(sound.level_db, abs=0.5)


def test_only_noise_reserved_for_tests_is_heard(folders):
    (folders / "noise" / "storm.flac").unlink()
    with pytest.raises(ConfigError, match="reserved"):
        empty_sounds(config(noise_dir=str(folders / "noise")))


def test_a_folder_without_music_is_refused(folders):
    with pytest.raises(ConfigError, match="no music"):
        empty_sounds(config(music_dir=str(folders / "nothing")))


def test_words_are_counted_per_hour():
    settings = config(minutes=0.2, stream_s=4.0)
    bursts = np.zeros(64_000, np.float32)
    bursts[16_000:17_600] = 0.1
    sounds = [
        EmptySound("bursts", -30.0, lambda number: bursts if number < 1 else np.zeros_like(bursts)),
        EmptySound("silence", None, lambda _: np.zeros_like(bursts)),
    ]
    loud, quiet = listen_empty(Gauge(), settings, sounds=sounds)
    assert (loud.words, loud.streams, loud.streams_with_words, loud.audio_s) == (1, 3, 1, 12.0)
    assert loud.words_per_hour.value == pytest.approx(300.0)
    assert loud.words_per_hour.low <= 300.0 <= loud.words_per_hour.high
    assert loud.examples == ("bang",)
    assert (quiet.words, quiet.words_per_hour.value, quiet.examples) == (0, 0.0, ())
    table = empty_markdown({"model": [loud, quiet]})
    assert "| bursts | -30 | 0.2 | 300 (1 of 3) |" in table
    assert "| all silence |  | 0.2 | **0.0** |" in table
    assert "| everything |  | 0.4 | **150.0** |" in table


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"levels_db": []}, {"stream_s": 0.1}, {"colour": "pink"}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        config(**wrong)
