"""Faults of a real S3 server and its network, injected by a proxy or a kill."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from infra.s3_server import S3Server, running_s3_server
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.manifest import MANIFEST, Manifest
from synthray.data.open import open_dataset
from synthray.data.sources.notebook import NotebookSource
from synthray.errors import ConfigError, Conflict, NotFound, StorageError
from synthray.storage import Store, open_store, retry, s3
from synthray.storage.retry import RETRY_TIMEOUT
from tests import foreign
from tests.conftest import convert_here
from tests.faults import (
    Exchange,
    Fault,
    FaultyProxy,
    Hold,
    all_objects,
    cut_request,
    cut_response,
    faulty_proxy,
    lose_response,
    slow,
    status,
)
from tests.s3_place import place_in
from tests.waiting import wait_for

pytestmark = pytest.mark.faults

BODY = np.random.default_rng(0).bytes(300_000)
RETRY_TIMEOUT_S = 20


@pytest.fixture(scope="module")
def relay(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def proxy(relay: FaultyProxy, on_s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Return a proxy to the suite's S3 server.

    This process uses it, and retries quickly.
    """
    relay.heal()
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
    monkeypatch.setenv(RETRY_TIMEOUT, str(RETRY_TIMEOUT_S))
    monkeypatch.setattr(retry, "FIRST_DELAY_S", 0.02)
    yield relay
    relay.heal()


@pytest.fixture
def store(proxy: FaultyProxy, on_s3: str) -> Store:
    return open_store(on_s3)


@pytest.fixture
def direct_store(on_s3: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy) -> Store:
    """Return the store without the proxy: it shows what the server really holds."""

    class DirectStore(s3.S3Store):
        def _call(self, path, action):
            with monkeypatch.context() as direct:
                direct.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
                return super()._call(path, action)

    store = open_store(on_s3)
    assert isinstance(store, s3.S3Store)
    return DirectStore(store.bucket, store.prefix)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return a server that only these tests use, because they kill and fill it."""
    with running_s3_server(tmp_path_factory.mktemp("own-server")) as server:
        yield server


@pytest.fixture
def on_own_server(own_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    return place_in(own_server, monkeypatch, request)


FAULTS: dict[str, Fault] = {
    "500": status(500, "InternalError"),
    "503": status(503, "ServiceUnavailable"),
    "slow down": status(503, "SlowDown"),
    "429": status(429, "TooManyRequests"),
    "a lost response": lose_response,
    "a cut response": cut_response(10),
    "a cut request": cut_request(1000),
}


@pytest.mark.s3
@pytest.mark.parametrize("what", FAULTS)
def test_transient_fault_is_retried(what: str, proxy: FaultyProxy, store: Store) -> None:
    def in_a_burst(method: str) -> None:
        proxy.heal()
        proxy.on(FAULTS[what], method, times=2)

    in_a_burst("PUT")
    store.write("a/b.bin", BODY)
    # the response to a put has no body that could be cut
    assert len(proxy.asked("PUT", r"/a/b\.bin$")) == (1 if what == "a cut response" else 3)
    in_a_burst("GET")
    assert store.read("a/b.bin") == BODY
    assert len(proxy.asked("GET", r"/a/b\.bin$")) == 3
    in_a_burst("GET")
    assert [(entry.path, entry.size) for entry in store.list()] == [("a/b.bin", len(BODY))]
    in_a_burst("GET")
    assert store.folders() == ["a"]
    in_a_burst("HEAD")
    assert store.exists("a/b.bin")
    in_a_burst("HEAD")
    assert store.entry("a/b.bin").modified_s > 1.6e9
    in_a_burst("DELETE")
    store.delete("a/b.bin")
    assert store.list() == []


@pytest.mark.s3
@pytest.mark.parametrize("after", [0, 1, 100, 500])
def test_list_whose_response_is_cut_is_retried(after: int, proxy: FaultyProxy, store: Store) -> None:
    for number in range(3):
        store.write(f"{number}/x", b"")
    proxy.on(cut_response(after), "GET", times=2)
    assert len(store.list()) == 3
    proxy.on(cut_response(after), "GET", times=2)
    assert store.folders() == ["0", "1", "2"]


@pytest.mark.s3
@pytest.mark.parametrize("after", [0, 1, 100_000, len(BODY) - 1])
def test_read_whose_body_is_cut_is_retried(after: int, proxy: FaultyProxy, store: Store) -> None:
    store.write("x", BODY)
    proxy.on(cut_response(after), "GET", times=2)
    assert store.read("x") == BODY


@pytest.mark.s3
def test_refused_connection_is_retried(proxy: FaultyProxy, store: Store) -> None:
    proxy.refuse()
    later = threading.Timer(0.7, proxy.accept)
    began = time.monotonic()
    later.start()
    try:
        store.write("x", BODY)
    finally:
        later.join()
    assert 0.6 < time.monotonic() - began < 10
    assert store.read("x") == BODY


@pytest.mark.s3
def test_slow_response_is_not_a_timeout(proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_READ_TIMEOUT_S", 2.0)  # seconds: shorter than the whole response, longer than a piece
    store.write("x", BODY)
    proxy.on(slow(2.4, pieces=24))
    assert store.read("x") == BODY
    assert len(proxy.asked("GET")) == 1


@pytest.mark.s3
def test_store_that_answers_slowly_for_long_is_reported_and_fails_nothing(
    proxy: FaultyProxy, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Seconds stand for hundreds of them: the build takes many times the retry timeout, each answer less than it."""
    source = foreign.write(tmp_path / "training_data")
    undisturbed = convert_here(source, tmp_path / "undisturbed")
    monkeypatch.setattr(s3, "_READ_TIMEOUT_S", 2.0)
    monkeypatch.setattr(s3, "_slow_answers", retry.SlowAnswers())
    monkeypatch.setattr(retry, "SLOW_AFTER_S", 0.1)
    monkeypatch.setattr(retry, "SLOW_INTERVAL_S", 2.0)
    monkeypatch.setenv(RETRY_TIMEOUT, "0.5")
    proxy.on(slow(0.2, pieces=1))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert convert_here(source, store.uri) == undisturbed
    took_s = time.monotonic() - began
    assert took_s > 10 * 0.5
    assert all(
        re.search(rf"^{store.uri}.*: the store is slow\. It took \d s to answer\.$", line) for line in caplog.messages
    )
    assert 2 <= len(caplog.messages) <= took_s / 2.0 + 1


