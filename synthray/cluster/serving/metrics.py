"""The service's metrics as Ray metrics. ``infra/monitoring/README.md`` describes how Prometheus collects them."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from synthray.serve.metrics import METRICS

_PREFIX = "synthray_"


class RayMetrics:
    """Metrics of one replica, an implementation of :class:`synthray.serve.metrics.Metrics`.

    Ray exports them every few seconds as ``ray_synthray_<name>``, with labels of its own for node and process.
    """

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, metric in METRICS.items():
            full_name, text = _PREFIX + name, metric.description
            if metric.kind == "counter":  # Ray adds the suffix itself
                self._counters[name] = Counter(full_name.removesuffix("_total"), text, metric.labels)
            elif metric.kind == "gauge":
                self._gauges[name] = Gauge(full_name, text, metric.labels)
            else:
                self._histograms[name] = Histogram(full_name, text, list(metric.buckets), metric.labels)

    def add(self, name: str, /, **labels: str) -> None:
        """Increase a counter by one."""
        self._counters[name].inc(tags=labels)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        self._gauges[name].set(value, labels)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add a value to a histogram."""
        self._histograms[name].observe(value, labels)
