"""The service `dengar.v1.Feedback`: what became of a query, committed before it is acknowledged.

A query's id is random and told to its caller alone. Where there are API keys it is also remembered whose key the query
came with (`services.store.models.Query.owner`), and nobody else's feedback on it is taken; to others it does not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeAlias

import grpc
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from asr.errors import ConfigError, NotFoundError
from services.dengar.v1 import feedback_pb2 as pb
from services.dengar.v1 import feedback_pb2_grpc
from services.recognizer.metrics import Metrics
from services.recognizer.querylog import QueryKeeper
from services.recognizer.status import BusyError, NothingKeptError, UnsettledError, abort
from services.store.database import Store
from services.store.models import Feedback, Query

FEEDBACK = pb.DESCRIPTOR.services_by_name["Feedback"].full_name
MAX_TEXT = 500
"""Characters of a correction, or of the title of a result."""
MAX_ID = 64
MOST_OF_A_QUERY = 16
"""Feedbacks on one query."""
THREADS, MOST_WAITING = 4, 256
SETTLE_S = 5.0
"""How long feedback waits for a query that was answered a moment ago to be written."""
_GONE = "no query {!r} is kept; it never was, has expired or is forgotten"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class FeedbackService(feedback_pb2_grpc.FeedbackServicer):
    """Answers the calls of `dengar.v1.Feedback`.

    Args:
        store: where queries are; None if nothing is kept.
        keeper: knows which are still on their way there.
        owner: names the API key of the current call; empty where there are none.
        metrics: told what came.
    """

    def __init__(
        self, store: Store | None, keeper: QueryKeeper | None, owner: Callable[[], str], metrics: Metrics
    ) -> None:
        self._store, self._keeper, self._owner, self._metrics = store, keeper, owner, metrics
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="feedback")
        self._calls = 0

    async def SendFeedback(self, request: pb.SendFeedbackRequest, context: Context) -> pb.SendFeedbackResponse:  # noqa: N802
        """Keeps what is said of a query."""
        try:
            if self._store is None or self._keeper is None:
                raise NothingKeptError
            kind, text = said(request)
            with self._place():
                wanted = (self._store, self._keeper, request.query_id, self._owner(), kind, text)
                await asyncio.get_running_loop().run_in_executor(self._pool, self._write, *wanted)
        except Exception as error:
            await abort(context, error)
        self._metrics.feedback(kind)
        return pb.SendFeedbackResponse()

    def close(self) -> None:
        """Ends its threads once their work is done. Blocks."""
        self._pool.shutdown()

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """One of the calls that may wait for the store; raises `BusyError` if there is none left."""
        if self._calls >= MOST_WAITING:
            raise BusyError(f"{self._calls} feedbacks wait for the store already; try again in a moment")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def _write(self, store: Store, keeper: QueryKeeper, query_id: str, owner: str, kind: str, text: str) -> None:
        for waiting in (query_id, text) if kind == "retried" else (query_id,):
            if not keeper.settled(waiting, SETTLE_S):
                raise UnsettledError(f"query {waiting} is not written yet; send the feedback again in a moment")
        try:
            with store.session() as session:
                add(session, query_id, owner, kind, text)
        except IntegrityError as error:  # forgotten in between
            raise NotFoundError(_GONE.format(query_id)) from error


def said(request: pb.SendFeedbackRequest) -> tuple[str, str]:
    """Kind and text of a feedback, as `services.store.models.Feedback` has them.

    Raises:
        ConfigError: nothing is said, or too much.
    """
    if not 0 < len(request.query_id) <= MAX_ID:
        raise ConfigError("query_id is empty or too long; give the one that came with the final result")
    field = request.WhichOneof("feedback")
    if field is None:
        raise ConfigError("nothing is said; set corrected_text, chosen_result, retried_as or accepted")
    if field == "accepted":
        return ("accepted" if request.accepted else "abandoned"), ""
    kind = {"corrected_text": "corrected", "chosen_result": "chosen", "retried_as": "retried"}[field]
    text = getattr(request, field).strip()
    most = MAX_ID if kind == "retried" else MAX_TEXT
    if not 0 < len(text) <= most:
        raise ConfigError(f"{field} has {len(text)} characters; accepted: 1 to {most}")
    if kind == "retried" and text == request.query_id:
        raise ConfigError("retried_as is the query itself; give the id of the one that followed")
    return kind, text


def add(session: Session, query_id: str, owner: str, kind: str, text: str) -> None:
    """Adds a feedback to the session's transaction.

    Args:
        session: of the store.
        query_id: what it is about.
        owner: name of the API key that it came with; empty where there are none.
        kind: see `services.store.models.Feedback`.
        text: likewise.

    Raises:
        NotFoundError: no such query of that owner is kept.
        ConfigError: enough has been said of it.
    """
    for wanted in (query_id, text) if kind == "retried" else (query_id,):
        query = session.get(Query, wanted)
        if query is None or query.owner != owner:
            raise NotFoundError(_GONE.format(wanted))
    count = session.scalar(select(func.count()).where(Feedback.query_id == query_id)) or 0
    if count >= MOST_OF_A_QUERY:
        raise ConfigError(f"{count} feedbacks on query {query_id} came already; more are not kept")
    session.add(Feedback(query_id=query_id, at=datetime.now(UTC), kind=kind, text=text, handled=False))
