"""The behaviour that local directories and S3 have in common, and URIs."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import pytest

from synthray.errors import ConfigError, Conflict, NotFound
from synthray.storage import Store, home, newest, open_parent, open_store


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(request.getfixturevalue("on_s3") if request.param == "s3" else str(tmp_path / "store"))


def test_write_then_read_gives_the_newest_content(store: Store) -> None:
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"two"
    assert store.exists("a/b.bin")
    assert not store.exists("a")
    assert store.entry("a/b.bin").modified_s > 1.6e9


def test_missing_object_raises_not_found(store: Store) -> None:
    for call in (store.read, store.entry, lambda path: store.read_range(path, 0, 1)):
        with pytest.raises(NotFound, match=r"c\.bin does not exist"):
            call("a/c.bin")
    assert not store.exists("a/c.bin")
    assert store.list() == []
    assert store.folders() == []
    store.delete("a/c.bin")


def test_read_range_gives_the_bytes_that_exist(store: Store) -> None:
    store.write("x", b"0123456789")
    ranges = [(0, 4), (3, 1), (6, 4), (8, 100), (10, 1), (99, 5)]
    assert [store.read_range("x", *part) for part in ranges] == [b"0123", b"3", b"6789", b"89", b"", b""]
    store.write("empty", b"")
    assert store.read_range("empty", 0, 4) == b""


def test_list_and_folders_are_sorted_and_complete(store: Store) -> None:
    for path in ("b/2.bin", "a/1.bin", "a/deep/0.bin", "top.bin"):
        store.write(path, b"12345")
    assert [entry.path for entry in store.list()] == ["a/1.bin", "a/deep/0.bin", "b/2.bin", "top.bin"]
    assert [(entry.path, entry.size) for entry in store.list("b")] == [("b/2.bin", 5)]
    assert store.folders() == ["a", "b"]
    store.delete("b/2.bin")
    assert store.list("b") == []


def test_write_without_replace_raises_conflict(store: Store) -> None:
    store.write("once.bin", b"first", replace=False)
    with pytest.raises(Conflict, match=r"once\.bin exists already"):
        store.write("once.bin", b"second", replace=False)
    assert store.read("once.bin") == b"first"


def test_concurrent_writes_without_replace_have_one_winner(store: Store) -> None:
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


def test_store_pickles_as_its_uri(store: Store) -> None:
    store.write("x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again.uri == store.uri
    assert again.read("x") == b"1"


def test_newest_is_the_folder_whose_marker_was_written_last(store: Store) -> None:
    assert newest(store.uri, "manifest.json") is None
    for folder in ("z", "a"):
        store.write(f"{folder}/manifest.json", b"{}")
    store.write("later/other.json", b"{}")
    store.write("folder/manifest.json/x", b"{}")
    assert newest(store.uri, "manifest.json") in (f"{store.uri}/z", f"{store.uri}/a")
    if not store.uri.startswith("s3"):  # S3 keeps whole seconds
        assert newest(store.uri, "manifest.json") == f"{store.uri}/a"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "empty"),
        ("s3://", "names no bucket"),
        ("gs://bucket/x", "unknown scheme gs://"),
        ("http://x", "unknown scheme"),
        ("file:/data", "a URI begins with file://"),
        ("file://data", "absolute path"),
        ("file://host/data", "absolute path"),
        ("~nobody-at-all/x", "home folder of ~ is unknown"),
        ("s3:/bucket/x", "a URI begins with s3://"),
        ("s3:bucket", "a URI begins with s3://"),
        ("s3//bucket/x", "a URI begins with s3://"),
        ("s3:", "a URI begins with s3://"),
        ("S3:/bucket", "a URI begins with s3://"),
        ("S3://bucket/x", "unknown scheme S3://; .*s3://bucket/prefix"),
        ("FILE:///data", "unknown scheme FILE://"),
        ("File:/data", "a URI begins with file://"),
        ("file//data", "a URI begins with file://"),
        (" s3://bucket/x", "unknown scheme  s3://"),
        ("a\0b", "character 0"),
        ("file:///a%00b", "character 0"),
    ],
)
def test_open_store_rejects_invalid_uris(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(uri)


@pytest.mark.parametrize("uri", ["s3://", "s3:", "gs://bucket", "   "])
def test_home_that_is_no_uri_names_the_variable(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", uri)
    with pytest.raises(ConfigError, match=r"^SYNTHRAY_HOME: "):
        home()


@pytest.mark.parametrize("folder", ["", "/"])
def test_home_below_the_root_folder(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("SYNTHRAY_HOME", folder)
    assert f"{home()}/data" == ("/data" if folder else "/.synthray/data")


def test_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTHRAY_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4242424)
    with pytest.raises(ConfigError, match=r"SYNTHRAY_HOME is not set, .* Set it to a folder"):
        home()


ODD_NAMES = [
    "with space",
    "é 東京 🎹",
    "a#b",
    "100%",
    "a%20b",
    "a?b=c&d",
    "a+b",
    "-dash",
    "--help",
    "a;b",
    "'q\"",
    "[x]*",
    "~",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_objects_and_folders_may_have_odd_names(name: str, store: Store) -> None:
    below = open_store(f"{store.uri}/{name}")
    below.write(f"{name}/{name}.bin", b"odd")
    assert [entry.path for entry in store.list()] == [f"{name}/{name}/{name}.bin"]
    assert (store.folders(), below.folders()) == ([name], [name])
    assert newest(store.uri, f"{name}/{name}.bin") == below.uri
    parent, last = open_parent(f"{below.uri}/{name}/{name}.bin")
    assert (parent.read(last), parent.entry(last).size, parent.exists(last)) == (b"odd", 3, True)
    below.delete(f"{name}/{name}.bin")
    assert store.list() == []


@pytest.mark.parametrize("name", [*ODD_NAMES, os.fsdecode(b"not-utf8-\xff")])
def test_file_uri_is_the_percent_encoded_path(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    assert open_store(folder.as_uri()).uri == str(folder)
    assert open_store(str(folder)).uri == str(folder)


def test_open_store_resolves_local_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("some/place").uri == str(tmp_path / "some" / "place")
    assert open_store(f"file://{tmp_path}/with%20space").uri == f"{tmp_path}/with space"
    assert open_store("file:///a#b/c?d").uri == "/a#b/c?d"
    assert open_store("file://localhost/a").uri == "/a"
    assert open_store("./~").uri == str(tmp_path / "~")
    assert open_store("./~/x").uri == str(tmp_path / "~" / "x")
    assert open_store("~/x").uri == os.path.expanduser("~/x")  # noqa: PTH111
    monkeypatch.setenv("SYNTHRAY_HOME", "s3://bucket/home/")
    assert home() == "s3://bucket/home"
    monkeypatch.delenv("SYNTHRAY_HOME")
    assert home() == str(Path("~/.synthray").expanduser())


def test_open_parent_splits_off_the_last_part(tmp_path: Path) -> None:
    store, name = open_parent("/sound.wav")
    assert (store.uri, name) == ("/", "sound.wav")
    store, name = open_parent("s3://bucket/a/b")
    assert (store.uri, name) == ("s3://bucket/a", "b")
    with pytest.raises(ConfigError, match="names no object"):
        open_parent("s3://bucket")
