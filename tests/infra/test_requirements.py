"""The pinned requirements: nothing but names and versions, one the part of the other, and pyproject.toml's own."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==(\d+(?:\.[a-z0-9]+)*)")
# File to the extra of pyproject.toml that it holds besides the package's own dependencies.
FILES = {"requirements.txt": None, "requirements-dev.txt": "dev", "requirements-gpu.txt": "gpu"}


def pins(root: Path, name: str) -> dict[str, str]:
    """Name to version; every line that is no comment must be a pin."""
    found = {}
    for line in (root / name).read_text().splitlines():
        if not line.startswith("# "):
            match = PIN.fullmatch(line)
            assert match, f"{name}: {line!r} is no name==version"
            assert match[1] not in found, f"{name}: {match[1]} stands there twice"
            found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("name", FILES)
def test_lines_are_names_and_versions(root: Path, name: str) -> None:
    assert len(pins(root, name)) > 50
    comments = [line for line in (root / name).read_text().splitlines() if line.startswith("#")]
    assert any("uv pip compile pyproject.toml" in line for line in comments)  # how to make it again
    assert not [line for line in comments if re.search(r"://|\w+\.(org|com|io|dev)\b|(^| )[/~]", line)]


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-gpu.txt"])
def test_the_package_alone_is_a_part_of_the_others(root: Path, name: str) -> None:
    assert pins(root, "requirements.txt").items() < pins(root, name).items()


@pytest.mark.parametrize(("name", "extra"), FILES.items())
def test_they_are_what_the_project_asks_for(root: Path, name: str, extra: str | None) -> None:
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


def test_the_gpu_list_adds_cuda_alone(root: Path) -> None:
    added = pins(root, "requirements-gpu.txt").keys() - pins(root, "requirements.txt").keys()
    assert any(name.startswith("nvidia-cudnn") for name in added)
    assert {name.partition("-")[0] for name in added} == {"nvidia"}


def test_each_pin_has_what_it_needs(root: Path) -> None:
    """Every installed pin's own requirements are met by other pins: nothing is left for an installer to choose."""
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
