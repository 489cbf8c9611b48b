"""Events of the group of training workers that only Ray Train sees: a lost process, and a node that announces its end.

``coordinator.py`` decides what follows from them.
"""

from __future__ import annotations

from typing import Any

from ray.actor import ActorHandle
from ray.exceptions import OutOfMemoryError, RayActorError

# Ray Train has no public hook for this.
from ray.train.v2._internal.execution.callback import ControllerCallback

_PREEMPTING = "PreemptingState"


class GroupEvents(ControllerCallback):  # type: ignore[misc]  # Ray has no types
    """A callback for ``RunConfig`` that tells the coordinator about lost workers and leaving nodes."""

    def __init__(self, coordinator: ActorHandle) -> None:
        self._coordinator = coordinator

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Report workers that are lost, or whose node leaves, after a change of state; called by Ray Train."""
        states = type(previous_state).__name__, type(current_state).__name__
        if states[1] == _PREEMPTING and states[0] != _PREEMPTING:
            self._coordinator.node_ends.remote(current_state.preemption_info.preempted_ranks)
        failed = getattr(current_state, "training_failed_error", None)
        for rank, error in sorted(getattr(failed, "worker_failures", {}).items()):
            if reason := death_of(error):
                self._coordinator.note_death.remote(f"worker {rank}: {reason}")


def death_of(error: BaseException) -> str:
    """Return why the process of a worker is gone, or '' if the worker raised the error itself."""
    cause = getattr(error, "health_check_failure", error)  # Ray Train wraps errors of its health check
    if isinstance(cause, OutOfMemoryError):
        return "its node ran out of memory, so Ray killed it"
    if not isinstance(cause, RayActorError):
        return ""
    if cause.preempted or "node has died" in str(cause) or "node was terminated" in str(cause):
        return "its node was lost"
    return "its process was killed or crashed; it may have run out of memory"
