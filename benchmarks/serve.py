"""Measure latency and throughput of synthray's service and of other servers.

    python benchmarks/serve.py --peers-python /tmp/peers-serve/bin/python
    python benchmarks/serve.py --servers synthray,fastapi --clients 1,64 --seconds 2 --rounds 1
    python benchmarks/serve.py --servers synthray --bodies binary
    python benchmarks/serve.py --haproxy             # also Ray Serve's HAProxy, in a network namespace

All servers run in turn on this machine and serve the same file: the notebook's network with its initial weights. Each
round starts and ends every server; the order alternates from round to round. A request is one sound, as raw float32
(44 KB) or as JSON. A server's first answer is compared with Keras's numbers. A load runs for a second before it is
measured.

- synthray, synthray-ray, synthray-haproxy: ``synthray serve`` without Ray, on Ray Serve, and behind Serve's HAProxy;
- fastapi: FastAPI under uvicorn with Keras; fastapi-synthray: the same with synthray's predictor;
- litserve, bentoml: with their batching, and Keras;
- ceiling: a server that answers at once. It shows the limit of the load generator, which runs on the same cores;
- uvicorn-ceiling, ray-ceiling: applications that answer at once. They show the limits of uvicorn and of Ray Serve.

The peers are in ``serve_peers/``. They run in an environment of their own:

    python3.11 -m venv /tmp/peers-serve
    /tmp/peers-serve/bin/pip install litserve bentoml fastapi uvicorn "tensorflow-cpu==2.21.*" "keras==3.15.*"

TensorFlow Serving is missing: its server is neither on PyPI (``tensorflow-serving-api`` is a client) nor in Debian.
HAProxy listens on every address at the fixed ports 8000, 8404 and 9101, so ``--haproxy`` moves the whole run to a
network namespace with ``unshare`` (util-linux).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, for all servers and this process

import numpy as np
import serve_client
from serve_client import Answers, Load
from serve_processes import HAPROXY_PORT, SERVERS, Running, Server, ServerFailed, running

from synthray.synth.voice import usable_cores

SHAPE = (20, 551)
ROWS = 256  # sounds of the large request
MATCHES = 100
SOUND = Path(__file__).parents[1] / "docs/sounds/original.wav"
MATCH_PATH = "/v1/models/synthray:match"
TYPES = {
    "binary": "application/octet-stream",
    "json": "application/json",
    "large": "application/octet-stream",
    "sound": "audio/wav",
}
"""Content type of each body."""
PACKAGES = (
    "bentoml",
    "fastapi",
    "keras",
    "litserve",
    "numpy",
    "ray",
    "starlette",
    "tensorflow",
    "tensorflow_cpu",
    "uvicorn",
)
BODIES = ("binary", "json")
WARM_UP_S = 1.0
_START_S, _POLL_S = 120, 0.02
_NAMESPACE = "SYNTHRAY_BENCHMARK_NAMESPACE"


@dataclass
class Measured:
    """All rounds of one server."""

    loads: dict[tuple[str, int], list[Answers]] = field(default_factory=lambda: defaultdict(list))
    """By kind of body and number of clients."""
    cpu_s: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU seconds of the server's processes per request, by kind of body and number of clients."""
    start_s: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    large: list[Answers] = field(default_factory=list)
    first_match: list[Answers] = field(default_factory=list)
    matches: list[Answers] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """The files that requests and servers use, and the flags."""

    folder: Path
    model: str
    expected: dict[str, list[float]]
    """Keras's outputs for the one sound."""
    arguments: argparse.Namespace

    def send(self, port: int, path: str, body: str, **fields: object) -> Answers:
        """Run a load in a process of its own; ``body`` is the name of a file in the folder."""
        load = Load(port, path, str(self.folder / body), TYPES[body], **fields)  # type: ignore[arg-type]
        request = self.folder / "request.json"
        request.write_text(json.dumps(asdict(load)))
        command = [sys.executable, serve_client.__file__, str(request)]
        return Answers(**json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def main() -> None:
    arguments = _arguments()
    if arguments.haproxy and _NAMESPACE not in os.environ:
        _enter_namespace()
    with tempfile.TemporaryDirectory(prefix="synthray-serve-") as folder:
        bench = _prepare(Path(folder), arguments)
        servers = [name for name in arguments.servers if _is_installed(name, arguments.peers_python)]
        measured = {name: Measured() for name in servers}
        network: list[float] = []
        for number in range(arguments.rounds):
            network.append(_network_sounds_per_s(bench))
            for name in servers[:: -1 if number % 2 else 1]:
                print(f"round {number + 1}: {name}", file=sys.stderr)
                try:
                    _measure(bench, name, measured[name])
                except ServerFailed as error:
                    print(f"{name}: not measured, because the server {error}", file=sys.stderr)
    _print(measured, statistics.median(network), arguments)


def _enter_namespace() -> None:
    """Run this command again in a network namespace that has a loopback interface only."""
    os.environ[_NAMESPACE] = "1"
    user = ["--map-root-user"] if os.geteuid() else []
    script = 'ip link set lo up && exec "$@"'
    os.execvp("unshare", ["unshare", "--net", *user, "sh", "-c", script, "sh", sys.executable, *sys.argv])


def _is_installed(name: str, peers_python: str) -> bool:
    """Return whether a server can be started; print the reason if it cannot."""
    module = SERVERS[name].module
    command = [
        peers_python,
        "-c",
        f"import importlib.util as i; i.find_spec({module!r}) and i.find_spec('keras') or 1 / 0",
    ]
    installed = not module or subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not installed:
        print(f"{name}: not measured, because {peers_python} lacks {module} or keras. See --help.", file=sys.stderr)
    return installed


def _prepare(folder: Path, arguments: argparse.Namespace) -> Bench:
    """Save the model and the bodies of requests."""
    from synthray.model.networks import build_named
    from synthray.model.saved import ModelCard, save_model
    from synthray.synth.instrument import INSTRUMENT

    model = build_named("notebook", SHAPE, INSTRUMENT)
    card = ModelCard("untrained", INSTRUMENT, SHAPE, epochs=0, dataset={}, config={}, metrics={}, sha256="")
    uri = save_model(model, str(folder), card)
    features = np.abs(np.random.default_rng(1).normal(size=(ROWS, *SHAPE))).astype(np.float32)
    (folder / "binary").write_bytes(features[0].tobytes())
    (folder / "json").write_text(json.dumps({"instances": features[:1].tolist()}))
    (folder / "large").write_bytes(features.tobytes())
    (folder / "sound").write_bytes(SOUND.read_bytes())
    outputs = dict(zip(model.output_names, model(features[:1]), strict=True))
    expected = {name: np.asarray(values)[0].tolist() for name, values in outputs.items()}
    return Bench(folder, uri, expected, arguments)


def _network_sounds_per_s(bench: Bench) -> float:
    """Return the throughput of synthray's predictor for the large request, without a server."""
    from synthray.model.predictor import Predictor

    predictor = Predictor.load(bench.model)
    features = np.frombuffer((bench.folder / "large").read_bytes(), np.float32).reshape(-1, *SHAPE)
    seconds = []
    for _ in range(20):
        started_s = time.perf_counter()
        predictor.predict(features)
        seconds.append(time.perf_counter() - started_s)
    return ROWS / statistics.median(seconds)


def _measure(bench: Bench, name: str, measured: Measured) -> None:
    """Start a server, send it all loads, and end it."""
    server = SERVERS[name]
    port = HAPROXY_PORT if name == "synthray-haproxy" else _free_port()
    peers_python, log = bench.arguments.peers_python, bench.folder / f"{name}.log"
    with running(server, bench.model, port, peers_python, log) as started:
        first = _first_answer(bench, server, started)
        measured.start_s.append(time.perf_counter() - started.started_s)
        time.sleep(bench.arguments.settle)
        if not name.endswith("ceiling"):
            _check(first, bench.expected)
        if server.is_synthray:
            for answers, count in ((measured.first_match, 1), (measured.matches, MATCHES)):
                answers.append(bench.send(port, MATCH_PATH, "sound", accept="audio/wav", requests=count))
        for body in bench.arguments.bodies:
            for clients in bench.arguments.clients:
                load = {"clients": clients, "seconds": bench.arguments.seconds, "path": server.paths[body]}
                bench.send(port, body=body, **load | {"seconds": WARM_UP_S})
                cpu_s = started.cpu_s()
                answers = bench.send(port, body=body, **load)
                started.check()
                measured.cpu_s[body, clients].append((started.cpu_s() - cpu_s) / (len(answers.latencies_s) or 1))
                measured.loads[body, clients].append(answers)
        large = bench.send(port, server.paths["binary"], "large", seconds=bench.arguments.seconds)
        measured.large.append(large)
        measured.memory_bytes.append(started.memory_bytes())


def _first_answer(bench: Bench, server: Server, started: Running) -> str:
    """Send the request until the server answers with 200; return the answer's body."""
    deadline_s = time.perf_counter() + _START_S
    while time.perf_counter() < deadline_s:
        started.check()
        try:
            with socket.create_connection(("127.0.0.1", started.port), 1):
                pass
        except OSError:
            time.sleep(_POLL_S)
            continue
        answers = bench.send(started.port, server.paths["binary"], "binary", requests=1)
        if answers.latencies_s:
            return answers.body
        time.sleep(_POLL_S)
    raise ServerFailed(f"did not answer within {_START_S} s; its log ends with {started.log.read_text()[-500:]}")


def _check(body: str, expected: dict[str, list[float]]) -> None:
    """Raise ServerFailed unless an answer's numbers are Keras's."""
    answer = json.loads(body)
    [found] = answer["predictions"] if isinstance(answer, dict) else answer
    if set(found) != set(expected):
        raise ServerFailed(f"answers with other outputs than the model's ({sorted(set(found) ^ set(expected))[:3]})")
    for name, values in expected.items():
        if not np.allclose(found[name], values, rtol=1e-4, atol=1e-5):
            raise ServerFailed(f"answers {found[name]} for {name}, and Keras {values}")


def _print(measured: dict[str, Measured], network: float, arguments: argparse.Namespace) -> None:
    """Print Markdown tables."""
    measured = {name: result for name, result in measured.items() if result.memory_bytes}
    if not measured:
        raise SystemExit("no server was measured")
    print(f"`python benchmarks/serve.py {' '.join(sys.argv[1:])}`: {_machine()}\n")
    print(f"synthray's environment: {_versions(sys.executable, PACKAGES)}. ", end="")
    print(f"The peers': {_versions(arguments.peers_python, PACKAGES)}\n")
    for body in arguments.bodies:
        print(f"One sound a request, {body} ({arguments.rounds} rounds of {arguments.seconds:g} s)\n")
        print("| server | clients | p50 ms | p99 ms | requests/s | x synthray | CPU ms a request | errors |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for clients in arguments.clients:
            ours = measured.get("synthray", next(iter(measured.values()))).loads[body, clients]
            for name, result in measured.items():
                print(f"| {name} | {clients} | {_load_cells(result, body, clients, _rate(ours))} |")
        print()
    print(f"{ROWS} sounds a request, binary, one client. The network alone: {network:,.0f} sounds/s\n")
    print(
        "| server | p50 ms | p99 ms | sounds/s | share of the network's speed, by the median | by the mean | errors |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, result in measured.items():
        sounds = _rate(result.large) * ROWS
        latencies_s = [seconds for answers in result.large for seconds in answers.latencies_s]
        by_median = ROWS / statistics.median(latencies_s) / network if latencies_s else 0.0
        share = f"{by_median:.0%} | {sounds / network:.0%} | {_errors(result.large)}"
        print(f"| {name} | {_quantiles(result.large)} | {sounds:,.0f} | {share} |")
    print("\n| server | | s to the first answer | MB |\n|---|---|---:|---:|")
    for name, result in measured.items():
        start_s, memory = statistics.median(result.start_s), statistics.median(result.memory_bytes) / 1e6
        print(f"| {name} | {SERVERS[name].description} | {start_s:.1f} | {memory:,.0f} |")
    matching = {name: result for name, result in measured.items() if result.matches}
    if matching:
        print(f"\n`:match` of {SOUND.name}, WAV answer, one client\n")
        print("| server | first ms | p50 ms | p99 ms | errors |\n|---|---:|---:|---:|---:|")
    for name, result in matching.items():
        first_ms = ", ".join(
            f"{1000 * seconds:.1f}" for answers in result.first_match for seconds in answers.latencies_s
        )
        errors = _errors(result.first_match + result.matches)
        print(f"| {name} | {first_ms} | {_quantiles(result.matches)} | {errors} |")


def _load_cells(result: Measured, body: str, clients: int, ours: float) -> str:
    """Return the cells of one load; ``ours`` is synthray's rate."""
    rounds = result.loads[body, clients]
    ratio = _rate(rounds) / ours if ours else float("nan")
    cpu_ms = 1000 * statistics.mean(result.cpu_s[body, clients])
    return f"{_quantiles(rounds)} | {_rate(rounds):,.0f} | {ratio:.2f} | {cpu_ms:.2f} | {_errors(rounds)}"


def _rate(rounds: list[Answers]) -> float:
    """Return answers with status 200 per second."""
    return sum(len(answers.latencies_s) for answers in rounds) / sum(answers.elapsed_s for answers in rounds)


def _quantiles(rounds: list[Answers]) -> str:
    """Return two cells: p50 and p99 in milliseconds."""
    latencies = [seconds for answers in rounds for seconds in answers.latencies_s]
    if not latencies:
        return "- | -"
    return " | ".join(f"{1000 * seconds:.2f}" for seconds in np.percentile(latencies, (50, 99)))


def _errors(rounds: list[Answers]) -> int:
    return sum(answers.errors for answers in rounds)


def _machine() -> str:
    """Return the processor, its cores and Python's version."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    cores = usable_cores()
    return f"{names[0] if names else platform.machine()}, {cores} cores, Python {platform.python_version()}"


def _versions(python: str, packages: tuple[str, ...]) -> str:
    """Return the versions of the packages that an environment has."""
    code = (
        "import importlib.metadata as m, sys; print(*(f'{d.name} {d.version}' for d in m.distributions()), sep='\\n')"
    )
    listed = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return ", ".join(sorted({line for line in listed if line.split()[0] in packages}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _arguments() -> argparse.Namespace:
    description, _, epilog = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    servers = [name for name in SERVERS if name != "synthray-haproxy"]
    parser.add_argument("--servers", default=",".join(servers), help="comma-separated servers (default: %(default)s)")
    parser.add_argument("--haproxy", action="store_true", help="also measure synthray-haproxy, in a network namespace")
    parser.add_argument("--clients", default="1,8,64", help="comma-separated numbers of clients (default: %(default)s)")
    parser.add_argument(
        "--bodies", default="binary,json", help="comma-separated kinds of bodies (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=5, help="seconds of each load (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of all servers (default: %(default)s)")
    parser.add_argument(
        "--settle",
        type=float,
        default=0,
        metavar="SECONDS",
        help="wait after each server's first answer, because Ray still starts processes then (default: %(default)s)",
    )
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has the peers' packages")
    arguments = parser.parse_args()
    arguments.servers = arguments.servers.split(",") + ["synthray-haproxy"] * arguments.haproxy
    arguments.clients = [int(clients) for clients in arguments.clients.split(",")]
    arguments.bodies = arguments.bodies.split(",")
    for flag, given, known in (("servers", arguments.servers, SERVERS), ("bodies", arguments.bodies, BODIES)):
        if unknown := set(given) - set(known):
            parser.error(f"--{flag}: unknown ({', '.join(sorted(unknown))}). Choose from {', '.join(known)}.")
    return arguments


if __name__ == "__main__":
    main()
