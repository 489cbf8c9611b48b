"""Metrics of the service: their names, and the classes that record them.

With Ray they go through Ray's own metrics (``synthray.cluster.serving.metrics``), without Ray through
prometheus_client.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from synthray.serve.models.served import Served, model_labels

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Metric:
    """One metric; its full name is ``synthray_<name>``."""

    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""


METRICS = {
    "requests_total": Metric("counter", "Requests by route, status and model", ("route", "status", "version", "label")),
    "errors_total": Metric("counter", "Failed requests, and failed files of forms, by kind of error", ("kind",)),
    "request_seconds": Metric("histogram", "Time from request to response", ("route", "version", "label"), _SECONDS),
    "stage_seconds": Metric(
        "histogram", "Time in decode, network, render and refine", ("stage", "version", "label"), _SECONDS
    ),
    "batch_sounds": Metric("histogram", "Sounds of a batch", (), (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)),
    "queue_length": Metric("gauge", "Predictions, sounds or searches that wait to begin", ("queue",)),
    "in_flight": Metric("gauge", "Requests that are being answered"),
}


class Metrics(Protocol):
    """Records values of ``METRICS``, from any thread."""

    def add(self, name: str, /, **labels: str) -> None:
        """Increase a counter by one."""

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add a value to a histogram."""


class NoMetrics:
    """Metrics that record nothing."""

    def add(self, name: str, /, **labels: str) -> None:
        """Ignore it."""

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Ignore it."""

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Ignore it."""


class PrometheusMetrics:
    """Metrics in a registry of prometheus_client, which ``encode`` writes in Prometheus' text format."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        kinds = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
        self._metrics = {
            name: kinds[metric.kind](
                f"synthray_{name}",
                metric.description,
                metric.labels,
                registry=self._registry,
                **({"buckets": metric.buckets} if metric.buckets else {}),
            )
            for name, metric in METRICS.items()
        }
        self._children: dict[tuple[str, ...], Any] = {}

    def add(self, name: str, /, **labels: str) -> None:
        """Increase a counter by one."""
        self._child(name, labels).inc()

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add a value to a histogram."""
        self._child(name, labels).observe(value)

    def encode(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def _child(self, name: str, labels: dict[str, str]):  # type: ignore[no-untyped-def]  # prometheus_client's classes
        key = (name, *labels.values())
        if key not in self._children:  # prometheus_client's own look-up is slow
            metric = self._metrics[name]
            self._children[key] = metric.labels(**labels) if labels else metric
        return self._children[key]


@contextmanager
def timed(metrics: Metrics, stage: str, served: Served | None) -> Iterator[None]:
    """Record the time of the block as a stage of a request. ``served`` is None if the request needs no model."""
    started_s = time.perf_counter()
    yield
    metrics.observe("stage_seconds", time.perf_counter() - started_s, stage=stage, **model_labels(served))
