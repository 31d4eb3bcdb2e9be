"""The options of `dengar serve` that are not about speech: for its signature, one name each."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

TlsCertificate = Annotated[
    str | None, typer.Option(envvar="DENGAR_TLS_CERTIFICATE", help="PEM file: the certificate and those above it.")
]
TlsKey = Annotated[str | None, typer.Option(envvar="DENGAR_TLS_KEY", help="PEM file: its key, without passphrase.")]
TlsClientCa = Annotated[
    str | None, typer.Option(envvar="DENGAR_TLS_CLIENT_CA", help="PEM file: whose certificates clients must have.")
]
AllowPlaintext = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext",
        envvar="DENGAR_ALLOW_PLAINTEXT",
        help="Plain text on addresses that other machines reach: something in front of the server encrypts.",
    ),
]
Keys = Annotated[str | None, typer.Option(envvar="DENGAR_KEYS", help="File of API keys; see dengar keys.")]
ClosedReflection = Annotated[
    bool, typer.Option("--closed-reflection", envvar="DENGAR_CLOSED_REFLECTION", help="Reflection wants a key too.")
]
FailedKeysPerMinute = Annotated[
    int, typer.Option(envvar="DENGAR_FAILED_KEYS_PER_MINUTE", help="Wrong keys from one address.")
]
StreamsPerClient = Annotated[
    int | None,
    typer.Option(envvar="DENGAR_STREAMS_PER_CLIENT", help="Calls at once of one address, where there are no keys."),
]
MetricsPort = Annotated[
    int | None, typer.Option(envvar="DENGAR_METRICS_PORT", help="Serve Prometheus metrics here; 0 picks a free port.")
]
MetricsHost = Annotated[str, typer.Option(envvar="DENGAR_METRICS_HOST", help="Address of the metrics.")]
Traces = Annotated[
    str | None,
    typer.Option(
        envvar="DENGAR_TRACES", help="Send OpenTelemetry spans to http://HOST:4318, or append them to a file."
    ),
]
TraceRatio = Annotated[
    float, typer.Option(envvar="DENGAR_TRACE_RATIO", help="Share of calls traced where the caller has not decided.")
]
LogFormat = Annotated[
    Literal["text", "json"], typer.Option(envvar="DENGAR_LOG_FORMAT", help="Lines for people or for programs.")
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option(envvar="DENGAR_LOG_LEVEL", help="Of Dengar's own records; never with words or audio."),
]
