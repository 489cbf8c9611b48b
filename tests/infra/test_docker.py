"""The Dockerfile, parsed and linted; a build would need Docker and a network."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from synthray.cluster.local_ray import LOCAL_RAY

HADOLINT = Path(sysconfig.get_path("scripts"), "hadolint")


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[str]:
    """Return the Dockerfile's instructions, each on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", (root / "infra/docker/Dockerfile").read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line]


def position(instructions: list[str], text: str) -> int:
    """Return the index of the one instruction that contains ``text``."""
    (found,) = [number for number, line in enumerate(instructions) if text in line]
    return found


def test_dockerfile_has_no_hadolint_findings(root: Path) -> None:
    command = [HADOLINT, "--format=json", root / "infra/docker/Dockerfile"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout, result.stderr
    assert json.loads(result.stdout) == []


def test_dockerfile_installs_pinned_requirements_before_source(instructions: list[str]) -> None:
    """The layer of the requirements stays cached when the source changes."""
    assert "ARG REQUIREMENTS=requirements.txt" in instructions
    requirements = position(instructions, "--requirement /tmp/requirements.txt")
    source = position(instructions, "COPY synthray")
    package = position(instructions, "--no-deps .")
    assert position(instructions, "COPY ${REQUIREMENTS}") < requirements < source < package


def test_dockerfile_runs_as_launchers_user(instructions: list[str]) -> None:
    """The UID equals that of the launcher's user, whose files are mounted."""
    assert "--uid 1000" in instructions[position(instructions, "useradd")]
    assert [line for line in instructions if line.startswith("USER")] == ["USER 1000"]


def test_dockerfile_keeps_idle_workers_like_the_tests(instructions: list[str]) -> None:
    environment = instructions[position(instructions, "ENV HOME")]
    assert all(f"{name}={value}" in environment for name, value in LOCAL_RAY.items())


def test_dockerfile_installs_programs_that_ray_calls(instructions: list[str]) -> None:
    """The launcher needs rsync, ssh and HOME; KubeRay's probes need wget."""
    packages = instructions[position(instructions, "apt-get install")].split()
    assert {"openssh-client", "rsync", "wget"} <= set(packages)
    assert "HOME=/home/ray" in instructions[position(instructions, "ENV")]


def test_dockerignore_allows_exactly_what_is_copied(root: Path, instructions: list[str]) -> None:
    ignore = (root / "infra/docker/Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line.removeprefix("!") for line in rules if line.startswith("!")}
    copied = {word for line in instructions if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied - {"${REQUIREMENTS}"} | {"requirements.txt", "requirements-gpu.txt"} == allowed
    for name in allowed:
        assert (root / name).exists(), f"{name}: the Dockerfile copies it, and it does not exist"
