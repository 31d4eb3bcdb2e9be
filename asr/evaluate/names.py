"""Which words of an utterance are names, by lists of them.

A list holds one name a line, of one word or several; ``#`` begins a comment, and a trailing ``*`` marks a name that is
also an ordinary word (Will, Rose, Turkey), which counts as a name only beside another. The lists in ``data/names`` are
such.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.corpus.text import normalise
from asr.corpus.truecase import NAMES
from asr.errors import InputError, TextError


@dataclass(frozen=True, slots=True)
class Names:
    """Names in the recogniser's alphabet.

    Attributes:
        phrases: names of one word or several, each a tuple of words.
        ambiguous: single words that are names only beside another name.
        longest: words of the longest phrase.
    """

    phrases: frozenset[tuple[str, ...]]
    ambiguous: frozenset[str] = frozenset()
    longest: int = 1

    @classmethod
    def of(cls, lines: Iterable[str]) -> Names:
        """Names from the lines of a list; a name that cannot be spoken in the alphabet is no name here."""
        phrases: set[tuple[str, ...]] = set()
        ambiguous: set[str] = set()
        for line in lines:
            name = line.partition("#")[0].strip()
            try:
                words = tuple(normalise(name.rstrip("* ")).split())
            except TextError:
                continue
            if len(words) == 1 and name.endswith("*"):
                ambiguous.add(words[0])
            elif words:
                phrases.add(words)
        phrases -= {(word,) for word in ambiguous}
        return cls(frozenset(phrases), frozenset(ambiguous), max(map(len, phrases), default=1))

    @classmethod
    def read(cls, paths: Sequence[str | Path] | None = None) -> Names:
        """Reads lists of names; by default those in ``data/names``.

        Raises:
            InputError: a list cannot be read, or holds no name.
        """
        found = [Path(path) for path in paths] if paths is not None else sorted(NAMES.glob("*.txt"))
        lines: list[str] = []
        for path in found:
            try:
                lines += path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{path}: cannot be read as a list of names ({error})") from error
        names = cls.of(lines)
        if not names.phrases:
            where = ", ".join(map(str, found)) or f"{NAMES}/*.txt"
            raise InputError(f"{where}: holds no name (one a line)")
        return names

    def marks(self, words: Sequence[str]) -> list[bool]:
        """For each word of an utterance, whether it is a name or part of one; the possessive of a name is one too."""
        bare = [word.removesuffix("'s") for word in words]
        named = [False] * len(words)
        for start in range(len(words)):
            for length in range(min(self.longest, len(words) - start), 0, -1):
                end = start + length
                if (*words[start : end - 1], bare[end - 1]) in self.phrases or tuple(words[start:end]) in self.phrases:
                    named[start:end] = [True] * length
                    break
        certain = list(named)
        for place, word in enumerate(bare):
            neighbours = certain[max(0, place - 1) : place] + certain[place + 1 : place + 2]
            named[place] = named[place] or (word in self.ambiguous and any(neighbours))
        return named
