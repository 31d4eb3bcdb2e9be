"""What fuzzing does to bytes, as Hypothesis strategies, and how much of it.

``DENGAR_FUZZ_EXAMPLES=5000 pytest tests/services/fuzz`` looks longer, and each time elsewhere; without it the examples
are few and always the same.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MORE = int(os.environ.get("DENGAR_FUZZ_EXAMPLES", "0"))
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def examples(number: int) -> settings:
    """So many examples, or as many as the environment wants."""
    return settings(
        max_examples=MORE or number,
        derandomize=not MORE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


@st.composite
def mutated(draw: Callable, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Bytes with one to eight changes, most of them near the beginning, where the headers are."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        near = draw(st.booleans())
        at = draw(st.integers(0, min(len(data), 128) if near else len(data)))
        match draw(st.sampled_from(("set", "flip", "number", "insert", "delete", "repeat", "cut", "cross"))):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "number":
                value = draw(st.sampled_from(_EDGES) | st.integers(0, 2**32 - 1))
                data[at : at + 4] = value.to_bytes(4, draw(st.sampled_from(("little", "big"))))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=32))
            case "delete":
                del data[at : at + draw(st.integers(1, 256))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 256))] * draw(st.integers(1, 3))
            case "cut":
                del data[at:]
            case "cross" if others:
                other = draw(st.sampled_from(list(others)))
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@st.composite
def cuts(draw: Callable, data: bytes) -> list[bytes]:
    """The same bytes in packets of any size; some may be empty."""
    if len(data) <= 600 and draw(st.integers(0, 9)) == 0:
        return [data[at : at + 1] for at in range(len(data))]
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=12))), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
