import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import packets
from asr.bundle import build_bundle, load_bundle
from asr.decode import DecoderConfig
from asr.recognize import GLIMPSE_FRAMES, Costs, Recognizer


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


def test_streams_that_advance_together_hear_what_they_hear_alone(tiny_bundle) -> None:
    recognizer = Recognizer.open(tiny_bundle)
    recordings = [noise(seconds, seed) * loud for seed, (seconds, loud) in enumerate([(1.5, 1), (0.4, 3), (2.2, 0.01)])]
    alone = [recognizer.transcribe(samples)[0] for samples in recordings]
    rng = np.random.default_rng(0)
    streams = [recognizer.stream() for _ in recordings]
    places = [0] * len(recordings)
    costs = Costs()
    open_ = set(range(len(recordings)))
    while open_:
        heard = []
        for number in sorted(open_):
            size = int(rng.integers(0, 9000))
            part = recordings[number][places[number] : places[number] + size]
            places[number] += size
            end = places[number] >= len(recordings[number])
            heard.append((streams[number], part, end))
            if end:
                open_.discard(number)
        recognizer.advance(heard, costs)
    found = [stream.finish()[0] for stream in streams]
    assert [hypothesis.text for hypothesis in found] == [hypothesis.text for hypothesis in alone]
    assert [hypothesis.words for hypothesis in found] == [hypothesis.words for hypothesis in alone]
    assert max(costs.batches) > 1
    assert min(costs.features_s, costs.model_s, costs.decode_s) > 0


@pytest.fixture(scope="module")
def patient(tiny_run, tmp_path_factory) -> Recognizer:
    """A recogniser whose chunks are long enough for glimpses: 24 frames of 30 ms."""
    folder = tmp_path_factory.mktemp("patient")
    return Recognizer.open(build_bundle(tiny_run, folder, decoder=DecoderConfig(beam_width=4), chunk_frames=24))


def test_a_glimpse_shows_what_the_model_and_the_decoder_make_of_the_beginning_of_a_chunk(patient) -> None:
    samples = noise(2.0)
    samples[24 * 480 :] *= 4  # somebody speaks: stands out of the background
    stream = patient.stream()
    stream.accept(samples[: 24 * 480 + 14 * 480])  # one chunk, and ten frames of the next with what they look ahead
    before = stream.partial().hypothesis
    patient.glimpse([stream])
    seen = stream.partial().hypothesis
    acoustic = stream.acoustic
    window = acoustic.windows.peek(GLIMPSE_FRAMES)
    assert window is not None
    ahead, _ = patient.engine.step(window[None], acoustic.state)
    assert ahead.shape[1] == 10
    reference = patient.decoder.stream()
    reference.accept(patient.posteriors(samples)[: 24 - patient.geometry.delay_frames])
    reference.accept(ahead[0])
    assert seen == reference.best()
    assert seen.text != before.text


def test_where_nothing_stands_out_no_glimpse_is_taken(patient) -> None:
    samples, costs = noise(2.0), Costs()
    stream = patient.stream()
    stream.accept(samples[: 24 * 480 + 14 * 480])
    assert stream.acoustic.windows.peek(GLIMPSE_FRAMES) is not None
    patient.glimpse([stream], costs)
    assert not costs.batches


@settings(max_examples=20)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=10), st.integers(0, 3))
def test_glimpses_change_no_final_result(patient, sizes: list[int], seed: int) -> None:
    samples = noise(2.0, seed)
    plain, curious = patient.stream(2), patient.stream(2)
    cuts = [0, *np.cumsum(sizes).clip(max=len(samples)).tolist(), len(samples)]
    for start, end in itertools.pairwise(cuts):
        plain.accept(samples[start:end])
        curious.accept(samples[start:end])
        patient.glimpse([curious])
        curious.partial()
    assert curious.finish() == plain.finish()


def test_it_is_known_how_much_is_missing_for_the_next_step_and_for_the_next_glimpse(patient) -> None:
    samples, stream, step, at = noise(3.0), patient.stream(), 0, 0
    while at + stream.missing_glimpse_samples <= len(samples):
        glimpse, step = stream.missing_glimpse_samples, stream.missing_samples
        assert 0 < glimpse <= step
        stream.accept(samples[at : at + glimpse - 1])
        ready = stream.acoustic.windows.peek(GLIMPSE_FRAMES)
        stream.accept(samples[at + glimpse - 1 : at + glimpse])
        now = stream.acoustic.windows.peek(GLIMPSE_FRAMES)
        assert (now is None) == (glimpse == step) or len(now) > (0 if ready is None else len(ready))
        at += glimpse
    assert at > 2 * 16_000


def test_a_stream_keeps_its_own_state_and_not_its_neighbours(tiny_bundle):
    recognizer = Recognizer.open(tiny_bundle)
    streams = [recognizer.stream() for _ in range(3)]
    recognizer.advance([(stream, np.zeros(16_000, np.float32), False) for stream in streams])
    for stream in streams:
        assert all(value.base is None and len(value) == 1 for value in stream.acoustic.state.values())
