"""Faults of requests to a real S3 server, injected by a proxy."""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from synthray.errors import Conflict, NotFound, StorageError
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
    lose_response,
    slow,
    status,
)
from tests.storage.conftest import RETRY_TIMEOUT_S

pytestmark = pytest.mark.faults

BODY = np.random.default_rng(0).bytes(300_000)

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
    proxy.on(cut_response(after), "GET", times=2)
    assert store.read_range("x", 0, len(BODY)) == BODY


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
