"""Traces of real calls, as a collector gets them."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import json
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asr.errors import ConfigError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.access import Access, AccessConfig
from services.recognizer.keys import KeyRing, new_key
from services.telemetry import TraceConfig, Tracing, current_span, describe, event
from tests.services.crashing import full_disk
from tests.services.loopback import running, transcript

PARENT = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
UNSAMPLED = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
SECRET = "xylophonequartz"


class Collector:
    """An OTLP collector on loopback."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.paths: list[str] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                packed = self.headers.get("Content-Encoding")
                body = gzip.decompress(body) if packed == "gzip" else zlib.decompress(body) if packed else body
                request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
                collector.paths.append(self.path)
                for resource in request.resource_spans:
                    named = {each.key: each.value.string_value for each in resource.resource.attributes}
                    collector.resources.append(named)
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_collector_gets_a_span_for_each_call_under_the_callers(collector: Collector, tmp_path: Path) -> None:
    key, _ = new_key(tmp_path / "k", "a")
    tracing = Tracing(TraceConfig(endpoint=collector.endpoint))
    guard = Access(AccessConfig(), KeyRing(tmp_path / "k"))
    async with running([tracing.interceptor(), guard]) as address, grpc.aio.insecure_channel(address) as channel:
        assert await transcript(channel, metadata=(("x-api-key", key), PARENT)) == "one two"
        with pytest.raises(grpc.aio.AioRpcError):
            await speech_pb2_grpc.SpeechStub(channel).GetInfo(pb.GetInfoRequest())
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    await asyncio.to_thread(tracing.close)
    assert set(collector.paths) == {"/v1/traces"}
    assert collector.resources[0]["service.name"] == "dengar"
    stream, info = collector.spans
    assert stream.name == "dengar.v1.Speech/StreamingRecognize"
    assert stream.trace_id.hex() == PARENT[1].split("-")[1]
    assert stream.parent_span_id.hex() == PARENT[1].split("-")[2]
    assert stream.end_time_unix_nano > stream.start_time_unix_nano
    assert attributes(stream)["rpc.grpc.status_code"] == 0
    assert attributes(stream)["network.peer.address"] == "127.0.0.1"
    assert not info.parent_span_id
    assert attributes(info)["rpc.grpc.status_code"] == grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert attributes(info)["error.type"] == "UnauthenticatedError"
    wire = b"".join(span.SerializeToString() for span in collector.spans)
    assert b"one two" not in wire
    assert key.encode() not in wire


class Staged(speech_pb2_grpc.SpeechServicer):
    """Tells its stages, as the real service does, from its task and from a worker."""

    async def GetInfo(self, request: Any, context: Any) -> pb.GetInfoResponse:  # noqa: ARG002, N802
        describe(bundle="abc", transcript=SECRET)
        event("first_audio", audio_s=0.1, text=SECRET)
        span = current_span()
        await asyncio.to_thread(lambda: event("final", span=span, words=3, reason="silence"))
        return pb.GetInfoResponse()

    async def Recognize(self, request: Any, context: Any) -> pb.RecognizeResponse:  # noqa: ARG002, N802
        raise ValueError(SECRET)


async def test_stages_are_events_without_content() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(TraceConfig(endpoint="memory"), exporter)
    async with (
        running([tracing.interceptor()], servicer=Staged()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechStub(channel)
        await stub.GetInfo(pb.GetInfoRequest())
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Recognize(pb.RecognizeRequest())
        await stub.GetInfo(pb.GetInfoRequest(), metadata=(UNSAMPLED,))
    await asyncio.to_thread(tracing.close)
    good, bad = exporter.get_finished_spans()
    assert [(each.name, dict(each.attributes)) for each in good.events] == [
        ("first_audio", {"audio_s": 0.1}),
        ("final", {"words": 3, "reason": "silence"}),
    ]
    assert good.attributes["bundle"] == "abc"
    assert good.status.is_ok or good.status.status_code.name == "UNSET"
    assert bad.status.status_code.name == "ERROR"
    assert bad.attributes["error.type"] == "ValueError"
    assert SECRET not in good.to_json() + bad.to_json()


async def test_a_share_of_the_calls_is_traced() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(TraceConfig(endpoint="memory", ratio=0.0), exporter)
    async with running([tracing.interceptor()]) as address, grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)
        for metadata in ((), (PARENT,), (("traceparent", "00-nonsense-01"),)):
            await stub.GetInfo(pb.GetInfoRequest(), metadata=metadata)
    await asyncio.to_thread(tracing.close)
    (span,) = exporter.get_finished_spans()  # the caller had decided for this one
    assert span.parent is not None


async def test_spans_may_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    tracing = Tracing(TraceConfig(endpoint=str(file)))
    async with running([tracing.interceptor()]) as address, grpc.aio.insecure_channel(address) as channel:
        assert await transcript(channel) == "one two"
    await asyncio.to_thread(tracing.close)
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["name"] == "dengar.v1.Speech/StreamingRecognize"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_spans_that_a_full_disk_refuses_are_lost_and_the_server_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = Tracing(TraceConfig(endpoint=str(tmp_path / "spans")))
    async with running([tracing.interceptor()]) as address, grpc.aio.insecure_channel(address) as channel:
        with full_disk():
            for _ in range(2):
                assert await transcript(channel) == "one two"
                await asyncio.to_thread(tracing.flush)
        assert (tmp_path / "spans").read_bytes() == b""
        assert await transcript(channel) == "one two"
    await asyncio.to_thread(tracing.close)
    assert len((tmp_path / "spans").read_text().splitlines()) == 1
    assert len([record for record in caplog.records if "traces cannot be written" in record.getMessage()]) == 1


async def test_a_collector_that_is_away_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing(TraceConfig(endpoint="http://127.0.0.1:9"))
    async with running([tracing.interceptor()]) as address, grpc.aio.insecure_channel(address) as channel:
        assert await transcript(channel) == "one two"
    await asyncio.wait_for(asyncio.to_thread(tracing.close), 60)
    assert "127.0.0.1" in caplog.text or "export" in caplog.text.lower()


@pytest.mark.parametrize("endpoint", ["ftp://x/y", "/nowhere/at/all/spans"])
def test_impossible_places_are_one_sentence(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="traces cannot"):
        Tracing(TraceConfig(endpoint=endpoint))


def test_without_tracing_nothing_is_imported_and_events_are_free() -> None:
    program = (
        "import sys; from services.telemetry import event, describe\n"
        "event('x', n=1); describe(bundle='y')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
