"""Whisper's encoder out of a CTranslate2 model (the folder that ``faster-whisper`` loads), under its published names.

The format is CTranslate2's ``model.bin``, version 6 (OpenNMT, ``python/ctranslate2/specs/model_spec.py``): a header,
then the variables with their shapes, then aliases: other names of variables. A string is its length with the closing
zero, then its bytes.
"""

from __future__ import annotations

import os
import struct
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from asr.errors import ConfigError

FILE = "model.bin"
VERSION = 6
_PREFIX = "encoder/"
_MAX_NAME, _MAX_RANK, _MAX_VARIABLES = 1024, 4, 100_000
_TYPES: dict[int, type[np.generic]] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_BFLOAT16 = 5
_BYTES = {code: np.dtype(kind).itemsize for code, kind in _TYPES.items()} | {_BFLOAT16: 2}

Array = npt.NDArray[np.generic]

# Of a layer: our names after Whisper's, by those of CTranslate2.
_LAYER = {
    "self_attention/layer_norm/gamma": "attn_ln.weight",
    "self_attention/layer_norm/beta": "attn_ln.bias",
    "self_attention/linear_1/weight": "attn.out.weight",
    "self_attention/linear_1/bias": "attn.out.bias",
    "ffn/layer_norm/gamma": "mlp_ln.weight",
    "ffn/layer_norm/beta": "mlp_ln.bias",
    "ffn/linear_0/weight": "mlp.0.weight",
    "ffn/linear_0/bias": "mlp.0.bias",
    "ffn/linear_1/weight": "mlp.2.weight",
    "ffn/linear_1/bias": "mlp.2.bias",
}
_TOP = {
    "conv1/weight": "conv1.weight",
    "conv1/bias": "conv1.bias",
    "conv2/weight": "conv2.weight",
    "conv2/bias": "conv2.bias",
    "position_encodings/encodings": "positional_embedding",
    "layer_norm/gamma": "ln_post.weight",
    "layer_norm/beta": "ln_post.bias",
}


def whisper_encoder(path: Path) -> dict[str, Array]:
    """The encoder's weights, float32 or float16, by OpenAI's names without the prefix ``encoder.``.

    Args:
        path: folder of the model, or its ``model.bin``.

    Raises:
        ConfigError: the file cannot be read, is cut off, is of another version, or holds no Whisper encoder.
    """
    path = path / FILE if path.is_dir() else path
    try:
        with path.open("rb") as file:
            raw = _variables(file)
        values = {name: _unscaled(name, value, raw.get(f"{name}_scale")) for name, value in raw.items()}
    except OSError as error:
        raise ConfigError(f"{path}: weights cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no CTranslate2 model of version {VERSION}, or is cut off ({error})") from error
    found = {ours: values[theirs] for theirs, ours in _TOP.items() if theirs in values}
    numbers = {name.split("/")[0].removeprefix("layer_") for name in values if "/ffn/" in name}
    layers = sorted(int(number) for number in numbers if number.isdecimal())
    for layer in layers:
        prefix = f"layer_{layer}/"
        named = {ours: values.get(prefix + theirs) for theirs, ours in _LAYER.items()}
        found |= {f"blocks.{layer}.{ours}": value for ours, value in named.items() if value is not None}
        for kind in ("weight", "bias"):
            fused = values.get(f"{prefix}self_attention/linear_0/{kind}")
            if fused is None or not fused.ndim or len(fused) % 3:
                continue
            for part, value in zip(("query", "key", "value"), np.split(fused, 3), strict=True):
                # Whisper's key has no bias; CTranslate2 fills its place with zeros.
                if (part, kind) != ("key", "bias"):
                    found[f"blocks.{layer}.attn.{part}.{kind}"] = value
    if not layers or "conv1.weight" not in found:
        raise ConfigError(f"{path}: holds no Whisper encoder")
    for name, value in found.items():
        if value.dtype.kind != "f":
            raise ConfigError(f"{path}: {name} holds {value.dtype} without a scale; convert the model again")
    return found


def _variables(file: BinaryIO) -> dict[str, Array]:
    """The encoder's variables without their prefix; the others are passed over."""
    version = _number(file, "I")
    if version != VERSION:
        raise ValueError(f"version {version}")
    _string(file)
    _number(file, "I")
    found: dict[str, Array] = {}
    for _ in range(_count(file)):
        name = _string(file)
        rank = _number(file, "B")
        if rank > _MAX_RANK:
            raise ValueError(f"{name} has {rank} dimensions")
        shape = tuple(_number(file, "I") for _ in range(rank))
        kind, size = _number(file, "B"), _number(file, "I")
        if kind not in _BYTES or size != _BYTES[kind] * prod(shape):
            raise ValueError(f"{name} of shape {shape} and type {kind} has {size} bytes")
        if name.startswith(_PREFIX):
            found[name.removeprefix(_PREFIX)] = _array(_exactly(file, size), kind).reshape(shape)
        else:
            _pass(file, size)
    for _ in range(_count(file)):
        alias, name = _string(file).removeprefix(_PREFIX), _string(file).removeprefix(_PREFIX)
        if name in found:
            found.setdefault(alias, found[name])
    return found


def _array(data: bytes, kind: int) -> Array:
    if kind == _BFLOAT16:
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, _TYPES[kind])


def _unscaled(name: str, value: Array, scale: Array | None) -> Array:
    """Integer weights have been multiplied by a scale a row, or by one for all."""
    if scale is None:
        return value
    factors = np.asarray(scale, np.float32)
    if factors.shape not in ((), value.shape[:1]) or not (np.isfinite(factors) & (factors > 0)).all():
        raise ValueError(f"{name} of shape {value.shape} has scales of shape {factors.shape} that cannot be")
    with np.errstate(over="ignore"):
        plain = np.asarray(value, np.float32) / factors.reshape(factors.shape + (1,) * (value.ndim - factors.ndim))
    return np.asarray(plain)


def _count(file: BinaryIO) -> int:
    count = _number(file, "I")
    if count > _MAX_VARIABLES:
        raise ValueError(f"{count} variables")
    return count


def _number(file: BinaryIO, kind: str) -> int:
    (value,) = struct.unpack(f"<{kind}", _exactly(file, struct.calcsize(f"<{kind}")))
    return int(value)


def _string(file: BinaryIO) -> str:
    length = _number(file, "H")
    if not 1 <= length <= _MAX_NAME:
        raise ValueError(f"a name of {length} bytes")
    return _exactly(file, length)[:-1].decode()


def _exactly(file: BinaryIO, size: int) -> bytes:
    _check(file, size)
    return file.read(size)


def _pass(file: BinaryIO, size: int) -> None:
    _check(file, size)
    file.seek(size, os.SEEK_CUR)


def _check(file: BinaryIO, size: int) -> None:
    """Before memory is taken for what a damaged file promises."""
    missing = size - (os.fstat(file.fileno()).st_size - file.tell())
    if missing > 0:
        raise ValueError(f"{missing} bytes are missing")
