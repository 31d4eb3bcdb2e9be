import librosa
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asr.features import FeatureConfig, FeatureStream, log_mel, mel_filters


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def test_filters_are_librosas() -> None:
    expected = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80).T
    np.testing.assert_allclose(mel_filters(80), expected, atol=1e-8)


def test_log_mel_is_librosas_between_the_edges() -> None:
    samples = noise(16_000)
    power = librosa.feature.melspectrogram(
        y=samples, sr=16_000, n_fft=400, hop_length=160, n_mels=80, pad_mode="constant", center=True
    )
    expected = (np.log10(np.maximum(power, 1e-6)).T + 4) / 4
    np.testing.assert_allclose(log_mel(samples), expected[:100], atol=1e-4)


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 5))
def test_stream_equals_whole_whatever_the_packets(sizes: list[int], seed: int) -> None:
    samples = noise(sum(sizes), seed)
    stream = FeatureStream()
    parts, start = [], 0
    for size in sizes:
        parts.append(stream.accept(samples[start : start + size]))
        start += size
    parts.append(stream.finish())
    whole = log_mel(samples)
    assert whole.shape == (-(-len(samples) // 160), 80)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_silence_is_the_padding_value() -> None:
    config = FeatureConfig()
    np.testing.assert_allclose(log_mel(np.zeros(1600, np.float32), config), config.silence, atol=1e-6)


def test_louder_is_higher() -> None:
    samples = noise(8000)
    assert (log_mel(2 * samples) > log_mel(samples)).all()
