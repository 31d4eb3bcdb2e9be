import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decode import Tokens
from asr.errors import InputError
from asr.evaluate.forced_alignment import align_words, forced_alignment


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


@settings(max_examples=60)
@given(st.integers(1, 6), st.lists(st.integers(1, 2), max_size=4), st.integers(0, 10_000))
def test_the_best_of_all_paths_is_found(frames: int, ids: list[int], seed: int) -> None:
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), frames)).astype(np.float32)
    paths = [path for path in itertools.product(range(3), repeat=frames) if collapsed(path) == ids]
    if not paths:
        with pytest.raises(InputError, match="symbols"):
            forced_alignment(log_probs, ids)
        return
    found = forced_alignment(log_probs, ids)
    best = max(paths, key=lambda path: sum(log_probs[frame, symbol] for frame, symbol in enumerate(path)))
    runs, frame = [], 0
    for symbol, group in itertools.groupby(best):
        length = len(list(group))
        if symbol:
            runs.append((symbol, frame, frame + length - 1))
        frame += length
    assert list(zip(found.ids, found.starts, found.ends, strict=True)) == runs
    for symbol, start, end, peak in zip(found.ids, found.starts, found.ends, found.peaks, strict=True):
        assert peak == log_probs[start : end + 1, symbol].max()


def test_words_have_the_times_of_their_symbols() -> None:
    tokens = Tokens.characters()
    spelled = {3: "g", 4: "o", 7: " ", 9: "u", 11: "p", 12: "p"}
    log_probs = np.full((16, len(tokens)), -9.0, np.float32)
    log_probs[:, 0] = -0.1
    for frame, letter in spelled.items():
        log_probs[frame, tokens.encode(letter)[0] if letter != " " else 1] = 0.0
        log_probs[frame, 0] = -9.0
    go, up = align_words(log_probs, "go up", tokens, 0.02)
    assert (go.word, go.start_s, go.end_s) == ("go", pytest.approx(0.06), pytest.approx(0.10))
    assert (up.word, up.start_s, up.end_s) == ("up", pytest.approx(0.18), pytest.approx(0.26))
    assert align_words(log_probs, "", tokens, 0.02) == ()
