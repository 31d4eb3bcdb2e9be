"""Changing what a server serves while it serves: the Admin service, and following a registry's alias."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from asr.errors import BundleError, ConfigError, DengarError
from services.dengar.v1 import admin_pb2 as pb
from services.dengar.v1 import admin_pb2_grpc
from services.recognizer.bundles import Bundles, Served
from services.recognizer.status import abort
from services.registry import Registry, Rollout

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
ADMIN = pb.DESCRIPTOR.services_by_name["Admin"].full_name
MOST_FOLLOW_S = 60.0
"""How long a registry that cannot be read is left alone at most."""

log = logging.getLogger("dengar.admin")


class Swapper:
    """Changes the bundles of a server, one change at a time.

    Args:
        bundles: of the server.
        on_change: called with "promoted", "refused" or "candidate".
    """

    def __init__(self, bundles: Bundles, on_change: Callable[[str], None] = lambda _: None) -> None:
        self.bundles, self._on_change = bundles, on_change
        self._one = asyncio.Lock()

    async def promote(self, name: str) -> None:
        """Makes a bundle live, or the candidate if there is no name; raises `BundleError` or `ConfigError`."""
        async with self._one:
            before = self.bundles.live
            self.bundles.promote(await self._open(name) if name else None)
            if self.bundles.live is not before:
                log.info("bundle %s is live in place of %s", self.bundles.live.hash[:12], before.hash[:12])
                self._on_change("promoted")

    async def rollback(self) -> None:
        """Makes the previous bundle live; raises `BundleError` if there is none or it is gone."""
        if not self.bundles.previous_name:
            raise ConfigError("nothing was live before in this server; there is nothing to go back to")
        await self.promote(self.bundles.previous_name)

    async def set_candidate(self, name: str, canary_share: float, shadow_share: float) -> None:
        """Loads a candidate or changes its shares; raises `BundleError` or `ConfigError`."""
        async with self._one:
            bundle = await self._open(name) if name else self.bundles.candidate
            if not canary_share and not shadow_share:
                bundle = None
            self.bundles.set_candidate(bundle, canary_share, shadow_share)
            self._on_change("candidate")

    async def _open(self, name: str) -> Served:
        try:
            return await asyncio.to_thread(self.bundles.open, name)
        except BundleError as error:
            log.error("bundle refused: %s", error)
            self._on_change("refused")
            raise


class AdminService(admin_pb2_grpc.AdminServicer):
    """Answers the calls of `dengar.v1.Admin`; who may call is decided before (`services.recognizer.access`)."""

    def __init__(self, swapper: Swapper) -> None:
        self._swapper = swapper

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.ServerStatus:  # noqa: N802, ARG002
        """Says what is served."""
        return status(self._swapper.bundles)

    async def Promote(self, request: pb.PromoteRequest, context: Context) -> pb.ServerStatus:  # noqa: N802
        """Makes a bundle live."""
        return await self._change(context, self._swapper.promote(request.bundle))

    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.ServerStatus:  # noqa: N802, ARG002
        """Makes the previous bundle live."""
        return await self._change(context, self._swapper.rollback())

    async def SetCandidate(self, request: pb.SetCandidateRequest, context: Context) -> pb.ServerStatus:  # noqa: N802
        """Sets the candidate and its shares."""
        change = self._swapper.set_candidate(request.bundle, request.canary_share, request.shadow_share)
        return await self._change(context, change)

    async def _change(self, context: Context, change: Any) -> pb.ServerStatus:
        try:
            await change
        except Exception as error:
            await abort(context, error)
        return status(self._swapper.bundles)


def status(bundles: Bundles) -> pb.ServerStatus:
    """What a server serves, as a message."""
    found = pb.ServerStatus(
        live=_served(bundles.live),
        previous_hash=bundles.previous_hash,
        draining=[_served(each) for each in bundles.draining],
        canary_share=bundles.canary_share,
        shadow_share=bundles.shadow_share,
    )
    if bundles.candidate is not None:
        found.candidate.CopyFrom(_served(bundles.candidate))
        shadow = bundles.shadow
        found.shadow.utterances, found.shadow.changed = shadow.utterances, shadow.changed
        found.shadow.words, found.shadow.word_differences = shadow.words, shadow.word_differences
        found.shadow.left_out = shadow.left_out
    return found


async def follow(registry: Registry, swapper: Swapper, interval_s: float) -> None:
    """Serves what the registry says, for ever; what is refused is refused once, and logged.

    Only a change counts, so that what an operator tells this server by hand lasts until the next one. A registry that
    cannot be read, or a bundle in it, is asked again, ever more seldom.
    """
    live, trial = swapper.bundles.live.hash[:12], None
    failures = 0

    def read() -> tuple[str, Path, Rollout | None]:
        named = registry.live()
        return named, registry.path(named), registry.rollout()

    while True:
        wanted, rollout = live, trial
        try:
            wanted, path, rollout = await asyncio.to_thread(read)
            if wanted != live:
                if not swapper.bundles.live.hash.startswith(wanted):
                    await swapper.promote(_candidate_or(swapper, wanted, path))
                live = wanted
            if rollout != trial:
                await _try_out(registry, swapper, rollout)
                trial = rollout
            failures = 0
        except Exception as error:
            if not failures:
                unknown = None if isinstance(error, (DengarError, OSError)) else error
                log.error("the registry is not followed: %s", error, exc_info=unknown)
            failures += 1
            if not (isinstance(error, OSError) or isinstance(error.__cause__, OSError)):  # refused, not unreachable
                live, trial = (wanted, trial) if wanted != live else (live, rollout)
        await asyncio.sleep(min(MOST_FOLLOW_S, interval_s * 2 ** min(failures, 10)) if failures else interval_s)


def _candidate_or(swapper: Swapper, wanted: str, path: Path) -> str:
    """What to promote: nothing by name if it is the candidate, which is open already."""
    candidate = swapper.bundles.candidate
    return "" if candidate is not None and candidate.hash.startswith(wanted) else str(path)


async def _try_out(registry: Registry, swapper: Swapper, rollout: Rollout | None) -> None:
    """Makes a bundle the candidate with its shares, or ends its trial."""
    if rollout is None or swapper.bundles.live.hash.startswith(rollout.hash):
        await swapper.set_candidate("", 0.0, 0.0)
    else:
        candidate = swapper.bundles.candidate
        known = candidate is not None and candidate.hash.startswith(rollout.hash)
        name = "" if known else str(registry.path(rollout.hash))
        await swapper.set_candidate(name, rollout.canary_share, rollout.shadow_share)


def _served(bundle: Served) -> pb.ServedBundle:
    return pb.ServedBundle(hash=bundle.hash, name=bundle.name, streams=bundle.streams, rtf=bundle.rtf)
