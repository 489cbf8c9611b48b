"""The environment of each training worker on Ray Train. Starting and training the workers is not here."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

from synthray.proxies import bypass


@dataclass
class TensorflowBackend(BackendConfig):  # type: ignore[misc]  # Ray has no types
    """A Ray Train backend that tells each worker the addresses of all workers.

    ``ray.train.tensorflow`` is not used because it imports TensorFlow in the driver and switches Keras 3 off.
    """

    @property
    def backend_cls(self) -> type[Backend]:
        """Return the class that Ray Train instantiates."""
        return _TfConfigBackend


class _TfConfigBackend(Backend):  # type: ignore[misc]  # Ray has no types
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:  # noqa: ARG002 - Ray's signature
        addresses = worker_group.execute(_reserve_address)
        start = worker_group.execute_single_async
        ray.get([start(index, _set_tf_config, addresses, index) for index in range(len(worker_group))])


# Bound until this process ends, but never listening: TensorFlow listens at the same port seconds later.
_reserved: list[socket.socket] = []


def _reserve_address() -> str:
    """Return this node's IP address with a TCP port; other processes do not get this port unless they ask for it."""
    address = ray.util.get_node_ip_address()
    holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    _reserved.append(holder)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    os.environ["TF_GRPC_REUSE_PORT"] = "true"
    holder.bind((address, 0))
    port = holder.getsockname()[1]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _set_tf_config(addresses: list[str], index: int) -> None:
    """Set TensorFlow's environment in one worker: the addresses of all workers, without an HTTP proxy for them."""
    os.environ.update(bypass(os.environ, [address.rpartition(":")[0].strip("[]") for address in addresses]))
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    os.environ["TF_CONFIG"] = json.dumps(task)
