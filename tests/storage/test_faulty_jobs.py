"""Data sets in a real S3 server that is killed, full, cut off, or used by two jobs at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from infra.s3_server import S3Server
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.manifest import MANIFEST, Manifest
from synthray.data.open import open_dataset
from synthray.data.sources.notebook import NotebookSource
from synthray.errors import Conflict, NotFound, StorageError
from synthray.storage import Store, open_store
from synthray.storage.retry import RETRY_TIMEOUT
from tests import foreign
from tests.conftest import convert_here
from tests.faults import (
    Exchange,
    FaultyProxy,
    all_objects,
    faulty_proxy,
    lose_response,
    slow,
)
from tests.waiting import wait_for

pytestmark = pytest.mark.faults

BODY = np.random.default_rng(0).bytes(300_000)


@pytest.mark.s3
def test_manifest_whose_response_is_lost_is_published(
    proxy: FaultyProxy, store: Store, direct_store: Store, tmp_path: Path
) -> None:
    source = foreign.write(tmp_path / "training_data")
    undisturbed = convert_here(source, tmp_path / "undisturbed")
    proxy.on(lose_response, "PUT", MANIFEST, times=1)
    assert convert_here(source, store.uri) == undisturbed
    assert len(proxy.asked("PUT", MANIFEST)) == 2
    assert all_objects(store.uri) == all_objects(tmp_path / "undisturbed")
    # A direct caller gets Conflict for its own object, and can compare the content.
    proxy.on(lose_response, "PUT", "mine", times=1)
    with pytest.raises(Conflict):
        store.write("mine", b"content", replace=False)
    assert direct_store.read("mine") == b"content"


@pytest.mark.s3
def test_killed_server_that_returns_is_waited_for(
    own_server: S3Server, on_own_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the read timeout: a response that the dead server owed may be missed only then.
    monkeypatch.setenv(RETRY_TIMEOUT, "120")
    store = open_store(on_own_server)
    back = threading.Event()
    turns: list[int] = []

    def work(number: int) -> None:
        while True:
            last = back.is_set()
            body = b"%d %d " % (number, len(turns)) + BODY
            store.write(f"{number}", body)
            assert store.read(f"{number}") == body
            turns.append(number)
            if last:
                return

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(work, number) for number in range(4)]
        while len(turns) < 8:
            time.sleep(0.01)
        own_server.kill()
        time.sleep(0.5)
        own_server.restart()
        back.set()
        for result in results:
            result.result(timeout=120)
    assert [entry.path for entry in store.list()] == ["0", "1", "2", "3"]


@pytest.mark.s3
def test_full_store_is_reported_and_the_job_resumes_when_there_is_room(
    own_server: S3Server, on_own_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = foreign.write(tmp_path / "training_data")
    convert_here(source, tmp_path / "undisturbed")
    own_server.options = ("-master.volumeSizeLimitMB=1", "-volume.max=3")
    own_server.restart()
    # The server may need a moment to allocate a volume; that is not a full disk.
    monkeypatch.setenv(RETRY_TIMEOUT, "5")
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(on_own_server))
    finished = [build_shard(plan, number).shard.path for number in (0, 3)]
    fill(open_store(f"s3://{own_server.bucket}/ballast"))

    monkeypatch.setenv(RETRY_TIMEOUT, "0.3")
    with pytest.raises(StorageError, match=r"/shards/0.*: the store answers 500 .*free space of the store .*same comm"):
        convert_here(source, on_own_server)
    assert not open_store(on_own_server).exists(MANIFEST)
    monkeypatch.setenv(RETRY_TIMEOUT, "120")
    own_server.options = ()
    own_server.restart()
    before = {path: open_store(on_own_server).entry(path).modified_s for path in finished}
    with faulty_proxy(own_server.endpoint_url) as watched, monkeypatch.context() as through:
        through.setenv("AWS_ENDPOINT_URL", watched.url)
        convert_here(source, on_own_server)
        # A shard may be put twice while the server starts.
        assert len(set(watched.asked("PUT", "/shards/"))) == len(plan.shards) - len(finished)
    assert all_objects(on_own_server) == all_objects(tmp_path / "undisturbed")
    assert {path: open_store(on_own_server).entry(path).modified_s for path in finished} == before


def fill(store: Store) -> None:
    """Write to a store until it refuses."""
    for number in range(100):
        try:
            store.write(str(number), bytes(1_000_000))
        except StorageError:
            return
    raise AssertionError("the store did not fill up")


@pytest.mark.s3
def test_reader_never_sees_a_partial_data_set(proxy: FaultyProxy, on_s3: str, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(foreign.write(tmp_path / "training_data"))), BuildConfig(on_s3))
    done = threading.Event()
    not_yet: list[int] = []
    whole: list[Manifest] = []

    def read() -> None:
        last = False
        while not last:
            last, seen = done.is_set(), bool(whole)
            try:
                dataset = open_dataset(on_s3)
            except NotFound:
                assert not seen
                not_yet.append(len(open_store(on_s3).list("shards")))
                continue
            read = [len(dataset.read_shard(number)) for number in range(len(dataset.manifest.shards))]
            assert sum(read) == dataset.manifest.rows
            whole.append(dataset.manifest)

    def after_a_read(exchange: Exchange) -> bytes:
        wait_for(lambda: whole)
        return exchange.forward()

    proxy.on(slow(0.1), "PUT")
    # Publishing deletes the records of the build while others already read the data set.
    proxy.on(after_a_read, "DELETE", times=1)
    proxy.on(slow(0.1), "DELETE")
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            wait_for(lambda: 0 in not_yet)
            records = [build_shard(plan, 0)]
            wait_for(lambda: 1 in not_yet)
            records += pool.map(lambda number: build_shard(plan, number), range(1, len(plan.shards)))
            wait_for(lambda: len(plan.shards) in not_yet)
            published = publish(plan, records)
        finally:
            done.set()
        for reader in readers:
            reader.result(timeout=30)
    # The readers looked when no shard, some shards, and all shards were there without the manifest.
    assert {0, len(plan.shards)} < set(not_yet)
    assert len(whole) > 2
    assert all(manifest == published for manifest in whole)


@pytest.mark.s3
def test_of_two_jobs_at_once_one_publishes_and_the_other_raises_conflict(on_s3: str, tmp_path: Path) -> None:
    source = NotebookSource.open(str(foreign.write(tmp_path / "training_data")))
    together = threading.Barrier(2)

    def build(dtype: str) -> Manifest | str:
        plan = Plan.make(source, BuildConfig(on_s3, dtype))
        records = [build_shard(plan, number) for number in range(len(plan.shards))]
        together.wait(30)
        try:
            return publish(plan, records)
        except Conflict as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(build, ["float32", "float16"]))
    [error] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    [published] = [outcome for outcome in outcomes if isinstance(outcome, Manifest)]
    assert "holds another data set" in error
    dataset = open_dataset(on_s3)
    assert dataset.manifest == published
    assert sum(len(dataset.read_shard(number)) for number in range(len(published.shards))) == published.rows
    assert [entry.path for entry in open_store(on_s3).list("shards")] == [shard.path for shard in published.shards]
    assert open_store(on_s3).list("unfinished") == []


@pytest.mark.s3
def test_job_that_publishes_late_raises_conflict(proxy: FaultyProxy, on_s3: str, tmp_path: Path) -> None:
    source = NotebookSource.open(str(foreign.write(tmp_path / "training_data")))
    plans = [Plan.make(source, BuildConfig(on_s3, dtype)) for dtype in ("float32", "float16")]
    records = [[build_shard(plan, number) for number in range(len(plan.shards))] for plan in plans]

    def after_the_other_job(exchange: Exchange) -> bytes:
        publish(plans[0], records[0])
        return exchange.forward()

    # The late job has seen that there is no manifest. Its next request lists the shards.
    proxy.on(after_the_other_job, "GET", "^/[^/]+$", times=1)
    with pytest.raises(Conflict, match="holds another data set"):
        publish(plans[1], records[1])
    dataset = open_dataset(on_s3)
    assert dataset.manifest.feature_dtype == "float32"
    assert sum(len(dataset.read_shard(number)) for number in range(len(plans[0].shards))) == dataset.manifest.rows
