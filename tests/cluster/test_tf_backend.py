"""The ports at which training workers reach each other. Needs no cluster."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import ray

from synthray.cluster.training import tf_backend
from tests.waiting import HOST

pytestmark = pytest.mark.faults


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """An address that this process has reserved for TensorFlow."""
    monkeypatch.setenv("TF_GRPC_REUSE_PORT", "")
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: HOST)
    monkeypatch.setattr(tf_backend, "_reserved", [])
    host, _, port = tf_backend._reserve_address().rpartition(":")
    yield host, int(port)
    for holder in tf_backend._reserved:
        holder.close()


def test_reserved_port_is_refused_to_others(address: tuple[str, int]) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use") as caught:
        other.bind(address)
    assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(ConnectionRefusedError):  # nothing answers there before TensorFlow does
        socket.create_connection(address)


TENSORFLOW = """
import socket, sys
import ray
from synthray.cluster.training import tf_backend
ray.util.get_node_ip_address = lambda: "127.0.0.1"
addresses = [tf_backend._reserve_address() for _ in range(2)]
import tensorflow as tf
servers = [tf.distribute.Server({"worker": addresses}, job_name="worker", task_index=index) for index in (0, 1)]
for address in addresses:
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port))).close()
print("reached")
"""


@pytest.mark.slow
def test_reserved_port_is_tensorflows() -> None:
    run = subprocess.run([sys.executable, "-c", TENSORFLOW], capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == "reached\n", run.stderr
