"""Calls in Ray tasks: values and errors arrive as they were."""

from __future__ import annotations

import pytest

from infra.ray_head import RayHead
from synthray.errors import BadBatch, StorageError

pytestmark = pytest.mark.ray


def test_map_on_cluster_returns_values_as_they_were(ray_cluster: RayHead) -> None:
    from synthray.cluster.tasks import map_on_cluster

    items = [1, (2, 3), {"a": (4,), 5: None}]
    results = list(map_on_cluster(lambda item: (item, len(str(item))), items, num_cpus=0.5))
    assert sorted(map(repr, results)) == sorted(repr((item, len(str(item)))) for item in items)


@pytest.mark.parametrize("error", [StorageError("s3://a/b: no room"), BadBatch("fft/fft_batch_2.npy", "cut short")])
def test_map_on_cluster_raises_the_error_of_a_call_unchanged(ray_cluster: RayHead, error: Exception) -> None:
    from synthray.cluster.tasks import map_on_cluster

    def fail(_: int) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        list(map_on_cluster(fail, [0]))
    assert type(caught.value) is type(error)
    assert (str(caught.value), vars(caught.value)) == (str(error), vars(error))


def test_map_on_cluster_keeps_the_traceback_of_a_bug(ray_cluster: RayHead) -> None:
    from synthray.cluster.tasks import map_on_cluster

    def divide(item: int) -> float:
        return 1 / item

    with pytest.raises(ZeroDivisionError, match=r"return 1 / item"):
        list(map_on_cluster(divide, [0]))
