"""Jobs that fail before they need Ray: one line on standard error, and the exit code."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from infra.ray_head import REPOSITORY, RayHead

FAILURES = {
    "no data": (["train.py"], 1, r"/data\b.*\bno .*data set.*generate"),
    "no batches": (["convert.py"], 1, r"/batches\b.*\bno batches.*generate"),
    "no model to evaluate": (["evaluate.py"], 1, r"/models\b.*\bno .*model.*train"),
    "no model to serve": (["serve.py", "--model", "none/models"], 1, r"/models\b.*\bno .*model.*train"),
    "a wrong value": (["generate.py", "--batches", "0"], 2, r"batches is 0. It must be at least 1"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_job_that_fails_prints_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [job, *flags], code, message = FAILURES[case]
    script = str(REPOSITORY / "jobs" / job)
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [script, *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == code
    [line] = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, line)


@pytest.mark.ray
def test_submitted_job_with_a_relative_output_is_refused(ray_head: RayHead) -> None:
    """This also shows that Ray still sets the variable by which a command knows that it was submitted."""
    job = subprocess.run(
        ray_head.command("python", "jobs/generate.py", "--batches", "1", "--out", "my_sounds"),
        cwd=REPOSITORY, env=ray_head.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert job.returncode != 0
    assert "--out is 'my_sounds', and results are written there. A submitted job runs in a folder" in job.stdout
