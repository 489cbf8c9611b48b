"""Memory settings. Each test uses a process of its own, whose settings it changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.waiting import HOST, free_port

SOUNDS, FRAMES, BINS = 256, 20, 551
PAGE_BYTES = 4096
REPEAT_BLOCKS = """
import gc, resource, sys
{setup}
def receive():
    blocks = [b"x" * 250_000 for _ in range(8)]
receive()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    receive()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, gc.get_freeze_count())
"""
PAGES_OF_BLOCKS = 10 * 8 * 250_000 // PAGE_BYTES


def run_blocks(setup: str) -> tuple[int, int]:
    """Return the pages that the system cleared for ten bodies of 2 MB, and the objects that collection leaves out."""
    command = [sys.executable, "-c", REPEAT_BLOCKS.format(setup=setup)]
    pages, objects = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return int(pages), int(objects)


@pytest.mark.parametrize(
    ("setup", "collects_less"),
    [
        pytest.param("from synthray.memory import prepare_for_requests; prepare_for_requests()", True, id="service"),
        pytest.param("from synthray.cluster.resend import middleware; middleware()", True, id="Serve's proxy"),
        pytest.param(
            "from synthray.cluster.tasks import each; import numpy; each(str)({'id': numpy.ones(1)})", False, id="task"
        ),
    ],
)
def test_freed_memory_is_used_again(setup: str, collects_less: bool) -> None:
    assert run_blocks("")[0] > PAGES_OF_BLOCKS / 2
    pages, objects = run_blocks(setup)
    assert pages < PAGES_OF_BLOCKS / 100
    assert (objects > 1000) == collects_less


CYCLE = """
import gc, weakref
from synthray.memory import prepare_for_requests
class Model: pass
model = Model()
model.layers = [model]
prepare_for_requests()
reference = weakref.ref(model)
del model
prepare_for_requests()
print(reference() is None, gc.get_freeze_count() > 0)
"""


def test_later_call_frees_a_model_that_was_replaced() -> None:
    output = subprocess.run([sys.executable, "-c", CYCLE], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert output == "True True\n"


@pytest.mark.slow
def test_process_without_ray_clears_no_memory_for_each_body(model_folder: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "synthray.cli.main", "serve", "--no-ray", f"--port={port}"]
    body = np.ones((SOUNDS, FRAMES, BINS), np.float32).tobytes()
    with (
        subprocess.Popen(
            [*command, f"--model={model_folder}/model_2_1.keras"], stdout=subprocess.PIPE, text=True
        ) as process,
        httpx.Client(base_url=f"http://{HOST}:{port}", headers={"content-type": "application/octet-stream"}) as client,
    ):
        try:
            assert process.stdout
            assert "serving" in process.stdout.readline()
            pages = []
            for _ in range(10):
                assert client.post("/v1/models/synthray:predict", content=body).status_code == 200
                pages.append(int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[7]))
        finally:
            process.kill()
    assert pages[-1] - pages[3] < len(body) / PAGE_BYTES  # of six bodies, less than one
