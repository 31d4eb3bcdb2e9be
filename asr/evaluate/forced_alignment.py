"""When each symbol of a known text is spoken: the best path through CTC's lattice (Viterbi)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asr.decode.types import LogProbs, Tokens, Word
from asr.decode.words import Alignment, read
from asr.errors import InputError

BLANK_ID = 0


def forced_alignment(log_probs: LogProbs, ids: Sequence[int]) -> Alignment:
    """The most probable way in which the frames emit the symbols in order, blanks between (Graves et al. 2006).

    Args:
        log_probs: (T, V) natural-log posteriors, blank at 0.
        ids: (L,) symbols without blanks.

    Raises:
        InputError: too few frames for the symbols, or symbols that the frames cannot emit.
    """
    frames, symbols = len(log_probs), np.asarray(ids, dtype=np.int32)
    lattice = np.zeros(2 * len(symbols) + 1, dtype=np.int32)  # blank, symbol, blank, ..., blank
    lattice[1::2] = symbols
    skips = np.zeros(len(lattice), dtype=bool)  # from a symbol to another without a blank between
    skips[3::2] = symbols[1:] != symbols[:-1]
    if frames == 0:
        raise InputError(f"alignment: no frames for {len(symbols)} symbols")
    best = np.full(len(lattice), -np.inf)
    best[:2] = log_probs[0, lattice[:2]]
    moves = np.zeros((frames, len(lattice)), dtype=np.int8)
    for frame in range(1, frames):
        ways = np.full((3, len(lattice)), -np.inf)
        ways[0] = best
        ways[1, 1:] = best[:-1]
        ways[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        moves[frame] = ways.argmax(axis=0)
        best = np.take_along_axis(ways, moves[frame][None].astype(np.intp), axis=0)[0] + log_probs[frame, lattice]
    place = len(lattice) - 1
    if len(symbols) and best[-2] > best[-1]:
        place -= 1
    if not np.isfinite(best[place]):
        raise InputError(f"alignment: {frames} frames cannot emit {len(symbols)} symbols")
    path = np.zeros(frames, dtype=np.int32)
    for frame in range(frames - 1, -1, -1):
        path[frame] = place
        place -= int(moves[frame, place])
    return _spans(path, symbols, log_probs)


def align_words(log_probs: LogProbs, text: str, tokens: Tokens, frame_s: float) -> tuple[Word, ...]:
    """The words of a text with their times; confidences are geometric means of the symbols' highest posteriors.

    Raises:
        TextError: a character that no symbol spells.
        InputError: too few frames.
    """
    return read(forced_alignment(log_probs, tokens.encode(text)), tokens, frame_s, 0.0).words


def _spans(path: npt.NDArray[np.int32], symbols: npt.NDArray[np.int32], log_probs: LogProbs) -> Alignment:
    """The first and last frame of each symbol along a path of lattice places."""
    places = 2 * np.arange(len(symbols)) + 1
    starts = np.searchsorted(path, places, side="left").astype(np.int32)
    ends = (np.searchsorted(path, places, side="right") - 1).astype(np.int32)
    peaks = [log_probs[start : end + 1, symbol].max() for start, end, symbol in zip(starts, ends, symbols, strict=True)]
    return Alignment(symbols, starts, ends, np.array(peaks, dtype=np.float32))
