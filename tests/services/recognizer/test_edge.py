"""All that is around the service at once, as `dengar serve` puts it together from its options."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from asr.errors import ConfigError
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.edge import Edge, edge_config
from services.recognizer.keys import new_key
from services.recognizer.metrics import Metrics
from tests.services.loopback import speech_service, transcript
from tests.services.recognizer.test_tls import Authority


@contextlib.asynccontextmanager
async def served(edge: Edge) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=edge.interceptors)
    service = speech_service()
    speech_pb2_grpc.add_SpeechServicer_to_server(service, server)
    port = edge.listen(server, "127.0.0.1:0")
    await server.start()
    edge.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
        service.close()
        await edge.close()


def scraped(edge: Edge) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{edge.metrics_port}/metrics", timeout=20) as answer:
        return answer.read().decode()


async def test_everything_together(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "root")
    files = authority.issue("server")
    key, _ = new_key(tmp_path / "keys.json", "phones")
    config = edge_config(
        tls_certificate=str(files.certificate),
        tls_key=str(files.key),
        keys=str(tmp_path / "keys.json"),
        metrics_port=0,
        traces=str(tmp_path / "spans.jsonl"),
    )
    before = set(threading.enumerate())
    edge = Edge(config, "0.0.0.0", log_lines_lost=lambda: 3)
    edge.watch(queued=lambda: 4)
    async with served(edge) as address:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        async with grpc.aio.secure_channel(address, credentials) as channel:
            assert await transcript(channel, metadata=(("x-api-key", key),)) == "one two"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await transcript(channel)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        text = await asyncio.to_thread(scraped, edge)
    for line in (
        'dengar_calls_total{code="OK",method="/dengar.v1.Speech/StreamingRecognize"} 1.0',
        'dengar_calls_total{code="UNAUTHENTICATED",method="/dengar.v1.Speech/StreamingRecognize"} 1.0',
        'dengar_refusals_total{cause="no_key"} 1.0',
        "dengar_keys 1.0",
        "dengar_log_lines_lost_total 3.0",
        "dengar_queued_streams 4.0",
    ):
        assert line in text.splitlines()
    assert "dengar_certificate_expiry_timestamp_seconds" in text
    spans = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    assert [span["attributes"]["rpc.grpc.status_code"] for span in spans] == [0, 16]
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert [name for name in left if "asyncio_" not in name and "_poll_wrapper" not in name] == []  # asyncio's, gRPC's


async def test_nothing_asked_for_is_plain_and_open() -> None:
    edge = Edge(edge_config(), "127.0.0.1")
    assert (type(edge.metrics), edge.metrics_port) == (Metrics, None)
    async with served(edge) as address, grpc.aio.insecure_channel(address) as channel:
        assert await transcript(channel) == "one two"


async def test_an_address_that_is_taken_is_one_sentence() -> None:
    edge = Edge(edge_config(), "127.0.0.1")
    async with served(edge) as address:
        other = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        with pytest.raises(ConfigError, match="cannot be listened on"):
            edge.listen(other, address)
        await other.stop(0)


@pytest.mark.parametrize(
    ("host", "options", "says"),
    [
        ("0.0.0.0", {}, "--allow-plaintext"),
        ("127.0.0.1", {"tls_key": "only"}, "both"),
        ("127.0.0.1", {"tls_key": "a", "tls_certificate": "b"}, "cannot be read"),
        ("127.0.0.1", {"keys": "nowhere"}, "cannot be read"),
        ("127.0.0.1", {"metrics_port": 70_000}, "metrics_port"),
        ("127.0.0.1", {"metrics_port": 0, "metrics_host": "192.0.2.1"}, "metrics cannot be served"),
        ("127.0.0.1", {"streams_per_client": 0}, "streams"),
        ("127.0.0.1", {"trace_ratio": 2.0, "traces": "file"}, "ratio"),
        ("127.0.0.1", {"traces": "gopher://x"}, "traces cannot go"),
    ],
)
def test_impossible_options_are_one_sentence_and_leave_nothing_running(
    host: str, options: dict[str, Any], says: str
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError, match=says) as caught:
        Edge(edge_config(**{"metrics_port": 0, **options}), host)
    assert "\n" not in str(caught.value)
    assert not set(threading.enumerate()) - before
