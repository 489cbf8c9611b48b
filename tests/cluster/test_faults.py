"""Training on a cluster of several nodes while things break: see the table in docs/faults.md.

What can be survived ends with the very weights of the undisturbed run; what cannot, says what to do.
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from infra.ray_head import REPOSITORY
from infra.s3_server import S3Server
from synthray.data.open import open_dataset
from synthray.model.saved import load_model
from synthray.storage import open_store
from synthray.storage.retry import RETRY_TIMEOUT
from synthray.train.checkpoint import CheckpointFolder
from synthray.train.config import TrainConfig
from tests import foreign
from tests.conftest import convert_here, train_here
from tests.faults import FaultyProxy, Hold, faulty_proxy
from tests.s3_place import place_in

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(1200)]

EPOCHS = 40
LINE_TIMEOUT_S = 250
MEMORY = 100 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head, on which nothing trains, and a node that has room for two workers."""
    with running_cluster() as running:
        yield running


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    from ray.cluster_utils import Cluster

    # a node that is gone is missed after some 3 seconds instead of half a minute
    config = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "_system_config": config}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    convert_here(foreign.write(folder / "training_data"), folder / "data")
    return folder / "data"


class Job:
    """``jobs/train.py`` on a cluster, and the lines that it writes."""

    def __init__(
        self, cluster: Cluster, data: Path | str, out: Path | str, flags: list[str], environment: dict
    ) -> None:
        self._name = uuid.uuid4().hex
        environment = environment | {"PYTHONPATH": str(REPOSITORY), "SYNTHRAY_TEST_JOB": self._name}
        # as Ray's own job submission tells a driver what its workers shall see
        runtime_env: dict[str, Any] = {"env_vars": environment}
        if "SYNTHRAY_TEST_SABOTAGE" in environment:
            runtime_env["worker_process_setup_hook"] = "tests.cluster.fault_hook.install"
        job = {"RAY_ADDRESS": cluster.address, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": runtime_env})}
        command = [sys.executable, "jobs/train.py", "--data", str(data), "--out", str(out), "--batch-size", "48"]
        self.process = subprocess.Popen(
            [*command, "--epochs", str(EPOCHS), *flags],
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
        wait_for(lambda: re.search(line, self.text, re.MULTILINE) or self.process.poll() is not None, LINE_TIMEOUT_S)
        assert re.search(line, self.text, re.MULTILINE), self.text

    def workers(self) -> list[int]:
        """Process ids of its training workers."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours
                trains = b"RayTrainWorker" in (process / "cmdline").read_bytes()
                if trains and self._name.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def end(self) -> int:
        code = self.process.wait(LINE_TIMEOUT_S)
        self._reader.join(10)
        return code

    def saved(self) -> str:
        """The model, once it is there."""
        assert self.end() == 0, self.text
        return re.search("^saved (.*)$", self.text, re.MULTILINE)[1]


@contextlib.contextmanager
def training(
    cluster: Cluster, data: Path | str, out: Path | str, *flags: str, environment: dict[str, str] | None = None
) -> Iterator[Job]:
    job = Job(cluster, data, out, ["--workers", "2", *flags], environment or {})
    try:
        yield job
    finally:
        job.process.kill()
        job.end()


def paced(folder: Path) -> dict[str, str]:
    """What makes each step of a training last longer, so that it is not at its end before what it is to survive."""
    return {"SYNTHRAY_TEST_SABOTAGE": str(folder / "none"), "SYNTHRAY_TEST_STEP_S": "0.05"}


def wait_for(condition: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    with training(cluster, data, tmp_path_factory.mktemp("undisturbed")) as job:
        return weights(job.saved())


def weights(uri: str) -> list[np.ndarray]:
    return load_model(uri)[0].get_weights()


def assert_same(saved: str, undisturbed: list[np.ndarray]) -> None:
    for one, other in zip(weights(saved), undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_worker_is_replaced(
    cluster: Cluster, data: Path, undisturbed: list[np.ndarray], tmp_path: Path
) -> None:
    with training(cluster, data, tmp_path, environment=paced(tmp_path)) as job:
        job.wait_for("^epoch +5/")
        os.kill(job.workers()[0], signal.SIGSTOP)
        job.wait_for(r"going on from the last checkpoint \(1 of 3\)")
        assert_same(job.saved(), undisturbed)


def test_a_worker_that_is_alive_but_stuck_is_replaced(
    cluster: Cluster, data: Path, undisturbed: list[np.ndarray], tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    environment = paced(tmp_path) | {"SYNTHRAY_TEST_SABOTAGE": str(trap)}
    # a worker's import of TensorFlow counts, too
    with training(cluster, data, tmp_path / "out", "--step-timeout-s", "40", environment=environment) as job:
        job.wait_for("^epoch +5/")
        trap.touch()
        # and it is not waited for as long as the default, which is 300 s
        job.wait_for(r"^worker \d on [\d.]+: no step in 40 s; .*; going on from the last checkpoint \(1 of 3\)")
        assert not trap.exists()
        assert_same(job.saved(), undisturbed)


def test_a_lost_node_is_done_without(
    cluster: Cluster, data: Path, undisturbed: list[np.ndarray], tmp_path: Path
) -> None:
    """The node that the workers are on is lost, and another one is there."""
    with training(cluster, data, tmp_path, environment=paced(tmp_path)) as job:
        job.wait_for("^epoch +5/")
        lost = next(iter(cluster.worker_nodes))
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        cluster.remove_node(lost, allow_graceful=False)
        job.wait_for(r"going on from the last checkpoint \(1 of 3\)")
        assert_same(job.saved(), undisturbed)


def test_a_dead_head_is_replaced_and_the_job_submitted_again(
    data: Path, undisturbed: list[np.ndarray], tmp_path: Path
) -> None:
    with running_cluster() as first, training(first, data, tmp_path, environment=paced(tmp_path)) as job:
        job.wait_for("^epoch +5/")
        first.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        job.process.kill()  # it is a process of the head's machine
        job.end()
    reached = newest_checkpoint(tmp_path)
    with running_cluster() as second, training(second, data, tmp_path) as job:
        saved = job.saved()
        assert first_epoch(job) >= reached > 4
    assert_same(saved, undisturbed)


def newest_checkpoint(out: Path | str) -> int:
    """The epochs that are done in the newest checkpoint."""
    return max(int(Path(entry.path).name[:6]) for entry in open_store(out).list() if entry.path.endswith(".npz"))


def first_epoch(job: Job) -> int:
    return int(re.search(r"^epoch +(\d+)/", job.text, re.MULTILINE)[1])


def test_interrupted_it_ends_with_a_checkpoint(
    cluster: Cluster, data: Path, undisturbed: list[np.ndarray], tmp_path: Path
) -> None:
    done = 1
    for name in ("SIGTERM", "SIGINT"):
        with training(cluster, data, tmp_path, environment=paced(tmp_path)) as job:
            job.wait_for(f"^epoch +{done + 3}/")
            job.process.send_signal(getattr(signal, name))
            assert job.end() == 130
            assert re.search(
                r"^synthray: stopped (in epoch \d+ after step \d+ of 4|after epoch \d+ of 40); the same",
                job.text,
                re.MULTILINE,
            )
            assert "Traceback" not in job.text
            done = newest_checkpoint(tmp_path) + 1
            assert first_epoch(job) <= done
    with training(cluster, data, tmp_path) as job:
        assert_same(job.saved(), undisturbed)
        assert first_epoch(job) == done


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def out(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A place of this test's own in the suite's S3 server, which this process reaches directly."""
    return place_in(s3_server, monkeypatch, request)


def through(proxy: FaultyProxy, server: S3Server, retry_timeout_s: float) -> dict[str, str]:
    return server.environment | {"AWS_ENDPOINT_URL": proxy.url, RETRY_TIMEOUT: str(retry_timeout_s)}


def test_a_store_that_is_away_for_a_while_is_waited_for(
    cluster: Cluster, data: Path, undisturbed: list[np.ndarray], out: str, proxy: FaultyProxy, s3_server: S3Server
) -> None:
    with training(cluster, data, out, environment=through(proxy, s3_server, 60)) as job:
        job.wait_for("^epoch +5/")
        proxy.refuse()
        time.sleep(4)
        proxy.accept()
        saved = job.saved()
    assert "going on" not in job.text
    assert_same(saved, undisturbed)


def test_a_store_that_is_gone_for_good_while_a_checkpoint_is_half_written(
    cluster: Cluster, data: Path, undisturbed: list[np.ndarray], out: str, proxy: FaultyProxy, s3_server: S3Server
) -> None:
    environment = through(proxy, s3_server, 1)
    half = Hold(part=5_000)
    proxy.on(half, "PUT", "/000007-00000000.npz")
    with training(cluster, data, out, "--max-failures", "0", environment=environment) as job:
        half.wait(LINE_TIMEOUT_S)
        proxy.refuse()
        half.released.set()
        assert job.end() == 1
    [line] = [line for line in job.lines if line.startswith("synthray: ")]
    # the epoch's log is on its way to the store, too: either of them may be the first to give up
    assert re.match(
        r"synthray: the workers were lost without getting further: worker 0 on [\d.]+: StorageError: "
        rf"{out}/(checkpoints|logs)/\S+: .*\(endpoint: {proxy.url}\), then run the same command again",
        line,
    )
    assert "Traceback" not in job.text
    assert newest_checkpoint(out) == 6
    proxy.heal()
    proxy.accept()
    with training(cluster, data, out, environment=environment) as job:
        saved = job.saved()
        assert first_epoch(job) == 7
    assert_same(saved, undisturbed)


def test_an_elastic_training_takes_what_the_cluster_has(data: Path, tmp_path: Path) -> None:
    elastic = ("--workers", "1:2", "--rescale-interval-s", "2")
    slow = ("--batch-size", "2", "--learning-rate", "0.001", "--epochs", "1000")
    # as if each step took longer: what was trained is trained once more here, to be compared
    slower = {"SYNTHRAY_TEST_SABOTAGE": str(tmp_path / "none"), "SYNTHRAY_TEST_STEP_S": "0.02"}
    with (
        running_cluster() as cluster,
        training(cluster, data, tmp_path / "out", *elastic, *slow, environment=slower) as job,
    ):
        job.wait_for("^first step")
        second = cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        job.wait_for("(?s)^going on from the last checkpoint with 2 workers, 1 before.*^epoch")
        cluster.remove_node(second, allow_graceful=False)
        job.wait_for("(?s)going on from the last checkpoint with 1 workers, 2 before.*^epoch")
        job.process.send_signal(signal.SIGTERM)
        assert job.end() == 130
    config = TrainConfig(str(data), str(tmp_path / "out"), batch_size=2, epochs=1000, learning_rate=0.001)
    history = newest_history(config)
    alone = train_here(replace(config, out=str(tmp_path / "alone"), epochs=len(history)))
    for elastic_epoch, epoch in zip(history, alone, strict=True):
        for name in ("loss", "val_loss", "val_error"):
            assert elastic_epoch[name] == pytest.approx(epoch[name], rel=1e-4)


def newest_history(config: TrainConfig) -> list[dict[str, Any]]:
    """The reports in the newest checkpoint of a training."""
    with CheckpointFolder(config.out, config.run_digest(open_dataset(config.data).manifest), keep=1) as folder:
        return folder.load(folder.latest_valid()).progress.history
