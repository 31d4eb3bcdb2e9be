"""What the posteriors spell, whatever the lexicon says: greedy letters, and the likeliest spellings of a stretch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decode import Decoder, LanguageModel, Tokens
from asr.decode.spelling import spelling_model
from asr.decode.types import LogProbs
from asr.unknown.types import Spelling

_PRUNE_LOG = -7.0
_NO = -math.inf


@dataclass(frozen=True, slots=True)
class Letters:
    """A letter 4-gram of the lexicon (see `asr.decode.spelling`).

    Attributes:
        index: of each letter.
        logs: (contexts, letters + 1) natural-log probabilities of each letter, and of the word's end, after a context.
    """

    index: dict[str, int]
    logs: npt.NDArray[np.float32]

    @classmethod
    def of(cls, lm: LanguageModel, tokens: Tokens) -> Letters:
        """The letters of a language model's words, as far as the symbols can spell them."""
        alphabet = sorted(set("".join(tokens.pieces)))
        index = {letter: number for number, letter in enumerate(alphabet)}
        words = [word for word in lm.words if index.keys() >= set(word)]
        letters = np.array([index[letter] for word in words for letter in word], np.int32)
        offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
        return cls(index, spelling_model(letters, offsets, len(alphabet)))

    @property
    def start(self) -> int:
        """The context before a word."""
        return len(self.logs) - 1

    def follow(self, context: int, letters: str) -> tuple[float, int]:
        """The log-probability of letters within a word, and the context after them."""
        score, base = 0.0, self.logs.shape[1]
        for letter in letters:
            number = self.index[letter]
            score += float(self.logs[context, number])
            context = (context * base + number) % len(self.logs)
        return score, context

    def end(self, context: int) -> float:
        """The log-probability that the word ends there."""
        return float(self.logs[context, -1])

    def word(self, word: str) -> float:
        """The log-probability of a word's letters and its end; letters without a symbol score as nothing."""
        score, context = self.follow(self.start, "".join(letter for letter in word if letter in self.index))
        return score + self.end(context)


_LETTERS: weakref.WeakKeyDictionary[Decoder, Letters] = weakref.WeakKeyDictionary()


def letters_of(decoder: Decoder) -> Letters:
    """The letter 4-gram of a decoder's lexicon, made once for each decoder; it must have a language model."""
    if (found := _LETTERS.get(decoder)) is None:
        assert decoder.lm is not None
        found = _LETTERS[decoder] = Letters.of(decoder.lm, decoder.tokens)
    return found


_LEXICAL: weakref.WeakKeyDictionary[Decoder, Decoder] = weakref.WeakKeyDictionary()


def lexicon_only(decoder: Decoder) -> Decoder:
    """A decoder that reads words of the lexicon only and hardly minds their order, made once for each decoder.

    What it makes of a stretch is the best that known words can do there, whatever the language model expects.
    """
    if (found := _LEXICAL.get(decoder)) is None:
        settings = replace(
            decoder.config, kind="beam", beam_width=24, lm_weight=0.2, word_bonus=-1.0, unknown_cost=60.0,
            spelling_weight=0.0, nbest=1, calibration=None,
        )  # fmt: skip
        found = _LEXICAL[decoder] = Decoder(decoder.tokens, settings, decoder.frame_s, decoder.lm)
    return found


def greedy_ids(log_probs: LogProbs) -> list[int]:
    """The best symbol of each frame, repeats merged, blanks dropped."""
    best = log_probs.argmax(axis=1)
    runs = best[np.flatnonzero(np.diff(best, prepend=-1))]
    return [int(symbol) for symbol in runs if symbol]


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == _NO else high + math.log1p(math.exp(low - high))


@dataclass(slots=True)
class _Prefix:
    """A prefix with the log sums over its alignments that end in a blank and in a symbol, and its letters' score."""

    blank: float
    symbol: float
    letters: float
    context: int

    @property
    def total(self) -> float:
        return _log_add(self.blank, self.symbol)


