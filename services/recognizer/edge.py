"""What is around the service and is not speech: TLS, keys and quotas, metrics, traces; put together from options."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import grpc
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asr.errors import ConfigError
from services.recognizer.access import Access, AccessConfig
from services.recognizer.keys import KeyRing
from services.recognizer.metrics import CallMetrics, Metrics, Sources, watch_loop
from services.recognizer.tls import Certificates, TlsConfig, check_transport, tls_config
from services.recognizer.unreadable import ReadableRequests
from services.telemetry import TraceConfig, Tracing

Port = Annotated[int, Field(ge=0, le=65_535)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EdgeConfig:
    """How a server meets the world.

    Attributes:
        tls: certificate and key, or None for plain text.
        allow_plaintext: plain text also where other machines reach it.
        keys: file of API keys, or None to serve everybody.
        access: further rules of admission.
        metrics_port: where Prometheus scrapes; 0 picks a free port; None: no metrics.
        metrics_host: address of that port.
        traces: where spans go, or None.
    """

    tls: TlsConfig | None = None
    allow_plaintext: bool = False
    keys: Path | None = None
    access: AccessConfig = AccessConfig()
    metrics_port: Port | None = None
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    traces: TraceConfig | None = None


def edge_config(
    *,
    tls_certificate: str | None = None,
    tls_key: str | None = None,
    tls_client_ca: str | None = None,
    allow_plaintext: bool = False,
    keys: str | None = None,
    closed_reflection: bool = False,
    failed_keys_per_minute: int = 10,
    streams_per_client: int | None = None,
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    traces: str | None = None,
    trace_ratio: float = 1.0,
) -> EdgeConfig:
    """The configuration from the options of `dengar serve`.

    Raises:
        ConfigError: one of them makes no sense.
    """
    values: dict[str, Any] = {
        "tls": tls_config(tls_certificate, tls_key, tls_client_ca),
        "allow_plaintext": allow_plaintext,
        "keys": keys,
        "access": {
            "open_reflection": not closed_reflection,
            "failed_keys_per_minute": failed_keys_per_minute,
            "caller_quotas": {"streams": streams_per_client},
        },
        "metrics_port": metrics_port,
        "metrics_host": metrics_host,
        "traces": {"endpoint": traces, "ratio": trace_ratio} if traces is not None else None,
    }
    try:
        return TypeAdapter(EdgeConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise ConfigError(f"server setting {name}: {first['msg']}, found {first['input']!r}") from error


class Edge:
    """What a configuration asks for, running from here to `close`.

    Args:
        config: what is wanted.
        host: the address that will be listened on.
        log_lines_lost: tells how many lines the log has lost.

    Attributes:
        metrics: for the service to count with; counts nothing if there is no `metrics_port`.
        metrics_port: where they are served, or None.
        has_keys: callers have API keys.
        interceptors: for `grpc.aio.server`, in this order.

    Raises:
        ConfigError: a file or port cannot be used, or `host` wants TLS.
        MissingDependencyError: a package for metrics or traces is not installed.
    """

    def __init__(self, config: EdgeConfig, host: str, log_lines_lost: Callable[[], int] | None = None) -> None:
        check_transport(host, config.tls, allow_plaintext=config.allow_plaintext)
        self.metrics, self.metrics_port = Metrics(), None
        self._watching: asyncio.Task[None] | None = None
        with contextlib.ExitStack() as started:
            if config.metrics_port is not None:
                from services.recognizer.prometheus import Endpoint, PrometheusMetrics

                counted = PrometheusMetrics()
                endpoint = Endpoint(counted, config.metrics_host, config.metrics_port)
                started.callback(endpoint.close)
                self.metrics, self.metrics_port = counted, endpoint.port
            metrics = self.metrics
            self._certificates = Certificates(config.tls, lambda: metrics.broken_file("tls")) if config.tls else None
            keys = KeyRing(config.keys, lambda: metrics.broken_file("keys")) if config.keys else None
            self.has_keys = keys is not None
            access = Access(config.access, keys, metrics.refused)
            self.interceptors: list[grpc.aio.ServerInterceptor[Any, Any]] = [
                CallMetrics(metrics),
                access,
                ReadableRequests(),
            ]
            if config.traces is not None:
                tracing = Tracing(config.traces)
                started.callback(tracing.close)
                self.interceptors.insert(1, tracing.interceptor())
            certificates = self._certificates
            self._sources = Sources(
                keys=keys.__len__ if keys is not None else None,
                certificate_expires=certificates.expiry_s if certificates is not None else None,
                log_lines_lost=log_lines_lost,
            )
            metrics.watch(self._sources)
            self._started = started.pop_all()

    def listen(self, server: grpc.aio.Server, address: str) -> int:
        """Lets `server` listen on ``host:port``, encrypted if that was asked for; returns the port.

        Raises:
            ConfigError: the address is taken or not of this machine.
        """
        try:
            if self._certificates is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, self._certificates.credentials())
        except RuntimeError as error:
            raise ConfigError(
                f"{address} cannot be listened on; is another server there? --port 0 picks a free one"
            ) from error

    def watch(self, **sources: Callable[[], Any]) -> None:
        """Adds what the service counts for itself to the metrics, by the names of `Sources`."""
        self._sources = dataclasses.replace(self._sources, **sources)
        self.metrics.watch(self._sources)

    def start(self) -> None:
        """Begins to watch the running event loop."""
        self._watching = asyncio.create_task(watch_loop(self.metrics))

    async def close(self) -> None:
        """Sends what waits and stops what was started; after the server has stopped."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await asyncio.to_thread(self._started.close)
