"""Who may call, and how much: API keys, quotas and the audit of every refusal, as a gRPC interceptor.

With a file of keys, every call but health (and reflection, unless it is closed) brings one, as metadata
``authorization: Bearer KEY`` or ``x-api-key: KEY``. Without, callers are told apart by their address, and what needs
the role `admin` is for this machine alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import grpc
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from services.recognizer.interceptors import (
    HEALTH,
    REFLECTION,
    AroundCalls,
    Context,
    host_of,
    is_local,
    linger,
    network_of,
)
from services.recognizer.keys import Key, KeyRing
from services.recognizer.quotas import Account, Quotas, Recent, TokenBucket, set_account
from services.recognizer.status import ForbiddenError, QuotaError, RefusalError, UnauthenticatedError, abort, status_of

ADMIN_METHODS = ("/dengar.v1.Admin/", "/dengar.v1.Names/", "/dengar.v1.Privacy/")
CALLERS = 10_000
TRUSTED_S = 3600.0
audit = logging.getLogger("dengar.audit")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AccessConfig:
    """How calls are admitted.

    Attributes:
        open_reflection: whether the contract may be asked for without a key.
        failed_keys_per_minute: wrong keys from one address; beyond, keys are not looked at but for those that this
            address used with success in the last hour.
        caller_quotas: bounds of one address where there are no keys.
    """

    open_reflection: bool = True
    failed_keys_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    caller_quotas: Quotas = Quotas()


class Access(AroundCalls):
    """Admits calls, or refuses them with one sentence, `google.rpc` details and a line of audit.

    Args:
        config: rules.
        keys: who may call, or None for everybody.
        on_refused: called with the cause of each refusal.
        clock: seconds that only grow.
        now: seconds since 1970.
    """

    def __init__(
        self,
        config: AccessConfig,
        keys: KeyRing | None,
        on_refused: Callable[[str], None] = lambda _cause: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._keys, self._on_refused, self._clock = config, keys, on_refused, clock
        self._now = now
        self._by_name: dict[str, Account] = {}
        self._by_address = Recent(self._new_account, CALLERS, lambda account: account.streams > 0)
        self._failures = Recent(lambda _: TokenBucket(config.failed_keys_per_minute, clock), CALLERS, lambda _: False)
        self._trusted: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def _new_account(self, name: str) -> Account:
        return Account(name, self._config.caller_quotas, self._clock, self._now)

    def applies(self, method: str) -> bool:
        """Health is for everybody, and reflection if it is open."""
        if method.startswith(HEALTH):
            return False
        return not (method.startswith(REFLECTION) and self._config.open_reflection)

    def enter(self, method: str, context: Context, *, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Admits the call before its handler runs, and gives back its place after it."""
        return self._admitted(method, context, streaming=streaming)

    @contextlib.asynccontextmanager
    async def _admitted(self, method: str, context: Context, *, streaming: bool) -> AsyncIterator[None]:
        host = host_of(context.peer())
        key: Key | None = None
        try:
            if self._keys is None:
                account = self._by_address[network_of(host)]
            else:
                key = await self._key_of(context, network_of(host), self._keys)
                if key.has_expired():
                    raise UnauthenticatedError(
                        f"this API key expired on {key.expires:%Y-%m-%d %H:%M} UTC", "expired_key"
                    )
                account = self._by_name.setdefault(key.name, self._new_account(key.name))
                account.quotas = key.quotas
            check_role(method, host, key)
            account.enter()
            if method.startswith(ADMIN_METHODS):
                audit.info("admitted", extra=_who(method, context, host, key))
        except RefusalError as error:
            self._refused(error, method, context, host, key)
            if streaming:
                await linger(context)
            await abort(context, error)
        set_account(account)
        try:
            yield
        except grpc.aio.AbortError as aborted:  # admitted here, refused further in: too busy, or its audio used up
            if isinstance(aborted.__cause__, RefusalError):
                self._refused(aborted.__cause__, method, context, host, key)
            raise
        finally:
            account.leave()

    async def _key_of(self, context: Context, caller: str, keys: KeyRing) -> Key:
        """The call's key, which may have expired."""
        presented = _presented(context)
        if presented is None:
            raise UnauthenticatedError(
                "this server wants an API key, as metadata 'authorization: Bearer KEY' or 'x-api-key: KEY'", "no_key"
            )
        digest = hashlib.sha256(presented.encode(errors="replace")).digest()
        failures = self._failures.peek(caller)
        wait_s = failures.wait_s() if failures else 0.0
        if wait_s > 0 and self._trusted.get((caller, digest), -math.inf) < self._clock():
            raise QuotaError(
                f"too many wrong API keys came from {caller}; try again in {math.ceil(wait_s)} s", "failed_keys", wait_s
            )
        if keys.is_stale:
            await asyncio.to_thread(keys.refresh)
        key = keys.find(presented)
        if key is None:
            self._failures[caller].take()
            raise UnauthenticatedError("this API key is not known here; it may have been revoked", "unknown_key")
        if key.has_expired():
            self._failures[caller].take()
        else:
            self._trust(caller, digest)
        return key

    def _trust(self, caller: str, digest: bytes) -> None:
        self._trusted[caller, digest] = self._clock() + TRUSTED_S
        self._trusted.move_to_end((caller, digest))
        if len(self._trusted) > CALLERS:
            self._trusted.popitem(last=False)

    def _refused(self, error: RefusalError, method: str, context: Context, host: str, key: Key | None) -> None:
        self._on_refused(error.cause)
        code, sentence = status_of(error)
        fields = {**_who(method, context, host, key), "cause": error.cause, "code": code.name}
        audit.warning("refused: %s", sentence, extra=fields)


def _who(method: str, context: Context, host: str, key: Key | None) -> dict[str, str]:
    """What the audit says of a call; never the key."""
    fields = {"method": method, "peer": host}
    if key is not None:
        fields |= {"key": key.name, "key_id": key.id}
    for name in context.auth_context().get("x509_common_name", ()):
        fields["certificate"] = name.decode(errors="replace")
    return fields


def _presented(context: Context) -> str | None:
    """The key as the call's metadata has it."""
    metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
    scheme, _, key = metadata.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return metadata.get("x-api-key", "").strip() or None


def check_role(method: str, host: str, key: Key | None) -> None:
    """Whether a caller may call a method at all.

    Args:
        method: as ``/package.Service/Method``.
        host: the caller's address.
        key: the caller's, or None where there are no keys.

    Raises:
        ForbiddenError: it may not.
    """
    if not method.startswith(ADMIN_METHODS):
        return
    if key is None and not is_local(host):
        raise ForbiddenError(
            f"{method} is for callers on this machine, because this server has no API keys", "not_local"
        )
    if key is not None and key.role != "admin":
        raise ForbiddenError(f"{method} wants a key with the role admin; {key.name} has {key.role}", "role")
