"""What stores and networks do to a request: refuse, fail, break off, dawdle, fill up, die. Nothing is mocked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
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
from synthray.storage import Store, open_store, s3
from tests import foreign
from tests.conftest import convert_here
from tests.faults import (
    Exchange,
    Fault,
    FaultyProxy,
    Hold,
    cut_answer,
    cut_request,
    everything,
    faulty_proxy,
    lose_answer,
    slow,
    status,
)
from tests.s3_fixture import place_in

BODY = np.random.default_rng(0).bytes(300_000)
PATIENCE_S = 20


@pytest.fixture(scope="module")
def relay(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def proxy(relay: FaultyProxy, on_s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """In front of the suite's S3 server; this process talks to it, and tries again quickly."""
    relay.heal()
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
    monkeypatch.setenv(s3.RETRY_TIMEOUT, str(PATIENCE_S))
    monkeypatch.setattr(s3, "_FIRST_PAUSE_S", 0.02)
    yield relay
    relay.heal()


@pytest.fixture
def store(proxy: FaultyProxy, on_s3: str) -> Store:
    return open_store(on_s3)


@pytest.fixture
def beside(on_s3: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy) -> Store:
    """The same place, without the relay: what is really there."""

    class Beside(s3.S3Store):
        def _call(self, path, action):
            with monkeypatch.context() as direct:
                direct.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
                return super()._call(path, action)

    place = open_store(on_s3)
    return Beside(place.bucket, place.prefix)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server of these tests' own, which they kill and fill."""
    with running_s3_server(tmp_path_factory.mktemp("mortal")) as server:
        yield server
        server.kill()  # quicker than in order, and this one knows it


