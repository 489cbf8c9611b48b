"""Files that file managers, storage boxes, editors and copying tools leave do not change what is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthray.cli.main import main
from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.notebook_writer import finish, reserve_output, write_batch
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.shard import build_shard
from synthray.data.manifest import MANIFEST, Manifest
from synthray.data.sources.notebook import NotebookSource
from synthray.model.registry import list_models, served_model
from synthray.storage import Store, newest, open_store
from synthray.train.checkpoint import Checkpoint, CheckpointFolder, TrainProgress
from synthray.tune.config import SearchConfig
from synthray.tune.results import SearchFolder, Trial
from synthray.tune.space import parse_space
from tests import foreign
from tests.conftest import convert_here
from tests.model.files import write_model

RUN = "d" * 16

OTHERS = (
    ".DS_Store", "._{name}", "Thumbs.db", "desktop.ini", ".nfs0000000000c0ffee",
    "{name}~", ".{name}.swp", "#{name}#", "{name}.bak", "{name}.tmp", ".goutputstream-X1Y2Z3",
    "{name}.1a2b3c4d.partial", "{name}_.gstmp", "{name}.part", ".{name}.Xy12Zq",
    "@eaDir/{name}@SynoResource", "@eaDir/{name}/SYNOFILE_THUMB_M.jpg", ".Spotlight-V100/{name}",
    ".snapshot/hourly.0/{name}", "#recycle/{name}", "lost+found/{name}", "$RECYCLE.BIN/{name}",
    ".Trash-1000/files/{name}",
)  # fmt: skip
"""Paths of files that others leave beside a file; ``{name}`` stands for that file's name."""


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("on_s3") if request.param == "s3" else tmp_path / "place")


def leave_files(uri: str) -> Store:
    """Add all ``OTHERS`` beside each file below a URI. Add the markers of S3 consoles and of Hadoop, too."""
    store = open_store(uri)
    for entry in store.list():
        folder, _, name = entry.path.rpartition("/")
        others = [f"{folder}/{other.format(name=name)}".lstrip("/") for other in OTHERS]
        if folder:
            others.append(f"{folder}_$folder$")
        if uri.startswith("s3://"):
            others += [f"{folder}/", "empty folder/", "no name//"] if folder else [""]
        for other in others:
            store.write(other, b"x")
    return store


def test_listings_leave_them_out(place: str) -> None:
    store = open_store(place)
    for path in ("a/1.bin", "b/c/2.bin", "3.bin"):
        store.write(path, b"1")
    kept = {f"{path}{end}" for path in ("a/1.bin", "b/c/2.bin", "3.bin") for end in ("", "~", ".bak", ".tmp")}
    leave_files(place)
    paths = [entry.path for entry in store.list()]
    assert kept <= set(paths)
    assert not [
        path for path in paths if path.startswith(".") or "/." in path or "@eaDir" in path or "#recycle" in path
    ]
    assert not [path for path in paths if path == "" or path.endswith("/")]
    assert [name for name in store.folders() if "empty" not in name and "no name" not in name] == ["a", "b"]


def test_batches_are_generated_and_converted_as_without_them(place: str) -> None:
    config = GenerateConfig(f"{place}/sounds", 1)

    def generate() -> bool:
        reserve_output(config)
        written = write_batch(config, 0)
        finish(config)
        return written

    assert generate()
    alone = convert_here(config.out, f"{place}/alone")
    store = leave_files(config.out)
    assert not generate()
    assert NotebookSource.open(config.out).batches == (0,)
    assert convert_here(config.out, f"{place}/together") == alone
    assert store.read("fft/Thumbs.db") == b"x"


def test_data_set_is_resumed_published_and_verified_as_without_them(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = foreign.write(tmp_path / "source")
    alone = convert_here(source, f"{place}/alone")
    out = f"{place}/data/first"
    build_shard(Plan.make(NotebookSource.open(str(source)), BuildConfig(out)), 0)
    leave_files(out)
    assert main(["data", "ls", f"{place}/data"]) == 0
    assert "unfinished: 1 shards" in capsys.readouterr().out
    assert convert_here(source, out) == alone
    leave_files(out)
    assert newest(f"{place}/data", MANIFEST) == out
    assert main(["data", "verify", out]) == 0
    assert capsys.readouterr().out == f"all {len(alone.shards)} shards match the manifest\n"


def test_folder_with_nothing_but_them_is_no_data_set(place: str, capsys: pytest.CaptureFixture) -> None:
    for folder in ("shards", "unfinished"):
        open_store(place).write(f"data/first/{folder}/Thumbs.db", b"x")
    assert main(["data", "ls", f"{place}/data"]) == 1
    assert "no data set here" in capsys.readouterr().err


def test_registry_lists_its_own_models(place: str) -> None:
    uri = write_model(place, "first/model_9_3.keras")
    before = [model.path for model in list_models(place)]
    leave_files(place)
    assert [model.path for model in list_models(place)] == before == ["first/model_9_3.keras"]
    assert served_model(place) == uri


def test_training_resumes_from_its_own_checkpoints(place: str) -> None:
    lines: list[str] = []
    with CheckpointFolder(place, RUN, keep=2, log=lines.append) as folder:
        for epoch in (1, 2, 3):
            report = {"epoch": epoch, "val_loss": 1.0}
            folder.save(Checkpoint(TrainProgress(epoch, 0, np.zeros(2), [report]), [], []))
            folder.wait()
            leave_files(place)
        paths = ["000001-00000000.npz", "000002-00000000.npz", "000003-00000000.npz"]
        assert folder.paths() == paths[-2:]
        newest = folder.newest()
        assert newest is not None
        assert newest[0] == paths[-1]
    CheckpointFolder(place, "e" * 16, keep=2, log=lines.append).log_others()
    assert lines == [f"no checkpoint of these settings in {place}/checkpoints; found checkpoints of other settings: 1"]


def test_search_loads_its_own_trials(place: str, tmp_path: Path) -> None:
    convert_here(foreign.write(tmp_path / "source"), tmp_path / "data")
    manifest = Manifest.load(open_store(tmp_path / "data"))
    config = SearchConfig(str(tmp_path / "data"), place, parse_space({}), trials=1, epochs=1)
    trial = Trial.of(config.configs(manifest)[0], manifest)
    SearchFolder(config, manifest).add(trial)
    leave_files(place)
    folder = SearchFolder(config, manifest)
    folder.load()
    assert folder.ranked == [trial]
    folder.delete_checkpoints([])


UNREADABLE = {
    "newest": lambda place: newest(place, MANIFEST),
    "models": list_models,
    "list": lambda place: open_store(place).list(),
    "folders": lambda place: open_store(place).folders(),
}


@pytest.mark.parametrize("read", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("name", ["lost+found", ".Spotlight-V100", ".Trashes", "System Volume Information"])
def test_folders_of_the_system_are_never_entered(
    name: str, read: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other users cannot read these folders. Root can, so that opening one fails here by other means."""
    (tmp_path / name / "inside").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    scandir, stat = os.scandir, Path.stat

    def guarded(call: Callable) -> Callable:
        def check(path: object, *arguments: object, **options: object) -> object:
            assert name not in Path(str(path)).relative_to(tmp_path).parts, f"{path} was opened"
            return call(path, *arguments, **options)

        return check

    monkeypatch.setattr(os, "scandir", guarded(scandir))
    monkeypatch.setattr(Path, "stat", guarded(stat))
    read(str(tmp_path))
