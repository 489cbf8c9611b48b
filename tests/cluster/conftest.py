"""A training on Ray that several modules compare theirs with."""

from __future__ import annotations

import pytest

from infra.ray_head import RayHead
from synthray.data.dataset import Dataset
from tests.cluster.trainings import EPOCHS, epoch_lines, train


@pytest.fixture(scope="session")
def by_two(ray_cluster: RayHead, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """The URI of the model of an undisturbed training by two workers, and the lines that the driver printed."""
    saved, lines = train(dataset, tmp_path_factory.mktemp("two"), workers=2)
    assert len(epoch_lines(lines)) == EPOCHS
    return saved, lines
