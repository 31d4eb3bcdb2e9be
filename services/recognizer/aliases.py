"""Other spellings of names, as they are heard, in what is answered: "shivawn quill" becomes "siobhan quill"."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from asr.decode.respell import Span, respelled

Words: TypeAlias = tuple[str, ...]
Reading = TypeVar("Reading", bound=Any)
"""A hypothesis as in `asr.decode`."""
Interim = TypeVar("Interim", bound=Any)
"""An interim result as in `asr.recognize`."""
POSSESSIVE = "'s"


class Aliases:
    """Writes names in place of their other spellings; immutable.

    Args:
        names: the words of each spelling, and those of its name.
        find: finds in other words where names should be written.
    """

    def __init__(
        self,
        names: Mapping[Words, Words] | None = None,
        find: Callable[[Sequence[str]], Sequence[Span]] | None = None,
    ) -> None:
        self._find = find
        self._names = dict(names or {})
        for spelling, name in tuple(self._names.items()):
            self._names.setdefault(_possessive(spelling), _possessive(name))
        self._longest = max(map(len, self._names), default=0)

    def __bool__(self) -> bool:
        return bool(self._names or self._find)

    def apply(self, hypothesis: Reading) -> Reading:
        """The hypothesis with names; the words of one share its time, and its least or mean confidence."""
        hypothesis = self._replaced(hypothesis)
        if self._find is None:
            return hypothesis
        found: Any = respelled(hypothesis, self._find([word.word for word in hypothesis.words]))
        return found  # type: ignore[no-any-return]

    def _replaced(self, hypothesis: Reading) -> Reading:
        """The same for spellings to the letter alone, leftmost-longest."""
        words = hypothesis.words
        written: list[Any] = []
        place, changed = 0, False
        while place < len(words):
            for size in range(min(self._longest, len(words) - place), 0, -1):
                heard = words[place : place + size]
                name = self._names.get(tuple(word.word for word in heard))
                if name is not None:
                    written += _written(heard, name)
                    place, changed = place + size, True
                    break
            else:
                written.append(words[place])
                place += 1
        if not changed:
            return hypothesis
        text = " ".join(word.word for word in written)
        return dataclasses.replace(hypothesis, text=text, words=tuple(written))

    def apply_within(self, partial: Interim) -> Interim:
        """The same for an interim result."""
        if not self:
            return partial
        return dataclasses.replace(partial, hypothesis=self.apply(partial.hypothesis))

    def apply_all(self, hypotheses: Sequence[Reading]) -> list[Reading]:
        """The same for an n-best list, in which a text stays once, where it is best."""
        found: dict[str, Reading] = {}
        for hypothesis in map(self.apply, hypotheses):
            found.setdefault(hypothesis.text, hypothesis)
        return list(found.values())


def _possessive(words: Words) -> Words:
    return (*words[:-1], words[-1] + POSSESSIVE)


def _written(heard: Sequence[Any], name: Words) -> list[Any]:
    """The words of a name over the time of what was heard."""
    confidence = min(word.confidence for word in heard)
    start_s, end_s = heard[0].start_s, heard[-1].end_s
    if len(heard) == len(name):
        return [
            dataclasses.replace(word, word=text, confidence=confidence) for word, text in zip(heard, name, strict=True)
        ]
    step_s = (end_s - start_s) / len(name)
    return [
        dataclasses.replace(
            heard[0],
            word=text,
            start_s=start_s + number * step_s,
            end_s=start_s + (number + 1) * step_s,
            confidence=confidence,
        )
        for number, text in enumerate(name)
    ]
