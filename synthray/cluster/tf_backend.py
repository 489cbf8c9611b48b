"""TensorFlow's workers on Ray Train, with little on the way to their first step.

``ray.train.tensorflow`` imports TensorFlow in the job and in Ray's controller before a worker is started, which is most
of that way; it also switches Keras 3 off.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

# Processes that Ray Train starts beside the workers, each of which takes more than a second of a processor, and 200 MB.
# One hands out data sets of Ray Data's, of which there are none. One frees what a controller had set aside that died
# before its job, and this job ends with it.
UNUSED_CALLBACKS = frozenset({"DatasetsCallback", "PlacementGroupCleanerCallback"})
# And one restarts the workers when a node is about to go: they are started again when it has gone, as after any loss.
WITHOUT_WATCHER = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


class LeanTrainer(DataParallelTrainer):
    """Ray Train's trainer without the processes that this package has no use for."""

    def _create_default_callbacks(self) -> list[Any]:
        return [each for each in super()._create_default_callbacks() if type(each).__name__ not in UNUSED_CALLBACKS]


@dataclass
class TensorflowBackend(BackendConfig):
    """Gives each worker ``TF_CONFIG``: the addresses of all, and which one it is."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _Addresses


class _Addresses(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:  # noqa: ARG002 - Ray's signature
        addresses = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(index, _set, addresses=addresses, index=index)
                for index in range(len(worker_group))
            ]
        )


def _free_address() -> str:
    address = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _set(addresses: list[str], index: int) -> None:
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    os.environ["TF_CONFIG"] = json.dumps(task)
