"""The service's figures for Prometheus: requests, jobs, streams, and the process itself."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from convbench.model.job import JobState
from convbench.model.notice import DeliveryState

#: The upper bounds of the histogram of answer times, seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The figures of one service, in a registry of its own."""

    #: The type of the text that `text` returns.
    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        labels = ("method", "route")
        self._requests = Counter(
            "convbench_requests", "Answered requests.", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "convbench_request_seconds",
            "Seconds until the answer began.",
            labels,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._jobs = Gauge("convbench_jobs", "Jobs by state.", ("state",), registry=self._registry)
        self._deliveries = Gauge(
            "convbench_deliveries", "Messages to channels by state.", ("state",), registry=self._registry
        )
        self._streams = Gauge("convbench_event_streams", "Open streams of events.", registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is the pattern of its path, so that there are few of them."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, *, jobs: Mapping[JobState, int], deliveries: Mapping[DeliveryState, int], streams: int) -> bytes:
        """All figures in Prometheus' text format."""
        for state, number in jobs.items():
            self._jobs.labels(state.value).set(number)
        for kind, number in deliveries.items():
            self._deliveries.labels(kind.value).set(number)
        self._streams.set(streams)
        return generate_latest(self._registry)
