"""Kill the driver, a worker or the store during a build: the same command ends with the same data set."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.ray_head import REPOSITORY, RayHead
from infra.s3_server import S3Server, running_s3_server
from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.plan import Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.open import open_dataset
from synthray.errors import NotFound
from synthray.storage import open_store
from synthray.storage.retry import RETRY_TIMEOUT
from tests.faults import Exchange, FaultyProxy, Hold, all_objects, faulty_proxy, status
from tests.s3_place import place_in
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(300)]

BATCHES, SHARDS = 9, 5
# The last shard. A task writes its shards in several threads, so others are written before this one.
LAST = "/shards/00004"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for these tests alone, which kill it."""
    with running_s3_server(tmp_path_factory.mktemp("own_server")) as server:
        yield server
        server.kill()


@pytest.fixture(scope="module")
def relay(own_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(own_server.endpoint_url) as running:
        yield running


@pytest.fixture
def proxy(relay: FaultyProxy) -> Iterator[FaultyProxy]:
    relay.heal()
    yield relay
    relay.heal()


@pytest.fixture
def out(own_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix for this test in that server. This process reaches it directly, jobs through the proxy."""
    return place_in(own_server, monkeypatch, request)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that ``synthray generate --format parquet`` writes, written by this process to a local disk."""
    folder = str(tmp_path_factory.mktemp("uninterrupted"))
    config = GenerateConfig(folder, BATCHES, format="parquet")
    plan = Plan.make(config.source(), config.build)
    publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])
    return all_objects(folder)


@contextlib.contextmanager
def generating(
    head: RayHead, server: S3Server, proxy: FaultyProxy, out: str, retry_timeout_s: float = 30
) -> Iterator[subprocess.Popen[str]]:
    """Run ``jobs/generate.py`` on the suite's Ray; it and its tasks reach the store through the proxy."""
    store = server.environment | {"AWS_ENDPOINT_URL": proxy.url, RETRY_TIMEOUT: str(retry_timeout_s)}
    # Ray's job submission passes the environment of tasks to a driver in this variable.
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
    """Return the shards with a record in an unfinished build, and their times of writing in Unix seconds."""
    store = open_store(out)
    records = [json.loads(store.read(entry.path)) for entry in store.list("unfinished")]
    return {record["shard"]["path"]: store.entry(record["shard"]["path"]).modified_s for record in records}


def shards_put(proxy: FaultyProxy) -> list[int]:
    return sorted(int(re.search(r"shards/(\d+)", path)[1]) for path in proxy.asked("PUT", "/shards/"))


def test_generate_resumes_after_a_killed_driver_and_a_failing_store(
    ray_head: RayHead, own_server: S3Server, proxy: FaultyProxy, out: str, uninterrupted: dict[str, bytes]
) -> None:
    """Run one command three times: killed, failed, finished. Each run writes only the missing shards."""
    hold = Hold(part=100_000)
    proxy.on(hold, "PUT", LAST)
    with generating(ray_head, own_server, proxy, out) as running:
        worker = process_with(hold.wait(), proxy, ray_head)
        running.kill()
        assert running.wait() == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{worker}").exists())  # Ray ends the tasks of a dead driver
    hold.released.set()
    kept = finished_shards(out)
    assert 0 < len(kept) < SHARDS

    proxy.heal()
    proxy.on(answer_503_from_now_on, "PUT", LAST)
    with generating(ray_head, own_server, proxy, out, retry_timeout_s=1.5) as running:
        output, errors = running.communicate(timeout=120)
    assert running.returncode == 1
    assert out not in output
    assert "Traceback" not in errors
    [line] = [line for line in errors.splitlines() if line.startswith("synthray: ")]
    # Any of the next requests may be the first to fail. The answer to a HEAD has no body with details.
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
    with generating(ray_head, own_server, proxy, out) as running:
        finish(running, out)
    assert all_objects(out) == uninterrupted
    assert len(shards_put(proxy)) == len(set(shards_put(proxy))) == SHARDS - len(kept)
    assert {path: open_store(out).entry(path).modified_s for path in kept} == kept


def answer_503_from_now_on(exchange: Exchange) -> bytes:
    """Answer this request and all later ones with 503."""
    busy = status(503, "SlowDown")
    exchange.proxy.on(busy)
    return busy(exchange)


def test_generate_continues_after_a_killed_worker(
    ray_head: RayHead, own_server: S3Server, proxy: FaultyProxy, out: str, uninterrupted: dict[str, bytes]
) -> None:
    hold = Hold(part=100_000)
    proxy.on(hold, "PUT", "/shards/00001", times=1)
    with generating(ray_head, own_server, proxy, out) as running:
        os.kill(process_with(hold.wait(), proxy, ray_head), signal.SIGKILL)
        hold.released.set()
        finish(running, out)
    assert all_objects(out) == uninterrupted
    put = Counter(shards_put(proxy))
    assert sorted(put) == list(range(SHARDS))
    # the shard that was being written, and at most one of each of the task's two other threads
    assert put[1] == 2
    assert put.total() <= SHARDS + 3


def test_generate_waits_for_a_killed_store(
    ray_head: RayHead, own_server: S3Server, proxy: FaultyProxy, out: str, uninterrupted: dict[str, bytes]
) -> None:
    hold = Hold(part=100_000)
    proxy.on(hold, "PUT", "/shards/00001", times=1)
    # Longer than the read timeout, which may pass before the lost answer of the dead server is noticed.
    with generating(ray_head, own_server, proxy, out, retry_timeout_s=120) as running:
        hold.wait()
        own_server.kill()
        hold.released.set()
        own_server.restart()
        finish(running, out, timeout_s=240)
    assert all_objects(out) == uninterrupted
    assert set(shards_put(proxy)) == {0, 1, 2, 3, 4}


def process_with(address: tuple[str, int], proxy: FaultyProxy, head: RayHead) -> int:
    """Return the id of the Ray worker whose connection to the proxy starts at ``address``."""
    host, port = address
    local = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
    remote = f":{urlsplit(proxy.url).port:04X}"  # a local port may have several connections
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [row[9] for row in rows if row[1] == local and row[2].endswith(remote)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            if f"socket:[{inode}]" in links(process / "fd"):
                assert (process / "cmdline").read_bytes().startswith(b"ray::")
                assert head.environment["RAY_AUTH_TOKEN"].encode() in (process / "environ").read_bytes()
                return int(process.name)
    raise AssertionError(f"no process has a connection from {address}")


def links(folder: Path) -> set[str]:
    """Return the targets of the links in a folder."""
    found = set()
    for link in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            found.add(str(link.readlink()))
    return found
