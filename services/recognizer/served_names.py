"""Names that are phrases of every stream, beside those that a request brings.

They are compiled once for each bundle. A stream that brings phrases of its own gets both in one automaton, which the
recogniser keeps like any other set of phrases: with a few hundred names that costs a few milliseconds once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from services.recognizer.phrases import MAX_IN_REQUEST, Wanted


class Compiling(Protocol):
    """What is needed of a recogniser."""

    def hints(self, phrases: Any, classes: Any, /) -> Any: ...


class ServedNames:
    """The names of one moment; immutable, for any number of streams.

    Args:
        names: texts, the most wanted first.
        boost: of each.

    Attributes:
        names: as given.
        words: in them.
    """

    def __init__(self, names: Sequence[str] = (), boost: float = 0.0) -> None:
        self.names = tuple(names)
        self.words = frozenset(word for name in names for word in name.split())
        self._boost = boost
        self._alone: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def compile(self, recognizer: Compiling) -> Any:
        """Hints of the names alone, compiled at the first call for a recogniser; None without names."""
        if not self.names:
            return None
        with self._lock:
            found = self._alone.get(recognizer)
        if found is None:
            found = recognizer.hints([(name, self._boost) for name in self.names], {})
            with self._lock:
                self._alone[recognizer] = found
        return found

    def hints(self, recognizer: Compiling, wanted: Wanted | None) -> tuple[Any, Sequence[tuple[str, str]]]:
        """Hints for a stream, None if there are none to give, and what of the request cannot be used.

        A phrase of the request that is also a name keeps the request's boost. A request that has all the phrases that
        one may have gets no names on top.

        Args:
            recognizer: of the stream.
            wanted: what the request hints at.
        """
        if not wanted:
            return self.compile(recognizer), ()
        own = {" ".join(text.lower().split()) for text, _ in wanted.phrases}
        room = MAX_IN_REQUEST - len(wanted.phrases) - sum(map(len, (wanted.classes or {}).values()))
        names = [name for name in self.names if name not in own][: max(0, room)]
        phrases = (*wanted.phrases, *((name, self._boost) for name in names))
        hints = recognizer.hints(phrases, wanted.classes)
        added = set(names)
        return hints, tuple(each for each in hints.unused if each[0] not in added)


NO_NAMES = ServedNames()
