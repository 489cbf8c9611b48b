"""The pinned requirements: names and versions only, complete, and in line with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==(\d+(?:\.[a-z0-9]+)*)")
# The extra of pyproject.toml that each file adds to the package's own dependencies.
FILES = {"requirements.txt": None, "requirements-dev.txt": "dev", "requirements-gpu.txt": "gpu"}


def pins(root: Path, name: str) -> dict[str, str]:
    """Return name to version; fail for a line that is neither a comment nor a pin."""
    found = {}
    for line in (root / name).read_text().splitlines():
        if not line.startswith("# "):
            match = PIN.fullmatch(line)
            assert match, f"{name}: {line!r} is not name==version"
            assert match[1] not in found, f"{name}: {match[1]} is pinned twice"
            found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("name", FILES)
def test_requirements_contain_only_pins(root: Path, name: str) -> None:
    assert len(pins(root, name)) > 50
    comments = [line for line in (root / name).read_text().splitlines() if line.startswith("#")]
    assert any("uv pip compile pyproject.toml" in line for line in comments)  # the command that makes the file again
    assert not [line for line in comments if re.search(r"://|\w+\.(org|com|io|dev)\b|(^| )[/~]", line)]


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-gpu.txt"])
def test_requirements_of_extras_contain_the_package_pins(root: Path, name: str) -> None:
    assert pins(root, "requirements.txt").items() < pins(root, name).items()


@pytest.mark.parametrize(("name", "extra"), FILES.items())
def test_requirements_satisfy_pyproject(root: Path, name: str, extra: str | None) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in [*project["dependencies"], *(extras[extra] if extra else [])]]
    own = [
        Requirement(text) for each in asked if each.name == project["name"] for e in each.extras for text in extras[e]
    ]
    found = pins(root, name)
    assert asked
    for requirement in [each for each in asked if each.name != project["name"]] + own:
        version = found.get(canonicalize_name(requirement.name))
        assert version, f"{name} lacks {requirement.name}"
        assert requirement.specifier.contains(version), f"{name} holds {requirement.name} {version}"


def test_requirements_gpu_add_only_cuda(root: Path) -> None:
    added = pins(root, "requirements-gpu.txt").keys() - pins(root, "requirements.txt").keys()
    assert any(name.startswith("nvidia-cudnn") for name in added)
    assert {name.partition("-")[0] for name in added} == {"nvidia"}


def test_requirements_pin_every_dependency_of_a_pin(root: Path) -> None:
    """Nothing is left for an installer to choose."""
    found = pins(root, "requirements-dev.txt")
    checked = 0
    for name, version in found.items():
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if distribution.version != version:
            continue
        checked += 1
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            needed = found.get(canonicalize_name(requirement.name))
            assert needed, f"{name} needs {requirement.name}, which is not pinned"
            assert requirement.specifier.contains(needed, prereleases=True), f"{name} refuses {requirement} at {needed}"
    assert checked > 50


def test_both_ends_of_the_python_range_are_the_same_everywhere(root: Path) -> None:
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    first, after = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", settings["project"]["requires-python"]).groups()
    last = int(after) - 1
    assert f"Python 3.{first} to 3.{last}" in (root / "README.md").read_text()
    makefile = (root / "Makefile").read_text()
    assert f"(3, {first}) <= sys.version_info[:2] <= (3, {last})" in makefile
    assert f"Use Python 3.{first} to 3.{last}" in makefile
    assert settings["tool"]["mypy"]["python_version"] == f"3.{first}"
    assert settings["tool"]["ruff"]["target-version"] == f"py3{first}"
