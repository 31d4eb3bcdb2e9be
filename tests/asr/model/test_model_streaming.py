"""For a fixed chunk, streamed and whole outputs agree to 1e-4 whatever the packets; ONNX agrees with torch."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.engine import Engine, MelWindows, OnnxEngine
from asr.model.acoustic import AcousticModel
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.model.export import export_onnx, quantise_onnx
from asr.model.torch_engine import TorchEngine
from asr.model.whisper import POSITIONS, QUERY_BLOCK_FRAMES, Attention

TOKENS = 7
CONFIGS = {
    "conv": ModelConfig(
        encoder=EncoderConfig(kind="conv", width=16, stride=3, chunk_frames=5),
        head=HeadConfig(layers=2, width=24, look_ahead_frames=3),
    ),
    "gru": ModelConfig(
        encoder=EncoderConfig(kind="conv", width=16, stride=4, chunk_frames=3),
        head=HeadConfig(cell="gru", layers=1, width=16, look_ahead_frames=0),
    ),
    "whisper": ModelConfig(
        encoder=EncoderConfig(
            kind="whisper", width=24, heads=3, layers=2, stride=2, left_context_frames=8, chunk_frames=4
        ),
        head=HeadConfig(layers=1, width=16, look_ahead_frames=2),
    ),
}


def make(name: str) -> AcousticModel:
    torch.manual_seed(1)
    model = AcousticModel(CONFIGS[name], TOKENS).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data = torch.randn_like(parameter) * 0.2
    return model


MODELS = {name: make(name) for name in CONFIGS}


def mel_of(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (frames, 80)).astype(np.float32)


def streamed(engine: Engine, mel: np.ndarray, sizes: list[int], silence: float) -> np.ndarray:
    windows = MelWindows(engine.geometry, silence, 80)
    state = engine.initial_state(1)
    outputs, emitted = [np.zeros((0, TOKENS), np.float32)], 0
    cuts = [0, *np.cumsum(sizes).clip(max=len(mel)).tolist(), len(mel)]
    batches = [windows.accept(mel[a:b]) for a, b in itertools.pairwise(cuts)]
    steps = [window for batch in batches for window in batch] + windows.finish()
    for window in steps:
        log_probs, state = engine.step(window[None], state)
        real = windows.real_frames(emitted, log_probs.shape[1], finished=True)
        outputs.append(log_probs[0, real])
        emitted += log_probs.shape[1]
    return np.concatenate(outputs)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=15)
@given(frames=st.integers(1, 140), sizes=st.lists(st.integers(1, 60), max_size=5), seed=st.integers(0, 3))
def test_stream_equals_whole(name: str, frames: int, sizes: list[int], seed: int) -> None:
    model = MODELS[name]
    mel = mel_of(frames, seed)
    with torch.inference_mode():
        whole, lengths, _ = model(torch.from_numpy(mel)[None], torch.tensor([frames]))
    result = streamed(TorchEngine(model), mel, sizes, model.config.features.silence)
    assert result.shape == (int(lengths[0]), TOKENS)
    np.testing.assert_allclose(result, whole[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_in_a_batch_changes_nothing_before_the_last_chunk_ends(name: str) -> None:
    model = MODELS[name]
    short = mel_of(60)
    padded = np.full((1, 120, 80), model.config.features.silence, dtype=np.float32)
    padded[0, :60] = short
    with torch.inference_mode():
        alone, lengths, _ = model(torch.from_numpy(short)[None], torch.tensor([60]))
        beside, *_ = model(torch.from_numpy(padded), torch.tensor([60]))
    np.testing.assert_allclose(beside[0, : lengths[0]].numpy(), alone[0, : lengths[0]].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_exported_model_equals_torch_and_int8_is_close(name: str, tmp_path) -> None:
    model = MODELS[name]
    export_onnx(model, tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    mel = mel_of(90)
    silence = model.config.features.silence
    reference = streamed(TorchEngine(model), mel, [13, 50], silence)
    exact = streamed(OnnxEngine(tmp_path / "float.onnx"), mel, [90], silence)
    np.testing.assert_allclose(exact, reference, atol=1e-4)
    int8 = streamed(OnnxEngine(tmp_path / "int8.onnx"), mel, [90], silence)
    assert np.abs(int8 - reference).max() < 0.5
    assert not model.training


def test_streams_in_a_batch_have_their_own_states() -> None:
    model = MODELS["whisper"]
    engine = TorchEngine(model)
    window = engine.geometry.window
    mel = np.stack([mel_of(window, 1), mel_of(window, 2)])
    both, state = engine.step(mel, engine.initial_state(2))
    both2, _ = engine.step(mel[::-1].copy(), state)
    for i in range(2):
        alone, alone_state = engine.step(mel[i : i + 1], engine.initial_state(1))
        alone2, _ = engine.step(mel[1 - i : 2 - i], alone_state)
        np.testing.assert_allclose(both[i], alone[0], atol=1e-5)
        np.testing.assert_allclose(both2[i], alone2[0], atol=1e-5)


def test_position_runs_round_the_table_and_the_cache_stays_bounded() -> None:
    model = MODELS["whisper"]
    state = model.initial_state(1)
    mel = torch.from_numpy(mel_of(model.geometry.window))[None]
    with torch.inference_mode():
        for _ in range(POSITIONS // 4 + 3):
            log_probs, state = model.step(mel, state)
    assert int(state["encoder.position"]) == 12
    assert int(state["encoder.seen"]) == 8
    assert state["encoder.key0"].shape == (1, 8, 24)
    assert torch.isfinite(log_probs).all()


@pytest.mark.parametrize(("chunk", "left"), [(4, 5), (30, 192), (200, 64)])
def test_chunked_attention_by_its_definition(chunk: int, left: int) -> None:
    """The blocks equal one attention over all frames under the mask that the definition gives."""
    torch.manual_seed(0)
    n_frames = 2 * QUERY_BLOCK_FRAMES + 23
    attention, x = Attention(12, 3), torch.randn(2, n_frames, 12)
    frames = torch.arange(n_frames)
    first = (frames // chunk * chunk)[:, None]
    mask = (frames >= first - left) & (frames < first + chunk)
    with torch.inference_mode():
        expected = attention(x, attention.key(x), attention.value(x), mask)
        assert torch.allclose(attention.chunked(x, chunk, left), expected, atol=1e-5)


def test_head_look_ahead_is_the_stated_one() -> None:
    """Changing a mel frame changes no output that lies more than the look-ahead before it."""
    model = MODELS["conv"]
    geometry = model.geometry
    mel = mel_of(90)
    changed = mel.copy()
    changed[60] += 5.0
    with torch.inference_mode():
        a, *_ = model(torch.from_numpy(mel)[None], torch.tensor([90]))
        b, *_ = model(torch.from_numpy(changed)[None], torch.tensor([90]))
    differs = np.flatnonzero((a - b).abs().amax(-1)[0].numpy() > 1e-6)
    earliest = -(-(60 - geometry.after - geometry.stride + 1) // geometry.stride) - geometry.delay_frames
    assert differs[0] == earliest
