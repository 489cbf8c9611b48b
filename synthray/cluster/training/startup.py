"""A limit on start-up failures of training workers. Failures after the start are counted by ``coordinator.py``."""

from __future__ import annotations

import textwrap
import time
from typing import Any

import ray.train

# Ray Train has no public hook for this, and its controller_failure_limit also counts timeouts of waiting for nodes.
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.callback import ControllerCallback

from synthray.errors import TrainingError

# Ray reports a lost node as alive for about 30 s, in which workers may be placed on it.
_GRACE_S = 120.0
_MAX_CAUSE = 500  # characters


class StartupLimit(ControllerCallback):  # type: ignore[misc]  # Ray has no types
    """A callback for ``RunConfig`` that ends a training whose workers cannot start.

    Ray Train retries start-up failures without end. This raises a TrainingError in its controller after more than
    ``max_failures`` failures in a row over at least ``_GRACE_S`` seconds.
    """

    def __init__(self, max_failures: int) -> None:
        self._max_failures = max_failures
        self._failures, self._first_s = 0, 0.0

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:  # noqa: ARG002
        """Count the state changes that a failed start causes; called by Ray Train."""
        if type(current_state).__name__ == "RunningState":
            self._failures = 0
        error = getattr(current_state, "training_failed_error", None)
        cause = getattr(error, "controller_failure", None)
        if not isinstance(cause, WorkerGroupStartupFailedError):
            return
        if not self._failures:
            self._first_s = time.monotonic()
        self._failures += 1
        if self._failures > self._max_failures and time.monotonic() >= self._first_s + _GRACE_S:
            # Ray spreads the exit code and the likely causes over several lines.
            text = textwrap.shorten(str(cause.__cause__ or cause), _MAX_CAUSE)
            raise TrainingError(f"workers failed to start {self._failures} times in a row: {text}")


def cause_of(error: BaseException | None) -> BaseException | None:
    """Return the exception inside of Ray Train's ``ControllerError``, or the error itself."""
    return error.controller_failure if isinstance(error, ray.train.ControllerError) else error
