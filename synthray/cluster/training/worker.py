"""The code that each training worker runs on Ray. The driver's side is in ``trainer.py``."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
import ray.train
from ray.actor import ActorHandle
from ray.train import collective

from synthray import errors
from synthray.cluster import loader
from synthray.cluster.quick_import import quick_import
from synthray.cluster.training.chief import ChiefReports, Phases
from synthray.data.dataset import Dataset
from synthray.storage import open_store
from synthray.synth.voice import usable_cores
from synthray.train.config import TrainConfig
from synthray.train.logging.tracking import Tracking
from synthray.train.reports import StepReport
from synthray.train.watchdog import Watchdog

if TYPE_CHECKING:
    from synthray.train import loop


@dataclass(frozen=True)
class WorkerConfig:
    """The settings that the driver passes to each worker."""

    config: TrainConfig
    coordinator: ActorHandle
    cached_shards: dict[int, ray.ObjectRef] | None
    """The data set in shared memory, for ``CachedReader``. None means streaming."""
    step_timeout_s: float
    """Seconds without a step after which the worker ends itself."""
    tracking: Tracking | None
    """An MLflow server to log to."""
    shared_storage_probe: str = ""
    """A file in ``config.out`` that a worker sees if it shares the folder with the driver; '' for a bucket."""


def work(arguments: dict[str, Any]) -> None:
    """Train as one of the workers; the chief also saves the model."""
    worker: WorkerConfig = arguments["worker"]
    coordinator, context = worker.coordinator, ray.train.get_context()
    is_chief = context.get_world_rank() == 0
    start = ray.get(coordinator.register_group.remote(context.get_world_size())) if is_chief else None
    start = collective.broadcast_from_rank_zero((start,) if is_chief else None)[0]
    if start is None:
        return
    name = f"worker {context.get_world_rank()} on {ray.util.get_node_ip_address()}"
    log = _StorageLog(coordinator, name)
    logging.getLogger("synthray.storage").addHandler(log)
    try:
        _train(worker, start, lambda cause: ray.get(coordinator.note_failure.remote(f"{name}: {cause}")))
    except errors.Stopped as stopped:
        if is_chief and not ray.get(coordinator.stopped.remote(str(stopped))):
            raise  # so that Ray starts the workers again, elsewhere
    except Exception as error:
        text = f"{name}: {type(error).__name__}: {errors.summary(error)}"
        if _is_retryable(error):
            # Collectives of TensorFlow fail when any other worker ends.
            is_maybe_consequence = not isinstance(error, errors.StorageError)
            ray.get(coordinator.note_failure.remote(text, is_maybe_consequence=is_maybe_consequence))
        else:
            # Other errors become a TrainingError, because the driver may not have the class.
            known = isinstance(error, errors.SynthrayError)
            ray.get(coordinator.fail.remote(error if known else errors.TrainingError(text)))
        # Always raise: other workers may be waiting for this one, and only Ray can end their wait.
        raise
    finally:
        logging.getLogger("synthray.storage").removeHandler(log)


class _StorageLog(logging.Handler):
    """Passes warnings about storage to the driver: a worker that waits for storage reports nothing else."""

    def __init__(self, coordinator: ActorHandle, name: str) -> None:
        super().__init__(logging.WARNING)
        self._coordinator, self._name = coordinator, name

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record without waiting for an answer."""
        self._coordinator.log.remote(f"{self._name}: {record.getMessage()}")


def _is_retryable(error: Exception) -> bool:
    """Return whether a restart may succeed: the store may recover, and a lost worker is replaced."""
    if isinstance(error, errors.SynthrayError):
        return errors.is_transient(error)
    tf = sys.modules.get("tensorflow")  # missing if its import failed
    return isinstance(error, (ray.exceptions.RayError, OSError, *((tf.errors.OpError,) if tf else ())))


