"""Fixtures of the whole suite: one Ray, one S3 server, small data sets."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from infra.ray_head import LOOPBACK_ONLY, RayHead, running_ray_head
from infra.s3_server import S3Server
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.manifest import Manifest
from synthray.data.open import open_dataset
from synthray.data.sources.notebook import NotebookSource
from synthray.train.config import TrainConfig
from tests.model_fixtures import foreign_predictor, model_folder, predictor, sound
from tests.s3_fixture import place_in, s3_server

__all__ = ["foreign_predictor", "model_folder", "predictor", "s3_server", "sound"]

# How long an example takes depends on what else the machine does.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# TensorFlow and Ray read these once, when they are imported: so before any test does.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.update(LOOPBACK_ONLY, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


@pytest.fixture(scope="session")
def suite_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``SYNTHRAY_HOME`` of every job of the suite's Ray."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def ray_head(suite_home: Path, s3_server: S3Server) -> Iterator[RayHead]:
    """The suite's Ray, to which jobs can be submitted. They reach the suite's S3 server."""
    # a job that is stopped has the time to end in order: Ray kills it after 3 s otherwise
    patience = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
    with running_ray_head({"SYNTHRAY_HOME": str(suite_home), **patience, **s3_server.environment}, cpus=2) as head:
        yield head


@pytest.fixture(scope="session")
def ray_cluster(ray_head: RayHead) -> Iterator[RayHead]:
    """The suite's Ray, with this process joined to it."""
    import ray

    ray.init(address=ray_head.address, log_to_driver=False, logging_level="ERROR")
    yield ray_head
    ray.shutdown()


@pytest.fixture
def on_s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of this test's own in the suite's S3 server, which this process is pointed at."""
    return place_in(s3_server, monkeypatch, request)


def convert_here(source: Path | str, out: Path | str, **options: object) -> Manifest:
    """What jobs/convert.py does, in this process, without Ray."""
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(out), **options))
    return publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])


def train_here(config: TrainConfig) -> list[dict[str, Any]]:
    """What jobs/train.py does, in this process, without Ray; the reports of the epochs."""
    import tensorflow as tf

    from synthray.train import loop

    dataset = open_dataset(config.data)
    order = config.order(dataset.manifest)

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        return ((dataset.take(rows), rows) for rows in order.worker_batches(start, config.epochs, 0, 1))

    return loop.run(
        config, dataset, tf.distribute.get_strategy(), loop.WorkerContext(), batches, lambda _: None
    ).history
