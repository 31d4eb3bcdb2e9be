"""Names that were approved a moment ago, as phrases of every new stream: the store is followed while the server serves.

What is served at a time is a snapshot (`services.recognizer.served_names`), compiled for each bundle beside the streams
before it replaces the one before. Names that the live bundle has learned are not among them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from services.recognizer.phrases import MAX_IN_REQUEST
from services.recognizer.served_names import Compiling, Hinted, ServedNames

if TYPE_CHECKING:
    from services.learner.names import Revision

RELOAD_S = 60.0
"""After so long names are read anew even where nothing seems to have changed: their order may have."""
log = logging.getLogger("dengar.names")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LiveNamesConfig:
    """How approved names are served.

    Attributes:
        most: at most so many, those approved in the last day and then those of most users; the rest is counted. 0:
            none. A thousand take 14 ms to compile (docs/hints.md), which every request with other phrases of its own
            pays.
        boost: of each, in nats, to 20; 0: the bundle's own, as for phrases of a request. More than that, because a name
            that nobody taught the acoustic model is spelled badly; too much, and other words become parts of names.
        context_boost: in place of that behind words that stand before names ("call", "news about"): nowhere else is a
            name as likely; 0 for no more.
        follow_s: how often the store is asked whether they changed.
    """

    most: Annotated[int, Field(ge=0, le=MAX_IN_REQUEST)] = 500
    boost: Annotated[float, Field(ge=0, le=20)] = 3.0
    context_boost: Annotated[float, Field(ge=0, le=20)] = 12.0
    follow_s: Annotated[float, Field(gt=0, le=3600)] = 1.0


class NameSource(Protocol):
    """Where names come from; both block, and may raise whatever a store raises."""

    def revision(self) -> Revision: ...

    def approved(self, limit: int) -> tuple[Sequence[tuple[str, Sequence[str]]], int]: ...


class LiveNames:
    """Follows the store.

    Args:
        source: where approved names are.
        config: how many, how strong, how often.
        recognizers: gives those that answer streams now, to compile for.
        on_failure: called each time that the source cannot be read.

    Attributes:
        current: for the next stream; the last known while the source cannot be read.
        left_out: what is not served for want of room, by kind: names that are approved (``left_out``) and their
            further spellings (``spellings_left_out``), names that the bundle learned (``learned_left_out``) and their
            further spellings (``learned_spellings_left_out``). Of several bundles that with least room counts.
    """

    def __init__(
        self,
        source: NameSource,
        config: LiveNamesConfig,
        recognizers: Callable[[], Sequence[Compiling]],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.current, self.left_out = ServedNames(), _left_out(0, ())
        self._source, self._config, self._recognizers, self._on_failure = source, config, recognizers, on_failure
        self._revision: Revision | None = None
        self._read_at, self._beyond = 0.0, 0
        self._failing = False
        self._one = threading.Lock()

    async def follow(self) -> None:
        """Follows for ever; run it as a task."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._config.follow_s)

    async def refresh(self) -> None:
        """Looks once whether names have changed, and serves them from then on; never raises."""
        await asyncio.to_thread(self.look)

    def look(self) -> None:
        """The same; blocks."""
        with self._one:
            try:
                self._look()
                self._failing = False
            except Exception as error:
                self._on_failure()
                if not self._failing:
                    log.error("approved names cannot be read; the last %d stay: %s", len(self.current), error)
                self._failing = True

    def _look(self) -> None:
        self._tell()
        if not self._config.most:
            return
        revision = self._source.revision()
        now = time.monotonic()
        if revision == self._revision and now - self._read_at < RELOAD_S:
            return
        found, self._beyond = self._source.approved(self._config.most)
        names, spellings = tuple(text for text, _ in found), {text: tuple(others) for text, others in found}
        if (names, spellings) != (self.current.names, self.current.spellings):
            served = ServedNames(names, self._config.boost, spellings, self._config.context_boost)
            for recognizer in self._recognizers():
                served.compile(recognizer)
            self.current = served
            log.info("%d approved names are served", len(names))
        self._revision, self._read_at = revision, now
        self._tell()

    def _tell(self) -> None:
        """Counts what is left out in the bundles that answer now, and says so if that has changed.

        What was not compiled for one yet is compiled by this.
        """
        left_out = _left_out(self._beyond, [(each, self.current.compile(each)) for each in self._recognizers()])
        if left_out != self.left_out:
            self.left_out = left_out
            told = ", ".join(f"{count} {ABOUT[kind]}" for kind, count in left_out.items() if count)
            log.warning("no phrases for want of room: %s", told or "none any more")


ABOUT = {
    "left_out": "approved names",
    "spellings_left_out": "spellings of approved names",
    "learned_left_out": "names that the bundle learned",
    "learned_spellings_left_out": "spellings of names that the bundle learned",
}


def _left_out(beyond: int, compiled: Sequence[tuple[Any, Hinted]]) -> dict[str, int]:
    """What is left out, by the keys of `ABOUT`: names that were not even compiled, and what did not fit a bundle."""
    most = [0, 0, 0, 0]
    for recognizer, hinted in compiled:
        hints = hinted.hints
        own = (hints.names_left_out, hints.spellings_left_out) if hints is not None else _alone(recognizer)
        most = [max(pair) for pair in zip(most, (hinted.names_left_out, hinted.spellings_left_out, *own), strict=True)]
    return dict(zip(ABOUT, [beyond + most[0], *most[1:]], strict=True))


def _alone(recognizer: Any) -> tuple[int, int]:
    """What does not fit in a stream without any names but the bundle's own."""
    found: tuple[int, int] = getattr(getattr(recognizer, "decoder", None), "left_out", (0, 0))
    return found
