"""What the server's interceptors share: running something around every call, and reading who calls.

gRPC shows an interceptor a call's metadata but neither its peer nor its end, so an interceptor here wraps the handler:
`enter(method, context)` is an asynchronous context manager, inside which the handler runs, in the same task (and so
with the same context variables).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import ipaddress
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import grpc

from asr.errors import InputError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
LINGER_S, LINGER_MOST_S = 0.5, 2.0
"""Pause after which a caller is taken to have finished sending, and how long to wait at most."""
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection."


class AroundCalls(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Runs `enter` around the handler of each method that `applies`."""

    def applies(self, method: str) -> bool:  # noqa: ARG002
        """Whether calls of `method`, as ``/package.Service/Method``, are wrapped."""
        return True

    def enter(self, method: str, context: Context, *, streaming: bool) -> AbstractAsyncContextManager[None]:
        """What the handler runs inside; `streaming` tells that the caller may send many messages."""
        raise NotImplementedError

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler; what does not exist stays so."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not self.applies(method):
            return handler
        return wrap(handler, functools.partial(self.enter, method, streaming=handler.request_streaming))


def wrap(handler: Handler, enter: Callable[[Context], AbstractAsyncContextManager[None]]) -> Handler:
    """The same handler inside `enter(context)`.

    Raises:
        TypeError: the handler is not asynchronous.
    """
    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    inner = getattr(handler, kind)
    if inspect.isasyncgenfunction(inner):

        async def generate(request: Any, context: Context) -> AsyncIterator[Any]:
            async with enter(context):
                async for response in inner(request, context):
                    yield response

        outer: Any = generate
    elif inspect.iscoroutinefunction(inner):

        async def run(request: Any, context: Context) -> Any:
            async with enter(context):
                return await inner(request, context)

        outer = run
    else:
        raise TypeError(f"{inner!r} is not asynchronous")
    wrapped: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(
        outer, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
    )
    return wrapped


async def linger(context: Context) -> None:
    """Lets the caller of a stream finish sending, unheard: a send that is cut off would hide the status from it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_MOST_S):
            while True:
                async with asyncio.timeout(LINGER_S):
                    with contextlib.suppress(InputError):  # no message, but sent
                        if await context.read() is grpc.aio.EOF:  # type: ignore[attr-defined]
                            return


def host_of(peer: str) -> str:
    """The caller's address without its port, from gRPC's ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    return rest.rpartition(":")[0].strip("[]")


def network_of(host: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 that a provider gives one IPv6 customer."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_local(host: str) -> bool:
    """Whether an address is reached from this machine alone: loopback, or a Unix socket."""
    if host in ("localhost", "unix") or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False
