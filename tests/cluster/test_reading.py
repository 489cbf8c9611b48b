"""Reading on Ray: the order is carried out to the letter, from memory and as it streams."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from infra.ray_head import KEEPING_WORKERS, RayHead
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.data.order import EpochOrder
from synthray.data.sources.synthetic import SoundGenerator, SynthSource
from synthray.errors import CorruptShard, StorageError
from tests import foreign
from tests.conftest import convert_here

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
    """The features at ``rows``, one by one, read in this process."""
    shards = [dataset.read_shard(number, epoch) for number in range(len(dataset.manifest.shards))]
    features = np.concatenate([shard.features for shard in shards])
    return np.stack([features[row] if row >= 0 else np.zeros_like(features[0]) for row in rows])


@pytest.mark.parametrize(("start", "workers"), [((0, 0), 1), ((1, 2), 2)])
@pytest.mark.parametrize("kind", ["stored", "presets", "fresh"])
def test_the_order_is_carried_out(
    ray_cluster: RayHead, data_sets: dict[str, str], kind: str, start: tuple[int, int], workers: int
) -> None:
    from synthray.cluster.loader import CachedReader, cache_dataset, stream_batches

    dataset = open_dataset(data_sets[kind])
    order = EpochOrder(dataset.shard_rows, 32, seed=4, window_rows=64)
    assert order.windows > 1
    holding = cache_dataset(dataset, order)
    assert (holding is None) == (kind == "fresh")
    if holding:  # what the first epoch begins with is read first
        used = np.concatenate([order.window(0, window).ravel() for window in range(order.windows)])
        shards = np.searchsorted(dataset.shard_starts, used[used >= 0], side="right") - 1
        assert list(holding.references) == list(dict.fromkeys(shards.tolist()))
    for rank in range(workers):
        wanted = list(order.worker_batches(start, EPOCHS, rank, workers))
        shares = list(stream_batches(dataset, order, start, EPOCHS, rank, workers))
        np.testing.assert_array_equal([rows for _, rows in shares], wanted)
        for place, epoch in ((0, start[0]), (-1, EPOCHS - 1)):
            batch = shares[place][0]
            assert batch.features.dtype == dataset.manifest.feature_dtype
            np.testing.assert_array_equal(batch.features, expected(dataset, wanted[place], epoch))
        if holding:
            held = CachedReader(holding.wait(), dataset).take(wanted[0])
            np.testing.assert_array_equal(held.features, shares[0][0].features)
            np.testing.assert_array_equal(held.labels, shares[0][0].labels)


def test_what_a_task_could_not_read_for_a_while_is_read_here(ray_cluster: RayHead, data_sets: dict[str, str]) -> None:
    import ray

    from synthray.cluster.loader import CachedReader, cache_dataset

    @ray.remote(num_cpus=0)
    def away() -> None:
        raise StorageError("the store was away for longer than a task waits")

    dataset = open_dataset(data_sets["stored"])
    references = cache_dataset(dataset).wait() | {1: away.remote()}
    rows = np.arange(len(dataset.shard_rows) * 8)
    held = CachedReader(references, dataset).take(rows)
    np.testing.assert_array_equal(held.features, dataset.take(rows).features)
    np.testing.assert_array_equal(held.labels, dataset.take(rows).labels)


@pytest.mark.parametrize(("cpus", "most", "share"), [([0], 4, 1.5), ([0, 8], 4, 1.52), ([1], 2, 0.6), ([2], 4, 1.6)])
def test_elastic_workers_ask_for_what_a_node_has(
    cpus: list[int], most: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from synthray.cluster.trainer import Workers

    nodes = [{"Alive": True, "Resources": {"CPU": float(count)} if count else {}} for count in cpus]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": float(sum(cpus))} if sum(cpus) else {})
    asked = Workers(1, most).scaling(32).resources_per_worker
    assert asked == {"CPU": pytest.approx(share)}


@pytest.mark.parametrize(("gpus", "told"), [(0, "GPUs: 2 are asked for, 0 are up; waiting"), (1, "1 are up"), (2, "")])
def test_gpus_that_are_not_up_are_told_of(gpus: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from synthray.cluster.trainer import Workers, _missing_gpus

    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0} | ({"GPU": float(gpus)} if gpus else {}))
    for workers in (Workers(2, gpu=True), Workers(2, 4, gpu=True)):
        line = _missing_gpus(workers.scaling(32))
        assert told in line
        assert bool(told) == bool(line)
    assert _missing_gpus(Workers(2).scaling(32)) == ""


def test_a_harmed_shard_is_named_before_an_example_of_it_is_used(
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


def test_a_ray_of_this_machine_is_told_to_keep_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    told: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", {"RAY_OTHER": "1"})
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: told.update(os.environ))
    from synthray.cluster.connect import connect

    connect()
    assert told == {"RAY_OTHER": "1", **KEEPING_WORKERS}


def test_who_has_read_is_there_for_the_next_window(ray_cluster: RayHead, tmp_path: Path) -> None:
    """A training may take longer over a window than Ray lets workers rest, and a new one takes seconds to start."""
    import ray

    from synthray.cluster.connect import LOCAL_RAY
    from synthray.cluster.loader import READER_CPUS

    @ray.remote(num_cpus=READER_CPUS)
    def reader(folder: Path) -> int:
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 90
        while len(list(folder.iterdir())) < 4:  # so that each has a worker of its own
            assert time.monotonic() < deadline, "the others did not come"
            time.sleep(0.02)
        return os.getpid()

    def readers(folder: Path) -> set[int]:
        folder.mkdir()
        return set(ray.get([reader.remote(folder) for _ in range(4)], timeout=120))

    assert LOCAL_RAY == KEEPING_WORKERS
    assert len(readers(tmp_path / "first")) == 4
    time.sleep(3)
    there = {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_a_worker(path)}
    assert readers(tmp_path / "second") <= there


def _is_a_worker(command_line: Path) -> bool:
    try:
        return command_line.read_bytes().startswith(b"ray::")
    except OSError:  # it has ended meanwhile
        return False
