"""Start and stop the servers that ``serve.py`` measures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PEERS = Path(__file__).parent / "serve_peers"
_BASE = "/v1/models/synthray:predict"
_END_S = 30
# Environment variable that every process of a server inherits. It finds those that left the process group, too.
_TOKEN = "SYNTHRAY_BENCHMARK_SERVER"
_SERVE = ("{python}", "-m", "synthray.cli.main", "serve", "--model", "{model}", "--port", "{port}")
_HAPROXY = ("--haproxy", "--host", "0.0.0.0")
HAPROXY_PORT = 8000
"""Serve's HAProxy listens on this port only."""


@dataclass(frozen=True)
class Server:
    """A server to measure."""

    description: str
    command: tuple[str, ...]
    """Its placeholders are ``{python}``, ``{peers}`` (the peers' Python), ``{model}`` and ``{port}``."""
    paths: Mapping[str, str] = field(default_factory=lambda: {"binary": "/raw", "json": "/json"})
    """URL path of each kind of body."""
    environment: Mapping[str, str] = field(default_factory=dict)
    module: str = ""
    """Module that the peers' Python must have."""

    @property
    def is_synthray(self) -> bool:
        """Return True for synthray's own service. Only that one matches sounds."""
        return self.command[:4] == _SERVE[:4]


_PREDICT = {"binary": _BASE, "json": _BASE}

SERVERS = {
    "synthray": Server("synthray serve --no-ray", (*_SERVE, "--no-ray"), _PREDICT),
    "synthray-ray": Server("synthray serve, on Ray Serve", _SERVE, _PREDICT),
    "synthray-haproxy": Server("synthray serve, on Ray Serve with its HAProxy ingress", (*_SERVE, *_HAPROXY), _PREDICT),
    "fastapi": Server(
        "FastAPI and uvicorn, Keras", ("{peers}", f"{_PEERS}/fastapi_app.py", "{port}"), module="fastapi"
    ),
    "fastapi-synthray": Server(
        "FastAPI and uvicorn, synthray's predictor", ("{python}", f"{_PEERS}/fastapi_synthray_app.py", "{port}")
    ),
    "litserve": Server(
        "LitServe, Keras, batching",
        ("{peers}", f"{_PEERS}/litserve_app.py", "{port}"),
        {"binary": "/predict", "json": "/predict"},
        module="litserve",
    ),
    "bentoml": Server(
        "BentoML, Keras, batching",
        (
            "{peers}",
            "-m",
            "bentoml",
            "serve",
            "bentoml_service:KerasService",
            "--working-dir",
            str(_PEERS),
            "--port",
            "{port}",
        ),
        environment={
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
        },
        module="bentoml",
    ),
    "ceiling": Server(
        "answers at once, no network: the client's limit",
        ("{python}", f"{_PEERS}/ceiling.py", "{port}"),
        {"binary": "/", "json": "/"},
    ),
    "uvicorn-ceiling": Server(
        "answers at once under uvicorn, no network: uvicorn's limit",
        ("{python}", f"{_PEERS}/uvicorn_ceiling.py", "{port}"),
        {"binary": "/", "json": "/"},
    ),
    "ray-ceiling": Server(
        "answers at once on Ray Serve, no network: its proxy's limit",
        ("{python}", f"{_PEERS}/ray_ceiling.py", "{port}"),
        {"binary": "/", "json": "/"},
    ),
}


class ServerFailed(Exception):
    """A server ended before it answered, or did not answer in time."""


@dataclass(frozen=True)
class Running:
    """A server that has been started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    token: str
    started_s: float

    def check(self) -> None:
        """Raise ServerFailed with the end of the log if the server's process has ended."""
        if self.process.poll() is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            raise ServerFailed(f"ended with status {self.process.returncode}: {' | '.join(lines[-3:])}")

    def cpu_s(self) -> float:
        """Return the CPU time that its present processes have used."""
        ticks = 0
        for pid in _pids(self.token):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # the process has just ended
                continue
            ticks += int(fields[11]) + int(fields[12])  # utime and stime, of proc_pid_stat(5)
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Return the resident memory of all its processes, with each shared page counted once."""
        total = 0
        for pid in _pids(self.token):
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # the process has just ended
                continue
            total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        return total


@contextmanager
def running(server: Server, model: str, port: int, peers_python: str, log: Path) -> Iterator[Running]:
    """Start a server, and end it with all its processes."""
    names = {"python": sys.executable, "peers": peers_python, "model": model, "port": str(port)}
    token = uuid.uuid4().hex
    root = str(Path(__file__).parents[1])
    variables = {"SERVED_MODEL": model, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3", _TOKEN: token}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [part.format(**names) for part in server.command],
            env={**os.environ, **variables, **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(process, port, log, token, time.perf_counter())
    finally:
        _end(process, token)


def _end(process: subprocess.Popen[bytes], token: str) -> None:
    """Ask the server to end, then kill what is left of it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline_s = time.monotonic() + 5
    while _pids(token) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    for pid in _pids(token):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _pids(token: str) -> list[int]:
    """Return the processes that have inherited ``token``."""
    found, entry = [], f"{_TOKEN}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # another user's process, or one that has just ended
            continue
    return found
