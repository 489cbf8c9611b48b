"""The decision between caching and streaming, for clusters that these tests describe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from synthray.cluster import loader

GB = 10**9


def dataset(feature_bytes: int, *, fresh: bool = False) -> Any:
    return SimpleNamespace(fresh=fresh, feature_bytes=feature_bytes)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Nodes with 10 and 30 GB of shared memory; set ``object_store_memory`` of the result to what is free."""
    free = {"object_store_memory": 40.0 * GB}
    sizes = [10.0 * GB, 30.0 * GB]
    nodes = [{"Alive": True, "Resources": {"object_store_memory": size}} for size in sizes]
    gone = {"Alive": False, "Resources": {"object_store_memory": 1.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, gone])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"object_store_memory": sum(sizes)})
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    return free


def test_cache_decision_depends_on_the_smallest_node(two_nodes: dict[str, float]) -> None:
    assert loader._reason_to_stream(dataset(8 * GB)) == ""
    reason = loader._reason_to_stream(dataset(9 * GB))
    assert reason == "the data set needs 9.0 GB of shared memory, a node has 8.0 GB to spare"


def test_cache_decision_counts_free_memory_only(two_nodes: dict[str, float]) -> None:
    two_nodes["object_store_memory"] = 20.0 * GB
    assert loader._reason_to_stream(dataset(4 * GB)) == ""
    assert "needs 5.0 GB of shared memory, a node has 4.0 GB" in loader._reason_to_stream(dataset(5 * GB))
    del two_nodes["object_store_memory"]  # Ray leaves out what is used up
    assert "needs 0.1 MB of shared memory, a node has 0.0 MB" in loader._reason_to_stream(dataset(100_000))


def test_cache_decision_for_fresh_sounds_is_streaming(two_nodes: dict[str, float]) -> None:
    lines: list[str] = []
    assert loader.cache_dataset(dataset(1, fresh=True), log=lines.append) is None
    assert lines == ["streaming: each epoch has other sounds"]
