"""Where words stand for a learned name: as one of its spellings, or nearly, with a letter or two amiss.

Further spellings of a name (`asr.decode.names`) are those that were heard before. Where one stands to the letter, and
is likelier the name than words of its own, the name is written. The next voice is misheard in a new way, mostly close
to one of them: "felipe melo decarval". So what is left is read as a noisy channel would (Kernighan, Church and Gale,
"A spelling correction program based on a noisy channel model", 1990): a run of words is the name if ::

    log p(name here) - EDIT_NATS * edits  >  log p(the words here)

with the Levenshtein distance between the letters, blanks left out, as edits. Only runs with a word that the base model
does not know are looked at: known words are meant as they are. A new word of a name may stand for it ("call
nalbandian"): that reading competes, without an edit, and where it is the likeliest the word stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from asr.decode.lm import LanguageModel
from asr.decode.respell import Span

EDIT_NATS = 3.0
"""What a letter that is amiss costs: about -log of the share of letters that are heard wrong in a new name."""
MOST_EDITS = 0.3
"""Of a name's letters."""
WORDS_MORE = 2
"""A name may be heard in so many words more than it is written in."""
KEPT = 4096
"""Runs of words whose nearest names are remembered: interim results ask for the same again and again."""


POSSESSIVE = 0.1
"""Share of a name's uses that end in 's."""
ALONE = 0.15
"""Share of a name's uses in which one of its new words stands for it."""
HEARD = 0.3
"""Share of a name's uses that are heard in one of its spellings, where it has any."""
WHOLE = 1.0 - POSSESSIVE - ALONE - HEARD
"""Share of a name's uses that are the name as it is written."""
TINY = 1e-300
Words = tuple[str, ...]


class Way(NamedTuple):
    """A way to say a name.

    Attributes:
        name: as it is written.
        share: of all uses of names, in (0, 1].
    """

    name: str
    share: float


def possessive(name: str) -> str:
    """``taylor swift's``."""
    return f"{name}'s"


def written_ways(names: Sequence[tuple[str, float]]) -> dict[Words, Way]:
    """Names as they are written, by words, with their shares of the uses of names.

    Args:
        names: with weights, how often each is asked for.
    """
    total = math.fsum(weight for _, weight in names)
    found: dict[Words, Way] = {}
    for name, weight in names:
        for text, share in ((name, WHOLE), (possessive(name), POSSESSIVE)):
            found[tuple(text.split())] = Way(text, share * weight / total)
    return found


class Model(Protocol):
    """What is asked of the language model; states are its own."""

    def start(self) -> Any: ...
    def score(self, state: Any, word: str) -> tuple[float, Any]: ...
    def begins(self, state: Any) -> float:
        """The probability that a name begins here."""

    def ordinary(self, state: Any, words: Sequence[str]) -> float:
        """The log-probability of words as words of their own."""

    def is_ordinary(self, word: str) -> bool:
        """Whether a word is known for itself, and not from a name."""


