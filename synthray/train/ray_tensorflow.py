"""How TensorFlow's workers find each other on Ray Train.

``ray.train.tensorflow`` does the same, and imports TensorFlow in the job and in Ray's controller before a worker is
started, which is most of the way to the first step; it also switches Keras 3 off.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig


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
