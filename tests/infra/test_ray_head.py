"""Python of the demo's Ray, in a folder whose path a shell would split."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from infra.ray_head import _programs

ODD_FOLDERS = ["My Projects", "it's", "$HOME", "a;b", "a&b", "(1)", "é", "#1", "*"]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_programs_are_found_by_a_path_that_a_shell_does_not_split(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temp").mkdir()
    python = tmp_path / name / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho started\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / name / ".venv"))
    monkeypatch.setattr(sys, "executable", str(python))
    programs = _programs(tmp_path / "temp")
    started = subprocess.run(f"exec {programs}/python", shell=True, capture_output=True, text=True, check=True)
    assert started.stdout == "started\n"
    assert shlex.quote(str(programs)) == str(programs)


def test_programs_of_a_usual_folder_are_used_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/user/synthray/.venv")
    monkeypatch.setattr(sys, "executable", "/home/user/synthray/.venv/bin/python")
    assert _programs(tmp_path) == Path("/home/user/synthray/.venv/bin")
    assert list(tmp_path.iterdir()) == []
