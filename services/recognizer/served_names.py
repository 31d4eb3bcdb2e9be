"""Names that are phrases of every stream, beside those that a request brings.

They are compiled once for each bundle. A stream that brings phrases of its own gets both in one automaton, which the
recogniser keeps like any other set of phrases: with a few hundred names that costs a few milliseconds once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from asr.decode.before_names import BEFORE_NAMES
from asr.decode.hint_text import Contexts
from asr.decode.near import HEARD, Anywhere, Respeller, Way, written_ways
from services.recognizer.aliases import Aliases, Words
from services.recognizer.phrases import MAX_IN_REQUEST, Wanted

SPELLINGS = 16
FEWEST_LETTERS = 6
"""Of a spelling in known words; shorter ones are too much like other words."""
NO_ALIASES = Aliases()
log = logging.getLogger("dengar.names")


class Compiling(Protocol):
    """What is needed of a recogniser."""

    def hints(self, phrases: Any, classes: Any, contexts: Any = None, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Hinted:
    """What a stream is given.

    Attributes:
        hints: compiled; None if there are none.
        unused: phrases of the request that cannot be used, and why.
        aliases: what is written in place of other spellings of names.
        names_left_out, spellings_left_out: of the names that are served, what there was no room for.
    """

    hints: Any = None
    unused: Sequence[tuple[str, str]] = ()
    aliases: Aliases = NO_ALIASES
    names_left_out: int = 0
    spellings_left_out: int = 0


class ServedNames:
    """The names of one moment; immutable, for any number of streams.

    A name's other spellings, as somebody gave them or as it was heard, are phrases too. Those with a word that the
    bundle does not know are written as the name; so are others that are long enough, and words that are nearly the
    name, where that is likelier than that they are meant as they are (`asr.decode.near`).

    Args:
        names: texts, the most wanted first.
        boost: of each.
        spellings: others of each, the likeliest first; `SPELLINGS` of them are used.
        context_boost: of each behind words that stand before names; 0 for no more than `boost`.

    Attributes:
        names, spellings: as given.
        words: in the names.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        boost: float = 0.0,
        spellings: Mapping[str, Sequence[str]] | None = None,
        context_boost: float = 0.0,
    ) -> None:
        self.names = tuple(names)
        self.spellings = {name: tuple(others) for name, others in (spellings or {}).items()}
        self._texts = frozenset(names)
        self._crowded = False
        self.words = frozenset(word for name in names for word in name.split())
        self._boost, self._context_boost = boost, context_boost
        self._alone: WeakKeyDictionary[Any, Hinted] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def compile(self, recognizer: Compiling) -> Hinted:
        """Hints of the names alone, compiled at the first call for a recogniser."""
        if not self.names:
            return NOTHING
        with self._lock:
            found = self._alone.get(recognizer)
        if found is None:
            aliases = self._aliases(recognizer)
            texts = (*self.names, *(" ".join(spelling) for spelling in aliases))
            hints = self._hints(recognizer, [], {}, texts)
            found = Hinted(
                hints, (), self._written(recognizer, aliases), *self._left_out([text for text, _ in hints.unused])
            )
            with self._lock:
                self._alone[recognizer] = found
        return found

    def hints(self, recognizer: Compiling, wanted: Wanted | None) -> Hinted:
        """What a stream is given that brings phrases of its own.

        A phrase of the request that is also a name, or its spelling, keeps the request's boost and its text. What its
        phrases leave no room for is left out, the least wanted first, and said in the log once for these names: a
        request that has all the phrases that one may have gets no names on top.

        Args:
            recognizer: of the stream.
            wanted: what the request hints at.
        """
        if not wanted:
            return self.compile(recognizer)
        own = {" ".join(text.lower().split()) for text, _ in wanted.phrases}
        room = MAX_IN_REQUEST - len(wanted.phrases) - sum(map(len, (wanted.classes or {}).values()))
        aliases = {
            spelling: name for spelling, name in self._aliases(recognizer).items() if " ".join(spelling) not in own
        }
        texts = (*self.names, *(" ".join(spelling) for spelling in aliases))
        wished = [text for text in texts if text not in own]
        added = wished[: max(0, room)]
        left_out = self._left_out(wished[len(added) :])
        if any(left_out) and not self._crowded:
            self._crowded = True
            log.warning(
                "%d phrases of a request leave no room for %d approved names and %d spellings",
                MAX_IN_REQUEST - room, *left_out,
            )  # fmt: skip
        hints = self._hints(recognizer, wanted.phrases, wanted.classes, added)
        mine = set(added)
        unused = tuple(each for each in hints.unused if each[0] not in mine)
        return Hinted(hints, unused, self._written(recognizer, aliases), *left_out)

    def _hints(self, recognizer: Compiling, phrases: Sequence[Any], classes: Any, texts: Sequence[str]) -> Any:
        """A request's phrases, and texts of names, compiled."""
        given = (*phrases, *((text, self._boost) for text in texts))
        if not self._context_boost:
            return recognizer.hints(given, classes)
        return recognizer.hints(given, classes, Contexts(BEFORE_NAMES, self._context_boost, frozenset(texts)))

    def _written(self, recognizer: Any, spellings: Mapping[Words, Words]) -> Aliases:
        """What writes names in answers.

        Args:
            recognizer: its lexicon and language model tell what is meant as it is.
            spellings: from `_aliases`.
        """
        decoder = getattr(recognizer, "decoder", None)
        lm, known = getattr(decoder, "lm", None), getattr(decoder, "known", None)
        if lm is None or known is None:
            return NO_ALIASES
        certain = {words: name for words, name in spellings.items() if not known.issuperset(words)}
        share = 1.0 / len(self.names)
        ways = {words: Way(" ".join(name), share * HEARD / SPELLINGS) for words, name in spellings.items()}
        return Aliases(
            certain,
            partial(Respeller(written_ways([(name, 1.0) for name in self.names]), ways).spans, model=Anywhere(lm)),
        )

    def _left_out(self, texts: Sequence[str]) -> tuple[int, int]:
        """How many of what is left out are names, and how many their spellings."""
        names = len(self._texts.intersection(texts))
        return names, len(texts) - names

    def _aliases(self, recognizer: Any) -> dict[Words, Words]:
        """Spellings that stand for a name, with its words: the likeliest of each name first."""
        known = getattr(getattr(recognizer, "decoder", None), "known", None)
        if known is None:
            return {}
        found: dict[Words, Words] = {}
        for rank in range(SPELLINGS):
            for name in self.names:
                for spelling in self.spellings.get(name, ())[rank : rank + 1]:
                    words = tuple(spelling.split())
                    too_short = known.issuperset(words) and len(spelling) < FEWEST_LETTERS
                    if spelling not in self._texts and not too_short:
                        found.setdefault(words, tuple(name.split()))
        return found


NOTHING = Hinted()
NO_NAMES = ServedNames()
