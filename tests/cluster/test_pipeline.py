"""The jobs as they are typed, on a real Ray: each finds the output of the one before it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.ray_head import REPOSITORY, RayHead
from infra.s3_server import S3Server
from synthray.data.open import open_dataset
from synthray.data.sources.notebook import NotebookSource
from synthray.errors import SynthrayError
from synthray.model.registry import promote
from synthray.model.saved import load_model, save_model
from synthray.serve.config import Address
from synthray.storage import open_store
from tests import foreign
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model
from tests.waiting import free_port, wait_for

DEAD = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD)

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(400)]


def submit(head: RayHead, *command: str, home: str, variables: Mapping[str, str] | None = None) -> str:
    """Submit a job with environment variables and wait for it to succeed; return its output."""
    environment = json.dumps({"env_vars": {"SYNTHRAY_HOME": home, **(variables or {})}})
    job = head.command("python", *command, options=("--runtime-env-json", environment))
    return _run(job, head.environment)


def run(head: RayHead, *command: str, home: str) -> str:
    """Run the same job as a process that joins the cluster, which takes half of the time."""
    environment = head.environment | {"RAY_ADDRESS": head.address, "SYNTHRAY_HOME": home}
    return _run([sys.executable, *command], environment)


def _run(command: list[str], environment: dict[str, str]) -> str:
    process = subprocess.run(
        command,
        cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout
    return process.stdout


@pytest.fixture(scope="module")
def home(s3_server: S3Server) -> Iterator[str]:
    """A ``SYNTHRAY_HOME`` in a bucket, which this process can read, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        yield f"s3://{s3_server.bucket}/pipeline"


@pytest.fixture(scope="module")
def trained(ray_head: RayHead, home: str) -> str:
    """The URI of the folder with the model, made by jobs with no flags but the number of epochs."""
    assert "9 batches, 288 sounds" in submit(ray_head, "jobs/generate.py", home=home)
    assert "288 examples in 5 shards" in run(ray_head, "jobs/convert.py", home=home)
    output = submit(ray_head, "jobs/train.py", "--epochs", "3", home=home)
    lines = re.findall(
        r"^epoch +\d/3  loss [\d.]+  val_loss [\d.]+  val_accuracy [\d.]+  val_error [\d.]+  [\d,]+ examples/s$",
        output, re.MULTILINE,
    )  # fmt: skip
    assert len(lines) == 3, output
    return f"{home}/models/9-batches-seed-0"


def test_each_job_finds_the_output_of_the_one_before_it(trained: str, home: str) -> None:
    source = NotebookSource.open(f"{home}/batches/9-batches-seed-0")
    dataset = open_dataset(f"{home}/data/9-batches-seed-0")
    assert source.batches == tuple(range(9))
    assert source.table == dataset.manifest.table
    batch = source.read(3)
    np.testing.assert_array_equal(dataset.take(np.arange(96, 128)).features, batch.features)
    model, card = load_model(f"{trained}/model_9_3.keras")
    assert sum(name.startswith("out_") for name in model.output_names) == 38
    assert card.dataset["digest"] == dataset.manifest.digest
    assert card.dataset["holdout"] == {"first": 256, "count": 32}
    assert [entry for entry in open_store(trained).list("logs") if "/events." in entry.path]


def test_training_again_keeps_the_model(ray_head: RayHead, trained: str, home: str) -> None:
    store = open_store(trained)
    before = store.read("model_9_3.json")
    output = run(ray_head, "jobs/train.py", "--epochs", "3", home=home)
    assert re.match(r"already saved \S+/model_9_3\.keras\. ", output)
    assert store.read("model_9_3.json") == before


def test_evaluation_covers_the_held_out_examples(ray_head: RayHead, trained: str, home: str) -> None:
    output = run(ray_head, "jobs/evaluate.py", home=home)
    assert "32 examples" in output
    assert "amplitude_lfo_waveform" in output
    report = json.loads(open_store(trained).read("evaluation.json"))
    assert len(report["parameters"]) == 38


def test_sounds_that_are_never_stored_train_a_model(ray_head: RayHead, tmp_path: Path) -> None:
    uri = "synth://?seed=7&batches=9&fresh=1&reject-silent=-60"
    assert "epoch 2/2" in run(
        ray_head, "jobs/train.py", "--data", uri, "--epochs", "2", "--workers", "1", home=str(tmp_path)
    )
    [model] = tmp_path.glob("models/synth-seed-7-batches-9-fresh-1-*/model_9_2.keras")
    _, card = load_model(str(model))
    assert card.dataset["uri"].startswith("synth://?seed=7&batches=9&fresh=1")
    assert card.dataset["digest"] == open_dataset(uri).manifest.digest
    assert not list(tmp_path.rglob("*.parquet"))


