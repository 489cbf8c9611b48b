"""The wheel: it contains every command and file, and runs outside of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from infra.ray_head import REPOSITORY
from synthray.cli.main import COMMANDS


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because setuptools writes into the source folder."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        REPOSITORY / "synthray", folder / "source" / "synthray", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "source" / name)
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", *command, str(folder / "source")], check=True)
    [built] = folder.glob("synthray-*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a new environment with the wheel, which shares the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    site_packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    install = ["pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, "-m", *install, str(wheel)], check=True)
    # an entry of a .pth file comes after the wheel, and its own .pth files (editable installs) are not read
    (site_packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


def run(programs: Path, folder: Path, *argv: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run([programs / "synthray", *argv], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_wheel_contains_every_file_of_the_package(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = (path for path in (REPOSITORY / "synthray").rglob("*") if path.is_file())
    source = {str(path.relative_to(REPOSITORY)) for path in files if "__pycache__" not in path.parts}
    assert len(source) > 50
    assert source - packed == set()
    assert "synthray/py.typed" in packed


@pytest.mark.slow
def test_wheel_installed_elsewhere_runs_the_commands(programs: Path, tmp_path: Path) -> None:
    script = "import synthray; print(synthray.__file__)"
    location = subprocess.run([programs / "python", "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert location.stdout.startswith(str(programs.parent))
    help_text = run(programs, tmp_path, "--help")
    assert all(f"    {name} " in help_text for name in COMMANDS)
    run(programs, tmp_path, "random", "--out", "preset.json")
    assert json.loads((tmp_path / "preset.json").read_text())["parameters"]
