"""What each worker of a training does on Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import ray
import ray.train
from ray.actor import ActorHandle
from ray.train import collective

from synthray import errors
from synthray.cluster import loader
from synthray.cluster.metrics import TrainMetrics
from synthray.data.open import open_dataset
from synthray.storage import open_store
from synthray.train.config import TrainConfig
from synthray.train.logging.mlflow import MlflowLog, Tracking
from synthray.train.reports import EpochReport, StepReport
from synthray.train.watchdog import Watchdog

logger = logging.getLogger(__name__)

_PULSE_S = 0.5
_WHEREABOUTS = ("Graph execution error", "Detected at node", "<stack traces", "File ")


@dataclass(frozen=True)
class WorkerConfig:
    """What the workers are given: what to train, whom to tell, and how long one may make no step.

    held: the data set's shards in shared memory, or on their way there, where they fit. tracking: where else to log.
    mark: a file in the configuration's ``out`` that who shares this place with the job can see; '' where all do.
    """

    config: TrainConfig
    coordinator: ActorHandle
    held: dict[int, ray.ObjectRef] | None
    step_timeout_s: float
    tracking: Tracking | None
    mark: str = ""


def work(arguments: dict[str, Any]) -> None:
    """Train as one of the workers; the leading one saves the model."""
    task: WorkerConfig = arguments["task"]
    context = ray.train.get_context()
    leads = context.get_world_rank() == 0
    coordinator = task.coordinator
    start = collective.broadcast_from_rank_zero(
        (ray.get(coordinator.register_group.remote(context.get_world_size())),) if leads else None
    )[0]
    if start is None:
        return
    where = f"worker {context.get_world_rank()} on {ray.util.get_node_ip_address()}"
    try:
        with Watchdog(
            task.step_timeout_s, lambda why: ray.get(coordinator.note_failure.remote(f"{where}: {why}"))
        ) as watchdog:
            _train(task, start, watchdog)
    except errors.Stopped as stopped:
        if leads:
            ray.get(coordinator.stopped.remote(str(stopped)))
    except Exception as error:
        # Raised in any case: the other workers may be waiting for this one, and only Ray can end their wait.
        if _is_retryable(error):
            ray.get(coordinator.note_failure.remote(f"{where}: {type(error).__name__}: {_gist(error)}"))
        elif isinstance(error, errors.SynthrayError):
            ray.get(coordinator.fail.remote(type(error).__name__, str(error)))
        else:
            ray.get(coordinator.fail.remote("TrainingError", f"{where}: {type(error).__name__}: {_gist(error)}"))
        raise


def _is_retryable(error: Exception) -> bool:
    """Whether it may go another way next time: a store may come back, and so may a worker that the others miss."""
    if isinstance(error, errors.SynthrayError):
        return isinstance(error, errors.StorageError) and not isinstance(error, errors.NotFound)
    tf = sys.modules.get("tensorflow")  # it may be the very import of it that failed
    return isinstance(error, (ray.exceptions.RayError, OSError, *((tf.errors.OpError,) if tf else ())))


def _gist(error: Exception) -> str:
    """The first line that says something; TensorFlow's errors begin with where in a graph they were raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(_WHEREABOUTS)), lines[0] if lines else "")


