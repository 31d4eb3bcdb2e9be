"""CTC scores against the sum over every alignment there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.unknown.ctc import forward, spot


def log_probs(frames: int, symbols: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (frames, symbols))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


def by_force(logs: np.ndarray, ids: list[int]) -> float:
    scores = [
        float(logs[range(len(path)), path].sum())
        for path in itertools.product(range(logs.shape[1]), repeat=len(logs))
        if collapsed(path) == ids
    ]
    return float(np.logaddexp.reduce(scores)) if scores else -np.inf


cases = st.tuples(st.integers(1, 5), st.lists(st.integers(1, 2), min_size=0, max_size=4), st.integers(0, 2**16))


@settings(max_examples=60, deadline=None)
@given(cases)
def test_forward_sums_over_all_alignments(case: tuple[int, list[int], int]) -> None:
    frames, ids, seed = case
    logs = log_probs(frames, 3, seed)
    assert forward(logs, ids) == pytest.approx(by_force(logs, ids), abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(cases.filter(lambda case: bool(case[1])))
def test_spot_sums_over_where_the_symbols_begin_and_end_too(case: tuple[int, list[int], int]) -> None:
    frames, ids, seed = case
    logs = log_probs(frames, 3, seed)
    filler = np.random.default_rng(seed + 1).normal(-1, 1, frames).astype(np.float32)
    expected = []
    for first, last in itertools.combinations(range(frames + 1), 2):
        # Within the stretch the first and last frames are symbols: blanks outside are the filler's.
        inside = [
            float(logs[range(first, last), path].sum())
            for path in itertools.product(range(3), repeat=last - first)
            if path[0] and path[-1] and collapsed(path) == ids
        ]
        outside = float(filler[:first].sum() + filler[last:].sum())
        expected += [score + outside for score in inside]
    total = float(np.logaddexp.reduce(expected)) if expected else -np.inf
    assert spot(logs, filler, ids) == pytest.approx(total, abs=1e-4)


def test_no_frames_can_emit_nothing_only() -> None:
    nothing = np.zeros((0, 3), np.float32)
    assert forward(nothing, []) == 0
    assert forward(nothing, [1]) == -np.inf
    assert spot(nothing, np.zeros(0, np.float32), [1]) == -np.inf
