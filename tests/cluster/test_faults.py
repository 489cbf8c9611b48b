"""Faults during a training on a cluster of several nodes: the rows of docs/faults.md.

After a recovery the weights equal those of an undisturbed run. Otherwise the message says what to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.ray_head import REPOSITORY
from infra.s3_server import S3Server
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.storage import open_store
from synthray.storage.retry import RETRY_TIMEOUT
from synthray.train.checkpoint import CheckpointFolder
from synthray.train.config import TrainConfig
from tests.cluster.trainings import EPOCHS, assert_same_weights
from tests.conftest import train_here
from tests.faults import FaultyProxy, Hold, faulty_proxy
from tests.s3_place import place_in
from tests.waiting import wait_for

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(1200)]

LINE_TIMEOUT_S = 250
MEMORY = 100 << 20
RESTARTED = r"resuming from the last checkpoint \(1 of 3\)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head, on which nothing trains, and a node with room for two workers. Tests leave it like that."""
    from ray.cluster_utils import Cluster

    # A lost node is noticed after about 3 s instead of 30 s.
    config = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "_system_config": config}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def data(dataset: Dataset) -> str:
    return dataset.uri


class Job:
    """A process of ``jobs/train.py`` on a cluster, with the lines that it writes."""

    def __init__(self, cluster: Cluster, data: str, out: Path | str, flags: list[str], environment: dict) -> None:
        self._name = uuid.uuid4().hex
        environment = environment | {"PYTHONPATH": str(REPOSITORY), "SYNTHRAY_TEST_JOB": self._name}
        # Ray's job submission passes the workers' environment to a driver like this.
        runtime_env: dict[str, Any] = {"env_vars": environment}
        if "SYNTHRAY_TEST_HANG_FILE" in environment:
            runtime_env["worker_process_setup_hook"] = "tests.cluster.fault_hook.install"
        job = {"RAY_ADDRESS": cluster.address, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": runtime_env})}
        command = [sys.executable, "jobs/train.py", "--data", str(data), "--out", str(out), "--batch-size", "48"]
        self.process = subprocess.Popen(
            [*command, "--network", "notebook", "--epochs", str(EPOCHS), *flags],
            cwd=REPOSITORY,
            env=os.environ | environment | job,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, line: str) -> None:
        """Wait for a line that matches; fail if the process ends before or the line does not come."""
        try:
            wait_for(
                lambda: re.search(line, self.text, re.MULTILINE) or self.process.poll() is not None, LINE_TIMEOUT_S
            )
        except AssertionError as error:
            raise AssertionError(f"{error}: {line}\n{self.text}") from None
        assert re.search(line, self.text, re.MULTILINE), self.text

    def workers(self) -> list[int]:
        """Return the process ids of its training workers."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it exited meanwhile, or belongs to another user
                trains = b"RayTrainWorker" in (process / "cmdline").read_bytes()
                if trains and self._name.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def end(self) -> int:
        """Wait for the process and return its exit code."""
        code = self.process.wait(LINE_TIMEOUT_S)
        self._reader.join(10)
        return code

    def saved(self) -> str:
        """Wait for success and return the URI of the model."""
        assert self.end() == 0, self.text
        return re.search("^saved (.*)$", self.text, re.MULTILINE)[1]


@contextlib.contextmanager
def training(
    cluster: Cluster, data: str, out: Path | str, *flags: str, environment: dict[str, str] | None = None
) -> Iterator[Job]:
    job = Job(cluster, data, out, ["--workers", "2", *flags], environment or {})
    try:
        yield job
    finally:
        job.process.kill()
        job.end()


def paced(folder: Path, step_s: float = 0.05) -> dict[str, str]:
    """Return an environment with longer steps, so that the training has not ended before the fault."""
    return {"SYNTHRAY_TEST_HANG_FILE": str(folder / "hang"), "SYNTHRAY_TEST_STEP_S": str(step_s)}


@pytest.fixture(scope="module")
def undisturbed(by_two: tuple[str, list[str]]) -> str:
    """The model of a training without faults, on the other cluster."""
    return by_two[0]


def test_a_frozen_worker_a_hanging_one_and_those_of_a_lost_node_are_replaced(
    cluster: Cluster, data: str, undisturbed: str, tmp_path: Path
) -> None:
    """One training has all three faults. After each it makes a checkpoint, so each is the first of three failures."""
    # Only the first step compiles, and the timeout counts from its end. Validation compiles once more. A frozen worker
    # is noticed within 10 s, which must not be the work of the watchdog.
    with training(cluster, data, tmp_path / "out", "--step-timeout-s", "30", environment=paced(tmp_path)) as job:
        job.wait_for("^epoch +4/")
        os.kill(job.workers()[0], signal.SIGSTOP)
        job.wait_for(RESTARTED)
        assert "no step in" not in job.text

        job.wait_for("^epoch +8/")
        hang = tmp_path / "hang"
        hang.touch()
        job.wait_for(rf"^worker \d on [\d.]+: no step in 30 s.*; {RESTARTED}")
        assert not hang.exists()

        job.wait_for("^epoch +12/")
        lost = next(iter(cluster.worker_nodes))
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        cluster.remove_node(lost, allow_graceful=False)
        job.wait_for(f"(?s)({RESTARTED}.*){{3}}")
        assert_same_weights(job.saved(), undisturbed)


def test_workers_leave_a_node_that_announces_its_end_with_a_checkpoint(
    cluster: Cluster, data: str, tmp_path: Path
) -> None:
    environment = paced(tmp_path) | {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
    # Epochs are long, so that only the announcement can be the reason of a checkpoint within one.
    long_epochs = ("--batch-size", "2", "--epochs", "3")
    with training(cluster, data, tmp_path, *long_epochs, "--max-failures", "0", environment=environment) as job:
        job.wait_for("^first step")
        leaving = next(iter(cluster.worker_nodes))
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        announce_end(cluster, leaving.node_id, after_s=120)
        job.wait_for("^the node of worker 0, 1 will shut down; writing a checkpoint to continue on another node")
        job.wait_for("^resuming from the last checkpoint$")
        steps = [int(file.stem.rpartition("-")[2]) for file in tmp_path.rglob("*.npz")]
        assert any(steps), steps
        cluster.remove_node(leaving, allow_graceful=False)
        job.saved()


def announce_end(cluster: Cluster, node_id: str, after_s: int) -> None:
    """Tell Ray that a node will be taken away, as a cloud's notice of a spot node's end does."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.address]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "announced by the test"]
    subprocess.run([*ray, "--node-id", node_id, *reason, "--deadline-remaining-seconds", str(after_s)], check=True)


def test_an_interrupted_job_and_one_whose_head_died_resume_when_submitted_again(
    cluster: Cluster, data: str, undisturbed: str, tmp_path: Path
) -> None:
    """The driver and the workers of a lost head are killed; here on a cluster that stays for the other tests."""
    with training(cluster, data, tmp_path, environment=paced(tmp_path)) as job:
        job.wait_for("^epoch +4/")
        job.process.send_signal(signal.SIGTERM)  # SIGINT has the same handler, see test_signals.py
        assert job.end() == 143
    stopped = rf": stopped (in epoch \d+ after step \d+ of 4|after epoch \d+ of {EPOCHS}); run the same command again"
    assert re.search(stopped, job.text)
    assert "Traceback" not in job.text
    reached = newest_checkpoint(tmp_path)

    with training(cluster, data, tmp_path, environment=paced(tmp_path)) as job:
        job.wait_for("^epoch +12/")
        assert first_epoch(job) == reached + 1
        workers = job.workers()
        assert len(workers) == 2
        job.process.kill()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):  # Ray was faster
                os.kill(worker, signal.SIGKILL)
        assert job.end() == -signal.SIGKILL
    reached = newest_checkpoint(tmp_path)

    with training(cluster, data, tmp_path) as job:
        saved = job.saved()
        assert first_epoch(job) >= reached > 11
    assert_same_weights(saved, undisturbed)


