import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.bundle import load_bundle
from asr.recognize import Recognizer, packets


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)


def test_words_do_not_depend_on_the_packets(tiny_bundle) -> None:
    recognizer = Recognizer.open(tiny_bundle)
    samples = noise(2.5)
    (whole,) = recognizer.transcribe(samples, whole=True)
    assert whole.text

    @settings(max_examples=20)
    @given(st.lists(st.integers(1, 9000), max_size=12))
    def check(sizes: list[int]) -> None:
        stream = recognizer.stream()
        cuts = [0, *np.cumsum(sizes).clip(max=len(samples)).tolist(), len(samples)]
        for start, end in itertools.pairwise(cuts):
            stream.accept(samples[start:end])
        (found,) = stream.finish()
        assert found.text == whole.text
        assert [(w.start_s, w.end_s) for w in found.words] == [(w.start_s, w.end_s) for w in whole.words]

    check()


def test_partial_results_grow_and_say_how_stable_they_are(tiny_bundle) -> None:
    stream = Recognizer.open(tiny_bundle).stream(nbest=2)
    assert stream.partial().hypothesis.text == ""
    seen = []
    for packet in packets(noise(2.0)):
        stream.accept(packet)
        partial = stream.partial()
        assert 0 <= partial.stability <= 1
        seen.append(len(partial.hypothesis.text))
    assert seen[-1] > seen[0] == 0
    assert stream.duration_s == 2.0
    assert 1 <= len(stream.finish()) <= 2


def test_streams_of_one_recognizer_are_independent(tiny_bundle) -> None:
    recognizer = Recognizer.open(tiny_bundle)
    recordings = [noise(1.5, seed) for seed in range(3)]
    alone = [recognizer.transcribe(samples)[0].text for samples in recordings]
    streams = [recognizer.stream() for _ in recordings]
    for parts in zip(*(packets(samples) for samples in recordings), strict=True):
        for stream, part in zip(streams, parts, strict=True):
            stream.accept(part)
    assert [stream.finish()[0].text for stream in streams] == alone


def test_posteriors_are_distributions_of_every_frame(tiny_bundle) -> None:
    bundle = load_bundle(tiny_bundle)
    log_probs = Recognizer(bundle).posteriors(noise(1.0))
    assert log_probs.shape == (-(-100 // bundle.model.encoder.stride), len(bundle.tokens))
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-4)
