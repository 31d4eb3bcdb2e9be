"""The service `dengar.v1.Privacy`: what users may ask for of what is kept.

Who may call is decided before (`services.recognizer.access`): keys with the role admin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from asr.errors import ConfigError
from services.dengar.v1 import privacy_pb2 as pb
from services.dengar.v1 import privacy_pb2_grpc
from services.recognizer.messages import MAX_USER
from services.recognizer.status import NothingKeptError, abort
from services.store.database import Store
from services.store.retention import forget

PRIVACY = pb.DESCRIPTOR.services_by_name["Privacy"].full_name

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class PrivacyService(privacy_pb2_grpc.PrivacyServicer):
    """Answers the calls of `dengar.v1.Privacy`.

    Args:
        store: what is kept; None if nothing is.
        actor: names the caller of the current call, for the audit trail.
    """

    def __init__(self, store: Store | None, actor: Callable[[], str]) -> None:
        self._store, self._actor = store, actor

    async def Forget(self, request: pb.ForgetRequest, context: Context) -> pb.ForgetResponse:  # noqa: N802
        """Deletes what is kept of a user; queries that are on their way into the store are dropped when they come."""
        try:
            if self._store is None:
                raise NothingKeptError
            if not request.user or len(request.user) > MAX_USER:
                raise ConfigError(f"user is empty or longer than {MAX_USER} characters; say whom to forget")
            done = await asyncio.to_thread(forget, self._store, request.user, actor=self._actor())
        except Exception as error:
            await abort(context, error)
        return pb.ForgetResponse(
            queries=done.deleted.queries,
            recordings=done.deleted.recordings,
            training_rows=done.deleted.training_rows,
            bundles=done.bundles,
        )
