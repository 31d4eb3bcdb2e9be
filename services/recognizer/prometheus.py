"""Metrics for Prometheus: counted in a registry of their own and served over HTTP.

What the workers count for themselves is read when Prometheus asks (`Sources`) and costs the hot path nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from asr.errors import ConfigError
from services.recognizer.metrics import LIVE, Metrics, Sources

CALL_S = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
FINAL_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5)
FIRST_WORD_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 5)
INTERIM_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)
STAGE_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
WAIT_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
AUDIO_S = (0.5, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 60, 300)
BATCH_STREAMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
Child = TypeVar("Child", Counter, Gauge, Histogram)
disable_created_metrics()  # type: ignore[no-untyped-call]  # of each series' beginning: a third more of them, for nobody


class PrometheusMetrics(Metrics):
    """Counts in a registry of its own, to be scraped with `endpoint`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, about: str, *labels: str) -> _Children[Counter]:
            return _Children(Counter(f"dengar_{name}", about, labels, registry=registry), labelled=bool(labels))

        def histogram(name: str, about: str, buckets: Iterable[float], *labels: str) -> _Children[Histogram]:
            metric = Histogram(f"dengar_{name}", about, labels, buckets=tuple(buckets), registry=registry)
            return _Children(metric, labelled=bool(labels))

        in_flight = Gauge("dengar_calls_in_flight", "Calls being answered.", ["method"], registry=registry)
        self._in_flight = _Children(in_flight, labelled=True)
        self._calls = counter("calls", "Calls that ended.", "method", "code")
        self._call_s = histogram("call_seconds", "How long calls last.", CALL_S, "method")
        self._refusals = counter("refusals", "Calls not admitted, or ended for a quota.", "cause")
        self._stages = histogram("stage_seconds", "Time of one turn or message in a stage.", STAGE_S, "stage")
        self._waits = histogram("queue_wait_seconds", "How long streams with news wait for a worker.", WAIT_S)
        self._audio = counter("audio_seconds", "Audio received.")
        self._first_words = histogram(
            "first_word_seconds", "From the end of the first word to the result that has it.", FIRST_WORD_S
        )
        self._interims = histogram("interim_lag_seconds", "From audio to the interim result on it.", INTERIM_S)
        self._taken_back = counter("interim_words_taken_back", "Words of interim results not in the next.")
        self._finals = histogram(
            "final_latency_seconds", "From half-close or endpoint decision to the final.", FINAL_S, "after", "role"
        )
        self._endpoints = counter("endpoints", "Streams by what ended them.", "reason")
        self._answers = counter("answers", "Final results.", "role")
        self._empty = counter("empty_answers", "Final results without a word.", "role")
        self._words = counter("words", "Words in final results.", "role")
        self._answer_audio = histogram("answer_audio_seconds", "Audio behind a final result.", AUDIO_S)
        self._confidence = histogram("confidence", "Confidence of final results with words.", SHARES, "role")
        self._swaps = counter("swaps", "Bundles promoted, refused, or made candidate.", "outcome")
        self._broken = counter("broken_files", "Changed files that could not be used.", "kind")
        self._feedback = counter("feedback", "What became of queries, as clients say.", "kind")
        self._spans = counter("unknown_spans", "Spans of unknown words in queries that are kept.")
        self._store_failures = counter("store_failures", "Times that the store could not be read.", "part")
        self._lag = histogram("event_loop_lag_seconds", "How late the event loop is.", WAIT_S)
        for kind in ("keys", "tls"):  # an alert on a change needs the value before it
            self._broken[kind,].inc(0)
        for part in ("names", "catalogue"):
            self._store_failures[part,].inc(0)
        for outcome in ("promoted", "refused", "candidate"):
            self._swaps[outcome,].inc(0)
        self._sources = _SourceCollector()
        registry.register(self._sources)

    def call_began(self, method: str) -> None:
        self._in_flight[method,].inc()

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        self._in_flight[method,].dec()
        self._calls[method, code].inc()
        self._call_s[method,].observe(seconds)

    def refused(self, cause: str) -> None:
        self._refusals[cause,].inc()

    def stage(self, stage: str, seconds: float) -> None:
        self._stages[stage,].observe(seconds)

    def waited(self, seconds: float) -> None:
        self._waits[()].observe(seconds)

    def audio(self, seconds: float) -> None:
        self._audio[()].inc(seconds)

    def first_word(self, seconds: float) -> None:
        self._first_words[()].observe(seconds)

    def interim(self, seconds: float) -> None:
        self._interims[()].observe(seconds)

    def taken_back(self, words: int) -> None:
        self._taken_back[()].inc(words)

    def final(self, seconds: float, after: str, role: str = LIVE) -> None:
        self._finals[after, role].observe(seconds)

    def endpoint(self, reason: str) -> None:
        self._endpoints[reason,].inc()

    def answered(self, words: int, audio_s: float, confidence: float | None = None, role: str = LIVE) -> None:
        self._answers[role,].inc()
        self._answer_audio[()].observe(audio_s)
        if not words:
            self._empty[role,].inc()
            return
        self._words[role,].inc(words)
        if confidence is not None:
            self._confidence[role,].observe(confidence)

    def swap(self, outcome: str) -> None:
        self._swaps[outcome,].inc()

    def broken_file(self, kind: str) -> None:
        self._broken[kind,].inc()

    def feedback(self, kind: str) -> None:
        self._feedback[kind,].inc()

    def unknown_spans(self, count: int) -> None:
        self._spans[()].inc(count)

    def store_failed(self, part: str) -> None:
        self._store_failures[part,].inc()

    def loop_lag(self, seconds: float) -> None:
        self._lag[()].observe(seconds)

    def watch(self, sources: Sources) -> None:
        self._sources.sources = sources


