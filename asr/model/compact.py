"""A file of float weights that leans on the served model beside it: of its matrices it holds what the codes leave out.

Safetensors: a matrix that the ONNX file holds as codes is stored as bytes (`asr.model.fine`), all else in float16. The
metadata tell which constants of the ONNX file hold which weight, and a hash of those constants. Files without such
metadata hold everything in float16.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.errors import ConfigError
from asr.model.fine import Array, Layout, belongs, left_out, restored

_KEY = "dengar.compact"


@dataclass(frozen=True)
class Coded:
    """Where the codes of a weight lie.

    Attributes:
        codes: constant of the ONNX file, int8.
        scale: constant of the ONNX file, float32, one for each output.
        layout: of the codes.
        shape: of the weight in torch, (out, in).
    """

    codes: str
    scale: str
    layout: Layout
    shape: tuple[int, ...]


def save(weights: Mapping[str, Array], path: Path, served: Path) -> None:
    """Writes weights in the compact form.

    Args:
        weights: float arrays by their names in torch.
        path: file to write.
        served: the ONNX file that will lie beside it, as `asr.model.quantise` makes it from these weights. Codes are
            found by comparing values; a weight without codes stays float16.
    """
    from safetensors.numpy import save_file

    constants = _constants(served)
    stored: dict[str, Array] = {}
    matrices: dict[str, Coded] = {}
    for name, value in weights.items():
        match = _match(value, constants) if value.ndim == 2 else None
        if match is None:
            stored[name] = np.asarray(value, np.float16, order="C")
        else:
            matrices[name] = match
            stored[name] = left_out(value, constants[match.codes], constants[match.scale], match.layout)
    about = {
        "beside": served.name,
        "sha256": _digest(matrices, constants),
        "matrices": {name: asdict(match) for name, match in sorted(matrices.items())},
    }
    save_file(stored, path, {_KEY: json.dumps(about)} if matrices else None)


def load(path: Path) -> dict[str, Array] | None:
    """Weights by their names in torch, float32 and float16; None if the file leans on no other.

    Raises:
        ConfigError: the served model beside it is missing, or another one.
    """
    from safetensors.numpy import load_file

    about = _about(path)
    if about is None:
        return None
    served = path.parent / Path(about["beside"]).name
    matrices = {name: Coded(**{**entry, "shape": tuple(entry["shape"])}) for name, entry in about["matrices"].items()}
    try:
        constants = _constants(served)
    except OSError as error:
        raise ConfigError(
            f"{path}: needs {served.name} beside it, which cannot be read ({error.strerror}); copy the whole bundle"
        ) from error
    except Exception as error:  # protobuf's, which has no public name
        raise ConfigError(f"{path}: needs {served.name} beside it, which is damaged; copy the bundle again") from error
    if _digest(matrices, constants) != about["sha256"]:
        raise ConfigError(f"{path}: was written beside another {served.name}; take both from the same bundle")
    weights: dict[str, Array] = load_file(path)
    for name, coded in matrices.items():
        weights[name] = restored(weights[name], constants[coded.codes], constants[coded.scale], coded.layout)
    return weights


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights in a compact or plain file by their names in torch; the served model is not needed."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 is no mapping
    matrices = (_about(path) or {"matrices": {}})["matrices"]
    return stored | {name: tuple(entry["shape"]) for name, entry in matrices.items()}


def _about(path: Path) -> dict[str, Any] | None:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
    return json.loads(metadata[_KEY]) if _KEY in metadata else None


def _constants(served: Path) -> dict[str, Array]:
    """The codes in an ONNX file, and their scales."""
    import onnx

    entries = {entry.name: entry for entry in onnx.load(str(served)).graph.initializer}
    names = [name for codes, scale, _ in _pairs(entries) for name in (codes, scale)]
    return {name: onnx.numpy_helper.to_array(entries[name]) for name in names}


def _pairs(names: Mapping[str, Any]) -> Iterator[tuple[str, str, Layout]]:
    """Codes, their scales and their layouts, by the names that `asr.model.quantise` gives them."""
    for name in names:
        stem, _, kind = name.rpartition(".")
        if kind == "weight" and f"{stem}.scale" in names:
            yield name, f"{stem}.scale", "product"
        elif kind in ("input", "recurrent") and f"{name}.scale" in names:
            yield name, f"{name}.scale", "lstm"


def _match(weight: Array, constants: Mapping[str, Array]) -> Coded | None:
    """The codes that are this weight's. Values tell: a block's query, key and value have one shape."""
    for codes, scale, layout in _pairs(constants):
        if belongs(weight, constants[codes], constants[scale], layout):
            return Coded(codes, scale, layout, weight.shape)
    return None


def _digest(matrices: Mapping[str, Coded], constants: Mapping[str, Array]) -> str:
    """Of the codes and scales that are leant on; a missing one counts as empty."""
    digest = hashlib.sha256()
    for _, coded in sorted(matrices.items()):
        for name in (coded.codes, coded.scale):
            digest.update(np.asarray(constants.get(name, ()), order="C").tobytes())
    return digest.hexdigest()
