"""int8 with a scale per row: right against an oracle in NumPy, and no stream feels its neighbours."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from asr.engine import PER_ROW, OnnxEngine
from asr.model.acoustic import AcousticModel
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.model.export import export_onnx, quantise_onnx
from asr.model.quantise import quantise


def product(weight: np.ndarray) -> onnx.ModelProto:
    inner, outer = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "t", inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "t", outer])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def lstm(size: int, rng: np.random.Generator) -> onnx.ModelProto:
    shapes = {"w": (1, 4 * size, size), "r": (1, 4 * size, size), "b": (1, 8 * size)}
    constants = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node(
                "LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "hn", "cn"], name="cell", hidden_size=size
            )
        ],
        "cell",
        [info("x", TensorProto.FLOAT, ["t", "n", size])]
        + [info(name, TensorProto.FLOAT, [1, "n", size]) for name in ("h", "c")],
        [info("y", TensorProto.FLOAT, ["t", 1, "n", size])]
        + [info(name, TensorProto.FLOAT, [1, "n", size]) for name in ("hn", "cn")],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), inner=st.integers(1, 40), outer=st.integers(1, 40), bits=st.sampled_from([7, 8]))
def test_products_are_those_of_the_codes(seed: int, inner: int, outer: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 1, (inner, outer)).astype(np.float32)
    x = (rng.normal(0, 1, (2, 3, inner)) * 10 ** rng.uniform(-2, 2, (2, 3, 1))).astype(np.float32)
    x[0, 0] = 0
    (found,) = session(quantise(product(weight), weight_bits=bits)).run(None, {"x": x})

    top = {7: 63, 8: 127}[bits]
    weight_step = np.abs(weight).max(axis=0) / top
    step = np.maximum(np.abs(x).max(axis=-1, keepdims=True), 1e-8) / 127
    # A value half way between two codes may fall to either side.
    coded = np.rint(x / step) @ np.rint(weight / weight_step) * step * weight_step
    slack = step * (np.abs(weight).max() + weight_step.max()) + 1e-5 * np.abs(coded).max()
    assert (np.abs(found - coded) <= slack).all()
    assert (found[0, 0] == 0).all()


def test_recurrent_layers_are_close_to_float_and_deaf_to_neighbours() -> None:
    rng = np.random.default_rng(0)
    model = lstm(16, rng)
    x = rng.normal(0, 1, (9, 3, 16)).astype(np.float32)
    x[:, 1:] *= 50
    state = {name: rng.uniform(-1, 1, (1, 3, 16)).astype(np.float32) for name in ("h", "c")}
    served = session(quantise(model))
    exact = session(model).run(None, {"x": x, **state})
    found = served.run(None, {"x": x, **state})
    for a, b in zip(found, exact, strict=True):
        assert a.shape == b.shape
    assert np.abs(found[0][:, :, 0] - exact[0][:, :, 0]).max() < 0.05
    alone = served.run(None, {"x": x[:, :1], **{name: value[:, :1] for name, value in state.items()}})
    for together, single in zip(found, alone, strict=True):
        np.testing.assert_array_equal(together.take([0], axis=-2), single)


CONFIGS = {
    "conv": ModelConfig(
        encoder=EncoderConfig(kind="conv", width=24, stride=3, chunk_frames=4),
        head=HeadConfig(layers=2, width=32, look_ahead_frames=2),
    ),
    "gru": ModelConfig(
        encoder=EncoderConfig(kind="conv", width=24, stride=3, chunk_frames=4),
        head=HeadConfig(cell="gru", layers=1, width=24, look_ahead_frames=0),
    ),
    "whisper": ModelConfig(
        encoder=EncoderConfig(
            kind="whisper", width=32, layers=2, heads=2, stride=2, left_context_frames=12, chunk_frames=6
        ),
        head=HeadConfig(layers=1, width=32, look_ahead_frames=0),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stream_is_the_same_alone_and_beside_loud_neighbours(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    export_onnx(AcousticModel(CONFIGS[name], 20), tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    engine = OnnxEngine(tmp_path / "int8.onnx")
    assert engine.arithmetic["activations"] == PER_ROW
    assert engine.independent_streams
    rng = np.random.default_rng(2)
    alone, together = engine.initial_state(1), engine.initial_state(5)
    for _ in range(4):
        mel = rng.normal(0, 1, (5, engine.geometry.window, 80)).astype(np.float32)
        mel[1:] = mel[1:] * 10 + 20
        single, alone = engine.step(mel[:1], alone)
        batch, together = engine.step(mel, together)
        np.testing.assert_allclose(batch[0], single[0], atol=1e-5)


def test_what_is_quantised_is_small_and_says_what_it_is(tmp_path: Path) -> None:
    export_onnx(AcousticModel(CONFIGS["whisper"], 20), tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_bits=8)
    model = onnx.load(str(tmp_path / "int8.onnx"))
    kinds = {node.op_type for node in model.graph.node}
    assert {"MatMulIntegerToFloat", "Scan"} <= kinds
    assert "LSTM" not in kinds
    constants = {entry.name for entry in model.graph.initializer}
    assert not [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    assert OnnxEngine(tmp_path / "int8.onnx").arithmetic["weights"] == "int8 per output"
    assert OnnxEngine(tmp_path / "float.onnx").arithmetic["activations"] == "float32"
