"""What decoding is about: output symbols, words and hypotheses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from asr.errors import ConfigError, TextError

LogProbs = npt.NDArray[np.float32]
"""Natural-log posteriors of shape (T frames, V symbols)."""

BLANK = "<blank>"
WORD_MARK = "▁"


class Tokens:
    """The symbols of the acoustic model's output; index 0 is the CTC blank.

    Words are separated either by a symbol of its own (``" "``, with character symbols) or by symbols that begin
    with `WORD_MARK` (``"▁the"``, as SentencePiece writes subwords).

    Args:
        symbols: distinct and not empty, the blank first.

    Raises:
        ConfigError: no blank in front, a repeated or empty symbol, or no way to separate words.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        if not self.symbols or self.symbols[0] != BLANK:
            raise ConfigError(f"tokens: the first symbol must be {BLANK!r}, found {self.symbols[:1]}")
        if len(set(self.symbols)) < len(self.symbols) or not all(self.symbols):
            raise ConfigError("tokens: symbols must be distinct and not empty")
        if not any(self.begins_word):
            raise ConfigError(f"tokens: no symbol separates words; add ' ' or symbols that begin with {WORD_MARK!r}")

    @classmethod
    def characters(cls) -> Tokens:
        """The default inventory: blank, space, apostrophe, a to z."""
        return cls([BLANK, " ", "'", *"abcdefghijklmnopqrstuvwxyz"])

    def __len__(self) -> int:
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self.symbols == other.symbols

    def __hash__(self) -> int:
        return hash(self.symbols)

    def __repr__(self) -> str:
        return f"Tokens({len(self)} symbols)"

    @cached_property
    def begins_word(self) -> tuple[bool, ...]:
        """For each symbol whether it ends the word before it and begins another."""
        return tuple(symbol[0] in (" ", WORD_MARK) for symbol in self.symbols)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """For each symbol the letters it adds to a word; empty for the blank and for a bare separator."""
        return ("", *(symbol.replace(WORD_MARK, "").replace(" ", "") for symbol in self.symbols[1:]))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols) if index}

    def encode(self, text: str) -> list[int]:
        """Indices of the symbols that spell `text`, at each place the longest that fits.

        Raises:
            TextError: a character that no symbol spells.
        """
        words = text.split()
        marked = " ".join(words) if " " in self._ids else "".join(WORD_MARK + word for word in words)
        longest = max(map(len, self._ids))
        ids: list[int] = []
        place = 0
        while place < len(marked):
            for end in range(min(len(marked), place + longest), place, -1):
                if (index := self._ids.get(marked[place:end])) is not None:
                    ids.append(index)
                    place = end
                    break
            else:
                raise TextError(f"cannot spell {text!r}: no symbol for {marked[place]!r}")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text that `ids` spell, single-spaced; blanks add nothing, repeated indices are kept."""
        spelled = "".join(self.symbols[index] for index in ids if index)
        return " ".join(spelled.replace(WORD_MARK, " ").split())


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    Attributes:
        start_s: seconds from the start of the audio to the first frame that emits the word.
        end_s: seconds to the end of the last frame that emits it; CTC emits in peaks, so a little early.
        confidence: in [0, 1]; see `Hypothesis`.
    """

    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One reading of the audio.

    Attributes:
        text: the words, single-spaced.
        words: the same with times and confidences.
        confidence: in [0, 1]. With a `Calibration` (see `asr.decode.config`) the probability that the word, or every
            word of the text, is right. Without one raw: of a word, the geometric mean of its symbols' posteriors at
            their peaks, times the share of the beam's probability in readings that have the same word at the same
            time; of the whole, the same mean over all symbols times the share of this text. Interim results
            leave the shares out.
        score: natural log of the probability of the text, summed over alignments in the beam, with the language
            model's weighted score, bonuses and costs added.
    """

    text: str
    words: tuple[Word, ...]
    confidence: float
    score: float