@pytest.mark.s3
def test_store_that_answers_too_slowly_ends_with_one_line_after_the_retry_timeout(
    proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("x", BODY)
    monkeypatch.setattr(s3, "_READ_TIMEOUT_S", 0.3)
    monkeypatch.setenv(RETRY_TIMEOUT, "2")
    proxy.on(slow(1.0, pieces=1))
    began = time.monotonic()
    with pytest.raises(
        StorageError, match=r"^s3://\S+/x: Read timeout .*gave up after \d+ s and \d+ attempts"
    ) as caught:
        store.read("x")
    assert time.monotonic() - began > 1.5
    assert "\n" not in str(caught.value)


@pytest.mark.s3
@pytest.mark.parametrize("faults", [0, 2])
def test_large_object_is_written_in_parts_and_appears_as_a_whole(
    faults: int, proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 5 * 2**20  # the smallest that S3 allows
    monkeypatch.setattr(s3, "_MAX_PUT_BYTES", part)
    monkeypatch.setattr(s3, "_PART_BYTES", part)
    large = np.random.default_rng(1).bytes(2 * part + 1)
    seen: list[bool] = []

    def look(exchange: Exchange) -> bytes:
        seen.append(store.exists("large"))
        return exchange.forward()

    proxy.on(status(503), "PUT", "/large", times=faults)
    proxy.on(look, "PUT", "/large")
    for content in (memoryview(large), large[: part + 1]):
        store.write("large", content)
        assert store.read("large") == content
    assert seen[:3] == [False] * 3
    assert len(seen) >= 3 + 2
    assert [entry.path for entry in store.list()] == ["large"]


@pytest.mark.s3
def test_missing_response_is_a_timeout_and_retried(
    proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_READ_TIMEOUT_S", 1.0)
    store.write("x", BODY)
    hanging = Hold()
    proxy.on(hanging, "GET", times=2)
    assert store.read("x") == BODY
    assert len(proxy.asked("GET")) == 3
    hanging.released.set()


LASTING = {
    "500": (
        status(500, "InternalError"),
        "the store answers 500 InternalError: made by the test; ",
        "free space of the store",
    ),
    "503": (status(503, "SlowDown"), "the store answers 503 SlowDown: made by the test; ", "Check the log and"),
    "a lost response": (
        lose_response,
        "Connection was closed before we received a valid response",
        "that the store runs",
    ),
    "a cut response": (cut_response(10), "10 more expected|10 bytes read|bytes read, ", "that the store runs"),
    "refused": (None, "Could not connect to the endpoint", "the AWS_… variables"),
    "no response": (Hold(), "Read timeout", "that the store runs"),
}


@pytest.mark.s3
@pytest.mark.parametrize("what", LASTING)
def test_lasting_fault_raises_storage_error_with_object_and_advice(
    what: str, proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, reason, advice = LASTING[what]
    store.write("a/x.bin", BODY)
    monkeypatch.setenv(RETRY_TIMEOUT, "0.8")
    if what == "no response":
        monkeypatch.setattr(s3, "_READ_TIMEOUT_S", 0.3)
    if fault:
        proxy.on(fault)
    else:
        proxy.refuse()
    began = time.monotonic()
    try:
        with pytest.raises(StorageError, match=reason) as caught:
            store.read("a/x.bin")
    finally:
        if not fault:
            proxy.accept()
    assert 0.3 < time.monotonic() - began < 15  # with room for a busy machine; RETRY_TIMEOUT_S is 20
    message = str(caught.value)
    assert message.startswith(f"{store.uri}/a/x.bin: ")
    assert " attempts. Check " in message
    assert advice in message
    assert proxy.url in message
    assert message.endswith("then run the same command again.")
    assert "\n" not in message
    proxy.heal()
    monkeypatch.setenv(RETRY_TIMEOUT, str(RETRY_TIMEOUT_S))
    assert store.read("a/x.bin") == BODY


@pytest.mark.s3
def test_delays_grow_and_retries_are_logged_once(
    proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "LOG_AFTER_S", 0.5)
    monkeypatch.setattr(retry, "LONGEST_DELAY_S", 0.1)
    monkeypatch.setenv(RETRY_TIMEOUT, "2")
    proxy.on(status(503))
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match=r"gave up after \d+ s and \d+ attempts"):
        store.read("x")
    # Delays of 0.02 s doubled to 0.1 s, less up to half: at most 42 attempts in 2 s. Without the limit of 0.1 s there
    # would be at most 8, and without doubling about 100.
    assert 9 <= len(proxy.asked("GET")) <= 42
    [line] = caplog.messages
    assert line.startswith(f"{store.uri}/x: the store answers 503 Trouble: made by the test; retrying for ")


@pytest.mark.s3
def test_permanent_error_is_not_retried(
    proxy: FaultyProxy, store: Store, on_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(message: str, kind: type[Exception] = StorageError, *, replace: bool = True) -> None:
        proxy.requests.clear()
        with pytest.raises(kind, match=message):
            store.write("x", BODY, replace=replace)
        assert len(proxy.requests) <= 1

    store.write("x", BODY)
    once("x exists already", Conflict, replace=False)
    with pytest.raises(NotFound, match="y does not exist"):
        store.read("y")
    with pytest.raises(NotFound, match="no bucket 'absent'"):
        open_store("s3://absent").read("y")
    assert [path for _, path in proxy.requests].count("/absent/y") == 1
    proxy.on(status(507, "StorageFull"), times=1)
    once(r"/x: the store is full \(StorageFull\)\. Free space, then run the same command again")
    with monkeypatch.context() as changed:
        changed.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        once(r"/x: the store denies access \(SignatureDoesNotMatch: .*Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    with monkeypatch.context() as changed:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            changed.delenv(name)
        changed.setenv("AWS_EC2_METADATA_DISABLED", "true")
        changed.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        changed.setenv("AWS_CONFIG_FILE", "/dev/null")
        once(r"/x: Unable to locate credentials\. Check the AWS_… variables")


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_ENDPOINT_URL", "localhost"), (RETRY_TIMEOUT, "-1"), (RETRY_TIMEOUT, "long")]
)
def test_invalid_environment_variable_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
        open_store("s3://bucket").read("x")


@pytest.mark.s3
def test_interrupted_put_changes_nothing(
    proxy: FaultyProxy, store: Store, direct_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("old", b"before")
    monkeypatch.setenv(RETRY_TIMEOUT, "0.3")
    proxy.on(cut_request(len(BODY) - 1), "PUT")
    for name in ("old", "new"):
        with pytest.raises(StorageError, match=f"/{name}: .*gave up"):
            store.write(name, BODY)
    assert len(proxy.asked("PUT")) > 4
    assert all_objects(direct_store.uri) == {"old": b"before"}


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
