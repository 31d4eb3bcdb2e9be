"""Traces of calls with OpenTelemetry, off unless asked for: a span for each call, its stages as events, no content.

The caller's ``traceparent`` is honoured, so that a query can be followed from the phone through this server. Without
tracing nothing of OpenTelemetry is imported, and `event` costs a look at a context variable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Protocol

import grpc
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from asr import __version__
from asr.errors import ConfigError, MissingDependencyError
from services.recognizer.interceptors import AroundCalls, Context, host_of
from services.recognizer.metrics import code_of

NAMES = frozenset({"bundle", "cause", "encoding", "reason", "role"})
"""Attributes that may be text; all others are numbers, so that no event can quote a query."""

log = logging.getLogger("dengar.telemetry")
FLUSH_MS = 3000
BODY_TIMEOUT_S = 5.0
SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class Span(Protocol):
    """What is used of `opentelemetry.trace.Span`."""

    def add_event(self, name: str, attributes: dict[str, Any] | None = None) -> None: ...
    def set_attribute(self, key: str, value: Any) -> None: ...


_span: ContextVar[Span | None] = ContextVar("dengar_span", default=None)


def current_span() -> Span | None:
    """The span of the call that this task answers; None without tracing. A thread may keep it for `event`."""
    return _span.get()


def event(name: str, /, *, span: Span | None = None, **attributes: float | bool | str) -> None:
    """Adds an event to the call's span.

    Args:
        name: of what happened, as `first_audio`.
        span: from `current_span`, where this is another task or thread than the call's.
        attributes: numbers; text only for `NAMES`, what else is text is left out.
    """
    span = span or _span.get()
    if span is not None:
        span.add_event(name, _allowed(attributes))


def describe(**attributes: float | bool | str) -> None:
    """Adds attributes to the call's span, as `event` would."""
    span = _span.get()
    if span is not None:
        for name, value in _allowed(attributes).items():
            span.set_attribute(name, value)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TraceConfig:
    """Where traces go.

    Attributes:
        endpoint: ``http(s)://host:port`` of an OTLP collector, or the path of a file for JSON lines.
        ratio: share of calls that are traced where the caller has not decided.
    """

    endpoint: Annotated[str, Field(min_length=1)]
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


class Tracing:
    """Records spans and sends them from a thread of its own, until `close`.

    Args:
        config: where to.
        exporter: an OpenTelemetry exporter in place of the configured one.

    Raises:
        ConfigError: the file cannot be written.
        MissingDependencyError: OpenTelemetry is not installed.
    """

    def __init__(self, config: TraceConfig, exporter: Any = None) -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

            exporter = exporter or _exporter(config.endpoint)
        except ImportError as error:
            raise MissingDependencyError("traces need OpenTelemetry; run: pip install 'dengar[telemetry]'") from error
        resource = Resource.create({"service.name": "dengar", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.ratio)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("dengar", __version__)

    def interceptor(self) -> AroundCalls:
        """Makes the spans; the outermost but for metrics, so that refusals are traced."""
        return _TraceCalls(self._tracer)

    def flush(self) -> None:
        """Sends what waits, for a few seconds; blocking."""
        self._provider.force_flush(FLUSH_MS)

    def close(self) -> None:
        """Sends what waits and ends; blocking."""
        self.flush()
        self._provider.shutdown()


class _TraceCalls(AroundCalls):
    def __init__(self, tracer: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def applies(self, method: str) -> bool:
        return method.startswith("/dengar.")

    def enter(self, method: str, context: Context, *, streaming: bool) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        return self._traced(method, context)

    @contextlib.asynccontextmanager
    async def _traced(self, method: str, context: Context) -> AsyncIterator[None]:
        from opentelemetry.trace import SpanKind, StatusCode

        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        service, _, name = method.lstrip("/").partition("/")
        span = self._tracer.start_span(
            f"{service}/{name}",
            context=self._propagator.extract(metadata),
            kind=SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": name,
                "network.peer.address": host_of(context.peer()),
            },
        )
        token = _span.set(span if span.is_recording() else None)
        code = "UNKNOWN"
        try:
            yield
            code = code_of(context)
        except grpc.aio.AbortError as aborted:
            code = code_of(context)
            if aborted.__cause__ is not None:
                span.set_attribute("error.type", type(aborted.__cause__).__name__)
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:  # its words may quote the query; the log has its places
            span.set_attribute("error.type", type(error).__name__)
            raise
        finally:
            _span.reset(token)
            span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
            if code in SERVER_FAULTS:
                span.set_status(StatusCode.ERROR)
            span.end()


def _allowed(attributes: dict[str, float | bool | str]) -> dict[str, float | bool | str]:
    return {name: value for name, value in attributes.items() if name in NAMES or isinstance(value, (bool, int, float))}


def _exporter(endpoint: str) -> Any:
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme in ("http", "https"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        address = endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
        return OTLPSpanExporter(endpoint=address, timeout=BODY_TIMEOUT_S)
    if parts.scheme not in ("", "file"):
        raise ConfigError(f"traces cannot go to {endpoint}; give http://HOST:4318 of a collector, or a file's path")
    return _file_exporter(Path(parts.path if parts.scheme else endpoint))


def _file_exporter(path: Path) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class JsonLines(SpanExporter):
        """Appends a JSON object a span to a file that only its owner reads; what a full disk refuses is lost."""

        def __init__(self) -> None:
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError as error:
                raise ConfigError(f"traces cannot be written to {path}: {error.strerror}") from error
            self._torn = self._failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            lines = "".join(span.to_json(indent=None) + "\n" for span in spans).encode()
            try:
                rest = memoryview(b"\n" + lines if self._torn else lines)
                while rest:
                    written = os.write(self._descriptor, rest)
                    rest, self._torn = rest[written:], written < len(rest)
            except OSError as error:
                if not self._failing:
                    log.error("traces cannot be written to %s: %s", path, error.strerror)
                self._failing = True
                return SpanExportResult.FAILURE
            self._failing = False
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            os.close(self._descriptor)

    return JsonLines()
