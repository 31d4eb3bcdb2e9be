"""4 bits that int8 codes leave out: how near a weight comes back, and that its codes stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from asr.model.fine import LEVELS, belongs, left_out, nearest_levels, pack, restored, unpack

ROUNDING = 1e-5


def coded(weight: np.ndarray, layout: str, top: int = 63) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales in ONNX's layout, gate by gate."""
    if layout == "lstm":
        inputs, forget, cell, output = np.split(weight, 4)
        weight = np.concatenate([inputs, output, forget, cell])
    largest = np.abs(weight).max(axis=1)
    scale = (np.where(largest > 0, largest, 1) / top).astype(np.float32)
    codes = np.rint(weight / scale[:, None]).astype(np.int8).T
    return (codes[None], scale[None]) if layout == "lstm" else (codes, scale)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, max_side=7), elements=st.integers(0, 15)))
def test_numbers_are_packed_two_to_a_byte_and_come_back(numbers: np.ndarray) -> None:
    packed = pack(numbers)
    assert packed.nbytes == -(-numbers.size // 2)
    np.testing.assert_array_equal(unpack(packed, numbers.shape), numbers)
    with pytest.raises(ValueError, match="shape"):
        unpack(packed, (numbers.size + 2,))


@given(st.floats(-0.5, 0.5, width=32))
def test_a_residual_comes_back_near_and_is_no_tie(residual: float) -> None:
    found = LEVELS[nearest_levels(np.array(residual, np.float32))]
    assert abs(found - residual) <= (3 / 64 if residual > 13 / 32 else 1 / 32) + 1e-7
    assert abs(found) < 0.5
    assert residual or not found


@given(
    seed=st.integers(0, 1000),
    units=st.integers(1, 9),
    inputs=st.integers(1, 33),
    top=st.sampled_from([63, 127]),
    layout=st.sampled_from(["product", "lstm"]),
)
def test_weights_come_back_within_the_bound_and_with_the_same_codes(
    seed: int, units: int, inputs: int, top: int, layout: str
) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.normal(0, 1, (4 * units, inputs)) * 10 ** rng.uniform(-3, 3, (4 * units, 1))).astype(np.float32)
    weight[rng.integers(4 * units)] = 0
    codes, scale = coded(weight, layout, top)
    assert belongs(weight, codes, scale, layout)

    packed = left_out(weight, codes, scale, layout)
    found = restored(packed, codes, scale, layout)

    assert packed.nbytes == -(-weight.size // 2)
    assert found.dtype == np.float32
    row_scale = np.abs(weight).max(axis=1, keepdims=True) / top
    assert (np.abs(found - weight) <= row_scale * (3 / 64 + ROUNDING * top)).all()
    largest = np.abs(weight) == np.abs(weight).max(axis=1, keepdims=True)
    np.testing.assert_allclose(found[largest], weight[largest], rtol=1e-6)
    again, again_scale = coded(found, layout, top)
    np.testing.assert_array_equal(again, codes)
    used = np.abs(codes).max(axis=-2) > 0
    np.testing.assert_allclose(again_scale[used], scale[used], rtol=1e-6)


def test_codes_belong_to_one_matrix_in_one_layout() -> None:
    rng = np.random.default_rng(0)
    weight, other = rng.normal(0, 1, (2, 16, 16)).astype(np.float32)
    for layout, wrong in (("product", "lstm"), ("lstm", "product")):
        codes, scale = coded(weight, layout)
        assert belongs(weight, codes, scale, layout)
        assert not belongs(other, codes, scale, layout)
        assert not belongs(weight, codes, scale, wrong)
        assert not belongs(weight.T, codes, scale, layout)
        assert not belongs(weight[:15], codes, scale, layout)
        one = weight.copy()
        one[3, 5] += np.abs(weight[3]).max() / 60
        assert not belongs(one, codes, scale, layout)
        assert not belongs(weight, codes.astype(np.uint8), scale, layout)
