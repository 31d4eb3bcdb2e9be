"""The service `dengar.v1.Names`: the catalogue, and decisions on names; a decision is served as soon as it is made.

Who may call is decided before (`services.recognizer.access`): keys with the role admin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from asr.errors import ConfigError
from services.dengar.v1 import names_pb2 as pb
from services.dengar.v1 import names_pb2_grpc
from services.learner import names
from services.learner.catalogue import Given, import_entities
from services.recognizer.status import NothingKeptError, abort
from services.store.database import Store
from services.store.models import Name

NAMES = pb.DESCRIPTOR.services_by_name["Names"].full_name
DEFAULT_LIMIT, MAX_LIMIT = 100, 10_000
STATUS = {
    pb.WATCHED: "watched",
    pb.PROPOSED: "proposed",
    pb.APPROVED: "approved",
    pb.LEARNED: "learned",
    pb.REJECTED: "rejected",
}
_NUMBERS = {name: number for number, name in STATUS.items()}

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
T = TypeVar("T")


class NamesService(names_pb2_grpc.NamesServicer):
    """Answers the calls of `dengar.v1.Names`.

    Args:
        store: where names are; None if nothing is kept.
        actor: names the caller of the current call, for the audit trail.
        decided: awaited after each decision, before it is answered: serves it.
    """

    def __init__(self, store: Store | None, actor: Callable[[], str], decided: Callable[[], Awaitable[None]]) -> None:
        self._store, self._actor, self._decided = store, actor, decided

    async def Import(self, request: pb.ImportNamesRequest, context: Context) -> pb.ImportNamesResponse:  # noqa: N802
        """Adds entities to the catalogue."""
        actor = self._actor()
        given = [Given(each.name, each.kind, each.weight) for each in request.entities]
        done = await self._run(context, lambda session: import_entities(session, given, request.source, actor=actor))
        return pb.ImportNamesResponse(
            added=done.added, updated=done.updated, refused=done.refused, refused_count=done.refused_count
        )

    async def ListNames(self, request: pb.ListNamesRequest, context: Context) -> pb.ListNamesResponse:  # noqa: N802
        """Lists names."""
        return await self._run(context, lambda session: listed(session, request), writes=False)

    async def GetName(self, request: pb.GetNameRequest, context: Context) -> pb.Name:  # noqa: N802
        """Returns a name."""
        return await self._run(context, lambda session: message(names.find_name(session, request.name)), writes=False)

    async def AddName(self, request: pb.AddNameRequest, context: Context) -> pb.Name:  # noqa: N802
        """Adds a name, approved."""
        actor = self._actor()
        return await self._decide(
            context, lambda session: names.add_name(session, request.text, request.spellings, actor=actor)
        )

    async def ApproveName(self, request: pb.ApproveNameRequest, context: Context) -> pb.Name:  # noqa: N802
        """Approves a name."""
        actor = self._actor()
        return await self._decide(
            context, lambda session: names.approve_name(session, request.name, request.text, actor=actor)
        )

    async def RejectName(self, request: pb.RejectNameRequest, context: Context) -> pb.Name:  # noqa: N802
        """Rejects a name."""
        actor = self._actor()
        return await self._decide(
            context, lambda session: names.reject_name(session, request.name, request.reason, actor=actor)
        )

    async def _decide(self, context: Context, work: Callable[[Session], Name]) -> pb.Name:
        decided = await self._run(context, lambda session: message(work(session)))
        await self._decided()
        return decided

    async def _run(self, context: Context, work: Callable[[Session], T], *, writes: bool = True) -> T:
        try:
            if self._store is None:
                raise NothingKeptError
            return await asyncio.to_thread(_transaction, self._store, work, writes=writes)
        except Exception as error:
            await abort(context, error)


def listed(session: Session, request: pb.ListNamesRequest) -> pb.ListNamesResponse:
    """Names, most mentions first; raises `ConfigError` for an unknown status or a limit out of range."""
    unknown = [status for status in request.statuses if status not in STATUS]
    if unknown:
        raise ConfigError(f"status {unknown[0]} is none; known: {', '.join(pb.NameStatus.keys()[1:])}")
    if not 0 <= request.limit <= MAX_LIMIT:
        raise ConfigError(f"limit is {request.limit}; accepted: 0 to {MAX_LIMIT}")
    statuses = [STATUS[status] for status in request.statuses]
    found = names.list_names(session, statuses, request.limit or DEFAULT_LIMIT)
    return pb.ListNamesResponse(names=[message(name) for name in found])


def message(name: Name) -> pb.Name:
    """A name as the contract has it."""
    return pb.Name(
        id=name.id,
        text=name.text,
        status=_NUMBERS[name.status],
        mentions=name.mentions,
        users=name.users,
        first_heard=_time(name.first_at),
        last_heard=_time(name.last_at),
        spellings=name.spellings,
        trend=name.trend,
        reason=name.reason,
        bundle_hash=name.bundle,
    )


def _transaction(store: Store, work: Callable[[Session], T], *, writes: bool) -> T:
    if writes:
        try:
            return store.run(work)
        except IntegrityError:  # somebody else added the same name in between
            return store.run(work)
    with store.reading() as session:
        return work(session)


def _time(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at)
    return found
