"""Compiled functions work with and without a cache that can be read and written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numba
import pytest

import synthray

MODULE = """
from synthray.synth.dsp.lanes import compiled

@compiled
def twice(value):
    return 2 * value
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with ``module.py``; Numba caches in its folder ``cache``."""
    (tmp_path / "module.py").write_text(MODULE)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def call(folder: Path) -> tuple[int, int]:
    """Return what ``twice(4)`` of a newly imported module is, and how often the cache had its machine code."""
    spec = spec_from_file_location("module", folder / "module.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.twice(4), sum(module.twice.stats.cache_hits.values())


def test_machine_code_is_cached(folder: Path) -> None:
    assert call(folder) == (8, 0)
    assert call(folder) == (8, 1)


def truncate_all(file: Path) -> None:
    file.write_bytes(b"")


def truncate_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwrite(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("corrupt", [truncate_all, truncate_half, overwrite, replace_by_folder])
def test_corrupt_cache_is_replaced(corrupt: Callable[[Path], None], suffix: str, folder: Path) -> None:
    call(folder)
    [file] = folder.glob(f"cache/*/*.{suffix}")
    corrupt(file)
    assert call(folder) == (8, 0)
    if corrupt is not replace_by_folder:
        assert call(folder) == (8, 1)


@pytest.mark.parametrize("limit", [0, 100, 3000])
def test_full_disk_leaves_the_function_uncached(limit: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RLIMIT_FSIZE makes the kernel refuse a write half way, without a full disk."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python would write part of a file without an error
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        assert call(folder) == call(folder) == (8, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(folder.glob("cache/**/*.tmp.*"))


@pytest.mark.parametrize("place", ["", "/dev/null", "/proc/nowhere"])
def test_function_is_compiled_where_no_cache_can_be_written(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", place)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (folder / "__pycache__").write_text("")
    assert call(folder) == call(folder) == (8, 0)


def test_every_module_is_imported_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Root can write to any folder, so a file is in the place of each folder of a cache."""
    package = tmp_path / "synthray"
    shutil.copytree(Path(synthray.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("")
    users = [path for path in package.rglob("*.py") if "@compiled" in path.read_text()]
    modules = [".".join(path.relative_to(tmp_path).with_suffix("").parts) for path in users]
    assert len(modules) > 5
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/dev/null"}
    script = f"import {', '.join(modules)}; print(synthray.__file__)"
    run = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(package))
