"""Folders and token of a Ray on this machine, where its defaults cannot be written."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import tempfile
from pathlib import Path

import pytest

from synthray.cluster.local_ray import python_of_workers, writable_places
from synthray.errors import ConfigError, StorageError
from synthray.storage.scratch import scratch_folder


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process write nowhere but below ``tmp_path/writable``, as far as ``os.access`` and ``tempfile`` know."""
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that the test's own values are undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/")
    writable = tmp_path / "writable"
    writable.mkdir()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and (mode == os.R_OK or Path(path).is_relative_to(writable))
    )
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(
        tempfile,
        "_candidate_tempdir_list",
        lambda: [folder for folder in [os.environ.get("TMPDIR", "")] if folder.startswith(str(writable))],
    )
    return writable


def test_writable_defaults_are_left_to_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with writable_places():
        assert "RAY_AUTH_TOKEN" not in os.environ
        assert "RAY_TMPDIR" not in os.environ


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_given_folder_is_enough(variable: str, read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(read_only / "not made yet"))
    before = dict(os.environ)
    with writable_places():
        assert len(os.environ.pop("RAY_AUTH_TOKEN")) == 64
        assert dict(os.environ) == before


def test_folder_of_tempfile_is_taken_if_the_default_cannot_be_written(
    read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(read_only))
    with writable_places():
        assert os.environ["RAY_TMPDIR"] == str(read_only)


@pytest.mark.parametrize(
    ("variable", "message"),
    [("RAY_TMPDIR", "RAY_TMPDIR is '/nowhere', which cannot be written"), ("TMPDIR", "no folder")],
)
def test_without_any_folder_the_variable_to_set_is_named(
    variable: str, message: str, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/nowhere")
    with (
        pytest.raises(ConfigError, match=rf"{message}.*Set RAY_TMPDIR to a folder that can be written"),
        writable_places(),
    ):
        pass


@pytest.mark.parametrize("given", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_own_token_is_kept(given: str, read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(read_only))
    monkeypatch.setenv(given, "own")
    before = dict(os.environ)
    with writable_places():
        assert dict(os.environ) == before


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/tmp/ray"),
        OSError(errno.EROFS, "Read-only file system", "/tmp/ray"),
        OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /long"),
    ],
)
def test_error_about_a_folder_says_what_to_set(error: OSError) -> None:
    with pytest.raises(ConfigError, match=r"Ray cannot start: .*Set RAY_TMPDIR"), writable_places():
        raise error


def test_error_about_something_else_is_kept() -> None:
    with pytest.raises(ConnectionError, match="refused"), writable_places():
        raise ConnectionError("refused")


@pytest.mark.parametrize("folder", ["My Projects", "it's", "$HOME", "a;b", "é"])
def test_workers_start_with_a_python_whose_path_is_quoted(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", f"/{folder}/.venv/bin/python")
    assert shlex.split(python_of_workers()["py_executable"]) == [sys.executable]


def test_usual_path_of_python_needs_no_runtime_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/user/synthray/.venv/bin/python3.11")
    assert python_of_workers() is None


def test_scratch_folder_names_the_variable_to_set(read_only: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"no folder for temporary files can be made .*Set TMPDIR"),
        scratch_folder("model"),
    ):
        pass


def test_scratch_folder_is_deleted_at_the_end() -> None:
    with scratch_folder("model") as folder:
        assert folder.is_dir()
    assert not folder.exists()
