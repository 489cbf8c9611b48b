"""The Dockerfile, read and linted; building it takes Docker and a network."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from infra.ray_head import KEEPING_WORKERS

HADOLINT = Path(sysconfig.get_path("scripts"), "hadolint")


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[str]:
    """The Dockerfile's instructions, each on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", (root / "infra/docker/Dockerfile").read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line]


def position(instructions: list[str], text: str) -> int:
    """Where the one instruction stands that holds ``text``."""
    (found,) = [number for number, line in enumerate(instructions) if text in line]
    return found


def hadolint(path: Path) -> list[dict]:
    result = subprocess.run([HADOLINT, "--format=json", path], capture_output=True, text=True)
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def test_hadolint_finds_nothing(root: Path) -> None:
    assert hadolint(root / "infra/docker/Dockerfile") == []


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN pip install ray\n")
    assert {"DL3006", "DL3013"} <= {finding["code"] for finding in hadolint(bad)}


def test_pinned_requirements_come_before_the_source(instructions: list[str]) -> None:
    """So that a change of the source does not install them again; the package itself brings none along."""
    assert "ARG REQUIREMENTS=requirements.txt" in instructions
    requirements = position(instructions, "--requirement /tmp/requirements.txt")
    source = position(instructions, "COPY synthray")
    package = position(instructions, "--no-deps .")
    assert position(instructions, "COPY ${REQUIREMENTS}") < requirements < source < package


def test_it_does_not_run_as_root(instructions: list[str]) -> None:
    """The id is that of the launcher's user on the host, whose files are mounted into the container."""
    assert "--uid 1000" in instructions[position(instructions, "useradd")]
    assert [line for line in instructions if line.startswith("USER")] == ["USER 1000"]


def test_its_ray_keeps_workers_as_that_of_the_tests_does(instructions: list[str]) -> None:
    environment = instructions[position(instructions, "ENV HOME")]
    assert all(f"{name}={value}" in environment for name, value in KEEPING_WORKERS.items())


def test_it_has_what_ray_calls(instructions: list[str]) -> None:
    """rsync and ssh for the cluster launcher, wget for KubeRay's probes, and HOME, which the launcher reads."""
    packages = instructions[position(instructions, "apt-get install")].split()
    assert {"openssh-client", "rsync", "wget"} <= set(packages)
    assert "HOME=/home/ray" in instructions[position(instructions, "ENV")]


def test_everything_copied_is_let_through_and_little_else(root: Path, instructions: list[str]) -> None:
    ignore = (root / "infra/docker/Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line.removeprefix("!") for line in rules if line.startswith("!")}
    copied = {word for line in instructions if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied - {"${REQUIREMENTS}"} | {"requirements.txt", "requirements-gpu.txt"} == allowed
    for name in allowed:
        assert (root / name).exists(), f"{name} is copied, and not there"
