"""A private Ray head for the demo and the tests: on 127.0.0.1, with free ports and a token.

    with running_ray_head({"SYNTHRAY_HOME": home}) as head:
        subprocess.run(head.command("python", "jobs/train.py"), env=head.environment, check=True)

It runs ``ray start --head --block`` and stops only this process, so other Ray clusters on the machine keep running.
``infra/README.md`` describes clusters for production.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
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

from synthray.cluster.local_ray import LOCAL_RAY
from synthray.proxies import bypass

HOST = "127.0.0.1"
# Ray on Linux listens on every network interface unless clusters are disabled.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
REPOSITORY = Path(__file__).resolve().parent.parent


class RayHeadError(RuntimeError):
    """A failed start of the head; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class RayHead:
    """A running head."""

    dashboard_url: str
    """URL of the dashboard and the job API."""
    address: str
    """``host:port`` of the GCS, for ``RAY_ADDRESS``."""
    environment: dict[str, str]
    """Environment variables of its clients, with the token."""

    def command(self, *entrypoint: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command line that submits a job from this repository."""
        return ["ray", "job", "submit", "--working-dir", ".", *options, "--", *entrypoint]


@contextlib.contextmanager
def running_ray_head(environment: Mapping[str, str], cpus: int | None = None) -> Iterator[RayHead]:
    """Yield a ready head whose jobs see ``environment``, and stop it afterwards.

    Raises:
        RayHeadError: it did not start in time.
    """
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    temp_dir = Path(tempfile.mkdtemp(prefix="synthray-", dir="/tmp"))  # short, for the paths of Ray's sockets
    dashboard = f"http://{HOST}:{ports['dashboard-port']}"
    programs = _programs(temp_dir)
    env = _environment(environment, dashboard, programs)
    options = [f"--{name}={port}" for name, port in ports.items()]
    options += [f"--node-ip-address={HOST}", f"--dashboard-host={HOST}", f"--temp-dir={temp_dir}"]
    options += [f"--num-cpus={cpus}"] if cpus else []
    ray = (
        programs / Path(sys.executable).name,
        "-m",
        "ray.scripts.scripts",
    )  # not the program `ray`, which would start Python by its original path
    log = temp_dir / "head.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*ray, "start", "--head", "--block", "--disable-usage-stats", *options],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to the caller only, which then stops Ray in order
        )
    try:
        _wait_until_ready(process, dashboard, env, log)
        yield RayHead(dashboard, f"{HOST}:{ports['port']}", env)
    finally:
        _stop(process)
        shutil.rmtree(temp_dir, ignore_errors=True)


def _programs(temp_dir: Path) -> Path:
    """Return this environment's folder of programs, by a path that a shell does not split.

    Ray starts the workers of a job with a shell command that does not quote the path of Python
    (https://github.com/ray-project/ray/issues/5288).
    """
    if shlex.quote(sys.prefix) == sys.prefix:
        return Path(sys.executable).parent
    link = temp_dir / "python"
    link.symlink_to(sys.prefix, target_is_directory=True)
    return link / Path(sys.executable).parent.relative_to(sys.prefix)


def _environment(extra: Mapping[str, str], dashboard: str, programs: Path) -> dict[str, str]:
    return {
        **os.environ,
        **bypass(os.environ),  # `ray job submit` asks the dashboard through the environment's proxy
        **extra,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",  # jobs run this Python
        "RAY_API_SERVER_ADDRESS": dashboard,
        **LOOPBACK_ONLY,
        **LOCAL_RAY,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "PYTHONUNBUFFERED": "1",
    }


def _wait_until_ready(process: subprocess.Popen, dashboard: str, env: Mapping[str, str], log: Path) -> None:
    """Return when the job API answers; raise RayHeadError if it does not in time."""
    request = urllib.request.Request(
        f"{dashboard}/api/jobs/", headers={"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"}
    )
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError), without_proxy.open(request, timeout=2):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise RayHeadError(f"Ray did not start (exit code {process.poll()}). Its log ends with:\n{last_lines}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen) -> None:
    """Stop the head: SIGTERM also stops its children, SIGKILL what is left."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Return different free ports: all are bound before the first is released."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
