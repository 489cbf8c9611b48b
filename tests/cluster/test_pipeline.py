"""The jobs as they are typed, on a real Ray: each finds what the one before it made."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
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

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


def submit(head: RayHead, *command: str) -> subprocess.CompletedProcess[str]:
    """Submit a job and wait for it; what it printed comes with it."""
    return _run(head.command("python", *command), head.environment)


def run(head: RayHead, *command: str, home: Path | str) -> subprocess.CompletedProcess[str]:
    """The same job as a process of its own that joins the cluster: it takes half of the time."""
    return _run(
        [sys.executable, *command], head.environment | {"RAY_ADDRESS": head.address, "SYNTHRAY_HOME": str(home)}
    )


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip


def done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stdout
    return run.stdout


@pytest.fixture(scope="module")
def trained(ray_head: RayHead, suite_home: Path) -> Path:
    """The pipeline with no flags but the number of epochs; the folder of the model that it made."""
    assert "9 batches, 288 sounds" in done(submit(ray_head, "jobs/generate.py"))
    assert "288 examples in 5 shards" in done(submit(ray_head, "jobs/convert.py"))
    output = done(submit(ray_head, "jobs/train.py", "--epochs", "3"))
    lines = re.findall(
        r"^epoch +\d/3  loss [\d.]+  val_loss [\d.]+  val_accuracy [\d.]+  val_error [\d.]+  [\d,]+ examples/s$",
        output, re.MULTILINE,
    )  # fmt: skip
    assert len(lines) == 3, output
    return suite_home / "models" / "9-batches-seed-0"


def test_each_job_finds_what_the_one_before_it_made(trained: Path, suite_home: Path) -> None:
    source = NotebookSource.open(str(suite_home / "batches" / "9-batches-seed-0"))
    dataset = open_dataset(str(suite_home / "data" / "9-batches-seed-0"))
    assert source.batches == tuple(range(9))
    assert source.table == dataset.manifest.table
    batch = source.read(3)
    np.testing.assert_array_equal(dataset.take(np.arange(96, 128)).features, batch.features)
    model, card = load_model(str(trained / "model_9_3.keras"))
    assert len(model.outputs) == 38
    assert card.dataset["digest"] == dataset.manifest.digest
    assert card.dataset["holdout"] == {"first": 256, "count": 32}
    assert list(trained.glob("logs/*/events.*"))


def test_running_everything_again_keeps_it(ray_head: RayHead, trained: Path, suite_home: Path) -> None:
    before = (trained / "model_9_3.json").read_text()
    done(run(ray_head, "jobs/generate.py", home=suite_home))
    done(run(ray_head, "jobs/convert.py", home=suite_home))
    output = done(run(ray_head, "jobs/train.py", "--epochs", "3", home=suite_home))
    assert re.match(r"saved \S+/model_9_3\.keras before; ", output)
    after = json.loads((trained / "model_9_3.json").read_text())
    assert after["metrics"] == json.loads(before)["metrics"]


def test_evaluation_covers_the_held_out_examples(ray_head: RayHead, trained: Path) -> None:
    output = done(submit(ray_head, "jobs/evaluate.py"))
    assert "32 examples" in output
    assert "amplitude_lfo_waveform" in output
    report = json.loads((trained / "evaluation.json").read_text())
    assert len(report["parameters"]) == 38


def test_sounds_that_are_never_stored_train_a_model(ray_head: RayHead, suite_home: Path) -> None:
    uri = "synth://?seed=7&batches=9&fresh=1&reject-silent=-60"
    assert "epoch 2/2" in done(run(ray_head, "jobs/train.py", "--data", uri, "--epochs", "2", home=suite_home))
    [model] = suite_home.glob("models/synth-seed-7-batches-9-fresh-1-*/model_9_2.keras")
    _, card = load_model(str(model))
    assert card.dataset["uri"].startswith("synth://?seed=7&batches=9&fresh=1")
    assert card.dataset["digest"] == open_dataset(uri).manifest.digest
    stored = [path for path in suite_home.rglob("*.parquet") if "batches-9-fresh" in str(path)]
    assert not stored


@contextlib.contextmanager
def served(head: RayHead, *options: str) -> Iterator[str]:
    """The serving job, until the block ends; gives its address."""
    port = free_port()
    name = f"serve-{port}"
    submission = ("--no-wait", "--submission-id", name)
    command = head.command("python", "jobs/serve.py", "--port", str(port), *options, options=submission)
    subprocess.run(command, cwd=REPOSITORY, env=head.environment, check=True, capture_output=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
                break
            logs = subprocess.run(["ray", "job", "logs", name], env=head.environment, capture_output=True, text=True)
            assert time.monotonic() < deadline, logs.stdout
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run(["ray", "job", "stop", name], env=head.environment, check=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def test_a_foreign_data_set_goes_all_the_way(ray_head: RayHead, tmp_path: Path) -> None:
    source = foreign.write(tmp_path / "training_data")
    home = str(tmp_path / "home")
    done(run(ray_head, "jobs/convert.py", "--source", str(source), home=home))
    done(run(ray_head, "jobs/train.py", "--epochs", "2", home=home))
    assert "1_osc_wave" in done(run(ray_head, "jobs/evaluate.py", home=home))
    with served(ray_head, "--model", f"{home}/models") as url:
        features, _ = foreign.batch(0)
        body = json.dumps({"instances": features[:2].tolist()}).encode()
        predictions = post(f"{url}/v1/models/synthray:predict", body)["predictions"]
    assert len(predictions) == 2
    assert predictions[0].keys() == {"out_1_osc_wave", "out_1_osc_pitch", "out_lp_2_cut", "out_env_0"}
    assert sum(predictions[0]["out_1_osc_wave"]) == pytest.approx(1, abs=1e-5)


def test_serving_tells_of_another_model_and_gives_way_to_another_job(ray_head: RayHead, tmp_path: Path) -> None:
    place, port = str(tmp_path / "models"), free_port()
    first, second = (
        save_model(build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), place, build_card(FOREIGN, FOREIGN_SHAPE, name))
        for seed, name in ((0, "model_3_1"), (5, "model_4_1"))
    )

    @contextlib.contextmanager
    def serving(name: str, *flags: str) -> Iterator[tuple[subprocess.Popen, Callable[[str], None]]]:
        """The job without a submission, which is half of the time; and what waits for one of its lines."""
        log = tmp_path / name
        command = [sys.executable, "jobs/serve.py", "--port", str(port), *flags]
        environment = ray_head.environment | {"RAY_ADDRESS": ray_head.address}
        with log.open("w") as output:
            job = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)

        def wait_for(line: str) -> None:
            deadline = time.monotonic() + 120
            while not re.search(line, log.read_text(), re.MULTILINE):
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)

        try:
            yield job, wait_for
        finally:
            job.terminate()
            job.wait(60)

    promote(first, place)
    with serving("log", "--model", place) as (job, wait_for):
        wait_for(f"^serving model_3_1 at http://127.0.0.1:{port} ")
        promote(second, place)
        wait_for("^now serving model_4_1$")
        with serving("refused", "--model", place) as (refused, _):
            assert refused.wait(60) == 1
        assert "Stop its job, or replace it with --replace." in (tmp_path / "refused").read_text()
        with serving("other", "--model", first, "--replace") as (_, wait_for_other):
            wait_for_other("^serving model_3_1 at ")
            wait_for(rf"another job replaced it at http://127.0.0.1:{port}\.$")
            assert job.wait(60) == 1
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                assert json.load(answer)["model"] == "model_3_1"
    # Serve, which the first one started, ends with the other: its proxy may be a moment behind the job
    deadline = time.monotonic() + 30
    while not is_free(port):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.s3
def test_the_same_on_s3(ray_head: RayHead, s3_server: S3Server, on_s3: str) -> None:
    done(run(ray_head, "jobs/generate.py", "--batches", "4", "--seed", "5", home=on_s3))
    done(run(ray_head, "jobs/convert.py", "--dtype", "float16", home=on_s3))
    done(run(ray_head, "jobs/train.py", "--epochs", "2", home=on_s3))
    assert "14 examples" in done(run(ray_head, "jobs/evaluate.py", home=on_s3))
    paths = [entry.path for entry in open_store(on_s3).list("models")]
    folder = "models/4-batches-seed-5"
    assert {f"{folder}/model_4_2.keras", f"{folder}/model_4_2.json", f"{folder}/evaluation.json"} <= set(paths)


FAILURES = {
    "no data": (["jobs/train.py"], 1, r"synthray: .*/data: no data set here\. Make one with `synthray generate`"),
    "no batches": (
        ["jobs/convert.py"],
        1,
        r"synthray: .*/batches: no batches here\. Make some with `synthray generate`",
    ),
    "no model": (["jobs/evaluate.py"], 1, r"synthray: .*/models.* no model"),
    "nothing to serve": (["jobs/serve.py"], 1, r"synthray: .*/models.* no model"),
    "a wrong value": (["jobs/generate.py", "--batches", "0"], 2, r"synthray: batches is 0"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failures_are_told_in_one_line(what: str, tmp_path: Path) -> None:
    command, code, message = FAILURES[what]
    environment = {"PATH": "/usr/bin:/bin", "SYNTHRAY_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    failed = subprocess.run([sys.executable, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert failed.returncode == code
    [line] = failed.stderr.strip().splitlines()
    assert re.search(message, line)


def test_bad_batches_fail_the_job(ray_head: RayHead, tmp_path: Path) -> None:
    source = foreign.write(tmp_path / "training_data")
    (source / "fft" / "fft_batch_5.npy").write_bytes(b"torn")
    out = str(tmp_path / "out")
    failed = submit(ray_head, "jobs/convert.py", "--source", str(source), "--out", out)
    assert failed.returncode == 1
    assert "1 of 7 batches cannot be used; nothing was published" in failed.stdout
    assert "fft/fft_batch_5.npy: it is not a whole .npy file" in failed.stdout
    assert not (tmp_path / "out" / "manifest.json").exists()
    output = done(run(ray_head, "jobs/convert.py", "--source", str(source), "--out", out, "--skip-bad", home=tmp_path))
    assert "skipped fft/fft_batch_5.npy" in output
    assert open_dataset(out).manifest.rows == 5 * 32 + 11