class _Children(dict[tuple[str, ...], Child]):
    """A metric's children by their labels: `labels()` costs more than counting. Without labels, the metric at ()."""

    def __init__(self, metric: Child, *, labelled: bool) -> None:
        super().__init__()
        self._metric: Child = metric
        if not labelled:
            self[()] = metric

    def __missing__(self, labels: tuple[str, ...]) -> Child:
        child: Child = self._metric.labels(*labels)
        self[labels] = child
        return child


class _SourceCollector(Collector):
    """Turns `Sources` into metrics when asked."""

    def __init__(self) -> None:
        self.sources = Sources()

    def collect(self) -> Iterator[Metric]:
        sources = self.sources
        gauges = (
            ("queued_streams", "Streams that wait for a worker.", sources.queued),
            ("keys", "API keys that are loaded.", sources.keys),
            ("certificate_expiry_timestamp_seconds", "When the TLS certificate ends.", sources.certificate_expires),
        )
        for name, about, read in gauges:
            yield GaugeMetricFamily(f"dengar_{name}", about, read() if read else None)
        counters = (
            ("stalled_workers", "Workers that were given up.", sources.stalls),
            ("log_lines_lost", "Lines of the log that were lost.", sources.log_lines_lost),
        )
        for name, about, count in counters:
            yield CounterMetricFamily(f"dengar_{name}", about, count() if count else None)
        shadow = sources.shadow() if sources.shadow else (None, None, None)
        yield CounterMetricFamily("dengar_shadow_answers", "Streams that a candidate decoded silently.", shadow[0])
        yield CounterMetricFamily("dengar_shadow_words", "Words of the live answers to them.", shadow[1])
        yield CounterMetricFamily("dengar_shadow_differences", "Word edits between the two.", shadow[2])
        bundles = InfoMetricFamily("dengar_bundle", "Hash of the bundle in each role.", labels=["role"])
        for role, bundle_hash in (sources.bundles() if sources.bundles else {}).items():
            bundles.add_metric([role], {"hash": bundle_hash})
        yield bundles
        processor = CounterMetricFamily("dengar_processor_seconds", "Processor time by stage.", labels=["stage"])
        for stage, seconds in (sources.processor_s() if sources.processor_s else {}).items():
            processor.add_metric([stage], seconds)
        yield processor
        yield from _query_log(sources)
        batches = HistogramMetricFamily("dengar_batch_streams", "Streams served by one step of the model.")
        if sources.batches is not None:
            batches.add_metric([], *_histogram(dict(sources.batches())))
        yield batches


def _query_log(sources: Sources) -> Iterator[Metric]:
    """What becomes of queries that are kept, and of names."""
    waiting = sources.query_log_waiting() if sources.query_log_waiting else (None, None)
    yield GaugeMetricFamily("dengar_query_log_waiting", "Queries on their way into the store.", waiting[0])
    yield GaugeMetricFamily("dengar_query_log_lag_seconds", "Age of the oldest of them.", waiting[1])
    labelled = (
        (CounterMetricFamily, "query_log_queries", "Queries with consent, by outcome.", "outcome", sources.query_log),
        (CounterMetricFamily, "query_log_faults", "What went wrong with queries.", "kind", sources.query_log_faults),
        (GaugeMetricFamily, "live_names", "Approved names.", "state", sources.live_names),
    )
    for family, name, about, label, read in labelled:
        metric = family(f"dengar_{name}", about, labels=[label])
        for value, count in (read() if read else {}).items():
            metric.add_metric([value], count)
        yield metric


def _histogram(counted: dict[int, int]) -> tuple[list[tuple[str, float]], int]:
    """Cumulative buckets and the sum of how often each number of streams was counted."""
    counts = [0] * (len(BATCH_STREAMS) + 1)
    for streams, times in counted.items():
        counts[bisect.bisect_left(BATCH_STREAMS, streams)] += times
    bounds = [*(f"{bound:.1f}" for bound in BATCH_STREAMS), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True)), sum(n * times for n, times in counted.items())


class Endpoint:
    """Serves metrics over HTTP at ``/metrics``, from a thread of its own, until `close`.

    Args:
        metrics: what to serve.
        host: address to listen on; the metrics hold no content, but anybody who reaches it can read them.
        port: 0 picks a free one.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(self, metrics: PrometheusMetrics, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except OSError as error:
            raise ConfigError(
                f"metrics cannot be served at {host}:{port}: {error.strerror or error}; choose another --metrics-port"
            ) from error
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