def _train(worker: WorkerConfig, start: int, note_failure: Callable[[str], None]) -> None:
    phases = Phases()
    check_shared_storage(worker)
    strategy = setup_tensorflow(worker)
    phases.end("TensorFlow")
    from synthray.train import loop
    from synthray.train.export import export_model

    config, dataset, ranks = worker.config, worker.config.open_data(), ray.train.get_context()
    context = loop.WorkerContext(ranks.get_world_rank(), ranks.get_world_size(), collective.broadcast_from_rank_zero)
    chief: ChiefReports | None = None
    if context.is_chief:
        chief = ChiefReports(worker.coordinator, config, dataset.manifest, worker.tracking, start, phases)
        context = replace(context, stop=chief.stop_requested, log=chief.log)
    with chief or contextlib.nullcontext():
        with Watchdog(worker.step_timeout_s, note_failure) as watchdog:

            def heartbeat(step: StepReport | None) -> None:
                watchdog.beat()
                if step and chief:
                    chief.step(step)

            # Waiting for input must not start the step limit: the first step takes longer, because it compiles the
            # network.
            batches = partial(_batches, worker, dataset, context, watchdog.beat_again, phases)
            report = chief.epoch if chief else lambda _: None
            trained = loop.run(config, dataset, strategy, context, batches, report, heartbeat)
        # No watchdog from here: saving has the store's own timeout, and the other workers only wait.
        if chief:
            if not watchdog.started:
                chief.log(f"nothing left to train: all {config.epochs} epochs are done")
            chief.saved(export_model(config, dataset, trained), trained.history)
    # TensorFlow's collectives fail when a worker exits while another one still runs.
    collective.barrier()


def check_shared_storage(worker: WorkerConfig) -> None:
    """Check that this node sees the driver's ``out``.

    Raises:
        ConfigError: ``out`` is a different folder on this node.
    """
    out, probe = worker.config.out, worker.shared_storage_probe
    if probe and not open_store(out).exists(probe):
        raise errors.ConfigError(
            f"{out}: not the same folder on {ray.util.get_node_ip_address()} as on the driver. Set --out to storage "
            "that all nodes share, s3://… or a shared folder."
        )


def setup_tensorflow(worker: WorkerConfig) -> Any:
    """Import TensorFlow with this worker's share of the CPUs, and return the strategy."""
    context = ray.train.get_context()
    threads = _threads(context.get_local_world_size())
    os.environ["OMP_NUM_THREADS"] = str(threads)  # Ray sets it to the CPUs requested, which may be fewer
    with quick_import():
        import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    workers = context.get_world_size()
    if workers == 1:
        return tf.distribute.get_strategy()
    library = tf.distribute.experimental.CommunicationImplementation
    implementation = library.NCCL if tf.config.list_physical_devices("GPU") else library.RING
    if context.get_world_rank() == 0:
        worker.coordinator.log.remote(f"{workers} workers; all-reduce by {implementation.value}")
    options = tf.distribute.experimental.CommunicationOptions(implementation=implementation)
    # TensorFlow sets up its collectives before any other operation, or not at all.
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def _threads(workers_here: int) -> int:
    """Return this worker's share of the node's CPUs."""
    here = ray.get_runtime_context().get_node_id()
    # Ray's count may be lower than the machine's, for example in a container.
    counted = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == here]
    cores = min(usable_cores(), *(int(count) for count in counted if count >= 1), 1 << 16)
    return max(1, cores // workers_here)


def _batches(
    worker: WorkerConfig,
    dataset: Dataset,
    context: loop.WorkerContext,
    waiting: Callable[[], None],
    phases: Phases,
    position: tuple[int, int],
) -> Iterator[loader.Share]:
    """Yield this worker's share of each batch from an epoch and step on, cached or streamed."""
    if context.is_chief:
        worker.coordinator.resumed.remote(position)
    order, ranks = worker.config.order(dataset.manifest), (context.rank, context.workers)
    shares = loader.worker_shares(dataset, order, worker.cached_shards, position, worker.config.epochs, ranks, waiting)
    for number, share in enumerate(shares):
        if number == 0:
            phases.end("data")
        yield share
