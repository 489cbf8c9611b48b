"""Number and resources of training workers, for clusters that these tests describe."""

from __future__ import annotations

import pytest
import ray

from synthray.cluster.training.scaling import Workers, missing_gpus
from synthray.errors import ConfigError


@pytest.mark.parametrize("text", ["many", "1:2:3", "-1", "4:2", "0:2"])
def test_workers_that_are_not_a_number_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"workers is .?{text}.?. It must be"):
        Workers.parse(text)


def test_workers_beyond_the_batch_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0})
    with pytest.raises(ConfigError, match="a batch of 2 examples cannot be split among 3 workers"):
        Workers(3).scaling(2)


@pytest.mark.parametrize(("cpus", "most", "share"), [([0], 4, 1.5), ([0, 8], 4, 1.52), ([1], 2, 0.6), ([2], 4, 1.6)])
def test_elastic_workers_fill_the_largest_node(
    cpus: list[int], most: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": float(count)} if count else {}} for count in cpus]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": float(sum(cpus))} if sum(cpus) else {})
    assert Workers(1, most).scaling(32).resources_per_worker == {"CPU": pytest.approx(share)}


@pytest.mark.parametrize(
    ("gpus", "message"), [(0, "GPUs: 2 requested, 0 up; waiting"), (1, "GPUs: 2 requested, 1 up"), (2, "")]
)
def test_missing_gpus_are_reported(gpus: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0} | ({"GPU": float(gpus)} if gpus else {}))
    for workers in (Workers(2, gpu=True), Workers(2, 4, gpu=True)):
        line = missing_gpus(workers.scaling(32))
        assert message in line
        assert bool(message) == bool(line)
    assert missing_gpus(Workers(2).scaling(32)) == ""
