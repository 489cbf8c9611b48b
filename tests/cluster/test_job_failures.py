"""Jobs that fail before they need Ray: one line on standard error, and the exit code."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from infra.ray_head import REPOSITORY

FAILURES = {
    "no data": (["train.py"], 1, r"/data\b.*\bno .*data set.*generate"),
    "no batches": (["convert.py"], 1, r"/batches\b.*\bno batches.*generate"),
    "no model to evaluate": (["evaluate.py"], 1, r"/models\b.*\bno .*model.*train"),
    "no model to serve": (["serve.py", "--model", "none/models"], 1, r"/models\b.*\bno .*model.*train"),
    "a wrong value": (["generate.py", "--batches", "0"], 2, r"batches is 0; it must be at least 1"),
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
