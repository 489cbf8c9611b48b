"""Local directories and S3 behave alike."""

from __future__ import annotations

import os
import pickle
import resource
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from synthray.errors import ConfigError, Conflict, NotFound, StorageError
from synthray.storage import Store, home, newest, open_parent, open_store


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(request.getfixturevalue("on_s3") if request.param == "s3" else str(tmp_path / "store"))


def test_what_is_written_is_read(store: Store) -> None:
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"two"
    assert store.exists("a/b.bin")
    assert not store.exists("a")
    assert store.entry("a/b.bin").modified_s > 1.6e9


def test_what_is_not_there_is_told(store: Store) -> None:
    for call in (store.read, store.entry):
        with pytest.raises(NotFound, match=r"c\.bin does not exist"):
            call("a/c.bin")
    assert not store.exists("a/c.bin")
    assert store.list() == []
    assert store.folders() == []
    store.delete("a/c.bin")


def test_lists_and_folders(store: Store) -> None:
    for path in ("b/2.bin", "a/1.bin", "a/deep/0.bin", "top.bin"):
        store.write(path, b"12345")
    assert [entry.path for entry in store.list()] == ["a/1.bin", "a/deep/0.bin", "b/2.bin", "top.bin"]
    assert [(entry.path, entry.size) for entry in store.list("b")] == [("b/2.bin", 5)]
    assert store.folders() == ["a", "b"]
    store.delete("b/2.bin")
    assert store.list("b") == []


def test_a_name_is_taken_only_once(store: Store) -> None:
    store.write("once.bin", b"first", replace=False)
    with pytest.raises(Conflict, match=r"once\.bin exists already"):
        store.write("once.bin", b"second", replace=False)
    assert store.read("once.bin") == b"first"


def test_of_many_writers_one_wins(store: Store) -> None:
    outcomes: list[bool] = []

    def write(number: int) -> None:
        try:
            store.write("race.bin", b"%d" % number, replace=False)
            outcomes.append(True)
        except Conflict:
            outcomes.append(False)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


def test_stores_travel_as_their_uri(store: Store) -> None:
    store.write("x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again.uri == store.uri
    assert again.read("x") == b"1"


def test_the_newest_folder_with_a_marker(store: Store) -> None:
    assert newest(store.uri, "manifest.json") is None
    for folder in ("z", "a"):
        store.write(f"{folder}/manifest.json", b"{}")
    store.write("later/other.json", b"{}")
    assert newest(store.uri, "manifest.json") in (f"{store.uri}/z", f"{store.uri}/a")
    if not store.uri.startswith("s3"):  # S3 keeps whole seconds
        assert newest(store.uri, "manifest.json") == f"{store.uri}/a"


def test_no_reader_sees_an_unfinished_file(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-abc").write_bytes(b"half")
    assert open_store(str(tmp_path)).list() == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/x cannot be written: "):
        open_store(str(tmp_path / "file")).write("x", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_breaks_off_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("x", b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match="x cannot be written: File too large"):
            store.write("x", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.read("x") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "empty"),
        ("s3://", "names no bucket"),
        ("gs://bucket/x", "unknown scheme gs://"),
        ("http://x", "unknown scheme"),
        ("file:/data", "absolute path"),
        ("file://data", "absolute path"),
        ("file://host/data", "absolute path"),
        ("~nobody-at-all/x", "home folder of ~ is unknown"),
    ],
)
def test_a_uri_that_cannot_be_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(uri)


def test_a_place_that_cannot_be_looked_at_is_not_taken_for_empty(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for look in (store.exists, store.entry, store.list):
        with pytest.raises(StorageError, match=r"cannot be (looked at|listed): File name too long"):
            look("x" * 300)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_are_for_whom_the_umask_says(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        open_store(tmp_path).write("a", b"a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_local_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("some/place").uri == str(tmp_path / "some" / "place")
    assert open_store(f"file://{tmp_path}/with%20space").uri == f"{tmp_path}/with space"
    assert open_store("file:///a#b/c?d").uri == "/a#b/c?d"
    assert open_store("file://localhost/a").uri == "/a"
    assert open_store("~/x").uri == os.path.expanduser("~/x")  # noqa: PTH111
    monkeypatch.setenv("SYNTHRAY_HOME", "s3://bucket/home/")
    assert home() == "s3://bucket/home"
    monkeypatch.delenv("SYNTHRAY_HOME")
    assert home() == str(Path("~/.synthray").expanduser())


@pytest.mark.s3
def test_a_store_that_cannot_be_reached_is_named(on_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthray.storage import s3

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SYNTHRAY_STORAGE_RETRY_S", "1")
    s3._client.cache_clear()
    try:
        with pytest.raises(StorageError, match=r"127\.0\.0\.1:1.*check the AWS_"):
            open_store(on_s3).read("x")
    finally:
        s3._client.cache_clear()


def test_a_body_that_breaks_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from synthray.storage import s3

    asked: list[str] = []

    class CutOnce(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(bytes(100 if len(asked) == 1 else 1000))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), CutOnce)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3._client.cache_clear()
    try:
        assert open_store("s3://bucket").read("x") == bytes(1000)
        assert len(asked) == 2
    finally:
        s3._client.cache_clear()
        server.shutdown()
        server.server_close()


def test_parents(tmp_path: Path) -> None:
    store, name = open_parent("/sound.wav")
    assert (store.uri, name) == ("/", "sound.wav")
    store, name = open_parent("s3://bucket/a/b")
    assert (store.uri, name) == ("s3://bucket/a", "b")
    with pytest.raises(ConfigError, match="names no object"):
        open_parent("s3://bucket")


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_named(on_s3: str) -> None:
    with pytest.raises(NotFound, match="no bucket 'absent'"):
        open_store("s3://absent/x").read("y")
