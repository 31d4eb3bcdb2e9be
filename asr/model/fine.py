"""What a matrix's int8 codes leave out, in 4 bits a weight.

`asr.model.quantise` keeps a matrix as whole numbers q with a scale for every output. What that leaves out of
w = (q + r) * scale, r in [-1/2, 1/2], is kept here as one of sixteen `LEVELS`, two to a byte. So a weight takes a
quarter of its size in float16, beside the codes, at about float16's precision:

- w comes back within 1/32 of its scale, 3/64 where r > 13/32: with 7 bits within 1/2016 and 1/1344 of the largest
  weight of its output;
- r = 0, and with it that largest weight, comes back but for the rounding of the scale;
- no level is a tie, so the weights that come back have the same codes, every one: they are the same served model.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

LEVELS = np.array([-31 / 64, *(step / 16 - 0.5 for step in range(1, 15)), 29 / 64], np.float32)
"""What a 4-bit number stands for: sixteenths, and at the ends the middle of what is rounded there."""

_SLACK = 1e-4
"""By which a code may lie further than half from its value: divisions in float32."""
_TO_ONNX, _TO_TORCH = [0, 3, 1, 2], [0, 2, 3, 1]  # gates: i f g o in torch, i o f g in ONNX

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Layout = Literal["product", "lstm"]
"""Of the codes: ``product`` is (in, out), ``lstm`` (1, in, 4 H) with ONNX's order of the gates; torch has (out, in)."""


def nearest_levels(residual: Array) -> Bytes:
    """Indices into `LEVELS` of residuals in [-1/2, 1/2]; same shape."""
    return np.clip(np.rint((residual + 0.5) * 16), 0, 15).astype(np.uint8)


def pack(numbers: Bytes) -> Bytes:
    """Numbers below 16, two to a byte in row-major order, the first in the lower half; shape (ceil(size / 2),)."""
    flat = numbers.ravel()
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return np.asarray(flat[::2] | flat[1::2] << 4, np.uint8)


def unpack(packed: Bytes, shape: tuple[int, ...]) -> Bytes:
    """What `pack` was given.

    Raises:
        ValueError: not as many as the shape holds.
    """
    if packed.dtype != np.uint8 or packed.shape != ((prod(shape) + 1) // 2,):
        raise ValueError(f"{packed.dtype} of shape {packed.shape} for a matrix of shape {shape}")
    return np.stack([packed & 15, packed >> 4], axis=1).ravel()[: prod(shape)].reshape(shape)


def belongs(weight: Array, codes: Array, scale: Array, layout: Layout) -> bool:
    """Whether codes are those of a weight (out, in): each within half of it."""
    matrix = _as_served(weight, layout)
    if codes.dtype != np.int8 or matrix.shape != codes.shape:
        return False
    # The first row tells almost all strangers.
    return all(
        bool((np.abs(matrix[..., rows, :] / scale[..., None, :] - codes[..., rows, :]) <= 0.5 + _SLACK).all())
        for rows in (slice(1), slice(None))
    )


def left_out(weight: Array, codes: Array, scale: Array, layout: Layout) -> Bytes:
    """What the codes leave out of a weight (out, in), packed in the layout of the codes."""
    return pack(nearest_levels(_as_served(weight, layout) / scale[..., None, :] - codes))


def restored(packed: Bytes, codes: Array, scale: Array, layout: Layout) -> npt.NDArray[np.float32]:
    """The weight (out, in) from its codes and what `left_out` kept.

    Raises:
        ValueError: the two are of different sizes.
    """
    matrix = (codes + LEVELS[unpack(packed, codes.shape)]) * scale[..., None, :]
    return np.ascontiguousarray(_as_trained(matrix, layout), np.float32)


def _as_served(weight: Array, layout: Layout) -> Array:
    """A weight of torch in the layout of the codes; as it is where it cannot have that layout."""
    if layout == "product":
        return weight.T
    outputs, inputs = weight.shape
    if outputs % 4:
        return weight
    return weight.reshape(4, -1, inputs)[_TO_ONNX].reshape(outputs, inputs).T[None]


def _as_trained(matrix: Array, layout: Layout) -> Array:
    if layout == "product":
        return matrix.T
    _, inputs, outputs = matrix.shape
    gates: Array = matrix[0].T.reshape(4, -1, inputs)
    return gates[_TO_TORCH].reshape(outputs, inputs)
