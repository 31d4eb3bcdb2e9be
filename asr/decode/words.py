"""From aligned symbols to words with times and confidences.

What all readings of a stream begin with is read once and kept as a `Beginning`, so that a long stream costs no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> Alignment:
        return Alignment(self.ids[part], self.starts[part], self.ends[part], self.peaks[part])

    def __add__(self, other: Alignment) -> Alignment:
        """Both, one behind the other."""
        return Alignment(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.starts, other.starts]),
            np.concatenate([self.ends, other.ends]),
            np.concatenate([self.peaks, other.peaks]),
        )


_NOTHING = Alignment(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Beginning:
    """What all readings of a stream begin with.

    Attributes:
        text: of the complete words.
        words: these, with raw confidences.
        spoken: how many symbols they have.
        peaks: numbers whose exact sum is that of those symbols' peaks.
        rest: the symbols behind, of a word that may go on.
    """

    text: str = ""
    words: tuple[Word, ...] = ()
    spoken: int = 0
    peaks: tuple[float, ...] = ()
    rest: Alignment = _NOTHING

    def then(self, alignment: Alignment, tokens: Tokens, frame_s: float) -> Beginning:
        """The beginning when these symbols are certain as well."""
        behind = self.rest + alignment
        cuts = np.flatnonzero(np.array(tokens.begins_word)[behind.ids])
        if not len(cuts):
            return replace(self, rest=behind)
        words, spoken = _words(behind[: cuts[-1]], tokens, frame_s)
        return Beginning(
            " ".join([*([self.text] if self.text else []), *(word.word for word in words)]),
            self.words + words,
            self.spoken + len(spoken),
            _exact_sum([*self.peaks, *behind.peaks[spoken].tolist()]),
            behind[cuts[-1] :],
        )

    def joined(self, hypothesis: Hypothesis) -> Hypothesis:
        """The whole of a hypothesis that was read behind this beginning."""
        if not self.words:
            return hypothesis
        text = f"{self.text} {hypothesis.text}" if hypothesis.text else self.text
        return replace(hypothesis, text=text, words=self.words + hypothesis.words)


NO_BEGINNING = Beginning()


@dataclass(frozen=True, slots=True)
class Reading:
    """A text with its alignment and total log score, before confidences are known; its words without the beginning's.

    Attributes:
        words: behind the beginning.
        acoustic: the geometric mean of all symbols' peak posteriors, those of the beginning included.
        score: of the whole.
    """

    words: tuple[Word, ...]
    acoustic: float
    score: float

    @property
    def text(self) -> str:
        return " ".join(word.word for word in self.words)


def read(
    alignment: Alignment, tokens: Tokens, frame_s: float, score: float, beginning: Beginning = NO_BEGINNING
) -> Reading:
    """Groups aligned symbols into words whose confidence is the geometric mean of their peak posteriors.

    Args:
        alignment: the symbols behind the beginning.
        tokens: what they stand for.
        frame_s: seconds for each frame.
        score: of the whole text.
        beginning: what the text begins with.
    """
    behind = beginning.rest + alignment
    words, spoken = _words(behind, tokens, frame_s)
    peaks = [*beginning.peaks, *behind.peaks[spoken].tolist()]
    return Reading(words, _mean_posterior(peaks, beginning.spoken + len(spoken)), score)


def _words(alignment: Alignment, tokens: Tokens, frame_s: float) -> tuple[tuple[Word, ...], list[int]]:
    """The words that symbols spell, and which of the symbols do."""
    words: list[Word] = []
    members: list[int] = []
    spoken: list[int] = []
    starts, ends, peaks = alignment.starts.tolist(), alignment.ends.tolist(), alignment.peaks.tolist()
    ids = alignment.ids.tolist()

    def close() -> None:
        if not members:
            return
        word = "".join([tokens.pieces[ids[index]] for index in members])
        confidence = _mean_posterior([peaks[index] for index in members], len(members))
        words.append(Word(word, starts[members[0]] * frame_s, (ends[members[-1]] + 1) * frame_s, confidence))
        spoken.extend(members)
        members.clear()

    for index, token in enumerate(ids):
        if tokens.begins_word[token]:
            close()
        if tokens.pieces[token]:
            members.append(index)
    close()
    return tuple(words), spoken


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


def _mean_posterior(logs: list[float], count: int) -> float:
    """The geometric mean of `count` posteriors, of whose logs these are the sum."""
    return min(1.0, math.exp(math.fsum(logs) / count)) if count else 1.0


def _exact_sum(values: list[float]) -> tuple[float, ...]:
    """The sum as few numbers that have it exactly, for more to be added later (Shewchuk 1997)."""
    parts: list[float] = []
    while (left := math.fsum([*values, *(-part for part in parts)])) != 0.0:
        parts.append(left)
    return tuple(parts)
