"""Unknown words in what was answered, and which names of the catalogue they may be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from asr.recognize import Recognizer
from asr.unknown import Catalogue, Entity, UnknownConfig, find_unknown, rescore
from services.recognizer.session import Hypothesis
from services.store.records import SpanRecord

LOOKED_UP = 50
"""Names that sound alike and are compared by the acoustics."""
KEPT = 10
MOST_ENTITIES = 50_000
LOOK_S = 10.0
"""How often the store is asked whether its catalogue changed."""
log = logging.getLogger("dengar.querylog")


class CatalogueSource(Protocol):
    """Where the catalogue is; both block, and may raise whatever a store raises."""

    def revision(self) -> object: ...

    def entities(self, limit: int) -> tuple[Sequence[Entity], int]: ...


class LiveCatalogue:
    """The catalogue as it stands in the store, built anew when that has changed; for one thread.

    Args:
        source: where it is.
        on_failure: called each time that it cannot be read.

    Attributes:
        left_out: entities beyond `MOST_ENTITIES`, the least likely ones.
    """

    def __init__(self, source: CatalogueSource, on_failure: Callable[[], None] = lambda: None) -> None:
        self._source, self._on_failure = source, on_failure
        self._catalogue = Catalogue(())
        self._revision: object = None
        self._looked_at = -LOOK_S
        self.left_out = 0

    def current(self) -> Catalogue:
        """The catalogue; the last known while the store cannot be read."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return self._catalogue
        self._looked_at = now
        try:
            revision = self._source.revision()
            if revision != self._revision:
                entities, self.left_out = self._source.entities(MOST_ENTITIES)
                self._catalogue, self._revision = Catalogue(entities), revision
                log.info("the catalogue has %d entities, %d are left out", len(self._catalogue), self.left_out)
        except Exception as error:
            self._on_failure()
            log.warning("the catalogue cannot be read; the last one stays: %s", error)
        return self._catalogue


class SpanFinder:
    """Finds what a recogniser did not know; see `asr.unknown`.

    Args:
        catalogue: gives the names that it may be.
        known: gives words that count as known, beside those of the bundle: the names that are served as phrases.
        config: of the search; None for that of the recogniser's bundle.
    """

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        known: Callable[[], Collection[str]],
        config: UnknownConfig | None = None,
    ) -> None:
        self._catalogue, self._known, self._config = catalogue, known, config

    def __call__(self, recognizer: Any, stream: Any, best: Hypothesis) -> Sequence[SpanRecord]:
        """The unknown spans of an answer; none from a recogniser that has no decoder to ask."""
        if not isinstance(recognizer, Recognizer):
            return ()
        log_probs = stream.posteriors
        config = self._config or recognizer.bundle.unknown
        spans = find_unknown(log_probs, best, recognizer.decoder, config, known=self._known())  # type: ignore[arg-type]
        catalogue = self._catalogue() if spans else None
        found = []
        for span in spans:
            proposals = catalogue.propose(span, LOOKED_UP) if catalogue else []
            if proposals:
                proposals = rescore(log_probs, span, proposals, recognizer.bundle.tokens)[:KEPT]
            found.append(SpanRecord(span, tuple(proposals)))
        return found
