"""A disk that is full at any write of a job: one line names the file, and the same job continues when there is room."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import Counter
from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.notebook_writer import finish, reserve_output, write_batch
from synthray.errors import StorageError
from synthray.model.registry import promote
from synthray.storage import open_store
from synthray.storage.scratch import scratch_folder
from tests import foreign
from tests.conftest import convert_here
from tests.full_disk import ERRORS, FullDisk, assert_full_disk_is_survived
from tests.model.files import write_model

pytestmark = pytest.mark.faults


@pytest.mark.slow
def test_convert_with_a_full_disk_at_any_write_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = foreign.write(tmp_path / "training_data")
    failed = assert_full_disk_is_survived(lambda out: convert_here(source, out), tmp_path / "out", monkeypatch)
    kinds = Counter(path.partition("/")[0] for path in failed)
    assert kinds.keys() >= {"shards", "unfinished", "manifest.json", "README.md"}


def test_generate_with_a_full_disk_at_any_write_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(out: Path) -> None:
        config = GenerateConfig(str(out), batches=2)
        reserve_output(config)
        for number in range(config.batches):
            write_batch(config, number)
        finish(config)

    failed = assert_full_disk_is_survived(generate, tmp_path, monkeypatch)
    kinds = Counter(path.partition("/")[0] for path in failed)
    assert kinds.keys() == {"generating.json", "fft", "parameters", "randomizer_parts.pkl", "keys.pkl"}


def test_promotion_with_a_full_disk_keeps_the_promoted_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write_model(tmp_path, f"model_{number}.keras", b"%d" % number, number) for number in (1, 2))
    promote(str(first), str(tmp_path))
    before = (tmp_path / "promoted.json").read_bytes()
    disk = FullDisk(monkeypatch)
    disk.full_at = 1
    with pytest.raises(StorageError, match=r"promoted\.json cannot be written: .*Free space"):
        promote(str(second), str(tmp_path))
    assert (tmp_path / "promoted.json").read_bytes() == before
    assert promote(str(second), str(tmp_path)).now.model == "model_2.keras"


@pytest.mark.parametrize("number", ERRORS)
def test_scratch_folder_on_a_full_disk_names_the_folder_and_tmpdir(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(
            StorageError, match=r"temporary files cannot be written: .*set TMPDIR to another folder"
        ) as caught,
        scratch_folder("test") as folder,
    ):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in str(caught.value)
    assert not folder.exists()


def test_scratch_folder_passes_other_errors(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), scratch_folder("test"):
        raise PermissionError(errno.EACCES, "denied")


def test_kernel_limit_of_a_file_is_a_full_disk(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot be written: File too large"), scratch_folder("test") as folder:
            (folder / "x").write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_device_or_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("pipe", "link"):
        with pytest.raises(StorageError, match=f"{name} is a device or a pipe"):
            open_store(tmp_path).write(name, b"data")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("command", [["random"], ["render", "PRESET"]], ids=lambda command: command[0])
def test_command_with_a_full_disk_names_the_file_and_works_later(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preset, out = tmp_path / "preset.json", tmp_path / "out.wav"
    assert main(["random", "--out", str(preset)]) == 0
    arguments = [str(preset) if argument == "PRESET" else argument for argument in command]
    disk = FullDisk(monkeypatch)
    disk.full_at = 1
    capsys.readouterr()
    assert main([*arguments, "--out", str(out)]) == 1
    advice = "No space left on device. Free space there, then run the same command again."
    assert capsys.readouterr().err == f"synthray: {out} cannot be written: {advice}\n"
    assert not out.exists()
    assert main([*arguments, "--out", str(out)]) == 0
    assert out.exists()
