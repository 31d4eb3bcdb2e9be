"""A speech server on loopback with interceptors and credentials of the test's choice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.bundles import Bundles, Served
from services.recognizer.config import server_config
from services.recognizer.server import SpeechService
from tests.services.conftest import ToneRecognizer, linear16, tones

SPEECH = pb.DESCRIPTOR.services_by_name["Speech"].full_name
AUDIO = linear16(tones("one two"))
RAW = pb.RecognitionConfig(encoding=pb.RecognitionConfig.LINEAR16, sample_rate_hertz=16_000)


def speech_service(recognizer: Any = None) -> SpeechService:
    """The real service, with a recogniser of tones."""
    recognizer = recognizer or ToneRecognizer()
    bundles = Bundles(Served(recognizer, "tones"), lambda _name: recognizer)
    return SpeechService(bundles, server_config(threads=2), lambda name: pb.PhraseSet(name=name))


@contextlib.asynccontextmanager
async def running(
    interceptors: Sequence[Any] = (),
    credentials: grpc.ServerCredentials | None = None,
    *,
    servicer: Any = None,
    recognizer: Any = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Serves `dengar.v1.Speech`, health and reflection; yields the address."""
    server = grpc.aio.server(interceptors=interceptors)
    service = servicer or speech_service(recognizer)
    speech_pb2_grpc.add_SpeechServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    reflection.enable_server_reflection((SPEECH, reflection.SERVICE_NAME), server)
    if credentials is None:
        port = server.add_insecure_port(f"{host}:0")
    else:
        port = server.add_secure_port(f"{host}:0", credentials)
    await server.start()
    try:
        yield f"{host}:{port}"
    finally:
        await server.stop(0)
        if servicer is None:
            service.close()


def requests(data: bytes = AUDIO, size: int = 3200) -> list[pb.StreamingRecognizeRequest]:
    """A whole stream of requests."""
    streaming = pb.StreamingRecognitionConfig(config=RAW, interim_results=True)
    packets = [data[start : start + size] for start in range(0, len(data), size)]
    return [
        pb.StreamingRecognizeRequest(streaming_config=streaming),
        *(pb.StreamingRecognizeRequest(audio_content=packet) for packet in packets),
    ]


async def transcript(channel: grpc.aio.Channel, data: bytes = AUDIO, **call: Any) -> str:
    """What a stream of `data` is understood as."""
    stub = speech_pb2_grpc.SpeechStub(channel)
    final = ""
    async for response in stub.StreamingRecognize(iter(requests(data)), **call):
        for result in response.results:
            if result.is_final:
                final = result.alternatives[0].transcript
    return final
