"""A real server in a thread of its own, and raw calls to it: bytes go out as they are and come back as they are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import grpc

from services.dengar.v1 import speech_pb2 as pb
from services.recognizer.bundles import Loader
from services.recognizer.config import server_config
from services.recognizer.server import Server
from services.recognizer.session import Recognizer
from tests.services.conftest import ToneVoice, linear16, tones

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """The end of a call, and what came before it."""

    code: grpc.StatusCode
    details: str
    responses: list[bytes]


@dataclass
class Served:
    """A server that runs.

    Attributes:
        address: of it.
        complaints: exceptions that it logged, since the last `take_complaints`.
    """

    address: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(self.address)

    def call(self, method: str, packets: Sequence[bytes], metadata: Sequence[tuple[str, str]] = ()) -> Outcome:
        """Calls any method with any bytes, as a stream of packets; for one that takes a single request it is one."""
        call = self.channel.stream_stream(method)(iter(packets), timeout=DEADLINE_S, metadata=metadata)
        responses = []
        with contextlib.suppress(grpc.RpcError):
            responses.extend(call)
        return Outcome(call.code(), call.details() or "", responses)

    def take_complaints(self) -> list[str]:
        """What was logged meanwhile."""
        taken, self.complaints = self.complaints, []
        return taken

    def understands(self, words: str = "one two") -> str:
        """What the server hears in a healthy request."""
        config = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)
        request = pb.RecognizeRequest(config=config, audio=pb.RecognitionAudio(content=linear16(tones(words))))
        outcome = self.call("/dengar.v1.Speech/Recognize", [request.SerializeToString()])
        assert outcome.code is grpc.StatusCode.OK, outcome.details
        return pb.RecognizeResponse.FromString(outcome.responses[0]).results[0].alternatives[0].transcript


class _Complaints(logging.Handler):
    def __init__(self, served: list[Served]) -> None:
        super().__init__(logging.ERROR)
        self._served = served

    def emit(self, record: logging.LogRecord) -> None:
        if not record.exc_info and not record.name.startswith(("grpc", "asyncio")):
            return  # said on purpose
        for served in self._served:
            served.complaints.append(f"{record.name}: {record.getMessage()} {record.exc_info}")


@contextlib.contextmanager
def served_in_thread(recognizer: Recognizer, load: Loader, **settings: object) -> Iterator[Served]:
    """Serves a recogniser, with a way to load others, until the block is over."""
    ready: list[str] = []
    started, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        config = server_config(port=0, drain_s=0.0, threads=2, interim_interval_ms=0, **settings)
        server = Server(recognizer, config, load, name="first", voice=ToneVoice())
        ready.append(f"127.0.0.1:{await server.start()}")
        started.set()
        try:
            await over.wait()
        finally:
            await server.drain()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="fuzzed-server")
    found: list[Served] = []
    handler = _Complaints(found)
    logging.getLogger().addHandler(handler)
    thread.start()
    try:
        assert started.wait(60)
        found.append(Served(ready[0]))
        yield found[0]
    finally:
        for each in found:
            each.channel.close()
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()
        logging.getLogger().removeHandler(handler)
