"""From aligned symbols to words with times and confidences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.decode.types import Hypothesis, Tokens, Word


@dataclass(frozen=True, slots=True)
class Alignment:
    """The symbols of one text and the frames that emit them.

    Attributes:
        ids: (L,) symbol indices.
        starts: (L,) first frame of each symbol.
        ends: (L,) last frame of each, inclusive.
        peaks: (L,) each symbol's highest log-posterior within its frames.
    """

    ids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    peaks: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text with its alignment and total log score, before confidences are known."""

    words: tuple[Word, ...]
    acoustic: float
    score: float

    @property
    def text(self) -> str:
        return " ".join(word.word for word in self.words)


def read(alignment: Alignment, tokens: Tokens, frame_s: float, score: float) -> Reading:
    """Groups aligned symbols into words whose confidence is the geometric mean of their peak posteriors."""
    words: list[Word] = []
    members: list[int] = []
    spoken: list[int] = []

    def close() -> None:
        if not members:
            return
        first, last = members[0], members[-1]
        word = "".join(tokens.pieces[alignment.ids[index]] for index in members)
        start_s, end_s = float(alignment.starts[first]) * frame_s, float(alignment.ends[last] + 1) * frame_s
        words.append(Word(word, start_s, end_s, _geometric_mean(alignment.peaks[members])))
        spoken.extend(members)
        members.clear()

    for index, token in enumerate(alignment.ids):
        if tokens.begins_word[token]:
            close()
        if tokens.pieces[token]:
            members.append(index)
    close()
    return Reading(tuple(words), _geometric_mean(alignment.peaks[spoken]), score)


def interim(reading: Reading) -> Hypothesis:
    """The reading with acoustic confidences only."""
    return Hypothesis(reading.text, reading.words, reading.acoustic, reading.score)


def rank(readings: list[Reading], nbest: int) -> list[Hypothesis]:
    """Distinct texts, best first, with confidences by the readings' shares of the total probability.

    Readings of the same text are added up; the times are those of the best among them.
    """
    merged: dict[str, Reading] = {}
    for reading in sorted(readings, key=lambda reading: -reading.score):
        if (best := merged.get(reading.text)) is None:
            merged[reading.text] = reading
        else:
            merged[reading.text] = Reading(best.words, best.acoustic, float(np.logaddexp(best.score, reading.score)))
    ranked = sorted(merged.values(), key=lambda reading: (-reading.score, reading.text))
    shares = [math.exp(reading.score - ranked[0].score) for reading in ranked]
    total = math.fsum(shares)

    def support(word: Word) -> float:
        return min(1.0, math.fsum(s for s, other in zip(shares, ranked, strict=True) if _has(other, word)) / total)

    return [
        Hypothesis(
            reading.text,
            tuple(Word(w.word, w.start_s, w.end_s, w.confidence * support(w)) for w in reading.words),
            reading.acoustic * share / total,
            reading.score,
        )
        for reading, share in zip(ranked[:nbest], shares[:nbest], strict=True)
    ]


def _has(reading: Reading, word: Word) -> bool:
    return any(w.word == word.word and w.start_s < word.end_s and word.start_s < w.end_s for w in reading.words)


def _geometric_mean(logs: npt.NDArray[np.float32]) -> float:
    return min(1.0, math.exp(math.fsum(logs.tolist()) / len(logs))) if len(logs) else 1.0
