"""A Ray of this machine's own for the demo and the tests: 127.0.0.1 alone, free ports, a token, jobs accepted.

    with running_ray_head({"SYNTHRAY_HOME": home}) as head:
        subprocess.run(head.command("python", "jobs/train.py"), env=head.environment, check=True)

It is started with ``ray start --head --block`` and ended by that process's id. A Ray beside it is not touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
# Ray listens on every address of a Linux machine, unless it takes it for one on which clusters are not to be.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# As ``synthray.cluster.build`` starts one, so that tasks that read find the workers that they had before.
KEEPING_WORKERS = {"RAY_idle_worker_killing_time_threshold_ms": "60000"}
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
REPOSITORY = Path(__file__).resolve().parent.parent


class RayHeadError(RuntimeError):
    """The head could not be started; the message ends with what it said last."""


@dataclass(frozen=True)
class RayHead:
    """A running head: its dashboard's address, its GCS's, and the environment of everything that talks to it."""

    dashboard_url: str
    address: str
    environment: dict[str, str]

    def command(self, *entrypoint: str, options: tuple[str, ...] = ()) -> list[str]:
        """The command line that submits a job from this repository, as it is on any cluster."""
        return ["ray", "job", "submit", "--working-dir", ".", *options, "--", *entrypoint]


@contextlib.contextmanager
def running_ray_head(environment: Mapping[str, str], cpus: int | None = None) -> Iterator[RayHead]:
    """A ready head whose jobs see ``environment``; it ends with the block.

    Raises:
        RayHeadError: it did not come up in time.
    """
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    scratch = Path(tempfile.mkdtemp(prefix="synthray-", dir="/tmp"))
    dashboard = f"http://{HOST}:{ports['dashboard-port']}"
    env = _environment(environment, dashboard, Path(sys.executable).parent)
    options = [f"--{name}={port}" for name, port in ports.items()]
    options += [f"--node-ip-address={HOST}", f"--dashboard-host={HOST}", f"--temp-dir={scratch}"]
    options += [f"--num-cpus={cpus}"] if cpus else []
    log = scratch / "head.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["ray", "start", "--head", "--block", "--disable-usage-stats", *options],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for the owner, who then ends Ray in order
        )
    try:
        _wait_until_ready(process, dashboard, env, log)
        yield RayHead(dashboard, f"{HOST}:{ports['port']}", env)
    finally:
        _stop(process)
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(extra: Mapping[str, str], dashboard: str, programs: Path) -> dict[str, str]:
    return {
        **os.environ,
        **extra,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",  # so that a job's `python` is this one
        "RAY_API_SERVER_ADDRESS": dashboard,
        **LOOPBACK_ONLY,
        **KEEPING_WORKERS,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "PYTHONUNBUFFERED": "1",
    }


def _wait_until_ready(process: subprocess.Popen, dashboard: str, env: Mapping[str, str], log: Path) -> None:
    """Until the job API answers."""
    request = urllib.request.Request(
        f"{dashboard}/api/jobs/", headers={"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"}
    )
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(request, timeout=2):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise RayHeadError(f"Ray did not come up (exit code {process.poll()}); it said:\n{said}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen) -> None:
    """``ray start --block`` takes its children with it when it is told to end."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