def spellings(
    log_probs: LogProbs,
    tokens: Tokens,
    letters: Letters,
    *,
    count: int = 8,
    width: int = 24,
    weight: float = 0.3,
) -> tuple[Spelling, ...]:
    """The likeliest texts of a stretch of speech by a prefix beam over symbols with a letter n-gram.

    Args:
        log_probs: (T, V) natural-log posteriors of the stretch.
        tokens: its symbols.
        letters: what words look like.
        count: how many at most.
        width: prefixes kept after each frame.
        weight: of the natural-log probability of the letters beside that of the frames.

    Returns:
        Best first; log-probabilities are normalised over the list. Empty if silence is likeliest.
    """
    beam: dict[tuple[int, ...], _Prefix] = {(): _Prefix(0.0, _NO, 0.0, letters.start)}
    for row in log_probs:
        kept = [int(symbol) for symbol in np.flatnonzero(row >= min(_PRUNE_LOG, float(row.max())))]
        beam = _advance(beam, row, kept, tokens, letters)
        ranked = sorted(beam.items(), key=lambda item: -(item[1].total + weight * item[1].letters))
        beam = dict(ranked[:width])
    found: dict[str, float] = {}
    for ids, prefix in beam.items():
        text = tokens.decode(ids)
        ended = letters.end(prefix.context) if _open(ids, tokens) else 0.0
        score = prefix.total + weight * (prefix.letters + ended)
        found[text] = _log_add(found.get(text, _NO), score)
    best = sorted(((score, text) for text, score in found.items()), key=lambda pair: (-pair[0], pair[1]))
    if not best or not best[0][1]:
        return ()
    best = [(score, text) for score, text in best if text][:count]
    total = float(np.logaddexp.reduce([score for score, _ in best]))
    return tuple(Spelling(text, score - total) for score, text in best)


def _advance(
    beam: dict[tuple[int, ...], _Prefix], row: npt.NDArray[Any], kept: Sequence[int], tokens: Tokens, letters: Letters
) -> dict[tuple[int, ...], _Prefix]:
    """One frame of CTC prefix search (Hannun et al. 2014)."""
    new: dict[tuple[int, ...], _Prefix] = {}
    for ids, prefix in beam.items():
        both = prefix.total
        stay = new.get(ids) or new.setdefault(ids, _Prefix(_NO, _NO, prefix.letters, prefix.context))
        for symbol in kept:
            log_prob = float(row[symbol])
            if symbol == 0:
                stay.blank = _log_add(stay.blank, both + log_prob)
                continue
            bare = not tokens.pieces[symbol]
            if bare and not _open(ids, tokens):  # a second separator, or one in front, says nothing
                stay.symbol = _log_add(stay.symbol, both + log_prob)
                continue
            grows = both
            if ids and symbol == ids[-1]:
                stay.symbol = _log_add(stay.symbol, prefix.symbol + log_prob)
                grows = prefix.blank
            if grows == _NO:
                continue
            longer = (*ids, symbol)
            if (grown := new.get(longer)) is None:
                grown = new[longer] = _Prefix(_NO, _NO, *_spelled(ids, prefix, symbol, tokens, letters))
            grown.symbol = _log_add(grown.symbol, grows + log_prob)
    return new


def _open(ids: Sequence[int], tokens: Tokens) -> bool:
    """Whether the symbols end within a word."""
    return bool(ids and tokens.pieces[ids[-1]])


def _spelled(ids: Sequence[int], prefix: _Prefix, symbol: int, tokens: Tokens, letters: Letters) -> tuple[float, int]:
    """The letters' score and context when a symbol follows a prefix."""
    score, context = prefix.letters, prefix.context
    if tokens.begins_word[symbol] and _open(ids, tokens):
        score, context = score + letters.end(context), letters.start
    more, context = letters.follow(context, tokens.pieces[symbol])
    return score + more, context
