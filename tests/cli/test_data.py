"""``synthray data``: complete, unfinished and corrupt data sets."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.shard import build_shard
from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.data.sources.notebook import NotebookSource
from synthray.storage import open_store
from tests import foreign
from tests.cli.conftest import assert_fails
from tests.conftest import convert_here


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "source")


def set_time(folder: Path, hour: int) -> None:
    """Set the modification time of a manifest."""
    os.utime(folder / "manifest.json", (1_700_000_000 + 3600 * hour,) * 2)


def test_ls_lists_complete_unfinished_and_corrupt_data_sets_by_time(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "home" / "data"
    first = convert_here(source, data / "z_first", dtype="float16")
    convert_here(source, data / "a_last")
    for number, text in enumerate(["{", "[1]", '{"format": "other/9"}']):
        (data / f"corrupt_{number}").mkdir()
        (data / f"corrupt_{number}" / "manifest.json").write_text(text)
        set_time(data / f"corrupt_{number}", number)
    body = json.loads(first.encode())
    body["shards"][0]["rows"] = "many"
    (data / "corrupt_3").mkdir()
    (data / "corrupt_3" / "manifest.json").write_text(json.dumps(body))
    set_time(data / "corrupt_3", 3)
    set_time(data / "z_first", 4)
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(data / "begun")))
    for shard in (0, 1):
        build_shard(plan, shard)
    for path in (data / "begun").rglob("*.*"):
        os.utime(path, (1_700_000_000 + 3600 * 5,) * 2)
    set_time(data / "a_last", 6)
    (data / "nothing").mkdir()

    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path / "home"))
    assert main(["data", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["name", "corrupt_0", "corrupt_1", "corrupt_2", "corrupt_3", "z_first", "begun", "a_last"]
    assert [line.split()[0] for line in lines] == names
    assert all("corrupt: " in line for line in lines[1:5])
    assert "other/9" in lines[3]
    assert re.fullmatch(
        rf"z_first +203 +0\.2 MB +float16 +notebook +{first.digest[:12]} +\d{{4}}-\d\d-\d\dT\d\d:\d\d", lines[5]
    )
    assert "unfinished: 2 shards, " in lines[6]
    assert lines[0].index("examples") + len("examples") == lines[7].index("203") + 3
    assert lines[0].index("dtype") == lines[7].index("float32") == lines[5].index("float16")


def test_ls_of_a_data_set_lists_only_that_one(dataset_uri: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "ls", dataset_uri]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["name", "data"]


def test_ls_of_an_unfinished_data_set_lists_only_that_one(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    build_shard(Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "begun"))), 0)
    assert main(["data", "ls", str(tmp_path / "begun")]) == 0
    assert "begun  unfinished: 1 shards, " in capsys.readouterr().out


def test_ls_of_an_empty_folder_names_the_commands_that_make_a_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["data", "ls", str(tmp_path)]) == 1
    assert f"{tmp_path}: no data set here. Make one with `synthray generate`" in capsys.readouterr().err


def test_show_prints_the_facts_of_the_manifest(dataset_uri: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "show", dataset_uri]) == 0
    shown = capsys.readouterr().out
    assert "examples    203 in" in shown
    assert "features    12 x 33 float32" in shown
    assert "parameters  5, of which 4 are learned" in shown
    assert f"card        {dataset_uri}/README.md" in shown


def test_show_lists_skipped_batches_and_a_missing_card(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (source / "fft" / "fft_batch_2.npy").write_bytes(b"torn")
    convert_here(source, tmp_path / "data", skip_bad=True)
    (tmp_path / "data" / "README.md").unlink()
    assert main(["data", "show", str(tmp_path / "data")]) == 0
    shown = capsys.readouterr().out
    assert "card        none. To write it, run the command" in shown
    assert "skipped fft/fft_batch_2.npy: it is not a whole .npy file" in shown


def test_stats_prints_a_table_or_the_json_of_the_manifest(dataset_uri: str, capsys: pytest.CaptureFixture) -> None:
    uri = dataset_uri
    assert main(["data", "stats", uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["parameter", "range", "mean", "deviation", "distribution"]
    assert re.fullmatch(r"1_osc_pitch +0 to 1 +0\.\d{3} +0\.\d{3}  [▁▂▃▄▅▆▇█]{20}", lines[2])
    assert lines[0].index("distribution") == lines[2].index(lines[2].split()[-1])
    assert lines[5:7] == ["", "loudness of the loudest chunk"]
    assert "dBFS" in lines[7]
    assert main(["data", "stats", uri, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    manifest = Manifest.load(open_store(uri))
    assert body == {"rows": 203, "statistics": manifest.statistics, "loudness": manifest.loudness}


def test_verify_names_every_bad_shard_and_extra_file(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    manifest = convert_here(source, tmp_path / "data")
    assert main(["data", "verify", str(tmp_path / "data")]) == 0
    output = capsys.readouterr()
    assert output.out == f"all {len(manifest.shards)} shards match the manifest\n"
    assert f"verifying: {len(manifest.shards)} of {len(manifest.shards)} shards" in output.err
    (tmp_path / "data" / "shards" / "00009-another.parquet").write_bytes(b"x")
    assert main(["data", "verify", str(tmp_path / "data")]) == 0
    assert "files that do not belong to this data set (1): shards/00009-another.parquet. " in capsys.readouterr().out
    cut, missing = (tmp_path / "data" / manifest.shards[number].path for number in (1, 4))
    cut.write_bytes(cut.read_bytes()[:-1])
    missing.unlink()
    assert main(["data", "verify", str(tmp_path / "data")]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    *_, first, second, last = output.err.splitlines()
    assert str(cut) in first
    assert str(missing) in second
    names = f"shards/{cut.name}, shards/{missing.name}"
    assert last.startswith(f"synthray: 2 of {len(manifest.shards)} shards are missing or corrupt: {names}. To repair")


def test_verify_reads_four_shards_at_a_time(dataset_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_now, maximum, lock = 0, 0, threading.Lock()
    together = threading.Barrier(4)
    original = Dataset.read_bytes

    def read(dataset: Dataset, number: int) -> object:
        nonlocal open_now, maximum
        with lock:
            open_now += 1
            maximum = max(maximum, open_now)
        if number < 4:
            together.wait(10)
        raw = original(dataset, number)
        time.sleep(0.05)  # time for a fifth one to begin
        with lock:
            open_now -= 1
        return raw

    monkeypatch.setattr(Dataset, "read_bytes", read)
    assert main(["data", "verify", dataset_uri]) == 0
    assert maximum == 4


@pytest.mark.parametrize("command", ["show", "stats", "verify"])
def test_a_missing_data_set_is_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert_fails(["data", command, str(tmp_path)], 1, f"synthray: {tmp_path}", capsys)
