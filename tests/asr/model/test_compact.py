"""Float weights beside the served model: small, near, the same served model again; and nothing else beside them."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from asr.bundle import ENGINE, WEIGHTS, build_bundle, load_bundle
from asr.config import config_to_json
from asr.decode import DecoderConfig
from asr.engine import Engine
from asr.errors import ConfigError
from asr.model.acoustic import AcousticModel
from asr.model.compact import shapes
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.model.export import export_onnx, quantise_onnx
from asr.model.pretrained import load_weights
from asr.model.torch_engine import TorchEngine
from asr.train import checkpoint

TOKENS = ["<blank>", " ", "a", "b", "c"]
CONFIGS = {
    "conv": ModelConfig(EncoderConfig(width=48, chunk_frames=4), HeadConfig(layers=2, width=64, look_ahead_frames=2)),
    "whisper": ModelConfig(
        EncoderConfig("whisper", width=64, layers=2, heads=2, stride=2, left_context_frames=12, chunk_frames=6),
        HeadConfig(layers=1, width=48, look_ahead_frames=0),
        intermediate=True,
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[AcousticModel, Path]:
    """A model and its bundle."""
    torch.manual_seed(5)
    model = AcousticModel(CONFIGS[request.param], len(TOKENS)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    folder = tmp_path_factory.mktemp("compact")
    saved = {"model": model.state_dict(), "model_config": config_to_json(model.config), "tokens": TOKENS}
    checkpoint.save(folder / checkpoint.FINAL, saved)
    return model, build_bundle(folder, folder, decoder=DecoderConfig())


def loaded(model: AcousticModel, path: Path) -> AcousticModel:
    found = AcousticModel(model.config, len(TOKENS))
    load_weights(found, path)
    return found.eval()


def log_probs(engine: Engine) -> np.ndarray:
    state = engine.initial_state(2)
    mel = np.random.default_rng(1).normal(0, 1, (6, 2, engine.geometry.window, 80)).astype(np.float32)
    found = []
    for chunk in mel:
        out, state = engine.step(chunk, state)
        found.append(out)
    return np.concatenate(found, axis=1)


def test_every_served_matrix_is_stored_as_what_its_codes_leave_out(built) -> None:
    model, path = built
    state = model.state_dict()
    # By hand: products with constant matrices, and LSTMs.
    expected = {
        name
        for name, value in state.items()
        if value.ndim == 2 and not name.endswith(("taps", "positional_embedding")) and "intermediate" not in name
    }
    with safe_open(path / WEIGHTS, framework="numpy") as file:
        about = json.loads(file.metadata()["dengar.compact"])
        stored = {name: file.get_tensor(name) for name in state}
    assert set(about["matrices"]) == expected
    assert {name for name, value in stored.items() if value.dtype == np.uint8} == expected
    assert all(value.dtype == np.float16 for name, value in stored.items() if name not in expected)
    matrices = sum(state[name].numel() for name in expected)
    assert sum(stored[name].nbytes for name in expected) == matrices / 2
    plain = sum(value.numel() * 2 for value in state.values())
    assert (path / WEIGHTS).stat().st_size < plain - matrices * 1.5 + 16_000
    assert shapes(path / WEIGHTS) == {name: tuple(value.shape) for name, value in state.items()}


def test_each_weight_comes_back_within_the_bound(built) -> None:
    model, path = built
    found = loaded(model, path).state_dict()
    for name, value in model.state_dict().items():
        difference = (found[name] - value).abs()
        if value.ndim == 2:
            bound = value.abs().amax(dim=1, keepdim=True) * (3 / 64 / 63 + 1e-5)
            assert (difference <= bound).all(), name
        else:
            assert (difference <= value.abs() * 2**-10 + 2**-24).all(), name


def test_the_weights_that_come_back_are_the_same_served_model(built, tmp_path: Path) -> None:
    model, path = built
    export_onnx(loaded(model, path), tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", tmp_path / ENGINE)
    constants = [
        {entry.name: onnx.numpy_helper.to_array(entry) for entry in onnx.load(str(file)).graph.initializer}
        for file in (path / ENGINE, tmp_path / ENGINE)
    ]
    codes = [name for name, value in constants[0].items() if value.dtype == np.int8 and value.size > 1]
    assert len(codes) > 4
    for name in codes:
        np.testing.assert_array_equal(constants[0][name], constants[1][name])


def test_posteriors_differ_by_a_small_part_of_what_int8_changes(built, tmp_path: Path) -> None:
    model, path = built
    save_file({name: value.half() for name, value in model.state_dict().items()}, tmp_path / WEIGHTS)
    half, compact = (log_probs(TorchEngine(loaded(model, folder))) for folder in (tmp_path, path))
    served = log_probs(load_bundle(path).engine())
    difference, by_int8 = np.abs(compact - half), np.abs(served - half)
    assert 0 < difference.mean() < by_int8.mean() / 10
    assert difference.max() < by_int8.max() / 10


def test_a_plain_file_needs_no_served_model(built, tmp_path: Path) -> None:
    model, _ = built
    halves = {name: value.half() for name, value in model.state_dict().items()}
    save_file(halves, tmp_path / WEIGHTS)
    for name, value in loaded(model, tmp_path).state_dict().items():
        assert torch.equal(value, halves[name].float())
    assert shapes(tmp_path / WEIGHTS) == {name: tuple(value.shape) for name, value in halves.items()}


def test_without_its_served_model_it_says_what_is_missing(built, tmp_path: Path) -> None:
    model, path = built
    shutil.copy(path / WEIGHTS, tmp_path)
    with pytest.raises(ConfigError, match=rf"needs {ENGINE} beside it, which cannot be read .*copy the whole bundle"):
        load_weights(model, tmp_path)
    (tmp_path / ENGINE).write_bytes((path / ENGINE).read_bytes()[:-100])
    with pytest.raises(ConfigError, match=rf"needs {ENGINE} beside it, which is damaged"):
        load_weights(model, tmp_path / WEIGHTS)


@pytest.mark.parametrize("change", ["codes", "scale", "names"])
def test_another_served_model_is_noticed(built, tmp_path: Path, change: str) -> None:
    model, path = built
    shutil.copy(path / WEIGHTS, tmp_path)
    other = onnx.load(str(path / ENGINE))
    values = {entry.name: onnx.numpy_helper.to_array(entry).copy() for entry in other.graph.initializer}
    codes = next(name for name, value in values.items() if name.endswith(".weight") and value.dtype == np.int8)
    changed = codes.replace(".weight", ".scale") if change == "scale" else codes
    entry, value = next(entry for entry in other.graph.initializer if entry.name == changed), values[changed]
    if change == "names":
        entry.name = "renamed"
    else:
        value.flat[0] += 1
        entry.CopyFrom(onnx.numpy_helper.from_array(value, entry.name))
    onnx.save(other, str(tmp_path / ENGINE))
    with pytest.raises(ConfigError, match=f"was written beside another {ENGINE}; take both from the same bundle"):
        load_weights(model, tmp_path)


@pytest.mark.parametrize("about", ["?", "{}", '{"beside": 1, "matrices": {}, "sha256": ""}', "[]", "null"])
def test_damaged_metadata_are_an_error_of_the_file(built, tmp_path: Path, about: str) -> None:
    model, path = built
    shutil.copy(path / ENGINE, tmp_path)
    save_file({"x": torch.zeros(2)}, tmp_path / WEIGHTS, {"dengar.compact": about})
    with pytest.raises(ConfigError, match=WEIGHTS):
        load_weights(model, tmp_path)


def test_a_model_without_coded_matrices_is_stored_plainly(built, tmp_path: Path) -> None:
    from asr.model import compact

    model, _ = built
    export_onnx(model, tmp_path / ENGINE)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    compact.save(weights, tmp_path / WEIGHTS, tmp_path / ENGINE)
    assert compact.load(tmp_path / WEIGHTS) is None
    (tmp_path / ENGINE).unlink()
    loaded(model, tmp_path)
