"""A limit on start-up failures of training workers. Failures after the start are counted by ``coordinator.py``."""

from __future__ import annotations

import textwrap
import time
from typing import Any

import ray.train

from synthray.errors import TrainingError

# Ray Train has no public hook for this, and its controller_failure_limit also counts timeouts of waiting for nodes.
try:
    from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
    from ray.train.v2._internal.execution.callback import ControllerCallback
except ImportError:
    ControllerCallback = WorkerGroupStartupFailedError = None

# Ray reports a lost node as alive for about 30 s, in which workers may be placed on it.
_GRACE_S = 120.0
_MAX_CAUSE = 500  # characters


def startup_limit(max_failures: int, grace_s: float = _GRACE_S) -> list[Any]:
    """Return the callbacks for ``RunConfig`` that end a training whose workers cannot start.

    Ray Train retries start-up failures without end. If this version of Ray has no such hook, there is no limit.

    Args:
        max_failures: failures in a row that are retried in any case.
        grace_s: time for which they are retried in any case.
    """
    return [_StartupLimit(max_failures, grace_s)] if ControllerCallback else []


class _StartupLimit(ControllerCallback or object):  # type: ignore[misc]  # the base is private to Ray
    """Raises a TrainingError in Ray Train's controller once too many starts in a row have failed."""

    def __init__(self, max_failures: int, grace_s: float) -> None:
        self._max_failures, self._grace_s = max_failures, grace_s
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
        if self._failures > self._max_failures and time.monotonic() >= self._first_s + self._grace_s:
            # Ray spreads the exit code and the likely causes over several lines.
            text = textwrap.shorten(str(cause.__cause__ or cause), _MAX_CAUSE)
            raise TrainingError(f"workers failed to start {self._failures} times in a row: {text}")


def cause_of(error: BaseException | None) -> BaseException | None:
    """Return the exception inside of Ray Train's ``ControllerError``, or the error itself."""
    return error.controller_failure if isinstance(error, ray.train.ControllerError) else error
