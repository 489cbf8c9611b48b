"""Training input on Ray: cached or streamed batches hold exactly the examples of the order."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from infra.ray_head import RayHead
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.data.order import EpochOrder
from synthray.data.sources.synthetic import SoundGenerator, SynthSource
from synthray.errors import CorruptShard
from tests import foreign
from tests.conftest import convert_here
from tests.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

EPOCHS = 2


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reading")
    convert_here(foreign.write(folder / "batches"), folder / "stored", dtype="float16")
    plan = Plan.make(SynthSource(SoundGenerator(3), (0, 1, 2)), BuildConfig(str(folder / "presets"), content="presets"))
    publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])
    fresh = "synth://?seed=3&batches=10&fresh=1"
    return {"stored": str(folder / "stored"), "presets": str(folder / "presets"), "fresh": fresh}


def expected(dataset: Dataset, rows: np.ndarray, epoch: int) -> np.ndarray:
    """Return the features at ``rows``, read one by one in this process."""
    shards = [dataset.read_shard(number, epoch) for number in range(len(dataset.manifest.shards))]
    features = np.concatenate([shard.features for shard in shards])
    return np.stack([features[row] if row >= 0 else np.zeros_like(features[0]) for row in rows])


@pytest.mark.parametrize(("start", "workers"), [((0, 0), 1), ((1, 2), 2)])
@pytest.mark.parametrize("kind", ["stored", "presets", "fresh"])
def test_batches_follow_the_order(
    ray_cluster: RayHead, data_sets: dict[str, str], kind: str, start: tuple[int, int], workers: int
) -> None:
    from synthray.cluster.loader import CachedReader, cache_dataset, stream_batches

    dataset = open_dataset(data_sets[kind])
    order = EpochOrder(dataset.shard_rows, 32, seed=4, window_rows=64)
    assert order.windows > 1
    pending = cache_dataset(dataset, order)
    assert (pending is None) == (kind == "fresh")
    if pending:  # the shards of the first batches are read first
        used = np.concatenate([order.window(0, window).ravel() for window in range(order.windows)])
        shards = np.searchsorted(dataset.shard_starts, used[used >= 0], side="right") - 1
        assert list(pending.references) == list(dict.fromkeys(shards.tolist()))
    for rank in range(workers):
        wanted = list(order.worker_batches(start, EPOCHS, rank, workers))
        shares = list(stream_batches(dataset, order, start, EPOCHS, rank, workers))
        np.testing.assert_array_equal([rows for _, rows in shares], wanted)
        for index, epoch in ((0, start[0]), (-1, EPOCHS - 1)):
            batch = shares[index][0]
            assert batch.features.dtype == dataset.manifest.feature_dtype
            np.testing.assert_array_equal(batch.features, expected(dataset, wanted[index], epoch))
        if pending:
            cached = CachedReader(pending.wait(), dataset).take(wanted[0])
            np.testing.assert_array_equal(cached.features, shares[0][0].features)
            np.testing.assert_array_equal(cached.labels, shares[0][0].labels)


@pytest.mark.faults
def test_cached_reader_after_one_failed_read_reads_it_again(
    ray_cluster: RayHead, data_sets: dict[str, str], tmp_path: Path
) -> None:
    import ray

    from synthray.cluster.loader import CachedReader, cache_dataset

    shutil.copytree(data_sets["stored"], tmp_path / "data")
    dataset = open_dataset(str(tmp_path / "data"))
    shard = tmp_path / "data" / dataset.manifest.shards[0].path
    hidden = shard.rename(tmp_path / "hidden")
    references = cache_dataset(dataset).references
    tables = ray.get(list(references.values()))
    assert [table is None for table in tables] == [True] + [False] * (len(dataset.shard_rows) - 1)
    rows = np.arange(len(dataset.shard_rows) * 8)
    with pytest.raises(CorruptShard, match="is missing"):
        CachedReader(dict(references), dataset).take(rows)
    hidden.rename(shard)
    batch = CachedReader(references, dataset).take(rows)
    np.testing.assert_array_equal(batch.features, dataset.take(rows).features)
    np.testing.assert_array_equal(batch.labels, dataset.take(rows).labels)


@pytest.mark.faults
def test_a_corrupt_shard_is_named_before_an_example_of_it_is_used(
    ray_cluster: RayHead, data_sets: dict[str, str], tmp_path: Path
) -> None:
    from synthray.cluster.loader import cache_dataset, stream_batches

    shutil.copytree(data_sets["stored"], tmp_path / "data")
    dataset = open_dataset(str(tmp_path / "data"))
    path = tmp_path / "data" / dataset.manifest.shards[3].path
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CorruptShard, match=r"00003-.*has changed since it was published"):
        cache_dataset(dataset).wait()
    order = EpochOrder(dataset.shard_rows, 32, window_rows=64)
    first, last = dataset.shard_starts[3:5]
    used: list[int] = []
    with pytest.raises(CorruptShard, match=r"00003-.*has changed since it was published"):
        used.extend(row for _, rows in stream_batches(dataset, order, (0, 0), 1, 0, 1) for row in rows)
    assert not [row for row in used if first <= row < last]
    path.unlink()
    with pytest.raises(CorruptShard, match=r"00003-.*is missing"):
        cache_dataset(dataset).wait()


def test_reader_processes_survive_the_pause_between_windows(ray_cluster: RayHead, tmp_path: Path) -> None:
    """A window may last longer than Ray keeps idle workers by default, and a new one takes seconds to start."""
    import ray

    from synthray.cluster.loader import READER_CPUS

    @ray.remote(num_cpus=READER_CPUS)
    def reader(folder: Path) -> int:
        (folder / str(os.getpid())).touch()
        wait_for(lambda: len(list(folder.iterdir())) >= 4, 90)  # so that each task has a process of its own
        return os.getpid()

    def readers(folder: Path) -> set[int]:
        folder.mkdir()
        return set(ray.get([reader.remote(folder) for _ in range(4)], timeout=120))

    assert len(readers(tmp_path / "first")) == 4
    time.sleep(3)
    alive = {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_a_worker(path)}
    assert readers(tmp_path / "second") <= alive


def _is_a_worker(command_line: Path) -> bool:
    try:
        return command_line.read_bytes().startswith(b"ray::")
    except OSError:  # it has exited meanwhile
        return False
