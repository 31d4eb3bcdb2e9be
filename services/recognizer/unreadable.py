"""Requests that are no messages of the contract: INVALID_ARGUMENT with one sentence, where gRPC would say UNKNOWN.

gRPC parses a single request before its handler runs, and those of a stream when they are read. What fails to parse
becomes a mark in the one case, which is refused here before the handler sees it, and a `ProtocolError` in the other.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from services.recognizer.interceptors import Context, Handler
from services.recognizer.status import ProtocolError, abort

Parse = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In the place of a request that cannot be parsed."""

    error: ProtocolError


class ReadableRequests(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Refuses what cannot be parsed; the innermost interceptor, so that the others see the refusal."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler; what does not exist, or takes bytes as they are, stays so."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        return _stream(handler) if handler.request_streaming else _single(handler)


def parsed(parse: Parse, data: bytes) -> Any:
    """A request; raises `ProtocolError`."""
    try:
        return parse(data)
    except DecodeError as error:
        kind = parse(b"").DESCRIPTOR.full_name
        raise ProtocolError(
            f"a request of {len(data)} bytes is not a {kind}; send it as the contract has it"
        ) from error


def _single(handler: Handler) -> Handler:
    parse: Parse = handler.request_deserializer  # type: ignore[assignment]

    def marked(data: bytes) -> Any:
        try:
            return parsed(parse, data)
        except ProtocolError as error:
            return Unreadable(error)

    async def check(request: Any, context: Context) -> None:
        if isinstance(request, Unreadable):
            await abort(context, request.error)

    return _around(handler, check, marked)


def _stream(handler: Handler) -> Handler:
    parse: Parse = handler.request_deserializer  # type: ignore[assignment]

    async def check(request: Any, context: Context) -> None:
        """What is read is checked when it is."""

    return _around(handler, check, lambda data: parsed(parse, data))


def _around(handler: Handler, check: Callable[[Any, Context], Awaitable[None]], parse: Parse) -> Handler:
    """The handler behind a check; a `ProtocolError` that it lets through, or a method it lacks, becomes a status."""
    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    inner = getattr(handler, kind)
    outer: Any
    if inspect.isasyncgenfunction(inner):

        async def generate(request: Any, context: Context) -> AsyncIterator[Any]:
            await check(request, context)
            try:
                async for response in inner(request, context):
                    yield response
            except ProtocolError as error:
                await abort(context, error)

        outer = generate
    else:

        async def run(request: Any, context: Context) -> Any:
            await check(request, context)
            try:
                return await inner(request, context)
            except ProtocolError as error:
                await abort(context, error)
            except NotImplementedError:  # of a service that gRPC brings
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server does not have this method")

        outer = run
    wrapped: Handler = getattr(grpc, f"{kind}_rpc_method_handler")(
        outer, request_deserializer=parse, response_serializer=handler.response_serializer
    )
    return wrapped
