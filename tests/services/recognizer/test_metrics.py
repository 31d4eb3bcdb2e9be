"""Metrics as Prometheus reads them, over real calls and a real scrape."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from asr.errors import ConfigError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.recognizer.access import Access, AccessConfig
from services.recognizer.keys import KeyRing, new_key
from services.recognizer.metrics import STAGES, CallMetrics, Metrics, Sources, watch_loop
from services.recognizer.prometheus import Endpoint, PrometheusMetrics
from services.recognizer.status import BusyError, abort
from tests.services.loopback import running, transcript

SPEECH = "/dengar.v1.Speech/"


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics()


@pytest.fixture
def scrape(metrics: PrometheusMetrics) -> Iterator[Any]:
    """Called with a sample's name and labels, gives its value as Prometheus would read it; None if there is none."""
    endpoint = Endpoint(metrics)

    def value(name: str, **labels: str) -> float | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None

    yield value
    endpoint.close()


async def test_calls_are_counted_by_method_and_code(metrics: PrometheusMetrics, scrape: Any, tmp_path: Path) -> None:
    key, _ = new_key(tmp_path / "k", "a")
    guard = Access(AccessConfig(), KeyRing(tmp_path / "k"), metrics.refused)
    async with running([CallMetrics(metrics), guard]) as address, grpc.aio.insecure_channel(address) as channel:
        assert await transcript(channel, metadata=(("x-api-key", key),)) == "one two"
        with pytest.raises(grpc.aio.AioRpcError):
            await transcript(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await speech_pb2_grpc.SpeechStub(channel).Recognize(pb.RecognizeRequest(), metadata=(("x-api-key", key),))
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    stream = f"{SPEECH}StreamingRecognize"
    assert scrape("dengar_calls_total", method=stream, code="OK") == 1
    assert scrape("dengar_calls_total", method=stream, code="UNAUTHENTICATED") == 1
    assert scrape("dengar_calls_total", method=f"{SPEECH}Recognize", code="INVALID_ARGUMENT") == 1
    assert scrape("dengar_call_seconds_count", method=stream) == 2
    assert scrape("dengar_calls_in_flight", method=stream) == 0
    assert scrape("dengar_refusals_total", cause="no_key") == 1
    assert scrape("dengar_calls_total", method="/grpc.health.v1.Health/Check", code="OK") is None


class Waiting(speech_pb2_grpc.SpeechServicer):
    """Is too busy for one kind of call, fails at another, and takes its time for the rest."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()

    async def Recognize(self, request: Any, context: Any) -> pb.RecognizeResponse:  # noqa: ARG002, N802
        await abort(context, BusyError("all streams are in use"))

    async def GetInfo(self, request: Any, context: Any) -> pb.GetInfoResponse:  # noqa: ARG002, N802
        self.entered.set()
        await asyncio.sleep(60)
        return pb.GetInfoResponse()


async def test_cancelled_late_and_busy_calls(metrics: PrometheusMetrics, scrape: Any) -> None:
    service = Waiting()
    interceptors = [CallMetrics(metrics), Access(AccessConfig(), None, metrics.refused)]
    async with running(interceptors, servicer=service) as address, grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.SpeechStub(channel)
        call = stub.GetInfo(pb.GetInfoRequest())
        await service.entered.wait()
        assert await asyncio.to_thread(scrape, "dengar_calls_in_flight", method=f"{SPEECH}GetInfo") == 1
        call.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetInfo(pb.GetInfoRequest(), timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recognize(pb.RecognizeRequest())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for _ in range(200):
            if scrape("dengar_calls_in_flight", method=f"{SPEECH}GetInfo") == 0:
                break
            await asyncio.sleep(0.02)
    assert scrape("dengar_calls_total", method=f"{SPEECH}GetInfo", code="CANCELLED") == 1
    assert scrape("dengar_calls_total", method=f"{SPEECH}GetInfo", code="DEADLINE_EXCEEDED") == 1
    assert scrape("dengar_refusals_total", cause="busy") == 1  # refused by the service, told by the interceptor


def test_histograms_hold_what_was_observed(metrics: PrometheusMetrics, scrape: Any) -> None:
    for stage in STAGES:
        metrics.stage(stage, 0.004)
    metrics.final(0.12, "half_close")
    metrics.final(0.31, "half_close")
    assert scrape("dengar_stage_seconds_count", stage="vad") == 1
    assert scrape("dengar_stage_seconds_bucket", stage="model", le="0.002") == 0
    assert scrape("dengar_stage_seconds_bucket", stage="model", le="0.005") == 1
    assert scrape("dengar_final_latency_seconds_bucket", after="half_close", role="live", le="0.3") == 1
    assert scrape("dengar_final_latency_seconds_sum", after="half_close", role="live") == pytest.approx(0.43)


def test_answers_words_and_confidence(metrics: PrometheusMetrics, scrape: Any) -> None:
    metrics.answered(3, 2.5, 0.84)
    metrics.answered(0, 1.0, 0.2)
    metrics.answered(2, 1.0, role="candidate")
    assert scrape("dengar_answers_total", role="live") == 2
    assert scrape("dengar_empty_answers_total", role="live") == 1
    assert scrape("dengar_words_total", role="live") == 3
    assert scrape("dengar_words_total", role="candidate") == 2
    assert scrape("dengar_confidence_count", role="live") == 1
    assert scrape("dengar_answer_audio_seconds_sum") == 4.5


def test_the_bundle_of_a_role_is_replaced_and_removed(metrics: PrometheusMetrics, scrape: Any) -> None:
    bundles = {"live": "old", "candidate": "next"}
    assert scrape("dengar_bundle_info", role="live", hash="old") is None
    metrics.watch(Sources(bundles=lambda: bundles))
    assert scrape("dengar_bundle_info", role="live", hash="old") == 1
    assert scrape("dengar_bundle_info", role="candidate", hash="next") == 1
    bundles = {"live": "next"}
    assert scrape("dengar_bundle_info", role="live", hash="old") is None
    assert scrape("dengar_bundle_info", role="live", hash="next") == 1
    assert scrape("dengar_bundle_info", role="candidate", hash="next") is None


def test_sources_are_read_at_each_scrape(metrics: PrometheusMetrics, scrape: Any) -> None:
    assert scrape("dengar_queued_streams") is None
    batches = {1: 5, 3: 2, 300: 1}
    metrics.watch(
        Sources(
            queued=lambda: 7,
            stalls=lambda: 1,
            shadow=lambda: (5, 30, 2),
            processor_s=lambda: {"model": 1.5, "decode": 0.25},
            batches=lambda: batches,
            keys=lambda: 2,
            log_lines_lost=lambda: 9,
            certificate_expires=lambda: 1.8e9,
        )
    )
    assert scrape("dengar_queued_streams") == 7
    assert scrape("dengar_processor_seconds_total", stage="model") == 1.5
    assert scrape("dengar_batch_streams_bucket", le="1.0") == 5
    assert scrape("dengar_batch_streams_bucket", le="2.0") == 5
    assert scrape("dengar_batch_streams_bucket", le="4.0") == 7
    assert scrape("dengar_batch_streams_bucket", le="256.0") == 7
    assert scrape("dengar_batch_streams_bucket", le="+Inf") == 8
    assert scrape("dengar_batch_streams_count") == 8
    assert scrape("dengar_batch_streams_sum") == 5 + 6 + 300
    batches[1] += 1
    assert scrape("dengar_batch_streams_count") == 9
    assert scrape("dengar_stalled_workers_total") == 1
    assert scrape("dengar_shadow_answers_total") == 5
    assert scrape("dengar_shadow_words_total") == 30
    assert scrape("dengar_shadow_differences_total") == 2
    assert scrape("dengar_keys") == 2
    assert scrape("dengar_log_lines_lost_total") == 9
    assert scrape("dengar_certificate_expiry_timestamp_seconds") == 1.8e9


async def test_a_blocked_event_loop_is_seen(metrics: PrometheusMetrics, scrape: Any) -> None:
    watching = asyncio.create_task(watch_loop(metrics, 0.01))
    await asyncio.sleep(0.05)
    time.sleep(0.3)  # what nobody should do
    await asyncio.sleep(0.05)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    seen = scrape("dengar_event_loop_lag_seconds_count") - scrape("dengar_event_loop_lag_seconds_bucket", le="0.2")
    assert seen >= 1


def test_every_method_exists_in_both_kinds_and_agrees() -> None:
    own = {name: value for name, value in vars(Metrics).items() if inspect.isfunction(value)}
    for name, method in own.items():
        counted = vars(PrometheusMetrics)[name]
        assert inspect.signature(counted) == inspect.signature(method), name
    assert {name for name, value in vars(PrometheusMetrics).items() if inspect.isfunction(value)} - set(own) == {
        "__init__"
    }


def test_threads_lose_nothing(metrics: PrometheusMetrics, scrape: Any) -> None:
    def work() -> None:
        for _ in range(500):
            metrics.stage("model", 0.001)
            metrics.audio(0.5)
            metrics.final(0.1, "endpoint")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scrape("dengar_stage_seconds_count", stage="model") == 2000
    assert scrape("dengar_audio_seconds_total") == 1000
    assert scrape("dengar_final_latency_seconds_count", after="endpoint", role="live") == 2000


def test_the_endpoint_is_loopback_alone_and_goes_with_close(metrics: PrometheusMetrics) -> None:
    endpoint = Endpoint(metrics)
    with pytest.raises(ConfigError, match=f"127.0.0.1:{endpoint.port}"):
        Endpoint(metrics, port=endpoint.port)
    threads = threading.active_count()
    endpoint.close()
    assert threading.active_count() == threads - 1
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=20)
    Endpoint(metrics, port=endpoint.port).close()
