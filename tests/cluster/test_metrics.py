"""Metrics of a training, as a node exports them for Prometheus."""

from __future__ import annotations

import contextlib
import math
import re
import urllib.request

import pytest
import ray

from infra.ray_head import RayHead
from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport, StepReport
from tests.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


@ray.remote(num_cpus=0)
class Chief:
    """An actor that uses the metrics as the chief worker of a training does."""

    def __init__(self, config: TrainConfig, manifest: Manifest) -> None:
        from synthray.cluster.training.metrics import TrainMetrics

        self._metrics = TrainMetrics(config, manifest, restarts=2)

    def train(self) -> None:
        for step in (5, 15):
            self._metrics.progress(StepReport(3, 10, step, 20, 32, 12.5, 0.03, 0.01), 1066.0, 0.25)
        self._metrics.progress(StepReport(3, 10, 16, 20, 32, float("nan"), 0.03, 0.01), 1066.0, 0.25)
        self._metrics.epoch(EpochReport(3, 10, 12.25, 13.75, 0.5, 0.125, 1066.0, 0.25))


def exported() -> dict[str, tuple[str, float]]:
    """Return the labels and the value of each training metric that the suite's node exports."""
    [node] = [node for node in ray.nodes() if node["Alive"]]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=5) as response:
        text = response.read().decode()
    lines = re.findall(r"^(ray_synthray_train_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {name: (labels, float(value)) for name, labels, value in lines}


def test_train_metrics_are_exported_by_the_node(ray_cluster: RayHead, dataset: Dataset) -> None:
    manifest = dataset.manifest
    config = TrainConfig("/sounds/first", "out", network="log", width=64)
    chief = Chief.remote(config, manifest)
    ray.get(chief.train.remote())
    wanted = {
        "epoch": 3, "loss": 12.5, "examples_per_second": 1066, "input_wait_ratio": 0.25, "validation_loss": 13.75,
        "validation_accuracy": 0.5, "validation_error": 0.125, "restarts": 2, "steps_total": 11,
        "step_seconds_count": 3,
    }  # fmt: skip
    found: dict[str, tuple[str, float]] = {}

    def is_complete() -> bool:  # at first, a node may export older values, or only some
        with contextlib.suppress(OSError):  # the node is busy
            found.update(exported())
        values = [found.get(f"ray_synthray_train_{name}", ("", math.nan))[1] for name in wanted]
        return values == pytest.approx(list(wanted.values()))

    wait_for(is_complete, pause_s=0.5)
    for name in wanted:
        labels, _ = found[f"ray_synthray_train_{name}"]
        for label in (f'run="{config.run_digest(manifest)}"', 'data="first"', 'network="log-64"'):
            assert label in labels