class Respeller:
    """Finds where words stand for names; immutable.

    Args:
        written: the names as they are written, by words; they stay as they are.
        spellings: other ways to say them, by words.
    """

    def __init__(self, written: Mapping[Words, Way], spellings: Mapping[Words, Way]) -> None:
        self._written, self._spellings = frozenset(written), spellings
        ways = {**spellings, **written}
        self._ways = list(ways.values())
        self._letters = ["".join(words) for words in ways]
        self._first = frozenset(words[0] for words in ways)
        self._alone: dict[str, float] = {}
        for words, way in written.items():
            for word in set(words) if len(words) > 1 else ():
                self._alone[word] = self._alone.get(word, 0.0) + way.share * ALONE / WHOLE
        self._longest = max(map(len, ways), default=0)
        self._most = int(MOST_EDITS * max(map(len, self._letters), default=0))
        self._nearest = lru_cache(KEPT)(self._find)

    def spans(self, words: Sequence[str], model: Model) -> list[Span]:
        """Where a name should be written, in order and without overlap.

        Args:
            words: of a hypothesis.
            model: says how likely names and words are.
        """
        odd = [not model.is_ordinary(word) for word in words]
        if not any(odd) and self._first.isdisjoint(words):
            return []
        states = [model.start()]
        for word in words:
            states.append(model.score(states[-1], word)[1])
        free = [True] * len(words)
        found = list(self._exact(words, states, free, model))
        near = [each for run in self._runs(free, odd) if (each := self._as_name(words, run, states, model))]
        for _, start, end, name in sorted(near, key=lambda each: (-each[0], *each[1:])):
            if all(free[start:end]):
                free[start:end] = [False] * (end - start)
                found += [(start, end, name)] * (name != " ".join(words[start:end]))
        return sorted(found)

    def _exact(self, words: Sequence[str], states: Sequence[Any], free: list[bool], model: Model) -> Iterator[Span]:
        """Spellings to the letter, the longest from the left; with names as they are, they are free no more."""
        place = 0
        while place < len(words):
            end = place + 1
            for stop in range(min(len(words), place + self._longest), place, -1):
                run = tuple(words[place:stop])
                way = None if run in self._written else self._named(run, states[place], model)
                if way is not None:
                    yield place, stop, way.name
                if way is not None or run in self._written:
                    free[place:stop] = [False] * len(run)
                    end = stop
                    break
            place = end

    def _named(self, run: Words, state: Any, model: Model) -> Way | None:
        """The name that a run spells, if it is likelier that than words of its own."""
        way = self._spellings.get(run)
        if way is None or math.log(max(model.begins(state) * way.share, TINY)) <= model.ordinary(state, run):
            return None
        return way

    def _runs(self, free: Sequence[bool], odd: Sequence[bool]) -> Iterator[tuple[int, int]]:
        """Every run of free words, short enough, with one that is not known for itself."""
        for start in range(len(free)):
            for end in range(start + 1, min(len(free), start + self._longest + WORDS_MORE) + 1):
                if not free[end - 1]:
                    break
                if any(odd[start:end]):
                    yield start, end

    def _as_name(
        self, words: Sequence[str], run: tuple[int, int], states: Sequence[Any], model: Model
    ) -> tuple[float, int, int, str] | None:
        """By how much a run is likelier a name, the run, and the name; None if it is not."""
        start, end = run
        near = max(self._nearest("".join(words[start:end])), default=None)
        alone = self._alone.get(words[start], 0.0) if end == start + 1 else 0.0
        if alone and (near is None or near[0] < math.log(alone)):
            near = math.log(alone), words[start]
        if near is None:
            return None
        gain = math.log(max(model.begins(states[start]), TINY)) + near[0]
        gain -= model.ordinary(states[start], words[start:end])
        return (gain, start, end, near[1]) if gain > 0.0 else None

    def _find(self, letters: str) -> tuple[tuple[float, str], ...]:
        """Names near to some letters, with log of their share less the cost of the edits."""
        near = process.extract(letters, self._letters, scorer=Levenshtein.distance, score_cutoff=self._most, limit=None)
        return tuple(
            (math.log(self._ways[index].share) - EDIT_NATS * edits, self._ways[index].name)
            for text, edits, index in near
            if edits <= MOST_EDITS * len(text)
        )


class Anywhere:
    """A `Model` in which names are as likely everywhere: for names that no class n-gram tells the place of.

    Args:
        lm: the language model; names that it learned are words like others.
        chance: that a name begins at a word.
    """

    def __init__(self, lm: LanguageModel, chance: float = 0.05) -> None:
        self._lm, self._chance = lm, chance

    def start(self) -> Any:
        return self._lm.start()

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        return self._lm.score(state, word)

    def begins(self, state: Any) -> float:
        del state
        return self._chance

    def ordinary(self, state: Any, words: Sequence[str]) -> float:
        total = 0.0
        for word in words:
            gained, state = self._lm.score(state, word)
            total += gained
        return total

    def is_ordinary(self, word: str) -> bool:
        return word in self._lm
