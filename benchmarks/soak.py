"""Soak test of the service: send mixed requests for minutes, and measure its memory.

    python benchmarks/soak.py                          # ten minutes against `synthray serve --no-ray`
    python benchmarks/soak.py --minutes 1 --clients 4
    python benchmarks/soak.py --url http://127.0.0.1:8000 --pid 4711     # a running service and its process ID

The clients send good and broken predictions and matches, bodies above the limit, bodies that stop half-way, and
requests whose client leaves before the answer. The service passes if no answer is 5xx, if all good requests get 200 or
429, and if it needs at most 10 % more memory in the last quarter of the time than in the second quarter.
"""

from __future__ import annotations

import argparse
import http.client
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
BASE = "/v1/models/synthray"
SOUND = (ROOT / "docs/sounds/original.wav").read_bytes()
JSON = {"content-type": "application/json"}
LIMIT = 32 * 2**20
GROWTH = 1.1
"""Largest allowed ratio of the memory in the last quarter to that in the second quarter."""


class Client:
    """Sends one request a connection, and counts the answers by kind and status."""

    def __init__(self, address: str, preset: bytes, seed: int) -> None:
        self._address, self._preset, self._random = address, preset, random.Random(seed)
        self.answers: Counter[tuple[str, int | str]] = Counter()

    def run(self, until_s: float) -> None:
        """Send requests of all kinds, in a random order, until a time of ``time.monotonic``."""
        kinds: list[tuple[Callable[[], int | str], int]] = [
            (self._good_match, 6), (self._good_render, 3), (self._refined, 1), (self._broken, 6),
            (self._huge, 1), (self._slow, 1), (self._aborted, 3),
        ]  # fmt: skip
        calls, weights = zip(*kinds, strict=True)
        while time.monotonic() < until_s:
            [call] = self._random.choices(calls, weights)
            try:
                status = call()
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            self.answers[call.__name__.removeprefix("_").replace("_", " "), status] += 1

    def _post(self, path: str, body: object, headers: dict[str, str] | None = None) -> int:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request("POST", BASE + path, body, headers or {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def _good_match(self) -> int:
        return self._post(":match?include=sounds", SOUND)

    def _good_render(self) -> int:
        return self._post(":render", self._preset, JSON)

    def _refined(self) -> int:
        return self._post(":match?refine=0.5", SOUND, {"accept": "text/event-stream"})

    def _broken(self) -> int:
        bodies = [b"", b"RIFF", SOUND[:100], b"{", b"[]", self._random.randbytes(5000), b'{"instances": [[1]]}']
        paths = [":match", ":predict", ":render", ":analyse", ":match?refine=x", "/versions/9:predict"]
        return self._post(self._random.choice(paths), self._random.choice(bodies))

    def _huge(self) -> int:
        return self._post(":predict", (b"x" * 2**20 for _ in range(LIMIT // 2**20 + 2)))

    def _slow(self) -> str:
        with socket.create_connection(self._host(), 10) as client:
            client.sendall(f"POST {BASE}:match HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc".encode())
            time.sleep(2)
        return "left"

    def _aborted(self) -> str:
        with socket.create_connection(self._host(), 10) as client:
            head = f"POST {BASE}:match?refine=5 HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n"
            client.sendall(f"{head}content-length: {len(SOUND)}\r\n\r\n".encode() + SOUND)
            time.sleep(self._random.random())
        return "left"

    def _host(self) -> tuple[str, int]:
        host, _, port = self._address.rpartition(":")
        return host, int(port)


def main() -> int:
    """Run the soak; return 1 if the service answered with 5xx or its memory grew."""
    arguments = _arguments()
    with _service(arguments) as (url, pid):
        address = urlsplit(url).netloc
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("POST", f"{BASE}:match", SOUND)
        preset = connection.getresponse().read()
        clients = [Client(address, preset, seed) for seed in range(arguments.clients)]
        started_s = time.monotonic()
        until_s = started_s + 60 * arguments.minutes
        memory_mb: list[float] = []
        with ThreadPoolExecutor(len(clients)) as threads:
            running = [threads.submit(client.run, until_s) for client in clients]
            while time.monotonic() < until_s:
                memory_mb.append(_memory_mb(pid))
                time.sleep(0.5)
                print(f"\r{time.monotonic() - started_s:.0f} s, {memory_mb[-1]:.0f} MB ", end="", file=sys.stderr)
            for each in running:
                each.result()
    return _report(sum((client.answers for client in clients), Counter()), memory_mb)


def _report(answers: Counter[tuple[str, int | str]], memory_mb: list[float]) -> int:
    print("\n| request | answer | count |\n|---|---|---:|")
    for (kind, status), count in sorted(answers.items(), key=str):
        print(f"| {kind} | {status} | {count:,} |")
    quarters = [statistics.median(part) for part in _quarters(memory_mb)]
    print(f"\nMemory by quarter, MB: {', '.join(f'{quarter:.0f}' for quarter in quarters)}")
    failed = sum(count for (_, status), count in answers.items() if isinstance(status, int) and status >= 500)
    refused = sum(
        count for (kind, status), count in answers.items() if kind.startswith("good") and status not in (200, 429)
    )
    grew = quarters[3] > GROWTH * quarters[1]
    print(f"{failed} answers of 5xx, {refused} good requests without 200 or 429")
    print(f"Memory {'grew' if grew else 'is flat'}")
    return int(bool(failed or refused or grew))


def _quarters(values: list[float]) -> list[list[float]]:
    size = max(1, len(values) // 4)
    return [values[number * size : (number + 1) * size] or values[-1:] for number in range(4)]


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid}: no VmRSS in its status. Check that it still runs.")


@contextmanager
def _service(arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield the URL and the process of the given service, or of one that is started."""
    if arguments.url:
        yield arguments.url, arguments.pid
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "synthray.cli.main", "serve", "--no-ray", "--model", "shipped", f"--port={port}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert "serving" in process.stdout.readline(), "the service did not start"
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the soak (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="clients at the same time (default: %(default)s)")
    parser.add_argument("--url", help="a running service (default: start one)")
    parser.add_argument("--pid", type=int, default=0, help="process ID of this service, to measure its memory")
    arguments = parser.parse_args()
    if bool(arguments.url) != bool(arguments.pid):
        parser.error("--url and --pid: give both or neither")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
