"""Configuration of the speech server."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asr.endpoint import EndpointConfig
from asr.errors import ConfigError
from services.recognizer.live_names import LiveNamesConfig
from services.store.config import StoreConfig


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ServerConfig:
    """What a server serves, where, and how much it takes on.

    Attributes:
        bundle: folder, hash or alias of the bundle, or None for the shipped one.
        state: folder for what the server itself keeps, such as phrase sets.
        registry: folder of bundles whose alias `live` is followed while serving; none if empty.
        follow_s: how often it is looked at.
        max_rtf: processor seconds that another bundle may take for a second of audio to be served.
        max_slowdown: how many times slower than the live one it may be.
        host: address to listen on.
        port: 0 picks a free one.
        engine: ``onnx`` runs the bundle's int8 model; ``torch`` its float weights, the reference.
        threads: workers that recognise; as many as there are cores for it.
        max_batch: streams that a worker takes in one turn.
        batch_wait_ms: how long a worker waits for more streams to take along, if others are open.
        max_streams: calls at once; one more is refused with RESOURCE_EXHAUSTED.
        max_audio_s: audio of one call.
        max_message_bytes: one gRPC message, and so the recording of one `Recognize`.
        max_packet_bytes: the audio of one streaming request.
        idle_timeout_s: how long a stream may send nothing.
        max_ahead_s: how far a stream's audio may come ahead of the clock; then it is read no faster than speech.
        max_behind_s: how far it may fall behind before the stream is ended.
        stall_s: how long one step of a worker may take; then its streams fail and another worker takes its place.
        call_timeout_s: how long one call may last, whatever it sends.
        interim_interval_ms: interim results come at most this often.
        endpoint: when a single utterance ends, where the request does not say.
        store: where queries are kept whose users allow it, and names are found; None: nothing is kept.
        names: how approved names are served; without a store there are none.
        drain_s: how long running calls may go on once the server is told to stop.
    """

    bundle: str | None = None
    state: str = "work/server"
    registry: str = ""
    follow_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    max_rtf: Annotated[float, Field(gt=0, le=100)] = 0.5
    max_slowdown: Annotated[float, Field(gt=0, le=1000)] = 2.0
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 50_051
    engine: Literal["onnx", "torch"] = "onnx"
    threads: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=lambda: os.cpu_count() or 1)
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 16
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 64
    max_audio_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    max_message_bytes: Annotated[int, Field(ge=65_536, le=2**30)] = 16 * 2**20
    max_packet_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 2**20
    idle_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    max_ahead_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    max_behind_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    stall_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    call_timeout_s: Annotated[float, Field(gt=0, le=7200)] = 600.0
    interim_interval_ms: Annotated[float, Field(ge=0, le=60_000)] = 100.0
    endpoint: EndpointConfig = EndpointConfig()
    store: StoreConfig | None = None
    names: LiveNamesConfig = LiveNamesConfig()
    drain_s: Annotated[float, Field(ge=0, le=7200)] = 30.0


def server_config(**values: Any) -> ServerConfig:
    """Builds a `ServerConfig`, or raises `ConfigError` with one sentence about the first wrong value."""
    try:
        return TypeAdapter(ServerConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise ConfigError(f"server setting {name}: {first['msg']}, found {first['input']!r}") from error
