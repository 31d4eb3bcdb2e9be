"""What the learner tells Prometheus: the state of the store, read when it is asked, and what this process counted.

::

    registry.register(LearnerCollector(store, watcher))
    prometheus_client.start_http_server(port, registry=registry)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from services.learner import alarms
from services.learner.mentions import entities_waiting, waiting
from services.learner.monitor import FIGURES
from services.learner.names import STATUSES
from services.store.database import Store
from services.store.errors import StoreError
from services.store.models import Job, Name, Window

if TYPE_CHECKING:
    from services.learner.watch import Watcher

_JOBS = ("queued", "running", "done", "failed", "stopped")


class LearnerCollector(Collector):
    """Metrics of the loop; all of its names begin with ``dengar_learner_``.

    Args:
        store: that is asked at each scrape; what it does not answer is left out, and ``store_up`` is 0.
        watcher: that counts in this process, if one does.
    """

    def __init__(self, store: Store, watcher: Watcher | None = None) -> None:
        self._store = store
        self._watcher = watcher

    def describe(self) -> Iterator[Metric]:
        """Nothing: the store is not asked when the collector is registered."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        up = GaugeMetricFamily("dengar_learner_store_up", "Whether the store answers.")
        try:
            found = list(self._of_store())
        except StoreError:
            found = []
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
        yield up
        yield from found
        if self._watcher is not None:
            yield from self._of_watcher(self._watcher)

    def _of_store(self) -> Iterator[Metric]:
        with self._store.reading() as session:
            by_status = select(Name.status, func.count()).group_by(Name.status)
            names: dict[str, int] = dict(session.execute(by_status).all())
            by_status = select(Job.status, func.count()).group_by(Job.status)
            jobs = dict(session.execute(by_status).all())
            spans, feedback = waiting(session)
            entities = entities_waiting(session)
            opened = {alarm.figure for alarm in alarms.open_alarms(session)}
            last = session.scalar(select(func.max(Window.at)))
        yield _gauges("names", "Names by status.", "status", {status: names.get(status, 0) for status in STATUSES})
        yield _gauges("jobs", "Jobs by status.", "status", {status: jobs.get(status, 0) for status in _JOBS})
        rows = {"spans": spans, "feedback": feedback, "entities": entities}
        yield _gauges("waiting", "Rows not looked at yet.", "kind", rows)
        about = "Whether a figure of the traffic has moved."
        yield _gauges("drift", about, "figure", {figure: float(figure in opened) for figure in FIGURES})
        if last is not None:
            age = GaugeMetricFamily(
                "dengar_learner_window_age_seconds", "Since the beginning of the last window of figures."
            )
            age.add_metric([], max(0.0, time.time() - last.timestamp()))
            yield age

    @staticmethod
    def _of_watcher(watcher: Watcher) -> Iterator[Metric]:
        noticed = watcher.noticed
        counts = {
            "spans": noticed.spans,
            "feedback": noticed.feedback,
            "mentions": noticed.mentions,
            "explained": noticed.explained,
            "entities": noticed.entities,
            "explained_late": noticed.explained_late,
            "names_new": noticed.new,
            "names_merged": noticed.merged,
            "names_dropped": noticed.dropped,
            "names_proposed": len(noticed.proposed),
            "names_approved": len(noticed.approved),
        }
        yield _counters("noticed", "Rows looked at, and what came of them.", "what", counts)
        yield _counters("passed", "Rows passed over.", "reason", dict(noticed.passed))
        yield _counters("alarms", "Alarms raised.", "figure", dict(watcher.alarms))
        yield _counters("webhook", "Attempts to send alarms.", "outcome", dict(watcher.webhook.counts))
        yield _counters("triggers", "Jobs queued.", "cause", dict(watcher.triggered))


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"dengar_learner_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, about: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"dengar_learner_{name}", about, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