def _train(task: WorkerConfig, start: int, watchdog: Watchdog) -> None:
    marks = [("workers", time.time())]
    config, coordinator, context = task.config, task.coordinator, ray.train.get_context()
    if task.mark and not open_store(config.out).exists(task.mark):
        raise errors.ConfigError(
            f"{config.out} is another folder on {ray.util.get_node_ip_address()} than where the job runs: give an "
            "--out that all machines share, s3://… or a shared folder"
        )
    threads = _threads(context.get_local_world_size())
    os.environ["OMP_NUM_THREADS"] = str(threads)  # Ray says as many as the worker has asked for, and that may be less
    import tensorflow as tf

    from synthray.train import loop
    from synthray.train.export import export_model
    from synthray.train.logging.tensorboard import EpochLog

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    # first of all: TensorFlow sets up its collectives before anything else runs, or not at all
    strategy = _strategy(
        tf, context.get_world_size(), coordinator.log.remote if context.get_world_rank() == 0 else None
    )
    marks.append(("TensorFlow", time.time()))
    dataset = open_dataset(config.data)
    order = config.order(dataset.manifest)
    worker = loop.WorkerContext(context.get_world_rank(), context.get_world_size(), collective.broadcast_from_rank_zero)

    def batches(position: tuple[int, int]) -> Iterator[loop.Share]:
        if worker.is_chief:
            coordinator.resumed.remote(position)
        if task.held is None:
            return timed(loader.stream_batches(dataset, order, position, config.epochs, worker.rank, worker.workers))
        memory = loader.CachedReader(task.held, dataset, watchdog.beat)
        shares = order.worker_batches(position, config.epochs, worker.rank, worker.workers)
        return timed((memory.take(rows), rows) for rows in shares)

    def timed(shares: Iterator[loop.Share]) -> Iterator[loop.Share]:
        first = next(shares, None)
        marks.append(("data", time.time()))
        if first:
            yield first
        yield from shares

    with contextlib.ExitStack() as stack:
        pulse: _Pulse | None = None
        logs: list[Callable[[EpochReport], None]] = []
        tracked: MlflowLog | None = None
        if worker.is_chief:
            metrics = TrainMetrics(config, dataset.manifest, restarts=start)
            pulse = stack.enter_context(_Pulse(coordinator, metrics))
            logs = [stack.enter_context(EpochLog(config, dataset.manifest, restarts=start)), metrics.epoch]
            if task.tracking:
                tell = coordinator.log.remote
                tracked = stack.enter_context(MlflowLog(task.tracking, config, dataset.manifest, tell))
                logs.append(tracked)
            worker = replace(worker, stop=lambda: pulse.stop, log=coordinator.log.remote)

        def beat(step: StepReport | None) -> None:
            watchdog.beat()
            if pulse and step:
                if pulse.now is None and start == 0:
                    coordinator.first_step.remote([*marks, ("compiling and the first step", time.time())])
                pulse.beat(step)

        def report(epoch: EpochReport) -> None:
            ray.get(coordinator.log.remote(epoch.line()))
            for log in logs:
                log(epoch)

        trained = loop.run(config, dataset, strategy, worker, batches, report, beat)
        if pulse:
            if not pulse.now:
                coordinator.log.remote(f"nothing left to train: all {config.epochs} epochs are done")
            saved = export_model(config, dataset, trained)
            ray.get(coordinator.saved.remote(saved))
            if tracked:
                tracked.saved(saved, trained.history)
    # TensorFlow's collectives break when a worker leaves while another is still at work.
    collective.barrier()


class _Pulse:
    """Tells the job, and the metrics, twice a second where the training is, and learns whether it is to stop."""

    def __init__(self, coordinator: ActorHandle, metrics: TrainMetrics) -> None:
        self.now: StepReport | None = None
        self.stop = False
        self._mailbox, self._metrics = coordinator, metrics
        self._examples, self._spent_s, self._waited_s = 0, 0.0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="pulse")

    def __enter__(self) -> _Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def beat(self, step: StepReport) -> None:
        """A step is done."""
        self.now = step
        self._examples += step.examples
        self._spent_s += step.step_s
        self._waited_s += step.wait_s

    def _run(self) -> None:
        examples, spent_s, waited_s = 0, 0.0, 0.0
        while not self._done.wait(_PULSE_S):
            with contextlib.suppress(ray.exceptions.RayError):  # the job is gone, and Ray will end this worker
                self.stop = ray.get(self._mailbox.pulse.remote(self.now))
            # of this pulse alone; a step that ends meanwhile is counted in this one or in the next
            sums = self._examples, self._spent_s, self._waited_s
            if self.now and sums[1] > spent_s:
                pace = (sums[0] - examples) / (sums[1] - spent_s)
                try:
                    self._metrics.progress(self.now, pace, (sums[2] - waited_s) / (sums[1] - spent_s))
                except Exception:  # whatever is wrong with metrics, the training goes on, and hears when it is to stop
                    logger.warning("the metrics of the training were not taken", exc_info=True)
                examples, spent_s, waited_s = sums


def _threads(workers_here: int) -> int:
    """Workers of one machine share its processors evenly, instead of each starting a thread for all of them."""
    here = ray.get_runtime_context().get_node_id()
    # what Ray counts on this node, too: within a container it is often less than the machine shows
    counted = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == here]
    cores = min(len(os.sched_getaffinity(0)), *(int(count) for count in counted if count >= 1), 1 << 16)
    return max(1, cores // workers_here)


def _strategy(tf: Any, workers: int, tell: Callable[[str], None] | None) -> Any:
    """MultiWorkerMirroredStrategy, over NCCL where workers have GPUs; TensorFlow's default one for a single worker."""
    if workers == 1:
        return tf.distribute.get_strategy()
    library = tf.distribute.experimental.CommunicationImplementation
    way = library.NCCL if tf.config.list_physical_devices("GPU") else library.RING
    if tell:
        tell(f"{workers} workers, which add up their gradients by {way.value}")
    options = tf.distribute.experimental.CommunicationOptions(implementation=way)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
