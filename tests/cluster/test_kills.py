"""Kill the driver, a worker or the store while a data set is made: the same command ends as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.ray_head import REPOSITORY, RayHead
from infra.s3_server import S3Server, running_s3_server
from synthray.data.build.notebook_writer import GenerateConfig
from synthray.data.build.plan import Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.open import open_dataset
from synthray.errors import NotFound
from synthray.storage import open_store
from synthray.storage.retry import RETRY_TIMEOUT
from tests.faults import Exchange, FaultyProxy, Hold, everything, faulty_proxy, status
from tests.s3_fixture import place_in

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(300)]

BATCHES, SHARDS = 9, 5
# By the time that it is written, others are: as many shards as a task has threads are on their way together.
LAST = "/shards/00004"


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server of these tests' own, which they kill."""
    with running_s3_server(tmp_path_factory.mktemp("mortal")) as server:
        yield server
        server.kill()


@pytest.fixture(scope="module")
def relay(mortal: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(mortal.endpoint_url) as running:
        yield running


@pytest.fixture
def proxy(relay: FaultyProxy) -> Iterator[FaultyProxy]:
    relay.heal()
    yield relay
    relay.heal()


@pytest.fixture
def out(mortal: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A place of this test's own in that server. This process reaches it directly, jobs reach it through the relay."""
    return place_in(mortal, monkeypatch, request)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What ``jobs/generate.py --format parquet`` makes, made in this process on a local disk."""
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    config = GenerateConfig(folder, BATCHES, format="parquet")
    plan = Plan.make(config.source(), config.build)
    publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])
    return everything(folder)


@contextlib.contextmanager
def generating(
    head: RayHead, server: S3Server, proxy: FaultyProxy, out: str, retry_timeout_s: float = 30
) -> Iterator[subprocess.Popen[str]]:
    """``jobs/generate.py`` on the suite's Ray; it and its tasks reach the store through the relay."""
    store = server.environment | {"AWS_ENDPOINT_URL": proxy.url, RETRY_TIMEOUT: str(retry_timeout_s)}
    # as Ray's own job submission tells a driver what its tasks shall see
    config = json.dumps({"runtime_env": {"env_vars": store}})
    running = subprocess.Popen(
        [sys.executable, "jobs/generate.py", "--format", "parquet", "--batches", str(BATCHES), "--out", out],
        cwd=REPOSITORY,
        env=head.environment | store | {"RAY_ADDRESS": head.address, "RAY_JOB_CONFIG_JSON_ENV_VAR": config},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def finish(running: subprocess.Popen[str], out: str, timeout_s: float = 120) -> None:
    output, errors = running.communicate(timeout=timeout_s)
    assert running.returncode == 0, errors
    assert out in output


def finished_shards(out: str) -> dict[str, float]:
    """What a build that did not end has finished: shards with a record, and when each was written, Unix seconds."""
    store = open_store(out)
    records = [json.loads(store.read(entry.path)) for entry in store.list("unfinished")]
    return {record["shard"]["path"]: store.entry(record["shard"]["path"]).modified_s for record in records}


def shards_put(proxy: FaultyProxy) -> list[int]:
    return sorted(int(re.search(r"shards/(\d+)", path)[1]) for path in proxy.asked("PUT", "/shards/"))


def test_a_killed_driver_and_then_a_storm(
    ray_head: RayHead, mortal: S3Server, proxy: FaultyProxy, out: str, undisturbed: dict[str, bytes]
) -> None:
    """The same command three times: killed, given up, finished. Each makes only what the ones before it did not."""
    hold = Hold(part=100_000)
    proxy.on(hold, "PUT", LAST)
    with generating(ray_head, mortal, proxy, out) as running:
        worker = process_with(hold.wait(), proxy, ray_head)
        running.kill()
        assert running.wait() == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{worker}").exists())  # Ray ends the tasks of a driver that is gone
    hold.released.set()
    kept = finished_shards(out)
    assert 0 < len(kept) < SHARDS

    proxy.heal()
    proxy.on(storm, "PUT", LAST)
    with generating(ray_head, mortal, proxy, out, retry_timeout_s=1.5) as running:
        output, errors = running.communicate(timeout=120)
    assert running.returncode == 1
    assert out not in output
    assert "Traceback" not in errors
    [line] = [line for line in errors.splitlines() if line.startswith("synthray: ")]
    # whatever was asked for next may be the first to be given up; the answer to a HEAD has no body that could say more
    assert re.fullmatch(
        rf"synthray: {out}/(shards/\S+|unfinished/\S+|manifest\.json): the store answers "
        r"(503 SlowDown: made by the test|503: Service Unavailable); "
        r"gave up after \d+ s and \d+ attempts\. Check the log and the free space of the store "
        rf"\(endpoint: {proxy.url}\), then run the same command again\.",
        line,
    )
    with pytest.raises(NotFound, match="no finished data set"):
        open_dataset(out)
    assert finished_shards(out).items() >= kept.items()
    kept = finished_shards(out)

    proxy.heal()
    with generating(ray_head, mortal, proxy, out) as running:
        finish(running, out)
    assert everything(out) == undisturbed
    assert len(shards_put(proxy)) == len(set(shards_put(proxy))) == SHARDS - len(kept)
    assert {path: open_store(out).entry(path).modified_s for path in kept} == kept


def storm(exchange: Exchange) -> bytes:
    """From this request on, the store answers nothing but 503."""
    busy = status(503, "SlowDown")
    exchange.proxy.on(busy)
    return busy(exchange)


def test_a_killed_worker_is_replaced(
    ray_head: RayHead, mortal: S3Server, proxy: FaultyProxy, out: str, undisturbed: dict[str, bytes]
) -> None:
    hold = Hold(part=100_000)
    proxy.on(hold, "PUT", "/shards/00001", times=1)
    with generating(ray_head, mortal, proxy, out) as running:
        os.kill(process_with(hold.wait(), proxy, ray_head), signal.SIGKILL)
        hold.released.set()
        finish(running, out)
    assert everything(out) == undisturbed
    put = Counter(shards_put(proxy))
    assert sorted(put) == list(range(SHARDS))
    # the shard that was on its way to the store, and at most those of the task's two other threads
    assert put[1] == 2
    assert put.total() <= SHARDS + 3


def test_a_killed_store_is_waited_for(
    ray_head: RayHead, mortal: S3Server, proxy: FaultyProxy, out: str, undisturbed: dict[str, bytes]
) -> None:
    hold = Hold(part=100_000)
    proxy.on(hold, "PUT", "/shards/00001", times=1)
    # longer than an answer is waited for: one that the server owed when it died may be noticed only then
    with generating(ray_head, mortal, proxy, out, retry_timeout_s=120) as running:
        hold.wait()
        mortal.kill()
        hold.released.set()
        mortal.restart()
        finish(running, out, timeout_s=240)
    assert everything(out) == undisturbed
    assert set(shards_put(proxy)) == {0, 1, 2, 3, 4}


def wait_for(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def process_with(address: tuple[str, int], proxy: FaultyProxy, head: RayHead) -> int:
    """Id of the process that has the end at ``address`` of a connection to the proxy: a task's, of the suite's Ray."""
    host, port = address
    local = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
    remote = f":{urlsplit(proxy.url).port:04X}"  # one port may be an end of several connections
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [row[9] for row in rows if row[1] == local and row[2].endswith(remote)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours
            if f"socket:[{inode}]" in links(process / "fd"):
                assert (process / "cmdline").read_bytes().startswith(b"ray::")
                assert head.environment["RAY_AUTH_TOKEN"].encode() in (process / "environ").read_bytes()
                return int(process.name)
    raise AssertionError(f"no process has a connection from {address}")


def links(folder: Path) -> set[str]:
    """Where the links in a folder lead."""
    found = set()
    for link in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(link.readlink()))
    return found
