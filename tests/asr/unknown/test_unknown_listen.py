"""A stream's posteriors are kept as they were, up to a bound."""

from __future__ import annotations

import numpy as np
import pytest

from asr.decode import Decoder, DecoderConfig, Tokens
from asr.errors import ConfigError, InputError
from asr.recognize import Recognizer
from asr.unknown.listen import UnknownListener


def log_probs(frames: int, symbols: int = 29, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 4, (frames, symbols))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def test_keeps_all_frames_whatever_the_pieces() -> None:
    given = log_probs(120)
    listener = UnknownListener(29, 0.02)
    for piece in np.split(given, [0, 1, 50, 50, 119]):
        listener.accept(piece)
    assert listener.log_probs.dtype == np.float32
    np.testing.assert_allclose(listener.log_probs, given, rtol=1e-3)
    listener.accept(given)
    assert listener.log_probs.shape == (240, 29)


def test_is_bounded_and_counts_what_it_drops() -> None:
    listener = UnknownListener(29, 0.02, kept_s=1.0)
    for seed in range(3):
        listener.accept(log_probs(20, seed=seed))
    assert (len(listener.log_probs), listener.dropped_frames) == (50, 10)
    np.testing.assert_allclose(listener.log_probs[:20], log_probs(20), rtol=1e-3)


def test_impossible_symbols_stay_finite_and_wrong_shapes_are_refused() -> None:
    listener = UnknownListener(2, 0.02)
    listener.accept(np.array([[0.0, -np.inf]], np.float32))
    assert np.isfinite(listener.log_probs).all()
    with pytest.raises(InputError, match="2 symbols"):
        listener.accept(np.zeros((4, 3), np.float32))
    with pytest.raises(ConfigError, match="frame_s"):
        UnknownListener(29, 0.0)


def test_a_stream_keeps_its_posteriors_if_asked(tiny_bundle) -> None:
    recognizer = Recognizer.open(tiny_bundle)
    samples = np.random.default_rng(1).normal(0, 0.05, 16_000).astype(np.float32)
    stream = recognizer.stream(keep_posteriors=True)
    for piece in np.split(samples, 4):
        stream.accept(piece)
    stream.finish()
    np.testing.assert_allclose(stream.posteriors, recognizer.posteriors(samples), rtol=2e-3, atol=2e-3)
    with pytest.raises(ConfigError, match="keep_posteriors"):
        _ = recognizer.stream().posteriors


def test_finds_what_was_kept() -> None:
    tokens = Tokens.characters()
    decoder = Decoder(tokens, DecoderConfig(kind="greedy"), 0.02)
    listener = UnknownListener(29, 0.02)
    assert listener.find(decoder.decode(listener.log_probs)[0], decoder) == []