def newest_checkpoint(out: Path | str) -> int:
    """Return the number of epochs in the newest checkpoint."""
    return max(int(Path(entry.path).name[:6]) for entry in open_store(out).list() if entry.path.endswith(".npz"))


def first_epoch(job: Job) -> int:
    return int(re.search(r"^epoch +(\d+)/", job.text, re.MULTILINE)[1])


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def out(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of this test's own in the suite's S3 server, which this process reaches directly."""
    return place_in(s3_server, monkeypatch, request)


def through(proxy: FaultyProxy, server: S3Server, retry_timeout_s: float) -> dict[str, str]:
    return server.environment | {"AWS_ENDPOINT_URL": proxy.url, RETRY_TIMEOUT: str(retry_timeout_s)}


def test_a_store_outage_ends_the_job_if_it_is_longer_than_the_retry_timeout(
    cluster: Cluster,
    data: str,
    undisturbed: str,
    out: str,
    proxy: FaultyProxy,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    """It begins while half of a checkpoint is written. The same command, run again, waits for a short one to end."""
    half = Hold(part=5_000)
    proxy.on(half, "PUT", "/000007-00000000.npz")
    with training(cluster, data, out, "--max-failures", "0", environment=through(proxy, s3_server, 1)) as job:
        half.wait(LINE_TIMEOUT_S)
        proxy.refuse()
        half.released.set()
        assert job.end() == 1
    # The epoch's log is written to the store, too. Either may give up first.
    assert re.search(
        r": workers were lost without progress: worker 0 on [\d.]+: StorageError: "
        rf"{out}/(checkpoints|logs)/\S+: .*{proxy.url}.*run the same command again",
        job.text,
    )
    assert "Traceback" not in job.text
    assert newest_checkpoint(out) == 6

    proxy.heal()
    proxy.accept()
    environment = through(proxy, s3_server, 60) | paced(tmp_path)
    with training(cluster, data, out, "--max-failures", "0", environment=environment) as job:
        job.wait_for("^epoch +12/")
        assert first_epoch(job) == 7
        proxy.refuse()
        time.sleep(4)
        proxy.accept()
        saved = job.saved()
    assert "resuming" not in job.text
    assert_same_weights(saved, undisturbed)


def test_an_elastic_training_follows_the_size_of_the_cluster(cluster: Cluster, data: str, tmp_path: Path) -> None:
    # A worker that waits for a lost one longer than this is lost, too; the default is longer than this test waits.
    elastic = ("--workers", "1:2", "--rescale-interval-s", "2", "--step-timeout-s", "25")
    # The same epochs are trained once more below, but without the longer steps.
    many = ("--batch-size", "2", "--learning-rate", "0.001", "--epochs", "1000")
    with training(cluster, data, tmp_path / "out", *elastic, *many, environment=paced(tmp_path, step_s=0.02)) as job:
        job.wait_for("^first step")
        second = cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        job.wait_for("(?s)^resuming from the last checkpoint with 2 workers instead of 1.*^epoch")
        cluster.remove_node(second, allow_graceful=False)
        job.wait_for("(?s)resuming from the last checkpoint with 1 worker instead of 2.*^epoch")
        job.process.send_signal(signal.SIGTERM)
        assert job.end() == 143
    config = TrainConfig(str(data), str(tmp_path / "out"), batch_size=2, epochs=1000, learning_rate=0.001)
    history = newest_history(config)
    alone = train_here(replace(config, out=str(tmp_path / "alone"), epochs=len(history)))
    for elastic_epoch, epoch in zip(history, alone, strict=True):
        for name in ("loss", "val_loss", "val_error"):
            assert elastic_epoch[name] == pytest.approx(epoch[name], rel=1e-4)


def newest_history(config: TrainConfig) -> list[dict[str, Any]]:
    """Return the reports in the newest checkpoint of a training."""
    with CheckpointFolder(config.out, config.run_digest(open_dataset(config.data).manifest), keep=1) as folder:
        return folder.newest()[1].progress.history
