"""From aligned symbols to words with times and confidences.

Readings of one stream have most of their words in common: with each other, and from one interim result to the next. A
`Reader` reads each of them once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Reading:
    """A text with its alignment and total log score, before confidences are known.

    Attributes:
        words: those that are not settled, see `Reader`.
        acoustic: the geometric mean of all symbols' peak posteriors, those of settled words included.
        score: of the whole.
    """

    words: tuple[Word, ...]
    acoustic: float
    score: float

    @property
    def text(self) -> str:
        return " ".join([word.word for word in self.words])


@dataclass(frozen=True, slots=True)
class _Words:
    """Complete words; the exact sum of `peaks` is that of the peaks of their `spoken` symbols."""

    words: tuple[Word, ...] = ()
    spoken: int = 0
    peaks: tuple[float, ...] = ()

    @property
    def acoustic(self) -> float:
        return _mean_posterior(self.peaks, self.spoken)


_Lists = tuple[list[int], list[int], list[int], list[float]]


class Reader:
    """Reads the alignments of one stream, all of which begin with what is settled.

    Attributes:
        words: those that are settled, with raw confidences.
    """

    def __init__(self, tokens: Tokens, frame_s: float) -> None:
        self.words: tuple[Word, ...] = ()
        self._text = ""
        self._tokens, self._frame_s = tokens, frame_s
        self._before = _Words()  # the settled words without themselves
        self._rest: _Lists = ([], [], [], [])  # settled symbols behind them, of a word that may go on
        self._seen: dict[int, _Words] = {}

    def read(self, alignment: Alignment, records: npt.NDArray[np.int32], score: float) -> Reading:
        """Groups symbols into words whose confidence is the geometric mean of their peak posteriors.

        Args:
            alignment: symbols behind those that are settled.
            records: (L,) what names each symbol together with all before it and their times, except its own end.
            score: of the whole.
        """
        symbols, names = self._lists(alignment), records.tolist()
        words, start = self._read(symbols, [-1] * len(self._rest[0]) + names)
        words = self._with_word(words, symbols, start, len(symbols[0]))
        return Reading(words.words, words.acoustic, score)

    def settle(self, alignment: Alignment) -> None:
        """Takes symbols that all readings from now on begin with; records get other names."""
        self._seen.clear()
        symbols = self._lists(alignment)
        words, start = self._read(symbols, [-1] * len(symbols[0]))
        self.words += words.words
        self._text = " ".join([*([self._text] if self._text else []), *(word.word for word in words.words)])
        self._before = replace(words, words=())
        ids, starts, ends, peaks = symbols
        self._rest = ids[start:], starts[start:], ends[start:], peaks[start:]

    def forget(self, records: int) -> None:
        """Forgets about records from this number on, which will be others."""
        if any(name >= records for name in self._seen):
            self._seen = {name: words for name, words in self._seen.items() if name < records}

    def whole(self, hypothesis: Hypothesis) -> Hypothesis:
        """A hypothesis that was read, with the settled words in front."""
        if not self.words:
            return hypothesis
        text = f"{self._text} {hypothesis.text}" if hypothesis.text else self._text
        return replace(hypothesis, text=text, words=self.words + hypothesis.words)

    def _lists(self, alignment: Alignment) -> _Lists:
        ids, starts, ends, peaks = self._rest
        return (
            ids + alignment.ids.tolist(),
            starts + alignment.starts.tolist(),
            ends + alignment.ends.tolist(),
            peaks + alignment.peaks.tolist(),
        )

    def _read(self, symbols: _Lists, names: list[int]) -> tuple[_Words, int]:
        """The complete words, and where the last one begins that may go on; from the last place that is known."""
        begins = self._tokens.begins_word
        cuts = [place for place, token in enumerate(symbols[0]) if begins[token]]
        words, start, new = self._before, 0, 0
        for number in range(len(cuts) - 1, -1, -1):
            if (seen := self._seen.get(names[cuts[number]])) is not None:
                words, start, new = seen, cuts[number], number + 1
                break
        for cut in cuts[new:]:
            words, start = self._with_word(words, symbols, start, cut), cut
            if names[cut] >= 0:
                self._seen[names[cut]] = words
        return words, start

    def _with_word(self, before: _Words, symbols: _Lists, start: int, end: int) -> _Words:
        """One more word, of the symbols from `start` to `end`."""
        ids, starts, ends, peaks = symbols
        members = [place for place in range(start, end) if self._tokens.pieces[ids[place]]]
        if not members:
            return before
        word = "".join([self._tokens.pieces[ids[place]] for place in members])
        logs = [peaks[place] for place in members]
        start_s, end_s = starts[members[0]] * self._frame_s, (ends[members[-1]] + 1) * self._frame_s
        return _Words(
            (*before.words, Word(word, start_s, end_s, _mean_posterior(logs, len(logs)))),
            before.spoken + len(logs),
            _exact_sum([*before.peaks, *logs]),
        )


def read(alignment: Alignment, tokens: Tokens, frame_s: float, score: float) -> Reading:
    """Reads one alignment by itself; see `Reader.read`."""
    return Reader(tokens, frame_s).read(alignment, np.full(len(alignment.ids), -1, np.int32), score)


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

    def support(place: int, word: Word) -> float:
        agreeing = [s for s, other in zip(shares, ranked, strict=True) if _has(other, place, word)]
        return min(1.0, math.fsum(agreeing) / total)

    return [
        Hypothesis(
            reading.text,
            tuple(
                Word(word.word, word.start_s, word.end_s, word.confidence * support(place, word))
                for place, word in enumerate(reading.words)
            ),
            reading.acoustic * share / total,
            reading.score,
        )
        for reading, share in zip(ranked[:nbest], shares[:nbest], strict=True)
    ]


def _has(reading: Reading, place: int, word: Word) -> bool:
    """Whether a reading has the same word at the same time, most probably at the same place."""
    words = reading.words
    if place < len(words) and words[place] is word:
        return True
    return any(w.word == word.word and w.start_s < word.end_s and word.start_s < w.end_s for w in words)


def _mean_posterior(logs: Sequence[float], count: int) -> float:
    """The geometric mean of `count` posteriors, of whose logs these are the sum."""
    return min(1.0, math.exp(math.fsum(logs) / count)) if count else 1.0


def _exact_sum(values: list[float]) -> tuple[float, ...]:
    """The sum as few numbers that have it exactly, for more to be added later (Shewchuk 1997)."""
    parts: list[float] = []
    while (left := math.fsum([*values, *(-part for part in parts)])) != 0.0:
        parts.append(left)
    return tuple(parts)
