"""Metrics of the server in the text format of Prometheus."""
from __future__ import annotations

import os
from collections.abc import Callable

from mmavs.utils.optional_packages import optional_import

from .worker_pool import process_memory

#: How a job ends.
OUTCOMES = ('finished', 'cancelled', 'input', 'memory', 'time', 'crash', 'program')
#: Parts of a job: waiting; reading the header; decoding, predicting and encoding; files of the page.
STAGES = ('queue', 'check', 'segment', 'pack')
# Upper bounds of the histogram, in seconds.
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters, histograms and gauges of the server.

    Attributes:
        jobs: Jobs by outcome.
        stage_seconds: Seconds of each stage of a job.
        refused_requests: Requests that the server refused.

    Raises:
        ImportError: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        self._client = optional_import('prometheus_client', 'mmavs serve', 'mmavs[web]')
        self._registry = self._client.CollectorRegistry()
        self.jobs = self._client.Counter('mmavs_jobs', 'Jobs by outcome.', ['outcome'], registry=self._registry)
        self.stage_seconds = self._client.Histogram(
            'mmavs_stage_seconds', 'Seconds of the stages of a job.', ['stage'], registry=self._registry,
            buckets=BUCKETS)
        self.refused_requests = self._client.Counter(
            'mmavs_refused_requests', 'Requests that were refused.', registry=self._registry)
        self._memory = self._client.Gauge(
            'mmavs_memory_bytes', 'Resident memory of the server and of its workers.', ['process'],
            registry=self._registry)
        self._memory.labels('server').set_function(lambda: process_memory(os.getpid()))
        for outcome in OUTCOMES:
            self.jobs.labels(outcome)
        for stage in STAGES:
            self.stage_seconds.labels(stage)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge ``mmavs_NAME``, whose value a function returns."""
        self._client.Gauge(f'mmavs_{name}', description, registry=self._registry).set_function(value)

    def state_limits(self, **limits: float) -> None:
        """Add the gauge ``mmavs_limit``, with a value for each limit."""
        gauge = self._client.Gauge('mmavs_limit', 'Limits of the server.', ['of'], registry=self._registry)
        for name, value in limits.items():
            gauge.labels(name).set(value)

    def watch_workers_memory(self, value: Callable[[], float]) -> None:
        """Add the memory of the workers."""
        self._memory.labels('workers').set_function(value)

    @property
    def content_type(self) -> str:
        """Content type of :meth:`text`."""
        return self._client.CONTENT_TYPE_LATEST

    def text(self) -> bytes:
        """All metrics in the text format."""
        return self._client.generate_latest(self._registry)
