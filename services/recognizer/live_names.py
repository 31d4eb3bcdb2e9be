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
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from services.recognizer.phrases import MAX_IN_REQUEST
from services.recognizer.served_names import Compiling, ServedNames

if TYPE_CHECKING:
    from services.learner.names import Revision

RELOAD_S = 60.0
"""After so long names are read anew even where nothing seems to have changed: their order may have."""
log = logging.getLogger("dengar.names")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LiveNamesConfig:
    """How approved names are served.

    Attributes:
        most: at most so many, the most mentioned and then the newest; the rest is counted. 0: none. A thousand take
            14 ms to compile (docs/hints.md), which every request with other phrases of its own pays.
        boost: of each, in nats, to 20; 0: the bundle's own, as for phrases of a request. More than that, because a name
            that nobody taught the acoustic model is spelled badly; too much, and other words become parts of names.
        follow_s: how often the store is asked whether they changed.
    """

    most: Annotated[int, Field(ge=0, le=MAX_IN_REQUEST)] = 500
    boost: Annotated[float, Field(ge=0, le=20)] = 8.0
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
        left_out: approved names beyond the bound.
    """

    def __init__(
        self,
        source: NameSource,
        config: LiveNamesConfig,
        recognizers: Callable[[], Sequence[Compiling]],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.current, self.left_out = ServedNames(), 0
        self._source, self._config, self._recognizers, self._on_failure = source, config, recognizers, on_failure
        self._revision: Revision | None = None
        self._read_at = 0.0
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
        if not self._config.most:
            return
        for recognizer in self._recognizers():  # a bundle that is new here has none compiled
            self.current.compile(recognizer)
        revision = self._source.revision()
        now = time.monotonic()
        if revision == self._revision and now - self._read_at < RELOAD_S:
            return
        found, left_out = self._source.approved(self._config.most)
        names, spellings = tuple(text for text, _ in found), {text: tuple(others) for text, others in found}
        if (names, spellings) != (self.current.names, self.current.spellings):
            served = ServedNames(names, self._config.boost, spellings)
            for recognizer in self._recognizers():
                served.compile(recognizer)
            self.current = served
            log.info("%d approved names are served, %d are left out", len(names), left_out)
        self.left_out, self._revision, self._read_at = left_out, revision, now
