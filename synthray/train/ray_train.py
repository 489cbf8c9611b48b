"""Training on Ray Train: the only module of this package that knows Ray."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.train
from ray.actor import ActorHandle
from ray.train import collective
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from synthray import errors
from synthray.data import ray_read
from synthray.data.dataset import Dataset
from synthray.errors import ConfigError, TrainingError
from synthray.model.artifact import resolve_model
from synthray.quiet import quiet_import
from synthray.train.config import TrainConfig

with quiet_import():
    from ray.train.tensorflow import TensorflowTrainer

if TYPE_CHECKING:
    from synthray.train.loop import EpochReport, Place

# Two workers even on a laptop: the way of working is then the same everywhere.
_DEFAULT_WORKERS = 2
_POLL_S = 0.2
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Workers:
    """How many workers train, what each takes of the cluster, and how often a lost one is replaced.

    count: when 0, one for each GPU, as far as they can share a batch equally; where there is no GPU, 2. gpu: ask for a
    GPU each even where none is up yet, so that the cluster's autoscaler brings them. max_failures: restarts of the
    group from its last checkpoint before the job gives up.
    """

    count: int = 0
    gpu: bool = False
    max_failures: int = 3

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"workers is {self.count}; it must be at least 1, or 0 for one a GPU")

    def scaling(self, batch_size: int) -> ray.train.ScalingConfig:
        """What Ray Train is to ask the cluster for.

        Raises:
            ConfigError: a batch cannot be shared equally by the workers.
        """
        cluster = ray.cluster_resources()
        gpus, cpus = int(cluster.get("GPU", 0)), cluster.get("CPU", 1.0)
        fitting = [count for count in range(gpus, 0, -1) if batch_size % count == 0]
        count = self.count or (fitting[0] if fitting else _DEFAULT_WORKERS)
        if batch_size % count:
            raise ConfigError(
                f"a batch of {batch_size} cannot be shared equally by {count} workers: "
                "choose --batch-size or --workers so that it can"
            )
        gpu = self.gpu or gpus >= count
        # A part of the processors at most is set aside for training: the tasks that read for it need some too.
        share = min(1.0, cpus / (2 * count))
        resources = {"CPU": share, "GPU": 1} if gpu else {"CPU": share}
        return ray.train.ScalingConfig(num_workers=count, use_gpu=gpu, resources_per_worker=resources)


def train(config: TrainConfig, workers: Workers, tell: Callable[[str], None]) -> str:
    """Train on the cluster and save the model.

    Args:
        tell: is given a line for people after each epoch.

    Returns:
        the URI of the saved ``.keras`` file.

    Raises:
        SynthrayError: what a worker raised, or a TrainingError when workers were lost more often than allowed.
    """
    scaling = workers.scaling(config.batch_size)
    # With the driver: what the run depends on should not lie on a machine that may come and go.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    mailbox = _Mailbox.options(scheduling_strategy=here).remote()
    with tempfile.TemporaryDirectory(prefix="synthray-train-") as scratch:
        trainer = TensorflowTrainer(
            _work,
            train_loop_config={"config": config, "mailbox": mailbox, "held": ray_read.hold(Dataset.open(config.data))},
            scaling_config=scaling,
            # Our checkpoints go where --out says; Ray Train itself only needs a place for its own notes.
            run_config=ray.train.RunConfig(
                name=f"synthray-{uuid.uuid4().hex[:12]}",
                storage_path=scratch,
                failure_config=ray.train.FailureConfig(max_failures=workers.max_failures),
            ),
        )
        return resolve_model(_follow(trainer, mailbox, tell))


@ray.remote(num_cpus=0)
class _Mailbox:
    """What the workers have to say to the driver: lines for people, and how it ended."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._failure: tuple[str, str] | None = None
        self._saved = ""

    def tell(self, line: str) -> None:
        self._lines.append(line)

    def saved(self, uri: str) -> None:
        self._saved = uri

    def fail(self, kind: str, text: str) -> None:
        """Something that another try would not mend: the name of an error of ours, and its message."""
        self._failure = self._failure or (kind, text)

    def failure(self) -> tuple[str, str] | None:
        return self._failure

    def read(self) -> tuple[list[str], str, tuple[str, str] | None]:
        """The lines since the last call, the URI of the model, the failure."""
        lines, self._lines = self._lines, []
        return lines, self._saved, self._failure


