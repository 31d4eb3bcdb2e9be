"""The server: services, health, reflection and what looks after them, from start to drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from asr.errors import ConfigError, MissingDependencyError
from asr.voice_activity import VoiceActivity
from services.dengar.v1 import admin_pb2_grpc, speech_pb2_grpc
from services.recognizer.admin import ADMIN, AdminService, Swapper, follow
from services.recognizer.bundles import Bundles, Loader, Served, SwapRules
from services.recognizer.config import ServerConfig
from services.recognizer.edge import Edge, EdgeConfig
from services.recognizer.phrases import PHRASES, PhrasesService, PhraseStore, Wanted
from services.recognizer.quotas import current_account
from services.recognizer.session import Recognizer, Voice
from services.recognizer.speech import SPEECH, SpeechService
from services.recognizer.storing import SERVICES, Storing
from services.registry import Registry

DENGAR = (SPEECH, PHRASES, ADMIN, *SERVICES)
log = logging.getLogger("dengar.recognizer")


class Server:
    """A speech server: `start`, then `drain`.

    Args:
        recognizer: what answers to begin with.
        config: where and how much.
        load: opens other bundles, by folder, hash or alias.
        name: where the recogniser was loaded from.
        edge: TLS, keys, metrics and traces; plain, open and uncounted if None. `drain` closes it.
        voice: hears voices for endpointing; by default silero's model, if it is installed.

    Raises:
        ConfigError: the host is reached from other machines, and the edge neither encrypts nor allows plain text.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        config: ServerConfig,
        load: Loader | None = None,
        *,
        name: str = "",
        edge: Edge | None = None,
        voice: Voice | None = None,
    ) -> None:
        self.config = config
        self.edge = edge or Edge(EdgeConfig(), config.host)
        live = Served(recognizer, name)
        self.bundles = Bundles(
            live, load or _no_other, SwapRules(max_rtf=config.max_rtf, max_slowdown=config.max_slowdown)
        )
        self.swapper = Swapper(self.bundles, self.edge.metrics.swap)
        store = PhraseStore(Path(config.state) / "phrases")
        self.storing = Storing(config.store, config.names, self._recognizers, self.edge.metrics, self._key)
        self._service = SpeechService(
            self.bundles,
            config,
            lambda name: store.get(_owner(), name),
            self.edge.metrics,
            voice or _voice_activity(),
            self.storing,
        )
        self.edge.watch(**self._service.sources(), **self.storing.sources())
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._tasks: list[asyncio.Task[None]] = []
        self._server = grpc.aio.server(
            interceptors=self.edge.interceptors,
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_metadata_size", 16 * 1024),
                ("grpc.max_concurrent_streams", config.max_streams + 8),  # of one connection; 8 for health and the like
                ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a lottery
                ("grpc.keepalive_time_ms", 30_000),  # notices callers that vanished without a word
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        speech_pb2_grpc.add_SpeechServicer_to_server(self._service, self._server)  # type: ignore[no-untyped-call]
        phrases = PhrasesService(store, _owner, self._unused)
        speech_pb2_grpc.add_PhrasesServicer_to_server(phrases, self._server)  # type: ignore[no-untyped-call]
        admin = AdminService(self.swapper)
        admin_pb2_grpc.add_AdminServicer_to_server(admin, self._server)  # type: ignore[no-untyped-call]
        self.storing.register(self._server, _owner)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*DENGAR, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Starts to listen and returns the port.

        Raises:
            ConfigError: the address is taken or not of this machine.
        """
        await self.storing.refresh()
        port = self.edge.listen(self._server, f"{self.config.host}:{self.config.port}")
        await self._server.start()
        self.edge.start()
        if self.config.registry:
            registry = Registry(self.config.registry)
            self._tasks.append(asyncio.create_task(follow(registry, self.swapper, self.config.follow_s)))
        self._tasks.append(asyncio.create_task(self.storing.follow()))
        watching = self._service.watch(lambda: self._set_health(False), lambda: self._set_health(True))
        self._tasks.append(asyncio.create_task(watching))
        await self._set_health(True)
        return port

    def _recognizers(self) -> list[Recognizer]:
        """Those that answer new streams."""
        served = (self.bundles.live, self.bundles.candidate)
        return [bundle.recognizer for bundle in served if bundle is not None]

    def _key(self) -> str:
        """The name of the current call's API key; empty where there are none."""
        return current_account().name if self.edge.has_keys else ""

    def _unused(self, wanted: Wanted) -> Sequence[tuple[str, str]]:
        """Which phrases the live bundle cannot use."""
        unused: Sequence[tuple[str, str]] = self.bundles.live.recognizer.hints(wanted.phrases, wanted.classes).unused
        return unused

    async def _set_health(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *DENGAR):
            await self._health.set(name, status)

    async def drain(self) -> None:
        """Refuses new calls, lets running ones finish for at most `drain_s`, and stops."""
        await self._health.enter_graceful_shutdown()
        self._service.refuse()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._service.idle.wait(), self.config.drain_s)
        # What is left are health watches, which end only with the connection, and last messages on their way. One
        # stop alone: two at a time race for gRPC's server object, which crashes the process.
        await self._server.stop(min(0.5, self.config.drain_s))
        self._service.close()
        await asyncio.to_thread(self.storing.close)
        await self.edge.close()


def _voice_activity() -> Voice | None:
    try:
        return VoiceActivity()
    except MissingDependencyError as error:
        log.warning("streams will not end by themselves: %s", error)
        return None


def _owner() -> str:
    """Whose phrase sets the current call reads and writes."""
    return current_account().name


def _no_other(name: str) -> Recognizer:
    raise ConfigError(f"bundle {name!r}: this server was started without a way to load others")


async def serve(server: Server, ready: Callable[[int], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Args:
        server: not yet started.
        ready: called once with the port when calls are accepted.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ready(await server.start())
    await stop.wait()
    log.info("draining")
    await server.drain()
