"""Number and resources of training workers. Starting them is in ``trainer.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
import ray.train

from synthray.cluster.loader import READER_CPUS
from synthray.errors import ConfigError
from synthray.storage.retry import retry_timeout_s

# Two workers even on a laptop, so that the code path is the same everywhere.
_DEFAULT_WORKERS = 2
_MIN_ELASTIC_CPUS = 1.5
_MIN_STEP_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Workers:
    """Number of training workers, the resources of each, and the limits for lost ones."""

    count: int = 0
    """Workers. 0 means one per GPU, or 2 without GPUs."""
    max_count: int = 0
    """If above ``count``, use as many workers as the cluster has room for, up to this number."""
    gpu: bool = False
    """Request a GPU per worker even if none is up yet, so that the autoscaler adds them."""
    max_failures: int = 3
    """Restarts from the last checkpoint without progress before the training fails."""
    step_timeout_s: float | None = None
    """Seconds without a step after which a worker counts as lost.

    None means 300, or twice the storage retry timeout if that is longer.
    """
    rescale_interval_s: float = 60.0
    """Seconds between two checks for room for more workers."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"workers is {self.count}. It must be at least 1, or 0 for one per GPU.")
        if self.max_count and not 0 < self.count <= self.max_count:
            raise ConfigError(f"workers is {self.count}:{self.max_count}. It must be MIN:MAX with 1 <= MIN <= MAX.")
        if self.step_timeout_s is None:
            object.__setattr__(self, "step_timeout_s", max(_MIN_STEP_TIMEOUT_S, 2 * retry_timeout_s()))
        for name in ("step_timeout_s", "rescale_interval_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}. It must be above 0.")
        if self.max_failures < 0:
            raise ConfigError(f"max_failures is {self.max_failures}. It must be at least 0.")

    @classmethod
    def parse(cls, text: str, **options: Any) -> Workers:
        """Return the workers that ``4`` or ``1:4`` (as many as there is room for) asks for; raises ConfigError."""
        parts = text.split(":")
        if len(parts) > 2 or not all(part.isdecimal() for part in parts):
            raise ConfigError(f"workers is {text!r}. It must be a number, or MIN:MAX.")
        return cls(int(parts[0]), int(parts[1]) if len(parts) == 2 else 0, **options)

    def scaling(self, batch_size: int) -> ray.train.ScalingConfig:
        """Return the request to Ray Train.

        Raises:
            ConfigError: there would be more workers than examples in a batch.
        """
        cluster = ray.cluster_resources()
        gpus, cpus = int(cluster.get("GPU", 0)), cluster.get("CPU", 1.0)
        count = self.count or min(gpus, batch_size) or min(_DEFAULT_WORKERS, batch_size)
        largest = max(count, self.max_count)
        if largest > batch_size:
            raise ConfigError(f"a batch of {batch_size} examples cannot be split among {largest} workers")
        gpu = self.gpu or gpus >= count
        # Workers reserve at most half of the CPUs, because reader tasks need some, too.
        worker_cpus = _elastic_worker_cpus() if self.max_count and not gpu else min(1.0, cpus / (2 * largest))
        return ray.train.ScalingConfig(
            num_workers=(count, self.max_count) if self.max_count else count,
            use_gpu=gpu,
            resources_per_worker={"CPU": worker_cpus, "GPU": 1} if gpu else {"CPU": worker_cpus},
            elastic_resize_monitor_interval_s=self.rescale_interval_s,
        )


def _elastic_worker_cpus() -> float:
    """Return the CPUs of an elastic worker, so that workers fill the largest node except for one reader task."""
    largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    # A head without CPUs says nothing about the nodes that the autoscaler will add.
    room = largest - READER_CPUS if largest >= 1 else _MIN_ELASTIC_CPUS
    return room / max(1, int(room / _MIN_ELASTIC_CPUS))


def missing_gpus(scaling: ray.train.ScalingConfig) -> str:
    """Return a message if GPUs are requested that are not up yet, or ''."""
    up, workers = int(ray.cluster_resources().get("GPU", 0)), scaling.num_workers
    min_count = workers if isinstance(workers, int) else workers[0]
    if not scaling.use_gpu or up >= min_count:
        return ""
    return f"GPUs: {min_count} requested, {up} up; waiting for the cluster to add the others"