def _follow(trainer: TensorflowTrainer, mailbox: ActorHandle, tell: Callable[[str], None]) -> str:
    """Run the trainer beside the main thread, which tells what the workers report and can be interrupted."""
    outcome: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    running, heard, waits_until_s = True, False, time.monotonic() + _PATIENCE_S
    while running:
        thread.join(_POLL_S)
        running = thread.is_alive()
        lines, saved, failure = ray.get(mailbox.read.remote())
        for line in lines:
            tell(line)
        heard = heard or bool(lines)
        if not heard and time.monotonic() > waits_until_s:
            scaling = trainer.scaling_config
            tell(f"still waiting for {scaling.num_workers} workers with {scaling.resources_per_worker} each to begin")
            waits_until_s += _PATIENCE_S
    if saved:
        return saved
    if failure:
        raise getattr(errors, failure[0])(failure[1])
    cause = str(outcome[0]).strip().splitlines()[-1] if outcome else "no worker saved a model"
    raise TrainingError(f"training ended without a model: {cause}") from (outcome[0] if outcome else None)


def _work(arguments: dict[str, Any]) -> None:
    """What each worker runs."""
    config, mailbox = arguments["config"], arguments["mailbox"]
    if ray.get(mailbox.failure.remote()):
        return  # the group was started again after a failure that starting again does not mend
    try:
        saved = _train_and_save(config, arguments["held"], lambda line: ray.get(mailbox.tell.remote(line)))
    except errors.SynthrayError as error:
        # A store may come back; anything else ends the same way next time. Raised in either case: the other workers
        # may be waiting for this one, and only Ray can end their wait.
        if not isinstance(error, errors.StorageError) or isinstance(error, errors.NotFound):
            ray.get(mailbox.fail.remote(type(error).__name__, str(error)))
        raise
    if saved:
        ray.get(mailbox.saved.remote(saved))


def _train_and_save(config: TrainConfig, held: list[ray.ObjectRef] | None, tell: Callable[[str], None]) -> str | None:
    import tensorflow as tf

    from synthray.train import loop
    from synthray.train.publish import publish
    from synthray.train.tensorboard import EpochLog

    context = ray.train.get_context()
    _limit_threads(tf, context.get_local_world_size())
    place = _place(context)
    # first of all: TensorFlow sets up its collectives before anything else runs, or not at all
    strategy = _strategy(tf, place.workers)
    dataset = Dataset.open(config.data)
    order = config.order(dataset.manifest)
    told: list[int] = []

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        if held is None:
            return ray_read.streamed(dataset, order, start, config.epochs, place.rank, place.workers)
        memory = ray_read.Held(held, dataset)
        shares = order.shares(start, config.epochs, place.rank, place.workers)
        return ((memory.take(rows), rows) for rows in shares)

    log: AbstractContextManager[Callable[[EpochReport], None]]
    log = EpochLog(config, dataset.manifest) if place.leads else nullcontext(lambda _: None)
    with log as write:

        def report(result: EpochReport) -> None:
            told.append(result.epoch)
            tell(result.line())
            write(result)

        steps, history = loop.run(config, dataset, strategy, place, batches, report)
    if place.leads and not told:
        tell(f"nothing left to train: all {config.epochs} epochs are done")
    saved = publish(config, dataset, steps, history) if place.leads else None
    # TensorFlow's collectives break when a worker leaves while another is still at work.
    collective.barrier()
    return saved


def _place(context: Any) -> Place:
    from synthray.train.loop import Place

    return Place(context.get_world_rank(), context.get_world_size(), collective.broadcast_from_rank_zero)


def _limit_threads(tf: Any, workers_here: int) -> None:
    """Workers of one machine share its processors evenly, instead of each starting a thread for all of them."""
    here = ray.get_runtime_context().get_node_id()
    # what Ray counts on this node, too: within a container it is often less than the machine shows
    counted = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == here]
    cores = min(len(os.sched_getaffinity(0)), *(int(count) for count in counted if count >= 1), 1 << 16)
    threads = max(1, cores // workers_here)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _strategy(tf: Any, workers: int) -> Any:
    """MultiWorkerMirroredStrategy, over NCCL where workers have GPUs; TensorFlow's default one for a single worker."""
    if workers == 1:
        return tf.distribute.get_strategy()
    gpus = tf.config.list_physical_devices("GPU")
    library = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(implementation=library.NCCL if gpus else library.RING)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
