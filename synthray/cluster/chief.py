"""Reports of the chief worker of a training. The other workers report only failures, see ``worker.py``."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle

from synthray.cluster.metrics import TrainMetrics
from synthray.data.manifest import Manifest
from synthray.train.config import TrainConfig
from synthray.train.logging.mlflow import MlflowLog, Tracking
from synthray.train.reports import EpochReport, StepReport

logger = logging.getLogger(__name__)

_HEARTBEAT_S = 0.5

Phases = list[tuple[str, float]]
"""Names and ends of what happens before the first step, Unix seconds."""


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
        self._coordinator, self._config, self._manifest, self._tracking = coordinator, config, manifest, tracking
        self._restarts, self._phases = restarts, phases
        self._metrics = TrainMetrics(config, manifest, restarts)
        self._epoch_logs: list[Callable[[EpochReport], None]] = []
        self._mlflow: MlflowLog | None = None
        self._now: StepReport | None = None
        self._stop = False
        self._examples, self._spent_s, self._waited_s = 0, 0.0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def __enter__(self) -> ChiefReports:
        from synthray.train.logging.tensorboard import EpochLog  # imports TensorFlow

        with contextlib.ExitStack() as stack:
            log = stack.enter_context(EpochLog(self._config, self._manifest, restarts=self._restarts))
            self._epoch_logs = [log, self._metrics.epoch]
            if self._tracking:
                mlflow = MlflowLog(self._tracking, self._config, self._manifest, self.log)
                self._mlflow = stack.enter_context(mlflow)
                self._epoch_logs.append(self._mlflow)
            self._stack = stack.pop_all()
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
            self._coordinator.first_step.remote([*self._phases, ("compiling and the first step", time.time())])
        self._now = step
        self._examples += step.examples
        self._spent_s += step.step_s
        self._waited_s += step.wait_s

    def epoch(self, epoch: EpochReport) -> None:
        """Report an epoch everywhere."""
        ray.get(self._coordinator.log.remote(epoch.line()))
        for log in self._epoch_logs:
            log(epoch)

    def nothing_to_train(self) -> bool:
        """Return whether no step was needed."""
        return self._now is None

    def saved(self, uri: str, history: list[dict[str, Any]]) -> None:
        """Report the saved model."""
        ray.get(self._coordinator.saved.remote(uri))
        if self._mlflow:
            self._mlflow.saved(uri, history)

    def _run(self) -> None:
        before = 0, 0.0, 0.0
        while not self._done.wait(_HEARTBEAT_S):
            with contextlib.suppress(ray.exceptions.RayError):  # the driver is gone, and Ray will end this worker
                self._stop = ray.get(self._coordinator.heartbeat.remote(self._now))
            # A step that ends meanwhile counts in this heartbeat or in the next.
            sums = self._examples, self._spent_s, self._waited_s
            examples, spent_s, waited_s = (new - old for new, old in zip(sums, before, strict=True))
            if self._now and spent_s > 0:
                try:
                    self._metrics.progress(self._now, examples / spent_s, waited_s / spent_s)
                except Exception:  # metrics must not end the training, nor this thread
                    logger.warning("metrics were not recorded", exc_info=True)
                before = sums
