"""The service in a process of its own, without Ray."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from synthray.errors import NotFound, SynthrayError
from synthray.model.registry import promote
from synthray.serve.config import Address, ReplicaConfig
from synthray.serve.process import serve_here
from tests.waiting import HOST, free_port, wait_for


@pytest.mark.slow
@pytest.mark.parametrize("accept", ["application/json", "audio/wav", "text/event-stream"])
def test_search_that_runs_at_a_stop_answers_with_the_best_so_far(wav: bytes, accept: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "synthray.cli.main", "serve", "--no-ray", f"--port={port}"]
    environment = {"SYNTHRAY_HOME": str(tmp_path), "PATH": "/usr/bin"}
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            assert process.stdout
            assert process.stderr
            assert "serving shipped" in process.stdout.readline()
            ask = f"{url}/v1/models/synthray:match?refine=10"
            answer = pool.submit(httpx.post, ask, content=wav, headers={"accept": accept}, timeout=30)
            wait_for(lambda: "synthray_in_flight 2.0" in httpx.get(f"{url}/metrics").text, 10)
            process.send_signal(signal.SIGTERM)
            assert process.wait(8) == 0  # the search alone would take ten seconds
            assert answer.result().status_code == 200
            assert answer.result().content.startswith(b"RIFF") == (accept == "audio/wav")
            assert ("event: match" in answer.result().text) == (accept == "text/event-stream")
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.slow
def test_promotion_is_logged_without_ray(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("model_3_1.keras", "model_3_1.json"):
        shutil.copy(model_folder / "foreign" / name, folder)
    command = [sys.executable, "-m", "synthray.cli.main", "serve", "--no-ray", f"--port={free_port()}"]
    with subprocess.Popen(
        [*command, f"--model={folder}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            assert "serving model_3_1" in process.stdout.readline()
            promote(f"{folder}/model_3_1.keras", str(folder))
            assert f"INFO serving model_3_1.keras, promoted at {folder}" in process.stderr.readline()
        finally:
            process.kill()


def test_serve_binds_each_port_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[int] = []
    listen = Address._listen
    monkeypatch.setattr(Address, "_listen", lambda self, port, flag: (bound.append(port), listen(self, port, flag))[1])
    address = Address(HOST, free_port(), grpc_port=free_port())
    with pytest.raises(NotFound):
        serve_here(ReplicaConfig(model="/none/model_1_1.keras"), address)
    assert sorted(bound) == sorted([address.port, address.grpc_port])


def test_serve_at_a_grpc_port_in_use_raises() -> None:
    taken = Address(HOST, free_port())
    with taken.listener(), pytest.raises(SynthrayError, match=r"Try --grpc-port"):
        serve_here(ReplicaConfig(), Address(HOST, free_port(), grpc_port=taken.port))
