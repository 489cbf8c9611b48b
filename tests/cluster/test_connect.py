"""Choice of the cluster that a job joins. A job does not wait for a cluster that has ended."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest

from synthray.cluster import ray_address
from synthray.cluster.local_ray import LOCAL_RAY
from synthray.cluster.ray_address import cluster_address, joins_cluster
from synthray.errors import ConfigError


@pytest.fixture
def address_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Ray stores the address of the cluster that was started on this machine."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_JOB_ID", raising=False)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray_address, "_TIMEOUT_S", 2.0)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def grpc_server(*methods: str) -> Iterator[str]:
    """Run a gRPC server that rejects the credentials of these methods and has no other ones."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

            return grpc.unary_unary_rpc_method_handler(refuse) if details.method in methods else None

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait(10)


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address at which something answers as a cluster does."""
    yield from grpc_server("/ray.rpc.NodeInfoGcsService/GetClusterId")


@pytest.fixture
def client_server() -> Iterator[str]:
    """The address of another gRPC service, such as a cluster's Ray Client server."""
    yield from grpc_server("/ray.rpc.RayletDriver/Init")


@pytest.fixture
def web_server() -> Iterator[str]:
    """The address of an HTTP server, such as a cluster's dashboard."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a process that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # reserves the port, so that no other process listens there
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("unset", [None, "", "  "])
def test_cluster_address_skips_a_local_cluster_that_has_ended(
    unset: str | None, address_file: Path, cluster: str, silent: str, web_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if unset is not None:
        monkeypatch.setenv("RAY_ADDRESS", unset)
    assert cluster_address() is None
    for gone in (silent, web_server, "no address"):  # another program may listen at the port by now
        address_file.write_text(gone)
        assert cluster_address() == "local"
    address_file.write_text(f"{cluster}\n")
    assert cluster_address() is None
    assert not joins_cluster()


def test_cluster_address_lets_ray_decide_without_its_private_helper(
    address_file: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address_file.write_text(silent)
    monkeypatch.setitem(sys.modules, "ray._common.utils", None)
    assert cluster_address() is None


@pytest.mark.parametrize("form", ["{}", " {}", "{}\n"])
def test_cluster_address_of_a_named_cluster_is_joined_if_it_answers(
    form: str, address_file: Path, cluster: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", form.format(cluster))
    assert cluster_address() == cluster
    assert joins_cluster()
    monkeypatch.setenv("RAY_ADDRESS", form.format(silent))
    with pytest.raises(ConfigError, match=rf"RAY_ADDRESS: no cluster answers at '{silent}'\. Start a cluster, set"):
        cluster_address()


@pytest.mark.parametrize("other", ["client_server", "web_server", "mute"])
def test_cluster_address_where_another_program_answers_is_refused(
    other: str, address_file: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = request.getfixturevalue(other)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=f"RAY_ADDRESS: something other than a Ray cluster answers at '{address}'"):
        cluster_address()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://10.0.0.5:8265", r"dashboard and job API\. Submit .* \(ray job submit --working-dir .*host:port"),
        (" HTTPS://ray.example/", r"'HTTPS://ray\.example/' is the address of a cluster's dashboard and job API"),
        ("ray://10.0.0.5:10001", "a Ray Client server, which synthray does not support.*6379"),
        ("anyscale://cluster", "of a form that synthray does not support"),
        ("10.0.0.5", "neither host:port, auto nor local"),
        ("10.0.0.5:", "neither host:port"),
        ("10.0.0.5:0", "neither host:port"),
        ("10.0.0.5:65536", "neither host:port"),
        (":6379", "neither host:port"),
        ("10.0.0.5:6379/", "neither host:port"),
        ("10.0.0.5 6379", "neither host:port"),
        ("fd00::1:6379", "neither host:port"),
        ("Auto", "neither host:port"),
    ],
)
def test_cluster_address_of_another_form_says_what_it_is(
    address: str, message: str, address_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=f"^RAY_ADDRESS: .*{message}"):
        cluster_address()


@pytest.mark.parametrize("address", ["local", " local "])
def test_cluster_address_local_starts_a_new_cluster(
    address: str, address_file: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address_file.write_text(cluster)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster_address() == "local"
    assert not joins_cluster()


@pytest.mark.parametrize("address", ["auto", "auto "])
def test_cluster_address_auto_finds_the_cluster_of_this_machine(
    address: str, address_file: Path, cluster: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster_address() == "auto"
    address_file.write_text(cluster)
    assert cluster_address() == "auto"
    address_file.write_text(silent)
    with pytest.raises(ConfigError, match=rf"'auto' finds no cluster\. The cluster at {silent} has ended\. Start"):
        cluster_address()


def test_cluster_address_over_tls_is_left_to_ray(
    address_file: Path, mute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setenv("RAY_ADDRESS", mute)
    assert cluster_address() == mute


def test_connect_gives_a_local_ray_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", {"RAY_OTHER": "1"})
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: environment.update(os.environ))
    from synthray.cluster.connect import connect

    connect()
    assert environment == {"RAY_OTHER": "1", **LOCAL_RAY}
