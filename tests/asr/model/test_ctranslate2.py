"""Whisper's encoder from CTranslate2's format, written here by hand; what is damaged is told and takes no memory."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import ConfigError
from asr.model.acoustic import AcousticModel
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.model.ctranslate2 import FILE, whisper_encoder
from asr.model.pretrained import load_whisper_encoder

WIDTH, LAYERS = 8, 2
Variables = Mapping[str, tuple[np.ndarray, int]]
"""Values and type numbers by name."""
TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def model_bin(variables: Variables, aliases: Mapping[str, str] | None = None, version: int = 6) -> bytes:
    """As `python/ctranslate2/specs/model_spec.py` serialises a model."""
    data = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, (value, kind) in variables.items():
        data += string(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        data += struct.pack("<BI", kind, value.nbytes) + value.tobytes()
    data += struct.pack("<I", len(aliases or {}))
    return data + b"".join(string(alias) + string(name) for alias, name in (aliases or {}).items())


def model_of(width: int = WIDTH) -> AcousticModel:
    torch.manual_seed(2)
    encoder = EncoderConfig("whisper", width=width, layers=LAYERS, heads=2, stride=2, left_context_frames=4)
    return AcousticModel(ModelConfig(encoder, HeadConfig(layers=1, width=8)), 4)


def published() -> dict[str, np.ndarray]:
    """Random weights by OpenAI's names, float32."""
    rng = np.random.default_rng(0)
    state = model_of().encoder.state_dict()
    return {name: rng.normal(0, 1, tuple(value.shape)).astype(np.float32) for name, value in state.items()}


def variables_of(weights: Mapping[str, np.ndarray], kind: str = "float32") -> dict[str, tuple[np.ndarray, int]]:
    """Weights by CTranslate2's names, in one of its types."""
    names = {
        "conv1": "conv1", "conv2": "conv2", "ln_post": "layer_norm",
        **{
            f"blocks.{i}.{ours}": f"layer_{i}/{theirs}"
            for i in range(LAYERS)
            for ours, theirs in {
                "attn_ln": "self_attention/layer_norm", "attn.out": "self_attention/linear_1",
                "mlp_ln": "ffn/layer_norm", "mlp.0": "ffn/linear_0", "mlp.2": "ffn/linear_1",
            }.items()
        },
    }  # fmt: skip
    plain = {"encoder/position_encodings/encodings": weights["positional_embedding"]}
    for ours, theirs in names.items():
        norm = theirs.endswith("layer_norm")
        plain[f"encoder/{theirs}/{'gamma' if norm else 'weight'}"] = weights[f"{ours}.weight"]
        plain[f"encoder/{theirs}/{'beta' if norm else 'bias'}"] = weights[f"{ours}.bias"]
    for i in range(LAYERS):
        parts = {part: weights[f"blocks.{i}.attn.{part}.weight"] for part in ("query", "key", "value")}
        biases = [weights[f"blocks.{i}.attn.query.bias"], np.zeros(WIDTH), weights[f"blocks.{i}.attn.value.bias"]]
        prefix = f"encoder/layer_{i}/self_attention/linear_0"
        plain[f"{prefix}/weight"] = np.concatenate(list(parts.values()))
        plain[f"{prefix}/bias"] = np.concatenate(biases).astype(np.float32)
    found = {
        "decoder/embeddings/weight": (np.ones((5, 3), np.float32), 0),
        "encoder/num_heads": (np.array(2, np.int16), 2),
    }
    for name, value in plain.items():
        if kind in ("int8", "int16") and name.endswith("weight"):
            largest = np.abs(value.reshape(len(value), -1)).max(axis=1) if kind == "int8" else np.abs(value).max()
            scale = ((127 if kind == "int8" else 1024) / largest).astype(np.float32)
            codes = np.rint(value * scale.reshape(scale.shape + (1,) * (value.ndim - scale.ndim)))
            found[name] = (codes.astype(kind), TYPES[kind])
            found[f"{name}_scale"] = (np.asarray(scale), 0)
        elif kind == "float16":
            found[name] = (value.astype(np.float16), TYPES[kind])
        elif kind == "bfloat16":
            found[name] = ((value.view(np.uint32) >> 16).astype(np.uint16), TYPES[kind])
        else:
            found[name] = (value, 0)
    return found


@pytest.mark.parametrize(
    ("kind", "relative"),
    [("float32", 0.0), ("float16", 2**-11), ("bfloat16", 2**-7), ("int8", 0.51 / 127), ("int16", 0.51 / 1024)],
)
@pytest.mark.parametrize("file", [False, True])
def test_every_type_of_weights_fills_the_encoder(tmp_path: Path, kind: str, relative: float, file: bool) -> None:
    weights = published()
    (tmp_path / FILE).write_bytes(model_bin(variables_of(weights, kind)))
    model = model_of()
    load_whisper_encoder(model, tmp_path / FILE if file else tmp_path)
    state = model.encoder.state_dict()
    assert set(state) == set(weights)
    largest = max(np.abs(value).max() for value in weights.values())
    for name, value in state.items():
        bound = relative * largest if kind.startswith("int") else relative * np.abs(weights[name])
        assert value.dtype == torch.float32
        assert (np.abs(value.numpy() - weights[name]) <= bound + 1e-7).all(), name


