"""Where a training is, as metrics of Ray: each node exports them for Prometheus beside Ray's own."""

from __future__ import annotations

import math

from ray.util.metrics import Counter, Gauge, Histogram

from synthray.data.manifest import Manifest
from synthray.data.open import name_of
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport, StepReport

GAUGES = {
    "epoch": "Epochs done, and how far the one under way is",
    "loss": "Mean loss of the examples of the newest step",
    "examples_per_second": "Examples trained on a second, by all workers together",
    "input_wait_ratio": "Share of the time that was spent waiting for input",
    "validation_loss": "Mean loss of the held-out examples after the newest epoch",
    "validation_accuracy": "Mean accuracy of the choices after the newest epoch",
    "validation_error": "Mean error of the ranges after the newest epoch",
    "restarts": "How often the workers were started again",
}
"""Names, below ``ray_synthray_train_``, and what they mean."""
STEP_SECONDS, STEPS = "step_seconds", "steps"
_PREFIX = "synthray_train_"
_STEP_BOUNDARIES_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
_TAGS = ("run", "data", "network")


class TrainMetrics:
    """The metrics of one training, tagged with its run (as its checkpoints are named), its data set and its model.

    For the leading worker alone: the numbers are of all workers together. Each call costs some microseconds, and Ray
    sends what is newest every few seconds.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, restarts: int = 0) -> None:
        tags = {
            "run": config.run_digest(manifest),
            "data": name_of(config.data),
            "network": f"{config.network}-{config.width}",
        }
        self._gauges = {name: Gauge(_PREFIX + name, text, _TAGS) for name, text in GAUGES.items()}
        self._step_s = Histogram(_PREFIX + STEP_SECONDS, "Time of a step, of some steps", _STEP_BOUNDARIES_S, _TAGS)
        self._steps = Counter(_PREFIX + STEPS, "TrainState since the workers were started", _TAGS)
        self._place: int | None = None
        for metric in (*self._gauges.values(), self._step_s, self._steps):
            metric.set_default_tags(tags)
        self._gauges["restarts"].set(restarts)

    def progress(self, report: StepReport, examples_per_s: float, wait_ratio: float) -> None:
        """Where the training is now; to be called now and then, not at each step.

        Args:
            report: of the newest step.
            examples_per_s, wait_ratio: over the time since the call before.
        """
        self._set(epoch=report.epoch - 1 + report.step / report.steps, loss=report.loss)
        self._set(examples_per_second=examples_per_s, input_wait_ratio=wait_ratio)
        self._step_s.observe(report.step_s)
        place = (report.epoch - 1) * report.steps + report.step
        if self._place is not None and place > self._place:
            self._steps.inc(place - self._place)
        self._place = place

    def epoch(self, report: EpochReport) -> None:
        """What an epoch came to."""
        self._set(epoch=float(report.epoch), validation_loss=report.val_loss)
        self._set(validation_accuracy=report.val_accuracy, validation_error=report.val_error)

    def _set(self, **values: float) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._gauges[name].set(value)
