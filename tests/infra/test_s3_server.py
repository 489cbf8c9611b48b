"""The local S3 server, as the tests and the demo use it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from infra.s3_server import GRPC_OFFSET, HOST, ReservedPorts, S3Server, S3ServerError, running_s3_server
from tests.waiting import wait_for

pytestmark = pytest.mark.s3

BODY = bytes(range(256)) * 4096


def client_of(environment: dict[str, str]):
    """Return a client made of nothing but the AWS variables."""
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_ports_are_reserved_until_the_server_starts() -> None:
    ports = ReservedPorts()
    for port in ports.values():
        for taken in (port, port + GRPC_OFFSET):
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((HOST, taken))
    ports.release()
    for port in ports.values():
        with socket.socket() as other:
            other.bind((HOST, port))


def test_ports_do_not_follow_a_seed() -> None:
    firsts = set()
    for _ in range(5):
        random.seed(0)
        ports = ReservedPorts()
        firsts.add(ports["master"])
        ports.release()
    assert len(firsts) > 1


def test_objects_survive_a_kill_and_restart(tmp_path: Path) -> None:
    with running_s3_server(tmp_path) as server:
        client = client_of(server.environment)
        client.put_object(Bucket="synthray", Key="shards/0.parquet", Body=BODY)
        pid = server.process.pid
        assert os.getpgid(pid) == pid != os.getpgid(0)
        server.kill()
        assert not is_running(pid)
        server.restart()
        assert client.get_object(Bucket="synthray", Key="shards/0.parquet")["Body"].read() == BODY
        listed = client.list_objects_v2(Bucket="synthray")["Contents"]
        assert [each["Key"] for each in listed] == ["shards/0.parquet"]
        pid = server.process.pid
    assert not is_running(pid)


def test_server_ends_with_its_parent(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from infra.s3_server import running_s3_server\n"
        "with running_s3_server(sys.argv[1]) as server:\n"
        "    print(server.process.pid, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        try:
            pid = int(parent.stdout.readline())
            assert is_running(pid)
        finally:
            parent.kill()
    wait_for(lambda: not is_running(pid))


def test_taken_port_is_an_error_with_the_servers_log(tmp_path: Path) -> None:
    server = S3Server(tmp_path)
    server.ports.release()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.ports["filer"]))
        taken.listen()
        with pytest.raises(S3ServerError, match=rf"(?s)did not start.*{server.ports['filer']}"):
            server.start()
    assert not is_running(server.process.pid)


def test_command_writes_a_private_file_with_the_variables(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "s3.env"
    command = [sys.executable, "infra/s3_server.py", "--dir", str(tmp_path / "s3"), "--env-file", str(file)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert str(file) in running.stdout.readline()
            assert file.stat().st_mode & 0o777 == 0o600
            shown = subprocess.run(["/bin/sh", "-c", f". '{file}'; env"], capture_output=True, text=True, env={}).stdout
            environment = dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("AWS_"))
            client_of(environment).put_object(Bucket="synthray", Key="k", Body=b"v")
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0
        finally:
            running.kill()
