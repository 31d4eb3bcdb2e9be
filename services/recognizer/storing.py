"""A server's side of the store: what it keeps of queries, the names that it serves, the services for both.

Without a store nothing is kept and nothing is served beside the bundle; the services say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from asr.unknown import Entity
from services.dengar.v1 import feedback_pb2_grpc, names_pb2_grpc, privacy_pb2_grpc
from services.learner import catalogue, names
from services.recognizer.feedback import FEEDBACK, FeedbackService
from services.recognizer.live_names import LiveNames, LiveNamesConfig
from services.recognizer.metrics import Metrics
from services.recognizer.names import NAMES, NamesService
from services.recognizer.privacy import PRIVACY, PrivacyService
from services.recognizer.querylog import Answered, QueryKeeper
from services.recognizer.served_names import NO_NAMES, Compiling, ServedNames
from services.recognizer.session import Final, Session
from services.recognizer.spans import LiveCatalogue, SpanFinder
from services.store.config import StoreConfig
from services.store.database import Store
from services.store.housekeeping import Housekeeping
from services.store.queries import QueryLog

SERVICES = (FEEDBACK, NAMES, PRIVACY)


class Storing:
    """The store of a server, open from here to `close`.

    Args:
        config: of the store; None: nothing is kept.
        served: how approved names are served.
        recognizers: gives those that answer streams now.
        metrics: told what happens.
        owner: names the API key of the current call; empty where there are none.

    Raises:
        ConfigError: a key is missing or another one than the store was written with.
        StoreError: the database cannot be reached.
    """

    def __init__(
        self,
        config: StoreConfig | None,
        served: LiveNamesConfig,
        recognizers: Callable[[], Sequence[Compiling]],
        metrics: Metrics,
        owner: Callable[[], str],
    ) -> None:
        self._metrics, self._owner = metrics, owner
        self._store = Store.of(config) if config else None
        self._log: QueryLog | None = None
        self._keeper: QueryKeeper | None = None
        self._names: LiveNames | None = None
        if self._store is not None:
            self._names = LiveNames(
                _StoredNames(self._store), served, recognizers, lambda: metrics.store_failed("names")
            )
            known = LiveCatalogue(_StoredCatalogue(self._store), lambda: metrics.store_failed("catalogue"))
            self._log = QueryLog(self._store)
            self._housekeeping = Housekeeping(self._store)
            find = SpanFinder(known.current, lambda: self.names.words)
            self._keeper = QueryKeeper(self._log, find, metrics.unknown_spans)

        self._feedback = FeedbackService(self._store, self._keeper, owner, metrics)

    @property
    def keeps(self) -> bool:
        """Whether queries with consent are kept."""
        return self._keeper is not None

    @property
    def names(self) -> ServedNames:
        """For the next stream."""
        return self._names.current if self._names else NO_NAMES

    def keep(self, consent: str, user: str, session: Session, final: Final, role: str, latency_s: float | None) -> str:
        """Takes a query as it is answered and gives it its id; empty if nothing of it is kept. Never waits.

        Args:
            consent: ``transcript``, ``audio``, or empty.
            user: who gave it.
            session: that is over, and has kept what is needed if `SessionConfig.keep` said so.
            final: its end.
            role: of the bundle that answered.
            latency_s: from half-close or endpoint until now; None where nobody waited.
        """
        if self._keeper is None or not consent or not session.config.keep:
            return ""
        stream, recorded = session.evidence()
        return self._keeper.keep(
            Answered(
                consent=consent,
                user=user,
                owner=self._owner(),
                hypotheses=final.hypotheses,
                recognizer=session.recognizer,
                stream=stream,
                recorded=recorded,
                role=role,
                audio_s=final.at_s,
                latency_s=latency_s,
            )
        )

    def register(self, server: grpc.aio.Server, actor: Callable[[], str]) -> None:
        """Adds the services to a server.

        Args:
            server: not yet started.
            actor: names the caller of the current call, for the audit trail.
        """
        feedback_pb2_grpc.add_FeedbackServicer_to_server(self._feedback, server)  # type: ignore[no-untyped-call]
        decisions = NamesService(self._store, actor, self.refresh)
        names_pb2_grpc.add_NamesServicer_to_server(decisions, server)  # type: ignore[no-untyped-call]
        privacy_pb2_grpc.add_PrivacyServicer_to_server(PrivacyService(self._store, actor), server)  # type: ignore[no-untyped-call]

    async def refresh(self) -> None:
        """Serves the names as they stand in the store from now on."""
        if self._names is not None:
            await self._names.refresh()

    async def follow(self) -> None:
        """Follows the names in the store for ever; run it as a task."""
        if self._names is not None:
            await self._names.follow()

    def sources(self) -> dict[str, Callable[[], Any]]:
        """What is counted here anyway, for `Edge.watch`."""
        log, keeper, live = self._log, self._keeper, self._names
        if log is None or keeper is None or live is None:
            return {}

        def outcomes() -> Mapping[str, int]:
            counted = log.counters()
            return {"written": counted.written, "left_out": keeper.left_out, **counted.dropped}

        def waiting() -> tuple[int, float]:
            counted = log.counters()
            return keeper.waiting + counted.waiting, counted.lag_s

        def faults() -> Mapping[str, int]:
            counted = log.counters()
            return {
                "not_searched": keeper.not_searched,
                "without_audio": counted.recordings_lost,
                "retried": counted.failures,
            }

        return {
            "query_log": outcomes,
            "query_log_waiting": waiting,
            "query_log_faults": faults,
            "live_names": lambda: {"served": len(live.current), **live.left_out},
        }

    def close(self) -> None:
        """Writes what waits, and gives the store back. Blocks."""
        self._feedback.close()
        if self._keeper is not None:
            self._keeper.close()
        if self._log is not None:
            self._log.close()
        if self._store is not None:
            self._housekeeping.close()
            self._store.close()


class _StoredNames:
    """See `services.recognizer.live_names.NameSource`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def revision(self) -> names.Revision:
        with self._store.reading() as session:
            return names.revision(session)

    def approved(self, limit: int) -> tuple[Sequence[tuple[str, Sequence[str]]], int]:
        with self._store.reading() as session:
            return names.approved(session, limit)


class _StoredCatalogue:
    """See `services.recognizer.spans.CatalogueSource`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def revision(self) -> object:
        with self._store.reading() as session:
            return catalogue.catalogue_revision(session)

    def entities(self, limit: int) -> tuple[Sequence[Entity], int]:
        with self._store.reading() as session:
            return catalogue.entities(session, limit)


def nothing_stored() -> Storing:
    """Of a server without a store."""
    return Storing(None, LiveNamesConfig(), lambda: (), Metrics(), lambda: "")