@pytest.fixture
def on_mortal(mortal: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    return place_in(mortal, monkeypatch, request)


FAULTS: dict[str, Fault] = {
    "500": status(500, "InternalError"),
    "503": status(503, "ServiceUnavailable"),
    "slow down": status(503, "SlowDown"),
    "429": status(429, "TooManyRequests"),
    "a lost answer": lose_answer,
    "a cut answer": cut_answer(10),
    "a cut request": cut_request(1000),
}


@pytest.mark.s3
@pytest.mark.parametrize("what", FAULTS)
def test_a_burst_is_ridden_out(what: str, proxy: FaultyProxy, store: Store) -> None:
    def in_a_burst(method: str) -> None:
        proxy.heal()
        proxy.on(FAULTS[what], method, times=2)

    in_a_burst("PUT")
    store.write("a/b.bin", BODY)
    # an answer to a put has no body that could be cut
    assert len(proxy.asked("PUT", r"/a/b\.bin$")) == (1 if what == "a cut answer" else 3)
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
def test_a_listing_is_whole_wherever_it_was_cut(after: int, proxy: FaultyProxy, store: Store) -> None:
    for number in range(3):
        store.write(f"{number}/x", b"")
    proxy.on(cut_answer(after), "GET", times=2)
    assert len(store.list()) == 3
    proxy.on(cut_answer(after), "GET", times=2)
    assert store.folders() == ["0", "1", "2"]


@pytest.mark.s3
@pytest.mark.parametrize("after", [0, 1, 100_000, len(BODY) - 1])
def test_a_body_is_whole_wherever_it_was_cut(after: int, proxy: FaultyProxy, store: Store) -> None:
    store.write("x", BODY)
    proxy.on(cut_answer(after), "GET", times=2)
    assert store.read("x") == BODY


@pytest.mark.s3
def test_refused_connections_are_ridden_out(proxy: FaultyProxy, store: Store) -> None:
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
def test_what_is_slow_but_goes_on_is_waited_for(
    proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_TIMEOUT_S", 2.0)  # shorter than the whole, longer than a piece
    store.write("x", BODY)
    proxy.on(slow(2.4, pieces=24))
    assert store.read("x") == BODY
    assert len(proxy.asked("GET")) == 1


@pytest.mark.s3
def test_what_never_answers_is_asked_again(proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_TIMEOUT_S", 1.0)
    store.write("x", BODY)
    hanging = Hold()
    proxy.on(hanging, "GET", times=2)
    assert store.read("x") == BODY
    assert len(proxy.asked("GET")) == 3
    hanging.released.set()


LASTING = {
    "500": (status(500, "InternalError"), "the store answers 500 InternalError: made by the test; ", "the free space"),
    "503": (status(503, "SlowDown"), "the store answers 503 SlowDown: made by the test; ", "the log and the free"),
    "a lost answer": (lose_answer, "Connection was closed before we received a valid response", "that the store runs"),
    "a cut answer": (cut_answer(10), "10 more expected|10 bytes read|bytes read, ", "that the store runs"),
    "refused": (None, "Could not connect to the endpoint", "check the AWS_"),
    "no answer": (Hold(), "Read timeout", "that the store runs"),
}


@pytest.mark.s3
@pytest.mark.parametrize("what", LASTING)
def test_what_lasts_is_given_up_with_the_objects_name_and_what_to_do(
    what: str, proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, reason, advice = LASTING[what]
    store.write("a/x.bin", BODY)
    monkeypatch.setenv(s3.RETRY_TIMEOUT, "0.8")
    if what == "no answer":
        monkeypatch.setattr(s3, "_TIMEOUT_S", 0.3)
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
    assert 0.3 < time.monotonic() - began < 5
    message = str(caught.value)
    assert message.startswith(f"{store.uri}/a/x.bin: ")
    assert " tries: see " in message
    assert advice in message
    assert proxy.url in message
    assert message.endswith("then run the same command again")
    assert "\n" not in message
    proxy.heal()
    monkeypatch.setenv(s3.RETRY_TIMEOUT, str(PATIENCE_S))
    assert store.read("a/x.bin") == BODY


@pytest.mark.s3
def test_pauses_grow_and_trouble_is_told_while_it_lasts(
    proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(s3, "_TELL_AFTER_S", 0.5)
    monkeypatch.setattr(s3, "_LONGEST_PAUSE_S", 0.1)
    monkeypatch.setenv(s3.RETRY_TIMEOUT, "2")
    proxy.on(status(503))
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match=r"gave up after \d+ s and (\d+) tries"):
        store.read("x")
    # 0.02 s doubled up to 0.1 s, each of it at least by half: 2 s are at most 42 tries, fewer the longer each takes;
    # doubled without an end they are at most 8, and of 0.02 s each about a hundred
    assert 9 <= len(proxy.asked("GET")) <= 42
    [told] = caplog.messages
    assert told.startswith(f"{store.uri}/x: the store answers 503 Trouble: made by the test; trying again for ")


@pytest.mark.s3
def test_what_will_not_pass_is_told_at_once(
    proxy: FaultyProxy, store: Store, on_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(message: str, kind: type[Exception] = StorageError) -> None:
        proxy.requests.clear()
        s3._client.cache_clear()
        with pytest.raises(kind, match=message):
            store.write("x", BODY, replace=False)
        assert len(proxy.requests) <= 1

    store.write("x", BODY)
    once("x exists already", Conflict)
    with pytest.raises(NotFound, match="y does not exist"):
        store.read("y")
    with pytest.raises(NotFound, match="no bucket 'absent'"):
        open_store("s3://absent").read("y")
    assert [path for _, path in proxy.requests].count("/absent/y") == 1
    proxy.on(status(507, "StorageFull"), times=1)
    once(r"/x: the store is full \(StorageFull\); make room, then run the same command again")
    with monkeypatch.context() as changed:
        changed.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        once(r"/x: the store refuses \(SignatureDoesNotMatch: .*check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    with monkeypatch.context() as changed:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            changed.delenv(name)
        changed.setenv("AWS_EC2_METADATA_DISABLED", "true")
        changed.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        changed.setenv("AWS_CONFIG_FILE", "/dev/null")
        once(r"/x: Unable to locate credentials; check the AWS_… variables")
    for name, value in (
        ("AWS_ENDPOINT_URL", "localhost"),
        (s3.RETRY_TIMEOUT, "-1"),
        (s3.RETRY_TIMEOUT, "long"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            once(f"{name} is '{value}'", ConfigError)
    s3._client.cache_clear()


@pytest.mark.s3
def test_a_put_that_was_cut_changes_nothing(
    proxy: FaultyProxy, store: Store, beside: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("old", b"before")
    monkeypatch.setenv(s3.RETRY_TIMEOUT, "0.3")
    proxy.on(cut_request(len(BODY) - 1), "PUT")
    for name in ("old", "new"):
        with pytest.raises(StorageError, match=f"/{name}: .*gave up"):
            store.write(name, BODY)
    assert len(proxy.asked("PUT")) > 4
    assert everything(beside.uri) == {"old": b"before"}


@pytest.mark.s3
def test_a_manifest_whose_answer_was_lost_is_published(
    proxy: FaultyProxy, store: Store, beside: Store, tmp_path: Path
) -> None:
    source = foreign.write(tmp_path / "training_data")
    undisturbed = convert_here(source, tmp_path / "undisturbed")
    proxy.on(lose_answer, "PUT", MANIFEST, times=1)
    assert convert_here(source, store.uri) == undisturbed
    assert len(proxy.asked("PUT", MANIFEST)) == 2
    assert everything(store.uri) == everything(tmp_path / "undisturbed")
    # whoever asks for a name of its own is told that it is taken, and can compare
    proxy.on(lose_answer, "PUT", "mine", times=1)
    with pytest.raises(Conflict):
        store.write("mine", b"content", replace=False)
    assert beside.read("mine") == b"content"


@pytest.mark.s3
def test_a_server_that_is_killed_and_comes_back_is_waited_for(
    mortal: S3Server, on_mortal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # longer than an answer is waited for: one that the server owed when it died may be noticed only then
    monkeypatch.setenv(s3.RETRY_TIMEOUT, "120")
    store = open_store(on_mortal)
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
        mortal.kill()
        time.sleep(0.5)
        mortal.restart()
        back.set()
        for result in results:
            result.result(timeout=120)
    assert [entry.path for entry in store.list()] == ["0", "1", "2", "3"]


@pytest.mark.s3
def test_a_store_without_room_is_told_and_gone_on_with_when_there_is_some(
    mortal: S3Server, on_mortal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = foreign.write(tmp_path / "training_data")
    convert_here(source, tmp_path / "undisturbed")
    mortal.options = ("-master.volumeSizeLimitMB=1", "-volume.max=3")
    mortal.restart()
    # a store that only takes a moment to find room does not refuse for so long
    monkeypatch.setenv(s3.RETRY_TIMEOUT, "5")
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(on_mortal))
    finished = [build_shard(plan, number).shard.path for number in (0, 3)]
    fill(open_store(f"s3://{mortal.bucket}/ballast"))

    monkeypatch.setenv(s3.RETRY_TIMEOUT, "0.3")
    with pytest.raises(StorageError, match=r"/shards/0.*: the store answers 500 .*free space of the store .*same comm"):
        convert_here(source, on_mortal)
    assert not open_store(on_mortal).exists(MANIFEST)
    monkeypatch.setenv(s3.RETRY_TIMEOUT, "120")
    mortal.options = ()
    mortal.restart()
    before = {path: open_store(on_mortal).entry(path).modified_s for path in finished}
    with faulty_proxy(mortal.endpoint_url) as watched, monkeypatch.context() as through:
        through.setenv("AWS_ENDPOINT_URL", watched.url)
        convert_here(source, on_mortal)
        # each once, or again while the server gets going
        assert len(set(watched.asked("PUT", "/shards/"))) == len(plan.shards) - len(finished)
    assert everything(on_mortal) == everything(tmp_path / "undisturbed")
    assert {path: open_store(on_mortal).entry(path).modified_s for path in finished} == before


def fill(store: Store) -> None:
    """Until it refuses."""
    for number in range(100):
        try:
            store.write(str(number), bytes(1_000_000))
        except StorageError:
            return
    raise AssertionError("it takes whatever it is given")


@pytest.mark.s3
def test_a_reader_never_sees_half_a_data_set(proxy: FaultyProxy, on_s3: str, tmp_path: Path) -> None:
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

    def once_it_was_read(exchange: Exchange) -> bytes:
        wait_for(lambda: whole)
        return exchange.answer()

    proxy.on(slow(0.1), "PUT")
    # what a published data set does not hold is cleared away while it is read
    proxy.on(once_it_was_read, "DELETE", times=1)
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
    # they looked when nothing, a part, and all of it but the manifest was there
    assert {0, len(plan.shards)} < set(not_yet)
    assert len(whole) > 2
    assert all(manifest == published for manifest in whole)


def wait_for(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


@pytest.mark.s3
def test_of_two_jobs_at_once_one_wins_and_the_other_says_so(on_s3: str, tmp_path: Path) -> None:
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
    [said] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    [won] = [outcome for outcome in outcomes if isinstance(outcome, Manifest)]
    assert "holds another data set" in said
    dataset = open_dataset(on_s3)
    assert dataset.manifest == won
    assert sum(len(dataset.read_shard(number)) for number in range(len(won.shards))) == won.rows
    assert [entry.path for entry in open_store(on_s3).list("shards")] == [shard.path for shard in won.shards]
    assert open_store(on_s3).list("unfinished") == []


@pytest.mark.s3
def test_the_one_that_is_late_says_so_at_whatever_moment(proxy: FaultyProxy, on_s3: str, tmp_path: Path) -> None:
    source = NotebookSource.open(str(foreign.write(tmp_path / "training_data")))
    plans = [Plan.make(source, BuildConfig(on_s3, dtype)) for dtype in ("float32", "float16")]
    records = [[build_shard(plan, number) for number in range(len(plan.shards))] for plan in plans]

    def after_the_other_job(exchange: Exchange) -> bytes:
        publish(plans[0], records[0])
        return exchange.answer()

    # the late one has seen that there is no manifest, and looks whether its shards are there: no more
    proxy.on(after_the_other_job, "GET", "^/[^/]+$", times=1)
    with pytest.raises(Conflict, match="holds another data set"):
        publish(plans[1], records[1])
    dataset = open_dataset(on_s3)
    assert dataset.manifest.feature_dtype == "float32"
    assert sum(len(dataset.read_shard(number)) for number in range(len(plans[0].shards))) == dataset.manifest.rows
