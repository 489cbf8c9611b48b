"""A training where the company's proxy is set and answers nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from infra.ray_head import REPOSITORY, RayHead
from tests import foreign
from tests.conftest import convert_here

DEAD = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD)


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_two_workers_train_behind_a_proxy_that_does_not_answer(ray_head: RayHead, tmp_path: Path) -> None:
    convert_here(foreign.write(tmp_path / "training_data"), tmp_path / "data")
    job = ("jobs/train.py", "--data", f"{tmp_path}/data", "--out", f"{tmp_path}/model", "--workers", "2")
    # The worker processes get the proxies, too, and exempt no host.
    workers = json.dumps({"env_vars": PROXIES | dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), "")})
    command = ray_head.command("python", *job, "--epochs", "1", options=("--runtime-env-json", workers))
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=ray_head.environment | PROXIES, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 workers; all-reduce by RING" in ended.stdout
    assert f"saved {tmp_path}/model/" in ended.stdout
