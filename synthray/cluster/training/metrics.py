"""Training progress as Ray metrics. ``infra/monitoring/README.md`` describes how Prometheus collects them."""

from __future__ import annotations

import math

from ray.util.metrics import Counter, Gauge, Histogram

from synthray.data.manifest import Manifest
from synthray.data.open import name_of
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport, StepReport

GAUGES = {
    "epoch": "Epochs trained, with the fraction of the current one",
    "loss": "Mean loss of the examples of the newest step",
    "examples_per_second": "Examples trained per second by all workers together",
    "input_wait_ratio": "Fraction of the time spent waiting for input",
    "validation_loss": "Mean loss of the validation examples after the newest epoch",
    "validation_accuracy": "Mean accuracy of the choices after the newest epoch",
    "validation_error": "Mean error of the ranges after the newest epoch",
    "restarts": "Restarts of the workers",
}
"""Names without the prefix ``ray_synthray_train_``, with their descriptions."""
STEP_SECONDS, STEPS = "step_seconds", "steps"
_PREFIX = "synthray_train_"
_STEP_BOUNDARIES_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]


class TrainMetrics:
    """The metrics of one training, tagged with its run digest, data set and network.

    Only the chief worker uses it, because the numbers cover all workers. A call costs some microseconds. Ray exports
    the newest values every few seconds.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, restarts: int = 0) -> None:
        tags = {
            "run": config.run_digest(manifest),
            "data": name_of(config.data),
            "network": f"{config.network}-{config.width}",
        }
        names = tuple(tags)
        self._gauges = {name: Gauge(_PREFIX + name, text, names) for name, text in GAUGES.items()}
        self._step_s = Histogram(_PREFIX + STEP_SECONDS, "Duration of sampled steps", _STEP_BOUNDARIES_S, names)
        self._steps = Counter(_PREFIX + STEPS, "Steps since the workers were started", names)
        self._last_step: int | None = None
        for metric in (*self._gauges.values(), self._step_s, self._steps):
            metric.set_default_tags(tags)
        self._gauges["restarts"].set(restarts)

    def progress(self, report: StepReport, examples_per_s: float, wait_ratio: float) -> None:
        """Record the newest step. Call it about twice a second instead of after each step.

        Args:
            report: the newest step.
            examples_per_s: mean since the previous call.
            wait_ratio: fraction of the time since the previous call that was spent waiting for input.
        """
        self._set(epoch=report.epoch - 1 + report.step / report.steps, loss=report.loss)
        self._set(examples_per_second=examples_per_s, input_wait_ratio=wait_ratio)
        self._step_s.observe(report.step_s)
        step = (report.epoch - 1) * report.steps + report.step
        if self._last_step is not None and step > self._last_step:
            self._steps.inc(step - self._last_step)
        self._last_step = step

    def epoch(self, report: EpochReport) -> None:
        """Record the results of an epoch."""
        self._set(epoch=float(report.epoch), validation_loss=report.val_loss)
        self._set(validation_accuracy=report.val_accuracy, validation_error=report.val_error)

    def _set(self, **values: float) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._gauges[name].set(value)
