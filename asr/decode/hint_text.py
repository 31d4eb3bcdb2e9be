"""Phrase hints as people write them, checked and put into the words that the recogniser speaks.

Nothing here raises: what cannot be used is handed back with the reason, and the rest works.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from asr.corpus.text import needs_grammar, normalise
from asr.errors import DengarError

MAX_PHRASES = 5_000
"""Phrases and items of classes together."""
MAX_PHRASE_LETTERS = 100
"""Of one phrase, spaces counted."""
MAX_LETTERS = 100_000
"""Of all phrases and items together."""
MAX_WRITTEN = 200
"""Phrases and items with digits, symbols or abbreviations, which the grammar takes milliseconds to read; names in plain
letters take microseconds."""
MAX_BOOST = 20.0

CLASS_MARK = "$"
_CLASS = re.compile(r"\$\{?([A-Za-z]\w*)\}?[.,!?;:]*")
_CLASS_NAME = re.compile(r"[A-Za-z]\w*")

Words = tuple[str, ...]
"""A phrase's words; `CLASS_MARK` and a name stand for any item of that class."""
Unused = tuple[str, str]
"""A phrase as it was given, and why it cannot be used."""


EXPECTED = "<expected>"
"""The class of what is expected behind some words; no request can name it."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """Words behind which some phrases are worth more.

    Attributes:
        words: any of them, letters and blanks ("call", "news about"); one that cannot be spelled plays no part.
        boost: of a phrase behind them, in nats; one that is worth more by itself, or less than nothing, stays as it is.
        texts: the phrases.
    """

    words: tuple[str, ...] = ()
    boost: float = 0.0
    texts: frozenset[str] = frozenset()

    def joined(self, others: Contexts | None) -> Contexts:
        """All words and phrases of both, at the greater boost."""
        if others is None:
            return self
        words = tuple(dict.fromkeys((*self.words, *others.words)))
        return Contexts(words, max(self.boost, others.boost), self.texts | others.texts)


NO_CONTEXTS = Contexts()


@dataclass(frozen=True, slots=True)
class Spoken:
    """Phrases in spoken form.

    Attributes:
        phrases: with the boost of each, in nats and never 0.
        classes: items of each class that a phrase names.
        unused: the rest, in the order given.
    """

    phrases: Mapping[Words, float]
    classes: Mapping[str, frozenset[Words]]
    unused: tuple[Unused, ...]


def speak(
    phrases: Iterable[tuple[str, float]],
    classes: Mapping[str, Sequence[str]],
    letters: Collection[str],
    default_boost: float,
    contexts: Contexts = NO_CONTEXTS,
) -> Spoken:
    """Normalises phrases as references are, and sorts out those that cannot be used.

    Args:
        phrases: texts and boosts, -20 to 20; 0 stands for the default. ``$NAME`` in a text is any item of a class. A
            phrase given twice counts once; if the boosts differ, the greatest counts and the others are unused.
        classes: items by name, with or without the ``$``.
        letters: what the recogniser's symbols can spell.
        default_boost: in place of 0.
        contexts: in which some of the phrases are worth more; they count as no phrases.
    """
    intake = _Intake(frozenset(letters))
    items = {name.removeprefix(CLASS_MARK): intake.items(name, texts) for name, texts in sorted(classes.items())}
    boosts: dict[Words, float] = {}
    texts: dict[Words, str] = {}
    inside: set[Words] = set()
    for text, boost in phrases:
        if not (math.isfinite(boost) and abs(boost) <= MAX_BOOST):
            intake.leave(text, f"its boost {boost:g} is not between {-MAX_BOOST:g} and {MAX_BOOST:g}")
            continue
        words = intake.words(text, items)
        if not words:
            continue
        if text in contexts.texts:
            inside.add(words)
        own = boost or default_boost
        earlier = boosts.setdefault(words, own)
        low, high = sorted((own, earlier))
        if low < high:
            lesser = text if own < earlier else texts[words]
            intake.leave(lesser, f"given twice, with boosts {low:g} and {high:g}; the greater counts")
        boosts[words] = high
        if own == high:
            texts[words] = text
    expected = sorted(words for words in inside if 0.0 < boosts[words] < contexts.boost)
    before = [words.split() for words in contexts.words if intake.spells(words)]
    if expected:
        items[EXPECTED] = expected
        boosts |= {(*words, CLASS_MARK + EXPECTED): contexts.boost for words in before}
    named = {word[1:] for words in boosts for word in words if word.startswith(CLASS_MARK)}
    return Spoken(
        dict(sorted(boosts.items())),
        {name: frozenset(filter(None, items[name])) for name in sorted(named)},
        tuple(intake.unused),
    )


class _Intake:
    """Turns texts into words one by one, within the limits; keeps what is left out."""

    def __init__(self, letters: frozenset[str]) -> None:
        self.unused: list[Unused] = []
        self._letters = letters
        self._count = self._spent = self._written = 0

    def leave(self, text: str, reason: str) -> None:
        self.unused.append((text, reason))

    def items(self, name: str, texts: Sequence[str]) -> list[Words]:
        """The items of a class that can be used."""
        if not _CLASS_NAME.fullmatch(name.removeprefix(CLASS_MARK)):
            self.leave(name, "not the name of a class: write letters, digits and _, beginning with a letter")
            return []
        return [self.words(text, None) for text in texts]

    def words(self, text: str, classes: Mapping[str, Sequence[Words]] | None) -> Words:
        """The words of one phrase, or of one item if `classes` is None; () if it cannot be used."""
        try:
            words, spelled = self._admitted(text, classes)
        except (DengarError, ValueError) as error:
            self.leave(text, str(error))
            return ()
        self._count += 1
        self._spent += spelled
        return words

    def spells(self, text: str) -> bool:
        """Whether a text has words and the recogniser's symbols can spell them."""
        return bool(text.strip()) and self._letters.issuperset("".join(text.split()))

    def _admitted(self, text: str, classes: Mapping[str, Sequence[Words]] | None) -> tuple[Words, int]:
        """The words and how many letters they are."""
        if self._count >= MAX_PHRASES:
            raise ValueError(f"too many: at most {MAX_PHRASES} phrases and items of classes together")
        if len(text) > MAX_PHRASE_LETTERS:
            raise ValueError(f"too long: {len(text)} characters, at most {MAX_PHRASE_LETTERS}")
        if not text.strip():
            raise ValueError("empty")
        words = self._spoken(text, classes)
        spelled = sum(map(len, words)) + len(words) - 1
        if spelled > MAX_PHRASE_LETTERS:
            raise ValueError(f"too long: {spelled} letters when spoken, at most {MAX_PHRASE_LETTERS}")
        if self._spent + spelled > MAX_LETTERS:
            raise ValueError(f"too many: all phrases together have more than {MAX_LETTERS} letters")
        return words, spelled

    def _spoken(self, text: str, classes: Mapping[str, Sequence[Words]] | None) -> Words:
        if classes is None or CLASS_MARK not in text:
            return self._said(text)
        words: list[str] = []
        plain: list[str] = []
        for part in [*text.split(), None]:
            name = _CLASS.fullmatch(part) if part else None
            if part and not name:
                if _CLASS.search(part):
                    raise ValueError(f"write the class in {part!r} as a word of its own")
                plain.append(part)
                continue
            if plain:
                words += self._said(" ".join(plain))
                plain = []
            if name:
                if not any(classes.get(name[1], ())):
                    known = name[1] in classes
                    raise ValueError(f"class {name[1]} {'has no item that can be used' if known else 'is not given'}")
                words.append(CLASS_MARK + name[1])
        return tuple(words)

    def _said(self, text: str) -> Words:
        if needs_grammar(text):
            self._written += 1
            if self._written > MAX_WRITTEN:
                raise ValueError(
                    f"too many: at most {MAX_WRITTEN} with digits, symbols or abbreviations; write the others in words"
                )
        words = normalise(text).split()
        if not self._letters.issuperset("".join(words)):
            strange = sorted(set("".join(words)) - self._letters)
            raise ValueError(f"the recogniser's symbols cannot spell {', '.join(map(repr, strange[:3]))}")
        return tuple(words)
