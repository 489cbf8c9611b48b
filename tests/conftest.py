"""Fixtures of the whole suite: one Ray cluster, one S3 server, small data sets.

Each is started by the first test that asks for it.
"""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# NumPy's threads wait in loops for one another. Where other processes need the CPUs, they make it many times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from infra.ray_head import LOOPBACK_ONLY, RayHead, running_ray_head
from infra.s3_server import S3Server
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.data.open import open_dataset
from synthray.data.sources.notebook import NotebookSource
from synthray.proxies import bypass
from synthray.train.config import TrainConfig
from tests import foreign
from tests.model_fixtures import foreign_predictor, model_folder, predictor, sound, wav
from tests.s3_place import place_in

__all__ = ["foreign_predictor", "model_folder", "predictor", "sound", "wav"]

# The time of an example depends on the load of the machine.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# TensorFlow and Ray read these at import, so they are set before any test imports them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.update(LOOPBACK_ONLY, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

# A collection of garbage looks through the millions of objects of TensorFlow, Ray and the tests, which all live on.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def same_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a command that runs in this process sets."""
    for name in bypass({}):
        monkeypatch.setenv(name, os.environ.get(name, ""))


# `ray job stop` kills a job after 3 s by default, before it has written its checkpoint.
JOB_STOP_TIMEOUT = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}


@pytest.fixture(scope="session")
def suite_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return ``SYNTHRAY_HOME`` of every job of the suite's Ray cluster."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> S3Server:
    """Return the suite's S3 server, not started: its address and credentials are known before."""
    return S3Server(tmp_path_factory.mktemp("s3"))


@pytest.fixture(scope="session")
def s3_server(s3_address: S3Server) -> Iterator[S3Server]:
    """Return the S3 server that all tests share, started. To break a server, start another one.

    The fixture sets no variables: give ``server.environment`` to ``monkeypatch.setenv`` or to a subprocess.
    """
    s3_address.start()
    yield s3_address
    s3_address.kill()


@pytest.fixture(scope="session")
def ray_head(suite_home: Path, s3_address: S3Server) -> Iterator[RayHead]:
    """Return the suite's Ray cluster, to which tests submit jobs.

    Its jobs know the suite's S3 server. A test whose jobs use it asks for ``s3_server`` or ``on_s3``, which start it.
    """
    environment = {"SYNTHRAY_HOME": str(suite_home), **JOB_STOP_TIMEOUT, **s3_address.environment}
    with running_ray_head(environment, cpus=2) as head:
        yield head


@pytest.fixture(scope="session")
def ray_cluster(ray_head: RayHead) -> Iterator[RayHead]:
    """Return the suite's Ray cluster, with this process connected to it."""
    import ray

    ray.init(address=ray_head.address, log_to_driver=False, logging_level="ERROR")
    yield ray_head
    ray.shutdown()


@pytest.fixture
def on_s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Point this process at the suite's S3 server; return a URI there that only this test uses."""
    return place_in(s3_server, monkeypatch, request)


def convert_here(source: Path | str, out: Path | str, **options: object) -> Manifest:
    """Do what `synthray convert` does, in this process without Ray."""
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(out), **options))
    return publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])


def train_here(config: TrainConfig) -> list[dict[str, Any]]:
    """Do what `synthray train` does, in this process without Ray; return the reports of the epochs."""
    from tests.train.training import train

    return train(config, open_dataset(config.data)).history


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small data set of 203 examples that a foreign program made. To change it, copy it."""
    folder = tmp_path_factory.mktemp("dataset")
    convert_here(foreign.write(folder / "training_data"), folder / "data")
    return open_dataset(str(folder / "data"))
