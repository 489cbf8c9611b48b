"""The driver's side of a training on Ray Train. ``worker.py`` is the code that the workers run."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray
import ray.train
from ray.actor import ActorHandle

# ray.train.data_parallel_trainer is Ray Train V1. V2's trainer has no shorter import that does not load TensorFlow.
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from synthray.cluster import loader
from synthray.cluster.background import Background
from synthray.cluster.signals import StopRequest, stop_requests
from synthray.cluster.training.coordinator import RunCoordinator, RunStatus
from synthray.cluster.training.group_events import GroupEvents
from synthray.cluster.training.scaling import Workers, missing_gpus
from synthray.cluster.training.startup import StartupLimit, cause_of
from synthray.cluster.training.tf_backend import TensorflowBackend
from synthray.cluster.training.worker import WorkerConfig, work
from synthray.errors import StorageError, SynthrayError, TrainingError, summary
from synthray.model.saved import resolve_model
from synthray.progress import PROCESS_STARTED_S
from synthray.storage import open_store, scratch_folder
from synthray.train.config import TrainConfig
from synthray.train.logging.terminal import Display
from synthray.train.logging.tracking import Tracking

__all__ = ["Workers", "train"]

_POLL_S = 0.5
_SILENCE_S = 120.0
_ELASTIC_START_TIMEOUT_S = 10.0
# Ray counts restarts, not progress. The coordinator decides when to give up. This is only a bound in case the
# coordinator is defective.
_MAX_RESTARTS = 1000

Log = Callable[[str], None]


def train(config: TrainConfig, workers: Workers, log: Log | None = None, tracking: Tracking | None = None) -> str:
    """Train on the cluster and save the model.

    An interrupt (Ctrl-C, SIGTERM) ends the training with a checkpoint. A second one ends it at once.

    Args:
        log: is called with each line, instead of printing it.
        tracking: an MLflow server to log to, besides TensorBoard.

    Returns:
        the URI of the saved ``.keras`` file.

    Raises:
        SynthrayError: the error of a worker, or TrainingError if workers were lost too often without progress.
        KeyboardInterrupt: the training was interrupted; the message says where it stopped.
    """
    scaling = workers.scaling(config.batch_size)
    coordinator = _start_coordinator(workers.max_failures)
    if message := missing_gpus(scaling):
        coordinator.log.remote(message)
    with (
        scratch_folder("train") as scratch,
        _storage_probe(config.out) as probe,
        _start_timeout(elastic=bool(workers.max_count)),
    ):
        dataset = config.open_data()
        cache = loader.cache_dataset(dataset, config.order(dataset.manifest), coordinator.log.remote)
        shards = cache.references if cache else None
        worker = WorkerConfig(config, coordinator, shards, float(workers.step_timeout_s or 0), tracking, probe)
        trainer = _trainer(worker, scaling, workers.max_failures, scratch)
        with stop_requests() as interrupted:
            return resolve_model(_follow(trainer, coordinator, cache, log, interrupted))


def _start_coordinator(max_failures: int) -> ActorHandle:
    """Start the coordinator on the driver's node, which lives as long as the job."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(RunCoordinator).remote(max_failures, PROCESS_STARTED_S)


@contextmanager
def _storage_probe(out: str) -> Iterator[str]:
    """Write a file in ``out`` and yield its name, for ``WorkerConfig.shared_storage_probe``; '' for a bucket.

    Raises:
        StorageError: ``out`` cannot be written.
    """
    store, probe = open_store(out), f".training-{uuid.uuid4().hex}"
    if store.is_shared:
        yield ""
        return
    store.write(probe, b"")
    try:
        yield probe
    finally:
        with suppress(StorageError):
            store.delete(probe)


@contextmanager
def _start_timeout(*, elastic: bool) -> Iterator[None]:
    """Let an elastic training look for resources every 10 s instead of 60 s.

    Ray reports a lost node as alive for about 30 s, in which Ray Train waits for its CPUs. Ray Train reads the timeout
    from the environment only.
    """
    name = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    if not elastic or name in os.environ:
        yield
        return
    os.environ[name] = str(_ELASTIC_START_TIMEOUT_S)
    try:
        yield
    finally:
        del os.environ[name]


def _trainer(
    worker: WorkerConfig, scaling: ray.train.ScalingConfig, max_failures: int, scratch: Path
) -> DataParallelTrainer:
    return DataParallelTrainer(
        work,
        backend_config=TensorflowBackend(),
        train_loop_config={"worker": worker},
        scaling_config=scaling,
        # Checkpoints are written to ``out`` by the workers. Ray Train only needs a folder for its own state.
        run_config=ray.train.RunConfig(
            name=f"synthray-{uuid.uuid4().hex[:12]}",
            storage_path=str(scratch),
            failure_config=ray.train.FailureConfig(max_failures=_MAX_RESTARTS),
            callbacks=[StartupLimit(max_failures), GroupEvents(worker.coordinator)],
        ),
    )


def _follow(
    trainer: DataParallelTrainer,
    coordinator: ActorHandle,
    cache: loader.CachePending | None,
    log: Log | None,
    interrupted: StopRequest,
) -> str:
    """Run the trainer in the background, print the workers' reports, and return the URI of the model."""
    fit = Background(trainer.fit)
    display = Display()
    log = log or display.line
    silence = _Silence(trainer.scaling_config, log)
    running, stopping, status = True, False, RunStatus()
    while running:
        running = not fit.wait(_POLL_S)
        previous, status = status, ray.get(coordinator.drain.remote())
        for line in status.lines:
            log(line)
        if status.now:
            display.show(status.now)
        elif cache:
            display.reading(cache.rows(), cache.total)
        if interrupted.is_set() and not stopping:
            if not ray.get(coordinator.stop.remote()):
                raise interrupted.interruption()
            stopping = True
            display.clear()
            log("stopping with a checkpoint; interrupt again to stop at once")
        silence.check(reported=bool(status.lines) or status.now != previous.now, started=status.started)
    display.clear()
    return _model_or_raise(status, cause_of(fit.error), interrupted)


class _Silence:
    """Logs what the training may be waiting for when the workers report nothing for long."""

    def __init__(self, scaling: ray.train.ScalingConfig, log: Log) -> None:
        self._scaling, self._log = scaling, log
        self._last_s = time.monotonic()

    def check(self, *, reported: bool, started: bool) -> None:
        if reported:
            self._last_s = time.monotonic()
        elif time.monotonic() > self._last_s + _SILENCE_S:
            workers = f"{self._scaling.num_workers} workers with {self._scaling.resources_per_worker} each"
            waiting = f"waiting until the cluster has room for {workers}"
            if started:
                waiting = f"the workers wait for storage or for each other, or the cluster has no room for {workers}"
            self._log(f"no report for {_SILENCE_S:g} s; {waiting}")
            self._last_s = time.monotonic()


def _model_or_raise(status: RunStatus, error: BaseException | None, interrupted: StopRequest) -> str:
    """Return the URI of the saved model, or raise why there is none."""
    if status.saved:
        return status.saved
    if status.failure:
        raise status.failure
    if status.stopped:
        raise interrupted.interruption(f"{status.stopped}; run the same command again to resume")
    if isinstance(error, SynthrayError):
        raise error
    cause = summary(error) if error else "no worker saved a model"
    raise TrainingError(f"training ended without a model: {cause}") from error
