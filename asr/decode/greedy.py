"""Greedy CTC decoding: the best symbol of each frame, repeats merged, blanks dropped (Graves et al. 2006)."""

from __future__ import annotations

import numpy as np

from asr.decode.types import Hypothesis, LogProbs, Tokens
from asr.decode.words import Alignment, Reading, interim, read


class GreedySearch:
    """The state of one stream; `score` is the log-probability of the single best alignment."""

    def __init__(self, tokens: Tokens, frame_s: float) -> None:
        self._tokens, self._frame_s = tokens, frame_s
        self._ids: list[np.ndarray] = []
        self._peaks: list[np.ndarray] = []

    def accept(self, log_probs: LogProbs) -> None:
        """Takes frames of shape (T, V)."""
        self._ids.append(log_probs.argmax(axis=1).astype(np.int32))
        self._peaks.append(log_probs.max(axis=1))

    @property
    def settled(self) -> int:
        """Of the words, none: the last frames may always go on with what was there."""
        return 0

    @property
    def nbytes(self) -> int:
        """Size of what is kept of each frame."""
        return sum(array.nbytes for array in (*self._ids, *self._peaks))

    def preview(self, log_probs: LogProbs) -> tuple[Hypothesis, tuple[float, float]]:
        """`best` and `agreement` if these frames (T, V) came next; then all is as before."""
        other = GreedySearch(self._tokens, self._frame_s)
        other._ids, other._peaks = list(self._ids), list(self._peaks)
        other.accept(log_probs)
        return other.best(), other.agreement()

    def agreement(self) -> tuple[float, float]:
        """Greedy decoding has one reading, which agrees with itself."""
        return 1.0, 1.0

    def best(self) -> Hypothesis:
        """The text so far."""
        return interim(self._read())

    def finish(self, nbest: int) -> list[Hypothesis]:  # noqa: ARG002 (greedy decoding has one reading)
        """The one text there is."""
        return [self.best()]

    def _read(self) -> Reading:
        if not self._ids:
            return Reading((), 1.0, 0.0)
        self._ids, self._peaks = [np.concatenate(self._ids)], [np.concatenate(self._peaks)]
        ids, peaks = self._ids[0], self._peaks[0]
        starts = np.flatnonzero(np.diff(ids, prepend=-1)).astype(np.int32)
        ends = (np.append(starts[1:], len(ids)) - 1).astype(np.int32)
        highest = np.maximum.reduceat(peaks, starts)
        kept = ids[starts] != 0
        runs = Alignment(ids[starts][kept], starts[kept], ends[kept], highest[kept])
        return read(runs, self._tokens, self._frame_s, float(peaks.sum(dtype=np.float64)))