def test_a_variable_may_be_another_name_of_one(tmp_path: Path) -> None:
    weights = published()
    weights["blocks.1.mlp_ln.bias"] = weights["blocks.0.mlp_ln.bias"]
    variables = variables_of(weights)
    alias, name = (f"encoder/layer_{i}/ffn/layer_norm/beta" for i in (1, 0))
    del variables[alias]
    (tmp_path / FILE).write_bytes(model_bin(variables, {alias: name, "decoder/x": "decoder/embeddings/weight"}))
    found = whisper_encoder(tmp_path)
    assert set(found) == set(weights)
    for key, value in weights.items():
        np.testing.assert_array_equal(found[key], value)


def test_another_size_of_whisper_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(model_bin(variables_of(published())))
    with pytest.raises(ConfigError, match=r"has shape .*; set encoder.width, layers and heads to the size"):
        load_whisper_encoder(model_of(16), tmp_path)


def without(part: str) -> bytes:
    return model_bin({name: value for name, value in variables_of(published()).items() if part not in name})


def changed(kind: str, name: str, value: np.ndarray, number: int) -> bytes:
    return model_bin({**variables_of(published(), kind), f"encoder/{name}": (value, number)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no CTranslate2 model of version 6, or is cut off .4 bytes are missing"),
        (model_bin({}, version=5), "is no CTranslate2 model of version 6, or is cut off .version 5"),
        (model_bin({}), "holds no Whisper encoder"),
        (without("encoder"), "holds no Whisper encoder"),
        (without("conv1"), "holds no Whisper encoder"),
        (without("/ffn/"), "holds no Whisper encoder"),
        (without("layer_1/self_attention/linear_0"), "lacks 'blocks.1.attn.key.weight' and 4 more"),
        (
            changed("float32", "conv1/weight", np.ones((8, 80, 3), np.int8), 1),
            "conv1.weight holds int8 without",
        ),
        (changed("int8", "conv1/weight_scale", np.zeros(8, np.float32), 0), "has scales of shape .8,. that cannot be"),
        (changed("int8", "conv1/weight_scale", np.ones(3, np.float32), 0), "has scales of shape .3,. that cannot be"),
        (changed("float32", "x", np.ones((1,) * 5, np.float32), 0), "x has 5 dimensions"),
        (changed("float32", "x", np.ones(3, np.float32), 1), r"x of shape \(3,\) and type 1 has 12 bytes"),
        (changed("float32", "x", np.ones(3, np.float32), 9), r"x of shape \(3,\) and type 9 has 12 bytes"),
        (struct.pack("<I", 6) + string("W") + struct.pack("<II", 3, 2**31), "2147483648 variables"),
        (struct.pack("<I", 6) + struct.pack("<H", 5000), "a name of 5000 bytes"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        load_whisper_encoder(model_of(), tmp_path)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{FILE}: weights cannot be read \(No such file"):
        load_whisper_encoder(model_of(), tmp_path)


def test_memory_is_not_taken_for_bytes_that_are_not_there(tmp_path: Path) -> None:
    import tracemalloc

    shape = (1024, 1024, 1000)
    header = struct.pack("<I", 6) + string("W") + struct.pack("<II", 3, 1) + string("encoder/conv1/weight")
    header += struct.pack("<B3IBI", 3, *shape, 1, 1024 * 1024 * 1000)
    (tmp_path / FILE).write_bytes(header + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="1048575900 bytes are missing"):
            whisper_encoder(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


SMALL = model_bin({name: value for name, value in variables_of(published(), "int8").items() if "encodings" not in name})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_an_error_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(SMALL)
    kind = data.draw(st.sampled_from(["cut", "changed", "random", "variables"]))
    if kind == "cut":
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    elif kind == "changed":
        for place, value in data.draw(
            st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1)
        ):
            whole[place] = value
    elif kind == "random":
        whole = bytearray(struct.pack("<I", 6) + data.draw(st.binary(max_size=200)))
    else:
        names = st.sampled_from([*variables_of(published(), "int8"), "encoder/layer_²/ffn/x", "encoder/layer_01/ffn/"])
        dtypes = st.sampled_from(["float32", "int8", "int16", "int32", "float16"])
        some = data.draw(
            st.dictionaries(names, st.tuples(st.lists(st.integers(0, 3), max_size=4), dtypes), min_size=1, max_size=8)
        )
        given_ = {name: (np.ones(shape, dtype), TYPES[dtype]) for name, (shape, dtype) in some.items()}
        whole = bytearray(model_bin({**variables_of(published()), **given_}))
    (tmp_path / FILE).write_bytes(whole)
    message = ""
    try:
        load_whisper_encoder(model_of(), tmp_path)
    except ConfigError as error:
        message = str(error)
    assert str(tmp_path) in message or kind in ("changed", "variables")
