"""Reports of the chief worker of a training. The other workers report only failures, see ``worker.py``."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle

from synthray.cluster.training.metrics import TrainMetrics
from synthray.data.manifest import Manifest
from synthray.train.config import TrainConfig
from synthray.train.logging.mlflow import MlflowLog
from synthray.train.logging.tracking import Tracking
from synthray.train.reports import EpochReport, StepReport

logger = logging.getLogger(__name__)

_HEARTBEAT_S = 0.5


class Phases:
    """The durations of the phases before the first step."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []
        """Name and seconds of each phase, in order."""
        self._since_s = time.monotonic()

    def end(self, name: str) -> None:
        """End a phase; the next one begins."""
        now_s = time.monotonic()
        self.seconds.append((name, now_s - self._since_s))
        self._since_s = now_s


class ChiefReports:
    """Sends steps, epochs and the model to the driver, to Ray's metrics, TensorBoard and MLflow.

    A background thread sends a heartbeat to the driver twice a second and learns whether to stop.
    """

    def __init__(
        self,
        coordinator: ActorHandle,
        config: TrainConfig,
        manifest: Manifest,
        tracking: Tracking | None,
        restarts: int,
        phases: Phases,
    ) -> None:
        from synthray.train.logging.tensorboard import EpochLog  # imports TensorFlow

        self._coordinator, self._restarts, self._phases = coordinator, restarts, phases
        self._metrics = TrainMetrics(config, manifest, restarts)
        self._tensorboard = EpochLog(config, manifest, restarts)
        self._mlflow = MlflowLog(tracking, config, manifest, self.log) if tracking else None
        self._stack = contextlib.ExitStack()
        self._now: StepReport | None = None
        self._sums = np.zeros(3)  # examples, seconds spent, seconds waited for input
        self._stop = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def __enter__(self) -> ChiefReports:
        if self._mlflow:
            self._stack.enter_context(self._mlflow)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._stack.__exit__(*error)
        finally:
            self._done.set()
            self._thread.join()

    def log(self, line: str) -> None:
        """Print a line in the driver."""
        self._coordinator.log.remote(line)

    def stop_requested(self) -> bool:
        """Return whether the driver asked the training to stop."""
        return self._stop

    def step(self, step: StepReport) -> None:
        """Record a step, and log the way to the first one."""
        if self._now is None and self._restarts == 0:
            self._phases.end("compiling and the first step")
            self._coordinator.first_step.remote(self._phases.seconds)
        self._now = step
        self._sums = self._sums + np.array((step.examples, step.step_s, step.wait_s))

    def epoch(self, epoch: EpochReport) -> None:
        """Report an epoch everywhere."""
        ray.get(self._coordinator.log.remote(epoch.line()))
        self._tensorboard(epoch)
        self._metrics.epoch(epoch)
        if self._mlflow:
            self._mlflow(epoch)

    def saved(self, uri: str, history: list[dict[str, Any]]) -> None:
        """Report the saved model."""
        ray.get(self._coordinator.saved.remote(uri))
        if self._mlflow:
            self._mlflow.saved(uri, history)

    def _run(self) -> None:
        before = self._sums
        while not self._done.wait(_HEARTBEAT_S):
            with contextlib.suppress(ray.exceptions.RayError):  # the driver is gone, and Ray will end this worker
                self._stop = ray.get(self._coordinator.heartbeat.remote(self._now))
            # A step that ends meanwhile counts in this heartbeat or in the next.
            sums = self._sums
            examples, spent_s, waited_s = (sums - before).tolist()
            if self._now and spent_s > 0:
                try:
                    self._metrics.progress(self._now, examples / spent_s, waited_s / spent_s)
                except Exception:  # metrics must not end the training, nor this thread
                    logger.warning("metrics were not recorded", exc_info=True)
                before = sums
