"""Training on Ray Train, as the job that started it sees it; ``ray_worker.py`` is what its workers do."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ray
import ray.train
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from synthray import errors
from synthray.cluster import loader
from synthray.cluster.background import Background
from synthray.cluster.coordinator import RunCoordinator, RunStatus
from synthray.cluster.signals import stop_requests
from synthray.cluster.tf_backend import WITHOUT_WATCHER, LeanTrainer, TensorflowBackend
from synthray.cluster.worker import WorkerConfig, work
from synthray.data.open import open_dataset
from synthray.errors import ConfigError, StorageError, TrainingError
from synthray.model.saved import resolve_model
from synthray.progress import PROCESS_STARTED_S
from synthray.storage import open_store
from synthray.storage.s3 import retry_timeout_s
from synthray.train.config import TrainConfig
from synthray.train.logging.mlflow import Tracking
from synthray.train.logging.terminal import Display

# Two workers even on a laptop: the way of working is then the same everywhere.
_DEFAULT_WORKERS = 2
# Of an elastic training without GPUs, at least.
_ELASTIC_CPUS = 1.5
_STUCK_S = 300.0
_POLL_S = 0.5
_RETRY_TIMEOUT_S = 120.0
_STALE_S = 10.0
# Ray counts restarts, and not whether they get further: the coordinator does that, and this is only the end of it all.
_MOST_RESTARTS = 1000


@dataclass(frozen=True)
class Workers:
    """How many workers train, what each takes of the cluster, and what becomes of a lost one.

    count: when 0, one for each GPU; where there is no GPU, 2. most: when above ``count``, as many up to this as the
    cluster has room for, looked at every ``rescale_interval_s`` seconds. gpu: ask for a GPU each even where none is up yet, so
    that the cluster's autoscaler brings them. max_failures: how often the workers are started again, from their last
    checkpoint, without getting further, before the job gives up. step_timeout_s: how long one may make no step before it
    counts as lost; 300, and more where a store is waited for as long, when None.
    """

    count: int = 0
    most: int = 0
    gpu: bool = False
    max_failures: int = 3
    step_timeout_s: float | None = None
    rescale_interval_s: float = 60.0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"workers is {self.count}; it must be at least 1, or 0 for one a GPU")
        if self.most and not 0 < self.count <= self.most:
            raise ConfigError(f"workers is {self.count}:{self.most}; it must be FEWEST:MOST, from 1 on")
        if self.step_timeout_s is None:
            object.__setattr__(self, "step_timeout_s", max(_STUCK_S, 2 * retry_timeout_s()))
        for name in ("step_timeout_s", "rescale_interval_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.max_failures < 0:
            raise ConfigError(f"max_failures is {self.max_failures}; it must be at least 0")

    @classmethod
    def parse(cls, text: str, **options: object) -> Workers:
        """From ``4``, or ``1:4`` for as many as the cluster has room for; raises ConfigError."""
        parts = text.split(":")
        if len(parts) > 2 or not all(part.isdecimal() for part in parts):
            raise ConfigError(f"workers is {text!r}; it must be a number, or FEWEST:MOST")
        return cls(int(parts[0]), int(parts[1]) if len(parts) == 2 else 0, **options)

    def scaling(self, batch_size: int) -> ray.train.ScalingConfig:
        """What Ray Train is to ask the cluster for.

        Raises:
            ConfigError: there would be more workers than examples in a batch.
        """
        cluster = ray.cluster_resources()
        gpus, cpus = int(cluster.get("GPU", 0)), cluster.get("CPU", 1.0)
        count = self.count or min(gpus, batch_size) or min(_DEFAULT_WORKERS, batch_size)
        if max(count, self.most) > batch_size:
            raise ConfigError(f"a batch of {batch_size} cannot be shared by {max(count, self.most)} workers")
        gpu = self.gpu or gpus >= count
        # A part of the processors at most is set aside for training: the tasks that read for it need some too.
        share = min(1.0, cpus / (2 * max(count, self.most)))
        if self.most and not gpu:
            # as many as the largest node has room for beside a task that reads; of a head alone, on which nothing runs,
            # nothing follows
            largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
            room = largest - loader.READER_CPUS if largest >= 1 else _ELASTIC_CPUS
            share = room / max(1, int(room / _ELASTIC_CPUS))
        return ray.train.ScalingConfig(
            num_workers=(count, self.most) if self.most else count,
            use_gpu=gpu,
            resources_per_worker={"CPU": share, "GPU": 1} if gpu else {"CPU": share},
            elastic_resize_monitor_interval_s=self.rescale_interval_s,
        )


def train(
    config: TrainConfig,
    workers: Workers,
    tell: Callable[[str], None] | None = None,
    tracking: Tracking | None = None,
) -> str:
    """Train on the cluster and save the model.

    An interrupt (Ctrl-C, SIGTERM) ends it with a checkpoint; a second one ends it at once.

    Args:
        tell: is given the lines for people, instead of the terminal.
        tracking: where to log it besides TensorBoard.

    Returns:
        the URI of the saved ``.keras`` file.

    Raises:
        SynthrayError: what a worker raised, or a TrainingError when workers were lost more often than allowed.
        KeyboardInterrupt: it was interrupted; the message says where it stopped.
    """
    scaling = workers.scaling(config.batch_size)
    settings = dict(WITHOUT_WATCHER)
    if workers.most:
        # For half a minute Ray counts a lost node among those that are there: its processors are waited for, by default
        # a whole minute. To look again sooner costs nothing.
        settings["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(_STALE_S)
    for name, value in settings.items():  # Ray Train takes these from the environment alone
        os.environ.setdefault(name, value)
    # With the driver: what the run depends on should not lie on a machine that may come and go.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    kept_here = ray.remote(num_cpus=0, scheduling_strategy=here)(RunCoordinator)
    coordinator = kept_here.remote(workers.max_failures, PROCESS_STARTED_S)
    if short := _missing_gpus(scaling):
        coordinator.log.remote(short)
    with tempfile.TemporaryDirectory(prefix="synthray-train-") as scratch, _marked(config.out) as mark:
        dataset = open_dataset(config.data)
        holding = loader.cache_dataset(dataset, config.order(dataset.manifest))
        held = holding.references if holding else None
        trainer = LeanTrainer(
            work,
            backend_config=TensorflowBackend(),
            train_loop_config={"task": WorkerConfig(config, coordinator, held, workers.step_timeout_s, tracking, mark)},
            scaling_config=scaling,
            # Our checkpoints go where --out says; Ray Train itself only needs a place for its own notes.
            run_config=ray.train.RunConfig(
                name=f"synthray-{uuid.uuid4().hex[:12]}",
                storage_path=scratch,
                failure_config=ray.train.FailureConfig(max_failures=_MOST_RESTARTS),
            ),
        )
        with stop_requests() as interrupted:
            return resolve_model(_follow(trainer, coordinator, holding, tell, interrupted))


def _missing_gpus(scaling: ray.train.ScalingConfig) -> str:
    """What to tell where GPUs are asked for that are not up yet, or may never be; '' where they are."""
    there, wanted = int(ray.cluster_resources().get("GPU", 0)), scaling.num_workers
    fewest = wanted if isinstance(wanted, int) else wanted[0]
    if not scaling.use_gpu or there >= fewest:
        return ""
    return f"GPUs: {fewest} are asked for, {there} are up; waiting until the cluster has brought the others"


@contextmanager
def _marked(out: str) -> Iterator[str]:
    """A file in a local folder while it trains, for ``Task.mark``; '' for a place that is the same for all machines.

    Raises:
        StorageError: nothing can be written there.
    """
    if out.startswith("s3://"):
        yield ""
        return
    store, mark = open_store(out), f".training-{uuid.uuid4().hex}"
    store.write(mark, b"")
    try:
        yield mark
    finally:
        with suppress(StorageError):
            store.delete(mark)


def _follow(
    trainer: LeanTrainer,
    coordinator: ActorHandle,
    holding: loader.CachePending | None,
    tell: Callable[[str], None] | None,
    interrupted: threading.Event,
) -> str:
    """Run the trainer beside the main thread, which tells what the workers report and asks them to stop."""
    fit = Background(trainer.fit)
    display = Display()
    tell = tell or display.line
    running, stopping, mail, heard_s = True, False, RunStatus(), time.monotonic()
    while running:
        running = not fit.wait(_POLL_S)
        before, mail = mail, ray.get(coordinator.drain.remote())
        if mail.lines or mail.now != before.now:
            heard_s = time.monotonic()
        for line in mail.lines:
            tell(line)
        if mail.now:
            display.show(mail.now)
        elif holding:
            display.reading(holding.rows(), holding.total)
        if interrupted.is_set() and not stopping:
            if not ray.get(coordinator.stop.remote()):
                raise KeyboardInterrupt("interrupted")
            stopping = True
            display.clear()
            tell("stopping with a checkpoint; once more stops at once")
        if time.monotonic() > heard_s + _RETRY_TIMEOUT_S:
            asked = trainer.scaling_config
            each = f"{asked.num_workers} workers with {asked.resources_per_worker} each"
            tell(f"nothing new for two minutes; {each} are asked for: synthray waits until the cluster has them")
            heard_s = time.monotonic()
    display.clear()
    if mail.saved:
        return mail.saved
    if mail.failure:
        raise getattr(errors, mail.failure[0])(mail.failure[1])
    if mail.stopped:
        raise KeyboardInterrupt(f"{mail.stopped}; the same command goes on from there")
    cause = fit.reason or "no worker saved a model"
    raise TrainingError(f"training ended without a model: {cause}") from fit.error