@contextlib.contextmanager
def served(head: RayHead, *options: str) -> Iterator[str]:
    """Run the serving job until the block ends, and yield its address."""
    port = free_port()
    name = f"serve-{port}"
    submission = ("--no-wait", "--submission-id", name)
    command = head.command("python", "jobs/serve.py", "--port", str(port), *options, options=submission)
    subprocess.run(command, cwd=REPOSITORY, env=head.environment, check=True, capture_output=True)
    try:
        wait_for(lambda: is_healthy(port), timeout_s=120, pause_s=0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run(["ray", "job", "stop", name], env=head.environment, check=True, capture_output=True)


def is_healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def is_free(port: int) -> bool:
    try:
        Address(port=port).check_free()
    except SynthrayError:
        return False
    return True


def post(url: str, body: bytes, content_type: str = "application/json") -> dict:
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def test_a_foreign_data_set_goes_all_the_way_behind_a_proxy_that_does_not_answer(
    ray_head: RayHead, tmp_path: Path
) -> None:
    source = foreign.write(tmp_path / "training_data")
    home = str(tmp_path / "home")
    # The processes of the jobs get the proxies, too, and exempt no host.
    head = replace(ray_head, environment=ray_head.environment | PROXIES)
    unexempted = PROXIES | dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), "")
    run(head, "jobs/convert.py", "--source", str(source), "--dtype", "float16", home=home)
    output = submit(head, "jobs/train.py", "--workers", "2", "--epochs", "2", home=home, variables=unexempted)
    assert "2 workers; all-reduce by RING" in output
    assert "1_osc_wave" in run(head, "jobs/evaluate.py", home=home)
    with served(head, "--model", f"{home}/models") as url:
        features, _ = foreign.batch(0)
        body = json.dumps({"instances": features[:2].tolist()}).encode()
        predictions = post(f"{url}/v1/models/synthray:predict", body)["predictions"]
    assert len(predictions) == 2
    assert predictions[0].keys() == {"out_1_osc_wave", "out_1_osc_pitch", "out_lp_2_cut", "out_env_0"}
    assert sum(predictions[0]["out_1_osc_wave"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.faults
def test_serving_follows_promotions_and_gives_way_to_another_job(ray_head: RayHead, tmp_path: Path) -> None:
    registry, port = str(tmp_path / "models"), free_port()
    first, second = (
        save_model(build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), registry, build_card(FOREIGN, FOREIGN_SHAPE, name))
        for seed, name in ((0, "model_3_1"), (5, "model_4_1"))
    )

    @contextlib.contextmanager
    def serving(name: str, *flags: str) -> Iterator[tuple[subprocess.Popen, Callable[[str], None]]]:
        """Run the job as a process; yield it with a function that waits for a line of its output."""
        log = tmp_path / name
        command = [sys.executable, "jobs/serve.py", "--port", str(port), *flags]
        environment = ray_head.environment | {"RAY_ADDRESS": ray_head.address}
        with log.open("w") as output:
            job = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)

        def wait_for_line(line: str) -> None:
            wait_for(lambda: re.search(line, log.read_text(), re.MULTILINE), timeout_s=120, pause_s=0.1)

        try:
            yield job, wait_for_line
        finally:
            job.terminate()
            job.wait(60)

    promote(first, registry)
    with serving("log", "--model", registry) as (job, wait_for_line):
        wait_for_line(f"^serving model_3_1 at http://127.0.0.1:{port} ")
        promote(second, registry)
        wait_for_line("^now serving model_4_1$")
        with serving("refused", "--model", registry) as (refused, _):
            assert refused.wait(60) == 1
        assert "Stop its job, or replace it with --replace." in (tmp_path / "refused").read_text()
        with serving("other", "--model", first, "--replace") as (_, wait_for_other_line):
            wait_for_other_line("^serving model_3_1 at ")
            wait_for_line(rf"another job replaced it at http://127.0.0.1:{port}\.$")
            assert job.wait(60) == 1
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                assert json.load(answer)["model"] == "model_3_1"
    # Serve, which the first job started, ends with the other one. Its proxy may end a moment after the job.
    wait_for(lambda: is_free(port), timeout_s=30, pause_s=0.1)
